"""
What the benchmarks share: the sample's frames, a GL context, and the tables and ratios at the end.

Where it can be, a figure is a ratio to a yardstick measured in the same run, on the same frames, so that it means the
same on any machine. A benchmark's one round is a pass over all sample frames; its median over the rounds is divided by
the frames. bench_methods.py measures in its own way, and leaves its medians in :data:`measured`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import moderngl
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import results

import alphastream_gpu
from alphastream_gpu import FrameGeometry
from alphastream_gpu._gl.drivers import is_software

# The compiled twin would begin to compile in the middle of a benchmark. bench_compiled.py measures it.
os.environ["ALPHASTREAM_RASTERIZER"] = "numpy"

SAMPLE = Path(__file__).resolve().parents[1] / "examples" / "person_sbs.asvp"
NATIVE = (2048, 1024)


@pytest.fixture(scope="session")
def geometries() -> list[FrameGeometry]:
    """The sample's frames; with what a renderer needs of them, which a stream computes where it decodes."""

    async def read() -> list[FrameGeometry]:
        async with await alphastream_gpu.open_async(SAMPLE) as stream:
            return [geometry async for geometry in stream.frames()]

    frames = asyncio.run(read())
    for geometry in frames:
        geometry.planes  # noqa: B018 - computed once
    return frames


@pytest.fixture(scope="session")
def ctx() -> Iterator[moderngl.Context]:
    context = alphastream_gpu.create_headless_context()
    name = context.info["GL_RENDERER"]
    driver.update(renderer=name, version=context.info["GL_VERSION"], is_software=is_software(name))
    facts["GL driver"] = f"{name}, {driver['version']}"
    yield context
    context.release()


@dataclass(frozen=True)
class Bar:
    """A figure, and the bar it must stay under: one median over another, or a time by itself."""

    work: str
    measured: str
    yardstick: str
    """Empty where the bar is a time."""
    at_most: float
    """A ratio, or microseconds."""
    where: str = ""
    """``compute`` where the bar is for GPUs with compute shaders, ``software`` where it is for drivers that use the
    CPU."""


def _on_gpu(work: str, measured: str, yardstick: str, at_most: float) -> Bar:
    return Bar(work, f"compute {measured}", yardstick, at_most, "compute")


