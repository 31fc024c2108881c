"""
Session: one loaded source: hands out its frames, and moves its play heads.

Strategy
--------
Callers come from any thread; everything that waits for I/O runs as tasks on the library's event loop. The session's
lock guards what both use: the cache and the table of pending frames. It is held for microseconds, and never across an
await or a decode.

* *One fetch per frame.* A frame is pending from the moment it is planned or asked for until it is delivered. A caller
  that asks for a pending frame waits for the same fetch. So the same frame is never read or decoded twice at a time.
* *Asked-for before planned, newest first.* If a caller asks for a frame that no read has begun to fetch, the frame gets
  a read of its own. As many reads run as the source has request slots; prefetching and reads of whole ranges leave one
  of them free. When all slots are taken, the frame that was asked for last is read next. A read that nobody waits for
  is then cancelled, once it has taken longer than reads of this source usually take.
* *Plan, then act.* `Planner` says what to prefetch, for one play head or several. A plan is made when the frames
  ahead fall below a low-water mark, so that steady play costs one read per five sixths of a window, not one per frame.
* *A jump* drops the plan, cancels reads of the old place that nobody waits for, and starts with a small window where
  reads are cheap. Frames are decoded in groups, so the pool's threads do not work on frames of the old place for long
  either. A read of a frame that was asked for is cancelled a second after the last call for that frame, with or without
  a jump.
* *A call costs the same whatever the window.* Wide windows are planned in steps, and the loop's work for many calls in
  a row is done once.
* *Failures are delivered, never kept.* A failed prefetch pauses prefetching. The pause doubles with each failure, up to
  some seconds. A caller's own request is still tried at once.

A session never outlives its source: loading another source makes another session, so a frame of one cannot be given out
as one of the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from typing import Final

from .._config import Config
from .._exceptions import AlphaStreamError, contained_errors
from .._geometry.frame import FrameGeometry
from .._runtime.calls import held
from .._runtime.loop import LoopLease
from .bulk import Bulk
from .fetches import Pending
from .planner import BufferGoal, Head, Planner, Range
from .reader import StreamReader
from .reads import Reads
from .scheduler import Scheduler
from .slots import Slots
from .table import FrameTable

__all__ = ["Session"]

_serials: Final = itertools.count()


class Session:
    """
    One loaded source: hands out its frames, and keeps the right ones ready.

    Args:
        reader: the opened source. The session closes it.
        config: options.
        loop: the library's loop; owned by the stream.
        pool: where frames are decoded; owned by the stream.
        fps: of play, to judge how far ahead is far enough.
        goal: how far ahead to fetch.
        on_delivered: called on the loop after frames came in, or could not be had.
    """

    def __init__(
        self,
        reader: StreamReader,
        config: Config,
        loop: LoopLease,
        pool: ThreadPoolExecutor,
        *,
        fps: Fraction,
        goal: BufferGoal,
        on_delivered: Callable[[], None],
    ) -> None:
        self.serial = next(_serials)
        """No other session's. What is made of this one's frames is kept under it, which keeps no source alive."""
        self.reader = reader
        self.n_frames = len(reader.index)
        self._table = FrameTable(config.cache_frames)
        self.lock = self._table.lock
        """Guards everything here that callers and the loop share."""
        self._cache = self._table.cache
        self._loop = loop
        self._owns_source = True
        """Whether :meth:`aclose` closes the source; not when it was loaded again."""
        slots = Slots(config.http_concurrency, config.http_chunk)
        self.planner = Planner(reader, config, slots, fps, goal)
        self.head = self.planner.default
        """The play head of the stream itself."""
        self._reads = Reads(reader, pool, self.planner)
        self.network = self._reads.network
        self._scheduler = Scheduler(self._table, self.planner, self._reads, slots, loop, on_delivered)
        self.bulk = Bulk(self._table, self._reads, slots, self._scheduler, loop)
        """Reads for offline use, past the cache."""
        self.on_moved: Callable[[], object] | None = None
        """Called on the loop after the play head moved to a frame that is not here, or while :attr:`is_watched`."""
        self.is_watched = False
        """Whether every move of the play head is of interest: the state is another than playing."""
        self._ends = (0, self.n_frames - 1)

    # Asking for frames, from any thread.

    def ask(self, index: int, key: object = None) -> FrameGeometry | Pending | None:
        """
        Ask for a frame in play: moves a head there, and sees to what lies ahead.

        Args:
            index: the frame.
            key: of the play head; None is the stream's own.

        Returns:
            The frame if it is in the cache; else what to wait on, to be given back to :meth:`leave`. None if this
            session has ended.

        Raises:
            FrameNotFoundError: outside the stream.
        """
        with self.lock:
            if self._table.is_closed:
                return None
            self.reader.check(index)
            head = self.head if key is None else self.planner.head(key)
            self._play(index, head)
            geometry = self._cache.get(index)
            counters = self._table.counters
            if geometry is not None:
                counters["hits"] += 1
                head.missing, head.is_arriving = None, False
                return geometry
            pending, joined = self._join(index)
            pending.head = head
            self._miss(head, pending.asked_at)
            counters["misses"] += 1
            counters["joined"] += joined
            return pending

    def ask_offline(self, index: int) -> FrameGeometry | Pending | None:
        """As :meth:`ask`, for a frame that is no part of play: the head stays, and nothing is counted."""
        with self.lock:
            if self._table.is_closed:
                return None
            self.reader.check(index)
            return self._cache.get(index) or self._join(index)[0]

    def leave(self, index: int, pending: Pending, *, keep: bool) -> None:
        """
        Stop waiting.

        Args:
            index: the frame.
            pending: what :meth:`ask` gave.
            keep: let the fetch go on although nobody waits; otherwise it is cancelled with its last waiter, unless it
                was planned anyway.
        """
        with self.lock:
            pending.waiting -= 1
            pending.is_kept |= keep
            head = pending.head
            if head is not None and head.missing == index and pending.is_delivered:
                head.missing, head.is_arriving = None, False
            others = self._table.pending
            if pending.waiting or pending.is_kept or pending.future.done() or others.get(index) is not pending:
                return
            if pending.task is not None and sum(entry.task is pending.task for entry in others.values()) > 1:
                return  # part of a prefetched span
            self._table.forget(index, pending)  # at once, so that nobody joins a fetch that is being cancelled
            if pending.task is not None:
                self._loop.call_soon(pending.task.cancel)

    def _join(self, index: int) -> tuple[Pending, bool]:
        """Wait for a frame: join its fetch, or have one begun. Returns what to wait on, and whether a fetch was under
        way already. The lock is held."""
        pending, joined = self._table.join(index)
        if not joined:
            self._scheduler.start_soon()
        return pending, joined

    # Play heads and what is fetched in advance, from any thread.

    def ahead(self, key: object = None) -> range:
        """The frames ahead of a play head, nearest first."""
        with self.lock:
            return (self.head if key is None else self.planner.head(key)).ahead(self.n_frames)

    def seek(self, index: int, key: object, *, reverse: bool) -> bool:
        """
        Move a play head, and fetch what is there, without waiting. What the last seek asked for is given up, unless
        somebody else wants it.

        Returns:
            Whether this session is open.

        Raises:
            FrameNotFoundError: outside the stream.
        """
        with self.lock:
            if self._table.is_closed:
                return False
            self.reader.check(index)
            head = self.planner.head(key)
            self._drop_target(head)
            before, direction = head.at, head.direction
            head.seek(index, -1 if reverse else 1)
            head.jumped(before, direction)
            head.target = index
            if index not in self._cache:
                pending, _ = self._join(index)
                pending.waiting -= 1
                pending.head = head
                self._miss(head, pending.asked_at)
            elif self.on_moved is not None and head is self.head:
                self._loop.call_soon(self.on_moved)
            self._scheduler.plan_soon(jumped=True)
            return True

    def drop_head(self, key: object) -> None:
        """A play head was closed: what it alone wanted is given up."""
        with self.lock:
            self._drop_target(self.planner.head(key))
            self.planner.drop(key)
            self._scheduler.plan_soon(jumped=True)

    def prefetch(self, start: int, stop: int, future: Future[int]) -> bool:
        """
        Fetch frames in advance, after what the play heads need.

        Args:
            start: first frame.
            stop: one past the last frame.
            future: done when all were read; cancelling it ends that.

        Returns:
            Whether this session is open.

        Raises:
            NotReadyError: too many ranges wait already.
        """
        with self.lock:
            if self._table.is_closed:
                return False
            self.planner.add(Range(start, stop, future))
            self._scheduler.plan_soon()
        return True

    def look_after_ranges(self) -> None:
        """Give up the ranges that were cancelled. On the loop."""
        self._scheduler.look_after_ranges()

    def set_goal(self, goal: BufferGoal, fps: Fraction) -> None:
        """Fetch another number of frames ahead; `fps` is that of play."""
        with self.lock:
            self.planner.set_goal(goal, fps)
            self._scheduler.plan_soon()

    def pause(self, *, is_paused: bool) -> None:
        """Fetch nothing but what is asked for; or go on."""
        with self.lock:
            self._scheduler.is_paused = is_paused
            self._scheduler.plan_soon()

    def _play(self, index: int, head: Head) -> None:
        """The player is at this frame: move the head and see to prefetching. The lock is held."""
        is_lost = index not in self._cache and index not in self._table.pending
        before, direction = head.at, head.direction
        if head.move(index):
            self._scheduler.debug("jump to frame %d", index)
            head.jumped(before, direction)
            self._scheduler.plan_soon(jumped=True)
        elif is_lost or head.frontier is None:
            head.frontier = None  # planned once, and evicted or failed since
            self._scheduler.plan_soon()
        elif 0 < head.frontier < self.n_frames - 1 and head.distance_to(head.frontier) < self.planner.low_water(head):
            self._scheduler.plan_soon()
        if self.on_moved is not None and head is self.head and (self.is_watched or index in self._ends):
            self._loop.call_soon(self.on_moved)

    def _miss(self, head: Head, now: float) -> None:
        """A play head is at a frame that is not here. The lock is held."""
        if head.missing != head.at:
            head.missing, head.missing_since = head.at, now
            if self.on_moved is not None and head is self.head:
                self._loop.call_soon(self.on_moved)

    def _drop_target(self, head: Head) -> None:
        """A play head goes elsewhere: what it asked for counts no more, and the frame of its last seek is forgotten if
        nobody waits for it and it was not begun. The lock is held."""
        for entry in self._table.pending.values():
            if entry.head is head:
                entry.is_kept = False
        index, head.target = head.target, None
        if index is not None:
            pending = self._table.urgent.get(index)
            if pending is not None and not (pending.waiting or pending.is_kept or self._is_played(index, head)):
                self._table.forget(index, pending)

    def _is_played(self, index: int, but: Head | None = None) -> bool:
        """Whether a play head, but one, is at a frame. The lock is held."""
        return any(head.at == index and head is not but for head in self.planner.heads())

    # What is here, from any thread.

    def peek(self, index: int) -> FrameGeometry | None:
        """A frame if it is in the cache, without counting as a use."""
        with self.lock:
            return None if self._table.is_closed else self._cache.peek(index)

    def cached(self) -> list[int]:
        """The frames that are here, in no order."""
        with self.lock:
            return [] if self._table.is_closed else self._cache.indices()

    def status(self, index: int) -> tuple[bool, bool, AlphaStreamError | None]:
        """Whether a frame is here, and whether it is being fetched; and why the last attempt failed."""
        with self.lock:
            return index in self._cache, index in self._table.pending, self._table.failures.get(index)

    def n_buffered(self, head: Head) -> int:
        """How many frames are here without a gap, from a play head's own on. The lock is held."""
        if head.at is None:
            return 0
        index = head.at
        while index in self._cache:
            index += head.direction
        return abs(index - head.at)

    def add_counts(self, counts: dict[str, int], reasons: dict[str, int]) -> None:
        """Add what was counted here and by the source to the counters of :class:`Stats`, and to the reasons of
        retries."""
        with held(self.lock):
            for name, number in self._table.counters.items():
                counts[name] += number
            counts["reads"] += self.reader.reads
            counts["bytes_read"] += self.reader.bytes_read
            self.bulk.add_counts(counts)
            counts["evicted"] += self._cache.evicted
            if not self._table.is_closed:
                counts["cached_frames"], counts["cached_bytes"] = len(self._cache), self._cache.nbytes
            if self._owns_source:  # otherwise the source goes on counting for the session that loaded it again
                counts["requests"] += self.reader.source.requests
                counts["bytes_fetched"] += self.reader.source.bytes_received
                for reason, number in self.reader.source.retry_reasons.items():
                    counts["retries"] += number
                    reasons[reason] = reasons.get(reason, 0) + number

    # The end.

    def is_closed(self) -> bool:
        """Whether this session has ended, by closing the stream or loading another source."""
        return self._table.is_closed

    def retire(self, successor: Session) -> None:
        """Accept nothing more: the stream goes on with another session, which may have the same source."""
        with self.lock:
            self._table.is_closed = self._table.is_replaced = True
            self._owns_source = self.reader.source is not successor.reader.source

    def close(self) -> None:
        """Accept nothing more; waits and tasks end on the loop, in :meth:`aclose`."""
        with self.lock:
            self._table.is_closed = True

    async def aclose(self) -> None:
        """Cancel every task and close the source. On the loop."""
        with self.lock:
            pending = self._table.end()
            ranges = self._scheduler.end()
        for entry in pending:
            entry.fail(self._table.ended())
        for one in ranges:
            if one.future.set_running_or_notify_cancel():
                one.future.set_exception(self._table.ended())
        await self._reads.aclose()
        if self._owns_source:
            with contained_errors("closing the source"):
                await self.reader.source.aclose()
