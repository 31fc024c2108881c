"""
Workers: thread pools for long computations, and threads for calls that may block for ever.
"""

from __future__ import annotations

import asyncio
import operator
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import PurePath
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, ParamSpec, TypeVar

from .._exceptions import AlphaStreamError, NotReadyError, TransportError, contained_errors
from .calls import stay_inside

__all__ = [
    "Serial",
    "Unjoined",
    "Workers",
    "call_contained",
    "in_order",
    "in_thread",
    "join",
    "no_thread",
    "place_of",
    "threads_of",
    "usable_processors",
]

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

_MAX_JOBS: Final = 256
_END_SECONDS: Final = 1.0
"""Seconds to wait for the system to end a thread that has ended in Python. It takes microseconds on an idle machine."""


class Workers(ThreadPoolExecutor):
    """
    A thread pool that raises :class:`NotReadyError` if the system cannot start a thread.

    Args:
        n_workers: most threads.
        name: the prefix of their names; that of ``ThreadPoolExecutor`` if empty.
        may_call: the threads may make calls that wait for the library, such as ``read_batch``, as the caller's threads
            may. No thread of the library may then wait for them.
    """

    _is_shut = False

    def __init__(self, n_workers: int, name: str = "", *, may_call: bool = False) -> None:
        self._started: list[Thread] = []
        # Not a bound method: worker threads hold a reference to their initializer, so it would keep a dropped pool
        # alive.
        super().__init__(n_workers, name, initializer=partial(_note, self._started, may_call))

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """
        Submit a call, as with every executor.

        Raises:
            NotReadyError: no thread can be started.
            RuntimeError: the pool is shut down.
        """
        try:
            return super().submit(function, *args, **kwargs)
        except RuntimeError as exc:
            if self._is_shut:
                raise
            raise no_thread(exc) from exc

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut down, as with every executor. Waiting is done by :func:`join`."""
        self._is_shut = True
        super().shutdown(wait=False, cancel_futures=cancel_futures)
        if wait:
            self.join()

    def join(self, deadline: float | None = None) -> None:
        """Wait for the threads of a pool that was shut down, by :func:`join`."""
        join({*self._threads, *self._started}, deadline)


def in_order(
    work: Callable[[T], R], items: Iterable[T], *, jobs: int, name: str, may_call: bool = False
) -> Generator[R, None, None]:
    """
    Do work in threads, and give the results in the order of the items.

    At most one item more than there are threads is in work or waits. If giving items ends with an error, the results of
    those before it are given first.

    Args:
        work: is called on the threads.
        items: the input, read on the thread of the caller.
        jobs: threads.
        name: the prefix of their names.
        may_call: as of :class:`Workers`.

    Raises:
        NotReadyError: no thread can be started.
    """
    pool = Workers(jobs, name, may_call=may_call)
    waiting: deque[Future[R]] = deque()
    iterator = iter(items)
    failure: Exception | None = None
    try:
        while True:
            try:
                item = next(iterator)
            except StopIteration:
                break
            except Exception as exc:
                failure = exc
                break
            waiting.append(pool.submit(work, item))
            if len(waiting) > jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if failure is not None:
        raise failure


class Unjoined(ThreadPoolExecutor):
    """
    An executor that makes each call in a new daemon thread. No code waits for these threads.

    It is the executor of the event loops, for calls that may hang in the system, such as a name lookup, or opening a
    path on a file server that is gone. The threads of a pool would be joined when the loop ends, and again when the
    process ends. The class inherits ``ThreadPoolExecutor`` because asyncio accepts no other; it uses nothing of that
    class.
    """

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """
        Submit a call, as with every executor.

        Raises:
            NotReadyError: no thread can be started.
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
        """Do nothing: there is nothing to wait for."""


