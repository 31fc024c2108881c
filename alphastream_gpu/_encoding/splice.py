"""
Splice: connects the paths of holes with the paths around them, which makes one channel of each component.

A module of kernels: numba compiles it (_runtime/kernels.py), and the tests also run it as plain Python.

Strategy
--------
The even-odd rule counts within a channel, so a hole must be in the same channel as the component around it. From the
vertex at the hole's anchor, a *bridge* leads along the row to the hole's first vertex. The path goes round the hole and
back over the same bridge. A segment that is drawn twice flips no pixel, and its pixels are pixels of the mask.

If the set pixels between the hole and the border west of it are only one pixel thick, the anchor and the hole's first
vertex are the same pixel, and there is no bridge. One vertex then serves as both. It may also be the anchor of another
hole.

*Small channels.* A channel of one point draws nothing, so the point is written twice. A channel of two points draws
only the line from the first to the second, whose pixels can differ from those of the reversed line. If the chain needs
both lines, the first point is written again at the end.

The vertices of all borders are a linked list. Holes are spliced in the order of their borders: an anchor is always on
an earlier border, which is spliced already.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["SIGNATURES", "complete_small_channels", "splice"]

Int = npt.NDArray[np.int32]
Long = npt.NDArray[np.int64]

_LONGEST = 127
"""The longest step of a bridge, in pixels: the format's steps reach 127 in one direction and 128 in the other."""

SIGNATURES = {
    "splice": "(int32[::1], int32[::1], int64[::1], boolean[::1], int64[::1])",
    "complete_small_channels": (
        "(int32[:, ::1], int64[::1], int32[::1], int32[::1], int64[::1], boolean[::1], boolean)"
    ),
}


def splice(x: Int, y: Int, ends: Long, is_hole: Any, anchors: Long) -> tuple[Int, Long]:
    """
    Make the channels of the paths.

    Args:
        x, y: int32 (n,): the vertices of the paths of all borders.
        ends: int64 (borders + 1,): border b has the vertices ``ends[b]`` to ``ends[b + 1]``.
        is_hole: bool (borders,).
        anchors: int64 (borders,): the index of the vertex that a hole is connected to, which is at the left of the
            hole's first vertex in the same row, or equal to it.

    Returns:
        ``(points, channel_offsets)``: int32 (m, 2) and int64 (channels + 1,), one channel for each outer border. New
        arrays.
    """
    n = len(x)
    capacity = n
    for b in range(len(is_hole)):
        if is_hole[b]:
            capacity += 2 + 2 * ((x[ends[b]] - x[anchors[b]]) // _LONGEST + 1)
    all_x, all_y = np.empty(capacity, np.int32), np.empty(capacity, np.int32)
    after = np.empty(capacity, np.int64)
    all_x[:n], all_y[:n] = x, y
    stands_for = np.empty(n, np.int64)
    for i in range(n):
        after[i], stands_for[i] = i + 1, i
    for b in range(len(is_hole)):
        after[ends[b + 1] - 1] = -1
    size = n
    for b in range(len(is_hole)):
        if is_hole[b]:
            anchor, first = stands_for[anchors[b]], ends[b]
            if all_x[first] == all_x[anchor]:
                stands_for[first] = anchor
            size = _insert(anchor, first, ends[b + 1] - 1, all_x, all_y, after, size)
    return _collected(ends, is_hole, all_x, all_y, after, size)


def _insert(anchor: int, first: int, last: int, x: Int, y: Int, after: Long, size: int) -> int:
    """Insert a hole's vertices, `first` to `last`, and its bridge behind the anchor; the new count of vertices."""
    rest, row = after[anchor], y[anchor]
    if x[first] == x[anchor]:
        after[anchor] = first + 1  # the anchor stands for the first vertex
        tail = last
    else:
        tail = anchor
        for column in range(x[anchor] + _LONGEST, x[first], _LONGEST):
            x[size], y[size], after[tail] = column, row, size
            tail, size = size, size + 1
        after[tail] = first
        x[size], y[size], after[last] = x[first], row, size
        tail, size = size, size + 1
        for column in range(x[first] - _LONGEST, x[anchor], -_LONGEST):
            x[size], y[size], after[tail] = column, row, size
            tail, size = size, size + 1
    x[size], y[size], after[tail], after[size] = x[anchor], row, size, rest
    return size + 1


def _collected(ends: Long, is_hole: Any, x: Int, y: Int, after: Long, size: int) -> tuple[Int, Long]:
    """Follow the linked lists of all channels."""
    points = np.empty((size, 2), np.int32)
    n_channels = 0
    for b in range(len(is_hole)):
        n_channels += 0 if is_hole[b] else 1
    offsets = np.zeros(n_channels + 1, np.int64)
    place, channel = 0, 0
    for b in range(len(is_hole)):
        if is_hole[b]:
            continue
        i = ends[b]
        while i >= 0:
            points[place, 0], points[place, 1] = x[i], y[i]
            place += 1
            i = after[i]
        channel += 1
        offsets[channel] = place
    return points[:place].copy(), offsets


def complete_small_channels(
    points: Int, channel_offsets: Long, x: Int, y: Int, offsets: Long, is_hole: Any, is_exact: bool
) -> tuple[Int, Long]:
    """
    Repeat the first point of channels that draw too little.

    Args:
        points, channel_offsets: as :func:`splice` returns them.
        x, y, offsets, is_hole: the chains, as borders.py returns them.
        is_exact: whether a channel of two points must draw all of its chain.

    Returns:
        The same as :func:`splice`. New arrays.
    """
    n_channels = len(channel_offsets) - 1
    result = np.empty((len(points) + n_channels, 2), np.int32)
    new_offsets = np.zeros(n_channels + 1, np.int64)
    size, channel = 0, 0
    for b in range(len(is_hole)):
        if is_hole[b]:
            continue
        first, stop = channel_offsets[channel], channel_offsets[channel + 1]
        for k in range(first, stop):
            result[size] = points[k]
            size += 1
        is_short = stop - first == 1 or (
            stop - first == 2 and is_exact and not _line_draws_all(points, first, x, y, offsets[b], offsets[b + 1])
        )
        if is_short:
            result[size] = points[first]
            size += 1
        channel += 1
        new_offsets[channel] = size
    return result[:size].copy(), new_offsets


def _line_draws_all(points: Int, first: int, x: Int, y: Int, begin: int, end: int) -> bool:
    """Whether the line between two points draws all pixels of a chain (docs/coverage.md, "Lines")."""
    ax, ay = np.int64(points[first, 0]), np.int64(points[first, 1])
    dx, dy = np.int64(points[first + 1, 0]) - ax, np.int64(points[first + 1, 1]) - ay
    longer, shorter = max(abs(dx), abs(dy)), min(abs(dx), abs(dy))
    for k in range(begin, end):
        i, j = (x[k] - ax) * (1 if dx > 0 else -1), (y[k] - ay) * (1 if dy > 0 else -1)
        if abs(dx) < abs(dy):
            i, j = j, i
        if i < 0 or i > longer or j != (2 * i * shorter + longer - 1) // (2 * longer):
            return False
    return True
