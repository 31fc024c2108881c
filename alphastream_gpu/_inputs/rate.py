"""
Rate: finds the frame rate of timestamps, and picks the frame that is shown at each time of a constant rate.

Times are integers, in ticks of the stream's time base. All comparisons are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import Final

from .options import MAX_FRAMES

__all__ = ["USUAL_RATES", "is_constant", "longest_pause", "rate_of", "shown_frames", "told"]

USUAL_RATES: Final = (
    *(Fraction(rate * 1000, 1001) for rate in (24, 30, 48, 60, 90, 120)),
    *(Fraction(rate) for rate in (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 72, 75, 90, 100, 120, 144, 240)),
)
"""Frames a second."""


def is_constant(times: Sequence[int], time_base: Fraction, rate: Fraction) -> bool:
    """
    Whether every frame is where a constant rate has it, but for rounding.

    Containers round times to ticks (Matroska to milliseconds), so a frame may be one tick off; but no more than a
    quarter of a frame, or a missing frame would not show in coarse ticks.

    Args:
        times: ascending, in ticks.
        time_base: seconds a tick.
        rate: frames a second.
    """
    step = 1 / (rate * time_base)
    most = min(Fraction(1), step / 4)
    ticks, parts, allowed = step.numerator, step.denominator, most * step.denominator
    return all(abs((time - times[0]) * parts - number * ticks) <= allowed for number, time in enumerate(times))


def rate_of(
    times: Sequence[int], time_base: Fraction, declared: Iterable[Fraction | None]
) -> tuple[Fraction | None, bool]:
    """
    Find the frame rate of a stream.

    Args:
        times: of the frames, ascending, in ticks.
        time_base: seconds a tick.
        declared: what the file says, most trusted first.

    Returns:
        Frames a second, and whether the stream has that constant rate. If not, the rate is that of the median distance,
        or the usual rate near it that fits the times best. None if there is no way to know.
    """
    known = [rate for rate in declared if rate is not None and 1 <= rate <= 1000]
    if len(times) < 2:
        return (known[0] if known else None), True
    mean = Fraction(len(times) - 1, times[-1] - times[0]) / time_base
    near = known[0] if known else mean  # what a file says can itself be a mean, of rounded times
    for rate in (*sorted(USUAL_RATES, key=lambda usual: abs(usual - near))[:2], *known):
        if is_constant(times, time_base, rate):
            return rate, True
    if 1 <= mean <= 1000 and is_constant(times, time_base, mean):
        return mean.limit_denominator(100_000), True
    gaps = sorted(b - a for a, b in pairwise(times))
    rate = 1 / (gaps[len(gaps) // 2] * time_base)
    near_rates = [usual for usual in (*known, *USUAL_RATES) if abs(usual - rate) * 20 <= rate]  # 5 %: 62.5 for 60
    if near_rates:
        return min(near_rates, key=lambda usual: _error(times, usual * time_base)), False
    return min(max(rate.limit_denominator(1001), Fraction(1)), Fraction(1000)), False


def shown_frames(times: Sequence[int], time_base: Fraction, rate: Fraction) -> list[int]:
    """
    Bring frames to a constant rate: an output frame shows the last frame that is there at its time.

    A frame counts as there a little before its time, because times are rounded and cameras are irregular: by half of an
    output frame, or of the median distance of frames if that is shorter. The last frame is shown for the median
    distance.

    Args:
        times: ascending, in ticks.
        time_base: seconds a tick.
        rate: frames a second.

    Returns:
        For each output frame, the index of the frame that it shows; ascending.

    Raises:
        ValueError: there would be more than 16,777,216 output frames.
    """
    step = 1 / (time_base * rate)  # ticks
    gaps = sorted(b - a for a, b in pairwise(times))
    gap = Fraction(gaps[len(gaps) // 2]) if gaps else step
    early = min(step, gap) / 2
    slots = [max(0, ceil((time - times[0] - early) / step)) for time in times]
    count = max(1, round((times[-1] - times[0] + gap) / step))
    if count > MAX_FRAMES:
        raise ValueError(f"the times span {count} frames; expected at most {MAX_FRAMES}")
    shown: list[int] = []
    for number, slot in enumerate(slots):
        if slot >= count:  # it begins between the last output frame and the end
            break
        shown += [number - 1] * (slot - len(shown))
        if slot < len(shown):
            shown[slot] = number
        else:
            shown.append(number)
    return shown + [shown[-1]] * (count - len(shown))


def longest_pause(times: Sequence[int], time_base: Fraction) -> tuple[float, float]:
    """Where the longest pause between frames begins, and how long it is, in seconds from the first frame."""
    pause, place = max(((b - a), -a) for a, b in pairwise(times))
    return float((-place - times[0]) * time_base), float(pause * time_base)


def told(shown: Sequence[int], count: int) -> tuple[int, int]:
    """How many of the output frames repeat the one before, and how many of `count` frames are never shown."""
    different = len(set(shown))
    return len(shown) - different, count - different


def _error(times: Sequence[int], per_tick: Fraction) -> float:
    """How far frames are from the places of a constant rate, all together, in frames."""
    places = ((time - times[0]) * float(per_tick) for time in times)
    return sum(abs(place - round(place)) for place in places)
