"""
Encoding of masks: exact in every bit, and within the tolerance; arguments; what is done if the search is wrong.
"""

from __future__ import annotations

import itertools
import logging
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import oracle
import pytest
from encoded import chains_of, mask_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from masks import matte_like, random_masks, sam_like, small_mask, unusual_masks
from support import channels_of, frames, geometry_of, sample_geometries

import alphastream_gpu
from alphastream_gpu import FrameGeometry, MaskEncoder, encode_mask, rasterize
from alphastream_gpu._encoding import compiled, encode_block, mask, optimize_geometry, prepare_encoder
from alphastream_gpu._encoding.paths import ExactPaths, Paths


def _is_exact(mask: np.ndarray, **options: Any) -> bool:
    return bool((mask_of(encode_mask(mask, **options), mask) == (mask != 0)).all())


def test_small_masks() -> None:
    """Every 41st mask of 4 x 4."""
    for number in range(0, 1 << 16, 41):
        assert _is_exact(small_mask(number)), number


@pytest.mark.slow
def test_all_small_masks() -> None:
    for number in range(1 << 16):
        assert _is_exact(small_mask(number)), number


def test_small_masks_by_the_oracle() -> None:
    """The rasterizer that verifies shares the package with the encoder; the oracle does not."""
    for number in range(0, 1 << 16, 401):
        small = small_mask(number)
        channels = channels_of(encode_mask(small))
        assert np.array_equal(oracle.mask(channels, (4, 4)), small), number


@pytest.mark.slow
def test_random_masks() -> None:
    for number, one in enumerate(random_masks(500, seed=1)):
        assert _is_exact(one), number


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 30))
def test_many_random_masks(seed: int) -> None:
    for number, one in enumerate(random_masks(1000, seed)):
        assert _is_exact(one), number


@pytest.mark.slow
@pytest.mark.parametrize("effort", [1, 2, 3])
def test_random_masks_with_each_effort(effort: int) -> None:
    for number, one in enumerate(random_masks(60, seed=effort)):
        geometry = MaskEncoder(effort=effort).encode(one)
        assert np.array_equal(rasterize(geometry, native_size=one.shape[::-1]), one), number
        assert FrameGeometry.from_payload(geometry.to_payload()) == geometry


def test_unusual_masks() -> None:
    for name, one in unusual_masks(128, 256).items():
        assert _is_exact(one), name


def test_masks_like_those_of_networks(geometries: list[FrameGeometry]) -> None:
    for number in (0, 60):
        person = rasterize(geometries[number])
        for one in (person, sam_like(person, number), matte_like(person, number)):
            geometry = encode_mask(one)
            assert np.array_equal(rasterize(geometry), one)


def test_the_search_was_right_each_time(caplog: pytest.LogCaptureFixture) -> None:
    """Wrong pixels are corrected before they are seen, so the tests above would not notice; but the log does."""
    with caplog.at_level(logging.ERROR, "alphastream_gpu"):
        for one in random_masks(300, seed=99):
            encode_mask(one)
    assert not caplog.records


@given(
    arrays.arrays(
        st.sampled_from([np.bool_, np.uint8]),
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=24),
        elements=st.sampled_from([0, 1]),
        fill=st.nothing(),
    ),
    st.sampled_from([1, 255]),
    st.booleans(),
    st.tuples(st.sampled_from([-2, -1, 1, 2]), st.sampled_from([-2, -1, 1, 3])),
)
def test_any_array(one: np.ndarray, high: int, is_fortran: bool, strides: tuple[int, int]) -> None:
    values = one * np.uint8(high) if one.dtype == np.uint8 else one
    view = (np.asfortranarray(values) if is_fortran else values)[:: strides[0], :: strides[1]]
    before = view.copy()
    geometry = encode_mask(view)
    assert np.array_equal(mask_of(geometry, view), view != 0)
    assert np.array_equal(view, before)
    view.flags.writeable = False
    assert encode_mask(view) == geometry


