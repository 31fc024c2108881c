"""
AlphaStream: opening, reading, closing; from asyncio and from plain code.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from scripted import Scripted, low_water, session_of
from support import SAMPLE, SQUARE, asvp_of, block_of, golden_frames, sha256, wait_until

import alphastream_gpu
from alphastream_gpu import (
    AlphaStream,
    ByteRange,
    ClosedError,
    Config,
    ErrorCode,
    FrameGeometry,
    FrameNotFoundError,
    FrameTimeoutError,
    LastError,
    MemorySource,
    NotReadyError,
    TransportError,
)


class RecordingSource(MemorySource):
    """Records reads; can be made to hang or to fail."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data, name="recorded")
        self.spans: list[ByteRange] = []
        self.closed = 0
        self.hang = False
        self.failure: Exception | None = None

    async def read(self, span: ByteRange) -> memoryview:
        self.spans.append(span)
        if self.hang:
            await asyncio.sleep(3600)
        if self.failure is not None:
            raise self.failure
        return await super().read(span)

    async def aclose(self) -> None:
        self.closed += 1


def _threads() -> set[threading.Thread]:
    return set(threading.enumerate())


def _wait_for_others(before: set[threading.Thread]) -> None:
    """Threads that opened a file are not waited for by closing; they have nothing to do but to end."""
    wait_until(lambda: _threads() <= before)


def test_from_plain_code() -> None:
    with alphastream_gpu.open(SAMPLE) as stream:
        assert stream.metadata.frame_count == 120
        assert repr(stream) == "<AlphaStream ASVP 120 frames>"
        geometry = asyncio.run(stream.frame(60))
    assert sha256(alphastream_gpu.rasterize(geometry)) == golden_frames()[60]["sha256"]
    assert repr(stream) == "<AlphaStream closed>"


def test_opening_reads_the_table_and_a_frame_its_block() -> None:
    data = SAMPLE.read_bytes() + bytes(200_000)
    source = RecordingSource(data)

    async def read() -> None:
        async with await alphastream_gpu.open_async(source) as stream:
            assert source.spans == [ByteRange(0, 65536)]
            await stream.frame(7)
            assert len(source.spans) == 2
            assert len(source.spans[1]) < 600

    asyncio.run(read())
    assert source.closed == 1


def test_a_long_table_costs_one_more_read() -> None:
    rng = np.random.default_rng(0)
    data = asvp_of([bytes(n) for n in rng.integers(0, 250, 60_000).tolist()])
    source = RecordingSource(data)
    with alphastream_gpu.open(source) as stream:
        assert stream.metadata.frame_count == 60_000
    assert len(source.spans) == 2
    assert source.spans[1].start == 65536


def test_frames_in_a_range_and_in_few_reads() -> None:
    source = RecordingSource(SAMPLE.read_bytes())

    async def read() -> tuple[list[FrameGeometry], list[FrameGeometry]]:
        async with await alphastream_gpu.open_async(source) as stream:
            some = [geometry async for geometry in stream.frames(10, 100)]
            one_by_one = [await stream.frame(index) for index in range(10, 100)]
            assert [geometry async for geometry in stream.frames(5, 5)] == []
            return some, one_by_one

    some, one_by_one = asyncio.run(read())
    assert some == one_by_one
    assert len(source.spans) == 1 + 1 + 90


@pytest.mark.parametrize("index", [-1, 120, 1 << 40])
def test_frames_outside_the_stream(index: int) -> None:
    async def read() -> None:
        async with await alphastream_gpu.open_async(SAMPLE) as stream:
            with pytest.raises(FrameNotFoundError, match=r"expected 0\.\.119") as caught:
                await stream.frame(index)
            assert caught.value.frame_index == index
            with pytest.raises(IndexError):
                async for _ in stream.frames(0, 121):
                    pass

    asyncio.run(read())


def test_an_empty_stream_has_no_frame() -> None:
    async def read() -> None:
        async with await alphastream_gpu.open_async(asvp_of([])) as stream:
            with pytest.raises(FrameNotFoundError, match="the stream is empty"):
                await stream.frame(0)

    asyncio.run(read())


