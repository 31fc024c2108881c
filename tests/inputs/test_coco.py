"""
COCO JSON: data sets, results, videos and single images, written with pycocotools.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputfiles import all_of, masks_of, moving_masks
from pycocotools import mask as coco

from alphastream_gpu import DecodeError
from alphastream_gpu._inputs import InputOptions, open_frames

MASKS = moving_masks()
OTHER = np.roll(MASKS, 20, axis=2)


def compressed(mask: np.ndarray) -> dict[str, Any]:
    rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    """By hand: runs of the transposed mask, unset first."""
    counts, value, run = [], False, 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            counts.append(run)
            value, run = pixel, 0
        run += 1
    return {"size": list(mask.shape), "counts": [*counts, run]}


def data_set(make: Any, names: str = "f{}.png", order: Any = range(6)) -> dict[str, Any]:
    """Two objects, of two categories, in each image but the last, which has none."""
    images, annotations = [], []
    for i in order:
        images.append({"id": 100 + i, "width": 64, "height": 48, "file_name": names.format(i + 7)})
        if i < 5:
            for number, masks in enumerate((MASKS, OTHER)):
                annotations.append(
                    {
                        "id": 10 * i + number,
                        "image_id": 100 + i,
                        "category_id": 3 + number,
                        "segmentation": make(masks[i]),
                        "attributes": {"track_id": 41 + number},
                    }
                )
    categories = [{"id": 3, "name": "person"}, {"id": 4, "name": "dog"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("make", [compressed, uncompressed])
def test_run_lengths(tmp_path: Path, make: Any) -> None:
    path = write(tmp_path / "a.json", data_set(make))
    with open_frames(path) as frames:
        assert frames.count == 6
        assert "numbers, 7..12; objects: all" in frames.about
        found = all_of(frames)
        assert (np.array(list(frames.read_from(4))) == found[4:]).all()
    assert (found[:5] == (MASKS | OTHER)[:5]).all()
    assert not found[5].any()


@pytest.mark.parametrize("objects", [("person",), (41,), ("category:3",), ("41",)])
def test_objects(tmp_path: Path, objects: Any) -> None:
    path = write(tmp_path / "a.json", data_set(compressed))
    assert (masks_of(path, objects=objects)[:5] == MASKS[:5]).all()
    assert (masks_of(path, objects=(*objects, "dog"))[:5] == (MASKS | OTHER)[:5]).all()


def test_ids_of_annotations(tmp_path: Path) -> None:
    content = data_set(compressed)
    for one in content["annotations"]:
        del one["attributes"]
    found = masks_of(write(tmp_path / "a.json", content), objects=(0, 11))
    assert (found[0] == MASKS[0]).all()
    assert (found[1] == OTHER[1]).all()
    assert not found[2:].any()


@pytest.mark.parametrize("objects", [("cat",), (5,), ("category:9",), ("person", 77)])
def test_objects_that_are_not_there(tmp_path: Path, objects: Any) -> None:
    path = write(tmp_path / "a.json", data_set(compressed))
    with pytest.raises(ValueError, match="objects: .* is not in a.json; its categories are dog, person"):
        open_frames(path, InputOptions(objects=objects))


def test_images_are_ordered_by_the_numbers_of_their_names(tmp_path: Path) -> None:
    """f10 comes after f9; names without numbers stay in the file's order."""
    path = write(tmp_path / "a.json", data_set(compressed, order=[3, 0, 5, 1, 4, 2]))
    assert (masks_of(path)[:5] == (MASKS | OTHER)[:5]).all()
    content = data_set(compressed, order=[3, 0, 1])
    for image, name in zip(content["images"], ("c", "a", "b"), strict=True):
        image["file_name"] = f"{name}.png"
    assert (masks_of(write(tmp_path / "b.json", content)) == (MASKS | OTHER)[[3, 0, 1]]).all()


