"""
Targets: the textures that masks are rendered into and read from, checked by GL queries.
"""

from __future__ import annotations

import ctypes
import operator
from functools import partial
from typing import Any, Final, NamedTuple

import moderngl
import numpy as np
import numpy.typing as npt

from . import enums as e
from .functions import Functions
from .undocumented import is_released

__all__ = ["Attachment", "Target", "find_target"]

_KINDS: Final = {e.GL_TEXTURE_2D: "GL_TEXTURE_2D", e.GL_TEXTURE_2D_ARRAY: "GL_TEXTURE_2D_ARRAY"}
_UNMIPMAPPED: Final = (e.GL_NEAREST, e.GL_LINEAR)


_LOOKED_AT: Final = (e.GL_TEXTURE_WIDTH, e.GL_TEXTURE_HEIGHT, e.GL_TEXTURE_INTERNAL_FORMAT)


class Target(NamedTuple):
    """A texture, or the layers of an array texture, of a context."""

    name: int
    """GL name."""
    kind: int
    """GL_TEXTURE_2D or GL_TEXTURE_2D_ARRAY."""
    width: int
    height: int
    n_layers: int
    """1 for a 2D texture."""
    is_storable: bool = True
    """Whether shaders may store into level 0. Stores into an incomplete texture are lost without an error. A host's
    texture is incomplete if its storage is mutable and has one level, but its filter needs more levels."""

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)``"""
        return self.width, self.height


def find_target(
    gl: Functions, ctx: moderngl.Context, texture: Any, *, is_array: bool, is_stored: bool = False
) -> Target:
    """
    Check a texture and describe it. Before OpenGL 4.5, it is bound to the active unit for that, and stays bound.

    Args:
        gl: the context's functions.
        ctx: the renderer's context.
        texture: a ``moderngl.Texture``, or a ``moderngl.TextureArray`` if `is_array`, of `ctx`; or a GL name.
        is_array: whether an array texture is expected.
        is_stored: whether shaders will store into the texture. If so, it is checked whether they can.

    Raises:
        TypeError: `texture` has another type.
        ValueError: the texture is released, does not exist in the context, is of another kind, or is not R8.
    """
    kind = e.GL_TEXTURE_2D_ARRAY if is_array else e.GL_TEXTURE_2D
    expected = moderngl.TextureArray if is_array else moderngl.Texture
    if isinstance(texture, expected):
        if is_released(texture):
            raise ValueError("texture: the texture is released")
        if texture.ctx is not ctx:
            raise ValueError("texture: the texture belongs to another context than the renderer")
        if samples := getattr(texture, "samples", 0):
            raise ValueError(f"texture: expected R8 without multisampling, found samples={samples}")
        return _described(gl, texture.glo, kind, is_stored, is_wrapped=True)
    if isinstance(texture, (moderngl.Texture, moderngl.TextureArray)):
        hint = "leave `layer` out" if is_array else "say which `layer`"
        raise TypeError(f"texture: expected a moderngl.{expected.__name__}, found {type(texture).__name__}; {hint}")
    try:
        if isinstance(texture, bool):
            raise TypeError
        # Some toolkits give names as ctypes integers.
        name = operator.index(texture.value if isinstance(texture, ctypes._SimpleCData) else texture)
    except TypeError:
        raise TypeError(
            f"texture: expected a moderngl.{expected.__name__} or a GL name (int), found {type(texture).__name__}"
        ) from None
    return _described(gl, name, kind, is_stored, is_wrapped=False)


def _described(gl: Functions, name: int, kind: int, is_stored: bool, *, is_wrapped: bool) -> Target:
    """
    Describe level 0 as GL reports it. A wrapper around a host's texture may hold wrong data, or the texture may be
    deleted.

    A pending error of the host's stays pending.
    """
    if not 0 < name < 1 << 32 or not gl.glIsTexture(name):
        raise ValueError(
            f"texture: {name} is not a texture of the renderer's context (bind it once before its first use)"
        )
    if gl.has_texture_queries:
        texture = name
        if is_wrapped:  # then the texture has a kind that can be asked for
            is_of_kind = gl.texture_parameter(name, e.GL_TEXTURE_TARGET) == kind
        else:
            is_of_kind = gl.is_texture_of(kind, name)
    else:
        texture, is_of_kind = kind, gl.bind_texture(kind, name)
    if not is_of_kind:
        hint = "say which `layer`" if kind == e.GL_TEXTURE_2D else "leave `layer` out for others"
        raise ValueError(f"texture: expected the name of a {_KINDS[kind]}, found that of another kind; {hint}")
    width, height, internal_format = gl.texture_level(texture, *_LOOKED_AT)
    n_layers = 1 if kind == e.GL_TEXTURE_2D else gl.texture_level(texture, e.GL_TEXTURE_DEPTH)[0]
    if not width or not height:
        raise ValueError(f"texture: level 0 of {name} has no storage")
    # An unsized GL_RED is R8 if its component has eight bits.
    is_unsized = internal_format == e.GL_RED and gl.texture_level(texture, e.GL_TEXTURE_RED_SIZE) == [8]
    if internal_format != e.GL_R8 and not is_unsized:
        raise ValueError(
            f"texture: expected R8 (GL_R8; components=1, dtype='f1'), found the internal format {internal_format:#06x}"
        )
    if not is_stored:
        return Target(name, kind, width, height, n_layers)
    parameter = partial(gl.texture_parameter, texture)
    is_complete = parameter(e.GL_TEXTURE_IMMUTABLE_FORMAT) or parameter(e.GL_TEXTURE_MIN_FILTER) in _UNMIPMAPPED
    is_storable = internal_format == e.GL_R8 and is_complete and parameter(e.GL_TEXTURE_BASE_LEVEL) == 0
    return Target(name, kind, width, height, n_layers, bool(is_storable))


class Attachment:
    """
    A framebuffer to which a target is attached while it is drawn to or read.

    The target is attached each time and detached afterwards. A framebuffer that keeps its target would keep a deleted
    texture alive, and would draw into it when the host's next texture gets the same name.

    The context must be current when an attachment is created, used and released. The caller restores the binding.
    """

    def __init__(self, gl: Functions) -> None:
        self._gl = gl
        self._name = gl.new("glGenFramebuffers")
        self._binding = e.GL_DRAW_FRAMEBUFFER

    def attach(self, target: Target, layer: int | None = None, *, binding: int = e.GL_DRAW_FRAMEBUFFER) -> None:
        """
        Bind the framebuffer and attach a target.

        Args:
            target: the target.
            layer: one of an array's layers; None for a 2D texture.
            binding: GL_DRAW_FRAMEBUFFER or GL_READ_FRAMEBUFFER.

        Raises:
            ValueError: GL cannot draw to the target or read from it. Then nothing is attached.
        """
        self._binding = binding
        self.bind()
        self._attach(target, layer)
        if not self.is_complete():
            status = self._gl.glCheckFramebufferStatus(binding)
            self.detach()
            raise ValueError(f"texture: GL cannot draw to it or read from it (framebuffer status {status:#06x})")

    def attach_own(self, target: Target) -> None:
        """Bind the framebuffer for drawing and attach a 2D texture of the renderer's own, without a check."""
        self._binding = e.GL_DRAW_FRAMEBUFFER
        self.bind()
        self._attach(target, None)

    def read(self, target: Target, layer: int | None, out: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Read a target or one of its layers into a C-contiguous array of its size, inside a Reading guard."""
        self.attach(target, layer, binding=e.GL_READ_FRAMEBUFFER)
        try:
            self._gl.glReadPixels(0, 0, *target.size, e.GL_RED, e.GL_UNSIGNED_BYTE, out.ctypes.data)
        finally:
            self.detach()
        return out

    def is_complete(self) -> bool:
        """Return whether GL can draw to the attached texture. It cannot if there was no memory for it."""
        return bool(self._gl.glCheckFramebufferStatus(self._binding) == e.GL_FRAMEBUFFER_COMPLETE)

    def bind(self) -> None:
        """Bind the framebuffer again, with its attached texture."""
        self._gl.glBindFramebuffer(self._binding, self._name)

    def detach(self) -> None:
        """Detach the target. The framebuffer must still be bound."""
        self._gl.glFramebufferTexture2D(self._binding, e.GL_COLOR_ATTACHMENT0, e.GL_TEXTURE_2D, 0, 0)

    def release(self) -> None:
        """Delete the framebuffer."""
        self._gl.delete("glDeleteFramebuffers", self._name)

    def _attach(self, target: Target, layer: int | None) -> None:
        gl = self._gl
        if layer is None:
            gl.glFramebufferTexture2D(self._binding, e.GL_COLOR_ATTACHMENT0, target.kind, target.name, 0)
        else:
            gl.glFramebufferTextureLayer(self._binding, e.GL_COLOR_ATTACHMENT0, target.name, 0, layer)
