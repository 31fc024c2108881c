"""
Calls: which threads are inside the library, and locks for code that may be interrupted.

Strategy
--------
A signal handler and a finalizer (``__del__``, run by the garbage collector) interrupt a thread at any point, also in
the middle of a call of this library. What they ask of the library then must not wait for a lock that the interrupted
call holds: ours, or one inside ``concurrent.futures``. So each thread has a mark that says whether it is inside a call:

* a call that waits or changes the play head is refused with :class:`NotReadyError` if the thread is inside already;
* closing is handed over to a thread of its own, which may wait for the interrupted call;
* what only reads, such as ``stats()``, goes on: its lock is re-entrant, and its data can be read at each point.

The library's own threads are inside all their lives. They run other people's code only in finalizers and in a
:class:`Source`, where waiting for the library would be waiting for oneself.

The mark is a lock that no other thread ever takes. ``with`` on a lock of C's cannot be interrupted between taking it
and noting that it must be released; a flag set in Python could stay behind after Ctrl-C.

A thread that forks is inside, too: ``concurrent.futures`` and ``logging`` hold locks of theirs meanwhile, and a signal
handler may run before they are released.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - see the last line
import logging  # noqa: F401 - likewise
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Final

from .._exceptions import NotReadyError

__all__ = ["LIBRARYS_THREADS", "SafeLock", "entered", "held", "marked", "may_not_wait", "stay_inside"]

LIBRARYS_THREADS: Final = (
    "alphastream-asked",
    "alphastream-call",
    "alphastream-decode",
    "alphastream-file",
    "alphastream-loop",
    "alphastream-raster",
    "alphastream-source",
)
"""What the names of the library's threads begin with."""


class _Mark(threading.local):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.is_forking = False


_mark = _Mark()


def may_not_wait() -> bool:
    """
    Whether to wait for the library could be to wait for oneself: this thread is inside a call, or is the library's.

    Its threads are known by name, too. A thread may run finalizers before it marks itself, and until then the event
    loop waits for it to start.
    """
    if _mark.lock.locked():
        return True
    own = threading.get_ident()
    # Not current_thread(), which does not know threads that are just starting.
    return any(thread.ident == own and thread.name.startswith(LIBRARYS_THREADS) for thread in threading.enumerate())


def entered(call: str) -> AbstractContextManager[object]:
    """
    Mark this thread as inside a call: ``with entered("get_frame"):``.

    Raises:
        NotReadyError: it is inside another one.
    """
    lock = _mark.lock
    if lock.locked():
        raise NotReadyError(
            f"{call}: called within another call of this library on the same thread, by a signal handler, a finalizer"
            " or a Source; ask later, or on another thread"
        )
    return lock


def marked() -> AbstractContextManager[object]:
    """Likewise, for what may also run inside another call."""
    lock = _mark.lock
    return nullcontext() if lock.locked() else lock


@contextmanager
def held(lock: threading.RLock) -> Iterator[None]:
    """
    Mark this thread, and hold a re-entrant lock; within another call, without waiting for the lock.

    There, what is read may be in the middle of a change, and what is counted may be lost.
    """
    if not _mark.lock.locked():
        with _mark.lock, lock:
            yield
        return
    has_lock = lock.acquire(blocking=False)
    try:
        yield
    finally:
        if has_lock:
            lock.release()


def stay_inside() -> None:
    """Mark this thread, one of the library's own, until it ends."""
    _mark.lock.acquire()


class SafeLock:
    """
    A lock that a signal handler may take while its thread holds it, and that is free in a forked child.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._lock.release()


_locks: weakref.WeakSet[SafeLock] = weakref.WeakSet()


def _before_fork() -> None:
    _mark.is_forking = _mark.lock.acquire(blocking=False)


def _after_fork() -> None:
    if _mark.is_forking:
        _mark.is_forking = False
        _mark.lock.release()


def _renew_after_fork() -> None:
    """Another thread of the parent may have held them, and is not there to release them."""
    for lock in list(_locks):
        lock._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)
    # After the modules that hold locks meanwhile, so that this begins before they take them, and ends after.
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
