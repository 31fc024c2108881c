"""
Strips: converts a frame to one triangle strip, for callers who draw polygons themselves.

manifold3d makes the even-odd tessellation: its Clipper2 resolves self-intersections, and its own triangulator cuts the
resulting outlines. manifold3d is imported at first use.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from .aligned import aligned_empty
from .crossings import cannot_be_many, check_crossings

__all__ = ["cover_strip", "parity_strip"]

Points = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int32]
Strip = npt.NDArray[np.float32]
Ring = npt.NDArray[np.float64]
Triangles = npt.NDArray[np.float64]

_SHIFT = 2.0**-12
"""
The largest shift of a point before cutting, in native pixels, in x and in y.

The points of a mask lie on whole pixels, so lines meet exactly: a hole touches its outline, or three lines cross in one
point. Clipper2 rounds crossings, so it sometimes fills a hole then, and manifold3d's triangulator does not find the
outline of a hole. Of 20,000 random channels on a grid of 20 x 20 pixels, 153 were cut wrongly. Shifting the points
avoids these cases (simulation of simplicity): of 335,000 random channels on coarse grids, none was cut wrongly.
Rejected, because each leaves some channels wrong: an epsilon for the triangulator alone, turning a wrong channel by 90
degrees, resolving the outlines twice.
"""
_STEP = 2.0**-27
"""The step to which Clipper2 rounds in manifold3d, in native pixels. Shifted points are multiples of it, so that the
crossings that are counted are those that are cut."""
_EPSILON = 1e-6
"""The largest error of Clipper2's corners, in native pixels."""
_ATTEMPTS = 4
"""
Number of shifts that are tried. The triangles of the first shift were wrong for 7 of the 335,000 channels. Only frames
that are too small to need a count of crossings are cut again: in a larger frame, only the first shift may have few
crossings.
"""


def cover_strip(points: Points, channel_offsets: Offsets) -> Strip:
    """
    One strip of triangles that cover exactly the even-odd interior of each channel.

    Args:
        points: int32 (n, 2).
        channel_offsets: int32 (channels + 1,).

    Returns:
        float32 (m, 2): three vertices for each triangle, and two more between neighbouring triangles. These two repeat
        the last vertex of one triangle and the first of the next, so that the triangles in between have no area. The
        points of the channels are exact; a crossing of lines lies as if their ends were shifted by up to `_SHIFT`.

    Raises:
        DecodeError: the outlines cross too often to be cut within the bounds of crossings.py.
    """
    bounds = [(first, stop) for first, stop in pairwise(channel_offsets.tolist()) if stop - first >= 3]
    if not bounds:
        return aligned_empty((0, 2), np.float32)
    shifted = _shifted(points, 0)
    is_small = cannot_be_many(channel_offsets)
    if not is_small:
        check_crossings(points, shifted, channel_offsets)
    parts = [_triangles(shifted[first:stop]) for first, stop in bounds]
    triangles = np.concatenate(parts)
    if is_small and _turned_over(triangles) > _EPSILON:
        triangles = np.concatenate(
            [_best(part, points[first:stop]) for part, (first, stop) in zip(parts, bounds, strict=True)]
        )
    whole = np.rint(triangles)
    triangles = np.where(np.abs(triangles - whole) < 2 * _SHIFT, whole, triangles)
    triangles = triangles[_doubled_areas(triangles) != 0]
    strip: Strip = aligned_empty((max(0, 5 * len(triangles) - 2), 2), np.float32)
    for corner in range(3):
        strip[corner::5] = triangles[:, corner]
    strip[3::5], strip[4::5] = triangles[:-1, 2], triangles[1:, 0]
    strip += 0.0  # rounding leaves -0.0, which becomes 0.0
    return strip


