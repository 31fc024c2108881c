"""
What the benchmarks share: the sample's frames, a GL context, and a table of ratios at the end.

Every figure is a ratio to a yardstick measured in the same run, on the same frames, so that it means the same on any
machine. A benchmark's one round is a pass over all sample frames; its median over the rounds is divided by the frames.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import moderngl
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import results
from support import sample_geometries

import alphastream_gpu
from alphastream_gpu import FrameGeometry


@pytest.fixture(scope="session")
def geometries() -> list[FrameGeometry]:
    return sample_geometries()


@pytest.fixture(scope="session")
def ctx() -> Iterator[moderngl.Context]:
    context = alphastream_gpu.create_headless_context()
    yield context
    context.release()


@dataclass(frozen=True)
class Bar:
    """A figure: one benchmark's median over another's, and the bar it must stay under."""

    work: str
    measured: str
    yardstick: str
    at_most: float


BARS = (
    Bar("CPU twin, native 2048 x 1024", "cpu_native", "fillpoly", 8),
    Bar("CPU twin, 512 x 256", "cpu_small", "cpu_native", 0.5),
    Bar("CPU twin, 6720 x 3360", "cpu_large", "cv2_resize_large", 2),
    Bar("FrameGeometry.from_payload", "from_payload", "inflate", 4),
)
BESIDE = ("pillow", "skia")
"""Other rasterizers, shown for comparison."""


class _Facts(dict[str, str]):
    """Refuses a name that is taken: the line would stand under another benchmark's."""

    def __setitem__(self, name: str, text: str) -> None:
        assert name not in self, f"{name!r} is taken"
        super().__setitem__(name, text)


facts = _Facts()
"""Counted figures and remarks that benchmarks leave for the table, by name."""
figures: list[dict[str, Any]] = []
"""The same with their bars, for the JSON file."""


def report(work: str, value: float, bar: float, unit: str, *, at_least: bool = False) -> None:
    """Leave a measured figure and its bar for the table."""
    met = bool(value >= bar if at_least else value <= bar)
    figures.append({"work": work, "value": float(value), "unit": unit, "bar": bar, "at_least": at_least, "met": met})
    facts[work] = f"{value:.4g} {unit}, bar {'>=' if at_least else '<='} {bar:g}: {'met' if met else 'MISSED'}"


_TURNS = 25


def in_turns(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[float, float]:
    """Medians of both, in seconds; the first turn is for warming up."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(_TURNS + 1):
        for work, taken in zip((first, second), times, strict=True):
            start = time.perf_counter()
            work()
            if turn:
                taken.append(time.perf_counter() - start)
    return median(times[0]), median(times[1])


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    medians = {
        bench.name.removeprefix("test_"): bench.stats.median / bench.extra_info.get("frames", 1)
        for bench in config._benchmarksession.benchmarks
        if bench.stats.rounds
    }
    write = terminalreporter.write_line
    terminalreporter.section("figures: medians a frame, and their ratios")
    for bar in BARS:
        if bar.measured in medians and bar.yardstick in medians:
            mine, yard = medians[bar.measured], medians[bar.yardstick]
            verdict = "met" if mine / yard <= bar.at_most else "MISSED"
            report(bar.work, mine / yard, bar.at_most, f"x {bar.yardstick}")
            del facts[bar.work]  # it has a line of its own
            write(
                f"{bar.work:<40} {mine * 1e6:9.1f} us = {mine / yard:6.2f} x {bar.yardstick} ({yard * 1e6:.1f} us),"
                f" bar {bar.at_most:g}: {verdict}"
            )
    for name in BESIDE:
        if name in medians and "fillpoly" in medians:
            ratio = medians[name] / medians["fillpoly"]
            write(f"{name:<40} {medians[name] * 1e6:9.1f} us = {ratio:6.2f} x fillpoly")
    for name, text in facts.items():
        write(f"{name:<48} {text}")
    if medians:
        write(f"written: {results.write(config._benchmarksession.benchmarks, figures, facts)}")
