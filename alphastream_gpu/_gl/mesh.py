"""
Mesh: what is uploaded for a frame and how it is drawn, as a plan. Pure; the renderer carries it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from .._geometry import FrameGeometry
from .._raster.segments import Box, Segments, segments_of
from .planes import assign_planes

__all__ = [
    "MAX_OVERHANG",
    "MAX_SEGMENTS",
    "MAX_STEP",
    "MAX_VIEWPORT",
    "SCRATCH_COMPONENTS",
    "DrawPlan",
    "Grid",
    "PlaneDraw",
    "grid_for",
    "plan_batch",
    "plan_draw",
    "triangles",
]

Int64 = npt.NDArray[np.int64]

MAX_VIEWPORT: Final = 16384
"""Largest viewport edge that is used, in pixels. GL 3.3 hardware has viewports of at least its largest texture; 2^14
keeps coordinates in int16 and the shaders' products in int32."""
MAX_SEGMENTS: Final = 65535
"""Most segments that are drawn: triangle indices are 16-bit. Real frames have some 400."""
MAX_OVERHANG: Final = 2048
"""How far beyond the left and the upper edge of the window points may lie, in native pixels. llvmpipe draws wrong what
is left of triangles that reach some 2,900 pixels beyond both (its edge functions are 32-bit where little is
visible)."""
MAX_STEP: Final = 8
"""Largest power of two by which points are divided. OpenGL guarantees four subpixel bits; three of them hold the
points, and with the fourth the outline's quads, whose corners are rounded, are still wide enough."""
SCRATCH_COMPONENTS: Final = 4
"""Planes that one pass fills beside the target, in the components of an RGBA8 texture."""

_NEAR: Final = 0.51
"""Half a pixel, and what float64 may be off."""
_PART: Final = 4096
"""Segments looked at at once: arrays of that length stay in the cache, and come from memory that the process has."""
_INDEX_BYTES: Final = 2


class PlaneDraw(NamedTuple):
    """The triangles of one parity plane."""

    first: int
    """First index, counted in 2-byte units from the upload's start."""
    n_indices: int
    """Three a triangle."""
    box: Box
    """Around its channels, in pixels of the grid and cropped to it; empty (right < left or bottom < top) when all lie
    outside."""


