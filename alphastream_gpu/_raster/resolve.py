"""
Resolve: scales the raster grid to the output by nearest neighbour (docs/coverage.md, "Scaling").
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from .._geometry.aligned import aligned_empty
from .grid import sampled

__all__ = ["resolve", "unpack"]

Mask = npt.NDArray[np.uint8]
_PART_BYTES: Final = 1 << 16
"""Bytes that are unpacked at a time. For blocks of this size, glibc neither takes memory from the system nor returns
it, and freeing them changes none of its thresholds."""


def unpack(words: npt.NDArray[np.uint64], columns: int, out: Mask | None = None) -> Mask:
    """
    Convert bits to bytes.

    Args:
        words: uint64 (rows, ceil(columns / 64)), the lowest bit leftmost.
        columns: the number of pixels in a row.
        out: uint8 (rows, columns), gets the result.

    Returns:
        uint8 (rows, columns), 0 or 255, C-contiguous; `out`, or a new aligned array.
    """
    rows = len(words)
    little = words.astype("<u8", copy=False).view(np.uint8)
    mask = aligned_empty((rows, columns)) if out is None else out
    width = 64 * words.shape[1]
    step = max(1, _PART_BYTES // max(1, width))
    for first in range(0, rows, step):
        part = slice(first, first + step)
        bits = np.unpackbits(little[part].reshape(-1), bitorder="little").reshape(-1, width)
        np.negative(bits[:, :columns], out=mask[part])  # 1 becomes 255 in uint8
    return mask


def resolve(mask: Mask, output_size: tuple[int, int], out: Mask | None = None) -> Mask:
    """
    Repeat the columns and rows of the raster up to the output size. A raster of that size is returned unchanged.

    Args:
        mask: uint8 (rows, columns).
        output_size: ``(width, height)``, at least the raster's.
        out: uint8 (height, width), gets the result; `mask` itself if that has the size already.
    """
    rows, columns = mask.shape
    width, height = output_size
    if width != columns:
        wide = out if out is not None and height == rows else aligned_empty((rows, width))
        mask = mask.take(sampled(columns, width), axis=1, out=wide, mode="clip")  # "raise" would buffer the output
    if height != rows:
        high = aligned_empty((height, width)) if out is None else out
        mask = mask.take(sampled(rows, height), axis=0, out=high, mode="clip")
    return mask
