"""
Guest: saves a host's GL state, sets the state that exact masks need, and restores the host's.

Strategy
--------
A host may have set any state. So every state that our calls change, or that could change their result, is read first,
set to the needed value, and restored at the end, also after an exception. Each kind of work has its own group of
states, which is a context manager: dispatching compute shaders, drawing triangles, reading pixels, writing pixels,
copying between textures, creating textures. A dispatch touches the fewest states: a program, two storage buffers, an
image unit. A state that we neither change nor depend on is not read, because each query costs time.

Where OpenGL has a state per draw buffer or per viewport, our draws use number 0. The scissor test is disabled for every
viewport, because one driver was seen to apply another viewport's test.

Some states cannot be queried or cannot be restored. A host must not call between the begin and the end of a conditional
render or of a display list, or in feedback and selection mode. The host's subroutine uniforms are lost, because every
change of program resets them. A program whose last link failed, or that was deleted while in use, cannot be used again;
afterwards no program is in use.

Some states can be queried, but our calls would fail in them, or would change what they count. These are refused: an
active transform feedback, and queries that count what is drawn.

Without ``preserve``, every state is still set. Only the states that decide whether to set something are read, and
nothing is restored.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final

import moderngl

from .._exceptions import WrongContextError
from . import enums as e
from .functions import Functions

__all__ = ["Attaching", "Copying", "Dispatching", "Drawing", "Making", "Reading", "Writing"]

_INTERFERING_STATES: Final = (
    # Capabilities that change which pixels a triangle covers, or what is written for them.
    e.GL_CULL_FACE,
    e.GL_COLOR_LOGIC_OP,  # replaces blending
    e.GL_DEPTH_TEST,  # passes without a depth buffer by the specification; we do not rely on that
    e.GL_STENCIL_TEST,
    e.GL_DITHER,
    e.GL_POLYGON_SMOOTH,
    e.GL_POLYGON_OFFSET_FILL,
    e.GL_PRIMITIVE_RESTART,
    e.GL_RASTERIZER_DISCARD,
    e.GL_SAMPLE_ALPHA_TO_COVERAGE,
    e.GL_SAMPLE_ALPHA_TO_ONE,
    e.GL_SAMPLE_COVERAGE,
    e.GL_SAMPLE_MASK,
)
_NEWER_INTERFERING_STATES: Final = (
    (400, "GL_ARB_sample_shading", e.GL_SAMPLE_SHADING),
    (430, "GL_ARB_ES3_compatibility", e.GL_PRIMITIVE_RESTART_FIXED_INDEX),
)
_COMPATIBILITY_INTERFERING_STATES: Final = (e.GL_ALPHA_TEST, e.GL_POLYGON_STIPPLE)
_COUNTING_QUERIES: Final = (e.GL_SAMPLES_PASSED, e.GL_ANY_SAMPLES_PASSED, e.GL_PRIMITIVES_GENERATED)
"""Queries whose results our draws would change."""
_DRAWING_STATISTICS: Final = (0x82EE, 0x82EF, 0x82F0, 0x82F1, 0x82F2, 0x82F3, 0x82F4, 0x82F6, 0x82F7)
"""GL_VERTICES_SUBMITTED to GL_FRAGMENT_SHADER_INVOCATIONS, GL_CLIPPING_INPUT_PRIMITIVES, GL_CLIPPING_OUTPUT_PRIMITIVES:
the same, of OpenGL 4.6 or GL_ARB_pipeline_statistics_query."""
_COMPUTE_STATISTICS: Final = 0x82F5
"""GL_COMPUTE_SHADER_INVOCATIONS, of the same version and extension."""
_STORAGE_BUFFERS: Final = 2
"""Storage-buffer bindings that a dispatch uses: the package and the working memory."""
_IMAGE_BINDING: Final = (
    e.GL_IMAGE_BINDING_LEVEL,
    e.GL_IMAGE_BINDING_LAYERED,
    e.GL_IMAGE_BINDING_LAYER,
    e.GL_IMAGE_BINDING_ACCESS,
    e.GL_IMAGE_BINDING_FORMAT,
)

_PACK: Final = (
    (e.GL_PACK_ALIGNMENT, 1),  # rows are not padded, whatever their width
    (e.GL_PACK_ROW_LENGTH, 0),
    (e.GL_PACK_SKIP_ROWS, 0),
    (e.GL_PACK_SKIP_PIXELS, 0),
)
"""The other parameters affect only images of several layers, or the order of bytes and bits."""
_UNPACK: Final = (
    (e.GL_UNPACK_ALIGNMENT, 1),
    (e.GL_UNPACK_ROW_LENGTH, 0),
    (e.GL_UNPACK_SKIP_ROWS, 0),
    (e.GL_UNPACK_SKIP_PIXELS, 0),
)
"""The parameters for the order of bytes and bits have no effect on single bytes."""
_UNPACK_LAYERS: Final = ((e.GL_UNPACK_IMAGE_HEIGHT, 0), (e.GL_UNPACK_SKIP_IMAGES, 0))
"""Parameters that affect 3D images and array textures, but not 2D textures."""
_BLEND_FACTORS: Final = (e.GL_BLEND_SRC_RGB, e.GL_BLEND_DST_RGB, e.GL_BLEND_SRC_ALPHA, e.GL_BLEND_DST_ALPHA)
_ZEROS: Final = (ctypes.c_float * 4)()
_ZEROS_ADDRESS: Final = ctypes.addressof(_ZEROS)
_TRANSFER: Final = ((e.GL_MAP_COLOR, 0), (e.GL_RED_SCALE, 1), (e.GL_RED_BIAS, 0))
"""Pixel transfer, which only compatibility contexts have."""


class _Guest:
    """
    Base class of the groups. It undoes changes, the last one first.

    The call that undoes a change is recorded before the change is made, because a keyboard interrupt may come at any
    time.
    """

    def __init__(self, gl: Functions, *, preserve: bool) -> None:
        self._gl = gl
        self._preserve = preserve
        self._undo: list[tuple[Any, ...]] = []

    def __enter__(self) -> None:
        self._undo.clear()  # left by a call that an interrupt cut off: the host has continued since
        try:
            self._set()
        except BaseException:
            self._put_back()
            raise

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._put_back()

    def _set(self) -> None:
        raise NotImplementedError

    def _put_back(self) -> None:
        """Undo everything. A step that fails or is interrupted is tried once more, and then skipped."""
        undo = self._undo
        first_error: BaseException | None = None
        is_second_try = False
        while undo:
            function, *arguments = undo[-1]
            try:
                function(*arguments)
            except BaseException as exc:
                first_error = first_error or exc
                is_second_try = not is_second_try
                if is_second_try:
                    continue
            undo.pop()
            is_second_try = False
        if first_error is not None:
            raise first_error

    def _later(self, *call: Any) -> None:
        """Record a function and its arguments, which undo the change that follows."""
        if self._preserve:
            self._undo.append(call)

    def _save_textures(self) -> None:
        """Save the active unit's bindings of the texture kinds that hold masks."""
        gl = self._gl
        self._later(self._bind_texture, e.GL_TEXTURE_2D, gl.integer(e.GL_TEXTURE_BINDING_2D))
        self._later(self._bind_texture, e.GL_TEXTURE_2D_ARRAY, gl.integer(e.GL_TEXTURE_BINDING_2D_ARRAY))

    def _bind_texture(self, kind: int, name: int) -> None:
        # A context that shares a texture can delete it while it is bound here. It cannot be bound again then, and its
        # name may be that of a new texture of another kind.
        gl = self._gl
        if not name or not gl.glIsTexture(name):
            gl.glBindTexture(kind, 0)
        elif gl.has_texture_queries and kind != e.GL_TEXTURE_BUFFER:  # which cannot be asked for its kind
            is_of_kind = gl.texture_parameter(name, e.GL_TEXTURE_TARGET) == kind
            gl.glBindTexture(kind, name if is_of_kind else 0)
        elif not gl.bind_texture(kind, name):
            gl.glBindTexture(kind, 0)

    def _bind_buffer(self, kind: int, name: int) -> None:
        self._gl.glBindBuffer(kind, name if self._gl.glIsBuffer(name) else 0)

    def _bind_sampler(self, unit: int, name: int) -> None:
        self._gl.glBindSampler(unit, name if self._gl.glIsSampler(name) else 0)

    def _refuse_queries(self, targets: Sequence[int]) -> None:
        if any(self._gl.current_query(target) for target in targets):
            raise WrongContextError(
                "a query that counts samples, primitives or shader invocations is active, and rendering a mask would"
                " change its result; call the renderer before the query begins or after it ends"
            )

    def _save_program(self) -> None:
        """Save the program in use. Refuse if it must not be changed."""
        gl = self._gl
        if (
            gl.has(400, "GL_ARB_transform_feedback2")  # otherwise the query does not exist
            and gl.integer(e.GL_TRANSFORM_FEEDBACK_ACTIVE)
            and not gl.integer(e.GL_TRANSFORM_FEEDBACK_PAUSED)
        ):
            raise WrongContextError(
                "a transform feedback is active, and another program cannot be used within it; call the renderer before"
                " it begins or after it ends, or pause it for the call"
            )
        if self._preserve:
            self._later(self._use_program, gl.integer(e.GL_CURRENT_PROGRAM))

    def _use_program(self, name: int) -> None:
        """
        Use the host's program again, if that is possible.

        A program that was deleted while in use exists only until another program is used. If a program's last link
        failed, its previous executable also exists only until then. No query and no call can save either.
        """
        gl = self._gl
        gl.glUseProgram(name if gl.glIsProgram(name) and gl.is_linked(name) else 0)

    def _save_read_framebuffer(self) -> None:
        gl = self._gl
        self._later(gl.glBindFramebuffer, e.GL_READ_FRAMEBUFFER, gl.integer(e.GL_READ_FRAMEBUFFER_BINDING))

    def _store(self, items: tuple[tuple[int, int], ...]) -> None:
        """Set pixel-store parameters."""
        gl = self._gl
        for item, needed, found in gl.differing(items):
            self._later(gl.glPixelStorei, item, found)
            gl.glPixelStorei(item, needed)

    def _transfer(self) -> None:
        """Set pixel-transfer parameters, which only compatibility contexts have."""
        gl = self._gl
        if not gl.is_compatibility:
            return
        for item, needed in _TRANSFER:
            if (found := gl.number(item)) != needed:
                self._later(gl.glPixelTransferf, item, found)
                gl.glPixelTransferf(item, needed)