def _shifted(points: Points, attempt: int) -> Ring:
    """
    Shift each of the points (n, 2) by up to `_SHIFT` in x and in y.

    The shift depends only on the position of the point. So it is the same in all frames, and the triangles of an
    outline that does not move do not jitter. The shift is also the same each time a channel returns to a point;
    otherwise the channel would cross itself there each time, and 5,000 equal points took 10 s. The shift is computed
    from both coordinates by SplitMix64 of Steele, Lea and Flood ("Fast splittable pseudorandom number generators",
    2014).
    """
    x, y = points.astype(np.uint64).T
    mixed = (x << np.uint64(32)) ^ (y & np.uint64(0xFFFF_FFFF))
    mixed = (mixed + np.uint64(attempt)) * np.uint64(0x9E37_79B9_7F4A_7C15)
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58_476D_1CE4_E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D0_49BB_1331_11EB)
    mixed ^= mixed >> np.uint64(31)
    halves = np.stack([mixed >> np.uint64(32), mixed & np.uint64(0xFFFF_FFFF)], axis=1).astype(np.int64) - (1 << 31)
    steps = np.rint(halves * (_SHIFT / (1 << 31) / _STEP))
    shifted: Ring = points + steps * _STEP
    return shifted


def _triangles(ring: Ring) -> Triangles:
    """Triangles (n, 3, 2) of the even-odd interior of a channel (points, 2). Correct ones are counter-clockwise."""
    import manifold3d

    simple = manifold3d.CrossSection([ring], manifold3d.FillRule.EvenOdd).to_polygons()
    if not simple:
        return np.empty((0, 3, 2))
    corners: Triangles = np.concatenate(simple)[np.asarray(manifold3d.triangulate(simple, _EPSILON), np.int64)]
    return corners


def _doubled_areas(triangles: Triangles) -> npt.NDArray[np.float64]:
    """Twice the area of each triangle in square pixels, negative for a clockwise triangle."""
    one, other = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    doubled: npt.NDArray[np.float64] = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    return doubled


def _turned_over(triangles: Triangles) -> float:
    """
    The area of the clockwise triangles in square pixels; 0 if the triangulation is correct.

    The directed edges of the triangles always add up to the outlines. So if no triangle is clockwise, each point is
    covered as often as the outlines wind around it: once inside and never outside.
    """
    return float(-np.minimum(_doubled_areas(triangles), 0).sum()) / 2


def _best(found: Triangles, ring: Points) -> Triangles:
    """The triangles of a channel as found; if they are wrong, those of the best of a few other shifts."""
    least = _turned_over(found)
    most = _EPSILON * float(max(1, ring.max(), -int(ring.min())))
    for attempt in range(1, _ATTEMPTS):
        if least <= most:
            break
        other = _triangles(_shifted(ring, attempt))
        area = _turned_over(other)
        if area < least:
            found, least = other, area
    return found


def parity_strip(points: Points, channel_offsets: Offsets) -> Strip:
    """
    One strip of the points of the polygons in zigzag order, p0, p1, p(n-1), p2, p(n-2), ... Correct only if it is drawn
    with XOR.

    Any cutting of a closed polygon into triangles gives the parity of the polygon if each triangle flips the pixels
    that it covers. This cutting uses each point once. Between two polygons, the last vertex of the first and the first
    vertex of the second are repeated, which joins the polygons by triangles without area.

    Args and returns as of :func:`cover_strip`. m is the number of points of the polygons with three points or more,
    plus two for each of these polygons but the first.
    """
    counts = np.diff(channel_offsets).astype(np.int64)
    firsts = channel_offsets[:-1].astype(np.int64)[counts >= 3]
    counts = counts[counts >= 3]
    if not len(counts):
        return aligned_empty((0, 2), np.float32)
    lengths = counts + 2
    place = np.arange(int(lengths.sum())) - (np.cumsum(lengths) - lengths).repeat(lengths)
    n = counts.repeat(lengths)
    step = np.clip(place - 1, 0, n - 1)
    half = (step + 1) >> 1
    index = np.where(step & 1, half, n - half)
    index[step == 0] = 0
    corners = points[index + firsts.repeat(lengths)][1:-1]  # both ends of the strip need no joining vertex
    strip: Strip = aligned_empty(corners.shape, np.float32)
    strip[:] = corners
    return strip
