"""
FrameGeometry: the polylines of one frame. Converts from and to payloads.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from .._format.polystream import decode_payload, encode_payload
from .planes import boxes_of, planes_of

__all__ = ["FrameGeometry", "check_geometry"]


class FrameGeometry:
    """
    The channels of one frame, which are rasterized to a mask.

    Immutable, compared and hashed by value, safe to share between threads.

    Args:
        points: int32 (n, 2), x and y in native pixels, row 0 at the top. Any int32 value is allowed; rasterizing clips
            the channels to the native window. The array is copied.
        channel_offsets: int32 (channels + 1,), from 0 to n, never decreasing. Channel c is
            ``points[channel_offsets[c]:channel_offsets[c + 1]]``. If omitted, all points are one channel.

    Raises:
        ValueError: a shape or an offset is invalid, or a coordinate does not fit int32.
        TypeError: the points are not integers.
    """

    __slots__ = ("_bounds", "_boxes", "_channel_offsets", "_plane_count", "_planes", "_points")

    _points: npt.NDArray[np.int32]
    _channel_offsets: npt.NDArray[np.int32]
    # Computed at first use. Two threads that do so at the same time compute equal values.
    _bounds: tuple[int, int, int, int]
    _boxes: npt.NDArray[np.int32]
    _planes: npt.NDArray[np.int32] | None
    _plane_count: int

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
            payload: the polystream of one frame, as :meth:`to_payload` makes it. The result holds no reference to it.

        Raises:
            DecodeError: the payload breaks the format. The message names the channel, the expected and the found value.
        """
        self = cls.__new__(cls)
        self._points, self._channel_offsets = decode_payload(
            payload if type(payload) is bytes else bytes(memoryview(payload))
        )
        return self

    def to_payload(self) -> bytes:
        """
        Encode as a payload. Geometry from :meth:`from_payload` gives the same bytes again.

        Raises:
            ValueError: the format cannot hold a step or a base point. The message names the channel and the point. Or
                the payload would be longer than 32 MiB.
        """
        return encode_payload(self._points, self._channel_offsets)

    def triangle_strip(self, kind: Literal["cover", "parity"] = "cover") -> npt.NDArray[np.float32]:
        """
        Convert the frame to one triangle strip in native coordinates, for callers who draw polygons themselves.

        Polygons are joined by triangles without area, so drawing needs no index buffer and no primitive restart.

        Args:
            kind: ``"cover"``: drawn without blending, culling or stencil, at any scale, the strip covers the even-odd
                interior of each channel. At native size, with pixel centres on the lattice (vertices at + 0.5), the
                result differs from the exact mask only on the outline pixels of the mask. ``"parity"``: the points of
                the polygons in zigzag order; correct only if each triangle flips the pixels that it covers (XOR).

        Returns:
            float32 (n, 2), x and y; (0, 2) for a frame without area. A new array, aligned to 64 bytes and owned by the
            caller.

        Raises:
            ValueError: `kind` has another value.
            DecodeError: a cover strip would take too much time or memory: the outlines cross more than 65,536 times, or
                the channels have too many points. The limit is 8,192 points for one channel, and 5,792 for each of two;
                the root of the sum of squares counts. The mask and the parity strip can still be made.
        """
        from .strips import cover_strip, parity_strip

        if kind not in ("cover", "parity"):
            raise ValueError(f"kind: expected 'cover' or 'parity', found {kind!r}")
        return (cover_strip if kind == "cover" else parity_strip)(self._points, self._channel_offsets)

    @property
    def points(self) -> npt.NDArray[np.int32]:
        """
        The points of all channels, x and y in native pixels. int32 (n, 2), read-only.

        A stream gives the same geometry to every caller. Copy an array before other code writes to it by its address
        (DLPack, ``torch.from_numpy``).
        """
        return self._points

    @property
    def channel_offsets(self) -> npt.NDArray[np.int32]:
        """The start of each channel in :attr:`points`, and the end. int32 (channels + 1,), read-only."""
        return self._channel_offsets

    @property
    def channel_count(self) -> int:
        """The number of channels, empty ones included."""
        return len(self._channel_offsets) - 1

    @property
    def boxes(self) -> npt.NDArray[np.int32]:
        """
        The bounding box of each channel, as left, top, right and bottom in native pixels, all inclusive.

        int32 (channels, 4), read-only; (0, 0, -1, -1) for a channel without points. Computed at first use.
        """
        try:
            return self._boxes
        except AttributeError:
            self._boxes = _frozen(boxes_of(self._points, self._channel_offsets))
            return self._boxes

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """The bounding box of all points in native pixels, in the form of :attr:`boxes`; (0, 0, -1, -1) if there are
        none."""
        try:
            return self._bounds
        except AttributeError:
            boxes = self.boxes[self.boxes[:, 2] >= self.boxes[:, 0]]
            if not len(boxes):
                self._bounds = (0, 0, -1, -1)
            else:
                left, top, _, _ = boxes.min(axis=0).tolist()
                _, _, right, bottom = boxes.max(axis=0).tolist()
                self._bounds = (left, top, right, bottom)
            return self._bounds

    @property
    def planes(self) -> npt.NDArray[np.int32] | None:
        """
        The parity plane of each channel, from 0. The interiors of channels in one plane do not overlap.

        int32 (channels,), read-only; None for frames of more than 1,024 closed channels or 64 planes. Computed at first
        use. The renderer needs the planes; computing them before on another thread saves time on the rendering thread.
        """
        try:
            return self._planes
        except AttributeError:
            planes = planes_of(self, self.boxes)
            self._plane_count = 0 if planes is None else int(planes.max(initial=0)) + 1
            self._planes = None if planes is None else _frozen(planes)
            return self._planes

    @property
    def plane_count(self) -> int:
        """The number of planes, 1..64; 0 if :attr:`planes` is None."""
        return 0 if self.planes is None else self._plane_count

    @property
    def nbytes(self) -> int:
        """Bytes of the points and offsets, and of the boxes and planes, whether these are computed yet or not."""
        return self._points.nbytes + self._channel_offsets.nbytes + _CHANNEL_BYTES * self.channel_count

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


