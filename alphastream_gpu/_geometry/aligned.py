"""
Aligned: allocates arrays at aligned addresses, which C hosts need, and reuses their memory.

Strategy
--------
A new mask of 2 MB consists of 512 pages. The system clears and maps them one by one, which takes longer than making the
mask. So the memory of a dropped array is kept for the next array of its size, up to a bound. The memory comes directly
from the system and not from ``malloc``: after a large block is freed, glibc keeps more memory for the whole process,
and that is a decision of the host.

The base of an array is a *loan*: another array over the memory, which a weak reference tracks. In numpy, every view of
an array holds a reference to its base. So when the weak reference dies, no code can reach the memory any more.

The garbage collector may end a loan on any thread, also on a thread that is inside ``lend`` or ``_take_back``. So no
code waits for the lock. If the lock is taken, ``lend`` takes new memory, and ``_take_back`` returns the memory to the
system.
"""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from math import prod
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["ALIGNMENT", "aligned_empty", "aligned_zeros", "read_only_copy"]

Scalar = TypeVar("Scalar", bound=np.generic)

ALIGNMENT: Final = 64
"""Bytes: the size of a cache line and of the widest vector registers. C hosts get the addresses of masks and strips."""
_SMALLEST: Final = 1 << 16
"""Bytes: the memory of smaller arrays comes from ``malloc``, which keeps it by itself."""
_STEP: Final = 1 << 16
"""Bytes: sizes are rounded up to multiples of this, so that arrays of similar sizes can use the same memory."""
_IS_CHECKED: Final = os.environ.get("PYTHONMALLOC", "").startswith("malloc")
"""Whether Python takes all memory from ``malloc``, for a tool that checks memory, which must also see masks freed."""
_MAX_KEPT: Final = 1 << 25
"""Most bytes of unused memory that are kept, 32 MiB: sixteen masks of 2048 x 1024."""


def aligned_empty(shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8) -> npt.NDArray[Any]:
    """Like ``numpy.empty``, but the address is a multiple of :data:`ALIGNMENT`, also for an array without elements."""
    n_bytes = prod(shape) * np.dtype(dtype).itemsize
    if n_bytes >= _SMALLEST and not _IS_CHECKED:
        return np.ndarray(shape, dtype, _memory.lend(n_bytes))
    raw = np.empty(n_bytes + ALIGNMENT, np.uint8)
    return np.ndarray(shape, dtype, raw, -raw.ctypes.data % ALIGNMENT)


def aligned_zeros(shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8) -> npt.NDArray[Any]:
    """Like :func:`aligned_empty`, but filled with zeros."""
    array = aligned_empty(shape, dtype)
    array.fill(0)
    return array


def read_only_copy(array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """
    Make an aligned copy for callers that no code can write to.

    numpy refuses to make the copy writable, because its buffer is read-only. numpy's flag on the array itself would not
    be enough: other libraries (DLPack, ``torch.from_numpy``) write to the memory of an array in spite of its flag.
    """
    copy = aligned_empty(array.shape, array.dtype)
    np.copyto(copy, array)
    return np.asarray(copy.data.toreadonly())


class _Loan(weakref.ref[npt.NDArray[np.uint8]]):
    """A weak reference to an array over lent memory, with a strong reference to the memory."""

    __slots__ = ("memory",)

    memory: mmap.mmap


class _Memory:
    """
    Memory that was lent and is kept for reuse.

    Args:
        max_kept: most bytes that are kept.
    """

    def __init__(self, max_kept: int = _MAX_KEPT) -> None:
        self._max_kept = max_kept
        self._lock = threading.Lock()
        self._kept: list[mmap.mmap] = []
        """The memory that is kept, the oldest first."""
        self.n_kept = 0
        """The number of bytes that are kept."""
        self._lent: dict[int, _Loan] = {}
        """The loans by their ids. A weak reference that is itself collected would not call its callback."""

    def lend(self, n_bytes: int) -> npt.NDArray[np.uint8]:
        """An array over at least `n_bytes` bytes. When the array and its views are gone, its memory is kept for
        reuse."""
        n_bytes = -(-n_bytes // _STEP) * _STEP
        memory = self._take(n_bytes) or _from_system(n_bytes)
        array = np.frombuffer(memory, np.uint8)
        loan = _Loan(array, self._take_back)
        loan.memory = memory
        self._lent[id(loan)] = loan
        return array

    def _take(self, n_bytes: int) -> mmap.mmap | None:
        if not self._lock.acquire(blocking=False):
            return None
        try:
            for place in range(len(self._kept) - 1, -1, -1):  # the newest may still be in the processor's cache
                if len(self._kept[place]) == n_bytes:
                    self.n_kept -= n_bytes
                    return self._kept.pop(place)
            return None
        finally:
            self._lock.release()

    def _take_back(self, loan: weakref.ref[Any]) -> None:
        assert isinstance(loan, _Loan)
        self._lent.pop(id(loan), None)
        n_bytes = len(loan.memory)
        if n_bytes > self._max_kept or not self._lock.acquire(blocking=False):
            return
        try:
            self._kept.append(loan.memory)
            self.n_kept += n_bytes
            while self.n_kept > self._max_kept:
                self.n_kept -= len(self._kept.pop(0))
        finally:
            self._lock.release()


def _from_system(n_bytes: int) -> mmap.mmap:
    if hasattr(mmap, "MAP_PRIVATE"):
        # The default is shared memory, in which a forked child would draw into its parent's masks.
        return mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, n_bytes)


_memory = _Memory()


def _begin_anew_after_fork() -> None:
    """Start with no kept memory: another thread of the parent may have held the lock during the fork."""
    global _memory  # noqa: PLW0603 - there is one per process
    _memory = _Memory()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_after_fork)
