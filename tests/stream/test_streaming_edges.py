"""
Streams at moments that playing seldom meets: closed, replaced or given up just then. Each is brought about on purpose.
"""

from __future__ import annotations

import asyncio
import ctypes
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
    MemorySource,
    NotReadyError,
    TransportError,
)
from alphastream_gpu._format.cipher import StreamCipher, cipher_for
from alphastream_gpu._runtime import exit as exit_module
from alphastream_gpu._runtime import loop as loop_module
from alphastream_gpu._runtime.loop import LoopLease
from alphastream_gpu._runtime.workers import Workers, _carry_out, join
from alphastream_gpu._stream import products as products_module
from alphastream_gpu._stream import reader as reader_module
from alphastream_gpu._stream import fetches as fetches_module
from alphastream_gpu._stream import session as session_module
from alphastream_gpu._writing import (
    writer as _writer,
)

T = TypeVar("T")

BLOCK = block_of(SQUARE)
FILE = asvp_of([BLOCK] * 600)
SQUARE_GEOMETRY = FrameGeometry.from_payload(SQUARE)


class Gated(MemorySource):
    """A source whose reads after the first wait for a gate."""

    def __init__(self, data: bytes = FILE) -> None:
        super().__init__(data)
        self.is_open = False
        self.spans: list[ByteRange] = []

    async def read(self, span: ByteRange) -> memoryview:
        self.spans.append(span)
        while len(self.spans) > 1 and not self.is_open:
            await asyncio.sleep(0.001)
        return await super().read(span)


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
        assert len(stream._lifetime.products._slow) == 1
        maker.gate.set()
        wait_until(lambda: _is_made(stream.get_frame(0)))
        assert maker.started == 1
        assert not stream._lifetime.products._slow


def test_of_many_slow_masks_the_oldest_gives_way(maker: Maker) -> None:
    with _slow_stream(timebox=1000) as stream, ThreadPoolExecutor(9) as pool:
        first = pool.submit(stream.get_frame, 0)
        wait_until(lambda: maker.started == 1)
        second = pool.submit(stream.get_frame, 1)
        wait_until(lambda: len(stream._lifetime.products._slow) == 2)
        others = [pool.submit(stream.get_frame, index) for index in range(2, 6)]
        # The first is being made and goes on; the second has not begun.
        assert second.result() is None
        assert len(stream._lifetime.products._slow) == 4
        maker.gate.set()
        assert all(_is_made(asked.result()) for asked in (first, *others))


def test_closing_ends_the_wait_for_a_slow_mask(maker: Maker) -> None:
    stream = _slow_stream(timebox=1000)
    with ThreadPoolExecutor(9) as pool:
        running = pool.submit(stream.get_frame, 0)
        wait_until(lambda: maker.started == 1)
        waiting = pool.submit(stream.get_frame, 1)
        wait_until(lambda: len(stream._lifetime.products._slow) == 2)
        closing = pool.submit(stream.close)
        with pytest.raises(ClosedError):
            waiting.result()
        maker.gate.set()
        closing.result()
        running.exception()
    with pytest.raises(ClosedError):
        stream._lifetime.products._in_time(0, 0, SQUARE_GEOMETRY, 0.0, 1, lambda: None)


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
        source = Gated()
        async with await alphastream_gpu.open_async(source) as stream:
            reading = asyncio.ensure_future(anext(stream.frames()))
            while len(source.spans) < 2:
                await asyncio.sleep(0.001)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            session = stream._lifetime.session
            assert session is not None
            while session._tasks:  # the read ends, too, although the source still hangs
                await asyncio.sleep(0.001)
            source.is_open = True
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
        source = Gated()
        stream = await alphastream_gpu.open_async(source)
        reading = asyncio.ensure_future(anext(stream.frames()))
        while len(source.spans) < 2:
            await asyncio.sleep(0.001)
        await stream.aclose()
        with pytest.raises(ClosedError):
            await reading

    asyncio.run(run())


