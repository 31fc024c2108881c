"""
When the compiled twin makes a mask, when numpy does, and that nothing waits for it. test_runs.py tests the masks.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import NATIVE, SAMPLE, geometry_of, wait_until

import alphastream_gpu
from alphastream_gpu import FrameGeometry, rasterize, rasterize_packed
from alphastream_gpu._raster.compiled import _KERNELS, BEGIN_AFTER, MAX_RUNS, VARIABLE, CompiledTwin, twin
from alphastream_gpu._raster.grid import grid_of

SPOT = geometry_of([[(3, 3), (28, 5), (20, 27)]])
GRID = grid_of((32, 32), (32, 32))


@pytest.fixture
def loaded(compiled_rasterizer: Any) -> Iterator[None]:
    """Within a test, ``rasterize`` and the streams use the compiled twin."""
    twin.load()
    yield
    twin.choose(None)


class Scripted:
    """Kernels that count what is asked of them, and whose functions draw nothing."""

    def __init__(self, is_drawn: bool) -> None:
        self.n_ready = 0
        self.n_drawn = 0
        self._is_drawn = is_drawn
        self.made: SimpleNamespace | None = None

    def ready(self) -> SimpleNamespace | None:
        self.n_ready += 1
        return self.made

    def load(self) -> SimpleNamespace:
        return SimpleNamespace(draw=self._draw, draw_packed=self._draw)

    def _draw(self, *_: Any) -> bool:
        self.n_drawn += 1
        return self._is_drawn


def scripted(choice: str | None, is_drawn: bool = True) -> tuple[CompiledTwin, Scripted]:
    kernels = Scripted(is_drawn)
    return CompiledTwin(kernels, choice), kernels  # type: ignore[arg-type]


# What makes a mask


def test_a_process_that_makes_few_masks_compiles_nothing() -> None:
    chosen, kernels = scripted("auto")
    for _ in range(BEGIN_AFTER):
        assert chosen.draw(SPOT, GRID, None) is None
    assert kernels.n_ready == 0
    for _ in range(3):  # while it is being compiled, each call asks, and numpy makes the mask
        assert chosen.draw(SPOT, GRID, None) is chosen.draw_packed(SPOT, GRID) is None
    assert kernels.n_ready == 6
    kernels.made = kernels.load()
    assert chosen.draw(SPOT, GRID, None) is not None
    assert chosen.draw_packed(SPOT, GRID) is not None
    assert kernels.n_ready == 7


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, n_ready in (("numpy", 0), ("numba", 40), (" NumBa ", 40), ("", 40 - BEGIN_AFTER), (None, 8)):
        monkeypatch.delenv(VARIABLE) if value is None else monkeypatch.setenv(VARIABLE, value)
        chosen, kernels = scripted(None)
        for _ in range(40):
            assert chosen.draw(SPOT, GRID, None) is None
        assert kernels.n_ready == n_ready


def test_an_unknown_choice_is_logged_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(VARIABLE, "cython")
    chosen, _ = scripted(None)
    with caplog.at_level(logging.WARNING, "alphastream_gpu"):
        for _ in range(3):
            chosen.draw(SPOT, GRID, None)
    assert [record.getMessage() for record in caplog.records] == [
        "ALPHASTREAM_RASTERIZER: expected auto, numba or numpy, found 'cython'; auto is used"
    ]


def test_a_choice_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(VARIABLE, "numba")
    monkeypatch.setitem(sys.modules, "numba", None)
    chosen, _ = scripted(None)
    with caplog.at_level(logging.WARNING, "alphastream_gpu"):
        assert chosen.draw(SPOT, GRID, None) is None
    [record] = caplog.records
    assert "numba is not installed: python -m pip install numba" in record.getMessage()


def test_the_backend_is_named(loaded: None, geometries: list[FrameGeometry]) -> None:
    compiled, packed = rasterize(geometries[60]), rasterize_packed(geometries[60])
    assert (rasterize.backend, rasterize_packed.backend) == ("numba", "numba")
    twin.choose("numpy")
    assert (rasterize(geometries[60]) == compiled).all()
    assert (rasterize.backend, rasterize_packed.backend) == ("numpy", "numba")
    assert (rasterize_packed(geometries[60]) == packed).all()
    assert rasterize_packed.backend == "numpy"


def test_streams_use_it(loaded: None, geometries: list[FrameGeometry]) -> None:
    """Masks that are asked for, and masks made ahead."""
    twin.choose("numpy")
    expected = [rasterize(geometry) for geometry in geometries[:20]]
    assert rasterize.backend == "numpy"
    twin.load()
    with alphastream_gpu.open(SAMPLE) as stream:
        for index, mask in enumerate(expected):
            wait_until(lambda index=index, mask=mask: np.array_equal(stream.get_frame(index), mask))
            assert rasterize.backend == "numba"


@pytest.mark.slow
def test_auto_compiles_in_the_background() -> None:
    """In a process of its own: numpy at first, then numba, by the same function and with the same bits."""
    script = f"""
