"""
Streams at moments that playing seldom meets: closed, replaced or given up just then. Each is brought about on purpose.
"""

from __future__ import annotations

import asyncio
import ctypes
import io
import os
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from scripted import (
    STARTS,
    Scripted,
    in_decoder,
    in_raster_worker,
    is_under_way,
    n_slow,
    n_waiting,
    number_of,
    on_loop,
    session_of,
)
from support import SQUARE, asvp_of, block_of, code_of, wait_until

import alphastream_gpu
from alphastream_gpu import (
    AlphaStream,
    AlphaStreamBuilder,
    AsvpWriter,
    AsvrKey,
    ByteRange,
    ClosedError,
    Config,
    DecodeError,
    ErrorCode,
    FileSource,
    FrameGeometry,
    FrameTimeoutError,
    LastError,
    MemorySource,
    NotReadyError,
    TransportError,
)
from alphastream_gpu._format.cipher import StreamCipher, cipher_for
from alphastream_gpu._runtime.loop import LoopLease
from alphastream_gpu._runtime.workers import Workers, _carry_out, join
from alphastream_gpu._stream import products as products_module
from alphastream_gpu._stream import reader as reader_module
from alphastream_gpu._stream import scheduler as scheduler_module
from alphastream_gpu._stream.fetches import Pending
from alphastream_gpu._stream.products import Products
from alphastream_gpu._writing import (
    writer as _writer,
)

T = TypeVar("T")

BLOCK = block_of(SQUARE)
FILE = asvp_of([BLOCK] * 600)
SQUARE_GEOMETRY = FrameGeometry.from_payload(SQUARE)


# Masks that take long.


