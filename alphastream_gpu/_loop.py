"""
The library's event loop: one background thread, there while any stream is open.

anyio's portal provider starts the thread with the first lease and ends it with the last. Work is handed over by
asyncio's own thread-safe calls, which never wait for the loop: a portal's do, and a caller that holds a lock meanwhile
would wait for a loop that waits for the lock. Nothing runs at import.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortalProvider

__all__ = ["LoopLease"]

T = TypeVar("T")

_lock = threading.Lock()
_provider: BlockingPortalProvider | None = None


def _the_provider() -> BlockingPortalProvider:
    """The process's provider, made once."""
    global _provider  # noqa: PLW0603 - one per process is the point
    from anyio.from_thread import BlockingPortalProvider

    with _lock:
        if _provider is None:
            _provider = BlockingPortalProvider(backend="asyncio")
        return _provider


def _forget_after_fork() -> None:
    """The thread does not exist in a forked child; its first stream there starts another."""
    global _provider, _lock
    _provider, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


class LoopLease:
    """
    A claim on the background loop; the last one released ends the thread.
    """

    def __init__(self) -> None:
        self._provider = _the_provider()
        self._loop: asyncio.AbstractEventLoop = self._provider.__enter__().call(asyncio.get_running_loop)
        self._lock = threading.Lock()
        self._released = False

    def submit(self, function: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Run a coroutine function on the loop, from any thread. Cancelling the future cancels the coroutine."""
        return asyncio.run_coroutine_threadsafe(function(), self._loop)

    def call_soon(self, function: Callable[..., object], *args: object) -> None:
        """Call a function on the loop, from any thread, soon."""
        self._loop.call_soon_threadsafe(function, *args)

    def release(self) -> None:
        """Give the claim up; may be called again. Waits for the thread to end when it was the last claim."""
        with self._lock:
            released, self._released = self._released, True
        if not released:
            self._provider.__exit__(None, None, None)
