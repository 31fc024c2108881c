"""
Encoding: encodes masks to frames, in runs, in several threads, and stores the frames in a spool.

Strategy
--------
Frames are encoded in runs. A run is one job of one thread, and begins without memory of the frame before it. So the
result has the same bytes whatever the number of threads, and however often the job was interrupted. Runs are long where
each frame is encoded like the one before (a tolerance above 0), because the first frame of a run has no such frame.

Masks wait in packed form, a bit for each pixel, so that a run of 64 large masks takes 16 MB. At most one
run more than there are threads is in memory.
"""

from __future__ import annotations

import hashlib
import operator
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from .._comparing import farthest_difference
from .._encoding import MaskEncoder, count_pixels, encode_block
from .._geometry.bits import unpack
from .._geometry.frame import FrameGeometry
from .._raster.coverage import rasterize_packed
from .._runtime.workers import in_order
from .spool import EncodedFrame, Spool

__all__ = ["FrameCoder", "digest_of", "encode_runs", "in_runs"]

T = TypeVar("T")
Bits = npt.NDArray[np.uint8]
"""A mask, a bit for each pixel, rows padded to bytes, least significant bit first: as :func:`rasterize_packed`."""

_RUN_FRAMES: Final = 8
_RUN_FRAMES_STABLE: Final = 64
"""Frames of a run. A run of 64 keeps nearly all of what stable outlines save."""
_LEAST_MISFIT_BYTES: Final = 1000
"""A block below this size is no misfit worth reporting."""
_PNG_OVERHEAD: Final = 57
"""Bytes of a PNG beside its compressed rows: signature, IHDR, and the frames of IDAT and IEND."""
_LEAST_IOU: Final = 0.5
_TOLERANCES: Final = (3.0, 2.0, 1.5, 1.0, 0.75, 0.5)
"""Pixels; what is tried, the largest first, for a least intersection over union."""


@dataclass(frozen=True, slots=True)
class FrameCoder:
    """
    How masks become frames.

    Args:
        native_size: ``(width, height)`` of all masks.
        tolerance: in pixels; 0 is exact.
        min_iou: the least intersection over union of each frame, in place of a tolerance.
        min_area: in pixels; smaller spots and holes are dropped.
        effort: 1..3.
        stable: prefer the vertices of the frame before.
    """

    native_size: tuple[int, int]
    tolerance: float = 0.0
    min_iou: float | None = None
    min_area: int = 0
    effort: int = 2
    stable: bool = True

    def __post_init__(self) -> None:
        self._encoder(self.tolerance)  # it checks the other arguments
        if self.min_iou is not None:
            if not _LEAST_IOU <= self.min_iou <= 1.0:
                raise ValueError(f"min_iou: expected {_LEAST_IOU}..1, found {self.min_iou}")
            if self.tolerance:
                raise ValueError("min_iou: expected no tolerance beside it; it chooses the tolerance of each frame")
            if self.min_area > 1:
                raise ValueError(
                    "min_iou: expected no min_area beside it, because the spots that it drops count as wrong pixels"
                )

    @property
    def run_frames(self) -> int:
        """How many frames are encoded in a run."""
        return _RUN_FRAMES_STABLE if self.stable and self._tolerances != (0.0,) else _RUN_FRAMES

    def encode(self, masks: Iterable[Bits]) -> list[EncodedFrame]:
        """Encode the frames of a run. On any thread; most of the time other threads may run."""
        encoders = list(map(self._encoder, self._tolerances))
        return [self._best(encoders, bits) for bits in masks]

    @property
    def _tolerances(self) -> tuple[float, ...]:
        return (self.tolerance,) if self.min_iou is None else (*_TOLERANCES, 0.0)

    def _encoder(self, tolerance: float) -> MaskEncoder:
        return MaskEncoder(
            self.native_size, tolerance=tolerance, min_area=self.min_area, effort=self.effort, stable=self.stable
        )

    def _best(self, encoders: list[MaskEncoder], bits: Bits) -> EncodedFrame:
        """The frame of the first encoder that is good enough; the last one's always is."""
        for encoder in encoders:
            frame = self._measured(encoder.encode_packed(bits), bits)
            if self.min_iou is None or frame.iou >= self.min_iou:
                break
        return frame

    def _measured(self, geometry: FrameGeometry, bits: Bits) -> EncodedFrame:
        block = encode_block(geometry.to_payload(), self.effort)
        got = rasterize_packed(geometry, native_size=self.native_size)
        n_set, n_differing = count_pixels(bits, got)
        farthest = 0.0
        if n_differing:
            farthest = farthest_difference(*(unpack(one, self.native_size[0]) for one in (bits, got)))
        digest = digest_of(got)
        given = digest_of(bits) if n_differing else digest
        return EncodedFrame(block, digest, given, n_set, n_differing, _bitmap_bytes(len(block), bits), farthest)


def digest_of(content: Bits | bytes) -> bytes:
    """The hash of a packed mask or of a block, 16 bytes."""
    data = content if isinstance(content, bytes) else content.data
    return hashlib.sha256(data).digest()[:16]  # processors have instructions for it: half of blake2b's time


def in_runs(masks: Iterable[Bits], run_frames: int) -> Iterator[list[Bits]]:
    """Group masks. If reading ends with an error, what was read before is given first."""
    run: list[Bits] = []
    try:
        for mask in masks:
            run.append(mask)
            if len(run) == run_frames:
                yield run
                run = []
    except Exception:
        if run:
            yield run
        raise
    if run:
        yield run


def encode_runs(
    runs: Iterable[list[T]],
    work: Callable[[list[T]], list[EncodedFrame]],
    hash_of: Callable[[T], bytes],
    spool: Spool,
    *,
    jobs: int,
    on_frames: Callable[[int], None],
) -> int:
    """
    Encode runs in threads, and add their frames to a spool, in order.

    What the spool has from an interrupted job is kept up to the first run that was made of something else. If the input
    ends with an error, what was read before it is encoded and kept; then the error is raised.

    Args:
        runs: the input; read on this thread, no faster than the runs are encoded.
        work: encodes a run, on any thread.
        hash_of: the hash of what a frame is made of, as :attr:`EncodedFrame.given`.
        spool: gets the frames.
        jobs: threads.
        on_frames: called on this thread with the number of frames in the spool, also of those that are kept.

    Returns:
        The number of frames that are kept.
    """
    n_kept = 0

    def rest() -> Iterator[list[T]]:
        nonlocal n_kept
        is_kept = True
        for run in runs:
            if is_kept:
                known = spool.given[n_kept : n_kept + len(run)]
                is_kept = len(known) == len(run) and all(map(operator.eq, map(hash_of, run), known))
                if is_kept:
                    n_kept += len(run)
                    on_frames(n_kept)
                    continue
                spool.cut(n_kept)
            yield run
        if is_kept:  # the input has ended. After an error or Ctrl-C, what comes later is still worth keeping
            spool.cut(n_kept)

    with closing(in_order(work, rest(), jobs=jobs, name="alphastream-encode")) as encoded:
        for frames in encoded:
            spool.add(frames)
            on_frames(len(spool))
    return n_kept


def _bitmap_bytes(n_block: int, bits: Bits) -> int:
    """About the bytes of a PNG of one bit a pixel, without row filters, which do not help such pictures; 0 if that does
    not matter."""
    if n_block < _LEAST_MISFIT_BYTES:
        return 0
    rows = np.zeros((bits.shape[0], bits.shape[1] + 1), np.uint8)
    rows[:, 1:] = bits
    return len(zlib.compress(rows.tobytes(), 9)) + _PNG_OVERHEAD
