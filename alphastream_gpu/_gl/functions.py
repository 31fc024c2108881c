"""
GL functions that moderngl does not wrap, or does not wrap as this package needs them, called by ctypes.

moderngl draws. This module calls GL directly to save and restore a host's state, to build framebuffers around textures
that moderngl does not know, and to read back into pixel buffers. PyOpenGL is not used, for three reasons. It picks one
windowing interface when it is imported. It checks for errors after every call unless the whole program disables that.
It takes 5 microseconds for a query that takes 0.4 here. The functions are listed in tables below.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_char_p, c_float, c_int, c_int64, c_ssize_t, c_ubyte, c_uint, c_uint64, c_void_p
from typing import Any, Final, NamedTuple

from .._exceptions import GLUnavailableError
from . import enums
from .loader import CurrentContext

__all__ = ["OLDEST_VERSION", "Functions"]

OLDEST_VERSION: Final = 330

_OUT: Final = c_void_p  # an address that GL writes to
_PROTOTYPES: Final[dict[str, tuple[Any, ...]]] = {
    # name: result, arguments
    "glActiveTexture": (None, c_uint),
    "glBindBuffer": (None, c_uint, c_uint),
    "glBindBufferBase": (None, c_uint, c_uint, c_uint),
    "glBindBufferRange": (None, c_uint, c_uint, c_uint, c_ssize_t, c_ssize_t),
    "glBindFramebuffer": (None, c_uint, c_uint),
    "glBindSampler": (None, c_uint, c_uint),
    "glBindTexture": (None, c_uint, c_uint),
    "glBindVertexArray": (None, c_uint),
    "glBlendEquation": (None, c_uint),
    "glBlendEquationSeparate": (None, c_uint, c_uint),
    "glBlendFuncSeparate": (None, c_uint, c_uint, c_uint, c_uint),
    "glBufferData": (None, c_uint, c_ssize_t, c_void_p, c_uint),
    "glCheckFramebufferStatus": (c_uint, c_uint),
    "glClear": (None, c_uint),
    "glClearBufferfv": (None, c_uint, c_int, _OUT),
    "glColorMaski": (None, c_uint, c_ubyte, c_ubyte, c_ubyte, c_ubyte),
    "glCopyTexSubImage2D": (None, c_uint, c_int, c_int, c_int, c_int, c_int, c_int, c_int),
    "glCopyTexSubImage3D": (None, c_uint, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int),
    "glDeleteBuffers": (None, c_int, _OUT),
    "glDeleteFramebuffers": (None, c_int, _OUT),
    "glDeleteSync": (None, c_void_p),
    "glDeleteTextures": (None, c_int, _OUT),
    "glDisable": (None, c_uint),
    "glDisablei": (None, c_uint, c_uint),
    "glEnable": (None, c_uint),
    "glEnablei": (None, c_uint, c_uint),
    "glFenceSync": (c_void_p, c_uint, c_uint),
    "glFramebufferTexture2D": (None, c_uint, c_uint, c_uint, c_uint, c_int),
    "glFramebufferTextureLayer": (None, c_uint, c_uint, c_uint, c_int, c_int),
    "glGenBuffers": (None, c_int, _OUT),
    "glGenFramebuffers": (None, c_int, _OUT),
    "glGenTextures": (None, c_int, _OUT),
    "glGenVertexArrays": (None, c_int, _OUT),
    "glGetBooleani_v": (None, c_uint, c_uint, _OUT),
    "glGetBufferParameteriv": (None, c_uint, c_uint, _OUT),
    "glGetError": (c_uint,),
    "glGetFloatv": (None, c_uint, _OUT),
    "glGetInteger64i_v": (None, c_uint, c_uint, _OUT),
    "glGetIntegeri_v": (None, c_uint, c_uint, _OUT),
    "glGetIntegerv": (None, c_uint, _OUT),
    "glGetProgramiv": (None, c_uint, c_uint, _OUT),
    "glGetQueryiv": (None, c_uint, c_uint, _OUT),
    "glGetString": (c_char_p, c_uint),
    "glGetStringi": (c_char_p, c_uint, c_uint),
    "glGetTexLevelParameteriv": (None, c_uint, c_int, c_uint, _OUT),
    "glGetTexParameteriv": (None, c_uint, c_uint, _OUT),
    "glGetVertexAttribiv": (None, c_uint, c_uint, _OUT),
    "glIsEnabled": (c_ubyte, c_uint),
    "glIsEnabledi": (c_ubyte, c_uint, c_uint),
    "glIsBuffer": (c_ubyte, c_uint),
    "glIsProgram": (c_ubyte, c_uint),
    "glIsSampler": (c_ubyte, c_uint),
    "glIsTexture": (c_ubyte, c_uint),
    "glIsVertexArray": (c_ubyte, c_uint),
    "glPrimitiveRestartIndex": (None, c_uint),
    "glPixelStorei": (None, c_uint, c_int),
    "glPolygonMode": (None, c_uint, c_uint),
    "glScissor": (None, c_int, c_int, c_int, c_int),
    "glTexBuffer": (None, c_uint, c_uint, c_uint),
    "glTexSubImage2D": (None, c_uint, c_int, c_int, c_int, c_int, c_int, c_uint, c_uint, c_void_p),
    "glTexSubImage3D": (None, c_uint, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_uint, c_uint, c_void_p),
    "glUseProgram": (None, c_uint),
    "glVertexAttribDivisor": (None, c_uint, c_uint),
    "glViewport": (None, c_int, c_int, c_int, c_int),
}
_BLOCKING: Final[dict[str, tuple[Any, ...]]] = {
    # These functions wait for the GPU. Other Python threads run meanwhile.
    "glClientWaitSync": (c_uint, c_void_p, c_uint, c_uint64),
    "glGetBufferSubData": (None, c_uint, c_ssize_t, c_ssize_t, c_void_p),
    "glReadPixels": (None, c_int, c_int, c_int, c_int, c_uint, c_uint, c_void_p),
}


class _Newer(NamedTuple):
    """Functions that not every OpenGL 3.3 has."""

    version: int
    """The version in which the functions became core."""
    extension: str
    """The extension that provides the functions in older contexts."""
    suffix: str
    """The suffix of the extension's function names."""
    prototypes: dict[str, tuple[Any, ...]]


