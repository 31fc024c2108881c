"""
Options: the options that say how an input is read as masks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from operator import index
from typing import Any, Final, Literal, get_args

from .._config import check_option
from .._geometry.size import check_size

__all__ = [
    "MAX_FRAMES",
    "Channel",
    "Eye",
    "Fit",
    "Gaps",
    "InputOptions",
    "Layout",
    "Range",
]

MAX_FRAMES: Final = 16_777_216
"""Most frames of an input: as many as a stream may have by default. Bounds what names and timestamps can ask for."""

Range = Literal["auto", "full", "limited"]
Channel = Literal["auto", "luma", "alpha", "red", "green", "blue"]
Layout = Literal["plain", "alpha-right", "alpha-left", "alpha-bottom", "alpha-top", "fisheye-a", "fisheye-b"]
Eye = Literal["both", "left", "right", "mono-to-both"]
Fit = Literal["exact", "stretch", "pad"]
Gaps = Literal["error", "repeat", "empty", "close"]

_WORDS: Final = {"range": Range, "channel": Channel, "layout": Layout, "eye": Eye, "fit": Fit, "gaps": Gaps}


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """
    How an input is read as masks. The values are checked on creation.

    Raises:
        ValueError: a value is outside its range; the message names option, range and value.
        TypeError: a value has the wrong type.
    """

    threshold: float | None = None
    """A pixel is set where its value is above this, in the input's own range (0..255 for 8 bits). Any finite number.
    None stands for half of the real range, and for 0 in logits."""
    range: Range = "auto"
    """Whether the luma of a video spans all values (full) or 16..235 and its like (limited). With auto, the file
    decides, or the values do if the file does not say."""
    channel: Channel = "auto"
    """Which channel is the matte. With auto, it is an alpha channel that is not opaque everywhere, otherwise luma, and
    red in fisheye layouts."""
    layout: Layout = "plain"
    """Where in the picture the matte is."""
    invert: bool = False
    """Whether set and unset are exchanged."""
    eye: Eye = "both"
    """Which half of a side-by-side picture is used; mono-to-both puts a picture there twice."""
    native_size: tuple[int, int] | None = None
    """Width and height of the masks in pixels, each 1..16384. None stands for the input's."""
    fit: Fit = "exact"
    """What happens to masks of another size than `native_size`."""
    fps: Fraction | None = None
    """Frames a second, 1..1000 or as Config.fps. A video is brought to this rate. None stands for the input's own."""
    gaps: Gaps = "error"
    """What stands for missing numbers between the names of pictures. It is an error, the frame before (repeat), an
    empty mask, or nothing (close)."""
    objects: tuple[str | int, ...] | None = None
    """Which objects are used. A number is an object's id, a text is a category. None stands for all of them, united."""
    packed: bool = False
    """Whether an npy file or an array holds eight pixels in a byte, as of :func:`rasterize_packed`: uint8 (frames,
    height, ceil(width / 8)), the lowest bit first. Then `native_size` gives the width. An npz file says by itself that
    it is packed."""
    start: int = 0
    """The first frame, from 0."""
    frames: int | None = None
    """The most frames, from 1. None stands for all."""

    def __post_init__(self) -> None:
        for name, words in _WORDS.items():
            if getattr(self, name) not in get_args(words):
                raise ValueError(f"{name}: expected one of {', '.join(get_args(words))}, found {getattr(self, name)!r}")
        if self.threshold is not None:
            self._set("threshold", _finite("threshold", self.threshold))
        if not isinstance(self.invert, bool):
            raise TypeError(f"invert: expected True or False, found {self.invert!r}")
        if not isinstance(self.packed, bool):
            raise TypeError(f"packed: expected True or False, found {self.packed!r}")
        if self.native_size is not None:
            self._set("native_size", check_size("native_size", self.native_size))
        if self.fps is not None:
            self._set("fps", check_option("fps", self.fps, shown_as="fps"))
        if self.objects is not None:
            self._set("objects", _objects(self.objects))
        self._set("start", _count("start", self.start, 0))
        if self.frames is not None:
            self._set("frames", _count("frames", self.frames, 1))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


def _finite(name: str, value: Any) -> float:
    if isinstance(value, bool | str | bytes):
        raise TypeError(f"{name}: expected a number, found {value!r}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name}: expected a finite number, found {value!r}")
    return number


def _count(name: str, value: Any, low: int) -> int:
    number = index(value)
    if not low <= number <= MAX_FRAMES:
        raise ValueError(f"{name}: expected {low}..{MAX_FRAMES}, found {number}")
    return number


def _objects(objects: Any) -> tuple[str | int, ...]:
    if isinstance(objects, str | int):
        raise TypeError(f"objects: expected a tuple of numbers and texts, found {objects!r}")
    found = tuple(one if isinstance(one, str) else index(one) for one in objects)
    if not found:
        raise ValueError("objects: expected at least one object, found none; None means all")
    return found
