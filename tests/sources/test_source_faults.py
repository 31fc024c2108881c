"""
Code of callers in the library's threads: an exception fails only its own call, and a call that blocks delays no other
stream.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from support import SAMPLE, code_of, wait_until

import alphastream_gpu
from alphastream_gpu import (
    AlphaStream,
    ByteRange,
    Config,
    ErrorCode,
    FileSource,
    FrameTimeoutError,
    MemorySource,
    TransportError,
)
from alphastream_gpu._runtime.loop import LoopLease
from alphastream_gpu._runtime.workers import in_thread
from alphastream_gpu._sources import file as _file

SLOWLY = Config(prefetch_frames=0, get_frame_timebox=1000)
"""A long time box for a busy machine, and no prefetch, which would cause the fault first."""


class Faulty(MemorySource):
    """A source that reads header and table correctly. Later reads call `fault` until it is None."""

    def __init__(self, fault: Callable[[], Any]) -> None:
        super().__init__(SAMPLE.read_bytes(), name="faulty")
        self.n_reads = 0
        self.fault: Callable[[], Any] | None = fault

    async def read(self, span: ByteRange) -> Any:
        self.n_reads += 1
        if self.n_reads > 1 and self.fault is not None:
            found = self.fault()
            if not isinstance(found, Awaitable):
                return found
            await found
        return await super().read(span)


@pytest.fixture
def other() -> Iterator[AlphaStream]:
    """Another stream without a fault, on the same event loop."""
    with alphastream_gpu.open(MemorySource(SAMPLE.read_bytes()), config=SLOWLY) as stream:
        yield stream


def raising(error: BaseException) -> Callable[[], None]:
    def fault() -> None:
        raise error

    return fault


async def cancelled_inside() -> None:
    task = asyncio.ensure_future(asyncio.sleep(10))
    await asyncio.sleep(0)
    task.cancel()
    await task


async def cancelling_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(1)


FAULTS: dict[str, tuple[Callable[[], Any], ErrorCode, str]] = {
    "SystemExit": (raising(SystemExit(3)), ErrorCode.TRANSPORT, "raised SystemExit: 3"),
    "KeyboardInterrupt": (raising(KeyboardInterrupt()), ErrorCode.TRANSPORT, "raised KeyboardInterrupt"),
    "CancelledError": (raising(asyncio.CancelledError()), ErrorCode.TRANSPORT, "raised CancelledError"),
    "cancelled inside": (cancelled_inside, ErrorCode.TRANSPORT, "raised CancelledError"),
    "cancelling itself": (cancelling_itself, ErrorCode.TRANSPORT, "raised CancelledError"),
    "KeyError": (raising(KeyError("k")), ErrorCode.TRANSPORT, "raised KeyError: 'k'"),
    "OSError": (raising(OSError(5, "broken")), ErrorCode.TRANSPORT, "'faulty': broken"),
    "TimeoutError": (raising(TimeoutError()), ErrorCode.TIMEOUT, "TimeoutError"),
    "no bytes": (lambda: None, ErrorCode.TRANSPORT, "expected bytes, found NoneType"),
    "text": (lambda: "text", ErrorCode.TRANSPORT, "expected bytes, found str"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_exception_of_a_source_fails_only_that_read(name: str, other: AlphaStream) -> None:
    fault, code, message = FAULTS[name]
    source = Faulty(fault)
    with alphastream_gpu.open(source, config=SLOWLY) as stream:
        for _ in range(2):
            assert stream.get_geometry(100) is None
            error = stream.last_error()
            assert error is not None
            assert (error.code, error.frame_index) == (code, 100)
            assert message in error.message
        assert other.get_geometry(100) is not None
        source.fault = None
        assert stream.get_geometry(100) is not None


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), RuntimeError("mine")])
def test_a_source_whose_closing_raises(error: BaseException, other: AlphaStream) -> None:
    class Bad(MemorySource):
        async def aclose(self) -> None:
            raise error

    stream = alphastream_gpu.open(Bad(SAMPLE.read_bytes()))
    with pytest.raises(TransportError, match=f"closing the source: raised {type(error).__name__}"):
        stream.close()
    assert other.get_geometry(100) is not None


def test_the_loop_survives_a_task_that_raises_system_exit(other: AlphaStream, caplog: pytest.LogCaptureFixture) -> None:
    """A source may start tasks that run directly on the loop."""

    class Spawning(MemorySource):
        tasks: list[asyncio.Task[None]] = []  # noqa: RUF012 - there is only one instance

        async def read(self, span: ByteRange) -> memoryview:
            if not self.tasks:
                self.tasks.append(asyncio.ensure_future(self.end()))
            return await super().read(span)

        async def end(self) -> None:
            raise SystemExit(3)

    source = Spawning(SAMPLE.read_bytes())
    with alphastream_gpu.open(source, config=SLOWLY) as stream:
        assert stream.get_geometry(7) is not None
        wait_until(source.tasks[0].done)
        assert other.get_geometry(8) is not None
        assert isinstance(source.tasks[0].exception(), SystemExit)
    assert "tried to end the process" in caplog.text


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (SystemExit(3), TransportError, "signing: raised SystemExit: 3"),
        (KeyboardInterrupt(), TransportError, "signing: raised KeyboardInterrupt"),
        (StopIteration(), TransportError, "signing: raised StopIteration"),
        (OSError(5, "broken"), TransportError, "signing: broken"),
        (TimeoutError("late"), FrameTimeoutError, "signing: late"),
        (TransportError("as it is"), TransportError, "as it is"),
    ],
)
def test_a_callable_in_a_thread_that_raises(
    error: BaseException, expected: type[Exception], message: str, other: AlphaStream
) -> None:
    lease = LoopLease()
    try:
        future = lease.submit(lambda: in_thread("signing", raising(error)))
        with pytest.raises(expected, match=message):
            future.result(30)
    finally:
        lease.release()
    assert other.get_geometry(100) is not None


def test_a_callable_that_blocks_does_not_delay_other_streams(other: AlphaStream) -> None:
    done = threading.Event()
    lease = LoopLease()
    try:
        future = lease.submit(lambda: in_thread("signing", done.wait, 30))
        assert other.get_geometry(100) is not None
        assert code_of(other) is None
        assert not future.done()
        done.set()
        assert future.result(30) is True
    finally:
        done.set()
        lease.release()


class HangingDisk:
    """A file server that is gone: fstat() does not return until `is_back` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_gone = False
        self.is_back = threading.Event()
        real = os.fstat

        def fstat(descriptor: int) -> os.stat_result:
            if self.is_gone:
                self.is_back.wait(60)
            return real(descriptor)

        monkeypatch.setattr(_file.os, "fstat", fstat)


