"""
FrameTable: the frames of a session that are here, that are wanted, and that could not be had. No I/O.

The session, its scheduler and its offline reads share the table, and its lock guards what they share. The lock is held
for microseconds, and never across an await or a decode.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Final

from .._exceptions import AlphaStreamError, ClosedError, NotReadyError, TransportError
from .._geometry.frame import FrameGeometry
from .cache import GeometryCache
from .decoding import Result
from .fetches import Pending
from .plan import FrameSpan
from .stats import new_counters

__all__ = ["FrameTable"]

_MAX_URGENT: Final = 64
"""Frames that wait for a slot; of more, the one that was asked for first is forgotten."""
_MOST_FAILURES: Final = 1024
"""Frames whose failures are remembered."""


class FrameTable:
    """
    What a session knows of its frames. The methods from :meth:`ended` on take the lock where they need it;
    the others are called with the lock held.

    Args:
        cache_frames: the most frames that are kept.
    """

    def __init__(self, cache_frames: int) -> None:
        self.lock = threading.RLock()  # a signal handler may ask for counts while its thread holds it
        """Guards everything here, and what the session and its scheduler share with other threads."""
        self.cache = GeometryCache(cache_frames)
        self.pending: dict[int, Pending] = {}
        """Frames that are planned or asked for, and not here."""
        self.urgent: dict[int, Pending] = {}
        """Those of them that were asked for and wait for a slot, the newest last."""
        self.failures: dict[int, AlphaStreamError] = {}
        """Why the last attempts to get frames failed, for frames that are not here; the oldest first."""
        self.counters = new_counters()
        self.is_closed = False
        """Whether nothing is accepted any more."""
        self.is_replaced = False
        """Whether the stream goes on with another session."""

    def is_missing(self, index: int) -> bool:
        """Whether a frame that is wanted is neither here nor on its way. One that is here counts as used: it must not
        be evicted for others that are planned now."""
        return self.cache.get(index) is None and index not in self.pending

    def claim(self, span: FrameSpan) -> list[Pending]:
        """The entries of a span that is about to be read."""
        return [self.pending.setdefault(index, Pending()) for index in range(span.first, span.stop)]

    def join(self, index: int) -> tuple[Pending, bool]:
        """
        Wait for a frame that is not here.

        Returns:
            What to wait on, and whether a fetch is under way already. If not, the frame is the most urgent one now.
        """
        pending = self.pending.get(index)
        if pending is None:
            pending = self.pending[index] = Pending()
        pending.waiting += 1
        pending.asked_at = time.monotonic()
        pending.future  # noqa: B018 - made here, with the lock held
        if pending.task is not None:
            return pending, True
        self.urgent.pop(index, None)
        self.urgent[index] = pending
        for oldest in list(self.urgent)[: max(0, len(self.urgent) - _MAX_URGENT)]:
            if not self.urgent[oldest].waiting:
                self.forget(oldest, self.urgent[oldest])
        return pending, False

    def forget(self, index: int, pending: Pending) -> None:
        """A frame that nobody waits for and nobody has begun to read need not be read."""
        self.urgent.pop(index, None)
        self._remove(index, pending)

    def most_urgent(self, before: float) -> int:
        """The frame to read next: what was asked for last, unless somebody waits for another since `before`."""
        for index, pending in self.urgent.items():
            if pending.waiting and pending.asked_at < before:
                return index
        return next(reversed(self.urgent))

    def forsake(self, first: int, pending: list[Pending]) -> None:
        """Nobody shall join the fetch of these frames any more, because it is being cancelled."""
        for index, entry in enumerate(pending, first):
            self._remove(index, entry)

    def note_failure(self, index: int, error: AlphaStreamError) -> None:
        """An attempt to get a frame failed."""
        self.failures.pop(index, None)
        self.failures[index] = error
        if len(self.failures) > _MOST_FAILURES:
            del self.failures[next(iter(self.failures))]

    def _remove(self, index: int, pending: Pending) -> None:
        if self.pending.get(index) is pending:
            del self.pending[index]

    def end(self) -> list[Pending]:
        """Accept nothing more, and keep nothing. Returns the entries that whoever waits is to be told of."""
        self.is_closed = True
        pending, self.pending = list(self.pending.values()), {}
        self.urgent.clear()
        self.cache.clear()
        return pending

    def ended(self) -> AlphaStreamError:
        """Why a wait ended without a frame."""
        if self.is_replaced:
            return NotReadyError("another source was loaded during the call; ask again")
        if not self.is_closed:
            return TransportError("the source cancelled the read that it was asked for; ask again")
        return ClosedError("the stream was closed during the call")

    def deliver(self, first: int, pending: list[Pending], results: list[Result]) -> bool:
        """Give results to the cache and to whoever waits. Returns whether the session is open; if not, its end ends
        the waits."""
        with self.lock:
            if self.is_closed:
                return False
            for index, (entry, result) in enumerate(zip(pending, results, strict=True), first):
                self._remove(index, entry)
                if isinstance(result, FrameGeometry):
                    self.cache.put(index, result)
                    if self.failures:
                        self.failures.pop(index, None)
                    self.counters["decoded"] += 1
                    self.counters["prefetched"] += not (entry.waiting or entry.is_kept)
                else:
                    self.note_failure(index, result)
        for entry, result in zip(pending, results, strict=True):
            if isinstance(result, FrameGeometry):
                entry.succeed(result)
            else:
                entry.fail(result)
        return True

    def refuse(self, first: int, pending: list[Pending], error: AlphaStreamError, *, is_again: bool) -> bool:
        """
        A read failed: give its error to whoever waits.

        Args:
            first: the first frame of the read.
            pending: of its frames.
            error: why it failed.
            is_again: frames that somebody waits for become urgent, each to be read by itself, and are not refused yet.

        Returns:
            Whether the session is open.
        """
        refused = []
        with self.lock:
            if self.is_closed:
                return False
            for index, entry in enumerate(pending, first):
                if self.pending.get(index) is not entry:
                    refused.append((index, entry))
                elif entry.waiting and is_again:
                    entry.task, entry.is_alone = None, True
                    self.urgent[index] = entry
                else:
                    refused.append((index, entry))
                    del self.pending[index]
                    self.note_failure(index, error)
        for index, entry in refused:
            entry.fail(_of_frame(error, index))
        return True

    def withdraw(self, first: int, pending: list[Pending], cause: BaseException) -> None:
        """A fetch was cancelled or broke: its frames are no longer pending, and whoever waits must not hang."""
        with self.lock:
            self.forsake(first, pending)
        for entry in pending:
            entry.fail(self.ended() if isinstance(cause, asyncio.CancelledError) else cause)


def _of_frame(error: AlphaStreamError, index: int) -> AlphaStreamError:
    """The same error as one frame's own: raised by many threads at once, one object would mix up their tracebacks."""
    own = type(error)(str(error), frame_index=index)
    own.__cause__ = error.__cause__
    return own
