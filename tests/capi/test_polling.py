"""
The functions that never wait, without the library: poll, states, ranges, seek and prefetch of a player behind a handle.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import pytest
from badserver import Behaviour, Request, Server, Wire, never, status, well
from support import SAMPLE, SQUARE, asvp_of, block_of, payload_of, sample_geometries, sha256, wait_until

from alphastream_gpu import ClosedError, ErrorCode, FrameGeometry, rasterize
from alphastream_gpu._capi import requests
from alphastream_gpu._capi.declarations import PREFIX, cdef, enumerations, functions
from alphastream_gpu._capi.entry import Entry, bind
from alphastream_gpu._capi.player import Player
from alphastream_gpu._capi.requests import Requests
from alphastream_gpu._capi.states import FrameState, StreamState
from alphastream_gpu._stream import products

SIZE = (64, 32)
N = 4000
PAYLOADS = [payload_of([((index % 1900, index // 5), [(120, 90), (-110, 100)])]) for index in range(N)]
LONG = asvp_of([block_of(payload) for payload in PAYLOADS])
"""A stream that is longer than the first read of a source."""
LAST = N - 1


def mask_of(index: int, size: tuple[int, int] = SIZE) -> Any:
    return rasterize(FrameGeometry.from_payload(PAYLOADS[index]), size)


def init(player: Player, url: str | Path, **given: Any) -> bool:
    """CV_init with few frames, and nothing made ahead."""
    options = {
        "scene_id": 7,
        "size": SIZE,
        "version": "1.5.0",
        "start_frame": 0,
        "ready_frames": 0,
        "cache_frames": 400,
        "init_frames": 0,
        "init_timeout": 20.0,
        "data_timeout": 20.0,
    }
    return player.init(str(url), environ={}, **{**options, **given})


def outcome(player: Player) -> ErrorCode:
    error = player.error
    return ErrorCode.NONE if error is None else error.code


def requests_of(player: Player) -> Requests:
    assert player._requests is not None
    return player._requests


def head_of(player: Player) -> int | None:
    """Where the play head is."""
    session = requests_of(player).stream._lifetime.session
    assert session is not None
    return session.head.at


def poll(player: Player, index: int) -> Any:
    """Poll as a host does: again while the mask is coming."""
    deadline = time.monotonic() + 30
    while (mask := player.poll(index)) is None:
        assert outcome(player) in (ErrorCode.TIMEOUT, ErrorCode.NOT_READY), player.error
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert outcome(player) is ErrorCode.NONE
    return mask


class Gate:
    """A server's script: replies for frames are held until the gate is open; header and table are not."""

    def __init__(self) -> None:
        self.is_open = False
        self.behaviour: Behaviour = self._hold
        """Of replies for frames, until the gate is open."""

    def __call__(self, request: Request) -> Behaviour | None:
        return None if self.is_open or request.range[0] == 0 else self.behaviour

    async def _hold(self, server: Server, request: Request, wire: Wire) -> None:
        while not self.is_open:
            await asyncio.sleep(0.002)
        await well(server, request, wire)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def player() -> Iterator[Player]:
    made = Player()
    assert made.set_option("http_retries", "0")
    assert made.set_option("prefetch_frames", "0")
    yield made
    made.close()


@pytest.fixture
def held(player: Player, gate: Gate) -> Iterator[Player]:
    """A player of the long stream. The gate holds the frames that the first read did not have."""
    with Server(LONG, gate) as server:
        assert init(player, server.url())
        yield player
        player.close()


@pytest.fixture
def long_file(tmp_path: Path) -> Path:
    path = tmp_path / "long.asvp"
    path.write_bytes(LONG)
    return path


def test_a_mask_is_coming_and_then_ready(held: Player, gate: Gate) -> None:
    """Asking for its state asks for nothing. Polling does, and the play head stays where it is."""
    assert held.frame_state(LAST) is FrameState.MISSING
    assert outcome(held) is ErrorCode.NONE
    gate.is_open = True
    assert held.frame_state(LAST) is FrameState.MISSING, "the state of a frame asks for nothing"
    assert held.poll(LAST) is None
    assert held.error is not None
    assert (outcome(held), held.error.frame_index) == (ErrorCode.TIMEOUT, LAST)
    wait_until(lambda: held.frame_state(LAST) is FrameState.READY)
    mask = held.poll(LAST)
    assert outcome(held) is ErrorCode.NONE
    assert mask is not None
    assert np.array_equal(mask, mask_of(LAST))
    assert head_of(held) is None


