"""
Network: what a session knows of the line: latency, bandwidth, and its last reads. No I/O.

Each read tells how long it took for how many bytes. Reads that overlap share the line, so bytes are counted against the
time since the read before ended, and the latency is taken off a read that began later. Sums of the last reads, with
smaller and smaller weights, give the bandwidth. The latency is what the smallest of the last reads took beyond its
bytes. Each estimate is made with the other one; that converges, since the smallest read has few bytes. Where all reads
have the same size, the latency stays part of the bandwidth, which is then too low and never too high.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from .._exceptions import AlphaStreamError
from .plan import FrameSpan

__all__ = ["Network", "Read"]

_KEPT_READS: Final = 256
"""Reads that are remembered."""
_KEEP: Final = 0.85
"""How much of the sums is kept with each read."""
_KEPT_WAITS: Final = 8
_LEAST_BYTES: Final = 1024
"""Fewer tell nothing of the bandwidth."""
_LEAST_SECONDS: Final = 1e-6


class Read(NamedTuple):
    """A read that has ended."""

    first: int
    stop: int
    began_at: float
    """By ``time.monotonic``, as the next."""
    ended_at: float
    n_bytes: int
    """0 for bytes that were here already."""
    error: AlphaStreamError | None


class Network:
    """
    The line of one session. Only the loop writes here; any thread reads.

    Args:
        open_seconds: how long the first read took.
        open_bytes: how many bytes it brought.
    """

    def __init__(self, open_seconds: float, open_bytes: int) -> None:
        self._reads: deque[Read] = deque(maxlen=_KEPT_READS)
        self._alone: deque[tuple[int, float]] = deque(maxlen=_KEPT_WAITS)
        """Bytes and seconds of the last reads that began while no other was under way."""
        self._bytes, self._seconds = float(max(1, open_bytes)), max(open_seconds, _LEAST_SECONDS)
        self._ended_at = 0.0
        """When the last read ended."""
        self.latency = 0.0
        """Seconds from a request to its first bytes; 0 until it can be told from the time for the bytes."""

    @property
    def bandwidth(self) -> float:
        """Bytes a second. Too low at first, where the latency is part of the only read."""
        return self._bytes / self._seconds

    def ended(self, span: FrameSpan, began_at: float, ended_at: float, n_bytes: int) -> None:
        """A read has ended; `n_bytes` came from the source."""
        self._reads.append(Read(span.first, span.stop, began_at, ended_at, n_bytes, None))
        if n_bytes == 0:
            return
        latency = 0.0
        if began_at >= self._ended_at:
            self._alone.append((n_bytes, ended_at - began_at))
        if self._alone:
            least, seconds = min(self._alone)
            latency = self.latency = max(0.0, seconds - least / self.bandwidth)
        if n_bytes >= _LEAST_BYTES:
            seconds = ended_at - max(self._ended_at, began_at + latency)
            self._bytes = self._bytes * _KEEP + n_bytes
            self._seconds = self._seconds * _KEEP + max(seconds, _LEAST_SECONDS)
        self._ended_at = ended_at

    def failed(self, span: FrameSpan, began_at: float, ended_at: float, error: AlphaStreamError) -> None:
        """A read has failed."""
        self._reads.append(Read(span.first, span.stop, began_at, ended_at, 0, error))

    def last_read(self, index: int) -> Read | None:
        """The last read of a frame that is remembered."""
        for read in reversed(tuple(self._reads)):
            if read.first <= index < read.stop:
                return read
        return None
