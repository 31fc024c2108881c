"""
Outline: computes the pixels of every segment by the closed form of Bresenham's line (docs/coverage.md, "Lines").

Strategy
--------
Along the major axis, a segment has one pixel for each step i = 0..M. Across that axis, the pixel lies
q = (2 i m + M - 1) // (2 M) steps from the start. The pixels of all segments are stored in one flat array
(`np.repeat` by step counts), and q is computed as ``floor(i * (m / M) + (M - 0.5) / (2 M))``. The half that is added to
the numerator keeps the true value at least 1 / (4 M) away from every integer. For M <= 2^17 the error of float64 is at
most 2^-29, so the floor is exact. Longer segments and segments far from the origin are rare (a hostile file or an
unusual closing segment) and use exact 64-bit integers.

Only steps whose major coordinate is sampled by the grid are stored. This crops lines to the window, makes small outputs
cheap, and bounds the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from .._geometry.segments import FLOAT_COORDINATE, FLOAT_EXTENT, Segments
from .grid import Grid

__all__ = ["outline_pixels"]

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

_CHUNK_PIXELS: Final = 1 << 16
"""Pixels that are computed at a time. A frame of the sample has some 5,000, a hostile frame may have a billion.
Temporary arrays of this size stay in the cache, and no numpy call holds Python's lock for long."""
_CHUNK_SEGMENTS: Final = 1 << 16


def outline_pixels(segments: Segments, grid: Grid) -> Iterator[Int64]:
    """
    The pixels of the segments, as far as the grid samples them.

    Yields:
        int64 (k,): indices into the flattened raster, ``row * grid.x.size + column``, with repeats. A real frame gives
        one array, a huge one several.
    """
    for at in range(0, segments.n_segments, _CHUNK_SEGMENTS):
        runs = _Runs(segments, _near(segments, slice(at, at + _CHUNK_SEGMENTS), grid), grid)
        if not runs.count.size:
            continue
        behind = np.add.accumulate(runs.count)
        total = int(behind[-1])
        if 0 < total <= _CHUNK_PIXELS:
            yield runs.pixels(slice(None), behind)
        elif total:
            bounds = np.searchsorted(behind, np.arange(0, total, _CHUNK_PIXELS), side="right").tolist()
            bounds.append(len(behind))
            for low, high in pairwise(bounds):
                part = slice(low, high)
                if runs.count[part].any():
                    yield runs.pixels(part, np.add.accumulate(runs.count[part]))


def _near(segments: Segments, part: slice, grid: Grid) -> slice | Int64:
    """
    The segments, of a part of them, that have a box that meets the smallest box of the samples. The whole part if the
    box of the samples is not much smaller than the box of the frame: then it would hardly pay to look.
    """
    (left, right), (top, bottom), box = grid.x.bounds, grid.y.bounds, segments.box
    if 2 * (right - left + 1) * (bottom - top + 1) >= (box.right - box.left + 1) * (box.bottom - box.top + 1):
        return part
    ax, ay, bx, by = segments.ax[part], segments.ay[part], segments.bx[part], segments.by[part]
    near = np.maximum(ax, bx) >= left
    near &= np.minimum(ax, bx) <= right
    near &= np.maximum(ay, by) >= top
    near &= np.minimum(ay, by) <= bottom
    indices: Int64 = np.flatnonzero(near) + part.start
    return indices


