"""
Exit: streams that nobody closed, when the process ends or forks; and closing where nobody may wait.

A stream's threads must end while threads can still run, so open streams are closed by ``atexit``. That takes a bounded
time, whatever a source does. A forked child has the parent's streams but none of their threads; it leaves them alone.
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

from .workers import no_thread

__all__ = ["close_at_exit", "forget", "in_background"]

_EXIT_SECONDS: Final = 2.0
"""How long exit waits for streams to close, all of them together; as long as the C library's."""

_logger = logging.getLogger("alphastream_gpu")


class Closable(Protocol):
    """What is registered here."""

    def _begin_close(self) -> Future[None] | None:
        """Begin to close. Does not wait; None if that began already."""

    def _end_close(self, closing: Future[None], deadline: float | None = None) -> None:
        """Wait for that, until a deadline, and end all threads."""

    def _disown(self) -> None:
        """Do nothing more, also not when collected."""


_open: weakref.WeakSet[Closable] = weakref.WeakSet()
_in_background: set[threading.Event] = set()
_lock = threading.Lock()


def close_at_exit(thing: Closable) -> None:
    """Close `thing` at exit, if it is open then. Holds no reference to it."""
    with _lock:
        if not _open:
            # Again last among the handlers, so first to run: what others registered before may still be in use.
            atexit.unregister(_close_all)
            atexit.register(_close_all)
        _open.add(thing)


def forget(thing: Closable) -> None:
    """`thing` is closed."""
    with _lock:
        _open.discard(thing)


def in_background(close: Callable[[], None]) -> None:
    """
    Close something in a thread of its own, which exit waits for, within its time.

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
            threading.Thread(target=run, name="alphastream-leftover", daemon=True).start()
        except RuntimeError:  # no other can be had
            run()

    _in_background.add(done)
    try:
        # Thread.start() waits until the thread has started. That thread may run a finalizer first that waits for the
        # event loop, and this may be the loop's thread. So another one waits.
        _thread.start_new_thread(start, ())
    except RuntimeError as exc:
        _in_background.discard(done)
        raise no_thread(exc) from exc


def _close_all() -> None:
    """All begin before the first is waited for, and one that fails leaves no other open."""
    deadline = time.monotonic() + _EXIT_SECONDS
    errors: list[Exception] = []
    closings: list[tuple[Closable, Future[None]]] = []
    for thing in list(_open):
        try:
            closing = thing._begin_close()
        except Exception as exc:
            errors.append(exc)
        else:
            if closing is not None:
                closings.append((thing, closing))
    for thing, closing in closings:
        try:
            thing._end_close(closing, deadline)
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
        thing._disown()
    _open.clear()
    _in_background.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_after_fork)
