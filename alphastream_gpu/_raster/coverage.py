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

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any, Final, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, cast, overload

import numpy as np
import numpy.typing as npt

from .._geometry.aligned import aligned_empty, aligned_zeros
from .._geometry.frame import FrameGeometry, check_geometry
from .._geometry.segments import Segments, segments_of
from .._geometry.size import check_size
from .compiled import Backend, CompiledTwin, twin
from .fill import fill_words
from .grid import Chosen, Grid, crop_of, grid_of
from .outline import outline_pixels
from .resolve import resolve, unpack

__all__ = ["Bool", "Picked", "Uint8", "drawn", "mask_steps", "packed_by", "rasterize", "rasterize_packed"]

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)
Mask = npt.NDArray[np.uint8]
Picked: TypeAlias = "slice | Sequence[int] | npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_]"
"""The rows or columns of a mask, as numpy's indexing along one axis takes them."""

_DEFAULT_NATIVE: Final = (2048, 1024)
_PART_BYTES: Final = 1 << 16
"""Bytes of packed bits that are made at a time, as in resolve.py."""


_ALL: Final = slice(None)


class _WithBackend(Protocol[P, T_co]):
    """A function that says what ran. A plain function has an attribute like a class, but no type checker knows it."""

    backend: Backend

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co: ...


def _with_backend(function: Callable[P, T_co]) -> _WithBackend[P, T_co]:
    named = cast("_WithBackend[P, T_co]", function)
    named.backend = "numpy"
    return named


Uint8: TypeAlias = "Literal['uint8'] | type[np.uint8] | np.dtype[np.uint8]"
Bool: TypeAlias = "Literal['bool'] | type[bool] | type[np.bool_] | np.dtype[np.bool_]"


class _Rasterize(Protocol):
    """The function :func:`rasterize` as type checkers see it."""

    backend: Backend

    @overload
    def __call__(
        self,
        geometry: FrameGeometry,
        size: tuple[int, int] | None = None,
        *,
        native_size: tuple[int, int] = ...,
        rows: Picked = ...,
        columns: Picked = ...,
        dtype: Uint8 = ...,
        out: npt.NDArray[np.uint8] | None = None,
    ) -> npt.NDArray[np.uint8]: ...

    @overload
    def __call__(
        self,
        geometry: FrameGeometry,
        size: tuple[int, int] | None = None,
        *,
        native_size: tuple[int, int] = ...,
        rows: Picked = ...,
        columns: Picked = ...,
        dtype: Bool,
        out: npt.NDArray[np.bool_] | None = None,
    ) -> npt.NDArray[np.bool_]: ...


def _as_rasterize(function: Callable[..., Any]) -> _Rasterize:
    return cast("_Rasterize", _with_backend(function))


