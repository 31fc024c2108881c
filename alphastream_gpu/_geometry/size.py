"""
Sizes: ``(width, height)`` in pixels, and how large they may be.
"""

from __future__ import annotations

from operator import index
from typing import Final

__all__ = ["MAX_NATIVE_EDGE", "check_size"]

MAX_NATIVE_EDGE: Final = 16384
"""Largest native width or height: the largest 2D texture that desktop GL hardware of today guarantees to offer."""


def check_size(name: str, size: tuple[int, int]) -> tuple[int, int]:
    """``(width, height)`` as ints, each checked to be 1..16384. A float is a TypeError, as in numpy's shapes."""
    width, height = map(index, size)
    if not (1 <= width <= MAX_NATIVE_EDGE and 1 <= height <= MAX_NATIVE_EDGE):
        raise ValueError(f"{name}: expected width and height of 1..{MAX_NATIVE_EDGE}, found {width} x {height}")
    return width, height