class Maker:
    """In the place of what makes masks: each waits for a gate."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.started = 0

    def __call__(self, *arguments: Any) -> np.ndarray:
        self.started += 1
        assert self.gate.wait(30)
        return np.frombuffer(b"made", np.uint8)


def _is_made(mask: np.ndarray | None) -> bool:
    return mask is not None and mask.tobytes() == b"made"


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    made = Maker()
    monkeypatch.setattr(products_module, "_mask_of", made)
    monkeypatch.setattr(products_module, "_QUICK_POINTS", 0)
    yield made
    made.gate.set()


def _slow_stream(timebox: float = 5.0) -> AlphaStream:
    config = Config(ready_frames=0, raster_workers=1, get_frame_timebox=timebox)
    stream = alphastream_gpu.open(FILE, config=config)
    for index in range(10):
        wait_until(lambda index=index: stream.get_geometry(index) is not None)
    return stream


def test_asking_again_for_a_slow_mask_joins(maker: Maker) -> None:
    with _slow_stream() as stream:
        for _ in range(3):
            assert stream.get_frame(0) is None
            assert code_of(stream) == ErrorCode.TIMEOUT
        wait_until(lambda: maker.started == 1)
        maker.gate.set()
        wait_until(lambda: _is_made(stream.get_frame(0)))
        assert maker.started == 1


def test_of_many_slow_masks_the_oldest_gives_way(maker: Maker) -> None:
    with _slow_stream(timebox=1000) as stream, ThreadPoolExecutor(9) as pool:

        def ask(index: int) -> tuple[np.ndarray | None, LastError | None]:
            return stream.get_frame(index), stream.last_error()

        first = pool.submit(ask, 0)
        wait_until(lambda: maker.started == 1)
        second = pool.submit(ask, 1)
        wait_until(lambda: n_slow(stream) == 2)
        others = [pool.submit(ask, index) for index in range(2, 6)]
        # The first is being made and goes on; the second has not begun.
        message = "frame 1: other frames came first; ask again"
        assert second.result() == (None, LastError(ErrorCode.TIMEOUT, message, 1))
        maker.gate.set()
        assert all(_is_made(asked.result()[0]) for asked in (first, *others))


def test_closing_ends_the_wait_for_a_slow_mask(maker: Maker) -> None:
    stream = _slow_stream(timebox=1000)
    with ThreadPoolExecutor(9) as pool:
        running = pool.submit(stream.get_frame, 0)
        wait_until(lambda: maker.started == 1)
        waiting = pool.submit(stream.get_frame, 1)
        wait_until(lambda: n_slow(stream) == 2)
        closing = pool.submit(stream.close)
        with pytest.raises(ClosedError):
            waiting.result()
        maker.gate.set()
        closing.result()
        running.exception()
    assert maker.started == 1


def test_no_slow_mask_is_begun_after_closing() -> None:
    """A call may have its geometry by then."""
    with alphastream_gpu.open(FILE) as stream:
        session, products = session_of(stream), Products(Config())
        products.close(None)
        with pytest.raises(ClosedError, match="the stream is closed"):
            products.mask(session, 0, SQUARE_GEOMETRY, (4096, 4096), time.monotonic() + 30)


# Closed, replaced, given up.


def test_a_stream_without_a_source() -> None:
    with AlphaStream() as stream:
        assert stream.stats() == alphastream_gpu.Stats()
    with pytest.raises(ClosedError, match="the stream is closed"):
        stream.load_source(FILE)
    with AlphaStreamBuilder().source(FILE).open() as stream:
        assert stream.metadata.frame_count == 600


def test_an_iteration_that_is_given_up_reads_no_further() -> None:
    async def run() -> None:
        async with await alphastream_gpu.open_async(FILE) as stream:
            frames = stream.frames()
            assert await anext(frames) == SQUARE_GEOMETRY
            await frames.aclose()  # while the next batch is on its way
            assert await stream.frame(599) == SQUARE_GEOMETRY

    asyncio.run(run())


def test_an_iteration_that_is_cancelled_while_it_reads() -> None:
    async def run() -> None:
        source = Scripted(FILE)
        async with await alphastream_gpu.open_async(source) as stream:
            source.delay = lambda: 3600.0
            reading = asyncio.ensure_future(anext(stream.frames()))
            while not source.running:
                await asyncio.sleep(0.001)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            while source.running:  # the read ends, too, although the source still hangs
                await asyncio.sleep(0.001)
            source.delay = lambda: 0.0
            assert await stream.frame(599) == SQUARE_GEOMETRY

    asyncio.run(run())


def test_an_iteration_whose_source_is_replaced() -> None:
    async def run() -> None:
        async with await alphastream_gpu.open_async(FILE) as stream:
            frames = stream.frames()
            await anext(frames)
            await stream.aload_source(FILE)
            with pytest.raises(NotReadyError, match="another source was loaded"):
                while True:
                    await anext(frames)

    asyncio.run(run())


def test_an_iteration_whose_stream_is_closed_while_it_reads() -> None:
    async def run() -> None:
        source = Scripted(FILE)
        stream = await alphastream_gpu.open_async(source)
        source.delay = lambda: 3600.0
        reading = asyncio.ensure_future(anext(stream.frames()))
        while not source.running:
            await asyncio.sleep(0.001)
        await stream.aclose()
        with pytest.raises(ClosedError):
            await reading

    asyncio.run(run())


def test_giving_up_a_frame_of_a_prefetched_span_leaves_the_span_alone() -> None:
    async def run() -> None:
        source = Scripted()
        config = Config(get_frame_timebox=0)
        async with await alphastream_gpu.open_async(source, config=config) as stream:
            source.spans.clear()
            source.is_held = True
            assert stream.get_geometry(500) is None
            while not is_under_way(stream, 505):
                await asyncio.sleep(0.001)
            waiting = asyncio.ensure_future(stream.frame(505))
            while not n_waiting(stream, 505):
                await asyncio.sleep(0.001)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            source.is_held = False
            assert number_of(await stream.frame(506)) == 506
            assert number_of(await stream.frame(505)) == 505
            assert sum(span.start <= STARTS[505] < span.stop for span in source.spans) == 1

    asyncio.run(run())


def test_a_frame_that_arrives_is_told_once() -> None:
    """A fetch may end a second time: cancelled, or refused, just when it was delivered."""
    for deliver, is_there in (
        (lambda pending: pending.succeed(SQUARE_GEOMETRY), True),
        (lambda pending: pending.fail(DecodeError("bad")), False),
    ):
        pending = Pending()
        waiting = pending.future
        for end in (deliver, lambda pending: pending.succeed(SQUARE_GEOMETRY), lambda pending: pending.fail(OSError())):
            end(pending)
            assert (waiting.exception(0) is None) == is_there
            assert is_there or str(waiting.exception(0)) == "bad"


def test_a_fetch_that_breaks_ends_the_waits_for_its_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a fault of our own: nobody hangs, and asking again works."""

    def fail(*arguments: Any) -> None:
        raise ArithmeticError("a fault")

    with alphastream_gpu.open(FILE, config=Config(prefetch_frames=0)) as stream:
        with monkeypatch.context() as patch, pytest.raises(ArithmeticError, match="a fault"):
            patch.setattr(scheduler_module, "decode_each", fail)
            stream.read_frame(3)
        wait_until(lambda: stream.get_geometry(3) == SQUARE_GEOMETRY)


def test_a_stream_that_its_source_closes_while_it_is_opened() -> None:
    closed: list[bool] = []
    stream = AlphaStream()

    class Closing(MemorySource):
        async def read(self, span: ByteRange) -> memoryview:
            stream.close()  # by another thread, because this one reads for the stream
            return await super().read(span)

        async def aclose(self) -> None:
            closed.append(True)

    with pytest.raises(ClosedError, match="the stream was closed while it was opening a source"):
        stream.load_source(Closing(FILE))
    wait_until(lambda: closed == [True])
    with pytest.raises(ClosedError, match="the stream is closed"):
        stream.load_source(FILE)


# Threads and the loop.


def test_a_pool_that_is_shut_down_does_not_blame_the_system() -> None:
    pool = Workers(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown$"):
        pool.submit(int)


class LibraryData:
    """What a C library keeps for threads, as OpenSSL does; freeing it takes a while."""

    def __init__(self) -> None:
        self.kept = 0
        self.freed = 0
        self._key = ctypes.c_uint()
        self._libc = ctypes.CDLL(None)
        self._free = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._freeing)
        assert self._libc.pthread_key_create(ctypes.byref(self._key), self._free) == 0

    def keep(self) -> None:
        """For the thread that calls."""
        assert self._libc.pthread_setspecific(self._key, ctypes.c_void_p(1)) == 0
        self.kept += 1

    def _freeing(self, value: int) -> None:
        time.sleep(0.1)
        self.freed += 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a thread is gone")
