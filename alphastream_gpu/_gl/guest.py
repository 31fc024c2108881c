"""
Guest: leave a host's GL state as it was, and let none of it change a bit of a mask.

Strategy
--------
moderngl's scopes put back what moderngl knows of: a framebuffer, four enables. A host may have set anything. So every
state that our calls change, or that could change what they draw, is read first, set to what we need, and put back at
the end, on an exception too. There are three groups, each a context manager, for what is touched differs: drawing,
reading pixels, writing pixels. What is neither changed here nor able to change our pixels is not read, because each
query costs time: depth and stencil settings (our framebuffers have neither), multisampling (nor samples), sRGB (R8 has
none).

Where OpenGL has a state per draw buffer or per viewport, only number 0 is touched, through the indexed functions, which
come with a version or an extension; without either there is no such state to spoil.

Not saved, because no query tells of it, or no call brings it back: a host must not call between the begin and the end
of a conditional render, of transform feedback, of an occlusion query that our draws should not count in, of a display
list, or in feedback and selection mode; and it loses its subroutine uniforms, which every change of program resets.

``preserve`` off still sets everything, and reads only what tells whether to set it; nothing is put back.
"""

from __future__ import annotations

import ctypes
from types import TracebackType
from typing import Any, Final

import moderngl

from .._exceptions import GLUnavailableError
from . import enums as e
from .functions import Functions

__all__ = ["Attaching", "Drawing", "Making", "Reading", "Writing"]

