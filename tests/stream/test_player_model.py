"""
A model of a player: requests, seeks, ranges, several heads, goals, pauses, faults, forks and closes, in any order.

What is told must agree: each future ends once with its frame or a reason, what is buffered is what is here, states
follow one another without a gap, and after good weather everything settles.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import random
import time
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from scripted import N, Scripted, number_of, slots_of
from support import forked, wait_until

import alphastream_gpu
from alphastream_gpu import (
    AlphaStream,
    BufferGoal,
    ClosedError,
    Config,
    FrameGeometry,
    NotReadyError,
    PlayHead,
    StreamEvent,
    TransportError,
)

STATES = {"opening", "buffering", "playing", "stalled", "ended", "failed", "closed"}
INDEX = st.one_of(st.integers(0, N - 1), st.sampled_from([0, 1, N - 2, N - 1]))


class PlayerModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.chance = random.Random(0)
        self.source = Scripted()
        self.stream = AlphaStream()
        self.heads: list[PlayHead] = []
        self.frames: list[tuple[int, Future[FrameGeometry]]] = []
        self.ranges: list[tuple[int, int, Future[int]]] = []
        self.events: list[StreamEvent] = []

    @initialize(seed=st.integers(0, 1000), cache=st.sampled_from([2, 10, 200]), slots=st.sampled_from([1, 2, 4]))
    def open(self, seed: int, cache: int, slots: int) -> None:
        self.stream.close()
        self.chance = random.Random(seed)
        self.config = Config(
            cache_frames=cache, prefetch_frames=min(cache, 20), get_frame_timebox=2, http_concurrency=slots
        )
        self._open()

    def _open(self) -> None:
        self.source = Scripted()
        self.stream = alphastream_gpu.open(self.source, config=self.config)
        self.heads, self.events = [], []
        events = self.events
        self.stream.on_event(events.append)

    @rule(delays=st.sampled_from([(0.0,), (0.0, 0.001), (0.0, 0.02)]), failing=st.sampled_from([0.0, 0.0, 0.3]))
    def weather(self, delays: tuple[float, ...], failing: float) -> None:
        self.source.delay = lambda: self.chance.choice(delays)
        self.source.fails = lambda number: self.chance.random() < failing

    @rule(index=INDEX, which=st.integers(0, 3), reverse=st.booleans())
    def seek(self, index: int, which: int, reverse: bool) -> None:
        self._player(which).seek(index, reverse=reverse)

    @rule(index=INDEX, which=st.integers(0, 3), steps=st.integers(1, 20), direction=st.sampled_from([1, -1, 2]))
    def play(self, index: int, which: int, steps: int, direction: int) -> None:
        for at in range(index, index + steps * direction, direction):
            geometry = self._player(which).get_geometry(at)
            assert geometry is None or number_of(geometry) == at

    @rule(first=st.integers(0, N - 100), which=st.integers(0, 3))
    def scrub(self, first: int, which: int) -> None:
        for index in range(first, first + 100, 7):
            self._player(which).seek(index)

    @rule(index=INDEX, cancels=st.booleans())
    def request(self, index: int, cancels: bool) -> None:
        future = self.stream.request(index)
        if cancels:
            future.cancel()
        self.frames.append((index, future))

    @rule(start=INDEX, length=st.integers(0, 300), cancels=st.booleans())
    def prefetch(self, start: int, length: int, cancels: bool) -> None:
        stop = min(start + length, N)
        future = self.stream.prefetch(start, stop)
        if cancels:
            future.cancel()
        self.ranges.append((start, stop, future))

    @precondition(lambda self: len(self.heads) < 3)
    @rule()
    def another_head(self) -> None:
        self.heads.append(self.stream.play_head())

    @precondition(lambda self: self.heads)
    @rule(closes=st.booleans(), index=INDEX)
    def one_head_less(self, closes: bool, index: int) -> None:
        """Closed, and asked all the same, or dropped without being closed."""
        head = self.heads.pop()
        if closes:
            head.close()
            with pytest.raises(ClosedError):
                head.get_geometry(index)
            assert not head.is_stalled
            assert head.buffered_seconds == 0

    @precondition(lambda self: hasattr(os, "fork"))
    @rule(index=INDEX)
    def fork(self, index: int) -> None:
        """In a child, every call returns, whatever the threads of the parent are doing."""

        def ask() -> None:
            for player in (self.stream, *self.heads):
                with pytest.raises(ClosedError, match="before a fork"):
                    player.get_geometry(index)
                assert not player.is_stalled
                assert player.buffered_seconds == 0
            assert self.stream.state == "closed"
            assert self.stream.buffered() == ()
            assert self.stream.last_attempt(index) is None
            for future in (*(one for _, one in self.frames), *(one for *_, one in self.ranges)):
                if not future.done():
                    with pytest.raises(ClosedError, match="before a fork"):
                        future.result()
                    future.cancel()
            for head in self.heads:
                head.close()
            self.stream.close()

        assert forked(ask)

    @rule(goal=st.sampled_from([BufferGoal(), BufferGoal(frames=5), BufferGoal(seconds=0.5), BufferGoal(bytes=300)]))
    def goal(self, goal: BufferGoal) -> None:
        self.stream.set_buffer_goal(goal)

    @rule(is_paused=st.booleans())
    def pause(self, is_paused: bool) -> None:
        if is_paused:
            self.stream.pause()
        else:
            self.stream.resume()
        assert self.stream.is_paused == is_paused

    @rule()
    def load_again(self) -> None:
        other = Scripted()
        self.stream.load_source(other)
        self.source = other

    @rule(which=st.integers(0, 3), first=st.integers(0, N - 60))
    def settle(self, which: int, first: int) -> None:
        """In good weather, whatever came before, play goes on, every future ends, and nothing is left under way."""
        self.source.delay = lambda: 0.0
        self.source.fails = lambda number: False
        self.stream.resume()
        player = self._player(which)
        for index in range(first, first + 20):
            wait_until(lambda index=index: player.get_geometry(index) is not None)  # type: ignore[misc]
            assert not player.is_stalled
            if self.config.cache_frames >= 200:  # otherwise it may have been evicted already
                assert player.buffered_seconds >= 1 / 60
        self._end_futures()
        session: Any = self.stream._lifetime.session
        slots = slots_of(self.stream)
        wait_until(lambda: not session._table.pending and not session._scheduler._fetches)
        assert (slots.patient, slots._busy, session.planner.n_bytes) == (0, 0, 0)
        assert session.planner.ranges == []
        assert all(head.n_slots == 0 for head in session.planner.heads())
        gc.collect()
        keys = {head._key for head in self.heads}
        wait_until(lambda: session.planner.others.keys() <= keys)
        assert session.planner.default.full_window == session.planner.window
        assert self.stream.state in ("playing", "ended", "buffering", "stalled")
        here = {index for start, stop in self.stream.buffered() for index in range(start, stop)}
        assert here == set(session.cached())

    @rule(hangs=st.booleans())
    def close_and_open(self, hangs: bool) -> None:
        if hangs:
            self.source.delay = lambda: 3600.0
        self.stream.close()
        assert self.stream.state == "closed"
        assert self.source.running == 0
        self._end_futures()
        wait_until(lambda: self.events and self.events[-1].state == "closed")
        self._check_events()
        self._open()

    def _player(self, which: int) -> Any:
        return ([self.stream, *self.heads] * 4)[which]

    def _end_futures(self) -> None:
        for index, frame in self.frames:
            with contextlib.suppress(CancelledError, ClosedError, NotReadyError, TransportError):
                assert number_of(frame.result(20)) == index
        for start, stop, future in self.ranges:
            with contextlib.suppress(CancelledError, ClosedError, NotReadyError, TransportError):
                assert 0 <= future.result(20) <= stop - start
        self.frames, self.ranges = [], []

    def _check_events(self) -> None:
        events = list(self.events)
        for before, after in itertools.pairwise(events):
            assert before.at <= after.at
            assert after.previous == before.state or after.lost
            assert after.previous != after.state
            assert before.state != "closed"

    @invariant()
    def consistent(self) -> None:
        assert self.stream.state in STATES
        ranges = self.stream.buffered()
        assert all(start < stop for start, stop in ranges)
        assert all(a[1] < b[0] for a, b in itertools.pairwise(ranges))
        assert sum(stop - start for start, stop in ranges) <= self.stream.config.cache_frames
        assert self.stream.buffered_seconds >= 0
        self._check_events()

    def teardown(self) -> None:
        self.source.delay = lambda: 0.0
        self.stream.close()
        time.sleep(0)
        self._end_futures()
        assert self.source.running == 0


TestPlayerModel = PlayerModel.TestCase


TestPlayerModel.settings = settings(
    max_examples=settings.default.max_examples // 4, stateful_step_count=20, deadline=None
)
