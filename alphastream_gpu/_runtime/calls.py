"""
Calls: marks the threads that are inside the library, and provides locks for code that may be interrupted.

Strategy
--------
A signal handler or a finalizer (``__del__``, run by the garbage collector) can interrupt a thread at any point, also in
the middle of a call of this library. A call that the handler then makes must not wait for a lock that the interrupted
call holds: a lock of the library, or one inside ``concurrent.futures``. So each thread has a mark, which is set while
the thread is inside a call:

* A call that waits or that moves the play head raises :class:`NotReadyError` if the mark of its thread is set.
* Closing is handed over to another thread, which may wait for the interrupted call.
* A call that only reads, such as ``stats()``, works: its lock is re-entrant, and its data can be read at any point.

The marks of the library's own threads are always set. These threads run code of others only in finalizers and in a
:class:`Source`, and there a call that waits for the library would wait for its own thread.

The mark is a lock that no other thread ever takes. A ``with`` statement on a lock that is implemented in C cannot be
interrupted between taking the lock and registering its release. A flag that is set in Python could stay set after
Ctrl-C.

The mark is also set while a thread forks: ``concurrent.futures`` and ``logging`` hold locks of their own during a fork,
and a signal handler may run before they are released.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - see the last lines
import logging  # noqa: F401 - see the last lines
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
"""Prefixes of the names of the library's threads."""


class _Mark(threading.local):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.is_forking = False


_mark = _Mark()


def may_not_wait() -> bool:
    """
    Whether a wait for the library could deadlock: this thread is inside a call, or it is a thread of the library.

    The library's threads are also recognized by their names. A starting thread may run finalizers before its mark is
    set, while the event loop waits for the thread to start.
    """
    if _mark.lock.locked():
        return True
    own = threading.get_ident()
    # enumerate() holds a lock of `threading`, which starting threads wait for. A finalizer that runs during that call
    # would wait for such a thread, unless this thread is marked.
    with _mark.lock:
        # Not current_thread(), which does not find a thread that is just starting.
        threads = threading.enumerate()
    return any(thread.ident == own and thread.name.startswith(LIBRARYS_THREADS) for thread in threads)


def entered(call: str) -> AbstractContextManager[object]:
    """
    Mark this thread as inside a call: ``with entered("get_frame"):``.

    Raises:
        NotReadyError: the thread is already inside a call.
    """
    lock = _mark.lock
    if lock.locked():
        raise NotReadyError(
            f"{call}: called within another call of this library on the same thread, by a signal handler, a finalizer"
            " or a Source; call it later, or on another thread"
        )
    return lock


def marked() -> AbstractContextManager[object]:
    """Mark this thread as inside a call, for functions that may also run inside another call."""
    lock = _mark.lock
    return nullcontext() if lock.locked() else lock


@contextmanager
def held(lock: threading.RLock) -> Iterator[None]:
    """
    Mark this thread and hold a lock. Inside another call, the lock is not taken: that call may have interrupted any
    other.

    Without the lock, the data that is read may be in the middle of a change, and an increment of a counter may be lost.
    """
    if _mark.lock.locked():
        yield
        return
    with _mark.lock, lock:
        yield


def stay_inside() -> None:
    """Mark this thread, a thread of the library, until it ends."""
    _mark.lock.acquire()


class SafeLock:
    """
    A re-entrant lock, which is free in a forked child. A signal handler can take it while its thread holds it.
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
    """Replace the locks: another thread of the parent may have held them, and the child has no such thread."""
    for lock in list(_locks):
        lock._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)
    # Registered after concurrent.futures and logging, which hold locks during a fork: the mark is set before they take
    # their locks, and cleared after they release them.
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