class Serial:
    """
    A daemon thread that makes one call after another. The results are awaited on an event loop.

    For calls that usually take microseconds but may hang in the system. The first call starts the thread. :meth:`end`
    or the end of this object ends it. A forked child, which does not have the thread of its parent, starts another one.

    Args:
        name: the name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread: Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether the thread is running."""
        return self._thread is not None and self._thread.is_alive()

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """
        Make a call after the calls before it. Must be used on an event loop, and always on the same one.

        Raises:
            NotReadyError: no thread can be started.
        """
        if not self.is_running:
            self._start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put((loop, future, function))
        return future

    def end(self) -> None:
        """End the thread after the calls that were made before. Does not wait."""
        self._queue.put(None)

    __del__ = end  # SimpleQueue.put is re-entrant, so a finalizer may call it at any point

    def _start(self) -> None:
        self._queue = SimpleQueue()
        # The target is a function of the queue, so that the thread holds no reference to this object.
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
        with suppress(RuntimeError):  # the loop was closed, so no task waits for the result
            loop.call_soon_threadsafe(_settle, future, result, error)
        del call, future, function, result, error  # otherwise they would live until the next call


def _settle(future: asyncio.Future[T], result: T, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


async def in_thread(doing: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Call a synchronous callable of the caller in a thread, so that it cannot block the event loop.

    On the library's loops this is a new daemon thread (:class:`Unjoined`): closing and exit do not wait for it.

    Args:
        doing: the operation, for messages, such as ``"the URL callable of 'person.asvp'"``.
        function: the callable.
        args: its positional arguments.
        kwargs: its keyword arguments.

    Raises:
        TransportError: the callable raised an exception that is not an error of this package, including ``SystemExit``
            and ``KeyboardInterrupt``. Exceptions in :data:`~alphastream_gpu._exceptions.ERROR_MAP` are mapped by it.
        NotReadyError: no thread can be started.
    """
    call = partial(call_contained, doing, partial(function, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(None, call)


def call_contained(doing: str, function: Callable[[], T]) -> T:
    """
    Call a synchronous callable of the caller on this thread.

    Args:
        doing: the operation, for messages.
        function: the callable.

    Raises:
        TransportError: the callable raised an exception that is not an error of this package. Exceptions in
            :data:`~alphastream_gpu._exceptions.ERROR_MAP` are mapped by it.
        KeyboardInterrupt: raised on the main thread, where it is from Ctrl-C.
    """
    try:
        with contained_errors(doing):
            return function()
    except AlphaStreamError as exc:
        if isinstance(exc.__cause__, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise exc.__cause__ from None
        raise
    # A synchronous call can be neither dropped nor cancelled. contained_errors() lets these two pass for coroutines.
    except (GeneratorExit, asyncio.CancelledError) as exc:
        raise TransportError(f"{doing}: raised {type(exc).__name__}") from exc


def place_of(error: BaseException) -> str:
    """
    The file and the line in which an exception was raised, as ``" at sign.py:12"``; empty if they are not known.

    For messages about an exception whose own text may have secrets.
    """
    frames = traceback.extract_tb(error.__traceback__)
    return f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _note(started: list[Thread], may_call: bool) -> None:
    if not may_call:
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
    Wait until threads have ended, also in the system.

    ``Thread.join`` returns when a thread has ended in Python, but libraries may not be done with it: OpenSSL frees its
    data of a thread when the system frees the thread's local storage. OpenSSL's exit handler frees that data, too. When
    a process ended at that moment, both freed the same data, and the process aborted ("corrupted size vs. prev_size in
    fastbins"). From Python 3.13 on, ``Thread.join`` waits for the thread of the system. In older versions, this
    function waits for it on Linux, where the end of a thread is visible in ``/proc``; on other systems it only calls
    ``Thread.join``.

    Under gevent, Python's threads are parts of one thread of the system, which does not end.

    Args:
        threads: threads of Python that were started, without the current one.
        deadline: the time of `time.monotonic` at which waiting ends; None waits for the end in Python without limit.
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
    """The error for a thread that Python cannot start."""
    return NotReadyError(f"{cause}: too many threads or too little memory; end some threads and try again")


def usable_processors() -> int:
    """The number of processors that this process may use; fewer than the machine has in many containers."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_of(jobs: int | None) -> int:
    """The number of threads of a job: what the caller asks for, or one for each processor."""
    n_jobs = usable_processors() if jobs is None else operator.index(jobs)
    if not 1 <= n_jobs <= _MAX_JOBS:
        raise ValueError(f"jobs: expected 1..{_MAX_JOBS} threads, found {n_jobs}")
    return n_jobs
