"""
The pure parts of inputs, each against a definition in plain Python.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphastream_gpu._inputs.fisheye import from_fisheye
from alphastream_gpu._inputs.names import frame_numbers, natural_key, numbered_plan
from alphastream_gpu._inputs.options import InputOptions
from alphastream_gpu._inputs.planes import orientation, turned
from alphastream_gpu._inputs.rate import is_constant, rate_of, shown_frames, told
from alphastream_gpu._inputs.rle import counts_of_text, mask_of_counts, text_of_counts
from alphastream_gpu._inputs.shape import Shaper, resized, taken
from alphastream_gpu._inputs.values import IntegerMasks, found_range, limits, luma

# Names.


def test_natural_order() -> None:
    names = ["f10", "f9", "F1", "f2b", "f2a10", "f2a9", "10", "9"]
    assert sorted(names, key=natural_key) == ["9", "10", "F1", "f2a9", "f2a10", "f2b", "f9", "f10"]


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["f1.png", "f2.png"], [1, 2]),
        (["shot7_v02_0099.png", "shot7_v02_0100.png"], [99, 100]),
        (["7.png", "08.png"], [7, 8]),
        (["a.png", "b.png"], None),
        (["a1_1.png", "a2_2.png"], None),
        (["f1.png"], None),
        (["f1.png", "f1.png"], None),
        (["f1.png", "g2.png"], None),
        (["f1234567890123456789.png", "f1234567890123456780.png"], None),
    ],
)
def test_frame_numbers(names: list[str], numbers: list[int] | None) -> None:
    assert frame_numbers(names) == numbers


def plan_by_hand(numbers: list[int], gaps: str) -> list[int | None]:
    there = {number: place for place, number in enumerate(numbers)}
    if gaps == "close":
        return list(range(len(numbers)))
    plan: list[int | None] = []
    for number in range(numbers[0], numbers[-1] + 1):
        if number in there:
            plan.append(there[number])
        else:
            plan.append(max(p for n, p in there.items() if n < number) if gaps == "repeat" else None)
    return plan


@given(st.sets(st.integers(0, 40), min_size=1), st.sampled_from(["repeat", "empty", "close"]))
def test_gaps(numbers: set[int], gaps: Any) -> None:
    assert numbered_plan(sorted(numbers), gaps) == plan_by_hand(sorted(numbers), gaps)


def test_a_gap_is_named() -> None:
    with pytest.raises(ValueError, match=r"4 numbers are missing between 1 and 9: 3, 5-7\. Pass gaps='repeat'"):
        numbered_plan([1, 2, 4, 8, 9], "error")
    with pytest.raises(ValueError, match="the number 2 is there twice"):
        numbered_plan([1, 2, 2], "repeat")
    with pytest.raises(ValueError, match="expected at most 16777216"):
        numbered_plan([1, 10**15], "empty")


# Rates.


def shown_by_hand(times: list[int], base: Fraction, rate: Fraction) -> list[int]:
    seconds = [(time - times[0]) * base for time in times]
    gaps = sorted(b - a for a, b in pairwise(seconds))
    gap = gaps[len(gaps) // 2] if gaps else 1 / rate
    early = min(gap, 1 / rate) / 2
    shown = []
    for output in range(max(1, round((seconds[-1] + gap) * rate))):
        now = output / rate
        shown.append(max(i for i, second in enumerate(seconds) if second - early <= now))
    return shown


@pytest.mark.slow
@given(
    st.lists(st.integers(1, 300), min_size=0, max_size=30),
    st.sampled_from([Fraction(1, 1000), Fraction(1, 90000), Fraction(1, 25), Fraction(1001, 30000)]),
    st.sampled_from([Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(60), Fraction(15)]),
    st.integers(-5, 1000),
)
def test_frames_at_a_constant_rate(gaps: list[int], base: Fraction, rate: Fraction, start: int) -> None:
    times = [start]
    for gap in gaps:
        times.append(times[-1] + gap)
    shown = shown_frames(times, base, rate)
    assert shown == shown_by_hand(times, base, rate)
    repeated, dropped = told(shown, len(times))
    assert len(times) + repeated - dropped == len(shown)


def test_a_constant_rate_is_unchanged() -> None:
    for rate in (Fraction(24000, 1001), Fraction(25), Fraction(60)):
        times = [round(i * 1000 / rate) for i in range(500)]
        assert is_constant(times, Fraction(1, 1000), rate)
        assert shown_frames(times, Fraction(1, 1000), rate) == list(range(500))
        assert rate_of(times, Fraction(1, 1000), []) == (rate, True)


def test_a_missing_frame_is_no_constant_rate() -> None:
    assert not is_constant([0, 1, 3, 4], Fraction(1, 25), Fraction(25))
    assert rate_of([0, 1, 3, 4, 5, 6], Fraction(1, 25), [Fraction(25)]) == (25, False)
    for rate in (Fraction(30), Fraction(30000, 1001)):
        times = [round(i * 1000 / rate) for i in range(1000) if i % 7]
        assert rate_of(times, Fraction(1, 1000), []) == (rate, False)
    assert rate_of([0, 140, 280, 430, 570], Fraction(1, 1000), []) == (Fraction(50, 7), False)
    assert rate_of([0], Fraction(1, 1000), [None, Fraction(24)]) == (24, True)
    assert rate_of([0], Fraction(1, 1000), []) == (None, True)


def test_a_leap_in_time_is_bounded() -> None:
    with pytest.raises(ValueError, match="expected at most 16777216"):
        shown_frames([0, 1, 10**12], Fraction(1, 1000), Fraction(25))


# Values.


def test_the_range_is_found() -> None:
    def histogram(**pixels: int) -> np.ndarray:
        counts = np.zeros(256, np.int64)
        for value, count in pixels.items():
            counts[int(value[1:])] = count
        return counts

    assert found_range(histogram(v0=900, v255=100), 8) == "full"
    assert found_range(histogram(v16=900, v235=100), 8) == "limited"
    assert found_range(histogram(v0=1000), 8) == "full"
    assert found_range(histogram(v16=1000), 8) == "limited"
    assert found_range(histogram(v14=500, v18=400, v239=100), 8) == "limited"
    assert found_range(histogram(v16=99_000, v0=1000), 8) == "limited"  # one in a hundred: overshoots
    assert found_range(histogram(v16=98_999, v0=1001), 8) == "full"
    assert found_range(histogram(v100=10), 8) == "limited"
    assert found_range(np.bincount([0, 1023], minlength=1024), 10) == "full"
    assert found_range(np.bincount([64, 940], minlength=1024), 10) == "limited"
    assert limits(8, is_limited=True) == (16, 235)
    assert limits(10, is_limited=True) == (64, 940)
    assert limits(12, is_limited=False) == (0, 4095)


def test_luma_is_pillows() -> None:
    from PIL import Image

    rgb = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    assert (luma(*np.moveaxis(rgb, 2, 0)) == np.asarray(Image.fromarray(rgb).convert("L"))).all()
    gray = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert (luma(gray, gray, gray) == gray).all()


def test_integers_as_masks() -> None:
    def frame(*values: int, dtype: Any = np.uint8) -> np.ndarray:
        return np.array([values], dtype)

    for dtype, high in ((np.uint8, 1), (np.uint8, 255), (np.int64, 1), (np.uint16, 255), (np.uint16, 65535)):
        masks = IntegerMasks()
        assert masks.mask(frame(0, 0, dtype=dtype)).tolist() == [[False, False]]
        assert masks.mask(frame(0, high, dtype=dtype)).tolist() == [[False, True]]
        other = 255 if high == 1 else 1
        with pytest.raises(ValueError, match=f"expected 0 and {high}, as before, found {other}"):
            masks.mask(frame(0, other, dtype=dtype))
    for values in ((0, 1, 2), (0, 7), (0, 1, 255), (-1, 1), (-1, 0)):
        with pytest.raises(ValueError, match="expected 0 and 1, or 0 and 255, found"):
            IntegerMasks().mask(frame(*values, dtype=np.int16))


# Fisheye layouts: the generators are the definition, in words of docs/inputs.md.


def matte_of(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A picture of 5w x 5h an eye, and the small matte (left, right), each 2w x 2h, with no value twice."""
    w, h = size
    values = np.arange(1, 1 + 2 * (2 * w) * (2 * h)).reshape(2 * h, 4 * w)
    return np.zeros((5 * h, 2 * 5 * w), np.int64), values


