"""
ReadyMasks: masks rasterized ahead of the play head, in a pool of their own.

Only the size last asked for is made, and only a few masks are kept: at 2 MB each they are what a cache of geometry
avoids.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from ._geometry import FrameGeometry
from ._raster import rasterize

__all__ = ["ReadyMasks"]

Mask = npt.NDArray[np.uint8]

_KEPT_BEHIND = 2
"""Masks kept behind the head: a player that shows a frame twice, or looks one back, gets it at once."""


class ReadyMasks:
    """
    Args:
        native_size: of the geometry.
        n_ahead: masks made ahead; 0 turns it off.
        n_workers: threads that make them.
    """

    def __init__(self, native_size: tuple[int, int], n_ahead: int, n_workers: int) -> None:
        self._native_size = native_size
        self._n_ahead = n_ahead
        self._n_workers = n_workers
        self._pool = ThreadPoolExecutor(n_workers, thread_name_prefix="alphastream-raster")
        self._lock = threading.Lock()
        self._masks: dict[int, Mask] = {}
        self._size: tuple[int, int] | None = None
        self._wanted: list[int] = []
        self._making: set[int] = set()
        self._workers = 0
        self._geometry_of: Callable[[int], FrameGeometry | None] = lambda index: None
        self._epoch = 0
        self.made = 0
        """Masks made ahead so far."""

    def get(self, index: int, size: tuple[int, int]) -> Mask | None:
        """A ready mask of that size, or None."""
        with self._lock:
            return self._masks.get(index) if size == self._size else None

    def keep(self, index: int, size: tuple[int, int], mask: Mask) -> None:
        """Keep a mask that was made for a caller."""
        with self._lock:
            if size == self._size:
                self._masks[index] = mask

    def aim(
        self, around: range, at: int, size: tuple[int, int], geometry_of: Callable[[int], FrameGeometry | None]
    ) -> None:
        """
        Say what to have ready.

        Args:
            around: the frames ahead, nearest first.
            at: the play head.
            size: of the masks.
            geometry_of: a frame's geometry if it is there, from any thread.
        """
        wanted = list(around[: self._n_ahead])
        with self._lock:
            if size != self._size:
                self._size = size
                self._masks.clear()
                self._epoch += 1
            reach = set(wanted)
            step = -1 if len(wanted) > 1 and wanted[1] < wanted[0] else 1
            reach.update(at - step * k for k in range(_KEPT_BEHIND + 1))
            for index in [index for index in self._masks if index not in reach]:
                del self._masks[index]
            self._wanted = wanted
            self._geometry_of = geometry_of
            self._hire()

    def more_geometry(self) -> None:
        """Frames came in; some of what is wanted may be possible now."""
        with self._lock:
            if self._wanted:
                self._hire()

    def forget(self) -> None:
        """Another source: nothing made so far is of use."""
        with self._lock:
            self._epoch += 1
            self._masks.clear()
            self._wanted = []

    def submit(self, geometry: FrameGeometry, size: tuple[int, int]) -> Callable[[float], Mask]:
        """Rasterize in the pool; the result's function waits for at most so many seconds, and raises TimeoutError."""
        return self._pool.submit(rasterize, geometry, size, native_size=self._native_size).result

    def close(self) -> None:
        """Stop, and wait for the workers."""
        self.forget()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _hire(self) -> None:
        """Send a worker if there is work for one more; the lock is held."""
        todo = sum(index not in self._masks and index not in self._making for index in self._wanted)
        if self._workers < min(self._n_workers, todo):
            self._workers += 1
            try:
                self._pool.submit(self._work)
            except RuntimeError:  # shut down meanwhile
                self._workers -= 1

    def _work(self) -> None:
        """Make masks until nothing wanted can be made."""
        while True:
            with self._lock:
                epoch, size = self._epoch, self._size
                task = self._next()
                if task is None or size is None:
                    self._workers -= 1
                    return
                index, geometry = task
                self._making.add(index)
            try:
                mask = rasterize(geometry, size, native_size=self._native_size)
                mask.setflags(write=False)
            finally:
                with self._lock:
                    self._making.discard(index)
            with self._lock:
                if epoch == self._epoch and index in self._wanted:
                    self._masks[index] = mask
                    self.made += 1

    def _next(self) -> tuple[int, FrameGeometry] | None:
        for index in self._wanted:
            if index not in self._masks and index not in self._making:
                geometry = self._geometry_of(index)
                if geometry is not None:
                    return index, geometry
        return None
