"""
Planes: which channels may share one parity plane. Pure.

Channels flip pixels; two whose interiors overlap in one plane would cancel where they should unite. Interiors cannot
overlap if the channels' boxes do not, nor if in every band of rows their extents in x do not: the second test keeps
apart the two eyes' silhouettes, whose boxes overlap wherever one leans over the other's elbow. Both tests err on the
safe side.

Channels are then coloured greedily, from the largest box down, each taking the lowest plane that no overlapping one
before it has: plane 0, which is drawn straight into the target, gets the silhouettes, and the later planes, which cost
a pass over their own boxes, get the crumbs.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from .._raster.segments import Segments

__all__ = ["MAX_CHANNELS", "MAX_PLANES", "assign_planes"]

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MAX_CHANNELS: Final = 1024
"""Most closed channels that are coloured; real frames have tens. The overlap table is this number squared in bytes."""
MAX_PLANES: Final = 64
"""Most planes that are drawn, four at a time. Beyond it a CPU mask is cheaper than the passes."""
_BANDS: Final = 64
"""Bands of rows that the frame's height is cut into; 16 rows each for a person of full height."""
_MAX_PAIRS: Final = 4096
"""Most pairs of overlapping boxes that are looked at band by band; each costs 64 comparisons."""


def assign_planes(low: Int64, high: Int64, segments: Segments) -> Int64 | None:
    """
    Colour the closed channels.

    Args:
        low: int64 (channels, 2), the smallest x and y of each closed channel.
        high: int64 (channels, 2), the largest.
        segments: the frame's segments; the closed ones are those of these channels, in order.

    Returns:
        int64 (channels,): each one's plane, from 0; or None if there are more channels or planes than are drawn.
    """
    n = len(low)
    planes = np.zeros(n, np.int64)
    if n < 2:
        return planes
    if n > MAX_CHANNELS:
        return None
    overlaps = _overlapping_boxes(low, high)
    if not overlaps.any():
        return planes
    overlaps = _overlapping_bands(overlaps, segments)
    area = (high - low).prod(axis=1)
    crowded = np.flatnonzero(overlaps.any(axis=1))
    placed: list[int] = []
    for channel in crowded[np.argsort(-area[crowded], kind="stable")].tolist():
        rivals = planes[placed][overlaps[channel, placed]].tolist() if placed else []
        plane = next(plane for plane in range(len(placed) + 1) if plane not in rivals)
        if plane >= MAX_PLANES:
            return None
        planes[channel] = plane
        placed.append(channel)
    return planes


def _overlapping_boxes(low: Int64, high: Int64) -> Bools:
    """
    bool (channels, channels). Boxes that only touch do not overlap.

    A pixel on a box's edge is never in a channel's strict interior, and what lies on a segment is set by the outline
    whatever the fill says.
    """
    overlaps: Bools = np.logical_and.reduce(low[:, None] < high, axis=2)
    overlaps &= overlaps.T
    np.fill_diagonal(overlaps, False)
    return overlaps


def _overlapping_bands(overlaps: Bools, segments: Segments) -> Bools:
    """Of the channels whose boxes overlap, those that also do in some band of rows."""
    one, other = np.nonzero(np.triu(overlaps))
    if len(one) > _MAX_PAIRS:
        return overlaps
    part = slice(segments.n_closed)
    channel, ay, by = segments.channel[part], segments.ay[part], segments.by[part]
    channel = np.cumsum(np.diff(channel, prepend=channel[0]) != 0)  # closed channels only, counted from 0
    ax, bx = segments.ax[part], segments.bx[part]
    height = (segments.box.bottom - segments.box.top) // _BANDS + 1
    first = (np.minimum(ay, by) - segments.box.top) // height
    count = (np.maximum(ay, by) - segments.box.top) // height - first + 1
    step = np.arange(int(count.sum())) - (np.cumsum(count) - count).repeat(count)
    cell = (channel * _BANDS + first).repeat(count) + step
    left = np.full((len(overlaps), _BANDS), np.iinfo(np.int64).max)
    right = np.full((len(overlaps), _BANDS), np.iinfo(np.int64).min)
    np.minimum.at(left.reshape(-1), cell, np.minimum(ax, bx).repeat(count))
    np.maximum.at(right.reshape(-1), cell, np.maximum(ax, bx).repeat(count))
    meet = ((left[one] < right[other]) & (left[other] < right[one])).any(axis=1)
    refined = np.zeros_like(overlaps)
    refined[one[meet], other[meet]] = True
    return refined | refined.T