def test_giving_up_a_frame_of_a_prefetched_span_leaves_the_span_alone() -> None:
    async def run() -> None:
        source = Gated()
        config = Config(get_frame_timebox=0)
        async with await alphastream_gpu.open_async(source, config=config) as stream:
            session = stream._lifetime.session
            assert session is not None
            assert stream.get_geometry(0) is None
            while 5 not in session._pending or session._pending[5].task is None:
                await asyncio.sleep(0.001)
            waiting = asyncio.ensure_future(stream.frame(5))
            await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert 5 in session._pending
            source.is_open = True
            assert await stream.frame(6) == SQUARE_GEOMETRY
            assert await stream.frame(5) == SQUARE_GEOMETRY

    asyncio.run(run())


def waited_for() -> fetches_module.Pending:
    """As after :meth:`Session.join`, which makes the future."""
    pending = fetches_module.Pending()
    assert not pending.future.done()
    return pending


def test_what_arrives_after_it_was_given_up() -> None:
    """A fetch ends while nobody lists its frames any more: geometry is kept all the same, and nobody is told twice."""
    with alphastream_gpu.open(FILE, config=Config(prefetch_frames=0)) as stream:
        session = stream._lifetime.session
        assert session is not None
        span = session.reader.span(3, 5)

        def entries() -> list[Any]:
            return [waited_for(), waited_for()]

        given_up = entries()
        session._deliver(3, given_up, [SQUARE_GEOMETRY, DecodeError("bad", frame_index=4)])
        assert session.peek(3) == SQUARE_GEOMETRY
        assert given_up[0].future.result(0) == SQUARE_GEOMETRY
        for end in (
            lambda: session._deliver(3, given_up, [DecodeError("again"), SQUARE_GEOMETRY]),
            lambda: session._refuse(span, given_up, TransportError("again")),
            lambda: session._withdraw(3, given_up, RuntimeError("again")),
        ):
            end()
            assert given_up[0].future.result(0) == SQUARE_GEOMETRY
            assert str(given_up[1].future.exception(0)) == "bad"
        refused = entries()
        session._refuse(span, refused, TransportError("gone"))
        assert [str(entry.future.exception(0)) for entry in refused] == ["gone", "gone"]
        assert [entry.future.exception(0).frame_index for entry in refused] == [3, 4]
        stream.close()
        late = entries()
        session._refuse(span, late, TransportError("gone"))
        session._deliver(3, late, [SQUARE_GEOMETRY, SQUARE_GEOMETRY])
        assert not any(entry.future.done() for entry in late)  # closing ends the waits


