"""
zlib with a bound: never more output than allowed, never a byte after the stream.
"""

from __future__ import annotations

import zlib
from typing import Final

from .._exceptions import DecodeError, shown_as_base

__all__ = ["OverLimitError", "deflate", "deflated_bound", "inflate_at_most"]

_LEVEL: Final = 9
"""Streams are written once and fetched many times; level 9 costs a fraction of a millisecond per frame."""


@shown_as_base
class OverLimitError(DecodeError):
    """A zlib stream, as far as it goes, that inflates past its limit; told apart from bytes that are none."""


def deflated_bound(n_bytes: int) -> int:
    """
    The most bytes that a zlib stream of so many inflated bytes takes.

    Stored blocks add 5 bytes per 16,383 or more (RFC 1951 allows 65,535; zlib's smallest window uses less), the frame
    6; a thousandth and 64 bytes cover both.
    """
    return n_bytes + n_bytes // 1000 + 64


def deflate(data: bytes) -> bytes:
    """Compress as one zlib stream."""
    return zlib.compress(data, _LEVEL)


def inflate_at_most(
    data: bytes | memoryview, limit: int, *, what: str, over: str, frame_index: int | None = None
) -> bytes:
    """
    Inflate exactly one zlib stream into at most `limit` bytes.

    Args:
        data: the whole zlib stream and nothing else.
        limit: the most bytes to inflate; memory stays near ``limit`` whatever `data` claims.
        what: the file part, for messages.
        over: what it means to pass the limit, for messages.
        frame_index: the frame, where there is one.

    Raises:
        DecodeError: not a zlib stream, cut short, over the limit, or followed by other bytes.
    """
    inflater = zlib.decompressobj()
    try:
        # One byte more than allowed shows an overrun without inflating the rest; and 0 would mean "no limit".
        out = inflater.decompress(data, limit + 1)
    except zlib.error as exc:
        raise DecodeError(f"{what}: expected a zlib stream, found {exc}", frame_index=frame_index) from exc
    if len(out) > limit:
        raise OverLimitError(f"{what}: inflates past {limit} bytes, {over}", frame_index=frame_index)
    if not inflater.eof:
        raise DecodeError(f"{what}: the zlib stream is cut short after {len(out)} bytes", frame_index=frame_index)
    if inflater.unused_data:
        raise DecodeError(
            f"{what}: expected nothing after the zlib stream, found {len(inflater.unused_data)} bytes",
            frame_index=frame_index,
        )
    return out