class Attaching(_Guest):
    """While moderngl creates its object for a host's context. moderngl changes some states to its own defaults."""

    def _set(self) -> None:
        gl, undo = self._gl, self._undo
        for binding, current in (
            (e.GL_DRAW_FRAMEBUFFER, e.GL_DRAW_FRAMEBUFFER_BINDING),
            (e.GL_READ_FRAMEBUFFER, e.GL_READ_FRAMEBUFFER_BINDING),
        ):
            undo.append((gl.glBindFramebuffer, binding, gl.integer(current)))
            # moderngl inspects the attachments of the bound framebuffer by binding them. Framebuffer 0 has none that
            # could be bound.
            gl.glBindFramebuffer(binding, 0)
        for capability in (e.GL_PRIMITIVE_RESTART, e.GL_TEXTURE_CUBE_MAP_SEAMLESS, e.GL_PROGRAM_POINT_SIZE):
            undo.append((gl.glEnable if gl.glIsEnabled(capability) else gl.glDisable, capability))
        undo.append((gl.glPrimitiveRestartIndex, gl.integer(e.GL_PRIMITIVE_RESTART_INDEX) % (1 << 32)))
        if gl.glBlendFuncSeparatei is None:
            undo.append((gl.glBlendFuncSeparate, *(gl.integer(factor) for factor in _BLEND_FACTORS)))
            return
        for buffer in range(gl.integer(e.GL_MAX_DRAW_BUFFERS)):
            factors = (gl.integer_at(factor, buffer) for factor in _BLEND_FACTORS)
            undo.append((gl.glBlendFuncSeparatei, buffer, *factors))


