"""
Exit: closes open streams when the process ends, disowns them in a forked child, and closes streams in the background.

The threads of a stream must end while threads can still run, so ``atexit`` closes open streams. This takes a bounded
time for any source. A forked child has the streams of its parent, but not their threads, so it does not close them.
"""

from __future__ import annotations

import _thread
import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Protocol

from .calls import marked
from .workers import no_thread

__all__ = ["Closable", "close_at_exit", "forget", "in_background"]

_EXIT_SECONDS: Final = 2.0
"""Seconds that exit waits for all streams together to close; the C library waits equally long."""

_logger = logging.getLogger("alphastream_gpu")


class Closable(Protocol):
    """
    What is closed at exit: an object that has threads.

    At exit, all objects begin to close before the first is waited for. In a forked child, where the threads do not
    exist, an object is disowned instead.
    """

    def begin_close(self) -> Future[None] | None:
        """Begin to close, without waiting. The future is done when nothing hangs any more. None if closing began
        before."""

    def end_close(self, closing: Future[None], deadline: float | None = None) -> None:
        """
        Wait until `closing` is done and all threads have ended, and call :func:`forget`.

        Args:
            closing: what :meth:`begin_close` returned.
            deadline: the time of `time.monotonic` at which waiting ends; None waits without limit.
        """

    def disown(self) -> None:
        """Do nothing any more, not even in the finalizer. Locks may be held by threads that do not exist."""


_open: weakref.WeakSet[Closable] = weakref.WeakSet()
_in_background: set[threading.Event] = set()
_lock = threading.Lock()


def close_at_exit(thing: Closable) -> None:
    """Close `thing` at exit if it is still open. Keeps only a weak reference to it."""
    with _lock:
        if not _open:
            # Registered again as the last handler, so it runs first: handlers that were registered before may end
            # things that the streams still use.
            atexit.unregister(_close_all)
            atexit.register(_close_all)
        _open.add(thing)


def forget(thing: Closable) -> None:
    """Do not close `thing` at exit; it is closed."""
    with _lock:
        _open.discard(thing)


def in_background(close: Callable[[], None]) -> None:
    """
    Call `close` in a new thread. Exit waits for that thread, at most until its deadline.

    Raises:
        NotReadyError: no thread could be started.
    """

    done = threading.Event()

    def run() -> None:
        try:
            close()
        finally:
            done.set()
            _in_background.discard(done)

    def start() -> None:
        try:
            with marked():  # these calls hold a lock of `threading` for a moment, as in may_not_wait()
                threading.Thread(target=run, name="alphastream-leftover", daemon=True).start()
        except RuntimeError:  # no other thread can be started
            run()

    _in_background.add(done)
    try:
        # Thread.start() waits until the new thread has started. The new thread may first run a finalizer that waits for
        # the event loop, and the current thread may be the loop's. So Thread.start() is called on another thread.
        _thread.start_new_thread(start, ())
    except RuntimeError as exc:
        _in_background.discard(done)
        raise no_thread(exc) from exc


def _close_all() -> None:
    """Close all streams: all begin to close before the first is waited for. A failure of one leaves no other open."""
    deadline = time.monotonic() + _EXIT_SECONDS
    errors: list[Exception] = []
    closings: list[tuple[Closable, Future[None]]] = []
    for thing in list(_open):
        try:
            closing = thing.begin_close()
        except Exception as exc:
            errors.append(exc)
        else:
            if closing is not None:
                closings.append((thing, closing))
    for thing, closing in closings:
        try:
            thing.end_close(closing, deadline)
        except Exception as exc:
            errors.append(exc)
    others = list(_in_background)
    for done in others:
        done.wait(max(0.0, deadline - time.monotonic()))
    n_left = sum(not closing.done() for _, closing in closings) + sum(not done.is_set() for done in others)
    if n_left:
        _logger.warning("exit: %d streams were not closed within %g s: a read or a call hangs", n_left, _EXIT_SECONDS)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("closing the streams that were open at exit", errors)


def _disown_after_fork() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.Lock()
    for thing in list(_open):
        thing.disown()
    _open.clear()
    _in_background.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_after_fork)
