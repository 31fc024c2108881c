"""
Bits: packing, counting and words, beside a loop over pixels.
"""

from __future__ import annotations

import numpy as np
import pytest

from alphastream_gpu._geometry.bits import count_set, pack, words_of

SIZES = [(1, 1), (1, 9), (3, 7), (2, 8), (5, 16), (4, 64), (3, 65), (2, 130)]


def masks(height: int, width: int) -> list[np.ndarray]:
    rng = np.random.default_rng(height * 1000 + width)
    mask = rng.random((height, width)) < 0.5
    return [mask, np.asfortranarray(mask), mask[::-1, ::-1], mask * np.uint8(3), np.ones_like(mask)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("bitorder", ["little", "big"])
def test_pack(height: int, width: int, bitorder: str) -> None:
    for mask in masks(height, width):
        expected = np.zeros((height, -(-width // 8)), np.uint8)
        for y in range(height):
            for x in range(width):
                if mask[y, x]:
                    expected[y, x // 8] |= 1 << (x % 8 if bitorder == "little" else 7 - x % 8)
        packed = pack(mask, bitorder=bitorder)  # type: ignore[arg-type]
        assert packed.dtype == np.uint8
        assert packed.tolist() == expected.tolist()
        assert packed.flags.owndata or packed.base is not mask


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_counts_and_words(height: int, width: int) -> None:
    for mask in masks(height, width):
        bits = pack(mask)
        assert count_set(bits) == sum(bool(pixel) for pixel in mask.flat)
        words = words_of(bits)
        assert words.shape == (height, -(-width // 64))
        for y in range(height):
            for x in range(64 * words.shape[1]):
                assert (int(words[y, x // 64]) >> (x % 64)) & 1 == (x < width and bool(mask[y, x]))
