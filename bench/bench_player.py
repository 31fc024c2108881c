"""
A player over lines of many kinds: pictures without their frame, and seeks.

The lines have a rate, a latency and requests that fail. The viewer plays, jumps, drags a slider, pauses and plays in
reverse, at 90 pictures a second, on a clock that never waits.

Time is virtual: the session's tasks, the line and the viewer run on one event loop, whose clock goes to the next timer
when nothing is left to do. So the figures are the same on every machine and in every run, and a minute of play takes
a second. What decoding takes is left out.

Beside each figure stand two others. A player that downloads the whole file first, as the Rust library does, has no
frame until then. And the best possible by the line's rate: the same viewer, where the line never idles while a frame
of the buffer goal is missing, and no request fails.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from math import inf
from statistics import median
from typing import Any, Final, NamedTuple

import pytest
from conftest import facts, report
from support import asvp_of, block_of, sample_geometries

from alphastream_gpu import BufferGoal, ByteRange, Config, FrameGeometry, MemorySource, TransportError
from alphastream_gpu._stream import reader as _reader
from alphastream_gpu._stream import reads as _reads
from alphastream_gpu._stream import scheduler as _scheduler
from alphastream_gpu._stream import table as _table
from alphastream_gpu._stream.fetches import Pending
from alphastream_gpu._stream.reader import StreamReader
from alphastream_gpu._stream.session import Session

FPS: Final = 90
N_FRAMES: Final = 12_000
AHEAD: Final = 450
"""The buffer goal: five seconds."""
BITS: Final = {"10 Mbit": 10e6, "1 Mbit": 1e6, "200 kbit": 200e3}
LATENCIES: Final = (0.02, 0.2)
FAILING: Final = (0.0, 0.01, 0.05)
SLICE_SECONDS: Final = 0.004
"""How long a line sends bytes of one request before those of the next."""
GRACE: Final = 1.0
"""Seconds: a frame is counted as too late if the line could have delivered it so much earlier."""
CONFIG: Final = Config(cache_frames=N_FRAMES, prefetch_frames=AHEAD, fps=FPS)
SEEKS: Final = (6000, 9000, 7000, 11_000, 1000, 8000, 5400, 10_000)
"""Places where nobody has been: further from all others than the buffer goal."""


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


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock goes to the next timer when nothing is left to do. It is a clock for modules, too."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    monotonic = time

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.now = max(self.now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


class Lease:
    """The loop as a session uses it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.call_soon = loop.call_soon


