"""
Parts of masks: some rows and columns, at any size, by both twins. The oracle is the whole mask, indexed by numpy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from support import frames, geometry_of
from test_runs import EXTREME, PLAIN, random_frame

from alphastream_gpu import FrameGeometry, rasterize, rasterize_packed
from alphastream_gpu._raster.compiled import twin
from alphastream_gpu._raster.grid import crop_of, grid_of

NATIVE = (26, 24)
SPOT = geometry_of([[(3, 3), (28, 5), (20, 27)]])


@pytest.fixture(params=["numpy", "compiled"])
def backend(request: pytest.FixtureRequest) -> Any:
    """Within a test, ``rasterize`` uses one of the twins."""
    if request.param == "numpy":
        twin.choose("numpy")
    else:
        request.getfixturevalue("compiled_rasterizer")
        twin.load()
    yield {"numpy": "numpy", "compiled": "numba"}[request.param]
    twin.choose(None)


@st.composite
def picked(draw: st.DrawFn, length: int) -> Any:
    """Rows or columns: a slice with any step, a list with repeats in any order, or bools."""
    ends = st.none() | st.integers(-length - 3, length + 3)
    steps = st.none() | st.integers(-5, 7).filter(bool)
    some = st.lists(st.integers(-length, length - 1), max_size=12)
    bools = st.lists(st.booleans(), min_size=length, max_size=length).map(np.array)
    return draw(st.builds(slice, ends, ends, steps) | some | some.map(lambda it: np.array(it, np.int32)) | bools)


@st.composite
def crops(draw: st.DrawFn) -> Any:
    size = draw(st.just(NATIVE) | st.tuples(st.integers(1, 60), st.integers(1, 60)))
    return size, draw(picked(size[1])), draw(picked(size[0]))


@pytest.mark.slow
@hypothesis_settings(max_examples=300)
@given(channels=frames(low=-6, high=30, max_channels=4), crop=crops())
def test_crops_equal_the_cropped_oracle(backend: str, channels: Any, crop: Any) -> None:
    size, rows, columns = crop
    expected = oracle.mask(channels, NATIVE, size)[rows][:, columns]
    actual = rasterize(geometry_of(channels), size, native_size=NATIVE, rows=rows, columns=columns)
    assert actual.dtype == np.uint8
    assert actual.shape == expected.shape
    assert (actual == expected).all()
    assert actual.flags.c_contiguous


@pytest.mark.slow
@hypothesis_settings(max_examples=300)
@given(
    channels=st.lists(
        st.lists(st.tuples(st.sampled_from(EXTREME), st.sampled_from(EXTREME)), max_size=5), min_size=1, max_size=3
    ),
    crop=crops(),
)
def test_crops_of_hostile_frames(backend: str, channels: Any, crop: Any) -> None:
    size, rows, columns = crop
    geometry = geometry_of(channels)
    whole = rasterize(geometry, size, native_size=NATIVE, dtype=bool)
    assert (whole == (rasterize(geometry, size, native_size=NATIVE) == 255)).all()
    crop = rasterize(geometry, size, native_size=NATIVE, rows=rows, columns=columns, dtype=bool)
    assert crop.dtype == np.bool_
    assert (crop.view(np.uint8) == whole[rows][:, columns].view(np.uint8)).all()


@pytest.mark.slow
@hypothesis_settings(max_examples=60)
@given(channels=frames(low=-6, high=30), crop=crops())
def test_plain_kernels_draw_crops(channels: Any, crop: Any) -> None:
    """numpy warns if an integer overflows, and warnings are errors."""
    size, rows, columns = crop
    chosen = range(size[0])[columns] if isinstance(columns, slice) else np.arange(size[0])[columns]
    for below in (range(size[1])[rows] if isinstance(rows, slice) else np.arange(size[1])[rows],):
        if len(chosen) and len(below):
            mask = PLAIN.draw(geometry_of(channels), crop_of(NATIVE, size, chosen, below), None)
            assert mask is not None
            assert (mask == oracle.mask(channels, NATIVE, size)[rows][:, columns]).all()


@pytest.mark.parametrize("gaps", [[1, 2, 9], [2, 3], [1, 1, 7, 1], [3, 11, 4]])
def test_rows_at_unequal_distances(backend: str, gaps: list[int]) -> None:
    """Kernels advance from row to row by the least distance, by one more, or start again."""
    rng = np.random.default_rng(sum(gaps))
    rows = np.cumsum(np.resize(gaps, 60))
    rows = rows[rows < 90]
    for _ in range(200):
        geometry = random_frame(rng)
        whole = rasterize(geometry, native_size=(80, 90))
        assert (rasterize(geometry, native_size=(80, 90), rows=rows) == whole[rows]).all()


@pytest.mark.slow
def test_random_crops_of_the_sample(backend: str, geometries: list[FrameGeometry]) -> None:
    rng = np.random.default_rng(3)
    for geometry in geometries[::3]:
        size = [(2048, 1024), (1000, 600), (2500, 1024), (640, 2000)][rng.integers(4)]
        whole = rasterize(geometry, size)
        assert rasterize.backend == backend
        for _ in range(4):
            top, left = rng.integers(0, size[1]), rng.integers(0, size[0])
            rows = slice(top, top + rng.integers(1, 400), rng.integers(1, 4))
            columns = slice(left, left + rng.integers(1, 400), rng.integers(1, 4))
            out = np.full(whole[rows, columns].shape, 9, np.uint8)
            assert rasterize(geometry, size, rows=rows, columns=columns, out=out) is out
            assert (out == whole[rows, columns]).all()


@pytest.mark.slow
@hypothesis_settings(max_examples=100)
@given(channels=frames(low=-6, high=30), size=st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_packed_masks_of_any_size(backend: str, channels: Any, size: tuple[int, int]) -> None:
    packed = rasterize_packed(geometry_of(channels), size, native_size=NATIVE)
    assert packed.shape == (size[1], -(-size[0] // 8))
    expected = np.packbits(oracle.mask(channels, NATIVE, size) > 0, axis=1, bitorder="little")
    assert (packed == expected).all()


def test_into_an_array_of_bools(backend: str) -> None:
    out = np.ones((5, 7), bool)
    made = rasterize(SPOT, native_size=(32, 32), rows=slice(2, 7), columns=slice(3, 10), dtype=bool, out=out)
    assert made is out
    assert (out == (rasterize(SPOT, native_size=(32, 32))[2:7, 3:10] > 0)).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rows": 3}, TypeError, "rows: expected a slice or a list of integers or bools, found int"),
        ({"rows": "abc"}, TypeError, "rows: expected a slice or a list of integers or bools, found str"),
        ({"columns": [1.0]}, TypeError, "columns: expected one dimension of integers or bools, found 1 dimensions of"),
        ({"columns": np.zeros((2, 2), int)}, TypeError, "columns: expected one dimension .* found 2 dimensions"),
        ({"rows": [32]}, IndexError, "index 32 is out of bounds for axis 0 with size 32"),
        ({"columns": [0, -33]}, IndexError, "index -33 is out of bounds for axis 0 with size 32"),
        ({"rows": [True, False]}, IndexError, "boolean index did not match .* is 32 but"),
        ({"dtype": np.float32}, ValueError, "dtype: expected uint8 or bool, found float32"),
        ({"dtype": bool, "out": np.zeros((32, 32), np.uint8)}, TypeError, "out: expected an array of bool, found"),
        ({"rows": slice(3), "out": np.zeros((32, 32), np.uint8)}, ValueError, r"out: expected the shape .* \(3, 32\)"),
    ],
)
def test_refused(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        rasterize(SPOT, native_size=(32, 32), **options)


def test_nothing_is_drawn_for_no_rows_or_columns(backend: str) -> None:
    for options in ({"rows": slice(0)}, {"columns": []}, {"rows": [], "columns": slice(5, 2)}):
        whole = np.zeros((32, 32), np.uint8)
        expected = whole[options.get("rows", slice(None))][:, options.get("columns", slice(None))]
        assert rasterize(SPOT, native_size=(32, 32), **options).shape == expected.shape


def test_grids_of_ranges_are_made_once() -> None:
    """A crop at the same place in frame after frame."""
    grid = crop_of((9, 8), (7, 6), range(2, 5), range(6))
    assert crop_of((9, 8), (7, 6), range(2, 5), range(6)) is grid
    assert crop_of((9, 8), (7, 6), range(7), range(6)) is grid_of((9, 8), (7, 6))
