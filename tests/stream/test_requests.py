"""
Requests: a future of a frame, as urgent as a call in real time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from concurrent.futures import CancelledError, Future, wait
from typing import Any

import pytest
from scripted import NUMBERED, N, Scripted, get, number_of
from support import forked, wait_until

import alphastream_gpu
from alphastream_gpu import (
    AlphaStream,
    BufferGoal,
    ClosedError,
    Config,
    DecodeError,
    FrameGeometry,
    FrameNotFoundError,
    NotReadyError,
    TransportError,
)

QUIET = Config(prefetch_frames=0, get_frame_timebox=0)


def opened(source: Any = NUMBERED) -> AlphaStream:
    return alphastream_gpu.open(source, config=QUIET)


def hanging() -> Scripted:
    """A source whose reads hang, once it is open."""
    source = Scripted()
    source.delay = lambda: 3600.0 if len(source.spans) > 1 else 0.0
    return source


def test_a_request_gives_the_frame() -> None:
    with opened(Scripted()) as stream:
        futures = [stream.request(index) for index in (7, 1900, 7, 0)]
        assert [number_of(future.result(20)) for future in futures] == [7, 1900, 7, 0]
        again = stream.request(7)
        assert again.done(), "it is here already"
        assert number_of(again.result()) == 7
        assert stream.stats().hits == stream.stats().misses == 0, "it is no part of play"


def test_it_does_not_wait_and_does_not_move_the_play_head() -> None:
    source = hanging()
    with opened(source) as stream:
        started = time.monotonic()
        future = stream.request(1900)
        assert time.monotonic() - started < 5
        assert not future.done()
        with pytest.raises(TimeoutError):
            future.result(0.02)
        assert stream._lifetime.session is not None
        assert stream._lifetime.session.head.at is None


def test_it_joins_a_fetch_under_way() -> None:
    source = Scripted()
    source.delay = lambda: 0.2 if len(source.spans) > 1 else 0.0
    with opened(source) as stream:
        assert stream.get_geometry(1900) is None
        wait_until(lambda: len(source.spans) == 2)
        futures = [stream.request(1900) for _ in range(3)]
        assert {number_of(future.result(20)) for future in futures} == {1900}
        assert len(source.spans) == 2


def test_cancelling_the_last_one_gives_the_fetch_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and not a while after it was asked for."""
    from alphastream_gpu._stream import scheduler as _scheduler

    monkeypatch.setattr(_scheduler, "_KEPT_SECONDS", 3600.0)
    source = hanging()
    with opened(source) as stream:
        one, other = stream.request(1900), stream.request(1900)
        wait_until(lambda: source.running == 1)
        assert one.cancel()
        time.sleep(0.05)
        assert source.running == 1
        assert other.cancel()
        wait_until(lambda: source.running == 0)
        with pytest.raises(CancelledError):
            other.result()
        source.delay = lambda: 0.0
        assert number_of(stream.request(1900).result(20)) == 1900


def test_cancelling_leaves_a_frame_that_the_player_wants() -> None:
    source = hanging()
    with opened(source) as stream:
        assert stream.get_geometry(1900) is None
        future = stream.request(1900)
        wait_until(lambda: source.running == 1)
        assert future.cancel()
        time.sleep(0.05)
        assert source.running == 1


def test_callbacks_run_on_a_thread_of_their_own_one_after_another() -> None:
    source = Scripted()
    source.delay = lambda: 0.05
    called: list[tuple[str, int | None]] = []
    done = threading.Event()

    def note(future: Future[FrameGeometry]) -> None:
        time.sleep(0.01)
        called.append((threading.current_thread().name, number_of(future.result())))
        if len(called) == 5:
            done.set()

    with opened(source) as stream:
        for index in (100, 200, 300, 400, 500):
            stream.request(index).add_done_callback(note)
        assert done.wait(20)
    assert {name for name, _ in called} == {"alphastream-callbacks"}
    assert {number for _, number in called} == {100, 200, 300, 400, 500}
    wait_until(lambda: "alphastream-callbacks" not in {thread.name for thread in threading.enumerate()})


def test_a_callback_that_blocks_delays_no_frame() -> None:
    source = Scripted()
    source.delay = lambda: 0.02
    let_go = threading.Event()
    with opened(source) as stream:
        first = stream.request(100)
        first.add_done_callback(lambda _: let_go.wait(20))
        assert number_of(first.result(20)) == 100
        assert number_of(stream.request(200).result(20)) == 200
        assert number_of(get(stream, 300)) == 300
        let_go.set()


def test_a_callback_may_call_and_close_the_stream_and_raise(caplog: pytest.LogCaptureFixture) -> None:
    source = Scripted()
    source.delay = lambda: 0.05
    found: list[int | None] = []
    stream = opened(source)

    def follow(_: Future[FrameGeometry]) -> None:
        found.append(number_of(stream.read_frame(200)))
        stream.close()
        raise SystemExit(1)

    stream.request(100).add_done_callback(follow)
    wait_until(lambda: source.closed == 1)
    assert found == [200]
    wait_until(lambda: "a callback raised an exception" in caplog.text)
    with pytest.raises(ClosedError):
        stream.request(100)