def test_nothing_loaded() -> None:
    with AlphaStream() as stream:
        assert repr(stream) == "<AlphaStream empty>"
        with pytest.raises(NotReadyError, match="open a source first"):
            _ = stream.metadata
        with pytest.raises(NotReadyError):
            asyncio.run(stream.frame(0))
        stream.load_source(SAMPLE)
        assert stream.metadata.frame_count == 120


def test_loading_another_source() -> None:
    first, second = RecordingSource(SAMPLE.read_bytes()), RecordingSource(asvp_of([block_of(SQUARE)]))
    with alphastream_gpu.open(first) as stream:
        with pytest.raises(TransportError):
            stream.load_source("no/such/file")
        assert stream.metadata.frame_count == 120
        stream.load_source(second)
        assert stream.metadata.frame_count == 1
        assert (first.closed, second.closed) == (1, 0)
    assert (first.closed, second.closed) == (1, 1)


def test_a_failed_open_leaves_nothing() -> None:
    before = _threads()
    source = RecordingSource(b"not a stream")
    with pytest.raises(alphastream_gpu.DecodeError):
        alphastream_gpu.open(source)
    assert source.closed == 1
    _wait_for_others(before)


def test_a_hanging_source_times_out() -> None:
    source = RecordingSource(SAMPLE.read_bytes())
    source.hang = True
    with pytest.raises(FrameTimeoutError, match="not read within 0.1 s") as caught:
        alphastream_gpu.open(source, config=Config(init_timeout=0.1))
    assert isinstance(caught.value, TimeoutError)
    assert source.closed == 1


def test_foreign_errors_of_a_source_are_mapped() -> None:
    source = RecordingSource(SAMPLE.read_bytes())

    async def read() -> None:
        async with await alphastream_gpu.open_async(source) as stream:
            source.failure = ConnectionResetError(104, "Connection reset by peer")
            with pytest.raises(
                TransportError, match="frame 3: reading bytes .* of 'recorded': Connection reset"
            ) as caught:
                await stream.frame(3)
            assert caught.value.__cause__ is source.failure
            source.failure = None
            await stream.frame(3)

    asyncio.run(read())


def test_closing_ends_a_wait() -> None:
    source = RecordingSource(SAMPLE.read_bytes())

    async def read() -> None:
        stream = await alphastream_gpu.open_async(source)
        source.hang = True
        waiting = asyncio.create_task(stream.frame(0))
        await asyncio.sleep(0.05)
        await stream.aclose()
        with pytest.raises(ClosedError, match="closed during the call"):
            await waiting
        with pytest.raises(ClosedError, match="the stream is closed"):
            await stream.frame(0)
        await stream.aclose()
        stream.close()

    asyncio.run(read())
    assert source.closed == 1


def test_a_cancelled_await_is_cancelled() -> None:
    source = RecordingSource(SAMPLE.read_bytes())

    async def read() -> None:
        async with await alphastream_gpu.open_async(source) as stream:
            source.hang = True
            waiting = asyncio.create_task(stream.frame(0))
            await asyncio.sleep(0.05)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            source.hang = False
            await stream.frame(0)

    asyncio.run(read())


def test_the_callers_loop_is_not_blocked() -> None:
    async def read() -> None:
        source = RecordingSource(SAMPLE.read_bytes())
        source.hang = True
        opening = asyncio.create_task(alphastream_gpu.open_async(source, config=Config(init_timeout=300)))
        for _ in range(50):  # it goes on
            await asyncio.sleep(0.001)
        assert not opening.done()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    asyncio.run(read())


@pytest.mark.slow
def test_many_calls_at_once() -> None:
    """Handing work to the loop must never wait for the loop: it may be waiting for the same lock."""

    async def read() -> None:
        async with await alphastream_gpu.open_async(SAMPLE) as stream:
            one_by_one = [await stream.frame(index) for index in range(120)]
            assert await asyncio.gather(*(stream.frame(index) for index in range(120))) == one_by_one

            async def all_frames() -> list[FrameGeometry]:
                return [geometry async for geometry in stream.frames()]

            for frames in await asyncio.gather(*(all_frames() for _ in range(30))):
                assert frames == one_by_one

    asyncio.run(read())


