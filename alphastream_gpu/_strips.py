"""
Strips: a frame as one triangle strip, for callers who draw polygons themselves.

The even-odd tessellation is manifold3d's (Clipper2 resolves self-intersections, its own triangulator cuts what is
left); it is imported at first use.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ._aligned import aligned_empty

__all__ = ["cover_strip", "parity_strip"]

Points = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int32]
Strip = npt.NDArray[np.float32]
Ring = npt.NDArray[np.float64]
Triangles = npt.NDArray[np.float64]

# How far Clipper2's corners may be from where they should be, in native pixels. manifold3d has Clipper2 round to eight
# decimals; a hole that touches its outline may then stick out by about as much. What triangulate takes by itself, 1e-12
# of the extent, supposes exact corners: it does not find the outline that such a hole is in, and fills the hole.
_EPSILON = 1e-6
_EPSILON_OF_EXTENT = 1e-12  # where that is more: from a million pixels on, where float64 has no eight decimals

_QUARTER_TURNS = tuple(
    np.array(turn, np.float64) for turn in ([[1, 0], [0, 1]], [[0, 1], [-1, 0]], [[-1, 0], [0, -1]], [[0, -1], [1, 0]])
)


def cover_strip(points: Points, channel_offsets: Offsets) -> Strip:
    """
    Triangles that cover each channel's even-odd interior and nothing else, as one strip.

    Args:
        points: int32 (n, 2).
        channel_offsets: int32 (channels + 1,).

    Returns:
        float32 (m, 2): five vertices a triangle, of which the first and the last are repeated, so that what lies
        between neighbouring triangles has no area.
    """
    rings = [
        points[first:stop].astype(np.float64) for first, stop in pairwise(channel_offsets.tolist()) if stop - first >= 3
    ]
    if not rings:
        return aligned_empty((0, 2), np.float32)
    extent = float(max(points.max(), -int(points.min())))
    epsilon = max(_EPSILON, _EPSILON_OF_EXTENT * extent)
    triangles = np.concatenate([_triangles(ring, epsilon) for ring in rings])
    if _turned_over(triangles) > epsilon * extent:
        triangles = np.concatenate([_turned_until_right(ring, epsilon, epsilon * extent) for ring in rings])
    strip: Strip = aligned_empty((5 * len(triangles), 2), np.float32)
    strip.reshape(-1, 5, 2)[:] = triangles[:, (0, 0, 1, 2, 2)]
    return strip


def _triangles(ring: Ring, epsilon: float) -> Triangles:
    """Triangles (n, 3, 2) of the even-odd interior of a channel (points, 2); counter-clockwise where they are right."""
    import manifold3d

    simple = manifold3d.CrossSection([ring], manifold3d.FillRule.EvenOdd).to_polygons()
    if not simple:
        return np.empty((0, 3, 2))
    corners: Triangles = np.concatenate(simple)[np.asarray(manifold3d.triangulate(simple, epsilon), np.int64)]
    return corners


def _turned_over(triangles: Triangles) -> float:
    """
    The area of the clockwise triangles, in square pixels: what is drawn twice, or drawn and should not be.

    The directed edges of the triangles add up to the outlines, whatever the triangulator did; so when no triangle is
    turned over, each point is covered as often as the outlines wind around it, which is once inside and never outside.
    """
    one, other = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    doubled = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    return float(-np.minimum(doubled, 0).sum()) / 2


def _turned_until_right(ring: Ring, epsilon: float, most: float) -> Triangles:
    """
    Triangles of a channel that the triangulator may have got wrong: with the channel turned by 0, 90, 180, 270 degrees.

    manifold3d joins a hole to the outline at its right. Where the hole touches the outline there, it may miss it, in
    one of 200,000 random channels on coarse grids; none was found that is wrong in two directions. Turned down:
    resolving all outlines a second time, which mends these too, but costs every frame something.
    """
    best, least = np.empty((0, 3, 2)), np.inf
    for turn in _QUARTER_TURNS:
        found = _triangles(ring @ turn, epsilon) @ turn.T
        area = _turned_over(found)
        if area < least:
            best, least = found, area
        if least <= most:
            break
    return best


def parity_strip(points: Points, channel_offsets: Offsets) -> Strip:
    """
    The polygons' own points in zigzag order, p0, p1, p(n-1), p2, p(n-2), ..., as one strip; right only when drawn
    with XOR.

    Any cutting of a closed polygon into triangles gives its parity when each triangle flips what it covers; this one
    uses each point once. Each polygon's first and last vertex is repeated, to join the polygons by triangles without
    area.

    Args and returns as of :func:`cover_strip`; m is n plus two per polygon of three points and more.
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
    strip: Strip = aligned_empty((len(index), 2), np.float32)
    strip[:] = points[index + firsts.repeat(lengths)]
    return strip