def test_fisheye_a() -> None:
    """Each quarter lies in the corner of its eye that has its name."""
    w, h = 7, 6
    picture, matte = matte_of((w, h))
    for eye in (0, 1):
        for y in range(2 * h):
            for x in range(2 * w):
                to_x = x if x < w else 5 * w - 2 * w + x
                to_y = y if y < h else 5 * h - 2 * h + y
                picture[to_y, eye * 5 * w + to_x] = matte[y, eye * 2 * w + x]
    assert (from_fisheye(picture, "fisheye-a") == matte).all()


def test_fisheye_b() -> None:
    """The small matte of an eye, drawn with its center at points of the edge, clipped."""
    w, h = 7, 6
    picture, matte = matte_of((w, h))

    def draw(eye: int, center_x: int, center_y: int) -> None:
        for y in range(2 * h):
            for x in range(2 * w):
                to_x, to_y = center_x - w + x, center_y - h + y
                if 0 <= to_x < 10 * w and 0 <= to_y < 5 * h:
                    picture[to_y, to_x] = matte[y, eye * 2 * w + x]

    for center in ((5 * w, 0), (5 * w, 5 * h)):
        draw(0, *center)
    for center in ((0, 0), (10 * w, 0), (0, 5 * h), (10 * w, 5 * h)):
        draw(1, *center)
    assert (from_fisheye(picture, "fisheye-b") == matte).all()


