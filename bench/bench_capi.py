"""
The C library: what a call costs beside Python's own, and what the time to the first frame is made of.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from conftest import facts, report
from support import ROOT, SAMPLE

import alphastream_gpu
from alphastream_gpu import Config
from alphastream_gpu._capi.build import LIBRARY, build

TURNS = 5
N_CALLS = 1000


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests' program that loads the library, beside the library."""
    folder = tmp_path_factory.mktemp("capi")
    build(folder, version=alphastream_gpu.__version__)
    (folder / "hashes").touch()
    options = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O2", "-pthread"]
    source = ROOT / "tests" / "capi" / "loaded.c"
    subprocess.run(["gcc", *options, source, "-o", folder / "loaded", "-ldl"], check=True)
    return folder / "loaded"


def _from_c(program: Path) -> list[float]:
    """Medians in microseconds: ready, its 95th percentile, missed; then seconds: create, init, first frame, whole process."""
    start = time.perf_counter()
    done = subprocess.run(
        [program, "measure", program.parent / LIBRARY, SAMPLE, program.parent / "hashes"],
        capture_output=True,
        text=True,
        check=True,
        env={},
    )
    return [*map(float, done.stdout.split()), time.perf_counter() - start]


def _from_python() -> float:
    """The median of the same missed calls, in microseconds."""
    with alphastream_gpu.open(SAMPLE, config=Config(ready_frames=0)) as stream:
        n_frames = stream.metadata.frame_count
        for index in range(n_frames):
            while stream.get_geometry(index) is None:
                pass
        times = []
        for i in range(N_CALLS):
            start = time.perf_counter()
            assert stream.get_frame(i * 7 % n_frames) is not None
            times.append(time.perf_counter() - start)
    return median(times) * 1e6


def test_calls_from_c(benchmark: Any, program: Path) -> None:
    """In turns, because a machine's mood changes; the ratio is that of the medians over the turns."""
    benchmark.pedantic(lambda: None, rounds=1)
    from_c, from_python = [], []
    for _ in range(TURNS):
        from_c.append(_from_c(program))
        from_python.append(_from_python())
    ready, ready_95, missed, created, opened, shown, _ = (median(column) for column in zip(*from_c, strict=True))
    report("CV_get_frame, ready mask, median", ready, 50, "us")
    facts["  95th percentile"] = f"{ready_95:.1f} us"
    report("CV_get_frame, cache miss, 2048 x 1024", missed / median(from_python), 1.3, "x the Python call")
    facts["  of these, a call"] = f"{missed:.0f} us; from Python {median(from_python):.0f} us"
    facts["first frame from C, after"] = (
        f"{(created + opened + shown) * 1e3:.0f} ms: CV_create {created * 1e3:.0f} (interpreter {_bare() * 1e3:.0f}, numpy"
        f" {_imports('numpy') * 1e3:.0f}, the package {_imports('numpy', 'alphastream_gpu') * 1e3:.0f}), CV_init"
        f" {opened * 1e3:.0f}, the frame {shown * 1e3:.1f}"
    )


def _bare() -> float:
    """An interpreter's start and end, in isolation as the library's."""
    return median(_timed("pass") for _ in range(TURNS))


def _imports(*modules: str) -> float:
    """What importing the last one takes, the others being there, in seconds."""
    *before, last = modules
    script = "\n".join([*(f"import {name}" for name in before), "import time", "start = time.perf_counter()"])
    script += f"\nimport {last}\nprint(time.perf_counter() - start)"
    outputs = (
        subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, check=True) for _ in range(TURNS)
    )
    return median(float(done.stdout) for done in outputs)


def _timed(script: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-c", script], check=True, env=dict(os.environ))
    return time.perf_counter() - start
