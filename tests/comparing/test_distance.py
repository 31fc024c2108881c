"""
Distances between masks, against a search over all pixels.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest

from alphastream_gpu._comparing import farthest_difference
from alphastream_gpu._comparing.distance import KERNELS

Mask = npt.NDArray[np.bool_]


def oracle(mask: Mask, other: Mask) -> float:
    """For each pixel that differs, the nearest pixel of the other value, the frame around the window included."""
    padded = np.pad(mask, 1)
    border = {value: np.argwhere(padded == value) for value in (False, True)}
    farthest = 0.0
    for y, x in np.argwhere(mask != other):
        opposite = border[not mask[y, x]]
        if not len(opposite):
            return math.inf
        nearest = ((opposite - (y + 1, x + 1)) ** 2).sum(axis=1).min()
        farthest = max(farthest, math.sqrt(nearest))
    return farthest


def pairs(n: int) -> list[tuple[Mask, Mask]]:
    rng = np.random.default_rng(7)
    made = []
    for _ in range(n):
        shape = tuple(rng.integers(1, 14, 2))
        share = rng.choice([0.02, 0.3, 0.5, 0.95, 1.0])
        mask = rng.random(shape) < share
        made.append((mask, mask ^ (rng.random(shape) < rng.choice([0.02, 0.5]))))
    return made


@pytest.mark.parametrize("value", [False, True])
def test_masks_without_a_border_inside(value: bool) -> None:
    mask = np.full((5, 7), value)
    assert farthest_difference(mask, mask.copy()) == 0.0
    other = mask.copy()
    other[2, 3] = not value
    assert farthest_difference(mask, other) == (3.0 if value else math.inf)


def test_random_masks() -> None:
    for mask, other in pairs(400):
        assert farthest_difference(mask, other) == oracle(mask, other)


def test_plain_python() -> None:
    """The functions that numba compiles, as Python runs them."""
    plain = KERNELS.plain()
    for mask, other in pairs(60):
        distances = np.empty(mask.shape, np.int32)
        plain.column_distances(mask.view(np.uint8), distances)
        squared = int(plain.farthest_squared(mask.view(np.uint8), other.view(np.uint8), distances))
        assert (math.inf if squared < 0 else math.sqrt(squared)) == oracle(mask, other)


def test_every_small_mask() -> None:
    masks = [np.array(bits).reshape(2, 3) for bits in product([False, True], repeat=6)]
    for mask, other in product(masks, masks):
        assert farthest_difference(mask, other) == oracle(mask, other)
