"""
The library's event loop: one background thread, there while any stream is open. A caller's own source has another one
to itself.

The first lease starts the thread, the last one ends it. Work is handed over by asyncio's thread-safe calls, which never
wait for the loop: a caller that holds a lock would otherwise wait for a loop that waits for the lock. Nothing runs at
import.

Work runs in an empty context (`contextvars`), not in a copy of the caller's. A caller on trio would otherwise bring
sniffio's variable, "trio", into this loop, and httpcore would await trio's calls here.

anyio's portals were turned down: handing work over waits for the loop, and a portal that outlives its thread (in a
forked child, at interpreter exit) waits for it for ever when it is collected.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from .._exceptions import TransportError
from .calls import stay_inside
from .workers import Unjoined, join, no_thread

__all__ = ["LoopLease"]

T = TypeVar("T")

_logger = logging.getLogger("alphastream_gpu")


class _LoopThread:
    """A thread that runs an event loop until it is told to stop."""

    _error: OSError | None = None
    """Why there is no loop."""

    def __init__(self, name: str) -> None:
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name=name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as exc:
            raise no_thread(exc) from exc
        started.wait()
        if self._error is not None:
            self._thread.join()
            raise TransportError(f"no event loop for reading: {self._error}") from self._error

    def _run(self, started: threading.Event) -> None:
        stay_inside()
        try:
            with asyncio.Runner() as runner:  # which cancels what is left when it ends
                self.loop = runner.get_loop()
                self.loop.set_default_executor(Unjoined())
                self._stop = asyncio.Event()
                started.set()
                self._run_until_stopped()
        except OSError as exc:  # a loop takes three file descriptors
            if started.is_set():
                raise
            self._error = exc
            started.set()
        except RuntimeError:
            # Python 3.12.0 and 3.12.1 start no thread any more when exit handlers run, and asyncio ends its executor's
            # threads by one. They have ended by then, and the loop is closed all the same.
            if not (started.is_set() and (3, 12) <= sys.version_info < (3, 12, 2)):
                raise

    def _run_until_stopped(self) -> None:
        stopped = self.loop.create_task(self._until_stopped())
        while not stopped.done():
            try:
                self.loop.run_until_complete(stopped)
            except (SystemExit, KeyboardInterrupt):
                # A task raised it, for which asyncio ends the loop. Only that task ends: the loop serves every stream.
                _logger.exception("a task on the library's event loop tried to end the process")

    async def _until_stopped(self) -> None:
        await self._stop.wait()

    def stop(self, deadline: float | None) -> None:
        """End the loop and wait for the thread, until a deadline by `time.monotonic` if there is one."""
        self.loop.call_soon_threadsafe(self._stop.set)
        join([self._thread], deadline)


class _Shared:
    """A loop thread, there while it has leases, and their number."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.Lock()
        self.thread: _LoopThread | None = None
        self.n_leases = 0
        _all.add(self)


_all: weakref.WeakSet[_Shared] = weakref.WeakSet()
_shared = _Shared("alphastream-loop")
"""The process's."""
_parents: list[_Shared] = []
"""In a forked child, what was its parent's. Kept: an event loop that is collected would unregister its file descriptors
with the system, also for the parent."""


def _forget_after_fork() -> None:
    """The threads do not exist in a forked child; its first stream there starts another."""
    global _shared  # noqa: PLW0603 - one per process is the point
    _parents.extend(_all)
    _all.clear()
    _shared = _Shared("alphastream-loop")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


class LoopLease:
    """
    A claim on the background loop; the last one released ends the thread.
    """

    def __init__(self) -> None:
        self._claim(_shared)

    @classmethod
    def of_own_loop(cls, name: str) -> LoopLease:
        """
        The one claim on a loop of its own.

        Args:
            name: the thread's.
        """
        lease = cls.__new__(cls)
        lease._claim(_Shared(name))
        return lease

    def _claim(self, shared: _Shared) -> None:
        self._shared = shared
        self._is_released = False
        with shared.lock:
            if shared.thread is None:
                shared.thread = _LoopThread(shared.name)
            shared.n_leases += 1
            self._loop = shared.thread.loop

    def submit(self, function: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Run a coroutine function on the loop, from any thread. Cancelling the future cancels the coroutine."""
        return contextvars.Context().run(asyncio.run_coroutine_threadsafe, function(), self._loop)

    def call_soon(self, function: Callable[..., object], *args: object) -> None:
        """Call a function on the loop, from any thread, soon."""
        self._loop.call_soon_threadsafe(function, *args, context=contextvars.Context())

    def release(self, deadline: float | None = None) -> None:
        """
        Give the claim up; may be called again. Waits for the thread to end when it was the last claim.

        Args:
            deadline: by `time.monotonic`, when to give up waiting.
        """
        thread = None
        with self._shared.lock:
            if not self._is_released:
                self._is_released = True
                self._shared.n_leases -= 1
                if self._shared.n_leases == 0:
                    thread, self._shared.thread = self._shared.thread, None
        if thread is not None:
            thread.stop(deadline)
