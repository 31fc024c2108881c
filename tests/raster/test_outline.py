"""
The outline stage: single lines, compared with the oracle.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import oracle
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import Rasterizer, geometry_of, points_between

from alphastream_gpu._geometry.segments import segments_of
from alphastream_gpu._raster import outline
from alphastream_gpu._raster.grid import crop_of, grid_of

Channel = list[tuple[int, int]]
EDGE = 2048


def _placed(deltas: list[tuple[int, int]]) -> Iterator[list[Channel]]:
    """
    Make two-point channels for the deltas. Each channel has a box of its own with a margin of empty pixels. The boxes
    are placed in rows, as many as fit on a square of EDGE pixels.
    """
    channels: list[Channel] = []
    left = top = tallest = 0
    for dx, dy in deltas:
        width, height = abs(dx) + 2, abs(dy) + 2
        if left + width > EDGE:
            left, top, tallest = 0, top + tallest, 0
        if top + height > EDGE:
            yield channels
            channels, left, top, tallest = [], 0, 0, 0
        start = (left + max(-dx, 0), top + max(-dy, 0))
        channels.append([start, (start[0] + dx, start[1] + dy)])
        left, tallest = left + width, max(tallest, height)
    yield channels


@cache
def _every_line() -> list[tuple[list[Channel], np.ndarray, np.ndarray]]:
    """65,025 two-point channels on several squares, with the rows and columns of their pixels. Cached for all
    rasterizers."""
    deltas = [(dx, dy) for dy in range(-127, 128) for dx in range(-127, 128)]
    squares = []
    for channels in _placed(sorted(deltas, key=lambda delta: abs(delta[1]))):
        pixels = np.array([pixel for a, b in channels for pixel in oracle.line(a, b)], np.int16)
        squares.append((channels, pixels[:, 1], pixels[:, 0]))
    assert sum(len(channels) for channels, _, _ in squares) == 255 * 255
    return squares


@pytest.mark.slow
def test_every_line_of_255_by_255_deltas(rasterizer: Rasterizer) -> None:
    """All directions, without lines that touch each other."""
    for channels, rows, columns in _every_line():
        expected = np.zeros((EDGE, EDGE), np.uint8)
        expected[rows, columns] = 255
        assert np.array_equal(rasterizer(geometry_of(channels), native_size=(EDGE, EDGE)), expected), channels[0]


@pytest.mark.slow
def test_ties_go_to_the_start(rasterizer: Rasterizer) -> None:
    """Lines with a step exactly half-way between two pixels, flat and steep, in every direction."""
    for dx, dy in ((2, 1), (4, 1), (4, 3), (6, 1), (10, 3), (8, 7)):
        for sx, sy in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            for x, y in ((dx * sx, dy * sy), (dy * sy, dx * sx)):
                for channel in ([(16, 16), (16 + x, 16 + y)], [(16 + x, 16 + y), (16, 16)]):
                    expected = oracle.mask([channel], (33, 33))
                    assert (rasterizer(geometry_of([channel]), native_size=(33, 33)) == expected).all(), channel


@pytest.mark.slow
@given(a=points_between(-300, 300), b=points_between(-300, 300))
def test_one_line_and_its_reverse(rasterizer: Rasterizer, a: tuple[int, int], b: tuple[int, int]) -> None:
    """Ties go to the start, so a line and its reverse may differ. Both must be correct."""
    for channel in ([a, b], [b, a]):
        expected = oracle.mask([channel], (65, 65))
        assert (rasterizer(geometry_of([channel]), native_size=(65, 65)) == expected).all()


@given(
    points=st.lists(points_between(-100, 200), min_size=3, max_size=9),
    size=st.tuples(st.integers(1, 64), st.integers(1, 64)),
)
def test_the_exact_path_equals_the_float_path(points: list[tuple[int, int]], size: tuple[int, int]) -> None:
    """Both paths compute the same q, so forcing one of them does not change the pixels."""
    segments = segments_of(geometry_of([points]))
    grid = grid_of((64, 64), size)
    runs = outline._Runs(segments, slice(None), grid)
    if runs.is_plain or not runs.count.any():
        return  # the plain layout has no exact path, because segments inside the window are short
    behind = np.cumsum(runs.count)
    by_float = runs.pixels(slice(None), behind)
    runs.is_exact = True
    assert np.array_equal(runs.pixels(slice(None), behind), by_float)


INT32 = st.integers(-(1 << 31), (1 << 31) - 1)


@given(a=st.tuples(INT32, INT32), b=st.tuples(INT32, INT32), at=st.floats(0, 1))
@example(a=(-(1 << 31), -(1 << 31)), b=((1 << 31) - 1, (1 << 31) - 2), at=0.999999)
@example(a=(-(1 << 31), 5), b=((1 << 31) - 1, (1 << 31) - 3), at=0.75)
@example(a=((1 << 31) - 1, (1 << 31) - 1), b=(-(1 << 31), (1 << 30) + 12345), at=0.5)
@example(a=(7, 7), b=(8, 8), at=1.0)
@example(a=(7, 7), b=(7, 7), at=0.0)
@example(a=(0, 0), b=(4, 3), at=0.5)
def test_the_exact_path_is_exact_for_any_int32(a: tuple[int, int], b: tuple[int, int], at: float) -> None:
    """q at one step of a segment of up to 2^32 pixels, compared with Python's integers."""
    segments = segments_of(geometry_of([[a, b]]))
    runs = outline._Runs(segments, slice(None), grid_of((64, 64), (64, 64)))
    d = sorted((abs(b[0] - a[0]), abs(b[1] - a[1])))
    major = 1 if abs(b[1] - a[1]) > abs(b[0] - a[0]) else 0
    steps = [0, int(at * d[1]), d[1]]
    sign = 1 if b[major] >= a[major] else -1
    coordinates = np.array([a[major] + sign * step for step in steps])
    found = runs._across_exactly(slice(None), np.array([len(steps)]), coordinates)
    assert found.tolist() == [(2 * step * d[0] + d[1] - 1) // (2 * d[1]) if d[1] else 0 for step in steps]


@pytest.mark.parametrize("size", [(64, 64), (40, 23), (64, 9)])
@pytest.mark.parametrize("shift", [0, 30])
@pytest.mark.parametrize("is_exact", [False, True])
def test_huge_frames_come_in_chunks(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], shift: int, is_exact: bool
) -> None:
    """In the plain layout, with sampling, with clipping, and on the exact path."""
    geometry = geometry_of([[(k * 5 % 61 + shift, (k * 7) % 60 - shift) for k in range(500)]])
    segments, grid = segments_of(geometry), grid_of((64, 64), size)
    if is_exact:
        monkeypatch.setattr(outline, "FLOAT_EXTENT", -1)
    (whole,) = outline.outline_pixels(segments, grid)
    monkeypatch.setattr(outline, "_CHUNK_PIXELS", 100)
    monkeypatch.setattr(outline, "_CHUNK_SEGMENTS", 90)
    parts = list(outline.outline_pixels(segments, grid))
    assert 20 < len(parts) < 300  # fewer parts than segments
    assert all(len(part) < 200 for part in parts)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.sort(whole))
    monkeypatch.setattr(outline, "_CHUNK_PIXELS", 3)  # shorter than a segment; segments are never split
    assert np.array_equal(np.sort(np.concatenate(list(outline.outline_pixels(segments, grid)))), np.sort(whole))