def test_a_disk_that_hangs_does_not_delay_other_streams(other: AlphaStream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_file, "_CLOSE_SECONDS", 0.05)
    disk = HangingDisk(monkeypatch)
    stream = alphastream_gpu.open(SAMPLE, config=Config(prefetch_frames=0))
    source = stream._lifetime.session.reader.source  # type: ignore[union-attr]
    assert isinstance(source, FileSource)
    opened = source._opened
    assert opened is not None
    disk.is_gone = True
    try:
        assert stream.get_geometry(100) is None
        assert code_of(stream) is ErrorCode.TIMEOUT
        assert other.get_geometry(100) is not None
        stream.close()  # does not wait for the disk
        assert not opened._file.closed
    finally:
        disk.is_back.set()
    wait_until(lambda: opened._file.closed)
    wait_until(lambda: not source._thread.is_running)


def test_the_thread_of_a_file_ends_with_its_source() -> None:
    def n_threads() -> int:
        return sum(thread.name == "alphastream-file" for thread in threading.enumerate())

    source: FileSource | None = FileSource(SAMPLE)
    assert source is not None
    assert n_threads() == 0  # none before the first read
    first = asyncio.run(source.read(ByteRange(0, 16)))
    assert first == SAMPLE.read_bytes()[:16]
    assert n_threads() == 1
    source._close()
    source = None
    wait_until(lambda: n_threads() == 0)


def test_reads_of_a_file_work_after_a_cancelled_read() -> None:
    async def read() -> bytes:
        source = FileSource(SAMPLE)
        cancelled = asyncio.ensure_future(source.read(ByteRange(0, 4)))
        await asyncio.sleep(0)
        cancelled.cancel()
        try:
            return await source.read(ByteRange(0, 4))
        finally:
            await source.aclose()

    assert asyncio.run(read()) == b"ASVP"


def test_the_library_does_not_use_the_context_of_the_caller() -> None:
    import contextvars

    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: set[str] = set()

    class Looking(MemorySource):
        async def read(self, span: ByteRange) -> memoryview:
            seen.add(variable.get())
            return await super().read(span)

        async def aclose(self) -> None:
            seen.add(variable.get())

    token = variable.set("the caller's")
    try:
        with alphastream_gpu.open(Looking(SAMPLE.read_bytes())) as stream:
            assert stream.get_geometry(100) is not None or code_of(stream) is ErrorCode.TIMEOUT
            asyncio.run(stream.frame(101))
    finally:
        variable.reset(token)
    assert seen == {"unset"}
