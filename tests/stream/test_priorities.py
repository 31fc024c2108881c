"""
Priorities: what was asked for last comes first, before what is planned and what is made ahead; what nobody asks for any
more makes room; and a call costs the same whatever the window.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from scripted import is_cached, is_quiet, n_pending, n_queued, on_loop
from support import asvp_of, block_of, payload_of, wait_until

import alphastream_gpu
from alphastream_gpu import AlphaStream, ByteRange, Config, FrameGeometry, MemorySource, rasterize
from alphastream_gpu._runtime.loop import LoopLease
from alphastream_gpu._stream import planner as _planner
from alphastream_gpu._stream import products as _products
from alphastream_gpu._stream import scheduler as _scheduler
from alphastream_gpu._stream import table as _table
from alphastream_gpu._stream.ahead import MadeAhead, Waiting
from alphastream_gpu._stream.slots import Slots

N = 3000
PAYLOADS = [payload_of([((index % 65536, 7), [(5, 0), (0, 5)])]) for index in range(N)]
BLOCKS = [block_of(payload) for payload in PAYLOADS]
FILE = asvp_of(BLOCKS)
STARTS = [len(FILE) - sum(map(len, BLOCKS[index:])) for index in range(N)]


class Gated(MemorySource):
    """A source whose reads of frames wait until they are let through; it notes which frame each begins with."""

    def __init__(self) -> None:
        super().__init__(FILE, name="gated")
        self.begun: list[int] = []
        self.cancelled: list[int] = []
        self.is_open: Callable[[int], bool] = lambda index: False
        self._gates: dict[int, asyncio.Event] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def read(self, span: ByteRange) -> memoryview:
        if span.start in STARTS:
            index = STARTS.index(span.start)
            self.begun.append(index)
            if not self.is_open(index):
                self._loop = asyncio.get_running_loop()
                gate = self._gates[index] = asyncio.Event()
                try:
                    await gate.wait()
                except asyncio.CancelledError:
                    self.cancelled.append(index)
                    raise
        return await super().read(span)

    def let_through(self, index: int) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._gates[index].set)

    def open_all(self) -> None:
        """Hold nothing back any more."""
        self.is_open = lambda index: True
        for index in list(self._gates):
            self.let_through(index)


def opened(source: Gated, **options: Any) -> AlphaStream:
    """Without prefetching, and without a wait in a call, unless told otherwise."""
    given = {"prefetch_frames": 0, "get_frame_timebox": 0, "http_concurrency": 2, **options}
    return alphastream_gpu.open(source, config=Config(**given))


def number_of(geometry: FrameGeometry | None) -> int | None:
    return None if geometry is None else int(geometry.points[0, 0])


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing gives way because of time."""
    for name in ("_PATIENCE_SECONDS", "_KEPT_SECONDS", "_QUEUED_SECONDS"):
        monkeypatch.setattr(_scheduler, name, 60.0)


@pytest.mark.usefixtures("patient")
def test_what_was_asked_for_last_is_read_next() -> None:
    source = Gated()
    with opened(source) as stream:
        for index in (100, 200):
            assert stream.get_geometry(index) is None
            wait_until(lambda index=index: index in source.begun)
        for index in (300, 400, 500, 300):
            assert stream.get_geometry(index) is None
        time.sleep(0.05)
        assert source.begun == [100, 200], "as many reads as the source has slots"
        for done, expected in ((100, 300), (200, 500), (300, 400)):
            source.let_through(done)
            wait_until(lambda expected=expected: expected in source.begun)
        assert source.begun == [100, 200, 300, 500, 400]
        assert source.cancelled == []


def test_reads_that_stall_give_way() -> None:
    """To a frame that somebody asks for now; not to each other while they are asked for."""
    source = Gated()
    source.is_open = lambda index: index >= 2000
    with opened(source) as stream:
        for index in (100, 200, 300, 400, 500):
            assert stream.get_geometry(index) is None
            wait_until(lambda index=index: index in source.begun)
        wait_until(lambda: number_of(stream.get_geometry(2500)) == 2500)
        assert source.cancelled
        assert set(source.cancelled) <= {100, 200, 300, 400, 500}
        assert stream.stats().abandoned == len(source.cancelled)


