"""
Record: the form of a file of the disk cache, its name, and which files are removed first. Pure.

::

    0      digest, length and text of the identity    2048 bytes
    2048   digest and time of the stamp               2048 bytes
    4096   digest, page 0                             16 + 8192 bytes
    12304  digest, page 1                             ...

The last page is as short as the file ends. All numbers are little-endian.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cached_property
from hashlib import blake2b, sha256
from hmac import compare_digest
from typing import Final, NamedTuple
from urllib.parse import urlsplit

__all__ = [
    "HEAD_BYTES",
    "PAGE_BYTES",
    "RECORD_BYTES",
    "STAMP_AT",
    "FileInCache",
    "Identity",
    "at_least_a_minute_old",
    "fill_bytes",
    "gaps",
    "is_name",
    "key_of",
    "pack_head",
    "pack_page",
    "pack_stamp",
    "page_of",
    "place_of",
    "read_head",
    "read_stamp",
    "victims",
]

PAGE_BYTES: Final = 8192
"""A page. So a seek fetches at most 16 KiB more than its frame, and reading a page from the disk takes some 20 µs."""
_DIGEST_BYTES: Final = 16
RECORD_BYTES: Final = _DIGEST_BYTES + PAGE_BYTES
HEAD_BYTES: Final = 4096
STAMP_AT: Final = 2048
_VERSION: Final = 1
_NAME: Final = re.compile(r"([0-9a-f]{32})-[0-9a-f]{32}\.pages")
_LENGTH: Final = struct.Struct("<H")
_MOST_TEXT_BYTES: Final = STAMP_AT - _DIGEST_BYTES - _LENGTH.size
_TIME: Final = struct.Struct("<d")
_NUMBER: Final = struct.Struct("<Q")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_SETTLED_SECONDS: Final = 60.0
_FEWEST_FILL_BYTES: Final = 2 * PAGE_BYTES
_MOST_FILL_BYTES: Final = 1024 * 1024
_FILL_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Identity:
    """
    One version of one file of a server. Bytes of different identities never mix.
    """

    key: str
    """:func:`key_of` its URL."""
    validator: tuple[str, str]
    """The name and the value of the header that identifies the content: a strong ETag, or Last-Modified."""
    length: int
    """In bytes."""

    @property
    def is_usable(self) -> bool:
        """Whether it fits into the head of a file. A server may send an ETag of any length."""
        return len(self.text) <= _MOST_TEXT_BYTES and self.length < 2**63

    @cached_property
    def text(self) -> bytes:
        """Its canonical form."""
        fields = [_VERSION, PAGE_BYTES, self.key, *self.validator, self.length]
        return json.dumps(fields, separators=(",", ":")).encode("ascii")

    @cached_property
    def salt(self) -> bytes:
        """The key of the digests of its pages."""
        return sha256(self.text).digest()

    @property
    def name(self) -> str:
        """The name of its file. Neither URL nor validator can be told from it."""
        return f"{self.key}-{self.salt.hex()[:32]}.pages"

    @property
    def n_pages(self) -> int:
        """Pages of the file."""
        return -(-self.length // PAGE_BYTES)

    @property
    def n_bytes(self) -> int:
        """Most bytes of its file in the cache."""
        return place_of(self.n_pages)

    def page_length(self, number: int) -> int:
        """Bytes of a page."""
        return min(PAGE_BYTES, self.length - number * PAGE_BYTES)


class FileInCache(NamedTuple):
    """A file of the cache, as :func:`victims` sees it."""

    name: str
    n_bytes: int
    """Bytes that it takes on the disk."""
    used_at: float
    """Seconds; when it was used last."""


def key_of(url: str) -> str:
    """
    The key of a URL: a digest of scheme, host, port and path. User, query and fragment, which may be secrets and change
    with each signature, have no part in it.

    Args:
        url: a valid HTTP URL.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    port = _DEFAULT_PORTS.get(scheme, 0) if parts.port is None else parts.port
    named = json.dumps([scheme, (parts.hostname or "").lower(), port, parts.path or "/"])
    return sha256(named.encode("ascii")).hexdigest()[:32]


def is_name(name: str, key: str | None = None) -> bool:
    """Whether a name is that of a file of the cache, and of `key` if one is given."""
    match = _NAME.fullmatch(name)
    return match is not None and key in (None, match[1])