_NEWER: Final = (
    _Newer(
        400,
        "GL_ARB_draw_buffers_blend",
        "ARB",
        {
            "glBlendEquationi": (None, c_uint, c_uint),
            "glBlendEquationSeparatei": (None, c_uint, c_uint, c_uint),
            "glBlendFuncSeparatei": (None, c_uint, c_uint, c_uint, c_uint, c_uint),
        },
    ),
    _Newer(
        410,
        "GL_ARB_viewport_array",
        "",
        {
            "glGetFloati_v": (None, c_uint, c_uint, _OUT),
            "glScissorIndexed": (None, c_uint, c_int, c_int, c_int, c_int),
            "glViewportIndexedf": (None, c_uint, c_float, c_float, c_float, c_float),
        },
    ),
    _Newer(
        420,
        "GL_ARB_shader_image_load_store",
        "",
        {
            "glBindImageTexture": (None, c_uint, c_uint, c_int, c_ubyte, c_int, c_uint, c_uint),
            "glMemoryBarrier": (None, c_uint),
        },
    ),
    _Newer(430, "GL_ARB_compute_shader", "", {"glDispatchCompute": (None, c_uint, c_uint, c_uint)}),
    _Newer(
        440,
        "GL_ARB_buffer_storage",
        "",
        {
            "glBufferStorage": (None, c_uint, c_ssize_t, c_void_p, c_uint),
            "glMapBufferRange": (c_void_p, c_uint, c_ssize_t, c_ssize_t, c_uint),
        },
    ),
    _Newer(450, "GL_ARB_clip_control", "", {"glClipControl": (None, c_uint, c_uint)}),
    _Newer(
        450,
        "GL_ARB_direct_state_access",
        "",
        {
            "glGetTextureLevelParameteriv": (None, c_uint, c_int, c_uint, _OUT),
            "glGetTextureParameteriv": (None, c_uint, c_uint, _OUT),
            "glGetVertexArrayIndexediv": (None, c_uint, c_uint, c_uint, _OUT),
            "glTextureSubImage2D": (None, c_uint, c_int, c_int, c_int, c_int, c_int, c_uint, c_uint, c_void_p),
            "glTextureSubImage3D": (
                *(None, c_uint, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_uint, c_uint, c_void_p),
            ),
        },
    ),
)
"""A function is None if neither version nor extension is available. Then its state does not exist either."""
_COMPATIBILITY: Final[dict[str, tuple[Any, ...]]] = {"glPixelTransferf": (None, c_uint, c_float)}
"""Functions of compatibility contexts only."""