def test_a_read_that_is_waited_for_does_not_give_way() -> None:
    source = Gated()
    with opened(source, http_concurrency=1) as stream, ThreadPoolExecutor(1) as thread:
        frame = thread.submit(stream.read_frame, 100)
        wait_until(lambda: source.begun == [100])
        for _ in range(20):
            assert stream.get_geometry(2500) is None
            time.sleep(0.005)
        assert source.begun == [100]
        assert source.cancelled == []
        source.is_open = lambda index: True
        source.let_through(100)
        assert number_of(frame.result(10)) == 100
        wait_until(lambda: number_of(stream.get_geometry(2500)) == 2500)


def test_what_nobody_asks_for_any_more_is_abandoned_without_a_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_scheduler, "_KEPT_SECONDS", 0.05)
    source = Gated()
    source.is_open = lambda index: index != 100
    with opened(source) as stream:
        assert stream.get_geometry(100) is None
        wait_until(lambda: number_of(stream.get_geometry(101)) == 101)  # the player goes on
        wait_until(lambda: source.cancelled == [100])
        source.is_open = lambda index: True
        wait_until(lambda: number_of(stream.get_geometry(100)) == 100)


def test_a_frame_that_waited_long_for_a_slot_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has asked again. It is forgotten when its turn comes, and read when it is asked for again."""
    monkeypatch.setattr(_scheduler, "_PATIENCE_SECONDS", 60.0)
    monkeypatch.setattr(_scheduler, "_KEPT_SECONDS", 60.0)
    monkeypatch.setattr(_scheduler, "_QUEUED_SECONDS", 0.05)
    source = Gated()
    with opened(source, http_concurrency=1) as stream:
        assert stream.get_geometry(100) is None
        wait_until(lambda: source.begun == [100])
        assert stream.get_geometry(500) is None
        time.sleep(0.1)
        source.let_through(100)
        wait_until(lambda: is_quiet(stream))
        assert source.begun == [100]
        source.is_open = lambda index: True
        wait_until(lambda: number_of(stream.get_geometry(500)) == 500)


def test_a_fetch_cancelled_before_it_begins_frees_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """A jump is seen in the same turn of the loop in which the fetch was begun."""
    source = Gated()
    source.is_open = lambda index: index != 2000
    with opened(source) as stream:
        wait_until(lambda: number_of(stream.get_geometry(999)) == 999)
        for name in ("_PATIENCE_SECONDS", "_QUEUED_SECONDS"):
            monkeypatch.setattr(_scheduler, name, 60.0)
        with monkeypatch.context() as patch:
            patch.setattr(_scheduler, "_KEPT_SECONDS", 0.0)
            is_free = threading.Event()
            on_loop(stream, is_free.wait, 20)
            assert stream.get_geometry(1000) is None  # not a jump
            assert stream.get_geometry(10) is None  # a jump
            is_free.set()
            wait_until(lambda: number_of(stream.get_geometry(10)) == 10)
            wait_until(lambda: stream.stats().abandoned == 1)
        assert source.begun == [999, 10]
        assert stream.get_geometry(2000) is None
        wait_until(lambda: 2000 in source.begun)  # it takes one slot of two
        wait_until(lambda: number_of(stream.get_geometry(2500)) == 2500)


@pytest.mark.usefixtures("patient")
def test_a_storm_of_seeks_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither frames that wait for a slot, nor work on the loop."""
    source = Gated()
    with opened(source) as stream:
        held = threading.Event()
        on_loop(stream, held.wait)  # nothing of what the calls ask for is done meanwhile
        calls = []
        real = LoopLease.call_soon
        monkeypatch.setattr(LoopLease, "call_soon", lambda *call: (calls.append(call), real(*call)))
        for k in range(5000):
            assert stream.get_geometry(k * 7919 % N) is None
        assert len(calls) <= 3
        assert n_pending(stream) == _table._MAX_URGENT
        held.set()
        newest = [k * 7919 % N for k in range(4999, 4999 - _table._MAX_URGENT, -1)]
        wait_until(lambda: source.begun == newest[:2])
        source.is_open = lambda index: True
        source.open_all()
        wait_until(lambda: is_quiet(stream))
        assert sorted(source.begun) == sorted(newest)


