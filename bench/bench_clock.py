"""
PlaybackClock, in simulated time: how far it is off the media, beside its bars. And what its calls take, in real time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from conftest import facts, report
from test_clock import Simulation

from alphastream_gpu import PlaybackClock

CALLS = 20_000


def once(benchmark: Any, work: Callable[[], float]) -> float:
    """The figure, which is taken once: simulated time is the same on every machine."""
    return float(benchmark.pedantic(work, rounds=1))


def test_off_after_convergence(benchmark: Any) -> None:
    """Media that runs a per mille fast or slow, reported at intervals from a picture to two seconds."""

    def worst(speed: float, interval: float) -> float:
        sim = Simulation(speed)
        sim.clock.play()
        sim.run(60.0, interval)
        return sim.run(60.0, interval)

    intervals = (1 / 60, 0.1, 0.25, 1.0, 2.0)
    value = once(benchmark, lambda: max(worst(speed, each) for speed in (0.999, 1.0, 1.001) for each in intervals))
    report("clock: off after convergence", value * 1e3, 1, "ms")


def test_off_after_a_single_report(benchmark: Any) -> None:
    """
    The media is off at once; one report tells it, and then there is none.

    Before that, there were no reports, or reports for ten seconds: exact ones, or up to 10 ms off either way.
    """
    chance = random.Random(1)
    errors = (0.005, 0.012, 0.05, 0.1, 0.249, 0.3, 5.0)

    def off(seconds: float, error: float, history: float, jitter: float) -> float:
        sim = Simulation()
        sim.clock.play()
        sim.run(history, 0.1, lambda: sim.media + chance.uniform(-jitter, jitter))
        sim.media += error
        sim.advance(0.1)
        sim.report(sim.media)
        sim.run(seconds)
        return abs(sim.error)

    def worst(seconds: float) -> float:
        histories = ((0.0, 0.0), (10.0, 0.0), *((10.0, 0.01) for _ in range(10)))
        return max(off(seconds, sign * error, *each) for each in histories for error in errors for sign in (1, -1))

    report("clock: off 2 s after a single report", once(benchmark, lambda: worst(2.0)) * 1e3, 20, "ms")
    facts["  a minute after it"] = f"{worst(60.0) * 1e3:.2g} ms"


def test_off_where_media_time_steps(benchmark: Any) -> None:
    """Steps of 250 ms, which begin at other moments than the reports, from 60 reports a second to ten."""

    def worst(step: float, interval: float) -> float:
        found = 0.0
        for phase in range(8):
            sim = Simulation()
            sim.step, sim.phase = step, step * phase / 8
            sim.clock.play()
            sim.run(1.0, interval)
            found = max(found, sim.run(30.0, interval))
        return found

    value = once(benchmark, lambda: max(worst(0.25, each) for each in (1 / 60, 1 / 25, 0.05, 0.1)))
    report("clock: off where media time steps by 250 ms", value * 1e3, 60, "ms")
    facts["  with 60 reports a second"] = ", ".join(
        f"steps of {step * 1e3:g} ms: {worst(step, 1 / 60) * 1e3:.1f} ms" for step in (0.04, 0.1, 0.25, 0.3)
    )


def test_backward_steps(benchmark: Any) -> None:
    """Jitter, steps, stalls, rates and reverse play, one after another, for ten minutes."""

    def count() -> tuple[int, int]:
        chance = random.Random(1)
        sim = Simulation()
        sim.clock.play()
        for _ in range(100):
            sim.rate = chance.choice((1.0, 1.0, 2.0, 0.5, -1.0))
            sim.clock.set_rate(sim.rate)
            sim.step = chance.choice((0.0, 0.0, 0.25, 0.3))
            sim.start, sim.phase = sim.media, chance.uniform(0.0, sim.step)
            sim.is_stalled = chance.random() < 0.2
            jitter = chance.choice((0.0, 0.005, 0.04))

            def told(jitter: float = jitter) -> float:
                return sim.told() - chance.uniform(0.0, jitter)

            sim.run(6.0, chance.choice((1 / 60, 0.1, 0.25, 1.0)), told)
        return sim.n_backward, sim.n_jumps

    n_backward, n_jumps = benchmark.pedantic(count, rounds=1)
    report("clock: backward steps in ten minutes", n_backward, 0, "steps")
    facts["  not counted"] = f"{n_jumps} jumps"


def test_calls(benchmark: Any) -> None:
    """On the machine's own clock; the report is another each time."""
    clock = PlaybackClock()
    clock.play()

    def taken(call: Callable[[float], object]) -> float:
        started = time.perf_counter()
        for number in range(CALLS):
            call(number * 1e-6)
        return (time.perf_counter() - started) / CALLS

    sync = once(benchmark, lambda: taken(lambda shift: clock.sync(clock.time() + shift)))
    look = taken(lambda _: clock.time())
    facts["clock: a call of time(), of sync()"] = f"{look * 1e6:.2f} us, {(sync - look) * 1e6:.2f} us"
