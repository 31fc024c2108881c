"""
A source whose reads a test can hold, delay and fail, and streams whose frames say their number.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from support import asvp_of, block_of, payload_of

from alphastream_gpu import (
    AlphaStream,
    ByteRange,
    ErrorCode,
    FrameGeometry,
    MemorySource,
    TransportError,
)

N = 2000


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