def test_the_segments_near_a_part() -> None:
    """Those whose box meets the box of the part, also at its edges."""
    rng = np.random.default_rng(3)
    geometry = geometry_of(rng.integers(-10, 74, (40, 3, 2)).tolist())
    segments = segments_of(geometry)
    for _ in range(200):
        left, top = rng.integers(0, 64, 2).tolist()
        columns, rows = range(left, int(rng.integers(left, 64)) + 1), range(top, int(rng.integers(top, 64)) + 1)
        columns, rows = columns[:40], rows[:40]
        expected = [
            at
            for at, (ax, ay, bx, by) in enumerate(zip(*map(np.ndarray.tolist, segments[:4]), strict=True))
            if max(ax, bx) >= columns[0]
            and min(ax, bx) <= columns[-1]
            and max(ay, by) >= rows[0]
            and min(ay, by) <= rows[-1]
        ]
        for part in (slice(0, 500), slice(30, 70)):
            near = outline._near(segments, part, crop_of((64, 64), (64, 64), columns, rows))
            assert not isinstance(near, slice)
            assert near.tolist() == [at for at in expected if part.start <= at < part.stop]
    part = slice(0, 500)
    assert outline._near(segments, part, crop_of((64, 64), (64, 64), range(64), range(64))) is part


def test_lines_outside_the_window_give_nothing() -> None:
    for channels in ([], [[(70, 3), (90, 20)]], [[(3, -90), (5, -2)]]):
        assert list(outline.outline_pixels(segments_of(geometry_of(channels)), grid_of((64, 64), (64, 64)))) == []


@pytest.mark.parametrize(
    ("channel", "size", "layout"),
    [
        # inside the window, plain, exact
        ([(0, 0), (63, 63)], (64, 64), (True, True, False)),
        ([(0, 0), (63, 63)], (64, 63), (True, False, False)),
        ([(0, 0), (64, 63)], (64, 64), (False, False, False)),
        ([(-1, 0), (6, 6)], (64, 64), (False, False, False)),
        ([(0, 0), (1 << 17, 0)], (64, 64), (False, False, False)),
        ([(0, 0), ((1 << 17) + 1, 0)], (64, 64), (False, False, True)),
        ([(0, 0), (0, -(1 << 17) - 1)], (64, 64), (False, False, True)),
        ([(1 << 24, 0), ((1 << 24) - 5, 0)], (64, 64), (False, False, False)),
        ([((1 << 24) + 1, 0), ((1 << 24) - 5, 0)], (64, 64), (False, False, True)),
    ],
)
def test_the_cheapest_sufficient_layout_is_used(
    channel: list[tuple[int, int]], size: tuple[int, int], layout: tuple[bool, bool, bool]
) -> None:
    """The plain layout takes half the time. The exact path is only for segments for which floats are not exact."""
    runs = outline._Runs(segments_of(geometry_of([channel])), slice(None), grid_of((64, 64), size))
    assert (runs.inside, runs.is_plain, runs.is_exact) == layout
