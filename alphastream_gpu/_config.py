"""
Config: the options of a stream, with the default and the range of each.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from ._format.polystream import MAX_PAYLOAD_BYTES
from ._geometry.size import MAX_NATIVE_EDGE

__all__ = ["OPTIONS", "Config", "Prefetch", "Processing", "Validate", "check_option", "option_from_text"]

KIB: Final = 1024
MIB: Final = 1024 * 1024
GIB: Final = 1024 * 1024 * 1024


Validate: TypeAlias = Literal["etag", "size", "none"]
"""What must not change between replies: ETag (or else Last-Modified) and length, only the length, or nothing."""


Processing: TypeAlias = Literal["mask", "triangles", "both"]
"""What is made ahead of the play head, beside the geometry."""


Prefetch: TypeAlias = Literal["ahead", "all"]
"""What is fetched before it is asked for: the frames ahead of the play head, or also the rest of the file."""


def _option(default: Any, low: Any, high: Any, unit: str, doc: str, convert: Callable[[Any], Any] = int) -> Any:
    """
    Make a field whose metadata holds its range, unit and description.

    Every option also needs a method of the same name in ``_builder.py``. ``docs/configuration.py`` makes the table of
    options from the metadata.

    If `low` is None, `high` has the words that are allowed, or it is a text that says what `convert` accepts.
    """
    meta = {"low": low, "high": high, "unit": unit, "doc": doc, "convert": convert}
    if callable(default):
        return field(default_factory=default, metadata=meta)
    return field(default=default, metadata=meta)


def _whole(value: Any) -> int:
    """Convert to int; a number with a fraction, a bool and a string are refused."""
    if isinstance(value, (bool, np.bool_)) or int(value) != value:
        raise ValueError("not a whole number")
    return int(value)


def _number(value: Any) -> float:
    """Convert to float; a string and a bool are refused."""
    if isinstance(value, bool | np.bool_ | str | bytes):
        raise ValueError("not a number")
    return float(value)


def _truth(value: Any) -> bool:
    """Convert to bool; anything but a bool is refused, because ``bool("no")`` is True."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError("not a boolean")
    return bool(value)


def _fraction(value: Any) -> Fraction:
    if isinstance(value, (bool, np.bool_)):
        raise ValueError("not a number")
    if isinstance(value, np.ndarray):
        value = value[()]  # makes a scalar of a 0-d array
    if isinstance(value, np.floating):
        value = Fraction(str(value))  # str() keeps the 59.94 of a float32; as a float64 it is 59.939998...
    elif isinstance(value, np.integer):
        value = int(value)
    return Fraction(value) if not isinstance(value, float) else Fraction(value).limit_denominator(1_000_000)


def _size(value: Any) -> tuple[int, int]:
    width, height = value
    return _whole(width), _whole(height)


def _folder(value: Any) -> str | None:
    """Convert to the path of a folder; None is kept."""
    if value is None:
        return None
    path = os.fspath(value)
    if not isinstance(path, str) or not path or "\0" in path:
        raise ValueError("not a path")
    return path


def _cpu_count() -> int:
    return min(64, os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True)
