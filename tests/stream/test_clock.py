"""
The playback clock, simulated: no test here waits. The four bars are in the tests that begin with `test_bar`.
"""

from __future__ import annotations

import math
import random
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from alphastream_gpu import PlaybackClock

TICK = 1 / 120
"""Seconds between two looks at the clock."""
ERROR_BAR = 0.02
"""Seconds that the clock may be off, two seconds after any report."""
STEPS_BAR = 0.06
"""Seconds that it may be off where the media time steps every 250 ms."""
DRIFT_BAR = 0.001
"""Seconds that it may be off, after convergence, where the media runs a constant per mille fast or slow."""
LARGEST_DRIFT = 0.002
"""What the clock can have learned, in seconds per second."""


class Simulation:
    """
    A monotonic clock that moves when told, media that plays by another clock, and a player that reports it.

    Args:
        speed: the media clock's seconds per second of the monotonic clock.
        rate: at which media and clock begin to play.
        start: where they begin, in media seconds.
    """

    def __init__(self, speed: float = 1.0, *, rate: float = 1.0, start: float = 0.0) -> None:
        self.now = 1000.0
        self.speed = speed
        self.rate = rate
        self.start = start
        self.media = start
        self.is_stalled = False
        self.step = 0.0
        """Seconds between two values of the media time that the player tells; 0: each time another."""
        self.phase = 0.0
        """Seconds since the last step when the simulation began."""
        self.clock = PlaybackClock(now=lambda: self.now)
        self.clock.set_rate(rate)
        self.clock.seek(start)
        self.n_backward = 0
        """Steps against the direction of play, without a jump."""
        self.n_jumps = 0
        self.reported = start
        self._last = self.clock.time()
        self._next_report = self.now

    @property
    def error(self) -> float:
        """How far the clock is ahead of the media, in media seconds."""
        return self.clock.time() - self.media

    def advance(self, seconds: float) -> None:
        self.now += seconds
        if not self.is_stalled:
            self.media += seconds * self.speed * self.rate

    def look(self) -> float:
        """The clock's time; notes a step backward."""
        seen = self.clock.time()
        self.n_backward += (seen - self._last) * self.rate < 0.0
        self._last = seen
        return seen

    def told(self) -> float:
        """The media time as the player tells it."""
        if not self.step:
            return self.media
        played = (self.media - self.start) / self.rate + self.phase
        return self.start + self.rate * (math.floor(played / self.step) * self.step - self.phase)

    def report(self, media_time: float) -> bool:
        self.look()
        self.reported = media_time
        has_jumped = self.clock.sync(media_time)
        if has_jumped:
            self.n_jumps += 1
            self._last = self.clock.time()
        self.look()
        return has_jumped

    def run(self, seconds: float, every: float = 0.0, told: Callable[[], float] | None = None) -> float:
        """
        Play, look at each tick, and report at each interval, if there is one.

        Returns:
            The largest error seen.
        """
        worst, end = 0.0, self.now + seconds
        self._next_report = self.now
        while self.now < end:
            if every and self.now >= self._next_report - TICK / 2:
                self.report((told or self.told)())
                self._next_report += every
            self.advance(TICK)
            self.look()
            worst = max(worst, abs(self.error))
        return worst


# Bar 1: one millisecond after convergence.


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1.0, 2.0, 0.5, -1.0])
@pytest.mark.parametrize("speed", [1.001, 0.999, 1.0])
@pytest.mark.parametrize("interval", [1 / 60, 0.1, 0.25, 1.0, 2.0])
def test_bar_within_a_millisecond_of_a_drifting_media_clock(rate: float, speed: float, interval: float) -> None:
    sim = Simulation(speed, rate=rate)
    sim.clock.play()
    worst = 0.0
    for number in range(int(120 / interval)):
        for _ in range(4):  # also between the reports
            sim.advance(interval / 4)
            sim.look()
            if number * interval > 60:
                worst = max(worst, abs(sim.error))
        assert not sim.report(sim.media)
    assert worst <= DRIFT_BAR
    assert sim.n_backward == 0


@pytest.mark.parametrize("start", [0.0, 10.0])
def test_the_drift_learned_outlives_a_seek(start: float) -> None:
    sim = Simulation(1.001)
    sim.clock.play()
    sim.run(60.0, 0.25)
    sim.clock.seek(start)
    sim.media = start
    sim.run(30.0)
    assert abs(sim.error) < 0.002, "30 ms without"


