"""
Coverage: makes the exact mask of a frame on the CPU. docs/coverage.md defines the mask, and ``tests/oracle.py`` is that
definition in plain Python, with which the tests compare every mask.

The compiled twin makes the mask if it is ready, and the numpy twin otherwise. Both make the same bits. These files hold
the rules:

- ``fill.py``: the interior, by the even-odd rule
- ``outline.py``: the pixels of the lines
- ``grid.py`` and ``resolve.py``: scaling to the size of the output
- ``runs.py``: all of these rules for the compiled twin
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final, ParamSpec, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt

from .._geometry.aligned import aligned_empty, aligned_zeros
from .._geometry.frame import FrameGeometry, check_geometry
from .._geometry.segments import Segments, segments_of
from .._geometry.size import check_size
from .compiled import Backend, twin
from .fill import fill_words
from .grid import Grid, grid_of
from .outline import outline_pixels
from .resolve import resolve, unpack

__all__ = ["mask_steps", "rasterize", "rasterize_packed"]

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)
Mask = npt.NDArray[np.uint8]

_DEFAULT_NATIVE: Final = (2048, 1024)
_PART_BYTES: Final = 1 << 16
"""Bytes of packed bits that are made at a time, as in resolve.py."""


class _WithBackend(Protocol[P, T_co]):
    """A function that says what ran. A plain function has an attribute like a class, but no type checker knows it."""

    backend: Backend

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co: ...


def _with_backend(function: Callable[P, T_co]) -> _WithBackend[P, T_co]:
    named = cast("_WithBackend[P, T_co]", function)
    named.backend = "numpy"
    return named


@_with_backend
def rasterize(
    geometry: FrameGeometry,
    size: tuple[int, int] | None = None,
    *,
    native_size: tuple[int, int] = _DEFAULT_NATIVE,
    out: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """
    Rasterize a frame to a mask.

    Args:
        geometry: the frame.
        size: ``(width, height)`` of the mask, 1..16384 each; `native_size` if omitted. A mask of another size is scaled
            by nearest neighbour. Smaller masks take less time.
        native_size: ``(width, height)`` of the grid that the points are on, 1..16384 each.
        out: uint8 (height, width), C-contiguous and writable: the array that gets the mask, whatever is in it. A caller
            that gives the same array again and again saves the memory of new ones.

    Returns:
        uint8 (height, width), 0 or 255, row 0 at the top: `out`, or a new C-contiguous array, aligned to 64 bytes and
        owned by the caller.

    Raises:
        ValueError: a size is outside its range, or `out` has another shape, is not C-contiguous or is read-only.
        TypeError: `out` is not an array of uint8.

    ``rasterize.backend`` is ``"numba"`` or ``"numpy"``: what made the last mask of this process, on any thread. numba
    makes masks if it is installed (the extra ``[fast]``), after the first masks, and if a frame is not far larger than
    real ones. The bits are the same.
    """
    check_geometry("geometry", geometry)
    native_size = check_size("native_size", native_size)
    size = native_size if size is None else check_size("size", size)
    if out is not None:
        _check_out(out, size)
    compiled = _compiled(geometry, size, native_size, out)
    if compiled is not None:
        return compiled
    steps = _numpy_steps(geometry, size, native_size, out)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            mask: Mask = end.value
            return mask


def mask_steps(
    geometry: FrameGeometry, size: tuple[int, int], native_size: tuple[int, int]
) -> Generator[None, None, Mask]:
    """
    :func:`rasterize` in steps, so that a caller can give up between two of them. The sizes are checked already.

    The compiled twin has no steps: its whole work takes less time than a step of the numpy twin.

    Yields:
        Nothing, after each step.

    Returns:
        The mask.
    """
    mask = _compiled(geometry, size, native_size, None)
    if mask is None:
        mask = yield from _numpy_steps(geometry, size, native_size, None)
    return mask


def _compiled(
    geometry: FrameGeometry, size: tuple[int, int], native_size: tuple[int, int], out: Mask | None
) -> Mask | None:
    """The mask, or None if the numpy twin has to make it."""
    mask = twin.draw(geometry, size, native_size, out)
    rasterize.backend = "numpy" if mask is None else "numba"
    return mask


def _numpy_steps(
    geometry: FrameGeometry, size: tuple[int, int], native_size: tuple[int, int], out: Mask | None
) -> Generator[None, None, Mask]:
    grid = grid_of(native_size, size)
    segments = segments_of(geometry)
    words = fill_words(segments, grid)
    yield
    is_final = (grid.x.size, grid.y.size) == size
    mask = unpack(words, grid.x.size, out if is_final else None)
    yield
    flat = mask.reshape(-1)
    for pixels in outline_pixels(segments, grid):
        flat[pixels] = 255
        yield
    return resolve(mask, size, out)


def _check_out(out: object, size: tuple[int, int]) -> None:
    if not isinstance(out, np.ndarray) or out.dtype != np.uint8:
        found = f"an array of {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(f"out: expected an array of uint8, found {found}")
    if out.shape != size[::-1]:
        raise ValueError(f"out: expected the shape (height, width) {size[::-1]}, found {out.shape}")
    flags = out.flags
    if not flags.c_contiguous:
        raise ValueError(f"out: expected a C-contiguous array, found the strides {out.strides}")
    if not flags.writeable:
        raise ValueError("out: expected a writable array, found a read-only one")


@_with_backend
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

    ``rasterize_packed.backend`` says what made the last one, like ``rasterize.backend``.
    """
    check_geometry("geometry", geometry)
    native_size = check_size("native_size", native_size)
    compiled = twin.draw_packed(geometry, native_size)
    rasterize_packed.backend = "numpy" if compiled is None else "numba"
    return _numpy_packed(geometry, native_size) if compiled is None else compiled


def _numpy_packed(geometry: FrameGeometry, native_size: tuple[int, int]) -> Mask:
    grid = grid_of(native_size, native_size)
    segments = segments_of(geometry)
    n_bytes = (native_size[0] + 7) // 8
    filled = fill_words(segments, grid).astype("<u8", copy=False).view(np.uint8)
    outline = _outline(segments, grid)
    packed: Mask = aligned_empty((grid.y.size, n_bytes))
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
