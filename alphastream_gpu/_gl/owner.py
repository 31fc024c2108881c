"""
Owner: who may call a renderer: one thread, while one context is current there, one call at a time.
"""

from __future__ import annotations

import threading
from types import TracebackType
from weakref import ref

from .._exceptions import ClosedError, WrongContextError
from .identity import Identity

__all__ = ["Call", "Owner"]

_local = threading.local()


class Owner:
    """
    The thread that creates this, and its context.

    Args:
        identity: of the context.
    """

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        """Of the context."""
        self._thread = _thread_token()
        self.is_released = False
        """Whether no call is allowed any more."""
        self.call: ref[Call] | None = None
        """The call in progress. Weak: if an interrupt prevents the call's end, the call ends with its object."""

    def check(self) -> None:
        """
        Raises:
            WrongContextError: this is another thread, its current context is another one, or a call is in progress.
        """
        # GL calls go to the context that is current on this thread. A wrong one means a crash, or a mask in a foreign
        # texture.
        if _thread_token() is not self._thread:
            raise WrongContextError(
                "the renderer belongs to the thread that created it; create one renderer per thread and context, and"
                " pass geometry between threads instead"
            )
        if not self.identity.is_current():
            raise WrongContextError(
                "the renderer's OpenGL context is not current on this thread, or is destroyed; make it current first,"
                " and release the renderer before its context"
            )
        if self.call is not None and self.call() is not None:
            raise WrongContextError("the renderer is in the middle of another call, and this call comes from within it")

    def retire(self) -> bool:
        """
        Allow no more calls.

        Returns:
            False if that was so already.

        Raises:
            WrongContextError: as of :meth:`check`.
        """
        if self.is_released:
            return False
        self.check()
        self.is_released = True
        return True


class Call:
    """One call of a renderer, a context manager."""

    __slots__ = ("__weakref__", "_owner")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def __enter__(self) -> None:
        owner = self._owner
        if owner.is_released:
            raise ClosedError("the renderer is released")
        owner.check()
        owner.call = ref(self)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._owner.call = None


def _thread_token() -> object:
    """Return an object that belongs to this thread only and dies with it. Thread numbers are reused."""
    try:
        token: object = _local.token
    except AttributeError:
        token = _local.token = object()
    return token
