"""
Borders: finds the borders of a mask as closed chains of set pixels.

A module of kernels: numba compiles it (_runtime/kernels.py), and the tests also run it as plain Python.

Strategy
--------
Set pixels are 8-connected, unset pixels 4-connected, and everything outside the window is unset. A *crack* is the side
of a set pixel that faces an unset pixel. The cracks of a border form one closed curve. The *chain* of the border is the
sequence of the set pixels along that curve. Each pixel touches the previous one at a side or at a corner. A pixel that
the curve visits twice occurs twice.

The mask is copied into a *room*, which has unset pixels on all sides, so that no step checks the window. A pixel of the
room is 0 if it is unset, and at least 1 if it is set. Walking a border marks the west and the east cracks of its pixels
in the higher bits. The room is scanned from the top, each row from left to right. An unmarked west crack begins the
outer border of a component, and an unmarked east crack begins the border of a hole: every border is met first at its
first crack in that order. The scan need not check for the ends of rows, because each row begins and ends with unset
pixels. Most of the pixels are skipped, because a first pass compares words of eight pixels.

A border is walked with its set pixels on the left-hand side as seen on the screen, against the clock around a
component. A line's ties go toward its start (docs/coverage.md, "Lines"), so the direction matters: masks that were
drawn from polygons take 12 % more bytes with the other one.

*Anchors.* A hole must be connected with its component's outer border. The search begins at the set pixel west of the
hole's first unset pixel, and goes west in that row to the last of the set pixels. That pixel's west crack is earlier in
the order of the scan than every crack of the hole's border, so it belongs to a border that was met before. The place in
that border's chain is the hole's anchor. Each border's anchor is on an earlier border, so the anchors form trees, and
each root is the outer border of the component. All anchors are looked up row by row, in time linear in the chains.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MARGIN", "SIGNATURES", "find_anchors", "normalize", "trace", "unpack"]

Int = npt.NDArray[np.int32]
Long = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

MARGIN = 8
"""Unset pixels of a room to the left of the mask. One would be enough; eight keep the mask's rows aligned to words."""

_WEST = 2
"""Bit of a room's pixel whose west crack was walked."""
_EAST = 4
"""Likewise of the east crack."""

SIGNATURES = {
    "unpack": "(uint8[:, ::1], int64, uint64[:, ::1])",
    "normalize": "(uint64[::1],)",
    "trace": "(uint8[::1], uint64[::1], int64)",
    "find_anchors": "(int32[::1], int32[::1], int64[::1], boolean[::1], uint8[::1], uint8[:, ::1])",
}


