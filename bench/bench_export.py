"""
Exports beside the codec alone: what drawing masks, reading the stream and joining segments take away from FFV1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import NATIVE, facts, report

from alphastream_gpu import AsvpWriter, FrameGeometry, export, rasterize
from alphastream_gpu._raster.compiled import twin

REPEATS = 4
"""Of the sample's 120 frames: eight segments, so that both threads have work until the end."""
JOBS = 2
RATE = Fraction(60)


@pytest.fixture(autouse=True)
def loaded() -> Iterator[None]:
    """Within this module, ``rasterize`` uses the compiled twin, which comes with the extra that exports need."""
    pytest.importorskip("numba")
    pytest.importorskip("av")
    twin.load()
    yield
    twin.choose(None)


def encoded(masks: list[npt.NDArray[np.uint8]], path: Path, threads: int) -> None:
    """FFV1 of ready masks, with the settings of exports."""
    import av

    from alphastream_gpu._exporting.coders import mask_coder, new_encoder

    with av.open(str(path), "w", format="matroska") as file:
        stream = new_encoder(file, mask_coder("ffv1"), NATIVE, RATE, threads=threads)
        for number, mask in enumerate(masks):
            frame: Any = av.VideoFrame.from_ndarray(mask, format="gray")
            frame.pts, frame.time_base = number, 1 / RATE
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def test_export_to_ffv1(benchmark: Any, geometries: list[FrameGeometry], tmp_path: Path) -> None:
    """
    Two threads of an export beside the faster of two ways to use two cores for the codec: two threads for the slices of
    each frame, and a thread for each half of the frames. In turns, the best of three.
    """
    with AsvpWriter(tmp_path / "masks.asvp") as writer:
        for geometry in geometries * REPEATS:
            writer.add_frame(geometry)
    masks = [rasterize(geometry) for geometry in geometries] * REPEATS
    half = len(masks) // 2

    def by_slices() -> None:
        encoded(masks, tmp_path / "slices.mkv", JOBS)

    def by_halves() -> None:
        with ThreadPoolExecutor(JOBS) as pool:
            parts = ((masks[:half], tmp_path / "a.mkv"), (masks[half:], tmp_path / "b.mkv"))
            list(pool.map(lambda part: encoded(*part, 1), parts))

    def ours() -> None:
        export(tmp_path / "masks.asvp", tmp_path / "out.mkv", jobs=JOBS)

    benchmark.pedantic(ours, rounds=1)
    turns = [[_seconds(work) for work in (by_slices, by_halves, ours)] for _ in range(3)]
    slices, halves, exports = (min(times) for times in zip(*turns, strict=True))
    report("export to FFV1, two cores / the codec alone", min(slices, halves) / exports, 0.8, "x", at_least=True)
    facts["  frames a second, export and codec"] = (
        f"{len(masks) / exports:.0f}; {len(masks) / slices:.0f} by slices, {len(masks) / halves:.0f} by halves"
    )


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