@_as_rasterize
def rasterize(
    geometry: FrameGeometry,
    size: tuple[int, int] | None = None,
    *,
    native_size: tuple[int, int] = _DEFAULT_NATIVE,
    rows: Picked = _ALL,
    columns: Picked = _ALL,
    dtype: Uint8 | Bool = np.uint8,
    out: npt.NDArray[np.uint8] | npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.uint8] | npt.NDArray[np.bool_]:
    """
    Rasterize a frame to a mask, or to some rows and columns of it.

    Args:
        geometry: the frame.
        size: ``(width, height)`` of the mask, 1..16384 each; `native_size` if omitted. A mask of another size is scaled
            by nearest neighbour. Smaller masks take less time.
        native_size: ``(width, height)`` of the grid that the points are on, 1..16384 each.
        rows: the rows of the mask that are wanted: a slice with any step, or a list or one-dimensional array of
            integers or bools, as in numpy. Only these rows are rasterized, so a part takes less time than the whole.
        columns: the columns that are wanted, likewise.
        dtype: ``uint8`` for 0 and 255, or ``bool``.
        out: uint8 (height, width), or bool, as the result; C-contiguous and writable: the array that gets the mask,
            whatever is in it. A caller that gives the same array again and again saves the memory of new ones.

    Returns:
        uint8 (height, width), 0 or 255, row 0 at the top: `out`, or a new C-contiguous array, aligned to 64 bytes and
        owned by the caller. With `rows` and `columns`, it has these rows and columns of the mask of `size`, exactly as
        ``mask[rows][:, columns]``. With ``dtype=bool`` it is bool.

    Raises:
        ValueError: a size or `dtype` is outside its range, or `out` has another shape, is not C-contiguous or is
            read-only.
        TypeError: `out` is not an array of `dtype`, or `rows` or `columns` has an unsupported type.
        IndexError: `rows` or `columns` is outside the mask.

    ``rasterize.backend`` is ``"numba"`` or ``"numpy"``: what made the last mask of this process, on any thread. numba
    makes masks if it is installed (the extra ``[fast]``), after the first masks, and if a frame is not far larger than
    real ones. The bits are the same.
    """
    check_geometry("geometry", geometry)
    native_size = check_size("native_size", native_size)
    size = native_size if size is None else check_size("size", size)
    value = _value_of(dtype)
    if rows is _ALL and columns is _ALL:
        grid = grid_of(native_size, size)
    else:
        grid = crop_of(native_size, size, _chosen("columns", columns, size[0]), _chosen("rows", rows, size[1]))
    if out is not None:
        drawn(geometry, grid, _bytes_of(out, grid.shape, np.uint8 if value == 255 else np.bool_), value)
        return out
    mask = drawn(geometry, grid, None, value)
    return mask if value == 255 else mask.view(np.bool_)


def drawn(geometry: FrameGeometry, grid: Grid, out: Mask | None, value: int) -> Mask:
    """The mask of a frame on a grid, of 0 and `value`: in `out`, which has the grid's shape, or in a new array."""
    if 0 in grid.shape:
        return aligned_empty(grid.shape) if out is None else out
    compiled = _compiled(geometry, grid, out, value)
    if compiled is not None:
        return compiled
    steps = _numpy_steps(geometry, grid, out, value)
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
    grid = grid_of(native_size, size)
    mask = _compiled(geometry, grid, None, 255)
    if mask is None:
        mask = yield from _numpy_steps(geometry, grid, None, 255)
    return mask


def _compiled(geometry: FrameGeometry, grid: Grid, out: Mask | None, value: int) -> Mask | None:
    """The mask, or None if the numpy twin has to make it."""
    mask = twin.draw(geometry, grid, out, value=value)
    rasterize.backend = "numpy" if mask is None else "numba"
    return mask


def _numpy_steps(geometry: FrameGeometry, grid: Grid, out: Mask | None, value: int) -> Generator[None, None, Mask]:
    segments = segments_of(geometry)
    words = fill_words(segments, grid)
    yield
    mask = unpack(words, grid.x.size, out if grid.is_output else None, value=value)
    yield
    flat = mask.reshape(-1)
    for pixels in outline_pixels(segments, grid):
        flat[pixels] = value
        yield
    return resolve(mask, grid, out)


def _value_of(dtype: npt.DTypeLike) -> int:
    """What a set pixel is in bytes of a dtype."""
    if dtype is np.uint8:  # the default
        return 255
    found = np.dtype(dtype)
    if found == np.uint8:
        return 255
    if found == np.bool_:
        return 1
    raise ValueError(f"dtype: expected uint8 or bool, found {found}")


def _chosen(name: str, picked: Picked, length: int) -> Chosen:
    """The coordinates that a caller picked, of an axis of a length."""
    if isinstance(picked, slice):
        return range(length)[picked]
    if not isinstance(picked, (Sequence, np.ndarray)) or isinstance(picked, (str, bytes)):
        raise TypeError(f"{name}: expected a slice or a list of integers or bools, found {type(picked).__name__}")
    array = np.asarray(picked)
    if not array.size and array.dtype != np.bool_:
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "biu":
        raise TypeError(
            f"{name}: expected one dimension of integers or bools, found {array.ndim} dimensions of {array.dtype}"
        )
    chosen: npt.NDArray[np.int64] = np.arange(length, dtype=np.int64)[array]  # numpy's own errors for what is outside
    return chosen


