"""
read_frame and read_frames: the blocking calls, for scripts and where an event loop runs already.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scripted import is_quiet
from support import SAMPLE, asvp_of, block_of, payload_of, wait_until

import alphastream_gpu
from alphastream_gpu import (
    AlphaStream,
    ByteRange,
    ClosedError,
    DecodeError,
    FrameGeometry,
    FrameNotFoundError,
    MemorySource,
    NotReadyError,
    TransportError,
)

PAYLOAD = payload_of([((1, 2), [(5, 0), (0, 5)])])


class Gated(MemorySource):
    """A source whose reads behind the first byte wait for a gate."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.spans: list[ByteRange] = []
        self.gate = threading.Event()

    async def read(self, span: ByteRange) -> bytes | memoryview:
        self.spans.append(span)
        while span.start and not self.gate.is_set():
            await asyncio.sleep(0.001)
        return await super().read(span)


class Failing(MemorySource):
    async def read(self, span: ByteRange) -> bytes | memoryview:
        if span.start:
            raise TransportError("the tape is torn")
        return await super().read(span)


def awaited(stream: AlphaStream) -> list[FrameGeometry]:
    async def read() -> list[FrameGeometry]:
        return [geometry async for geometry in stream.frames()]

    return asyncio.run(read())


def test_the_frames_are_those_that_are_awaited() -> None:
    with alphastream_gpu.open(SAMPLE) as stream:
        expected = awaited(stream)
        assert list(stream.read_frames()) == expected
        assert list(stream.read_frames(7, 30)) == expected[7:30]
        assert list(stream.read_frames(np.int64(100))) == expected[100:]
        assert list(stream.read_frames(5, 5)) == []
        assert [stream.read_frame(index) for index in (60, 0, 119, 60)] == [expected[i] for i in (60, 0, 119, 60)]


def test_where_an_event_loop_runs_already() -> None:
    async def cell() -> tuple[FrameGeometry, int]:
        with alphastream_gpu.open(SAMPLE) as stream:
            return stream.read_frame(3), len(list(stream.read_frames()))

    geometry, n_frames = asyncio.run(cell())
    with alphastream_gpu.open(SAMPLE) as stream:
        assert geometry == awaited(stream)[3]
    assert n_frames == 120


@pytest.mark.slow
def test_batches_are_read_ahead() -> None:
    """The next batch is asked for before the first of its predecessor is given out."""
    data = asvp_of([block_of(PAYLOAD)] * 20_000)
    source = Gated(data)
    source.gate.set()
    with alphastream_gpu.open(source) as stream:
        frames = stream.read_frames()
        opened = len(source.spans)
        next(frames)
        wait_until(lambda: len(source.spans) == opened + 2)
        assert sum(1 for _ in frames) == 19_999
        assert len(source.spans) < 100


def test_an_iteration_that_is_given_up_reads_no_more() -> None:
    source = Gated(asvp_of([block_of(PAYLOAD)] * 20_000))
    source.gate.set()
    with alphastream_gpu.open(source) as stream:
        frames = stream.read_frames()
        next(frames)
        frames.close()  # type: ignore[attr-defined]
        wait_until(lambda: is_quiet(stream))
        stream.read_frame(0)
        assert len(source.spans) <= 4, "the header, two batches and a frame"


@pytest.mark.parametrize("index", [-1, 120, 1 << 70])
def test_frames_outside(index: int) -> None:
    with alphastream_gpu.open(SAMPLE) as stream:
        with pytest.raises(FrameNotFoundError, match=r"expected 0\.\.119") as caught:
            stream.read_frame(index)
        assert caught.value.frame_index == index
        with pytest.raises(FrameNotFoundError):
            next(stream.read_frames(0, 121))


@pytest.mark.parametrize("index", [1.0, "1", None])
def test_what_is_no_index(index: Any) -> None:
    with alphastream_gpu.open(SAMPLE) as stream:
        with pytest.raises(TypeError):
            stream.read_frame(index)
        with pytest.raises(TypeError):
            next(stream.read_frames(index))


def test_a_bad_frame_comes_after_the_good_ones() -> None:
    good, bad = block_of(PAYLOAD), b"\1\0\0\0bad"
    with alphastream_gpu.open(asvp_of([good, good, bad, good])) as stream:
        found = []
        with pytest.raises(DecodeError, match="frame 2"):
            for geometry in stream.read_frames():
                found.append(geometry)
        assert len(found) == 2
        with pytest.raises(DecodeError, match="frame 2"):
            stream.read_frame(2)
        assert stream.read_frame(3) == found[0]


def test_what_a_source_raises() -> None:
    with alphastream_gpu.open(Failing(asvp_of([block_of(PAYLOAD)] * 20_000))) as stream:
        with pytest.raises(TransportError, match="the tape is torn"):
            stream.read_frame(19_000)
        with pytest.raises(TransportError, match="the tape is torn"):
            list(stream.read_frames(19_000))


@pytest.mark.parametrize(
    "read", [lambda stream: stream.read_frame(19_000), lambda stream: next(stream.read_frames(19_000))]
)
def test_closing_ends_the_wait(read: Callable[[AlphaStream], object]) -> None:
    source = Gated(asvp_of([block_of(PAYLOAD)] * 20_000))
    stream = alphastream_gpu.open(source)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            read(stream)
        except ClosedError as exc:
            errors.append(exc)

    opened = len(source.spans)
    waiting = threading.Thread(target=wait)
    waiting.start()
    wait_until(lambda: len(source.spans) > opened)
    stream.close()
    waiting.join(20)
    assert len(errors) == 1
    with pytest.raises(ClosedError):
        read(stream)


def test_nothing_is_loaded() -> None:
    with AlphaStream() as stream:
        with pytest.raises(NotReadyError, match="nothing is loaded"):
            stream.read_frame(0)
        with pytest.raises(NotReadyError, match="nothing is loaded"):
            next(stream.read_frames())


def test_a_source_that_asks_its_own_stream_is_told_not_to_wait_for_itself() -> None:
    told: list[str] = []

    class Asking(MemorySource):
        async def read(self, span: ByteRange) -> bytes | memoryview:
            if span.start:
                for ask in (lambda: stream.read_frame(0), lambda: next(stream.read_frames())):
                    with pytest.raises(NotReadyError) as caught:
                        ask()
                    told.append(str(caught.value))
            return await super().read(span)

    with alphastream_gpu.open(Asking(asvp_of([block_of(PAYLOAD)] * 20_000))) as stream:
        stream.read_frame(19_000)
    assert [text.split(":")[0] for text in told] == ["read_frame", "read_frames"]