import sys, threading, time
import numpy as np
from alphastream_gpu import FrameGeometry, rasterize
geometry = FrameGeometry(np.array([(3, 3), (28, 5), (20, 27)]))
mask = rasterize(geometry, native_size=(32, 32))
for _ in range({BEGIN_AFTER - 1}):
    assert (rasterize(geometry, native_size=(32, 32)) == mask).all()
print(rasterize.backend, "numba" in sys.modules, threading.active_count())
deadline = time.monotonic() + 120
while rasterize.backend == "numpy":
    assert time.monotonic() < deadline
    assert (rasterize(geometry, native_size=(32, 32)) == mask).all()
    time.sleep(0.01)
print(rasterize.backend, "numba" in sys.modules)
"""
    pytest.importorskip("numba")
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, VARIABLE: "auto"},
    )
    assert done.stdout == "numpy False 1\nnumba True\n", done.stderr


# Frames that are left to numpy


def test_frames_of_many_points_or_channels_are_left_to_numpy() -> None:
    """Without counting their runs: no kernel is called."""
    chosen, kernels = scripted("numba")
    chosen.load()
    many = FrameGeometry(np.zeros((MAX_RUNS + 1, 2), np.int32))
    channels = FrameGeometry(np.zeros((0, 2), np.int32), np.zeros(MAX_RUNS + 1, np.int32))
    for geometry in (many, channels):
        assert chosen.draw(geometry, GRID, None) is chosen.draw_packed(geometry, GRID) is None
    assert kernels.n_drawn == 0


def test_frames_of_many_runs_are_left_to_numpy() -> None:
    """After one call, in which the kernel counts them."""
    chosen, kernels = scripted("numba", False)
    chosen.load()
    assert chosen.draw(SPOT, GRID, None) is chosen.draw_packed(SPOT, GRID) is None
    assert kernels.n_drawn == 2


def test_the_scratch_of_a_thread_is_kept_and_bounded(loaded: None) -> None:
    sizes = {sum(array.nbytes for array in twin._scratch.of(rows)) for rows in (16384, 1, 1024)}
    assert sizes == {8 * MAX_RUNS + 4 * 16384 + 4 * 16385}
    assert twin._scratch.of(16384) is twin._scratch.of(1)


@pytest.mark.slow
@pytest.mark.parametrize(("n_teeth", "backend"), [(1900, "numba"), (40_000, "numpy")])
def test_frames_around_the_bound(loaded: None, n_teeth: int, backend: str) -> None:
    """Teeth over 33 rows: almost as many runs as the kernels draw, and more."""
    geometry = geometry_of([[(k % 1500, 32 * (k % 2)) for k in range(n_teeth)]])
    native = (1500, 33)
    mask, packed = rasterize(geometry, native_size=native), rasterize_packed(geometry, native_size=native)
    assert rasterize.backend == rasterize_packed.backend == backend
    twin.choose("numpy")
    assert (mask == rasterize(geometry, native_size=native)).all()
    assert (packed == rasterize_packed(geometry, native_size=native)).all()


# Threads


def test_threads_have_scratch_of_their_own(loaded: None, geometries: list[FrameGeometry]) -> None:
    frames = geometries[::15]
    twin.choose("numpy")
    expected = [rasterize(geometry, (700, 300)) for geometry in frames]
    twin.load()
    wrong: list[int] = []

    def draw(place: int) -> None:
        for k in range(200):
            index = (place + k) % len(frames)
            if not (rasterize(frames[index], (700, 300)) == expected[index]).all():
                wrong.append(index)

    threads = [threading.Thread(target=draw, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# The array that gets the mask


@pytest.fixture(params=["numpy", "compiled"])
def either(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test with each CPU twin behind ``rasterize``."""
    if request.param == "compiled":
        request.getfixturevalue("compiled_rasterizer")
        twin.load()
    yield request.param
    twin.choose(None)