@pytest.mark.slow
def test_the_first_streams_may_be_opened_by_several_threads() -> None:
    script = f"""
import threading, time
import alphastream_gpu
start = threading.Barrier(6)
def go():
    start.wait()
    with alphastream_gpu.open({str(SAMPLE)!r}) as stream:
        assert stream.metadata.frame_count == 120
threads = [threading.Thread(target=go) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
while threading.active_count() > 1: time.sleep(0.01)  # those that opened the file have nothing to do but to end
"""
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_opens_streams_of_its_own() -> None:
    script = f"""
import os, sys
import alphastream_gpu
stream = alphastream_gpu.open({str(SAMPLE)!r})
child = os.fork()
if child == 0:
    with alphastream_gpu.open({str(SAMPLE)!r}) as own:
        sys.stdout.write(repr(own))
        sys.stdout.flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
stream.close()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "<AlphaStream ASVP 120 frames>", done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_that_ends_does_not_wait_for_the_parents_stream() -> None:
    script = f"""
import os, sys
import alphastream_gpu
stream = alphastream_gpu.open({str(SAMPLE)!r})
child = os.fork()
if child == 0:
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
print(stream)
stream.close()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout == "<AlphaStream ASVP 120 frames>\n", done.stderr


class Slow(RecordingSource):
    """Its closing begins, and ends when the test says so."""

    is_closing = may_close = False

    async def aclose(self) -> None:
        self.is_closing = True
        while not self.may_close:
            await asyncio.sleep(0.001)
        await super().aclose()


def test_giving_up_on_a_load_leaves_no_source_open() -> None:
    first, second = Slow(SAMPLE.read_bytes()), RecordingSource(SAMPLE.read_bytes())

    async def load() -> None:
        async with await alphastream_gpu.open_async(first) as stream:
            task = asyncio.create_task(stream.aload_source(second))
            while not first.is_closing:
                await asyncio.sleep(0.001)
            task.cancel()
            first.may_close = True
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(load())
    assert (first.closed, second.closed) == (1, 1)


def test_loading_the_same_source_again_keeps_it_open() -> None:
    source = RecordingSource(SAMPLE.read_bytes())
    with alphastream_gpu.open(source) as stream:
        stream.load_source(source)
        assert source.closed == 0
        asyncio.run(stream.frame(3))
    assert source.closed == 1


def test_a_cancelled_close_closes_all_the_same() -> None:
    source = Slow(SAMPLE.read_bytes())
    before = _threads()

    async def close() -> None:
        stream = await alphastream_gpu.open_async(source)
        task = asyncio.create_task(stream.aclose())
        while not source.is_closing:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert source.closed == 0
        source.may_close = True

    asyncio.run(close())
    assert source.closed == 1
    _wait_for_others(before)


def test_a_source_is_closed_after_its_last_read() -> None:
    class Watchful(RecordingSource):
        reading = 0

        async def read(self, span: ByteRange) -> memoryview:
            self.reading += 1
            try:
                return await super().read(span)
            finally:
                await asyncio.sleep(0.02)
                self.reading -= 1

        async def aclose(self) -> None:
            assert self.reading == 0
            await super().aclose()

    async def read() -> None:
        source = Watchful(SAMPLE.read_bytes())
        stream = await alphastream_gpu.open_async(source)
        source.hang = True

        async def iterate() -> None:
            async for _ in stream.frames():
                pass

        tasks = [asyncio.create_task(iterate()), asyncio.create_task(stream.frame(3))]
        await asyncio.sleep(0.05)
        await stream.aclose()
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(end, ClosedError)
        assert source.closed == 1

    asyncio.run(read())


