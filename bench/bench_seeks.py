"""
Seeks: what comes after a storm of them, after a place that hangs, beside masks made ahead, and in the widest windows.
Each figure is printed beside its bar.

Time on the line is a source's own ``asyncio.sleep``: what is measured is the library, not a server.
"""

from __future__ import annotations

import asyncio
import random
import struct
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import streams
from conftest import facts, report
from support import asvp_of, block_of

import alphastream_gpu
from alphastream_gpu import AlphaStream, ByteRange, Config, MemorySource

LATENCY = 0.2
DECODE = 0.001
"""Seconds, generously: one frame's block is decoded in 0.1 ms."""
PICTURE = 1 / 60
LONG = 200_000
"""Frames of the stream whose windows are wide; they are empty, so that windows of all widths fit into a read."""


class Line(MemorySource):
    """Bytes that come after some time: that of the line, or what `seconds` says of the place."""

    def __init__(self, data: bytes, seconds: Callable[[int], float]) -> None:
        super().__init__(data)
        self._seconds = seconds

    async def read(self, span: ByteRange) -> memoryview:
        await asyncio.sleep(self._seconds(span.start))
        return await super().read(span)


def seconds_until(stream: AlphaStream, index: int) -> float:
    """Ask for a frame with each picture, until it is there."""
    started = time.perf_counter()
    while stream.get_geometry(index) is None and time.perf_counter() < started + 30:
        time.sleep(PICTURE)
    return time.perf_counter() - started


def test_after_a_storm_of_seeks(benchmark: Any) -> None:
    """Somebody drags the seek bar, lets go, and waits for the last frame."""

    def run(rate: int, seconds: float) -> float:
        chance = random.Random(rate)
        with alphastream_gpu.open(Line(streams.asvp(), lambda _: LATENCY)) as stream:
            due = time.perf_counter()
            for _ in range(int(rate * seconds)):
                stream.get_geometry(chance.randrange(1000, streams.N_FRAMES - 500))
                due += 1 / rate
                time.sleep(max(0.0, due - time.perf_counter()))
            return seconds_until(stream, streams.N_FRAMES - 300)

    storms = ((5, 3), (15, 3), (60, 3), (60, 10))
    came = benchmark.pedantic(lambda: [run(*storm) for storm in storms], rounds=1)
    bar = 2 * (LATENCY + DECODE) + 0.05
    report(f"seek: after a storm, latency {LATENCY * 1e3:g} ms", max(came) * 1e3, bar * 1e3, "ms")
    facts["  each"] = ", ".join(
        f"{rate}/s for {seconds} s: {one * 1e3:.0f} ms" for (rate, seconds), one in zip(storms, came, strict=True)
    )


def test_after_looks_at_a_place_that_hangs(benchmark: Any) -> None:
    data = streams.asvp()

    def run(looks: int) -> float:
        line = Line(data, lambda start: 60.0 if 100_000 < start < len(data) // 2 else 0.02)
        with alphastream_gpu.open(line) as stream:
            for look in range(looks):
                stream.get_geometry(2500 + 100 * look)
                time.sleep(0.1)
            return seconds_until(stream, streams.N_FRAMES - 2000)

    came = benchmark.pedantic(lambda: [run(looks) for looks in (1, 4, 10)], rounds=1)
    report("seek: after looks at a place that hangs", max(came) * 1e3, (2 * (0.02 + DECODE) + 0.05) * 1e3, "ms")


def test_beside_masks_made_ahead(benchmark: Any) -> None:
    """A seek's mask, where the workers make masks of the old place; its geometry is there already."""
    source, at, size = streams.asvp(), 8000, (4096, 2048)

    def run(ready: int) -> float:
        with alphastream_gpu.open(source, config=Config(ready_frames=ready)) as stream:
            for first in (0, at):
                for index in range(first, first + 20):
                    seconds_until(stream, index)
            for _ in range(3):
                stream.get_frame(0, *size)
            started = time.perf_counter()
            while stream.get_frame(at, *size) is None:
                pass
            return time.perf_counter() - started

    def compare() -> dict[int, float]:
        """In turns, so that what else the machine does is in each."""
        taken: dict[int, list[float]] = {0: [], 2: [], 10: [], 30: []}
        for _ in range(25):
            for ready, values in taken.items():
                values.append(run(ready))
        return {ready: median(values) for ready, values in taken.items()}

    found = benchmark.pedantic(compare, rounds=1)
    worst = max(taken for ready, taken in found.items() if ready) / found[0]
    report("seek: a 4096 x 2048 mask, with masks made ahead / without", worst, 1.3, "times")
    facts["  ready_frames"] = ", ".join(f"{ready}: {taken * 1e3:.1f} ms" for ready, taken in found.items())


def test_in_wide_windows(benchmark: Any) -> None:
    """The longest calls of `get_geometry` about seeks; the time box is 12 ms."""
    data = asvp_of([block_of(struct.pack("<I", 0))] * LONG)

    def calls(prefetch: int, latency: float) -> list[float]:
        chance, taken = random.Random(1), []
        source = MemorySource(data) if latency == 0 else Line(data, lambda _: latency)
        with alphastream_gpu.open(source, config=Config(cache_frames=65536, prefetch_frames=prefetch)) as stream:
            for _ in range(60):
                first = chance.randrange(LONG - 70_000)
                for index in range(first, first + 3):
                    started = time.perf_counter()
                    stream.get_geometry(index)
                    taken.append(time.perf_counter() - started)
                    time.sleep(0.004)
        return taken

    windows = [(prefetch, latency) for prefetch in (120, 4096, 16384, 65536) for latency in (0, 0.02)]
    found = benchmark.pedantic(lambda: [np.percentile(calls(*each), 99) for each in windows], rounds=1)
    report("seek: p99 of get_geometry, any prefetch_frames", max(found) * 1e3, 15, "ms")
    facts["  prefetch_frames, latency"] = ", ".join(
        f"{prefetch}, {latency * 1e3:g} ms: {p99 * 1e3:.1f}"
        for (prefetch, latency), p99 in zip(windows, found, strict=True)
    )