_SPOILERS: Final = (
    # Enables that change which pixels a triangle gives, or what is written for them.
    e.GL_CULL_FACE,
    e.GL_COLOR_LOGIC_OP,  # comes instead of blending
    e.GL_DEPTH_TEST,  # no depth buffer, so it passes by the specification; not worth relying on
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
_NEWER_SPOILERS: Final = (
    (400, "GL_ARB_sample_shading", e.GL_SAMPLE_SHADING),
    (430, "GL_ARB_ES3_compatibility", e.GL_PRIMITIVE_RESTART_FIXED_INDEX),
)
_COMPATIBILITY_SPOILERS: Final = (e.GL_ALPHA_TEST, e.GL_POLYGON_STIPPLE)

_PACK: Final = (
    (e.GL_PACK_ALIGNMENT, 1),  # rows are not padded, whatever their width
    (e.GL_PACK_ROW_LENGTH, 0),
    (e.GL_PACK_SKIP_ROWS, 0),
    (e.GL_PACK_SKIP_PIXELS, 0),
    (e.GL_PACK_SWAP_BYTES, 0),
    (e.GL_PACK_LSB_FIRST, 0),
    (e.GL_PACK_IMAGE_HEIGHT, 0),
    (e.GL_PACK_SKIP_IMAGES, 0),
)
_UNPACK: Final = (
    (e.GL_UNPACK_ALIGNMENT, 1),
    (e.GL_UNPACK_ROW_LENGTH, 0),
    (e.GL_UNPACK_SKIP_ROWS, 0),
    (e.GL_UNPACK_SKIP_PIXELS, 0),
    (e.GL_UNPACK_SWAP_BYTES, 0),
    (e.GL_UNPACK_LSB_FIRST, 0),
    (e.GL_UNPACK_IMAGE_HEIGHT, 0),
    (e.GL_UNPACK_SKIP_IMAGES, 0),
)
_BLEND_FACTORS: Final = (e.GL_BLEND_SRC_RGB, e.GL_BLEND_DST_RGB, e.GL_BLEND_SRC_ALPHA, e.GL_BLEND_DST_ALPHA)
_ZEROS: Final = (ctypes.c_float * 4)()
_ZEROS_ADDRESS: Final = ctypes.addressof(_ZEROS)
_TRANSFER: Final = ((e.GL_MAP_COLOR, 0), (e.GL_RED_SCALE, 1), (e.GL_RED_BIAS, 0))
"""Pixel transfer, of compatibility contexts."""


class _Guest:
    """
    What the groups share: undoing, last change first.

    What undoes a change is noted before the change is made, because an interrupt from the keyboard comes at any time.
    """

    def __init__(self, gl: Functions, *, preserve: bool) -> None:
        self._gl = gl
        self._preserve = preserve
        self._undo: list[tuple[Any, ...]] = []
        self._is_active = False

    def __enter__(self) -> None:
        if self._is_active:
            raise GLUnavailableError("the renderer is in the middle of another call, which this one came from")
        try:
            self._is_active = True
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
        undo = self._undo
        try:
            while undo:
                function, *arguments = undo[-1]
                function(*arguments)
                undo.pop()
            self._is_active = False
        except BaseException:  # the rest is to be put back all the same
            self._put_back()
            raise

    def _later(self, *call: Any) -> None:
        """Note a function and its arguments that undo what is done next."""
        if self._preserve:
            self._undo.append(call)

    def _save_textures(self) -> None:
        """What the active unit has bound, of the kinds that masks are in."""
        gl = self._gl
        self._later(self._bind_texture, e.GL_TEXTURE_2D, gl.integer(e.GL_TEXTURE_BINDING_2D))
        self._later(self._bind_texture, e.GL_TEXTURE_2D_ARRAY, gl.integer(e.GL_TEXTURE_BINDING_2D_ARRAY))

    def _bind_texture(self, kind: int, name: int) -> None:
        # One that a context that shares it has deleted stays bound here, but cannot be bound again.
        self._gl.glBindTexture(kind, name if self._gl.glIsTexture(name) else 0)

    def _bind_buffer(self, kind: int, name: int) -> None:
        self._gl.glBindBuffer(kind, name if self._gl.glIsBuffer(name) else 0)

    def _store(self, items: tuple[tuple[int, int], ...]) -> None:
        """Set pixel-store parameters."""
        gl = self._gl
        for item, needed in items:
            if (found := gl.integer(item)) != needed:
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
    """While moderngl makes its own object for a host's context: it sets what it thinks are better defaults."""

    def _set(self) -> None:
        gl, undo = self._gl, self._undo
        for binding, current in (
            (e.GL_DRAW_FRAMEBUFFER, e.GL_DRAW_FRAMEBUFFER_BINDING),
            (e.GL_READ_FRAMEBUFFER, e.GL_READ_FRAMEBUFFER_BINDING),
        ):
            undo.append((gl.glBindFramebuffer, binding, gl.integer(current)))
        for capability in (e.GL_PRIMITIVE_RESTART, e.GL_TEXTURE_CUBE_MAP_SEAMLESS, e.GL_PROGRAM_POINT_SIZE):
            undo.append((gl.glEnable if gl.glIsEnabled(capability) else gl.glDisable, capability))
        undo.append((gl.glPrimitiveRestartIndex, gl.integer(e.GL_PRIMITIVE_RESTART_INDEX) % (1 << 32)))
        if gl.glBlendFuncSeparatei is None:
            undo.append((gl.glBlendFuncSeparate, *(gl.integer(factor) for factor in _BLEND_FACTORS)))
            return
        for buffer in range(gl.integer(e.GL_MAX_DRAW_BUFFERS)):
            factors = (gl.integer_at(factor, buffer) for factor in _BLEND_FACTORS)
            undo.append((gl.glBlendFuncSeparatei, buffer, *factors))


class Drawing(_Guest):
    """
    While drawing: no test, no mask, no mode but ours; one draw buffer, one viewport.

    The caller binds framebuffer, program, vertex array, array buffer, and textures to unit 0, which is active;
    viewport, blending and clearing have methods.
    """

    def __init__(self, gl: Functions, *, preserve: bool) -> None:
        super().__init__(gl, preserve=preserve)
        spoilers = [*_SPOILERS, *(one for version, extension, one in _NEWER_SPOILERS if gl.has(version, extension))]
        spoilers += [e.GL_CLIP_DISTANCE0 + i for i in range(gl.integer(e.GL_MAX_CLIP_DISTANCES))]
        if gl.is_compatibility:
            spoilers += _COMPATIBILITY_SPOILERS
        self._spoilers = tuple(spoilers)

    def viewport(self, left: int, bottom: int, width: int, height: int) -> None:
        """Set viewport 0."""
        if self._gl.glViewportIndexedf is not None:
            self._gl.glViewportIndexedf(0, left, bottom, width, height)
        else:
            self._gl.glViewport(left, bottom, width, height)

    def blend(self, source: int, destination: int) -> None:
        """Blend draw buffer 0 by these factors."""
        gl = self._gl
        gl.glEnablei(e.GL_BLEND, 0)
        if gl.glBlendFuncSeparatei is not None:
            gl.glBlendFuncSeparatei(0, source, destination, source, destination)
        else:
            gl.glBlendFuncSeparate(source, destination, source, destination)

    def overwrite(self) -> None:
        """Do not blend draw buffer 0."""
        self._gl.glDisablei(e.GL_BLEND, 0)

    def clear(self) -> None:
        """Set the framebuffer to 0, all layers of it."""
        self._gl.glClearBufferfv(e.GL_COLOR, 0, _ZEROS_ADDRESS)  # the host's clear colour is not involved

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
        self._set_enables()
        self._set_colours()
        if self._preserve:
            self._save_bindings()
        self._set_modes()

    def _set_enables(self) -> None:
        gl = self._gl
        for spoiler in self._spoilers:
            if gl.glIsEnabled(spoiler):
                self._later(gl.glEnable, spoiler)
                gl.glDisable(spoiler)
        if gl.glScissorIndexed is None:
            if gl.glIsEnabled(e.GL_SCISSOR_TEST):
                self._later(gl.glEnable, e.GL_SCISSOR_TEST)
                gl.glDisable(e.GL_SCISSOR_TEST)
        elif gl.glIsEnabledi(e.GL_SCISSOR_TEST, 0):
            self._later(gl.glEnablei, e.GL_SCISSOR_TEST, 0)
            gl.glDisablei(e.GL_SCISSOR_TEST, 0)

    def _set_colours(self) -> None:
        """Blending and the colour mask of draw buffer 0."""
        gl = self._gl
        if self._preserve:
            self._save_colours()
        if gl.glBlendEquationSeparatei is not None:
            gl.glBlendEquationSeparatei(0, e.GL_FUNC_ADD, e.GL_FUNC_ADD)
        else:
            gl.glBlendEquationSeparate(e.GL_FUNC_ADD, e.GL_FUNC_ADD)
        gl.glColorMaski(0, 1, 1, 1, 1)
        gl.glDisablei(e.GL_BLEND, 0)

    def _save_colours(self) -> None:
        # Queries without an index answer for draw buffer 0, also where the indexed ones are refused (macOS).
        gl = self._gl
        self._later(gl.glEnablei if gl.glIsEnabledi(e.GL_BLEND, 0) else gl.glDisablei, e.GL_BLEND, 0)
        factors = [gl.integer(factor) for factor in _BLEND_FACTORS]
        colours, alpha = gl.integer(e.GL_BLEND_EQUATION_RGB), gl.integer(e.GL_BLEND_EQUATION_ALPHA)
        is_indexed = gl.glBlendFuncSeparatei is not None
        self._later(*([gl.glBlendFuncSeparatei, 0] if is_indexed else [gl.glBlendFuncSeparate]), *factors)
        if colours != alpha:
            setter = [gl.glBlendEquationSeparatei, 0] if is_indexed else [gl.glBlendEquationSeparate]
            self._later(*setter, colours, alpha)
        else:  # the advanced equations cannot be set for colours and alpha apart
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
        self._later(self._use_program, gl.integer(e.GL_CURRENT_PROGRAM))
        self._later(gl.glBindVertexArray, gl.integer(e.GL_VERTEX_ARRAY_BINDING))
        self._later(self._bind_buffer, e.GL_ARRAY_BUFFER, gl.integer(e.GL_ARRAY_BUFFER_BINDING))
        self._later(gl.glActiveTexture, gl.integer(e.GL_ACTIVE_TEXTURE))
        gl.glActiveTexture(e.GL_TEXTURE0)
        self._save_textures()
        self._later(gl.glBindSampler, 0, gl.integer(e.GL_SAMPLER_BINDING))

    def _set_modes(self) -> None:
        gl = self._gl
        gl.glActiveTexture(e.GL_TEXTURE0)
        gl.glBindSampler(0, 0)  # one with mipmaps would make our textures incomplete
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
            if origin != e.GL_LOWER_LEFT:  # the other turns the picture over
                self._later(gl.glClipControl, origin, depth)
                gl.glClipControl(e.GL_LOWER_LEFT, depth)

    def _use_program(self, name: int) -> None:
        """
        Use the host's program again, unless the host had deleted it.

        A program that is deleted while in use lives until another is used, that is until we drew; no query and no call
        saves it.
        """
        self._gl.glUseProgram(name if self._gl.glIsProgram(name) else 0)


class Reading(_Guest):
    """While reading pixels into memory or, after the caller binds one, into a pixel buffer."""

    def _set(self) -> None:
        gl = self._gl
        if self._preserve:
            framebuffer = gl.integer(e.GL_READ_FRAMEBUFFER_BINDING)
            self._later(gl.glBindFramebuffer, e.GL_READ_FRAMEBUFFER, framebuffer)
            self._later(self._bind_buffer, e.GL_PIXEL_PACK_BUFFER, gl.integer(e.GL_PIXEL_PACK_BUFFER_BINDING))
            self._save_textures()
        gl.glBindBuffer(e.GL_PIXEL_PACK_BUFFER, 0)  # else an address would be taken for an offset into it
        self._store(_PACK)
        self._transfer()


class Writing(_Guest):
    """While writing pixels from memory into a texture, within :class:`Drawing`."""

    def _set(self) -> None:
        gl = self._gl
        if self._preserve:
            self._later(self._bind_buffer, e.GL_PIXEL_UNPACK_BUFFER, gl.integer(e.GL_PIXEL_UNPACK_BUFFER_BINDING))
        gl.glBindBuffer(e.GL_PIXEL_UNPACK_BUFFER, 0)
        self._store(_UNPACK)
        self._transfer()


class Making(Writing):
    """
    While moderngl makes textures, within :class:`Drawing`: it binds them to a unit of its own, where a host may have
    another, and sets the alignments of both directions.
    """

    def __init__(self, gl: Functions, ctx: moderngl.Context, *, preserve: bool) -> None:
        super().__init__(gl, preserve=preserve)
        self._ctx = ctx

    def _set(self) -> None:
        gl = self._gl
        if self._preserve:
            for item in (e.GL_PACK_ALIGNMENT, e.GL_UNPACK_ALIGNMENT):
                self._later(gl.glPixelStorei, item, gl.integer(item))
        self._undo.append((gl.glActiveTexture, e.GL_TEXTURE0))  # whatever is preserved: the drawing goes on with it
        if self._preserve:
            unit = e.GL_TEXTURE0 + self._ctx.default_texture_unit
            gl.glActiveTexture(unit)
            self._save_textures()
            self._later(gl.glActiveTexture, unit)
        super()._set()
