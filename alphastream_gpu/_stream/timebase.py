"""
Timebase: converts frame indices to times and back, in exact fractions. Pure.
"""

from __future__ import annotations

import math
import operator
from fractions import Fraction
from typing import Any, Final

__all__ = ["finite", "frame_at", "time_of"]

_TOLERANCE: Final = Fraction(1, 1_000_000)
"""Seconds that a time may fall short of a frame's begin: far more than float64 loses in a day, far less than a
frame."""


def time_of(index: int, fps: Fraction) -> float:
    """Seconds from the start to a frame's begin. ValueError if no float can hold them."""
    try:
        return float(operator.index(index) / fps)
    except OverflowError as exc:
        raise ValueError("index: expected a frame whose time fits a float, found a larger one") from exc


def frame_at(seconds: float | Fraction, fps: Fraction) -> int:
    """The frame that is shown at a time; negative before the start. Errors as of :func:`finite`."""
    if not isinstance(seconds, (int, Fraction)):
        seconds = finite("seconds", seconds)
    return math.floor((Fraction(seconds) + _TOLERANCE) * fps)


def finite(name: str, value: Any) -> float:
    """
    A caller's number as a float.

    Raises:
        ValueError: infinite, not a number, or too large for a float.
        TypeError: no number; text is none, even if it reads as one.
    """
    if isinstance(value, (str, bytes, bytearray)):
        raise TypeError(f"{name}: expected a number, found {type(value).__name__}")
    try:
        number = float(value)  # numpy's numbers are none of Python's, but for float64
    except OverflowError as exc:
        raise ValueError(f"{name}: expected a number that fits a float, found a larger one") from exc
    if not math.isfinite(number):
        raise ValueError(f"{name}: expected a finite number, found {number}")
    return number