@pytest.mark.parametrize("dtype", ["?", "b", "B", "h", "H", "i", "I", "q", "Q", "e", "f", "d", ">i4", "<f8"])
def test_a_threshold_takes_any_real_dtype(dtype: str) -> None:
    values = np.arange(120).reshape(10, 12).astype(dtype)
    assert np.array_equal(mask_of(encode_mask(values, threshold=0.5), values), values > 0.5)


def test_lists_are_masks_with_a_threshold() -> None:
    assert np.array_equal(
        rasterize(encode_mask([[0, 2], [3, 0]], threshold=1), native_size=(2, 2)) != 0, np.eye(2) == 0
    )


@pytest.mark.parametrize(
    ("one", "options", "error", "words"),
    [
        (np.zeros((4, 4), np.int32), {}, TypeError, "bool or uint8, found int32; pass threshold="),
        (np.zeros((4, 4)), {}, TypeError, "found float64; pass threshold="),
        (np.zeros((4, 4), complex), {"threshold": 1}, TypeError, "real numbers, found complex128"),
        (np.array([[0, 1, 255]], np.uint8), {}, ValueError, "found 0, 1, 255; pass threshold="),
        (np.arange(9, dtype=np.uint8).reshape(3, 3), {}, ValueError, "found 0, 1, 2, 3, 4, ... 8; pass threshold="),
        (np.zeros((4, 4, 1), bool), {}, ValueError, r"shape (height, width), found (4, 4, 1)"),
        (np.zeros(4, bool), {}, ValueError, "found (4,)"),
        (np.zeros((0, 4), bool), {}, ValueError, "1..16384, found 4 x 0"),
        (np.zeros((4, 0), bool), {}, ValueError, "1..16384, found 0 x 4"),
        (np.zeros((1, 16385), bool), {}, ValueError, "1..16384, found 16385 x 1"),
        (np.array([[np.nan, 1.0]]), {"threshold": 0}, ValueError, "found NaN"),
        (np.zeros((4, 4)), {"threshold": np.nan}, ValueError, "threshold: expected a finite number"),
        (np.zeros((4, 4), bool), {"tolerance": -1}, ValueError, "tolerance: expected 0..64 pixels, found -1"),
        (np.zeros((4, 4), bool), {"tolerance": np.nan}, ValueError, "tolerance: expected 0..64"),
        (np.zeros((4, 4), bool), {"tolerance": 65}, ValueError, "tolerance: expected 0..64"),
        (np.zeros((4, 4), bool), {"min_area": -1}, ValueError, "min_area: expected 0 pixels or more, found -1"),
    ],
)
def test_refused_arguments(one: np.ndarray, options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        encode_mask(one, **options)
    assert words in str(caught.value)


def test_more_rounds_find_fewer_bytes() -> None:
    """The costs that are learned in the second round of effort 2 fit the mask."""
    masks = [sam_like(rasterize(geometry), 1) for geometry in sample_geometries()[::20]]
    one, two = (
        sum(len(encode_block(MaskEncoder(effort=effort).encode(mask).to_payload())) for mask in masks)
        for effort in (1, 2)
    )
    assert two < 0.995 * one


@pytest.mark.parametrize("effort", [0, 4, 1.5, "2"])
def test_an_unknown_effort_is_refused(effort: Any) -> None:
    for call in (lambda: MaskEncoder(effort=effort), lambda: encode_block(bytes(4), effort)):
        with pytest.raises(ValueError, match="effort: expected 1, 2 or 3"):
            call()


@pytest.mark.parametrize("shape", [(1, 16384), (16384, 1)])
def test_the_largest_edges(shape: tuple[int, int]) -> None:
    one = np.ones(shape, bool)
    one[0, 0] = False
    assert _is_exact(one)


def test_an_encoder_keeps_its_size() -> None:
    encoder = MaskEncoder()
    assert encoder.native_size is None
    encoder.encode(np.ones((4, 6), bool))
    assert encoder.native_size == (6, 4)
    with pytest.raises(ValueError, match="expected 6 x 4 pixels, as native_size or the first mask, found 4 x 6"):
        encoder.encode(np.ones((6, 4), bool))
    encoder.reset()
    assert encoder.native_size == (6, 4)
    assert "(6, 4)" in repr(encoder)
    with pytest.raises(ValueError, match="native_size: expected width and height of 1..16384"):
        MaskEncoder((0, 4))
    with pytest.raises(ValueError, match="expected 6 x 4"):
        MaskEncoder((6, 4)).encode(np.ones((6, 4), bool))


def test_exact_encoding_keeps_nothing() -> None:
    one, other = (rasterize(geometry_of([channel]), native_size=(60, 60)) for channel in (_BOX, _KITE))
    encoder = MaskEncoder((60, 60))
    first = encoder.encode(one)
    encoder.encode(other)
    assert encoder.encode(one) == first == encode_mask(one)


_BOX = [(5, 5), (50, 8), (45, 40), (9, 50)]
_KITE = [(30, 2), (55, 30), (30, 58), (3, 30)]

# ---------------------------------------------------------------------------------------------------------- tolerance


def _distances(one: np.ndarray, got: np.ndarray) -> np.ndarray:
    """For each differing pixel, its distance from the mask's border, by the definition in encode_mask's docstring."""
    around = np.pad(one, 1)
    inner = around[1:-1, :-2] & around[1:-1, 2:] & around[:-2, 1:-1] & around[2:, 1:-1]
    border = np.argwhere(one & ~inner)
    return np.array([np.sqrt(((border - place) ** 2).sum(axis=1)).min() for place in np.argwhere(one != got)])


@pytest.mark.parametrize("tolerance", [0.25, 0.5, 1.0, 1.5, 3.0, 8.0])
def test_differing_pixels_are_within_the_tolerance_and_a_pixel_of_the_border(tolerance: float) -> None:
    n_differing = 0
    for one in random_masks(90, seed=int(tolerance * 4)):
        got = mask_of(encode_mask(one, tolerance), one)
        distances = _distances(one != 0, got)
        assert (distances <= tolerance + 1).all()
        n_differing += len(distances)
    assert n_differing > 0 or tolerance < 0.5


def test_a_tolerance_takes_bytes_off_and_keeps_the_shape(geometries: list[FrameGeometry]) -> None:
    person = rasterize(geometries[30])
    for one, share in ((person, 0.95), (sam_like(person, 30), 0.6), (matte_like(person, 30), 0.6)):
        exact, tolerant = encode_mask(one), encode_mask(one, 1.0)
        assert len(encode_block(tolerant.to_payload())) < share * len(encode_block(exact.to_payload()))
        got = rasterize(tolerant) != 0
        assert (got & (one != 0)).sum() / (got | (one != 0)).sum() > 0.998


def test_what_touches_the_edge_of_the_window_still_does() -> None:
    y, x = np.mgrid[:80, :120]
    one = (x - 60) ** 2 + (y - 75) ** 2 < 50**2
    got = mask_of(encode_mask(one, 2.0), one)
    assert np.array_equal(one[-1], got[-1])


def test_specks_are_dropped_and_pinholes_filled() -> None:
    one = np.zeros((40, 40), bool)
    one[10:30, 10:30] = True
    one[20, 20] = False
    one[3, 3] = True
    got = mask_of(encode_mask(one, 1.0), one)
    assert not got[3, 3]
    assert got[20, 20]
    assert encode_mask(one, 1.0).channel_count == 1


def test_a_still_outline_does_not_flicker() -> None:
    """A rough disc with a little noise; counted are the pixels that change from frame to frame."""
    y, x = np.mgrid[:200, :200]
    rng = np.random.default_rng(3)
    rough = np.hypot(x - 100, y - 100) - 70 + cv2.GaussianBlur(rng.normal(0, 6, x.shape), (0, 0), 3)
    noisy = [rough + cv2.GaussianBlur(rng.normal(0, 0.5, x.shape), (0, 0), 2) < 0 for _ in range(12)]

    def changes(encoder: MaskEncoder, forget: Callable[[], None]) -> int:
        shown = []
        for one in noisy:
            forget()
            shown.append(mask_of(encoder.encode(one), one))
        return sum(int((a != b).sum()) for a, b in itertools.pairwise(shown))

    stable = MaskEncoder(tolerance=1.0)
    forgetful = MaskEncoder(tolerance=1.0)
    unstable = MaskEncoder(tolerance=1.0, stable=False)
    with_memory = changes(stable, lambda: None)
    without = changes(forgetful, forgetful.reset)
    assert with_memory < 0.7 * without
    assert changes(unstable, lambda: None) == without


def test_a_result_beyond_the_tolerance_is_not_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the search within the tolerance were wrong, the exact geometry would be written."""
    one = next(random_masks(3, seed=2))

    def wrong(chains: Any, tolerance: float, costs: Any, bonus: Any) -> Paths:
        first = chains.offsets[:-1]
        return Paths(chains, chains.x[first], chains.y[first], first, np.arange(len(first) + 1))

    big = np.zeros((60, 60), bool)
    big[10:50, 10:50] = True
    monkeypatch.setattr(mask, "tolerant_paths", wrong)
    for shape in (one, big):
        distances = _distances(shape != 0, mask_of(encode_mask(shape, 1.0), shape))
        assert (distances <= 2).all()


# ----------------------------------------------------------------------------------------------------------- min_area


def _without_small(one: np.ndarray, min_area: float) -> np.ndarray:
    """By OpenCV: components are 8-connected, holes 4-connected and not connected with the outside of the window."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(one.astype(np.uint8), connectivity=8)
    kept = np.array([k > 0 and stats[k, cv2.CC_STAT_AREA] >= min_area for k in range(count)])[labels]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        np.pad(~kept, 1, constant_values=True).astype(np.uint8), connectivity=4
    )
    outside = labels[0, 0]
    fill = np.array([k not in (0, outside) and stats[k, cv2.CC_STAT_AREA] < min_area for k in range(count)])
    return kept | fill[labels][1:-1, 1:-1]


