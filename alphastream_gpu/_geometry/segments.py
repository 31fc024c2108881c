"""
Segments: the line segments that a frame's channels consist of. Shared by the numpy twin and the GL renderer.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["FLOAT_COORDINATE", "FLOAT_EXTENT", "Box", "Channels", "Segments", "segments_of"]

Int64 = npt.NDArray[np.int64]

FLOAT_EXTENT: Final = 1 << 17
"""Longest segment whose pixels and crossings float64 gives exactly (fill.py and outline.py, "Strategy")."""
FLOAT_COORDINATE: Final = 1 << 24
"""Largest coordinate for the same."""


class Box(NamedTuple):
    """The smallest box of lattice points around some points, all four bounds inclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def is_inside(self, width: int, height: int) -> bool:
        """Whether the box lies in the window ``0..width - 1`` x ``0..height - 1``."""
        return self.left >= 0 and self.top >= 0 and self.right < width and self.bottom < height

    @property
    def reach(self) -> int:
        """The largest magnitude of a coordinate in the box."""
        return max(abs(self.left), abs(self.top), abs(self.right), abs(self.bottom))


class Segments(NamedTuple):
    """
    Directed segments a→b, those of closed channels first. All arrays are int64 (n,), contiguous.
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
    """The channel each segment belongs to."""
    n_closed: int
    """Segments ``[:n_closed]`` bound an interior (channels of three points and more, closing segment included); the
    rest are the lines of two-point channels."""
    box: Box
    """Around all points of the frame, also those that draw nothing."""

    @property
    def n_segments(self) -> int:
        """All segments, lines included."""
        return self.ax.size


class Channels(Protocol):
    """What a ``FrameGeometry`` is to this module and to _geometry/planes.py, which it is itself made with."""

    @property
    def points(self) -> npt.NDArray[np.int32]: ...

    @property
    def channel_offsets(self) -> npt.NDArray[np.int32]: ...


def segments_of(geometry: Channels) -> Segments:
    """
    The segments that a frame draws (docs/coverage.md, "Channels").

    A channel of three points and more gives its n segments, the closing one included; where its last point equals
    its first, that one has no length and repeats a pixel that is drawn anyway. Two points give one line; one point or
    none gives nothing.
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
    """Each point's successor within its channel, the first one after the last."""
    end = np.empty_like(start)
    end[:-1] = start[1:]
    end[lasts] = start[firsts]
    return end