# Bar 2: two seconds after any report.


@pytest.mark.parametrize("error", [0.005, 0.05, 0.1, 0.249, 0.3, 5.0, -0.005, -0.05, -0.249, -0.6, -1.9, -2.1, -60.0])
@pytest.mark.parametrize("rate", [1.0, 0.25, 4.0, -1.0])
@pytest.mark.parametrize("history", [0.0, 10.0])
def test_bar_one_report_then_none(error: float, rate: float, history: float) -> None:
    """The correction ends when the error is taken up: what was reported two seconds ago is met, and stays met."""
    sim = Simulation(rate=rate)
    sim.clock.play()
    sim.run(history, 0.1)
    sim.media += error
    sim.advance(0.1)
    sim.report(sim.media)
    sim.run(2.0)
    assert abs(sim.error) <= ERROR_BAR
    error = sim.error
    sim.run(1.0)
    sim.advance(600.0)
    learned = 1e-4 * 600.0 * abs(rate) if history else 1e-6
    assert sim.look() - sim.media == pytest.approx(error, abs=learned), "at the rate"
    assert sim.n_backward == 0


def test_a_report_fifty_milliseconds_off_ends_where_it_should() -> None:
    """The slope while it is taken up, and after."""
    for error, slope in ((0.05, 1.1), (-0.05, 0.9), (0.2, 1.125), (-0.2, 0.6), (-0.49, 0.02)):
        sim = Simulation()
        sim.clock.play()
        assert not sim.clock.sync(error)
        sim.advance(0.25)
        assert sim.clock.time() == pytest.approx(0.25 * slope)
        sim.advance(2.0)
        assert sim.clock.time() == pytest.approx(2.25 + error)
        sim.advance(60.0)
        assert sim.clock.time() == pytest.approx(62.25 + error)


@pytest.mark.slow
@pytest.mark.parametrize("interval", [0.25, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 60.0])
@pytest.mark.parametrize("error", [0.1, -0.1])
def test_sparse_reports_do_not_overshoot(interval: float, error: float) -> None:
    sim = Simulation()
    sim.clock.play()
    sim.media += error
    assert sim.run(2.0, 10.0) <= 0.1 + 1e-9
    assert sim.run(10 * interval, interval) <= 1e-9
    assert (sim.n_jumps, sim.n_backward) == (0, 0)


# Noise.


@pytest.mark.parametrize("interval", [1 / 60, 0.25])
def test_jitter_is_smoothed(interval: float) -> None:
    """Reports that are up to 10 ms off, either way, move the clock by much less."""
    sim = Simulation(1.0005)
    chance = random.Random(2)
    sim.clock.play()
    sim.run(20.0, interval, lambda: sim.media + chance.uniform(-0.01, 0.01))
    assert sim.run(40.0, interval, lambda: sim.media + chance.uniform(-0.01, 0.01)) < 0.004
    assert (sim.n_jumps, sim.n_backward) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("interval", [1 / 60, 0.25, 1.0, 2.0, 5.0, 10.0])
def test_late_reports_keep_the_clock_within_their_lateness(interval: float) -> None:
    sim = Simulation()
    chance = random.Random(1)
    sim.clock.play()
    assert sim.run(300.0, interval, lambda: sim.media - chance.uniform(0.0, 0.04)) < 0.045
    assert (sim.n_jumps, sim.n_backward) == (0, 0)
    before = sim.error
    sim.run(100.0)
    assert abs(sim.error - before) < 0.1, "the noise left a drift"
    assert abs(sim.error - before) <= 100 * LARGEST_DRIFT


def test_one_wrong_report_among_right_ones_teaches_no_drift() -> None:
    for error in (0.05, 0.2, -0.05, -0.2):
        sim = Simulation()
        sim.clock.play()
        sim.run(30.0, 0.25)
        sim.report(sim.media + error)
        sim.run(2.0)
        sim.media += error
        sim.run(60.0)
        assert abs(sim.error) < 0.001


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.2])
def test_reports_out_of_order(delay: float) -> None:
    """Every fifth report is overtaken by later ones. Corrected by slopes, never by a step."""
    sim = Simulation()
    chance = random.Random(3)
    sim.clock.play()
    worst = sim.run(60.0, 1 / 60, lambda: sim.media - (delay if chance.random() < 0.2 else 0.0))
    assert worst < delay
    assert (sim.n_jumps, sim.n_backward) == (0, 0)


