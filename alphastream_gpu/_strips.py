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
    import manifold3d

    parts: list[npt.NDArray[np.float64]] = []
    bounds = channel_offsets.tolist()
    for first, stop in pairwise(bounds):
        if stop - first < 3:
            continue
        ring = points[first:stop].astype(np.float64)
        simple = manifold3d.CrossSection([ring], manifold3d.FillRule.EvenOdd).to_polygons()
        if simple:
            corners = np.concatenate(simple)
            parts.append(corners[np.asarray(manifold3d.triangulate(simple), np.int64)])
    if not parts:
        return aligned_empty((0, 2), np.float32)
    triangles = np.concatenate(parts)
    strip: Strip = aligned_empty((5 * len(triangles), 2), np.float32)
    strip.reshape(-1, 5, 2)[:] = triangles[:, (0, 0, 1, 2, 2)]
    return strip


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
