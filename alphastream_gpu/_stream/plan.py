"""
Plans: decides which frames one read fetches. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .._sources.ranges import ByteRange

__all__ = ["FrameSpan", "groups", "plan_batch", "plan_reads"]


@dataclass(frozen=True, slots=True)
class FrameSpan:
    """Neighbouring frames that one read fetches."""

    first: int
    """First frame, inclusive."""
    stop: int
    """Last frame, exclusive."""
    bytes: ByteRange
    """Where their blocks lie. A read of some of the frames covers all of them."""

    def __len__(self) -> int:
        return self.stop - self.first


def plan_reads(
    offsets: Sequence[int] | npt.NDArray[np.int64], frames: Sequence[int], *, max_bytes: int, max_frames: int
) -> list[FrameSpan]:
    """
    Group wanted frames into as few reads as allowed.

    Only frames that stand next to each other, in the file and in `frames`, are joined: blocks are contiguous, so a
    joined read fetches no byte that nobody asked for. Descending runs (backward play) are joined as well.

    Args:
        offsets: block offsets, ``offsets[i]`` to ``offsets[i + 1]`` for frame i.
        frames: wanted frame indices in order of urgency, without repeats.
        max_bytes: the most bytes of a joined read; one larger block is still read whole.
        max_frames: the most frames of a joined read.

    Returns:
        Spans in the order of `frames`, covering each wanted frame exactly once.
    """
    spans: list[FrameSpan] = []
    first = stop = -1
    for frame in frames:
        if first <= frame < stop:
            continue
        grown_first, grown_stop = min(first, frame), max(stop, frame + 1)
        joins = first >= 0 and frame in (first - 1, stop)
        if joins and grown_stop - grown_first <= max_frames and offsets[grown_stop] - offsets[grown_first] <= max_bytes:
            first, stop = grown_first, grown_stop
            continue
        if first >= 0:
            spans.append(FrameSpan(first, stop, ByteRange(int(offsets[first]), int(offsets[stop]))))
        first, stop = frame, frame + 1
    if first >= 0:
        spans.append(FrameSpan(first, stop, ByteRange(int(offsets[first]), int(offsets[stop]))))
    return spans


def plan_batch(
    offsets: Sequence[int] | npt.NDArray[np.int64], frames: Sequence[int], *, max_gap_bytes: int, max_bytes: int
) -> list[FrameSpan]:
    """
    Group wanted frames into as few reads as pay off, whatever lies between them.

    Two frames are joined if the blocks between them take at most `max_gap_bytes`, which are read and dropped.

    Args:
        offsets: block offsets, as of :func:`plan_reads`.
        frames: wanted frame indices, ascending, without repeats.
        max_gap_bytes: the most bytes that are read in vain to save a read; 0 joins neighbours only.
        max_bytes: the most bytes of a joined read; one larger block is still read whole.

    Returns:
        Spans in ascending order, without overlap. Each wanted frame is in exactly one. The first and the last frame of
        a span are wanted.
    """
    bounds: list[tuple[int, int]] = []
    first = stop = -1
    for frame in frames:
        gap, size = offsets[frame] - offsets[stop], offsets[frame + 1] - offsets[first]
        if first >= 0 and gap <= max_gap_bytes and size <= max_bytes:
            stop = frame + 1
            continue
        if first >= 0:
            bounds.append((first, stop))
        first, stop = frame, frame + 1
    if first >= 0:
        bounds.append((first, stop))
    return [FrameSpan(low, high, ByteRange(int(offsets[low]), int(offsets[high]))) for low, high in bounds]


def groups(spans: list[FrameSpan], most_bytes: int) -> Iterator[list[FrameSpan]]:
    """Neighbouring spans in groups of at least one span, and of at most `most_bytes` beyond the first."""
    group: list[FrameSpan] = []
    n_bytes = 0
    for span in spans:
        if group and n_bytes + len(span.bytes) > most_bytes:
            yield group
            group, n_bytes = [], 0
        group.append(span)
        n_bytes += len(span.bytes)
    if group:
        yield group