@pytest.mark.parametrize("direction", [1, -1])
def test_a_wide_window_is_planned_in_steps(monkeypatch: pytest.MonkeyPatch, direction: int) -> None:
    """Every frame of it comes, though each step looks at a few alone."""
    monkeypatch.setattr(_planner, "_PLAN_FRAMES", 16)
    monkeypatch.setattr(_planner, "_SLOW_READ_SECONDS", 0.0)  # the whole window at once, as over a network
    source = Gated()
    source.is_open = lambda index: True
    with opened(source, prefetch_frames=500, cache_frames=2000, http_concurrency=4, get_frame_timebox=1000) as stream:
        most = []
        real = _planner.plan_reads

        def noted(offsets: Any, frames: Any, **options: Any) -> Any:
            most.append(len(frames))
            return real(offsets, frames, **options)

        monkeypatch.setattr(_planner, "plan_reads", noted)
        first = 1000
        for index in range(first, first + 10 * direction, direction):
            assert number_of(stream.get_geometry(index)) == index
        at = first + 9 * direction
        wait_until(lambda: all(is_cached(stream, at + k * direction) for k in range(1, 401)))
        assert max(most) <= 16


# What is made of frames.


LARGE = (3000, 2000)
"""Too large to be made in the caller's thread."""


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Masks ahead wait at a gate; those that are asked for do not."""

    class Gate:
        def __init__(self) -> None:
            self.opened = threading.Event()
            self.waiting: list[int] = []
            self.finished: list[int] = []

    made = Gate()
    real = _products.mask_steps

    def steps(geometry: FrameGeometry, *arguments: Any) -> Any:
        made.waiting.append(int(geometry.points[0, 0]))
        assert made.opened.wait(20)
        yield  # a step, after which it may be given up
        mask = yield from real(geometry, *arguments)
        made.finished.append(int(geometry.points[0, 0]))
        return mask

    monkeypatch.setattr(_products, "mask_steps", steps)
    yield made
    made.opened.set()


def test_a_mask_that_is_asked_for_does_not_wait_for_masks_ahead(gate: Any) -> None:
    config = Config(ready_frames=10, raster_workers=1, get_frame_timebox=1000)
    with alphastream_gpu.open(FILE, config=config) as stream:
        assert stream.get_frame(0, *LARGE) is not None
        wait_until(lambda: len(gate.waiting) == 1)  # the only worker is busy with a mask ahead
        for index in (1500, 2500):
            assert stream.get_frame(index, *LARGE) is not None
        assert len(gate.waiting) == 1
        gate.opened.set()
        wait_until(lambda: stream.stats().made_ahead >= 10)


def test_masks_ahead_that_are_no_longer_wanted_are_not_begun(gate: Any) -> None:
    config = Config(ready_frames=10, raster_workers=1, get_frame_timebox=1000)
    with alphastream_gpu.open(FILE, config=config) as stream:
        assert stream.get_frame(0, *LARGE) is not None
        wait_until(lambda: len(gate.waiting) == 1)
        assert stream.get_frame(1500, *LARGE) is not None
        gate.opened.set()
        wait_until(lambda: stream.stats().made_ahead >= 10)
        assert gate.waiting[0] < 100
        assert all(1500 < index <= 1510 for index in gate.waiting[1:])


def test_a_mask_ahead_is_given_up_while_somebody_waits(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two steps; and it is made later."""
    config = Config(ready_frames=3, raster_workers=1, get_frame_timebox=1000)
    is_asked, may_go_on = threading.Event(), threading.Event()

    def slowly(*arguments: Any, **options: Any) -> np.ndarray:
        is_asked.set()
        assert may_go_on.wait(20)
        return rasterize(*arguments, **options)

    with alphastream_gpu.open(FILE, config=config) as stream, ThreadPoolExecutor(1) as thread:
        assert stream.get_frame(0, *LARGE) is not None
        wait_until(lambda: len(gate.waiting) == 1)  # a mask ahead is being made
        stream.read_frame(5)
        monkeypatch.setattr(_products, "rasterize", slowly)
        asked = thread.submit(stream.get_frame, 5, *LARGE)
        assert is_asked.wait(20)
        gate.opened.set()
        time.sleep(0.1)
        assert gate.finished == []
        assert stream.stats().made_ahead == 0
        may_go_on.set()
        asked.result(20)
        wait_until(lambda: stream.stats().made_ahead >= 3)
        assert len(gate.finished) >= 3


