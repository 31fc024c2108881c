"""
Fuzz target: an inflated payload. Decoded exactly as docs/format.md says or refused; masks of it are the oracle's.

The input is a payload; and, since few inputs happen to be well formed, it is read as the description of one as well.
"""

from __future__ import annotations

import struct

import numpy as np
import oracle
from support import channels_of

from alphastream_gpu import DecodeError, FrameGeometry, rasterize, rasterize_packed
from fuzz import Feed, within_memory

__all__ = ["check", "described", "is_well_formed"]

_MAX_POINTS = 40
"""The oracle takes a tenth of a millisecond a segment and row."""
_MAX_OUTLINE = 4000
"""And a microsecond a pixel of the outline, inside the window or not."""
_NATIVE = (24, 16)
_SMALLER = (17, 5)
_LARGER = (31, 16)


def check(data: bytes, *, always_measure: bool = False) -> None:
    """A payload is decoded to what the format says, and back to the same bytes, or refused."""
    _check(data, always_measure)
    payload = described(data)
    assert is_well_formed(payload)
    _check(payload, always_measure)


def described(data: bytes) -> bytes:
    """A well-formed payload made of any bytes: channels of so many points as the next byte says, until they end."""
    feed = Feed(data)
    channels = []
    while feed:
        n_deltas = feed.number() % 24
        body = feed.take(4 + 2 * n_deltas)
        channels.append(body.ljust(4, b"\0")[: max(4, len(body) & ~1)])
    return struct.pack(f"<{1 + len(channels)}I", len(channels), *map(len, channels)) + b"".join(channels)


def _check(data: bytes, always_measure: bool) -> None:
    limit = 200 * len(data) + (1 << 20)
    try:
        geometry = within_memory(lambda: FrameGeometry.from_payload(data), data, limit, always=always_measure)
    except DecodeError as exc:
        assert not is_well_formed(data), f"refused, but well formed: {exc}"
        return
    assert is_well_formed(data), "decoded, but not well formed"
    assert geometry.to_payload() == data
    points, offsets = geometry.points, geometry.channel_offsets
    assert (points.dtype, offsets.dtype) == (np.int32, np.int32)
    assert not points.flags.writeable
    assert not offsets.flags.writeable
    channels = channels_of(geometry)
    assert channels == oracle.decode(data)
    assert sum(map(len, channels)) == len(points)
    assert FrameGeometry(points, offsets) == geometry
    if len(points) <= _MAX_POINTS:
        # As it is, which is mostly outside a small window, and folded into the window and a little around it.
        _check_masks(geometry, channels)
        folded = FrameGeometry(points % 32 - 4, offsets)
        _check_masks(folded, channels_of(folded))


def is_well_formed(data: bytes) -> bool:
    """Whether the format (docs/format.md, "Payload" and "Channel") allows these bytes, without the package's help."""
    if len(data) < 4:
        return False
    (n_channels,) = struct.unpack_from("<I", data)
    if 4 + 4 * n_channels > len(data):
        return False
    sizes = struct.unpack_from(f"<{n_channels}I", data, 4)
    return all(size >= 4 and size % 2 == 0 for size in sizes) and 4 + 4 * n_channels + sum(sizes) == len(data)


def _check_masks(geometry: FrameGeometry, channels: list[list[tuple[int, int]]]) -> None:
    outline = sum(max(abs(b[0] - a[0]), abs(b[1] - a[1])) for channel in channels for a, b in oracle.segments(channel))
    if outline > _MAX_OUTLINE:
        rasterize(geometry, native_size=_NATIVE)
        return
    exact = oracle.mask(channels, _NATIVE)
    assert np.array_equal(rasterize(geometry, native_size=_NATIVE), exact)
    bits = rasterize_packed(geometry, native_size=_NATIVE)
    assert np.array_equal(np.unpackbits(bits, axis=1, count=_NATIVE[0], bitorder="little") * 255, exact)
    for size in (_SMALLER, _LARGER):
        rows = np.arange(size[1]) * _NATIVE[1] // size[1]
        columns = np.arange(size[0]) * _NATIVE[0] // size[0]
        assert np.array_equal(rasterize(geometry, size, native_size=_NATIVE), exact[np.ix_(rows, columns)])
    for kind in ("cover", "parity"):
        strip = geometry.triangle_strip(kind)  # type: ignore[arg-type]
        assert (strip.dtype, strip.shape[1:]) == (np.float32, (2,))
        assert np.isfinite(strip).all()
