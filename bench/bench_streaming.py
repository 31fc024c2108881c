"""
Streaming: play from a file and over HTTP, seeks, a hanging network, memory. Each figure is printed beside its bar.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import badserver
import numpy as np
import pytest
import streams
from badserver import Server
from conftest import facts, report

import alphastream_gpu
from alphastream_gpu import AlphaStream, Config, ErrorCode, rasterize

FPS = 60
SIZE = (1024, 512)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("streams") / "generated.asvp"
    path.write_bytes(streams.asvp())
    gc.collect()
    gc.freeze()  # the generated frames are no player's: looking through them takes the collector 25 ms
    yield path
    gc.unfreeze()


def play(stream: AlphaStream, frames: range, *, seconds_a_frame: float = 1 / FPS, size: tuple[int, int] = SIZE) -> Any:
    """Ask for each frame at its time; (was it answered at once, call time) of each."""
    at_once, took = [], []
    due = time.perf_counter()
    for index in frames:
        before = stream.stats()
        started = time.perf_counter()
        mask = stream.get_frame(index, *size)
        took.append(time.perf_counter() - started)
        at_once.append(mask is not None and stream.stats().hits > before.hits)
        due += seconds_a_frame
        time.sleep(max(0.0, due - time.perf_counter()))
    return np.array(at_once), np.array(took)


def _percentiles(took: Any) -> str:
    return ", ".join(f"p{share} {np.percentile(took, share) * 1e3:.2f} ms" for share in (50, 95, 99))


def once(benchmark: Any, work: Any) -> Any:
    return benchmark.pedantic(work, rounds=1)


def test_forward_play_from_a_file(benchmark: Any, path: Path) -> None:
    with alphastream_gpu.open(path) as stream:
        stream.get_frame(0, *SIZE)
        at_once, took = once(benchmark, lambda: play(stream, range(1200)))
    report("forward play, file: answered at once", at_once.mean() * 100, 99.9, "%", at_least=True)
    report("forward play, file: p95 of a call", np.percentile(took, 95) * 1e3, 2, "ms")
    facts["  of these calls"] = _percentiles(took)


def test_forward_play_over_http(benchmark: Any) -> None:
    with Server(streams.asvp(), latency=0.05) as server, alphastream_gpu.open(server.url()) as stream:
        at_once, _ = once(benchmark, lambda: play(stream, range(1000)))
        report("forward play, HTTP + 50 ms: at once after 1 s", at_once[FPS:].mean() * 100, 99, "%", at_least=True)
        offsets = stream._lifetime.session.reader.index.offsets
        needed = int(offsets[1000])
        report("1,000 frames over HTTP: requests", len(server.requests), 12, "")
        report("1,000 frames over HTTP: bytes / needed", server.body_bytes / needed, 1.1, "x")


def test_random_seeks(benchmark: Any, path: Path) -> None:
    rng = np.random.default_rng(5)
    frames = rng.integers(0, streams.N_FRAMES, 600).tolist()
    took, missing, wrong = [], 0, 0

    def seek() -> None:
        nonlocal missing, wrong
        for index in frames:
            started = time.perf_counter()
            mask = stream.get_frame(index, *SIZE)
            took.append(time.perf_counter() - started)
            if mask is None:
                missing += 1
            else:
                wrong += not np.array_equal(mask, rasterize(streams.geometries()[index], SIZE))

    with alphastream_gpu.open(path) as stream:
        once(benchmark, seek)
    report("random seeks, file: p95 of a call", np.percentile(took, 95) * 1e3, 12, "ms")
    facts["  of these seeks"] = _percentiles(took)
    report("random seeks, file: wrong or missing", missing + wrong, 0, "frames")


def test_a_hanging_network(benchmark: Any) -> None:
    took, codes = [], []

    def ask() -> None:
        for index in range(5000, 5400):
            started = time.perf_counter()
            assert stream.get_frame(index, *SIZE) is None
            took.append(time.perf_counter() - started)
            error = stream.last_error()
            codes.append(error.code if error else None)

    with (
        Server(streams.asvp(), lambda request: badserver.never if request.number else None) as server,
        alphastream_gpu.open(server.url(), config=Config(http_timeout=5)) as stream,
    ):
        once(benchmark, ask)
    assert set(codes) == {ErrorCode.TIMEOUT}
    report("network hanging: p99 of a call", np.percentile(took, 99) * 1e3, 15, "ms")


def test_opening_over_http(benchmark: Any) -> None:
    async def first() -> None:
        async with await alphastream_gpu.open_async(server.url()) as stream:
            await stream.frame(0)

    with Server(streams.asvp(), latency=0.05) as server:
        once(benchmark, lambda: asyncio.run(first()))
        report("open over HTTP to the first geometry: requests", len(server.requests), 2, "")


def test_the_whole_file(benchmark: Any, path: Path) -> None:
    async def everything() -> float:
        async with await alphastream_gpu.open_async(path) as stream:
            started = time.perf_counter()
            n = 0
            async for _ in stream.frames():
                n += 1
            return n / (time.perf_counter() - started)

    rates = [asyncio.run(everything()) for _ in range(2)] + [once(benchmark, lambda: asyncio.run(everything()))]
    report("async for over the whole file", float(np.median(rates)), 10_000, "frames/s", at_least=True)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_memory(benchmark: Any, path: Path) -> None:
    with alphastream_gpu.open(path) as stream:
        stream.get_frame(0)
    gc.collect()
    baseline, most = _resident(), 0

    def watch() -> None:
        nonlocal most
        for first in range(0, 1500, 100):
            play(stream, range(first, first + 100), seconds_a_frame=1 / 200, size=(2048, 1024))
            most = max(most, _resident())

    with alphastream_gpu.open(path) as stream:
        once(benchmark, watch)
    report("memory above the baseline, 2048 x 1024", (most - baseline) / 2**20, 64, "MiB")
