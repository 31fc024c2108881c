"""
GeometryCache: the last frames used, by index. Not thread-safe by itself; its session's lock guards it.

Least recently used goes first. Preferring what is far from the play head was turned down: the prefetch window is a
fraction of the cache, so both rules keep what is about to be played, and only this one also keeps what a player goes
back to.
"""

from __future__ import annotations

from collections import OrderedDict

from ._geometry import FrameGeometry

__all__ = ["GeometryCache"]


class GeometryCache:
    """
    Args:
        capacity: most frames kept.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
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

    def put(self, index: int, geometry: FrameGeometry) -> None:
        """Keep a frame; the least recently used one goes if there are too many."""
        before = self._frames.pop(index, None)
        if before is not None:
            self.nbytes -= before.nbytes
        self._frames[index] = geometry
        self.nbytes += geometry.nbytes
        while len(self._frames) > self._capacity:
            _, dropped = self._frames.popitem(last=False)
            self.nbytes -= dropped.nbytes
            self.evicted += 1

    def clear(self) -> None:
        """Drop everything."""
        self._frames.clear()
        self.nbytes = 0