# Shapes.


@pytest.mark.parametrize("size", [(8, 6), (9, 7)])
def test_halves(size: tuple[int, int]) -> None:
    width, height = size
    picture = np.arange(width * height).reshape(height, width)
    assert (taken(picture, "alpha-left") == picture[:, : width // 2]).all()
    assert (taken(picture, "alpha-right") == picture[:, math.ceil(width / 2) :]).all()
    assert (taken(picture, "alpha-top") == picture[: height // 2]).all()
    assert (taken(picture, "alpha-bottom") == picture[math.ceil(height / 2) :]).all()


def shaped(matte: np.ndarray, threshold: float | None = None, **options: Any) -> np.ndarray:
    return Shaper((matte.shape[1], matte.shape[0]), InputOptions(**options), threshold).mask(matte)


def test_eyes() -> None:
    mask = np.array([[1, 0, 0, 1], [1, 1, 0, 0]], np.bool_)
    assert (shaped(mask, eye="left") == mask[:, :2]).all()
    assert (shaped(mask, eye="right") == mask[:, 2:]).all()
    assert (shaped(mask, eye="mono-to-both") == np.hstack((mask, mask))).all()
    assert (shaped(mask, invert=True) == ~mask).all()


def test_fits() -> None:
    mask = np.ones((2, 3), np.bool_)
    assert shaped(mask, native_size=(3, 2)).all()
    with pytest.raises(ValueError, match="native_size: expected 4 x 2 pixels, as asked for; the input has 3 x 2"):
        shaped(mask, native_size=(4, 2))
    padded = shaped(mask, native_size=(6, 5), fit="pad")
    assert padded.astype(int).tolist() == [[0] * 6, [0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0], [0] * 6, [0] * 6]
    assert not shaped(mask, native_size=(6, 5), fit="pad", invert=True).any()
    with pytest.raises(ValueError, match="do not fit into"):
        shaped(mask, native_size=(2, 5), fit="pad")
    doubled = shaped(mask, native_size=(8, 2), fit="pad", eye="mono-to-both")
    assert doubled.astype(int).tolist() == [[1, 1, 1, 0, 1, 1, 1, 0]] * 2
    assert shaped(mask, native_size=(8, 8), fit="stretch", eye="mono-to-both").shape == (8, 8)
    with pytest.raises(ValueError, match="even width"):
        shaped(mask, native_size=(7, 2), fit="stretch", eye="mono-to-both")


def test_the_soft_matte_is_resized_then_cut() -> None:
    """A ramp that is stretched has its threshold between the old pixels."""
    ramp = np.tile(np.array([0, 100, 200], np.uint8), (4, 1))
    mask = shaped(ramp, 149.0, native_size=(300, 4), fit="stretch")
    soft = resized(ramp, (300, 4))
    assert (mask == (soft > 149)).all()
    assert mask[0].sum() == 101  # linear between the centers of the pixels: from x = 199 on
    halves = np.array([[0, 0, 1, 1]], np.bool_)
    assert shaped(halves, native_size=(8, 1), fit="stretch").astype(int).tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_set_is_above_the_threshold(dtype: Any) -> None:
    matte = np.arange(8).astype(dtype).reshape(2, 4)
    for threshold in (-1, 0, 2.5, 3, 7, 300, 70000):
        assert (shaped(matte, float(threshold)) == (matte.astype(float) > threshold)).all()


@pytest.mark.parametrize(
    "way", [(a, b, c, d) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1) for d in (-1, 0, 1)]
)
def test_turns(way: tuple[int, int, int, int]) -> None:
    a, b, c, d = way
    matrix = np.array([a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30], np.int32).tobytes()
    if (abs(a), abs(b), abs(c), abs(d)) not in ((1, 0, 0, 1), (0, 1, 1, 0)):
        assert orientation(matrix) is None
        return
    assert orientation(matrix) == way
    picture = np.arange(6).reshape(2, 3)
    at = {(a * x + c * y, b * x + d * y): picture[y, x] for y in range(2) for x in range(3)}
    left, top = min(x for x, _ in at), min(y for _, y in at)
    expected = np.zeros((3, 2) if b else (2, 3), int)
    for (x, y), value in at.items():
        expected[y - top, x - left] = value
    assert (turned(picture, way) == expected).all()
    assert orientation(None) == (1, 0, 0, 1)


# Run lengths.


def test_coco_rle_goes_down_the_columns() -> None:
    mask = mask_of_counts([1, 2, 3], 3, 2)
    assert mask.astype(int).tolist() == [[0, 1, 0], [1, 0, 0]]


@given(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_rle_is_pycocotools(width: int, height: int, random: Any) -> None:
    from pycocotools import mask as coco

    mask = np.array([[random.random() < 0.5 for _ in range(width)] for _ in range(height)], np.uint8)
    text = coco.encode(np.asfortranarray(mask))["counts"]
    counts = counts_of_text(text)
    assert (mask_of_counts(counts, width, height) == mask).all()
    assert text_of_counts(counts).encode() == text


@given(st.lists(st.integers(0, 1 << 28), max_size=20))
def test_long_runs(counts: list[int]) -> None:
    assert counts_of_text(text_of_counts(np.array(counts, np.int64))).tolist() == counts


@given(st.binary(max_size=12))
def test_damaged_run_lengths(text: bytes) -> None:
    try:
        mask = mask_of_counts(counts_of_text(text), 4, 4)
    except ValueError:
        return
    assert mask.shape == (4, 4)


@pytest.mark.parametrize("counts", [[3], [17], [-1, 17], [16, 0.5], ["16"], [[16]], None, [2**70], {}])
def test_wrong_run_lengths(counts: Any) -> None:
    with pytest.raises((ValueError, OverflowError, TypeError)):
        mask_of_counts(counts, 4, 4)


# Options.


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("threshold", math.inf, "threshold: expected a finite number"),
        ("range", "tv", "range: expected one of auto, full, limited, found 'tv'"),
        ("channel", "a", "channel: expected one of"),
        ("layout", "sbs", "layout: expected one of"),
        ("eye", "l", "eye: expected one of"),
        ("fit", "crop", "fit: expected one of"),
        ("gaps", "skip", "gaps: expected one of error, repeat, empty, close, found 'skip'"),
        ("native_size", (0, 1), r"native_size: expected width and height of 1\.\.16384"),
        ("fps", Fraction(2000), "fps: expected"),
        ("objects", (), "objects: expected at least one"),
        ("start", -1, r"start: expected 0\.\."),
        ("frames", 0, r"frames: expected 1\.\."),
    ],
)
def test_options_are_checked(option: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InputOptions(**{option: value})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("threshold", "1"),
        ("threshold", True),
        ("invert", 1),
        ("objects", "person"),
        ("objects", (1.5,)),
        ("start", 0.5),
    ],
)
def test_types_of_options_are_checked(option: str, value: Any) -> None:
    with pytest.raises(TypeError):
        InputOptions(**{option: value})


@pytest.mark.parametrize("text", ["é", "p", "/", "PPPPPPP0", "P"])
def test_wrong_texts_of_run_lengths(text: str) -> None:
    with pytest.raises(ValueError, match="run length"):
        mask_of_counts(counts_of_text(text), 4, 4)


def test_no_run_lengths() -> None:
    assert counts_of_text("").tolist() == []
    with pytest.raises(ValueError, match="expected runs of 16 pixels together, found 0"):
        mask_of_counts(counts_of_text(""), 4, 4)