def at_least_a_minute_old(modified: str, now: float) -> bool:
    """
    Whether a ``Last-Modified`` identifies the content: a file that changed a moment ago may change again within the
    same second (RFC 9110, section 8.8.2.2).

    Args:
        modified: the value of the header.
        now: seconds since the epoch.
    """
    try:
        date = parsedate_to_datetime(modified)
        at = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return False
    return at + _SETTLED_SECONDS <= now


def place_of(number: int) -> int:
    """Where the record of a page begins in the file."""
    return HEAD_BYTES + number * RECORD_BYTES


def pack_page(identity: Identity, number: int, page: bytes | memoryview) -> bytes:
    """The record of a page."""
    return b"".join((_digest(identity, b"page" + _NUMBER.pack(number), page), page))


def page_of(identity: Identity, number: int, record: memoryview) -> memoryview | None:
    """The page in a record; None if the record is not that of this page, whole and unchanged."""
    page = record[_DIGEST_BYTES:]
    if len(page) != identity.page_length(number):
        return None
    found = _digest(identity, b"page" + _NUMBER.pack(number), page)
    return page if compare_digest(found, record[:_DIGEST_BYTES]) else None


def pack_head(identity: Identity) -> bytes:
    """The first record of a file. It is needed only to find what a server once sent when it cannot be asked."""
    body = _LENGTH.pack(len(identity.text)) + identity.text
    return (_digest(identity, b"head", body) + body).ljust(STAMP_AT, b"\0")


def read_head(head: bytes, name: str) -> Identity | None:
    """The identity in the first record of a file; None if it is damaged or belongs to a file of another name."""
    if len(head) < _DIGEST_BYTES + _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack_from(head, _DIGEST_BYTES)
    text = head[_DIGEST_BYTES + _LENGTH.size :][:length]
    try:
        version, page_bytes, key, header, value, n_bytes = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    if not (version == _VERSION and page_bytes == PAGE_BYTES and type(n_bytes) is int and n_bytes >= 0):
        return None
    if not all(isinstance(part, str) for part in (key, header, value)):
        return None
    identity = Identity(key, (header, value), n_bytes)
    return identity if identity.text == text and identity.name == name and pack_head(identity) == head else None


def pack_stamp(identity: Identity, at: float) -> bytes:
    """The stamp of a file: when the server last said that this is the version it has. 0 is never."""
    body = _TIME.pack(at)
    return _digest(identity, b"stamp", body) + body


def read_stamp(identity: Identity, stamp: bytes) -> float:
    """The time of a stamp in seconds since the epoch; 0 if it is damaged or missing."""
    body = stamp[_DIGEST_BYTES:][: _TIME.size]
    if len(body) < _TIME.size or _digest(identity, b"stamp", body) != stamp[:_DIGEST_BYTES]:
        return 0.0
    at: float = _TIME.unpack(body)[0]
    return at if math.isfinite(at) and at > 0 else 0.0


def gaps(missing: Sequence[int], bridge: int) -> list[range]:
    """
    The runs of pages to request, so that each missing page is in one of them.

    Args:
        missing: numbers of pages, ascending.
        bridge: two runs with at most so many pages between them become one, because a request costs more than some
            pages.
    """
    found: list[range] = []
    for number in missing:
        if found and number - found[-1].stop <= bridge:
            found[-1] = range(found[-1].start, number + 1)
        else:
            found.append(range(number, number + 1))
    return found


def victims(files: Iterable[FileInCache], limit: int, *, keep: str = "") -> list[str]:
    """
    The files to remove, so that the others take at most `limit` bytes: the least recently used first.

    Args:
        files: all files of the cache.
        limit: in bytes.
        keep: the name of a file that is not removed.
    """
    by_use = sorted(files, key=lambda one: (one.used_at, one.name))
    n_bytes = sum(one.n_bytes for one in by_use)
    found = []
    for one in by_use:
        if n_bytes <= limit:
            break
        if one.name != keep:
            found.append(one.name)
            n_bytes -= one.n_bytes
    return found


def fill_bytes(bytes_per_second: float) -> int:
    """How much to fetch at a time while the line is idle, so that a read that comes meanwhile shares the line for a
    fifth of a second at most."""
    n_bytes = min(max(int(bytes_per_second * _FILL_SECONDS), _FEWEST_FILL_BYTES), _MOST_FILL_BYTES)
    return n_bytes // PAGE_BYTES * PAGE_BYTES


def _digest(identity: Identity, kind: bytes, content: bytes | memoryview) -> bytes:
    digest = blake2b(kind, digest_size=_DIGEST_BYTES, key=identity.salt)
    digest.update(content)
    return digest.digest()
