"""
Real-time calls: every source, container and trace; indices; times.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from badserver import Server
from scripted import NUMBERED, Scripted, get, number_of
from support import SAMPLE, golden_frames, sha256

import alphastream_gpu
from alphastream_gpu import (
    AlphaStream,
    AsvrKey,
    AsvrWriter,
    Config,
    NotReadyError,
    rasterize,
)

TRACES = {
    "sequential": list(range(120)),
    "random": random.Random(3).sample(range(120), 120),
    "reverse": list(range(119, -1, -1)),
    "jump": [*range(10), *range(80, 95), *range(40, 50), 119, 0, *range(60, 66)],
}


@pytest.fixture(params=["memory", "file", "http"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["ASVP", "ASVR"])
def container(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened(kind: str, container: str, tmp_path: Path, passphrase: bytes) -> Iterator[AlphaStream]:
    key = AsvrKey(passphrase, scene_id=4, resource_name="x.asvr") if container == "ASVR" else None
    data = SAMPLE.read_bytes()
    if key is not None:
        with AsvrWriter(tmp_path / "x.asvr", key=key) as writer, alphastream_gpu.open(SAMPLE) as stream:
            for index in range(120):
                writer.add_frame(asyncio.run(stream.frame(index)))
        data = (tmp_path / "x.asvr").read_bytes()
    path = tmp_path / "stream.bin"
    path.write_bytes(data)
    if kind == "http":
        with Server(data) as server, alphastream_gpu.open(server.url(), key=key) as stream:
            yield stream
    else:
        with alphastream_gpu.open(data if kind == "memory" else path, key=key) as stream:
            yield stream


@pytest.mark.slow
@pytest.mark.parametrize("trace", TRACES)
def test_every_source_container_and_trace(opened: AlphaStream, container: str, trace: str) -> None:
    goldens = golden_frames()
    assert opened.metadata.container == container
    for index in TRACES[trace]:
        geometry = get(opened, index)
        assert sha256(rasterize(geometry)) == goldens[index]["sha256"]
    stats = opened.stats()
    assert stats.hits + stats.misses >= len(TRACES[trace])


def test_indices_that_are_no_indices() -> None:
    with alphastream_gpu.open(NUMBERED, config=Config(get_frame_timebox=1000)) as stream:
        for wrong in (1.5, "1", None):
            with pytest.raises(TypeError):
                stream.get_geometry(wrong)  # type: ignore[arg-type]
        assert number_of(get(stream, np.int64(7))) == 7  # type: ignore[arg-type]
        assert number_of(get(stream, True)) == 1
        assert number_of(get(stream, 1)) == 1


def test_iterating_over_a_source_that_was_replaced() -> None:
    source = Scripted()

    async def run() -> None:
        async with await alphastream_gpu.open_async(source) as stream:
            frames = stream.frames()
            await anext(frames)
            await stream.aload_source(SAMPLE)
            assert source.closed == 1
            n_reads = len(source.spans)
            with pytest.raises(NotReadyError, match="another source was loaded"):
                async for _ in frames:
                    pass
            assert len(source.spans) <= n_reads

    asyncio.run(run())


def test_times_and_frames() -> None:
    with AlphaStream() as stream:
        assert stream.time_of(60) == 1.0
        assert stream.frame_at(1.0) == 60
        stream.set_rate(Fraction(60000, 1001))
        for index in (0, 1, 2, 3, 59, 60, 1001, 16_374, 5_184_000):
            assert stream.frame_at(stream.time_of(index)) == index
            assert stream.frame_at(stream.time_of(index) + 0.016) == index
            assert stream.frame_at(stream.time_of(index) - 0.0001) == index - 1
        stream.set_rate(59.94)
        assert stream.time_of(5994) == 100.0
        with pytest.raises(ValueError, match="fps: expected"):
            stream.set_rate(0)
