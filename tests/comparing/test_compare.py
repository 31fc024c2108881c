"""
compare: sequences of masks against a scalar count, streams beside arrays, and the picture of the worst frames.
"""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from support import SAMPLE

import alphastream_gpu
from alphastream_gpu import AsvrKey, CompareReport, Config, InputOptions, compare, encode
from alphastream_gpu._comparing import difference_tile, mask_tile, picture_of_worst

Masks = npt.NDArray[np.bool_]


def pair(n: int = 6) -> tuple[Masks, Masks]:
    rng = np.random.default_rng(2)
    first = rng.random((n, 12, 20)) < 0.6
    second = first ^ (rng.random((n, 12, 20)) < np.array([0, 0.01, 0.1, 0.3, 0, 1])[:, None, None])
    return first, second


def test_each_frame() -> None:
    """Counted pixel by pixel."""
    first, second = pair()
    seen: list[tuple[int, int | None]] = []
    report = compare(first, second, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k + 1, 6) for k in range(6)]
    assert (report.frame_counts, report.native_size) == ((6, 6), (20, 12))
    for frame, one, other in zip(report.frames, first.tolist(), second.tolist(), strict=True):
        cells = [(a, b) for row, line in zip(one, other, strict=True) for a, b in zip(row, line, strict=True)]
        n_differing = sum(a != b for a, b in cells)
        assert frame.differing_pixels == n_differing
        assert frame.iou == 1 - n_differing / sum(a or b for a, b in cells)
        assert frame.area == (sum(a for a, _ in cells), sum(b for _, b in cells))
    for k, frame in enumerate(report.frames):
        changed = [int((masks[k] != masks[k - 1]).sum()) if k else 0 for masks in (first, second)]
        assert frame.flicker == max(0, changed[1] - changed[0])
    assert [frame.index for frame in report.worst(2)] == [5, 3]
    assert {frame.index for frame in report.worst(99)} == {k for k in range(6) if (first[k] != second[k]).any()}
    assert report.min_iou == report.frames[5].iou
    assert not report.is_equal
    assert json.loads(report.to_json())["frames"][3]["differing_pixels"] == report.frames[3].differing_pixels


def test_masks_without_a_border() -> None:
    report = compare(np.zeros((2, 4, 5), bool), np.ones((2, 4, 5), bool))
    assert report.max_distance == math.inf
    assert json.loads(report.to_json())["max_distance"] is None
    equal = compare(np.zeros((2, 4, 5), bool), np.zeros((2, 4, 5), bool))
    assert equal.is_equal
    assert (equal.min_iou, equal.mean_iou, equal.max_distance, equal.mean_flicker) == (1.0, 1.0, 0.0, 0.0)


@pytest.mark.slow
def test_streams(tmp_path: Path, passphrase: bytes) -> None:
    """By path, opened, as bytes, encrypted; beside arrays, whose size they take."""
    first, _ = pair()
    key = AsvrKey(passphrase, scene_id=7)
    encode(first, tmp_path / "a.asvp")
    encode(first, tmp_path / "a.asvr", key=key)
    content = (tmp_path / "a.asvp").read_bytes()
    for one in (tmp_path / "a.asvp", str(tmp_path / "a.asvp"), content, tmp_path / "a.asvr"):
        assert compare(one, first, key=key).is_equal
        assert compare(first, one, key=key).is_equal
    with alphastream_gpu.open(content, config=Config(native_size=(20, 12))) as stream:
        assert compare(stream, first).is_equal
        assert stream.read_frame(3) is not None  # it stays open
    assert compare(SAMPLE, SAMPLE).is_equal
    with pytest.raises(ValueError, match="expected masks of one size, found 2048 x 1024 and 20 x 12"):
        compare(SAMPLE, first, config=Config())


def test_a_stream_gets_the_size_of_an_open_one(tmp_path: Path) -> None:
    mask = np.zeros((32, 48), np.bool_)
    mask[4:9, 5:20] = True
    encode([mask], tmp_path / "a.asvp")
    with alphastream_gpu.open(tmp_path / "a.asvp", config=Config(native_size=(48, 32))) as stream:
        for pair in ((stream, tmp_path / "a.asvp"), (tmp_path / "a.asvp", stream)):
            report = compare(*pair)
            assert (report.native_size, report.is_equal) == ((48, 32), True)


def test_different_numbers_of_frames() -> None:
    first, _ = pair()
    report = compare(first, first[:4])
    assert report.frame_counts == (6, 4)
    assert len(report.frames) == 4
    assert not report.is_equal


@pytest.mark.parametrize(("given", "error"), [(5, TypeError), ("no/such/folder", OSError), (b"nothing", Exception)])
def test_what_is_no_input(given: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        compare(given, np.zeros((1, 2, 2), bool))


def test_the_picture_of_the_worst_frames() -> None:
    first, second = pair()
    report = compare(first, second)
    picture = Image.open(io.BytesIO(picture_of_worst(report, first, second, 3, options=InputOptions())))
    assert picture.width == 3 * (20 + 8) + 8
    assert picture.height == 3 * (12 + 16 + 8) + 8
    pixels = np.asarray(picture.convert("RGB"))
    tile = pixels[8 + 16 : 8 + 16 + 12, 8 + 2 * 28 : 8 + 2 * 28 + 20]
    assert (tile == difference_tile(first[5], second[5])).all()
    with pytest.raises(ValueError, match="expected frames to show, found none"):
        picture_of_worst(CompareReport((), (0, 0), (20, 12)), first, second)


def test_tiles() -> None:
    one, other = np.zeros((2, 4, 6), bool)
    one[1, 1] = one[2, 2] = other[2, 2] = other[3, 5] = True
    tile = difference_tile(one, other)
    red, blue, gray, black = (tuple(tile[at].tolist()) for at in ((1, 1), (3, 5), (2, 2), (0, 0)))
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert len(set(gray)) == 1
    assert gray[0] > 100
    assert black == (0, 0, 0)
    large = np.zeros((1000, 2000), bool)
    assert mask_tile(large).shape == (200, 400, 3)
    large[999, 1999] = True
    assert (difference_tile(large, np.zeros_like(large)).max(axis=(0, 1)) > 0).any()  # one pixel of two million
