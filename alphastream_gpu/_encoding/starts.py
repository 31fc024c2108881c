"""
Starts: decides where the path round each border starts, and finds its closing segment.

A module of kernels: numba compiles it (_runtime/kernels.py), and the tests also run it as plain Python.

The rasterizer closes a channel by itself, so the last segment of an outer border's path costs nothing. It may also be
longer than a step of the format. So the closing segment is used for a straight run of equal steps: a path starts where
its border's longest run ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["SIGNATURES", "longest_run_ends", "straight_runs"]

Int = npt.NDArray[np.int32]
Long = npt.NDArray[np.int64]

SIGNATURES = {
    "longest_run_ends": "(int32[::1], int32[::1], int64[::1], boolean[::1])",
    "straight_runs": "(int32[::1], int32[::1], int64[::1], boolean[::1], int64[::1], boolean[::1])",
}


def longest_run_ends(x: Int, y: Int, offsets: Long, is_hole: Any) -> Long:
    """
    Choose where the paths start: an outer border's where its longest run of equal steps ends, a hole's at its first
    pixel, which is connected with the anchor.

    Returns:
        int64 (borders,): for each border, an index in the chains. A new array.
    """
    starts = offsets[:-1].copy()
    for b in range(len(is_hole)):
        begin, n = offsets[b], offsets[b + 1] - offsets[b]
        if is_hole[b] or n < 3:
            continue
        longest, run, run_x, run_y = 0, 0, 9, 9
        here = begin
        for _ in range(2 * n):
            there = here + 1 if here + 1 < begin + n else begin
            step_x, step_y = x[there] - x[here], y[there] - y[here]
            run = run + 1 if step_x == run_x and step_y == run_y else 1
            run_x, run_y = step_x, step_y
            if run > longest:
                longest = run
                starts[b] = there
                if run >= n:  # pragma: no cover - a closed chain has steps in several directions
                    break
            here = there
    return starts


def straight_runs(x: Int, y: Int, offsets: Long, is_hole: Any, starts: Long, is_stop: Any) -> Long:
    """
    Count the steps at the end of each path that one closing segment may replace: equal steps, without a stop between.

    Args:
        x, y, offsets, is_hole: as borders.py returns them.
        starts: int64 (borders,), as :func:`longest_run_ends` returns them.
        is_stop: bool (n,): pixels of the chains that must be vertices.

    Returns:
        int64 (borders,); 0 for a hole, whose path is not closed by the rasterizer. A new array.
    """
    counts = np.zeros(len(is_hole), np.int64)
    for b in range(len(is_hole)):
        begin, n = offsets[b], offsets[b + 1] - offsets[b]
        if is_hole[b]:
            continue
        there, run_x, run_y = starts[b], 0, 0
        for k in range(n - 1, 0, -1):
            here = there - 1 if there > begin else begin + n - 1
            step_x, step_y = x[there] - x[here], y[there] - y[here]
            if k < n - 1 and (step_x != run_x or step_y != run_y):
                break
            run_x, run_y, there = step_x, step_y, here
            counts[b] += 1
            if is_stop[here]:
                break
    return counts