class Dispatching(_Guest):
    """
    While compute shaders run: a program, the storage buffers 0 and 1, and image unit 0, which the caller binds.

    No state of a host can change what a dispatch writes.
    """

    def __init__(self, gl: Functions, *, preserve: bool) -> None:
        super().__init__(gl, preserve=preserve)
        self._queries = (_COMPUTE_STATISTICS,) if gl.has(460, "GL_ARB_pipeline_statistics_query") else ()

    def _set(self) -> None:
        self._refuse_queries(self._queries)
        self._save_program()
        gl = self._gl
        if not self._preserve:
            return
        if not gl.has_texture_queries:
            self._save_textures()  # targets are bound to be queried
        self._later(self._bind_buffer, e.GL_SHADER_STORAGE_BUFFER, gl.integer(e.GL_SHADER_STORAGE_BUFFER_BINDING))
        for index in range(_STORAGE_BUFFERS):
            name = gl.integer_at(e.GL_SHADER_STORAGE_BUFFER_BINDING, index)
            start = size = 0
            if name:
                start = gl.long_at(e.GL_SHADER_STORAGE_BUFFER_START, index)
                size = gl.long_at(e.GL_SHADER_STORAGE_BUFFER_SIZE, index)
            self._later(self._bind_storage, index, name, start, size)
        name = gl.integer_at(e.GL_IMAGE_BINDING_NAME, 0)
        self._later(self._bind_image, name, *(gl.integer_at(what, 0) for what in _IMAGE_BINDING))

    def _bind_storage(self, index: int, name: int, start: int, size: int) -> None:
        gl = self._gl
        if size and gl.glIsBuffer(name):
            gl.glBindBufferRange(e.GL_SHADER_STORAGE_BUFFER, index, name, start, size)
        else:  # the whole buffer, whatever its size becomes; or no buffer
            gl.glBindBufferBase(e.GL_SHADER_STORAGE_BUFFER, index, name if gl.glIsBuffer(name) else 0)

    def _bind_image(self, name: int, level: int, layered: int, layer: int, access: int, texel: int) -> None:
        gl = self._gl
        gl.glBindImageTexture(0, name if gl.glIsTexture(name) else 0, level, layered, layer, access, texel)


