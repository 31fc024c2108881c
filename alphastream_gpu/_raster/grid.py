"""
Grid: selects the native pixels that an output samples. The stages draw only these pixels.

Output pixel (x, y) shows native pixel ``(x * W // w, y * H // h)``. If the output is smaller than native, only the
sampled columns and rows are rasterized. If it is larger, the native resolution is rasterized, and ``resolve`` repeats
its pixels. So the *raster grid* has ``min(w, W)`` columns and ``min(h, H)`` rows. Each of them shows a different native
column or row.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Axis", "Grid", "grid_of", "sampled"]

Int64 = npt.NDArray[np.int64]


def sampled(native: int, output: int) -> Int64:
    """int64 (output,): the native coordinate that each output coordinate shows."""
    return np.arange(output, dtype=np.int64) * native // output


class Axis:
    """
    One axis of the raster grid.
    """

    def __init__(self, native: int, output: int) -> None:
        self.native: Final = native
        """Native pixels along the axis."""
        self.size: Final = min(native, output)
        """Raster pixels along the axis."""
        self.is_identity: Final = self.size == native
        self.samples: Final = sampled(native, self.size)
        """int64 (size,): the native coordinate of each raster coordinate; strictly increasing."""
        self.first: Final = np.searchsorted(self.samples, np.arange(native + 1)).astype(np.int64)
        """int64 (native + 1,): the first raster coordinate whose native coordinate is at least the index."""
        self.slot: Final = np.where(np.diff(self.first) > 0, self.first[:-1], -1)
        """int64 (native,): the raster coordinate that shows a native coordinate, or -1 if none does."""


class Grid:
    """
    Both axes, and the tables of both in one array (x, then y). So one lookup works for segments of either major axis.
    """

    def __init__(self, native_size: tuple[int, int], output_size: tuple[int, int]) -> None:
        self.x: Final = Axis(native_size[0], output_size[0])
        self.y: Final = Axis(native_size[1], output_size[1])
        self.is_identity: Final = self.x.is_identity and self.y.is_identity
        columns = self.x.size
        self.samples: Final = np.concatenate((self.x.samples, self.y.samples))
        """int64: the native coordinate at a *place*. A place is a raster column, or `columns` plus a raster row."""
        self.place_pixel: Final = np.concatenate((np.arange(columns), np.arange(self.y.size) * columns))
        """int64: the part of a place in an index into the flattened raster."""
        self.first_place: Final = np.concatenate((self.x.first, self.y.first + columns))
        """int64: the first place whose native coordinate is at least x or, from index W + 1 on, at least y."""
        self.slot_pixel: Final = np.concatenate((self.x.slot, np.where(self.y.slot < 0, -1, self.y.slot * columns)))
        """int64: the part of native x or, from index W on, of native y in an index into the flattened raster; -1 if the
        coordinate is not shown."""
        # A crossing is stored as column + 1, clipped to 0 (left of the window) .. W + 1 (right of the window).
        clipped = np.arange(-1, native_size[0] + 1)
        self.span_start: Final = self.x.first[np.clip(clipped, 0, native_size[0])]
        """int64 (W + 2,): the first raster column of a span, by its first crossing (column + 1)."""
        self.span_stop: Final = self.x.first[np.clip(clipped + 1, 0, native_size[0])]
        """int64 (W + 2,): the raster column after a span, by its last crossing (column + 1)."""


@lru_cache(maxsize=32)
def grid_of(native_size: tuple[int, int], output_size: tuple[int, int]) -> Grid:
    """The grid of a pair of sizes, from a cache. It takes 60 KB at 2048 x 1024, a few hundred KB at the largest
    sizes."""
    return Grid(native_size, output_size)
