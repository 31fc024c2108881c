"""
Borders: compared with OpenCV's, and the compiled functions with the plain ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from encoded import PLAIN, chains_of
from masks import random_masks, unusual_masks

from alphastream_gpu._encoding import borders, compiled
from alphastream_gpu._encoding.chains import Chains, Room

Chain = tuple[tuple[int, int], ...]


def _chains(chains: Chains) -> Iterator[tuple[bool, Chain]]:
    for b, (begin, end) in enumerate(itertools.pairwise(chains.offsets.tolist())):
        pixels = zip(chains.x[begin:end].tolist(), chains.y[begin:end].tolist(), strict=True)
        yield bool(chains.is_hole[b]), tuple(pixels)


def _canonical(chain: Chain) -> Chain:
    """The same closed chain, wherever it starts."""
    return min(chain[k:] + chain[:k] for k in range(len(chain)))


def _by_opencv(mask: np.ndarray) -> list[tuple[bool, Chain]]:
    found, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    chains = [tuple(map(tuple, chain.reshape(-1, 2).tolist())) for chain in found]
    return [(bool(tree[0, k, 3] >= 0), chain) for k, chain in enumerate(chains)]


@pytest.mark.parametrize("seed", range(4))
def test_the_chains_are_those_of_opencv(seed: int) -> None:
    """The same pixels in the same direction; OpenCV's may start elsewhere."""
    for mask in random_masks(60, seed):
        small = np.ascontiguousarray(mask[:24, :24])
        mine = sorted((is_hole, _canonical(chain)) for is_hole, chain in _chains(chains_of(small)))
        assert mine == sorted((is_hole, _canonical(chain)) for is_hole, chain in _by_opencv(small))


def test_borders_of_unusual_masks() -> None:
    for name, mask in unusual_masks(64, 96).items():
        found = sorted((is_hole, len(chain)) for is_hole, chain in _chains(chains_of(mask)))
        assert found == sorted((is_hole, len(chain)) for is_hole, chain in _by_opencv(mask)), name


def test_a_holes_chain_begins_west_of_its_first_unset_pixel() -> None:
    mask = np.ones((5, 7), np.uint8)
    mask[2, 3:5] = 0
    chains = chains_of(mask)
    assert chains.is_hole.tolist() == [False, True]
    first = chains.offsets[1]
    assert (chains.x[first], chains.y[first]) == (2, 2)
    anchor = chains.anchors[1]
    assert (chains.x[anchor], chains.y[anchor]) == (0, 2)


def test_anchors_are_on_earlier_borders_of_the_same_row() -> None:
    """So they form trees, and every bridge runs over set pixels."""
    n_holes = 0
    for mask in random_masks(200, seed=11):
        chains = chains_of(mask)
        for b in np.flatnonzero(chains.is_hole).tolist():
            first, anchor = chains.offsets[b], chains.anchors[b]
            assert chains.y[anchor] == chains.y[first]
            assert mask[chains.y[first], chains.x[anchor] : chains.x[first] + 1].all()
            assert anchor < first
            n_holes += 1
        assert (chains.anchors[~chains.is_hole] == -1).all()
    assert n_holes > 1000


@pytest.mark.slow
def test_walking_backward() -> None:
    for mask in random_masks(30, seed=3):
        chains = chains_of(mask)
        backward, order = chains.backward()
        assert np.array_equal(chains.x[order], backward.x)
        assert np.array_equal(backward.x[chains.offsets[:-1]], chains.x[chains.offsets[:-1]])
        for (_, chain), (_, other) in zip(_chains(chains), _chains(backward), strict=True):
            assert other == (chain[0], *chain[:0:-1])
        has_anchor = chains.anchors >= 0
        assert np.array_equal(chains.x[chains.anchors[has_anchor]], backward.x[backward.anchors[has_anchor]])


def test_the_order_of_the_window_does_not_matter() -> None:
    """A mask of any width: rows of the room are padded to words."""
    for width in range(1, 20):
        mask = np.ones((3, width), np.uint8)
        chains = chains_of(mask)
        assert len(chains.is_hole) == 1
        assert len(chains.x) == (2 * width + 2 if width > 1 else 4)


@pytest.mark.parametrize("values", [(0, 1), (0, 255)])
def test_normalize(values: tuple[int, int]) -> None:
    for functions in (compiled.kernels(), PLAIN[borders]):
        words = np.random.default_rng(1).choice(np.array(values, np.uint8), 64).view(np.uint64)
        expected = words.view(np.uint8) != 0
        assert functions.normalize(words) == (values[1] == 255)
        assert np.array_equal(words.view(np.uint8), expected)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 16, 20])
def test_unpack(width: int) -> None:
    """Whatever was in the room before, its margins are unset."""
    rng = np.random.default_rng(width)
    bits = rng.integers(0, 256, (5, -(-width // 8)), np.uint8)
    expected = Room(np.unpackbits(bits, axis=1, count=width, bitorder="little").view(np.bool_))
    for functions in (compiled.kernels(), PLAIN[borders]):
        words = np.full(expected.words.shape, rng.integers(1, 1 << 63), np.uint64)
        functions.unpack(bits, width, words)
        assert np.array_equal(words, expected.words)


@pytest.mark.parametrize("values", [(0, 1, 255), (0, 2), (0, 254), (0, 1, 2), (128, 128)])
def test_other_values_are_found(values: tuple[int, ...]) -> None:
    for functions in (compiled.kernels(), PLAIN[borders]):
        room = np.zeros(64, np.uint8)
        room[: len(values)] = values
        assert functions.normalize(room.view(np.uint64)) == 2


def _traced(functions: SimpleNamespace, mask: np.ndarray) -> list[Any]:
    room = chains_of(mask).room.copy()
    traced = functions.trace(room.flat, room.flat.view(np.uint64), room.stride)
    return [*traced, functions.find_anchors(*traced, room.pixels), room.flat]


def test_compiled_and_plain_functions_agree() -> None:
    for mask in random_masks(40, seed=7):
        small = np.ascontiguousarray(mask[:30, :30])
        for mine, plain in zip(_traced(compiled.kernels(), small), _traced(PLAIN[borders], small), strict=True):
            assert mine.dtype == plain.dtype
            assert np.array_equal(mine, plain)