# Bar 3: media times that step.


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1.0, -1.0])
@pytest.mark.parametrize("phase", [0.0, 0.06, 0.13, 0.19, 0.245])
@pytest.mark.parametrize("interval", [1 / 60, 1 / 25, 0.05, 0.1])
def test_bar_steps_of_250_ms(interval: float, phase: float, rate: float) -> None:
    sim = Simulation(rate=rate)
    sim.step, sim.phase = 0.25, phase
    sim.clock.play()
    if interval == 0.1:
        sim.run(1.0, interval)  # until it is known that the media time steps
    assert sim.run(60.0, interval) <= STEPS_BAR
    assert (sim.n_jumps, sim.n_backward) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("phase", [0.0, 0.02, 0.2, 0.29])
@pytest.mark.parametrize(("step", "interval"), [(0.04, 1 / 60), (0.1, 1 / 60), (0.1, 0.04), (0.3, 1 / 60), (0.3, 0.1)])
def test_steps_of_other_lengths(step: float, interval: float, phase: float) -> None:
    sim = Simulation()
    sim.step, sim.phase = step, phase % step
    sim.clock.play()
    sim.run(3.0, interval)
    assert sim.run(60.0, interval) <= STEPS_BAR
    assert (sim.n_jumps, sim.n_backward) == (0, 0)


def test_steps_are_seen_within_half_a_picture() -> None:
    sim = Simulation()
    sim.step, sim.phase = 0.3, 0.1
    sim.clock.play()
    sim.run(10.0, 1 / 60)
    assert sim.run(60.0, 1 / 60) <= 0.01


def test_steps_of_whole_seconds_are_learned() -> None:
    """At first they look like stalls; from the fourth on, the clock runs through."""
    sim = Simulation()
    sim.step = 1.0
    sim.clock.play()
    sim.run(6.0, 1 / 60)
    n_jumps = sim.n_jumps
    assert sim.run(60.0, 1 / 60) <= 0.1
    assert sim.n_jumps == n_jumps
    assert sim.n_backward == 0


@pytest.mark.parametrize("rate", [0.5, 0.25])
def test_slow_rates_make_steps_of_media_time_longer(rate: float) -> None:
    sim = Simulation(rate=rate)
    sim.step = 0.25 / rate
    sim.clock.play()
    assert sim.run(30.0, 1 / 60) <= STEPS_BAR
    assert (sim.n_jumps, sim.n_backward) == (0, 0)


def test_a_value_reported_twice_does_not_make_it_a_media_clock_that_steps() -> None:
    sim = Simulation()
    sim.clock.play()
    for _ in range(100):
        assert not sim.clock.sync(sim.media)
        sim.advance(0.001)
        assert not sim.clock.sync(sim.media - 0.001)
        sim.advance(0.249)
    assert abs(sim.error) < 0.001


# Stalls.


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1.0, 2.0, -1.0])
@pytest.mark.parametrize(("step", "interval"), [(0.0, 1 / 60), (0.0, 0.1), (0.0, 0.25), (0.25, 1 / 60), (0.25, 0.1)])
@pytest.mark.parametrize("seconds", [0.3, 1.0, 3.0, 60.0])
def test_a_stall_and_its_end(seconds: float, interval: float, step: float, rate: float) -> None:
    """The clock comes to stand still, waits for the media, and goes on with it."""
    sim = Simulation(rate=rate)
    sim.step = step
    sim.clock.play()
    sim.run(10.0, interval)
    before = abs(sim.error)
    sim.is_stalled = True
    worst = sim.run(seconds, interval)
    assert worst <= before + abs(rate) * min(seconds + 0.01, 0.5 + step + 2 * interval)
    if seconds > 2.0:
        stood = sim.look()
        sim.run(seconds, interval)
        assert sim.look() == stood
    sim.is_stalled = False
    sim.run(3.0, interval)
    assert sim.run(30.0, interval) <= abs(rate) * (STEPS_BAR if step else ERROR_BAR)
    assert (sim.n_jumps, sim.n_backward) == (0, 0)