class AtOnce(Executor):
    """Makes each call when it is submitted."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments, **options))
        return future


class Line(MemorySource):
    """Bytes over a line, whose requests share its rate. A request that is cancelled sends no more."""

    def __init__(self, rate: float, latency: float, failing: float) -> None:
        super().__init__(_file(), name="line")
        self.rate, self.latency, self.failing = rate, latency, failing
        self._chance = random.Random(int(rate + 1000 * latency + 100 * failing))
        self._slice = int(rate * SLICE_SECONDS)
        self._free_at = 0.0
        self._n_requests = 0
        self.is_open = False
        self.n_known = 0
        """Frames that came with the first read."""

    @property
    def requests(self) -> int:
        return self._n_requests

    async def read(self, span: ByteRange) -> memoryview:
        self._n_requests += 1
        await asyncio.sleep(self.latency)
        if self.is_open and self._chance.random() < self.failing:
            raise TransportError("a request that fails")
        left = len(span)
        now = asyncio.get_running_loop().time
        while left > 0:
            part = min(left, self._slice)
            self._free_at = max(self._free_at, now()) + part / self.rate
            await asyncio.sleep(self._free_at - now())
            left -= part
        return await super().read(span)


@dataclass
class Found:
    """What the viewer saw."""

    shown: list[bool] = field(default_factory=list)
    seeks: list[float] = field(default_factory=list)
    """Seconds from each timed seek to its frame; infinite if it never came."""
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


async def watch(session: Session, found: Found) -> None:
    """One viewer."""
    now = asyncio.get_running_loop().time
    due = now()
    frames = _frames()
    for picture in SCRIPT:
        sought = now()
        if picture.seek:
            session.seek(picture.index, None, reverse=picture.seek < 0)
        asked = session.ask(picture.index)
        if isinstance(asked, Pending):
            session.leave(picture.index, asked, keep=True)
        else:
            found.n_wrong += asked != frames[picture.index % len(frames)]
        found.shown.append(not isinstance(asked, Pending))
        if picture.is_timed:
            found.seeks.append(inf if isinstance(asked, Pending) else 0.0)
            _time(session, picture.index, found, len(found.seeks) - 1, sought)
        due += 1 / FPS
        await asyncio.sleep(due - now())


def _time(session: Session, index: int, found: Found, at: int, sought: float) -> None:
    """Note when the frame of a seek comes; after a failure it is asked for again."""
    pending = session.ask_offline(index)
    if not isinstance(pending, Pending):
        return
    loop = asyncio.get_running_loop()

    def note(done: Future[FrameGeometry]) -> None:
        session.leave(index, pending, keep=False)
        if done.exception() is None:
            found.seeks[at] = loop.time() - sought
        elif not session.is_closed():
            loop.call_soon(_time, session, index, found, at, sought)

    pending.future.add_done_callback(note)


async def play(line: Line, found: Found, loop: VirtualLoop) -> None:
    """Open the stream of a line, and watch it."""
    pool: Any = AtOnce()
    reader = await StreamReader.open(line, config=CONFIG, executor=pool)
    line.is_open = True
    line.n_known = int(reader.index.offsets.searchsorted(reader.n_known, side="right")) - 1
    goal = BufferGoal(frames=AHEAD)
    lease: Any = Lease(loop)
    session = Session(reader, CONFIG, lease, pool, fps=Fraction(FPS), goal=goal, on_delivered=lambda: None)
    await watch(session, found)
    await session.aclose()


def simulate(line: Line, monkeypatch: pytest.MonkeyPatch) -> Found:
    """A viewer over a line, in virtual time."""
    found = Found()
    loop = VirtualLoop()
    for module in (_reader, _reads, _scheduler, _table):
        monkeypatch.setattr(module, "time", loop)
    try:
        loop.run_until_complete(play(line, found, loop))
    finally:
        monkeypatch.undo()
        loop.close()
    return found


def possible(line: Line, sizes: list[int]) -> tuple[list[bool], list[float]]:
    """The best possible: which pictures have their frame, and when the frame of each picture could be there."""
    here = dict.fromkeys(range(line.n_known), 0.0)
    free_at, direction = 0.0, 1
    coming: tuple[int, float] | None = None
    shown, since = [], []
    for number, picture in enumerate(SCRIPT):
        now, end = number / FPS, (number + 1) / FPS
        if picture.seek:
            direction, coming, free_at = picture.seek, None, now + line.latency
        while True:  # what comes until the next picture, the nearest first
            if coming is None:
                ahead = range(picture.index, picture.index + direction * (AHEAD + 1), direction)
                index = next((i for i in ahead if 0 <= i < N_FRAMES and i not in here), None)
                if index is None:
                    free_at = max(free_at, end)
                    break
                coming = index, free_at + sizes[index] / line.rate
            if coming[1] > end:
                break
            here[coming[0]] = free_at = coming[1]
            coming = None
        since.append(here.get(picture.index, inf))
        shown.append(since[-1] <= now)
    return shown, since


def downloading(line: Line) -> list[bool]:
    """A player that downloads the whole file before the first frame."""
    ready = 2 * line.latency + len(_file()) / line.rate
    return [number / FPS >= ready for number in range(len(SCRIPT))]


def test_players(benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {
        (name, latency, failing): Line(bits / 8, latency, failing)
        for name, bits in BITS.items()
        for latency in LATENCIES
        for failing in FAILING
    }
    found = benchmark.pedantic(lambda: {key: simulate(line, monkeypatch) for key, line in lines.items()}, rounds=1)
    offsets = [0, *itertools.accumulate(len(block_of(geometry.to_payload())) for geometry in _frames())]
    sizes = [b - a for a, b in itertools.pairwise(offsets)] * (N_FRAMES // len(_frames()))
    worst_seek, n_too_late, n_wrong = -inf, 0, 0
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
        seeks = one.seeks
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