def check_geometry(name: str, geometry: object) -> None:
    """Raise TypeError if an argument is not a FrameGeometry, with a hint if it is an array of points."""
    if not isinstance(geometry, FrameGeometry):
        hint = (
            "; FrameGeometry(points, channel_offsets) makes one from points" if isinstance(geometry, np.ndarray) else ""
        )
        raise TypeError(f"{name}: expected a FrameGeometry, found {type(geometry).__name__}{hint}")


_INT32: Final = np.iinfo(np.int32)
_CHANNEL_BYTES: Final = 20
"""Bytes of the box and the plane of a channel."""


def _frozen(array: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """A read-only view that callers cannot make writable."""
    array.setflags(write=False)
    return array.view()


def _as_int32(values: npt.ArrayLike, name: str) -> npt.NDArray[np.int32]:
    """A read-only int32 copy that callers cannot make writable."""
    array = np.asarray(values)
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int32)  # np.asarray([]) is float64
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers, found {array.dtype}")
    if array.dtype != np.int32 and array.size and (array.min() < _INT32.min or array.max() > _INT32.max):
        raise ValueError(f"{name}: expected values that fit int32, found {array.min()}..{array.max()}")
    return _frozen(np.array(array, dtype=np.int32, order="C"))


def _check_offsets(offsets: npt.NDArray[np.int32], n_points: int) -> None:
    if offsets.ndim != 1 or offsets.size == 0:
        raise ValueError(f"channel_offsets: expected the shape (channels + 1,), found {offsets.shape}")
    if offsets[0] != 0 or offsets[-1] != n_points or (offsets[1:] < offsets[:-1]).any():
        raise ValueError(
            f"channel_offsets: expected non-decreasing values from 0 to {n_points}, found {offsets[0]}..{offsets[-1]}"
            + (" with a decrease in between" if offsets[0] == 0 and offsets[-1] == n_points else "")
        )
