"""
Drawing: makes the masks of a stream, in any thread, or ahead of a consumer in threads of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt

from .._exceptions import ClosedError
from .._geometry.frame import FrameGeometry
from .._raster.coverage import rasterize
from .._runtime.workers import in_order
from .._stream.stream import AlphaStream

__all__ = ["Drawing", "Mask"]

Mask = npt.NDArray[np.uint8]

_BATCH_FRAMES: Final = 32
"""Frames whose geometry is read at a time. A frame of a hostile file can hold 64 MB."""
_AHEAD_BYTES: Final = 1 << 23
"""Bytes of masks that a thread draws at a time for a consumer, if that is more than one mask."""


class Drawing:
    """
    The masks of a stream in one size.

    Args:
        stream: an open stream; its options have the native size.
        size: width and height of the masks.
    """

    def __init__(self, stream: AlphaStream, size: tuple[int, int]) -> None:
        self.size = size
        self._stream = stream
        self._native_size = stream.config.native_size
        self._is_stopped = threading.Event()

    def stop(self) -> None:
        """End all iterations, on all threads, with ClosedError."""
        self._is_stopped.set()

    def into(self, frames: range, place: Callable[[], Mask] | None = None) -> Iterator[Mask]:
        """
        Draw frames, one after the other.

        Args:
            frames: a range of them.
            place: called for each frame; returns where its mask goes, uint8 (height, width), C-contiguous. One array
                for all of them if omitted.

        Yields:
            Each mask, 0 and 255, in its place.

        Raises:
            ClosedError: :meth:`stop` was called.
            DecodeError: a frame is malformed.
            TransportError: the stream cannot be read.
        """
        if place is None:
            mask: Mask = np.empty(self.size[::-1], np.uint8)
            place = partial(_same, mask)
        for geometry in self._geometries(frames):
            yield rasterize(geometry, self.size, native_size=self._native_size, out=place())

    def ahead(self, frames: Iterable[int], jobs: int) -> Generator[Mask, None, None]:
        """
        Draw frames in threads, ahead of the consumer. Few masks wait: 8 MB or one mask for each thread, and once more.

        Args:
            frames: in any order, also repeated.
            jobs: threads.

        Yields:
            A mask for each frame, in their order; the caller owns the arrays.

        Raises:
            NotReadyError: the system cannot start a thread. Other errors as of :meth:`into`.
        """
        wanted = iter(frames)
        n_frames = max(1, _AHEAD_BYTES // (self.size[0] * self.size[1]))
        parts = iter(lambda: list(islice(wanted, n_frames)), [])
        with closing(in_order(self._drawn, parts, jobs=jobs, name="alphastream-export", may_call=True)) as drawn:
            for masks in drawn:
                yield from masks

    def _drawn(self, frames: list[int]) -> list[Mask]:
        return [rasterize(geometry, self.size, native_size=self._native_size) for geometry in self._geometries(frames)]

    def _geometries(self, frames: Iterable[int]) -> Iterator[FrameGeometry]:
        wanted = iter(frames)
        while batch := list(islice(wanted, _BATCH_FRAMES)):
            for geometry in self._stream.read_batch(batch):
                if self._is_stopped.is_set():
                    raise ClosedError("the export was stopped")
                yield geometry


def _same(mask: Mask) -> Mask:
    return mask
