"""
Names: sorts file names in natural order, and finds the frame number in each name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from .options import MAX_FRAMES, Gaps

__all__ = ["frame_numbers", "natural_key", "numbered_plan", "ranges_of"]

_DIGITS = re.compile(r"(\d+)")
_MOST_DIGITS = 18
"""Longer runs of digits are taken for text: hashes and dates are no frame numbers, and int() refuses very long ones."""


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """The sort key that puts frame2 before frame10. Runs of digits count as numbers, letters without their case."""
    key = []
    for part in _DIGITS.split(name):
        is_number = part.isdecimal() and part.isascii() and len(part) <= _MOST_DIGITS
        key.append((0, int(part), "") if is_number else (1, 0, part.casefold()))
    return (*key, (2, 0, name))  # names that differ in leading zeros or case keep one order


def frame_numbers(names: Sequence[str]) -> list[int] | None:
    """
    The frame number in each name: the only number by which the names differ.

    Args:
        names: file names, with or without folders.

    Returns:
        A number for each name; None if the names differ in more than one number, in text, or not at all.
    """
    if len(names) < 2:
        return None
    split = [_DIGITS.split(name) for name in names]
    if any(len(parts) != len(split[0]) or parts[::2] != split[0][::2] for parts in split):
        return None
    columns = [[parts[column] for parts in split] for column in range(1, len(split[0]), 2)]
    differing = [column for column in columns if len(set(column)) > 1]
    if len(differing) != 1 or any(len(digits) > _MOST_DIGITS for digits in differing[0]):
        return None
    return [int(digits) for digits in differing[0]]


def numbered_plan(numbers: Sequence[int], gaps: Gaps) -> list[int | None]:
    """
    Which picture each frame shows.

    Args:
        numbers: the frame number of each picture, ascending.
        gaps: what a missing number means.

    Returns:
        For each frame the index of its picture, or None for an empty frame.

    Raises:
        ValueError: a number is missing and `gaps` is "error", a number is there twice, or there would be too many
            frames. The message says which.
    """
    twice = sorted({b for a, b in pairwise(numbers) if a == b})
    if twice:
        raise ValueError(f"the number {twice[0]} is there twice; rename one, or pass a list of files")
    if gaps == "close":
        return list(range(len(numbers)))
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    if missing and gaps == "error":
        raise ValueError(
            f"{missing} numbers are missing between {numbers[0]} and {numbers[-1]}: {_shown(numbers)}. Pass "
            "gaps='repeat' (the frame before), 'empty' (an empty mask) or 'close' (no frame) if that is intended"
        )
    if len(numbers) + missing > MAX_FRAMES:
        raise ValueError(f"{len(numbers) + missing} frames; expected at most {MAX_FRAMES}")
    plan: list[int | None] = []
    for place, number in enumerate(numbers):
        if place:
            plan += [place - 1 if gaps == "repeat" else None] * (number - numbers[place - 1] - 1)
        plan.append(place)
    return plan


def ranges_of(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """The first and the last of each run of missing numbers, for ascending numbers."""
    return [(a + 1, b - 1) for a, b in pairwise(numbers) if b - a > 1]


def _shown(numbers: Sequence[int]) -> str:
    runs = ranges_of(numbers)
    shown = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs[:8])
    return shown + (", ..." if len(runs) > 8 else "")
