"""
What SAM 2, supervision and ultralytics return, by stand-ins with the attributes that are used.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from inputfiles import all_of, masks_of, moving_masks

from alphastream_gpu._inputs import InputOptions, open_frames

MASKS = moving_masks()
OTHER = np.roll(MASKS, 20, axis=2)
BOTH = MASKS | OTHER


def logits(mask: np.ndarray) -> np.ndarray:
    """float32 (1, height, width), as SAM 2's."""
    return np.where(mask, 4.5, -3.0).astype(np.float32)[np.newaxis]


SEGMENTS = {frame: {1: logits(MASKS[frame]), 2: logits(OTHER[frame])} for frame in range(6)}


def test_a_dict_of_frames() -> None:
    with open_frames(SEGMENTS) as frames:
        assert frames.count == 6
        assert "set above 0" in frames.about
        assert (all_of(frames) == BOTH).all()
        assert (np.array(list(frames.read_from(4))) == BOTH[4:]).all()
    assert (masks_of(SEGMENTS, objects=(1,)) == MASKS).all()
    assert (masks_of(dict(reversed(SEGMENTS.items()))) == BOTH).all()
    assert not masks_of(SEGMENTS, threshold=5).any()
    with pytest.raises(ValueError, match="objects: 9 is not in the dict; found 1, 2"):
        masks_of(SEGMENTS, objects=(9,))


def test_a_dict_of_masks() -> None:
    """The code of SAM 2's notebook compares with 0 at once."""
    done = {frame: {key: one > 0 for key, one in objects.items()} for frame, objects in SEGMENTS.items()}
    assert (masks_of(done) == BOTH).all()
    assert (masks_of({frame: MASKS[frame].astype(np.uint8) for frame in range(6)}) == MASKS).all()


def test_gaps_and_empty_frames_of_a_dict() -> None:
    gone = {frame: objects for frame, objects in SEGMENTS.items() if frame not in (2, 3)}
    with pytest.raises(ValueError, match="the dict: 2 numbers are missing between 0 and 5: 2-3"):
        masks_of(gone)
    assert (masks_of(gone, gaps="repeat") == BOTH[[0, 1, 1, 1, 4, 5]]).all()
    assert not masks_of(gone, gaps="empty")[2:4].any()
    assert not masks_of(SEGMENTS | {3: {}})[3].any()
    assert not masks_of(SEGMENTS | {0: {2: SEGMENTS[0][2]}}, objects=(1,))[0].any()
    with pytest.raises(ValueError, match="expected an object in some frame"):
        masks_of({0: {}, 1: {}})


def test_other_dicts() -> None:
    with pytest.raises(TypeError, match="expected frame numbers as keys, found 'a'"):
        masks_of({"a": MASKS[0]})
    with pytest.raises(ValueError, match=r"expected a mask of shape"):
        masks_of({0: {1: np.zeros((2, 4, 4))}})


def test_what_propagating_yields() -> None:
    items = [(frame, [1, 2], np.stack((logits(MASKS[frame]), logits(OTHER[frame])))) for frame in range(6)]
    assert (masks_of(items) == BOTH).all()
    assert (masks_of(iter(items)) == BOTH).all()
    assert (masks_of(items, objects=(2,)) == OTHER).all()
    with pytest.raises(ValueError, match="expected frame 2, found 1"):
        masks_of([items[0], items[1], items[1]])
    gone = [items[0], items[1], items[4]]
    with pytest.raises(ValueError, match="expected frame 2, found 4; pass frames in ascending order, or gaps="):
        masks_of(gone)
    assert (masks_of(iter(gone), gaps="repeat") == BOTH[[0, 1, 1, 1, 4]]).all()
    assert not masks_of(iter(gone), gaps="empty")[2:4].any()
    assert (masks_of(iter(gone), gaps="close") == BOTH[[0, 1, 4]]).all()
    with pytest.raises(ValueError, match="expected as many masks as objects"):
        masks_of([(0, [1], np.zeros((2, 1, 4, 4)))])


def detections(*masks: np.ndarray, **others: Any) -> Any:
    """As supervision.Detections."""
    fields = {"mask": np.array(masks, np.bool_) if masks else None, "tracker_id": None, "class_id": None, "data": {}}
    return SimpleNamespace(**(fields | others))


def test_supervision() -> None:
    found = [
        detections(
            MASKS[i], OTHER[i], tracker_id=np.array([5, 6]), class_id=np.array([0, 16]),
            data={"class_name": np.array(["person", "dog"])},
        )
        for i in range(6)
    ]  # fmt: skip
    assert (masks_of(found) == BOTH).all()
    assert (masks_of(iter(found)) == BOTH).all()
    for objects in ((5,), ("person",), ("category:0",)):
        assert (masks_of(found, objects=objects) == MASKS).all()
    with open_frames(found, InputOptions(start=2, frames=3)) as frames:
        assert (all_of(frames) == BOTH[2:5]).all()
        assert frames.count == 3


def test_frames_without_detections_are_empty() -> None:
    found = [detections(), detections(), detections(MASKS[2]), detections(), detections(MASKS[4])]
    masks = masks_of(found)
    assert (masks[[2, 4]] == MASKS[[2, 4]]).all()
    assert not masks[[0, 1, 3]].any()
    with pytest.raises(ValueError, match="no frame has a mask, so its size is unknown; pass native_size"):
        masks_of([detections()] * 3)
    assert masks_of([detections()] * 3, native_size=(64, 48)).shape == (3, 48, 64)


class Results:
    """As ultralytics' Results: masks are float tensors of 0 and 1."""

    def __init__(self, *masks: np.ndarray, size: tuple[int, int] = (48, 64)) -> None:
        self.masks = SimpleNamespace(data=np.array(masks, np.float32)) if masks else None
        self.orig_shape = size
        self.boxes = SimpleNamespace(id=np.arange(len(masks)) + 1.0, cls=np.arange(len(masks)) * 16.0)
        self.names = {0: "person", 16: "dog"}


def test_ultralytics() -> None:
    found = [Results(MASKS[i], OTHER[i]) for i in range(5)] + [Results()]
    masks = masks_of(found)
    assert (masks[:5] == BOTH[:5]).all()
    assert not masks[5].any()
    for objects in ((1,), ("person",), ("category:0",)):
        assert (masks_of(found, objects=objects)[:5] == MASKS[:5]).all()
    with pytest.raises(ValueError, match="frame 0: the masks are of the network's size .* retina_masks=True"):
        masks_of([Results(MASKS[0], size=(480, 640))])


def test_items_that_differ() -> None:
    with pytest.raises(TypeError, match="frame 1: expected an array, Detections, Results or"):
        masks_of([detections(MASKS[0]), 5])
