"""
MaskRenderer: exact masks in shaders, into an R8 texture.

Strategy
--------
mask = parity fill | outline | half-way crossings (docs/coverage.md, "Why a GPU makes the same bits"). A frame whose
channels' boxes do not overlap and whose target has the native size takes two draws, straight into the target: the fill
with XOR blending, the outline over it. Channels that overlap others are filled in between, into the components of a
scratch texture (four parity planes at a time), and ORed in by a resolve draw over their box alone. For another size
than native, all that happens in a native scratch texture, and one more resolve draw scales it.

What is uploaded is the polygons: 8 bytes a segment and 6 a triangle, in one write to one buffer that is reused.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Final, TypeVar

import moderngl
import numpy as np
import numpy.typing as npt

from .._exceptions import ClosedError, GLUnavailableError
from .._geometry import FrameGeometry
from .._raster.coverage import check_size, rasterize
from .._raster.segments import Box
from .mesh import MAX_VIEWPORT, DrawPlan, PlaneDraw, plan_draw
from .shaders import shader_source, source_names

__all__ = ["MaskRenderer", "RenderStats"]

Owned = TypeVar("Owned", moderngl.Program, moderngl.Buffer, moderngl.VertexArray)

_FLIP: Final = (moderngl.ONE_MINUS_DST_COLOR, moderngl.ONE_MINUS_SRC_COLOR)
"""s (1 - d) + d (1 - s): exclusive or, exact on the values 0 and 1 of a normalized format."""
_ADD: Final = (moderngl.ONE, moderngl.ONE)
"""Clamped at 1: or."""
_COMPONENTS: Final = 4
_MAX_TARGETS: Final = 256
"""Framebuffers kept, the least recently used one going first. moderngl's framebuffer holds on to its texture object,
so an
unbounded cache would keep every target of the caller's alive; players use a ring of a few targets."""
_FIRST_BUFFER_BYTES: Final = 8192
_COMPONENT_MASKS: Final = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class RenderStats:
    """
    What a renderer has done since it was made.
    """

    frames: int = 0
    """Masks rendered, fallbacks included."""
    draws: int = 0
    """GL draw calls."""
    uploaded_bytes: int = 0
    """Bytes of vertices and of CPU masks sent to GL."""
    cpu_fallbacks: int = 0
    """Masks that the CPU twin made, because the shaders could not be exact for the frame."""
    gl_objects: int = 0
    """GL objects made; constant once every target and size has been seen."""


