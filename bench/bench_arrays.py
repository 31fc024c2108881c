"""
Arrays of masks: one mask, a part of a mask, and the requests of a batch. Each figure is printed beside its bar.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import streams
from badserver import Server
from conftest import NATIVE, SAMPLE, facts, in_turns, report

import alphastream_gpu
from alphastream_gpu import FrameGeometry, open_array, rasterize
from alphastream_gpu._raster.compiled import twin

PART = 256
PLACES = [(row, column) for row in range(0, NATIVE[1] - PART + 1, PART) for column in range(0, NATIVE[0], PART)]
"""Parts that cover the whole mask, so that empty ones count as they come."""


@pytest.fixture(params=["numpy", "numba"])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Within a test, masks are made by one of the twins."""
    if request.param == "numba":
        pytest.importorskip("numba")
        twin.load()
    yield request.param
    twin.choose(None)


def ratio(benchmark: Any, work: Callable[[], Any], yardstick: Callable[[], Any]) -> float:
    benchmark.pedantic(work, rounds=1)
    taken, of_yardstick = in_turns(work, yardstick)
    return taken / of_yardstick


def test_one_random_mask(benchmark: Any, geometries: list[FrameGeometry], backend: str) -> None:
    order = np.random.default_rng(1).permutation(len(geometries)).tolist()
    with open_array(SAMPLE) as masks:

        def from_the_file() -> None:
            for index in order:
                masks[index]

        def decoded() -> None:
            for index in order:
                rasterize(geometries[index])

        found = ratio(benchmark, from_the_file, decoded)
    if backend == "numpy":
        report("array: one mask of a file", found, 1.4, "x rasterize")
    else:  # decoding takes as long as these masks
        facts[f"  with {backend}"] = f"{found:.2f} x rasterize"


def test_a_part(benchmark: Any, geometries: list[FrameGeometry], backend: str) -> None:
    frames = geometries[::8]

    def parts() -> None:
        for row, column in PLACES:
            for geometry in frames:
                rasterize(geometry, rows=slice(row, row + PART), columns=slice(column, column + PART))

    def wholes() -> None:
        for _ in PLACES:
            for geometry in frames:
                rasterize(geometry)

    found = ratio(benchmark, parts, wholes)
    report(f"array: a part of {PART} x {PART} ({backend})", found, 0.35, "x the whole")


def test_parts_at_random_places(benchmark: Any, geometries: list[FrameGeometry], backend: str) -> None:
    rng = np.random.default_rng(2)
    rows, columns = rng.integers(0, NATIVE[1] - PART, 120).tolist(), rng.integers(0, NATIVE[0] - PART, 120).tolist()

    def parts() -> None:
        for geometry, row, column in zip(geometries, rows, columns, strict=True):
            rasterize(geometry, rows=slice(row, row + PART), columns=slice(column, column + PART))

    def wholes() -> None:
        for geometry in geometries:
            rasterize(geometry)

    found = ratio(benchmark, parts, wholes)
    facts[f"array: a part at a place of its own ({backend})"] = f"{found:.2f} x the whole"


def test_requests(benchmark: Any) -> None:
    """The one that opens the stream counts."""
    with Server(streams.asvp(), latency=0.05) as server, alphastream_gpu.open(server.url()) as stream:
        start = time.perf_counter()
        benchmark.pedantic(lambda: stream.read_batch(range(8000, 8256, 16)), rounds=1)
        seconds = time.perf_counter() - start
        report("array: every 16th of 256 frames, 50 ms latency", len(server.requests), 4, "requests")
    facts["  they take"] = f"{seconds:.2f} s"
