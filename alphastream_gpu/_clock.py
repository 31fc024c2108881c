"""
PlaybackClock: media time on the monotonic clock, kept in step with a time that comes from elsewhere.

Strategy
--------
A player's media time (an audio clock, a video element) arrives now and then, late by a little and never evenly. Showing
it as it comes would make frames jump back and forth. So the clock runs by itself, a straight line on the monotonic
clock, and every report bends the line: its slope takes up a share of the error at once (proportional) and learns the
drift (integral), which is the textbook second-order loop. It has no standing error against a media clock that runs a
constant per mille fast or slow. The slope stays positive, so time never runs backward, except by a jump: an error too
large to be drift is a seek.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final

__all__ = ["PlaybackClock"]

_JUMP_SECONDS: Final = 0.25
"""An error from here on is a seek. Fifteen frames; drift that large would take hours to build up unnoticed."""
_SETTLE_SECONDS: Final = 0.5
"""In which time the proportional part takes up an error, where reports come often enough."""
_DAMPING: Final = 0.25
"""Integral over proportional gain squared: 1/4 is critical damping, the fastest that does not overshoot."""
_MAX_SLEW: Final = 0.1
"""The most that the slope differs from the rate; a tenth is not seen and moves a frame's time by under 2 ms."""


class PlaybackClock:
    """
    A clock for choosing frames: ``stream.frame_at(clock.time())``.

    Starts paused at 0. May be used from any thread.

    Args:
        now: the monotonic clock to run on, in seconds; for tests and simulations.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._at = now()
        self._media = 0.0
        self._rate = 1.0
        self._drift = 0.0
        self._slew = 0.0
        self._is_paused = True
        self._synced_at: float | None = None

    @property
    def is_paused(self) -> bool:
        """Whether time stands still."""
        return self._is_paused

    @property
    def rate(self) -> float:
        """Media seconds per second when running; 1 is normal speed."""
        return self._rate

    def time(self) -> float:
        """Media time now, in seconds. Never runs backward but by :meth:`seek` or a jump in :meth:`sync`."""
        with self._lock:
            return self._time(self._now())

    def play(self) -> None:
        """Run on from where the clock stands."""
        with self._lock:
            self._rebase(self._now())
            self._is_paused = False
            self._synced_at = None

    def pause(self) -> None:
        """Stand still."""
        with self._lock:
            self._rebase(self._now())
            self._is_paused = True

    def set_rate(self, rate: float) -> None:
        """
        Run at another speed from now on.

        Args:
            rate: media seconds per second, 0.1..10.

        Raises:
            ValueError: not within 0.1..10.
        """
        if not 0.1 <= rate <= 10.0:
            raise ValueError(f"rate: expected 0.1..10, found {rate}")
        with self._lock:
            self._rebase(self._now())
            self._rate = rate

    def seek(self, media_time: float) -> None:
        """
        Jump to a media time; what was learned of the drift is kept.

        Args:
            media_time: in seconds.

        Raises:
            ValueError: not a finite number.
        """
        _check_finite(media_time)
        with self._lock:
            self._jump(self._now(), media_time)

    def sync(self, media_time: float) -> bool:
        """
        Report the outside media time, as of now.

        While playing, a small difference is slewed away and a large one (a quarter of a second) is a jump; while
        paused, the clock stands where it is told.

        Args:
            media_time: in seconds.

        Returns:
            Whether the clock jumped.

        Raises:
            ValueError: not a finite number.
        """
        _check_finite(media_time)
        with self._lock:
            now = self._now()
            error = media_time - self._time(now)
            if self._is_paused or abs(error) >= _JUMP_SECONDS:
                self._jump(now, media_time)
                return error != 0.0
            interval = None if self._synced_at is None else now - self._synced_at
            self._rebase(now)
            self._synced_at = now
            if interval is None or interval > 0.0:
                # Sparse reports must not over-correct: a gain of half the error per report is the most that is stable
                # with room to spare.
                gain = min(1.0 / _SETTLE_SECONDS, 0.5 / interval) if interval else 1.0 / _SETTLE_SECONDS
                if interval:
                    self._drift += _DAMPING * gain * gain * error * interval
                    self._drift = max(-_MAX_SLEW, min(_MAX_SLEW, self._drift))
                self._slew = max(-_MAX_SLEW, min(_MAX_SLEW, gain * error + self._drift))
            return False

    def _time(self, now: float) -> float:
        if self._is_paused:
            return self._media
        return self._media + max(0.0, now - self._at) * self._rate * (1.0 + self._slew)

    def _rebase(self, now: float) -> None:
        """Begin another straight line where the clock is."""
        self._media, self._at = self._time(now), now

    def _jump(self, now: float, media_time: float) -> None:
        self._media, self._at = media_time, now
        self._slew = self._drift
        self._synced_at = None

    def __repr__(self) -> str:
        return f"<PlaybackClock {self.time():.3f} s {'paused' if self._is_paused else f'at rate {self._rate:g}'}>"


def _check_finite(media_time: float) -> None:
    if not math.isfinite(media_time):
        raise ValueError(f"media_time: expected a finite number of seconds, found {media_time}")
