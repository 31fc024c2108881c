"""
GeometryCache: the geometry of the most recently used frames, by index. Not thread-safe by itself; the session's lock
guards it.

The least recently used frame is dropped first. Rejected: dropping the frame that is farthest from the play head. The
prefetch window is a fraction of the cache, so both rules keep the frames that are about to be played. Only the first
rule also keeps the frames to which a player goes back.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from .._geometry.frame import FrameGeometry

__all__ = ["MAX_CACHED_BYTES", "GeometryCache"]

MAX_CACHED_BYTES: Final = 512 * 1024 * 1024
"""Whatever the number of frames: 512 real ones take 1.5 MB, but so many at the payload limit, which a file of a few
megabytes can hold, would take 34 GB."""


class GeometryCache:
    """
    Args:
        capacity: most frames kept.
        max_bytes: most bytes of geometry kept; a single frame may be larger.
    """

    def __init__(self, capacity: int, *, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._frames: OrderedDict[int, FrameGeometry] = OrderedDict()
        self.nbytes = 0
        """Bytes of the geometry kept."""
        self.evicted = 0
        """Frames dropped so far."""

    def __len__(self) -> int:
        return len(self._frames)

    def __contains__(self, index: int) -> bool:
        return index in self._frames

    def get(self, index: int) -> FrameGeometry | None:
        """The frame, which becomes the most recently used one; None if it is not here."""
        geometry = self._frames.get(index)
        if geometry is not None:
            self._frames.move_to_end(index)
        return geometry

    def peek(self, index: int) -> FrameGeometry | None:
        """The frame, without counting as a use."""
        return self._frames.get(index)

    def indices(self) -> list[int]:
        """The frames that are here, the least recently used one first."""
        return list(self._frames)

    def put(self, index: int, geometry: FrameGeometry) -> None:
        """Keep a frame; the least recently used ones go if there are too many, or they are too large."""
        before = self._frames.pop(index, None)
        if before is not None:
            self.nbytes -= before.nbytes
        self._frames[index] = geometry
        self.nbytes += geometry.nbytes
        while len(self._frames) > self._capacity or (self.nbytes > self._max_bytes and len(self._frames) > 1):
            _, dropped = self._frames.popitem(last=False)
            self.nbytes -= dropped.nbytes
            self.evicted += 1

    def clear(self) -> None:
        """Drop everything."""
        self._frames.clear()
        self.nbytes = 0
