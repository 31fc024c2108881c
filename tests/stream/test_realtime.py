"""
Real-time calls: answers within the time box, the right frames ready, never a wrong one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import badserver
import numpy as np
import pytest
from badserver import Server
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import NATIVE, SAMPLE, asvp_of, block_of, code_of, golden_frames, payload_of, sha256, wait_until

import alphastream_gpu
from alphastream_gpu import (
    AlphaStream,
    AsvrKey,
    AsvrWriter,
    ByteRange,
    ClosedError,
    Config,
    ErrorCode,
    FrameGeometry,
    FrameTimeoutError,
    MemorySource,
    NotReadyError,
    TransportError,
    rasterize,
)
from alphastream_gpu._sources.base import SilentServerError
from alphastream_gpu._stream import (
    products as _products,
)
from alphastream_gpu._stream import (
    session as _session,
)
from alphastream_gpu._stream.cache import GeometryCache

N = 2000


def numbered_payload(index: int) -> bytes:
    """A frame that says which one it is: its first point."""
    return payload_of([((index % 65536, index // 65536), [(5, 0), (0, 5)])])


NUMBERED = asvp_of([block_of(numbered_payload(index)) for index in range(N)])


def number_of(geometry: FrameGeometry) -> int:
    x, y = geometry.points[0].tolist()
    return int(x + 65536 * y)


class Scripted(MemorySource):
    """A source whose reads wait and fail as told; its reads are counted as requests, so that nothing is read ahead
    for free."""

    def __init__(self, data: bytes = NUMBERED) -> None:
        super().__init__(data, name="scripted")
        self.spans: list[ByteRange] = []
        self.delay: Callable[[], float] = lambda: 0.0
        self.fails: Callable[[int], bool] = lambda number: False
        self.running = 0
        self.closed = 0

    async def read(self, span: ByteRange) -> memoryview:
        number = len(self.spans)
        self.spans.append(span)
        self.running += 1
        try:
            pause = self.delay()
            if pause:
                await asyncio.sleep(pause)
            if self.fails(number):
                raise TransportError(f"scripted failure of read {number}")
            return await super().read(span)
        finally:
            self.running -= 1

    async def aclose(self) -> None:
        self.closed += 1


def get(stream: AlphaStream, index: int) -> FrameGeometry:
    """As players do: ask until it is there."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        geometry = stream.get_geometry(index)
        if geometry is not None:
            assert stream.last_error() is None
            return geometry
        error = stream.last_error()
        assert error is not None
        assert error.code == ErrorCode.TIMEOUT, error
    raise AssertionError("it never came")


# The matrix.

TRACES = {
    "sequential": list(range(120)),
    "random": random.Random(3).sample(range(120), 120),
    "reverse": list(range(119, -1, -1)),
    "jump": [*range(10), *range(80, 95), *range(40, 50), 119, 0, *range(60, 66)],
}


