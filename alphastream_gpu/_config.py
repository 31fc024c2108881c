"""
Options of a stream, each with its default and its range named once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from ._format.polystream import MAX_PAYLOAD_BYTES
from ._geometry.size import MAX_NATIVE_EDGE

__all__ = ["Config", "Validate", "check_option", "option_from_text"]

KIB: Final = 1024
MIB: Final = 1024 * 1024


Validate: TypeAlias = Literal["etag", "size", "none"]
"""What must stay the same from reply to reply: ETag (else Last-Modified) and length, only the length, or nothing."""


def _option(default: Any, low: Any, high: Any, unit: str, doc: str, convert: Callable[[Any], Any] = int) -> Any:
    """A field whose range, unit and description travel with it; the docs' table is generated from these."""
    meta = {"low": low, "high": high, "unit": unit, "doc": doc, "convert": convert}
    if callable(default):
        return field(default_factory=default, metadata=meta)
    return field(default=default, metadata=meta)


def _whole(value: Any) -> int:
    """An int, but never by silently cutting a fraction off or by reading a string."""
    if isinstance(value, (bool, np.bool_)) or int(value) != value:
        raise ValueError("not a whole number")
    return int(value)


def _number(value: Any) -> float:
    """A float, but never by reading a string or counting a truth."""
    if isinstance(value, bool | np.bool_ | str | bytes):
        raise ValueError("not a number")
    return float(value)


