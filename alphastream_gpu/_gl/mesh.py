"""
Mesh: what is uploaded for a frame and how it is drawn, as a plan. Pure; the renderer carries it out.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from .._geometry import FrameGeometry
from .._raster.segments import Box, segments_of
from .planes import assign_planes

__all__ = ["MAX_VIEWPORT", "DrawPlan", "PlaneDraw", "plan_draw", "triangles"]

MAX_VIEWPORT: Final = 16384
"""Largest viewport edge that is used, in pixels. GL 3.3 hardware has viewports of at least its largest texture; 2^14
keeps coordinates in int16 and the shaders' products in int32."""
MAX_SEGMENTS: Final = 65535
"""Most segments that are drawn: triangle indices are 16-bit. Real frames have some 400."""

_SEGMENT_BYTES: Final = 8
_INDEX_BYTES: Final = 2


class PlaneDraw(NamedTuple):
    """The triangles of one parity plane."""

    first: int
    """First index, counted in 2-byte units from the upload's start."""
    n_indices: int
    """Three a triangle."""
    box: Box
    """Around its channels, cropped to the window; empty (right < left or bottom < top) when all lie outside."""


class DrawPlan(NamedTuple):
    """
    One frame's upload and draws.
    """

    upload: bytes
    """Segments as int16 (n, 4), a and b of each, then uint16 triangle indices into the segments' a points."""
    n_segments: int
    n_closed: int
    """Segments before this one bound an interior."""
    planes: tuple[PlaneDraw, ...]
    origin: tuple[int, int]
    """The lattice point at the viewport's corner; x and y <= 0."""
    span: int
    """The viewport's edge, a power of two."""


def plan_draw(
    geometry: FrameGeometry, native_size: tuple[int, int], *, max_viewport: int = MAX_VIEWPORT
) -> DrawPlan | None:
    """
    Plan a frame.

    Args:
        geometry: the frame.
        native_size: width and height of the window.
        max_viewport: the largest viewport edge that the context offers, at most :data:`MAX_VIEWPORT`.

    Returns:
        The plan; None where the shaders could not be exact or sensible (coordinates too far outside the window, too
        many overlapping channels, too many segments) and the CPU twin must make the mask.
    """
    segments = segments_of(geometry)
    viewport = _viewport(segments.box, native_size, max_viewport)
    if viewport is None or segments.n_segments > MAX_SEGMENTS:
        return None
    origin, span = viewport
    ends = np.empty((segments.n_segments, 4), np.int16)
    for column, values in enumerate((segments.ax, segments.ay, segments.bx, segments.by)):
        ends[:, column] = values
    counts = np.diff(geometry.channel_offsets).astype(np.int64)
    counts = counts[counts >= 3]
    if not len(counts):
        return DrawPlan(ends.tobytes(), segments.n_segments, 0, (), origin, span)
    # Closed channels' segments stand first and in order, so their a points are the channels' points.
    firsts = np.cumsum(counts) - counts
    low = np.stack((np.minimum.reduceat(segments.ax, firsts), np.minimum.reduceat(segments.ay, firsts)), axis=1)
    high = np.stack((np.maximum.reduceat(segments.ax, firsts), np.maximum.reduceat(segments.ay, firsts)), axis=1)
    colours = assign_planes(low, high, segments)
    if colours is None:
        return None
    if colours.any():
        by_plane = np.argsort(colours, kind="stable")
        firsts, counts, colours = firsts[by_plane], counts[by_plane], colours[by_plane]
        low, high = low[by_plane], high[by_plane]
    indices = triangles(firsts, counts).astype(np.uint16)
    planes = _planes(colours, counts, low, high, native_size, segments.n_segments * _SEGMENT_BYTES // _INDEX_BYTES)
    return DrawPlan(ends.tobytes() + indices.tobytes(), segments.n_segments, segments.n_closed, planes, origin, span)


def _viewport(box: Box, native_size: tuple[int, int], max_viewport: int) -> tuple[tuple[int, int], int] | None:
    """
    A power-of-two square that holds the window and every point, so that no primitive is ever clipped.

    Clipping would make new vertices off the lattice, and with them inexact edges.
    """
    width, height = native_size
    left, top = min(box.left, 0), min(box.top, 0)
    edge = max(max(box.right + 1, width) - left, max(box.bottom + 1, height) - top)
    span = 1 << (edge - 1).bit_length()
    return None if span > max_viewport else ((left, top), span)


def triangles(firsts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """
    Triangles that flip each polygon's interior: every chord halves a chain of points, from the whole polygon down.

    Any cutting of a closed polygon into triangles gives the right parity when each flips what it covers, because every
    inner edge is crossed twice. This one has a triangle (k - b, k, k + b) for each point k but the first and the last,
    b being k's lowest set bit, and k + b never beyond the last point. Half of the triangles are slivers along the
    outline, and the few large ones fill whole tiles. It covers 1.2 times the mask of the sample's silhouettes. A zigzag
    strip covers 1.05 times, but in long thin triangles, which took 1.6 times as long on a software driver; a fan from
    one point covers 1.6 times, and took twice as long.

    Args:
        firsts: int64 (polygons,), index of each one's first point.
        counts: int64 (polygons,), points of each, at least 3.

    Returns:
        int64 (3 * sum(counts - 2),): point indices.
    """
    n_triangles = counts - 2
    behind = np.cumsum(n_triangles)
    middle = np.arange(1, int(behind[-1]) + 1) - (behind - n_triangles).repeat(n_triangles)
    reach = middle & -middle
    corners = np.empty((len(middle), 3), np.int64)
    np.subtract(middle, reach, out=corners[:, 0])
    corners[:, 1] = middle
    np.minimum(middle + reach, (counts - 1).repeat(n_triangles), out=corners[:, 2])
    corners += firsts.repeat(n_triangles)[:, None]
    return corners.reshape(-1)


def _planes(
    colours: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    low: npt.NDArray[np.int64],
    high: npt.NDArray[np.int64],
    native_size: tuple[int, int],
    first: int,
) -> tuple[PlaneDraw, ...]:
    """The draws of the planes, channels being sorted by plane; `first` is where the indices begin."""
    edge = np.array(native_size) - 1
    starts = np.flatnonzero(np.diff(colours, prepend=-1))
    lows = np.maximum(np.minimum.reduceat(low, starts, axis=0), 0).tolist()
    highs = np.minimum(np.maximum.reduceat(high, starts, axis=0), edge).tolist()
    planes = []
    for n_indices, corner, opposite in zip(
        (3 * np.add.reduceat(counts - 2, starts)).tolist(), lows, highs, strict=True
    ):
        planes.append(PlaneDraw(first, n_indices, Box(*corner, *opposite)))
        first += n_indices
    return tuple(planes)
