"""
Bulk: reads of whole ranges and of lists of frames, past the cache. Such reads are for offline use: they wait for their
turn, and begin only while play leaves request slots for them.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError
from functools import partial
from typing import Final

from .._exceptions import AlphaStreamError, ClosedError
from .._geometry.frame import FrameGeometry
from .._runtime.loop import LoopLease
from .._sources import FileSource, MemorySource, Source
from .._sources.http.progress import all_or_none
from .decoding import decode_some
from .plan import FrameSpan, groups, plan_batch
from .reads import Reads, may_do_for_less
from .scheduler import Scheduler
from .slots import Slots
from .table import FrameTable

__all__ = ["Bulk"]

_BATCH_FRAMES: Final = 256
_BATCH_BYTES: Final = 1024 * 1024
"""`frames` reads and decodes this much at a time: enough to make the crossing between threads cheap, little enough that
an abandoned iteration wastes nothing worth counting."""
_GROUP_BYTES: Final = 8 * 1024 * 1024
"""`read_batch` reads this much before it decodes."""
_WORTH_A_REQUEST: Final = 64 * 1024
"""Bytes that take no longer than a request to a server does."""


class Bulk:
    """
    The offline reads of one session.

    Args:
        table: of the session's frames, whose end ends these reads.
        reads: of the session.
        slots: that the reads in play take first.
        scheduler: of the reads in play, which goes on when a slot is free again.
        loop: the library's loop.
    """

    def __init__(self, table: FrameTable, reads: Reads, slots: Slots, scheduler: Scheduler, loop: LoopLease) -> None:
        self._table = table
        self._reads = reads
        self._reader = reads.reader
        self._slots = slots
        self._scheduler = scheduler
        self._loop = loop
        self._batch_frames = _BATCH_FRAMES
        self._turns: deque[tuple[int, asyncio.Future[None]]] = deque()
        """Reads that wait for slots, and how many each needs. Only the loop uses it."""
        self._reads_here = self._bytes_here = 0
        """Reads that callers made on their own threads."""
        scheduler.on_free = self._go_on_soon

    @property
    def n_waiting(self) -> int:
        """Reads that wait for slots."""
        return len(self._turns)

    def add_counts(self, counts: dict[str, int]) -> None:
        """Add the reads that callers made on their own threads. The lock is held."""
        counts["reads"] += self._reads_here
        counts["bytes_read"] += self._bytes_here

    async def fetch(self, start: int, stop: int) -> tuple[list[FrameGeometry], AlphaStreamError | None]:
        """
        Read and decode frames from `start` on. On the loop.

        Returns:
            The next geometries, at least one unless there is an error: those up to `stop`, to a bad frame, or to what
            is sensible to hold at a time; and the bad frame's error.
        """
        if (ended := self._ended()) is not None:
            return [], ended
        with self._reads.tracked():
            span = self._reader.batch(start, stop, max_bytes=_BATCH_BYTES, max_frames=self._batch_frames)
            try:
                try:
                    blocks = await self._read_in_turn(span)
                    self._batch_frames = min(_BATCH_FRAMES, self._batch_frames + self._batch_frames // 4 + 1)
                except AlphaStreamError as exc:
                    if not may_do_for_less(span, exc):
                        raise
                    # Fewer next time: it would be a pity to wait for a deadline before every frame of a slow link.
                    self._batch_frames = len(span) // 2
                    blocks = await self._read_in_turn(self._reader.span(start, start + 1))
                return await self._reads.in_pool(decode_some, start, blocks)
            except AlphaStreamError as exc:
                return [], exc
            except asyncio.CancelledError:
                if (ended := self._ended()) is not None:
                    return [], ended
                raise

    def read(self, frames: list[int]) -> dict[int, FrameGeometry]:
        """
        Read and decode frames. Blocks the thread of the caller, and decodes there.

        Args:
            frames: in this stream, ascending, without repeats.
        """
        offsets, source = self._reader.index.offsets, self._reader.source
        # A source without a server reads what it is asked for in microseconds.
        max_gap = _WORTH_A_REQUEST if source.requests else 0
        spans = plan_batch(offsets, frames, max_gap_bytes=max_gap, max_bytes=_BATCH_BYTES)
        found: dict[int, FrameGeometry] = {}
        for group in groups(spans, _GROUP_BYTES):
            for index, block in self._blocks_of(source, group, frames):
                found[index] = self._reader.decode(index, block)
        return found

    def _blocks_of(self, source: Source, spans: list[FrameSpan], frames: list[int]) -> Iterator[tuple[int, memoryview]]:
        """The blocks of those of the frames that are in the spans."""
        if not isinstance(source, FileSource | MemorySource):
            future = self._loop.submit(partial(self._read_spans, spans, frames))
            try:
                blocks = future.result()
            except CancelledError:
                raise self._table.ended() from None
            yield from blocks
            return
        for span in spans:  # without gaps
            if (ended := self._ended()) is not None:
                raise ended
            try:
                yield from enumerate(self._reader.read_blocks_here(source, span), span.first)
            except ClosedError:
                raise self._table.ended() from None
            with self._table.lock:
                self._reads_here += 1
                self._bytes_here += len(span.bytes)

    async def _read_spans(self, spans: list[FrameSpan], frames: list[int]) -> list[tuple[int, memoryview]]:
        """The blocks of those of the frames that are in the spans. On the loop."""
        if (ended := self._ended()) is not None:
            raise ended
        with self._reads.tracked():
            try:
                wanted = [frames[bisect_left(frames, span.first) : bisect_left(frames, span.stop)] for span in spans]
                read = await all_or_none([self._read_some(*one) for one in zip(spans, wanted, strict=True)])
            except asyncio.CancelledError:
                if (ended := self._ended()) is not None:
                    raise ended from None
                raise
        return [pair for one, blocks in zip(wanted, read, strict=True) for pair in zip(one, blocks, strict=True)]

    async def _read_some(self, span: FrameSpan, frames: list[int]) -> list[memoryview]:
        """Read a span; where it may do for less, its frames one by one."""
        try:
            return await self._read_in_turn(span, frames)
        except AlphaStreamError as exc:
            if not may_do_for_less(span, exc):
                raise
        return [(await self._read_in_turn(self._reader.span(index, index + 1)))[0] for index in frames]

    def _ended(self) -> AlphaStreamError | None:
        """Why this session has ended; None while it is open."""
        return self._table.ended() if self._table.is_closed else None

    async def _read_in_turn(self, span: FrameSpan, frames: list[int] | None = None) -> list[memoryview]:
        """Read a range as soon as the reads in play leave slots for it, in the order of the calls."""
        n_slots = self._slots.needed(span.bytes)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append((n_slots, turn))
        self._go_on()
        try:
            await turn
            return await self._reads.read(span, frames)
        finally:
            if turn.done() and not turn.cancelled():
                with self._table.lock:
                    self._slots.give_back(n_slots, is_urgent=False)
                    self._scheduler.plan_soon()
            else:
                self._turns.remove((n_slots, turn))
            self._go_on_soon()

    def _go_on_soon(self) -> None:
        """After what is on the loop's list already: planning for play comes first."""
        if self._turns:
            asyncio.get_running_loop().call_later(0, self._go_on)

    def _go_on(self) -> None:
        """Let reads begin, as far as there are slots."""
        with self._table.lock:
            while self._turns and not self._table.urgent:
                n_slots, turn = self._turns[0]
                if turn.cancelled():
                    return  # it removes itself, and comes here again
                if n_slots > self._slots.n_free:
                    return
                self._turns.popleft()
                self._slots.take(n_slots, is_urgent=False)
                turn.set_result(None)
