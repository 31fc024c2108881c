"""
Matching: finds the mask for each frame of a colour video, by their times. Pure; all comparisons are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

__all__ = ["Matching", "matched"]

_HALF = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class Matching:
    """Which frames of a video are exported, and with which masks."""

    first: int
    """The first frame of the video that has a mask, from 0."""
    masks: tuple[int, ...]
    """The frame of the mask for each frame of the video from the first on."""
    ticks: tuple[int, ...]
    """The time of each of these frames after the first one, in ticks of the video."""
    start: Fraction
    """Seconds from the beginning of the video to the first of these frames."""
    drift: Fraction
    """The largest time between a frame and its mask, in seconds."""
    notes: tuple[str, ...]


def matched(
    name: str, times: Sequence[int], time_base: Fraction, rate: Fraction, frames: range, n_masks: int
) -> Matching:
    """
    Match the frames of a video with masks.

    The first mask belongs to the first frame. A frame gets the mask whose time is nearest, and the later one of two. A
    frame whose nearest mask is not among `frames` is left out.

    Args:
        name: of the video, for messages.
        times: of its frames, ascending, in ticks.
        time_base: seconds a tick.
        rate: masks a second.
        frames: the masks that are exported.
        n_masks: the masks that there are.

    Raises:
        ValueError: no frame has a mask.
    """
    seconds = [(time - times[0]) * time_base for time in times]
    nearest = [floor(time * rate + _HALF) for time in seconds]
    chosen = [number for number, mask in enumerate(nearest) if mask in frames]
    if not chosen:
        raise ValueError(f"video: {name} has no frame at the time of a mask; it ends after {float(seconds[-1]):.3f} s")
    first, last = chosen[0], chosen[-1]
    masks = tuple(nearest[first : last + 1])
    return Matching(
        first=first,
        masks=masks,
        ticks=tuple(time - times[first] for time in times[first : last + 1]),
        start=seconds[first],
        drift=max(abs(seconds[number] - nearest[number] / rate) for number in chosen),
        notes=tuple(_notes(name, seconds, masks, first, rate, frames, is_end=frames.stop == n_masks)),
    )


def _notes(
    name: str,
    seconds: Sequence[Fraction],
    masks: Sequence[int],
    first: int,
    rate: Fraction,
    frames: range,
    *,
    is_end: bool,
) -> list[str]:
    notes = []
    n_after = len(seconds) - first - len(masks)
    if n_after and is_end:
        notes.append(
            f"{name}: its last {n_after} frames are left out: the masks end after {float(frames.stop / rate):.3f} s,"
            f" the video after {float(seconds[-1]):.3f} s"
        )
    n_unused = len(frames) - len(set(masks))
    if n_unused:
        ends = f"; the video ends after {float(seconds[-1]):.3f} s" if masks[-1] < frames.stop - 1 else ""
        notes.append(f"{name}: {n_unused} of {len(frames)} masks are not shown: no frame is nearest to them{ends}")
    n_repeated = len(masks) - len(set(masks))
    if n_repeated:
        notes.append(f"{name}: {n_repeated} frames have the same mask as the frame before")
    if len(seconds) > 1 and abs(len(seconds) - len(frames)) <= 1 and (n_unused > 1 or n_repeated > 1 or n_after > 1):
        own = (len(seconds) - 1) / seconds[-1]
        notes.append(
            f"{name}: it has as many frames as there are masks, but {float(own):.6g} a second, and the masks are taken"
            f" for {float(rate):g} a second. If each mask belongs to one frame, set the frame rate to {_usual(own)}"
        )
    return notes


def _usual(rate: Fraction) -> Fraction:
    """The rate of a video, without the rounding of its times."""
    from .._inputs.rate import USUAL_RATES

    near = min(USUAL_RATES, key=lambda usual: abs(usual - rate))
    return near if abs(near - rate) * 1000 < rate else rate.limit_denominator(1001)
