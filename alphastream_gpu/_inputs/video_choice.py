"""
Video-choice: decides which channel of a video is the matte, and what its real range is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .options import InputOptions
from .planes import channel_of, depth_of, has_alpha, is_rgb
from .values import found_range, limits

__all__ = ["Choice", "Seen", "choose"]


@dataclass
class Seen:
    """What was seen of a video's first frames."""

    form: str
    """The pixel format, such as yuv420p."""
    depth: int
    """Bits of a value, 8..16."""
    said: int
    """The range that the file says: 1 limited, 2 full, 0 nothing."""
    is_rgb: bool
    has_alpha: bool
    is_transparent: bool = False
    """Whether a pixel was seen that is not opaque."""
    histogram: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    """int64 (2 ** depth,): how many pixels have each value of luma."""

    @classmethod
    def first(cls, frame: Any) -> Seen:
        """What the form of the first frame (av.VideoFrame) says."""
        layout = frame.format
        said = 2 if layout.name.startswith("yuvj") else int(frame.color_range or 0)
        seen = cls(layout.name, depth_of(layout), said, is_rgb(layout), has_alpha(layout))
        seen.histogram = np.zeros(1 << seen.depth, np.int64)
        return seen

    def add_luma(self, frame: Any) -> None:
        """Count the values of luma of a frame; of RGB, whose range is known, there is nothing to find."""
        if self.is_rgb or frame.format.name != self.form:
            return
        values = channel_of(frame, "luma", is_full=True)
        assert values is not None  # every format has it
        highest = len(self.histogram) - 1
        self.histogram += np.bincount(np.minimum(values.ravel(), highest), minlength=highest + 1)

    def add_alpha(self, frame: Any) -> None:
        """Look for a pixel that is not opaque."""
        alpha = channel_of(frame, "alpha", is_full=True)
        self.is_transparent |= alpha is not None and bool((alpha != (1 << self.depth) - 1).any())


@dataclass(frozen=True)
class Choice:
    """What was chosen."""

    channel: str
    low: int
    high: int
    threshold: float
    is_full: bool
    """Whether the luma is full range, for colours that are computed from YUV."""
    said: str
    notes: list[str]


def choose(name: str, seen: Seen, options: InputOptions) -> Choice:
    """
    Choose channel, range and threshold.

    Args:
        name: the video's name in messages.
        seen: its first frames.
        options: channel, range, threshold, layout.

    Raises:
        ValueError: there is no such channel.
    """
    notes: list[str] = []
    channel = _channel(name, seen, options, notes)
    is_luma = (
        channel != "alpha" and not seen.is_rgb and (channel == "luma" or seen.form.startswith(("gray", "ya", "mo")))
    )
    is_limited, why = (False, "") if seen.is_rgb else _range(seen, options)
    if is_luma and is_limited and why.startswith(" (said") and found_range(seen.histogram, seen.depth) == "full":
        notes.append(
            f"{name}: the file says limited range, but has values far below 16 or above 235; pass range='full' if the "
            "file is wrong"
        )
    depth = seen.depth
    if not is_luma and channel != "alpha" and not seen.is_rgb:
        depth = 8 if depth == 8 else 16  # colours are computed from YUV
    low, high = limits(depth, is_limited and is_luma)  # alpha and colours are always full range
    threshold = (low + high) / 2 if options.threshold is None else options.threshold
    said = f"channel {channel}, range {low}..{high}{why if is_luma else ''}"
    return Choice(channel, low, high, threshold, not is_limited, said, notes)


def _channel(name: str, seen: Seen, options: InputOptions, notes: list[str]) -> str:
    if options.channel == "alpha" and not seen.has_alpha:
        raise ValueError(f"channel: {name} has no alpha channel ({seen.form}); pass channel='luma'")
    if options.channel != "auto":
        return options.channel
    if options.layout.startswith("fisheye"):
        return "red"
    if seen.has_alpha and not seen.is_transparent:
        notes.append(f"{name}: there is an alpha channel, but all is opaque; luma is the matte")
    return "alpha" if seen.is_transparent else "luma"


def _range(seen: Seen, options: InputOptions) -> tuple[bool, str]:
    """Whether luma is limited, and why."""
    if options.range != "auto":
        return options.range == "limited", " (as asked for)"
    if seen.said:
        return seen.said == 1, " (said by the file)"
    return found_range(seen.histogram, seen.depth) == "limited", " (found from the values)"
