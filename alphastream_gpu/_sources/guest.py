"""
GuestSource: runs a source that a caller wrote on an event loop of its own.

The sources of the library never block the event loop that all streams share. The source of a caller may block, for
example in a call that waits for a disk or a server. On its own loop, it delays only its own reads.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar, cast

from .._exceptions import AlphaStreamError, TransportError
from .._runtime.loop import LoopLease
from .base import Source
from .file import FileSource
from .http import HttpSource
from .memory import MemorySource
from .ranges import ByteRange

__all__ = ["GuestSource", "on_own_loop"]

T = TypeVar("T")

_LIBRARYS: Final = (FileSource, HttpSource, MemorySource)
_guests: weakref.WeakValueDictionary[int, GuestSource] = weakref.WeakValueDictionary()
"""By the identity of the caller's source. A source that two streams read has one loop, to which its locks may
belong."""
_CLOSE_SECONDS: Final = 2.0
"""How long closing waits for a source that hangs; as long as exit does."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_guests.clear)  # their loops are the parent's


def on_own_loop(source: Source) -> Source:
    """Wrap a source of a caller in a :class:`GuestSource`; return a source of the library unchanged."""
    if any(type(source).read is ours.read and type(source).aclose is ours.aclose for ours in _LIBRARYS):
        return source
    return _guests.setdefault(id(source), GuestSource(source))


class GuestSource(Source):
    """
    A source that runs `read` and `aclose` of a caller's source on an event loop of its own.

    The thread of the loop starts with the first read and ends when the source is closed. A cancelled read ends at
    once, even if the caller's source goes on; :meth:`aclose` waits until that read has ended.

    Args:
        inner: the caller's source.
    """

    def __init__(self, inner: Source) -> None:
        self._inner = inner
        self._lease: LoopLease | None = None
        self._is_closed = False
        self._starting = threading.Lock()
        self._n_reads = 0
        """Reads that callers wait for."""
        self._reads: set[asyncio.Task[Any]] = set()
        """Calls of the source that have not ended, on its loop."""

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def length(self) -> int | None:
        return self._inner.length

    @property
    def last_failure(self) -> AlphaStreamError | None:
        return self._inner.last_failure

    @property
    def next_attempt_at(self) -> float | None:
        return self._inner.next_attempt_at

    @property
    def reply_summary(self) -> str:
        return self._inner.reply_summary

    @property
    def requests(self) -> int:
        return self._inner.requests

    @property
    def bytes_received(self) -> int:
        return self._inner.bytes_received

    async def read(self, span: ByteRange) -> bytes | memoryview:
        self._n_reads += 1
        try:
            return await self._call(f"reading {span} of {self.name!r}", partial(self._inner.read, span))
        finally:
            self._n_reads -= 1
            if self._is_closed and not self._n_reads:  # by another stream; nobody closes this source again
                await self._end()

    async def aclose(self) -> None:
        """
        Close the source after its reads have ended.

        Raises:
            TransportError: a read, or closing, does not end within two seconds. Its thread is left to itself.
        """
        self._is_closed = True
        try:
            async with asyncio.timeout(_CLOSE_SECONDS) as limit:
                await self._call(f"closing {self.name!r}", self._after_the_reads)
        except TimeoutError:
            if not limit.expired():
                raise
            raise TransportError(
                f"closing {self.name!r}: the source still hangs after {_CLOSE_SECONDS:g} s, in a read or in aclose()"
            ) from None
        finally:
            if not self._n_reads:
                await self._end()

    async def _end(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:  # it waits for the thread of the loop
            await asyncio.to_thread(lease.release, time.monotonic() + _CLOSE_SECONDS)

    async def _after_the_reads(self) -> None:
        me = asyncio.current_task()
        await asyncio.gather(*(task for task in self._reads if task is not me), return_exceptions=True)
        await self._inner.aclose()

    async def _call(self, doing: str, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await a method of the source on its loop. Its exceptions are raised here."""
        lease = self._lease
        if lease is None:
            lease = await asyncio.to_thread(self._start)
        result, error = await asyncio.wrap_future(lease.submit(partial(self._outcome, function)))
        if isinstance(error, GeneratorExit):  # raised here, it would look as if this coroutine were dropped
            raise TransportError(f"{doing}: raised GeneratorExit") from error
        if error is not None:
            raise error
        return cast("T", result)

    def _start(self) -> LoopLease:
        with self._starting:
            if self._lease is None:
                self._lease = LoopLease.of_own_loop("alphastream-source")
            return self._lease

    async def _outcome(self, function: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T | None, BaseException | None]:
        """
        The result or the exception of a call. An exception is returned, not raised, because asyncio ends a loop when
        one of its tasks raises ``SystemExit``.
        """
        task = asyncio.current_task()
        assert task is not None
        self._reads.add(task)
        try:
            return await function(), None
        except BaseException as exc:
            if task.cancelling():
                raise
            return None, exc
        finally:
            self._reads.discard(task)
