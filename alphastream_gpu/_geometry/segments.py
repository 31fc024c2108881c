"""
Segments: makes the line segments of the channels of a frame. Used by the numpy twin and by the GL renderer.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["FLOAT_COORDINATE", "FLOAT_EXTENT", "Box", "Channels", "Segments", "segments_of"]

Int64 = npt.NDArray[np.int64]

FLOAT_EXTENT: Final = 1 << 17
"""The longest segment whose pixels and crossings are exact in float64 (fill.py and outline.py, "Strategy")."""
FLOAT_COORDINATE: Final = 1 << 24
"""The largest coordinate for which they are exact."""


class Box(NamedTuple):
    """The smallest box of lattice points that contains some points; all four bounds are inclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def is_inside(self, width: int, height: int) -> bool:
        """Whether the box lies inside the window ``0..width - 1`` x ``0..height - 1``."""
        return self.left >= 0 and self.top >= 0 and self.right < width and self.bottom < height

    @property
    def reach(self) -> int:
        """The largest magnitude of a coordinate in the box."""
        return max(abs(self.left), abs(self.top), abs(self.right), abs(self.bottom))


class Segments(NamedTuple):
    """
    Directed segments from a to b; the segments of closed channels come first. All arrays are int64 (n,), contiguous.
    """

    ax: Int64
    ay: Int64
    bx: Int64
    by: Int64
    dx: Int64
    """bx - ax"""
    dy: Int64
    """by - ay"""
    channel: Int64
    """The channel that each segment belongs to."""
    n_closed: int
    """Segments ``[:n_closed]`` bound an interior. They belong to channels of three points or more and include the
    closing segments. The other segments are the lines of two-point channels."""
    box: Box
    """The box of all points of the frame, including points that draw nothing."""

    @property
    def n_segments(self) -> int:
        """The number of segments, including the lines."""
        return self.ax.size


class Channels(Protocol):
    """The interface of ``FrameGeometry`` that this module and planes.py use; frame.py itself imports planes.py."""

    @property
    def points(self) -> npt.NDArray[np.int32]: ...

    @property
    def channel_offsets(self) -> npt.NDArray[np.int32]: ...


def segments_of(geometry: Channels) -> Segments:
    """
    The segments that a frame draws (docs/coverage.md, "Channels").

    A channel of n >= 3 points gives n segments, including the closing one. If the last point equals the first, the
    closing segment has no length and repeats a pixel that is drawn anyway. A channel of two points gives one line. A
    channel of one point or none gives no segment.
    """
    points, offsets = geometry.points, geometry.channel_offsets
    ax = points[:, 0].astype(np.int64)
    ay = points[:, 1].astype(np.int64)
    if not ax.size:
        return Segments(ax, ay, ax, ay, ax, ay, ax, 0, Box(0, 0, 0, 0))
    box = Box(int(ax.min()), int(ay.min()), int(ax.max()), int(ay.max()))
    counts = offsets[1:] - offsets[:-1]
    channel = np.arange(len(counts)).repeat(counts)
    firsts, lasts = offsets[:-1], offsets[1:] - 1
    fewest = int(counts.min())
    if fewest == 0:
        firsts, lasts = firsts[counts > 0], lasts[counts > 0]
    bx, by = _closed(ax, firsts, lasts), _closed(ay, firsts, lasts)
    if fewest >= 3:
        return Segments(ax, ay, bx, by, bx - ax, by - ay, channel, ax.size, box)
    count = counts[channel]
    is_first = np.arange(ax.size) == offsets[channel]
    closed = np.flatnonzero(count >= 3)
    order = np.concatenate((closed, np.flatnonzero((count == 2) & is_first)))
    ax, ay, bx, by = ax[order], ay[order], bx[order], by[order]
    return Segments(ax, ay, bx, by, bx - ax, by - ay, channel[order], len(closed), box)


def _closed(start: Int64, firsts: npt.NDArray[np.int32], lasts: npt.NDArray[np.int32]) -> Int64:
    """The successor of each point in its channel. The successor of the last point is the first point."""
    end = np.empty_like(start)
    end[:-1] = start[1:]
    end[lasts] = start[firsts]
    return end
