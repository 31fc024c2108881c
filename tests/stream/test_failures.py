"""
Failures in play: of a source, a server, a deadline; and what the errors say.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import badserver
import numpy as np
import pytest
from badserver import Server
from scripted import (
    BLOCKS,
    NUMBERED,
    STARTS,
    N,
    Scripted,
    get,
    is_quiet,
    is_under_way,
    n_waiting,
    number_of,
    numbered_payload,
)
from support import asvp_of, block_of, code_of, payload_of, wait_until

import alphastream_gpu
from alphastream_gpu import (
    AlphaStream,
    ByteRange,
    Config,
    ErrorCode,
    FrameGeometry,
    FrameTimeoutError,
    MemorySource,
    TransportError,
)
from alphastream_gpu._sources.base import SilentServerError
from alphastream_gpu._stream import (
    decoding as _decoding,
)
from alphastream_gpu._stream import (
    scheduler as _scheduler,
)


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


@pytest.mark.slow
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
        assert sum(span.start == STARTS[500] for span in source.spans) == 1
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


@pytest.mark.slow
def test_prefetching_pauses_after_failures() -> None:
    source = Scripted()
    with alphastream_gpu.open(source) as stream:
        get(stream, 0)
        wait_until(lambda: is_quiet(stream))
        before = len(source.spans)
        source.fails = lambda number: True
        stream.get_geometry(1000)
        time.sleep(0.6)
        assert len(source.spans) - before < 12
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
        assert number_of(get(stream, 0)) == 0
        wait_until(lambda: is_under_way(stream, 1))
        geometry = stream.get_geometry(1)
        assert stream.last_error() is None
        assert geometry is not None
        assert number_of(geometry) == 1
        wait_until(lambda: is_quiet(stream))
        assert stream.stats().joined == 1


class Ending(Scripted):
    """Reads after the first wait until the test says so, and end with an error if they are of many frames."""

    error: FrameTimeoutError
    n_slow = 1 << 30
    """After so many reads, it is quick."""

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


LONGEST = max(map(len, BLOCKS))
FRAME_1 = ByteRange(STARTS[1], STARTS[2])


async def joined(source: Ending) -> FrameGeometry:
    """Frame 1, which a read of many frames is to bring, when that has failed."""
    async with await alphastream_gpu.open_async(source, config=Config(get_frame_timebox=0)) as stream:
        assert stream.get_geometry(0) is None
        while not is_under_way(stream, 1):
            await asyncio.sleep(0.001)
        waiting = asyncio.ensure_future(stream.frame(1))
        while not n_waiting(stream, 1):
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
    assert FRAME_1 not in source.spans

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
    assert FRAME_1 in source.spans


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


def test_over_http_a_slow_server_and_a_dead_one() -> None:
    config = Config(http_timeout=1, http_retries=0)
    chance = np.random.default_rng(3)
    noise = ((0, 0), chance.integers(-128, 128, (60, 2)).tolist())
    blocks = [block_of(payload_of([((k, 0), []), noise])) for k in range(N)]
    assert sum(map(len, blocks[:1500])) > 65536, "farther than what opening reads"
    data = asvp_of(blocks)
    with Server(data, latency=0.03) as server, alphastream_gpu.open(server.url(), config=config) as stream:
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
    monkeypatch.setattr(_decoding, "_MAX_BYTES", 4 * 3 * 8)  # the points of four frames of this stream's
    taken: list[int] = []
    decode = _scheduler.decode_each

    def counted(*arguments: Any) -> list[Any]:
        taken.append(len(results := decode(*arguments)))
        return results

    monkeypatch.setattr(_scheduler, "decode_each", counted)
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
