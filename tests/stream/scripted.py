"""
A source whose reads a test can hold, delay and fail, streams whose frames say their number, and what tests look at
inside a stream.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from support import asvp_of, block_of, payload_of

from alphastream_gpu import (
    AlphaStream,
    ByteRange,
    ErrorCode,
    FrameGeometry,
    MemorySource,
    TransportError,
)
from alphastream_gpu._stream.session import Session
from alphastream_gpu._stream.slots import Slots

N = 2000


def numbered_payload(index: int) -> bytes:
    """A frame that says which one it is: its first point."""
    return payload_of([((index % 65536, index // 65536), [(5, 0), (0, 5)])])


BLOCKS = [block_of(numbered_payload(index)) for index in range(N)]
NUMBERED = asvp_of(BLOCKS)
_SIZES = [len(block) for block in BLOCKS]
STARTS = list(itertools.accumulate(_SIZES, initial=len(NUMBERED) - sum(_SIZES)))
"""Where the block of each frame of `NUMBERED` begins, and where the last one ends."""


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
        self.is_held = False
        """Whether reads wait."""
        self.running = 0
        self.closed = 0

    async def read(self, span: ByteRange) -> memoryview:
        number = len(self.spans)
        self.spans.append(span)
        self.running += 1
        try:
            while self.is_held:
                await asyncio.sleep(0.001)
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


# Inside a stream. No other test of this folder knows these attributes.


def session_of(stream: AlphaStream) -> Session:
    """The session of the loaded source."""
    session = stream._lifetime.session
    assert session is not None
    return session


def is_cached(stream: AlphaStream, index: int) -> bool:
    """Whether a frame is decoded and kept."""
    return session_of(stream).peek(index) is not None


def is_under_way(stream: AlphaStream, index: int) -> bool:
    """Whether the read of a frame has begun."""
    pending = session_of(stream)._table.pending.get(index)
    return pending is not None and pending.task is not None


def n_waiting(stream: AlphaStream, index: int) -> int:
    """How many callers wait for a frame."""
    pending = session_of(stream)._table.pending.get(index)
    return 0 if pending is None else pending.waiting


def n_pending(stream: AlphaStream) -> int:
    """How many frames are planned or asked for, and not there."""
    return len(session_of(stream)._table.pending)


def n_queued(stream: AlphaStream) -> int:
    """How many reads of ranges wait for a request slot."""
    return session_of(stream).bulk.n_waiting


def n_slow(stream: AlphaStream) -> int:
    """How many masks and strips the pool makes for calls, or is about to."""
    return len(stream._lifetime.products._slow)


def slots_of(stream: AlphaStream) -> Slots:
    """The request slots of its source."""
    return session_of(stream)._scheduler._slots


def is_planning(stream: AlphaStream) -> bool:
    """Whether the loop is about to see to what lies ahead."""
    return session_of(stream)._scheduler._is_planning


def is_quiet(stream: AlphaStream) -> bool:
    """Whether nothing is pending, nothing runs on the loop, and all slots of patient reads are free."""
    session = session_of(stream)
    return not session._table.pending and session._reads.is_idle and slots_of(stream).patient == 0


def low_water(stream: AlphaStream) -> int:
    """How many frames are left ahead when more are planned."""
    return session_of(stream).planner.low_water(session_of(stream).head)


def on_loop(stream: AlphaStream, call: Callable[..., Any], *arguments: Any) -> None:
    """Make a call on the thread of the event loop, soon."""
    stream._lifetime.loop.call_soon(call, *arguments)


def in_decoder(stream: AlphaStream, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Make a call on a thread that decodes frames."""
    return stream._lifetime.pool.submit(call, *arguments)


def in_raster_worker(stream: AlphaStream, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Make a call on a thread that makes masks ahead."""
    return stream._lifetime.products._ahead_pool.submit(call, *arguments)


def locks_of(stream: AlphaStream) -> dict[str, Any]:
    """The locks that a real-time call takes."""
    products = stream._lifetime.products
    return {
        "stream": stream._lifetime.lock,
        "session": session_of(stream).lock,
        "products": products._lock,
        "masks": products._masks._lock,
        "strips": products._strips._lock,
    }


def has_waits(stream: AlphaStream) -> bool:
    """Whether somebody waits for a mask or a strip, which pauses what is made ahead."""
    return bool(stream._lifetime.products._waiting)
