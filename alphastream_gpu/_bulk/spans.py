"""
Spans: which frames a task computes, and how frames are named in arguments and messages. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from operator import index
from typing import Any, Final

__all__ = ["MOST_SPAN_FRAMES", "SPAN_FRAMES", "checked_frames", "gaps_between", "shown_span", "spans_of"]

SPAN_FRAMES: Final = 256
"""Frames of a task, some 0.03 to 0.4 s of work: enough that the work of scheduler and client for a task counts
little."""
MOST_SPAN_FRAMES: Final = 1 << 20
_RANGE: Final = re.compile(r"(\d{0,9}):(\d{0,9})")


def spans_of(start: int, stop: int, span_frames: int = SPAN_FRAMES) -> Iterator[tuple[int, int]]:
    """
    Divide the frames ``start..stop - 1`` into spans, which begin at multiples of `span_frames`.

    The same frame is in the same span whatever the range is. So parts of results that were kept fit a later job over
    more frames.

    Args:
        start: the first frame, from 0.
        stop: one past the last frame.
        span_frames: frames in a span, 1..1048576.

    Yields:
        The first frame of each span, and one past its last frame.

    Raises:
        ValueError: `span_frames` is outside its range.
    """
    step = index(span_frames)
    if not 1 <= step <= MOST_SPAN_FRAMES:
        raise ValueError(f"span_frames: expected 1..{MOST_SPAN_FRAMES} frames, found {step}")
    while start < stop:
        end = min(stop, start - start % step + step)
        yield start, end
        start = end


def checked_frames(frames: Any) -> tuple[int, int | None]:
    """
    The range of frames that a caller asks for.

    Args:
        frames: None for all; a ``(start, stop)`` with None for an open end; or a text ``A:B``, in which either number
            may be missing.

    Returns:
        The first frame, and one past the last one; None for the end of the stream.

    Raises:
        ValueError: it is no such range, or it ends before it begins.
    """
    if frames is None:
        return 0, None
    if isinstance(frames, str):
        found = _RANGE.fullmatch(frames)
        if found is None:
            raise ValueError(f"frames: expected A:B, such as 0:1000, found {frames!r}")
        frames = (int(found[1] or 0), int(found[2]) if found[2] else None)
    try:
        start, stop = frames
    except (TypeError, ValueError):
        raise ValueError(f"frames: expected a start and a stop, found {frames!r}") from None
    first = 0 if start is None else index(start)
    last = None if stop is None else index(stop)
    if first < 0 or (last is not None and last < first):
        raise ValueError(f"frames: expected 0 or more, and no end before the start, found {first}:{last}")
    return first, last


def gaps_between(spans: Iterable[tuple[int, int]], start: int, stop: int) -> list[tuple[int, int]]:
    """The parts of ``start..stop - 1`` that no span has. The spans are in order and do not overlap."""
    gaps = []
    for first, last in spans:
        if first > start:
            gaps.append((start, first))
        start = max(start, last)
    return [*gaps, (start, stop)] if start < stop else gaps


def shown_span(start: int, stop: int) -> str:
    """``frame 5``, or ``frames 256..511`` with the last frame included."""
    return f"frame {start}" if stop - start == 1 else f"frames {start}..{stop - 1}"
