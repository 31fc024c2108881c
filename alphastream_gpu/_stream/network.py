"""
Network: what a session knows of the line: latency, bandwidth, and its last reads. No I/O.

Each read tells how long it took for how many bytes. Reads that overlap share the line, so bytes are counted against the
time since the read before ended, and the latency is taken off a read that began later. Sums of the last reads, with
smaller and smaller weights, give the bandwidth. The latency is that of the quickest of the last reads that were too
short for the bandwidth to matter; until there was one, it counts as none, so that the bandwidth is not overestimated.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from .._exceptions import AlphaStreamError
from .plan import FrameSpan

__all__ = ["Network", "Read"]

_KEPT_READS: Final = 256
"""Reads that are remembered."""
_KEPT_BYTES: Final = 512 * 1024
"""Bytes after which a read counts less than half for the bandwidth."""
_KEPT_WAITS: Final = 8
_LEAST_BYTES: Final = 1024
"""Fewer tell nothing of the bandwidth."""
_LEAST_SECONDS: Final = 1e-6
_SHORT_SHARE: Final = 0.2
"""How much of its time a read may take for its bytes and still tell the latency."""


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
        self._waits: deque[float] = deque(maxlen=_KEPT_WAITS)
        self._bytes, self._seconds = float(max(1, open_bytes)), max(open_seconds, _LEAST_SECONDS)
        self._ended_at = 0.0
        """When the last read ended."""
        self._open_seconds = open_seconds

    @property
    def latency(self) -> float:
        """Seconds from a request to its first bytes."""
        return min(tuple(self._waits), default=self._open_seconds)

    @property
    def bandwidth(self) -> float:
        """Bytes a second. Too low at first, where the latency is part of the only read."""
        return self._bytes / self._seconds

    def ended(self, span: FrameSpan, began_at: float, ended_at: float, n_bytes: int) -> None:
        """A read has ended; `n_bytes` came from the source."""
        self._reads.append(Read(span.first, span.stop, began_at, ended_at, n_bytes, None))
        if n_bytes == 0:
            return
        taken = n_bytes / self.bandwidth
        if taken <= _SHORT_SHARE * (ended_at - began_at):
            self._waits.append(ended_at - began_at - taken)
        if n_bytes >= _LEAST_BYTES:
            latency = min(self._waits, default=0.0)
            seconds = ended_at - max(self._ended_at, began_at + latency)
            keep = _KEPT_BYTES / (_KEPT_BYTES + n_bytes)
            self._bytes = self._bytes * keep + n_bytes
            self._seconds = self._seconds * keep + max(seconds, _LEAST_SECONDS)
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
