"""
Buffering: what is here, ranges fetched in advance, goals, and pauses.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from scripted import NUMBERED, N, Scripted, get, is_planning, number_of, session_of, slots_of
from support import asvp_of, block_of, wait_until
from test_priorities import Gated
from test_priorities import opened as gated

import alphastream_gpu
from alphastream_gpu import (
    AlphaStream,
    BufferGoal,
    ClosedError,
    Config,
    FrameNotFoundError,
    NotReadyError,
    TransportError,
)


def opened(source: Any = NUMBERED, **options: Any) -> AlphaStream:
    return alphastream_gpu.open(source, config=Config(**{"prefetch_frames": 0, "get_frame_timebox": 1000, **options}))


def test_buffered_ranges() -> None:
    with AlphaStream() as stream:
        assert stream.buffered() == ()
    with opened() as stream:
        assert stream.buffered() == ()
        for index in (7, 1999, 5, 6, 0, 3):
            get(stream, index)
        assert stream.buffered() == ((0, 1), (3, 4), (5, 8), (1999, 2000))
    assert stream.buffered() == ()


def test_buffered_seconds() -> None:
    with opened(fps=50) as stream:
        assert stream.buffered_seconds == 0
        for index in (5, 6, 7, 9, 4):
            get(stream, index)
        assert stream.buffered_seconds == 4 / 50
        get(stream, 9)
        assert stream.buffered_seconds == 1 / 50
        stream.seek(7, reverse=True)
        assert stream.buffered_seconds == 4 / 50
        stream.set_rate(25)
        assert stream.buffered_seconds == 4 / 25


# Ranges.


def test_a_range_is_fetched_and_reported() -> None:
    with opened(Scripted()) as stream:
        get(stream, 5)
        future = stream.prefetch(600, 720)
        assert future.result(20) == 120
        assert stream.buffered() == ((5, 6), (600, 720))
        assert stream.prefetch(600, 720).result(20) == 120
        assert stream.prefetch(50, 50).result(20) == 0


def test_a_range_is_bounded_by_half_the_cache() -> None:
    with opened(Scripted(), cache_frames=100) as stream:
        assert stream.prefetch(0, N).result(20) == 50
        assert stream.buffered() == ((0, 50),)


def test_a_range_can_be_cancelled() -> None:
    source = Gated()
    with gated(source) as stream:
        future = stream.prefetch(1000, 1100)
        wait_until(lambda: source.begun == [1000])
        assert future.cancel()
        wait_until(lambda: source.cancelled == [1000])
        assert session_of(stream).planner.ranges == []
        source.open_all()
        assert stream.prefetch(1000, 1100).result(20) == 100


def test_play_comes_before_ranges() -> None:
    source = Gated()
    with gated(source, http_concurrency=2, prefetch_frames=20) as stream:
        future = stream.prefetch(1000, 1200)
        wait_until(lambda: source.begun == [1000])
        assert stream.get_geometry(100) is None
        wait_until(lambda: 100 in source.begun)
        source.let_through(100)
        wait_until(lambda: session_of(stream).peek(100) is not None)
        assert not future.done()
        source.open_all()
        assert future.result(20) == 200
        assert session_of(stream).peek(101) is not None


def test_a_range_is_read_again_after_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    from alphastream_gpu._stream import scheduler as _scheduler

    monkeypatch.setattr(_scheduler, "_FIRST_PAUSE", 0.001)
    source = Scripted()
    with opened(source) as stream:
        opening = len(source.spans)
        source.fails = lambda number: opening <= number < opening + 2
        assert stream.prefetch(1000, 1100).result(20) == 100
        source.fails = lambda number: True
        with pytest.raises(TransportError, match="scripted"):
            stream.prefetch(1500, 1600).result(20)
        assert session_of(stream).planner.ranges == []


def test_a_malformed_frame_in_a_range_is_passed_over() -> None:
    blocks = [block_of(b"\0\0\0\0") for _ in range(20)]
    blocks[7] = block_of(b"\1\0\0\0")
    with opened(asvp_of(blocks)) as stream:
        assert stream.prefetch(0, 20).result(20) == 19
        assert stream.buffered() == ((0, 7), (8, 20))
        attempt = stream.last_attempt(7)
        assert attempt is not None
        assert attempt.outcome == "failed"


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, N + 1), (N, N + 1)])
def test_a_range_outside_the_stream(start: int, stop: int) -> None:
    with opened() as stream, pytest.raises(FrameNotFoundError):
        stream.prefetch(start, stop)


def test_the_ranges_that_wait_are_bounded() -> None:
    """Each plan looks at all of them. Those that were cancelled do not count."""
    with opened(Scripted()) as stream:
        stream.pause()
        for _ in range(3):
            futures = [stream.prefetch(k, k + 2) for k in range(256)]
            with pytest.raises(NotReadyError, match="at most 256 ranges that wait"):
                stream.prefetch(500, 501)
            assert all(future.cancel() for future in futures)
        wait_until(lambda: session_of(stream).planner.ranges == [])
        futures = [stream.prefetch(k, k + 2) for k in range(256)]
        stream.resume()
        assert [future.result(20) for future in futures] == [2] * 256
        assert stream.prefetch(500, 501).result(20) == 1


def test_ranges_of_empty_and_closed_streams() -> None:
    with AlphaStream() as stream, pytest.raises(NotReadyError):
        stream.prefetch(0, 5)
    with pytest.raises(ClosedError):
        stream.prefetch(0, 5)


# Attempts.


def test_the_last_attempt() -> None:
    source = Scripted()
    with AlphaStream() as empty:
        assert empty.last_attempt(5) is None
    with opened(source, get_frame_timebox=0, cache_frames=2) as stream:
        assert stream.last_attempt(1000) is None
        get(stream, 1000)
        here = stream.last_attempt(1000)
        assert here is not None
        assert (here.frame_index, here.outcome, here.error) == (1000, "here", None)
        assert here.seconds is not None
        assert here.seconds < 10
        source.fails = lambda number: True
        with pytest.raises(TransportError):
            stream.read_frame(1500)
        failed = stream.last_attempt(1500)
        assert failed is not None
        assert failed.outcome == "failed"
        assert failed.error is not None
        assert "scripted" in failed.error.message
        source.fails, source.delay = lambda number: False, lambda: 3600.0
        assert stream.get_geometry(1700) is None
        coming = stream.last_attempt(1700)
        assert coming is not None
        assert (coming.outcome, coming.seconds) == ("coming", None)
        source.delay = lambda: 0.0
        get(stream, 1800)
        get(stream, 1801)
        dropped = stream.last_attempt(1000)
        assert dropped is not None
        assert dropped.outcome == "dropped"


# Goals and pauses.


def ahead(stream: AlphaStream) -> int:
    session = session_of(stream)
    wait_until(lambda: slots_of(stream).patient == 0 and not is_planning(stream))
    with session.lock:
        return session.n_buffered(session.head) - 1


def slow() -> Scripted:
    """Reads that have a price, so that whole windows are fetched."""
    source = Scripted()
    source.delay = lambda: 0.01
    return source


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        (BufferGoal(frames=30), 30),
        (BufferGoal(seconds=1.5), 90),
        (BufferGoal(frames=30, seconds=0.2), 12),
        (BufferGoal(frames=0), 0),
        (BufferGoal(), 256),  # half the cache
        (BufferGoal(frames=5000), 256),
    ],
)
def test_goals(goal: BufferGoal, expected: int) -> None:
    with opened(slow(), prefetch_frames=120) as stream:
        assert stream.buffer_goal == BufferGoal(frames=120)
        stream.set_buffer_goal(goal)
        assert stream.buffer_goal == goal
        get(stream, 100)
        assert ahead(stream) == expected


def test_a_goal_in_bytes() -> None:
    for reverse in (False, True):
        with opened(slow()) as stream:
            offsets = session_of(stream).reader.index.offsets
            n_bytes = int(offsets[1012] - offsets[1001]) if not reverse else int(offsets[1000] - offsets[989])
            stream.set_buffer_goal(BufferGoal(bytes=n_bytes))
            stream.seek(1000, reverse=reverse)
            wait_until(lambda: ahead(stream) == 11)


def test_a_goal_is_changed_while_playing() -> None:
    with opened(slow(), prefetch_frames=20) as stream:
        get(stream, 100)
        assert ahead(stream) == 20
        stream.set_buffer_goal(BufferGoal(seconds=2))
        wait_until(lambda: ahead(stream) == 120)
        stream.set_rate(120)
        wait_until(lambda: ahead(stream) == 240)
        stream.set_buffer_goal(BufferGoal(frames=10))
        get(stream, 1000)
        assert ahead(stream) == 10
        stream.load_source(slow())
        get(stream, 1000)
        assert ahead(stream) == 10


@pytest.mark.parametrize(
    "limits", [{"frames": -1}, {"frames": 65537}, {"seconds": -1}, {"seconds": float("nan")}, {"bytes": -1}]
)
def test_goals_out_of_range(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(limits))}: expected"):
        BufferGoal(**limits)
    with opened() as stream, pytest.raises(TypeError):
        stream.set_buffer_goal(5)  # type: ignore[arg-type]


def test_a_pause_holds_back_what_nobody_asked_for() -> None:
    source = slow()
    with opened(source, prefetch_frames=50) as stream:
        assert not stream.is_paused
        stream.pause()
        assert stream.is_paused
        get(stream, 1000)
        future = stream.prefetch(1500, 1600)
        assert number_of(stream.request(1700).result(20)) == 1700
        time.sleep(0.05)
        assert stream.buffered() == ((1000, 1001), (1700, 1701))
        stream.load_source(slow())
        get(stream, 1000)
        time.sleep(0.05)
        assert stream.buffered() == ((1000, 1001),)
        assert isinstance(future.exception(20), NotReadyError)
        stream.resume()
        wait_until(lambda: ahead(stream) == 50)