class _Runs:
    """
    For each segment: its sampled steps, and the values that convert a step to a pixel.
    """

    def __init__(self, segments: Segments, part: slice | Int64, grid: Grid) -> None:
        self.grid = grid
        ax, ay, dx, dy = segments.ax[part], segments.ay[part], segments.dx[part], segments.dy[part]
        extent_x, extent_y = np.abs(dx), np.abs(dy)
        self.steep = steep = extent_y > extent_x
        self.extent = np.maximum(extent_x, extent_y)
        self.minor_extent = np.minimum(extent_x, extent_y)
        self.major_start = np.where(steep, ay, ax)
        self.minor_start = np.where(steep, ax, ay)
        self.major_sign = np.sign(np.where(steep, dy, dx))
        self.minor_sign = np.sign(np.where(steep, dx, dy))
        low = self.major_start + np.minimum(self.major_sign * self.extent, 0)
        self.inside = segments.box.is_inside(grid.x.native, grid.y.native)
        self.is_plain = self.inside and grid.is_identity
        if self.is_plain:
            self.low = low
            self.count = self.extent + 1
        else:
            axis = steep * (grid.x.native + 1)  # the start of the major axis in `first_place`
            stop = low + self.extent + 1
            if not self.inside:
                native = np.where(steep, grid.y.native, grid.x.native)
                low, stop = np.clip(low, 0, native), np.clip(stop, 0, native)
            self.low = grid.first_place[axis + low]
            self.count = np.maximum(grid.first_place[axis + stop] - self.low, 0)
        self.is_exact = segments.box.reach > FLOAT_COORDINATE or bool((self.extent > FLOAT_EXTENT).any())

    def pixels(self, part: slice, behind: Int64) -> Int64:
        """The pixels of some of the segments; `behind` is the running sum of their counts."""
        count = self.count[part]
        step = np.arange(int(behind[-1]))
        shift = self.low[part] - behind + count  # from the index in the flat array to the major raster coordinate
        return self._plain(part, count, step, shift) if self.is_plain else self._sampled(part, count, step, shift)

    def _slopes(self, part: slice) -> tuple[Float64, Float64]:
        """m / M, with the sign of the major axis, and (M - 0.5) / (2 M). A segment without length has no step."""
        extent = np.maximum(self.extent[part], 1)
        slope = self.minor_extent[part] / extent
        slope *= self.major_sign[part]
        return slope, (extent - 0.5) / (extent + extent)

    def _plain(self, part: slice, count: Int64, step: Int64, shift: Int64) -> Int64:
        """The pixels if all segments lie inside the window at native size: indices are linear in the step and in q."""
        steep, columns = self.steep[part], self.grid.x.size
        slope, offset = self._slopes(part)
        offset += slope * (shift - self.major_start[part])
        q = slope.repeat(count)
        q *= step
        q += offset.repeat(count)
        pixels = q.astype(np.int64)  # q is never negative, so truncation is the floor
        major_stride, minor_stride = np.where(steep, columns, 1), np.where(steep, 1, columns)
        pixels *= (self.minor_sign[part] * minor_stride).repeat(count)
        pixels += (self.minor_start[part] * minor_stride + shift * major_stride).repeat(count)
        step *= major_stride.repeat(count)
        pixels += step
        return pixels

    def _sampled(self, part: slice, count: Int64, step: Int64, shift: Int64) -> Int64:
        """The pixels in the general case: clipped, sampled, or both."""
        grid, steep = self.grid, self.steep[part]
        place = shift.repeat(count)
        place += step
        coordinate = grid.samples[place]
        minor = (
            self._across_exactly(part, count, coordinate) if self.is_exact else self._across(part, count, coordinate)
        )
        minor *= self.minor_sign[part].repeat(count)
        minor += self.minor_start[part].repeat(count)
        # The start of the minor axis in `slot_pixel`: y for shallow segments, x for steep ones.
        axis = np.where(steep, 0, grid.x.native).repeat(count)
        if not self.inside:
            edge = np.where(steep, grid.x.native, grid.y.native).repeat(count)
            shown = (minor >= 0) & (minor < edge)
            minor, axis, place = minor[shown], axis[shown], place[shown]
        minor += axis
        slot = grid.slot_pixel[minor]
        if not grid.is_identity:
            shown = slot >= 0
            slot, place = slot[shown], place[shown]
        slot += grid.place_pixel[place]
        return slot

    def _across(self, part: slice, count: Int64, coordinate: Int64) -> Int64:
        """q at native major coordinates."""
        slope, offset = self._slopes(part)
        offset -= slope * self.major_start[part]
        q = slope.repeat(count)
        q *= coordinate
        q += offset.repeat(count)
        return q.astype(np.int64)

    def _across_exactly(self, part: slice, count: Int64, coordinate: Int64) -> Int64:
        """
        q in unsigned 64-bit integers, for any int32 points.

        (2 i m + M - 1) // (2 M) equals (i m + (M - 1) // 2) // M, because i m is an integer. The numerator is below
        2^64, because i <= M < 2^32 and m <= M.
        """
        extent = np.maximum(self.extent[part], 1).repeat(count).astype(np.uint64)
        i = (self.major_sign[part].repeat(count) * (coordinate - self.major_start[part].repeat(count))).astype(
            np.uint64
        )
        m = self.minor_extent[part].repeat(count).astype(np.uint64)
        half = (extent - np.uint64(1)) // np.uint64(2)
        return ((i * m + half) // extent).astype(np.int64)
