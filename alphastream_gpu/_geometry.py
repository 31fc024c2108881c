"""
FrameGeometry: the polylines of one frame, and their payload form.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from ._polystream import decode_payload, encode_payload

__all__ = ["FrameGeometry"]


class FrameGeometry:
    """
    The channels of one frame: what a mask is made from.

    Immutable, compared and hashed by value, safe to share between threads.

    Args:
        points: int32 (n, 2), x and y in native pixels, row 0 at the top. Any int32 value is allowed; what lies
            outside the native window is clipped when rasterized. Copied.
        channel_offsets: int32 (channels + 1,), starting at 0, ending at n, never falling. Channel c is
            ``points[channel_offsets[c]:channel_offsets[c + 1]]``. Omitted, all points are one channel.

    Raises:
        ValueError: the shapes or the offsets do not fit, or a coordinate does not fit int32.
        TypeError: the points are not integers.
    """

    __slots__ = ("_channel_offsets", "_points")

    _points: npt.NDArray[np.int32]
    _channel_offsets: npt.NDArray[np.int32]

    def __init__(self, points: npt.ArrayLike, channel_offsets: npt.ArrayLike | None = None) -> None:
        self._points = _as_int32(points, "points")
        if self._points.size == 0:
            self._points = self._points.reshape(0, 2)
        if self._points.ndim != 2 or self._points.shape[1] != 2:
            raise ValueError(f"points: expected the shape (n, 2), found {self._points.shape}")
        n = len(self._points)
        if channel_offsets is None:
            channel_offsets = [0, n] if n else [0]
        self._channel_offsets = _as_int32(channel_offsets, "channel_offsets")
        _check_offsets(self._channel_offsets, n)

    @classmethod
    def from_payload(cls, payload: bytes | bytearray | memoryview) -> FrameGeometry:
        """
        Decode an inflated payload.

        Args:
            payload: the polystream of one frame, as :meth:`to_payload` makes it. Not kept.

        Raises:
            DecodeError: the payload breaks the format; the message names the channel, the expected and the found.
        """
        self = cls.__new__(cls)
        self._points, self._channel_offsets = decode_payload(
            payload if type(payload) is bytes else bytes(memoryview(payload))
        )
        return self

    def to_payload(self) -> bytes:
        """
        Encode as a payload; for geometry from :meth:`from_payload`, the same bytes again.

        Raises:
            ValueError: the format cannot hold a step or a base (the message names the channel and point).
        """
        return encode_payload(self._points, self._channel_offsets)

    def triangle_strip(self, kind: Literal["cover", "parity"] = "cover") -> npt.NDArray[np.float32]:
        """
        The frame as one triangle strip, in native coordinates, for callers who draw it themselves.

        Polygons are joined by triangles without area: no index buffer, no primitive restart.

        Args:
            kind: ``"cover"``: drawn plainly, without blending, culling or stencil, at any scale, it covers each
                channel's even-odd interior. At native size, with pixel centres on the lattice (vertices at + 0.5), it
                differs from the exact mask only on the mask's outline pixels. ``"parity"``: the polygons' own points in
                zigzag order; right only when each triangle flips what it covers (XOR).

        Returns:
            float32 (n, 2), x and y; (0, 2) for a frame without area. Aligned to 64 bytes; new and
            the caller's.

        Raises:
            ValueError: another `kind`.
            DecodeError: a cover strip would cost too much: the outlines cross more than 65,536 times, or a channel has
                more than 8,192 points, or two have 5,792 (the root of the sum of squares counts). The mask and the
                parity strip are there all the same.
        """
        from ._strips import cover_strip, parity_strip

        if kind not in ("cover", "parity"):
            raise ValueError(f"kind: expected 'cover' or 'parity', found {kind!r}")
        return (cover_strip if kind == "cover" else parity_strip)(self._points, self._channel_offsets)

    @property
    def points(self) -> npt.NDArray[np.int32]:
        """The points of all channels, x and y in native pixels. int32 (n, 2), read-only."""
        return self._points

    @property
    def channel_offsets(self) -> npt.NDArray[np.int32]:
        """Where each channel starts in :attr:`points`, and the end. int32 (channels + 1,), read-only."""
        return self._channel_offsets

    @property
    def channel_count(self) -> int:
        """The number of channels, empty ones included."""
        return len(self._channel_offsets) - 1

    @property
    def nbytes(self) -> int:
        """Bytes that both arrays hold."""
        return self._points.nbytes + self._channel_offsets.nbytes

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FrameGeometry):
            return NotImplemented
        return np.array_equal(self._channel_offsets, other._channel_offsets) and np.array_equal(
            self._points, other._points
        )

    def __hash__(self) -> int:
        return hash((self._points.tobytes(), self._channel_offsets.tobytes()))

    def __repr__(self) -> str:
        return f"<FrameGeometry channels={self.channel_count} points={len(self._points)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return FrameGeometry, (self._points, self._channel_offsets)


_INT32: Final = np.iinfo(np.int32)


def _as_int32(values: npt.ArrayLike, name: str) -> npt.NDArray[np.int32]:
    """A read-only int32 copy that nobody else can write to."""
    array = np.asarray(values)
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int32)  # np.asarray([]) is float64
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers, found {array.dtype}")
    if array.size and (array.min() < _INT32.min or array.max() > _INT32.max):
        raise ValueError(f"{name}: expected values that fit int32, found {array.min()}..{array.max()}")
    array = np.array(array, dtype=np.int32, order="C")
    array.setflags(write=False)
    return array.view()  # of a frozen base, so that nobody can make it writable again


def _check_offsets(offsets: npt.NDArray[np.int32], n_points: int) -> None:
    if offsets.ndim != 1 or offsets.size == 0:
        raise ValueError(f"channel_offsets: expected the shape (channels + 1,), found {offsets.shape}")
    if offsets[0] != 0 or offsets[-1] != n_points or (offsets[1:] < offsets[:-1]).any():
        raise ValueError(
            f"channel_offsets: expected to rise from 0 to {n_points}, found {offsets[0]}..{offsets[-1]}"
            + (" with a fall in between" if offsets[0] == 0 and offsets[-1] == n_points else "")
        )
