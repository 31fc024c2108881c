"""
Readback: pixel buffers, into which the GPU copies pixels, and from which the CPU fetches them later.

From OpenGL 4.4 on, the buffers stay mapped. Then a fetch waits for a fence and copies memory, and touches no state of
the context. Before 4.4, a fetch is a GL call that waits and copies.
"""

from __future__ import annotations

import ctypes
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from .._exceptions import GLUnavailableError
from . import enums as e
from .functions import Functions

__all__ = ["Ring", "Slot"]

_MAPPED: Final = e.GL_MAP_READ_BIT | e.GL_MAP_PERSISTENT_BIT | e.GL_MAP_COHERENT_BIT
MAX_FREE: Final = 6
"""Most free buffers that are kept for frames of their sizes: two rings."""
_PATIENCE_NS: Final = 10**9
"""Timeout of one wait for the GPU, in nanoseconds. After it, the next wait begins."""
_SIGNALLED: Final = (0x911A, 0x911C)
"""GL_ALREADY_SIGNALED, GL_CONDITION_SATISFIED."""
_WAIT_FAILED: Final = 0x911D


class _Buffer(NamedTuple):
    """A pixel buffer."""

    name: int
    n_bytes: int
    mapped: npt.NDArray[np.uint8] | None
    """The buffer's memory, if it is mapped."""


class Slot(NamedTuple):
    """A pixel buffer in use."""

    buffer: _Buffer
    width: int
    height: int
    fence: int | None


class Ring:
    """
    Pixel buffers, reused in turn.

    Args:
        gl: the context's functions. The context must be current in every call except :meth:`give`.
        reading: the guard to read within.
    """

    def __init__(self, gl: Functions, reading: AbstractContextManager[None]) -> None:
        self._gl = gl
        self._reading = reading
        self._free: list[_Buffer] = []
        self._all: dict[int, _Buffer] = {}
        self._fences: set[int] = set()
        """Fences that are not deleted yet."""
        self._passed: list[int] = []
        """Fences of slots that were given back."""
        self.n_made = 0
        """Buffers created so far."""

    def copy(self, width: int, height: int) -> Slot:
        """Start to copy the read framebuffer's pixels, within the guard. Returns at once."""
        gl = self._gl
        self._delete_fences()
        n_bytes = width * height
        buffer = next((one for one in self._free if one.n_bytes == n_bytes), None)
        if buffer is not None:
            self._free.remove(buffer)
            gl.glBindBuffer(e.GL_PIXEL_PACK_BUFFER, buffer.name)
        else:
            if len(self._free) >= MAX_FREE:
                self._delete(self._free.pop(0))
            buffer = self._make(n_bytes)
        gl.glReadPixels(0, 0, width, height, e.GL_RED, e.GL_UNSIGNED_BYTE, None)
        fence = None
        if buffer.mapped is not None:
            fence = gl.glFenceSync(e.GL_SYNC_GPU_COMMANDS_COMPLETE, 0)
            self._fences.add(fence)
        return Slot(buffer, width, height, fence)

    def fetch(self, slot: Slot, out: npt.NDArray[np.uint8]) -> None:
        """Wait for the pixels and write them into a C-contiguous array. The slot must still be given back."""
        gl = self._gl
        if slot.buffer.mapped is not None:
            self._wait(slot.fence)
            np.copyto(out.reshape(-1), slot.buffer.mapped)
            return
        with self._reading:
            gl.glBindBuffer(e.GL_PIXEL_PACK_BUFFER, slot.buffer.name)
            gl.glGetBufferSubData(e.GL_PIXEL_PACK_BUFFER, 0, out.nbytes, out.ctypes.data)

    def give(self, slot: Slot) -> None:
        """Make a slot's buffer available again. Calls no GL, because an iterator may be dropped anywhere."""
        self._free.append(slot.buffer)
        if slot.fence is not None:
            self._passed.append(slot.fence)

    def release(self) -> None:
        """Delete the buffers."""
        self._passed = list(self._fences)  # also those of slots in use
        self._delete_fences()
        for buffer in list(self._all.values()):
            self._delete(buffer)
        self._free.clear()

    def _make(self, n_bytes: int) -> _Buffer:
        """Create a buffer and bind it."""
        gl = self._gl
        name = gl.new("glGenBuffers")
        gl.glBindBuffer(e.GL_PIXEL_PACK_BUFFER, name)
        mapped = None
        if gl.glBufferStorage is not None:
            gl.glBufferStorage(e.GL_PIXEL_PACK_BUFFER, n_bytes, None, _MAPPED)
            address = gl.glMapBufferRange(e.GL_PIXEL_PACK_BUFFER, 0, n_bytes, _MAPPED)
            if not address:
                gl.delete("glDeleteBuffers", name)
                raise GLUnavailableError(f"the driver {gl.driver} has no memory for a pixel buffer of {n_bytes} bytes")
            memory: Any = (ctypes.c_ubyte * n_bytes).from_address(address)
            mapped = np.frombuffer(memory, np.uint8)
        else:
            gl.glBufferData(e.GL_PIXEL_PACK_BUFFER, n_bytes, None, e.GL_STREAM_READ)
        self.n_made += 1
        buffer = self._all[name] = _Buffer(name, n_bytes, mapped)
        return buffer

    def _delete(self, buffer: _Buffer) -> None:
        del self._all[buffer.name]
        self._gl.delete("glDeleteBuffers", buffer.name)  # also unmaps it

    def _wait(self, fence: int | None) -> None:
        """Wait until the GPU has copied. Other Python threads run meanwhile."""
        while True:
            answer = self._gl.glClientWaitSync(fence, e.GL_SYNC_FLUSH_COMMANDS_BIT, _PATIENCE_NS)
            if answer in _SIGNALLED:
                return
            if answer == _WAIT_FAILED:
                raise GLUnavailableError(f"the driver {self._gl.driver} lost a frame that was being read back")

    def _delete_fences(self) -> None:
        while self._passed:
            fence = self._passed.pop()
            if fence in self._fences:
                self._fences.remove(fence)
                self._gl.glDeleteSync(fence)