class Config:
    """
    The options of a stream. Immutable, compared by value, and checked on creation.

    Raises:
        ValueError: an option is outside its range; the message names the option, the value and the range.
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
    init_timeout: float = _option(
        10.0, 0.1, 300.0, "s", "Deadline for opening a stream: for reading its header and its sizes table.", _number
    )
    cache_frames: int = _option(
        512,
        1,
        65536,
        "frames",
        "Most frames whose geometry is cached; fewer if they take more than 512 MiB. The least recently used frames are"
        " dropped first.",
        _whole,
    )
    prefetch_frames: int = _option(
        120, 0, 65536, "frames", "Frames fetched ahead of the play head, at most cache_frames; 0 fetches none.", _whole
    )
    get_frame_timebox: float = _option(
        12.0, 0.0, 1000.0, "ms", "How long get_frame and get_geometry wait for a frame that is not ready.", _number
    )
    raster_workers: int = _option(2, 1, 64, "threads", "Threads that rasterize frames ahead of the play head.", _whole)
    ready_frames: int = _option(10, 0, 256, "frames", "Masks rasterized ahead of the play head.", _whole)
    processing: Processing = _option(
        "mask",
        None,
        ("mask", "triangles", "both"),
        "",
        "What is made of the next ready_frames frames besides the geometry: masks, cover strips, or both.",
        str,
    )
    decode_workers: int = _option(_cpu_count, 1, 64, "threads", "Threads that inflate and decode frames.", _whole)
    file_buffer: int = _option(
        128 * KIB, 4 * KIB, 64 * MIB, "bytes", "Read buffer for a file that cannot be mapped into memory.", _whole
    )
    http_timeout: float = _option(
        10.0, 1.0, 300.0, "s", "Limit for one HTTP request, from connecting to the last byte.", _number
    )
    http_deadline: float = _option(
        30.0, 1.0, 3600.0, "s", "Limit for one read over HTTP, with all its retries, redirects and pauses.", _number
    )
    http_retries: int = _option(3, 0, 10, "retries", "How often a failed request is repeated.", _whole)
    http_backoff: float = _option(
        250.0,
        0.0,
        60_000.0,
        "ms",
        "Pause before the first retry; it doubles with each retry, and random jitter is added.",
        _number,
    )
    http_chunk: int = _option(1 * MIB, 4 * KIB, 64 * MIB, "bytes", "Most bytes that one request asks for.", _whole)
    http_concurrency: int = _option(4, 1, 64, "requests", "Most requests at the same time.", _whole)
    http_whole_file_cap: int = _option(
        64 * MIB,
        0,
        1024 * MIB,
        "bytes",
        "Largest file accepted from a server that ignores ranges and sends the whole file; 0 accepts none.",
        _whole,
    )
    http_validate: Validate = _option(
        "etag",
        None,
        ("etag", "size", "none"),
        "",
        "What must not change between replies: etag (a strong ETag, or else Last-Modified, and the length), size (the"
        " length) or none. With size and none, bytes of different versions of a file can be mixed, which gives wrong"
        " masks or frames that do not decode.",
        str,
    )
    http2: bool = _option(False, None, (False, True), "", "Whether to offer HTTP/2; needs the h2 package.", _truth)
    http_offline: bool = _option(
        False,
        None,
        (False, True),
        "",
        "Whether to read an HTTP source from the disk cache only, without asking the server.",
        _truth,
    )
    cache_dir: str | os.PathLike[str] | None = _option(
        None,
        None,
        "a path or None",
        "",
        "Folder of the disk cache for HTTP sources; None keeps nothing on the disk. Several processes may use the same"
        " folder.",
        _folder,
    )
    cache_bytes: int = _option(
        1 * GIB,
        1 * MIB,
        1024 * GIB,
        "bytes",
        "Most bytes in the disk cache, about. The least recently used files are removed first; a longer file is not"
        " cached.",
        _whole,
    )
    prefetch: Prefetch = _option(
        "ahead",
        None,
        ("ahead", "all"),
        "",
        "What is fetched before it is asked for: the frames ahead of the play head, or, with a disk cache, also the"
        " rest of the file while the line is idle.",
        str,
    )
    max_frame_bytes: int = _option(
        16 * MIB,
        64,
        MAX_PAYLOAD_BYTES,
        "bytes",
        "Largest payload of a frame that is accepted, after inflating.",
        _whole,
    )
    max_frames: int = _option(16_777_216, 1, 1 << 28, "frames", "Most frames that a stream may have.", _whole)
    http_headers: Mapping[str, str] | None = field(default=None, repr=False, compare=False)
    """Headers for an HTTP source, as :func:`open` takes them. They are secrets: neither shown nor compared."""
    http_client: Any = field(default=None, repr=False, compare=False)
    """Client for an HTTP source, as :func:`open` takes it. Neither shown nor compared."""

    def __post_init__(self) -> None:
        if self.http_headers is not None:
            if not isinstance(self.http_headers, Mapping):
                raise TypeError(f"http_headers: expected a mapping, found {type(self.http_headers).__name__}")
            object.__setattr__(self, "http_headers", MappingProxyType(dict(self.http_headers)))
        for option in OPTIONS:
            value = _checked(option.name, getattr(self, option.name), option.metadata)
            object.__setattr__(self, option.name, value)
        if self.prefetch_frames > self.cache_frames:
            raise ValueError(
                f"prefetch_frames: expected 0..{self.cache_frames} (cache_frames) frames, found {self.prefetch_frames}"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        if self.http_headers is not None or self.http_client is not None:
            raise TypeError(
                "a Config with http_headers or http_client cannot be pickled or copied: headers are secrets; pass a"
                " Config without them, and set them where they are needed"
            )
        return _config_of, ({option.name: getattr(self, option.name) for option in OPTIONS},)


OPTIONS: Final = tuple(option for option in fields(Config) if option.metadata)
"""The fields that have a range: all but headers and client."""


def _config_of(options: dict[str, Any]) -> Config:
    return Config(**options)


def _checked(name: str, given: Any, meta: Mapping[str, Any], *, text: str | None = None) -> Any:
    """Convert a value and check its range; ValueError if it is outside. The message shows `text` if there is one."""
    try:
        value = meta["convert"](given)
        if isinstance(meta["high"], str):
            fits = True
        elif meta["low"] is None:
            fits = value in meta["high"]
        elif isinstance(value, tuple):
            fits = all(a <= b <= c for a, b, c in zip(meta["low"], value, meta["high"], strict=True))
        else:
            fits = meta["low"] <= value <= meta["high"]
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        fits = False
    if not fits:
        shown = str(given) if isinstance(given, Fraction) else repr(given)
        found = shown if text is None else repr(text)
        raise ValueError(f"{name}: expected {_allowed(meta, in_python=text is None)}, found {found}")
    return value


def check_option(name: str, value: Any, *, shown_as: str) -> Any:
    """
    Check a value as :class:`Config` checks it, for classes that take some of its options as arguments.

    Args:
        name: the name of the option in Config.
        value: the caller's value.
        shown_as: the name of the option in the error message.

    Returns:
        The converted value.

    Raises:
        ValueError: the value is outside the option's range.
    """
    meta = next(option.metadata for option in OPTIONS if option.name == name)
    return _checked(shown_as, value, meta)


def option_from_text(name: str, text: str, *, shown_as: str = "") -> Any:
    """
    Parse the text form of an option, as C callers and the command line give it.

    Args:
        name: the name of the option in :class:`Config`.
        text: a number (a fraction such as ``60000/1001`` for a rate), ``true`` or ``false``, a size such as
            ``2048x1024``, or a word.
        shown_as: the name of the option in the error message, if it differs. The message shows values as texts.

    Returns:
        The checked value.

    Raises:
        ValueError: the text has another type than the option, or the value is outside the option's range.
    """
    meta = next(option.metadata for option in OPTIONS if option.name == name)
    read = _READERS.get(meta["convert"], str)
    try:
        value = read(text.strip())
    except (KeyError, ValueError):
        value = text  # _checked refuses the text
    return _checked(shown_as or name, value, meta, text=text)


def _size_of(text: str) -> tuple[int, ...]:
    width, height = re.split("[xX]", text)
    return int(width), int(height)


_READERS: Final[dict[Any, Callable[[str], Any]]] = {
    _whole: int,
    _number: float,
    _truth: {"true": True, "1": True, "false": False, "0": False}.__getitem__,
    _size: _size_of,
    _folder: lambda text: text or None,
}


def _allowed(meta: Mapping[str, Any], *, in_python: bool) -> str:
    if isinstance(meta["high"], str):
        return str(meta["high"])
    if meta["low"] is None:
        words = map(repr, meta["high"])
        return " or ".join(words if in_python or meta["convert"] is not _truth else ("true", "false"))
    return f"{_show(meta['low'])}..{_show(meta['high'])} {meta['unit']}"


def _show(bound: Any) -> str:
    return "x".join(map(str, bound)) if isinstance(bound, tuple) else f"{bound}"