def test_no_thread_is_left() -> None:
    before = _threads()
    streams = [alphastream_gpu.open(SAMPLE) for _ in range(3)]
    for stream in streams:
        asyncio.run(stream.frame(0))
    assert _threads() - before
    for stream in streams:
        stream.close()
    _wait_for_others(before)


FORGETFUL = {
    "module level": "s = a.open(sample); print(s)",
    "local": "def f():\n    s = a.open(sample); print(s)\nf()",
    "exit": "s = a.open(sample); print(s); raise SystemExit",
    "played": "s = a.open(sample); print(s); s.get_frame(3)",
    "asyncio": "import asyncio\nasync def f():\n    return await a.open_async(sample)\ns = asyncio.run(f()); print(s)",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORGETFUL)
def test_a_program_that_forgets_to_close_exits(name: str) -> None:
    script = f"import alphastream_gpu as a\nsample = {str(SAMPLE)!r}\n{FORGETFUL[name]}\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", script],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "<AlphaStream ASVP 120 frames>\n"


def test_a_forgotten_stream_is_closed_with_a_warning() -> None:
    before = _threads()
    source = RecordingSource(SAMPLE.read_bytes())
    stream = alphastream_gpu.open(source)
    with pytest.warns(ResourceWarning, match="<AlphaStream ASVP 120 frames> was never closed"):
        del stream
    _wait_for_others(before)
    assert source.closed == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_no_file_descriptors_left() -> None:
    """The loop's thread cannot begin; opening says so, instead of waiting for it, and works again later."""
    script = f"""
import os, resource, alphastream_gpu
held = []
resource.setrlimit(resource.RLIMIT_NOFILE, (32, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for _ in range(2):
    try:
        alphastream_gpu.open({str(SAMPLE)!r})
    except alphastream_gpu.TransportError as exc:
        print(exc)
for one in held:
    os.close(one)
print(alphastream_gpu.open({str(SAMPLE)!r}).metadata.frame_count)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    first, second, last = done.stdout.splitlines()
    assert first == second
    assert first.startswith("no event loop for reading:")
    assert last == "120"


def test_no_memory_for_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours, on the caller's thread and in the pool; the next call works."""

    def refuse(*arguments: object, **options: object) -> None:
        raise MemoryError

    with alphastream_gpu.open(asvp_of([block_of(SQUARE)]), config=Config(ready_frames=0)) as stream:
        asyncio.run(stream.frame(0))
        for size in ((64, 32), (4096, 4096)):
            with monkeypatch.context() as patch:
                patch.setattr("alphastream_gpu._stream.products.rasterize", refuse)
                while (error := stream.get_frame(0, *size) or stream.last_error()).code is ErrorCode.TIMEOUT:
                    pass
                assert (error.code, error.frame_index) == (ErrorCode.DECODE, 0)
                assert "memory" in error.message
            while stream.get_frame(0, *size) is None:
                pass


