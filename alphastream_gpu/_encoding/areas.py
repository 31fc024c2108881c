"""
Areas: removes small components and fills small holes, and compares a mask with its rasterization.

A module of kernels: numba compiles it (_runtime/kernels.py), and the tests also run it as plain Python. Most functions
work on a room (borders.py), in which a pixel is set if it is not 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["SIGNATURES", "count_pixels", "farthest_difference", "flip_small_regions", "is_equal"]

Bytes = npt.NDArray[np.uint8]
Long = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_MARGIN = 8
"""As MARGIN of borders.py; a module of kernels uses no other module."""
_VISITED = 64
"""Bit of a pixel that a flood has reached."""

SIGNATURES = {
    "flip_small_regions": "(uint8[::1], int64, int64[::1], int64, boolean)",
    "is_equal": "(uint64[:, ::1], uint8[:, ::1])",
    "count_pixels": "(uint64[::1], uint64[::1])",
    "farthest_difference": "(uint8[:, ::1], uint8[:, ::1], float64)",
}


def flip_small_regions(room: Bytes, stride: int, places: Long, least_area: int, are_holes: bool) -> int:
    """
    Flip the regions that have fewer than `least_area` pixels. A larger region is left after so many steps.

    Args:
        room: uint8, flat.
        stride: pixels of a row of the room.
        places: int64 (regions,): a pixel of each region, as an index in `room`.
        least_area: pixels.
        are_holes: whether the regions are holes, 4-connected, which are filled; else components, 8-connected, which are
            removed.

    Returns:
        The number of flipped regions.
    """
    near = np.array((1, -1, stride, -stride, stride + 1, stride - 1, -stride - 1, -stride + 1), np.int64)
    n_near = 4 if are_holes else 8
    queue = np.empty(64, np.int64)
    n_flipped = 0
    for first in places:
        size, done = 1, 0
        queue[0] = first
        room[first] |= _VISITED
        while done < size < least_area:
            place = queue[done]
            done += 1
            for direction in range(n_near):
                beside = place + near[direction]
                if room[beside] & _VISITED or (room[beside] == 0) != are_holes:
                    continue
                if size == len(queue):
                    longer = np.empty(2 * size, np.int64)
                    longer[:size] = queue
                    queue = longer
                room[beside] |= _VISITED
                queue[size] = beside
                size += 1
        is_flipped = size < least_area
        n_flipped += is_flipped
        for k in range(size):
            if is_flipped:
                room[queue[k]] = 1 if are_holes else 0
            else:
                room[queue[k]] &= ~np.uint8(_VISITED)
    return n_flipped


def is_equal(words: Words, bits: Bytes) -> bool:
    """
    Compare all pixels with a packed mask, which takes less time to make and to read than one of bytes.

    Args:
        words: uint64 (height + 2, stride / 8), a room: eight pixels each. The lowest bit of a pixel says if it is set.
        bits: uint8 (height, n), as ``rasterize_packed`` returns it.
    """
    height, n = bits.shape
    lowest, byte = np.uint64(0x0101010101010101), np.uint64(255)
    seven, fourteen, twenty_eight = np.uint64(7), np.uint64(14), np.uint64(28)
    for y in range(height):
        row, other = words[y + 1], bits[y]
        differing = np.uint64(0)
        for k in range(n):
            # Gather the lowest bits of the eight pixels in the lowest byte: of two, of four, of eight.
            word = row[k + _MARGIN // 8] & lowest
            word |= word >> seven
            word |= word >> fourteen
            word |= word >> twenty_eight
            differing |= (word & byte) ^ np.uint64(other[k])
        if differing != 0:
            return False
    return True


def count_pixels(first: Words, second: Words) -> tuple[int, int]:
    """
    Compare two packed masks.

    Args:
        first: uint64 (n,), 64 pixels each.
        second: likewise.

    Returns:
        The number of pixels that are set in one of them or in both, and the number of those that differ.
    """
    n_set = n_differing = np.uint64(0)
    for k in range(len(first)):
        n_set += _set_bits(first[k] | second[k])
        n_differing += _set_bits(first[k] ^ second[k])
    return int(n_set), int(n_differing)


def _set_bits(word: np.uint64) -> np.uint64:
    """How many bits of a word are set: sums of two bits, of four, of eight, of all."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    word += word >> np.uint64(8)
    word += word >> np.uint64(16)
    word += word >> np.uint64(32)
    return word & np.uint64(127)


def farthest_difference(room: Bytes, mask: Bytes, limit: float) -> float:
    """
    Find how far the pixels that differ are from the border of the mask in the room: from the nearest set pixel that has
    an unset pixel, or the window's edge, on one of its four sides.

    Args:
        room: uint8 (height + 2, stride).
        mask: uint8 (height, width): set pixels are not 0.
        limit: in pixels; no pixel farther away is looked at.

    Returns:
        The largest distance in pixels; inf if it is larger than `limit`; 0 if no pixel differs.
    """
    height, width = mask.shape
    reach = int(limit)
    farthest = 0.0
    for y in range(height):
        for x in range(width):
            if (room[y + 1, x + _MARGIN] != 0) == (mask[y, x] != 0):
                continue
            nearest = np.inf
            for row in range(max(y - reach, 0), min(y + reach + 1, height)):
                for column in range(max(x - reach, 0), min(x + reach + 1, width)):
                    distance = float((row - y) * (row - y) + (column - x) * (column - x))
                    if distance < nearest and _is_border(room, row + 1, column + _MARGIN):
                        nearest = distance
            farthest = max(farthest, nearest)
    farthest = np.sqrt(farthest)
    return farthest if farthest <= limit else np.inf


def _is_border(room: Bytes, row: int, column: int) -> bool:
    return bool(room[row, column]) and bool(
        room[row, column - 1] == 0
        or room[row, column + 1] == 0
        or room[row - 1, column] == 0
        or room[row + 1, column] == 0
    )
