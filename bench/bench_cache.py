"""
The disk cache: a seek with a warm cache beside a seek in a file, and what it costs to fill the cache.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from statistics import median
from typing import Any

import streams
from badserver import Server
from conftest import in_turns, report

import alphastream_gpu
from alphastream_gpu import AlphaStream, Config

SEEKS = 200
LATENCY = 0.05


def seek(stream: AlphaStream, chance: random.Random) -> None:
    """Frames far from each other, each waited for; none is in the cache of geometry."""
    for _ in range(SEEKS):
        stream.read_frame(chance.randrange(streams.N_FRAMES))


def test_seeks_with_a_warm_cache(benchmark: Any, tmp_path: Path) -> None:
    data = streams.asvp()
    path = tmp_path / "stream.asvp"
    path.write_bytes(data)
    few = {"cache_frames": 1, "prefetch_frames": 0}
    config = Config(cache_dir=tmp_path / "cache", **few)  # type: ignore[arg-type]
    with Server(data, latency=LATENCY) as server:
        with alphastream_gpu.open(server.url(), config=config) as stream:
            for _ in stream.read_frames():
                pass
        n_before = len(server.requests)
        with (
            alphastream_gpu.open(path, config=Config(**few)) as file,  # type: ignore[arg-type]
            alphastream_gpu.open(server.url(), config=config) as warm,
        ):
            chances = random.Random(1), random.Random(1)
            in_file, in_cache = benchmark.pedantic(
                lambda: in_turns(lambda: seek(file, chances[0]), lambda: seek(warm, chances[1])), rounds=1
            )
        n_requests = len(server.requests) - n_before
    report("seek: warm disk cache / file", in_cache / in_file, 1.5, "times")
    report("seek: requests with a warm disk cache", n_requests, 1, "")


def test_filling_the_cache(benchmark: Any, tmp_path: Path) -> None:
    """Half of the file, with and without storing it."""
    data = streams.asvp()

    def once(folder: Path | None) -> float:
        started = time.perf_counter()
        with alphastream_gpu.open(server.url(), config=Config(cache_dir=folder)) as stream:
            for _ in stream.read_frames(0, streams.N_FRAMES // 2):
                pass
        return time.perf_counter() - started

    with Server(data, latency=LATENCY) as server:

        def compare() -> tuple[float, float]:
            pairs = [(once(None), once(tmp_path / str(number))) for number in range(3)]
            plain, stored = zip(*pairs, strict=True)
            return median(plain), median(stored)

        plain, stored = benchmark.pedantic(compare, rounds=1)
    report("half a file over HTTP: with a disk cache / without", stored / plain, 1.3, "times")


def test_the_rest_while_idle(benchmark: Any, tmp_path: Path) -> None:
    """From opening until the whole file is on the disk, while nobody reads."""
    data = streams.asvp()

    def fill() -> float:
        with Server(data, latency=LATENCY) as server:
            config = Config(cache_dir=tmp_path / "cache", prefetch="all")
            started = time.perf_counter()
            with alphastream_gpu.open(server.url(), config=config):
                while server.body_bytes < len(data):
                    time.sleep(0.01)
                return time.perf_counter() - started

    seconds = benchmark.pedantic(fill, rounds=1)
    report("the rest of a file while idle: requests' latencies", seconds / LATENCY, 60, "x latency")
