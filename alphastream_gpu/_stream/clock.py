"""
PlaybackClock: media time on the monotonic clock, kept in step with a media time that a player reports.

Strategy
--------
Guarantees:

- Between two jumps, `time()` is a monotonic function of the host's clock: it never decreases while the rate is
  positive, and never increases while the rate is negative. Only `seek`, a paused `sync`, and a `sync` that returns True
  make it jump.
- A correction ends. Two seconds after a report of a new value, whatever that value is, the clock is within 20 ms of the
  reported value, and its slope is the rate again, corrected by the drift. (At rates beyond 1: within 20 ms times the
  rate. Where the media clock steps: within 20 ms, and half the time between two reports.)

Three parts, none of which reads a clock by itself:

- `_Reports` classifies a reported value. libvlc's media time stands still for 250 to 300 ms and then steps; the media
  time of a player that waits for data stands still for seconds. So a repeated value is ignored at first, and counts as
  a stall once it has repeated for longer than any step of a working player. A new value of a media clock that steps may
  be as old as the previous report; the middle of that interval is the estimate.
- `_Estimate` filters new values. It is a Kalman filter with two states, offset and drift: its gains adapt to frequent,
  sparse and irregular reports, without tables. It measures the noise of the reports. So it learns the drift from exact
  reports in seconds, and does not learn a wrong drift from noisy ones. A residual that is too large for noise changes
  the offset at once and the drift not at all. The drift is limited to what oscillators have.
- `PlaybackClock` follows the estimate on straight lines: first a line that corrects the error, and then a line whose
  slope is the rate. The end of the first line is known when it begins, so a correction ends even if there are no more
  reports.

An error is corrected if a bounded slope can correct it within two seconds. A larger error means a seek of the media,
and the clock jumps. The bounds differ by direction. A clock that is behind runs an eighth faster, so it can correct a
quarter of a second. A clock that is ahead may stand still, so it can wait two seconds for media that stalled. A
reported time that is half a second behind an earlier report is no stall, because stalled media does not go back: it is
a seek, or the start of another loop.

Rejected:

- an integral term that learns from every report: one report 50 ms off left a drift of one percent;
- the least late of the last reports as the estimate: if some reports are early and some late, it is wrong by the whole
  jitter;
- a jump back after a stall: the picture would step back, which the media never did.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from .._runtime.calls import SafeLock
from .timebase import finite

__all__ = ["PlaybackClock"]

_CATCH_UP: Final = 0.125
"""The most that a correction adds to the slope, in media seconds per second. Not visible: at 60 frames a second, a
frame is shown for 2 ms less."""
_LONGEST_CORRECTION: Final = 2.0
"""Seconds. If the correction of an error takes longer, the clock jumps."""
_SETTLE_SECONDS: Final = 0.5
"""How long the correction of a small error takes."""
_STEP_SECONDS: Final = 0.5
"""How long the media time of a working player may stand still: libvlc's 300 ms, seen 0.1 s late, and a margin."""
_LONGEST_STEP: Final = 1.5
"""Seconds; the limit where longer steps were seen, or the rate is slow. Below `_LONGEST_CORRECTION`, so that the clock
can wait for the media after a stall."""
_LONGEST_INTERVAL: Final = 0.2
"""Seconds between two reports that tell steps from stalls: sparser reports may have a short stall between them."""
_LARGEST_DOUBT: Final = 0.015
"""Seconds of a residual that the filter may ignore. Below 20 ms, by more than the drift can add in two seconds."""
_TYPICAL_NOISE: Final = 0.005
"""Seconds that a report is off, before any report: one standard deviation."""
_LEAST_NOISE: Final = 0.001
"""Seconds; the limit where reports are exact."""
_LARGEST_NOISE: Final = 0.05
"""Seconds; the limit where reports are noisy. Also what a first report is off where the media clock steps."""
_NOISE_SHARE: Final = 1 / 16
"""How much of the noise estimate a report replaces."""
_TYPICAL_DRIFT: Final = 4e-4
"""Seconds per second between a media clock and the monotonic clock, before any report: one standard deviation."""
_LARGEST_DRIFT: Final = 2e-3
"""Seconds per second; oscillators differ by a tenth of it. A larger difference is a rate."""
_OFFSET_WANDER: Final = 3e-7
"""The variance, in square seconds, that a second adds to the offset."""
_DRIFT_WANDER: Final = 1e-10
"""The variance that a second adds to the drift."""