def test_a_fetch_that_breaks_ends_the_waits_for_its_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be it by a fault of our own, or because it is cancelled: nobody hangs, and asking again works."""

    def fail(*arguments: Any) -> None:
        raise ArithmeticError("a fault")

    with alphastream_gpu.open(FILE, config=Config(prefetch_frames=0)) as stream:
        session = stream._lifetime.session
        assert session is not None
        with monkeypatch.context() as patch, pytest.raises(ArithmeticError, match="a fault"):
            patch.setattr(session_module, "decode_each", fail)
            asyncio.run(stream.frame(3))
        for cause, expected in ((MemoryError("none left"), MemoryError), (asyncio.CancelledError(), TransportError)):
            entries = [waited_for(), waited_for()]
            session._pending.update({3: entries[0], 4: entries[1]})
            session._withdraw(3, entries, cause)
            assert not session._pending
            assert [type(entry.future.exception(0)) for entry in entries] == [expected, expected]
        wait_until(lambda: stream.get_geometry(3) == SQUARE_GEOMETRY)


def test_a_jump_away_from_a_frame_that_waits_for_a_slot() -> None:
    """It is forgotten when its turn comes, and read again when it is asked for again."""
    with alphastream_gpu.open(FILE, config=Config(prefetch_frames=0)) as stream:
        session = stream._lifetime.session
        assert session is not None
        with session.lock:
            session._pending[500] = session._urgent[500] = fetches_module.Pending()  # asked for long ago
        assert stream.get_geometry(3) == SQUARE_GEOMETRY
        wait_until(lambda: not session._pending and not session._urgent)
        wait_until(lambda: stream.get_geometry(500) == SQUARE_GEOMETRY)


def test_a_stream_that_is_closed_just_when_a_source_is_open() -> None:
    with AlphaStream() as stream:

        class Closing(MemorySource):
            async def read(self, span: ByteRange) -> memoryview:
                stream._lifetime.is_closed = True
                return await super().read(span)

        with pytest.raises(ClosedError, match="the stream was closed while it was opening a source"):
            stream.load_source(Closing(FILE))
        stream._lifetime.is_closed = False
        assert stream.stats() == alphastream_gpu.Stats()


class JustDone(Future[T]):
    """A result that comes between the end of a wait for it and the question whether it is there."""

    n_asked = 0

    def result(self, timeout: float | None = None) -> T:
        self.n_asked += 1
        if self.n_asked == 1:
            raise TimeoutError
        return super().result(timeout)


def test_a_mask_that_is_done_just_when_the_time_box_ends() -> None:
    with AlphaStream() as stream:
        stream._lifetime.products._slow["key"] = made = JustDone[str]()
        made.set_result("made")
        assert stream._lifetime.products._in_time(0, "key", SQUARE_GEOMETRY, 0.0, 1 << 30, lambda: "made again") == "made"
        assert not stream._lifetime.products._slow


def test_a_frame_that_is_there_just_when_the_time_box_ends() -> None:
    with alphastream_gpu.open(FILE, config=Config(prefetch_frames=0)) as stream:
        session = stream._lifetime.session
        assert session is not None
        session._pending[3] = pending = fetches_module.Pending()
        pending._future = JustDone()
        pending.future.set_result(SQUARE_GEOMETRY)
        assert stream.get_geometry(3) is SQUARE_GEOMETRY
        assert stream.stats().timeouts == 0


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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a thread is gone")
def test_threads_are_gone_when_a_stream_is_closed() -> None:
    """Not only for Python: libraries free what they keep for a thread after that, and must not do so at exit."""
    data = LibraryData()
    stream = alphastream_gpu.open(FILE, config=Config(decode_workers=1, raster_workers=1))
    stream._lifetime.pool.submit(data.keep).result(10)
    stream._lifetime.products._ahead_pool.submit(data.keep).result(10)
    stream._lifetime.loop.call_soon(data.keep)
    wait_until(lambda: data.kept == 3)
    stream.close()
    assert data.freed == 3


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

    monkeypatch.setattr(loop_module, "_shared", loop_module._Shared("none"))
    monkeypatch.setattr(asyncio, "Runner", refuse)
    with pytest.raises(TransportError, match="no event loop for reading: .*Too many open files"):
        LoopLease()
    monkeypatch.undo()
    LoopLease().release()


# Files and formats.


def test_a_file_that_gives_less_than_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk or a network share that fails half-way says so by a short read."""
    monkeypatch.setattr("alphastream_gpu._sources.file._map", lambda file, length: None)
    (tmp_path / "x.asvp").write_bytes(FILE)
    source = FileSource(tmp_path / "x.asvp")
    assert source._opened is not None
    file = source._opened._file

    class Short:
        fileno, seek, close = file.fileno, file.seek, file.close

        def read(self, n_bytes: int) -> bytes:
            return file.read(n_bytes)[:-1]

    source._opened._file = Short()  # type: ignore[assignment]
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


class _Open:
    """An open stream, as the exit handlers see it."""

    said = ""

    def begin_close(self) -> Future[None]:
        self.said += "closing, "
        closing: Future[None] = Future()
        closing.set_result(None)
        return closing

    def end_close(self, closing: Future[None], deadline: float | None = None) -> None:
        assert deadline is not None
        self.said += "closed"
        exit_module.forget(self)

    def disown(self) -> None:
        self.said += "disowned"


def test_what_is_open_is_closed_at_exit_and_disowned_in_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes that do so are looked at elsewhere; here what they run."""
    monkeypatch.setattr(exit_module, "_open", weakref.WeakSet())
    for end, said in ((exit_module._close_all, "closing, closed"), (exit_module._disown_after_fork, "disowned")):
        monkeypatch.setattr(exit_module, "_lock", threading.Lock())
        streams = [_Open(), _Open()]
        for stream in streams:
            exit_module.close_at_exit(stream)
        end()
        assert [stream.said for stream in streams] == [said, said]
        assert not exit_module._open
        end()
        assert [stream.said for stream in streams] == [said, said]
