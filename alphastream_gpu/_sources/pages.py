"""
Pages: recognizes texts that servers send instead of a file: a sign-in page, an error, a Git LFS pointer. Pure.

Strategy
--------
The first bytes decide, because servers give some real files the type ``text/html``, and an encrypted file looks like
random bytes. If the content type of the reply is that of a page, any text counts as a page. Otherwise a text counts
only if it begins like one of the known kinds.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

__all__ = ["page_in_place_of_a_file"]

_LOOKED_AT: Final = 512
_LEAST: Final = 16
"""Characters that must be plain text. One in ten million encrypted files begins with so many."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\ufffd]")
_IS_DECLARED: Final = re.compile(r"content type '(?:text/html|application/xhtml\+xml)\b", re.IGNORECASE)
_KINDS: Final = (
    (re.compile(r"<(!doctype\s+html|html|head|body|title|script|meta)\b", re.IGNORECASE), "an HTML page"),
    (re.compile(r"<(!--|[!?/]?[a-z])", re.IGNORECASE), "an XML or HTML document"),
    (re.compile(r"version https://git-lfs\.github\.com/spec/"), "a Git LFS pointer"),
    (re.compile(r"[{\[]\s*[\"{\[]"), "a JSON text"),
)


def page_in_place_of_a_file(first: bytes | memoryview, reply_summary: str) -> str | None:
    """
    Describe the first bytes of a source if they are a text that servers send instead of a file.

    Args:
        first: the first bytes of the source.
        reply_summary: :attr:`Source.reply_summary`; empty for a source without a server.

    Returns:
        The end of a message that begins with "expected ..."; None if the bytes may belong to a file.
    """
    is_declared = _IS_DECLARED.search(reply_summary) is not None
    begin = _begin_of(bytes(first), is_declared=is_declared)
    if not begin or (len(begin) < _LEAST and not is_declared):
        return None
    if _CONTROL.search(begin if is_declared else begin[:_LEAST]):
        return None
    kind = next((kind for pattern, kind in _KINDS if pattern.match(begin)), "a text" if is_declared else None)
    if kind is None:
        return None
    if not reply_summary:
        return f"found {kind}"
    return (
        f"found {kind} ({reply_summary}): the server sent it instead of the file, for example a sign-in or error page;"
        " open the address in a browser"
    )


def _begin_of(first: bytes, *, is_declared: bool) -> str:
    """The first characters after white space, in the encoding that the first bytes show. U+FFFD stands for bytes that
    are not text."""
    encoding = _utf_16(first[: 2 * _LEAST])
    if encoding is not None:
        text = first.decode(encoding, "replace").removeprefix("\ufeff").lstrip()
        return text[:_LOOKED_AT] if _is_markup(text) else "\ufffd"  # most random bytes are text in UTF-16
    data = first.removeprefix(b"\xef\xbb\xbf").lstrip()[:_LOOKED_AT]
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(data)  # leaves out a character that was cut off
    if "\ufffd" in text and is_declared and _is_markup(text):
        return data.decode("latin-1")  # an older encoding; only the markup is compared, which is ASCII in all of them
    return text


def _is_markup(text: str) -> bool:
    return text[:_LEAST].isascii() and text.startswith("<") and not _CONTROL.search(text[:_LEAST])


def _utf_16(head: bytes) -> str | None:
    """The byte order of a text in UTF-16; None for any other text. Without a mark, each character of markup has a zero
    byte."""
    if head.startswith(b"\xff\xfe") or (len(head) > 3 and not any(head[1::2])):
        return "utf-16-le"
    if head.startswith(b"\xfe\xff") or (len(head) > 3 and not any(head[0::2])):
        return "utf-16-be"
    return None