def test_threads_are_gone_when_a_stream_is_closed() -> None:
    """Not only for Python: libraries free what they keep for a thread after that, and must not do so at exit."""
    data = LibraryData()
    stream = alphastream_gpu.open(FILE, config=Config(decode_workers=1, raster_workers=1))
    in_decoder(stream, data.keep).result(10)
    in_raster_worker(stream, data.keep).result(10)
    on_loop(stream, data.keep)
    wait_until(lambda: data.kept == 3)
    stream.close()
    assert data.freed == 3


@pytest.mark.slow
def test_a_key_that_is_being_derived_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by an opening that ran out of time: OpenSSL keeps something for the thread that derives it."""
    is_derived = threading.Event()

    def slowly(key: AsvrKey, name: str) -> StreamCipher:
        time.sleep(0.3)
        cipher = cipher_for(key, name)
        is_derived.set()
        return cipher

    monkeypatch.setattr(reader_module, "cipher_for", slowly)
    key = AsvrKey(os.urandom(32), scene_id=1, version="1")
    with pytest.raises(FrameTimeoutError, match=r"not read within 0.1 s"):
        alphastream_gpu.open(bytes(100), key=key, config=Config(init_timeout=0.1))
    assert is_derived.is_set()
    assert not any(thread.name.startswith("alphastream-decode") for thread in threading.enumerate())


def test_workers_that_are_dropped_end() -> None:
    """As those of every executor do."""
    pool = Workers(1, "alphastream-dropped")
    thread = pool.submit(threading.current_thread).result(10)
    left = weakref.ref(pool)
    del pool
    wait_until(lambda: left() is None)
    thread.join(10)
    assert not thread.is_alive()


def test_waiting_for_a_thread_ends_at_the_deadline() -> None:
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait)
    thread.start()
    join([thread], time.monotonic() + 0.01)
    assert thread.is_alive()
    gate.set()
    join([thread])
    assert not thread.is_alive()


def test_what_is_given_up_before_its_thread_runs_is_not_done() -> None:
    future: Future[int] = Future()
    future.cancel()
    _carry_out(future, pytest.fail)
    assert future.cancelled()


def test_a_lease_is_released_once() -> None:
    lease = LoopLease()
    other = LoopLease()
    lease.release()
    lease.release()
    assert other.submit(lambda: asyncio.sleep(0, "alive")).result(10) == "alive"
    other.release()


def test_no_loop_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a process has no file descriptors left."""

    def refuse() -> None:
        raise OSError(24, "Too many open files")

    owner = object()
    monkeypatch.setattr(asyncio, "Runner", refuse)
    with pytest.raises(TransportError, match="no event loop for reading: .*Too many open files"):
        LoopLease.of(owner, "alphastream-test")
    monkeypatch.undo()
    LoopLease.of(owner, "alphastream-test").release()


# Files and formats.


def test_a_file_that_gives_less_than_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk or a network share that fails half-way says so by a short read."""

    class Short(io.FileIO):
        def read(self, n_bytes: int = -1) -> bytes:  # type: ignore[override]
            return super().read(n_bytes)[:-1]

    monkeypatch.setattr("alphastream_gpu._sources.file._map", lambda file, length: None)
    monkeypatch.setattr("alphastream_gpu._sources.file.open", lambda path, *_, **__: Short(path), raising=False)
    (tmp_path / "x.asvp").write_bytes(FILE)
    source = FileSource(tmp_path / "x.asvp")
    with pytest.raises(TransportError, match="expected 7 bytes at 5, found 6"):
        asyncio.run(source.read(ByteRange(5, 12)))
    asyncio.run(source.aclose())


def test_a_table_that_ends_before_its_time() -> None:
    """A source that does not know its length."""

    class Unbounded(MemorySource):
        @property
        def length(self) -> None:  # type: ignore[override]
            return None

    data = asvp_of([BLOCK])
    with pytest.raises(DecodeError, match="sizes table: expected .* bytes, found .*: the file is truncated"):
        alphastream_gpu.open(Unbounded(data[:20]))


def test_more_frames_than_an_asvr_has_keys_for() -> None:
    cipher = cipher_for(AsvrKey(os.urandom(32), scene_id=0), "x")
    cipher.block(0xFFFFFFFE, b"x")
    for index in (0xFFFFFFFF, -1):
        with pytest.raises(DecodeError, match=f"frame {index}: an ASVR cannot hold this many frames"):
            cipher.block(index, b"x")


def test_a_geometry_whose_payload_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_writer, "MAX_PAYLOAD_BYTES", len(SQUARE) - 1)
    refused = pytest.raises(ValueError, match=f"frame: expected a payload of at most {len(SQUARE) - 1} bytes")
    with AsvpWriter(tmp_path / "x.asvp") as writer, refused:
        writer.add_frame(SQUARE_GEOMETRY)
