"""
Counts the memory that numpy takes for arrays: how often and how much, whether it is freed at once or not.

numpy asks the *data memory handler* of the context (NEP 49), which may be replaced: here by one that counts, and asks
the one before. tracemalloc tells only what is held at a time, and so misses what comes and goes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np

__all__ = ["Allocated", "allocated"]

_SET_HANDLER: Final = 304
_GET_HANDLER: Final = 305
"""Places of PyDataMem_SetHandler and -GetHandler in the table of functions that extensions are compiled against. They
are part of numpy's binary interface, and stay."""
_CAPSULE: Final = ctypes.create_string_buffer(b"mem_handler")
"""A capsule keeps the address of its name."""

_size, _pointer = ctypes.c_size_t, ctypes.c_void_p
_Malloc = ctypes.PYFUNCTYPE(_pointer, _pointer, _size)
_Calloc = ctypes.PYFUNCTYPE(_pointer, _pointer, _size, _size)
_Realloc = ctypes.PYFUNCTYPE(_pointer, _pointer, _pointer, _size)


class _Handler(ctypes.Structure):
    """PyDataMem_Handler."""

    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("ctx", _pointer),
        ("malloc", _Malloc),
        ("calloc", _Calloc),
        ("realloc", _Realloc),
        ("free", _pointer),  # never called from here, and kept as it is: arrays are freed when Python is gone, too
    )


class Allocated(NamedTuple):
    """What some work took."""

    arrays: int
    n_bytes: int


class _Counter:
    """The handler that counts. Arrays need the one that made them until they are freed, so it stays for ever."""

    def __init__(self) -> None:
        self.arrays = self.n_bytes = 0
        get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
        get_pointer.restype, get_pointer.argtypes = _pointer, (ctypes.py_object, ctypes.c_char_p)
        table = (_pointer * (_GET_HANDLER + 1)).from_address(get_pointer(np._core._multiarray_umath._ARRAY_API, None))
        self.set = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[_SET_HANDLER])
        self._before = ctypes.PYFUNCTYPE(ctypes.py_object)(table[_GET_HANDLER])()
        numpys = _Handler.from_address(get_pointer(self._before, _CAPSULE))

        def malloc(ctx: Any, size: int) -> Any:
            self._note(size)
            return numpys.malloc(ctx, size)

        def calloc(ctx: Any, count: int, size: int) -> Any:
            self._note(count * size)
            return numpys.calloc(ctx, count, size)

        def realloc(ctx: Any, old: Any, size: int) -> Any:
            self._note(size)
            return numpys.realloc(ctx, old, size)

        self._handler = _Handler(
            b"counting", 1, numpys.ctx, _Malloc(malloc), _Calloc(calloc), _Realloc(realloc), numpys.free
        )
        new_capsule = ctypes.pythonapi.PyCapsule_New
        new_capsule.restype, new_capsule.argtypes = ctypes.py_object, (_pointer, ctypes.c_char_p, _pointer)
        self.capsule = new_capsule(ctypes.addressof(self._handler), _CAPSULE, None)
        for needed in (self._handler, _CAPSULE):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(needed))

    def _note(self, n_bytes: int) -> None:
        self.arrays += 1
        self.n_bytes += n_bytes


_counter = cache(_Counter)


def allocated(work: Callable[[], object]) -> Allocated:
    """Count while `work` is done, on this thread."""
    counter = _counter()
    before = counter.set(counter.capsule)
    counter.arrays = counter.n_bytes = 0
    try:
        work()
        return Allocated(counter.arrays, counter.n_bytes)
    finally:
        counter.set(before)
