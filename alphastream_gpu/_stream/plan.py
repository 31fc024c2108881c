"""
Plans: decides which frames one read fetches. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .._sources.ranges import ByteRange

__all__ = ["FrameSpan", "plan_reads"]


@dataclass(frozen=True, slots=True)
class FrameSpan:
    """Neighbouring frames that one read fetches."""

    first: int
    """First frame, inclusive."""
    stop: int
    """Last frame, exclusive."""
    bytes: ByteRange
    """Where their blocks lie, without a gap."""

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
