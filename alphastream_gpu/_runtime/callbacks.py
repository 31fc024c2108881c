"""
Callbacks: a daemon thread that makes the calls of a program's own code, and futures whose callbacks run there.

The code of a program may block, raise anything, and call the library. So it never runs on the event loop. One stream
has one such thread, from the first callback on. Its calls are made one after another: a callback that blocks delays
the later ones of its stream, and nothing else. The thread is not marked as inside the library, so a callback may make
any call, also one that waits, and may close the stream.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, TypeVar

from .calls import SafeLock
from .workers import no_thread

__all__ = ["Callbacks", "ToldFuture"]

T = TypeVar("T")

_logger = logging.getLogger("alphastream_gpu")
_ASYNCIO: Final = asyncio.wrap_future.__module__


class Callbacks:
    """The thread that makes calls. No code waits for its end."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._lock = SafeLock()
        self._thread: Thread | None = None

    def start(self) -> None:
        """
        Start the thread if it does not run. Call this where a callback is given, on the program's thread: starting a
        thread on the event loop could wait for a finalizer that waits for the loop.

        Raises:
            NotReadyError: no thread can be started.
        """
        with self._lock:
            if self._thread is not None:
                return
            # The target is a function of the queue, so that the thread holds no reference to this object.
            thread = Thread(target=_serve, args=(self._queue,), name="alphastream-callbacks", daemon=True)
            try:
                thread.start()
            except RuntimeError as exc:
                raise no_thread(exc) from exc
            self._thread = thread

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Make a call on the thread, after the calls before it. From any thread; does not wait."""
        self._queue.put(partial(function, *args))

    def end(self) -> None:
        """End the thread after the calls that were given before, and those that they give. Does not wait."""
        self._queue.put(None)

    __del__ = end  # SimpleQueue.put is re-entrant, so a finalizer may call it at any point


def _serve(queue: SimpleQueue[Callable[[], object] | None]) -> None:
    is_ending = False
    while not (is_ending and queue.empty()):
        call = queue.get()
        if call is None:
            is_ending = True
            continue
        try:
            call()
        except BaseException:  # SystemExit, too: it would end only this thread
            _logger.exception("a callback raised an exception")
        del call  # otherwise it would live until the next


class ToldFuture(Future[T]):
    """
    A future whose callbacks run on the thread of a :class:`Callbacks`.

    A callback that is added when the future is done runs at once, on the thread that adds it, as with every future. A
    callback of asyncio (``asyncio.wrap_future``) only wakes an event loop, and runs where the future becomes done. On
    the thread of the callbacks, it would wait for those before it, one of which may wait for the event loop.

    Args:
        callbacks: the thread.
        after_fork: makes the exception for a forked child, where nobody is left to complete the future.
    """

    def __init__(self, callbacks: Callbacks, after_fork: Callable[[], Exception]) -> None:
        super().__init__()
        self._callbacks_thread = callbacks
        self._after_fork = after_fork
        self._process = os.getpid()

    def result(self, timeout: float | None = None) -> T:
        """As of every future; in a forked child, it does not wait."""
        self._refuse_after_fork()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As of every future; in a forked child, it does not wait."""
        self._refuse_after_fork()
        return super().exception(timeout)

    def _refuse_after_fork(self) -> None:
        if self._process != os.getpid() and not self.done():
            raise self._after_fork()

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """
        Call a function when the future is done or cancelled.

        Raises:
            NotReadyError: no thread can be started.
        """
        if self.done() or getattr(fn, "__module__", None) == _ASYNCIO:
            super().add_done_callback(fn)
            return
        self._callbacks_thread.start()
        super().add_done_callback(partial(self._callbacks_thread.call, fn))

    def when_done(self, function: Callable[[Future[T]], Any]) -> None:
        """Call a function of the library's, on the thread on which the future becomes done."""
        super().add_done_callback(function)
