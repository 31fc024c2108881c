"""
Prefetching: which reads are made ahead, and the bounds of the cache.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from functools import partial

import pytest
from scripted import NUMBERED, N, Scripted, get, is_cached, is_quiet, number_of
from support import asvp_of, block_of, payload_of, wait_until

import alphastream_gpu
from alphastream_gpu import (
    Config,
)
from alphastream_gpu._stream import (
    planner as _planner,
)
from alphastream_gpu._stream import (
    scheduler as _scheduler,
)
from alphastream_gpu._stream import table as _table
from alphastream_gpu._stream.cache import GeometryCache


def test_steady_play_is_prefetched_in_few_reads() -> None:
    source = Scripted()
    with alphastream_gpu.open(source) as stream:
        get(stream, 0)
        for index in range(1, 1000):
            wait_until(lambda index=index: is_cached(stream, index))  # type: ignore[misc]
            assert stream.get_geometry(index) is not None
        stats = stream.stats()
        assert stats.hits >= 999
        assert stats.misses <= 1
        assert len(source.spans) < 25
        assert stats.decoded <= 1000 + 120
        assert stats.bytes_read < 1.2 * (65536 + stream.metadata.block_bytes / 2)


def test_backward_play_is_noticed() -> None:
    source = Scripted()
    with alphastream_gpu.open(source) as stream:
        for index in range(1500, 1490, -1):
            get(stream, index)
        wait_until(lambda: all(is_cached(stream, index) for index in range(1482, 1490)))
        source.spans.clear()
        for index in range(1489, 1200, -1):
            wait_until(lambda index=index: is_cached(stream, index))  # type: ignore[misc]
            assert number_of(get(stream, index)) == index
        assert len(source.spans) < 12


def test_a_jump_abandons_the_old_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody asked for at once; what somebody asked for when nobody has asked again for a while."""
    monkeypatch.setattr(_scheduler, "_KEPT_SECONDS", 3600.0)
    monkeypatch.setattr(_planner, "_SLOW_READ_SECONDS", 0.0)  # the whole window at once, as over a network
    source = Scripted()
    with alphastream_gpu.open(source) as stream:
        source.delay = lambda: 30.0
        assert stream.get_geometry(100) is None
        wait_until(lambda: source.running == 4)  # the frame itself, and what lies ahead of it
        source.delay = lambda: 0.0
        assert number_of(get(stream, 1000)) == 1000
        wait_until(lambda: source.running == 1)
        monkeypatch.setattr(_scheduler, "_KEPT_SECONDS", 0.0)
        assert number_of(get(stream, 1500)) == 1500
        wait_until(lambda: source.running == 0)
        assert stream.stats().abandoned >= 2  # and what lay ahead of 1000, if that was still on its way
        assert number_of(get(stream, 100)) == 100


def test_two_players_on_one_stream_both_get_their_frames() -> None:
    """Each one's call is a jump for the other, and none may keep the other's frames from ever coming."""
    source = Scripted()
    with alphastream_gpu.open(source) as stream:
        source.delay = lambda: 0.05
        got = [0, 0]
        for step in range(60):
            for player, base in enumerate((100, 1500)):
                geometry = stream.get_geometry(base + step // 6)
                got[player] += geometry is not None
        assert min(got) > 10


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 4])
def test_prefetching_never_stops_for_good(slots: int) -> None:
    """Random jumps from many threads, some so close together that a fetch is cancelled before it begins."""
    source = Scripted()
    switch = sys.getswitchinterval()
    with alphastream_gpu.open(source, config=Config(http_concurrency=slots)) as stream:
        sys.setswitchinterval(1e-5)
        try:

            def jump(seed: int) -> None:
                chance = random.Random(seed)
                for _ in range(400):
                    stream.get_geometry(chance.randrange(N))

            threads = [threading.Thread(target=jump, args=(seed,)) for seed in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(switch)
        wait_until(lambda: is_quiet(stream))
        before = stream.stats()
        for index in range(200, 600):
            get(stream, index)
            time.sleep(0.0005)
        after = stream.stats()
        assert after.hits - before.hits > 350
        wait_until(lambda: is_quiet(stream))


@pytest.mark.slow
@pytest.mark.parametrize(("cache", "prefetch"), [(120, 120), (160, 120), (8, 8), (4, 2), (1, 1)])
def test_a_cache_no_larger_than_the_window(cache: int, prefetch: int) -> None:
    """What was prefetched must not be evicted before it is played, also when a short stream loops."""
    source = Scripted()
    config = Config(cache_frames=cache, prefetch_frames=prefetch, get_frame_timebox=1000)
    with alphastream_gpu.open(source, config=config) as stream:
        for index in [*range(300), *[k % 9 for k in range(200)]]:
            geometry = stream.get_geometry(index)
            assert geometry is not None
            assert number_of(geometry) == index
        stats = stream.stats()
        assert stats.decoded < 2.5 * (stats.misses + stats.hits)
        assert len(source.spans) < 700


def test_no_prefetch_when_asked_not_to() -> None:
    source = Scripted()
    with alphastream_gpu.open(source, config=Config(prefetch_frames=0)) as stream:
        for index in range(20):
            get(stream, index)
        assert len(source.spans) == 21


def test_the_cache_is_bounded() -> None:
    with alphastream_gpu.open(NUMBERED, config=Config(cache_frames=50, prefetch_frames=20)) as stream:
        for index in range(600):
            assert number_of(get(stream, index)) == index
        stats = stream.stats()
        assert stats.cached_frames <= 50
        assert stats.evicted >= 500
        assert stats.cached_bytes <= 50 * 100


@pytest.mark.slow
def test_the_cache_is_bounded_in_bytes() -> None:
    """A file of a few kilobytes, whose frames are large when decoded. Play goes on all the same."""
    blocks = [block_of(payload_of([((index, 0), [(0, 0)] * 50_000)])) for index in range(40)]
    frame = 400_008 + 8
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_table, "GeometryCache", partial(GeometryCache, max_bytes=5 * frame))
        stream = alphastream_gpu.open(asvp_of(blocks))
    with stream:
        for index in range(40):
            assert number_of(get(stream, index)) == index
            assert stream.stats().cached_bytes <= 5 * frame
