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

MAX_CHANNELS: Final = 1024
"""Most closed channels that are coloured; real frames have tens. As many of them make half a million pairs."""
MAX_PLANES: Final = 64
"""Most planes that are drawn, four at a time. Beyond it a CPU mask is cheaper than the passes."""
_BANDS: Final = 64
"""Bands of rows that the frame's height is cut into; 16 rows each for a person of full height."""
_MAX_PAIRS: Final = 4096
"""Most pairs of overlapping boxes that are looked at band by band; each costs 64 comparisons."""


def assign_planes(low: Int64, high: Int64, segments: Segments, frames: Int64 | None = None) -> Int64 | None:
    """
    Colour the closed channels of a frame, or of several that are drawn side by side.

    Args:
        low: int64 (channels, 2), the smallest x and y of each closed channel.
        high: int64 (channels, 2), the largest.
        segments: the frame's segments; the closed ones are those of these channels, in order.
        frames: int64 (channels,), the number of the frame that each belongs to, ascending, when there are several:
            channels of different ones do not overlap.

    Returns:
        int64 (channels,): each one's plane, from 0; or None if there are more channels or planes than are drawn.
    """
    n = len(low)
    planes = np.zeros(n, np.int64)
    if n < 2:
        return planes
    if n > MAX_CHANNELS:
        return None
    sizes = np.array([n])
    if frames is not None:
        sizes = np.bincount(frames)
        sizes = sizes[sizes > 0]
    one, other = _overlapping_boxes(low, high, sizes)
    if not len(one):
        return planes
    if len(one) <= _MAX_PAIRS:
        meet = _meet_in_a_band(one, other, *_bands(low, high, sizes), segments)
        one, other = one[meet], other[meet]
    rivals: dict[int, list[int]] = {}
    for channel, rival in zip(one.tolist(), other.tolist(), strict=True):
        rivals.setdefault(channel, []).append(rival)
        rivals.setdefault(rival, []).append(channel)
    area = (high - low).prod(axis=1)
    crowded = np.array(sorted(rivals), np.int64)
    placed: dict[int, int] = {}
    for channel in crowded[np.argsort(-area[crowded], kind="stable")].tolist():
        taken = {placed.get(rival) for rival in rivals[channel]}
        plane = next(plane for plane in range(len(taken) + 1) if plane not in taken)
        if plane >= MAX_PLANES:
            return None
        placed[channel] = planes[channel] = plane
    return planes


def _overlapping_boxes(low: Int64, high: Int64, sizes: Int64) -> tuple[Int64, Int64]:
    """
    Pairs of channels of the same frame whose boxes overlap; `sizes` is how many channels each frame has.

    Boxes that only touch do not overlap: a pixel on a box's edge is never in a channel's strict interior, and what lies
    on a segment is set by the outline whatever the fill says.
    """
    n = len(low)
    n_after = np.cumsum(sizes).repeat(sizes) - np.arange(n) - 1  # channels of its frame that follow each one
    one = np.arange(n).repeat(n_after)
    other = np.arange(len(one)) - (np.cumsum(n_after) - n_after).repeat(n_after) + one + 1
    meet = ((low[one] < high[other]) & (low[other] < high[one])).all(axis=1)
    return one[meet], other[meet]


def _bands(low: Int64, high: Int64, sizes: Int64) -> tuple[Int64, Int64]:
    """For each channel, the top of its frame, and the height of the bands that the frame is cut into."""
    starts = np.cumsum(sizes) - sizes
    top = np.minimum.reduceat(low[:, 1], starts)
    height = (np.maximum.reduceat(high[:, 1], starts) - top) // _BANDS + 1
    return top.repeat(sizes), height.repeat(sizes)


def _meet_in_a_band(one: Int64, other: Int64, top: Int64, height: Int64, segments: Segments) -> npt.NDArray[np.bool_]:
    """Which of the pairs of channels whose boxes overlap also overlap in some band of rows."""
    part = slice(segments.n_closed)
    channel, ay, by = segments.channel[part], segments.ay[part], segments.by[part]
    channel = np.cumsum(np.diff(channel, prepend=channel[0]) != 0)  # closed channels only, counted from 0
    ax, bx = segments.ax[part], segments.bx[part]
    top, height = top[channel], height[channel]
    first = (np.minimum(ay, by) - top) // height
    count = (np.maximum(ay, by) - top) // height - first + 1
    step = np.arange(int(count.sum())) - (np.cumsum(count) - count).repeat(count)
    cell = (channel * _BANDS + first).repeat(count) + step
    n_channels = int(channel[-1]) + 1
    left = np.full((n_channels, _BANDS), np.iinfo(np.int64).max)
    right = np.full((n_channels, _BANDS), np.iinfo(np.int64).min)
    np.minimum.at(left.reshape(-1), cell, np.minimum(ax, bx).repeat(count))
    np.maximum.at(right.reshape(-1), cell, np.maximum(ax, bx).repeat(count))
    meet = np.logical_or.reduce((left[one] < right[other]) & (left[other] < right[one]), axis=1)
    return np.asarray(meet, np.bool_)
