"""
Polystream: converts the payload of one frame to points and back. No I/O, no state.

Layout (docs/format.md, "Payload"): the number of channels, the sizes of the channels in bytes, then the channels. A
channel is a u16 base point followed by i8 deltas. Point k is the base plus the first k deltas.

Strategy
--------
Inflating a real payload (700 bytes, 350 points) takes under 3 µs, and one numpy call 0.2 to 0.8 µs. So decoding must
take no more than some thirty numpy calls, whatever the number of channels and points is:

* All channels are decoded by *one* running sum. Before summing, the slot of each channel's base gets the difference
  between that base and the last point of the channel before, so the running sum gives the base at that slot.
* x and y are summed together as one int64, ``x + (y << 32)``. A table of 65,536 entries converts a raw (dx, dy) byte
  pair to that form, with sign extension. A bias of 2^31 is added to x while it is summed, so that x never borrows from
  y. Flipping bit 31 removes the bias and leaves two int32 side by side, which *are* the (n, 2) result, in place.
* Constants are 0-d arrays, and operations write in place. At this size, numpy takes longer to convert a Python int or
  to broadcast a one-element array than to do the work itself.

Rejected: a Python loop over channels (its time is linear in the number of channels, which an attacker can choose),
``np.repeat`` of per-channel offsets (a second pass over the points), complex128 sums (their accumulate loop is three
times slower than that of int64).
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from .._exceptions import DecodeError

__all__ = ["MAX_PAYLOAD_BYTES", "decode_payload", "encode_payload"]

_U32: Final = struct.Struct("<I")
_U2: Final = np.dtype("<u2")
_U4: Final = np.dtype("<u4")
_I4: Final = np.dtype("<i4")
_I8: Final = np.dtype("<i8")

_MIN_CHANNEL_BYTES: Final = 4
"""The smallest size of a channel: its base point, two u16 (docs/format.md, "Channel")."""

MAX_PAYLOAD_BYTES: Final = 32 * 1024 * 1024
"""The largest payload. In a larger one, 2^24 steps of -128 could leave int32, and the packed sums would be inexact."""

_ONE: Final = np.array(1, _I8)
_BIAS: Final = np.array(1 << 31, _I8)
_BIAS_SCALAR: Final = np.int64(1 << 31)
_LEAST_STEP: Final = np.array((128 << 32) + 128, _I8)
"""Is added to steps, so that both halves of a valid one are 0..255."""
_NOT_STEP: Final = np.array(~((0xFF << 32) + 0xFF), _I8)
_EVEN_BYTES: Final = bytes(range(0, 256, 2))

_PREPARED: Final = 8192
"""The length of the two arrays below. Decoding uses prefixes of them; a payload of more pairs needs new arrays."""
_RAMP: Final = np.arange(_PREPARED, dtype=_I8)
_TRUE: Final = np.ones(_PREPARED, bool)

# Bound once, because thirty attribute lookups take a twentieth of the time of a decode.
_unpack_u32 = _U32.unpack_from
_frombuffer = np.frombuffer
_new_array = np.empty
_view_array = np.ndarray
_running_sum = np.add.accumulate
_sum_runs = np.add.reduceat
_subtract = np.subtract
_shift_right = np.right_shift
_flip = np.bitwise_xor


@cache
def _packed_deltas() -> npt.NDArray[np.int64]:
    """int64 (65536,): entry ``dx | dy << 8`` (raw bytes) is the signed ``dx + (dy << 32)``. Computed at first use."""
    raw = np.arange(1 << 16, dtype=np.uint16).astype(_U2).view(np.int8).astype(_I8)
    return raw[0::2] + (raw[1::2] << 32)


def decode_payload(payload: bytes) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """
    Decode one inflated payload.

    Args:
        payload: the whole payload. The result holds no reference to it.

    Returns:
        ``(points, channel_offsets)``: int32 (n, 2) in native pixels, and int32 (channels + 1,). Channel c is
        ``points[channel_offsets[c]:channel_offsets[c + 1]]``. Both arrays are new, owned by the caller and read-only.

    Raises:
        DecodeError: the payload breaks the format. No allocation is larger than a small multiple of the payload.
    """
    n_bytes = len(payload)
    if n_bytes < 4 or n_bytes > MAX_PAYLOAD_BYTES:
        raise DecodeError(
            f"payload: expected 4..{MAX_PAYLOAD_BYTES} bytes, of which the first 4 count the channels, found {n_bytes}"
        )
    (n_channels,) = _unpack_u32(payload)
    header = 4 + 4 * n_channels
    if header > n_bytes:
        raise DecodeError(
            f"payload: {n_channels} channels need a table of {header} bytes, found a payload of {n_bytes} bytes"
        )
    if n_channels == 0:
        _refuse_unequal_total(header, n_bytes)
        return _empty()
    counts = _frombuffer(payload, _U4, n_channels + 1)
    sizes = counts.tolist()
    sizes[0] = _MIN_CHANNEL_BYTES  # the channel count's slot, which min() must ignore
    total = sum(sizes) - _MIN_CHANNEL_BYTES + header
    odd = payload[4:header:4].translate(None, _EVEN_BYTES)  # the low bytes of the sizes that are odd
    if total != n_bytes or odd or min(sizes) < _MIN_CHANNEL_BYTES:
        _refuse_sizes(sizes[1:], total, n_bytes)

    ends = counts.astype(_I8)
    ends[0] = 0
    ends = _running_sum(ends)
    _shift_right(ends, _ONE, ends)  # from bytes to 2-byte pairs; a channel has one more pair than points
    n_pairs = (n_bytes - header) >> 1
    if n_pairs <= _PREPARED:
        offsets = ends - _RAMP[: n_channels + 1]
        keep = _TRUE[:n_pairs].copy()
    else:
        offsets = ends - np.arange(n_channels + 1)
        keep = np.ones(n_pairs, bool)
    starts = ends[:-1]
    firsts = offsets[:-1]
    pairs = _frombuffer(payload, _U2, n_pairs, header)
    keep[starts] = False  # drops the pair of x0; the pair of y0 stays as the slot of the base point
    kept = pairs[keep]
    bases = _new_array((n_channels, 2), _I4)
    bases[:, 0] = pairs[starts]
    bases[:, 1] = kept[firsts]
    base = bases.view(_I8)[:, 0]

    packed = _packed_deltas().take(kept)
    packed[firsts] = base
    if n_channels > 1:
        channel_ends = _sum_runs(packed, firsts)
        rest = base[1:]
        _subtract(rest, channel_ends[:-1], rest)
        packed[firsts] = base
    packed[0] += _BIAS_SCALAR
    packed = _running_sum(packed)
    _flip(packed, _BIAS, packed)
    packed.setflags(write=False)
    channel_offsets = offsets.astype(_I4)
    channel_offsets.setflags(write=False)
    # Both are views of a read-only array, so callers cannot make them writable.
    return _view_array((n_pairs - n_channels, 2), _I4, packed), channel_offsets.view()


def _empty() -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    points, offsets = np.empty((0, 2), np.int32), np.zeros(1, np.int32)
    points.setflags(write=False)
    offsets.setflags(write=False)
    return points.view(), offsets.view()


def _refuse_unequal_total(total: int, n_bytes: int) -> None:
    if total != n_bytes:
        raise DecodeError(f"payload: its channel table describes {total} bytes, found {n_bytes} bytes")


def _refuse_sizes(sizes: list[int], total: int, n_bytes: int) -> None:
    """Raise the error for invalid channel sizes. Called only if the sizes are invalid."""
    for channel, size in enumerate(sizes):
        if size < _MIN_CHANNEL_BYTES:
            raise DecodeError(f"payload: channel {channel}: expected a size of at least 4 bytes, found {size}")
        if size & 1:
            raise DecodeError(f"payload: channel {channel}: expected an even size, found {size} bytes")
    _refuse_unequal_total(total, n_bytes)


def encode_payload(points: npt.NDArray[np.int32], channel_offsets: npt.NDArray[np.int32]) -> bytes:
    """
    Encode points as one payload. The exact inverse of :func:`decode_payload`.

    Args:
        points: int32 (n, 2).
        channel_offsets: int32 (channels + 1,), increasing from 0 to n.

    Returns:
        The inflated payload.

    Raises:
        ValueError: the format cannot hold these points: a channel has no points, a base is outside 0..65535, or a step
            is outside -128..127. The message names the channel and the point. Or the payload is longer than
            :data:`MAX_PAYLOAD_BYTES`.
    """
    offsets = channel_offsets.astype(np.int64)
    lengths = offsets[1:] - offsets[:-1]
    n_channels = len(lengths)
    if n_channels and lengths.min() < 1:
        raise ValueError(f"channel {int(lengths.argmin())} has no point; the format needs at least a base point")
    n_pairs = len(points) + n_channels
    n_bytes = 4 + 4 * n_channels + 2 * n_pairs
    if n_bytes > MAX_PAYLOAD_BYTES:
        raise ValueError(f"expected a payload of at most {MAX_PAYLOAD_BYTES} bytes, found {n_bytes} bytes")
    firsts = offsets[:-1]
    bases = points[firsts]
    if bases.size and (bases.min() < 0 or bases.max() > 0xFFFF):
        channel = int(((bases < 0) | (bases > 0xFFFF)).any(axis=1).argmax())
        raise ValueError(f"channel {channel} starts at {tuple(bases[channel].tolist())}, outside 0..65535")
    # x and y as one number, as in decoding. Its steps are exact: with so few points, none can be 2^31 from its base.
    both = np.ascontiguousarray(points, _I4).view(_I8)[:, 0] ^ _BIAS
    steps = np.empty_like(both)
    np.subtract(both[1:], both[:-1], out=steps[1:])
    steps[firsts] = 0
    steps += _LEAST_STEP
    if (steps & _NOT_STEP).any():
        raise ValueError(_unencodable_step(points, offsets))
    steps = ((steps & 0xFF) | ((steps >> 24) & 0xFF00)) ^ 0x8080  # without the bias, as two bytes
    starts = firsts + np.arange(n_channels)
    is_step = np.ones(n_pairs, bool)
    is_step[starts] = False
    words = np.empty(n_pairs, _U2)
    words[is_step] = steps
    words[starts] = bases[:, 0]
    words[starts + 1] = bases[:, 1]
    sizes = ((lengths + 1) * 2).astype(_U4)
    return _U32.pack(n_channels) + sizes.tobytes() + words.tobytes()


def _unencodable_step(points: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64]) -> str:
    """What the first step is that does not fit, for a message."""
    steps = np.diff(points.astype(np.int64), axis=0, prepend=0)
    steps[offsets[:-1]] = 0
    point = int(((steps < -128) | (steps > 127)).any(axis=1).argmax())
    channel = int(np.searchsorted(offsets, point, side="right")) - 1
    return (
        f"channel {channel}: the step to its point {point - int(offsets[channel])} is {tuple(steps[point].tolist())},"
        " outside -128..127; add points in between"
    )
