"""
read_batch: several frames in any order, in few reads; and the fingerprint of a stream.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from pathlib import Path
from typing import Any

import badserver
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import SAMPLE, SQUARE, asvp_of, block_of, payload_of

import alphastream_gpu
from alphastream_gpu import (
    ByteRange,
    ClosedError,
    Config,
    DecodeError,
    FileSource,
    FrameGeometry,
    FrameNotFoundError,
    MemorySource,
    NotReadyError,
    TransportError,
)
from alphastream_gpu._stream.plan import FrameSpan, groups, plan_batch

OFFSETS = [100, 110, 130, 130, 160, 200, 201, 260, 270, 280, 300, 310, 400]
N = len(OFFSETS) - 1


# The plan


def _joined(frames: list[int], max_gap: int, max_bytes: int) -> list[list[int]]:
    """Frame after frame: it goes on the last read if it is near enough and the read stays small enough."""
    reads: list[list[int]] = []
    for frame in frames:
        if reads:
            dropped = sum(OFFSETS[k + 1] - OFFSETS[k] for k in range(reads[-1][-1] + 1, frame))
            whole = sum(OFFSETS[k + 1] - OFFSETS[k] for k in range(reads[-1][0], frame + 1))
            if dropped <= max_gap and whole <= max_bytes:
                reads[-1].append(frame)
                continue
        reads.append([frame])
    return reads


@given(frames=st.sets(st.integers(0, N - 1)), max_gap=st.integers(0, 120), max_bytes=st.integers(1, 400))
def test_the_plan(frames: set[int], max_gap: int, max_bytes: int) -> None:
    wanted = sorted(frames)
    plan = plan_batch(np.array(OFFSETS), wanted, max_gap_bytes=max_gap, max_bytes=max_bytes)
    assert plan == [
        FrameSpan(read[0], read[-1] + 1, ByteRange(OFFSETS[read[0]], OFFSETS[read[-1] + 1]))
        for read in _joined(wanted, max_gap, max_bytes)
    ]
    assert all(type(span.bytes.start) is int for span in plan)


@given(frames=st.sets(st.integers(0, N - 1)), most=st.integers(0, 400))
def test_groups(frames: set[int], most: int) -> None:
    plan = plan_batch(OFFSETS, sorted(frames), max_gap_bytes=0, max_bytes=1)
    found = list(groups(plan, most))
    assert [span for group in found for span in group] == plan
    assert all(len(group) == 1 or sum(len(span.bytes) for span in group) <= most for group in found)


# The call


@pytest.fixture(scope="module")
def expected() -> list[FrameGeometry]:
    with alphastream_gpu.open(SAMPLE) as stream:
        return list(stream.read_frames())


@pytest.mark.parametrize("kind", ["file", "unmapped", "memory", "source", "http"])
def test_frames_in_the_order_that_is_asked_for(
    kind: str, expected: list[FrameGeometry], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(MemorySource):
        pass

    data = SAMPLE.read_bytes()
    if kind == "unmapped":
        monkeypatch.setattr("alphastream_gpu._sources.file._map", lambda *_: None)
    with badserver.Server(data) as server:
        source: Any = {
            "file": SAMPLE,
            "unmapped": SAMPLE,
            "memory": data,
            "source": Own(data),
            "http": server.url(),
        }[kind]
        with alphastream_gpu.open(source) as stream:
            for indices in ([], [5], [60, 0, 119, 60], range(120), range(119, -1, -7), np.array([3, 3, 3])):
                assert stream.read_batch(indices) == [expected[index] for index in indices]
            assert stream.read_batch(iter([7, 2])) == [expected[7], expected[2]]
            assert stream.stats().cached_frames == 0


def big_stream(n_frames: int = 256) -> bytes:
    """Frames of 5 KB that do not compress."""
    rng = np.random.default_rng(1)
    steps = rng.integers(-100, 100, (n_frames, 2500, 2)).tolist()
    return asvp_of([block_of(payload_of([((500, 500), one)])) for one in steps])


def test_every_sixteenth_frame_over_a_network() -> None:
    """The first request has the table; the gaps of the others are shorter than a request takes."""
    data = big_stream()
    with badserver.Server(data) as server, alphastream_gpu.open(server.url()) as stream:
        near = stream.read_batch(range(0, 128, 8))
        assert len(server.requests) == 2
        assert len(near) == 16
        with alphastream_gpu.open(data) as other:
            assert near == other.read_batch(range(0, 128, 8))
        far = stream.read_batch(range(0, 256, 32))
        assert len(server.requests) > 4  # 150 KB apart
        assert far == [stream.read_frame(index) for index in range(0, 256, 32)]


@pytest.mark.slow
def test_files_and_memory_read_no_gaps() -> None:
    data = big_stream(64)
    with alphastream_gpu.open(data) as stream:
        before = stream.stats()
        stream.read_batch([3, 4, 5, 9, 30])
        after = stream.stats()
    assert after.reads - before.reads == 3
    with alphastream_gpu.open(data) as stream:
        sizes = np.diff(stream._lifetime.session.reader.index.offsets)  # type: ignore[union-attr]
    assert after.bytes_read - before.bytes_read == sizes[[3, 4, 5, 9, 30]].sum()


@pytest.mark.parametrize("indices", [[0, 120], [-1], [120], [0, 1, 10**30]])
def test_frames_outside_the_stream(indices: list[int]) -> None:
    with alphastream_gpu.open(SAMPLE) as stream:
        before = stream.stats().reads
        with pytest.raises(FrameNotFoundError, match=r"expected 0\.\.119"):
            stream.read_batch(indices)
        assert stream.stats().reads == before


def test_indices_that_are_no_integers() -> None:
    with alphastream_gpu.open(SAMPLE) as stream, pytest.raises(TypeError):
        stream.read_batch([1.5])  # type: ignore[list-item]


def test_the_first_bad_frame_in_the_file_is_named() -> None:
    good, bad = block_of(SQUARE), block_of(SQUARE, length=999)
    with alphastream_gpu.open(asvp_of([good, bad, good, bad])) as stream:
        with pytest.raises(DecodeError, match="frame 1") as found:
            stream.read_batch([3, 0, 1])
        assert found.value.frame_index == 1
        assert stream.read_batch([2, 0, 2]) == [stream.read_frame(0)] * 3


def test_a_senseless_block_in_a_gap_is_not_blamed() -> None:
    """A frame that nobody asked for may be of any length."""
    blocks = [block_of(SQUARE), b"x" * 5000, block_of(SQUARE)]
    config = Config(max_frame_bytes=64)
    with (
        badserver.Server(asvp_of(blocks) + bytes(70_000)) as server,
        alphastream_gpu.open(server.url(), config=config) as stream,
    ):
        assert stream.read_batch([0, 2]) == [stream.read_frame(0)] * 2
        with pytest.raises(DecodeError, match="frame 1: block: stored in"):
            stream.read_batch([0, 1, 2])


def test_where_a_joined_read_fails_each_frame_is_read() -> None:
    class Torn(MemorySource):
        async def read(self, span: ByteRange) -> bytes | memoryview:
            if span.start and len(span) > 400:
                raise TransportError("too long for this tape")
            return await super().read(span)

    data = asvp_of([block_of(SQUARE)] * 30)
    with alphastream_gpu.open(Torn(data)) as stream:
        assert stream.read_batch(range(30)) == [stream.read_frame(0)] * 30


def test_closing_ends_a_batch() -> None:
    class Waiting(MemorySource):
        is_reading = threading.Event()

        async def read(self, span: ByteRange) -> bytes | memoryview:
            if span.start:
                self.is_reading.set()
                await asyncio.sleep(60)
            return await super().read(span)

    source = Waiting(SAMPLE.read_bytes())
    stream = alphastream_gpu.open(source)
    closer = threading.Thread(target=lambda: (source.is_reading.wait(30), stream.close()))
    closer.start()
    with pytest.raises(ClosedError, match="closed during the call"):
        stream.read_batch([100])
    closer.join()
    with pytest.raises(ClosedError):
        stream.read_batch([1])


def test_a_source_that_was_replaced_meanwhile() -> None:
    with alphastream_gpu.open(SAMPLE) as stream:
        session = stream._lifetime.session
        assert session is not None
        stream.load_source(SAMPLE)
        with pytest.raises(NotReadyError, match="another source was loaded"):
            session.bulk.read([4])


def test_threads_read_one_file_together(expected: list[FrameGeometry], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mapping, each read moves the position in the file."""
    monkeypatch.setattr("alphastream_gpu._sources.file._map", lambda *_: None)
    wrong = []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(60):
            indices = rng.integers(0, 120, 5)
            if stream.read_batch(indices) != [expected[index] for index in indices]:
                wrong.append(indices)

    with alphastream_gpu.open(SAMPLE) as stream:
        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_a_file_that_is_being_read_is_closed_by_a_thread() -> None:
    """The event loop must not wait for a read that hangs."""
    source = FileSource(SAMPLE)
    opened = source._opened
    assert opened is not None
    with opened._lock:
        assert not opened.close(is_waiting=False)
    assert opened.close()
    with pytest.raises(ClosedError, match="was closed before"):
        opened.read(ByteRange(0, 5))


