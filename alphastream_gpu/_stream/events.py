"""
Events: what a stream tells those who listen, and the queues to them.

A queue is bounded. What is published never waits for a listener: one that is slow loses the oldest events, and the next
event that it gets says how many.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from .._runtime.callbacks import Callbacks
from .stats import LastError

__all__ = ["AsyncListener", "CallbackListener", "Listener", "StreamEvent", "StreamState"]

StreamState: TypeAlias = Literal["opening", "buffering", "playing", "stalled", "ended", "failed", "closed"]
"""The state of a stream; see :attr:`AlphaStream.state`."""

_MOST_EVENTS: Final = 64
"""Events that wait for a listener."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """
    A stream's state has changed.
    """

    state: StreamState
    """The state now."""
    previous: StreamState | None
    """The state before; None in the first event of a listener, which says what the state is."""
    frame_index: int | None
    """The frame at which the play head was; None before a frame was asked for."""
    at: float
    """When it changed, in seconds of ``time.monotonic``."""
    error: LastError | None = None
    """Why the last attempt failed, in the states ``"stalled"`` and ``"failed"``, if it did."""
    lost: int = 0
    """Events before this one that the listener has lost because it was slow, 0..2**63 - 1."""


class Listener:
    """
    The events that wait for one listener.

    No lock: the thread that takes events may be interrupted by a signal handler that waits for the loop, which puts
    them.
    """

    def __init__(self) -> None:
        self._events: deque[tuple[int, StreamEvent]] = deque()
        """With their numbers, from 0, by which gaps are seen."""
        self._numbers = itertools.count()
        self._next = 0

    def put(self, event: StreamEvent) -> None:
        """Add an event. Only the loop calls this."""
        self._events.append((next(self._numbers), event))
        if len(self._events) > _MOST_EVENTS:
            with suppress(IndexError):  # taken meanwhile
                self._events.popleft()
        self.wake()

    def take(self) -> StreamEvent | None:
        """The next event; None if there is none. Only one thread at a time calls this."""
        try:
            number, event = self._events.popleft()
        except IndexError:
            return None
        n_lost, self._next = number - self._next, number + 1
        return replace(event, lost=n_lost) if n_lost else event

    def wake(self) -> None:
        """Say that there is an event."""
        raise NotImplementedError


class CallbackListener(Listener):
    """
    Calls a function with each event, on the thread of the callbacks.

    Args:
        function: the program's.
        callbacks: the thread.
    """

    def __init__(self, function: Callable[[StreamEvent], object], callbacks: Callbacks) -> None:
        super().__init__()
        self._function = function
        self._callbacks = callbacks
        self._is_ended = False
        self._is_called = False
        """Whether a call is on its way. It takes all events, so that the queue of calls stays short."""

    def wake(self) -> None:
        if not self._is_called:
            self._is_called = True
            self._callbacks.call(self._deliver)

    def end(self) -> None:
        """Deliver nothing more."""
        self._is_ended = True

    def _deliver(self) -> None:
        self._is_called = False  # before the events are taken: one that comes now is taken now, or by another call
        event = self.take()
        if event is None or self._is_ended:
            return
        # One event a call: the function may raise an exception, and others' calls come in between.
        self.wake()
        self._function(event)


class AsyncListener(Listener):
    """
    An asynchronous iterator of events. It ends after the state ``"closed"``.

    Args:
        loop: the event loop that iterates.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._has_events = asyncio.Event()
        self._is_woken = False
        """Whether a call is on its way. A loop that is blocked must not collect one for each event."""

    def wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            with suppress(RuntimeError):  # the program's loop is closed: nobody iterates any more
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._is_woken = False  # before the events are taken: for one that comes now, there is another call
        self._has_events.set()

    async def iterate(self) -> AsyncIterator[StreamEvent]:
        """The events."""
        while True:
            self._has_events.clear()
            while (event := self.take()) is not None:
                yield event
                if event.state == "closed":
                    return
            await self._has_events.wait()
