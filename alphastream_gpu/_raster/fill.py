"""
Fill: rasterizes the even-odd interior to packed bits, as spans between crossings (docs/coverage.md, "Interior").

Strategy
--------
A non-horizontal segment crosses each of the rows y0 <= y < y1 once. The crossings of all channels are stored in one
flat array and sorted by (channel, row, column). Then each crossing with an even index starts a span, and the next
crossing ends it. The spans of all channels are ORed together, so overlapping channels need no planes here.
``bitwise_or.at`` sets the words at both ends of a span, and a running count sets the whole words in between. A word
holds 64 pixels, so the work that is proportional to the area is small; the other work is proportional to the length of
the outline.

A crossing is ``rint(x0 + k (x1 - x0) / (y1 - y0))`` in float64. A quotient that is exactly a half is represented
exactly. Any other quotient differs from a half by at least 1 / (2 (y1 - y0)), and for segments up to 2^17 long the
error of float64 is below 2^-29. Longer segments and segments far from the origin use exact 64-bit integers.

Rejected: flipping a bit for each crossing and prefix-XOR over words (six shifts over the whole plane, and one plane for
each overlapping channel); differences and a running sum in bytes (64 times the work for the area).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from .._geometry.aligned import aligned_zeros
from .._geometry.segments import FLOAT_COORDINATE, FLOAT_EXTENT, Segments
from .grid import Grid

__all__ = ["fill_words"]

Int64 = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_BAND_CROSSINGS: Final = 1 << 16
"""Crossings that are sorted at a time; a frame of the sample has some 5,000. A larger frame is processed in bands of
rows. So its memory stays small, and no numpy call holds Python's lock for long (``repeat`` and ``arange`` do not
release it)."""

_ALL: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_6: Final = np.int64(6)
_63: Final = np.int64(63)


def fill_words(segments: Segments, grid: Grid) -> Words:
    """
    Rasterize the interiors and the crossing pixels of all closed channels.

    Returns:
        uint64 (rows, ceil(columns / 64)): one bit per raster pixel, the lowest bit leftmost. A new array.
    """
    rows = grid.y.size
    words = aligned_zeros((rows, (grid.x.size + 63) // 64), np.uint64)
    edges = _Edges(segments, grid)
    for first, stop in edges.bands():
        keys = edges.crossings(first, stop)
        keys.sort()
        _set_spans(words[first:stop], keys, first, edges, grid)
    return words


class _Edges:
    """
    The non-horizontal segments of closed channels, each from its upper to its lower end.
    """

    def __init__(self, segments: Segments, grid: Grid) -> None:
        closed = slice(segments.n_closed)
        dx, dy = segments.dx[closed], segments.dy[closed]
        down = dy > 0
        self.grid = grid
        self.channel = segments.channel[closed]
        self.top = np.minimum(segments.ay[closed], segments.by[closed])
        self.top_x = np.where(down, segments.ax[closed], segments.bx[closed])
        self.height = np.abs(dy)
        self.run = np.where(down, dx, -dx)
        rows, bottom, box = grid.y, self.top + self.height, segments.box
        if box.top >= 0 and box.bottom < rows.native:
            top = self.top
        else:
            top, bottom = np.clip(self.top, 0, rows.native), np.clip(bottom, 0, rows.native)
        self.first_row = top if rows.is_identity else rows.first[top]
        self.stop_row = bottom if rows.is_identity else rows.first[bottom]
        self.needs_clip = box.left < 0 or box.right >= grid.x.native
        self.row_bits = max(1, (rows.size - 1).bit_length())
        self.column_bits = (grid.x.native + 1).bit_length()
        self.is_exact = box.reach > FLOAT_COORDINATE or max(box.right - box.left, box.bottom - box.top) > FLOAT_EXTENT

    def bands(self) -> Iterator[tuple[int, int]]:
        """Bands of rows, first inclusive to stop exclusive. Each band has a crossing in its first row, and a bounded
        number of crossings."""
        rows = self.grid.y.size
        total = int((self.stop_row - self.first_row).sum())
        if total <= _BAND_CROSSINGS:
            if total:
                yield 0, rows
            return
        change = np.zeros(rows + 1, np.int64)
        np.add.at(change, self.first_row, 1)
        np.subtract.at(change, self.stop_row, 1)
        in_row = np.cumsum(np.cumsum(change[:rows]))
        bounds = np.searchsorted(in_row, np.arange(0, total, _BAND_CROSSINGS), side="right").tolist()
        bounds.append(rows)
        for low, high in pairwise(bounds):
            if low < high:
                yield low, high

    def crossings(self, band_first: int, band_stop: int) -> Int64:
        """
        The crossings in a band of rows as sortable keys: channel, row, clipped column + 1, from high bits to low bits.
        """
        first, stop, chosen = self.first_row, self.stop_row, slice(None)
        if band_first > 0 or band_stop < self.grid.y.size:
            first, stop = np.maximum(first, band_first), np.minimum(stop, band_stop)
            index = np.flatnonzero(stop > first)
            first, stop = first[index], stop[index]
            return self._keys(index, first, stop - first)
        return self._keys(chosen, first, stop - first)

    def _keys(self, chosen: slice | Int64, first: Int64, count: Int64) -> Int64:
        behind = np.add.accumulate(count)
        step = np.arange(int(behind[-1]))
        shift = first - behind + count  # from the place in the flat layout to the raster row
        if self.grid.y.is_identity:
            depth = (shift - self.top[chosen]).repeat(count)
            depth += step
        else:
            depth = self.grid.y.samples[step + shift.repeat(count)] - self.top[chosen].repeat(count)
        run, height = self.run[chosen].repeat(count), self.height[chosen].repeat(count)
        top_x = self.top_x[chosen].repeat(count)
        if self.is_exact:
            column = top_x + _divided_half_to_even(depth, run, height, top_x)
        else:
            depth *= run
            quotient = depth / height
            quotient += top_x
            column = np.rint(quotient, out=quotient).astype(np.int64)
        keys = ((self.channel[chosen] << self.row_bits) + shift).repeat(count)
        keys += step
        keys <<= self.column_bits
        keys += np.clip(column, -1, self.grid.x.native, out=column) if self.needs_clip else column
        keys += 1
        return keys


def _divided_half_to_even(depth: Int64, run: Int64, height: Int64, top_x: Int64) -> Int64:
    """
    Round ``depth * run / height`` to the nearest integer. A half is rounded so that `top_x` plus the result is even.

    Exact for any int32 points: the magnitudes are below 2^32, so their product fits unsigned 64 bits.
    """
    quotient, rest = np.divmod(depth.astype(np.uint64) * np.abs(run).astype(np.uint64), height.astype(np.uint64))
    whole = quotient.astype(np.int64) * np.sign(run)
    twice = 2 * rest.astype(np.int64) - height
    odd = ((top_x + whole) & 1) == 1
    return whole + np.where((twice > 0) | ((twice == 0) & odd), np.sign(run), 0)


def _set_spans(words: Words, keys: Int64, first_row: int, edges: _Edges, grid: Grid) -> None:
    """OR the spans of sorted crossings into `words`, a band that begins at `first_row`. A span includes both ends."""
    column_bits = edges.column_bits
    column_mask = (1 << column_bits) - 1
    row_mask = (1 << edges.row_bits) - 1
    words_per_row = words.shape[1]
    starts, stops = keys[0::2], keys[1::2]
    start = grid.span_start[starts & column_mask]
    stop = grid.span_stop[stops & column_mask]
    shown = stop > start
    if not shown.all():
        starts, start, stop = starts[shown], start[shown], stop[shown]
        if not start.size:
            return
    base = (((starts >> column_bits) & row_mask) - first_row) * (words_per_row * 64)
    low = base + start
    high = base + stop - 1
    low_word, high_word = low >> _6, high >> _6
    low_bits = _ALL << (low & _63).astype(np.uint64)
    high_bits = _ALL >> (_63 - (high & _63)).astype(np.uint64)
    both = low_bits & high_bits
    one_word = low_word == high_word
    flat = words.reshape(-1)
    np.bitwise_or.at(flat, low_word, np.where(one_word, both, low_bits))
    np.bitwise_or.at(flat, high_word, np.where(one_word, both, high_bits))
    change = aligned_zeros((flat.size + 1,), np.int32)
    low_word += 1
    np.add.at(change, low_word, np.int32(1))
    np.add.at(change, np.maximum(high_word, low_word), np.int32(-1))
    covered = np.cumsum(change[:-1], dtype=np.int32, out=change[:-1])
    np.copyto(flat, _ALL, where=covered > 0)