class Drawing(_Guest):
    """
    While drawing: only our own tests, masks and modes; one draw buffer, one viewport.

    The caller binds the framebuffer, program, vertex array and array buffer, and binds textures to unit 0, which is
    active. Viewport, blending and clearing have methods.

    Args:
        gl: the context's functions.
        preserve: whether to restore what is changed.
        is_thorough: also set states that are not known to matter, to find out whether they do: every draw buffer's
            blending and colour mask.
    """

    def __init__(self, gl: Functions, *, preserve: bool, is_thorough: bool = False) -> None:
        super().__init__(gl, preserve=preserve)
        self._draw_buffers = range(gl.integer(e.GL_MAX_DRAW_BUFFERS) if is_thorough else 1)
        self._viewports = range(gl.integer(e.GL_MAX_VIEWPORTS) if gl.glScissorIndexed is not None else 1)
        queries = list(_COUNTING_QUERIES)
        if gl.has(430, "GL_ARB_ES3_compatibility"):
            queries.append(e.GL_ANY_SAMPLES_PASSED_CONSERVATIVE)
        if gl.has(460, "GL_ARB_pipeline_statistics_query"):
            queries += _DRAWING_STATISTICS
        self._queries = tuple(queries)
        newer = (one for version, extension, one in _NEWER_INTERFERING_STATES if gl.has(version, extension))
        states = [*_INTERFERING_STATES, *newer]
        states += [e.GL_CLIP_DISTANCE0 + i for i in range(gl.integer(e.GL_MAX_CLIP_DISTANCES))]
        if gl.is_compatibility:
            states += _COMPATIBILITY_INTERFERING_STATES
        self._interfering_states = tuple(states)

    def viewport(self, left: int, bottom: int, width: int, height: int) -> None:
        """Set viewport 0."""
        if self._gl.glViewportIndexedf is not None:
            self._gl.glViewportIndexedf(0, left, bottom, width, height)
        else:
            self._gl.glViewport(left, bottom, width, height)

    def blend(self, source: int, destination: int) -> None:
        """Blend draw buffer 0 with these factors."""
        gl = self._gl
        gl.glEnablei(e.GL_BLEND, 0)
        if gl.glBlendFuncSeparatei is not None:
            gl.glBlendFuncSeparatei(0, source, destination, source, destination)
        else:
            gl.glBlendFuncSeparate(source, destination, source, destination)

    def overwrite(self) -> None:
        """Disable blending for draw buffer 0."""
        self._gl.glDisablei(e.GL_BLEND, 0)

    def clear(self) -> None:
        """Set all layers of the framebuffer to 0."""
        self._gl.glClearBufferfv(e.GL_COLOR, 0, _ZEROS_ADDRESS)  # does not use the host's clear colour

    def clear_box(self, left: int, bottom: int, width: int, height: int) -> None:
        """Set a part of the framebuffer to 0."""
        gl = self._gl
        if gl.glScissorIndexed is not None:
            gl.glScissorIndexed(0, left, bottom, width, height)
            gl.glEnablei(e.GL_SCISSOR_TEST, 0)
            self.clear()
            gl.glDisablei(e.GL_SCISSOR_TEST, 0)
        else:
            gl.glScissor(left, bottom, width, height)
            gl.glEnable(e.GL_SCISSOR_TEST)
            self.clear()
            gl.glDisable(e.GL_SCISSOR_TEST)

    def _set(self) -> None:
        self._refuse_queries(self._queries)
        self._save_program()
        self._set_enables()
        self._set_colours()
        if self._preserve:
            self._save_bindings()
        self._set_modes()

    def _set_enables(self) -> None:
        gl = self._gl
        for state in self._interfering_states:
            if gl.glIsEnabled(state):
                self._later(gl.glEnable, state)
                gl.glDisable(state)
        if gl.glScissorIndexed is None:
            if gl.glIsEnabled(e.GL_SCISSOR_TEST):
                self._later(gl.glEnable, e.GL_SCISSOR_TEST)
                gl.glDisable(e.GL_SCISSOR_TEST)
            return
        for viewport in self._viewports:
            if gl.glIsEnabledi(e.GL_SCISSOR_TEST, viewport):
                self._later(gl.glEnablei, e.GL_SCISSOR_TEST, viewport)
                gl.glDisablei(e.GL_SCISSOR_TEST, viewport)

    def _set_colours(self) -> None:
        """Set blending and the colour mask of draw buffer 0."""
        gl = self._gl
        if self._preserve:
            self._save_colours()
        if gl.glBlendEquationSeparatei is not None:
            gl.glBlendEquationSeparatei(0, e.GL_FUNC_ADD, e.GL_FUNC_ADD)
        else:
            gl.glBlendEquationSeparate(e.GL_FUNC_ADD, e.GL_FUNC_ADD)
        for buffer in self._draw_buffers:
            if buffer and self._preserve:
                self._later(gl.glColorMaski, buffer, *gl.booleans_at(e.GL_COLOR_WRITEMASK, buffer))
                self._later(gl.glEnablei if gl.glIsEnabledi(e.GL_BLEND, buffer) else gl.glDisablei, e.GL_BLEND, buffer)
            gl.glColorMaski(buffer, 1, 1, 1, 1)
            gl.glDisablei(e.GL_BLEND, buffer)

    def _save_colours(self) -> None:
        # Queries without an index return the values of draw buffer 0, also where indexed queries are rejected (macOS).
        gl = self._gl
        self._later(gl.glEnablei if gl.glIsEnabledi(e.GL_BLEND, 0) else gl.glDisablei, e.GL_BLEND, 0)
        factors = [gl.integer(factor) for factor in _BLEND_FACTORS]
        colours, alpha = gl.integer(e.GL_BLEND_EQUATION_RGB), gl.integer(e.GL_BLEND_EQUATION_ALPHA)
        is_indexed = gl.glBlendFuncSeparatei is not None
        self._later(*([gl.glBlendFuncSeparatei, 0] if is_indexed else [gl.glBlendFuncSeparate]), *factors)
        if colours != alpha:
            setter = [gl.glBlendEquationSeparatei, 0] if is_indexed else [gl.glBlendEquationSeparate]
            self._later(*setter, colours, alpha)
        else:  # the advanced equations cannot be set for colour and alpha separately
            self._later(*([gl.glBlendEquationi, 0] if is_indexed else [gl.glBlendEquation]), colours)
        self._later(gl.glColorMaski, 0, *gl.booleans_at(e.GL_COLOR_WRITEMASK, 0))

    def _save_bindings(self) -> None:
        gl = self._gl
        if gl.glViewportIndexedf is not None:
            self._later(gl.glViewportIndexedf, 0, *gl.numbers_at(e.GL_VIEWPORT, 0))
            self._later(gl.glScissorIndexed, 0, *gl.integers_at(e.GL_SCISSOR_BOX, 0))
        else:
            self._later(gl.glViewport, *gl.integers(e.GL_VIEWPORT))
            self._later(gl.glScissor, *gl.integers(e.GL_SCISSOR_BOX))
        self._later(gl.glBindFramebuffer, e.GL_DRAW_FRAMEBUFFER, gl.integer(e.GL_DRAW_FRAMEBUFFER_BINDING))
        self._later(gl.glBindVertexArray, gl.integer(e.GL_VERTEX_ARRAY_BINDING))
        self._later(self._bind_buffer, e.GL_ARRAY_BUFFER, gl.integer(e.GL_ARRAY_BUFFER_BINDING))
        self._later(gl.glActiveTexture, gl.integer(e.GL_ACTIVE_TEXTURE))
        gl.glActiveTexture(e.GL_TEXTURE0)
        self._save_textures()
        self._later(self._bind_texture, e.GL_TEXTURE_BUFFER, gl.integer(e.GL_TEXTURE_BINDING_BUFFER))
        self._later(self._bind_sampler, 0, gl.integer(e.GL_SAMPLER_BINDING))

    def _set_modes(self) -> None:
        gl = self._gl
        gl.glActiveTexture(e.GL_TEXTURE0)
        gl.glBindSampler(0, 0)  # a sampler with mipmaps would make our textures incomplete
        front, back, *_ = gl.integers(e.GL_POLYGON_MODE)
        if gl.is_compatibility and (front, back) != (e.GL_FILL, e.GL_FILL):
            self._later(gl.glPolygonMode, e.GL_FRONT, front)
            self._later(gl.glPolygonMode, e.GL_BACK, back)
            gl.glPolygonMode(e.GL_FRONT_AND_BACK, e.GL_FILL)
        elif front != e.GL_FILL:
            self._later(gl.glPolygonMode, e.GL_FRONT_AND_BACK, front)
            gl.glPolygonMode(e.GL_FRONT_AND_BACK, e.GL_FILL)
        if gl.glClipControl is not None:
            origin, depth = gl.integer(e.GL_CLIP_ORIGIN), gl.integer(e.GL_CLIP_DEPTH_MODE)
            if origin != e.GL_LOWER_LEFT:  # the other origin flips the picture
                self._later(gl.glClipControl, origin, depth)
                gl.glClipControl(e.GL_LOWER_LEFT, depth)


