"""
Indexing: what an index expression selects of a three-dimensional array, by numpy's rules. Pure.

Strategy
--------
Each axis is selected by itself: a mask array reads some frames, and rasterizes some rows and columns of each. Of
numpy's indexing, this is everything but new axes, arrays of several dimensions, and several lists, which numpy would
pair.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Part", "Selection", "selected"]

Int64 = npt.NDArray[np.int64]

Part: TypeAlias = "int | range | Int64"
"""What is selected along an axis: one coordinate, which drops the axis; or some, in this order."""

_AXES: Final = ("frames", "rows", "columns")
_SEVERAL: Final = "several lists in one index would be paired, as in numpy; masks.oindex[...] takes each by itself"


@dataclass(frozen=True, slots=True)
class Selection:
    """
    The frames, rows and columns that an index selects.
    """

    parts: tuple[Part, Part, Part]
    """Of the three axes."""
    first: int | None = None
    """The axis that becomes the first of the result: that of a list in ``[1, :, [2, 3]]``, as in numpy."""
    is_scalar: bool = False
    """Whether the result is one pixel without an axis; with an ellipsis in the index, it is an array of no axis."""

    @property
    def lengths(self) -> tuple[int, ...]:
        """The number of coordinates along each axis, 1 for a dropped one."""
        return tuple(1 if isinstance(part, int) else len(part) for part in self.parts)

    def shaped(self, block: npt.NDArray[Any]) -> Any:
        """The result of the index, of the block of all three axes. One element is a scalar, as in numpy."""
        if self.first is not None:
            block = np.moveaxis(block, self.first, 0)
        shape = [len(part) for part in self.parts if not isinstance(part, int)]
        if self.first is not None:
            shape.insert(0, shape.pop(sum(not isinstance(part, int) for part in self.parts[: self.first])))
        return block.reshape(())[()] if self.is_scalar else block.reshape(shape)


def selected(key: object, shape: tuple[int, int, int], *, is_outer: bool) -> Selection:
    """
    What an index expression selects.

    Args:
        key: the expression, as ``__getitem__`` gets it.
        shape: of the array.
        is_outer: allow several lists, each for its own axis.

    Raises:
        IndexError: outside the array, or not supported; the message says why.
    """
    given = key if isinstance(key, tuple) else (key,)
    keys = _expanded(given, len(shape))
    parts = [_part(one, length, axis) for axis, (one, length) in enumerate(zip(keys, shape, strict=True))]
    lists = [axis for axis, part in enumerate(parts) if isinstance(part, np.ndarray)]
    if len(lists) > 1 and not is_outer:
        raise IndexError(_SEVERAL)
    is_first = bool(lists) and not is_outer and _is_separated(given)
    frames, rows, columns = parts
    is_scalar = all(isinstance(part, int) for part in parts) and len(given) == len(parts)
    return Selection((frames, rows, columns), lists[0] if is_first else None, is_scalar)


def _is_separated(keys: tuple[object, ...]) -> bool:
    """Whether a slice or an ellipsis stands between integers and a list. Then numpy puts the axis of the list first."""
    is_slice = [isinstance(key, slice | EllipsisType) for key in keys]
    while is_slice and is_slice[0]:
        del is_slice[0]
    while is_slice and is_slice[-1]:
        del is_slice[-1]
    return any(is_slice)


def _expanded(keys: tuple[object, ...], n_axes: int) -> list[object]:
    """One key for each axis: with slices for `...` and for the axes that are not mentioned."""
    n_dots = sum(isinstance(key, EllipsisType) for key in keys)
    if n_dots > 1:
        raise IndexError("an index may have one ellipsis (...)")
    if any(key is None for key in keys):
        raise IndexError("None (numpy.newaxis) is not supported; index the result: masks[0][None]")
    n_missing = n_axes - (len(keys) - n_dots)
    if n_missing < 0:
        raise IndexError(f"too many indices: the array has {n_axes} dimensions, found {len(keys) - n_dots}")
    whole: list[object] = [slice(None)] * n_missing
    expanded: list[object] = []
    for key in keys:
        expanded += whole if isinstance(key, EllipsisType) else [key]
    return expanded if n_dots else [*expanded, *whole]


def _part(key: object, length: int, axis: int) -> Part:
    if isinstance(key, slice):
        return range(length)[key]
    if isinstance(key, bool | np.bool_):
        raise IndexError("a single bool is not supported; a list of bools selects along one axis")
    try:
        return _inside(operator.index(key), length, axis)  # type: ignore[arg-type]  # TypeError is handled
    except TypeError:
        pass
    if not isinstance(key, Sequence | np.ndarray) or isinstance(key, str | bytes):
        raise IndexError(
            f"only integers, slices, ... and one list or array of integers or bools are supported, found"
            f" {type(key).__name__}"
        )
    return _list(key, length, axis)


def _list(key: Sequence[Any] | npt.NDArray[Any], length: int, axis: int) -> Int64:
    try:
        array = np.asarray(key)
    except ValueError:
        raise IndexError("a list in an index must have one dimension, found lists of different lengths") from None
    if array.ndim != 1:
        raise IndexError(
            f"a list or array in an index must have one dimension, found {array.ndim}; index the reshaped result"
        )
    if array.dtype == np.bool_:
        if array.size != length:
            raise IndexError(f"expected {length} bools for the {_AXES[axis]}, found {array.size}")
        return np.flatnonzero(array)
    if not array.size and not isinstance(key, np.ndarray):
        return np.empty(0, np.int64)
    if array.dtype.kind not in "iu":
        raise IndexError(f"a list or array in an index must have integers or bools, found {array.dtype}")
    for outside in array[(array < -length) | (array >= length)][:1].tolist():
        _inside(outside, length, axis)
    coordinates = array.astype(np.int64)
    coordinates[coordinates < 0] += length
    return coordinates


def _inside(index: int, length: int, axis: int) -> int:
    if not -length <= index < length:
        raise IndexError(f"index {index} is out of bounds for the {_AXES[axis]} (axis {axis}) with size {length}")
    return index + length if index < 0 else index