SIZES = ((512, 256), (1000, 600), NATIVE, (4096, 2048), (8192, 4096))
"""Of the masks in bench_methods.py."""
BARS = (
    Bar("CPU twin, native 2048 x 1024", "cpu_native", "fillpoly", 8),
    Bar("CPU twin, 512 x 256", "cpu_small", "cpu_native", 0.5),
    Bar("CPU twin, 6720 x 3360", "cpu_large", "cv2_resize_large", 2),
    Bar("FrameGeometry.from_payload", "from_payload", "inflate", 4),
    _on_gpu("render + finish, native, state kept", "2048x1024 done kept", "F 2048x1024 done", 0.25),
    _on_gpu("render + finish, native, state not kept", "2048x1024 done bare", "F 2048x1024 done", 0.17),
    _on_gpu("render returns, native, state kept", "2048x1024 returns kept", "", 50),
    _on_gpu("render returns, native, state not kept", "2048x1024 returns bare", "", 25),
    _on_gpu("GPU time, native", "2048x1024 GPU", "", 25),
    _on_gpu("GPU time, 8192 x 4096", "8192x4096 GPU", "", 160),
    _on_gpu("render_many + finish, 64 native, a frame", "batch 2048x1024 done kept", "", 14),
    _on_gpu("read_frames, native", "2048x1024 read_frames", "compute 2048x1024 render + read", 0.7),
    *(
        Bar(
            f"auto: render + finish, {width} x {height}",
            f"auto {width}x{height} done kept",
            f"twin {width}x{height} done",
            1.15,
            "software",
        )
        for width, height in SIZES
    ),
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
driver: dict[str, Any] = {}
"""The context's, by its own words; and whether the CPU does its work."""
measured: dict[str, float] = {}
"""Medians of bench_methods.py in seconds, by the names that :data:`BARS` has."""
tables: dict[str, list[dict[str, Any]]] = {}
"""Its tables, for the JSON file: a row for each method at each size."""
printed: dict[str, list[str]] = {}
"""The same tables as lines for people."""
_TABLES = ("one frame", "batch", "reading")
"""In this order, whatever order the tests ran in."""


def report(work: str, value: float, bar: float, unit: str, *, at_least: bool = False) -> None:
    """Leave a measured figure and its bar for the table."""
    met = _noted(work, value, bar, unit, at_least=at_least)
    facts[work] = f"{value:.4g} {unit}, bar {'>=' if at_least else '<='} {bar:g}: {met}"


def _noted(work: str, value: float, bar: float, unit: str, *, at_least: bool = False) -> str:
    """Leave a figure for the JSON file; the verdict."""
    met = bool(value >= bar if at_least else value <= bar)
    figures.append({"work": work, "value": float(value), "unit": unit, "bar": bar, "at_least": at_least, "met": met})
    return "met" if met else "NOT MET"


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


def _line_of(bar: Bar, medians: Mapping[str, float]) -> str:
    """A bar's line, having left its figure for the JSON file; empty if what it is of was not to be run."""
    mine, yard = medians.get(bar.measured), medians.get(bar.yardstick) if bar.yardstick else 1e-6
    unit = f"x {bar.yardstick}" if bar.yardstick else "us"
    why = _why_not(bar, mine is None or yard is None)
    if why:
        if not measured or not bar.where:
            return ""
        figures.append(
            {"work": bar.work, "value": None, "unit": unit, "bar": bar.at_most, "at_least": False, "met": None}
        )
        return f"{bar.work:<44} bar {bar.at_most:g} {unit}: not measured: {why}"
    assert mine is not None
    assert yard is not None
    verdict = _noted(bar.work, mine / yard, bar.at_most, unit)
    ratio = f" = {mine / yard:6.2f} {unit} ({yard * 1e6:.1f} us)" if bar.yardstick else ""
    return f"{bar.work:<44} {mine * 1e6:9.1f} us{ratio}, bar {bar.at_most:g}: {verdict}"


def _why_not(bar: Bar, is_missing: bool) -> str:
    """Why a bar is not for this driver, or has no figure; empty if neither."""
    if bar.where == "compute" and driver.get("is_software"):
        return "software driver"
    if bar.where == "software" and not driver.get("is_software"):
        return "not a software driver"
    if not is_missing:
        return ""
    if bar.measured.endswith("GPU"):
        return "not run, or the driver has no GPU times"
    return "not run, or the driver has no compute shaders" if bar.where == "compute" else "not run"


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    benchmarks = config._benchmarksession.benchmarks
    medians = {
        bench.name.removeprefix("test_"): bench.stats.median / bench.extra_info.get("frames", 1)
        for bench in benchmarks
        if bench.stats.rounds
    }
    write = terminalreporter.write_line
    for line in (line for name in _TABLES for line in printed.get(name, ())):
        write(line)
    terminalreporter.section("figures: medians a frame, and their ratios")
    for bar in BARS:
        if line := _line_of(bar, {**medians, **measured}):
            write(line)
    in_bars = {name for bar in BARS for name in (bar.measured, bar.yardstick)} | set(BESIDE)
    per_frame = {bench.name.removeprefix("test_") for bench in benchmarks if bench.extra_info.get("frames", 1) > 1}
    for name in sorted(per_frame & medians.keys() - in_bars):
        write(f"{results.LABELS.get(name, name):<44} {medians[name] * 1e6:9.1f} us")
    for name in BESIDE:
        if name in medians and "fillpoly" in medians:
            ratio = medians[name] / medians["fillpoly"]
            write(f"{name:<44} {medians[name] * 1e6:9.1f} us = {ratio:6.2f} x fillpoly")
    for name, text in facts.items():
        write(f"{name:<48} {text}")
    if medians:
        write(f"written: {results.write(benchmarks, figures, facts, driver=driver, tables=tables)}")
