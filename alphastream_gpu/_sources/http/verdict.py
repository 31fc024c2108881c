"""
Verdict: the values for interpreting a reply: the reply, the known facts about the file, and the verdicts. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from ..._config import Validate
from ..ranges import ByteRange

__all__ = [
    "Again",
    "Elsewhere",
    "File",
    "Length",
    "Moved",
    "Nothing",
    "Part",
    "Refused",
    "Reply",
    "Terms",
    "Verdict",
    "Whole",
    "quoted",
]

_QUOTED_CHARACTERS: Final = 80


@dataclass(frozen=True, slots=True)
class Reply:
    """
    Status and headers of a reply.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """The headers that are used, by their names in lower case."""
    is_reused: bool = False
    """Whether an earlier reply came on the same connection."""

    def summary(self) -> str:
        """Status and content type, for messages."""
        content_type = self.headers.get("content-type")
        return f"status {self.status}, " + (
            f"content type {quoted(content_type)}" if content_type else "no content type"
        )


@dataclass(frozen=True, slots=True)
class File:
    """
    The facts about a file that are known from the replies so far.
    """

    length: int | None = None
    """In bytes."""
    validator: tuple[str, str] | None = None
    """The name and the value of the header that identifies the content of the file."""

    def learned(self, length: int, reply: Reply) -> File:
        """Add the facts from a reply that are not known yet."""
        etag, modified = reply.headers.get("etag", ""), reply.headers.get("last-modified", "")
        validator = self.validator
        if validator is None and etag and not etag.startswith("W/"):
            validator = ("etag", etag)
        elif validator is None and modified:
            validator = ("last-modified", modified)
        return replace(self, length=length if self.length is None else self.length, validator=validator)


@dataclass(frozen=True, slots=True)
class Terms:
    """
    The requirements for a reply.
    """

    file: File
    validate: Validate
    whole_file_cap: int
    """Most bytes that are accepted from a server that ignores ranges."""
    is_moved: bool
    """Whether the request went to a remembered redirect target instead of the caller's URL."""
    is_signed: bool
    """Whether the URL comes from a callable."""


@dataclass(frozen=True, slots=True)
class Part:
    """The body is `span`, of a file of `length` bytes. The length is None if neither this reply nor an earlier one has
    it."""

    span: ByteRange
    length: int | None


@dataclass(frozen=True, slots=True)
class Whole:
    """The body is the whole file of `length` bytes, at most `most`. The length is None if only the end of the body
    shows it."""

    length: int | None
    most: int


@dataclass(frozen=True, slots=True)
class Nothing:
    """No byte of the range exists: the file has `length` bytes."""

    length: int


@dataclass(frozen=True, slots=True)
class Length:
    """The reply to a HEAD request: the file has `length` bytes."""

    length: int


@dataclass(frozen=True, slots=True)
class Moved:
    """The reply redirects to another address."""

    location: str


@dataclass(frozen=True, slots=True)
class Again:
    """The attempt failed, but another one may succeed."""

    text: str
    retry_after: float | None = None
    """Seconds that the server asks to wait, or None."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The current address no longer works. The request is repeated at once, starting at the caller's URL."""

    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Another attempt would fail as well."""

    text: str
    is_changed: bool = False
    """Whether the server has another version of the file."""


Verdict = Part | Whole | Nothing | Length | Moved | Again | Elsewhere | Refused


def quoted(text: str) -> str:
    """
    The form of a header for messages: cut to 80 characters, in quotes, and in printable ASCII.

    Args:
        text: the value of the header.
    """
    return ascii(text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + "...")
