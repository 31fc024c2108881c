"""
Encoding whole streams: two cores beside one, and the memory of a long stream.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pytest
from conftest import facts, report
from support import ROOT, sample_geometries

from alphastream_gpu import encode, rasterize
from alphastream_gpu._encoding import prepare_encoder
from alphastream_gpu._raster.compiled import twin

REPEATS = 4
"""Of the sample: eight seconds. In a stream of two seconds, starting threads and opening files count too."""
LONG = 10_000
"""Frames whose encoding must take no more memory than that of a few hundred."""


@pytest.fixture(scope="module")
def masks() -> Iterator[list[npt.NDArray[Any]]]:
    pytest.importorskip("numba")
    prepare_encoder()
    twin.load()  # as in any program after its first masks
    yield [rasterize(geometry) != 0 for geometry in sample_geometries()]
    twin.choose(None)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system that can keep a process to one core")
def test_two_cores(benchmark: Any, masks: list[npt.NDArray[Any]], tmp_path: Path) -> None:
    """Each measured in turns, the best of eight: other programs of the machine only ever slow one down."""
    every = sorted(os.sched_getaffinity(0))
    if len(every) < 2:
        pytest.skip("needs two cores")

    def seconds(cores: list[int]) -> float:
        os.sched_setaffinity(0, cores)  # of this thread, and of those that it starts
        started = time.perf_counter()
        encode(masks * REPEATS, tmp_path / "out.asvp", jobs=len(cores))
        return time.perf_counter() - started

    try:
        benchmark.pedantic(lambda: seconds(every[:2]), rounds=1)
        times = [(seconds(every[:1]), seconds(every[:2])) for _ in range(8)]
    finally:
        os.sched_setaffinity(0, every)
    one, two = min(pair[0] for pair in times), min(pair[1] for pair in times)
    report("encode: two cores / one", one / two, 1.8, "x", at_least=True)
    n_frames = len(masks) * REPEATS
    facts["  frames a second"] = f"{n_frames / one:.0f} and {n_frames / two:.0f}"


def test_memory(benchmark: Any, tmp_path: Path) -> None:
    """In a process of its own, whose memory nothing else has grown; the frames are made one by one."""
    script = f"""
        import re, sys
        from pathlib import Path
        sys.path.insert(0, {str(ROOT / "tests")!r})
        from support import sample_geometries
        from alphastream_gpu import encode, rasterize
        geometries = sample_geometries()
        marks = []
        def peak():  # the system counts in ru_maxrss what the process was before it ran this program
            return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
        def masks():
            for k in range({LONG}):
                yield rasterize(geometries[k % 120]) != 0
        def progress(at):
            if at.stage == "encoding" and at.done:
                marks.append(peak())
        encode(masks(), {str(tmp_path / "long.asvp")!r}, progress=progress)
        total = peak()
        print(marks[len(marks) // 10], total)
    """

    def run() -> list[float]:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
        )
        return [float(part) for part in done.stdout.split()]

    early, late = benchmark.pedantic(run, rounds=1)
    report(f"encode: memory of {LONG:,} frames", late, 300, "MB")
    report("  of which in the last nine tenths", late - early, 30, "MB")
