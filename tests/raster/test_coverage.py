"""
The complete mask, compared with golden hashes and with the oracle, on the CPU and by each method on GL. Every
comparison is ``==``.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from support import NATIVE, Rasterizer, channels_of, frames, geometry_of, golden_frames, points_between, sha256

from alphastream_gpu import FrameGeometry, rasterize, rasterize_packed
from alphastream_gpu._geometry.aligned import ALIGNMENT, aligned_empty
from alphastream_gpu._raster.coverage import packed_by

SPOT = [(3, 3), (28, 5), (20, 27)]
WIDTHS = (1, 2, 3, 31, 33, 63, 64, 65, 127)


@pytest.mark.slow
def test_goldens_at_every_size(rasterizer: Any, geometries: list[FrameGeometry]) -> None:
    """
    All frames at all sizes. With compute shaders on the CPU, a frame takes 30 ms at native size. So there all frames
    are tested at 512 x 256, and every fifth frame at the other sizes, including 6720 x 3360.
    """
    goldens = golden_frames()
    assert len(goldens) == len(geometries) == 120
    is_slow = getattr(rasterizer, "is_slow", False)
    n_checked = 0
    for geometry, golden in zip(geometries, goldens, strict=True):
        assert geometry.channel_count == golden["channels"]
        assert len(geometry.points) == golden["points"]
        is_whole = not is_slow or golden["i"] % 5 == 0
        if is_whole:
            mask = rasterizer(geometry, native_size=NATIVE)
            assert np.count_nonzero(mask) == golden["covered"], golden["i"]
            assert sha256(mask) == golden["sha256"], golden["i"]
        for name, expected in golden.items():
            if name.startswith("sha256_") and (is_whole or name == "sha256_512x256"):
                width, height = map(int, name.removeprefix("sha256_").split("x"))
                assert sha256(rasterizer(geometry, (width, height), native_size=NATIVE)) == expected, (
                    golden["i"],
                    name,
                )
                n_checked += 1
    assert n_checked == (120 + 24 + 4 if is_slow else 2 * 120 + 4)


if "ALPHASTREAM_EXTRA_DATA" in os.environ:  # a folder of unpublished payloads; see CONTRIBUTING.md

    def test_payloads_of_real_files(rasterizer: Rasterizer) -> None:
        """Unpublished payloads: files NAME.polystream with NAME_golden.json."""
        found = sorted(Path(os.environ["ALPHASTREAM_EXTRA_DATA"]).glob("*.polystream"))
        assert found
        for path in found:
            golden = json.loads(path.with_name(f"{path.stem}_golden.json").read_text())
            geometry = FrameGeometry.from_payload(path.read_bytes())
            assert geometry.channel_count == golden["channels"]
            assert geometry.to_payload() == path.read_bytes()
            mask = rasterizer(geometry, native_size=tuple(golden["native"]))
            assert np.count_nonzero(mask) == golden["covered"]
            assert sha256(mask) == golden["sha256"]


def test_the_sample_against_the_oracle(geometries: list[FrameGeometry]) -> None:
    """The golden hashes come from elsewhere. This test compares the oracle with them."""
    for index in (0, 60):
        mask = oracle.mask(channels_of(geometries[index]), NATIVE)
        assert sha256(mask) == golden_frames()[index]["sha256"]


@hypothesis_settings(max_examples=60)
@given(channels=frames(), width=st.sampled_from(WIDTHS), height=st.integers(1, 60))
@example(channels=[[(0, 0), (1, 2), (-1, 2)]], width=3, height=3)
@example(channels=[[(5, 5), (5, 5), (5, 5)]], width=31, height=33)
def test_random_frames_equal_the_oracle(rasterizer: Rasterizer, channels: Any, width: int, height: int) -> None:
    expected = oracle.mask(channels, (width, height))
    actual = rasterizer(geometry_of(channels), native_size=(width, height))
    assert (actual == expected).all()


@hypothesis_settings(max_examples=60)
@given(
    channels=frames(low=-5, high=45, max_channels=3),
    native=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
)
def test_every_size_equals_the_oracle(
    rasterizer: Rasterizer, channels: Any, native: tuple[int, int], size: tuple[int, int]
) -> None:
    expected = oracle.mask(channels, native, size)
    actual = rasterizer(geometry_of(channels), size, native_size=native)
    assert actual.shape == expected.shape
    assert (actual == expected).all()


@pytest.mark.slow
@hypothesis_settings(max_examples=60)
@given(channels=frames(low=-3000, high=5000, max_channels=3, max_points=6))
def test_geometry_far_outside_and_an_odd_width(rasterizer: Rasterizer, channels: Any) -> None:
    expected = oracle.mask(channels, (1919, 37))
    assert (rasterizer(geometry_of(channels), native_size=(1919, 37)) == expected).all()


EXTREME = [-(1 << 31), -(1 << 30), -70000, -1, 0, 7, 20, 65535, 66000, (1 << 30) + 1, (1 << 31) - 1]


@hypothesis_settings(max_examples=60)
@given(
    channels=st.lists(
        st.lists(st.tuples(st.sampled_from(EXTREME), st.sampled_from(EXTREME)), max_size=5), min_size=1, max_size=3
    )
)
def test_any_int32_coordinate(rasterizer: Rasterizer, channels: Any) -> None:
    """The oracle itself would compute 2^32 pixels, so lines are cropped to the window first, in exact integers."""
    expected = cropped_oracle(channels, (24, 24))
    assert (rasterizer(geometry_of(channels), native_size=(24, 24)) == expected).all()


@pytest.mark.parametrize("is_steep", [False, True])
@pytest.mark.parametrize(("extent", "across"), [((1 << 31) + 11, (1 << 30) + 7), ((1 << 31) - 1, 1_234_567_891)])
def test_a_pixel_that_floats_get_wrong(rasterizer: Rasterizer, extent: int, across: int, is_steep: bool) -> None:
    """
    The segments are so long that at one step the quotient lies 2^-31 below an integer, and float64 rounds it to that
    integer. The step lies inside the window, where it determines a pixel of the outline.
    """
    half = (extent - 1) // 2
    step = (-1 - half) * pow(across, -1, extent) % extent
    assert (step * across + half) % extent == extent - 1
    start = (12 - step, 12 - (step * across + half) // extent)
    channel = [start, (start[0] + extent, start[1] + across)]
    channel = [point[::-1] if is_steep else point for point in channel]
    expected = cropped_oracle([channel], (24, 24))
    assert expected[12, 12] == 255
    assert (rasterizer(geometry_of([channel]), native_size=(24, 24)) == expected).all()


def cropped_oracle(channels: Any, native_size: tuple[int, int]) -> np.ndarray:
    """The mask of channels whose lines are too long for the oracle. Each pixel of the window is tested."""
    width, height = native_size
    covered = np.zeros((height, width), np.uint8)
    for channel in channels:
        for a, b in oracle.segments(channel):
            for y in range(height):
                for x in range(width):
                    covered[y, x] |= 255 * _is_on_line((x, y), a, b)
        if len(channel) >= 3:
            for y in range(height):
                across = oracle.crossings(channel, y)
                for left, right in zip(across[0::2], across[1::2], strict=True):
                    for x in range(max(left, 0), min(right, width - 1) + 1):
                        covered[y, x] = 255
    return covered


def _is_on_line(pixel: tuple[int, int], a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether the line of the oracle contains a pixel, by its closed form at the step of that pixel."""
    d = (b[0] - a[0], b[1] - a[1])
    major = 0 if abs(d[0]) >= abs(d[1]) else 1
    minor = 1 - major
    extent, across = abs(d[major]), abs(d[minor])
    step = (pixel[major] - a[major]) * (1 if d[major] >= 0 else -1)
    if not 0 <= step <= extent:
        return False
    q = (2 * step * across + extent - 1) // (2 * extent) if extent else 0
    return pixel[minor] == a[minor] + (1 if d[minor] >= 0 else -1) * q


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 16, 31, 32, 33, 40])
def test_overlapping_channels_unite(rasterizer: Rasterizer, n: int) -> None:
    """
    All channels overlap. With too few planes or wrongly shared planes, pairs of channels would cancel. 32 is the number
    of planes of the compute shaders. The other numbers leave some of the four components of a texture unused.
    """
    channels = [[(10 + k % 7, 10 + k % 5), (50 + k % 3, 12), (48, 40 + k % 11), (9 + k % 2, 38)] for k in range(n)]
    expected = oracle.mask(channels, (64, 64))
    assert (rasterizer(geometry_of(channels), native_size=(64, 64)) == expected).all()
    scaled = oracle.mask(channels, (64, 64), (100, 30))
    assert (rasterizer(geometry_of(channels), (100, 30), native_size=(64, 64)) == scaled).all()


