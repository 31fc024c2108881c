"""
Targets: what masks are drawn into and read from, checked against what GL itself says of it.
"""

from __future__ import annotations

import ctypes
import operator
from typing import Any, Final, NamedTuple

import moderngl

from . import enums as e
from .functions import Functions

__all__ = ["Attachment", "Target", "find_target"]

_KINDS: Final = {e.GL_TEXTURE_2D: "GL_TEXTURE_2D", e.GL_TEXTURE_2D_ARRAY: "GL_TEXTURE_2D_ARRAY"}


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

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)``"""
        return self.width, self.height


def find_target(gl: Functions, ctx: moderngl.Context, texture: Any, *, is_array: bool) -> Target:
    """
    Look at a texture, which is bound to the active unit for that and stays bound.

    Args:
        gl: the context's functions.
        ctx: the renderer's context.
        texture: a ``moderngl.Texture``, or a ``moderngl.TextureArray`` if `is_array`, of `ctx`; or a GL name.
        is_array: whether an array texture is expected.

    Raises:
        TypeError: another type of object.
        ValueError: released, of another context, no texture, or one of another kind.
    """
    kind = e.GL_TEXTURE_2D_ARRAY if is_array else e.GL_TEXTURE_2D
    expected = moderngl.TextureArray if is_array else moderngl.Texture
    if isinstance(texture, expected):
        if type(texture.mglo).__name__ == "InvalidObject":
            raise ValueError("texture: it is released")
        if texture.ctx is not ctx:
            raise ValueError("texture: it belongs to another context than the renderer")
        if samples := getattr(texture, "samples", 0):
            raise ValueError(f"texture: expected R8 without multisampling, found samples={samples}")
        return _described(gl, texture.glo, kind)
    if isinstance(texture, (moderngl.Texture, moderngl.TextureArray)):
        hint = "leave `layer` out" if is_array else "say which `layer`"
        raise TypeError(f"texture: expected a moderngl.{expected.__name__}, found {type(texture).__name__}; {hint}")
    try:
        if isinstance(texture, bool):
            raise TypeError
        name = operator.index(texture)
    except TypeError:
        raise TypeError(
            f"texture: expected a moderngl.{expected.__name__} or a GL name (int), found {type(texture).__name__}"
        ) from None
    return _described(gl, name, kind)


def _check_name(gl: Functions, name: int, kind: int) -> None:
    """Whether a name is a texture's of that kind; moderngl's wrappers, too, may stand for what a host has deleted."""
    if not 0 < name < 1 << 32 or not gl.glIsTexture(name):
        raise ValueError(f"texture: {name} is no texture of the renderer's context (bind it once before its first use)")
    errors = gl.take_errors()
    if gl.glGetTextureParameteriv is not None and not gl.is_compatibility:  # there Mesa does not tell
        found = ctypes.c_int()
        gl.glGetTextureParameteriv(name, e.GL_TEXTURE_TARGET, ctypes.addressof(found))
        is_right = found.value == kind
    else:
        gl.glBindTexture(kind, name)
        is_right = not gl.take_errors()
    gl.take_errors()
    gl.put_back_errors(errors)
    if not is_right:
        hint = "say which `layer`" if kind == e.GL_TEXTURE_2D else "leave `layer` out for others"
        raise ValueError(f"texture: expected the name of a {_KINDS[kind]}, found that of another kind; {hint}")


def _described(gl: Functions, name: int, kind: int) -> Target:
    """The size of level 0, from GL: what a wrapper around a host's texture says of it may be wrong."""
    _check_name(gl, name, kind)
    value = ctypes.c_int()
    address = ctypes.addressof(value)
    sizes = []
    gl.glBindTexture(kind, name)
    for what in (e.GL_TEXTURE_WIDTH, e.GL_TEXTURE_HEIGHT, e.GL_TEXTURE_DEPTH):
        gl.glGetTexLevelParameteriv(kind, 0, what, address)
        sizes.append(value.value)
    if not all(sizes):
        raise ValueError(f"texture: level 0 of {name} has no storage")
    return Target(name, kind, *sizes)