class MaskRenderer:
    """
    Renders masks into textures of a context that the caller owns.

    Use it on the thread where the context is current; release it there, or leave the ``with`` block there. The context
    must offer OpenGL 3.3 core. No GL object is made per frame: buffers and textures are reused, and grow when a frame
    needs more.

    Args:
        ctx: the caller's context. Never released or switched here.
        native_size: ``(width, height)`` of the grid that the points are on, 1..16384 each.

    Raises:
        GLUnavailableError: the context is too old, too small, or refuses the shaders.
        ValueError: a size outside its range.
    """

    def __init__(self, ctx: moderngl.Context, *, native_size: tuple[int, int] = (2048, 1024)) -> None:
        self._native_size = check_size("native_size", native_size)
        self._ctx = ctx
        self._counts = dict.fromkeys((option.name for option in fields(RenderStats)), 0)
        self._released = False
        self._thread = threading.get_ident()
        self._own: list[moderngl.Program | moderngl.Buffer | moderngl.VertexArray] = []
        self._texture: moderngl.Texture | None = None
        self._scratch: dict[int, moderngl.Texture] = {}
        self._targets: OrderedDict[moderngl.Texture, moderngl.Framebuffer] = OrderedDict()
        _check_context(ctx, self._native_size)
        self._max_viewport = min(MAX_VIEWPORT, *ctx.info["GL_MAX_VIEWPORT_DIMS"])
        try:
            self._make_objects()
        except BaseException:
            self.release()
            raise

    def _make_objects(self) -> None:
        ctx = self._ctx
        self._fill = self._program("fill")
        self._outline = self._program("outline")
        self._resolve = self._program("resolve")
        self._buffer_bytes = _FIRST_BUFFER_BYTES
        self._buffer = self._made(ctx.buffer(reserve=self._buffer_bytes, dynamic=True))
        # One buffer holds vertices and indices, so that a frame is one write.
        self._triangles = self._made(
            ctx.vertex_array(self._fill, [(self._buffer, "2i2 4x", "point")], self._buffer, index_element_size=2)
        )
        self._quads = self._made(ctx.vertex_array(self._outline, [(self._buffer, "2i2 2i2 /i", "a", "b")]))
        self._whole = self._made(ctx.vertex_array(self._resolve, []))
        self._resolve["native_size"] = self._native_size
        self._resolve["planes"] = 0

    @property
    def native_size(self) -> tuple[int, int]:
        """``(width, height)`` of the grid that the points are on."""
        return self._native_size

    @property
    def stats(self) -> RenderStats:
        """A snapshot of the counters."""
        return RenderStats(**self._counts)

    def render(self, geometry: FrameGeometry, *, into: moderngl.Texture | None = None) -> moderngl.Texture:
        """
        Render a frame's mask.

        Args:
            geometry: the frame.
            into: an R8 texture of the caller's (``ctx.texture(size, 1)``); its size decides the scaling. When omitted,
                a texture of native size that belongs to the renderer and is overwritten by the next such call.

        Returns:
            The texture: GL_R8, 0.0 or 1.0, the first row in memory being the mask's top row. ``texture.glo`` is its
            name.

        Raises:
            ValueError: `into` is no single-sampled R8 texture, is released, or belongs to another context.
            TypeError: `into` is no 2D texture.
            ClosedError: the renderer is released.
            GLUnavailableError: called on another thread than the one that made the renderer.
        """
        self._check_open()
        target = self._own_texture() if into is None else into
        if into is not None:
            _check_target(into, self._ctx)
        plan = plan_draw(geometry, self._native_size, max_viewport=self._max_viewport)
        if plan is None:
            mask = rasterize(geometry, target.size, native_size=self._native_size)
            target.write(mask, alignment=1)
            self._count(uploaded_bytes=mask.nbytes, cpu_fallbacks=1)
        else:
            # moderngl remembers the framebuffer in use, and would bind it again even after ours is released.
            before = self._ctx.fbo or self._ctx.detect_framebuffer(0)
            wireframe = self._ctx.wireframe
            try:
                self._ctx.wireframe = False
                self._draw(plan, target)
            finally:
                self._ctx.wireframe = wireframe
                before.use()
        self._count(frames=1)
        return target

    def read(self, texture: moderngl.Texture) -> npt.NDArray[np.uint8]:
        """
        Read a mask back. Waits for the GPU.

        Args:
            texture: an R8 texture, such as :meth:`render` returned.

        Returns:
            uint8 (height, width), 0 or 255, row 0 at the top; new, writable, the caller's.

        Raises:
            ValueError: no single-sampled R8 texture.
            ClosedError: the renderer is released.
            GLUnavailableError: called on another thread than the one that made the renderer.
        """
        self._check_open()
        _check_target(texture, self._ctx)
        width, height = texture.size
        mask = np.empty((height, width), np.uint8)
        texture.read_into(mask, alignment=1)  # rows are packed: an odd width must not be padded to 4 bytes
        return mask

    def release(self) -> None:
        """Release every GL object made here, the renderer's own texture included. May be called again."""
        if self._released:
            return
        self._check_thread()
        self._released = True
        for framebuffer in self._targets.values():
            framebuffer.release()
        self._targets.clear()
        for texture in (*self._scratch.values(), *((self._texture,) if self._texture is not None else ())):
            texture.release()
        self._scratch.clear()
        for thing in reversed(self._own):
            thing.release()
        self._own.clear()

    def __enter__(self) -> MaskRenderer:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        width, height = self._native_size
        return f"<MaskRenderer {width}x{height}{' released' if self._released else ''}>"

    def _draw(self, plan: DrawPlan, target: moderngl.Texture) -> None:
        """Carry a plan out."""
        self._upload(plan.upload)
        ctx = self._ctx
        ctx.enable_only(moderngl.NOTHING)
        ctx.blend_equation = moderngl.FUNC_ADD  # type: ignore[assignment]  # its stub knows only the pair
        is_native = target.size == self._native_size
        base = target if is_native else self._scratch_texture(1)
        framebuffer = self._framebuffer(base)
        framebuffer.use()  # before clearing, which would honour the scissor of the framebuffer in use
        framebuffer.clear()
        self._draw_fill(plan, base, plan.planes[:1])
        for i in range(1, len(plan.planes), _COMPONENTS):
            self._draw_overlapping(plan, base, plan.planes[i : i + _COMPONENTS])
        self._draw_outline(plan, base)
        if not is_native:
            self._draw_resolve(base, target, Box(0, 0, target.width - 1, target.height - 1))

    def _draw_fill(self, plan: DrawPlan, into: moderngl.Texture, planes: tuple[PlaneDraw, ...]) -> None:
        """Flip each plane's interior in a component of its own; at most four."""
        if not planes:
            return
        self._begin(plan, into, self._fill)
        ctx = self._ctx
        ctx.enable(moderngl.BLEND)
        ctx.blend_func = _FLIP
        for component, plane in zip(_COMPONENT_MASKS, planes, strict=False):
            self._fill["plane"] = component
            self._triangles.render(moderngl.TRIANGLES, vertices=plane.n_indices, first=plane.first)
        ctx.disable(moderngl.BLEND)
        self._count(draws=len(planes))

    def _draw_overlapping(self, plan: DrawPlan, base: moderngl.Texture, planes: tuple[PlaneDraw, ...]) -> None:
        """Fill planes that overlap what the base has by now, beside it, and OR them in; only where they are."""
        box = Box(
            min(plane.box.left for plane in planes),
            min(plane.box.top for plane in planes),
            max(plane.box.right for plane in planes),
            max(plane.box.bottom for plane in planes),
        )
        width, height = box.right - box.left + 1, box.bottom - box.top + 1
        if width <= 0 or height <= 0:
            return
        scratch = self._scratch_texture(_COMPONENTS)
        self._framebuffer(scratch).clear(viewport=(box.left, box.top, width, height))
        self._draw_fill(plan, scratch, planes)
        self._ctx.enable(moderngl.BLEND)
        self._ctx.blend_func = _ADD
        self._draw_resolve(scratch, base, box)
        self._ctx.disable(moderngl.BLEND)

    def _draw_outline(self, plan: DrawPlan, into: moderngl.Texture) -> None:
        if not plan.n_segments:
            return
        self._begin(plan, into, self._outline)
        self._outline["n_closed"] = plan.n_closed
        self._quads.render(moderngl.TRIANGLE_STRIP, vertices=4, instances=plan.n_segments)
        self._count(draws=1)

    def _draw_resolve(self, scratch: moderngl.Texture, target: moderngl.Texture, box: Box) -> None:
        """OR the components of a native-sized scratch into a box of the target, scaled to its size."""
        framebuffer = self._framebuffer(target)
        framebuffer.use()
        framebuffer.viewport = (box.left, box.top, box.right - box.left + 1, box.bottom - box.top + 1)
        scratch.use(0)
        self._resolve["output_size"] = target.size
        self._whole.render(moderngl.TRIANGLES, vertices=3)
        self._count(draws=1)

    def _begin(self, plan: DrawPlan, into: moderngl.Texture, program: moderngl.Program) -> None:
        """Bind the target with the plan's viewport, and tell the program of it."""
        framebuffer = self._framebuffer(into)
        framebuffer.use()
        framebuffer.viewport = (*plan.origin, plan.span, plan.span)
        program["viewport_origin"] = plan.origin
        program["viewport_span"] = (plan.span, plan.span)

    def _upload(self, data: bytes) -> None:
        """Send vertices and indices, into fresh storage so that a frame still being drawn is not waited for."""
        if len(data) > self._buffer_bytes:
            self._buffer_bytes = 1 << (len(data) - 1).bit_length()
        self._buffer.orphan(self._buffer_bytes)
        self._buffer.write(data)
        self._count(uploaded_bytes=len(data))

    def _program(self, stage: str) -> moderngl.Program:
        vertex, fragment = f"{stage}.vert", f"{stage}.frag"
        try:
            program = self._ctx.program(vertex_shader=shader_source(vertex), fragment_shader=shader_source(fragment))
        except moderngl.Error as exc:
            raise GLUnavailableError(
                f"the driver {self._ctx.info['GL_RENDERER']!r} refuses the {stage} shaders"
                f" (source numbers: {source_names(vertex)}, {source_names(fragment)}): {exc}"
            ) from exc
        return self._made(program)

    def _made(self, thing: Owned) -> Owned:
        self._own.append(thing)
        self._count(gl_objects=1)
        return thing

    def _own_texture(self) -> moderngl.Texture:
        if self._texture is None:
            self._texture = self._ctx.texture(self._native_size, 1)
            self._count(gl_objects=1)
        return self._texture

    def _scratch_texture(self, components: int) -> moderngl.Texture:
        scratch = self._scratch.get(components)
        if scratch is None:
            scratch = self._scratch[components] = self._ctx.texture(self._native_size, components)
            scratch.filter = (moderngl.NEAREST, moderngl.NEAREST)
            if components == 1:
                scratch.swizzle = "R000"  # a missing alpha would read as 1, and the resolve would see it as a plane
            self._count(gl_objects=1)
        return scratch

    def _framebuffer(self, texture: moderngl.Texture) -> moderngl.Framebuffer:
        """The framebuffer around a texture, among the last few used."""
        framebuffer = self._targets.get(texture)
        if framebuffer is None:
            framebuffer = self._targets[texture] = self._ctx.framebuffer([texture])
            self._count(gl_objects=1)
            if len(self._targets) > _MAX_TARGETS:
                self._targets.pop(next(iter(self._targets))).release()
        else:
            self._targets.move_to_end(texture)
        return framebuffer

    def _check_open(self) -> None:
        if self._released:
            raise ClosedError("the renderer is released")
        self._check_thread()

    def _check_thread(self) -> None:
        if threading.get_ident() != self._thread:
            # GL calls go to whatever context this thread has, if any: a crash, or a mask in somebody else's texture.
            raise GLUnavailableError(
                "the renderer belongs to the thread that made it, where its context is current; make one renderer per"
                " thread and context, and hand geometry over instead"
            )

    def _count(self, **more: int) -> None:
        for name, n in more.items():
            self._counts[name] += n