def test_nothing_is_begun_ahead_while_somebody_waits() -> None:
    """And afterwards everything goes on. There may be several waits, and an interrupt may lose one."""
    pool: Any = _products.Workers(1, "test")
    made: list[int] = []
    waiting = Waiting()
    ahead: MadeAhead[str, int] = MadeAhead(lambda geometry, variant: made.append(1) or 1, waiting, 3, 1, pool)
    geometry = FrameGeometry([])
    try:
        first, second = waiting.begin(), waiting.begin()
        ahead.aim(range(1, 9), 0, "a", lambda index: geometry)
        waiting.end(first)
        waiting.end(first)
        ahead.go_on()
        time.sleep(0.05)
        assert made == []
        del second
        ahead.go_on()
        wait_until(lambda: len(made) == 3)
    finally:
        pool.shutdown()


@pytest.mark.parametrize("n_slots", [2, 4])
def test_readers_of_ranges_leave_a_slot_for_a_seek(n_slots: int) -> None:
    """As many readers as slots, and more; the seek is read at once, and the readers get their frames in turn."""
    source = Gated()
    config = Config(http_concurrency=n_slots, prefetch_frames=0, get_frame_timebox=0)
    with alphastream_gpu.open(source, config=config) as stream, ThreadPoolExecutor(6) as threads:
        starts = range(2000, 2600, 100)
        jobs = [threads.submit(lambda at=at: list(stream.read_frames(at, at + 100))) for at in starts]
        wait_until(lambda: len(source.begun) == n_slots - 1)
        time.sleep(0.05)
        assert len(source.begun) == n_slots - 1
        assert stream.get_geometry(2900) is None
        wait_until(lambda: source.begun[n_slots - 1 :] == [2900])
        source.open_all()
        frames = [job.result(60) for job in jobs]
        assert {len(found) for found in frames} == {100}
        wait_until(lambda: is_quiet(stream))


def test_a_reader_that_gives_up_in_the_queue_leaves_it() -> None:
    source = Gated()
    config = Config(http_concurrency=1, prefetch_frames=0, get_frame_timebox=0)
    with alphastream_gpu.open(source, config=config) as stream:

        async def read(start: int) -> list[FrameGeometry]:
            return [geometry async for geometry in stream.frames(start, start + 10)]

        async def main() -> None:
            first, second, third = (asyncio.create_task(read(start)) for start in (2000, 2100, 2200))
            while n_queued(stream) < 2:
                await asyncio.sleep(0.01)
            second.cancel()
            while n_queued(stream) > 1:
                await asyncio.sleep(0.01)
            source.open_all()
            assert len(await first) == len(await third) == 10

        asyncio.run(main())
        wait_until(lambda: is_quiet(stream))


def test_a_frame_larger_than_a_request_takes_several_slots() -> None:
    slots = Slots(4, 1000)
    assert [slots.needed(ByteRange(5, 5 + n)) for n in (0, 1, 1000, 1001, 9000)] == [1, 1, 1, 2, 3]
    slots.take(2, is_urgent=False)
    assert (slots.n_free, slots.is_free) == (1, True)
    slots.take(2, is_urgent=True)
    assert (slots.n_free, slots.is_free) == (0, False)
    slots.take(1, is_urgent=True)  # asked for while others are being cancelled
    assert (slots.n_free, slots.is_free) == (-1, False)
    slots.give_back(2, is_urgent=False)
    slots.give_back(3, is_urgent=True)
    assert (slots.n_free, slots.is_free) == (3, True)
    assert Slots(1, 1000).needed(ByteRange(0, 9000)) == 1