@pytest.mark.parametrize("interval", [0.1, 0.25, 1.0])
def test_a_stall_between_two_reports_is_no_step(interval: float) -> None:
    """One value is reported twice, and the next one half as far on as time is."""
    sim = Simulation()
    sim.clock.play()
    sim.run(10.0, interval)
    for is_stalled in (True, False):
        sim.report(sim.media)
        sim.is_stalled = is_stalled
        sim.advance(interval)
    assert sim.run(3.0, interval) <= interval + 0.001
    assert sim.run(10.0, interval) <= 0.001
    assert (sim.n_jumps, sim.n_backward) == (0, 0)


def test_a_stall_with_jitter() -> None:
    """Then no value repeats."""
    sim = Simulation()
    chance = random.Random(5)

    def told() -> float:
        return sim.media + chance.uniform(-0.002, 0.002)

    sim.clock.play()
    sim.run(10.0, 1 / 60, told)
    sim.is_stalled = True
    assert sim.run(10.0, 1 / 60, told) < 0.52
    sim.is_stalled = False
    sim.run(3.0, 1 / 60, told)
    assert sim.run(10.0, 1 / 60, told) < 0.01
    assert (sim.n_jumps, sim.n_backward) == (0, 0)


@pytest.mark.parametrize(("seconds", "is_jump"), [(0.3, False), (1.0, False), (1.9, False), (2.1, True), (60.0, True)])
def test_a_stall_that_was_not_reported(seconds: float, is_jump: bool) -> None:
    """The clock waits for up to two seconds. After that, the picture would be wrong for too long: it jumps."""
    sim = Simulation()
    sim.clock.play()
    sim.run(10.0, 0.25)
    sim.is_stalled = True
    sim.run(seconds)
    sim.is_stalled = False
    sim.advance(0.1)
    assert sim.report(sim.media) is is_jump
    sim.run(2.0)
    assert abs(sim.error) <= ERROR_BAR
    assert sim.n_backward == 0


def test_playing_and_seeking_end_a_stall() -> None:
    for action in ("play", "seek"):
        sim = Simulation()
        sim.clock.play()
        sim.run(5.0, 0.1)
        sim.is_stalled = True
        sim.run(5.0, 0.1)
        if action == "play":
            sim.clock.play()
            expected = sim.media + 10.0
        else:
            sim.clock.seek(100.0)
            expected = 110.0
        sim.now += 10.0
        assert sim.clock.time() == pytest.approx(expected, abs=0.001)


def test_a_stall_may_end_elsewhere() -> None:
    sim = Simulation()
    sim.clock.play()
    sim.run(5.0, 0.1)
    sim.is_stalled = True
    sim.run(5.0, 0.1)
    sim.is_stalled = False
    for place in (60.0, 20.0):
        sim.media = place
        assert sim.report(place)
        assert sim.clock.time() == place
        assert sim.run(5.0, 0.1) < 0.001


def test_sparse_reports_of_a_stall_jump_back() -> None:
    """Waiting would take longer than two seconds."""
    sim = Simulation()
    sim.clock.play()
    assert sim.report(0.0) is False
    sim.is_stalled = True
    sim.run(5.0)
    assert sim.report(0.0)
    assert sim.clock.time() == 0.0
    sim.run(5.0)
    assert sim.clock.time() == 0.0


# Jumps.


def test_a_seek_is_a_jump() -> None:
    sim = Simulation()
    sim.clock.play()
    sim.advance(5.0)
    assert sim.clock.sync(60.0)
    assert sim.clock.time() == 60.0
    sim.advance(1.0)
    assert sim.clock.time() == pytest.approx(61.0)
    assert sim.clock.sync(10.0)
    assert sim.clock.time() == 10.0
    sim.clock.seek(3.0)
    assert sim.clock.time() == 3.0
    sim.advance(0.2)
    assert not sim.clock.sync(3.2)
    sim.advance(1.0)
    assert sim.clock.time() == pytest.approx(4.2)


@pytest.mark.parametrize("rate", [1.0, 0.5, 4.0, -1.0, -4.0])
def test_the_limits_of_a_jump(rate: float) -> None:
    unit, direction = max(1.0, abs(rate)), math.copysign(1.0, rate)
    for distance, is_jump in ((0.26, True), (0.24, False), (-0.49, False), (-0.51, True)):
        sim = Simulation(rate=rate)
        sim.clock.play()
        sim.run(10.0, 0.25)
        assert sim.report(sim.media) is False
        assert sim.report(sim.media + distance * unit * direction) is is_jump
    for seconds, is_jump in ((1.99, False), (2.01, True)):  # the media's own time has not gone back
        sim = Simulation(rate=rate)
        sim.clock.play()
        sim.run(10.0)
        assert sim.report(sim.media - seconds * rate) is is_jump


