"""
Stats: what is known of the line, requests and retries, and the difference of two snapshots as JSON.
"""

from __future__ import annotations

import json
from typing import Any

import badserver
import pytest
from badserver import Server
from scripted import NUMBERED, Scripted, get
from support import asvp_of, block_of, sample_geometries

import alphastream_gpu
from alphastream_gpu import Config, RequestTiming, Stats
from alphastream_gpu._sources.ranges import ByteRange
from alphastream_gpu._stream.network import Network
from alphastream_gpu._stream.plan import FrameSpan

QUIET: dict[str, Any] = {"prefetch_frames": 0, "get_frame_timebox": 1000}


class Line:
    """Reads over a line, in time of its own: each byte after the one before, and all after a latency."""

    def __init__(self, latency: float, rate: float) -> None:
        self.latency, self.rate = latency, rate
        self.now = self.free_at = 1000.0
        self.network = Network(latency + 65536 / rate, 65536)

    def read(self, *sizes: int) -> None:
        """Several reads that begin together."""
        began_at = self.now
        self.free_at = max(self.free_at, began_at + self.latency)
        for size in sizes:
            self.free_at += size / self.rate
            self.network.ended(FrameSpan(0, 1, ByteRange(0, size)), began_at, self.free_at, size)
        self.now = self.free_at


@pytest.mark.parametrize("latency", [0.02, 0.2])
@pytest.mark.parametrize("rate", [25_000, 125_000, 1_250_000])
@pytest.mark.parametrize("reads", [[(500,), (8000,)], [(500,), (65536,)], [(500,), (8000, 8000, 8000)]])
def test_the_estimates_of_a_line(latency: float, rate: float, reads: list[tuple[int, ...]]) -> None:
    line = Line(latency, rate)
    assert line.network.bandwidth <= rate
    for _ in range(60):
        for sizes in reads:
            line.read(*sizes)
    assert line.network.bandwidth == pytest.approx(rate, rel=0.3)
    assert line.network.latency == pytest.approx(latency, rel=0.3)


def test_a_line_that_becomes_slower() -> None:
    line = Line(0.05, 1_250_000)
    for rate in (1_250_000, 25_000, 1_250_000):
        line.rate = rate
        for _ in range(200):
            line.read(500)
            line.read(16_000)
        assert line.network.bandwidth == pytest.approx(rate, rel=0.4)


def test_requests_and_retries_over_http() -> None:
    data = asvp_of([block_of(geometry.to_payload()) for geometry in sample_geometries()] * 2)
    failing = {1, 2}

    def behave(request: Any) -> Any:
        return badserver.status(503) if request.number in failing else None

    config = Config(http_backoff=1, **QUIET)
    with Server(data, behave) as server, alphastream_gpu.open(server.url(), config=config) as stream:
        before = stream.stats()
        assert len(before.recent_requests) >= 1
        assert len(stream.read_frame(239).points)
        stats = stream.stats()
        assert stats.retries == sum(stats.retry_reasons.values()) == sum(n in failing for n in range(stats.requests))
        assert all("503" in reason for reason in stats.retry_reasons)
        failed = [one for one in stats.recent_requests if one.failure is not None]
        assert len(failed) == stats.retries
        assert all(one.seconds >= 0 <= one.bytes for one in stats.recent_requests)
        assert sum(one.bytes for one in stats.recent_requests) == stats.bytes_fetched
        assert stats.latency is not None
        assert stats.bandwidth is not None
        delta = stats.since(before)
        assert delta.requests == stats.requests - before.requests
        assert delta.recent_requests == stats.recent_requests[len(before.recent_requests) :]
        told = json.loads(delta.to_json())
        assert told["retries"] == stats.retries
        assert len(told["recent_requests"]) == delta.requests
        assert "\n" not in delta.to_json()
        stream.load_source(NUMBERED)
        assert stream.stats().retries == stats.retries
        assert stream.stats().retry_reasons == stats.retry_reasons


def test_a_difference_of_two_snapshots() -> None:
    with alphastream_gpu.open(Scripted(), config=Config(**QUIET)) as stream:
        get(stream, 5)
        before = stream.stats()
        get(stream, 5)
        get(stream, 6)
        delta = stream.stats().since(before)
    assert (delta.hits, delta.misses, delta.decoded, delta.cached_frames) == (1, 1, 1, 2)
    assert stream.stats().since(stream.stats()) == Stats()
    told = json.loads(delta.to_json())
    assert (told["hits"], told["cached_frames"]) == (1, 2)
    assert "failed" not in told


def test_json_of_everything() -> None:
    timing = RequestTiming(1.23456789, 0.5, 100, "status 503")
    stats = Stats(retries=1, retry_reasons={"status 503": 1}, bandwidth=1e6, latency=0.02, recent_requests=(timing,))
    assert json.loads(stats.to_json()) == {
        "retries": 1,
        "retry_reasons": {"status 503": 1},
        "bandwidth": 1000000,
        "latency": 0.02,
        "recent_requests": [{"began_at": 1.234568, "seconds": 0.5, "bytes": 100, "failure": "status 503"}],
    }
    assert Stats().to_json() == "{}"
    assert hash(stats) == hash(stats)
