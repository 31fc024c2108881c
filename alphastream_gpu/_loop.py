"""
The library's event loop: one background thread, there while any stream is open.

anyio's portal provider starts the thread with the first lease and ends it with the last. The thread is a daemon, so
a program that forgets to close a stream still exits. Nothing runs at import.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal, BlockingPortalProvider

__all__ = ["LoopLease"]

T = TypeVar("T")


@cache
def _provider() -> BlockingPortalProvider:
    from anyio.from_thread import BlockingPortalProvider

    return BlockingPortalProvider(backend="asyncio")


class LoopLease:
    """
    A claim on the background loop; the last one released ends the thread.
    """

    def __init__(self) -> None:
        self._portal: BlockingPortal | None = _provider().__enter__()
        self._lock = threading.Lock()

    def submit(self, function: Callable[[], Awaitable[T]]) -> Future[T]:
        """Run a coroutine function on the loop, from any thread. Cancelling the future cancels the coroutine."""
        portal = self._portal
        if portal is None:
            raise RuntimeError("the loop lease is released")
        return portal.start_task_soon(function)

    async def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine function on the loop and await it from the caller's own asyncio loop."""
        return await asyncio.wrap_future(self.submit(function))

    def release(self) -> None:
        """Give the claim up; may be called again. Waits for the thread to end when it was the last claim."""
        with self._lock:
            portal, self._portal = self._portal, None
        if portal is not None:
            _provider().__exit__(None, None, None)
