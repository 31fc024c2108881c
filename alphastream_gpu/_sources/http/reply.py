"""
Reply: interprets the reply to a range request. Status and headers in, a verdict out. Pure.

Strategy
--------
A reply is accepted only if its body must consist of bytes of the requested range. It is a 206 without compression that
starts at the requested byte and belongs to the same file as before. Or it is a 200 with the whole file, up to a limit.
A 206 may have fewer bytes than requested, which RFC 9110 leaves to the server (section 15.3.7); the remaining bytes are
requested again. Any other reply is a failure. Nothing is guessed.

Messages quote headers of the server, cut to a maximum length. They contain no address; the caller adds it in front.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from ..._wording import VALIDATED, WHOLE_FILE_CAP
from ..ranges import ByteRange
from .verdict import Again, Elsewhere, Length, Moved, Nothing, Part, Refused, Reply, Terms, Verdict, Whole, quoted

__all__ = ["judge", "judge_length", "read_headers", "retry_after", "too_long"]

_RETRIED: Final = frozenset({408, 429})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_GONE: Final = frozenset({401, 403, 404, 410})
"""Statuses of a remembered redirect target after which the original address is used once more."""
_UNSIGNED: Final = frozenset({401, 403})
"""Statuses for the URL of a callable after which the callable is called again."""
_HINTS: Final = {
    401: "; the server requires credentials",
    403: "; access denied",
    404: "; no such file",
    407: "; the proxy requires credentials",
}
_CONTENT_RANGE: Final = re.compile(r"(?i:bytes) +(?:([0-9]{1,19})-([0-9]{1,19})|\*)/([0-9]{1,19}|\*)")
_LENGTH: Final = re.compile(r"[0-9]{1,19}")
_DIGITS: Final = re.compile(r"[0-9]+")
_LONGEST_WAIT: Final = 1e9
"""In seconds; longer than any deadline."""
_WANTED: Final = frozenset(
    {
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"etag",
        b"last-modified",
        b"location",
        b"retry-after",
    }
)


def judge(reply: Reply, span: ByteRange, terms: Terms) -> Verdict:
    """
    Interpret a reply.

    Args:
        reply: the reply.
        span: the requested range; not empty.
        terms: the requirements for the reply.
    """
    status = reply.status
    if status >= 500 or status in _RETRIED:
        return Again(f"the server answered {status} to {span}", retry_after(reply.headers.get("retry-after")))
    if status in _REDIRECTS and reply.headers.get("location"):
        return Moved(reply.headers["location"])
    if (terms.is_moved and status in _GONE) or (terms.is_signed and status in _UNSIGNED):
        return Elsewhere(f"the server answered {status}")
    if status == 416:
        return _beyond_the_end(reply, span, terms)
    if status not in (200, 206):
        return Refused(f"expected 206 for {span}, found {status}{_HINTS.get(status, '')}")
    encoding = reply.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        return Refused(f"expected plain bytes, found Content-Encoding {quoted(encoding)}, which was not requested")
    changed = _changed(reply, terms)
    if changed is not None:
        return changed
    return _whole(reply, terms) if status == 200 else _part(reply, span, terms)


def judge_length(reply: Reply, terms: Terms) -> Verdict:
    """
    Interpret the reply to a HEAD request, which is sent if the Content-Range of a reply has no length.

    Args:
        reply: the reply.
        terms: the requirements for the reply.
    """
    status = reply.status
    if status >= 500 or status in _RETRIED:
        return Again(f"the server answered {status} to HEAD", retry_after(reply.headers.get("retry-after")))
    if status in _REDIRECTS and reply.headers.get("location"):
        return Moved(reply.headers["location"])
    changed = _changed(reply, terms) if status == 200 else None
    if changed is not None:
        return changed
    announced = reply.headers.get("content-length", "").strip()
    is_plain = reply.headers.get("content-encoding", "").strip().lower() in ("", "identity")
    if status == 200 and is_plain and _LENGTH.fullmatch(announced):
        return Length(int(announced))
    found = f"{status} and Content-Length {quoted(announced)}" if status == 200 else str(status)
    return Refused(
        "expected the length of the file, found '*' in Content-Range, and the server answered HEAD with"
        f" {found}; one of the two must give the length"
    )


def read_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """
    Read the headers that :func:`judge` needs, in one pass, because a reply may have tens of thousands of headers.

    Args:
        raw: names and values as received. Values with the same name are joined by commas.
    """
    found: dict[str, str] = {}
    for raw_name, raw_value in raw:
        lowered = raw_name.lower()
        if lowered in _WANTED:
            name, value = lowered.decode("ascii"), _decoded(raw_value)
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def retry_after(text: str | None) -> float | None:
    """
    The time to wait of a ``Retry-After`` header in seconds, 0..1e9; None if the header is invalid or missing.

    Args:
        text: digits, or a date in any of the three forms of HTTP.
    """
    if text is None:
        return None
    text = text.strip()
    if _DIGITS.fullmatch(text):
        return min(float(text), _LONGEST_WAIT)
    try:
        date = parsedate_to_datetime(text)
        # All dates of HTTP are in GMT, including the oldest form, which has no time zone.
        wait = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, wait), _LONGEST_WAIT)


def _beyond_the_end(reply: Reply, span: ByteRange, terms: Terms) -> Verdict:
    """A 416, which is accepted if the file is unknown yet and ends before the range."""
    match = _CONTENT_RANGE.fullmatch(reply.headers.get("content-range", "").strip())
    length = int(match[3]) if match is not None and match[1] is None and match[3] != "*" else None
    if length is not None and length <= span.start and terms.file.length is None:
        return Nothing(length)
    hint = "" if length is None else f"; the server says that the file has {length} bytes"
    return Refused(f"expected 206 for {span}, found 416{hint}")


def _changed(reply: Reply, terms: Terms) -> Refused | None:
    """A refusal if the content of the file has changed."""
    if terms.validate != "etag" or terms.file.validator is None:
        return None
    header, pinned = terms.file.validator
    found = reply.headers.get(header)
    if found == pinned:
        return None
    shown = "none" if found is None else quoted(found)
    return _change(reply, f"expected {header} {quoted(pinned)}, found {shown}; {VALIDATED.http_source}")


def _change(reply: Reply, text: str) -> Refused:
    """The refusal of another file, or of a page instead of the file, for example after a session has expired."""
    is_page = reply.headers.get("content-type", "").strip().lower().startswith("text/")
    shown = f" (the reply: {reply.summary()})" if is_page else ""
    return Refused(f"the file changed while open: {text}{shown}", is_changed=not is_page)


def _part(reply: Reply, span: ByteRange, terms: Terms) -> Verdict:
    """Interpret a 206."""
    text = reply.headers.get("content-range", "")
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if match is None or match[1] is None:
        return Refused(f"expected a Content-Range for {span}, found {quoted(text)}")
    known = terms.file.length
    # RFC 9110 allows "*" for a length that the server does not know (section 14.4).
    total = int(match[3]) if match[3] != "*" else known
    first, stop = int(match[1]), int(match[2]) + 1
    if known is not None and total != known and terms.validate != "none":
        return _change(reply, f"expected {known} bytes, found {total}")
    most = span.stop if total is None else min(span.stop, total)
    if first == span.start and span.start < stop <= most:
        return Part(ByteRange(first, stop), total)
    wrong = f"expected Content-Range {span.start}-{most - 1}, found {quoted(text)}"
    if reply.is_reused:
        # A server may reply twice to one request, and then the next request gets the second reply. This connection is
        # closed without reading the body, and the request is repeated on a new one.
        return Again(f"{wrong}, which may be the reply to an earlier request on this connection")
    return Refused(wrong)


def _whole(reply: Reply, terms: Terms) -> Verdict:
    """Interpret a 200, from a server that ignores ranges."""
    cap = terms.whole_file_cap
    known = None if terms.validate == "none" else terms.file.length
    announced = reply.headers.get("content-length", "")
    length = int(announced) if _LENGTH.fullmatch(announced) else None
    if length is not None and known is not None and length != known:
        return _change(reply, f"expected {known} bytes, found {length}")
    expected = known if length is None else length
    if cap == 0 or (expected or 0) > cap:
        return Refused(too_long(length, cap))
    return Whole(expected, cap)


def too_long(length: int | None, cap: int) -> str:
    """Why a whole file is refused."""
    return (
        f"the server ignores ranges and answered 200 with {'an unknown number of' if length is None else length} bytes;"
        f" whole files are accepted up to {cap} bytes {WHOLE_FILE_CAP.http_source}"
    )


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
