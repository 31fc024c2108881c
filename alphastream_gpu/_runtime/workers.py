"""
Workers: the threads that do what takes long, and those that do what nothing can interrupt.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, ParamSpec, TypeVar

from .._exceptions import NotReadyError, contained_errors
from .calls import stay_inside

__all__ = ["Serial", "Unjoined", "Workers", "in_thread", "join", "no_thread"]

P = ParamSpec("P")
T = TypeVar("T")

_END_SECONDS: Final = 1.0
"""For a thread that has ended for Python: it takes microseconds more, unless the machine is busy elsewhere."""


class Workers(ThreadPoolExecutor):
    """
    A pool of threads that says by an error of ours when the system has no thread for it.

    Args:
        n_workers: threads at most.
        name: what their names begin with; without, what ``ThreadPoolExecutor`` thinks of.
    """

    _is_shut = False

    def __init__(self, n_workers: int, name: str = "") -> None:
        self._started: list[Thread] = []
        # No method of the pool: its threads, which keep what they begin with, would keep the pool, if it is dropped.
        super().__init__(n_workers, name, initializer=partial(_note, self._started))

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """
        As of every executor.

        Raises:
            NotReadyError: no thread could be started.
            RuntimeError: the pool is shut down.
        """
        try:
            return super().submit(function, *args, **kwargs)
        except RuntimeError as exc:
            if self._is_shut:
                raise
            raise no_thread(exc) from exc

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As of every executor; whoever waits, waits as :func:`join` does."""
        self._is_shut = True
        super().shutdown(wait=False, cancel_futures=cancel_futures)
        if wait:
            self.join()

    def join(self, deadline: float | None = None) -> None:
        """Wait for the threads of a pool that was shut down, as :func:`join` does."""
        join({*self._threads, *self._started}, deadline)


class Unjoined(ThreadPoolExecutor):
    """
    Does each thing in a daemon thread of its own, which nobody waits for.

    It is the loop's executor, for what may hang in the system: looking a name up, opening a path on a file server that
    is gone. A pool's threads would be waited for when the loop ends, and again when the process does. A
    ``ThreadPoolExecutor`` because asyncio takes no other; of that it uses nothing.
    """

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """
        As of every executor.

        Raises:
            NotReadyError: no thread could be started.
        """
        future: Future[T] = Future()
        thread = Thread(
            target=_carry_out, args=(future, partial(function, *args, **kwargs)), name="alphastream-call", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as exc:
            raise no_thread(exc) from exc
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to wait for."""


class Serial:
    """
    A daemon thread that makes one call after another, for who awaits the results on an event loop.

    For calls that usually take microseconds, but may hang in the system. The thread starts with the first call, and
    ends with :meth:`end` or with this object. A forked child, which has no thread of its parent's, starts another.

    Args:
        name: the thread's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread: Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is a thread."""
        return self._thread is not None and self._thread.is_alive()

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """
        Make a call, after those before it. On an event loop, and always on the same one.

        Raises:
            NotReadyError: no thread could be started.
        """
        if not self.is_running:
            self._start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put((loop, future, function))
        return future

    def end(self) -> None:
        """End the thread after the calls so far. Does not wait."""
        self._queue.put(None)

    __del__ = end  # the queue's put may be interrupted by the collector, and called by it

    def _start(self) -> None:
        self._queue = SimpleQueue()
        # A function and the queue: the thread must not keep this object.
        thread = Thread(target=_serve, args=(self._queue,), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:
            raise no_thread(exc) from exc
        self._thread = thread


_Call = tuple[asyncio.AbstractEventLoop, asyncio.Future[Any], Callable[[], Any]]


def _serve(queue: SimpleQueue[_Call | None]) -> None:
    stay_inside()
    while (call := queue.get()) is not None:
        loop, future, function = call
        result, error = None, None
        if not future.cancelled():
            try:
                result = function()
            except BaseException as exc:
                error = exc
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
            loop.call_soon_threadsafe(_settle, future, result, error)
        del call, future, function, result, error  # else they would live until the next call


def _settle(future: asyncio.Future[T], result: T, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


async def in_thread(doing: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Call a synchronous callable of the caller's in a thread, so that it cannot block the event loop.

    On the library's loop this is a daemon thread of its own (:class:`Unjoined`): closing and exit do not wait for it.

    Args:
        doing: what is being done, for messages: ``"the URL callable of 'person.asvp'"``.
        function: the callable.
        args: its arguments.
        kwargs: likewise.

    Raises:
        TransportError: it raised something that is no error of ours, also ``SystemExit`` or ``KeyboardInterrupt``. What
            :func:`~alphastream_gpu._exceptions.mapped_errors` maps is mapped.
        NotReadyError: no thread could be started.
    """
    call = partial(_contained, doing, partial(function, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(None, call)


def _contained(doing: str, function: Callable[[], T]) -> T:
    with contained_errors(doing):
        return function()


def _note(started: list[Thread]) -> None:
    stay_inside()
    started.append(threading.current_thread())


def _carry_out(future: Future[Any], function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as exc:
        future.set_exception(exc)
    else:
        future.set_result(result)


def join(threads: Iterable[Thread], deadline: float | None = None) -> None:
    """
    Wait until threads have ended, also for the system.

    ``Thread.join`` returns when Python has done with a thread. Libraries have not: when the thread's own data is freed,
    OpenSSL frees what it keeps for it, and so does its exit handler. Where a process ended in that very moment, both
    freed the same, and it aborted ("corrupted size vs. prev_size in fastbins"). From Python 3.13 on, ``Thread.join``
    waits for the system's thread. Before, only Linux tells when a thread is gone; elsewhere this is ``Thread.join``.

    Under gevent, what Python takes for threads are parts of one thread of the system, which goes on.

    Args:
        threads: of Python's, started, and not the one that asks.
        deadline: by `time.monotonic`, when to give up; None waits for Python's part without end.
    """
    threads = list(threads)
    for thread in threads:
        thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
    end = time.monotonic() + _END_SECONDS if deadline is None else deadline
    if sys.version_info >= (3, 13):
        return
    own = threading.get_native_id()
    for thread in threads:
        if thread.native_id == own:
            continue
        while os.path.exists(f"/proc/self/task/{thread.native_id}") and time.monotonic() < end:
            time.sleep(0.0001)


def no_thread(cause: RuntimeError) -> NotReadyError:
    """What to say when Python cannot start a thread."""
    return NotReadyError(f"{cause}: the process has too many, or too little memory; end some and ask again")
