"""
Deflate: compresses bytes to zlib streams, and inflates zlib streams to at most a given size.
"""

from __future__ import annotations

import zlib
from typing import Final

from .._exceptions import DecodeError, shown_as_base

__all__ = ["OverLimitError", "deflate", "deflated_bound", "inflate_at_most"]

_LEVEL: Final = 9
"""The highest level: a stream is written once and fetched many times, and a frame takes under a millisecond."""


@shown_as_base
class OverLimitError(DecodeError):
    """A zlib stream inflates past its limit. The class distinguishes it from bytes that are not a zlib stream."""


def deflated_bound(n_bytes: int) -> int:
    """
    The largest size of the zlib stream of `n_bytes` bytes.

    A stored block has 5 bytes of overhead for 16,383 bytes or more (RFC 1951 allows 65,535; zlib uses less with its
    smallest window). The zlib frame adds 6 bytes. The bound is a thousandth of the size plus 64 bytes.
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
        limit: the most bytes to inflate. The memory use is near ``limit`` for any `data`.
        what: the name of the part of the file, for messages.
        over: the meaning of the limit, for messages.
        frame_index: the index of the frame, or None if `data` belongs to no frame.

    Raises:
        DecodeError: `data` is not a zlib stream, is cut short, inflates past the limit, or has bytes after the stream.
    """
    inflater = zlib.decompressobj()
    try:
        # One byte more than the limit shows an overrun without inflating the rest. A limit of 0 would mean "no limit".
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
