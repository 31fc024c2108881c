"""
Stats: a consistent snapshot of the counters of a stream.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from .._exceptions import ErrorCode

__all__ = ["LastError", "Stats", "new_counters"]


@dataclass(frozen=True, slots=True)
class Stats:
    """
    Counters since the stream was made; all taken at one moment.
    """

    hits: int = 0
    """Calls of `get_frame` and `get_geometry` that were answered at once."""
    misses: int = 0
    """Calls that had to wait, whatever came of it."""
    timeouts: int = 0
    """Of the misses, those calls whose time box ended first."""
    joined: int = 0
    """Of the misses, those calls that waited for a fetch already under way."""
    failed: int = 0
    """Calls that ended with another error than a timeout."""
    decoded: int = 0
    """Frames inflated and decoded for play."""
    prefetched: int = 0
    """Of the decoded frames, those that nobody was waiting for."""
    evicted: int = 0
    """Frames dropped from the cache to make room."""
    abandoned: int = 0
    """Fetches given up because play jumped elsewhere."""
    made_ahead: int = 0
    """Masks and strips made before they were asked for."""
    reads: int = 0
    """Reads from the source, of the whole stream."""
    bytes_read: int = 0
    """Bytes of those reads."""
    requests: int = 0
    """HTTP requests, retries and redirects included; 0 for files and memory."""
    bytes_fetched: int = 0
    """Body bytes that came from servers."""
    cached_frames: int = 0
    """Frames in the cache now."""
    cached_bytes: int = 0
    """Bytes of geometry in the cache now."""


@dataclass(frozen=True, slots=True)
class LastError:
    """
    Why the last `get_frame`, `get_geometry` or strip call gave nothing.
    """

    code: ErrorCode
    """What kind of failure."""
    message: str
    """What failed, where, what was expected and found, and what to do about it."""
    frame_index: int | None
    """The frame asked for, where there was one."""


def new_counters() -> dict[str, int]:
    """One zero per counter of :class:`Stats`."""
    return {field.name: 0 for field in fields(Stats)}
