"""
The compositor's numbers in words: the window's title, and the table of statistics.
"""

from __future__ import annotations

from time import monotonic
from typing import Final

from playing import View, describe

from alphastream_gpu import AlphaStream, Stats

__all__ = ["Readings", "in_bytes", "table"]

SECONDS: Final = 0.25
"""While playing, texts are renewed this often; more would be a flicker that costs time."""


class Readings:
    """
    What is said of a stream: renewed at once while paused, now and then while playing.
    """

    def __init__(self, stream: AlphaStream) -> None:
        self.title = ""
        self.rows: tuple[tuple[str, str], ...] = ()
        self._stream = stream
        self._at, self._n_shown = monotonic(), 0

    def renew(self, view: View) -> None:
        """Read the numbers, unless that was done a moment ago."""
        now = monotonic()
        if not view.is_paused and now - self._at < SECONDS and self.title:
            return
        rate = (view.n_shown - self._n_shown) / max(now - self._at, SECONDS)
        self._at, self._n_shown = now, view.n_shown
        stream, error = self._stream, self._stream.last_error()
        problem = error.code.name if error else ""
        self.title = describe(view, rate, problem)
        if view.has_statistics:
            n_here = sum(stop - start for start, stop in stream.buffered())
            state = "paused" if view.is_paused and stream.state == "playing" else stream.state
            self.rows = table(view, stream.stats(), state, problem, rate, n_here, stream.buffered_seconds)


def table(
    view: View, stats: Stats, state: str, problem: str, rate: float, n_here: int, seconds_ahead: float
) -> tuple[tuple[str, str], ...]:
    """
    The statistics, as names and values. No part of a URL is among them.

    Args:
        view: what is shown.
        stats: of the stream.
        state: of the stream.
        problem: why the last frame did not come; empty if it did.
        rate: pictures a second.
        n_here: how many frames are buffered.
        seconds_ahead: how far play can go on without a further read.
    """
    return (
        ("state", f"{state} ({problem})" if problem else state),
        ("frame", f"{view.position % view.n_frames} of {view.n_frames}"),
        ("pictures", f"{rate:.0f} a second, {view.n_late} late"),
        ("buffered", f"{n_here} frames, {seconds_ahead:.1f} s ahead"),
        ("reads", f"{stats.reads}, {in_bytes(stats.bytes_read)}"),
        ("requests", f"{stats.requests}, {stats.retries} repeated"),
        ("fetched", in_bytes(stats.bytes_fetched)),
        ("bandwidth", "unknown" if stats.bandwidth is None else f"{in_bytes(stats.bandwidth)} a second"),
        ("latency", "unknown" if stats.latency is None else f"{1000 * stats.latency:.1f} ms"),
    )


def in_bytes(number: float) -> str:
    """A number of bytes, in a unit of its size."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.0f} B"