def test_a_small_seek_backward_is_found_from_many_small_steps() -> None:
    """A viewer who scrubs back by 0.2 s, and again."""
    sim = Simulation()
    sim.clock.play()
    sim.run(10.0, 0.1)
    jumps = []
    for _ in range(4):
        sim.media -= 0.2
        jumps.append(sim.report(sim.media))
    assert jumps == [False, False, True, False]
    assert sim.n_backward == 0


@pytest.mark.parametrize("step", [0.0, 0.25])
@pytest.mark.parametrize("interval", [1 / 60, 0.25, 1.0])
def test_a_loop(interval: float, step: float) -> None:
    """The media begins again every ten seconds: one jump each, and no slope before or after it."""
    sim = Simulation(1.0005)
    sim.clock.play()
    for _ in range(6):
        sim.run(10.0, interval, lambda: math.floor(sim.media / step) * step if step else sim.media)
        sim.media -= 10.0
        sim.media = max(0.0, sim.media)
    assert sim.n_jumps == 5
    assert sim.n_backward == 0
    assert abs(sim.error - 10.0) < (interval if step else 0.001)


def test_a_suspended_machine() -> None:
    sim = Simulation()
    sim.clock.play()
    sim.run(20.0, 0.25)
    sim.now += 8 * 3600.0
    assert sim.report(sim.media)
    assert sim.run(60.0, 0.25) < 0.001
    assert sim.n_backward == 0


def test_a_host_clock_that_goes_backward() -> None:
    """No monotonic clock does; the clock's time then stands."""
    sim = Simulation()
    sim.clock.play()
    sim.run(2.0, 0.1)
    sim.clock.sync(sim.media)
    here = sim.clock.time()
    sim.now -= 5.0
    assert sim.clock.time() == here
    assert not sim.clock.sync(here + 0.01)
    assert sim.clock.time() == here
    sim.now += 5.0
    assert sim.clock.time() == pytest.approx(here + 5.01)


# Pausing and rates.


def test_pausing_and_rates() -> None:
    sim = Simulation()
    assert sim.clock.is_paused
    sim.advance(1.0)
    assert sim.clock.time() == 0.0
    sim.clock.play()
    sim.advance(1.0)
    assert sim.clock.time() == 1.0
    sim.clock.set_rate(2.0)
    assert sim.clock.rate == 2.0
    sim.advance(1.0)
    assert sim.clock.time() == 3.0
    sim.clock.set_rate(-0.5)
    assert sim.clock.rate == -0.5
    sim.advance(1.0)
    assert sim.clock.time() == 2.5
    sim.clock.set_rate(2.0)
    sim.advance(0.25)
    sim.clock.pause()
    sim.advance(9.0)
    assert sim.clock.time() == 3.0
    assert sim.clock.sync(3.1)
    assert sim.clock.time() == 3.1
    assert not sim.clock.sync(3.1)
    assert repr(sim.clock) == "<PlaybackClock 3.100 s paused>"
    sim.clock.play()
    assert repr(sim.clock) == "<PlaybackClock 3.100 s at rate 2>"
    for call in (sim.clock.seek, sim.clock.sync, sim.clock.set_rate):
        for wrong in (float("inf"), float("nan"), np.float32("inf")):
            with pytest.raises(ValueError, match="expected a finite number, found"):
                call(wrong)
        with pytest.raises(ValueError, match="expected a number that fits a float"):
            call(10**400)
        for text in ("1.0", b"1"):
            with pytest.raises(TypeError, match=f"expected a number, found {type(text).__name__}"):
                call(text)  # type: ignore[arg-type]
    for wrong in (0.0, 0.09, -0.09, 10.1, -10.1):
        with pytest.raises(ValueError, match=r"rate: expected 0\.1\.\.10 or -10\.\.-0\.1, found"):
            sim.clock.set_rate(wrong)


@pytest.mark.parametrize("error", [0.1, -0.1, -0.4])
def test_a_pause_interrupts_a_correction(error: float) -> None:
    """It goes on after the pause, and ends."""
    sim = Simulation()
    sim.clock.play()
    sim.run(5.0, 0.25)
    sim.media += error
    assert not sim.report(sim.media)
    sim.run(0.1)
    here = sim.clock.time()
    sim.clock.pause()
    sim.now += 60.0
    assert sim.clock.time() == here
    sim.clock.play()
    assert sim.clock.time() == here
    sim.run(30.0)
    assert abs(sim.error) < 0.001
    assert sim.n_backward == 0