class PlaybackClock:
    """
    A clock for choosing frames: ``stream.frame_at(clock.time())``.

    Starts paused at 0, at rate 1. May be used from any thread.

    Args:
        now: the monotonic clock to run on, in seconds; for tests and simulations.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = SafeLock()
        self._rate = 1.0
        self._is_paused = True
        self._is_stalled = False
        self._reports = _Reports()
        self._estimate = _Estimate()
        self._reached = 0.0
        """The furthest media time, in the direction of play, that the media is known to have reached."""
        self._begin(now(), 0.0, 0.0)

    @property
    def is_paused(self) -> bool:
        """Whether the clock is paused."""
        return self._is_paused

    @property
    def rate(self) -> float:
        """Media seconds per second when running; 1 is normal speed, a negative rate plays in reverse."""
        return self._rate

    def time(self) -> float:
        """
        Media time now, in seconds.

        It never runs backward (with a negative rate, never forward), except by :meth:`seek`, or by a :meth:`sync` that
        returned True.
        """
        with self._lock:
            return self._time(self._now())

    def play(self) -> None:
        """Run on from where the clock stands, also if a stall was reported."""
        with self._lock:
            now = self._now()
            here, error = self._state(now)
            self._is_paused = self._is_stalled = False
            self._forget(here)
            self._begin(now, here, error)

    def pause(self) -> None:
        """Stand still. What was left of a correction is taken up after :meth:`play`."""
        with self._lock:
            now = self._now()
            here, error = self._state(now)
            self._is_paused = True
            self._begin(now, here, error)

    def set_rate(self, rate: float) -> None:
        """
        Run at another speed from now on. The clock does not jump, and what was left of a correction is taken up.

        Args:
            rate: media seconds per second, 0.1..10, or -10..-0.1 to play in reverse.

        Raises:
            ValueError: not in one of these ranges.
            TypeError: not a number.
        """
        rate = finite("rate", rate)
        if not 0.1 <= abs(rate) <= 10.0:
            raise ValueError(f"rate: expected 0.1..10 or -10..-0.1, found {rate}")
        with self._lock:
            now = self._now()
            here, error = self._state(now)
            if rate * self._rate < 0.0:
                self._reached = here
            self._rate = rate
            self._estimate.reopen()
            self._begin(now, here, error)

    def seek(self, media_time: float) -> None:
        """
        Jump to a media time; what was learned of the drift is kept.

        Args:
            media_time: in seconds.

        Raises:
            ValueError: not a finite number.
            TypeError: not a number.
        """
        media_time = finite("media_time", media_time)
        with self._lock:
            self._is_stalled = False
            self._forget(media_time)
            self._begin(self._now(), media_time, 0.0)

    def sync(self, media_time: float) -> bool:
        """
        Report the outside media time, as of now.

        Any interval between reports will do. If the media time stands still between steps, report at least ten times a
        second: a step is seen at the next report.

        While playing, an error that can be corrected within two seconds is corrected by a slope. A clock that is behind
        runs faster, by at most 0.125 media seconds per second. A clock that is ahead runs slower, or stands still; it
        never runs backward. The clock jumps to the reported time in three cases, which are seeks or loops of the media:

        - the media is ahead of the clock by 0.25 s or more;
        - the media is behind the clock by more than the clock plays in two seconds;
        - the media is 0.5 s or more behind the clock, and also 0.5 s or more behind an earlier report.

        "Ahead" and "behind" are in the direction of play. At rates beyond 1, multiply the slope, 0.25 s and 0.5 s by
        the rate.

        A value that repeats is not an error: the media time of some players stands still for 300 ms between steps. A
        value that has not changed for half a second is a stall, and the clock stands still until another value is
        reported, or until :meth:`play` or :meth:`seek`. Half a second becomes up to 1.5 s where the steps seen are
        longer than 300 ms, or the rate is slower than 1.

        While paused, the clock stands where it is told.

        Args:
            media_time: in seconds.

        Returns:
            Whether the clock jumped.

        Raises:
            ValueError: not a finite number.
            TypeError: not a number.
        """
        media_time = finite("media_time", media_time)
        with self._lock:
            now = self._now()
            if self._is_paused:
                is_moved = media_time != self._media
                self._forget(media_time)
                self._begin(now, media_time, 0.0)
                return is_moved
            stood = self._reports.stood(media_time, now)
            if stood is None:
                return self._follow(now, media_time)
            return stood > self._reports.patience(self._rate) and self._stall(now, media_time)

    def _follow(self, now: float, media_time: float) -> bool:
        """Take up a new value; whether the clock jumped."""
        self._is_stalled = False
        age, is_learning = self._reports.change(media_time, now, self._rate)
        if is_learning:
            self._estimate.reopen()
        expected = media_time + self._rate * age
        here, left = self._state(now)
        if self._is_jump(expected - here, media_time):
            self._reached = media_time
            self._estimate.reopen()
            self._estimate.update(0.0, now, self._rate, age)
            self._begin(now, expected, 0.0)
            return True
        if (media_time - self._reached) * self._rate > 0.0:
            self._reached = media_time
        left += self._estimate.update(expected - (here + left), now, self._rate, age)
        self._begin(now, here, left)
        return False

    def _stall(self, now: float, media_time: float) -> bool:
        """Stand still, or come to stand where the media does; whether the clock jumped."""
        self._is_stalled = True
        self._estimate.reopen()
        here, _ = self._state(now)
        is_jump = self._is_jump(media_time - here, media_time)
        if is_jump:
            here = media_time
        self._begin(now, here, media_time - here)
        return is_jump

    def _is_jump(self, error: float, media_time: float) -> bool:
        """Whether a report of `media_time`, which is off the clock by `error`, is a seek of the media."""
        direction, unit = math.copysign(1.0, self._rate), _unit(self._rate)
        ahead = error * direction
        if ahead >= 0.0:
            return ahead >= _CATCH_UP * _LONGEST_CORRECTION * unit
        went_back = (self._reached - media_time) * direction
        return -ahead > _LONGEST_CORRECTION * abs(self._rate) or min(-ahead, went_back) >= _STEP_SECONDS * unit

    def _forget(self, media_time: float) -> None:
        """The clock is set to a media time, or starts from it: earlier reports are no measure for later ones."""
        self._reached = media_time
        self._reports.forget()
        self._estimate.reopen()

    def _begin(self, now: float, media_time: float, error: float) -> None:
        """
        Begin another line here.

        Args:
            now: host seconds.
            media_time: where the clock stands.
            error: media seconds to be added to the clock's time by a correction.
        """
        slope = 0.0 if self._is_stalled else self._rate * (1.0 + self._estimate.drift)
        limit = abs(slope) if error * self._rate < 0.0 else _CATCH_UP * _unit(self._rate)
        pull = math.copysign(min(abs(error) / _SETTLE_SECONDS, limit), error)
        self._at, self._media, self._error = now, media_time, error
        self._slope, self._pull = slope, pull
        self._span = error / pull if pull else math.inf

    def _time(self, now: float) -> float:
        if self._is_paused:
            return self._media
        elapsed = max(0.0, now - self._at)
        corrected = min(elapsed, self._span)
        # Monotonic also after rounding: no product ever changes against the direction of play, so the sum does not.
        return self._media + (corrected * (self._slope + self._pull) + (elapsed - corrected) * self._slope)

    def _state(self, now: float) -> tuple[float, float]:
        """The clock's time, and what is left of the error."""
        if self._is_paused:
            return self._media, self._error
        elapsed = max(0.0, now - self._at)
        return self._time(now), 0.0 if elapsed >= self._span else self._error - self._pull * elapsed

    def __repr__(self) -> str:
        return f"<PlaybackClock {self.time():.3f} s {'paused' if self._is_paused else f'at rate {self._rate:g}'}>"


