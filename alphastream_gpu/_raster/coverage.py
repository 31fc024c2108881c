"""
Coverage: makes the exact mask of a frame on the CPU. docs/coverage.md defines the mask.
"""

from __future__ import annotations

from collections.abc import Generator
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

__all__ = ["mask_steps", "rasterize", "rasterize_packed"]

_DEFAULT_NATIVE: Final = (2048, 1024)
_PART_BYTES: Final = 1 << 16
"""Bytes of packed bits that are made at a time, as in resolve.py."""


def rasterize(
    geometry: FrameGeometry,
    size: tuple[int, int] | None = None,
    *,
    native_size: tuple[int, int] = _DEFAULT_NATIVE,
) -> npt.NDArray[np.uint8]:
    """
    Rasterize a frame to a mask.

    Args:
        geometry: the frame.
        size: ``(width, height)`` of the mask, 1..16384 each; `native_size` if omitted. A mask of another size is scaled
            by nearest neighbour. Smaller masks take less time.
        native_size: ``(width, height)`` of the grid that the points are on, 1..16384 each.

    Returns:
        uint8 (height, width), 0 or 255, row 0 at the top. A new C-contiguous array, aligned to 64 bytes and owned by
        the caller.

    Raises:
        ValueError: a size is outside its range.
    """
    check_geometry("geometry", geometry)
    native_size = check_size("native_size", native_size)
    size = native_size if size is None else check_size("size", size)
    steps = mask_steps(geometry, size, native_size)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            mask: npt.NDArray[np.uint8] = end.value
            return mask


def mask_steps(
    geometry: FrameGeometry, size: tuple[int, int], native_size: tuple[int, int]
) -> Generator[None, None, npt.NDArray[np.uint8]]:
    """
    :func:`rasterize` in steps, so that a caller can give up between two of them. The sizes are checked already.

    Yields:
        Nothing, after each step.

    Returns:
        The mask.
    """
    grid = grid_of(native_size, size)
    segments = segments_of(geometry)
    words = fill_words(segments, grid)
    yield
    mask = unpack(words, grid.x.size)
    yield
    flat = mask.reshape(-1)
    for pixels in outline_pixels(segments, grid):
        flat[pixels] = 255
        yield
    return resolve(mask, size)


def rasterize_packed(
    geometry: FrameGeometry, *, native_size: tuple[int, int] = _DEFAULT_NATIVE
) -> npt.NDArray[np.uint8]:
    """
    Rasterize a frame to a mask with one bit per pixel.

    Args:
        geometry: the frame.
        native_size: ``(width, height)``, 1..16384 each.

    Returns:
        uint8 (height, ceil(width / 8)). Pixel x is bit ``x % 8`` of byte ``x // 8``, counted from the lowest bit; the
        unused bits at the end of a row are 0. A new C-contiguous array, owned by the caller.
        ``numpy.unpackbits(bits, axis=1, count=width, bitorder="little")`` gives the pixels as 0 and 1.

    Raises:
        ValueError: a size is outside its range.
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
