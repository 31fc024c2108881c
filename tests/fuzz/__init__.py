"""
Fuzz targets. Each module has `check(data)`, which holds a whole invariant and raises AssertionError where it is broken.

``run.py`` feeds them from atheris, which looks for inputs that take new paths; ``test_fuzz_corpus.py`` replays the
inputs that are kept in ``corpus/``, with pytest alone. So a target uses neither.
"""

from __future__ import annotations

import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from functools import cache
from typing import TypeVar

__all__ = ["CORPUS", "TARGETS", "Feed", "stop_measuring", "within_memory"]

TARGETS = ("container", "payload", "http_reply", "capi")

CORPUS = "corpus"
"""The folder beside this file with one folder of inputs a target."""

_MEASURED_OF = 16

T = TypeVar("T")


class Feed:
    """Numbers and bytes taken from an input, in order; zeros after its end, so that every input means something."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        """Whether there is anything left."""
        return self._at < len(self._data)

    def take(self, n_bytes: int) -> bytes:
        """The next bytes; fewer at the end."""
        part = self._data[self._at : self._at + n_bytes]
        self._at += n_bytes
        return part

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))

    def number(self, n_bytes: int = 1) -> int:
        """The next little-endian number."""
        return int.from_bytes(self.take(n_bytes), "little")


def within_memory(run: Callable[[], T], data: bytes, limit: int, *, always: bool) -> T:
    """
    What `run` returns or raises; asserts that it takes no more than `limit` bytes at a time.

    Args:
        run: may be called twice. The interpreter's own tables grow by megabytes when their time has come, so what takes
            too much once is tried again.
        data: the input.
        limit: bytes, of what Python, numpy and zlib allocate.
        always: measure; otherwise one input of sixteen, told by its checksum: measuring halves the speed.
    """
    if not always and zlib.crc32(data) % _MEASURED_OF:
        return run()
    _warm_up()
    for is_last in (False, True):
        tracemalloc.start()  # it may still be on
        tracemalloc.reset_peak()
        try:
            before = tracemalloc.get_traced_memory()[0]
            try:
                result: T | None = run()
                error: Exception | None = None
            except AssertionError:
                raise
            except Exception as exc:
                result, error = None, exc
            taken = tracemalloc.get_traced_memory()[1] - before
        finally:
            stop_measuring(0)
        assert taken <= limit or not is_last, f"{taken} bytes were taken at a time, allowed are {limit}"
        if taken <= limit:
            break
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def stop_measuring(patience: float) -> None:
    """
    Turn tracemalloc off, unless the package's threads, or those of a C host's streams, are still alive after `patience`
    seconds.

    They may be inflating or unpacking without Python's lock. What they allocate waits for the lock to be noted down;
    and where tracing was stopped meanwhile, that crashes the process (CPython's issue 128679, fixed in 3.12.9 and
    3.13.2). Until it is off, all goes on at half the speed, and nothing else happens.
    """
    deadline = time.monotonic() + patience
    while any(thread.name.startswith("alphastream") for thread in threading.enumerate()):
        if time.monotonic() >= deadline:
            return
        time.sleep(0.001)
    tracemalloc.stop()


@cache
def _warm_up() -> None:
    """Have what is made once, at first use, made before anything is measured."""
    from alphastream_gpu import FrameGeometry, rasterize  # not above: run.py instruments the package's first import

    rasterize(FrameGeometry.from_payload(bytes([1, 0, 0, 0, 6, 0, 0, 0, 1, 0, 1, 0, 1, 1])), native_size=(8, 8))