@pytest.mark.parametrize(
    "size", [NATIVE, (512, 256), (1000, 600), (3000, 1024), (2048, 1500), (4100, 2050), (300, 1500)]
)
def test_a_mask_into_an_array(either: str, geometries: list[FrameGeometry], size: tuple[int, int]) -> None:
    for geometry in geometries[::40]:
        out = np.full(size[::-1], 7, np.uint8)
        assert rasterize(geometry, size, out=out) is out
        assert (out == rasterize(geometry, size)).all()


def test_a_mask_into_part_of_an_array(either: str) -> None:
    """Rows of a larger array, at any address; the rest of it stays."""
    memory = np.full(3 * 32 * 32 + 1, 7, np.uint8)
    out = memory[1 + 32 * 32 : 1 + 2 * 32 * 32].reshape(32, 32)
    assert rasterize(SPOT, native_size=(32, 32), out=out) is out
    assert (out == rasterize(SPOT, native_size=(32, 32))).all()
    assert (memory[: 1 + 32 * 32] == 7).all()
    assert (memory[1 + 2 * 32 * 32 :] == 7).all()


def test_a_mask_into_a_file(either: str, tmp_path: Any) -> None:
    """``numpy.memmap`` is a subclass of arrays."""
    out = np.memmap(tmp_path / "mask", np.uint8, "w+", shape=(32, 32))
    assert rasterize(SPOT, native_size=(32, 32), out=out) is out
    assert (out == rasterize(SPOT, native_size=(32, 32))).all()


def test_a_mask_into_an_array_takes_no_other_memory(loaded: None, geometries: list[FrameGeometry]) -> None:
    """Once the thread has its scratch and the sizes have their tables."""
    out = np.empty((1024, 2048), np.uint8)
    rasterize(geometries[60], out=out)
    tracemalloc.start()
    try:
        rasterize(geometries[60], out=out)
        assert tracemalloc.get_traced_memory()[1] < 4096
    finally:
        tracemalloc.stop()


def test_other_arrays_are_refused(either: str) -> None:
    frozen = np.zeros((32, 32), np.uint8)
    frozen.setflags(write=False)
    for out, error, message in (
        ([[0]], TypeError, "out: expected an array of uint8, found list"),
        (np.zeros((32, 32), bool), TypeError, "out: expected an array of uint8, found an array of bool"),
        (np.zeros((32, 32)), TypeError, "out: expected an array of uint8, found an array of float64"),
        (
            np.zeros((32, 33), np.uint8),
            ValueError,
            r"out: expected the shape \(height, width\) \(32, 32\), found \(32, 33\)",
        ),
        (np.zeros((32, 32, 1), np.uint8), ValueError, "out: expected the shape"),
        (np.zeros((32, 64), np.uint8)[:, ::2], ValueError, r"C-contiguous array, found the strides \(64, 2\)"),
        (np.zeros((32, 32), np.uint8).T, ValueError, "C-contiguous"),
        (frozen, ValueError, "out: expected a writable array, found a read-only one"),
    ):
        with pytest.raises(error, match=message):
            rasterize(SPOT, native_size=(32, 32), out=out)  # type: ignore[arg-type]


def test_the_kernels_of_this_process_are_one_object() -> None:
    assert CompiledTwin()._kernels is twin._kernels is _KERNELS
