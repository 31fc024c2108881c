"""
Progress: repeats requests that failed for a temporary reason, and reports each failure.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..._exceptions import TransportError
from .verdict import Again, Refused

if TYPE_CHECKING:
    from tenacity import RetryCallState

__all__ = ["Outcome", "Retries", "Traffic", "all_or_none"]

Outcome = bytes | Again | Refused
"""The bytes of a range, or a failure whose text contains the address."""


@dataclass
class Traffic:
    """
    Counters of the network traffic so far.
    """

    requests: int = 0
    replies: int = 0
    bytes_received: int = 0
    """Bytes of reply bodies, including those that broke off."""


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
        from tenacity import AsyncRetrying, retry_if_result

        this = object()

        def is_too_long(state: RetryCallState) -> bool:
            wait = _asked_wait(state)
            return wait > 0 and wait >= ends_at - time.monotonic()

        def pause(state: RetryCallState) -> None:
            self._pauses[this] = time.monotonic() + state.upcoming_sleep
            self._on_attempt()

        async def attempt_and_report() -> Outcome:
            self._pauses.pop(this, None)
            outcome = await attempt()
            self.error = None if isinstance(outcome, bytes) else TransportError(outcome.text)
            if not isinstance(outcome, Again):  # otherwise pause() reports it
                self._on_attempt()
            return outcome

        def give_up(state: RetryCallState) -> Outcome:
            self._on_attempt()
            last = _failure(state)
            wait = _asked_wait(state)
            if not is_too_long(state):
                return last
            return replace(last, text=f"{last.text}; the server asks to wait {wait:g} s, past the deadline")

        retrying = AsyncRetrying(
            stop=lambda state: state.attempt_number > self._retries or is_too_long(state),
            wait=self._wait,
            retry=retry_if_result(lambda outcome: isinstance(outcome, Again)),
            before_sleep=pause,
            retry_error_callback=give_up,
        )
        try:
            outcome: Outcome = await retrying(attempt_and_report)
            return outcome
        finally:
            self._pauses.pop(this, None)

    def _wait(self, state: RetryCallState) -> float:
        """Seconds before the next attempt."""
        pause: float = self._backoff * 2 ** (state.attempt_number - 1) * random.uniform(1, 2)
        return max(pause, _asked_wait(state))


def _failure(state: RetryCallState) -> Again:
    assert state.outcome is not None
    failure = state.outcome.result()
    assert isinstance(failure, Again)
    return failure


def _asked_wait(state: RetryCallState) -> float:
    """Seconds that the server asks to wait; 0 if it does not ask."""
    return _failure(state).retry_after or 0.0


async def all_or_none(reads: list[Coroutine[Any, Any, bytes]]) -> list[bytes]:
    """Await all reads. The first failure cancels the others. A TaskGroup would wrap the failure in a group."""
    tasks = [asyncio.ensure_future(read) for read in reads]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
