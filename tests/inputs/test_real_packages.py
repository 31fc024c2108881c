"""
Tensors of PyTorch, and results of supervision and ultralytics, from the packages themselves.

They take gigabytes, so test_arrays.py and test_detections.py use stand-ins, and these tests run where a package is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from inputfiles import masks_of, moving_masks

MASKS = moving_masks()
OTHER = np.roll(MASKS, 20, axis=2)
BOTH = MASKS | OTHER


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    logits = torch.from_numpy(np.where(MASKS, 3.0, -2.0))
    assert (masks_of(torch.from_numpy(MASKS)) == MASKS).all()
    assert (masks_of([torch.from_numpy(mask) for mask in MASKS]) == MASKS).all()
    assert (masks_of(torch.from_numpy(MASKS.astype(np.uint8))[:, None]) == MASKS).all()
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        assert (masks_of(logits.to(dtype), threshold=0) == MASKS).all()
    assert (masks_of(logits.clone().requires_grad_(), threshold=0) == MASKS).all()
    assert (masks_of(logits.permute(0, 2, 1).contiguous().permute(0, 2, 1), threshold=0) == MASKS).all()


def test_sam2_with_tensors() -> None:
    """``{frame: {object: logits}}`` with tensors of the shape (1, height, width)."""
    torch = pytest.importorskip("torch")

    def logits(mask: np.ndarray) -> Any:
        return torch.from_numpy(np.where(mask, 4.5, -3.0).astype(np.float32))[None]

    segments = {frame: {1: logits(MASKS[frame]), 2: logits(OTHER[frame])} for frame in range(6)}
    assert (masks_of(segments) == BOTH).all()
    assert (masks_of(segments, objects=(2,)) == OTHER).all()
    items = [(frame, [1, 2], torch.stack(list(objects.values()))) for frame, objects in segments.items()]
    assert (masks_of(items) == BOTH).all()


def test_supervision() -> None:
    supervision = pytest.importorskip("supervision")
    boxes = np.array([[0, 0, 9, 9], [5, 5, 30, 30]], np.float32)
    found = [
        supervision.Detections(
            xyxy=boxes,
            mask=np.stack((MASKS[frame], OTHER[frame])),
            class_id=np.array([0, 16]),
            tracker_id=np.array([5, 6]),
            data={"class_name": np.array(["person", "dog"])},
        )
        for frame in range(5)
    ]
    found.append(supervision.Detections.empty())
    masks = masks_of(found)
    assert (masks[:5] == BOTH[:5]).all()
    assert not masks[5].any()
    for objects in ((5,), ("person",), ("category:0",)):
        assert (masks_of(found, objects=objects)[:5] == MASKS[:5]).all()


def test_ultralytics() -> None:
    torch = pytest.importorskip("torch")
    results = pytest.importorskip("ultralytics.engine.results")
    picture, names = np.zeros((*MASKS.shape[1:], 3), np.uint8), {0: "person", 16: "dog"}
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0, 1.0, 0.9, 0.0], [5.0, 5.0, 30.0, 30.0, 2.0, 0.8, 16.0]])
    found = [
        results.Results(
            picture,
            path="",
            names=names,
            boxes=boxes,
            masks=torch.from_numpy(np.stack((MASKS[frame], OTHER[frame])).astype(np.float32)),
        )
        for frame in range(5)
    ]
    found.append(results.Results(picture, path="", names=names, boxes=torch.zeros((0, 6))))
    masks = masks_of(found)
    assert (masks[:5] == BOTH[:5]).all()
    assert not masks[5].any()
    for objects in ((1,), ("person",), ("category:0",)):
        assert (masks_of(found, objects=objects)[:5] == MASKS[:5]).all()
