"""
Passes: the GL objects that carry a plan out, and the draws.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, TypeVar, cast

import moderngl
import numpy as np

from .._exceptions import GLUnavailableError
from .._raster.segments import Box
from . import enums as e
from .functions import Functions
from .guest import Drawing, Making
from .mesh import SCRATCH_COMPONENTS, DrawPlan, PlaneDraw
from .shaders import VARIANTS, shader_source, source_names
from .target import Attachment, Target

__all__ = ["MAX_LAYERS", "MAX_SCRATCH_BYTES", "Passes", "release"]

Owned = TypeVar("Owned", moderngl.Program, moderngl.Buffer, moderngl.VertexArray)

MAX_LAYERS: Final = 128
"""Most layers that are drawn to at once; uniforms of the resolve stage have this size."""
MAX_SCRATCH_BYTES: Final = 1 << 27
"""Bytes of scratch textures that are kept for the next frames of their sizes: 128 MiB."""
_FLIP: Final = (e.GL_ONE_MINUS_DST_COLOR, e.GL_ONE_MINUS_SRC_COLOR)
"""s (1 - d) + d (1 - s): exclusive or, exact on the values 0 and 1 of a normalized format."""
_OR: Final = (e.GL_ONE, e.GL_ONE)
"""s + d, clamped at 1."""
_FIRST_BUFFER_BYTES: Final = 8192
_COMPONENT_MASKS: Final = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))


class Passes:
    """
    Draws plans of one variant: ``single`` into a 2D texture or one layer, the layered ones into the layers of an array
    texture.

    Everything here happens inside :class:`~.guest.Drawing`, with the context current.

    Args:
        ctx: the context.
        gl: its functions.
        drawing: the guest's state.
        making: likewise, for textures.
        counts: counters to add to: ``draws``, ``uploaded_bytes``, ``gl_objects``.
        variant: of :data:`~.shaders.VARIANTS`.
    """

    def __init__(
        self,
        ctx: moderngl.Context,
        gl: Functions,
        drawing: Drawing,
        making: Making,
        counts: dict[str, int],
        *,
        variant: str,
    ) -> None:
        self._ctx = ctx
        self._gl = gl
        self._drawing = drawing
        self._making = making
        self._counts = counts
        self._variant = variant
        self._is_layered = variant != "single"
        self._own: list[moderngl.Program | moderngl.Buffer | moderngl.VertexArray | Attachment] = []
        self._scratch: OrderedDict[tuple[int, ...], moderngl.Texture | moderngl.TextureArray] = OrderedDict()
        try:
            self._make()
        except BaseException:
            self.release()
            raise

    def _make(self) -> None:
        ctx = self._ctx
        self._fill = self._program("fill")
        self._outline = self._program("outline")
        self._resolve = self._program("resolve")
        self._buffer_bytes = _FIRST_BUFFER_BYTES
        self._buffer = self._made(ctx.buffer(reserve=self._buffer_bytes, dynamic=True))
        # One buffer holds records and indices, so that a frame is one write.
        if self._is_layered:
            self._triangles = self._triangle_array("2i2 4x 2i2 4x", "point", "placement")
            self._triangles_beside = self._triangle_array("2i2 8x 2i2", "point", "placement")
            quads = (self._buffer, "2i2 2i2 2i2 4x /i", "a", "b", "placement")
        else:
            self._triangles = self._triangles_beside = self._triangle_array("2i2 4x", "point")
            quads = (self._buffer, "2i2 2i2 /i", "a", "b")  # type: ignore[assignment]
        self._quads = self._made(ctx.vertex_array(self._outline, [quads]))
        self._whole = self._made(ctx.vertex_array(self._resolve, []))
        self._resolve["planes"] = 0
        if self._is_layered:
            self._target_layers = cast(moderngl.Uniform, self._resolve["target_layers"])
            self._target_boxes = cast(moderngl.Uniform, self._resolve["target_boxes"])
        self._scratch_target = self._attachment()
        self._planes_target = self._attachment()

    def release(self) -> None:
        """Release every GL object made here."""
        for texture in self._scratch.values():
            release(texture)
        self._scratch.clear()
        for thing in reversed(self._own):
            release(thing)
        self._own.clear()

    def draw(self, plan: DrawPlan, attachment: Attachment, target: Target, layers: range) -> None:
        """
        Carry a plan out.

        Args:
            plan: the plan; of a batch if layered.
            attachment: has `target` attached: the whole, or the layer to draw to.
            target: where the masks go.
            layers: the target's layers that are drawn to; one if single.
        """
        self._upload(plan.upload)
        is_direct = plan.grid.size == target.size
        base_layer = layers.start if is_direct else 0
        base = attachment if is_direct else self._scratch_target
        if is_direct:
            base.bind()
        else:
            self._attach_scratch(base, self._scratch_texture(plan.grid.size, 1, len(layers)))
        if self._is_layered and is_direct:
            self._clear_layers(attachment, target, layers)
        else:
            self._drawing.clear()
        self._tell(plan, self._fill)
        self._tell(plan, self._outline)
        self._draw_fill(plan, plan.planes[:1], self._triangles, base_layer)
        for i in range(1, len(plan.planes), SCRATCH_COMPONENTS):
            self._draw_beside(plan, plan.planes[i : i + SCRATCH_COMPONENTS], base, base_layer)
        if self._is_layered:
            self._gl.glFlush()  # so that the fill is drawn while the outline is still being sent
        self._draw_outline(plan, base_layer)
        if not is_direct:
            attachment.bind()
            scratch = self._scratch_texture(plan.grid.size, 1, len(layers))
            whole = Box(0, 0, target.width - 1, target.height - 1)
            self._draw_resolve(plan, scratch, target.size, [whole] * len(layers), layers)
        if self._is_layered:
            self._gl.glFlush()  # likewise, while the host goes on

    def _clear_layers(self, attachment: Attachment, target: Target, layers: range) -> None:
        """Clear some layers of a target that is attached as a whole."""
        if len(layers) == target.n_layers:
            self._drawing.clear()
            return
        for layer in layers:
            attachment.switch(target, layer)
            self._drawing.clear()
        attachment.switch(target, None)

    def _draw_fill(
        self, plan: DrawPlan, planes: tuple[PlaneDraw, ...], array: moderngl.VertexArray, first_layer: int
    ) -> None:
        """Flip each plane's interior in a component of its own; at most four."""
        if not planes:
            return
        self._drawing.viewport(*plan.origin, *plan.span)
        self._drawing.blend(*_FLIP)
        if self._is_layered:  # components and layers stand in the records
            self._fill["first_layer"] = first_layer
            n_indices = sum(plane.n_indices for plane in planes)
            array.render(moderngl.TRIANGLES, vertices=n_indices, first=planes[0].first)
            self._counts["draws"] += 1
        else:
            for component, plane in zip(_COMPONENT_MASKS, planes, strict=False):
                self._fill["plane"] = component
                array.render(moderngl.TRIANGLES, vertices=plane.n_indices, first=plane.first)
            self._counts["draws"] += len(planes)
        self._drawing.overwrite()

    def _draw_beside(self, plan: DrawPlan, planes: tuple[PlaneDraw, ...], base: Attachment, first_layer: int) -> None:
        """Fill planes that overlap what the base has by now, beside it, and OR them in; only where they are."""
        boxes = plan.beside_boxes
        left, top = min(box.left for box in boxes), min(box.top for box in boxes)
        width = max(box.right for box in boxes) - left + 1
        height = max(box.bottom for box in boxes) - top + 1
        if width <= 0 or height <= 0:
            return
        scratch = self._scratch_texture(plan.grid.size, SCRATCH_COMPONENTS, len(plan.beside))
        self._attach_scratch(self._planes_target, scratch)
        self._drawing.clear_box(left, top, width, height)
        self._draw_fill(plan, planes, self._triangles_beside, 0)
        base.bind()
        self._drawing.blend(*_OR)
        layers = [first_layer + frame for frame in plan.beside]
        self._draw_resolve(plan, scratch, plan.grid.size, boxes, layers)
        self._drawing.overwrite()

    def _draw_outline(self, plan: DrawPlan, first_layer: int) -> None:
        if not plan.n_outline:
            return
        self._drawing.viewport(*plan.origin, *plan.span)
        self._outline["n_closed"] = plan.n_closed
        self._outline["grid_step"] = plan.grid.step
        if self._is_layered:
            self._outline["first_layer"] = first_layer
        self._quads.render(moderngl.TRIANGLE_STRIP, vertices=4, instances=plan.n_outline)
        self._counts["draws"] += 1

    def _draw_resolve(
        self, plan: DrawPlan, scratch: Target, size: tuple[int, int], boxes: Sequence[Box], layers: Sequence[int]
    ) -> None:
        """
        OR the components of a scratch texture into what is bound, which has `size`: each of its layers into one of
        `layers`, over one of `boxes`.
        """
        self._gl.glBindTexture(scratch.kind, scratch.name)
        self._resolve["grid_size"] = plan.grid.size
        self._resolve["output_size"] = size
        if self._is_layered:
            self._drawing.viewport(0, 0, *size)
            edges = np.zeros((MAX_LAYERS, 4), np.int32)
            edges[: len(boxes)] = boxes
            # An empty box shall be nothing, not turned over.
            np.maximum(edges[:, 2:] + 1, edges[:, :2], out=edges[:, 2:])
            self._target_boxes.write(edges)
            self._target_layers.write(np.array([*layers, *[0] * (MAX_LAYERS - len(layers))], np.int32))
            self._whole.render(moderngl.TRIANGLE_STRIP, vertices=4, instances=len(layers))
        else:
            [box] = boxes
            self._drawing.viewport(box.left, box.top, box.right - box.left + 1, box.bottom - box.top + 1)
            self._whole.render(moderngl.TRIANGLES, vertices=3)
        self._counts["draws"] += 1

    def _tell(self, plan: DrawPlan, program: moderngl.Program) -> None:
        program["grid_scale"] = (1 / plan.grid.step_x, 1 / plan.grid.step_y)
        program["viewport_origin"] = plan.origin
        program["viewport_span"] = plan.span
        program["inverse_span"] = (1 / plan.span[0], 1 / plan.span[1])

    def _upload(self, data: bytes) -> None:
        """Send vertices and indices, into fresh storage so that a frame still being drawn is not waited for."""
        if len(data) > self._buffer_bytes:
            self._buffer_bytes = 1 << (len(data) - 1).bit_length()
        self._buffer.orphan(self._buffer_bytes)
        self._buffer.write(data)
        self._counts["uploaded_bytes"] += len(data)

    def _triangle_array(self, *attributes: str) -> moderngl.VertexArray:
        content = [(self._buffer, *attributes)]
        return self._made(self._ctx.vertex_array(self._fill, content, self._buffer, index_element_size=2))

    def _program(self, stage: str) -> moderngl.Program:
        parts = VARIANTS[self._variant].parts
        names = [f"{stage}.{part}" for part in parts.values()]
        sources: dict[str, Any] = {
            argument: shader_source(name, self._variant) for argument, name in zip(parts, names, strict=True)
        }
        try:
            program = self._ctx.program(**sources)
        except moderngl.Error as exc:
            numbers = ", ".join(str(source_names(name)) for name in names)
            raise GLUnavailableError(
                f"the driver {self._gl.driver} refuses the {stage} shaders (source numbers: {numbers}): {exc}"
            ) from exc
        return self._made(program)

    def _made(self, thing: Owned) -> Owned:
        self._own.append(thing)
        self._counts["gl_objects"] += 1
        return thing

    def _attachment(self) -> Attachment:
        attachment = Attachment(self._gl)
        self._own.append(attachment)
        self._counts["gl_objects"] += 1
        return attachment

    def _scratch_texture(self, size: tuple[int, int], components: int, n_layers: int) -> Target:
        """A texture that only the passes see; kept for the next frame of its size."""
        n_layers = 1 << (n_layers - 1).bit_length()  # a batch of 63 after one of 64 shall not make another
        key = (*size, components, n_layers)
        texture = self._scratch.get(key)
        if texture is None:
            with self._making:
                if self._is_layered:
                    texture = self._ctx.texture_array((*size, n_layers), components)
                else:
                    texture = self._ctx.texture(size, components)
                texture.filter = (moderngl.NEAREST, moderngl.NEAREST)
                if components == 1:
                    texture.swizzle = "R000"  # a missing alpha would read as 1, and the resolve would see it as a plane
            self._scratch[key] = texture
            self._counts["gl_objects"] += 1
            self._forget_scratch()
        self._scratch.move_to_end(key)
        kind = e.GL_TEXTURE_2D_ARRAY if self._is_layered else e.GL_TEXTURE_2D
        return Target(texture.glo, kind, *size, n_layers)

    def _attach_scratch(self, attachment: Attachment, scratch: Target) -> None:
        attachment.attach_own(scratch)
        if not attachment.is_complete():
            raise GLUnavailableError(
                f"the driver {self._gl.driver} has no memory for a scratch texture of {scratch.width} x"
                f" {scratch.height} x {scratch.n_layers}"
            )

    def _forget_scratch(self) -> None:
        """Release what was used longest ago, beyond the budget; the last two are those of the frame being drawn."""
        while len(self._scratch) > 2 and sum(map(_texels, self._scratch)) > MAX_SCRATCH_BYTES:
            release(self._scratch.popitem(last=False)[1])


def _texels(key: tuple[int, ...]) -> int:
    """Bytes of a scratch texture."""
    width, height, components, n_layers = key
    return width * height * components * n_layers


def release(thing: Any) -> None:
    """
    Release an object of moderngl's, or an attachment.

    A host's context may have the mode "context_gc", in which moderngl collects what is dropped; what is released
    already it would collect as well, and trip over.
    """
    thing.release()
    if isinstance(getattr(thing, "ctx", None), moderngl.Context):
        del thing.ctx
