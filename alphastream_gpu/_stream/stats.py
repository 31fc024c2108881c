"""
Stats: a consistent snapshot of the counters of a stream.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from .._exceptions import ErrorCode
from .._sources.base import RequestTiming

__all__ = ["LastError", "Stats", "counted", "new_counters"]


@dataclass(frozen=True, slots=True)
class Stats:
    """
    Counters since the stream was made, and what is known of the line; all taken at one moment.
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
    retries: int = 0
    """Requests that were repeated because they had failed."""
    retry_reasons: Mapping[str, int] = field(default_factory=dict, hash=False)
    """How often requests were repeated, by the reason. URLs are shown without user, query and fragment."""
    bandwidth: float | None = None
    """Estimated rate of the source, in bytes a second; None if nothing is loaded. Too low until the source was read
    several times."""
    latency: float | None = None
    """Estimated seconds from a request to its first bytes; None if nothing is loaded. 0 until the source was read
    several times."""
    recent_requests: tuple[RequestTiming, ...] = ()
    """The last requests of the source, the oldest first; at most 64 over HTTP, none of files and memory."""

    def since(self, earlier: Stats) -> Stats:
        """
        What came after an earlier snapshot of the same stream.

        Counters are differences, and the requests those that ended since. What says how something is now stays:
        :attr:`cached_frames`, :attr:`cached_bytes`, :attr:`bandwidth` and :attr:`latency`.

        Args:
            earlier: the earlier snapshot.
        """
        counts = {name: getattr(self, name) - getattr(earlier, name) for name in _COUNTERS}
        reasons = {
            reason: number - earlier.retry_reasons.get(reason, 0)
            for reason, number in self.retry_reasons.items()
            if number != earlier.retry_reasons.get(reason, 0)
        }
        known = set(earlier.recent_requests)
        requests = tuple(one for one in self.recent_requests if one not in known)
        return replace(self, **counts, retry_reasons=reasons, recent_requests=requests)

    def to_json(self) -> str:
        """
        One line of JSON for a log: an object with the names of the fields, without those that are 0, None or empty.

        Seconds are rounded to microseconds, rates to bytes a second.
        """
        found: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self)}
        found["retry_reasons"] = dict(self.retry_reasons)
        found["recent_requests"] = [
            {**asdict(one), "began_at": round(one.began_at, 6), "seconds": round(one.seconds, 6)}
            for one in self.recent_requests
        ]
        found["bandwidth"] = self.bandwidth and round(self.bandwidth)
        found["latency"] = self.latency and round(self.latency, 6)
        return json.dumps({name: value for name, value in found.items() if value}, separators=(",", ":"))


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


def counted(counts: dict[str, int], reasons: dict[str, int]) -> Stats:
    """The counters as a snapshot."""
    values: dict[str, Any] = dict(counts)
    return Stats(**values, retry_reasons=reasons)


def new_counters() -> dict[str, int]:
    """One zero per counter of :class:`Stats`."""
    return dict.fromkeys((*_COUNTERS, *_NOW), 0)


_NOW = ("cached_frames", "cached_bytes")
"""Numbers that say how something is now."""
_COUNTERS = tuple(one.name for one in fields(Stats) if one.default == 0 and one.name not in _NOW)