class Reading(_Guest):
    """While reading pixels into memory or, after the caller binds one, into a pixel buffer."""

    def _set(self) -> None:
        gl = self._gl
        if self._preserve:
            self._save_read_framebuffer()
            self._later(self._bind_buffer, e.GL_PIXEL_PACK_BUFFER, gl.integer(e.GL_PIXEL_PACK_BUFFER_BINDING))
            self._save_textures()
        gl.glBindBuffer(e.GL_PIXEL_PACK_BUFFER, 0)  # otherwise GL takes an address for an offset into it
        self._store(_PACK)
        self._transfer()


class Copying(_Guest):
    """While pixels are copied from a framebuffer into a texture, both of which the caller binds."""

    def _set(self) -> None:
        if self._preserve:
            self._save_read_framebuffer()
            self._save_textures()
        self._transfer()


class Writing(_Guest):
    """While writing pixels from memory into a texture. Before OpenGL 4.5 the caller binds it to the active unit."""

    _binds_textures = False

    def _set(self) -> None:
        gl = self._gl
        if self._preserve and (self._binds_textures or not gl.has_texture_queries):
            self._save_textures()
        if bound := gl.integer(
            e.GL_PIXEL_UNPACK_BUFFER_BINDING
        ):  # otherwise GL takes an address for an offset into the buffer
            self._later(self._bind_buffer, e.GL_PIXEL_UNPACK_BUFFER, bound)
            gl.glBindBuffer(e.GL_PIXEL_UNPACK_BUFFER, 0)
        self._store(_UNPACK)
        self._transfer()

    def layers(self) -> None:
        """Set the parameters that affect array textures only."""
        self._store(_UNPACK_LAYERS)


class Making(Writing):
    """
    While moderngl creates textures. moderngl binds them to a unit of its own, where a host may have another texture,
    and sets the alignments of both directions.
    """

    _binds_textures = True

    def __init__(self, gl: Functions, ctx: moderngl.Context, *, preserve: bool) -> None:
        super().__init__(gl, preserve=preserve)
        self._unit = e.GL_TEXTURE0 + ctx.default_texture_unit

    def _set(self) -> None:
        gl = self._gl
        if self._preserve:
            for item in (e.GL_PACK_ALIGNMENT, e.GL_UNPACK_ALIGNMENT):
                self._later(gl.glPixelStorei, item, gl.integer(item))
        # Restored also without preserve: the work that needs the texture continues with its own unit.
        self._undo.append((gl.glActiveTexture, gl.integer(e.GL_ACTIVE_TEXTURE)))
        gl.glActiveTexture(self._unit)
        super()._set()
        if self._preserve:
            self._later(gl.glActiveTexture, self._unit)