def unpack(bits: Bytes, width: int, words: Words) -> None:
    """
    Fill a room with a packed mask.

    Args:
        bits: uint8 (height, ceil(width / 8)), the lowest bit leftmost. Bits at the end of a row that are no pixels are
            ignored.
        width: in pixels.
        words: uint64 (height + 2, stride / 8), a room, eight pixels each. All of it is written.
    """
    pixels_of = np.zeros(256, np.uint64)
    for byte in range(256):
        for k in range(8):
            pixels_of[byte] |= np.uint64((byte >> k) & 1) << np.uint64(8 * k)
    height, n = bits.shape
    last = 255 >> (-width % 8)
    words[0] = 0
    words[height + 1] = 0
    for y in range(height):
        row = words[y + 1]
        row[: MARGIN // 8] = 0
        row[n + MARGIN // 8 :] = 0
        for k in range(n):
            row[k + MARGIN // 8] = pixels_of[bits[y, k]]
        row[n - 1 + MARGIN // 8] = pixels_of[bits[y, n - 1] & last]


def normalize(words: Words) -> int:
    """
    Convert the pixels of a room to 0 and 1, in place.

    Args:
        words: uint64 (n,), eight pixels each: 0, 1 or 255.

    Returns:
        0 if the set pixels are all 1, 1 if they are all 255, 2 if there are other values or both.
    """
    lowest = np.uint64(0x0101010101010101)
    one, two, four = np.uint64(1), np.uint64(2), np.uint64(4)
    not_ones = not_full = np.uint64(0)
    for k in range(len(words)):
        word = words[k]
        ones = word & lowest
        not_ones |= word ^ ones
        full = ones | (ones << one)
        full |= full << two
        full |= full << four
        not_full |= word ^ full
        words[k] = ones
    if not_ones == 0:
        return 0
    return 1 if not_full == 0 else 2


def trace(room: Bytes, words: Words, stride: int) -> tuple[Int, Int, Long, Any, Bytes]:
    """
    Walk all borders. The room's pixels are marked; it must be filled again before another walk.

    Args:
        room: uint8 (n,), flat, of 0 and 1. n is a multiple of 8. The first and the last row are unset.
        words: uint64 (n / 8,), the same memory.
        stride: pixels of a row of the room.

    Returns:
        ``(x, y, offsets, is_hole, is_west)``. x, y: int32 (n,), the pixels of all chains. offsets: int64 (borders +
        1,); border b is ``offsets[b]`` to ``offsets[b + 1]``. is_hole: bool (borders,). is_west: uint8 (n,), 1 if this
        visit of the pixel walks its west crack. Borders are in the order of the scan. The chain of a hole's border
        begins at the set pixel west of the hole's first unset pixel. New arrays.
    """
    places, is_west = np.empty(4096, np.int64), np.empty(4096, np.uint8)
    offsets, is_hole = np.zeros(64, np.int64), np.zeros(64, np.bool_)
    n, size = 0, 0
    for word in _changes(words):
        for place in range(word << 3, (word + 1) << 3):
            is_outer = room[place] != 0
            if is_outer == (room[place - 1] != 0):
                continue
            start = place if is_outer else place - 1
            if room[start] & (_WEST if is_outer else _EAST):
                continue
            if n + 1 == len(offsets):
                offsets, is_hole = _longer(offsets), _longer(is_hole)
            places, is_west, size = _walk(room, stride, start, 2 if is_outer else 0, places, is_west, size)
            is_hole[n] = not is_outer
            n += 1
            offsets[n] = size
    x, y = np.empty(size, np.int32), np.empty(size, np.int32)
    for b in range(n):
        _coordinates(places, offsets[b], offsets[b + 1], stride, x, y)
    return x, y, offsets[: n + 1].copy(), is_hole[:n].copy(), is_west[:size].copy()


def _changes(words: Words) -> Long:
    """The words in which a pixel differs from the pixel before it, rising. The first word must be unset."""
    one, seven = np.uint64(8), np.uint64(56)
    is_changed = np.zeros(len(words), np.bool_)
    for k in range(1, len(words)):
        is_changed[k] = words[k] != ((words[k] << one) | (words[k - 1] >> seven))
    return np.flatnonzero(is_changed)


def _walk(
    room: Bytes, stride: int, start: int, side: int, places: Long, is_west: Bytes, size: int
) -> tuple[Long, Bytes, int]:
    """Walk one border from a crack, and append its chain: places in the room, and whether a west crack was walked."""
    steps = (1, stride, -1, -stride)  # ways and sides: 0 east, 1 south, 2 west, 3 north
    begin, place, s = size, start, side
    while True:
        if size == len(places):
            places, is_west = _longer(places), _longer(is_west)
        places[size] = place
        marks = 0
        while True:  # the visit of a pixel: along its cracks, until the curve leaves it
            if s & 1 == 0:
                mark = _WEST if s else _EAST
                room[place] |= mark
                marks |= mark
            way = (s + 3) & 3
            ahead = place + steps[way]
            if room[ahead + steps[s]]:
                place = ahead + steps[s]
                s = (way + 2) & 3
                moved = True
            elif room[ahead]:
                place = ahead
                moved = True
            else:
                s = way
                moved = False
            if moved or (s == side and place == start):
                break
        is_west[size] = (marks & _WEST) != 0
        size += 1
        if s == side and place == start:
            break
    if not moved and size - begin > 1:
        # The walk began in the middle of a visit, whose earlier part came last.
        size -= 1
        is_west[begin] |= is_west[size]
    return places, is_west, size


def _longer(array: Any) -> Any:
    """A copy with room for as many values again, which are 0."""
    twice = np.zeros(2 * len(array), array.dtype)
    twice[: len(array)] = array
    return twice


def _coordinates(places: Long, begin: int, end: int, stride: int, x: Int, y: Int) -> None:
    """Convert one chain from places in the room to pixels of the mask. One division is enough, as steps are short."""
    row = places[begin] // stride
    for k in range(begin, end):
        if k > begin:
            step = places[k] - places[k - 1]
            row += int(step > 1) - int(step < -1)
        x[k] = places[k] - row * stride - MARGIN
        y[k] = row - 1


def find_anchors(x: Int, y: Int, offsets: Long, is_hole: Any, is_west: Bytes, room: Bytes) -> Long:
    """
    Find the anchor of each hole.

    Args:
        x, y, offsets, is_hole, is_west: as :func:`trace` returns them.
        room: uint8 (height + 2, stride), in which the borders were walked.

    Returns:
        int64 (borders,): the index in the chains of the pixel that a hole's border is connected to; -1 for an outer
        border. A new array.
    """
    rows, stride = room.shape
    anchors = np.full(len(is_hole), -1, np.int64)
    # The visits of west cracks, sorted by row: a counting sort.
    starts = np.zeros(rows, np.int64)
    for k in range(len(y)):
        starts[y[k] + 2] += is_west[k]
    for row in range(1, rows):
        starts[row] += starts[row - 1]
    visits = np.empty(starts[-1], np.int64)
    ends = starts.copy()
    for k in range(len(y)):
        if is_west[k]:
            visits[ends[y[k] + 1]] = k
            ends[y[k] + 1] += 1
    visit_at = np.empty(stride, np.int64)
    listed = -1
    for b in range(len(is_hole)):
        if not is_hole[b]:
            continue
        first = offsets[b]
        row = y[first]
        if row != listed:  # holes are in the order of their rows
            for k in range(starts[row + 1], ends[row + 1]):
                visit_at[x[visits[k]]] = visits[k]
            listed = row
        column = x[first]
        while room[row + 1, column + MARGIN - 1]:
            column -= 1
        anchors[b] = visit_at[column]
    return anchors
