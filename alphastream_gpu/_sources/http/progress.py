"""
Progress: repeats requests that failed for a temporary reason, and reports each failure.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final, TypeVar

from ..._exceptions import TransportError
from ..base import RequestTiming
from .verdict import Again, Refused

__all__ = ["Outcome", "Retries", "Traffic", "all_or_none"]

T = TypeVar("T")

_KEPT_TIMINGS: Final = 64
_MOST_REASONS: Final = 32
_OTHERS: Final = "other reasons"
_logger = logging.getLogger("alphastream_gpu")

Outcome = bytes | Again | Refused
"""The bytes of a range, or a failure whose text contains the address."""


@dataclass(eq=False)
class Traffic:
    """
    Counters of the network traffic so far.
    """

    requests: int = 0
    replies: int = 0
    bytes_received: int = 0
    """Bytes of reply bodies, including those that broke off."""
    timings: deque[RequestTiming] = field(default_factory=lambda: deque(maxlen=_KEPT_TIMINGS))
    """Of the last requests."""

    def note(self, began_at: float, outcome: object) -> None:
        """A request has ended, with the bytes of a range or a failure that has a text."""
        n_bytes = len(outcome) if isinstance(outcome, bytes) else 0
        failure = None if isinstance(outcome, bytes) else str(getattr(outcome, "text", "failed"))
        self.timings.append(RequestTiming(began_at, time.monotonic() - began_at, n_bytes, failure))


class Retries:
    """
    Repeats failed attempts, for several reads at the same time.

    Args:
        retries: how often an attempt is repeated.
        backoff: seconds before the first retry. They double with each retry; up to as much again is added at random.
        on_attempt: called after each attempt.
    """

    def __init__(self, retries: int, backoff: float, on_attempt: Callable[[], None]) -> None:
        self._retries = retries
        self._backoff = backoff
        self._on_attempt = on_attempt
        self._pauses: dict[object, float] = {}
        self.reasons: dict[str, int] = {}
        """How often an attempt was repeated, by the reason; of many reasons, the later ones under one name."""
        self.error: TransportError | None = None
        """Why the last attempt failed; None after a successful attempt."""

    def next_attempt_at(self) -> float | None:
        """The time of the next attempt, in seconds of ``time.monotonic``; None if no read waits for one."""
        return min(tuple(self._pauses.values()), default=None)  # a copy, because other threads call this, too

    async def run(self, attempt: Callable[[], Awaitable[Outcome]], ends_at: float) -> Outcome:
        """
        Repeat an attempt while it returns :class:`Again`.

        Args:
            attempt: a function that makes one attempt.
            ends_at: the deadline, a time of ``time.monotonic``. If a server asks to wait past it, this gives up at
                once.

        Returns:
            The result of the last attempt.
        """
        this = object()
        for number in count():
            outcome = await attempt()
            self._pauses.pop(this, None)
            self.error = None if isinstance(outcome, bytes) else TransportError(outcome.text)
            if not isinstance(outcome, Again):
                self._on_attempt()
                return outcome
            asked = outcome.retry_after or 0.0
            is_too_long = 0.0 < asked >= ends_at - time.monotonic()
            if number == self._retries or is_too_long:
                self._on_attempt()
                if not is_too_long:
                    return outcome
                return replace(outcome, text=f"{outcome.text}; the server asks to wait {asked:g} s, past the deadline")
            pause = max(self._backoff * 2**number * random.uniform(1, 2), asked)
            _logger.debug("%s; retry %d of %d in %.2f s", outcome.text, number + 1, self._retries, pause)
            reason = outcome.text if outcome.text in self.reasons or len(self.reasons) < _MOST_REASONS else _OTHERS
            self.reasons = {**self.reasons, reason: self.reasons.get(reason, 0) + 1}  # other threads read it
            self._pauses[this] = time.monotonic() + pause
            self._on_attempt()
            try:
                await asyncio.sleep(pause)
            finally:
                self._pauses.pop(this, None)
        raise AssertionError  # the loop does not end by itself


async def all_or_none(reads: list[Coroutine[Any, Any, T]]) -> list[T]:
    """Await all reads. The first failure cancels the others. A TaskGroup would wrap the failure in a group."""
    tasks = [asyncio.ensure_future(read) for read in reads]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
