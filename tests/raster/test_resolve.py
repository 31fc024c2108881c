"""
The resolve stage: nearest-neighbour scaling, on the CPU and on GL.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Rasterizer, geometry_of

from alphastream_gpu._raster import resolve as resolve_module
from alphastream_gpu._raster.grid import Axis, grid_of, sampled
from alphastream_gpu._raster.resolve import resolve, unpack


@given(native=st.integers(1, 300), output=st.integers(1, 700))
def test_an_axis_samples_by_the_rule(native: int, output: int) -> None:
    axis = Axis(native, sampled(native, output))
    shown = [x * native // axis.size for x in range(axis.size)]
    assert axis.samples.tolist() == shown
    assert axis.size == min(native, output)
    for coordinate in range(native):
        assert axis.slot[coordinate] == (shown.index(coordinate) if coordinate in shown else -1)
    for coordinate in range(native + 1):
        assert axis.first[coordinate] == sum(x < coordinate for x in shown)


@given(native=st.integers(1, 64), output=st.integers(1, 200))
def test_raster_grid_and_repetition_compose(native: int, output: int) -> None:
    """Sampling to the raster grid and repeating its pixels gives the same as applying the rule once."""
    axis = Axis(native, sampled(native, output))
    places = np.arange(output) if axis.places is None else axis.places
    assert axis.samples[places].tolist() == [x * native // output for x in range(output)]


@pytest.mark.parametrize("columns", [1, 8, 63, 64, 65, 200])
def test_unpacking(columns: int) -> None:
    rng = np.random.default_rng(columns)
    pixels = rng.integers(0, 2, (5, columns), dtype=np.uint8)
    padded = np.zeros((5, (columns + 63) // 64 * 64), np.uint8)
    padded[:, :columns] = pixels
    words = np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
    mask = unpack(words, columns)
    assert mask.flags.c_contiguous
    assert np.array_equal(mask, pixels * 255)


def test_bits_are_unpacked_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here each part has three rows, and every row is in one part. All bits of a large mask would not stay in the
    cache."""
    unpackbits, parts = np.unpackbits, []

    def counted(bits: np.ndarray, **options: Any) -> np.ndarray:
        parts.append(bits.size)
        return unpackbits(bits, **options)

    words = np.random.default_rng(1).integers(0, 1 << 63, (10, 2), dtype=np.uint64)
    whole = unpack(words, 100)
    monkeypatch.setattr(resolve_module, "_PART_BYTES", 3 * 128 + 5)
    monkeypatch.setattr(np, "unpackbits", counted)
    assert np.array_equal(unpack(words, 100), whole)
    assert parts == [48, 48, 48, 16]


def test_resolve_does_nothing_at_the_same_size() -> None:
    mask = np.zeros((4, 6), np.uint8)
    assert resolve(mask, grid_of((6, 4), (6, 4))) is mask


def test_odd_sizes(rasterizer: Rasterizer) -> None:
    """Larger and smaller by fractions, in one direction or both, of overlapping channels, a line and a point."""
    channels = [[(-9, 3), (40, 20), (69, 5), (30, 60)], [(5, 2), (60, 33), (8, 50)], [(0, 0), (64, 44)], [(63, 0)]]
    for native in ((65, 45), (31, 64)):
        for size in ((66, 46), (64, 44), (130, 7), (7, 130), (1, 1), (97, 45), (65, 101), (2, 3), (32, 9), (195, 135)):
            expected = oracle.mask(channels, native, size)
            assert (rasterizer(geometry_of(channels), size, native_size=native) == expected).all(), (native, size)
