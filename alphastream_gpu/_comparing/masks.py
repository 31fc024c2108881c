"""
Masks: opens a stream, a video, pictures or arrays as a sequence of masks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from .._config import Config
from .._format.cipher import AsvrKey
from .._format.container import ASVP_MAGIC
from .._inputs import InputOptions, open_frames
from .._open import open as open_stream
from .._raster.coverage import rasterize
from .._stream.stream import AlphaStream

__all__ = ["Masks", "open_masks"]

_STREAM_SUFFIXES: Final = (".asvp", ".asvr")
_SCHEMES: Final = ("http:", "https:")


@dataclass(frozen=True)
class Masks:
    """A sequence of masks, to be read once."""

    size: tuple[int, int]
    """``(width, height)`` of all of them."""
    count: int | None
    """How many there are; None if the input does not tell before its end."""
    masks: Callable[[], Iterator[npt.NDArray[np.bool_]]]
    """Begins to read them: bool (height, width), C-contiguous."""


def open_masks(
    stack: contextlib.ExitStack,
    *sources: object,
    key: AsvrKey | None,
    config: Config | None,
    options: InputOptions,
) -> list[Masks]:
    """
    Open sequences of masks.

    Args:
        stack: closes what was opened.
        sources: each an :class:`AlphaStream`, a path or URL of a stream, or what :func:`open_frames` takes.
        key: of an ASVR.
        config: options of streams that are to be opened. If None, they have the size of the first source that has one.
        options: how the others are read.
    """
    opened: dict[int, Masks] = {}
    for place, source in enumerate(sources):
        if isinstance(source, AlphaStream):
            opened[place] = _of_stream(source)
        elif not _is_stream(source):
            frames = stack.enter_context(contextlib.closing(open_frames(source, options)))
            opened[place] = Masks(frames.size, frames.count, frames.__iter__)
    if config is None:
        config = next((Config(native_size=masks.size) for masks in opened.values()), Config())
    quiet = replace(config, prefetch_frames=0, ready_frames=0)
    for place, source in enumerate(sources):
        if place not in opened:
            stream = stack.enter_context(open_stream(source, key=key, config=quiet))  # type: ignore[arg-type]
            opened[place] = _of_stream(stream)
    return [opened[place] for place in range(len(sources))]


def _of_stream(stream: AlphaStream) -> Masks:
    size = stream.metadata.native_size

    def masks() -> Iterator[npt.NDArray[np.bool_]]:
        for geometry in stream.read_frames():
            yield rasterize(geometry, native_size=size) != 0

    return Masks(size, stream.metadata.frame_count, masks)


def _is_stream(source: object) -> bool:
    """Whether a source is a stream, by its first bytes, or by its name where these tell nothing."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(memoryview(source)[: len(ASVP_MAGIC)]) == ASVP_MAGIC
    if not isinstance(source, (str, os.PathLike)):
        return False
    text = os.fspath(source)
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    if text.lower().startswith(_SCHEMES) or text.lower().endswith(_STREAM_SUFFIXES):
        return True
    with contextlib.suppress(OSError):
        if Path(text).is_file():
            with open(text, "rb") as file:
                return file.read(len(ASVP_MAGIC)) == ASVP_MAGIC
    return False
