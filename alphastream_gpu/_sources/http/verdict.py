"""
The values that the judgement of a reply is made of: what came, what is known of the file, and the verdicts. Pure.
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
    """Those of interest, by their names in lower case."""
    is_reused: bool = False
    """Whether its connection had carried another reply before."""

    def summary(self) -> str:
        """Status and content type, for messages."""
        content_type = self.headers.get("content-type")
        return f"status {self.status}, " + (
            f"content type {quoted(content_type)}" if content_type else "no content type"
        )


@dataclass(frozen=True, slots=True)
class File:
    """
    What replies have told about the file so far.
    """

    length: int | None = None
    """In bytes."""
    validator: tuple[str, str] | None = None
    """The header that identifies the file's content, and its text."""

    def learned(self, length: int, reply: Reply) -> File:
        """This, and what a reply tells that is not known yet."""
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
    What a reply has to meet.
    """

    file: File
    validate: Validate
    whole_file_cap: int
    """Most bytes taken from a server that ignores ranges."""
    is_moved: bool
    """Whether the request went to a remembered address that is not the one which the caller gave."""
    is_signed: bool
    """Whether a callable gives the URL."""


@dataclass(frozen=True, slots=True)
class Part:
    """The body is `span`, of a file of `length` bytes."""

    span: ByteRange
    length: int


@dataclass(frozen=True, slots=True)
class Whole:
    """The body is the whole file. Its length, or None if only the end of the body tells; and the most it may have."""

    length: int | None
    most: int


@dataclass(frozen=True, slots=True)
class Nothing:
    """No byte of the range exists: the file has `length` bytes."""

    length: int


@dataclass(frozen=True, slots=True)
class Moved:
    """The file is elsewhere."""

    location: str


@dataclass(frozen=True, slots=True)
class Again:
    """This attempt failed in a way that another may not."""

    text: str
    retry_after: float | None = None
    """Seconds that the server asks to wait."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The address in use no longer serves; ask again from the start, at once."""

    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Another attempt would fail as well."""

    text: str


Verdict = Part | Whole | Nothing | Moved | Again | Elsewhere | Refused


def quoted(text: str) -> str:
    """
    A server's text for a message: cut to a sensible length, in quotes, and in printable ASCII.

    Args:
        text: a header's.
    """
    return ascii(text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + "...")
