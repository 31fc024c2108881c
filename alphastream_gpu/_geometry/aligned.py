"""
Aligned: arrays at addresses that C hosts may rely on, in memory that is used again.

Strategy
--------
A new mask of 2 MB is 512 pages that the system clears and maps one by one, which takes longer than the mask itself. So
the memory of an array that is dropped is kept for the next one of its size, up to a bound. It comes from the system
directly, and not from ``malloc``: freeing a large block there makes glibc keep more memory for the whole process, which
is the host's to decide.

An array's base is a *loan*: an array over the memory, known by a weak reference. numpy lets every view hold the loan,
so when the reference ends, nobody can reach the memory any more.

The collector may end a loan on any thread, also on one that is lending or taking back. So nobody waits for the lock:
who does not get it takes new memory, or gives the memory to the system.
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
"""Bytes; a cache line, and the widest vector registers. Masks and strips are handed to C hosts where they lie."""
_SMALLEST: Final = 1 << 16
"""Bytes from which on memory is kept. What is smaller, ``malloc`` keeps by itself."""
_STEP: Final = 1 << 16
"""Sizes are rounded up to multiples of this, so that similar arrays use the same memory."""
_IS_CHECKED: Final = os.environ.get("PYTHONMALLOC", "").startswith("malloc")
"""Python is told to take all memory from ``malloc``, for a tool that checks memory. It must also see masks freed."""
_MAX_KEPT: Final = 1 << 25
"""Bytes of unused memory that are kept, 32 MiB: sixteen masks of 2048 x 1024."""


def aligned_empty(shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8) -> npt.NDArray[Any]:
    """An array that begins at a multiple of :data:`ALIGNMENT`, which numpy's own do not; also one without elements."""
    n_bytes = prod(shape) * np.dtype(dtype).itemsize
    if n_bytes >= _SMALLEST and not _IS_CHECKED:
        return np.ndarray(shape, dtype, _memory.lend(n_bytes))
    raw = np.empty(n_bytes + ALIGNMENT, np.uint8)
    return np.ndarray(shape, dtype, raw, -raw.ctypes.data % ALIGNMENT)


def aligned_zeros(shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8) -> npt.NDArray[Any]:
    """Likewise, of zeros."""
    array = aligned_empty(shape, dtype)
    array.fill(0)
    return array


def read_only_copy(array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """
    A copy to hand out, aligned, whose original nobody else can reach.

    numpy refuses to make it writable, since its buffer is read-only. A flag on the original would not be enough: other
    libraries that are given an array's memory (DLPack, ``torch.from_numpy``) write to it in spite of the flag.
    """
    copy = aligned_empty(array.shape, array.dtype)
    np.copyto(copy, array)
    return np.asarray(copy.data.toreadonly())


class _Loan(weakref.ref[npt.NDArray[np.uint8]]):
    """Knows an array that memory was lent to, and the memory."""

    __slots__ = ("memory",)

    memory: mmap.mmap


class _Memory:
    """
    Memory that was lent and came back.

    Args:
        max_kept: bytes that are kept at most.
    """

    def __init__(self, max_kept: int = _MAX_KEPT) -> None:
        self._max_kept = max_kept
        self._lock = threading.Lock()
        self._kept: list[mmap.mmap] = []
        """The oldest first."""
        self.n_kept = 0
        """Their bytes."""
        self._lent: dict[int, _Loan] = {}
        """By their ids; a weak reference that is itself collected would not tell."""

    def lend(self, n_bytes: int) -> npt.NDArray[np.uint8]:
        """An array over memory of at least so many bytes, which comes back when the array and its views are gone."""
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
            for place in range(len(self._kept) - 1, -1, -1):  # the last may still be in the processor's cache
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
        # By default it would be shared: a forked child would draw into its parent's masks.
        return mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, n_bytes)


_memory = _Memory()


def _begin_anew_after_fork() -> None:
    """Another thread of the parent may have been lending. What the child has from its parent goes to the system."""
    global _memory  # noqa: PLW0603 - one per process is the point
    _memory = _Memory()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_after_fork)
