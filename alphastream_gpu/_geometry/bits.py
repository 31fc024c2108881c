"""
Bits: packs masks with eight pixels in a byte, unpacks them, and reads packed masks in words.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["count_set", "pack", "unpack", "words_of"]


def pack(
    mask: npt.NDArray[np.bool_] | npt.NDArray[np.uint8], *, bitorder: Literal["little", "big"] = "little"
) -> npt.NDArray[np.uint8]:
    """
    Pack a mask, as ``rasterize_packed`` makes it.

    numpy packs along an axis without releasing Python's lock if the result has at most 500 bytes along it. So the rows
    are packed as one.

    Args:
        mask: bool or uint8 (height, width); every value but 0 is a set pixel.
        bitorder: whether the lowest or the highest bit of a byte is the leftmost pixel.

    Returns:
        uint8 (height, ceil(width / 8)); the unused bits at the end of a row are 0. A new array.
    """
    height, width = mask.shape
    n_bytes = (width + 7) // 8
    if width % 8:
        whole = np.zeros((height, 8 * n_bytes), mask.dtype)
        whole[:, :width] = mask
        mask = whole
    return np.packbits(mask.reshape(-1), bitorder=bitorder).reshape(height, n_bytes)


def unpack(bits: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.bool_]:
    """
    Unpack a mask that was packed as ``rasterize_packed`` makes it.

    Args:
        bits: uint8 (height, ceil(width / 8)).
        width: in pixels.

    Returns:
        bool (height, width). A new array.
    """
    return np.unpackbits(bits, axis=1, count=width, bitorder="little").view(np.bool_)


def words_of(bits: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """
    A packed mask in words of 64 pixels.

    Args:
        bits: uint8 (height, n), C-contiguous.

    Returns:
        uint64 (height, ceil(n / 8)), the lowest bit leftmost: a view, or a copy if the bytes of a row fill no whole
        words.
    """
    height, n_bytes = bits.shape
    if n_bytes % 8:
        whole = np.zeros((height, n_bytes + 7 & ~7), np.uint8)
        whole[:, :n_bytes] = bits
        bits = whole
    return bits.view("<u8").astype(np.uint64, copy=False)


def count_set(bits: npt.NDArray[np.uint8]) -> int:
    """
    Count the bits that are set.

    Args:
        bits: uint8, of any shape, C-contiguous.
    """
    flat = bits.reshape(-1)
    whole = flat.size & ~7
    count = int(np.bitwise_count(flat[:whole].view(np.uint64)).sum(dtype=np.int64))
    return count + int(np.bitwise_count(flat[whole:]).sum(dtype=np.int64))
