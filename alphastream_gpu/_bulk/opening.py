"""
Opening: opens the streams of a job, and tells how each is named in results.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .._arrays import MaskArray, open_array, reopening_copy, stream_of
from .._config import Config
from .._exceptions import AlphaStreamError
from .._format.cipher import AsvrKey
from .._format.names import scheme_of, shown_path
from .._sources import Source
from .._sources.http.address import shown
from .running import Failure

__all__ = ["Streams", "check_sendable", "close_streams", "is_sendable", "open_streams", "shown_source", "sources_of"]


@dataclass(frozen=True)
class Streams:
    """A stream of a job, or streams whose frames are computed together."""

    names: tuple[str, ...]
    fingerprints: tuple[str, ...]
    arrays: tuple[MaskArray, ...]
    n_frames: int
    """Frames that all of them have."""


def sources_of(sources: Any) -> list[Any]:
    """The sources of a job: a list, or one that stands alone."""
    if isinstance(sources, str | os.PathLike | bytes | bytearray | memoryview | Source) or callable(sources):
        return [sources]
    if isinstance(sources, MaskArray):
        raise TypeError(
            f"sources: expected a path or a URL, or a list of them, found {type(sources).__name__}; give what the array"
            " was opened from"
        )
    try:
        return list(sources)
    except TypeError:
        raise TypeError(f"sources: expected a source or a list of sources, found {type(sources).__name__}") from None


def open_streams(
    sources: Sequence[Any], *, size: tuple[int, int] | None, key: AsvrKey | None, config: Config | None
) -> Streams | Failure:
    """
    Open streams that belong together, and close them again: what is returned opens them when it is used.

    Returns:
        The streams, or why they cannot be used.
    """
    names, fingerprints, arrays = [], [], []
    quiet = replace(config or Config(), prefetch_frames=0, ready_frames=0)
    for source in sources:
        name = shown_source(source)
        try:
            array = open_array(source, size, key=key, config=quiet)
        except AlphaStreamError as exc:
            return Failure.of(name, exc)
        if isinstance(source, Source):  # it may not be opened twice
            arrays.append(array)
        else:
            arrays.append(reopening_copy(array))
        if callable(source):
            with stream_of(array) as stream:
                name = stream._lifetime.open_session().reader.source.name
        names.append(name)
        fingerprints.append(array.fingerprint)
        if not isinstance(source, Source):
            array.close()
    counts = [len(array) for array in arrays]
    return Streams(tuple(names), tuple(fingerprints), tuple(arrays), min(counts))


def close_streams(streams: Sequence[Streams]) -> None:
    """Close what the tasks of a job have opened in this process."""
    for one in streams:
        for array in one.arrays:
            array.close()


def is_sendable(streams: Sequence[Streams]) -> bool:
    """Whether arrays can be pickled, and are small: content in memory would be sent with each task."""
    return all(_refusal(array) is None for one in streams for array in one.arrays)


def check_sendable(streams: Sequence[Streams]) -> None:
    """
    Refuse arrays that cannot be sent to the workers of a cluster.

    Raises:
        TypeError: an array cannot be pickled; the message says why.
        ValueError: it is too large.
    """
    for one in streams:
        for array in one.arrays:
            refusal = _refusal(array)
            if refusal is not None:
                raise refusal


_MOST_PICKLED = 1 << 20


def _refusal(array: MaskArray) -> Exception | None:
    try:
        size = len(pickle.dumps(array))
    except Exception as exc:  # whatever the caller's callable or mirrors raise
        return TypeError(f"the stream cannot be sent to workers: {exc}")
    if size > _MOST_PICKLED:
        return ValueError(
            f"sources: expected a path or a URL for a cluster, found {size:,} bytes in memory, which would be sent with"
            " each task; write them to a file, or compute in this process"
        )
    return None


def shown_source(source: Any) -> str:
    """The name of a source in results and messages, without what may be secret."""
    if isinstance(source, str | os.PathLike):
        text = os.fsdecode(source)
        try:
            return shown(text) if scheme_of(text) in ("http", "https") else shown_path(text)
        except ValueError:  # opening it reports what is wrong
            return "a malformed URL"
    if isinstance(source, Source):
        return source.name
    if isinstance(source, list | tuple) and source:
        return shown_source(source[0])
    return "a signed URL" if callable(source) else "content in memory"