@pytest.fixture(params=["memory", "file", "http"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["ASVP", "ASVR"])
def container(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened(kind: str, container: str, tmp_path: Path, passphrase: bytes) -> Iterator[AlphaStream]:
    key = AsvrKey(passphrase, scene_id=4, resource_name="x.asvr") if container == "ASVR" else None
    data = SAMPLE.read_bytes()
    if key is not None:
        with AsvrWriter(tmp_path / "x.asvr", key=key) as writer, alphastream_gpu.open(SAMPLE) as stream:
            for index in range(120):
                writer.add_frame(asyncio.run(stream.frame(index)))
        data = (tmp_path / "x.asvr").read_bytes()
    path = tmp_path / "stream.bin"
    path.write_bytes(data)
    if kind == "http":
        with Server(data) as server, alphastream_gpu.open(server.url(), key=key) as stream:
            yield stream
    else:
        with alphastream_gpu.open(data if kind == "memory" else path, key=key) as stream:
            yield stream


@pytest.mark.slow
@pytest.mark.parametrize("trace", TRACES)
def test_every_source_container_and_trace(opened: AlphaStream, container: str, trace: str) -> None:
    goldens = golden_frames()
    assert opened.metadata.container == container
    for index in TRACES[trace]:
        geometry = get(opened, index)
        assert sha256(rasterize(geometry)) == goldens[index]["sha256"]
    stats = opened.stats()
    assert stats.hits + stats.misses >= len(TRACES[trace])


# Masks.


def test_masks_are_the_goldens_at_any_size() -> None:
    goldens = golden_frames()
    with alphastream_gpu.open(SAMPLE, config=Config(get_frame_timebox=1000)) as stream:
        for index in range(0, 120, 7):
            for size, name in ((NATIVE, "sha256"), ((512, 256), "sha256_512x256"), ((1000, 600), "sha256_1000x600")):
                mask = stream.get_frame(index, *size)
                assert mask is not None
                assert mask.shape == (size[1], size[0])
                assert not mask.flags.writeable
                assert mask.flags.c_contiguous
                assert sha256(mask) == goldens[index][name]
        assert stream.get_frame(5) is not None
        assert sha256(stream.get_frame(5)) == goldens[5]["sha256"]  # type: ignore[arg-type]


def test_masks_are_made_ahead() -> None:
    with alphastream_gpu.open(SAMPLE, config=Config(get_frame_timebox=1000)) as stream:
        first = stream.get_frame(10, 512, 256)
        wait_until(lambda: stream.stats().made_ahead >= 10)
        assert stream.stats().made_ahead == 10
        ready = [stream._products._masks.get(index, (stream._session.serial, (512, 256))) for index in range(10, 22)]
        assert all(mask is not None for mask in ready[:11])
        assert ready[11] is None
        assert (ready[0] == first).all()
        assert (stream.get_frame(15, 512, 256) == ready[5]).all()


def test_no_masks_are_made_ahead_when_asked_not_to() -> None:
    with alphastream_gpu.open(SAMPLE, config=Config(ready_frames=0, get_frame_timebox=1000)) as stream:
        assert stream.get_frame(10) is not None
        time.sleep(0.05)
        assert stream.stats().made_ahead == 0


def _is_prepared(geometry: FrameGeometry) -> bool:
    """Whether its planes are known without being asked for."""
    try:
        FrameGeometry.__dict__["_planes"].__get__(geometry)
    except AttributeError:
        return False
    return True


@pytest.mark.parametrize("way", ["masks alone", "geometry", "for_stream"])
def test_frames_ahead_are_prepared_for_renderers(way: str, request: pytest.FixtureRequest) -> None:
    """Where they are decoded, once somebody renders; not for whoever asks for masks."""
    with alphastream_gpu.open(SAMPLE, config=Config(prefetch_frames=20, ready_frames=0)) as stream:
        session = stream._session
        assert session is not None
        if way == "for_stream":
            ctx = request.getfixturevalue("ctx")
            with alphastream_gpu.MaskRenderer.for_stream(stream, ctx) as renderer:
                assert renderer.native_size == stream.metadata.native_size
        ask = stream.get_geometry if way == "geometry" else partial(stream.get_frame, width=16, height=8)
        for index in (0, 40):  # the second jump comes after the first answer
            wait_until(lambda index=index: ask(index) is not None)
            wait_until(lambda index=index: session.peek(index + 15) is not None)
        ahead = [session.peek(index) for index in range(50, 60)]
        assert all(_is_prepared(one) == (way != "masks alone") for one in ahead if one is not None)
        if way == "for_stream":
            stream.load_source(SAMPLE)
            again = stream._session
            assert again is not None
            assert again.reader.prepares_planes


@pytest.mark.parametrize("size", [(0, 5), (5, 20000), (-1, 1)])
def test_a_bad_size_is_a_value_error(size: tuple[int, int]) -> None:
    with alphastream_gpu.open(SAMPLE) as stream, pytest.raises(ValueError, match="size: expected"):
        stream.get_frame(0, *size)


def test_a_huge_mask_keeps_the_time_box() -> None:
    with alphastream_gpu.open(SAMPLE) as stream:
        get(stream, 3)
        started = time.monotonic()
        mask = stream.get_frame(3, 16384, 8192)
        took = time.monotonic() - started
        assert mask is None
        error = stream.last_error()
        assert error is not None
        assert error.code == ErrorCode.TIMEOUT
        assert took < 5  # a measure of sanity, for a busy machine: the box is 12 ms


# Errors.


def test_errors_follow_the_table() -> None:
    bad = asvp_of([block_of(numbered_payload(0)), b"\xff" * 20])
    with AlphaStream(config=Config(get_frame_timebox=1000)) as stream:
        assert stream.last_error() is None
        assert stream.get_geometry(0) is None
        error = stream.last_error()
        assert error is not None
        assert (error.code, error.frame_index) == (ErrorCode.NOT_READY, 0)
        stream.clear_error()
        assert stream.last_error() is None
        stream.load_source(bad)
        for index, code in ((2, ErrorCode.NOT_FOUND), (-1, ErrorCode.NOT_FOUND), (1, ErrorCode.DECODE)):
            assert stream.get_frame(index) is None
            error = stream.last_error()
            assert error is not None
            assert (error.code, error.frame_index) == (code, index)
            assert str(index) in error.message
        assert stream.get_frame(0) is not None
        assert stream.last_error() is None
        assert stream.stats().failed == 4


def test_a_timeout_says_that_the_frame_is_coming() -> None:
    source = Scripted()
    with alphastream_gpu.open(source) as stream:
        source.delay = lambda: 1.0
        started = time.monotonic()
        assert stream.get_geometry(500) is None  # long before it is there
        assert time.monotonic() - started > 0.011
        error = stream.last_error()
        assert error is not None
        assert error.code == ErrorCode.TIMEOUT
        assert "still coming" in error.message
        assert number_of(get(stream, 500)) == 500
        assert sum(span.start == stream._session.reader.span(500, 501).bytes.start for span in source.spans) == 1
        stats = stream.stats()
        assert stats.timeouts >= 1
        assert stats.joined >= 1


@pytest.mark.parametrize("n_failing", range(2))
def test_a_fault_while_opening(n_failing: int) -> None:
    """Header or the rest of a long table: a typed error, and opening again works."""
    sizes = np.random.default_rng(0).integers(0, 250, 60_000).tolist()
    source = Scripted(asvp_of([bytes(size) for size in sizes]))
    source.fails = lambda number: number == n_failing
    with AlphaStream() as stream:
        with pytest.raises(TransportError, match="scripted failure"):
            stream.load_source(source)
        stream.load_source(source)
        assert stream.metadata.frame_count == 60_000


@pytest.mark.parametrize("n_failing", range(14))
def test_a_fault_at_any_read(n_failing: int) -> None:
    """A typed error, and the next call works."""
    source = Scripted()
    with alphastream_gpu.open(source, config=Config(get_frame_timebox=1000)) as stream:
        first = len(source.spans)
        source.fails = lambda number: number == first + n_failing
        seen = 0
        for index in (0, 300, 301, 900, 10, 1500, 20, 1999, 5, 1000, 400, 1200, 600, 800):
            geometry = stream.get_geometry(index)
            if geometry is None:
                error = stream.last_error()
                assert error is not None
                assert error.code == ErrorCode.TRANSPORT
                assert "scripted failure" in error.message
                seen += 1
                geometry = get(stream, index)
            assert number_of(geometry) == index
        assert seen <= 1


# Prefetch.


def test_steady_play_is_prefetched_in_few_reads() -> None:
    source = Scripted()
    with alphastream_gpu.open(source) as stream:
        get(stream, 0)
        for index in range(1, 1000):
            wait_until(lambda index=index: index in stream._session._cache)  # type: ignore[misc]
            assert stream.get_geometry(index) is not None
        stats = stream.stats()
        assert stats.hits >= 999
        assert stats.misses <= 1
        assert len(source.spans) < 25
        assert stats.decoded <= 1000 + 120
        assert stats.bytes_read < 1.2 * (65536 + stream.metadata.block_bytes / 2)


def test_backward_play_is_noticed() -> None:
    source = Scripted()
    with alphastream_gpu.open(source) as stream:
        for index in range(1500, 1490, -1):
            get(stream, index)
        wait_until(lambda: all(index in stream._session._cache for index in range(1482, 1490)))
        source.spans.clear()
        for index in range(1489, 1200, -1):
            wait_until(lambda index=index: index in stream._session._cache)  # type: ignore[misc]
            assert number_of(get(stream, index)) == index
        assert len(source.spans) < 12


def test_a_jump_abandons_the_old_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody asked for at once; what somebody asked for when nobody has asked again for a while."""
    monkeypatch.setattr(_session, "_KEPT_SECONDS", 3600.0)
    source = Scripted()
    with alphastream_gpu.open(source) as stream:
        session = stream._session
        assert session is not None
        session._read_seconds = 1.0  # a slow source: whole windows at once
        source.delay = lambda: 30.0
        assert stream.get_geometry(100) is None
        wait_until(lambda: source.running == 2)  # the frame itself, and what lies ahead of it
        source.delay = lambda: 0.0
        assert number_of(get(stream, 1000)) == 1000
        wait_until(lambda: source.running == 1)
        monkeypatch.setattr(_session, "_KEPT_SECONDS", 0.0)
        assert number_of(get(stream, 1500)) == 1500
        wait_until(lambda: source.running == 0)
        assert stream.stats().abandoned >= 2  # and what lay ahead of 1000, if that was still on its way
        assert number_of(get(stream, 100)) == 100


def test_two_players_on_one_stream_both_get_their_frames() -> None:
    """Each one's call is a jump for the other, and none may keep the other's frames from ever coming."""
    source = Scripted()
    with alphastream_gpu.open(source) as stream:
        source.delay = lambda: 0.05
        got = [0, 0]
        for step in range(60):
            for player, base in enumerate((100, 1500)):
                geometry = stream.get_geometry(base + step // 6)
                got[player] += geometry is not None
        assert min(got) > 10


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 4])
def test_prefetching_never_stops_for_good(slots: int) -> None:
    """Random jumps from many threads, some so close together that a fetch is cancelled before it begins."""
    source = Scripted()
    switch = sys.getswitchinterval()
    with alphastream_gpu.open(source, config=Config(http_concurrency=slots)) as stream:
        session = stream._session
        assert session is not None
        sys.setswitchinterval(1e-5)
        try:

            def jump(seed: int) -> None:
                chance = random.Random(seed)
                for _ in range(400):
                    stream.get_geometry(chance.randrange(N))

            threads = [threading.Thread(target=jump, args=(seed,)) for seed in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(switch)
        wait_until(lambda: session._prefetching == 0 and not session._pending)
        before = stream.stats()
        for index in range(200, 600):
            get(stream, index)
            time.sleep(0.0005)
        after = stream.stats()
        assert after.hits - before.hits > 350
        wait_until(lambda: session._prefetching == 0)


def test_a_fetch_cancelled_before_it_begins_frees_its_slot() -> None:
    source = Scripted()
    with alphastream_gpu.open(source, config=Config(http_concurrency=1)) as stream:
        session = stream._session
        assert session is not None
        get(stream, 0)
        wait_until(lambda: session._prefetching == 0)
        done = threading.Event()

        def plan_and_abandon() -> None:  # in one turn of the loop, so that the planned task never begins
            with session.lock:
                session.head.move(1000)
                session._frontier = None
            session._plan()
            assert session._prefetching == 1
            with session.lock:
                session.head.move(10)
            session._abandon()
            done.set()

        session._loop.call_soon(plan_and_abandon)
        assert done.wait(5)
        wait_until(lambda: session._prefetching == 0)


@pytest.mark.parametrize(("cache", "prefetch"), [(120, 120), (160, 120), (8, 8), (4, 2), (1, 1)])
def test_a_cache_no_larger_than_the_window(cache: int, prefetch: int) -> None:
    """What was prefetched must not be evicted before it is played, also when a short stream loops."""
    source = Scripted()
    config = Config(cache_frames=cache, prefetch_frames=prefetch, get_frame_timebox=1000)
    with alphastream_gpu.open(source, config=config) as stream:
        for index in [*range(300), *[k % 9 for k in range(200)]]:
            geometry = stream.get_geometry(index)
            assert geometry is not None
            assert number_of(geometry) == index
        stats = stream.stats()
        assert stats.decoded < 2.5 * (stats.misses + stats.hits)
        assert len(source.spans) < 700


@pytest.mark.slow
def test_masks_of_another_source_are_never_given() -> None:
    """Loading, and asking for the same frame at the same size, while others play."""
    one = asvp_of([block_of(payload_of([((2, 2), [(9, 0), (0, 9)])]))] * 40)
    other = asvp_of([block_of(payload_of([((30, 30), [(9, 0), (0, 9)])]))] * 40)
    config = Config(native_size=(64, 64), get_frame_timebox=1000)
    stop = threading.Event()
    with alphastream_gpu.open(one, config=config) as stream:
        expected = {}
        for name, data in (("one", one), ("other", other)):
            stream.load_source(data)
            mask = stream.get_frame(5, 64, 64)
            assert mask is not None
            expected[name] = mask.copy()
        assert not np.array_equal(expected["one"], expected["other"])

        def play() -> None:
            index = 0
            while not stop.is_set():
                stream.get_frame(index % 40, 64, 64)
                index += 1

        threads = [threading.Thread(target=play) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(60):
            name, data = ("one", one) if number % 2 else ("other", other)
            stream.load_source(data)
            for index in (5, 6, 20):
                mask = stream.get_frame(index, 64, 64)
                assert mask is not None
                assert np.array_equal(mask, expected[name])
        stop.set()
        for thread in threads:
            thread.join()


def test_a_mask_made_while_another_source_is_loaded_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """One caller rasterizes; another loads a source and plays it at the same place and size; then the mask is done."""
    one = asvp_of([block_of(payload_of([((2, 2), [(9, 0), (0, 9)])]))] * 40)
    other = asvp_of([block_of(payload_of([((30, 30), [(9, 0), (0, 9)])]))] * 40)
    caller = threading.get_ident()
    interrupted: list[bool] = []
    real = _products.rasterize

    with alphastream_gpu.open(one, config=Config(native_size=(64, 64), get_frame_timebox=1000)) as stream:

        def load_and_play() -> None:
            stream.load_source(other)
            assert stream.get_frame(6, 64, 64) is not None

        def interrupted_rasterize(*args: Any, **options: Any) -> np.ndarray:
            mask = real(*args, **options)
            if threading.get_ident() == caller and not interrupted:
                interrupted.append(True)
                thread = threading.Thread(target=load_and_play)
                thread.start()
                thread.join()
            return mask

        monkeypatch.setattr(_products, "rasterize", interrupted_rasterize)
        old = stream.get_frame(5, 64, 64)
        new = stream.get_frame(5, 64, 64)
        assert interrupted
        assert old is not None
        assert new is not None
        assert old[3, 3]
        assert new[31, 31]
        assert not new[3, 3]


def test_a_huge_mask_comes_when_asked_again() -> None:
    with alphastream_gpu.open(SAMPLE) as stream:
        geometry = get(stream, 3)
        deadline = time.monotonic() + 20
        mask = None
        while mask is None and time.monotonic() < deadline:
            mask = stream.get_frame(3, 4096, 2048)
        assert mask is not None
        assert np.array_equal(mask, rasterize(geometry, (4096, 2048)))
        assert not stream._products._slow


def test_indices_that_are_no_indices() -> None:
    with alphastream_gpu.open(NUMBERED, config=Config(get_frame_timebox=1000)) as stream:
        for wrong in (1.5, "1", None):
            with pytest.raises(TypeError):
                stream.get_geometry(wrong)  # type: ignore[arg-type]
        assert number_of(get(stream, np.int64(7))) == 7  # type: ignore[arg-type]
        assert number_of(get(stream, True)) == 1
        assert number_of(get(stream, 1)) == 1


def test_iterating_over_a_source_that_was_replaced() -> None:
    source = Scripted()

    async def run() -> None:
        async with await alphastream_gpu.open_async(source) as stream:
            frames = stream.frames()
            await anext(frames)
            await stream.aload_source(SAMPLE)
            assert source.closed == 1
            n_reads = len(source.spans)
            with pytest.raises(NotReadyError, match="another source was loaded"):
                async for _ in frames:
                    pass
            assert len(source.spans) <= n_reads

    asyncio.run(run())


def test_prefetching_pauses_after_failures() -> None:
    source = Scripted()
    with alphastream_gpu.open(source) as stream:
        get(stream, 0)
        source.fails = lambda number: True
        stream.get_geometry(1000)
        time.sleep(0.6)
        assert len(source.spans) < 12
        source.fails = lambda number: False
        assert number_of(get(stream, 1000)) == 1000


def test_a_failed_prefetch_spares_the_frame_that_somebody_waits_for() -> None:
    """A cut file whose length is not known, say: the read of many frames fails, the frame itself is there."""

    class OneByOne(Scripted):
        async def read(self, span: ByteRange) -> memoryview:
            data = await super().read(span)
            if span.start and len(span) > 2 * len(block_of(numbered_payload(0))):
                await asyncio.sleep(0.1)
                raise TransportError("scripted failure of a long read")
            return data

    with alphastream_gpu.open(OneByOne(), config=Config(get_frame_timebox=1000)) as stream:
        session = stream._session
        assert session is not None
        assert number_of(get(stream, 0)) == 0
        wait_until(lambda: 1 in session._pending)
        geometry = stream.get_geometry(1)
        assert stream.last_error() is None
        assert geometry is not None
        assert number_of(geometry) == 1
        wait_until(lambda: not session._pending)
        assert stream.stats().joined == 1


class Ending(Scripted):
    """Reads after the first wait until the test says so, and end with an error if they are of many frames."""

    error: FrameTimeoutError
    n_slow = 1 << 30
    """After so many reads, it is quick."""
    frame_1: ByteRange

    def __init__(self) -> None:
        super().__init__()
        self.is_over = False

    async def read(self, span: ByteRange) -> memoryview:
        data = await super().read(span)
        while span.start and not self.is_over:
            await asyncio.sleep(0.001)
        if span.start and len(span) > 4 * LONGEST and len(self.spans) < self.n_slow:
            raise self.error
        return data


LONGEST = max(len(block_of(numbered_payload(index))) for index in range(N))


async def joined(source: Ending) -> FrameGeometry:
    """Frame 1, which a read of many frames is to bring, when that has failed."""
    async with await alphastream_gpu.open_async(source, config=Config(get_frame_timebox=0)) as stream:
        session = stream._session
        assert session is not None
        source.frame_1 = session.reader.span(1, 2).bytes
        assert stream.get_geometry(0) is None
        while 1 not in session._pending or session._pending[1].task is None:
            await asyncio.sleep(0.001)
        waiting = asyncio.ensure_future(stream.frame(1))
        while not session._pending[1].waiting:
            await asyncio.sleep(0.001)
        source.is_over = True
        return await waiting


def test_a_silent_server_is_waited_for_once() -> None:
    """It would not answer for one frame either: whoever waits is told, not made to wait on."""
    source = Ending()
    source.error = SilentServerError("scripted deadline")
    with pytest.raises(FrameTimeoutError, match="scripted deadline") as caught:
        asyncio.run(joined(source))
    assert caught.value.frame_index == 1
    assert source.frame_1 not in source.spans

    async def read() -> None:
        source.spans.clear()
        async with await alphastream_gpu.open_async(source) as stream:
            with pytest.raises(FrameTimeoutError, match="scripted deadline"):
                await anext(stream.frames())

    asyncio.run(read())
    assert len(source.spans) == 2


def test_a_deadline_that_passed_for_many_frames_is_none_for_one() -> None:
    """A link is slow, or one of the others is what takes so long."""
    source = Ending()
    source.error = FrameTimeoutError("scripted deadline")
    assert number_of(asyncio.run(joined(source))) == 1
    assert source.frame_1 in source.spans


@pytest.mark.parametrize(("n_slow", "n_frames", "n_reads"), [(1 << 30, 200, 120), (30, 1500, 60)])
def test_batches_are_as_long_as_the_link_allows(n_slow: int, n_frames: int, n_reads: int) -> None:
    source = Ending()
    source.is_over = True
    source.error = FrameTimeoutError("scripted deadline")
    source.n_slow = n_slow

    async def read() -> list[int]:
        async with await alphastream_gpu.open_async(source) as stream:
            return [number_of(geometry) async for geometry in stream.frames(5, 5 + n_frames)]

    assert asyncio.run(read()) == [*range(5, 5 + n_frames)]
    assert len(source.spans) < n_reads


def test_no_prefetch_when_asked_not_to() -> None:
    source = Scripted()
    with alphastream_gpu.open(source, config=Config(prefetch_frames=0)) as stream:
        for index in range(20):
            get(stream, index)
        assert len(source.spans) == 21


def test_the_cache_is_bounded() -> None:
    with alphastream_gpu.open(NUMBERED, config=Config(cache_frames=50, prefetch_frames=20)) as stream:
        for index in range(600):
            assert number_of(get(stream, index)) == index
        stats = stream.stats()
        assert stats.cached_frames <= 50
        assert stats.evicted >= 500
        assert stats.cached_bytes <= 50 * 100


def test_the_cache_is_bounded_in_bytes() -> None:
    """A file of a few kilobytes, whose frames are large when decoded. Play goes on all the same."""
    blocks = [block_of(payload_of([((index, 0), [(0, 0)] * 50_000)])) for index in range(40)]
    frame = 400_008 + 8
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_session, "GeometryCache", partial(GeometryCache, max_bytes=5 * frame))
        stream = alphastream_gpu.open(asvp_of(blocks))
    with stream:
        for index in range(40):
            assert number_of(get(stream, index)) == index
            assert stream.stats().cached_bytes <= 5 * frame


# Threads.


@pytest.mark.slow
def test_eight_threads_get_exactly_the_serial_results() -> None:
    source = Scripted()
    chance = random.Random(8)
    source.delay = lambda: chance.choice((0.0, 0.0, 0.001, 0.01))
    wrong: list[Any] = []

    def hammer(seed: int) -> None:
        mine = random.Random(seed)
        for _ in range(300):
            index = mine.choice((mine.randrange(N), 700 + mine.randrange(40)))
            try:
                if number_of(get(stream, index)) != index:
                    wrong.append(index)
            except BaseException as exc:  # whatever it is, the test must see it
                wrong.append(exc)

    with alphastream_gpu.open(source, config=Config(cache_frames=60, prefetch_frames=30)) as stream:
        threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_frame_asked_for_by_many_threads_is_read_once() -> None:
    source = Scripted()
    got: list[FrameGeometry] = []
    with alphastream_gpu.open(source, config=Config(prefetch_frames=0, get_frame_timebox=1000)) as stream:
        source.delay = lambda: 0.05
        threads = [threading.Thread(target=lambda: got.append(get(stream, 77))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 16
        assert all(geometry is got[0] for geometry in got)
        assert len(source.spans) == 2
        assert stream.stats().decoded == 1


def test_closing_ends_every_wait() -> None:
    source = Scripted()
    stream = alphastream_gpu.open(source, config=Config(get_frame_timebox=1000))
    source.delay = lambda: 3600.0
    ended: list[Any] = []

    def wait(index: int) -> None:
        try:
            ended.append(stream.get_frame(index))
        except ClosedError as exc:
            ended.append(exc)

    threads = [threading.Thread(target=wait, args=(index,)) for index in range(0, 800, 100)]
    for thread in threads:
        thread.start()
    wait_until(lambda: source.running > 0)
    stream.close()
    for thread in threads:
        thread.join()
    assert len(ended) == 8
    assert all(isinstance(end, ClosedError) for end in ended)
    assert (source.running, source.closed) == (0, 1)
    with pytest.raises(ClosedError):
        stream.get_frame(0)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists a process's files and mappings")
def test_closing_leaves_no_file_socket_or_mapping(tmp_path: Path) -> None:
    def held() -> tuple[int, int]:
        mappings = sum("played.asvp" in line for line in Path("/proc/self/maps").read_text().splitlines())
        return len(os.listdir("/proc/self/fd")), mappings

    path = tmp_path / "played.asvp"
    path.write_bytes(NUMBERED)
    with Server(NUMBERED) as server:
        for source in (path, server.url()):  # once for what stays: modules, the selector of a first loop
            alphastream_gpu.open(source).close()
        time.sleep(0.05)
        before, threads = held(), threading.active_count()
        for source in (path, server.url()):
            with alphastream_gpu.open(source) as stream:
                get(stream, 3)
                assert held() > before
        wait_until(lambda: all(now <= then for now, then in zip(held(), before, strict=True)))
        wait_until(lambda: threading.active_count() <= threads)


def test_the_time_box_holds_when_every_worker_is_busy() -> None:
    """A frame too large to be decoded on the loop, and a pool that has no one free."""
    chance = np.random.default_rng(4)
    steps = chance.integers(-128, 128, (100_000, 2)).tolist()
    with alphastream_gpu.open(
        asvp_of([block_of(payload_of([((0, 0), steps)]))]), config=Config(decode_workers=1)
    ) as stream:
        free = threading.Event()
        stream._pool.submit(free.wait)
        assert stream.get_geometry(0) is None  # and not never, for only the test can free the worker
        assert code_of(stream) == ErrorCode.TIMEOUT
        free.set()
        assert len(get(stream, 0).points) == 100_001


def test_a_thousand_cancelled_awaits_leak_nothing() -> None:
    source = Scripted()

    async def run() -> None:
        async with await alphastream_gpu.open_async(source) as stream:
            source.delay = lambda: 3600.0
            for index in range(1000):
                task = asyncio.create_task(stream.frame(index % N))
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            for _ in range(100):
                if source.running == 0 and not stream._session._pending and not stream._session._tasks:
                    break
                await asyncio.sleep(0.01)
            assert source.running == 0
            assert not stream._session._pending
            assert not stream._session._tasks
            source.delay = lambda: 0.0
            assert number_of(await stream.frame(5)) == 5

    asyncio.run(run())


def test_awaits_cancelled_before_their_fetch_begins_leave_nothing() -> None:
    source = Scripted()

    async def run() -> None:
        async with await alphastream_gpu.open_async(source) as stream:
            session = stream._session
            assert session is not None
            source.delay = lambda: 3600.0
            is_free = threading.Event()
            session._loop.call_soon(is_free.wait, 20)  # the loop is busy, so that no fetch begins meanwhile
            tasks = [asyncio.create_task(stream.frame(index)) for index in range(50)]
            while len(session._pending) < 50:
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            is_free.set()
            assert not session._pending
            await asyncio.sleep(0.2)
            assert (source.running, len(source.spans)) == (0, 1)

    asyncio.run(run())


def test_one_cancelled_await_spares_the_others() -> None:
    source = Scripted()

    async def run() -> None:
        async with await alphastream_gpu.open_async(source) as stream:
            source.delay = lambda: 0.1
            tasks = [asyncio.create_task(stream.frame(9)) for _ in range(3)]
            await asyncio.sleep(0.02)
            tasks[0].cancel()
            assert [number_of(geometry) for geometry in await asyncio.gather(*tasks[1:])] == [9, 9]
            assert len(source.spans) == 2

    asyncio.run(run())


def test_loading_another_source_while_playing() -> None:
    """A frame of the old source must never be given out as one of the new."""
    other = asvp_of([block_of(numbered_payload(index + 10_000)) for index in range(N)])
    stop = threading.Event()
    wrong: list[Any] = []
    with alphastream_gpu.open(NUMBERED) as stream:

        def play() -> None:
            chance = random.Random(1)
            while not stop.is_set():
                index = chance.randrange(N)
                geometry = stream.get_geometry(index)
                if geometry is not None and number_of(geometry) not in (index, index + 10_000):
                    wrong.append(index)
                elif geometry is None and code_of(stream) not in (None, ErrorCode.TIMEOUT, ErrorCode.NOT_READY):
                    wrong.append(stream.last_error())

        threads = [threading.Thread(target=play) for _ in range(3)]
        for thread in threads:
            thread.start()
        for round_number in range(10):
            stream.load_source(other if round_number % 2 == 0 else NUMBERED)
            assert number_of(get(stream, 3)) == (10_003 if round_number % 2 == 0 else 3)
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []


# A model: whatever happens, a frame is the frame asked for, or None with a reason.


class StreamModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.source = Scripted()
        self.stream: AlphaStream | None = None
        self.chance = random.Random(0)

    @initialize(seed=st.integers(0, 1000), cache=st.sampled_from([1, 2, 10, 64]))
    def open(self, seed: int, cache: int) -> None:
        self.chance = random.Random(seed)
        config = Config(cache_frames=cache, prefetch_frames=min(cache, 20), get_frame_timebox=5)
        self.stream = alphastream_gpu.open(self.source, config=config)

    @rule(delays=st.sampled_from([(0.0,), (0.0, 0.001), (0.0, 0.02)]), failing=st.sampled_from([0.0, 0.0, 0.3]))
    def weather(self, delays: tuple[float, ...], failing: float) -> None:
        self.source.delay = lambda: self.chance.choice(delays)
        self.source.fails = lambda number: self.chance.random() < failing

    @rule(index=st.integers(0, N - 1), steps=st.integers(1, 30), direction=st.sampled_from([1, -1, 2]))
    def play(self, index: int, steps: int, direction: int) -> None:
        for k in range(steps):
            self._ask(index + k * direction)

    @rule(index=st.integers(-5, N + 5))
    def seek(self, index: int) -> None:
        self._ask(index)

    @rule(index=st.integers(0, N - 1), size=st.sampled_from([(64, 32), (31, 17)]))
    def mask(self, index: int, size: tuple[int, int]) -> None:
        assert self.stream is not None
        mask = self.stream.get_frame(index, *size)
        if mask is not None:
            geometry = FrameGeometry.from_payload(numbered_payload(index))
            assert np.array_equal(mask, rasterize(geometry, size))

    @rule()
    def load_again(self) -> None:
        assert self.stream is not None
        other = Scripted()
        self.stream.load_source(other)
        assert self.source.closed == 1
        self.source = other

    @rule(start=st.integers(0, N - 60))
    def play_on(self, start: int) -> None:
        """In good weather, whatever came before, steady play is prefetched again."""
        assert self.stream is not None
        self.source.delay = lambda: 0.0
        self.source.fails = lambda number: False
        session = self.stream._session
        assert session is not None
        for index in range(start, start + 20):
            assert number_of(get(self.stream, index)) == index
        wait_until(lambda: session._prefetching == 0 and not session._pending)

    @rule(index=st.integers(0, N - 1))
    def offline(self, index: int) -> None:
        assert self.stream is not None
        with contextlib.suppress(TransportError):
            assert number_of(asyncio.run(self.stream.frame(index))) == index

    @rule(hangs=st.booleans())
    def close_in_the_middle(self, hangs: bool) -> None:
        """Close while another thread asks, then go on with another stream."""
        assert self.stream is not None
        stream, config = self.stream, self.stream.config
        if hangs:
            self.source.delay = lambda: 3600.0
        ended: list[Any] = []

        def ask() -> None:
            for index in range(0, N, 7):
                try:
                    stream.get_geometry(index)
                except ClosedError as exc:
                    ended.append(exc)
                    return

        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(self.chance.choice((0.0, 0.003)))
        stream.close()
        thread.join()
        assert len(ended) == 1
        assert (self.source.running, self.source.closed) == (0, 1)
        self.source = Scripted()
        self.stream = alphastream_gpu.open(self.source, config=config)

    def _ask(self, index: int) -> None:
        assert self.stream is not None
        geometry = self.stream.get_geometry(index)
        error = self.stream.last_error()
        if geometry is not None:
            assert number_of(geometry) == index
            assert error is None
        else:
            assert error is not None
            outside = not 0 <= index < N
            assert (error.code == ErrorCode.NOT_FOUND) == outside
            assert error.frame_index == index

    @invariant()
    def consistent(self) -> None:
        if self.stream is None:
            return
        stats = self.stream.stats()
        assert stats.cached_frames <= self.stream.config.cache_frames
        assert stats.timeouts <= stats.misses
        assert stats.prefetched <= stats.decoded

    def teardown(self) -> None:
        if self.stream is not None:
            self.stream.close()
            assert (self.source.running, self.source.closed) == (0, 1)


TestStreamModel = StreamModel.TestCase
TestStreamModel.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads its memory where only Linux tells it")
def test_soak() -> None:
    """Random seeks with a flat memory line. ALPHASTREAM_SOAK names another number of calls; the nightly run takes
    200,000."""
    n_calls = int(os.environ.get("ALPHASTREAM_SOAK", "10000"))
    chance = random.Random(12)
    samples = []
    n_asked = 0
    with alphastream_gpu.open(NUMBERED, config=Config(get_frame_timebox=1000)) as stream:
        for number in range(n_calls):
            index = chance.randrange(N)
            geometry = None
            while geometry is None and n_asked < 2 * n_calls:  # a busy machine may take longer than a second
                geometry = stream.get_geometry(index)
                n_asked += 1
            assert geometry is not None
            assert number_of(geometry) == index
            if number % (n_calls // 20) == 0 and number >= n_calls // 4:
                samples.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
        stats = stream.stats()
    assert stats.hits + stats.misses == n_asked
    calls = np.linspace(0, 0.75 * n_calls, len(samples))
    slope = np.polyfit(calls, samples, 1)[0]
    assert slope * n_calls < 8 << 20, f"memory grows by {slope:.1f} bytes a call"


# Time.


def test_times_and_frames() -> None:
    with AlphaStream() as stream:
        assert stream.time_of(60) == 1.0
        assert stream.frame_at(1.0) == 60
        stream.set_rate(Fraction(60000, 1001))
        for index in (0, 1, 2, 3, 59, 60, 1001, 16_374, 5_184_000):
            assert stream.frame_at(stream.time_of(index)) == index
            assert stream.frame_at(stream.time_of(index) + 0.016) == index
            assert stream.frame_at(stream.time_of(index) - 0.0001) == index - 1
        stream.set_rate(59.94)
        assert stream.time_of(5994) == 100.0
        with pytest.raises(ValueError, match="fps: expected"):
            stream.set_rate(0)


def test_over_http_a_slow_server_and_a_dead_one() -> None:
    config = Config(http_timeout=1, http_retries=0)
    chance = np.random.default_rng(3)
    noise = ((0, 0), chance.integers(-128, 128, (60, 2)).tolist())
    data = asvp_of([block_of(payload_of([((k, 0), []), noise])) for k in range(N)])
    with Server(data, latency=0.03) as server, alphastream_gpu.open(server.url(), config=config) as stream:
        first = int(stream._session.reader.index.offsets[1500])
        assert first > 65536
        for index in range(1500, 1560):
            assert number_of(get(stream, index)) == index
        assert stream.stats().requests < 12
        server.script = lambda request: badserver.status(500)
        stream.get_geometry(1990)
        wait_until(lambda: stream.get_geometry(1990) is None and code_of(stream) == ErrorCode.TRANSPORT)
        server.script = lambda request: None
        wait_until(lambda: stream.get_geometry(1990) is not None)


def test_large_frames_are_handed_on_before_all_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What prefetching holds beside the cache has a bound in bytes: each visit to the pool takes what there is room
    for."""
    monkeypatch.setattr(_session, "_BATCH_GEOMETRY_BYTES", 4 * 3 * 8)  # the points of four frames of this stream's
    taken: list[int] = []
    decode = _session._decode_each

    def counted(*arguments: Any) -> list[Any]:
        taken.append(len(results := decode(*arguments)))
        return results

    monkeypatch.setattr(_session, "_decode_each", counted)
    with alphastream_gpu.open(NUMBERED, config=Config(ready_frames=0)) as stream:
        for index in range(200):
            while (geometry := stream.get_geometry(index)) is None:
                pass
            assert number_of(geometry) == index
        assert stream.stats().prefetched > 100
    assert 1 < max(taken) <= 5


@pytest.mark.slow
def test_polling_through_an_outage_tells_of_it() -> None:
    """Between two attempts nothing is on its way; while one goes on, the frame is still coming."""
    more_than_the_first_read = asvp_of([block_of(numbered_payload(index)) for index in range(4000)])
    bad = [badserver.status(503)]
    server = Server(more_than_the_first_read, lambda request: bad[-1] if request.number else None)
    config = Config(http_backoff=1000.0)
    with server, alphastream_gpu.open(server.url(), config=config) as stream:

        def code_of_poll() -> ErrorCode:
            assert stream.get_geometry(3900) is None
            return stream.last_error().code  # type: ignore[union-attr]

        wait_until(lambda: all(code_of_poll() is ErrorCode.TRANSPORT for _ in range(20)))
        message = stream.last_error().message  # type: ignore[union-attr]
        assert re.fullmatch(
            r"frame 3900: the last attempt failed: http://127\.0\.0\.1:\d+/person\.asvp: the server answered 503 to"
            r" bytes \d+\.\.\d+; the next is in \d\.\d s",
            message,
        ), message
        bad.append(badserver.never)
        wait_until(lambda: code_of_poll() is ErrorCode.TIMEOUT)


def test_a_source_of_ones_own_tells_of_an_outage() -> None:
    class Trying(MemorySource):
        last_failure = TransportError("the tape is stuck")
        next_attempt_at: float | None = None

        async def read(self, span: ByteRange) -> bytes | memoryview:
            if span.start:
                await asyncio.sleep(3600)
            return await super().read(span)

    source = Trying(NUMBERED)
    with alphastream_gpu.open(source) as stream:
        for seconds, told in ((None, "it is still coming"), (30, "failed: the tape is stuck; the next is in 30.0 s")):
            source.next_attempt_at = None if seconds is None else time.monotonic() + seconds
            assert stream.get_geometry(1900) is None
            error = stream.last_error()
            assert error is not None
            assert error.message.endswith(told)
        assert (stream.stats().timeouts, stream.stats().failed) == (1, 1)
