"""
Scheduler: begins and ends the reads of a session, on the library's event loop: what was asked for first, then what the
planner wants. ``session.py`` describes the strategy.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from .._exceptions import AlphaStreamError
from .._runtime.loop import LoopLease
from .decoding import decode_each
from .fetches import Fetch, Pending
from .plan import FrameSpan
from .planner import Head, Planner, Range
from .reads import Reads, may_do_for_less
from .slots import Slots
from .table import FrameTable

__all__ = ["Scheduler"]

_DECODE_GROUP: Final = 16
"""Frames decoded per visit to the pool: half a millisecond, so that nobody waits long for a worker."""
_INLINE_BLOCK_BYTES: Final = 32 * 1024
"""A block up to this size that somebody waits for is decoded on the loop: faster than going to the pool and back."""
_KEPT_SECONDS: Final = 1.0
"""How long after the last call for it a frame is fetched on although play jumped elsewhere. Two players on one stream
jump back and forth all the time, and each must get its frames; a network that hangs must not keep its slots for
ever."""
_PATIENCE_SECONDS: Final = 0.025
"""How much longer than the average read one may take that nobody waits for, when a frame that somebody waits for has no
slot."""
_QUEUED_SECONDS: Final = 0.1
"""How long after the last call for it a frame is still worth a slot that it has not got: players ask again with every
picture."""
_PLAN_PAUSE: Final = 0.001
"""Seconds between two steps."""
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 8.0

_logger = logging.getLogger("alphastream_gpu")


class Scheduler:
    """
    The reads in play of one session.

    Args:
        table: of the session's frames.
        planner: of what lies ahead.
        reads: reads and decodes.
        slots: request slots of the source.
        loop: the library's loop.
        on_delivered: called on the loop after frames came in, or could not be had.
    """

    def __init__(
        self,
        table: FrameTable,
        planner: Planner,
        reads: Reads,
        slots: Slots,
        loop: LoopLease,
        on_delivered: Callable[[], None],
    ) -> None:
        self._table = table
        self._planner = planner
        self._reads = reads
        self._reader = reads.reader
        self._slots = slots
        self._loop = loop
        self._on_delivered = on_delivered
        self.on_free: Callable[[], None] = lambda: None
        """Called on the loop when slots may be free for reads that are not of play."""
        self.is_paused = False
        """Whether nothing is fetched but what is asked for."""
        self._fetches: dict[asyncio.Task[AlphaStreamError | None], Fetch] = {}
        self._pause = self._paused_until = self._planned_from = self._planned_at = 0.0
        """How long reading ahead pauses after a failure; when it begins again; when it begins after a frame that was
        asked for; and when the last plan was made."""
        self._is_planning = self._is_abandoning = self._is_starting = False
        """What is to be done on the loop already; doing it once serves everyone who asked."""
        self._expiry: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None

    # From any thread, with the lock held.

    # Each is scheduled first, and then marked as scheduled. After Ctrl-C in between, it is done twice; in the other
    # order, it would never be done again. The lock is held, so the loop cannot come to it in between.

    def plan_soon(self, *, jumped: bool = False) -> None:
        """See to what lies ahead; after a jump, also to what is under way for another place."""
        if jumped and not self._is_abandoning:
            self._loop.call_soon(self._abandon)
            self._is_abandoning = True
        if not self._is_planning and not self._table.is_closed:
            self._loop.call_soon(self._plan)
            self._is_planning = True

    def start_soon(self) -> None:
        """See to the frames that were asked for."""
        if not self._is_starting and not self._table.is_closed:
            self._loop.call_soon(self._start_urgent)
            self._is_starting = True

    def debug(self, text: str, *values: object) -> None:
        """Log on the loop, not with the lock held: a handler of the host's may take long, or call this library."""
        if _logger.isEnabledFor(logging.DEBUG):
            self._loop.call_soon(_logger.debug, text, *values)

    def end(self) -> list[Range]:
        """Begin nothing more. Returns the ranges that were not completed."""
        for timer in (self._expiry, self._retry):
            if timer is not None:
                timer.cancel()
        ranges, self._planner.ranges = self._planner.ranges, []
        return ranges

    # On the loop.

    def look_after_ranges(self) -> None:
        """Complete the ranges that are read, and give up those that were cancelled."""
        table, planner = self._table, self._planner
        done: list[Range] = []
        with table.lock:
            for one in list(planner.ranges):
                if one.future.cancelled():
                    planner.ranges.remove(one)
                    self._loop.call_soon(self._abandon)
                elif one.is_read and not any(i in table.pending for i in range(one.start, one.stop)):
                    planner.ranges.remove(one)
                    done.append(one)
            counts = [sum(i in table.cache for i in range(one.start, one.stop)) for one in done]
        for one, n_here in zip(done, counts, strict=True):
            if one.future.set_running_or_notify_cancel():
                if one.error is not None:
                    one.future.set_exception(one.error)
                else:
                    one.future.set_result(n_here)
        if done:
            with table.lock:
                self.plan_soon()

    def _plan(self) -> None:
        """Start reading what lies ahead and is neither here nor on its way."""
        now = time.monotonic()
        table, planner, network = self._table, self._planner, self._reads.network
        with table.lock:
            self._is_planning = False
            if table.is_closed or self.is_paused or self._slots.n_free <= 0:
                return
            begins_at = max(self._paused_until, self._planned_from)
            if now < begins_at:
                self._is_planning = True
                asyncio.get_running_loop().call_later(begins_at - now, self._plan)
                return
            if table.urgent:
                return  # those first; the last one started plans again
            planner.bandwidth, planner.latency = network.bandwidth, network.latency
            self._planned_at = now
            plan = planner.plan(table.is_missing)
            for owner, span in plan.reads:
                self._begin(span, owner=owner)
            if plan.is_unfinished and self._slots.n_free > 0:
                # Not at once: a caller that waits for the lock would not get it between two steps.
                self._is_planning = True
                asyncio.get_running_loop().call_later(_PLAN_PAUSE, self._plan)
            has_ranges = bool(planner.ranges)
        if has_ranges:
            self.look_after_ranges()

    def _begin(self, span: FrameSpan, *, owner: Head | Range | None = None) -> None:
        """Start to read a span, for whoever it was planned for; None if it was asked for. The lock is held."""
        pending = self._table.claim(span)
        task = asyncio.get_running_loop().create_task(self._fetch(span, pending))
        n_slots = self._slots.needed(span.bytes)
        self._slots.take(n_slots, is_urgent=owner is None)
        if owner is not None:
            owner.n_slots += n_slots
            self._planner.n_bytes += self._planner.cost(span)
        self._fetches[task] = Fetch(span, pending, time.monotonic(), owner, n_slots)
        for entry in pending:
            entry.task = task
        # In a callback: a task that is cancelled before its first step never runs a line of its own.
        task.add_done_callback(self._end)
        self._reads.track(task)

    def _end(self, task: asyncio.Task[AlphaStreamError | None]) -> None:
        """A fetch ended: its slot is free, and after a planned one that failed prefetching pauses."""
        with self._table.lock:
            fetch = self._fetches.pop(task)
            owner = fetch.owner
            self._slots.give_back(fetch.n_slots, is_urgent=owner is None)
            if owner is not None:
                owner.n_slots -= fetch.n_slots
                self._planner.n_bytes -= self._planner.cost(fetch.span)
                if task.cancelled():
                    owner.read_again(fetch.span.first)
                else:
                    error = task.exception() or task.result()
                    if error is not None:
                        self._pause = min(_LONGEST_PAUSE, 2 * self._pause or _FIRST_PAUSE)
                        self._paused_until = time.monotonic() + self._pause
                        self.debug("a read ahead failed; the next begins in %g s", self._pause)
                        owner.read_again(fetch.span.first)
                        if isinstance(owner, Range) and isinstance(error, AlphaStreamError):
                            owner.fail(error)
                    else:
                        self._pause = 0.0
            self.plan_soon()  # also after a read that was asked for: it may have had the only slot
            if self._table.urgent:
                self.start_soon()
            has_ranges = bool(self._planner.ranges)
        self.on_free()
        if has_ranges:
            self.look_after_ranges()

    def _start_urgent(self) -> None:
        """Read what was asked for last, and on, as far as there are slots."""
        now = time.monotonic()
        table, planner = self._table, self._planner
        with table.lock:
            self._is_starting = False
            self.on_free()
            if table.is_closed or not table.urgent:
                return
            n_bytes = 0
            while table.urgent:
                index = table.most_urgent(now - 2 * planner.read_seconds - _QUEUED_SECONDS)
                pending = table.urgent[index]
                if table.pending.get(index) is not pending or pending.task is not None:
                    del table.urgent[index]  # given up or planned meanwhile
                elif not pending.waiting and pending.asked_at < now - _QUEUED_SECONDS and not self._is_sought(index):
                    table.forget(index, pending)
                elif self._slots.is_free:
                    del table.urgent[index]
                    single = self._reader.span(index, index + 1)
                    span = single if pending.is_alone else planner.bundle(index, table.is_missing)
                    n_bytes += planner.cost(span)
                    self._begin(span)
                else:
                    self._make_room(now)
                    return
            if self._expiry is None:
                self._expiry = asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._expire)
            wait = planner.time_for(n_bytes)
            if wait > _PLAN_PAUSE and self._planned_from <= self._planned_at:  # once a plan: many askings delay no plan
                self._planned_from = now + wait
            self.plan_soon()

    def _is_sought(self, index: int) -> bool:
        """Whether a play head was sent to a frame, and is there. The lock is held."""
        return any(head.target == head.at == index for head in self._planner.heads())

    def _make_room(self, now: float) -> None:
        """All slots are taken: cancel the fetch that nobody waits for the longest, or see to it later. The lock is
        held."""
        patience = self._planner.read_seconds + _PATIENCE_SECONDS
        idle = {
            task: fetch for task, fetch in self._fetches.items() if not task.cancelling() and not fetch.is_waited_for
        }
        overdue = [task for task, fetch in idle.items() if fetch.began_at + patience <= now]
        if overdue:
            task = min(overdue, key=lambda task: idle[task].last_asked_and_begun)
            self._forsake(task)
            task.cancel()
            self.debug("1 read abandoned: a frame that was asked for needs its slot")
        elif self._retry is None:
            soonest = min((fetch.began_at for fetch in idle.values()), default=now) + patience
            wait = max(soonest - now, 0.001)
            self._retry = asyncio.get_running_loop().call_later(wait, self._start_again)

    def _start_again(self) -> None:
        with self._table.lock:
            self._retry = None
            self.start_soon()

    def _expire(self) -> None:
        """A while after a frame was asked for: cancel what nobody has asked for since, and look again later."""
        self._abandon()
        with self._table.lock:
            self._expiry = None
            if self._fetches and not self._table.is_closed:
                self._expiry = asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._expire)

    def _abandon(self) -> None:
        """Cancel the fetches none of whose frames anybody waits for, asked for lately, or is about to play."""
        planner = self._planner
        with self._table.lock:
            self._is_abandoning = False
            places = [head.reach(len(self._reader.index)) for head in planner.heads()]
            recent = time.monotonic() - _KEPT_SECONDS
            stale = [
                task
                for task, fetch in self._fetches.items()
                if not task.cancelling() and not (fetch.owner in planner.ranges or fetch.is_wanted(places, recent))
            ]
            for task in stale:
                self._forsake(task)
        if stale:
            self.debug("%d reads abandoned: play is at frame %d", len(stale), planner.default.at)
        for task in stale:
            task.cancel()

    def _forsake(self, task: asyncio.Task[AlphaStreamError | None]) -> None:
        """A fetch is about to be cancelled. The lock is held."""
        fetch = self._fetches[task]
        self._table.forsake(fetch.span.first, fetch.pending)
        self._table.counters["abandoned"] += 1

    async def _fetch(self, span: FrameSpan, pending: list[Pending]) -> AlphaStreamError | None:
        """Read, decode and deliver a span; the error if the source failed. Frames that are not delivered are
        withdrawn."""
        table = self._table
        try:
            blocks = await self._reads.read(span)
        except AlphaStreamError as exc:
            self._refuse(span, pending, exc)
            return exc
        except BaseException as exc:
            table.withdraw(span.first, pending, exc)
            raise
        at = 0
        while at < len(blocks):
            group, first, began_at = blocks[at : at + _DECODE_GROUP], span.first + at, time.monotonic()
            try:
                if len(blocks) == 1 and len(blocks[0]) <= _INLINE_BLOCK_BYTES:
                    results = decode_each(self._reader, first, group)
                else:
                    results = await self._reads.in_pool(decode_each, first, group)
            except BaseException as exc:
                table.withdraw(first, pending[at:], exc)
                raise
            if table.deliver(first, pending[at : at + len(results)], results):
                self._on_delivered()
            at += len(results)
            if at < len(blocks):
                await asyncio.sleep(time.monotonic() - began_at)
        return None

    def _refuse(self, span: FrameSpan, pending: list[Pending], error: AlphaStreamError) -> None:
        """A read failed. Where it may do for less, frames that somebody waits for are read again, each by itself."""
        if self._table.refuse(span.first, pending, error, is_again=may_do_for_less(span, error)):
            with self._table.lock:
                if self._table.urgent:
                    self.start_soon()
            self._on_delivered()