@pytest.mark.parametrize("name", ["alphastream-loop", "alphastream-call", "alphastream-decode", "alphastream-asked"])
def test_no_more_threads(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that gives no thread: NotReadyError, or its code, whatever the thread is for; later it works."""
    start = threading.Thread.start
    channel = np.stack(np.meshgrid(np.arange(40), np.arange(40)), axis=-1).reshape(-1, 2)
    path = tmp_path / "three.asvp"
    path.write_bytes(asvp_of([block_of(FrameGeometry(channel, [0, len(channel)]).to_payload())] * 3))

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith(name):
            raise RuntimeError("can't start new thread")
        start(thread)

    async def read() -> int:
        async with await alphastream_gpu.open_async(path) as stream:
            return len([geometry async for geometry in stream.frames()])

    def play() -> int:
        with alphastream_gpu.open(path) as stream:
            for _ in range(200):
                if stream.get_frame(1) is not None:
                    return 3
                error = stream.last_error()
                assert error is not None
                if error.code is not ErrorCode.TIMEOUT:
                    assert error.code is ErrorCode.NOT_READY
                    raise NotReadyError(error.message)
            raise AssertionError("neither a mask nor an error")

    work = (lambda: asyncio.run(read())) if name.endswith("decode") else play
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(NotReadyError, match="can't start new thread"):
            work()
    assert work() == 3


def test_no_more_threads_to_work_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody asked for is not made; what somebody asks for is."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("alphastream-raster"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with alphastream_gpu.open(SAMPLE) as stream:
        for index in range(20):
            asyncio.run(stream.frame(index))
            while stream.get_frame(index, 4096, 2048) is None:
                error = stream.last_error()
                assert error is not None
                assert error.code is ErrorCode.TIMEOUT
        assert not any(thread.name.startswith("alphastream-raster") for thread in threading.enumerate())


def test_the_last_error_is_the_calling_threads() -> None:
    """As the C library has it: another thread's success must not explain this thread's None away."""
    with alphastream_gpu.open(SAMPLE) as stream:
        assert stream.get_geometry(999) is None
        others: list[object] = []

        def other() -> None:
            others.append(stream.last_error())
            wait_until(lambda: stream.get_geometry(5) is not None)
            assert stream.get_geometry(777) is None
            others.append(stream.last_error())
            stream.clear_error()
            others.append(stream.last_error())

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        before, failed, cleared = others
        assert before is cleared is None
        assert isinstance(failed, LastError)
        assert failed.frame_index == 777
        mine = stream.last_error()
        assert mine is not None
        assert mine.frame_index == 999
        stream.clear_error()
        assert stream.last_error() is None


@pytest.mark.slow
def test_last_errors_of_threads_that_ended_are_freed() -> None:
    def n_errors() -> int:
        gc.collect()
        return sum(type(thing) is LastError for thing in gc.get_objects())

    with alphastream_gpu.open(SAMPLE) as stream:
        before = n_errors()
        seen: list[int] = []

        def fail() -> None:
            assert stream.get_geometry(999) is None
            seen.append(n_errors())

        for _ in range(10):
            thread = threading.Thread(target=fail)
            thread.start()
            thread.join()
        assert seen == [before + 1] * 10
        assert n_errors() == before


@pytest.mark.slow
def test_a_rate_that_is_set_holds_everywhere() -> None:
    source = Scripted(SAMPLE.read_bytes())
    with alphastream_gpu.open(source, config=Config(fps=30)) as stream:
        assert (stream.metadata.fps, stream.metadata.duration) == (30, 4)
        source.delay = lambda: 0.5  # so that frames are played during a read
        assert stream.read_frame(60).points.size
        stream.set_rate(1)
        before = low_water(stream)
        stream.set_rate(120)
        assert (stream.metadata.fps, stream.metadata.duration) == (120, 1)
        assert low_water(stream) > before
        assert stream.config.fps == 30
        stream.load_source(SAMPLE)
        assert (stream.metadata.fps, stream.time_of(120)) == (120, 1)
        assert session_of(stream).planner.fps == 120
    with AlphaStream() as stream:
        stream.set_rate(24)
        stream.load_source(SAMPLE)
        assert stream.metadata.duration == 5


@pytest.mark.parametrize("what", ["get_frame", "get_triangle_strip_vertices"])
def test_what_is_handed_out_is_the_callers_own(what: str) -> None:
    """numpy refuses to write to it. Other libraries may, by its address; then it is not what others are given."""
    config = Config(get_frame_timebox=1000)
    with alphastream_gpu.open(SAMPLE, config=config) as stream:
        ask = getattr(stream, what)
        mine = ask(60)
        expected = mine.copy()
        assert mine.ctypes.data % 64 == 0
        assert mine.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            mine[0] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            mine.setflags(write=True)
        with pytest.raises(ValueError, match="WRITEABLE"):
            mine.view().setflags(write=True)
        ctypes.memset(mine.ctypes.data, 0, mine.nbytes)  # as torch.from_dlpack(mine).zero_() does
        assert not mine.any()
        for _ in range(2):
            assert (ask(60) == expected).all()
        again = ask(60)
        assert not np.shares_memory(again, ask(60))
