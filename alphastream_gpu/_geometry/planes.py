"""
Planes: which channels of a frame may share one parity plane, and the boxes around channels. Pure.

Channels flip pixels; two whose interiors overlap in one plane would cancel where they should unite. Interiors cannot
overlap if the channels' boxes do not, nor if in every band of rows their extents in x do not: the second test keeps
apart the two eyes' silhouettes, whose boxes overlap wherever one leans over the other's elbow. Both tests err on the
safe side.

Channels are then coloured greedily, from the largest box down, each taking the lowest plane that no overlapping one
before it has: plane 0 gets the silhouettes, and the later planes, which cost the renderer more, get the crumbs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from .segments import Channels, Segments, segments_of

__all__ = ["MAX_CHANNELS", "MAX_PLANES", "boxes_of", "planes_of"]

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

MAX_CHANNELS: Final = 1024
"""Most closed channels that are coloured; real frames have tens. As many of them make half a million pairs."""
MAX_PLANES: Final = 64
"""Most planes that are told apart. Beyond it a CPU mask is cheaper than drawing them."""
_BAND_BITS: Final = 6
_BANDS: Final = 1 << _BAND_BITS
"""Most bands, of a power of two of rows, that the frame's height is cut into; 16 rows for a person of full height."""
_MAX_PAIRS: Final = 4096
"""Most pairs of overlapping boxes that are looked at band by band; each costs 64 comparisons."""
_EMPTY_BOX: Final = (0, 0, -1, -1)


def boxes_of(points: Int32, offsets: Int32) -> Int32:
    """
    The boxes around channels.

    Args:
        points: int32 (n, 2), x and y.
        offsets: int32 (channels + 1,), where each channel starts, and the end.

    Returns:
        int32 (channels, 4): left, top, right, bottom, all inclusive; (0, 0, -1, -1) for a channel without points.
    """
    firsts = offsets[:-1]
    boxes = np.empty((len(firsts), 4), np.int32)
    if not len(points):
        boxes[:] = _EMPTY_BOX
        return boxes
    is_empty = firsts == offsets[1:]
    if is_empty.any():
        boxes[:] = _EMPTY_BOX
        has_points = ~is_empty
        boxes[has_points, :2] = np.minimum.reduceat(points, firsts[has_points])
        boxes[has_points, 2:] = np.maximum.reduceat(points, firsts[has_points])
        return boxes
    np.minimum.reduceat(points, firsts, out=boxes[:, :2])
    np.maximum.reduceat(points, firsts, out=boxes[:, 2:])
    return boxes


def planes_of(geometry: Channels, boxes: Int32) -> Int32 | None:
    """
    Colour the channels of a frame.

    Args:
        geometry: the frame.
        boxes: of its channels, as :func:`boxes_of` gives them.

    Returns:
        int32 (channels,): the plane of each channel, from 0. Channels of fewer than three points have no interior, and
        plane 0. None if there are more than :data:`MAX_CHANNELS` closed channels or :data:`MAX_PLANES` planes.
    """
    planes = np.zeros(len(boxes), np.int32)
    counts = geometry.channel_offsets[1:] - geometry.channel_offsets[:-1]
    closed = (counts >= 3).nonzero()[0]
    if len(closed) < 2:
        return planes
    if len(closed) > MAX_CHANNELS:
        return None
    if len(closed) < len(boxes):
        boxes = boxes[closed]
    one, other = _overlapping(boxes)
    if len(one) and len(one) <= _MAX_PAIRS:
        is_rival = _meet_in_a_band(one, other, geometry, boxes)
        one, other = one[is_rival], other[is_rival]
    if not len(one):
        return planes
    rivals: dict[int, list[int]] = {}
    for channel, rival in zip(one.tolist(), other.tolist(), strict=True):
        rivals.setdefault(channel, []).append(rival)
        rivals.setdefault(rival, []).append(channel)
    sides = (boxes[:, 2:].astype(np.int64) - boxes[:, :2]).tolist()
    placed: dict[int, int] = {}
    for channel in sorted(rivals, key=lambda channel: (-sides[channel][0] * sides[channel][1], channel)):
        taken = {placed.get(rival) for rival in rivals[channel]}
        plane = next(plane for plane in range(len(taken) + 1) if plane not in taken)
        if plane >= MAX_PLANES:
            return None
        placed[channel] = plane
        planes[closed[channel]] = plane
    return planes


def _overlapping(boxes: Int32) -> tuple[Int64, Int64]:
    """
    The pairs of boxes that overlap, the lower number first.

    Boxes that only touch do not: a pixel on a box's edge is never in a channel's strict interior, and what lies on a
    segment is set by the outline whatever the fill says.
    """
    left, top, right, bottom = boxes.T
    meet = left[:, None] < right
    meet &= top[:, None] < bottom
    meet &= meet.T
    one, other = meet.nonzero()
    is_first = one < other
    return one[is_first], other[is_first]


def _meet_in_a_band(one: Int64, other: Int64, geometry: Channels, boxes: Int32) -> npt.NDArray[np.bool_]:
    """Which of the pairs of closed channels whose boxes overlap also overlap in some band of rows."""
    top = int(boxes[:, 1].min())
    shift = max(0, (int(boxes[:, 3].max()) - top).bit_length() - _BAND_BITS)
    left = np.full((len(boxes), _BANDS), np.iinfo(np.int64).max)
    right = np.full((len(boxes), _BANDS), np.iinfo(np.int64).min)
    for cell, left_of, right_of in _segments_in_bands(segments_of(geometry), len(boxes), top, shift):
        np.minimum.at(left.reshape(-1), cell, left_of)
        np.maximum.at(right.reshape(-1), cell, right_of)
    meet = left[one] < right[other]
    meet &= left[other] < right[one]
    return np.asarray(meet.any(axis=1))


def _segments_in_bands(
    segments: Segments, n_channels: int, top: int, shift: int
) -> Iterator[tuple[Int64, Int64, Int64]]:
    """
    The bands that closed channels' segments are in: their numbers, counted through all channels, and the segments'
    extents in x. Every segment is given once for each band that it is in, or oftener.
    """
    part = slice(segments.n_closed)
    ax, bx = segments.ax[part], segments.bx[part]
    left, right = np.minimum(ax, bx), np.maximum(ax, bx)
    channel = segments.channel[part]
    if int(channel[-1]) >= n_channels:  # others stand between; closed channels only, counted from 0
        channel = np.cumsum(np.diff(channel, prepend=channel[0]) != 0)
    base = channel * _BANDS
    start, end = ((y[part] - top) >> shift for y in (segments.ay, segments.by))
    start += base
    end += base
    steps = end - start
    if steps.max() <= 1 and steps.min() >= -1:  # as in traced outlines: no segment has a band between its ends
        yield start, left, right
        yield end, left, right
        return
    first = np.minimum(start, end)
    count = np.abs(steps) + 1
    step = np.arange(int(count.sum())) - (np.cumsum(count) - count).repeat(count)
    yield first.repeat(count) + step, left.repeat(count), right.repeat(count)
