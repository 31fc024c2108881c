"""
Resolve: from the raster grid to the output, nearest-neighbour (docs/coverage.md, "Scaling").
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .grid import sampled

__all__ = ["resolve", "unpack"]

Mask = npt.NDArray[np.uint8]


def unpack(words: npt.NDArray[np.uint64], columns: int) -> Mask:
    """
    Bits to bytes.

    Args:
        words: uint64 (rows, ceil(columns / 64)), the lowest bit leftmost.
        columns: pixels in a row.

    Returns:
        uint8 (rows, columns), 0 or 255, C-contiguous.
    """
    rows = len(words)
    little = words.astype("<u8", copy=False).view(np.uint8)
    bits = np.unpackbits(little.reshape(-1), bitorder="little").reshape(rows, -1)
    if bits.shape[1] == columns:
        return np.negative(bits, out=bits)  # 1 becomes 255 in uint8
    return np.negative(bits[:, :columns], order="C")


def resolve(mask: Mask, output_size: tuple[int, int]) -> Mask:
    """
    Repeat the raster's columns and rows up to the output size; does nothing where the raster has that size already.
    """
    rows, columns = mask.shape
    width, height = output_size
    if width != columns:
        mask = mask.take(sampled(columns, width), axis=1)
    if height != rows:
        mask = mask.take(sampled(rows, height), axis=0)
    return mask
