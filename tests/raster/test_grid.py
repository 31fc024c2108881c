"""
Grid: every table, compared with its definition.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alphastream_gpu._raster.grid import grid_of

edges = st.integers(1, 40)


@given(native=st.tuples(edges, edges), output=st.tuples(edges, edges))
def test_every_table(native: tuple[int, int], output: tuple[int, int]) -> None:
    grid = grid_of(native, output)
    width, height = native
    columns, rows = min(width, output[0]), min(height, output[1])
    shown_x = [x * width // columns for x in range(columns)]
    shown_y = [y * height // rows for y in range(rows)]
    assert (grid.x.native, grid.y.native, grid.x.size, grid.y.size) == (width, height, columns, rows)
    assert grid.x.is_identity is (columns == width)
    assert grid.y.is_identity is (rows == height)
    assert grid.is_identity is (columns == width and rows == height)
    assert grid.samples.tolist() == shown_x + shown_y
    assert grid.place_pixel.tolist() == [*range(columns), *(row * columns for row in range(rows))]
    assert grid.first_place.tolist() == [
        *(sum(shown < x for shown in shown_x) for x in range(width + 1)),
        *(columns + sum(shown < y for shown in shown_y) for y in range(height + 1)),
    ]
    assert grid.slot_pixel.tolist() == [
        *(shown_x.index(x) if x in shown_x else -1 for x in range(width)),
        *(shown_y.index(y) * columns if y in shown_y else -1 for y in range(height)),
    ]
    # Crossings at the columns -1..W, including left and right of the window.
    assert grid.span_start.tolist() == [sum(shown < x for shown in shown_x) for x in range(-1, width + 1)]
    assert grid.span_stop.tolist() == [sum(shown <= x for shown in shown_x) for x in range(-1, width + 1)]
    for table in (grid.samples, grid.place_pixel, grid.first_place, grid.slot_pixel, grid.span_start, grid.span_stop):
        assert table.dtype == np.int64


def test_a_grid_is_made_once() -> None:
    assert grid_of((9, 8), (7, 6)) is grid_of((9, 8), (7, 6))
    assert grid_of((9, 8), (7, 6)) is not grid_of((9, 8), (6, 7))