@pytest.mark.parametrize("error", [0.1, -0.1])
def test_reports_while_paused_leave_no_slope(error: float) -> None:
    sim = Simulation()
    sim.clock.play()
    sim.run(5.0, 0.25)
    sim.report(sim.media + error)
    sim.clock.pause()
    for number in range(20):
        sim.now += 0.25
        assert sim.clock.sync(20.0 + number * error)
        assert sim.clock.time() == 20.0 + number * error
    before = sim.clock.time()
    sim.clock.play()
    sim.now += 30.0
    assert sim.clock.time() - before == pytest.approx(30.0, abs=1e-4)


@pytest.mark.parametrize("error", [0.1, -0.1, 0.24, -0.24])
@pytest.mark.parametrize("rate", [2.0, 0.5, 10.0, -1.0])
def test_another_rate_during_a_correction(error: float, rate: float) -> None:
    """The rest of the error is taken up at the new rate."""
    sim = Simulation()
    sim.clock.play()
    sim.run(5.0, 0.25)
    sim.media += error
    assert not sim.report(sim.media)
    sim.run(0.1)
    here = sim.clock.time()
    sim.clock.set_rate(rate)
    sim.rate = rate
    assert sim.clock.time() == here
    sim.run(2.0)
    assert abs(sim.error) <= ERROR_BAR
    sim.run(60.0)
    assert abs(sim.error) <= ERROR_BAR
    assert sim.n_backward == 0


def test_many_rates_with_reports() -> None:
    sim = Simulation()
    sim.clock.play()
    for rate in (2.0, 0.5, -1.0, -4.0, 1.0, 0.1, 10.0):
        sim.clock.set_rate(rate)
        sim.rate = rate
        sim.run(1.0, 1 / 60, lambda rate=rate: sim.media - 0.02 * rate)  # type: ignore[misc]
        assert sim.run(10.0, 1 / 60) <= 0.021 * max(1.0, abs(rate))
        assert abs(sim.error) <= 0.001 * max(1.0, abs(rate))
    assert (sim.n_jumps, sim.n_backward) == (0, 0)


def test_a_rate_that_nobody_told() -> None:
    """Media that plays a quarter faster than the clock was told: forward jumps, and no other steps."""
    sim = Simulation(1.25)
    sim.clock.play()
    assert sim.run(60.0, 0.1) < 0.3
    assert sim.n_backward == 0
    sim = Simulation(0.8)
    sim.clock.play()
    assert sim.run(60.0, 0.1) < 0.2
    assert (sim.n_jumps, sim.n_backward) == (0, 0)


def test_a_seek_during_a_correction() -> None:
    sim = Simulation()
    sim.clock.play()
    assert not sim.clock.sync(0.2)
    sim.advance(0.1)
    sim.clock.seek(50.0)
    sim.advance(10.0)
    assert sim.clock.time() == pytest.approx(60.0)


def test_playing_twice_changes_nothing() -> None:
    sim = Simulation()
    sim.clock.play()
    assert not sim.clock.sync(0.1)
    sim.advance(0.1)
    sim.clock.play()
    sim.advance(1.0)
    assert sim.clock.time() == pytest.approx(1.2)


# Bar 4: no backward step, whatever happens.

seconds = st.floats(0.0, 3.0) | st.sampled_from([0.0, 1e-9, TICK, 1 / 60, 0.25, 0.5, 0.6, 2.0])
errors = st.floats(-3.0, 3.0) | st.floats(-0.3, 0.3) | st.floats(-0.02, 0.02)
rates = st.sampled_from([1.0, 2.0, 0.1, 10.0, -1.0, -0.1, -10.0])
events = st.lists(
    st.tuples(
        seconds,
        st.tuples(st.just("sync"), errors)
        | st.tuples(st.just("same"), st.just(0.0))
        | st.tuples(st.just("rate"), rates)
        | st.tuples(st.just("seek"), errors)
        | st.tuples(st.sampled_from(["play", "pause"]), st.just(0.0)),
    ),
    max_size=40,
)
"""What is done, and the seconds before it."""


