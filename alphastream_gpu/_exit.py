"""
Exit: streams that nobody closed, when the process ends or forks.

A stream's threads must end while threads can still run, so open streams are closed by ``atexit``. A forked child has
the parent's streams but none of their threads; it leaves them alone.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from typing import Protocol

__all__ = ["close_at_exit", "forget"]


class Closable(Protocol):
    """What is registered here."""

    def close(self) -> None:
        """End all threads and release what is held."""

    def _disown(self) -> None:
        """Do nothing more, also not when collected."""


_open: weakref.WeakSet[Closable] = weakref.WeakSet()
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


def _close_all() -> None:
    for thing in list(_open):
        thing.close()


def _disown_after_fork() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.Lock()
    for thing in list(_open):
        thing._disown()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_after_fork)
