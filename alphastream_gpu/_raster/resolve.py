"""
Resolve: puts the pixels of the raster grid where the output shows them (docs/coverage.md, "Scaling").
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from .._geometry.aligned import aligned_empty
from .grid import Grid

__all__ = ["resolve", "unpack"]

Mask = npt.NDArray[np.uint8]
_PART_BYTES: Final = 1 << 16
"""Bytes that are unpacked at a time. For blocks of this size, glibc neither takes memory from the system nor returns
it, and freeing them changes none of its thresholds."""


def unpack(words: npt.NDArray[np.uint64], columns: int, out: Mask | None = None, *, value: int = 255) -> Mask:
    """
    Convert bits to bytes.

    Args:
        words: uint64 (rows, ceil(columns / 64)), the lowest bit leftmost.
        columns: the number of pixels in a row.
        out: uint8 (rows, columns), gets the result.
        value: 255 or 1, what a bit that is set becomes.

    Returns:
        uint8 (rows, columns), 0 or `value`, C-contiguous; `out`, or a new aligned array.
    """
    rows = len(words)
    little = words.astype("<u8", copy=False).view(np.uint8)
    mask = aligned_empty((rows, columns)) if out is None else out
    width = 64 * words.shape[1]
    step = max(1, _PART_BYTES // max(1, width))
    for first in range(0, rows, step):
        part = slice(first, first + step)
        bits = np.unpackbits(little[part].reshape(-1), bitorder="little").reshape(-1, width)
        if value == 1:
            mask[part] = bits[:, :columns]
        else:
            np.negative(bits[:, :columns], out=mask[part])  # 1 becomes 255 in uint8
    return mask


def resolve(mask: Mask, grid: Grid, out: Mask | None = None) -> Mask:
    """
    Put the columns and rows of the raster where the output shows them. A raster that is the output is returned
    unchanged.

    Args:
        mask: uint8 (rows, columns).
        grid: what the raster is of.
        out: uint8 (height, width), gets the result; `mask` itself if that is the output already.
    """
    columns, rows = grid.x.places, grid.y.places
    if columns is not None:
        wide = out if out is not None and rows is None else aligned_empty((len(mask), columns.size))
        mask = mask.take(columns, axis=1, out=wide, mode="clip")  # "raise" would buffer the output
    if rows is not None:
        high = aligned_empty((rows.size, mask.shape[1])) if out is None else out
        mask = mask.take(rows, axis=0, out=high, mode="clip")
    return mask