@pytest.mark.slow
@pytest.mark.parametrize("min_area", [0, 1, 2, 5, 30, 10**12, math.inf])
def test_small_components_and_holes_go(min_area: float) -> None:
    for one in random_masks(60, seed=int(min(min_area, 1000)) % 97):
        expected = _without_small(one != 0, min_area)
        assert np.array_equal(mask_of(encode_mask(one, min_area=min_area), one), expected)


def test_a_component_goes_before_the_hole_around_it_is_counted() -> None:
    one = np.ones((11, 11), bool)
    one[4:7, 4:7] = False
    one[5, 5] = True  # a hole of eight pixels with a component of one in it
    assert mask_of(encode_mask(one, min_area=9), one).sum() == 121 - 9
    assert mask_of(encode_mask(one, min_area=10), one).all()


# ------------------------------------------------------------------------------------------------------ if it is wrong


def test_unit_steps_are_written_if_the_search_is_wrong(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The search is broken: it leaves every third vertex out."""
    right = ExactPaths.cheapest

    def wrong(self: ExactPaths, costs: Any, n_rounds: int = 1) -> Any:
        paths, bits = right(self, costs, n_rounds)
        kept = (paths.places < 0) | (np.arange(len(paths.x)) % 3 > 0) | np.isin(paths.places, paths.chains.anchors)
        kept[paths.ends[:-1]] = True
        ends = np.concatenate(([0], np.cumsum(kept)))[paths.ends]
        return Paths(paths.chains, paths.x[kept], paths.y[kept], paths.places[kept], ends), bits

    monkeypatch.setattr(ExactPaths, "cheapest", wrong)
    for one in random_masks(40, seed=5):
        assert _is_exact(one)
    assert any("unit steps" in record.message for record in caplog.records)


def test_packed_masks() -> None:
    """The same geometry as of the mask in bytes, also with junk after the rows and with any strides."""
    for one in random_masks(80, seed=7):
        height, width = one.shape
        bits = np.packbits(one, axis=1, bitorder="little")
        junk = bits.copy()
        junk[:, -1] |= 256 - (1 << ((width - 1) % 8 + 1))
        expected = encode_mask(one)
        encoder = MaskEncoder((width, height))
        read_only = np.frombuffer(bits.tobytes(), np.uint8).reshape(bits.shape)
        for packed in (bits, junk, np.asfortranarray(bits), bits[::-1].copy()[::-1], read_only):
            before = packed.copy()
            found = encoder.encode_packed(packed)
            assert (packed == before).all()
            assert np.array_equal(found.points, expected.points)
            assert np.array_equal(found.channel_offsets, expected.channel_offsets)
    stable, other = (MaskEncoder((20, 20), tolerance=1.0) for _ in range(2))
    for k in range(4):
        one = np.hypot(*(np.mgrid[:20, :20] - 9.5)) < 6 + k / 3
        found, expected = stable.encode_packed(np.packbits(one, axis=1, bitorder="little")), other.encode(one)
        assert np.array_equal(found.points, expected.points)


def test_packed_masks_are_checked() -> None:
    encoder = MaskEncoder((20, 3))
    for wrong in (np.zeros((3, 20), np.uint8), np.zeros((2, 3), np.uint8), np.zeros((3, 3, 1), np.uint8)):
        with pytest.raises(ValueError, match=r"mask: expected the shape \(3, 3\) for 20 x 3 pixels, found"):
            encoder.encode_packed(wrong)
    for wrong in (np.zeros((3, 3), bool), [[0, 0, 0]] * 3, b"123456789"):
        with pytest.raises(TypeError, match="mask: expected an array of uint8, found"):
            encoder.encode_packed(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="native_size: packed masks do not tell their width"):
        MaskEncoder().encode_packed(np.zeros((3, 3), np.uint8))


def test_unit_steps_are_exact() -> None:
    for one in random_masks(200, seed=6):
        geometry = mask.unit_steps(chains_of(one)).geometry(is_exact=True)
        assert np.array_equal(rasterize(geometry, native_size=one.shape[::-1]), one)


def test_a_large_frame_is_searched_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its segments are not kept, and its costs not learned."""
    one = unusual_masks(64, 96)["noise, half"]
    monkeypatch.setattr("alphastream_gpu._encoding.paths._BATCH_PIXELS", 100)
    for effort in (1, 2, 3):
        geometry = MaskEncoder(effort=effort).encode(one)
        assert np.array_equal(rasterize(geometry, native_size=(96, 64)), one)


def test_a_missing_numba_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_ready", None)
    for kernels in compiled._kernels.values():
        monkeypatch.setattr(kernels, "_is_unusable", True)
    with pytest.raises(ImportError, match=r"alphastream-gpu\[encode\].* pip install .*numba"):
        encode_mask(np.ones((4, 4), bool))


def test_a_waiting_user_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(compiled, "_ready", None)
    prepare_encoder(lambda: told.append("compiling"))
    prepare_encoder(lambda: told.append("again"))
    assert told == ["compiling"]


def test_importing_does_not_load_numba_or_zopfli() -> None:
    script = "import sys, alphastream_gpu; print({'numba', 'zopfli'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ----------------------------------------------------------------------------------------------------------- optimize


@given(frames())
def test_optimized_frames_have_the_same_mask(channels: list[list[tuple[int, int]]]) -> None:
    """Points outside the window, crossing outlines, channels without points."""
    geometry = geometry_of(channels)
    optimized = optimize_geometry(geometry, (48, 40), 1)
    assert np.array_equal(rasterize(optimized, native_size=(48, 40)), rasterize(geometry, native_size=(48, 40)))
    if optimized is not geometry and all(channels):
        try:
            payload = geometry.to_payload()
        except ValueError:
            return
        assert len(encode_block(optimized.to_payload(), 1)) < len(encode_block(payload, 1))


def test_the_sample_shrinks(geometries: list[FrameGeometry]) -> None:
    for geometry in geometries[::40]:
        optimized = optimize_geometry(geometry, (2048, 1024), 2)
        assert np.array_equal(rasterize(optimized), rasterize(geometry))
        assert len(encode_block(optimized.to_payload())) <= len(encode_block(geometry.to_payload()))


def test_optimizing_wants_geometry() -> None:
    with pytest.raises(TypeError, match="geometry: expected a FrameGeometry"):
        optimize_geometry(np.zeros((3, 2), int), (4, 4))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="native_size"):
        optimize_geometry(geometry_of([]), (0, 4))


def test_the_names_are_public() -> None:
    assert {"MaskEncoder", "encode_mask"} <= set(alphastream_gpu.__all__)