def _check_context(ctx: moderngl.Context, native_size: tuple[int, int]) -> None:
    if ctx.version_code < 330:
        raise GLUnavailableError(f"expected OpenGL 3.3 or newer, found {ctx.version_code / 100:.1f}")
    limit = min(ctx.info["GL_MAX_TEXTURE_SIZE"], *ctx.info["GL_MAX_VIEWPORT_DIMS"])
    if max(native_size) > limit:
        raise GLUnavailableError(
            f"the driver {ctx.info['GL_RENDERER']!r} has textures of at most {limit} pixels, found a native size of"
            f" {native_size[0]} x {native_size[1]}"
        )


def _check_target(texture: moderngl.Texture, ctx: moderngl.Context) -> None:
    if not isinstance(texture, moderngl.Texture):
        raise TypeError(f"texture: expected a moderngl.Texture, found {type(texture).__name__}")
    if type(texture.mglo).__name__ == "InvalidObject":
        raise ValueError("texture: it is released")
    if texture.ctx is not ctx:
        raise ValueError("texture: it belongs to another context than the renderer")
    if texture.components != 1 or texture.dtype != "f1" or texture.samples != 0:
        raise ValueError(
            f"texture: expected R8 without multisampling (components=1, dtype='f1'), found components="
            f"{texture.components}, dtype={texture.dtype!r}, samples={texture.samples}"
        )