def test_asyncio_does_not_wait_for_the_callbacks() -> None:
    """A callback may wait for an event loop that waits for another request, and one may block for ever."""
    source = Scripted()
    source.delay = lambda: 0.02
    found: list[int | None] = []
    let_go = threading.Event()
    with opened(source) as stream:

        async def ask(index: int) -> int:
            return number_of(await asyncio.wait_for(asyncio.wrap_future(stream.request(index)), 20))

        def follow(_: Future[FrameGeometry]) -> None:
            found.append(asyncio.run(ask(200)))
            let_go.wait(20)

        stream.request(100).add_done_callback(follow)
        wait_until(lambda: found == [200])
        assert asyncio.run(ask(300)) == 300
        let_go.set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_in_a_forked_child_nothing_waits() -> None:
    """Neither for a frame that only the parent gets nor for a lock that a thread of the parent holds."""
    source = Scripted()
    stream = opened(source)
    heads = [stream.play_head() for _ in range(2)]
    done = stream.request(0)
    assert number_of(done.result(20)) == 0
    source.delay = lambda: 3600.0
    requested, prefetched = stream.request(1900), stream.prefetch(0, 100)
    session, products = stream._lifetime.session, stream._lifetime.products
    assert session is not None
    locks = (session.lock, stream._lifetime.lock, products._lock, products._masks._lock, products._strips._lock)
    are_held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with contextlib.ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            are_held.set()
            let_go.wait(60)

    def ask() -> None:
        for future in (requested, prefetched):
            for wait_for in (future.result, future.exception):
                with pytest.raises(ClosedError, match="before a fork"):
                    wait_for()
            assert future.cancel()
        assert number_of(done.result()) == 0
        for player in (stream, *heads):
            for call in (player.get_frame, player.get_geometry, player.get_triangle_strip_vertices, player.seek):
                with pytest.raises(ClosedError, match="before a fork"):
                    call(5)
            assert (player.is_stalled, player.buffered_seconds, player.last_error()) == (False, 0, None)
        for refused in (
            lambda: stream.request(5),
            lambda: stream.prefetch(5, 6),
            lambda: stream.read_frame(5),
            lambda: stream.read_batch([5]),
            lambda: list(stream.read_frames(5, 6)),
            lambda: stream.load_source(NUMBERED),
            lambda: stream.on_event(print),
            stream.play_head,
            stream.stats,
        ):
            with pytest.raises(ClosedError, match="before a fork"):
                refused()
        assert (stream.state, stream.buffered(), stream.last_attempt(5)) == ("closed", (), None)
        stream.pause()
        stream.resume()
        stream.set_buffer_goal(BufferGoal(frames=5))
        stream.set_rate(30)
        heads.pop().close()
        heads.clear()
        stream.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert are_held.wait(20)
    try:
        assert forked(ask)
    finally:
        let_go.set()
        thread.join()
        stream.close()


def test_a_callback_on_a_done_future_runs_at_once() -> None:
    with opened() as stream:
        get(stream, 5)
        names: list[str] = []
        stream.request(5).add_done_callback(lambda _: names.append(threading.current_thread().name))
        assert names == [threading.current_thread().name]


def test_with_asyncio_and_wait() -> None:
    source = Scripted()
    source.delay = lambda: 0.01

    async def main() -> None:
        frames = await asyncio.gather(*(asyncio.wrap_future(stream.request(index)) for index in (1, 1500, 700)))
        assert [number_of(one) for one in frames] == [1, 1500, 700]
        source.delay = lambda: 3600.0
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(stream.request(1900)), 0.05)
        while source.running:
            await asyncio.sleep(0.01)

    with opened(source) as stream:
        asyncio.run(main())
        source.delay = lambda: 0.0
        done, missing = wait([stream.request(index) for index in range(1000, 1010)], timeout=20)
        assert (len(done), len(missing)) == (10, 0)


def test_errors() -> None:
    source = Scripted()
    with AlphaStream(config=QUIET) as empty, pytest.raises(NotReadyError):
        empty.request(0)
    with opened(source) as stream:
        for index in (-1, N):
            with pytest.raises(FrameNotFoundError):
                stream.request(index)
        with pytest.raises(TypeError):
            stream.request("5")  # type: ignore[arg-type]
        source.fails = lambda number: True
        one, other = stream.request(1900), stream.request(1900)
        errors = [future.exception(20) for future in (one, other)]
        assert all(isinstance(error, TransportError) for error in errors)
        assert errors[0] is not errors[1], "each has its own traceback"
        source.fails = lambda number: False
        assert number_of(stream.request(1900).result(20)) == 1900
    with pytest.raises(ClosedError):
        stream.request(0)


def test_a_malformed_frame() -> None:
    from support import asvp_of, block_of

    with opened(asvp_of([block_of(b"\1\0\0\0")])) as stream, pytest.raises(DecodeError):
        stream.request(0).result(20)


@pytest.mark.parametrize("way", ["close", "load"])
def test_closing_and_loading_end_it(way: str) -> None:
    source = hanging()
    stream = opened(source)
    future, prefetched = stream.request(1900), stream.prefetch(0, 100)
    ended = threading.Event()
    future.add_done_callback(lambda _: ended.set())
    wait_until(lambda: source.running == 2)
    if way == "close":
        stream.close()
    else:
        stream.load_source(NUMBERED)
    expected = ClosedError if way == "close" else NotReadyError
    assert isinstance(future.exception(20), expected)
    assert isinstance(prefetched.exception(20), expected)
    assert ended.wait(20)
    stream.close()


def test_from_many_threads() -> None:
    source = Scripted()
    source.delay = lambda: 0.001
    wrong: list[int] = []

    def ask(seed: int) -> None:
        for k in range(40):
            index = (seed * 577 + k * 31) % N
            future = stream.request(index)
            if k % 3 == 0:
                future.cancel()
            elif number_of(future.result(30)) != index:
                wrong.append(index)

    with opened(source) as stream:
        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        session = stream._lifetime.session
        assert session is not None
        wait_until(lambda: not session._table.pending)
