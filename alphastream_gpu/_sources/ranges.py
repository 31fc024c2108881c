"""
ByteRange: a half-open range of bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ByteRange"]


@dataclass(frozen=True, slots=True, order=True)
class ByteRange:
    """A half-open range of bytes."""

    start: int
    """The first byte of the range."""
    stop: int
    """The byte after the last byte of the range."""

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop:
            raise ValueError(f"byte range: expected 0 <= start <= stop, found {self.start}..{self.stop}")

    def __len__(self) -> int:
        return self.stop - self.start

    def __str__(self) -> str:
        return f"bytes {self.start}..{self.stop - 1}" if self else f"no bytes at {self.start}"