class _Reports:
    """Tells a media clock that steps from one that stalls, by when its values change."""

    def __init__(self) -> None:
        self._value: float | None = None
        self._first_at = 0.0
        self._last_at = 0.0
        self._step = 0.0
        """Seconds for which recent values were seen to stand; 0 if the media clock does not step."""

    def forget(self) -> None:
        """Take the next report as new, whatever its value."""
        self._value = None

    def stood(self, value: float, now: float) -> float | None:
        """Seconds since the value was first reported; None if it is another than the last one."""
        if value != self._value:
            return None
        self._last_at = now
        return now - self._first_at

    def patience(self, rate: float) -> float:
        """Seconds for which a value may stand until it is a stall. Steps may be steps of host time or of media time."""
        return min(_LONGEST_STEP, max(_STEP_SECONDS, _STEP_SECONDS / abs(rate), 1.5 * self._step))

    def change(self, value: float, now: float, rate: float) -> tuple[float, bool]:
        """
        Another value than the last one was reported.

        Returns:
            How old the value is by estimate, in seconds; and whether the media clock's steps were found to be so much
            longer that earlier ages, and what was learned by them, are wrong.
        """
        age, before, interval = 0.0, self._step, now - self._last_at
        if self._value is not None and 0.0 <= interval <= _LONGEST_INTERVAL:
            self._step *= 0.9  # old steps are forgotten
            played, elapsed = (value - self._value) / rate, now - self._first_at
            if 0.75 * elapsed <= played <= 1.5 * elapsed:  # less after a stall, more or negative after a seek
                self._step = max(self._step, self._last_at - self._first_at)
            age = min(interval, self._step) / 2.0
        self._value, self._first_at, self._last_at = value, now, now
        return age, self._step > 2.0 * before + _LARGEST_DOUBT