def test_a_frame_is_coming_while_the_server_does_not_reply(held: Player) -> None:
    assert held.poll(LAST) is None
    for _ in range(3):
        assert held.frame_state(LAST) is FrameState.COMING
        assert outcome(held) is ErrorCode.NONE
        assert held.poll(LAST) is None
        assert outcome(held) is ErrorCode.TIMEOUT


def test_no_call_waits(held: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for a frame nor for a thread, whatever the time box is. Locks are held briefly."""
    assert held.poll(LAST - 1) is None  # which starts threads
    waits: list[str] = []
    real, own = threading.Condition.wait, threading.get_ident()

    def watched(condition: threading.Condition, timeout: float | None = None) -> bool:
        if threading.get_ident() == own:
            waits.append(str(sys._getframe(1).f_code))
        return real(condition, timeout)

    monkeypatch.setattr(threading.Condition, "wait", watched)
    assert held.seek(LAST - 100, reverse=True)
    assert held.poll(LAST) is None
    assert held.frame_state(LAST) is FrameState.COMING
    assert held.state is not StreamState.FAILED
    assert held.buffered() == ()
    assert held.buffered_seconds == 0.0
    number = held.prefetch(3000, 3010)
    assert held.range_state(number) is FrameState.COMING
    assert held.cancel_range(number)
    assert held.cancel(LAST)
    assert waits == []
    assert held.frame(LAST) is None
    assert waits, "the function that waits is noticed"


def test_a_frame_that_play_asked_for_is_coming(held: Player) -> None:
    assert held.seek(LAST, reverse=False)
    assert held.frame_state(LAST) is FrameState.COMING
    assert head_of(held) == LAST


def test_cv_get_frame_returns_what_was_polled_and_never_waits(
    player: Player, long_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if its geometry is dropped, and nothing may be made on the host's thread. The play head moves there."""
    assert player.set_option("get_frame_timebox_ms", "0")
    assert init(player, long_file, cache_frames=2)
    mask = poll(player, LAST)
    for index in (0, 1, 2):
        poll(player, index)
    monkeypatch.setattr(products, "rasterize", lambda *given, **options: 1 / 0)
    assert player.frame(LAST) is mask
    assert outcome(player) is ErrorCode.NONE
    assert head_of(player) == LAST
    assert player.frame(2) is player.poll(2)


def test_a_polled_mask_needs_no_geometry(player: Player, gate: Gate) -> None:
    """CV_get_frame returns it although its geometry is dropped. That is fetched again, and nobody waits for it."""
    with Server(LONG, gate) as server:
        assert init(player, server.url(), cache_frames=2)
        gate.is_open = True
        mask = poll(player, LAST)
        for index in (0, 1, 2):
            poll(player, index)
        gate.is_open = False
        assert player.frame(LAST) is mask
        session = requests_of(player).stream._lifetime.session
        assert session is not None
        pending = session._table.pending[LAST]
        assert (pending.waiting, pending.is_kept) == (0, True)
        player.close()


def test_masks_are_made_ahead_of_a_polled_one_that_is_played(player: Player) -> None:
    assert player.set_option("prefetch_frames", "20")
    assert init(player, SAMPLE, ready_frames=3)
    mask = poll(player, 50)
    assert player.frame(50) is mask
    wait_until(lambda: player.frame_state(52) is FrameState.READY)


def test_masks_are_made_ahead_again_after_a_polled_one(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is begun ahead while it is made."""
    asked, opened = threading.Event(), threading.Event()

    def late(*given: Any, **options: Any) -> Any:
        asked.set()
        assert opened.wait(30)
        return rasterize(*given, **options)

    assert player.set_option("prefetch_frames", "20")
    assert init(player, SAMPLE, ready_frames=2, init_frames=3)
    wait_until(lambda: player.frame_state(2) is FrameState.READY)
    monkeypatch.setattr(products, "rasterize", late)
    try:
        assert player.poll(100) is None
        assert asked.wait(30)
        assert player.seek(20, reverse=False)
        session = requests_of(player).stream._lifetime.session
        assert session is not None
        wait_until(lambda: {20, 21} <= set(session.cached()) and not session._table.pending)
        assert player.frame_state(20) is FrameState.COMING
    finally:
        opened.set()
    wait_until(lambda: player.frame_state(20) is player.frame_state(21) is FrameState.READY)


def test_a_mask_that_was_made_ahead_meanwhile_is_polled(player: Player) -> None:
    """While the one that was asked for is still coming, which makes room then."""
    assert player.set_option("prefetch_frames", "20")
    assert init(player, SAMPLE, ready_frames=5, init_frames=1)
    wait_until(lambda: player.frame_state(3) is FrameState.READY)
    polled = requests_of(player)._frames[3] = requests._Polled(Future())
    assert player.frame_state(3) is FrameState.READY
    assert player.poll(3) is not None
    assert polled.is_delivered


@pytest.mark.slow
def test_the_last_polled_mask_stays_alive(player: Player) -> None:
    """Until this thread's next poll that returns a mask, whatever else is called."""
    assert init(player, SAMPLE)
    mask = poll(player, 7)
    is_alive = weakref.ref(mask)
    del mask
    assert player.cancel(7)
    assert init(player, SAMPLE, init_frames=2)
    while player.frame(1) is None:
        assert outcome(player) is ErrorCode.TIMEOUT
    assert player.strip(1) is not None
    gc.collect()
    assert is_alive() is not None
    poll(player, 8)
    gc.collect()
    assert is_alive() is None


def test_a_mask_that_was_made_ahead_is_polled_without_asking(player: Player) -> None:
    assert player.set_option("prefetch_frames", "20")
    assert init(player, SAMPLE, ready_frames=5, init_frames=1)
    wait_until(lambda: player.frame_state(3) is FrameState.READY)
    before = player.poll(3)
    assert before is not None
    assert sha256(before) == sha256(rasterize(sample_geometries()[3], SIZE))
    assert len(requests_of(player)._frames) == 0
    assert head_of(player) == 0


def test_a_mask_that_is_being_made_ahead_is_coming(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, real = threading.Event(), products.mask_steps

    def steps(*given: Any) -> Any:
        assert opened.wait(30)
        return (yield from real(*given))

    monkeypatch.setattr(products, "mask_steps", steps)
    assert player.set_option("prefetch_frames", "20")
    try:
        assert init(player, SAMPLE, ready_frames=2, init_frames=8)
        for index, state in ((1, FrameState.COMING), (2, FrameState.COMING), (5, FrameState.FETCHED)):
            assert player.frame_state(index) is state
    finally:
        opened.set()
    wait_until(lambda: player.frame_state(1) is player.frame_state(2) is FrameState.READY)
    assert player.frame_state(5) is FrameState.FETCHED


def test_a_mask_that_a_call_waited_for_in_vain_is_coming(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time box ended while the mask was made."""
    opened = threading.Event()

    def late(*given: Any, **options: Any) -> Any:
        assert opened.wait(30)
        return rasterize(*given, **options)

    monkeypatch.setattr(products, "rasterize", late)
    assert player.set_option("get_frame_timebox_ms", "0")
    try:
        assert init(player, SAMPLE, init_frames=2)
        wait_until(lambda: player.frame_state(1) is FrameState.FETCHED)
        assert player.frame(1) is None
        assert outcome(player) is ErrorCode.TIMEOUT
        assert player.frame_state(1) is FrameState.COMING
    finally:
        opened.set()


def test_a_malformed_frame_fails_and_the_next_poll_tries_again(player: Player, tmp_path: Path) -> None:
    path = tmp_path / "bad.asvp"
    path.write_bytes(asvp_of([block_of(SQUARE), b"\x10\0\0\0 no zlib stream"]))
    assert init(player, path)
    for _ in range(2):
        assert player.poll(1) is None
        wait_until(lambda: player.frame_state(1) is FrameState.FAILED)
        assert player.error is not None
        assert outcome(player) is ErrorCode.DECODE
        assert player.error.message.startswith("frame 1:")
        assert player.poll(1) is None
        assert outcome(player) is ErrorCode.DECODE
        assert player.frame_state(1) is FrameState.FAILED, "the stream remembers the failure"
    assert poll(player, 0) is not None


def test_a_failed_read_is_tried_again(held: Player, gate: Gate) -> None:
    gate.behaviour = status(404)
    assert held.poll(LAST) is None
    wait_until(lambda: held.frame_state(LAST) is FrameState.FAILED)
    assert outcome(held) is ErrorCode.TRANSPORT
    assert held.poll(LAST) is None
    assert outcome(held) is ErrorCode.TRANSPORT
    gate.is_open = True
    assert np.array_equal(poll(held, LAST), mask_of(LAST))


def test_a_mask_that_cannot_be_made_fails(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with too little memory."""

    def refuse(*given: Any, **options: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(products, "rasterize", refuse)
    assert init(player, SAMPLE)
    assert player.poll(3) is None
    wait_until(lambda: player.frame_state(3) is FrameState.FAILED)
    assert player.error is not None
    assert player.error.message == "frame 3: not enough memory"
    assert player.poll(3) is None
    assert player.error.message == "frame 3: not enough memory"


@pytest.mark.parametrize("error", [ClosedError("the stream is closed"), ZeroDivisionError("by zero")])
def test_a_mask_that_cannot_be_begun_fails(player: Player, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """No poll says for ever that it is coming."""

    def refuse(*given: Any) -> Any:
        raise error

    monkeypatch.setattr(products.Products, "mask_later", refuse)
    assert init(player, SAMPLE)
    assert player.poll(3) is None
    wait_until(lambda: player.frame_state(3) is FrameState.FAILED)
    assert player.error is not None
    assert str(error) in player.error.message


def test_too_many_frames_are_refused_and_polled_ones_go_on(
    held: Player, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "_FORGOTTEN_SECONDS", 3600.0)
    indices = range(N - requests.MAX_FRAMES - 1, N)
    refused: list[int] = []
    for index in indices:
        assert held.poll(index) is None
        if outcome(held) is ErrorCode.NOT_READY:
            refused.append(index)
    assert refused == [LAST]
    assert held.error is not None
    assert held.error.message.startswith("16 frames are coming already; ask again")
    assert held.frame_state(LAST) is FrameState.MISSING
    assert held.cancel(indices[0])
    assert held.poll(LAST) is None
    assert outcome(held) is ErrorCode.TIMEOUT
    gate.is_open = True
    for index in reversed(indices):  # all in turn, one more than fit: each makes room when it was handed out
        assert np.array_equal(poll(held, index), mask_of(index))


@pytest.mark.slow
def test_frames_that_are_not_polled_any_more_make_room(held: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_FORGOTTEN_SECONDS", 0.2)
    indices = range(N - 40, N)
    for index in indices[:16]:
        held.poll(index)
    time.sleep(0.3)
    held.poll(indices[0])  # this one is still of interest
    for index in indices[16:31]:
        assert held.poll(index) is None
        assert outcome(held) is ErrorCode.TIMEOUT
    assert held.poll(indices[31]) is None
    assert outcome(held) is ErrorCode.NOT_READY
    assert set(requests_of(held)._frames) == {indices[0], *indices[16:31]}
    assert held.frame_state(indices[1]) is FrameState.MISSING, "its fetch ended"


def test_a_poller_of_one_frame_too_many_gets_them_all(player: Player, long_file: Path) -> None:
    """In turn, without handing a frame out before the others were asked for."""
    assert init(player, long_file)
    missing = set(range(100, 100 + requests.MAX_FRAMES + 4))
    deadline = time.monotonic() + 30
    while missing:
        assert time.monotonic() < deadline
        for index in sorted(missing):
            mask = player.poll(index)
            if mask is not None:
                assert np.array_equal(mask, mask_of(index))
                missing.discard(index)


def test_polled_masks_do_not_pile_up(player: Player, long_file: Path) -> None:
    """While the play head stands still. Of the masks beyond those that are made ahead, only sixteen are kept."""
    assert init(player, long_file, ready_frames=3, init_frames=1, cache_frames=64)
    made = requests_of(player).stream._lifetime.products._masks._made
    for index in range(1000, 1100):
        poll(player, index)
    assert sum(map(len, made.values())) <= 6
    assert len(requests_of(player)._frames) <= 16
    assert poll(player, 2) is not None
    assert player.frame(2) is poll(player, 2)


def test_a_polled_mask_that_lies_ahead_is_made_once(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one of those that are made ahead."""
    monkeypatch.setattr(products, "mask_steps", lambda *given: 1 / 0)  # nothing can be made ahead
    assert player.set_option("prefetch_frames", "20")
    assert init(player, SAMPLE, ready_frames=3, init_frames=4)
    mask = poll(player, 2)
    assert player.cancel(2)
    assert player.frame_state(2) is FrameState.READY
    assert player.poll(2) is mask


@pytest.mark.parametrize(("size", "most"), [((64, 32), 16), ((8192, 4096), 16), ((8192, 8192), 8), ((16384, 16384), 2)])
def test_large_masks_are_fewer(size: tuple[int, int], most: int) -> None:
    assert Requests(None, size)._most == most  # type: ignore[arg-type]


def test_a_frame_can_be_given_up(held: Player, gate: Gate) -> None:
    """Its fetch ends. After that it is asked for as if nothing had been. What was handed out stays valid."""
    assert held.poll(LAST) is None
    assert held.cancel(LAST)
    assert outcome(held) is ErrorCode.NONE
    assert held.frame_state(LAST) is FrameState.MISSING
    assert held.cancel(LAST), "also if it was not polled"
    gate.is_open = True
    mask = poll(held, LAST)
    assert held.cancel(LAST)
    assert held.frame_state(LAST) is FrameState.FETCHED
    assert np.array_equal(mask, mask_of(LAST))


def test_a_frame_can_be_given_up_while_its_mask_waits_to_be_made(
    player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    opened = threading.Event()

    def late(geometry: FrameGeometry, *given: Any, **options: Any) -> Any:
        made.append(len(geometry.points))
        assert opened.wait(30)
        return rasterize(geometry, *given, **options)

    monkeypatch.setattr(products, "rasterize", late)
    assert player.set_option("raster_workers", "1")
    try:
        assert init(player, SAMPLE)
        assert player.poll(0) is None
        wait_until(lambda: len(made) == 1)
        assert player.poll(1) is None
        pool = requests_of(player).stream._lifetime.products._asked_pool
        wait_until(lambda: pool._work_queue.qsize() == 1)
        assert player.cancel(1)
    finally:
        opened.set()
    poll(player, 0)
    poll(player, 2)
    assert len(made) == 2, "the mask that was given up was not made"


@pytest.mark.parametrize("call", ["poll", "cancel", "frame_state", "seek"])
@pytest.mark.parametrize("index", [120, 1 << 63, (1 << 64) - 1])
def test_a_frame_outside_the_stream(player: Player, call: str, index: int) -> None:
    assert init(player, SAMPLE)
    result = player.seek(index, reverse=False) if call == "seek" else getattr(player, call)(index)
    assert result in (None, False, FrameState.FAILED)
    assert player.error is not None
    assert (outcome(player), player.error.frame_index) == (ErrorCode.NOT_FOUND, index)
    assert player.error.message.endswith("expected 0..119, the stream has 120 frames")
    assert requests_of(player)._frames == {}


def test_nothing_is_loaded(player: Player) -> None:
    """Before CV_init, and after one that failed."""
    for state in (StreamState.NONE, StreamState.FAILED):
        calls: list[tuple[Callable[[], object], object]] = [
            (lambda: player.poll(0), None),
            (lambda: player.cancel(0), False),
            (lambda: player.frame_state(0), FrameState.FAILED),
            (lambda: player.seek(0, reverse=False), False),
            (lambda: player.prefetch(0, 1), 0),
            (player.buffered, ()),
        ]
        for call, expected in calls:
            player._note(None)
            assert call() == expected
            assert outcome(player) is ErrorCode.NOT_READY
        assert player.buffered_seconds == 0.0
        assert player.state is state
        assert not init(player, "/nonexistent")


def test_another_stream_has_none_of_the_frames_of_the_last_one(player: Player, long_file: Path) -> None:
    assert init(player, long_file)
    before = poll(player, 5)
    number = player.prefetch(0, 50)
    assert init(player, SAMPLE)
    assert np.array_equal(before, mask_of(5)), "a mask that was handed out stays valid"
    assert sha256(poll(player, 5)) == sha256(rasterize(sample_geometries()[5], SIZE))
    frame = player.frame(5)
    assert frame is not None
    assert sha256(frame) == sha256(rasterize(sample_geometries()[5], SIZE))
    assert player.range_state(number) is FrameState.MISSING
    assert player.prefetch(0, 50) == number + 1


def test_closing_ends_what_is_coming(held: Player) -> None:
    """A poll that has the stream already gets an error."""
    requested = requests_of(held)
    assert held.poll(LAST) is None
    number = held.prefetch(3000, 3010)
    held.close()
    assert requested.range_state(number)[0] is FrameState.FAILED
    with pytest.raises(ClosedError):
        requested.state(LAST)
    with pytest.raises(ClosedError):
        requested.poll(LAST)
    with pytest.raises(ClosedError):
        requested.poll(LAST - 1)
    assert held.poll(LAST) is None
    assert outcome(held) is ErrorCode.NOT_READY


def test_closing_ends_masks_that_wait_to_be_made(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, made = threading.Event(), threading.Event()

    def late(*given: Any, **options: Any) -> Any:
        made.set()
        assert opened.wait(30)
        return rasterize(*given, **options)

    monkeypatch.setattr(products, "rasterize", late)
    assert player.set_option("raster_workers", "1")
    assert init(player, SAMPLE)
    requested = requests_of(player)
    assert player.poll(0) is None
    assert made.wait(30)  # it has the only thread
    assert player.poll(1) is None
    wait_until(lambda: requested.stream.stats().decoded >= 2)
    work, session = requested.stream._lifetime.products, requested.stream._lifetime.session
    assert session is not None
    closing = threading.Thread(target=player.close)
    closing.start()
    wait_until(requested._frames[1].mask.done)
    opened.set()  # closing waits for the mask that is being made
    closing.join()
    with pytest.raises(ClosedError):
        requested.poll(1)
    with pytest.raises(ClosedError) as caught:
        work.mask_later(session, 0, sample_geometries()[0], SIZE)
    assert not work._waiting, f"nobody waits, although the traceback of {caught.value} is alive"


def test_the_states_of_a_handle(player: Player, gate: Gate, long_file: Path) -> None:
    assert player.state is StreamState.NONE
    with Server(LONG, gate) as server:
        assert init(player, server.url())
        assert player.state is StreamState.BUFFERING
        assert player.seek(LAST, reverse=False)
        assert player.state is StreamState.BUFFERING
        wait_until(lambda: player.state is StreamState.STALLED)
        gate.is_open = True
        assert player.seek(10, reverse=False)
        wait_until(lambda: player.state is StreamState.PLAYING)
        assert player.seek(0, reverse=True)
        wait_until(lambda: player.state is StreamState.ENDED)
    player._note(None)
    assert not init(player, "/nonexistent")
    before = player.error
    assert player.state is StreamState.FAILED
    assert player.error is before, "the state keeps the last error"
    assert init(player, long_file)
    assert player.state is StreamState.BUFFERING
    assert not player.refuse_init("base_url: null")
    assert player.state is StreamState.FAILED
    with Server(b"", lambda request: never) as server:
        opening = threading.Thread(target=lambda: init(player, server.url()))
        opening.start()
        wait_until(lambda: player._coming is not None)
        assert player.state is StreamState.OPENING
        player.close()
        opening.join()


def test_seek_says_in_which_direction_play_goes(player: Player, long_file: Path) -> None:
    assert player.set_option("prefetch_frames", "20")
    with Server(LONG) as server:
        assert init(player, server.url())
        for reverse, ahead in ((False, range(3000, 3010)), (True, range(2500, 2490, -1))):
            assert player.seek(ahead.start, reverse=reverse)
            assert outcome(player) is ErrorCode.NONE
            wait_until(lambda ahead=ahead: all(player.frame_state(one) >= FrameState.FETCHED for one in ahead))  # type: ignore[misc]
            assert player.buffered_seconds >= 10 / 60


def test_a_range_is_fetched_in_advance(player: Player) -> None:
    with Server(LONG) as server:
        assert init(player, server.url())
        number = player.prefetch(2000, 2100)
        assert (number, outcome(player)) == (1, ErrorCode.NONE)
        assert player.range_state(number) in (FrameState.COMING, FrameState.FETCHED)
        wait_until(lambda: player.range_state(number) is FrameState.FETCHED)
        assert (2000, 2100) in player.buffered()
        assert player.cancel_range(number), "also one that has ended"
        assert player.range_state(number) is FrameState.MISSING
        assert (2000, 2100) in player.buffered()
        assert player.prefetch(7, 7) == 2, "an empty range"
        wait_until(lambda: player.range_state(2) is FrameState.FETCHED)
        assert player.buffered() == ((2000, 2100),)


def test_a_range_can_be_given_up(held: Player) -> None:
    number = held.prefetch(3000, 3100)
    assert held.range_state(number) is FrameState.COMING
    wait_until(lambda: held.frame_state(3000) is FrameState.COMING)
    assert held.cancel_range(number)
    assert outcome(held) is ErrorCode.NONE
    assert held.range_state(number) is FrameState.MISSING
    wait_until(lambda: held.frame_state(3000) is FrameState.MISSING)
    number = held.prefetch(3000, 3100)
    requests_of(held)._ranges[number].cancel()  # as by another thread, after this one looked it up
    assert held.range_state(number) is FrameState.MISSING


def test_a_range_that_cannot_be_read(held: Player, gate: Gate) -> None:
    gate.behaviour = status(404)
    number = held.prefetch(3000, 3100)
    wait_until(lambda: held.range_state(number) is FrameState.FAILED)
    assert outcome(held) is ErrorCode.TRANSPORT
    assert held.error is not None
    assert "404" in held.error.message


@pytest.mark.parametrize("number", [0, 1, 2, (1 << 32) - 1])
def test_ids_that_were_never_returned(player: Player, number: int) -> None:
    assert init(player, SAMPLE)
    assert player.range_state(number) is FrameState.FAILED
    assert outcome(player) is ErrorCode.INVALID
    player._note(None)
    assert not player.cancel_range(number)
    assert player.error is not None
    assert player.error.message == f"prefetch_id: expected a number that CV_prefetch returned, found {number}"


@pytest.mark.parametrize(
    ("start", "stop", "code"),
    [
        (0, 121, ErrorCode.NOT_FOUND),
        (120, 121, ErrorCode.NOT_FOUND),
        ((1 << 64) - 2, (1 << 64) - 1, ErrorCode.NOT_FOUND),
        (0, (1 << 64) - 1, ErrorCode.NOT_FOUND),
        (5, 4, ErrorCode.INVALID),
        ((1 << 64) - 1, 0, ErrorCode.INVALID),
    ],
)
def test_invalid_ranges(player: Player, start: int, stop: int, code: ErrorCode) -> None:
    assert init(player, SAMPLE)
    assert player.prefetch(start, stop) == 0
    assert outcome(player) is code
    assert requests_of(player)._ranges == {}
    assert player.prefetch(0, 1) == 1, "a refused range takes no number"


def test_the_number_of_ranges_is_bounded(held: Player, gate: Gate) -> None:
    """Those that have ended make room."""
    numbers = [held.prefetch(3000 + one, 3001 + one) for one in range(requests.MAX_RANGES)]
    assert numbers == list(range(1, 65))
    assert held.prefetch(0, 1) == 0
    assert outcome(held) is ErrorCode.NOT_READY
    assert held.cancel_range(7)
    assert held.prefetch(3500, 3501) == 65
    gate.is_open = True
    wait_until(lambda: all(held.range_state(one) >= FrameState.FETCHED for one in numbers if one != 7))
    assert held.prefetch(3600, 3601) == 66
    assert held.range_state(1) is FrameState.MISSING, "the first one that has ended is forgotten"
    assert held.range_state(2) is FrameState.FETCHED


class Opened:
    """The functions behind the library, with a stream."""

    def __init__(self, path: Path) -> None:
        self.ffi = cffi.FFI()
        self.ffi.cdef(cdef())
        self.entry = Entry(self.ffi)
        self.handle = self.entry.create()
        url = self.ffi.new("char[]", str(path).encode())
        assert self.entry.init(self.handle, url, 0, 64, 32, self.ffi.NULL, 0, 0, 400, 0, 0, 0)

    def direction(self) -> int:
        """Of play."""
        player = self.entry._player(self.handle)
        assert player is not None
        session = requests_of(player).stream._lifetime.session
        assert session is not None
        return session.head.direction


@pytest.fixture
def opened(long_file: Path) -> Iterator[Opened]:
    made = Opened(long_file)
    yield made
    made.entry.exit()


@pytest.mark.parametrize("capacity", [0, 1, 2, 3, 4, 9])
def test_ranges_are_written_as_far_as_they_fit(opened: Opened, capacity: int) -> None:
    """The result is their number. Nothing behind the capacity is touched, and nothing behind the last range."""
    ffi, entry, handle = opened.ffi, opened.entry, opened.handle
    for start, stop in ((10, 20), (3000, 3001), (1000, 1040)):
        number = entry.prefetch(handle, start, stop)
        wait_until(lambda number=number: entry.get_prefetch_state(handle, number) == FrameState.FETCHED)  # type: ignore[misc]
    expected = [(10, 20), (1000, 1040), (3000, 3001)]
    array = ffi.new("alphastream_range[]", 10)
    ffi.buffer(array)[:] = b"\xa5" * ffi.sizeof(array)
    for _ in range(2):
        assert entry.get_buffered_ranges(handle, array, capacity) == 3
        assert entry.get_last_error_code(handle) == 0
        n_written = min(3, capacity)
        assert [(one.start, one.stop) for one in array[0:n_written]] == expected[:n_written]
        assert bytes(ffi.buffer(array)[16 * n_written :]) == b"\xa5" * (160 - 16 * n_written)
    assert entry.get_buffered_ranges(handle, ffi.NULL, 0) == 3


@pytest.mark.parametrize("capacity", [10, 1 << 31, 1 << 62, (1 << 64) - 1])
def test_a_capacity_that_is_not_true(opened: Opened, capacity: int) -> None:
    """Only as many ranges are written as there are, and null is refused."""
    ffi, entry, handle = opened.ffi, opened.entry, opened.handle
    number = entry.prefetch(handle, 0, 5)
    wait_until(lambda: entry.get_prefetch_state(handle, number) == FrameState.FETCHED)
    array = ffi.new("alphastream_range[]", 1)
    assert entry.get_buffered_ranges(handle, array, capacity) == 1
    assert (array[0].start, array[0].stop) == (0, 5)
    assert entry.get_buffered_ranges(handle, ffi.NULL, capacity) == 0
    assert entry.get_last_error_code(handle) == ErrorCode.INVALID
    text = ffi.string(entry.get_last_error_text(handle))
    assert text == b"out_ranges: expected an address, found null with a capacity above 0"


def test_the_functions_and_their_numbers(opened: Opened) -> None:
    ffi, entry, handle = opened.ffi, opened.entry, opened.handle
    assert entry.get_state(handle) == StreamState.BUFFERING
    assert entry.get_buffered_seconds(handle) == 0.0
    assert entry.seek(handle, 50, 1)
    wait_until(lambda: entry.get_frame_state(handle, 50) >= FrameState.FETCHED)
    assert entry.get_state(handle) == StreamState.PLAYING
    wait_until(lambda: entry.get_buffered_seconds(handle) > 0.1)
    assert entry.get_frame_state(handle, 45) == FrameState.MISSING
    assert entry.seek(handle, 50, 0), "forward"
    assert opened.direction() > 0
    assert entry.seek(handle, 50, -(1 << 31))
    wait_until(lambda: entry.get_frame_state(handle, 45) >= FrameState.FETCHED)
    pointer = ffi.NULL
    deadline = time.monotonic() + 30
    while pointer == ffi.NULL:
        assert time.monotonic() < deadline
        pointer = entry.poll_frame(handle, LAST)
    assert bytes(ffi.buffer(ffi.cast("char*", pointer), 64 * 32)) == mask_of(LAST).tobytes()
    assert int(ffi.cast("uintptr_t", pointer)) % 64 == 0
    assert entry.get_frame_state(handle, LAST) == FrameState.READY
    assert entry.cancel_frame(handle, LAST)
    number = entry.prefetch(handle, 100, 110)
    assert entry.cancel_prefetch(handle, number)
    assert not entry.cancel_prefetch(handle, number + 1)


def arguments_of(ffi: Any, given: tuple[str, ...]) -> list[Any]:
    """Zeros and nulls."""
    return [ffi.NULL if "*" in one else 0 for one in given]


@pytest.mark.parametrize("which", ["null", "destroyed", "made up", "largest"])
def test_invalid_handles(opened: Opened, which: str) -> None:
    """Every function returns what the shim returns without asking Python."""
    ffi, entry = opened.ffi, opened.entry
    destroyed = entry.create()
    entry.destroy(destroyed)
    numbers = {"null": 0, "made up": int(ffi.cast("uintptr_t", destroyed)) + 1, "largest": sys.maxsize * 2 + 1}
    handle = destroyed if which == "destroyed" else ffi.cast("void*", numbers[which])
    values = {"": None, "NULL": ffi.NULL, "false": False, "0": 0, "-1": -1}
    for function in functions():
        if function.constant or not function.arguments or function.name == "CV_get_last_error_text":
            continue
        method = getattr(entry, function.name.removeprefix("CV_"))
        result = method(handle, *arguments_of(ffi, function.arguments[1:]))
        assert result == values[function.failure], function.name
    assert b"invalid handle" in ffi.string(entry.get_last_error_text(handle))


def test_a_fault_does_not_look_like_a_state(opened: Opened) -> None:
    """An exception in spite of all checks is answered with the value of a failure."""
    for function in functions():
        if function.failure == "-1":
            assert opened.entry.answers_to_a_fault[function.name.removeprefix("CV_")] == -1


def test_every_state_has_its_meaning_in_the_header() -> None:
    for one in enumerations():
        assert list(one.meanings) == [state.name for state in one.states]
    assert [one.states for one in enumerations()] == [FrameState, StreamState]


def test_an_older_library_has_fewer_functions() -> None:
    """After an upgrade of the package, the library is connected to the functions that it has."""

    class Older:
        NULL = None
        error = LookupError

        def __init__(self) -> None:
            self.connected: list[str] = []

        def new(self, kind: str, value: bytes) -> bytes:
            return value

        def def_extern(self, *, name: str, **options: Any) -> Callable[[Any], None]:
            def connect(function: Any) -> None:
                if "seek" in name:
                    raise self.error(f"no 'extern \"Python\"' function with the name {name}")
                self.connected.append(name.removeprefix(PREFIX))

            return connect

    library = Older()
    bind(library)
    expected = {one.name for one in functions() if not one.constant}
    assert set(library.connected) == {"start", "exit", *expected} - {"CV_seek"}
