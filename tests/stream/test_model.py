"""
A model of a stream, and a soak test: each frame is the frame asked for, or None with a reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from scripted import NUMBERED, N, Scripted, get, is_quiet, number_of, numbered_payload
from support import wait_until

import alphastream_gpu
from alphastream_gpu import (
    AlphaStream,
    ClosedError,
    Config,
    ErrorCode,
    FrameGeometry,
    TransportError,
    rasterize,
)


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
        for index in range(start, start + 20):
            assert number_of(get(self.stream, index)) == index
        stream = self.stream
        wait_until(lambda: is_quiet(stream))

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


TestStreamModel.settings = settings(
    max_examples=settings.default.max_examples // 4, stateful_step_count=15, deadline=None
)


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
