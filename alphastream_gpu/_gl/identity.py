"""
Identity: which OpenGL context this is, told by an object that was made in it.

An address does not tell: when a context is destroyed, the next one often gets its address. Nor do names, because a new
context gives the same ones again. So a vertex array object is made in a context, with random numbers for its
attributes' divisors. Vertex arrays are not shared between contexts and die with theirs, and nobody ever draws with this
one. Asking changes nothing and raises no GL error, whatever context is current.
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
    A context that is current on this thread now, to be known again.

    The vertex array is never deleted: it is the context's own, and ends with it.

    Args:
        current: the context, as its windowing interface knows it.

    Raises:
        GLUnavailableError: it is no desktop OpenGL of 3.3 or newer.
    """

    def __init__(self, current: CurrentContext) -> None:
        self.current = current
        gl = self.gl = Functions(current)
        """The context's functions."""
        self.exact_methods: set[str] = set()
        """The methods of rendering that passed the self-check here."""
        self._found = ctypes.c_int()
        self._address = ctypes.addressof(self._found)
        self._divisor = 1 + secrets.randbelow((1 << 31) - 1)
        """Of attribute 0. By chance, one in two thousand million contexts would be taken for another at its address."""
        self._array = gl.new("glGenVertexArrays")
        before = gl.integer(e.GL_VERTEX_ARRAY_BINDING)
        gl.glBindVertexArray(self._array)
        gl.glVertexAttribDivisor(0, self._divisor)
        gl.glBindVertexArray(before)

    def is_current(self) -> bool:
        """Whether GL calls of this thread go to this very context."""
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
