"""
Size: checks that a ``(width, height)`` in pixels is in its range.
"""

from __future__ import annotations

from operator import index
from typing import Final

__all__ = ["MAX_NATIVE_EDGE", "check_size"]

MAX_NATIVE_EDGE: Final = 16384
"""The largest native width or height in pixels: the largest 2D texture that all current desktop GPUs support."""


def check_size(name: str, size: tuple[int, int]) -> tuple[int, int]:
    """Convert ``(width, height)`` to ints and check that each is 1..16384. A float is a TypeError, as in numpy."""
    width, height = map(index, size)
    if not (1 <= width <= MAX_NATIVE_EDGE and 1 <= height <= MAX_NATIVE_EDGE):
        raise ValueError(f"{name}: expected width and height of 1..{MAX_NATIVE_EDGE}, found {width} x {height}")
    return width, height
