"""
Events: the state of a stream, told in order and without ever blocking the library.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from scripted import NUMBERED, N, Scripted, get
from support import wait_until

import alphastream_gpu
from alphastream_gpu import AlphaStream, ClosedError, Config, ErrorCode, StreamEvent, TransportError
from alphastream_gpu._stream import events as _events


def opened(source: Any = NUMBERED, **options: Any) -> AlphaStream:
    return alphastream_gpu.open(source, config=Config(**{"prefetch_frames": 0, "get_frame_timebox": 5, **options}))


class Heard(list[StreamEvent]):
    """A listener."""

    @property
    def states(self) -> list[str]:
        return [event.state for event in self]

    def wait_for(self, *states: str) -> None:
        try:
            wait_until(lambda: self.states == list(states))
        except AssertionError:
            assert self.states == list(states)


def test_the_states_of_a_stream() -> None:
    source, heard = Scripted(), Heard()
    # So long that a frame fails before it is late, on a busy machine, too.
    stream = AlphaStream(config=Config(prefetch_frames=0, get_frame_timebox=1000))
    assert stream.state == "opening"
    stream.on_event(heard.append)
    heard.wait_for("opening")
    with pytest.raises(TransportError):
        stream.load_source("/nothing/here.asvp")
    assert stream.state == "failed"
    stream.load_source(source)
    assert stream.state == "buffering"
    heard.wait_for("opening", "failed", "opening", "buffering")
    get(stream, 5)
    assert stream.state == "playing"
    get(stream, N - 1)
    assert stream.state == "ended"
    get(stream, N - 2)
    wait_until(lambda: heard.states[-1] == "playing")
    source.fails = lambda number: True
    for _ in range(20):
        assert stream.get_geometry(7) is None
        time.sleep(0.01)
    assert stream.state == "stalled"
    wait_until(lambda: heard.states[-1] == "stalled")
    assert heard[-1].error is not None
    assert heard[-1].error.code == ErrorCode.TRANSPORT
    assert heard[-1].frame_index == 7
    source.fails = lambda number: False
    get(stream, 7)
    wait_until(lambda: heard.states[-1] == "playing")
    stream.close()
    assert stream.state == "closed"
    wait_until(lambda: heard.states[-1] == "closed")
    assert [event.previous for event in heard] == [None, *heard.states[:-1]]
    assert [event.at for event in heard] == sorted(event.at for event in heard)
    error = heard[1].error
    assert error is not None
    assert error.code == ErrorCode.TRANSPORT
    with pytest.raises(ClosedError):
        stream.on_event(heard.append)
    with pytest.raises(ClosedError):
        asyncio.run(_first(stream))


async def _first(stream: AlphaStream) -> StreamEvent:
    return await anext(stream.events())


@pytest.mark.slow
def test_a_late_frame_is_told_without_another_call() -> None:
    source, heard = Scripted(), Heard()
    with opened(source) as stream:
        stream.on_event(heard.append)
        get(stream, 5)
        heard.wait_for("buffering", "playing")
        source.delay = lambda: 0.3
        assert stream.get_geometry(6) is None
        wait_until(lambda: heard.states[-1] == "stalled")
        assert stream.is_stalled
        wait_until(lambda: heard.states[-1] == "playing")
        assert not stream.is_stalled


@pytest.mark.slow
def test_after_a_seek_it_is_buffering_before_it_is_stalled() -> None:
    source, heard = Scripted(), Heard()
    with opened(source) as stream:
        session = stream._lifetime.session
        assert session is not None
        stream.on_event(heard.append)
        get(stream, 5)
        session.planner.read_seconds = 0.2
        source.delay = lambda: 3600.0
        stream.seek(1000)
        assert (stream.state, stream.is_stalled) == ("buffering", False)
        wait_until(lambda: stream.is_stalled)
        heard.wait_for("buffering", "playing", "buffering", "stalled")
        assert heard[3].at - heard[2].at > 0.35


def test_reverse_play_ends_at_the_first_frame() -> None:
    heard = Heard()
    with opened() as stream:
        stream.on_event(heard.append)
        get(stream, 0)
        heard.wait_for("buffering", "playing")
        stream.seek(2, reverse=True)
        get(stream, 2)
        get(stream, 1)
        get(stream, 0)
        wait_until(lambda: heard.states[-1] == "ended")
        assert stream.state == "ended"


def test_a_slow_listener_loses_the_oldest_and_is_told() -> None:
    source, heard, let_go = Scripted(), Heard(), threading.Event()

    def slow(event: StreamEvent) -> None:
        heard.append(event)
        let_go.wait(20)

    with opened(source) as stream:
        monitor = stream._lifetime.monitor
        stream.on_event(slow)
        heard.wait_for("buffering")
        n_events = _events._MOST_EVENTS + 10
        done = threading.Event()

        def publish() -> None:
            for number in range(n_events):
                state: Any = "stalled" if number % 2 else "playing"
                for listener in monitor._listeners:
                    listener.put(StreamEvent(state, None, number, 0.0))
            done.set()

        stream._lifetime.loop.call_soon(publish)
        assert done.wait(20)
        get(stream, 5)  # nothing waits for the listener
        let_go.set()
        wait_until(lambda: len(heard) >= 1 + _events._MOST_EVENTS)
    wait_until(lambda: heard.states[-1] == "closed")
    assert sum(event.lost for event in heard) >= 10
    assert heard[1].lost >= 10
    numbers = [event.frame_index for event in heard if event.at == 0.0]
    assert numbers == list(range(n_events - len(numbers), n_events))


def test_a_listener_may_raise_end_itself_and_call(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Any] = []
    with opened() as stream:
        ends: list[Callable[[], None]] = []

        def listener(event: StreamEvent) -> None:
            heard.append((event.state, stream.state, stream.read_frame(9) is not None))
            if len(heard) == 2:
                ends[0]()
            raise ValueError("on purpose")

        ends.append(stream.on_event(listener))
        wait_until(lambda: len(heard) == 1)
        get(stream, 5)
        wait_until(lambda: len(heard) == 2)
        get(stream, N - 1)
        time.sleep(0.05)
        assert len(heard) == 2
        assert not stream._lifetime.monitor._listeners
        assert all(read for _, _, read in heard)
        assert "on purpose" in caplog.text
    ends[0]()


def test_an_iterator_of_events() -> None:
    async def main() -> None:
        heard = Heard()
        stream = await alphastream_gpu.open_async(NUMBERED, config=Config(prefetch_frames=0))

        async def listen() -> None:
            heard.extend([event async for event in events])

        events = stream.events()
        listening = asyncio.create_task(listen())
        await asyncio.to_thread(get, stream, 5)
        while heard.states == []:
            await asyncio.sleep(0.01)
            if stream._lifetime.monitor._last == "playing":
                break
        await asyncio.to_thread(get, stream, N - 1)
        while stream._lifetime.monitor._last != "ended":
            await asyncio.sleep(0.01)
        await stream.aclose()
        await asyncio.wait_for(listening, 20)
        assert heard.states[0] == "buffering"
        assert heard.states[-2:] == ["ended", "closed"]
        assert "playing" in heard.states

    asyncio.run(main())


def test_an_iterator_that_is_dropped_or_whose_loop_ended_is_forgotten() -> None:
    async def begin(stream: AlphaStream) -> None:
        events = stream.events()
        assert (await anext(events)).state == "buffering"

    with opened() as stream:
        asyncio.run(begin(stream))
        wait_until(lambda: len(stream._lifetime.monitor._iterators) == 0)
        get(stream, 5)


def test_a_loop_that_is_blocked_collects_no_calls() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        listener = _events.AsyncListener(loop)
        n_ready = len(loop._ready)
        for number in range(1000):  # the loop is blocked by this
            listener.put(StreamEvent("playing", None, number, 0.0))
        assert len(loop._ready) == n_ready + 1
        events = listener.iterate()
        numbers = []
        for _ in range(_events._MOST_EVENTS):
            event = await asyncio.wait_for(anext(events), 20)
            numbers.append(event.frame_index)
        assert numbers == list(range(1000 - _events._MOST_EVENTS, 1000))
        listener.put(StreamEvent("ended", None, 5, 0.0))
        assert (await asyncio.wait_for(anext(events), 20)).state == "ended"

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["CallbackListener", "AsyncListener"])
def test_whoever_begins_to_listen_while_the_stream_closes_is_refused(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with an error of asyncio, and not without one, which would leave the caller waiting."""
    from alphastream_gpu._stream import buffering

    stream, make = opened(), getattr(_events, kind)

    def closed_meanwhile(*args: Any) -> Any:
        thread = threading.Thread(target=stream.close)
        thread.start()
        thread.join()
        return make(*args)

    monkeypatch.setattr(buffering, kind, closed_meanwhile)
    with pytest.raises(ClosedError):
        if kind == "CallbackListener":
            stream.on_event(print)
        else:
            asyncio.run(_first(stream))


