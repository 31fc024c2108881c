"""
Play heads: seeks, reverse play, several heads on one stream, and masks of two sizes.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scripted import NUMBERED, N, Scripted, number_of, session_of
from support import SAMPLE, wait_until
from test_priorities import Gated
from test_priorities import number_of as gated_number_of
from test_priorities import opened as gated

import alphastream_gpu
from alphastream_gpu import (
    AlphaStream,
    ClosedError,
    Config,
    ErrorCode,
    FrameNotFoundError,
    NotReadyError,
    PlayHead,
    rasterize,
)
from alphastream_gpu._stream.fetches import Pending


def opened(source: Any = NUMBERED, **options: Any) -> AlphaStream:
    return alphastream_gpu.open(source, config=Config(**options))


# Seeks.


def test_a_seek_fetches_the_frame_and_what_comes_next() -> None:
    with opened(Scripted(), prefetch_frames=20) as stream:
        session = session_of(stream)
        stream.seek(1000)
        wait_until(lambda: all(session.peek(index) is not None for index in range(1000, 1017)))
        assert session.peek(999) is None
        stats = stream.stats()
        assert (stats.hits, stats.misses) == (0, 0)
        assert number_of(stream.get_geometry(1000)) == 1000  # type: ignore[arg-type]
        assert stream.stats().hits == 1


def test_a_seek_does_not_wait() -> None:
    source = Scripted()
    with opened(source) as stream:
        source.delay = lambda: 3600.0
        started = time.monotonic()
        for index in range(0, N, 10):
            stream.seek(index)
        assert time.monotonic() - started < 5


def test_of_many_seeks_only_the_newest_target_is_fetched() -> None:
    """While reads hang, none of the targets before is waited for, and none keeps a slot."""
    source = Gated()
    with gated(source, http_concurrency=1) as stream:
        for index in range(100, 2600, 100):
            stream.seek(index)
        wait_until(lambda: source.begun[-1:] == [2500])
        wait_until(lambda: len(source.cancelled) == len(source.begun) - 1)
        assert set(session_of(stream)._table.pending) == {2500}
        source.open_all()
        wait_until(lambda: session_of(stream).peek(2500) is not None)


def test_a_target_that_waits_for_a_slot_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    from alphastream_gpu._stream import scheduler as _scheduler

    monkeypatch.setattr(_scheduler, "_QUEUED_SECONDS", 0.01)
    source = Gated()
    with gated(source, http_concurrency=1) as stream:
        first = stream.request(100)  # takes the only slot, and somebody waits for it
        wait_until(lambda: source.begun == [100])
        stream.seek(2000)
        time.sleep(0.2)
        source.open_all()
        assert gated_number_of(first.result(20)) == 100
        wait_until(lambda: session_of(stream).peek(2000) is not None)


def test_a_seek_leaves_what_others_wait_for() -> None:
    source = Gated()
    with gated(source, http_concurrency=4) as stream, stream.play_head() as other:
        assert other.get_geometry(100) is None
        future = stream.request(200)
        wait_until(lambda: set(source.begun) == {100, 200})
        for index in (1000, 2000):
            stream.seek(index)
        wait_until(lambda: 2000 in source.begun)
        source.open_all()
        assert gated_number_of(future.result(20)) == 200
        wait_until(lambda: session_of(stream).peek(100) is not None)


@pytest.mark.parametrize("index", [-1, N])
def test_a_seek_outside_the_stream(index: int) -> None:
    with opened() as stream:
        stream.seek(5)
        with pytest.raises(FrameNotFoundError):
            stream.seek(index)
        assert session_of(stream).head.at == 5


def test_seeks_of_empty_and_closed_streams() -> None:
    with AlphaStream() as stream, pytest.raises(NotReadyError):
        stream.seek(0)
    with pytest.raises(ClosedError):
        stream.seek(0)


def test_reverse_play_from_a_seek_on() -> None:
    with opened(Scripted(), prefetch_frames=20) as stream:
        session = session_of(stream)
        stream.seek(1000, reverse=True)
        wait_until(lambda: all(session.peek(index) is not None for index in range(984, 1001)))
        assert session.peek(1001) is None
        for index in range(1000, 900, -1):
            wait_until(lambda index=index: stream.get_geometry(index) is not None)
        assert session.head.direction == -1
        assert session.peek(1001) is None
        stream.get_geometry(902)
        assert session.head.direction == 1


def test_masks_are_made_where_a_seek_goes() -> None:
    with opened(SAMPLE, get_frame_timebox=1000, ready_frames=4) as stream:
        assert stream.get_frame(0, 64, 32) is not None
        wait_until(lambda: stream.stats().made_ahead == 4)
        stream.seek(60)
        masks, variant = stream._lifetime.products._masks, (session_of(stream).serial, (64, 32))
        wait_until(lambda: all(masks.get(index, variant) is not None for index in range(60, 64)))
        assert masks.get(0, variant) is None
        mask = stream.get_frame(60, 64, 32)
        assert mask is not None
        assert np.array_equal(mask, rasterize(stream.read_frame(60), (64, 32)))


# Several heads.


def test_two_heads_prefetch_at_two_places() -> None:
    with opened(Scripted(), prefetch_frames=40) as stream, stream.play_head() as other:
        session = session_of(stream)
        for step in range(30):
            for head, first in ((stream, 100), (other, 1500)):
                wait_until(lambda head=head, at=first + step: head.get_geometry(at) is not None)
        wait_until(lambda: all(session.peek(index) is not None for index in (*range(130, 134), *range(1530, 1534))))
        assert session.head.at == 129
        assert stream.stats().abandoned == 0, "neither calls the other's place a jump"


def test_heads_share_the_slots() -> None:
    """The reads ahead of one hang; the other gets its own all the same."""
    source = Gated()
    source.is_open = lambda index: index >= 1000
    with gated(source, http_concurrency=4, prefetch_frames=64, http_chunk=4096) as stream:
        with stream.play_head() as other:
            assert stream.get_geometry(100) is None
            assert other.get_geometry(2000) is None
            wait_until(lambda: all(session_of(stream).peek(index) is not None for index in range(2000, 2017)))
            heads = session_of(stream).planner
            assert heads.default.n_slots <= 2
        source.open_all()


def test_heads_share_the_window() -> None:
    with opened(cache_frames=100, prefetch_frames=50) as stream:
        session = session_of(stream)
        assert session.planner.window == 50
        heads = [stream.play_head() for _ in range(4)]
        for head in heads:
            wait_until(lambda head=head: head.get_geometry(3) is not None)
        assert session.planner.window == 10
        for head in heads:
            head.close()
        assert session.planner.window == 50
        assert session.planner.others == {}


def test_a_head_has_its_own_errors_and_stall() -> None:
    source = Scripted()
    with opened(source, get_frame_timebox=1) as stream, stream.play_head() as other:
        wait_until(lambda: stream.get_geometry(5) is not None)
        source.delay = lambda: 3600.0
        assert other.get_geometry(1500) is None
        error = other.last_error()
        assert error is not None
        assert (error.code, error.frame_index) == (ErrorCode.TIMEOUT, 1500)
        assert stream.last_error() is None
        wait_until(lambda: other.is_stalled)
        assert not stream.is_stalled
        assert stream.state == "playing"
        assert stream.buffered_seconds > 0 == other.buffered_seconds


def test_a_head_goes_on_with_another_source() -> None:
    with opened() as stream, stream.play_head() as head:
        wait_until(lambda: head.get_geometry(5) is not None)
        stream.load_source(SAMPLE)
        wait_until(lambda: head.get_geometry(100) is not None)
        with pytest.raises(FrameNotFoundError):
            head.get_triangle_strip_vertices(1000)


def test_a_closed_head() -> None:
    source = Scripted()
    with opened(source, get_frame_timebox=0, prefetch_frames=0) as stream:
        head = stream.play_head()
        source.delay = lambda: 3600.0
        head.seek(1500)
        wait_until(lambda: source.running == 1)
        head.close()
        head.close()
        wait_until(lambda: source.running == 0)
        assert repr(head) == "<PlayHead closed>"
        for call in (head.get_frame, head.get_geometry, head.get_triangle_strip_vertices, head.seek):
            with pytest.raises(ClosedError, match="play head"):
                call(5)
        source.delay = lambda: 0.0
        wait_until(lambda: stream.get_geometry(5) is not None)
        left = stream.play_head()
    with pytest.raises(ClosedError):
        left.get_geometry(5)
    with pytest.raises(ClosedError):
        stream.play_head()
    left.close()


def _close(head: PlayHead) -> None:
    head.close()


def _drop(head: PlayHead) -> None:
    """As its caller does, who has the last reference."""


@pytest.mark.parametrize("end", [_close, _drop])
def test_a_head_that_is_gone_gives_its_share_back(end: Callable[[PlayHead], None]) -> None:
    with opened(SAMPLE, cache_frames=100, prefetch_frames=50, get_frame_timebox=1000) as stream:
        planner, masks = session_of(stream).planner, stream._lifetime.products._masks
        heads = [stream.play_head()]
        assert heads[0].get_frame(60, 64, 32) is not None
        assert planner.window == 25
        end(heads.pop())
        gc.collect()
        wait_until(lambda: planner.window == 50)
        wait_until(lambda: not masks._aims and not masks._made)
        assert planner.default.full_window == 50


def _run_apart(function: Callable[[], None]) -> None:
    """Call a function in a thread that does not keep the process if it hangs."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.slow
