"""
Identity: recognizes an OpenGL context by an object that was created in it.

An address does not identify a context: after a context is destroyed, the next one often gets its address. Object names
do not either, because a new context generates the same names again. So a vertex array object is created in the context,
with a random divisor of attribute 0. Vertex arrays are not shared between contexts, and are destroyed with their
context. Nothing is ever drawn with this one. The check changes no state and raises no GL error, whatever context is
current.
"""

from __future__ import annotations

import ctypes
import secrets

from . import enums as e
from .functions import Functions
from .loader import CurrentContext

__all__ = ["Identity"]


class Identity:
    """
    A context that is current on this thread now, and that can be recognized later.

    The vertex array is never deleted: it belongs to the context, and is destroyed with it.

    Args:
        current: the context, as its windowing interface knows it.

    Raises:
        GLUnavailableError: the context is not desktop OpenGL 3.3 or newer.
    """

    def __init__(self, current: CurrentContext) -> None:
        self.current = current
        gl = self.gl = Functions(current)
        """The context's functions."""
        self.exact_methods: set[str] = set()
        """The rendering methods that passed the self-check in this context."""
        self._found = ctypes.c_int()
        self._address = ctypes.addressof(self._found)
        self._divisor = 1 + secrets.randbelow((1 << 31) - 1)
        """Divisor of attribute 0. Another context at the same address has it by chance once in two thousand million."""
        self._array = gl.new("glGenVertexArrays")
        before = gl.integer(e.GL_VERTEX_ARRAY_BINDING)
        gl.glBindVertexArray(self._array)
        gl.glVertexAttribDivisor(0, self._divisor)
        gl.glBindVertexArray(before)

    def is_current(self) -> bool:
        """Return whether GL calls of this thread go to this context."""
        gl = self.gl
        if not self.current.is_current() or not gl.glIsVertexArray(self._array):
            return False
        if gl.glGetVertexArrayIndexediv is not None:
            gl.glGetVertexArrayIndexediv(self._array, 0, e.GL_VERTEX_ATTRIB_ARRAY_DIVISOR, self._address)
        else:
            before = gl.integer(e.GL_VERTEX_ARRAY_BINDING)
            gl.glBindVertexArray(self._array)
            gl.glGetVertexAttribiv(0, e.GL_VERTEX_ATTRIB_ARRAY_DIVISOR, self._address)
            gl.glBindVertexArray(before)
        return self._found.value == self._divisor