_BINDINGS: Final = {
    enums.GL_TEXTURE_2D: enums.GL_TEXTURE_BINDING_2D,
    enums.GL_TEXTURE_2D_ARRAY: enums.GL_TEXTURE_BINDING_2D_ARRAY,
    enums.GL_TEXTURE_BUFFER: enums.GL_TEXTURE_BINDING_BUFFER,
}
"""The query for the bound texture, by the kind of texture."""


class Functions:
    """
    The functions of one context, as attributes under their GL names. Functions newer than the context are None.

    Args:
        context: the context, current on this thread.

    Raises:
        GLUnavailableError: the context is not desktop OpenGL 3.3 or newer, or the driver does not have one of its
            functions. The check leaves no new GL error pending.
    """

    def __init__(self, context: CurrentContext) -> None:
        self._values = (c_int * 4)()
        self._address = ctypes.addressof(self._values)
        self._numbers = (c_float * 4)()
        self._numbers_address = ctypes.addressof(self._numbers)
        self._bytes = (c_ubyte * 4)()
        self._bytes_address = ctypes.addressof(self._bytes)
        self._long = c_int64()
        self._long_address = ctypes.addressof(self._long)
        self.version_code = self._checked_version(context)
        """330 for OpenGL 3.3."""
        for name, (result, *arguments) in _PROTOTYPES.items():
            # PYFUNCTYPE keeps the GIL. If it were released sixty times a frame, any busy thread could run in between,
            # for five milliseconds each time.
            setattr(self, name, _load(context, name, ctypes.PYFUNCTYPE(result, *arguments)))
        for name, (result, *arguments) in _BLOCKING.items():
            setattr(self, name, _load(context, name, ctypes.CFUNCTYPE(result, *arguments)))
        self.extensions = frozenset(
            (self.glGetStringi(enums.GL_EXTENSIONS, i) or b"").decode("ascii", "replace")
            for i in range(self.integer(enums.GL_NUM_EXTENSIONS))
        )
        for newer in _NEWER:
            is_core, is_there = self.version_code >= newer.version, self.has(newer.version, newer.extension)
            for name, (result, *arguments) in newer.prototypes.items():
                full_name = name if is_core else name + newer.suffix
                prototype = ctypes.PYFUNCTYPE(result, *arguments)
                setattr(self, name, _load(context, full_name, prototype) if is_there else None)
        profile = self.integer(enums.GL_CONTEXT_PROFILE_MASK)  # 0 from drivers that do not report it
        self.is_compatibility = bool(profile & enums.GL_CONTEXT_COMPATIBILITY_PROFILE_BIT) or (
            profile == 0 and "GL_ARB_compatibility" in self.extensions
        )
        if self.is_compatibility:
            for name, (result, *arguments) in _COMPATIBILITY.items():
                setattr(self, name, _load(context, name, ctypes.PYFUNCTYPE(result, *arguments)))
        # In compatibility contexts Mesa does not report a texture's target.
        self.has_texture_queries = self.glGetTextureParameteriv is not None and not self.is_compatibility
        """Whether textures can be queried by name, without binding them."""
        self._ask_texture, self._ask_level = (
            (self.glGetTextureParameteriv, self.glGetTextureLevelParameteriv)
            if self.has_texture_queries
            else (self.glGetTexParameteriv, self.glGetTexLevelParameteriv)
        )
        self.renderer_name = self._string(enums.GL_RENDERER)
        """The driver's name of its renderer."""
        self.driver = f"{self.renderer_name} {self._string(enums.GL_VERSION)}"
        """Renderer and version."""

    def __getattr__(self, name: str) -> Any:  # for type checkers: the functions are set by name
        raise AttributeError(name)

    def _checked_version(self, context: CurrentContext) -> int:
        """Return the version code, from the version string: in older contexts, other queries would raise a GL error."""
        self.glGetString = _load(context, "glGetString", ctypes.PYFUNCTYPE(c_char_p, c_uint))
        text = self._string(enums.GL_VERSION)
        found = re.match(r"(\d+)\.(\d+)", text)  # does not match "OpenGL ES 3.2 ..."
        code = 100 * int(found[1]) + 10 * int(found[2]) if found else 0
        if code < OLDEST_VERSION:
            raise GLUnavailableError(
                f"expected desktop OpenGL 3.3 or newer, found {text!r} ({self._string(enums.GL_RENDERER)}); ask the"
                " windowing toolkit for an OpenGL 3.3 core context"
            )
        return code

    def _string(self, what: int) -> str:
        return (self.glGetString(what) or b"?").decode("utf-8", "replace")

    def has(self, version_code: int, extension: str) -> bool:
        """Return whether a feature is available, as core of a version or through an extension."""
        return self.version_code >= version_code or extension in self.extensions

    def take_errors(self) -> list[int]:
        """Return the pending errors and clear them."""
        errors = []
        for _ in range(16):  # one flag per kind; a lost context returns the same error for ever
            error = self.glGetError()
            if error == enums.GL_NO_ERROR:
                break
            errors.append(error)
        return errors

    def put_back_errors(self, errors: list[int]) -> None:
        """
        Make errors of the host pending again, by invalid calls that have no other effect.

        The host's debug callback is not called. Errors of the rarest kinds (no memory, a lost context) cannot be raised
        again.
        """
        if not errors:
            return
        with self.unheard():
            for error in errors:
                if error == enums.GL_INVALID_ENUM:
                    self.glEnable(enums.GL_INVALID_ENUM)  # not a capability
                elif error == enums.GL_INVALID_VALUE:
                    self.glViewport(0, 0, -1, -1)
                elif error == enums.GL_INVALID_OPERATION:
                    self.glBindVertexArray(0xFFFFFFFF)  # a name that GL never generated
                elif error == enums.GL_INVALID_FRAMEBUFFER_OPERATION:
                    self._use_incomplete_framebuffer()

    @contextmanager
    def unheard(self) -> Iterator[None]:
        """Turn the context's debug output off, if it has any, within the ``with`` block."""
        is_heard = self.has(430, "GL_KHR_debug") and self.glIsEnabled(enums.GL_DEBUG_OUTPUT)
        try:
            if is_heard:
                self.glDisable(enums.GL_DEBUG_OUTPUT)
            yield
        finally:
            if is_heard:
                try:
                    self.glEnable(enums.GL_DEBUG_OUTPUT)
                except BaseException:  # an interrupt from the keyboard
                    self.glEnable(enums.GL_DEBUG_OUTPUT)
                    raise

    def _use_incomplete_framebuffer(self) -> None:
        before = self.integer(enums.GL_DRAW_FRAMEBUFFER_BINDING)
        empty = self.new("glGenFramebuffers")
        self.glBindFramebuffer(enums.GL_DRAW_FRAMEBUFFER, empty)
        self.glClear(enums.GL_COLOR_BUFFER_BIT)
        self.glBindFramebuffer(enums.GL_DRAW_FRAMEBUFFER, before)
        self.delete("glDeleteFramebuffers", empty)

    def integer(self, what: int) -> int:
        """glGetIntegerv for one value."""
        self.glGetIntegerv(what, self._address)
        return self._values[0]

    def differing(self, needed: tuple[tuple[int, int], ...]) -> list[tuple[int, int, int]]:
        """
        Return (parameter, needed value, current value) for each parameter that does not have its needed value.

        One method queries all of them, because every frame does this.
        """
        ask, values, address = self.glGetIntegerv, self._values, self._address
        differing = []
        for what, value in needed:
            ask(what, address)
            if values[0] != value:
                differing.append((what, value, values[0]))
        return differing

    def integers(self, what: int) -> tuple[int, int, int, int]:
        """glGetIntegerv for up to four values."""
        self.glGetIntegerv(what, self._address)
        first, second, third, fourth = self._values
        return first, second, third, fourth

    def integer_at(self, what: int, index: int) -> int:
        """glGetIntegeri_v for one value."""
        self.glGetIntegeri_v(what, index, self._address)
        return self._values[0]

    def integers_at(self, what: int, index: int) -> tuple[int, int, int, int]:
        """glGetIntegeri_v for four values."""
        self.glGetIntegeri_v(what, index, self._address)
        first, second, third, fourth = self._values
        return first, second, third, fourth

    def bind_texture(self, kind: int, name: int) -> bool:
        """
        Bind a texture to the active unit.

        Returns:
            Whether the texture is bound now. A texture of another kind is not bound, and raises no GL error.
        """
        with self._without_errors():
            self.glBindTexture(kind, name)
            return self.integer(_BINDINGS[kind]) == name

    def is_texture_of(self, kind: int, name: int) -> bool:
        """Return whether a texture is of a kind, without binding it. Needs :attr:`has_texture_queries`."""
        with self._without_errors():
            self._values[0] = 0  # the query fails for a buffer texture
            return self.texture_parameter(name, enums.GL_TEXTURE_TARGET) == kind

    @contextmanager
    def _without_errors(self) -> Iterator[None]:
        """A GL error of what is done meanwhile is dropped. The pending errors of the host stay pending."""
        errors = self.take_errors()
        try:
            with self.unheard():
                yield
        finally:
            self.take_errors()
            self.put_back_errors(errors)

    def texture_parameter(self, texture: int, what: int) -> int:
        """A parameter of a texture by name; without :attr:`has_texture_queries`, of the texture bound to a target."""
        self._ask_texture(texture, what, self._address)
        return self._values[0]

    def texture_level(self, texture: int, *what: int) -> list[int]:
        """Parameters of level 0 of a texture, given as in :meth:`texture_parameter`. Every frame queries them."""
        ask, values, address = self._ask_level, self._values, self._address
        found = []
        for parameter in what:
            ask(texture, 0, parameter, address)
            found.append(values[0])
        return found

    def long_at(self, what: int, index: int) -> int:
        """glGetInteger64i_v for one value."""
        self.glGetInteger64i_v(what, index, self._long_address)
        return self._long.value

    def buffer_size(self, target: int) -> int:
        """The size in bytes of the buffer that is bound to a target."""
        self.glGetBufferParameteriv(target, enums.GL_BUFFER_SIZE, self._address)
        return self._values[0]

    def current_query(self, target: int) -> int:
        """The query that is active on a target, or 0."""
        self.glGetQueryiv(target, enums.GL_CURRENT_QUERY, self._address)
        return self._values[0]

    def is_linked(self, program: int) -> bool:
        """Whether a program's last link succeeded."""
        self.glGetProgramiv(program, enums.GL_LINK_STATUS, self._address)
        return bool(self._values[0])

    def number(self, what: int) -> float:
        """glGetFloatv for one value."""
        self.glGetFloatv(what, self._numbers_address)
        return self._numbers[0]

    def numbers_at(self, what: int, index: int) -> tuple[float, float, float, float]:
        """glGetFloati_v for four values."""
        self.glGetFloati_v(what, index, self._numbers_address)
        first, second, third, fourth = self._numbers
        return first, second, third, fourth

    def booleans_at(self, what: int, index: int) -> tuple[int, int, int, int]:
        """glGetBooleani_v for four values."""
        self.glGetBooleani_v(what, index, self._bytes_address)
        first, second, third, fourth = self._bytes
        return first, second, third, fourth

    def new(self, generate: str) -> int:
        """Generate a name, by ``glGenBuffers`` or a similar function."""
        name = c_uint()
        getattr(self, generate)(1, ctypes.addressof(name))
        return name.value

    def delete(self, delete: str, name: int) -> None:
        """Delete a name, by ``glDeleteBuffers`` or a similar function."""
        value = c_uint(name)
        getattr(self, delete)(1, ctypes.addressof(value))


def _load(context: CurrentContext, name: str, prototype: Any) -> Any:
    address = context.load_opengl_function(name)
    if not address:
        raise GLUnavailableError(f"the driver has no {name}, which is part of OpenGL 3.3; update the graphics driver")
    return prototype(address)