def test_a_head_that_is_dropped_while_locks_are_held() -> None:
    """The collector runs at any point, also where the thread holds a lock of the library."""
    stream = opened(SAMPLE, prefetch_frames=50, get_frame_timebox=1000)  # which cannot be closed after a deadlock
    planner, products = session_of(stream).planner, stream._lifetime.products
    heads = [stream.play_head()]
    assert heads[0].get_frame(60, 64, 32) is not None

    def drop() -> None:
        with products._masks._lock, products._strips._lock:
            heads.clear()
            gc.collect()

    _run_apart(drop)
    wait_until(lambda: planner.others == {})
    stream.close()


def test_a_head_that_is_closed_within_another_call() -> None:
    """A signal handler may interrupt a call that holds a lock."""
    from alphastream_gpu._runtime.calls import entered

    stream = opened(SAMPLE, prefetch_frames=50, get_frame_timebox=1000)  # which cannot be closed after a deadlock
    planner, products = session_of(stream).planner, stream._lifetime.products
    head = stream.play_head()
    assert head.get_frame(60, 64, 32) is not None

    def interrupted() -> None:
        with entered("get_frame"), products._masks._lock:
            head.close()

    _run_apart(interrupted)
    wait_until(lambda: planner.others == {})
    stream.close()


def test_looking_at_a_head_gives_it_no_share() -> None:
    """Neither one that has not asked for a frame yet nor one that is closed."""
    with opened(cache_frames=100, prefetch_frames=50) as stream:
        planner = session_of(stream).planner
        head = stream.play_head()
        for _ in range(2):
            assert not head.is_stalled
            assert head.buffered_seconds == 0
            assert planner.others == {}
            head.close()
        assert planner.window == 50


