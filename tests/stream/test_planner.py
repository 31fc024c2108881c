"""
The planner: what to read and in which order, by brute force; where the head is, step by step.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alphastream_gpu import Config, TransportError
from alphastream_gpu._format.container import BlockIndex
from alphastream_gpu._sources.ranges import ByteRange
from alphastream_gpu._stream.plan import FrameSpan, plan_reads
from alphastream_gpu._stream.planner import BufferGoal, Head, Planner, Range
from alphastream_gpu._stream.playhead import Follower
from alphastream_gpu._stream.slots import Slots

N = 12
OFFSETS = [100, 110, 130, 130, 160, 200, 201, 260, 270, 280, 300, 310, 400]


def _grouped(frames: list[int], max_bytes: int, max_frames: int) -> list[FrameSpan]:
    """Greedy grouping said another way: runs of neighbours in one direction or growing at both ends, as sets."""
    groups: list[set[int]] = []
    for frame in frames:
        if groups:
            grown = groups[-1] | {frame}
            is_run = max(grown) - min(grown) + 1 == len(grown)
            n_bytes = OFFSETS[max(grown) + 1] - OFFSETS[min(grown)]
            if is_run and len(grown) <= max_frames and n_bytes <= max_bytes:
                groups[-1] = grown
                continue
        groups.append({frame})
    return [
        FrameSpan(min(group), max(group) + 1, ByteRange(OFFSETS[min(group)], OFFSETS[max(group) + 1]))
        for group in groups
    ]


@given(
    frames=st.permutations(range(N)), n=st.integers(0, N), max_bytes=st.integers(1, 400), max_frames=st.integers(1, N)
)
def test_any_order_of_frames(frames: list[int], n: int, max_bytes: int, max_frames: int) -> None:
    plan = plan_reads(OFFSETS, frames[:n], max_bytes=max_bytes, max_frames=max_frames)
    assert plan == _grouped(frames[:n], max_bytes, max_frames)
    assert sorted(i for span in plan for i in range(span.first, span.stop)) == sorted(frames[:n])
    assert all(type(span.bytes.start) is int and type(span.bytes.stop) is int for span in plan)


@given(
    first=st.integers(0, N - 1),
    n=st.integers(0, N),
    backward=st.booleans(),
    max_bytes=st.integers(1, 400),
    max_frames=st.integers(1, N),
)
def test_runs_in_both_directions(first: int, n: int, backward: bool, max_bytes: int, max_frames: int) -> None:
    frames = list(range(first, min(first + n, N)))
    if backward:
        frames.reverse()
    plan = plan_reads(OFFSETS, frames, max_bytes=max_bytes, max_frames=max_frames)
    assert plan == _grouped(frames, max_bytes, max_frames)


STEPS = [100, 110, 130, 160, 200, 250]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([], []),
        ([0, 1, 2, 3, 4], [(0, 3), (3, 5)]),
        ([4, 3, 2, 1, 0], [(3, 5), (0, 3)]),
        ([0, 2, 4], [(0, 1), (2, 3), (4, 5)]),
        ([1, 2, 0], [(0, 3)]),
        ([2, 3, 1], [(1, 4)]),
        ([3, 4, 2], [(3, 5), (2, 3)]),
    ],
)
def test_planning_reads(frames: list[int], expected: list[tuple[int, int]]) -> None:
    plan = plan_reads(STEPS, frames, max_bytes=90, max_frames=3)
    assert plan == [FrameSpan(a, b, ByteRange(STEPS[a], STEPS[b])) for a, b in expected]
    assert sorted(frame for span in plan for frame in range(span.first, span.stop)) == sorted(frames)


def test_a_block_larger_than_a_read_is_read_whole() -> None:
    assert [len(span) for span in plan_reads(STEPS, range(5), max_bytes=1, max_frames=9)] == [1] * 5


def test_the_limits_are_inclusive() -> None:
    assert plan_reads(OFFSETS, [0, 1], max_bytes=30, max_frames=2) == [FrameSpan(0, 2, ByteRange(100, 130))]
    assert len(plan_reads(OFFSETS, [0, 1], max_bytes=29, max_frames=2)) == 2
    assert len(plan_reads(OFFSETS, [0, 1], max_bytes=30, max_frames=1)) == 2


def test_a_frame_asked_for_twice_is_read_once_while_its_span_grows() -> None:
    assert plan_reads(OFFSETS, [3, 4, 3, 4, 5], max_bytes=400, max_frames=9) == [FrameSpan(3, 6, ByteRange(130, 201))]


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (-2, -1), (4, 3)])
def test_a_range_that_is_none(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match=rf"^byte range: expected 0 <= start <= stop, found {start}\.\.{stop}$"):
        ByteRange(start, stop)


def test_ranges_in_words_and_lengths() -> None:
    assert (len(ByteRange(3, 10)), len(ByteRange(0, 0)), len(FrameSpan(4, 9, ByteRange(0, 1)))) == (7, 0, 5)
    assert str(ByteRange(3, 10)) == "bytes 3..9"
    assert str(ByteRange(3, 3)) == "no bytes at 3"


class _Model:
    """What `Follower` promises, from all that was asked for so far."""

    def __init__(self, window: int) -> None:
        self.full = window
        self.asked: list[int] = []
        self.direction = 1
        self.window = min(window, 16)

    def move(self, index: int) -> bool:
        self.asked.append(index)
        if len(self.asked) == 1:
            return True
        step = index - self.asked[-2]
        if step == 0:
            self.asked.pop()
            return False
        if abs(step) > 8 or (step > 0 and self.direction < 0):
            turned = 1
        elif self.direction > 0 and len(self.asked) > 3 and self.asked[-4:] == sorted(self.asked[-4:], reverse=True):
            turned = -1
        else:
            return False
        self.direction, self.window, self.asked = turned, min(self.full, 16), [index]
        return True


@given(window=st.integers(0, 130), steps=st.lists(st.integers(-10, 10), min_size=20, max_size=40), grows=st.randoms())
def test_a_head_follows_any_steps(window: int, steps: list[int], grows: object) -> None:
    head, model = Follower(window), _Model(window)
    assert (head.at, head.direction, head.window) == (None, 1, min(window, 16))
    assert head.distance_to(5) == 0
    assert head.ahead(100) == range(0)
    index = 500
    for step in [0, *steps]:
        index += step
        assert head.move(index) is model.move(index)
        assert (head.at, head.direction, head.window) == (index, model.direction, model.window)
        assert head.distance_to(index + 7) == 7 * model.direction
        assert type(head.distance_to(index + 7)) is int
        if step % 3 == 0:
            at_once = step % 2 == 0
            head.grow(at_once=at_once)
            model.window = window if at_once else min(window, 2 * model.window)
            assert head.window == model.window


@given(
    at=st.integers(-5, 40),
    window=st.integers(0, 20),
    n_frames=st.integers(0, 40),
    after=st.none() | st.integers(-3, 45),
    backward=st.booleans(),
)
@example(at=-1, window=3, n_frames=9, after=None, backward=False)
@example(at=-3, window=9, n_frames=3, after=-2, backward=False)
@example(at=2, window=9, n_frames=9, after=None, backward=True)
@example(at=12, window=9, n_frames=9, after=None, backward=True)
@example(at=5, window=3, n_frames=9, after=7, backward=True)
@example(at=5, window=3, n_frames=9, after=3, backward=False)
def test_what_is_ahead(at: int, window: int, n_frames: int, after: int | None, backward: bool) -> None:
    """Nearest first, inside the stream, at most a window from the head, and behind what is planned already."""
    head = Follower(window)
    if backward:
        for index in range(at + 3, at, -1):
            head.move(index)
    head.move(at)
    head.grow(at_once=True)
    direction = -1 if backward else 1
    assert head.direction == direction
    expected = [
        index
        for index in (at + direction * step for step in range(1, window + 1))
        if 0 <= index < n_frames and (after is None or (index - after) * direction > 0)
    ]
    assert list(head.ahead(n_frames, after=after)) == expected


def test_play_head_windows() -> None:
    head = Follower(120)
    assert list(head.ahead(1000)) == []
    assert head.move(0)
    assert head.ahead(1000) == range(1, 17)
    assert not head.move(1)
    head.grow(at_once=False)
    assert head.ahead(1000, after=16) == range(17, 34)
    head.grow(at_once=True)
    assert head.ahead(1000, after=33) == range(34, 122)
    assert head.ahead(50, after=33) == range(34, 50)
    assert head.move(500)
    assert head.ahead(1000) == range(501, 517)


def test_play_head_directions() -> None:
    head = Follower(120)
    head.move(100)
    assert not head.move(99)
    assert not head.move(98)
    assert head.direction == 1
    assert head.move(97)
    assert head.direction == -1
    assert head.ahead(1000) == range(96, 80, -1)
    assert head.ahead(1000, after=81) == range(80, 80, -1)
    assert head.distance_to(90) == 7
    assert head.move(98)
    assert head.direction == 1
    head = Follower(120)
    for index in (3, 2, 1, 0):
        head.move(index)
    assert list(head.ahead(1000)) == []
    head = Follower(120)
    head.move(50)
    assert not head.move(50)
    assert not head.move(52)
    assert not head.move(51)
    assert head.direction == 1


class _Planned:
    """A `Planner` of empty frames, and what is here."""

    def __init__(self, n_slots: int = 4, **options: Any) -> None:
        config = Config(cache_frames=4000, http_chunk=4096, **options)
        reader: Any = SimpleNamespace(
            index=BlockIndex(np.arange(N_FRAMES + 1, dtype=np.int64) * 100),
            open_seconds=0.05,
            n_known=0,
            is_sensible=lambda index: True,
            span=lambda first, stop: FrameSpan(first, stop, ByteRange(first * 100, stop * 100)),
        )
        self.here: set[int] = set()
        self.slots = Slots(n_slots, 4096)
        self.planner = Planner(reader, config, self.slots, Fraction(60), BufferGoal(frames=240))

    def plan(self) -> list[tuple[Any, int, int]]:
        """The reads that are begun, which take their slots."""
        plan = self.planner.plan(lambda index: index not in self.here)
        for owner, span in plan.reads:
            self.slots.take(1, is_urgent=False)
            owner.n_slots += 1
            self.here |= set(range(span.first, span.stop))
        return [(owner, span.first, span.stop) for owner, span in plan.reads]

    def end(self, owner: Any) -> None:
        """A read of an owner has ended."""
        self.slots.give_back(1, is_urgent=False)
        owner.n_slots -= 1


N_FRAMES = 5000


def test_the_first_reads_of_a_place_are_short() -> None:
    planned = _Planned()
    head = planned.planner.default
    head.seek(100, 1)
    assert [(first, stop) for _, first, stop in planned.plan()] == [(101, 117), (117, 157), (157, 165)]
    planned.end(head)
    assert [(first, stop) for _, first, stop in planned.plan()] == [(165, 205)]


def test_heads_that_need_reads_share_the_slots() -> None:
    planned = _Planned()
    one, other = planned.planner.default, planned.planner.head("other")
    one.seek(100, 1)
    other.seek(3000, 1)
    owners = [owner for owner, _, _ in planned.plan()]
    assert (owners.count(one), owners.count(other)) in ((2, 1), (1, 2))
    few = one if owners.count(one) == 1 else other
    planned.end(one)
    planned.end(other)
    assert planned.plan()[0][0] is few


def test_a_head_that_needs_nothing_takes_no_share() -> None:
    planned = _Planned()
    one, other = planned.planner.default, planned.planner.head("other")
    planned.here |= set(range(2000))
    one.seek(100, 1)
    planned.plan()
    other.seek(3000, 1)
    assert [owner for owner, _, _ in planned.plan()] == [other] * 3


@pytest.mark.parametrize(("rate", "n_reads"), [(1e9, 3), (20_000.0, 2), (1.0, 2)])
def test_no_more_reads_than_keep_the_line_busy(rate: float, n_reads: int) -> None:
    """Those of two reads at least, while the latency is not known."""
    planned = _Planned()
    planned.planner.bandwidth = rate
    planned.planner.default.seek(100, 1)
    assert len(planned.plan()) == n_reads


def test_a_frame_in_steady_play_is_read_with_the_next_ones() -> None:
    planned = _Planned()
    planner = planned.planner
    missing: Callable[[int], bool] = lambda index: index not in planned.here  # noqa: E731
    planner.bandwidth, planner.latency = 10_000.0, 0.1
    head = planner.default
    head.seek(100, 1)
    head.jumped(None, 1)
    assert planner.bundle(100, missing) == planner._reader.span(100, 101), "a jump"
    head.move(101)
    assert planner.bundle(101, missing) == planner._reader.span(101, 111)
    assert planner.bundle(500, missing) == planner._reader.span(500, 501), "no head is there"
    planned.here.add(104)
    assert planner.bundle(101, missing) == planner._reader.span(101, 104)


def test_a_jump_within_what_is_planned_keeps_the_plan() -> None:
    head = Head(100)
    for before, frontier, at, kept in ((100, 200, 150, True), (100, 200, 201, False), (100, 200, 99, False)):
        head.seek(before, 1)
        head.frontier = frontier
        head.seek(at, 1)
        head.jumped(before, 1)
        assert (head.frontier == frontier) is kept
        assert head.is_arriving
    head.frontier = 200
    head.jumped(150, -1)
    assert head.frontier is None


def test_ranges_come_last_and_one_at_a_time() -> None:
    planned = _Planned()
    one, other = Range(1000, 1100, Future()), Range(2000, 2010, Future())
    planned.planner.ranges += [one, other]
    planned.planner.default.seek(4998, 1)
    assert planned.plan() == [(planned.planner.default, 4999, 5000)]
    planned.end(planned.planner.default)
    for expected in ((one, 1000, 1040), (one, 1040, 1080), (one, 1080, 1100), (other, 2000, 2010)):
        assert planned.plan() == [expected]
        assert planned.plan() == []
        planned.end(expected[0])
    assert one.is_read
    assert other.is_read
    one.read_again(1040)
    assert not one.is_read
    for _ in range(3):
        one.fail(TransportError("on purpose"))
    assert one.is_read
