"""
Where a file is: the URL that the caller or a callable of the caller's gives, and where redirects led from there.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Callable
from pathlib import PurePath

from ..._exceptions import FrameTimeoutError
from .address import Address, check_url
from .verdict import Again, Refused

__all__ = ["Locator", "UrlLike"]

UrlLike = str | Callable[[], str | Awaitable[str]]
"""A URL, or a callable that returns one, such as a signer; called again once after 401 or 403."""


class Locator:
    """
    Remembers an address until it no longer serves.

    Args:
        given: a URL, or a callable that gives one. A callable that is no coroutine function runs in a thread.
        timeout: seconds for one call.

    Raises:
        TypeError: `given` is neither.
        ValueError: `given` is no HTTP address.
    """

    def __init__(self, given: UrlLike, *, timeout: float) -> None:
        if isinstance(given, str):
            check_url(given)
        elif not callable(given):
            raise TypeError(f"url: expected a str or a callable that gives one, found {type(given).__name__}")
        self._given = given
        self._timeout = timeout
        self._lock = asyncio.Lock()
        self._own: str | None = given if isinstance(given, str) else None
        self._address: Address | None = None

    @property
    def is_signed(self) -> bool:
        """Whether a callable gives the URL."""
        return not isinstance(self._given, str)

    @property
    def own(self) -> str | None:
        """The URL that was given last; None before a callable was asked."""
        return self._own

    async def resolve(self) -> Address | Again | Refused:
        """
        The address in use, or why there is none. Many requests make one call.

        Raises:
            FrameTimeoutError: the callable raised it.
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
        """Use the address that served, unless the URL was given anew meanwhile."""
        if self._own == address.own:
            self._address = address

    def expire(self, address: Address) -> None:
        """An address no longer serves; unless another request found that out first, begin at the one before it."""
        if self._address == address:
            self._address = None
        if self.is_signed and self._own == address.own:
            self._own = self._address = None

    async def _ask(self) -> str | Again | Refused:
        """Call the callable. What it raises may quote the URL, so only the kind of failure and the place are told."""
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                url = await self._call()
        except FrameTimeoutError:
            raise
        except Exception as exc:  # the caller's code, which may raise anything
            if limit.expired():
                return Again(f"the callable that gives the URL took longer than {self._timeout:g} s")
            return Refused(f"the callable that gives the URL failed: {type(exc).__name__}{_place(exc)}")
        if not isinstance(url, str):
            return Refused(f"the callable that gives the URL returned a {type(url).__name__}, expected a str")
        try:
            check_url(url)
        except ValueError as exc:
            return Refused(f"the callable that gives the URL: {exc}")
        return url

    async def _call(self) -> object:
        assert callable(self._given)
        if inspect.iscoroutinefunction(self._given):
            return await self._given()
        url = await asyncio.to_thread(_called, self._given)
        return await url if inspect.isawaitable(url) else url


def _called(function: Callable[[], object]) -> object:
    try:
        return function()
    except StopIteration as exc:  # which no future can carry
        error = RuntimeError(f"StopIteration{_place(exc)}")
    raise error


def _place(exc: BaseException) -> str:
    """Where an exception was raised."""
    frames = traceback.extract_tb(exc.__traceback__)
    return f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
