"""
Triangles: makes masks by blended draws, for contexts without compute shaders.

Strategy
--------
mask = parity fill | outline | half-way crossings (docs/coverage.md, "Why a GPU makes the same bits"). A frame takes two
draws if its channels do not overlap, and if the target's size is the native size or is smaller by a power of two. Both
go directly into the target: the fill with XOR blending, then the outline over it. Channels that overlap others are
filled between these two draws, into the components of a scratch texture (four parity planes at a time). A resolve draw
over their box ORs them into the target. For other sizes, all of this happens in a native scratch texture, and one more
resolve draw scales it.

The upload is the same package that the compute shaders use, here as a buffer texture. The vertex stages look up their
points in it by index.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Final

import moderngl
import numpy as np

from .._exceptions import GLUnavailableError
from .._geometry.frame import FrameGeometry
from .._geometry.segments import Box
from . import enums as e
from .functions import Functions
from .guest import Drawing, Making
from .mesh import MAX_VIEWPORT, SCRATCH_COMPONENTS, DrawPlan, plan_draw
from .method import Method, build_program, release
from .packing import Package
from .shaders import DRAWN
from .target import Attachment, Target

__all__ = ["MAX_SCRATCH_BYTES", "Triangles"]

MAX_SCRATCH_BYTES: Final = 1 << 27
"""Most bytes of scratch textures that are kept for later frames of their sizes: 128 MiB."""
_FLIP: Final = (e.GL_ONE_MINUS_DST_COLOR, e.GL_ONE_MINUS_SRC_COLOR)
"""s (1 - d) + d (1 - s): exclusive or. It is exact on the values 0 and 1 of a normalized format."""
_OR: Final = (e.GL_ONE, e.GL_ONE)
"""s + d, clamped at 1."""
_COMPONENT_MASKS: Final = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
_QUAD: Final = 4
_FEWEST_TRIANGLES: Final = 4
"""Fewest triangles in a draw. Of exactly three, llvmpipe (Mesa 22.3.6) draws none if the third has no area."""


class Triangles(Method[DrawPlan]):
    """
    Masks by draws.

    Raises:
        GLUnavailableError: the driver rejects the shaders.
    """

    name = "triangles"

    def __init__(
        self,
        ctx: moderngl.Context,
        gl: Functions,
        native_size: tuple[int, int],
        counts: Counter[str],
        *,
        preserve_state: bool,
        is_thorough: bool = False,
    ) -> None:
        super().__init__(ctx, gl, native_size, counts)
        self.guard = self._drawing = Drawing(gl, preserve=preserve_state, is_thorough=is_thorough)
        self._making = Making(gl, ctx, preserve=preserve_state)
        self._max_viewport = min(MAX_VIEWPORT, *gl.integers(e.GL_MAX_VIEWPORT_DIMS)[:2])
        self._most_words = gl.integer(e.GL_MAX_TEXTURE_BUFFER_SIZE)
        self._package = Package()
        self._buffer = self._buffer_texture = 0
        self._own: list[moderngl.Program | moderngl.VertexArray | Attachment] = []
        self._scratch: OrderedDict[tuple[int, ...], moderngl.Texture] = OrderedDict()
        try:
            with self.guard:
                self._make()
        except BaseException:
            self.release()
            raise

    def _make(self) -> None:
        gl = self._gl
        self._buffer = gl.new("glGenBuffers")
        self._buffer_texture = gl.new("glGenTextures")
        gl.glBindBuffer(e.GL_ARRAY_BUFFER, self._buffer)  # creates the object
        gl.glBindTexture(e.GL_TEXTURE_BUFFER, self._buffer_texture)
        gl.glTexBuffer(e.GL_TEXTURE_BUFFER, e.GL_R32I, self._buffer)
        self._programs: dict[str, moderngl.Program] = {}
        self._arrays: dict[str, moderngl.VertexArray] = {}
        self._uniforms: dict[tuple[str, str], object] = {}
        for stage in DRAWN:
            self._programs[stage] = build_program(self._ctx, gl, stage)
            self._own.append(self._programs[stage])
            self._arrays[stage] = self._ctx.vertex_array(self._programs[stage], [])
            self._own.append(self._arrays[stage])
        self._target, self._scratch_target, self._planes_target = (Attachment(gl) for _ in range(3))
        self._own += [self._target, self._scratch_target, self._planes_target]
        self._counts["gl_objects"] += len(self._own) + 2

    def plan(self, geometry: FrameGeometry, size: tuple[int, int]) -> DrawPlan | None:
        """See :func:`~.mesh.plan_draw`."""
        if Package.words_for(len(geometry.points), geometry.channel_count) > self._most_words:
            return None
        return plan_draw(geometry, self._native_size, size, max_viewport=self._max_viewport)

    def render(self, plans: Sequence[DrawPlan], target: Target, first_layer: int | None) -> None:
        """Draw one frame after the other."""
        for number, plan in enumerate(plans):
            self._target.attach(target, None if first_layer is None else first_layer + number)
            try:
                self._draw(plan, target)
            finally:
                self._target.bind()
                self._target.detach()

    def release(self) -> None:
        """Release every GL object created here."""
        for texture in self._scratch.values():
            release(texture)
        self._scratch.clear()
        for thing in reversed(self._own):
            release(thing)
        self._own.clear()
        if self._buffer:
            self._gl.delete("glDeleteTextures", self._buffer_texture)
            self._gl.delete("glDeleteBuffers", self._buffer)
        self._buffer = self._buffer_texture = 0

    def _draw(self, plan: DrawPlan, target: Target) -> None:
        """Draw a frame into the attached target."""
        self._upload(plan.geometry)
        is_direct = plan.grid.size == target.size
        base = self._target if is_direct else self._scratch_target
        if not is_direct:
            self._attach_scratch(base, self._scratch_texture(plan.grid.size, 1))
        self._drawing.clear()
        for stage in ("fill", "outline"):
            self._set_uniform(stage, "grid_scale", (1 / plan.grid.step_x, 1 / plan.grid.step_y))
            self._set_uniform(stage, "viewport_origin", plan.origin)
            self._set_uniform(stage, "viewport_span", plan.span)
            self._set_uniform(stage, "inverse_span", (1 / plan.span[0], 1 / plan.span[1]))
        self._draw_fill(plan, range(1))
        for first in range(1, plan.n_planes, SCRATCH_COMPONENTS):
            self._draw_beside(plan, range(first, min(first + SCRATCH_COMPONENTS, plan.n_planes)), base)
        self._draw_outline(plan)
        if not is_direct:
            self._target.bind()
            scratch = self._scratch_texture(plan.grid.size, 1)
            self._draw_resolve(plan, scratch, target.size, Box(0, 0, target.width - 1, target.height - 1))

    def _draw_fill(self, plan: DrawPlan, planes: range) -> None:
        """Flip each plane's interior in its own component; at most four planes."""
        n_points = len(plan.geometry.points)
        if not n_points:
            return
        self._drawing.viewport(*plan.origin, *plan.span)
        self._drawing.blend(*_FLIP)
        for component, plane in zip(_COMPONENT_MASKS, planes, strict=False):
            self._set_uniform("fill", "component", component)
            self._set_uniform("fill", "plane", plane)
            self._arrays["fill"].render(moderngl.TRIANGLES, vertices=3 * max(n_points, _FEWEST_TRIANGLES))
        self._counts["draws"] += len(planes)
        self._drawing.overwrite()

    def _draw_beside(self, plan: DrawPlan, planes: range, base: Attachment) -> None:
        """Fill planes that overlap the base's in a scratch texture, and OR them into the base within their box."""
        box = plan.beside
        if box is None:
            return
        scratch = self._scratch_texture(plan.grid.size, SCRATCH_COMPONENTS)
        self._attach_scratch(self._planes_target, scratch)
        self._drawing.clear_box(box.left, box.top, box.right - box.left + 1, box.bottom - box.top + 1)
        self._draw_fill(plan, planes)
        base.bind()
        self._drawing.blend(*_OR)
        self._draw_resolve(plan, scratch, plan.grid.size, box)
        self._drawing.overwrite()

    def _draw_outline(self, plan: DrawPlan) -> None:
        n_points = len(plan.geometry.points)
        if not n_points:
            return
        self._drawing.viewport(*plan.origin, *plan.span)
        self._set_uniform("outline", "grid_step", plan.grid.step)
        self._arrays["outline"].render(moderngl.TRIANGLE_STRIP, vertices=_QUAD, instances=n_points)
        self._counts["draws"] += 1

    def _draw_resolve(self, plan: DrawPlan, scratch: Target, size: tuple[int, int], box: Box) -> None:
        """OR the components of a scratch texture into the bound framebuffer, which has `size`, over a box."""
        self._gl.glBindTexture(scratch.kind, scratch.name)
        self._set_uniform("resolve", "grid_size", plan.grid.size)
        self._set_uniform("resolve", "output_size", size)
        self._drawing.viewport(box.left, box.top, box.right - box.left + 1, box.bottom - box.top + 1)
        self._arrays["resolve"].render(moderngl.TRIANGLES, vertices=3)
        self._counts["draws"] += 1

    def _set_uniform(self, stage: str, name: str, value: object) -> None:
        """Set a uniform, unless it has that value already: most values stay the same from frame to frame."""
        if self._uniforms.get((stage, name)) != value:
            self._programs[stage][name] = value
            self._uniforms[stage, name] = value

    def _upload(self, geometry: FrameGeometry) -> None:
        """Upload the package into fresh storage, so that GL does not wait for a frame that is still being drawn."""
        gl, package = self._gl, self._package
        planes = geometry.planes
        assert planes is not None  # otherwise there would be no plan
        package.pack([geometry], [planes])
        gl.glBindBuffer(e.GL_ARRAY_BUFFER, self._buffer)
        gl.glBufferData(e.GL_ARRAY_BUFFER, package.n_bytes, package.address, e.GL_STREAM_DRAW)
        gl.glBindTexture(e.GL_TEXTURE_BUFFER, self._buffer_texture)
        self._counts["uploaded_bytes"] += package.n_bytes

    def _scratch_texture(self, size: tuple[int, int], components: int) -> Target:
        """Return a texture that only these draws use. It is kept for the next frame of its size."""
        key = (*size, components)
        texture = self._scratch.get(key)
        if texture is None:
            with self._making:
                texture = self._ctx.texture(size, components)
                texture.filter = (moderngl.NEAREST, moderngl.NEAREST)
                if components == 1:
                    texture.swizzle = "R000"  # a missing alpha would read as 1, as if it were a covered plane
            self._scratch[key] = texture
            self._counts["gl_objects"] += 1
            self._forget_scratch()
        self._scratch.move_to_end(key)
        return Target(texture.glo, e.GL_TEXTURE_2D, *size, 1)

    def _attach_scratch(self, attachment: Attachment, scratch: Target) -> None:
        attachment.attach_own(scratch)
        if not attachment.is_complete():
            raise GLUnavailableError(
                f"the driver {self._gl.driver} has no memory for a scratch texture of {scratch.width} x"
                f" {scratch.height}"
            )

    def _forget_scratch(self) -> None:
        """Release the least recently used textures beyond the budget. The frame being drawn uses the last two."""
        while len(self._scratch) > 2 and sum(int(np.prod(key)) for key in self._scratch) > MAX_SCRATCH_BYTES:
            release(self._scratch.popitem(last=False)[1])
