"""
Timebase: frames to times and back, in fractions. Pure.
"""

from __future__ import annotations

import math
import operator
from fractions import Fraction
from typing import Final

__all__ = ["frame_at", "time_of"]

_TOLERANCE: Final = Fraction(1, 1_000_000)
"""Seconds that a time may fall short of a frame's begin: far more than float64 loses in a day, far less than a
frame."""


def time_of(index: int, fps: Fraction) -> float:
    """Seconds from the start to a frame's begin."""
    return float(operator.index(index) / fps)


def frame_at(seconds: float | Fraction, fps: Fraction) -> int:
    """The frame that is shown at a time; negative before the start. ValueError unless that is a finite number."""
    if not isinstance(seconds, (int, Fraction)):
        seconds = float(seconds)  # numpy's numbers are none of Python's, but for float64
        if not math.isfinite(seconds):
            raise ValueError(f"seconds: expected a finite number, found {seconds}")
    return math.floor((Fraction(seconds) + _TOLERANCE) * fps)
