"""
The compiled twin beside its yardsticks, each pair in turns, and hostile frames beside the numpy twin.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import NATIVE, facts, in_turns, report

from alphastream_gpu import FrameGeometry, rasterize, rasterize_packed
from alphastream_gpu._raster.compiled import MAX_RUNS, twin

LARGE = (6720, 3360)
SMALL = (512, 256)


@pytest.fixture(autouse=True)
def loaded() -> Iterator[None]:
    """Within this module, ``rasterize`` uses the compiled twin."""
    pytest.importorskip("numba")
    twin.load()
    yield
    twin.choose(None)


def ratio(benchmark: Any, work: Callable[[], Any], yardstick: Callable[[], Any]) -> float:
    """Medians of passes that alternate; the benchmark itself has one, so that ``--benchmark-only`` runs this."""
    benchmark.pedantic(work, rounds=1)
    taken, of_yardstick = in_turns(work, yardstick)
    return taken / of_yardstick


def into(geometries: list[FrameGeometry], size: tuple[int, int]) -> Callable[[], None]:
    """A pass over the frames, into one array."""
    out = np.empty(size[::-1], np.uint8)

    def draw() -> None:
        for geometry in geometries:
            rasterize(geometry, size, out=out)

    return draw


def each(work: Callable[[Any], Any], items: list[Any]) -> Callable[[], None]:
    def one_pass() -> None:
        for item in items:
            work(item)

    return one_pass


def filling(geometries: list[FrameGeometry]) -> Callable[[], None]:
    """A pass of ``cv2.fillPoly`` over the same polygons, into new arrays."""

    def fill(polys: list[np.ndarray]) -> None:
        cv2.fillPoly(np.zeros((NATIVE[1], NATIVE[0]), np.uint8), polys, 255)

    return each(
        fill,
        [[geometry.points[a:b] for a, b in itertools.pairwise(geometry.channel_offsets)] for geometry in geometries],
    )


@pytest.mark.parametrize(("size", "bar"), [(NATIVE, 0.9), (SMALL, 0.2)])
def test_into_an_array(benchmark: Any, geometries: list[FrameGeometry], size: tuple[int, int], bar: float) -> None:
    found = ratio(benchmark, into(geometries, size), filling(geometries))
    assert rasterize.backend == "numba"
    report(f"compiled twin, {size[0]} x {size[1]}, out=", found, bar, "x cv2.fillPoly")


def test_new_arrays(benchmark: Any, geometries: list[FrameGeometry]) -> None:
    found = ratio(benchmark, each(rasterize, geometries), filling(geometries))
    facts["compiled twin, native, new arrays"] = f"{found:.2f} x cv2.fillPoly"


def test_packed(benchmark: Any, geometries: list[FrameGeometry]) -> None:
    found = ratio(benchmark, each(rasterize_packed, geometries), filling(geometries))
    report("compiled twin, packed", found, 0.4, "x cv2.fillPoly")


def test_large(benchmark: Any, geometries: list[FrameGeometry]) -> None:
    frames = geometries[::6]
    masks = [rasterize(geometry) for geometry in frames]
    resize = each(lambda mask: cv2.resize(mask, LARGE, interpolation=cv2.INTER_NEAREST), masks)
    report("compiled twin, 6720 x 3360, out=", ratio(benchmark, into(frames, LARGE), resize), 0.2, "x cv2.resize")


def test_beside_numpy(benchmark: Any, geometries: list[FrameGeometry]) -> None:
    frames = geometries[::6]
    benchmark.pedantic(into(frames, NATIVE), rounds=1)
    for size in (NATIVE, SMALL, LARGE):
        facts[f"numpy twin, {size[0]} x {size[1]}, out="] = (
            f"{1 / by_numpy(into(frames, size)):.1f} x the compiled twin"
        )


def by_numpy(work: Callable[[], Any], turns: int = 5) -> float:
    """The time of some work, by the compiled twin or left to numpy, as a share of that by numpy alone; minima."""
    best = {"numba": float("inf"), "numpy": float("inf")}
    for _ in range(turns):
        for choice, least in best.items():
            twin.load() if choice == "numba" else twin.choose("numpy")
            start = time.perf_counter()
            work()
            best[choice] = min(least, time.perf_counter() - start)
    twin.load()
    return best["numba"] / best["numpy"]


def hostile_frames() -> dict[str, FrameGeometry]:
    chance = np.random.default_rng(3)

    def one(points: Any) -> FrameGeometry:
        return FrameGeometry(np.asarray(points))

    around = np.cumsum(chance.integers(-128, 128, (MAX_RUNS, 2)), axis=0)
    few_rows = np.stack((chance.integers(0, 2048, MAX_RUNS), np.arange(MAX_RUNS) % 2), axis=1)
    high = np.stack((chance.integers(0, 2048, 60), np.arange(60) % 2 * 1023), axis=1)
    in_vain = np.stack((chance.integers(0, 2048, 4096), np.arange(4096) % 2 * 1023), axis=1)
    large = np.cumsum(chance.integers(-3, 4, (2_000_000, 2)), axis=0) + 500
    return {
        "a random walk of 65,536 points": FrameGeometry(around),
        "65,536 points in two rows": FrameGeometry(few_rows),
        "60 lines from top to bottom": FrameGeometry(high),
        "4,096 lines from top to bottom": FrameGeometry(in_vain),
        "65,536 points over all int32": FrameGeometry(chance.integers(-(1 << 31), 1 << 31, (MAX_RUNS, 2))),
        "20,000 channels": FrameGeometry(around[:60_000] % 1000, np.arange(0, 60_001, 3)),
        "2,000,000 points": FrameGeometry(large),
    }


@pytest.mark.parametrize("name", hostile_frames())
def test_hostile_frames(benchmark: Any, name: str) -> None:
    frame = hostile_frames()[name]
    out = np.empty(SMALL[::-1], np.uint8)
    benchmark.pedantic(lambda: rasterize(frame, SMALL, out=out), rounds=1)
    backend = rasterize.backend
    report(f"{name} ({backend})", by_numpy(lambda: rasterize(frame, SMALL, out=out), 3), 1.1, "x the numpy twin")