def replay(events: list[tuple[float, tuple[str, float]]], *, repeat: bool = True) -> Simulation:
    """Do all of it, or all but reports that repeat a value, and look at the clock in between and right after."""
    sim = Simulation()
    sim.clock.play()
    for pause, (name, value) in events:
        for _ in range(3):
            sim.advance(pause / 3)
            sim.look()
        if name in ("sync", "same"):
            reported = sim.clock.time() + value if name == "sync" else sim.reported
            if repeat or reported != sim.reported:
                sim.report(reported)
        elif name == "rate":
            sim.clock.set_rate(value)
            sim.rate = value
        elif name == "seek":
            sim.clock.seek(value)
            sim._last = value
        elif name == "play":
            sim.clock.play()
        else:
            sim.clock.pause()
        sim.look()
    return sim


@given(events=events)
def test_bar_no_backward_step(events: list[tuple[float, tuple[str, float]]]) -> None:
    assert replay(events).n_backward == 0


@given(events=events, error=errors, wait=seconds)
def test_bar_two_seconds_after_any_report_after_any_history(
    events: list[tuple[float, tuple[str, float]]], error: float, wait: float
) -> None:
    sim = replay(events, repeat=False)
    if sim.clock.is_paused:
        sim.clock.play()
    sim.advance(wait)
    rate = sim.clock.rate
    unit = max(1.0, abs(rate))
    reported = sim.clock.time() + error * unit
    assume(reported != sim.reported)
    sim.clock.sync(reported)
    sim.advance(2.0)
    assert abs(sim.clock.time() - (reported + 2.0 * rate)) <= ERROR_BAR * unit
    sim.advance(0.5)
    here = sim.clock.time()
    sim.advance(600.0)
    played = sim.clock.time() - here
    assert played == pytest.approx(600.0 * rate, abs=600.0 * abs(rate) * LARGEST_DRIFT * 1.01), "the rate and the drift"


@given(
    reports=st.lists(
        st.tuples(st.floats(0.0, 3.0), st.floats(-0.24, 0.24)),
        max_size=60,
    )
)
def test_small_errors_are_never_a_jump(reports: list[tuple[float, float]]) -> None:
    sim = Simulation()
    sim.clock.play()
    for pause, error in reports:
        sim.advance(pause)
        assert not sim.report(sim.look() + error)
    assert sim.n_backward == 0


@given(
    reports=st.lists(st.tuples(st.floats(0.001, 3.0), st.floats(-0.24, 0.24)), min_size=1, max_size=40),
    rate=st.sampled_from([1.0, 2.0, -1.0]),
)
def test_the_slope_is_bounded(reports: list[tuple[float, float]], rate: float) -> None:
    """Between standing still and an eighth more than the rate, and the drift."""
    sim = Simulation(rate=rate)
    sim.clock.play()
    for pause, error in reports:
        before = sim.clock.time()
        sim.advance(pause)
        slope = (sim.clock.time() - before) / pause / rate
        assert -1e-9 <= slope <= 1.125 + LARGEST_DRIFT + 1e-9
        sim.clock.sync(sim.clock.time() + error * abs(rate))


def test_many_threads() -> None:
    """Each thread sees time run forward, while others report, change rates and play."""
    clock = PlaybackClock(now=lambda: time.monotonic() / 100)  # a thread that waits for five seconds is 50 ms late
    clock.play()
    failures: list[str] = []
    interval = sys.getswitchinterval()
    start = threading.Barrier(6)

    def reader() -> None:
        start.wait()
        last = clock.time()
        for _ in range(5000):
            seen = clock.time()
            if seen < last:
                failures.append(f"{last} then {seen}")
            last = seen

    def reporter(seed: int) -> None:
        chance = random.Random(seed)
        start.wait()
        for _ in range(1500):
            if clock.sync(clock.time() + chance.uniform(-0.03, 0.03)):
                failures.append("jumped")

    def controller() -> None:
        start.wait()
        for number in range(1500):
            clock.set_rate(1.0 + number % 3)
            clock.play()
            if clock.is_paused or clock.rate != 1.0 + number % 3:
                failures.append("not as set")

    threads = [
        *(threading.Thread(target=reader) for _ in range(3)),
        *(threading.Thread(target=reporter, args=(seed,)) for seed in range(2)),
        threading.Thread(target=controller),
    ]
    try:
        sys.setswitchinterval(1e-5)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures
