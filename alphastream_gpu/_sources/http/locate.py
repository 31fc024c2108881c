"""
Locate: remembers the address of a file, which is the caller's URL, the result of a callable, or a redirect's target.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from ..._exceptions import FrameTimeoutError
from ..._runtime.loop import outcome
from .address import Address, check_url
from .callers import at_end, in_thread, is_ending, raised
from .verdict import Again, Refused

__all__ = ["Locator", "UrlLike"]

UrlLike = str | Callable[[], str | Awaitable[str]]
"""A URL, or a callable that returns one, such as a signer. The callable is called once more after 401 or 403."""


class Locator:
    """
    Remembers an address while it works.

    Args:
        given: a URL, or a callable that returns one. A callable that is not a coroutine function runs in a thread.
        timeout: seconds for one call of the callable.

    Raises:
        TypeError: `given` is neither a str nor a callable.
        ValueError: `given` is not an HTTP URL.
    """

    def __init__(self, given: UrlLike, *, timeout: float) -> None:
        if isinstance(given, str):
            check_url(given)
        elif not callable(given):
            raise TypeError(f"url: expected a str or a callable that returns one, found {type(given).__name__}")
        self._given = given
        self._timeout = timeout
        self._lock = asyncio.Lock()
        self._own: str | None = given if isinstance(given, str) else None
        self._address: Address | None = None

    @property
    def is_signed(self) -> bool:
        """Whether the URL comes from a callable."""
        return not isinstance(self._given, str)

    @property
    def own(self) -> str | None:
        """The caller's URL, or the last one that the callable returned; None before the first call."""
        return self._own

    async def resolve(self) -> Address | Again | Refused:
        """
        The current address, or why there is none. Requests at the same time share one call of the callable.

        Raises:
            FrameTimeoutError: the callable raised an error of this class. The message is another one.
            ClosedError: the interpreter is ending.
        """
        async with self._lock:
            if self._address is None:
                if self._own is None:
                    url = await self._ask()
                    if not isinstance(url, str):
                        return url
                    self._own = url
                self._address = Address(self._own, self._own)
            return self._address

    def remember(self, address: Address) -> None:
        """Keep an address that worked, unless the callable has returned another URL meanwhile."""
        if self._own == address.own:
            self._address = address

    def expire(self, address: Address) -> None:
        """Forget an address that no longer works, unless another request has done so. Start again at the caller's
        URL."""
        if self._address == address:
            self._address = None
        if self.is_signed and self._own == address.own:
            self._own = self._address = None

    async def _ask(self) -> str | Again | Refused:
        """Call the callable. Its exception may quote the URL, so the message has only the exception's type and
        place."""
        url: object = None
        error: BaseException | None = None
        limit = asyncio.timeout(self._timeout)
        with suppress(TimeoutError):  # of the limit
            async with limit:
                url, error = await self._call()
        failure = "" if error is None else f"the URL callable failed: {raised(error)}"
        if isinstance(error, FrameTimeoutError):
            raise FrameTimeoutError(failure)  # not the callable's own, whose text may have the URL
        if isinstance(error, RuntimeError) and is_ending():
            raise at_end()
        if limit.expired():
            return Again(f"the URL callable took longer than {self._timeout:g} s")
        if failure:
            return Refused(failure)
        if not isinstance(url, str):
            return Refused(f"the URL callable returned a {type(url).__name__}, expected a str")
        try:
            check_url(url)
        except ValueError as exc:
            return Refused(f"the URL callable: {exc}")
        return url

    async def _call(self) -> tuple[object, BaseException | None]:
        """The result of the callable and None, or None and its exception."""
        assert callable(self._given)
        if inspect.iscoroutinefunction(self._given):
            return await outcome(self._given)
        url, error = await in_thread(partial(_called, self._given))
        return await outcome(lambda: url) if inspect.isawaitable(url) else (url, error)


def _called(function: Callable[[], object]) -> tuple[object, BaseException | None]:
    """As :func:`outcome`, in a thread: a future cannot hold StopIteration, and GeneratorExit would end its task."""
    try:
        return function(), None
    except BaseException as exc:
        return None, exc
