"""
The kernels of the compiled twin: as plain Python against the oracle, and compiled against the plain ones and numpy.

test_coverage.py tests the compiled ones, too, by the parameter "compiled" of `rasterizer`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from support import frames, geometry_of

from alphastream_gpu import FrameGeometry, rasterize, rasterize_packed
from alphastream_gpu._raster import runs
from alphastream_gpu._raster.compiled import CompiledTwin, _tables
from alphastream_gpu._raster.grid import grid_of

INT32 = np.iinfo(np.int32)
EXTREME = [INT32.min, INT32.min + 1, -(1 << 30), -70000, -1, 0, 7, 20, 21, 65535, 66000, (1 << 30) + 1, INT32.max]


def twin_of(functions: Any) -> CompiledTwin:
    """A twin that uses given functions."""

    class Loaded:
        def load(self) -> Any:
            return functions

    twin = CompiledTwin(Loaded())  # type: ignore[arg-type]
    twin.load()
    return twin


PLAIN = twin_of(SimpleNamespace(draw=runs.draw, draw_packed=runs.draw_packed))


@hypothesis_settings(max_examples=60)
@given(
    channels=frames(low=-6, high=30, max_channels=4),
    native=st.tuples(st.integers(1, 26), st.integers(1, 26)),
    size=st.none() | st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_plain_kernels_equal_the_oracle(channels: Any, native: tuple[int, int], size: tuple[int, int] | None) -> None:
    mask = PLAIN.draw(geometry_of(channels), grid_of(native, size or native), None)
    assert mask is not None
    assert (mask == oracle.mask(channels, native, size)).all()


@hypothesis_settings(max_examples=60)
@given(
    channels=st.lists(
        st.lists(st.tuples(st.sampled_from(EXTREME), st.sampled_from(EXTREME)), max_size=5), min_size=1, max_size=3
    ),
    size=st.sampled_from([(24, 24), (24, 7), (24, 12), (50, 24)]),
)
def test_plain_kernels_over_all_int32(channels: Any, size: tuple[int, int]) -> None:
    """numpy warns if an integer overflows, and warnings are errors: so no number of a kernel leaves its type."""
    geometry = geometry_of(channels)
    mask = PLAIN.draw(geometry, grid_of((24, 24), size), None)
    assert mask is not None
    assert (mask == rasterize(geometry, size, native_size=(24, 24))).all()
    packed = PLAIN.draw_packed(geometry, grid_of((24, 24), size))
    assert packed is not None
    assert (packed == rasterize_packed(geometry, size, native_size=(24, 24))).all()


@pytest.mark.slow
@pytest.mark.parametrize("height", [1, 2, 3, 5, 8, 13, 16, 31])
@pytest.mark.parametrize("flip", [False, True])
def test_every_line_of_a_small_grid(height: int, flip: bool) -> None:
    """Lines and thin triangles of all slopes in 17 x 16, shown by evenly and by unevenly sampled rows."""
    for x in range(-16, 17):
        for y in (0, 1, 2, 5, 7, 15):
            a, b = (16 if x < 0 else 0, 0), (16 + x if x < 0 else x, y)
            channel = [b, a] if flip else [a, b]
            for channels in ([channel], [[*channel, (8, 15)]]):
                mask = PLAIN.draw(geometry_of(channels), grid_of((17, 16), (17, height)), None)
                assert mask is not None
                assert (mask == oracle.mask(channels, (17, 16), (17, height))).all(), channels


def random_frame(rng: np.random.Generator) -> FrameGeometry:
    """A few channels, near the window, far from it, or both."""
    channels = []
    for _ in range(rng.integers(0, 8)):
        n = int(rng.integers(0, 14))
        match rng.integers(4):
            case 0:
                points = rng.integers(-12, 90, (n, 2))
            case 1:
                points = rng.integers(INT32.min, INT32.max, (n, 2), endpoint=True)
            case 2:
                points = np.where(rng.random((n, 2)) < 0.5, rng.integers(-5, 60, (n, 2)), rng.choice(EXTREME, (n, 2)))
            case _:
                points = rng.integers(-3, 4, (4 * n, 2)).cumsum(axis=0) + 40
        channels.append([tuple(point) for point in points.tolist()])
    return geometry_of(channels)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_random_frames(compiled_rasterizer: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(1000):
        geometry = random_frame(rng)
        native = tuple(rng.integers(1, 90, 2).tolist())
        size = native if rng.random() < 0.3 else tuple(rng.integers(1, 150, 2).tolist())
        mask = compiled_rasterizer(geometry, size, native_size=native)
        assert (mask == rasterize(geometry, size, native_size=native)).all(), (geometry.points, native, size)
        packed = compiled_rasterizer.twin.draw_packed(geometry, grid_of(native, size))
        assert (packed == rasterize_packed(geometry, size, native_size=native)).all(), (geometry.points, native)


@pytest.mark.slow
@pytest.mark.parametrize(
    "size", [(2048, 1024), (512, 256), (1000, 600), (6720, 3360), (333, 2000), (4001, 77), (1, 1), (2048, 1023)]
)
def test_the_sample(compiled_rasterizer: Any, geometries: list[FrameGeometry], size: tuple[int, int]) -> None:
    for geometry in geometries[:: 20 if size[0] > 6000 else 5]:
        mask = compiled_rasterizer(geometry, size, native_size=(2048, 1024))
        assert (mask == rasterize(geometry, size)).all()


def test_packed_masks_of_the_sample(compiled_rasterizer: Any, geometries: list[FrameGeometry]) -> None:
    for geometry in geometries[::5]:
        packed = compiled_rasterizer.twin.draw_packed(geometry, grid_of((2048, 1024), (2048, 1024)))
        assert (packed == rasterize_packed(geometry)).all()
        assert packed.ctypes.data % 64 == 0


def test_compiled_and_plain_kernels_make_the_same_runs(compiled_rasterizer: Any) -> None:
    """Not only the same masks: every run, in its place."""
    rng = np.random.default_rng(7)
    twins = (PLAIN, compiled_rasterizer.twin)
    for _ in range(40):
        geometry, native, size = random_frame(rng), (61, 47), (61, int(rng.integers(1, 60)))
        found = []
        for twin in twins:
            _, slots, all_runs = twin._scratch.of(47)
            all_runs[:] = 0
            assert twin.draw(geometry, grid_of(native, size), None) is not None
            found.append((all_runs.copy(), slots[: min(size[1], 47)].copy()))
        assert (found[0][0] == found[1][0]).all()
        assert (found[0][1] == found[1][1]).all()


@pytest.mark.parametrize("functions", ["plain", "compiled"])
def test_long_rows(request: pytest.FixtureRequest, functions: str) -> None:
    """More runs in a row than it has room for at first, sorted by a heap: of one channel, of several, of equal ones."""
    twin = PLAIN if functions == "plain" else request.getfixturevalue("compiled_rasterizer").twin
    columns = np.random.default_rng(1).permutation(120).tolist()
    zigzag = [(x, 5 * (k % 2)) for k, x in enumerate(columns)]
    teeth = [(k, 5 * (k % 2)) for k in range(120)]
    for channels in (
        [zigzag],
        [zigzag, teeth, teeth[::-1]],
        [[(7, 5 * (k % 2)) for k in range(90)]],
        [[(x, 0), (x, 5)] for x in columns],
    ):
        mask = twin.draw(geometry_of(channels), grid_of((120, 6), (120, 6)), None)
        assert (mask == oracle.mask(channels, (120, 6))).all()


@pytest.mark.parametrize("n_teeth", [12, 17, 18, 19, 40])
def test_rows_around_the_room_that_they_have(n_teeth: int) -> None:
    """The last row overflows at the end of the scratch, the other ones into the next row."""
    for first, last in ((0, 5), (0, 1), (4, 5)):
        channels = [[(2 * k, last if k % 2 else first) for k in range(2 * n_teeth)], [(3, 0), (90, 2), (30, 5)]]
        for geometry in (geometry_of(channels), geometry_of(channels[::-1])):
            mask = PLAIN.draw(geometry, grid_of((160, 6), (160, 6)), None)
            assert (mask == oracle.mask(channels, (160, 6))).all()


def test_runs_beyond_the_end_of_the_scratch() -> None:
    """Storing stays within the scratch, whatever its size is; what does not fit is counted, and nothing is drawn."""
    teeth = geometry_of([[(k, 5 * (k % 2)) for k in range(120)]])
    for n_runs in (7, 60, 2000):
        scratch = np.zeros(n_runs + 1, np.int64)
        scratch[-1] = 77
        out = np.full((6, 120), 9, np.uint8)
        tables, changes, slots = _tables(grid_of((120, 6), (120, 6))), np.empty(7, np.int32), np.empty(6, np.uint32)
        is_drawn = runs.draw(
            teeth.points, teeth.channel_offsets, 120, 6, *tables, changes, slots, scratch[:n_runs], out, 255
        )
        assert is_drawn == (n_runs == 2000)
        assert (out != 9).all() if is_drawn else (out == 9).all()
        assert scratch[-1] == 77