class _Estimate:
    """
    Filters reports: a Kalman filter of the offset, in media seconds, and of the drift, in seconds per second.

    The offset itself is the clock's; here are its variance and the drift.
    """

    def __init__(self) -> None:
        self.drift = 0.0
        self._at = 0.0
        self._offset_variance: float | None = None
        """None: nothing is known, and the next report is taken as it is."""
        self._covariance = 0.0
        self._drift_variance = _TYPICAL_DRIFT**2
        self._noise = _TYPICAL_NOISE**2

    def reopen(self) -> None:
        """Take the next report as it is. The drift is kept."""
        self._offset_variance = None

    def update(self, residual: float, now: float, rate: float, age: float) -> float:
        """
        Learn from a report.

        Args:
            residual: media seconds by which the report is ahead of the estimate so far.
            now: host seconds.
            rate: media seconds per second.
            age: how old the report is by estimate, in seconds; it may be 0 to twice as old.

        Returns:
            Media seconds to be added to the estimate.
        """
        unit = _unit(rate)
        spread = (rate * age) ** 2 / 3.0  # the variance of a uniform distribution from 0 to twice the age
        noise = self._noise * unit**2 + spread
        elapsed, self._at = max(0.0, now - self._at), now
        if self._offset_variance is None:
            noise += (_LARGEST_NOISE * unit) ** 2  # it may have come in the middle of a step
        else:
            seen = max(_LEAST_NOISE**2, min(_LARGEST_NOISE**2, (residual**2 - spread) / unit**2))
            self._noise += _NOISE_SHARE * (seen - self._noise)
            media = rate * elapsed
            offset_variance = (
                self._offset_variance
                + 2.0 * media * self._covariance
                + media**2 * self._drift_variance
                + _OFFSET_WANDER * unit**2 * elapsed
            )
            covariance = self._covariance + media * self._drift_variance
            drift_variance = min(_TYPICAL_DRIFT**2, self._drift_variance + _DRIFT_WANDER * elapsed)
            total = offset_variance + noise
            doubted = abs(residual) * noise / total
            if residual**2 <= 9.0 * total and doubted <= _LARGEST_DOUBT * unit + abs(rate) * age:
                self.drift += covariance / total * residual
                self.drift = max(-_LARGEST_DRIFT, min(_LARGEST_DRIFT, self.drift))
                self._offset_variance = offset_variance * noise / total
                self._covariance = covariance * noise / total
                self._drift_variance = drift_variance - covariance**2 / total
                return offset_variance / total * residual
        self._offset_variance, self._covariance = noise, 0.0
        return residual


def _unit(rate: float) -> float:
    """
    The factor for limits in media seconds.

    A fast rate multiplies the jitter of host time. A slow rate divides no limit, because media time has steps too.
    """
    return max(1.0, abs(rate))
