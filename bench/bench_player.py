"""
A player over lines of many kinds: pictures without their frame, and seeks.

The lines have a rate, a latency and requests that fail. The viewer plays, jumps, drags a slider, pauses and plays in
reverse, at 90 pictures a second, on a clock that never waits. All lines run at the same time, so that the bench takes
as long as one viewer.

Beside each figure stand two others. A player that downloads the whole file first, as the Rust library does, has no
frame until then. And the best possible by the line's rate: the same viewer, where the line never idles while a frame
of the buffer goal is missing, and no request fails.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from statistics import median
from typing import Any, Final, NamedTuple

from conftest import facts, report
from support import asvp_of, block_of, sample_geometries

import alphastream_gpu
from alphastream_gpu import AlphaStream, ByteRange, Config, FrameGeometry, MemorySource, TransportError

FPS: Final = 90
N_FRAMES: Final = 6000
AHEAD: Final = 450
"""The buffer goal: five seconds."""
BITS: Final = {"10 Mbit": 10e6, "1 Mbit": 1e6, "200 kbit": 200e3}
LATENCIES: Final = (0.02, 0.2)
FAILING: Final = (0.0, 0.01, 0.05)
SLICE_SECONDS: Final = 0.004
"""How long a line sends bytes of one request before those of the next."""
GRACE: Final = 1.0
"""Seconds: a frame is counted as too late if the line could have delivered it so much earlier."""
SEEKS: Final = (5000, 3300, 900, 5600, 2900, 4100, 1300, 5300)


class Picture(NamedTuple):
    """What the viewer does with one picture."""

    index: int
    seek: int = 0
    """1 for a seek to this frame, and play forward from there; -1 to play in reverse."""
    is_timed: bool = False
    """Whether the time until the frame of this seek is measured."""


def script() -> Iterator[Picture]:
    """Play, jump, drag, pause, play in reverse, and jump to places that nobody has seen."""
    yield from _play(0, 4.0)
    yield from _play(2000, 3.0, is_timed=True)
    for step in range(FPS):
        yield Picture(3000 + step * 15, seek=1 if step % 3 == 0 else 0)
    yield from _play(4500, 2.0, is_timed=True)
    yield from (Picture(4500 + 2 * FPS) for _ in range(int(1.5 * FPS)))
    yield from _play(4500 + 2 * FPS, 1.0, seek=0)
    yield from _play(4500 + 3 * FPS, 2.0, seek=-1)
    yield from _play(300, 1.5, is_timed=True)
    for place in SEEKS:
        yield from _play(place, 0.6, is_timed=True)


def _play(first: int, seconds: float, *, seek: int = 1, is_timed: bool = False) -> Iterator[Picture]:
    for step in range(round(seconds * FPS)):
        direction = -1 if seek < 0 else 1
        yield Picture(first + direction * step, seek if step == 0 else 0, is_timed and step == 0)


SCRIPT: Final = list(script())


@cache
def _frames() -> list[FrameGeometry]:
    return sample_geometries()


@cache
def _file() -> bytes:
    blocks = [block_of(geometry.to_payload()) for geometry in _frames()]
    return asvp_of(list(itertools.islice(itertools.cycle(blocks), N_FRAMES)))


class Line(MemorySource):
    """Bytes over a line, whose requests share its rate. A request that is cancelled sends no more."""

    def __init__(self, rate: float, latency: float, failing: float) -> None:
        super().__init__(_file(), name="line")
        self.rate, self.latency, self.failing = rate, latency, failing
        self._chance = random.Random(int(rate + 1000 * latency + 100 * failing))
        self._slice = max(256, int(rate * SLICE_SECONDS))
        self._free_at = 0.0
        self.is_open = False

    async def read(self, span: ByteRange) -> memoryview:
        await asyncio.sleep(self.latency)
        if self.is_open and self._chance.random() < self.failing:
            raise TransportError("a request that fails")
        left = len(span)
        while left > 0:
            part = min(left, self._slice)
            self._free_at = max(self._free_at, time.monotonic()) + part / self.rate
            await asyncio.sleep(self._free_at - time.monotonic())
            left -= part
        return await super().read(span)


@dataclass
class Found:
    """What the viewer saw."""

    shown: list[bool] = field(default_factory=list)
    seeks: list[float] = field(default_factory=list)
    """Seconds from each timed seek to its frame; those that never came are left out."""
    n_wrong: int = 0

    @property
    def late(self) -> float:
        """Share of pictures without their frame."""
        return 1 - sum(self.shown) / len(self.shown)

    @property
    def stalls(self) -> int:
        """Runs of more than a quarter of a second without a frame."""
        return stalls(self.shown)


def stalls(shown: list[bool]) -> int:
    """Runs of more than a quarter of a second without a frame."""
    runs = (len(list(run)) for is_shown, run in itertools.groupby(shown) if not is_shown)
    return sum(run > FPS / 4 for run in runs)


def watch(stream: AlphaStream, found: Found) -> None:
    """One viewer, on a thread."""
    due = time.monotonic()
    frames = _frames()
    for picture in SCRIPT:
        sought = time.monotonic()
        if picture.seek:
            stream.seek(picture.index, reverse=picture.seek < 0)
        geometry = stream.get_geometry(picture.index)
        due += 1 / FPS
        while geometry is None and picture.is_timed and time.monotonic() < due - 0.002:
            time.sleep(0.002)
            geometry = stream.get_geometry(picture.index)
        found.shown.append(geometry is not None)
        if geometry is not None:
            found.n_wrong += geometry != frames[picture.index % len(frames)]
        if picture.is_timed:
            found.seeks.append(-sought if geometry is None else time.monotonic() - sought)
            if geometry is None:
                _tell(stream, picture.index, found, len(found.seeks) - 1, sought)
        time.sleep(max(0.0, due - time.monotonic()))


def _tell(stream: AlphaStream, index: int, found: Found, at: int, sought: float) -> None:
    """Note when the frame of a seek comes."""

    def note(done: Any) -> None:
        if not done.cancelled() and done.exception() is None:
            found.seeks[at] = time.monotonic() - sought

    stream.request(index).add_done_callback(note)


def possible(line: Line, sizes: list[int]) -> tuple[list[bool], list[float]]:
    """The best possible: which pictures have their frame, and when each picture's frame could be there at the
    latest."""
    here: dict[int, float] = {}
    free_at, head, direction, begun_at = 0.0, 0, 1, 0.0
    wanted = iter(())
    shown, since = [], []
    current: tuple[int, float] | None = None
    for number, picture in enumerate(SCRIPT):
        now = number / FPS
        if picture.seek or number == 0:
            direction = picture.seek or 1
            begun_at = now + line.latency
            free_at, current = max(now, begun_at), None
        head = picture.index
        # What the line delivers until the next picture, nearest first.
        end = now + 1 / FPS
        while True:
            if current is None:
                index = next(
                    (
                        i
                        for i in range(head, head + direction * (AHEAD + 1), direction)
                        if 0 <= i < N_FRAMES and i not in here
                    ),
                    None,
                )
                if index is None:
                    free_at = max(free_at, end)
                    break
                current = index, free_at + sizes[index] / line.rate
            if current[1] > end:
                break
            here[current[0]] = free_at = current[1]
            current = None
        at = here.get(picture.index, float("inf"))
        shown.append(at <= now)
        since.append(at)
    del wanted
    return shown, since


def downloading(line: Line) -> list[bool]:
    """A player that downloads the whole file before the first frame."""
    ready = 2 * line.latency + len(_file()) / line.rate
    return [number / FPS >= ready for number in range(len(SCRIPT))]


def test_players(benchmark: Any) -> None:
    """Eighteen viewers at the same time."""
    lines = {
        (name, latency, failing): Line(bits / 8, latency, failing)
        for name, bits in BITS.items()
        for latency in LATENCIES
        for failing in FAILING
    }
    config = Config(cache_frames=2048, prefetch_frames=AHEAD, fps=FPS, init_timeout=60, get_frame_timebox=0)
    found = {key: Found() for key in lines}

    def view(key: Any) -> None:
        with alphastream_gpu.open(lines[key], config=config) as stream:
            lines[key].is_open = True
            watch(stream, found[key])

    def run() -> None:
        threads = [threading.Thread(target=view, args=(key,)) for key in lines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    _file()
    benchmark.pedantic(run, rounds=1)
    offsets = [0, *itertools.accumulate(len(block_of(geometry.to_payload())) for geometry in _frames())]
    sizes = [b - a for a, b in itertools.pairwise(offsets)] * (N_FRAMES // len(_frames()))
    worst_seek, n_too_late, n_wrong = -1.0, 0, 0
    for key, line in lines.items():
        (name, latency, failing), one = key, found[key]
        best, since = possible(line, sizes)
        first = downloading(line)
        too_late = sum(
            not is_shown and at + GRACE <= number / FPS
            for number, (is_shown, at) in enumerate(zip(one.shown, since, strict=True))
        )
        n_too_late += too_late
        n_wrong += one.n_wrong
        seeks = [seconds if seconds >= 0 else float("inf") for seconds in one.seeks]
        over = median(seeks) - 2 * latency
        worst_seek = max(worst_seek, over)
        facts[f"  {name}, {latency * 1e3:g} ms, {failing:.0%} failing"] = (
            f"late {one.late:.1%}, {one.stalls} stalls; downloaded first {1 - sum(first) / len(first):.1%},"
            f" {stalls(first)}; possible {1 - sum(best) / len(best):.1%}, {stalls(best)};"
            f" seek {median(seeks) * 1e3:.0f} ms; {too_late} too late"
        )
    report("player: median of seeks, beyond 2 x latency", worst_seek * 1e3, 20, "ms")
    report("player: frames that could have come 1 s earlier", n_too_late, 0, "frames")
    report("player: wrong frames", n_wrong, 0, "frames")
