"""
The C library: what a call costs beside Python's own, and what the time to the first frame is made of.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from conftest import facts, report
from support import ROOT, SAMPLE, asvp_of, block_of

import alphastream_gpu
from alphastream_gpu import FrameGeometry
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
    """Medians in microseconds: ready, its 95th percentile, missed; then seconds: CV_create, CV_init, first frame."""
    hashes = program.parent / "hashes"
    command = [program, "measure", program.parent / LIBRARY, SAMPLE, hashes]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={})
    return [*map(float, done.stdout.split())]


FROM_PYTHON = f"""
import sys, time
from statistics import median
import alphastream_gpu
with alphastream_gpu.open(sys.argv[1], config=alphastream_gpu.Config(ready_frames=0)) as stream:
    n_frames = stream.metadata.frame_count
    for index in range(n_frames):
        while stream.get_geometry(index) is None:
            pass
    times = []
    for i in range({N_CALLS}):
        start = time.perf_counter()
        assert stream.get_frame(i * 7 % n_frames) is not None
        times.append(time.perf_counter() - start)
print(median(times) * 1e6)
"""


def _from_python() -> float:
    """The median of the same missed calls, in microseconds; a process of its own, as the C program is."""
    return _printed(FROM_PYTHON, str(SAMPLE))


def test_calls_from_c(benchmark: Any, program: Path) -> None:
    """In turns, because a machine's mood changes; the ratio is that of the medians over the turns."""
    benchmark.pedantic(lambda: None, rounds=1)
    from_c, from_python = [], []
    for _ in range(TURNS):
        from_c.append(_from_c(program))
        from_python.append(_from_python())
    ready, ready_95, missed, created, opened, shown = (median(column) for column in zip(*from_c, strict=True))
    report("CV_get_frame, ready mask, median", ready, 50, "us")
    facts["  95th percentile"] = f"{ready_95:.1f} us"
    report("CV_get_frame, cache miss, 2048 x 1024", missed / median(from_python), 1.3, "x the Python call")
    facts["  of these, a call"] = f"{missed:.0f} us; from Python {median(from_python):.0f} us"
    parts = {
        "an interpreter": _bare(),
        "numpy": _imports("numpy"),
        "the package": _imports("numpy", "alphastream_gpu"),
        "CV_init": opened,
        "the frame": shown,
    }
    made_of = ", ".join(f"{name} {taken * 1e3:.1f}" for name, taken in parts.items())
    facts["first frame from C, after"] = f"{(created + opened + shown) * 1e3:.0f} ms, of which {made_of}"


def test_the_longest_call(benchmark: Any, program: Path, tmp_path: Path) -> None:
    """The time box, beside frames of 20,000 points that are decoded and rasterized all the time."""
    benchmark.pedantic(lambda: None, rounds=1)
    large = tmp_path / "large.asvp"
    rng = np.random.default_rng(5)
    angle = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    frames = []
    for _ in range(30):
        radius = 400 + rng.uniform(-50, 50, len(angle))
        points = (
            np.stack([1024 + radius * np.cos(angle), 512 + radius * np.sin(angle)], axis=1).round().astype(np.int64)
        )
        frames.append(block_of(FrameGeometry(points, [0, len(points)]).to_payload()))
    large.write_bytes(asvp_of(frames))
    for name, beside in (("alone", SAMPLE), ("beside frames of 20,000 points", large)):
        command = [program, "longest", program.parent / LIBRARY, SAMPLE, program.parent / "hashes", beside]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={})
        middle, most, longest, missed = done.stdout.split()
        facts[f"CV_get_frame, {name}"] = f"{middle} ms; 99 % {most} ms; longest {longest} ms; {missed} of 2,000 missed"


def _bare() -> float:
    """An interpreter's start and end, in isolation as the library's."""
    taken = []
    for _ in range(TURNS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)
        taken.append(time.perf_counter() - start)
    return median(taken)


def _imports(*modules: str) -> float:
    """What importing the last one takes, the others being there, in seconds."""
    *before, last = modules
    lines = [*(f"import {name}" for name in before), "import time", "start = time.perf_counter()", f"import {last}"]
    script = "\n".join([*lines, "print(time.perf_counter() - start)"])
    return median(_printed(script) for _ in range(TURNS))


def _printed(script: str, *arguments: str) -> float:
    """The number that a script prints."""
    command = [sys.executable, "-I", "-c", script, *arguments]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
