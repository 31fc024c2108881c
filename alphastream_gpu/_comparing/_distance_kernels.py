"""
Distance-kernels: the compiled functions of distance.py. Plain Python over arrays; see `_runtime/kernels.py`.
"""

from __future__ import annotations

import numpy as np

__all__ = ["NONE", "column_distances", "farthest_squared"]

NONE = 1 << 30
"""A distance in a column that has no pixel of the other value."""


def column_distances(mask, distances):  # type: ignore[no-untyped-def]
    """
    For each pixel, the distance to the nearest pixel of the other value in its column; NONE if there is none.

    What lies outside the window is unset.

    Args:
        mask: uint8 (height, width), 0 or 1.
        distances: int32 (height, width), for the result.
    """
    height, width = mask.shape
    for x in range(width):
        # The pixel above the window is unset: one row before the first.
        distances[0, x] = 1 if mask[0, x] else NONE
    for y in range(1, height):
        for x in range(width):
            if mask[y, x] != mask[y - 1, x]:
                distances[y, x] = 1
            else:
                distances[y, x] = min(distances[y - 1, x] + 1, NONE)
    for x in range(width):
        if mask[height - 1, x]:
            distances[height - 1, x] = 1
    for y in range(height - 2, -1, -1):
        for x in range(width):
            below = 1 if mask[y, x] != mask[y + 1, x] else min(distances[y + 1, x] + 1, NONE)
            distances[y, x] = min(distances[y, x], below)


def farthest_squared(mask, other, distances):  # type: ignore[no-untyped-def]
    """
    The largest squared distance of a pixel that differs to the nearest pixel at which `mask` has another value; -1 if
    a mask has no such pixel.

    Args:
        mask: uint8 (height, width), 0 or 1.
        other: likewise.
        distances: of :func:`column_distances`.
    """
    height, width = mask.shape
    farthest = np.int64(0)
    for y in range(height):
        for x in range(width):
            if mask[y, x] == other[y, x]:
                continue
            value = mask[y, x]
            own = np.int64(distances[y, x])
            best = own * own
            step = np.int64(1)
            while step * step < best and (step <= x or step < width - x or value):
                for at in (x - step, x + step):
                    if at < 0 or at >= width:
                        # Outside, all is unset: for a set pixel, the nearest such pixel of this row.
                        if value and step * step < best:
                            best = step * step
                    elif mask[y, at] != value:
                        best = min(best, step * step)
                    else:
                        down = np.int64(distances[y, at])
                        best = min(best, down * down + step * step)
                step += 1
            if best >= np.int64(NONE) * NONE:
                return np.int64(-1)
            farthest = max(farthest, best)
    return farthest