def test_gaps(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", data_set(compressed, order=[0, 1, 4]))
    with pytest.raises(ValueError, match="a.json: 2 numbers are missing between 7 and 11: 9-10"):
        open_frames(path)
    both = MASKS | OTHER
    assert (masks_of(path, gaps="repeat") == both[[0, 1, 1, 1, 4]]).all()
    assert (masks_of(path, gaps="close") == both[[0, 1, 4]]).all()
    assert not masks_of(path, gaps="empty")[2:4].any()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools' decode
def test_polygons_are_united_without_holes(tmp_path: Path) -> None:
    """Pixels are pycocotools'. An inner polygon is no hole, and a hole in run lengths is one."""
    outer, inner = [4, 4, 40, 4, 40, 30, 4, 30], [10, 10, 30.5, 10, 30.5, 20, 10, 20]
    away = [50, 40, 62, 40, 62.25, 47]
    content = data_set(lambda mask: [outer, inner, away])
    found = masks_of(write(tmp_path / "a.json", content))
    expected = coco.decode(coco.merge(coco.frPyObjects([outer, inner, away], 48, 64))).astype(bool)
    assert (found[0] == expected).all()
    assert found[0][15, 20]
    ring = np.zeros((48, 64), np.bool_)
    ring[4:30, 4:40] = True
    ring[10:20, 10:30] = False
    assert (masks_of(write(tmp_path / "b.json", data_set(lambda mask: compressed(ring))))[0] == ring).all()


def test_a_list_of_results(tmp_path: Path) -> None:
    results = [{"image_id": i, "category_id": 1, "segmentation": compressed(mask)} for i, mask in enumerate(MASKS)]
    assert (masks_of(write(tmp_path / "r.json", results)) == MASKS).all()
    results[0]["segmentation"] = [[1, 1, 5, 1, 5, 5]]  # type: ignore[assignment]
    with pytest.raises(DecodeError, match="found polygons"):
        open_frames(write(tmp_path / "p.json", results))


def test_a_video(tmp_path: Path) -> None:
    """YouTube-VIS."""
    content = {
        "videos": [{"id": 1, "width": 64, "height": 48, "length": 6, "file_names": [f"{i}.jpg" for i in range(6)]}],
        "annotations": [
            {"id": 7, "video_id": 1, "category_id": 1, "segmentations": [*map(compressed, MASKS[:5]), None]},
            {"id": 8, "video_id": 1, "category_id": 2, "segmentations": list(map(uncompressed, OTHER))},
        ],
    }
    path = write(tmp_path / "v.json", content)
    assert (masks_of(path, objects=(7,))[:5] == MASKS[:5]).all()
    assert (masks_of(path)[5] == OTHER[5]).all()


def test_one_image(tmp_path: Path) -> None:
    """SA-1B."""
    content = {
        "image": {"image_id": 5, "width": 64, "height": 48, "file_name": "sa_5.jpg"},
        "annotations": [{"id": i, "segmentation": compressed(mask)} for i, mask in enumerate((MASKS[0], OTHER[0]))],
    }
    assert (masks_of(write(tmp_path / "sa.json", content)) == (MASKS | OTHER)[:1]).all()


def test_damaged_annotations_come_after_the_frames_before_them(tmp_path: Path) -> None:
    content = data_set(compressed)
    content["annotations"][6]["segmentation"]["counts"] = "!!"
    done = []
    with (
        open_frames(write(tmp_path / "a.json", content)) as frames,
        pytest.raises(DecodeError, match=r"a.json, frame 3 \(f10.png\): the run lengths contain") as caught,
    ):
        for mask in frames:
            done.append(mask)
    assert len(done) == caught.value.frame_index == 3


FAR = 10**12


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [48, 64], "counts": "0" * 100},
        {"size": [48, 64], "counts": "oooooooooooooo"},
        {"size": [48, 64], "counts": [5, 10**30]},
        {"size": [48, 64], "counts": [48 * 64 + 1]},
        {"size": [48, 64], "counts": None},
        {"size": [64, 48], "counts": [48 * 64]},
        {"counts": [48 * 64]},
        [[1, 1, 2, 2]],
        [[1, 1, 2, 2, 3]],
        [[0, 0, FAR, 0, FAR, FAR]],
        [[0, 0, float("nan"), 0, 5, 5]],
        [["a", "b", "c", "d", "e", "f"]],
        [[0, 0, 60000, 60000] * 200],
        [5],
        "text",
        5,
    ],
)
def test_hostile_segmentations(tmp_path: Path, segmentation: Any) -> None:
    path = write(tmp_path / "a.json", data_set(lambda mask: segmentation))
    with pytest.raises(DecodeError, match="a.json"):
        masks_of(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "5",
        "null",
        '"text"',
        "[" * 100_000,
        "[{}]",
        '{"images": [], "annotations": []}',
        '{"images": [{"id": 1, "width": 99999999, "height": 99999999}], "annotations": []}',
        '{"images": [{"id": 1, "width": -1, "height": 5}], "annotations": []}',
        '{"images": [{"id": [1], "width": 5, "height": 5}], "annotations": []}',
        '{"images": [{"id": 1, "width": 5, "height": 5}], "annotations": [{"image_id": 2}]}',
        '{"images": [{"id": 1, "width": 5, "height": 5}], "annotations": 5}',
        '{"images": [{"id": 1, "width": 5, "height": 5}], "annotations": [5]}',
        '{"videos": [{}], "annotations": []}',
        '{"image": 5, "annotations": []}',
        "\0\xff",
        "1" * 10_000,
    ],
)
def test_other_json(tmp_path: Path, text: str) -> None:
    path = tmp_path / "o.json"
    path.write_text(text, "latin-1")
    with pytest.raises(DecodeError, match="o.json"):
        open_frames(path)


def test_a_threshold_makes_no_sense(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="threshold: COCO annotations are masks"):
        open_frames(write(tmp_path / "a.json", data_set(compressed)), InputOptions(threshold=1))