class Grid(NamedTuple):
    """
    The pixels that are drawn: the native ones, or, where the output is smaller by a power of two, every step-th of
    them.
    """

    width: int
    height: int
    step_x: int
    """Native pixels from one pixel of the grid to the next."""
    step_y: int

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)``"""
        return self.width, self.height

    @property
    def step(self) -> tuple[int, int]:
        """``(step_x, step_y)``"""
        return self.step_x, self.step_y


class DrawPlan(NamedTuple):
    """
    One upload and its draws, for one frame or for a batch of frames.
    """

    upload: bytes
    """A record for each segment, then uint16 triangle indices into the segments' a points. A record is a and b as
    int16, and in a batch two pairs more, layer and component, of plane 0 (the frame's number, 0) and of the planes
    beside it (where in `beside` the frame stands, which of the four)."""
    n_outline: int
    """Records before this one are drawn as outline."""
    n_closed: int
    """Records before this one also bound an interior."""
    planes: tuple[PlaneDraw, ...]
    """From plane 0 on; their triangles follow one another in the upload."""
    beside: tuple[int, ...]
    """The frames, by number, that have planes beyond plane 0; ascending."""
    beside_boxes: tuple[Box, ...]
    """Around the channels of each of these in the planes beyond plane 0, as :attr:`PlaneDraw.box`."""
    grid: Grid
    origin: tuple[int, int]
    """The grid's pixel at the viewport's corner; x and y <= 0."""
    span: tuple[int, int]
    """The viewport's edges, powers of two."""


def grid_for(native_size: tuple[int, int], size: tuple[int, int]) -> Grid:
    """
    The grid to draw on for an output of `size`.

    Output pixel (x, y) shows native pixel (x W // w, y H // h). Where W / w and H / h are powers of two up to
    :data:`MAX_STEP`, these are the native pixels whose coordinates are multiples of them, so they can be drawn
    directly: points divided by a power of two are exact in float32 and, with the four subpixel bits that every OpenGL
    has, in the rasterizer. For other sizes the grid is native, and a resolve pass scales.
    """
    steps = []
    for native, output in zip(native_size, size, strict=True):
        step, rest = divmod(native, output)
        if rest or step > MAX_STEP or step & (step - 1):
            return Grid(*native_size, 1, 1)
        steps.append(step)
    return Grid(*size, *steps)


def plan_draw(
    geometry: FrameGeometry,
    native_size: tuple[int, int],
    size: tuple[int, int] | None = None,
    *,
    max_viewport: int = MAX_VIEWPORT,
) -> DrawPlan | None:
    """
    Plan a frame.

    Args:
        geometry: the frame.
        native_size: width and height of the window.
        size: width and height of the output; native when omitted.
        max_viewport: the largest viewport edge that the context offers, at most :data:`MAX_VIEWPORT`.

    Returns:
        The plan; None where the shaders could not be exact or sensible (coordinates too far outside the window, too
        many overlapping channels, too many segments) and the CPU twin must make the mask.
    """
    grid = grid_for(native_size, native_size if size is None else size)
    return _plan(geometry, None, native_size, grid, max_viewport)


def plan_batch(
    geometries: Sequence[FrameGeometry],
    native_size: tuple[int, int],
    size: tuple[int, int],
    *,
    max_viewport: int = MAX_VIEWPORT,
) -> DrawPlan | None:
    """
    Plan frames that are drawn together, each into a layer of its own, as :func:`plan_draw` does for one.

    The frames' channels are put together as if they were one frame's, except that only channels of the same frame
    can overlap.

    Returns:
        The plan; None where a frame of the batch could not be drawn, or all of them are too much together.
    """
    offsets = [geometry.channel_offsets for geometry in geometries]
    firsts = np.cumsum([0, *(one[-1] for one in offsets)])
    together = FrameGeometry(
        np.concatenate([geometry.points for geometry in geometries]),
        np.concatenate([[0], *(one[1:] + first for one, first in zip(offsets, firsts, strict=False))]),
    )
    frames = np.arange(len(geometries)).repeat([len(one) - 1 for one in offsets])
    return _plan(together, frames, native_size, grid_for(native_size, size), max_viewport)


def _plan(
    geometry: FrameGeometry,
    frames: Int64 | None,
    native_size: tuple[int, int],
    grid: Grid,
    max_viewport: int,
) -> DrawPlan | None:
    """Plan one frame, or, `frames` being the frame of each channel, a batch."""
    segments = segments_of(geometry)
    if segments.n_segments > MAX_SEGMENTS or not _fits(segments.box, native_size, max_viewport):
        return None
    origin, span = _viewport(segments.box, grid)
    # Only what stands first is drawn as outline; on a coarse grid half of it cannot touch a pixel.
    order, n_outline, n_closed = _outline_order(segments, grid)
    records = np.zeros((segments.n_segments, 4 if frames is None else 8), np.int16)
    for column, values in enumerate((segments.ax, segments.ay, segments.bx, segments.by)):
        records[:, column] = values
    if frames is not None:
        records[:, 4] = frames[segments.channel]
    counts = np.diff(geometry.channel_offsets).astype(np.int64)
    is_closed = counts >= 3
    counts = counts[is_closed]
    if not len(counts):
        records = records if order is None else records[order]
        return DrawPlan(records.tobytes(), n_outline, 0, (), (), (), grid, origin, span)
    # Closed channels' segments stand first and in order, so their a points are the channels' points.
    firsts = np.cumsum(counts) - counts
    low = np.stack((np.minimum.reduceat(segments.ax, firsts), np.minimum.reduceat(segments.ay, firsts)), axis=1)
    high = np.stack((np.maximum.reduceat(segments.ax, firsts), np.maximum.reduceat(segments.ay, firsts)), axis=1)
    frame = np.zeros(len(counts), np.int64) if frames is None else frames[is_closed]
    colours = assign_planes(low, high, segments, None if frames is None else frame)
    if colours is None:
        return None
    beside: tuple[int, ...] = ()
    beside_boxes: tuple[Box, ...] = ()
    if colours.any():
        is_beside = colours > 0
        crowded, starts = np.unique(frame[is_beside], return_index=True)
        beside, beside_boxes = tuple(crowded.tolist()), _boxes(low[is_beside], high[is_beside], starts, grid)
        if frames is not None:
            closed = records[: segments.n_closed]
            closed[:, 6] = np.searchsorted(crowded, frame).repeat(counts)
            closed[:, 7] = ((colours - 1) % SCRATCH_COMPONENTS).repeat(counts)
        by_plane = np.argsort(colours, kind="stable")
        firsts, counts, colours = firsts[by_plane], counts[by_plane], colours[by_plane]
        low, high = low[by_plane], high[by_plane]
    corners = triangles(firsts, counts)
    if order is not None:
        records = records[order]
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        corners = place[corners]
    planes = _planes(colours, counts, low, high, grid, records.nbytes // _INDEX_BYTES)
    upload = records.tobytes() + corners.astype(np.uint16).tobytes()
    return DrawPlan(upload, n_outline, n_closed, planes, beside, beside_boxes, grid, origin, span)


def _outline_order(segments: Segments, grid: Grid) -> tuple[Int64 | None, int, int]:
    """
    The order in which segments are uploaded (None: as they are), how many are drawn as outline, how many of these are
    closed.

    A pixel that a segment sets lies within half a pixel of it, measured across its major axis. So it can set one of the
    grid's only where, at a multiple of the step along the major axis, it comes that near to a multiple across. On the
    sample, where every eighth pixel is drawn, one segment in five does. On finer grids more do, and the search is not
    worth it.
    """
    step = MAX_STEP
    if grid.step != (step, step):
        return None, segments.n_segments, segments.n_closed
    is_seen = np.zeros(segments.n_segments, np.bool_)
    for first in range(0, segments.n_segments, _PART):
        part = slice(first, first + _PART)
        is_seen[part] = _sees_a_pixel(segments.ax[part], segments.ay[part], segments.dx[part], segments.dy[part], step)
    n_closed = int(is_seen[: segments.n_closed].sum())
    return np.argsort(~is_seen, kind="stable"), int(is_seen.sum()), n_closed


def _sees_a_pixel(ax: Int64, ay: Int64, dx: Int64, dy: Int64, step: int) -> npt.NDArray[np.bool_]:
    """Which segments come near enough to a pixel of the grid to set it."""
    is_steep = np.abs(dy) > np.abs(dx)
    start, side = np.where(is_steep, ay, ax), np.where(is_steep, ax, ay)
    length, shift = np.where(is_steep, dy, dx), np.where(is_steep, dx, dy)
    slope = shift / np.where(length, length, 1)
    end = start + length
    first = -(-np.minimum(start, end) // step)
    count = np.maximum(start, end) // step - first + 1
    which = np.arange(len(count)).repeat(count)
    at = (first - np.cumsum(count) + count)[which] + np.arange(len(which))
    steps_across = (side[which] + (at * step - start[which]) * slope[which]) / step
    is_near = np.abs(steps_across - np.rint(steps_across)) * step <= _NEAR
    is_seen = np.zeros(len(count), np.bool_)
    is_seen[which[is_near]] = True
    return is_seen


def _fits(box: Box, native_size: tuple[int, int], max_viewport: int) -> bool:
    """Whether a square viewport of `max_viewport` native pixels holds the window and every point."""
    width, height = native_size
    if min(box.left, box.top) < -MAX_OVERHANG:
        return False
    edge = max(max(box.right + 1, width) - min(box.left, 0), max(box.bottom + 1, height) - min(box.top, 0))
    return _power_of_two(edge) <= max_viewport


def _viewport(box: Box, grid: Grid) -> tuple[tuple[int, int], tuple[int, int]]:
    """
    Origin and edges, powers of two, of a viewport that holds the grid and every point, so that no primitive is ever
    clipped.

    Clipping would make new vertices off the lattice, and with them inexact edges.
    """
    left, top = min(box.left // grid.step_x, 0), min(box.top // grid.step_y, 0)
    right, bottom = (
        max(-(-box.right // grid.step_x) + 1, grid.width),
        max(-(-box.bottom // grid.step_y) + 1, grid.height),
    )
    return (left, top), (_power_of_two(right - left), _power_of_two(bottom - top))


def _power_of_two(edge: int) -> int:
    """The smallest that is not below `edge`."""
    return 1 << (edge - 1).bit_length()


def triangles(firsts: Int64, counts: Int64) -> Int64:
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
    colours: Int64,
    counts: Int64,
    low: Int64,
    high: Int64,
    grid: Grid,
    first: int,
) -> tuple[PlaneDraw, ...]:
    """The draws of the planes, channels being sorted by plane; `first` is where the indices begin."""
    starts = np.flatnonzero(np.diff(colours, prepend=-1))
    planes = []
    for n_indices, box in zip(
        (3 * np.add.reduceat(counts - 2, starts)).tolist(), _boxes(low, high, starts, grid), strict=True
    ):
        planes.append(PlaneDraw(first, n_indices, box))
        first += n_indices
    return tuple(planes)


def _boxes(low: Int64, high: Int64, starts: Int64, grid: Grid) -> tuple[Box, ...]:
    """Boxes around runs of channels, in pixels of the grid and cropped to it."""
    step = np.array(grid.step)
    lows = np.maximum(np.minimum.reduceat(low, starts, axis=0) // step, 0).tolist()
    highs = np.minimum(np.maximum.reduceat(high, starts, axis=0) // step, np.array(grid.size) - 1).tolist()
    return tuple(Box(*corner, *opposite) for corner, opposite in zip(lows, highs, strict=True))