def _bytes_of(out: object, shape: tuple[int, int], dtype: type[np.generic]) -> Mask:
    """Check an array of the caller. Returns its bytes."""
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        found = f"an array of {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(f"out: expected an array of {np.dtype(dtype)}, found {found}")
    if out.shape != shape:
        raise ValueError(f"out: expected the shape (height, width) {shape}, found {out.shape}")
    flags = out.flags
    if not flags.c_contiguous:
        raise ValueError(f"out: expected a C-contiguous array, found the strides {out.strides}")
    if not flags.writeable:
        raise ValueError("out: expected a writable array, found a read-only one")
    return out if dtype is np.uint8 else out.view(np.uint8)


@_with_backend
def rasterize_packed(
    geometry: FrameGeometry,
    size: tuple[int, int] | None = None,
    *,
    native_size: tuple[int, int] = _DEFAULT_NATIVE,
) -> npt.NDArray[np.uint8]:
    """
    Rasterize a frame to a mask with one bit per pixel.

    Args:
        geometry: the frame.
        size: ``(width, height)`` of the mask, 1..16384 each; `native_size` if omitted.
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
    grid = grid_of(native_size, native_size if size is None else check_size("size", size))
    compiled = twin.draw_packed(geometry, grid)
    rasterize_packed.backend = "numpy" if compiled is None else "numba"
    return _numpy_packed(geometry, grid) if compiled is None else compiled


def packed_by(maker: str, native_size: tuple[int, int]) -> Callable[[FrameGeometry], Mask]:
    """
    What makes packed masks of native size by one of the twins, whatever :func:`rasterize_packed` would use.

    Args:
        maker: ``"numpy"``, or ``"compiled"``, which compiles in this call if it has to.
        native_size: as for :func:`rasterize_packed`.

    Raises:
        ImportError: numba is not installed, or does not work here.
    """
    grid = grid_of(native_size, native_size)
    if maker == "numpy":
        return partial(_numpy_packed, grid=grid)
    compiled = CompiledTwin()
    compiled.load()

    def packed(geometry: FrameGeometry) -> Mask:
        mask = compiled.draw_packed(geometry, grid)
        return _numpy_packed(geometry, grid) if mask is None else mask  # a frame that is too large for it

    return packed


def _numpy_packed(geometry: FrameGeometry, grid: Grid) -> Mask:
    segments = segments_of(geometry)
    filled = fill_words(segments, grid).astype("<u8", copy=False).view(np.uint8)
    outline = _outline(segments, grid)
    n_bytes = (grid.x.output + 7) // 8
    packed: Mask = aligned_empty((grid.y.size, n_bytes))
    step = max(1, _PART_BYTES // n_bytes)
    for first in range(0, grid.y.size, step):
        part = slice(first, first + step)
        if grid.x.places is None:
            bits = np.packbits(outline[part], axis=1, bitorder="little")
            np.bitwise_or(filled[part, :n_bytes], bits, out=packed[part])
        else:
            pixels = np.unpackbits(filled[part], axis=1, count=grid.x.size, bitorder="little").view(np.bool_)
            pixels |= outline[part]
            packed[part] = np.packbits(pixels[:, grid.x.places], axis=1, bitorder="little")
    if grid.y.places is None:
        return packed
    repeated: Mask = aligned_empty((grid.y.output, n_bytes))
    return packed.take(grid.y.places, axis=0, out=repeated, mode="clip")


def _outline(segments: Segments, grid: Grid) -> npt.NDArray[np.bool_]:
    outline: npt.NDArray[np.bool_] = aligned_zeros((grid.y.size, grid.x.size), np.bool_)
    flat = outline.reshape(-1)
    for pixels in outline_pixels(segments, grid):
        flat[pixels] = True
    return outline