def test_a_call_that_ends_after_its_head_was_closed() -> None:
    """Another thread closes the head between two steps of the call."""
    with opened(SAMPLE, cache_frames=100, prefetch_frames=50, get_frame_timebox=1000) as stream:
        session, products = session_of(stream), stream._lifetime.products
        head = stream.play_head()
        assert head.get_geometry(60) is not None
        ask, key = head._ask, head._key
        head.close()
        geometry = ask(session, 60)
        assert not isinstance(geometry, Pending)
        assert geometry is not None
        products.mask(session, 60, geometry, (64, 32), time.monotonic() + 1, key)
        session.seek(70, key, reverse=False)
        assert session.planner.others == {}
        assert session.planner.window == 50
        assert not products._masks._aims


# Two sizes.


def test_two_sizes_alternately_are_both_made_ahead() -> None:
    sizes = ((64, 32), (200, 100))
    with opened(SAMPLE, get_frame_timebox=1000, ready_frames=5) as stream:
        masks, serial = stream._lifetime.products._masks, session_of(stream).serial
        for index in range(10, 14):
            for size in sizes:
                assert stream.get_frame(index, *size) is not None
        wait_until(
            lambda: all(masks.get(index, (serial, size)) is not None for size in sizes for index in range(14, 19))
        )
        before = stream.stats().made_ahead
        for index in range(14, 19):
            for size in sizes:
                ready = masks.get(index, (serial, size))
                mask = stream.get_frame(index, *size)
                assert mask is not None
                if ready is not None:
                    assert np.array_equal(mask, ready)
                assert np.array_equal(mask, rasterize(stream.read_frame(index), size))
        wait_until(lambda: stream.stats().made_ahead >= before + 10)


def test_two_heads_with_two_sizes() -> None:
    with opened(SAMPLE, get_frame_timebox=1000, ready_frames=5) as stream, stream.play_head() as preview:
        masks, serial = stream._lifetime.products._masks, session_of(stream).serial
        assert stream.get_frame(10, 64, 32) is not None
        assert preview.get_frame(80, 30, 20) is not None
        wait_until(lambda: all(masks.get(index, (serial, (64, 32))) is not None for index in range(11, 16)))
        wait_until(lambda: all(masks.get(index, (serial, (30, 20))) is not None for index in range(81, 86)))
        preview.close()
        assert masks.get(81, (serial, (30, 20))) is None
        assert masks.get(11, (serial, (64, 32))) is not None
