"""
What the logger ``alphastream_gpu`` is told of a stream.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest
from support import SQUARE, asvp_of, block_of, wait_until

import alphastream_gpu
from alphastream_gpu import ByteRange, Config, MemorySource


class Gated(MemorySource):
    """A source whose reads wait while it is closed."""

    is_open = True

    async def read(self, span: ByteRange) -> memoryview:
        while not self.is_open:
            await asyncio.sleep(0.002)
        return await super().read(span)


def test_what_a_players_author_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A stall is logged if it lasts, and so is its end. A short wait is not, nor a frame that does not exist."""
    source = Gated(asvp_of([block_of(SQUARE)] * 2000), name="person.asvp")
    with (
        caplog.at_level(logging.DEBUG, "alphastream_gpu"),
        alphastream_gpu.open(source, config=Config(prefetch_frames=0)) as stream,
    ):
        wait_until(lambda: stream.get_geometry(3) is not None)
        source.is_open = False
        deadline = time.monotonic() + 30
        while not any("stalled" in one for one in caplog.messages):
            assert stream.get_geometry(1500) is None
            assert stream.get_geometry(5000) is None
            assert time.monotonic() < deadline
        source.is_open = True
        wait_until(lambda: stream.get_geometry(1500) is not None)
    told = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "alphastream_gpu"]
    assert told[0] == ("INFO", "opened 'person.asvp': ASVP, 2000 frames")
    assert ("DEBUG", "jump to frame 1500") in told
    stalls = [text for level, text in told if level == "INFO"][1:]
    assert len(stalls) == 2
    assert stalls[0].startswith("stalled at frame 1500 for 0.2")
    assert stalls[1].startswith("recovered at frame 1500 after ")


def test_nothing_is_logged_unless_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING, "alphastream_gpu"),
        alphastream_gpu.open(asvp_of([block_of(SQUARE)])) as stream,
    ):
        assert stream.read_frame(0).channel_count == 1
    assert not caplog.records


def test_a_handler_that_uses_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    """No lock is held while a handler runs, and a call does not wait for one."""
    heard: list[str] = []
    is_held: list[bool] = []

    class Asking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            asking = threading.Thread(target=stream.get_geometry, args=(3,))
            if "jump to frame" in record.getMessage() and len(heard) < 3:
                asking.start()
                asking.join(5)
                is_held.append(asking.is_alive())
            heard.append(record.getMessage())

    handler = Asking()
    logger = logging.getLogger("alphastream_gpu")
    with (
        alphastream_gpu.open(asvp_of([block_of(SQUARE)] * 2000)) as stream,
        caplog.at_level(logging.DEBUG, logger.name),
    ):
        logger.addHandler(handler)
        try:
            for index in (1000, 50, 1500):
                started = time.monotonic()
                stream.get_geometry(index)
                assert time.monotonic() - started < 1
            wait_until(lambda: any("jump to frame 1500" in one for one in heard))
        finally:
            logger.removeHandler(handler)
    assert is_held
    assert not any(is_held)
