"""
Fetches: keeps track of the pending frames and of the reads under way for them, and decides which reads may be
cancelled. No I/O.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple

from .._exceptions import AlphaStreamError
from .._geometry.frame import FrameGeometry
from .plan import FrameSpan
from .planner import Head, Range

__all__ = ["Fetch", "Pending"]


class Pending:
    """A frame that is being fetched, or about to be."""

    __slots__ = ("_future", "asked_at", "head", "is_alone", "is_kept", "task", "waiting")

    def __init__(self) -> None:
        self._future: Future[FrameGeometry] | None = None
        self.task: asyncio.Task[AlphaStreamError | None] | None = None
        """The fetch that delivers it; None until it runs."""
        self.waiting = 0
        """Callers that wait right now."""
        self.is_kept = False
        """Somebody asked and gave up waiting: fetched all the same, for it was said to be still coming."""
        self.is_alone = False
        """It is read by itself, because a read of several frames failed."""
        self.head: Head | None = None
        """The play head that asked last."""
        self.asked_at = 0.0
        """When somebody asked last."""

    @property
    def future(self) -> Future[FrameGeometry]:
        """
        The outcome, for whoever waits; asked for first with the session's lock held.

        It is made then, and not before: a Future takes 8 µs, and hardly one of the frames that a plan holds is waited
        for.
        """
        if self._future is None:
            self._future = Future()
        return self._future

    @property
    def is_delivered(self) -> bool:
        """Whether whoever waited was given the frame."""
        return self._future is not None and self._future.done() and self._future.exception() is None

    def succeed(self, geometry: FrameGeometry) -> None:
        """Deliver the frame. Nobody can join any more."""
        if self._future is not None and not self._future.done():
            self._future.set_result(geometry)

    def fail(self, error: BaseException) -> None:
        """Deliver an error. Nobody can join any more."""
        if self._future is not None and not self._future.done():
            self._future.set_exception(error)


class Fetch(NamedTuple):
    """A read that is under way."""

    span: FrameSpan
    pending: list[Pending]
    """Of its frames."""
    began_at: float
    owner: Head | Range | None
    """What it was planned for; None if somebody asked for it."""
    n_slots: int

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for one of its frames right now."""
        return any(entry.waiting for entry in self.pending)

    @property
    def last_asked_and_begun(self) -> tuple[float, float]:
        """When somebody asked last for one of its frames, and when it began: the least is the first to give up."""
        return max(entry.asked_at for entry in self.pending), self.began_at

    def is_wanted(self, places: Sequence[range], recent: float) -> bool:
        """
        Whether somebody waits for one of its frames or asked for one lately, or is about to play most of them.

        Args:
            places: the frames that are about to be played.
            recent: since when an asking counts.
        """
        if any(entry.waiting or (entry.is_kept and entry.asked_at > recent) for entry in self.pending):
            return True
        first, stop = self.span.first, self.span.stop
        n_near = (min(stop, near.stop) - max(first, near.start) for near in places)
        return 2 * max(n_near, default=0) >= stop - first
