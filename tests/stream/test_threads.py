"""
Streams used by many threads and tasks, closed and loaded again in play.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from badserver import Server
from scripted import (
    NUMBERED,
    N,
    Scripted,
    get,
    in_decoder,
    is_quiet,
    locks_of,
    n_pending,
    number_of,
    numbered_payload,
    on_loop,
)
from support import asvp_of, block_of, code_of, payload_of, wait_until

import alphastream_gpu
from alphastream_gpu import (
    ClosedError,
    Config,
    ErrorCode,
    FrameGeometry,
)


@pytest.mark.slow
def test_eight_threads_get_exactly_the_serial_results() -> None:
    source = Scripted()
    chance = random.Random(8)
    source.delay = lambda: chance.choice((0.0, 0.0, 0.001, 0.01))
    wrong: list[Any] = []

    def hammer(seed: int) -> None:
        mine = random.Random(seed)
        for _ in range(300):
            index = mine.choice((mine.randrange(N), 700 + mine.randrange(40)))
            try:
                if number_of(get(stream, index)) != index:
                    wrong.append(index)
            except BaseException as exc:  # whatever it is, the test must see it
                wrong.append(exc)

    with alphastream_gpu.open(source, config=Config(cache_frames=60, prefetch_frames=30)) as stream:
        threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_frame_asked_for_by_many_threads_is_read_once() -> None:
    source = Scripted()
    got: list[FrameGeometry] = []
    with alphastream_gpu.open(source, config=Config(prefetch_frames=0, get_frame_timebox=1000)) as stream:
        source.delay = lambda: 0.05
        threads = [threading.Thread(target=lambda: got.append(get(stream, 77))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 16
        assert all(geometry is got[0] for geometry in got)
        assert len(source.spans) == 2
        assert stream.stats().decoded == 1


def test_closing_ends_every_wait() -> None:
    source = Scripted()
    stream = alphastream_gpu.open(source, config=Config(get_frame_timebox=1000))
    source.delay = lambda: 3600.0
    ended: list[Any] = []

    def wait(index: int) -> None:
        try:
            ended.append(stream.get_frame(index))
        except ClosedError as exc:
            ended.append(exc)

    threads = [threading.Thread(target=wait, args=(index,)) for index in range(0, 800, 100)]
    for thread in threads:
        thread.start()
    wait_until(lambda: source.running > 0)
    stream.close()
    for thread in threads:
        thread.join()
    assert len(ended) == 8
    assert all(isinstance(end, ClosedError) for end in ended)
    assert (source.running, source.closed) == (0, 1)
    with pytest.raises(ClosedError):
        stream.get_frame(0)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists a process's files and mappings")
def test_closing_leaves_no_file_socket_or_mapping(tmp_path: Path) -> None:
    def held() -> tuple[int, int]:
        mappings = sum("played.asvp" in line for line in Path("/proc/self/maps").read_text().splitlines())
        return len(os.listdir("/proc/self/fd")), mappings

    path = tmp_path / "played.asvp"
    path.write_bytes(NUMBERED)
    with Server(NUMBERED) as server:
        for source in (path, server.url()):  # once for what stays: modules, the selector of a first loop
            alphastream_gpu.open(source).close()
        time.sleep(0.05)
        before, threads = held(), threading.active_count()
        for source in (path, server.url()):
            with alphastream_gpu.open(source) as stream:
                get(stream, 3)
                assert held() > before
        wait_until(lambda: all(now <= then for now, then in zip(held(), before, strict=True)))
        wait_until(lambda: threading.active_count() <= threads)


def test_the_time_box_holds_when_every_worker_is_busy() -> None:
    """A frame too large to be decoded on the loop, and a pool that has no one free."""
    chance = np.random.default_rng(4)
    steps = chance.integers(-128, 128, (100_000, 2)).tolist()
    with alphastream_gpu.open(
        asvp_of([block_of(payload_of([((0, 0), steps)]))]), config=Config(decode_workers=1)
    ) as stream:
        free = threading.Event()
        in_decoder(stream, free.wait)
        assert stream.get_geometry(0) is None  # and not never, for only the test can free the worker
        assert code_of(stream) == ErrorCode.TIMEOUT
        free.set()
        assert len(get(stream, 0).points) == 100_001


def test_a_thousand_cancelled_awaits_leak_nothing() -> None:
    source = Scripted()

    async def run() -> None:
        async with await alphastream_gpu.open_async(source) as stream:
            source.delay = lambda: 3600.0
            for index in range(1000):
                task = asyncio.create_task(stream.frame(index % N))
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            for _ in range(100):
                if source.running == 0 and is_quiet(stream):
                    break
                await asyncio.sleep(0.01)
            assert source.running == 0
            assert is_quiet(stream)
            source.delay = lambda: 0.0
            assert number_of(await stream.frame(5)) == 5

    asyncio.run(run())


def test_awaits_cancelled_before_their_fetch_begins_leave_nothing() -> None:
    source = Scripted()

    async def run() -> None:
        async with await alphastream_gpu.open_async(source) as stream:
            source.delay = lambda: 3600.0
            is_free = threading.Event()
            on_loop(stream, is_free.wait, 20)  # the loop is busy, so that no fetch begins meanwhile
            tasks = [asyncio.create_task(stream.frame(index)) for index in range(50)]
            while n_pending(stream) < 50:
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            is_free.set()
            assert n_pending(stream) == 0
            await asyncio.sleep(0.2)
            assert (source.running, len(source.spans)) == (0, 1)

    asyncio.run(run())


def test_one_cancelled_await_spares_the_others() -> None:
    source = Scripted()

    async def run() -> None:
        async with await alphastream_gpu.open_async(source) as stream:
            source.delay = lambda: 0.1
            tasks = [asyncio.create_task(stream.frame(9)) for _ in range(3)]
            await asyncio.sleep(0.02)
            tasks[0].cancel()
            assert [number_of(geometry) for geometry in await asyncio.gather(*tasks[1:])] == [9, 9]
            assert len(source.spans) == 2

    asyncio.run(run())


def test_loading_another_source_while_playing() -> None:
    """A frame of the old source must never be given out as one of the new."""
    other = asvp_of([block_of(numbered_payload(index + 10_000)) for index in range(N)])
    stop = threading.Event()
    wrong: list[Any] = []
    with alphastream_gpu.open(NUMBERED) as stream:

        def play() -> None:
            chance = random.Random(1)
            while not stop.is_set():
                index = chance.randrange(N)
                geometry = stream.get_geometry(index)
                if geometry is not None and number_of(geometry) not in (index, index + 10_000):
                    wrong.append(index)
                elif geometry is None and code_of(stream) not in (None, ErrorCode.TIMEOUT, ErrorCode.NOT_READY):
                    wrong.append(stream.last_error())

        threads = [threading.Thread(target=play) for _ in range(3)]
        for thread in threads:
            thread.start()
        for round_number in range(10):
            stream.load_source(other if round_number % 2 == 0 else NUMBERED)
            assert number_of(get(stream, 3)) == (10_003 if round_number % 2 == 0 else 3)
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_an_ended_read_takes_no_lock_of_the_stream() -> None:
    """The collector may end a read where the thread holds a session's lock, which is taken after the stream's."""
    source = Scripted()
    with alphastream_gpu.open(source) as stream:
        n_opened = len(source.spans)
        source.delay = lambda: 0.0 if len(source.spans) <= n_opened + 1 else 3600.0
        frames = stream.read_frames()
        next(frames)  # and the next batch is on its way
        held, release = threading.Event(), threading.Event()

        def hold() -> None:
            with locks_of(stream)["stream"]:
                held.set()
                release.wait(30)

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait(30)
        try:
            ending = threading.Thread(target=frames.close)  # type: ignore[attr-defined]
            ending.start()
            ending.join(5)
            assert not ending.is_alive()
        finally:
            release.set()
            holder.join()