# The fingerprint


def test_the_disk_cache_does_not_change_the_fingerprint(tmp_path: Path) -> None:
    """Two versions of a file whose blocks have equal sizes are told apart by their ETags, also through the cache."""
    found = []
    for folder in (None, tmp_path, tmp_path):
        with badserver.Server(SAMPLE.read_bytes()) as web:
            for etag in ('"one"', '"two"'):
                web.etag = etag
                with alphastream_gpu.open(web.url(), config=Config(cache_dir=folder)) as stream:
                    found.append(stream.fingerprint)
    assert found[:2] == found[2:4] == found[4:]
    assert found[0] != found[1]


def test_a_copy_has_the_same_fingerprint(tmp_path: Path) -> None:
    copy = Path(shutil.copy(SAMPLE, tmp_path / "other.asvp"))
    with (
        alphastream_gpu.open(SAMPLE) as one,
        alphastream_gpu.open(copy) as two,
        alphastream_gpu.open(SAMPLE.read_bytes()) as three,
    ):
        assert len(one.fingerprint) == 64
        assert one.fingerprint == two.fingerprint == three.fingerprint
    with pytest.raises(ClosedError):
        one.fingerprint  # noqa: B018


@pytest.mark.parametrize(
    "blocks", [[block_of(SQUARE)], [block_of(SQUARE)] * 3, [block_of(SQUARE), block_of(payload_of([]))], []]
)
def test_other_files_have_other_fingerprints(blocks: list[bytes]) -> None:
    data = asvp_of([block_of(SQUARE)] * 2)
    with (
        alphastream_gpu.open(data) as one,
        alphastream_gpu.open(asvp_of(blocks)) as two,
        alphastream_gpu.open(data + b"\0") as longer,
    ):
        assert len({one.fingerprint, two.fingerprint, longer.fingerprint}) == 3


def test_a_server_tells_versions_apart() -> None:
    def of(etag: str | None, config: Config | None = None) -> str:
        with (
            badserver.Server(SAMPLE.read_bytes(), etag=etag) as server,
            alphastream_gpu.open(server.url(), config=config) as stream,
        ):
            return stream.fingerprint

    assert of('"v1"') == of('"v1"') != of('"v2"')
    lax = Config(http_validate="size")
    with alphastream_gpu.open(SAMPLE) as stream:
        assert of('"v1"', lax) == of('"v2"', lax) == of(None) == stream.fingerprint