@hypothesis_settings(max_examples=25)
@given(
    shapes=st.lists(st.lists(points_between(0, 40), min_size=1, max_size=6), min_size=3, max_size=8),
    n_channels=st.integers(4, 32) | st.integers(33, 48),
)
def test_random_overlapping_channels(rasterizer: Rasterizer, shapes: Any, n_channels: int) -> None:
    """As many channels as a word has bits, and more. All channels have one common corner."""
    channels = [[(20, 20), *shapes[k % len(shapes)]] for k in range(n_channels)]
    expected = oracle.mask(channels, (41, 41))
    assert (rasterizer(geometry_of(channels), native_size=(41, 41)) == expected).all()


@pytest.mark.parametrize("size", [(16384, 9), (9, 16384), (1919, 1)])
def test_long_closing_segments(rasterizer: Rasterizer, size: tuple[int, int]) -> None:
    """The longest segments that the shaders draw: many short steps, and one closing segment over the whole length."""
    for points, expected in _long_ways(size):
        assert (rasterizer(geometry_of([points]), native_size=size) == expected).all()


@cache
def _long_ways(size: tuple[int, int]) -> list[tuple[list[tuple[int, int]], np.ndarray]]:
    width, height = size
    far = max(size) - 1
    steps = range(0, far, 127)
    along = [(k, (k // 127) % min(size)) for k in steps]
    channel = along if width > height else [(y, x) for x, y in along]
    return [(points, oracle.mask([points], size)) for points in (channel, channel[::-1])]


@pytest.mark.slow
def test_thousands_of_channels(rasterizer: Rasterizer) -> None:
    channels = [[(k % 60, k // 60), (k % 60 + 3, k // 60), (k % 60, k // 60 + 4)] for k in range(2500)]
    expected = oracle.mask(channels, (64, 48))
    assert (rasterizer(geometry_of(channels), native_size=(64, 48)) == expected).all()


def test_two_equal_channels_do_not_cancel(rasterizer: Rasterizer) -> None:
    channel = [(3, 3), (28, 5), (20, 27)]
    one = rasterizer(geometry_of([channel]), native_size=(31, 31))
    two = rasterizer(geometry_of([channel, channel]), native_size=(31, 31))
    assert (one == two).all()


@pytest.mark.slow
def test_a_long_closing_segment(rasterizer: Rasterizer) -> None:
    """Points with steps of 127 reach x = 65,535, and the closing segment goes back to the start."""
    channel, expected = _long_way()
    assert (rasterizer(geometry_of([channel]), native_size=(48, 48)) == expected).all()


@cache
def _long_way() -> tuple[list[tuple[int, int]], np.ndarray]:
    channel = [(k * 127, 5 + (k % 3) * 4) for k in range(517)] + [(65535, 40)]
    return channel, cropped_oracle([channel], (48, 48))


def test_the_largest_grid(rasterizer: Rasterizer) -> None:
    """16,384 pixels wide: the float32 arithmetic of the viewport must give lattice points over the whole width."""
    channel = [(0, 0), (16383, 3), (16380, 11), (8191, 14), (3, 15)]
    expected = oracle.mask([channel], (16384, 16))
    assert (rasterizer(geometry_of([channel]), native_size=(16384, 16)) == expected).all()


@pytest.mark.parametrize("width", [2047, 2048, 2049, 4096, 4200, 6500])
def test_wide_frames_of_overlapping_channels(rasterizer: Rasterizer, width: int) -> None:
    """The parity of each plane is carried from word to word, and every 2,048 pixels from one run of words to the
    next."""
    end = width - 1
    channels = [
        [(3, 0), (end, 2), (end - 70, 7), (31, 6)],
        [(-500, 1), (end + 500, 3), (2047, 5), (900, 8)],
        [(1024, 0), (2048, 0), (2080, 8), (2046, 3), (1500, 8)],
        [(32, 4), (end - 1, 4), (end - 1, 5), (64, 6)],
        [(end, 0), (end, 8), (end - 2, 4)],
    ]
    for some in (channels, channels[::-1], channels[1:2], channels[2:4]):
        expected = oracle.mask(some, (width, 9))
        assert (rasterizer(geometry_of(some), native_size=(width, 9)) == expected).all()


@pytest.mark.parametrize("native", [(1, 1), (1, 40), (40, 1), (2, 33), (33, 2), (64, 40)])
def test_small_channels(rasterizer: Rasterizer, native: tuple[int, int]) -> None:
    """Channels of no point, of one, of two, and of equal points: alone, among others, first and last."""
    empty: list[tuple[int, int]] = []
    point, line, dot = [(0, 0)], [(0, 0), (1, 30)], [(1, 1), (1, 1)]
    spot, thin, twice = [(0, 3)] * 3, [(0, 0), (0, 9), (0, 0)], [(0, 0), (0, 0), (39, 1), (39, 1), (2, 33), (2, 33)]
    for channels in (
        *([channel] for channel in (empty, point, line, dot, spot, thin, twice)),
        [empty, point, line, empty, dot, spot, empty, empty, thin, twice, empty],
        [twice, point, twice, line, twice],
        [point, twice],
        [twice, point],
        [line, dot, twice],
        [point] * 50,
        [(*twice[:2], *twice[4:])],
    ):
        expected = oracle.mask(channels, native)
        assert (rasterizer(geometry_of(channels), native_size=native) == expected).all(), channels


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 40])
def test_many_channels_side_by_side(rasterizer: Rasterizer, n: int) -> None:
    """The shaders search the channel of a point, among any number of channels, with empty channels in between."""
    channels = [[(8 * k, 2 + k % 3), (8 * k + 7, 3), (8 * k + 2, 9 + k % 5)] for k in range(n)]
    for some in (channels, [part for channel in channels for part in ([], channel)], [*channels, [], []]):
        expected = oracle.mask(some, (8 * n, 16))
        assert (rasterizer(geometry_of(some), native_size=(8 * n, 16)) == expected).all()


@pytest.mark.slow
@pytest.mark.parametrize("far", [300, 2048, 9000])
def test_far_outside_in_every_direction(rasterizer: Rasterizer, far: int) -> None:
    """Channels beside, above, below and around the window. A channel to the left flips rows of the window."""
    around = [(-far, -far), (far, -far), (far, far), (-far, far)]
    moved = [[(x + dx * far, y + dy * far) for x, y in SPOT] for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    for channels in (
        [around],
        [around, SPOT],
        moved,
        *([one] for one in moved),
        [[(-far, 3), (far, 20), (-far, 30)]],
        [[(5, -far), (20, far), (28, -far)]],
        [[(-far, 20), (9, 25)], [(20, far), (21, 9)]],
    ):
        expected = oracle.mask(channels, (41, 37))
        assert (rasterizer(geometry_of(channels), native_size=(41, 37)) == expected).all(), channels


def test_crossing_each_border(rasterizer: Rasterizer) -> None:
    square = [(-9, 0), (0, -9), (9, 0), (0, 9)]
    for dx, dy in ((0, 16), (32, 16), (16, 0), (16, 32), (0, 0), (32, 32), (16, 16)):
        channel = [(x + dx, y + dy) for x, y in square]
        expected = oracle.mask([channel], (33, 33))
        assert (rasterizer(geometry_of([channel]), native_size=(33, 33)) == expected).all(), (dx, dy)


def test_the_closing_segment_is_drawn(rasterizer: Rasterizer) -> None:
    """In both directions, flat and steep, with and without a repeated first point at the end."""
    for channel in ([(2, 2), (20, 3), (29, 13)], [(29, 25), (3, 3), (13, 29)], [(1, 30), (9, 30), (30, 3), (29, 1)]):
        for points in (channel, channel[::-1], [*channel, channel[0]]):
            expected = oracle.mask([points], (33, 33))
            assert (rasterizer(geometry_of([points]), native_size=(33, 33)) == expected).all(), points


def test_an_empty_frame_is_black(rasterizer: Rasterizer) -> None:
    for channels in ([], [[]], [[], [(3, 3)], []]):
        mask = rasterizer(geometry_of(channels), native_size=(7, 5))
        assert mask.shape == (5, 7)
        assert not mask.any()


@given(channels=frames(), width=st.sampled_from(WIDTHS), height=st.integers(1, 60))
def test_packed_bits_are_the_mask(channels: Any, width: int, height: int) -> None:
    geometry = geometry_of(channels)
    bits = rasterize_packed(geometry, native_size=(width, height))
    assert bits.dtype == np.uint8
    assert bits.shape == (height, (width + 7) // 8)
    assert bits.flags.c_contiguous
    unpacked = np.unpackbits(bits, axis=1, bitorder="little")
    assert (unpacked[:, :width] * np.uint8(255) == rasterize(geometry, native_size=(width, height))).all()
    assert not unpacked[:, width:].any()


def test_packed_bits_by_a_chosen_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever makes the other masks of the process."""
    geometry = geometry_of([[(1, 1), (5, 1), (3, 6)]])
    expected = rasterize_packed(geometry, native_size=(9, 7))
    monkeypatch.setattr("alphastream_gpu._raster.coverage.twin", None)
    assert (packed_by("numpy", (9, 7))(geometry) == expected).all()
    pytest.importorskip("numba")
    assert (packed_by("compiled", (9, 7))(geometry) == expected).all()
    made = packed_by("compiled", (9, 7))
    monkeypatch.setattr("alphastream_gpu._raster.compiled.MAX_RUNS", 2)  # as for a frame that is too large
    assert (made(geometry) == expected).all()


def test_the_caller_may_write_to_the_result() -> None:
    geometry = geometry_of([[(1, 1), (5, 1), (3, 6)]])
    mask = rasterize(geometry, native_size=(8, 8))
    assert mask.dtype == np.uint8
    assert mask.flags.c_contiguous
    assert mask.flags.writeable
    mask[:] = 9
    assert set(np.unique(rasterize(geometry, native_size=(8, 8)))) == {0, 255}


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5), (16385, 5)])
def test_sizes_outside_their_range_are_refused(size: tuple[int, int]) -> None:
    geometry = geometry_of([])
    with pytest.raises(ValueError, match=r"size: expected width and height of 1\.\.16384"):
        rasterize(geometry, size)
    with pytest.raises(ValueError, match=r"native_size: expected"):
        rasterize(geometry, native_size=size)
    with pytest.raises(ValueError, match=r"native_size: expected"):
        rasterize_packed(geometry, native_size=size)


@pytest.mark.parametrize(
    ("shape", "dtype", "n_bytes"), [((3, 5), np.uint8, 15), ((7, 2), np.float32, 56), ((0, 2), np.float32, 0)]
)
def test_an_aligned_array_takes_only_the_memory_that_it_needs(
    shape: tuple[int, ...], dtype: type, n_bytes: int
) -> None:
    array = aligned_empty(shape, dtype)
    assert (array.shape, array.dtype, array.nbytes) == (shape, dtype, n_bytes)
    assert array.ctypes.data % ALIGNMENT == 0
    raw = array.base
    assert isinstance(raw, np.ndarray)
    assert raw.nbytes == n_bytes + ALIGNMENT


@pytest.mark.parametrize("size", [NATIVE, (1024, 512), (31, 33), (4000, 1024), (2048, 1500), (1, 1)])
def test_masks_are_aligned_for_c_hosts(geometries: list[FrameGeometry], size: tuple[int, int]) -> None:
    for geometry in geometries[:3]:
        mask = rasterize(geometry, size)
        assert mask.ctypes.data % 64 == 0
        assert mask.flags.c_contiguous
        assert mask.flags.writeable