def _truth(value: Any) -> bool:
    """A bool, but never by taking a text such as "no" for yes."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError("not a truth")
    return bool(value)


def _fraction(value: Any) -> Fraction:
    if isinstance(value, (bool, np.bool_)):
        raise ValueError("not a number")
    if isinstance(value, np.ndarray):
        value = value[()]  # of no dimensions, that is its number
    if isinstance(value, np.floating):
        value = Fraction(str(value))  # float32's 59.94, not what float64 shows of it
    elif isinstance(value, np.integer):
        value = int(value)
    return Fraction(value) if not isinstance(value, float) else Fraction(value).limit_denominator(1_000_000)


def _size(value: Any) -> tuple[int, int]:
    width, height = value
    return _whole(width), _whole(height)


def _cpu_count() -> int:
    return min(64, os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True)
class Config:
    """
    Options of a stream: immutable, compared by value, checked when made.

    Raises:
        ValueError: an option outside its range; the message names the option, the value and the range.
    """

    native_size: tuple[int, int] = _option(
        (2048, 1024),
        (1, 1),
        (MAX_NATIVE_EDGE, MAX_NATIVE_EDGE),
        "pixels",
        "Width and height of the grid that the polygons are drawn on; the files do not store it.",
        _size,
    )
    fps: Fraction = _option(
        Fraction(60), Fraction(1), Fraction(1000), "frames/s", "Frame rate; the files do not store it.", _fraction
    )
    init_timeout: float = _option(10.0, 0.1, 300.0, "s", "Deadline for opening: header and table read.", _number)
    cache_frames: int = _option(
        512,
        1,
        65536,
        "frames",
        "Frames of geometry kept, least recently used going first; fewer where they would take more than 512 MiB.",
        _whole,
    )
    prefetch_frames: int = _option(
        120, 0, 65536, "frames", "Frames fetched ahead of the play head, at most cache_frames; 0 turns it off.", _whole
    )
    get_frame_timebox: float = _option(
        12.0, 0.0, 1000.0, "ms", "How long get_frame and get_geometry wait for a frame that is not there.", _number
    )
    raster_workers: int = _option(2, 1, 64, "threads", "Threads that rasterize ahead.", _whole)
    ready_frames: int = _option(10, 0, 256, "frames", "Masks rasterized ahead of the play head.", _whole)
    processing: str = _option(
        "mask",
        None,
        ("mask", "triangles", "both"),
        "",
        "What is made ahead beside the geometry, ready_frames of it: masks, cover strips, or both.",
        str,
    )
    decode_workers: int = _option(_cpu_count, 1, 64, "threads", "Threads that inflate and decode.", _whole)
    file_buffer: int = _option(
        128 * KIB, 4 * KIB, 64 * MIB, "bytes", "Buffer of a file that cannot be mapped into memory.", _whole
    )
    http_timeout: float = _option(10.0, 1.0, 300.0, "s", "One HTTP request, from connecting to the last byte.", _number)
    http_deadline: float = _option(
        30.0, 1.0, 3600.0, "s", "One read over HTTP with all its retries, redirects and waits.", _number
    )
    http_retries: int = _option(3, 0, 10, "retries", "How often a failed request is repeated.", _whole)
    http_backoff: float = _option(
        250.0, 0.0, 60_000.0, "ms", "Pause before the first repetition; doubles, with jitter on top.", _number
    )
    http_chunk: int = _option(1 * MIB, 4 * KIB, 64 * MIB, "bytes", "Most bytes of one request.", _whole)
    http_concurrency: int = _option(4, 1, 64, "requests", "Most requests at a time.", _whole)
    http_whole_file_cap: int = _option(
        64 * MIB, 0, 1024 * MIB, "bytes", "Most bytes taken whole from a server that ignores ranges; 0 refuses.", _whole
    )
    http_validate: Validate = _option(
        "etag",
        None,
        ("etag", "size", "none"),
        "",
        "What must stay the same from reply to reply: etag (a strong ETag, else Last-Modified, and the length), size"
        " (the length) or none. With size and none, versions of a file that differ can be mixed: wrong masks, or frames"
        " that do not decode.",
        str,
    )
    http2: bool = _option(False, None, (False, True), "", "Whether to offer HTTP/2; needs the h2 package.", _truth)
    max_frame_bytes: int = _option(
        16 * MIB, 64, MAX_PAYLOAD_BYTES, "bytes", "Largest payload accepted, inflated.", _whole
    )
    max_frames: int = _option(16_777_216, 1, 1 << 28, "frames", "Most frames accepted in one stream.", _whole)

    def __post_init__(self) -> None:
        for option in fields(self):
            value = _checked(option.name, getattr(self, option.name), option.metadata)
            object.__setattr__(self, option.name, value)
        if self.prefetch_frames > self.cache_frames:
            raise ValueError(
                f"prefetch_frames: expected 0..{self.cache_frames} (cache_frames) frames, found {self.prefetch_frames}"
            )


def _checked(name: str, given: Any, meta: Mapping[str, Any]) -> Any:
    """The value, converted; ValueError if it does not fit."""
    try:
        value = meta["convert"](given)
        if meta["low"] is None:
            fits = value in meta["high"]
        elif isinstance(value, tuple):
            fits = all(a <= b <= c for a, b, c in zip(meta["low"], value, meta["high"], strict=True))
        else:
            fits = meta["low"] <= value <= meta["high"]
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        fits = False
    if not fits:
        found = str(given) if isinstance(given, Fraction) else repr(given)
        raise ValueError(f"{name}: expected {_allowed(meta)}, found {found}")
    return value


def check_option(name: str, value: Any, *, shown_as: str) -> Any:
    """
    The value of an option of :class:`Config`, for whoever takes some of them beside it.

    Args:
        name: the option's.
        value: what the caller gave.
        shown_as: what the caller calls the option.

    Raises:
        ValueError: outside the option's range.
    """
    meta = next(option.metadata for option in fields(Config) if option.name == name)
    return _checked(shown_as, value, meta)


def option_from_text(name: str, text: str) -> Any:
    """
    An option's value, from how callers without Python write it.

    Args:
        name: of an option of :class:`Config`.
        text: a number (a fraction such as ``60000/1001`` for a rate), ``true`` or ``false``, a size such as
            ``2048x1024``, or a word.

    Raises:
        ValueError: not of the option's kind, or outside its range.
    """
    meta = next(option.metadata for option in fields(Config) if option.name == name)
    read = _READERS.get(meta["convert"], str)
    try:
        value = read(text.strip())
    except (KeyError, ValueError):
        value = text  # which is refused below, and shown
    return _checked(name, value, meta)


def _size_of(text: str) -> tuple[int, ...]:
    width, height = re.split("[xX]", text)
    return int(width), int(height)


_READERS: Final[dict[Any, Callable[[str], Any]]] = {
    _whole: int,
    _number: float,
    _truth: {"true": True, "1": True, "false": False, "0": False}.__getitem__,
    _size: _size_of,
}


def _allowed(meta: Mapping[str, Any]) -> str:
    if meta["low"] is None:
        return " or ".join(map(repr, meta["high"]))
    return f"{_show(meta['low'])}..{_show(meta['high'])} {meta['unit']}"


def _show(bound: Any) -> str:
    return "x".join(map(str, bound)) if isinstance(bound, tuple) else f"{bound}"
