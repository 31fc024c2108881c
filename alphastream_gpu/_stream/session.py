"""
Session: one loaded source, its cache, and the scheduler that keeps the right frames ready.

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

import asyncio
import itertools
import logging
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from typing import Any, Final, TypeVar

from .._config import Config
from .._exceptions import AlphaStreamError, ClosedError, NotReadyError, TransportError, contained_errors
from .._geometry.frame import FrameGeometry
from .._runtime.calls import held
from .._runtime.loop import LoopLease
from .._sources import FileSource, MemorySource, Source
from .._sources.base import SilentServerError
from .._sources.http.progress import all_or_none
from .cache import GeometryCache
from .decoding import Result, decode_each, decode_some
from .fetches import Fetch, Pending
from .network import Network
from .plan import FrameSpan, groups, plan_batch
from .planner import BufferGoal, Head, Planner, Range
from .reader import FIRST_READ_BYTES, StreamReader
from .slots import Slots
from .stats import new_counters

__all__ = ["Session"]

T = TypeVar("T")

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
_MAX_URGENT: Final = 64
"""Frames that wait for a slot; of more, the one that was asked for first is forgotten."""
_PLAN_PAUSE: Final = 0.001
"""Seconds between two steps."""
_BATCH_FRAMES: Final = 256
_BATCH_BYTES: Final = 1024 * 1024
"""`frames` reads and decodes this much at a time: enough to make the crossing between threads cheap, little enough that
an abandoned iteration wastes nothing worth counting."""
_GROUP_BYTES: Final = 8 * 1024 * 1024
"""`read_batch` reads this much before it decodes."""
_WORTH_A_REQUEST: Final = 64 * 1024
"""Bytes that take no longer than a request to a server does."""
_MOST_FAILURES: Final = 1024
"""Frames whose failures are remembered."""
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 8.0

_logger = logging.getLogger("alphastream_gpu")
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
        self.lock = threading.RLock()  # a signal handler may ask for counts while its thread holds it
        """Guards everything here that callers and the loop share."""
        self._is_replaced = False
        """Whether the stream goes on with another session."""
        self._owns_source = True
        """Whether :meth:`aclose` closes the source; not when it was loaded again."""
        self._on_delivered = on_delivered
        self._config = config
        self._loop = loop
        self._pool = pool
        self._counters = new_counters()
        self._reads_here = self._bytes_here = 0
        """Reads that callers made on their own threads."""
        self._cache = GeometryCache(config.cache_frames)
        self._pending: dict[int, Pending] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._urgent: dict[int, Pending] = {}
        """Frames that wait for a slot, the newest last."""
        self._fetches: dict[asyncio.Task[AlphaStreamError | None], Fetch] = {}
        self._jobs: set[Future[Any]] = set()
        """What is being decoded in the pool."""
        self._slots = Slots(config.http_concurrency, config.http_chunk)
        self._bulk: deque[tuple[int, asyncio.Future[None]]] = deque()
        """Reads of ranges that wait for slots, and how many each needs. Only the loop uses it."""
        self.planner = Planner(reader, config, self._slots, fps, goal)
        self.head = self.planner.default
        """The play head of the stream itself."""
        self.network = Network(reader.open_seconds, min(FIRST_READ_BYTES, reader.bytes_read))
        self.failures: dict[int, AlphaStreamError] = {}
        """Why the last attempts to get frames failed, for frames that are not here; the oldest first."""
        self.on_moved: Callable[[], object] | None = None
        """Called on the loop after the play head moved to a frame that is not here, or while :attr:`is_watched`."""
        self.is_watched = False
        """Whether every move of the play head is of interest: the state is another than playing."""
        self.is_paused = False
        """Whether nothing is fetched but what is asked for."""
        self._ends = (0, self.n_frames - 1)
        self._batch_frames = _BATCH_FRAMES
        self._pause = self._paused_until = self._planned_from = self._planned_at = 0.0
        """How long reading ahead pauses after a failure; when it begins again; when it begins after a frame that was
        asked for; and when the last plan was made."""
        self._is_planning = self._is_abandoning = self._is_starting = False
        """What is to be done on the loop already; doing it once serves everyone who asked."""
        self._expiry: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._closed = False

    # From any thread.

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
            if self._closed:
                return None
            self.reader.check(index)
            head = self.head if key is None else self.planner.head(key)
            self._play(index, head)
            geometry = self._cache.get(index)
            if geometry is not None:
                self._counters["hits"] += 1
                head.missing, head.is_arriving = None, False
                return geometry
            pending, joined = self._join(index)
            pending.head = head
            self._miss(head, pending.asked_at)
            self._counters["misses"] += 1
            self._counters["joined"] += joined
            return pending

    def ask_offline(self, index: int) -> FrameGeometry | Pending | None:
        """As :meth:`ask`, for a frame that is no part of play: the head stays, and nothing is counted."""
        with self.lock:
            if self._closed:
                return None
            self.reader.check(index)
            return self._cache.get(index) or self._join(index)[0]

    def peek(self, index: int) -> FrameGeometry | None:
        """A frame if it is in the cache, without counting as a use."""
        with self.lock:
            return None if self._closed else self._cache.peek(index)

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
            if self._closed:
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
            self._plan_soon(jumped=True)
            return True

    def _drop_target(self, head: Head) -> None:
        """A play head goes elsewhere: what it asked for counts no more, and the frame of its last seek is forgotten if
        nobody waits for it and it was not begun. The lock is held."""
        for entry in self._pending.values():
            if entry.head is head:
                entry.is_kept = False
        index, head.target = head.target, None
        if index is not None:
            pending = self._urgent.get(index)
            if pending is not None and not (pending.waiting or pending.is_kept or self._is_played(index, head)):
                self._forget(index, pending)

    def _is_played(self, index: int, but: Head | None = None) -> bool:
        """Whether a play head, but one, is at a frame. The lock is held."""
        return any(head.at == index and head is not but for head in self.planner.heads())

    def prefetch(self, start: int, stop: int, future: Future[int]) -> bool:
        """
        Fetch frames in advance, after what the play heads need.

        Args:
            start: first frame.
            stop: one past the last frame.
            future: done when all were read; cancelling it ends that.

        Returns:
            Whether this session is open.
        """
        with self.lock:
            if self._closed:
                return False
            self.planner.ranges.append(Range(start, stop, future))
            self._plan_soon()
        return True

    def look_after_ranges(self) -> None:
        """Complete the ranges that are read, and give up those that were cancelled. On the loop."""
        done: list[Range] = []
        with self.lock:
            for one in list(self.planner.ranges):
                if one.future.cancelled():
                    self.planner.ranges.remove(one)
                    self._loop.call_soon(self._abandon)
                elif one.is_read and not any(i in self._pending for i in range(one.start, one.stop)):
                    self.planner.ranges.remove(one)
                    done.append(one)
            counts = [sum(i in self._cache for i in range(one.start, one.stop)) for one in done]
        for one, n_here in zip(done, counts, strict=True):
            if one.future.set_running_or_notify_cancel():
                if one.error is not None:
                    one.future.set_exception(one.error)
                else:
                    one.future.set_result(n_here)
        if done:
            with self.lock:
                self._plan_soon()

    def set_goal(self, goal: BufferGoal, fps: Fraction) -> None:
        """Fetch another number of frames ahead; `fps` is that of play."""
        with self.lock:
            self.planner.set_goal(goal, fps)
            self._plan_soon()

    def pause(self, *, is_paused: bool) -> None:
        """Fetch nothing but what is asked for; or go on."""
        with self.lock:
            self.is_paused = is_paused
            self._plan_soon()

    def drop_head(self, key: object) -> None:
        """A play head was closed: what it alone wanted is given up."""
        with self.lock:
            self._drop_target(self.planner.head(key))
            self.planner.drop(key)
            self._plan_soon(jumped=True)

    def cached(self) -> list[int]:
        """The frames that are here, in no order."""
        with self.lock:
            return [] if self._closed else self._cache.indices()

    def has(self, index: int) -> bool:
        """Whether a frame is here. The lock is held."""
        return index in self._cache

    def n_buffered(self, head: Head) -> int:
        """How many frames are here without a gap, from a play head's own on. The lock is held."""
        if head.at is None:
            return 0
        index = head.at
        while index in self._cache:
            index += head.direction
        return abs(index - head.at)

    def status(self, index: int) -> tuple[bool, bool, AlphaStreamError | None]:
        """Whether a frame is here, and whether it is being fetched; and why the last attempt failed."""
        with self.lock:
            return index in self._cache, index in self._pending, self.failures.get(index)

    def _miss(self, head: Head, now: float) -> None:
        """A play head is at a frame that is not here. The lock is held."""
        if head.missing != head.at:
            head.missing, head.missing_since = head.at, now
            if self.on_moved is not None and head is self.head:
                self._loop.call_soon(self.on_moved)

    def is_closed(self) -> bool:
        """Whether this session has ended, by closing the stream or loading another source."""
        return self._closed

    def add_counts(self, counts: dict[str, int], reasons: dict[str, int]) -> None:
        """Add what was counted here and by the source to the counters of :class:`Stats`, and to the reasons of
        retries."""
        with held(self.lock):
            for name, number in self._counters.items():
                counts[name] += number
            counts["reads"] += self.reader.reads + self._reads_here
            counts["bytes_read"] += self.reader.bytes_read + self._bytes_here
            counts["evicted"] += self._cache.evicted
            if not self._closed:
                counts["cached_frames"], counts["cached_bytes"] = len(self._cache), self._cache.nbytes
            if self._owns_source:  # otherwise the source goes on counting for the session that loaded it again
                counts["requests"] += self.reader.source.requests
                counts["bytes_fetched"] += self.reader.source.bytes_received
                for reason, number in self.reader.source.retry_reasons.items():
                    counts["retries"] += number
                    reasons[reason] = reasons.get(reason, 0) + number

    def retire(self, successor: Session) -> None:
        """Accept nothing more: the stream goes on with another session, which may have the same source."""
        with self.lock:
            self._closed = self._is_replaced = True
            self._owns_source = self.reader.source is not successor.reader.source

    def _debug(self, text: str, *values: object) -> None:
        """Log on the loop, not with the lock held: a handler of the host's may take long, or call this library."""
        if _logger.isEnabledFor(logging.DEBUG):
            self._loop.call_soon(_logger.debug, text, *values)

    def _play(self, index: int, head: Head) -> None:
        """The player is at this frame: move the head and see to prefetching. The lock is held."""
        is_lost = index not in self._cache and index not in self._pending
        before, direction = head.at, head.direction
        if head.move(index):
            self._debug("jump to frame %d", index)
            head.jumped(before, direction)
            self._plan_soon(jumped=True)
        elif is_lost or head.frontier is None:
            head.frontier = None  # planned once, and evicted or failed since
            self._plan_soon()
        elif 0 < head.frontier < self.n_frames - 1 and head.distance_to(head.frontier) < self.planner.low_water(head):
            self._plan_soon()
        if self.on_moved is not None and head is self.head and (self.is_watched or index in self._ends):
            self._loop.call_soon(self.on_moved)

    def _join(self, index: int) -> tuple[Pending, bool]:
        """
        Wait for a frame: join its fetch, or start one. The lock is held.

        Returns:
            What to wait on, and whether a fetch was under way already.
        """
        pending = self._pending.get(index)
        joined = pending is not None and pending.task is not None
        if pending is None:
            pending = self._pending[index] = Pending()
        pending.waiting += 1
        pending.asked_at = time.monotonic()
        pending.future  # noqa: B018 - made here, with the lock held
        if pending.task is None:
            self._urgent.pop(index, None)
            self._urgent[index] = pending  # the newest now
            self._forget_oldest()
            self._start_soon()
        return pending, joined

    def _forget_oldest(self) -> None:
        """Bound the frames that wait for a slot."""
        for index in list(self._urgent)[: max(0, len(self._urgent) - _MAX_URGENT)]:
            pending = self._urgent[index]
            if not pending.waiting:
                self._forget(index, pending)

    def _forget(self, index: int, pending: Pending) -> None:
        """A frame that nobody waits for and nobody has begun to read need not be read."""
        self._urgent.pop(index, None)
        if self._pending.get(index) is pending:
            del self._pending[index]

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
            if pending.waiting or pending.is_kept or pending.future.done() or self._pending.get(index) is not pending:
                return
            if pending.task is not None and sum(entry.task is pending.task for entry in self._pending.values()) > 1:
                return  # part of a prefetched span
            self._forget(index, pending)  # at once, so that nobody joins a fetch that is being cancelled
            if pending.task is not None:
                self._loop.call_soon(pending.task.cancel)

    def close(self) -> None:
        """Accept nothing more; waits and tasks end on the loop, in :meth:`aclose`."""
        with self.lock:
            self._closed = True

    def _ended(self) -> AlphaStreamError:
        """Why a wait ended without a frame."""
        if self._is_replaced:
            return NotReadyError("another source was loaded during the call; ask again")
        if not self._closed:
            return TransportError("the source cancelled the read that it was asked for; ask again")
        return ClosedError("the stream was closed during the call")

    async def aclose(self) -> None:
        """Cancel every task and close the source. On the loop."""
        with self.lock:
            self._closed = True
            pending, self._pending = self._pending, {}
            ranges, self.planner.ranges = self.planner.ranges, []
            self._urgent.clear()
            self._cache.clear()
            for timer in (self._expiry, self._retry):
                if timer is not None:
                    timer.cancel()
        for entry in pending.values():
            entry.fail(self._ended())
        for one in ranges:
            if one.future.set_running_or_notify_cancel():
                one.future.set_exception(self._ended())
        tasks = list(self._tasks)
        for task in tasks:
            if not task.cancelling():  # a second cancellation would interrupt the clean-up after the first
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*map(asyncio.wrap_future, list(self._jobs)), return_exceptions=True)
        if self._owns_source:
            with contained_errors("closing the source"):
                await self.reader.source.aclose()

    async def fetch_batch(self, start: int, stop: int) -> tuple[list[FrameGeometry], AlphaStreamError | None]:
        """
        Read and decode frames from `start` on, past the cache, for offline use. On the loop.

        Returns:
            The next geometries, at least one unless there is an error: those up to `stop`, to a bad frame, or to what
            is sensible to hold at a time; and the bad frame's error.
        """
        if self._closed:
            return [], self._ended()
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            span = self.reader.batch(start, stop, max_bytes=_BATCH_BYTES, max_frames=self._batch_frames)
            try:
                try:
                    blocks = await self._read_in_turn(span)
                    self._batch_frames = min(_BATCH_FRAMES, self._batch_frames + self._batch_frames // 4 + 1)
                except AlphaStreamError as exc:
                    if not _may_do_for_less(span, exc):
                        raise
                    # Fewer next time: it would be a pity to wait for a deadline before every frame of a slow link.
                    self._batch_frames = len(span) // 2
                    blocks = await self._read_in_turn(self.reader.span(start, start + 1))
            except AlphaStreamError as exc:
                return [], exc
            return await self._in_pool(decode_some, start, blocks)
        except asyncio.CancelledError:
            if self.is_closed():
                return [], self._ended()
            raise
        finally:
            self._tasks.discard(task)

    def read_batch(self, frames: list[int]) -> dict[int, FrameGeometry]:
        """
        Read and decode frames, past the cache, for offline use. Blocks the thread of the caller, and decodes there.

        Args:
            frames: in this stream, ascending, without repeats.
        """
        offsets, source = self.reader.index.offsets, self.reader.source
        # A source without a server reads what it is asked for in microseconds.
        max_gap = _WORTH_A_REQUEST if source.requests else 0
        spans = plan_batch(offsets, frames, max_gap_bytes=max_gap, max_bytes=_BATCH_BYTES)
        found: dict[int, FrameGeometry] = {}
        for group in groups(spans, _GROUP_BYTES):
            for index, block in self._blocks_of(source, group, frames):
                found[index] = self.reader.decode(index, block)
        return found

    def _blocks_of(self, source: Source, spans: list[FrameSpan], frames: list[int]) -> Iterator[tuple[int, memoryview]]:
        """The blocks of those of the frames that are in the spans."""
        if not isinstance(source, FileSource | MemorySource):
            future = self._loop.submit(partial(self._read_spans, spans, frames))
            try:
                blocks = future.result()
            except CancelledError:
                raise self._ended() from None
            yield from blocks
            return
        for span in spans:  # without gaps
            if self._closed:
                raise self._ended()
            try:
                yield from enumerate(self.reader.read_blocks_here(source, span), span.first)
            except ClosedError:
                raise self._ended() from None
            with self.lock:
                self._reads_here += 1
                self._bytes_here += len(span.bytes)

    async def _read_spans(self, spans: list[FrameSpan], frames: list[int]) -> list[tuple[int, memoryview]]:
        """The blocks of those of the frames that are in the spans. On the loop."""
        if self._closed:
            raise self._ended()
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            wanted = [frames[bisect_left(frames, span.first) : bisect_left(frames, span.stop)] for span in spans]
            read = await all_or_none([self._read_some(*one) for one in zip(spans, wanted, strict=True)])
            return [pair for one, blocks in zip(wanted, read, strict=True) for pair in zip(one, blocks, strict=True)]
        except asyncio.CancelledError:
            if self.is_closed():
                raise self._ended() from None
            raise
        finally:
            self._tasks.discard(task)

    async def _read_some(self, span: FrameSpan, frames: list[int]) -> list[memoryview]:
        """Read a span; where it may do for less, its frames one by one."""
        try:
            return await self._read_in_turn(span, frames)
        except AlphaStreamError as exc:
            if not _may_do_for_less(span, exc):
                raise
        return [(await self._read_in_turn(self.reader.span(index, index + 1)))[0] for index in frames]

    # On the loop.

    async def _read_in_turn(self, span: FrameSpan, frames: list[int] | None = None) -> list[memoryview]:
        """Read a range for offline use, as soon as the reads in play leave slots for it; in the order of the calls."""
        n_slots = self._slots.needed(span.bytes)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._bulk.append((n_slots, turn))
        self._start_bulk()
        try:
            await turn
            return await self._read(span, frames)
        finally:
            if turn.done() and not turn.cancelled():
                with self.lock:
                    self._slots.give_back(n_slots, is_urgent=False)
                    self._plan_soon()
            else:
                self._bulk.remove((n_slots, turn))
            self._start_bulk_soon()

    def _start_bulk_soon(self) -> None:
        """After what is on the loop's list already: planning for play comes first."""
        if self._bulk:
            asyncio.get_running_loop().call_later(0, self._start_bulk)

    def _start_bulk(self) -> None:
        """Let reads of ranges begin, as far as there are slots."""
        with self.lock:
            while self._bulk and not self._urgent:
                n_slots, turn = self._bulk[0]
                if turn.cancelled():
                    return  # it removes itself, and comes here again
                if n_slots > self._slots.n_free:
                    return
                self._bulk.popleft()
                self._slots.take(n_slots, is_urgent=False)
                turn.set_result(None)

    def _in_pool(
        self, decode: Callable[[StreamReader, int, list[memoryview]], T], first: int, blocks: list[memoryview]
    ) -> asyncio.Future[T]:
        """Decode in the pool. :meth:`aclose` waits for what has begun, which keeps the source alive until it ends."""
        job = self._pool.submit(decode, self.reader, first, blocks)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return asyncio.wrap_future(job)

    # Each is scheduled first, and then marked as scheduled. After Ctrl-C in between, it is done twice; in the other
    # order, it would never be done again. The lock is held, so the loop cannot come to it in between.

    def _plan_soon(self, *, jumped: bool = False) -> None:
        if jumped and not self._is_abandoning:
            self._loop.call_soon(self._abandon)
            self._is_abandoning = True
        if not self._is_planning and not self._closed:
            self._loop.call_soon(self._plan)
            self._is_planning = True

    def _start_soon(self) -> None:
        if not self._is_starting and not self._closed:
            self._loop.call_soon(self._start_urgent)
            self._is_starting = True

    def _is_missing(self, index: int) -> bool:
        """Whether a frame that is wanted is neither here nor on its way. One that is here counts as used: it must not
        be evicted for others that are planned now. The lock is held."""
        return self._cache.get(index) is None and index not in self._pending

    def _plan(self) -> None:
        """Start reading what lies ahead and is neither here nor on its way."""
        now = time.monotonic()
        with self.lock:
            self._is_planning = False
            if self._closed or self.is_paused or self._slots.n_free <= 0:
                return
            begins_at = max(self._paused_until, self._planned_from)
            if now < begins_at:
                self._is_planning = True
                asyncio.get_running_loop().call_later(begins_at - now, self._plan)
                return
            if self._urgent:
                return  # those first; the last one started plans again
            self.planner.bandwidth, self.planner.latency = self.network.bandwidth, self.network.latency
            self._planned_at = now
            plan = self.planner.plan(self._is_missing)
            for owner, span in plan.reads:
                pending = [self._pending.setdefault(i, Pending()) for i in range(span.first, span.stop)]
                self._begin(span, pending, owner=owner)
            if plan.is_unfinished and self._slots.n_free > 0:
                # Not at once: a caller that waits for the lock would not get it between two steps.
                self._is_planning = True
                asyncio.get_running_loop().call_later(_PLAN_PAUSE, self._plan)
            has_ranges = bool(self.planner.ranges)
        if has_ranges:
            self.look_after_ranges()

    def _begin(self, span: FrameSpan, pending: list[Pending], *, owner: Head | Range | None = None) -> None:
        """Start to read a span, for whoever it was planned for; None if it was asked for. The lock is held."""
        task = asyncio.get_running_loop().create_task(self._fetch(span, pending))
        n_slots = self._slots.needed(span.bytes)
        self._slots.take(n_slots, is_urgent=owner is None)
        if owner is not None:
            owner.n_slots += n_slots
            self.planner.n_bytes += self.planner.cost(span)
        self._fetches[task] = Fetch(span, pending, time.monotonic(), owner, n_slots)
        for entry in pending:
            entry.task = task
        # In a callback: a task that is cancelled before its first step never runs a line of its own.
        task.add_done_callback(self._end)
        self._track(task)

    def _end(self, task: asyncio.Task[AlphaStreamError | None]) -> None:
        """A fetch ended: its slot is free, and after a planned one that failed prefetching pauses."""
        with self.lock:
            fetch = self._fetches.pop(task)
            owner = fetch.owner
            self._slots.give_back(fetch.n_slots, is_urgent=owner is None)
            if owner is not None:
                owner.n_slots -= fetch.n_slots
                self.planner.n_bytes -= self.planner.cost(fetch.span)
                if task.cancelled():
                    owner.read_again(fetch.span.first)
                else:
                    error = task.exception() or task.result()
                    if error is not None:
                        self._pause = min(_LONGEST_PAUSE, 2 * self._pause or _FIRST_PAUSE)
                        self._paused_until = time.monotonic() + self._pause
                        self._debug("a read ahead failed; the next begins in %g s", self._pause)
                        owner.read_again(fetch.span.first)
                        if isinstance(owner, Range) and isinstance(error, AlphaStreamError):
                            owner.fail(error)
                    else:
                        self._pause = 0.0
            self._plan_soon()  # also after a read that was asked for: it may have had the only slot
            if self._urgent:
                self._start_soon()
            has_ranges = bool(self.planner.ranges)
        self._start_bulk_soon()
        if has_ranges:
            self.look_after_ranges()

    def _start_urgent(self) -> None:
        """Read what was asked for last, and on, as far as there are slots."""
        now = time.monotonic()
        with self.lock:
            self._is_starting = False
            self._start_bulk_soon()
            if self._closed or not self._urgent:
                return
            n_bytes = 0
            while self._urgent:
                index = self._most_urgent(now)
                pending = self._urgent[index]
                if self._pending.get(index) is not pending or pending.task is not None:
                    del self._urgent[index]  # given up or planned meanwhile
                elif not pending.waiting and pending.asked_at < now - _QUEUED_SECONDS and not self._is_sought(index):
                    self._forget(index, pending)
                elif self._slots.is_free:
                    del self._urgent[index]
                    single = self.reader.span(index, index + 1)
                    span = single if pending.is_alone else self.planner.bundle(index, self._is_missing)
                    n_bytes += self.planner.cost(span)
                    self._begin(span, [self._pending.setdefault(i, Pending()) for i in range(span.first, span.stop)])
                else:
                    self._make_room(now)
                    return
            if self._expiry is None:
                self._expiry = asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._expire)
            wait = self.planner.time_for(n_bytes)
            if wait > _PLAN_PAUSE and self._planned_from <= self._planned_at:  # once a plan: many askings delay no plan
                self._planned_from = now + wait
            self._plan_soon()

    def _most_urgent(self, now: float) -> int:
        """The frame to read next: what was asked for last, unless somebody waits for another for long. The lock is
        held."""
        long_ago = now - 2 * self.planner.read_seconds - _QUEUED_SECONDS
        for index, pending in self._urgent.items():
            if pending.waiting and pending.asked_at < long_ago:
                return index
        return next(reversed(self._urgent))

    def _is_sought(self, index: int) -> bool:
        """Whether a play head was sent to a frame, and is there. The lock is held."""
        return any(head.target == head.at == index for head in self.planner.heads())

    def _make_room(self, now: float) -> None:
        """All slots are taken: cancel the fetch that nobody waits for the longest, or see to it later. The lock is
        held."""
        patience = self.planner.read_seconds + _PATIENCE_SECONDS
        idle = {
            task: fetch for task, fetch in self._fetches.items() if not task.cancelling() and not fetch.is_waited_for
        }
        overdue = [task for task, fetch in idle.items() if fetch.began_at + patience <= now]
        if overdue:
            task = min(overdue, key=lambda task: idle[task].last_asked_and_begun)
            self._withdraw_fetch(task)
            task.cancel()
            self._counters["abandoned"] += 1
            self._debug("1 read abandoned: a frame that was asked for needs its slot")
        elif self._retry is None:
            soonest = min((fetch.began_at for fetch in idle.values()), default=now) + patience
            wait = max(soonest - now, 0.001)
            self._retry = asyncio.get_running_loop().call_later(wait, self._start_again)

    def _start_again(self) -> None:
        with self.lock:
            self._retry = None
            self._start_soon()

    def _expire(self) -> None:
        """A while after a frame was asked for: cancel what nobody has asked for since, and look again later."""
        self._abandon()
        with self.lock:
            self._expiry = None
            if self._fetches and not self._closed:
                self._expiry = asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._expire)

    def _withdraw_fetch(self, task: asyncio.Task[AlphaStreamError | None]) -> None:
        """Nobody shall join a fetch that is being cancelled. The lock is held."""
        fetch = self._fetches[task]
        for index, entry in enumerate(fetch.pending, fetch.span.first):
            if self._pending.get(index) is entry:
                del self._pending[index]

    async def _fetch(self, span: FrameSpan, pending: list[Pending]) -> AlphaStreamError | None:
        """Read, decode and deliver a span; the error if the source failed. Frames that are not delivered are
        withdrawn."""
        try:
            blocks = await self._read(span)
        except AlphaStreamError as exc:
            self._refuse(span, pending, exc)
            return exc
        except BaseException as exc:
            self._withdraw(span.first, pending, exc)
            raise
        at = 0
        while at < len(blocks):
            group, first, began_at = blocks[at : at + _DECODE_GROUP], span.first + at, time.monotonic()
            try:
                if len(blocks) == 1 and len(blocks[0]) <= _INLINE_BLOCK_BYTES:
                    results = decode_each(self.reader, first, group)
                else:
                    results = await self._in_pool(decode_each, first, group)
            except BaseException as exc:
                self._withdraw(first, pending[at:], exc)
                raise
            self._deliver(first, pending[at : at + len(results)], results)
            at += len(results)
            if at < len(blocks):
                await asyncio.sleep(time.monotonic() - began_at)
        return None

    async def _read(self, span: FrameSpan, frames: list[int] | None = None) -> list[memoryview]:
        network, before = self.network, self.reader.bytes_read
        started = time.monotonic()
        try:
            blocks = await self.reader.read_blocks(span, frames)
        except AlphaStreamError as exc:
            network.failed(span, started, time.monotonic(), exc)
            raise
        ended = time.monotonic()
        self.planner.read_seconds += 0.25 * (ended - started - self.planner.read_seconds)
        network.ended(span, started, ended, len(span.bytes) if self.reader.bytes_read > before else 0)
        return blocks

    def _deliver(self, first: int, pending: list[Pending], results: list[Result]) -> None:
        """Give results to the cache and to whoever waits."""
        with self.lock:
            if self._closed:
                return  # aclose() ends the waits
            for index, (entry, result) in enumerate(zip(pending, results, strict=True), first):
                if self._pending.get(index) is entry:
                    del self._pending[index]
                if isinstance(result, FrameGeometry):
                    self._cache.put(index, result)
                    if self.failures:
                        self.failures.pop(index, None)
                    self._counters["decoded"] += 1
                    self._counters["prefetched"] += not (entry.waiting or entry.is_kept)
                else:
                    self._note_failure(index, result)
        for entry, result in zip(pending, results, strict=True):
            if isinstance(result, FrameGeometry):
                entry.succeed(result)
            else:
                entry.fail(result)
        self._on_delivered()

    def _refuse(self, span: FrameSpan, pending: list[Pending], error: AlphaStreamError) -> None:
        """A read failed. Where it may do for less, frames that somebody waits for are read again, each by itself."""
        is_again = _may_do_for_less(span, error)
        refused = []
        with self.lock:
            if self._closed:
                return  # aclose() ends the waits
            for index, entry in enumerate(pending, span.first):
                if self._pending.get(index) is not entry:
                    refused.append((index, entry))
                elif entry.waiting and is_again:
                    entry.task, entry.is_alone = None, True
                    self._urgent[index] = entry
                    self._start_soon()
                else:
                    refused.append((index, entry))
                    del self._pending[index]
                    self._note_failure(index, error)
        for index, entry in refused:
            entry.fail(_of_frame(error, index))
        self._on_delivered()

    def _note_failure(self, index: int, error: AlphaStreamError) -> None:
        """An attempt to get a frame failed. The lock is held."""
        self.failures.pop(index, None)
        self.failures[index] = error
        if len(self.failures) > _MOST_FAILURES:
            del self.failures[next(iter(self.failures))]

    def _withdraw(self, first: int, pending: list[Pending], cause: BaseException) -> None:
        """A fetch was cancelled or broke: its frames are no longer pending, and whoever waits must not hang."""
        with self.lock:
            for index, entry in enumerate(pending, first):
                if self._pending.get(index) is entry:
                    del self._pending[index]
        for entry in pending:
            entry.fail(self._ended() if isinstance(cause, asyncio.CancelledError) else cause)

    def _abandon(self) -> None:
        """Cancel the fetches none of whose frames anybody waits for, asked for lately, or is about to play."""
        with self.lock:
            self._is_abandoning = False
            places = [head.reach(self.n_frames) for head in self.planner.heads()]
            ranges = self.planner.ranges
            recent = time.monotonic() - _KEPT_SECONDS
            stale = [
                task
                for task, fetch in self._fetches.items()
                if not task.cancelling() and not (fetch.owner in ranges or fetch.is_wanted(places, recent))
            ]
            for task in stale:
                self._withdraw_fetch(task)
            self._counters["abandoned"] += len(stale)
        if stale:
            self._debug("%d reads abandoned: play is at frame %d", len(stale), self.head.at)
        for task in stale:
            task.cancel()

    def _track(self, task: asyncio.Task[AlphaStreamError | None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._untrack)

    def _untrack(self, task: asyncio.Task[AlphaStreamError | None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # delivered to its waiters already


def _may_do_for_less(span: FrameSpan, error: AlphaStreamError) -> bool:
    """
    Whether one frame may be read where all of a span could not be: that one of the others cannot, or that all take
    longer than the deadline, is no reason to refuse it. A server that did not answer until the deadline would not
    answer for one frame, and whoever waited that long shall be told.
    """
    return len(span) > 1 and not isinstance(error, SilentServerError)


def _of_frame(error: AlphaStreamError, index: int) -> AlphaStreamError:
    """The same error as one frame's own: raised by many threads at once, one object would mix up their tracebacks."""
    own = type(error)(str(error), frame_index=index)
    own.__cause__ = error.__cause__
    return own