class Attachment:
    """
    A framebuffer that takes a target for as long as it is drawn to or read.

    The target is attached anew each time and detached afterwards. To keep a framebuffer for each target would keep
    deleted textures alive, and draw into them when a host's next texture gets the same name.

    Must be made, used and released with the context current; the caller restores the binding.
    """

    def __init__(self, gl: Functions) -> None:
        self._gl = gl
        self._name = gl.new("glGenFramebuffers")
        self._binding = e.GL_DRAW_FRAMEBUFFER

    def attach(self, target: Target, layer: int | None = None, *, binding: int = e.GL_DRAW_FRAMEBUFFER) -> None:
        """
        Bind the framebuffer with a target in it.

        Args:
            target: the target.
            layer: one of an array's layers; None for a 2D texture, or for all layers at once.
            binding: GL_DRAW_FRAMEBUFFER or GL_READ_FRAMEBUFFER.

        Raises:
            ValueError: GL cannot draw to it, or it is not R8; nothing is attached.
        """
        gl = self._gl
        self._binding = binding
        self.bind()
        self._attach(target, layer)
        status = gl.glCheckFramebufferStatus(binding)
        if status != e.GL_FRAMEBUFFER_COMPLETE:
            self.detach()
            raise ValueError(f"texture: GL cannot draw to it (framebuffer status {status:#06x}); expected R8")
        red, green, component_type = (
            self._parameter(what)
            for what in (
                e.GL_FRAMEBUFFER_ATTACHMENT_RED_SIZE,
                e.GL_FRAMEBUFFER_ATTACHMENT_GREEN_SIZE,
                e.GL_FRAMEBUFFER_ATTACHMENT_COMPONENT_TYPE,
            )
        )
        if (red, green, component_type) != (8, 0, e.GL_UNSIGNED_NORMALIZED):
            self.detach()
            raise ValueError(
                f"texture: expected R8 without multisampling (GL_R8; components=1, dtype='f1'), found {red} bits"
                f" of red, {green} of green, component type {component_type:#06x}"
            )

    def attach_own(self, target: Target) -> None:
        """Bind the framebuffer for drawing with a texture of the renderer's own in it, all layers, without checks."""
        self._binding = e.GL_DRAW_FRAMEBUFFER
        self.bind()
        self._attach(target, None)

    def is_complete(self) -> bool:
        """Whether GL can draw to what is attached; not so when there was no memory for it."""
        return bool(self._gl.glCheckFramebufferStatus(self._binding) == e.GL_FRAMEBUFFER_COMPLETE)

    def bind(self) -> None:
        """Bind the framebuffer again, with what is attached."""
        self._gl.glBindFramebuffer(self._binding, self._name)

    def switch(self, target: Target, layer: int | None) -> None:
        """Attach another layer, or all, of a target that was checked, while bound."""
        self._attach(target, layer)

    def detach(self) -> None:
        """Forget the target. The framebuffer must still be bound."""
        self._gl.glFramebufferTexture2D(self._binding, e.GL_COLOR_ATTACHMENT0, e.GL_TEXTURE_2D, 0, 0)

    def release(self) -> None:
        """Delete the framebuffer."""
        self._gl.delete("glDeleteFramebuffers", self._name)

    def _attach(self, target: Target, layer: int | None) -> None:
        gl = self._gl
        if target.kind == e.GL_TEXTURE_2D:
            gl.glFramebufferTexture2D(self._binding, e.GL_COLOR_ATTACHMENT0, target.kind, target.name, 0)
        elif layer is None:
            gl.glFramebufferTexture(self._binding, e.GL_COLOR_ATTACHMENT0, target.name, 0)
        else:
            gl.glFramebufferTextureLayer(self._binding, e.GL_COLOR_ATTACHMENT0, target.name, 0, layer)

    def _parameter(self, what: int) -> int:
        value = ctypes.c_int()
        self._gl.glGetFramebufferAttachmentParameteriv(
            self._binding, e.GL_COLOR_ATTACHMENT0, what, ctypes.addressof(value)
        )
        return value.value
