"""
Readback: pixel buffers that pixels are copied into on the GPU's time and fetched from later.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import enums as e
from .functions import Functions

__all__ = ["Ring", "Slot"]


class Slot(NamedTuple):
    """A pixel buffer in use."""

    name: int
    width: int
    height: int


class Ring:
    """
    Pixel buffers, reused in turn. Everything but :meth:`give` happens inside :class:`~.guest.Reading`, with the context
    current.
    """

    def __init__(self, gl: Functions) -> None:
        self._gl = gl
        self._free: list[int] = []
        self._sizes: dict[int, int] = {}

    @property
    def n_buffers(self) -> int:
        """How many buffers there are."""
        return len(self._sizes)

    def copy(self, width: int, height: int) -> Slot:
        """Begin to copy the read framebuffer's pixels; returns at once."""
        gl = self._gl
        name = self._free.pop() if self._free else gl.new("glGenBuffers")
        gl.glBindBuffer(e.GL_PIXEL_PACK_BUFFER, name)
        if self._sizes.get(name) != width * height:
            gl.glBufferData(e.GL_PIXEL_PACK_BUFFER, width * height, None, e.GL_STREAM_READ)
            self._sizes[name] = width * height
        gl.glReadPixels(0, 0, width, height, e.GL_RED, e.GL_UNSIGNED_BYTE, None)
        return Slot(name, width, height)

    def fetch(self, slot: Slot) -> npt.NDArray[np.uint8]:
        """The pixels, uint8 (height, width), once they are there; the slot is still to be given back."""
        mask = np.empty((slot.height, slot.width), np.uint8)
        self._gl.glBindBuffer(e.GL_PIXEL_PACK_BUFFER, slot.name)
        self._gl.glGetBufferSubData(e.GL_PIXEL_PACK_BUFFER, 0, mask.nbytes, mask.ctypes.data)
        return mask

    def give(self, slot: Slot) -> None:
        """Let a slot's buffer be used again. Calls no GL: an iterator may be dropped anywhere."""
        self._free.append(slot.name)

    def release(self) -> None:
        """Delete the buffers."""
        for name in self._sizes:
            self._gl.delete("glDeleteBuffers", name)
        self._sizes.clear()
        self._free.clear()
