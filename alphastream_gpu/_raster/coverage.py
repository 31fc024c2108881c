"""
Coverage: the exact mask of a frame on the CPU. The definition that the shaders reproduce is docs/coverage.md.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from .._geometry.aligned import aligned_empty, aligned_zeros
from .._geometry.frame import FrameGeometry, check_geometry
from .._geometry.segments import Segments, segments_of
from .._geometry.size import check_size
from .fill import fill_words
from .grid import Grid, grid_of
from .outline import outline_pixels
from .resolve import resolve, unpack

__all__ = ["rasterize", "rasterize_packed"]

_DEFAULT_NATIVE: Final = (2048, 1024)
_PART_BYTES: Final = 1 << 16
"""Of packed bits made at once, as in `resolve`."""


def rasterize(
    geometry: FrameGeometry,
    size: tuple[int, int] | None = None,
    *,
    native_size: tuple[int, int] = _DEFAULT_NATIVE,
) -> npt.NDArray[np.uint8]:
    """
    The mask of a frame.

    Args:
        geometry: the frame.
        size: ``(width, height)`` of the mask, 1..16384 each; `native_size` when omitted. Other sizes than the native
            one are scaled by nearest neighbour; smaller ones cost less.
        native_size: ``(width, height)`` of the grid the points are on, 1..16384 each.

    Returns:
        uint8 (height, width), 0 or 255, row 0 at the top, C-contiguous and aligned to 64 bytes; new and the caller's.

    Raises:
        ValueError: a size outside its range.
    """
    check_geometry("geometry", geometry)
    native_size = check_size("native_size", native_size)
    size = native_size if size is None else check_size("size", size)
    grid = grid_of(native_size, size)
    segments = segments_of(geometry)
    mask = unpack(fill_words(segments, grid), grid.x.size)
    flat = mask.reshape(-1)
    for pixels in outline_pixels(segments, grid):
        flat[pixels] = 255
    return resolve(mask, size)


def rasterize_packed(
    geometry: FrameGeometry, *, native_size: tuple[int, int] = _DEFAULT_NATIVE
) -> npt.NDArray[np.uint8]:
    """
    The mask of a frame at one bit a pixel.

    Args:
        geometry: the frame.
        native_size: ``(width, height)``, 1..16384 each.

    Returns:
        uint8 (height, ceil(width / 8)): pixel x is bit ``x % 8``, counted from the lowest, of byte ``x // 8``; the bits
        behind a row's end are 0. C-contiguous, new and the caller's.
        ``numpy.unpackbits(bits, axis=1, count=width, bitorder="little")`` gives 0 and 1.

    Raises:
        ValueError: a size outside its range.
    """
    check_geometry("geometry", geometry)
    native_size = check_size("native_size", native_size)
    grid = grid_of(native_size, native_size)
    segments = segments_of(geometry)
    n_bytes = (native_size[0] + 7) // 8
    filled = fill_words(segments, grid).astype("<u8", copy=False).view(np.uint8)
    outline = _outline(segments, grid)
    packed: npt.NDArray[np.uint8] = aligned_empty((grid.y.size, n_bytes))
    step = max(1, _PART_BYTES // n_bytes)
    for first in range(0, grid.y.size, step):
        part = slice(first, first + step)
        bits = np.packbits(outline[part], axis=1, bitorder="little")
        np.bitwise_or(filled[part, :n_bytes], bits, out=packed[part])
    return packed


def _outline(segments: Segments, grid: Grid) -> npt.NDArray[np.bool_]:
    outline: npt.NDArray[np.bool_] = aligned_zeros((grid.y.size, grid.x.size), np.bool_)
    flat = outline.reshape(-1)
    for pixels in outline_pixels(segments, grid):
        flat[pixels] = True
    return outline
