"""
Planes: assigns the channels of a frame to parity planes, and computes the bounding boxes of channels. Pure.

Channels flip pixels. If the interiors of two channels overlap in one plane, the overlap would be empty instead of set.
Two interiors do not overlap if the boxes of the channels do not overlap, or if their extents in x do not overlap in any
band of rows. The second test finds that the silhouettes for the two eyes do not overlap; their boxes do wherever one
silhouette leans over the other one's elbow. Both tests may report an overlap where there is none, but never miss one.

The channels are then coloured greedily, from the largest box to the smallest. Each channel gets the lowest plane that
no overlapping channel before it has. So plane 0 gets the silhouettes, and the later planes, which cost the renderer
more, get the small channels.
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
"""Most closed channels that are coloured; real frames have tens of channels. This number has half a million pairs."""
MAX_PLANES: Final = 64
"""Most planes of a frame. With more planes, a mask of the CPU is cheaper than drawing."""
_BAND_BITS: Final = 6
_BANDS: Final = 1 << _BAND_BITS
"""Most bands that the height of a frame is cut into. The rows of a band are a power of two: 16 for a full-height
person."""
_MAX_PAIRS: Final = 4096
"""Most pairs of overlapping boxes that are compared band by band, with 64 comparisons for each pair."""
_EMPTY_BOX: Final = (0, 0, -1, -1)


def boxes_of(points: Int32, offsets: Int32) -> Int32:
    """
    Compute the bounding boxes of channels.

    Args:
        points: int32 (n, 2), x and y.
        offsets: int32 (channels + 1,), the start of each channel, and the end.

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
    Assign each channel of a frame to a plane.

    Args:
        geometry: the frame.
        boxes: the boxes of its channels, from :func:`boxes_of`.

    Returns:
        int32 (channels,): the plane of each channel, from 0. A channel of fewer than three points has no interior; its
        plane is 0. None if there are more than :data:`MAX_CHANNELS` closed channels or :data:`MAX_PLANES` planes.
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
    Find the pairs of boxes that overlap, with the lower index first.

    Boxes that only touch do not count: a pixel on the edge of a box is never in the strict interior of a channel, and
    the outline sets the pixels on a segment in any case.
    """
    left, top, right, bottom = boxes.T
    meet = left[:, None] < right
    meet &= top[:, None] < bottom
    meet &= meet.T
    one, other = meet.nonzero()
    is_first = one < other
    return one[is_first], other[is_first]


def _meet_in_a_band(one: Int64, other: Int64, geometry: Channels, boxes: Int32) -> npt.NDArray[np.bool_]:
    """Whether closed channels whose boxes overlap also overlap in some band of rows; one value for each pair."""
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
    The bands of the segments of closed channels, as arrays of cells, left ends and right ends. A cell is the index of a
    channel and a band. The ends are the extent of a segment in x. A segment is given at least once for each of its
    bands.
    """
    part = slice(segments.n_closed)
    ax, bx = segments.ax[part], segments.bx[part]
    left, right = np.minimum(ax, bx), np.maximum(ax, bx)
    channel = segments.channel[part]
    if int(channel[-1]) >= n_channels:  # there are open channels: count only the closed ones
        channel = np.cumsum(np.diff(channel, prepend=channel[0]) != 0)
    base = channel * _BANDS
    start, end = ((y[part] - top) >> shift for y in (segments.ay, segments.by))
    start += base
    end += base
    steps = end - start
    if steps.max() <= 1 and steps.min() >= -1:  # as in traced outlines, whose segments span at most two bands
        yield start, left, right
        yield end, left, right
        return
    first = np.minimum(start, end)
    count = np.abs(steps) + 1
    step = np.arange(int(count.sum())) - (np.cumsum(count) - count).repeat(count)
    yield first.repeat(count) + step, left.repeat(count), right.repeat(count)
