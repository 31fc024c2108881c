"""
Workers: the threads that do what takes long, and those that do what nothing can interrupt.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from ._exceptions import NotReadyError

__all__ = ["Unjoined", "Workers", "no_thread"]

P = ParamSpec("P")
T = TypeVar("T")


class Workers(ThreadPoolExecutor):
    """
    A pool of threads that says by an error of ours when the system has no thread for it.
    """

    _is_shut = False

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
        """As of every executor."""
        self._is_shut = True
        super().shutdown(wait, cancel_futures=cancel_futures)


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


def _carry_out(future: Future[Any], function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as exc:
        future.set_exception(exc)
    else:
        future.set_result(result)


def no_thread(cause: RuntimeError) -> NotReadyError:
    """What to say when Python cannot start a thread."""
    return NotReadyError(f"{cause}: the process has too many, or too little memory; end some and ask again")