def test_on_moved_is_set_where_nobody_looks_at_it() -> None:
    """It becomes None when the last listener ends. Whoever looked before must not call None."""
    with opened() as stream:
        session, monitor = stream._lifetime.session, stream._lifetime.monitor
        assert session is not None
        end = stream.on_event(lambda event: None)
        wait_until(lambda: session.on_moved is not None)
        with session.lock:
            end()
            wait_until(lambda: not monitor._listeners)
            time.sleep(0.02)
            assert session.on_moved is not None
        wait_until(lambda: session.on_moved is None)


def test_without_listeners_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(prefetch_frames=20) as stream:
        monitor = stream._lifetime.monitor
        monkeypatch.setattr(monitor, "_found", lambda: pytest.fail("nobody listens"))
        for index in (*range(20), N - 1):
            get(stream, index)
        monkeypatch.undo()
        heard = Heard()
        end = stream.on_event(heard.append)
        heard.wait_for("ended")
        end()
        session = stream._lifetime.session
        assert session is not None
        wait_until(lambda: session.on_moved is None)


def test_steady_play_costs_no_looks() -> None:
    """With a listener, too: while each frame is here, nothing is computed for it."""
    with opened(get_frame_timebox=1000) as stream:
        session = stream._lifetime.session
        assert session is not None
        heard = Heard()
        assert stream.prefetch(100, 300).result(20) == 200
        get(stream, 100)
        stream.on_event(heard.append)
        heard.wait_for("playing")
        looks: list[int] = []
        session.on_moved = lambda: looks.append(1)
        for index in range(101, 300):
            get(stream, index)
        assert looks == []
