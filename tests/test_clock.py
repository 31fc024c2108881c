"""
The playback clock, simulated: no test here waits.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphastream_gpu import PlaybackClock


class Simulation:
    """A monotonic clock that moves when told, and a media clock that runs a little off it."""

    def __init__(self, speed: float = 1.0) -> None:
        self.now = 1000.0
        self.speed = speed
        self.media = 0.0
        self.clock = PlaybackClock(now=lambda: self.now)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.media += seconds * self.speed


@pytest.mark.parametrize("speed", [1.001, 0.999, 1.0])
@pytest.mark.parametrize("interval", [1 / 60, 0.1, 0.25, 1.0, 2.0])
def test_it_stays_within_a_millisecond_of_a_drifting_media_clock(speed: float, interval: float) -> None:
    sim = Simulation(speed)
    sim.clock.play()
    worst = 0.0
    for number in range(int(120 / interval)):
        for _ in range(4):  # also between the reports
            sim.advance(interval / 4)
            if number * interval > 60:
                worst = max(worst, abs(sim.clock.time() - sim.media))
        assert not sim.clock.sync(sim.media)
    assert worst < 0.001


def test_jitter_is_smoothed() -> None:
    """Reports that are up to 10 ms off, either way, move the clock by much less."""
    sim = Simulation(1.0005)
    chance = random.Random(2)
    sim.clock.play()
    worst = 0.0
    for number in range(60 * 60):
        sim.advance(1 / 60)
        sim.clock.sync(sim.media + chance.uniform(-0.01, 0.01))
        if number > 1200:
            worst = max(worst, abs(sim.clock.time() - sim.media))
    assert worst < 0.004


@given(
    reports=st.lists(
        st.tuples(st.floats(0.0, 3.0), st.floats(-0.24, 0.24)),
        max_size=60,
    )
)
def test_time_never_runs_backward_without_a_jump(reports: list[tuple[float, float]]) -> None:
    sim = Simulation()
    sim.clock.play()
    last = sim.clock.time()
    for pause, error in reports:
        sim.advance(pause)
        assert sim.clock.time() >= last
        last = sim.clock.time()
        jumped = sim.clock.sync(last + error)
        assert not jumped
        assert sim.clock.time() >= last
        last = sim.clock.time()


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
    sim.clock.pause()
    sim.advance(9.0)
    assert sim.clock.time() == 3.0
    assert sim.clock.sync(3.1)
    assert sim.clock.time() == 3.1
    assert not sim.clock.sync(3.1)
    assert repr(sim.clock) == "<PlaybackClock 3.100 s paused>"
    for wrong in (float("inf"), float("nan")):
        for call in (sim.clock.seek, sim.clock.sync):
            with pytest.raises(ValueError, match="finite"):
                call(wrong)
    with pytest.raises(ValueError, match=r"rate: expected 0\.1\.\.10"):
        sim.clock.set_rate(0)
