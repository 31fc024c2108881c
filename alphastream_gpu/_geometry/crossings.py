"""
Crossings: counts how often the outlines of a frame cross, before the frame is cut into a strip. A frame with too many
crossings is refused, because cutting has a cost for each crossing.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from .._exceptions import DecodeError
from .._wording import INSTEAD_OF_STRIP

__all__ = ["MAX_CROSSINGS", "MAX_PAIRS", "cannot_be_many", "check_crossings"]

Indices = npt.NDArray[np.int64]
Places = npt.NDArray[np.float64]

MAX_CROSSINGS: Final = 65_536
"""
Most crossings that the outlines of a frame may have. n edges can cross n²/2 times, and cutting takes 1.4 KB and some
5 microseconds for each crossing. So 8,000 points, which deflate to a few hundred bytes, could need 45 GB. The outlines
of people cross a few times, if at all.
"""
MAX_PAIRS: Final = 1 << 25
"""
Most pairs of edges that a frame may have, crossing or not. Both edges of a pair belong to the same channel. One channel
of 8,192 points has this number of pairs, or two channels of 5,792 points each. Clipper2 and manifold3d take quadratic
time for combs, for holes side by side and for bays, some 100 ns for each pair.
"""
_PART: Final = 1 << 18
"""Pairs that are compared at a time, which takes 40 MB."""
_ROUNDING: Final = 2.0**-50
"""A bound on the error of the difference of two products, relative to the sum of their magnitudes. The error is a few
roundings of 2^-53."""


def cannot_be_many(channel_offsets: npt.NDArray[np.int32]) -> bool:
    """Whether the channels have too few points for more than `MAX_CROSSINGS` crossings, wherever the points lie."""
    return _most_pairs(_lengths(channel_offsets)) <= MAX_CROSSINGS


def check_crossings(points: npt.NDArray[np.int32], shifted: Places, channel_offsets: npt.NDArray[np.int32]) -> None:
    """
    Refuse a frame whose channels cannot be cut within the bounds.

    Edges that touch count as crossing, because they cost the same. Examples are the same edge twice, edges that lie on
    each other (Clipper2 took half a minute to order 500 of them in a row) and two visits of one point (a minute for
    1,400 lines through one point).

    Args:
        points: int32 (n, 2).
        shifted: float64 (n, 2), the points as they will be cut. Equal points must be shifted equally.
        channel_offsets: int32 (channels + 1,).

    Raises:
        DecodeError: more than `MAX_CROSSINGS` crossings, or more than `MAX_PAIRS` pairs of edges.
    """
    lengths = _lengths(channel_offsets)
    n_pairs = _most_pairs(lengths)
    if n_pairs > MAX_PAIRS:
        raise DecodeError(
            f"cover strip: expected at most {MAX_PAIRS} pairs of edges in all channels, found {n_pairs};"
            f" {INSTEAD_OF_STRIP}"
        )
    starts, ends, channels = _edges(points, lengths)
    n_crossings = _n_meetings(points[starts], channels)
    pairs = _Pairs(points[starts, 1], points[ends, 1], channels)
    if n_crossings + pairs.n <= MAX_CROSSINGS:
        return
    for first in range(0, pairs.n, _PART):
        one, other = pairs.part(first, min(first + _PART, pairs.n))
        corners = starts[one], ends[one], starts[other], ends[other]
        near = _are_near(*(points[at, 0] for at in corners))
        n_crossings += _n_crossings(*(shifted[at[near]] for at in corners))
        if n_crossings > MAX_CROSSINGS:
            break
    if n_crossings > MAX_CROSSINGS:
        raise DecodeError(
            f"cover strip: expected outlines that cross at most {MAX_CROSSINGS} times, found more; {INSTEAD_OF_STRIP}"
        )


def _lengths(channel_offsets: npt.NDArray[np.int32]) -> Indices:
    return np.diff(channel_offsets).astype(np.int64)


def _most_pairs(lengths: Indices) -> int:
    """An upper bound on the number of pairs of edges of channels with `lengths` points."""
    return int((lengths * lengths).sum()) // 2


def _edges(points: npt.NDArray[np.int32], lengths: Indices) -> tuple[Indices, Indices, Indices]:
    """For each edge with a length: the indices of its start point and its end point, and of its channel."""
    channels = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    ends = np.arange(1, len(points) + 1)
    stops = np.cumsum(lengths)
    filled = lengths > 0
    ends[stops[filled] - 1] = (stops - lengths)[filled]
    kept = (points != points[ends]).any(axis=1) & (lengths >= 3)[channels]
    return np.nonzero(kept)[0], ends[kept], channels[kept]


def _n_meetings(points: npt.NDArray[np.int32], channels: Indices) -> int:
    """Count the pairs of visits of one point by the same channel. Points (m, 2)."""
    order = np.lexsort((points[:, 0], points[:, 1], channels))
    points, channels = points[order], channels[order]
    is_new = np.ones(len(points), bool)
    is_new[1:] = (points[1:] != points[:-1]).any(axis=1) | (channels[1:] != channels[:-1])
    visits = np.diff(np.append(np.nonzero(is_new)[0], len(points)))
    return int((visits * (visits - 1)).sum()) // 2


class _Pairs:
    """
    The numbered pairs of edges of the same channel whose ranges in y overlap. The pairs are not stored as a list.

    Args:
        one: int32 (m,), y of one end of each edge.
        other: int32 (m,), y of the other end.
        channels: int64 (m,), the channel of each edge.

    Attributes:
        n: the number of pairs.
    """

    def __init__(self, one: npt.NDArray[np.int32], other: npt.NDArray[np.int32], channels: Indices) -> None:
        place = channels << 33  # twice the range of an int32: the ranges of channels do not overlap
        low = place + np.minimum(one, other)
        high = place + np.maximum(one, other)
        self._order = np.argsort(low, kind="stable")
        stops = np.searchsorted(low[self._order], high[self._order], "right")
        self._partners = stops - np.arange(1, len(stops) + 1)  # of each edge, among the edges after it
        self._stops = np.cumsum(self._partners)
        self.n = int(self._partners.sum())

    def part(self, first: int, stop: int) -> tuple[Indices, Indices]:
        """The indices of both edges of the pairs `first` to `stop`, exclusive."""
        numbers = np.arange(first, stop)
        one = np.searchsorted(self._stops, numbers, "right")
        other = one + 1 + numbers - (self._stops - self._partners)[one]
        return self._order[one], self._order[other]


def _are_near(
    a: npt.NDArray[np.int32], b: npt.NDArray[np.int32], c: npt.NDArray[np.int32], d: npt.NDArray[np.int32]
) -> npt.NDArray[np.bool_]:
    """Whether the ranges in x of the edges from a to b and from c to d overlap as well; most do not."""
    near: npt.NDArray[np.bool_] = (np.maximum(a, b) >= np.minimum(c, d)) & (np.maximum(c, d) >= np.minimum(a, b))
    return near


def _n_crossings(a: Places, b: Places, c: Places, d: Places) -> int:
    """
    Count the edge pairs that intersect anywhere but at one shared endpoint. One edge of a pair goes from a to b, the
    other from c to d. They may cross, one may end on the other, or they may lie on each other. Each array is (m, 2).
    """
    meet = (_side(a, b, c) * _side(a, b, d) <= 0) & (_side(c, d, a) * _side(c, d, b) <= 0)
    a, b, c, d = a[meet], b[meet], c[meet], d[meet]
    ac, ad, bc, bd = ((one == other).all(axis=1) for one, other in ((a, c), (a, d), (b, c), (b, d)))
    return int(np.count_nonzero(~(ac | ad | bc | bd) | (ac & bd) | (ad & bc)))


def _side(a: Places, b: Places, c: Places) -> npt.NDArray[np.float64]:
    """The side of the line from a to b on which c lies: -1 or 1, or 0 if c is on it within the rounding error."""
    along, to = b - a, c - a
    one, other = along[:, 0] * to[:, 1], along[:, 1] * to[:, 0]
    side = one - other
    side[np.abs(side) <= _ROUNDING * (np.abs(one) + np.abs(other))] = 0
    signs: npt.NDArray[np.float64] = np.sign(side)
    return signs
