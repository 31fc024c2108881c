"""
Grid: selects the native pixels that an output samples. The stages draw only these pixels.

Pixel (x, y) of a mask of w x h shows native pixel ``(x * W // w, y * H // h)``. A caller may want all rows and columns
of that mask, or some of them, in any order. The native columns and rows that are shown, each once and ascending, are
the *raster grid*. ``resolve`` puts its pixels where the output shows them, if it shows one twice or in another order.

Any ascending columns and rows make a grid, evenly spaced or not. Rejected: moving the points by the corner of a crop.
Ties are rounded to even native columns, which moving by an odd distance would change.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Axis", "Chosen", "Grid", "crop_of", "grid_of", "sampled"]

Int64 = npt.NDArray[np.int64]

Chosen: TypeAlias = range | Int64
"""Coordinates of a mask, in the order of the output."""


def sampled(native: int, output: int) -> Int64:
    """int64 (output,): the native coordinate that each output coordinate shows."""
    return np.arange(output, dtype=np.int64) * native // output


class Axis:
    """
    One axis of the raster grid.

    Args:
        native: native pixels along the axis.
        shown: int64 (output,): the native coordinate that each output coordinate shows.
    """

    def __init__(self, native: int, shown: Int64) -> None:
        self.native: Final = native
        """Native pixels along the axis."""
        self.output: Final = shown.size
        """Output pixels along the axis."""
        samples, places = _unique(shown)
        self.samples: Final = samples
        """int64 (size,): the native coordinate of each raster coordinate; strictly increasing."""
        self.places: Final = places
        """int64 (output,): the raster coordinate of each output coordinate; None if they are the same."""
        self.size: Final = self.samples.size
        """Raster pixels along the axis."""
        self.is_identity: Final = self.size == native
        self.bounds: Final = (int(samples[0]), int(samples[-1])) if self.size else (native, -1)
        """The smallest and the largest of `samples`; nothing lies between the two if there are none."""

    @cached_property
    def is_ascending(self) -> bool:
        """Whether no output coordinate shows a smaller native coordinate than the one before it."""
        return self.places is None or bool((np.diff(self.places) >= 0).all())

    @cached_property
    def first(self) -> Int64:
        """int64 (native + 1,): the first raster coordinate whose native coordinate is at least the index."""
        native = np.arange(self.native + 1)
        if self.size and self.samples[-1] - self.samples[0] == self.size - 1:  # neighbours: a tenth of the time
            return np.clip(native - self.samples[0], 0, self.size, out=native)
        return np.searchsorted(self.samples, native).astype(np.int64, copy=False)

    @cached_property
    def slot(self) -> Int64:
        """int64 (native,): the raster coordinate that shows a native coordinate, or -1 if none does."""
        slot = np.full(self.native, -1)
        slot[self.samples] = np.arange(self.size)
        return slot


def _unique(shown: Int64) -> tuple[Int64, Int64 | None]:
    """The coordinates, each once and ascending, and where each was; None for where if nothing changed."""
    steps = np.diff(shown)
    if (steps > 0).all():
        return shown, None
    if (steps >= 0).all():
        is_new = np.concatenate(([True], steps > 0))
        return shown[is_new], np.cumsum(is_new) - 1
    return np.unique(shown, return_inverse=True)


class Grid:
    """
    Both axes, and the tables of both in one array (x, then y). So one lookup works for segments of either major axis.
    """

    def __init__(self, x: Axis, y: Axis) -> None:
        self.x: Final = x
        self.y: Final = y
        self.is_identity: Final = x.is_identity and y.is_identity
        self.shape: Final = y.output, x.output
        """The rows and columns of the output."""
        self.is_output: Final = x.places is None and y.places is None
        """Whether the output is the raster itself."""
        self.is_ascending: Final = x.is_ascending and y.is_ascending
        """Whether the output shows columns and rows in ascending order, one perhaps several times."""

    @cached_property
    def raster(self) -> Grid:
        """The grid whose output is the raster of this one."""
        return Grid(Axis(self.x.native, self.x.samples), Axis(self.y.native, self.y.samples))

    @cached_property
    def samples(self) -> Int64:
        """int64: the native coordinate at a *place*. A place is a raster column, or `columns` plus a raster row."""
        return np.concatenate((self.x.samples, self.y.samples))

    @cached_property
    def place_pixel(self) -> Int64:
        """int64: the part of a place in an index into the flattened raster."""
        return np.concatenate((np.arange(self.x.size), np.arange(self.y.size) * self.x.size))

    @cached_property
    def first_place(self) -> Int64:
        """int64: the first place whose native coordinate is at least x or, from index W + 1 on, at least y."""
        return np.concatenate((self.x.first, self.y.first + self.x.size))

    @cached_property
    def slot_pixel(self) -> Int64:
        """int64: the part of native x or, from index W on, of native y in an index into the flattened raster; -1 if
        the coordinate is not shown."""
        return np.concatenate((self.x.slot, np.where(self.y.slot < 0, -1, self.y.slot * self.x.size)))

    # A crossing is stored as column + 1, clipped to 0 (left of the window) .. W + 1 (right of the window).

    @cached_property
    def span_start(self) -> Int64:
        """int64 (W + 2,): the first raster column of a span, by its first crossing (column + 1)."""
        first = self.x.first
        return np.concatenate((first[:1], first))

    @cached_property
    def span_stop(self) -> Int64:
        """int64 (W + 2,): the raster column after a span, by its last crossing (column + 1)."""
        first = self.x.first
        return np.concatenate((first, first[-1:]))


def grid_of(native_size: tuple[int, int], output_size: tuple[int, int]) -> Grid:
    """The grid of a whole mask, from a cache."""
    return _cached(native_size, output_size, range(output_size[0]), range(output_size[1]))


def crop_of(native_size: tuple[int, int], output_size: tuple[int, int], columns: Chosen, rows: Chosen) -> Grid:
    """The grid of some columns and rows of a mask of `output_size`; from a cache if both are ranges."""
    if isinstance(columns, range) and isinstance(rows, range):
        return _cached(native_size, output_size, columns, rows)
    shown = (_shown(*axis) for axis in zip(native_size, output_size, (columns, rows), strict=True))
    return Grid(*map(Axis, native_size, shown))


@lru_cache(maxsize=32)
def _cached(native_size: tuple[int, int], output_size: tuple[int, int], columns: range, rows: range) -> Grid:
    """It takes 60 KB at 2048 x 1024, a few hundred KB at the largest sizes."""
    return Grid(
        _cached_axis(native_size[0], output_size[0], columns), _cached_axis(native_size[1], output_size[1], rows)
    )


@lru_cache(maxsize=64)
def _cached_axis(native: int, output: int, chosen: range) -> Axis:
    return Axis(native, _shown(native, output, chosen))


def _shown(native: int, output: int, chosen: Chosen) -> Int64:
    if isinstance(chosen, range):
        chosen = np.arange(chosen.start, chosen.stop, chosen.step, dtype=np.int64)
    return chosen * native // output
