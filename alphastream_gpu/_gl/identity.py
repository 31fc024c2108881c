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
from collections.abc import Callable
from typing import Final

from . import enums as e
from .functions import Functions
from .loader import CurrentContext

__all__ = ["Identity"]

_WORDS: Final = 2
"""Random numbers of 31 bits; OpenGL 3.3 has attributes for 16."""


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
        self._divisors = [1 + secrets.randbelow((1 << 31) - 1) for _ in range(_WORDS)]
        self._array = gl.new("glGenVertexArrays")
        before = gl.integer(e.GL_VERTEX_ARRAY_BINDING)
        gl.glBindVertexArray(self._array)
        for attribute, divisor in enumerate(self._divisors):
            gl.glVertexAttribDivisor(attribute, divisor)
        gl.glBindVertexArray(before)

    def is_current(self) -> bool:
        """Whether GL calls of this thread go to this very context."""
        gl = self.gl
        if not self.current.is_current() or not gl.glIsVertexArray(self._array):
            return False
        if gl.glGetVertexArrayIndexediv is not None:
            return self._has_divisors(gl.glGetVertexArrayIndexediv, self._array)
        before = gl.integer(e.GL_VERTEX_ARRAY_BINDING)
        gl.glBindVertexArray(self._array)
        is_same = self._has_divisors(gl.glGetVertexAttribiv)
        gl.glBindVertexArray(before)
        return is_same

    def _has_divisors(self, ask: Callable[..., None], *array: int) -> bool:
        for attribute, divisor in enumerate(self._divisors):
            ask(*array, attribute, e.GL_VERTEX_ATTRIB_ARRAY_DIVISOR, self._address)
            if self._found.value != divisor:
                return False
        return True
