"""
The outline stage: every line, one by one.
"""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Rasterizer, geometry_of, points_between

from alphastream_gpu._raster import outline
from alphastream_gpu._raster.grid import grid_of
from alphastream_gpu._raster.segments import segments_of

CELL = 256
CELLS = 8


def test_every_line_of_255_by_255_deltas(rasterizer: Rasterizer) -> None:
    """Each direction in both senses: 65,025 two-point channels, each alone in a cell of its own."""
    native = (CELL * CELLS, CELL * CELLS)
    deltas = [(dx, dy) for dx in range(-127, 128) for dy in range(-127, 128)]
    for at in range(0, len(deltas), CELLS * CELLS):
        channels = []
        expected = np.zeros((native[1], native[0]), np.uint8)
        for place, (dx, dy) in enumerate(deltas[at : at + CELLS * CELLS]):
            x, y = 128 + CELL * (place % CELLS), 128 + CELL * (place // CELLS)
            channels.append([(x, y), (x + dx, y + dy)])
            for px, py in oracle.line((x, y), (x + dx, y + dy)):
                expected[py, px] = 255
        assert np.array_equal(rasterizer(geometry_of(channels), native_size=native), expected), deltas[at]


def test_ties_go_to_the_start(rasterizer: Rasterizer) -> None:
    """Lines with a step exactly half-way, flat and steep, in every direction and in both senses."""
    for dx, dy in ((2, 1), (4, 1), (4, 3), (6, 1), (10, 3), (8, 7)):
        for sx, sy in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            for x, y in ((dx * sx, dy * sy), (dy * sy, dx * sx)):
                for channel in ([(16, 16), (16 + x, 16 + y)], [(16 + x, 16 + y), (16, 16)]):
                    expected = oracle.mask([channel], (33, 33))
                    assert (rasterizer(geometry_of([channel]), native_size=(33, 33)) == expected).all(), channel


@given(a=points_between(-300, 300), b=points_between(-300, 300))
def test_one_line_and_its_reverse(rasterizer: Rasterizer, a: tuple[int, int], b: tuple[int, int]) -> None:
    """Ties go to the start, so a line and its reverse may differ; each must be right."""
    for channel in ([a, b], [b, a]):
        expected = oracle.mask([channel], (65, 65))
        assert (rasterizer(geometry_of([channel]), native_size=(65, 65)) == expected).all()


@given(
    points=st.lists(points_between(-100, 200), min_size=3, max_size=9),
    size=st.tuples(st.integers(1, 64), st.integers(1, 64)),
)
def test_the_exact_path_equals_the_float_path(points: list[tuple[int, int]], size: tuple[int, int]) -> None:
    """Both compute the same q, so forcing one or the other changes nothing."""
    segments = segments_of(geometry_of([points]))
    grid = grid_of((64, 64), size)
    runs = outline._Runs(segments, slice(None), grid)
    if runs.is_plain or not runs.count.any():
        return  # the plain layout has no exact path: what is inside the window is never long
    behind = np.cumsum(runs.count)
    by_float = runs.pixels(slice(None), behind)
    runs.is_exact = True
    assert np.array_equal(runs.pixels(slice(None), behind), by_float)


def test_huge_frames_come_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = geometry_of([[(k % 60, (k * 7) % 60) for k in range(500)]])
    segments, grid = segments_of(geometry), grid_of((64, 64), (64, 64))
    (whole,) = outline.outline_pixels(segments, grid)
    monkeypatch.setattr(outline, "_CHUNK_PIXELS", 100)
    monkeypatch.setattr(outline, "_CHUNK_SEGMENTS", 90)
    parts = list(outline.outline_pixels(segments, grid))
    assert len(parts) > 50
    assert np.array_equal(np.sort(np.concatenate(parts)), np.sort(whole))
