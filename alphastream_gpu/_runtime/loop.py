"""
Loop: the library's event loop, on one background thread that runs while any stream is open. Code of callers may block a
loop, so it runs on other loops (:meth:`LoopLease.of`), by :func:`outcome`.

The first lease starts the thread, and the last released lease ends it. Work is handed over by asyncio's thread-safe
calls, which never wait for the loop. If they waited, there could be a deadlock: a caller that holds a lock would wait
for a loop that waits for that lock. No thread starts at import.

Work runs in an empty context (`contextvars`), not in a copy of the caller's context. A context from trio has sniffio's
variable set to "trio", so httpcore would await trio's functions on this loop.

Rejected: anyio's portals. Handing work over to a portal waits for the loop. And a portal that outlives its thread (in a
forked child, at interpreter exit) waits for the thread for ever when it is collected.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from .._exceptions import TransportError
from .calls import SafeLock, stay_inside
from .workers import Unjoined, join, no_thread

__all__ = ["LoopLease", "outcome"]

T = TypeVar("T")

_logger = logging.getLogger("alphastream_gpu")


class _LoopThread:
    """A thread that runs an event loop until stop() is called."""

    _error: OSError | None = None
    """Why the loop could not be made."""

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
            with asyncio.Runner() as runner:  # which cancels the remaining tasks at its end
                self.loop = runner.get_loop()
                self.loop.set_default_executor(Unjoined())
                self._stop = asyncio.Event()
                started.set()
                self._run_until_stopped()
        except (SystemExit, KeyboardInterrupt):  # of a task that was cancelled at the end
            _logger.exception("a task tried to end the process while its event loop ended")
        except OSError as exc:  # a loop needs three file descriptors
            if started.is_set():
                raise
            self._error = exc
            started.set()

    def _run_until_stopped(self) -> None:
        stopped = self.loop.create_task(self._until_stopped())
        while not stopped.done():
            try:
                self.loop.run_until_complete(stopped)
            except (SystemExit, KeyboardInterrupt):
                # A task raised it, and asyncio stopped the loop. It is run again, because all streams use it; only the
                # task has ended.
                _logger.exception("a task on the library's event loop tried to end the process")
            except RuntimeError:
                # A caller's code called loop.stop(). The loop is run again, as above.
                if stopped.done() or self.loop.is_closed():
                    raise

    async def _until_stopped(self) -> None:
        await self._stop.wait()

    def stop(self, deadline: float | None) -> None:
        """End the loop and wait for the thread. The optional deadline is a time of `time.monotonic`."""
        self.loop.call_soon_threadsafe(self._stop.set)
        join([self._thread], deadline)


class _Shared:
    """A loop thread that runs while it has leases, and the number of its leases."""

    def __init__(self, name: str, owner: object = None) -> None:
        self.name = name
        self.owner = owner
        self.lock = threading.Lock()
        self.thread: _LoopThread | None = None
        self.n_leases = 0
        _all.add(self)


_all: weakref.WeakSet[_Shared] = weakref.WeakSet()
_shared = _Shared("alphastream-loop")
"""The loop that the streams of this process share."""
_owned: weakref.WeakValueDictionary[int, _Shared] = weakref.WeakValueDictionary()
"""The loops of callers' objects, by the identity of the object. The loop keeps its object alive."""
_owned_lock = SafeLock()
_parents: list[_Shared] = []
"""In a forked child: the loops of its parent. They are kept, because an event loop that is collected would unregister
its file descriptors with the system, also for the parent."""


def _forget_after_fork() -> None:
    """Forget the loops in a forked child, which does not have their threads. Its first stream starts a new loop."""
    global _shared  # noqa: PLW0603 - one per process is the point
    _parents.extend(_all)
    _all.clear()
    _owned.clear()
    _shared = _Shared("alphastream-loop")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


class LoopLease:
    """
    A lease of the library's event loop. The release of the last lease ends the thread.
    """

    def __init__(self) -> None:
        self._claim(_shared)

    @classmethod
    def of(cls, owner: object, name: str) -> LoopLease:
        """
        Make a lease of the loop of an object. Leases of one object have one loop, because locks and connections of the
        object may belong to that loop.

        Args:
            owner: the object whose code runs on the loop.
            name: the name of the thread.

        Raises:
            NotReadyError: no thread can be started.
            TransportError: the system has no file descriptor for the loop.
        """
        with _owned_lock:
            shared = _owned.get(id(owner))
            if shared is None:
                shared = _owned[id(owner)] = _Shared(name, owner)
        lease = cls.__new__(cls)
        lease._claim(shared)
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
        """Run a coroutine function on the loop; callable from any thread. Cancelling the future cancels the
        coroutine."""
        return contextvars.Context().run(asyncio.run_coroutine_threadsafe, function(), self._loop)

    def call_soon(self, function: Callable[..., object], *args: object) -> None:
        """Schedule a call of a function on the loop; callable from any thread."""
        self._loop.call_soon_threadsafe(function, *args, context=contextvars.Context())

    def release(self, deadline: float | None = None) -> None:
        """
        Release the lease; may be called again. If it is the last lease, this waits until the thread has ended.

        Args:
            deadline: the time of `time.monotonic` at which waiting ends; None waits without limit.
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


async def outcome(function: Callable[[], Awaitable[T]]) -> tuple[T | None, BaseException | None]:
    """
    Await a function that runs code of a caller. An exception is returned, not raised.

    Raised, it could do more than fail this call: asyncio ends a loop when one of its tasks raises ``SystemExit``, and
    Python changes ``StopIteration``. Only a real cancellation of the current task is raised.

    Args:
        function: makes the awaitable. Its exceptions are returned, too.

    Returns:
        The result and None, or None and the exception.
    """
    task = asyncio.current_task()
    try:
        return await function(), None
    except asyncio.CancelledError as exc:
        if task is not None and task.cancelling():
            raise
        return None, exc
    except GeneratorExit as exc:
        if asyncio.current_task() is not task:
            raise  # this coroutine is being dropped; the caller's code would have raised it within its task
        return None, exc
    except BaseException as exc:
        return None, exc
