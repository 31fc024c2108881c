"""
Blocks: compresses a payload as small as zlib streams get.
"""

from __future__ import annotations

import struct
import zlib
from functools import cache
from typing import Any, Final

__all__ = ["EFFORTS", "check_effort", "encode_block"]

EFFORTS: Final = (1, 2, 3)

_LENGTH: Final = struct.Struct("<I")
_STRATEGIES: Final = {
    1: (zlib.Z_DEFAULT_STRATEGY,),
    2: (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY),
    3: (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED),
}
_ZOPFLI_BYTES: Final = 1 << 16
"""Larger payloads are noise, for which zopfli takes seconds."""


def check_effort(effort: int) -> int:
    """Raise ValueError unless an effort is 1, 2 or 3."""
    if effort not in EFFORTS:
        raise ValueError(f"effort: expected 1, 2 or 3, found {effort!r}")
    return int(effort)


def encode_block(payload: bytes, effort: int = 2) -> bytes:
    """
    Compress a payload into a block (docs/format.md, "Block"), the smallest of several zlib streams.

    Args:
        payload: an inflated payload, as ``FrameGeometry.to_payload`` makes it.
        effort: 1: zlib's default strategy. 2: three strategies. 3: all of zlib's, and zopfli if that is installed.

    Raises:
        ValueError: `effort` is not 1, 2 or 3.
    """
    streams = [_deflated(payload, strategy) for strategy in _STRATEGIES[check_effort(effort)]]
    zopfli = _zopfli() if effort == 3 and len(payload) <= _ZOPFLI_BYTES else None
    if zopfli is not None:
        streams.append(zopfli.compress(payload))
    return _LENGTH.pack(len(payload)) + min(streams, key=len)


@cache
def _zopfli() -> Any:
    """The module zopfli.zlib, or None if it is not installed. Not imported before, because few programs need it."""
    try:
        import zopfli.zlib
    except ImportError:
        return None
    return zopfli.zlib


def _deflated(payload: bytes, strategy: int) -> bytes:
    """
    One zlib stream, at the highest level.

    Window and memory are no larger than the payload needs, because zlib clears them for each stream, which would take
    longer than compressing: a window of 2^9..2^15 bytes, and 2^7..2^15 symbols of a deflate block. A match reaches no
    farther back than the window less 262 bytes (MAX_DIST in zlib's deflate.h).
    """
    window = min(max((len(payload) + 262).bit_length(), 9), 15)
    memory = min(max(len(payload).bit_length() - 6, 1), 9)
    deflater = zlib.compressobj(9, zlib.DEFLATED, window, memory, strategy)
    return deflater.compress(payload) + deflater.flush()
