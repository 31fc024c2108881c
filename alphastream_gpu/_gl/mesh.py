"""
Mesh: plans the grid and the viewport for a frame's triangles. Pure; triangles.py carries the plan out.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .._geometry.frame import FrameGeometry
from .._geometry.segments import Box

__all__ = [
    "MAX_OVERHANG",
    "MAX_POINTS",
    "MAX_STEP",
    "MAX_VIEWPORT",
    "SCRATCH_COMPONENTS",
    "DrawPlan",
    "Grid",
    "grid_for",
    "plan_draw",
]

MAX_VIEWPORT: Final = 16384
"""Largest viewport edge, in pixels. GL 3.3 hardware has viewports of at least its largest texture. 2^14 keeps the
shaders' products in int32."""
MAX_POINTS: Final = 65535
"""Most points that are drawn. Each has a triangle, which may cover the window. Real frames have some 540 points."""
MAX_OVERHANG: Final = 2048
"""How far points may lie beyond the left and the upper edge of the window, in native pixels. If a triangle reaches some
2,900 pixels beyond both edges, llvmpipe draws its visible part wrong: its edge functions are 32-bit where little is
visible."""
MAX_STEP: Final = 8
"""Largest power of two by which points are divided. OpenGL guarantees four subpixel bits. Three of them hold the
divided points. The fourth keeps the outline's quads wide enough, although their corners are rounded."""
SCRATCH_COMPONENTS: Final = 4
"""Planes that are filled in one scratch texture at once: the components of RGBA8."""


class Grid(NamedTuple):
    """
    The pixels that are drawn: all native ones, or every step-th one if the output is smaller by a power of two.
    """

    width: int
    height: int
    step_x: int
    """Native pixels between neighbouring pixels of the grid."""
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
    """The draws of a frame."""

    geometry: FrameGeometry
    n_planes: int
    """Number of parity planes, at least 1. Plane 0 is drawn directly, the others in a scratch texture."""
    beside: Box | None
    """Box around the channels of the planes after plane 0, in pixels of the grid and cropped to it. None if none of
    these channels is visible."""
    grid: Grid
    origin: tuple[int, int]
    """The grid's pixel at the viewport's corner; x and y are <= 0."""
    span: tuple[int, int]
    """The viewport's width and height, powers of two."""


def grid_for(native_size: tuple[int, int], size: tuple[int, int]) -> Grid:
    """
    Return the grid to draw on for an output of `size`.

    Output pixel (x, y) shows native pixel (x W // w, y H // h). If W / w and H / h are powers of two up to
    :data:`MAX_STEP`, these native pixels have coordinates that are multiples of W / w and H / h, and can be drawn
    directly. Points divided by a power of two are exact in float32. They are also exact in the rasterizer, with the
    four subpixel bits that every OpenGL has. For other sizes the grid is native, and a resolve pass scales.
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
        The plan. None if the CPU twin must make the mask, because the shaders would be inexact or too slow: coordinates
        too far outside the window, too many overlapping channels, too many points.
    """
    planes = geometry.planes
    box = Box(*geometry.bounds) if len(geometry.points) else Box(0, 0, 0, 0)
    if planes is None or len(geometry.points) > MAX_POINTS or not _fits(box, native_size, max_viewport):
        return None
    grid = grid_for(native_size, native_size if size is None else size)
    origin, span = _viewport(box, grid)
    beside = None
    if geometry.plane_count > 1:
        boxes = geometry.boxes[planes > 0]
        beside = _on_grid(Box(*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist()), grid)
    return DrawPlan(geometry, geometry.plane_count, beside, grid, origin, span)


def _fits(box: Box, native_size: tuple[int, int], max_viewport: int) -> bool:
    """Return whether a square viewport of `max_viewport` native pixels holds the window and every point."""
    width, height = native_size
    if min(box.left, box.top) < -MAX_OVERHANG:
        return False
    edge = max(max(box.right + 1, width) - min(box.left, 0), max(box.bottom + 1, height) - min(box.top, 0))
    return _power_of_two(edge) <= max_viewport


def _viewport(box: Box, grid: Grid) -> tuple[tuple[int, int], tuple[int, int]]:
    """
    Return the origin and the edges, powers of two, of a viewport that holds the grid and every point.

    So no primitive is ever clipped. Clipping would create vertices off the lattice, and with them inexact edges.
    """
    left, top = min(box.left // grid.step_x, 0), min(box.top // grid.step_y, 0)
    right, bottom = (
        max(-(-box.right // grid.step_x) + 1, grid.width),
        max(-(-box.bottom // grid.step_y) + 1, grid.height),
    )
    return (left, top), (_power_of_two(right - left), _power_of_two(bottom - top))


def _power_of_two(edge: int) -> int:
    """Return the smallest power of two that is not below `edge`."""
    return 1 << (edge - 1).bit_length()


def _on_grid(box: Box, grid: Grid) -> Box | None:
    """Return a box in pixels of the grid, cropped to it, or None if nothing is left."""
    left, top = max(box.left // grid.step_x, 0), max(box.top // grid.step_y, 0)
    right = min(box.right // grid.step_x, grid.width - 1)
    bottom = min(box.bottom // grid.step_y, grid.height - 1)
    return Box(left, top, right, bottom) if left <= right and top <= bottom else None
