"""
Mirrors: the next one after a failure, only if it has the same file, and every one named if all fail.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from badserver import Server, close_within_the_body, never, reset_before_the_reply, status
from support import SAMPLE, SQUARE, asvp_of, block_of, payload_of, wait_until

import alphastream_gpu
from alphastream_gpu import ByteRange, ClosedError, Config, FrameTimeoutError, MemorySource, Source, TransportError
from alphastream_gpu._sources import as_source, open_source
from alphastream_gpu._sources.cache import CachedSource
from alphastream_gpu.testing import SourceConformance

LONG = asvp_of([block_of(SQUARE)] * 20_000)
QUICK = Config(http_retries=0, http_backoff=1)


class TestMirrors(SourceConformance):
    @pytest.fixture(autouse=True)
    def _servers(self) -> Iterator[None]:
        with ExitStack() as self.servers:
            yield

    def make(self, data: bytes, folder: Path) -> Source:
        servers = [self.servers.enter_context(Server(data)) for _ in range(2)]
        return asyncio.run(open_source([server.url() for server in servers], Config()))


class TestOneIsGone(TestMirrors):
    def make(self, data: bytes, folder: Path) -> Source:
        with Server(data) as gone:
            pass
        server = self.servers.enter_context(Server(data))
        return asyncio.run(open_source([gone.url(), server.url()], Config()))


class TestFlaky(TestMirrors):
    """Each answers every other request."""

    def make(self, data: bytes, folder: Path) -> Source:
        servers = [self.servers.enter_context(Server(data)) for _ in range(2)]
        for server in servers:
            server.script = lambda request: status(503) if request.number % 2 else None
        config = Config(http_backoff=1, http_retries=8)
        return asyncio.run(open_source([server.url() for server in servers], config))


class TestAFileAndAServer(TestMirrors):
    def make(self, data: bytes, folder: Path) -> Source:
        path = folder / "data.bin"
        path.write_bytes(data)
        server = self.servers.enter_context(Server(data))
        return asyncio.run(open_source([folder / "missing.asvp", path, server.url()], Config()))


class TestCached(TestMirrors):
    def make(self, data: bytes, folder: Path) -> Source:
        servers = [self.servers.enter_context(Server(data)) for _ in range(2)]
        config = Config(cache_dir=folder / "cache")
        source = asyncio.run(open_source([server.url() for server in servers], config))
        assert isinstance(source, CachedSource)
        return source


@pytest.mark.slow
@pytest.mark.parametrize(
    "failure", [reset_before_the_reply, close_within_the_body, status(500), status(404), status(403), status(429)]
)
def test_the_next_one_after_a_failure(failure: Any) -> None:
    with Server(LONG) as one, Server(LONG) as two, alphastream_gpu.open([one.url(), two.url()]) as stream:
        stream.read_frame(0)
        assert not two.requests
        one.script = lambda request: failure
        n_requests = len(one.requests)
        assert len(list(stream.read_frames())) == 20_000
        assert len(one.requests) - n_requests <= 2  # and it is not asked again
        assert stream.stats().requests == len(one.requests) + len(two.requests)


def test_back_to_the_first_one_after_a_failure_of_the_second() -> None:
    config = Config(http_backoff=1)
    with (
        Server(LONG) as one,
        Server(LONG) as two,
        alphastream_gpu.open([one.url(), two.url()], config=config) as stream,
    ):
        one.script = lambda request: status(500)
        stream.read_frame(15_000)
        one.script, two.script = lambda request: None, lambda request: status(500)
        stream.read_frame(19_999)


@pytest.mark.slow
def test_a_mirror_that_hangs_at_opening() -> None:
    """The others are asked before init_timeout has passed."""
    started = time.monotonic()
    with Server(LONG, script=lambda request: never) as one, Server(LONG) as two:
        stream = alphastream_gpu.open([one.url(), two.url()], config=Config(init_timeout=3))
        stream.read_frame(0)
        stream.close()
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "other",
    [
        asvp_of([block_of(SQUARE)] * 19_999),
        asvp_of([block_of(payload_of([]))] * 10_000 + [block_of(SQUARE)] * 10_000),
        LONG + b"\0",
        LONG[:-1],
        b"",
    ],
    ids=["fewer", "other", "longer", "shorter", "empty"],
)
def test_another_file_is_refused(other: bytes) -> None:
    config = QUICK
    with (
        Server(LONG) as one,
        Server(other) as two,
        alphastream_gpu.open([one.url(), two.url()], config=config) as stream,
    ):
        one.script = lambda request: status(500)
        with pytest.raises(TransportError, match="has another file than the first mirror"):
            stream.read_frame(19_000)
        n_requests = len(two.requests)
        with pytest.raises(TransportError, match="has another file"):
            stream.read_frame(18_000)
        assert len(two.requests) == n_requests
        one.script = lambda request: None
        stream.read_frame(19_000)


def test_the_same_length_and_another_table_is_refused() -> None:
    blocks = [block_of(SQUARE), block_of(payload_of([((1, 1), [(1, 1)])]))]
    one_file, two_file = asvp_of(blocks), asvp_of(blocks[::-1])
    assert len(one_file) == len(two_file)
    with Server(one_file) as one, Server(two_file) as two:

        async def read() -> None:
            source = as_source([one.url(), two.url()], QUICK)
            assert await source.read(ByteRange(0, 10)) == one_file[:10]
            source._first = one_file[:50]  # type: ignore[attr-defined]  # so that the end must be fetched
            one.script = lambda request: status(500)
            with pytest.raises(TransportError, match="another header or sizes table"):
                await source.read(ByteRange(60, 70))
            await source.aclose()

        asyncio.run(read())


def _with_a_long_table(blocks: list[bytes]) -> bytes:
    """An ASVP whose table is stored without compression, so that one byte of it can differ."""
    table = zlib.compress(b"".join(struct.pack("<Q", len(block)) for block in blocks), 0)
    return b"ASVPPLN1" + struct.pack("<II", len(blocks), len(table)) + table + b"".join(blocks)


_TWO = [block_of(SQUARE), block_of(payload_of([((1, 1), [(1, 1)])]))]
LONG_TABLES = [_with_a_long_table([_TWO[0]] * 12_000 + pair) for pair in (_TWO, _TWO[::-1])]
"""They differ in two bytes of the table, beyond the first 64 KiB, and in its checksum."""


@pytest.mark.parametrize("is_cached", [False, True])
def test_another_table_beyond_the_first_bytes_is_refused(tmp_path: Path, is_cached: bool) -> None:
    one_file, two_file = LONG_TABLES
    assert len(one_file) == len(two_file)
    assert one_file[:90_000] == two_file[:90_000]
    config = Config(http_retries=0, http_backoff=1, cache_dir=tmp_path if is_cached else None)
    with (
        Server(one_file) as one,
        Server(two_file) as two,
        Server(one_file) as three,
        alphastream_gpu.open([one.url(), two.url(), three.url()], config=config) as stream,
    ):
        n_requests = len(one.requests)
        stream.read_frame(6000)
        assert len(one.requests) == n_requests + 1  # what served the table is not compared with itself
        one.script = lambda request: status(500)
        assert len(stream.read_frame(12_001).points) == 2
        assert two.requests
        three.script = lambda request: status(500)
        with pytest.raises(TransportError, match="another header or sizes table"):
            stream.read_frame(9000)
        three.script = lambda request: None
        assert len(stream.read_frame(9000).points) == 4


def test_a_mirror_that_fails_before_the_table_is_compared_with_the_one_that_served_it() -> None:
    one_file, two_file = LONG_TABLES
    with (
        Server(one_file, lambda request: status(500) if request.range[0] else None) as one,
        Server(two_file) as two,
        alphastream_gpu.open([one.url(), two.url()], config=QUICK) as stream,
    ):
        one.script = lambda request: None
        two.script = lambda request: status(500)
        with pytest.raises(TransportError, match="another header or sizes table"):
            stream.read_frame(9000)
        two.script = lambda request: None
        assert [len(stream.read_frame(index).points) for index in (9000, 12_000, 12_001)] == [4, 2, 4]


def test_a_read_under_way_when_tables_are_compared_is_repeated() -> None:
    """What a mirror sent before its table was compared is not used if it has another one."""
    one_file, two_file = LONG_TABLES
    let_go = threading.Event()

    class Slow(MemorySource):
        async def read(self, span: ByteRange) -> memoryview:
            while span.start > 65536 and not let_go.is_set():
                await asyncio.sleep(0.001)
            return await super().read(span)

    async def read() -> None:
        source = as_source([Slow(two_file, name="slow"), MemorySource(one_file)], QUICK)
        await source.read(ByteRange(0, 9))
        reading = asyncio.create_task(source.read(ByteRange(len(one_file) - 9, len(one_file))))
        await asyncio.sleep(0.05)
        source.compare_tables(one_file[:100_000])  # type: ignore[attr-defined]
        let_go.set()
        assert await reading == one_file[-9:]
        await source.aclose()

    assert one_file[-9:] != two_file[-9:]
    asyncio.run(read())


def test_all_fail(caplog: pytest.LogCaptureFixture) -> None:
    with Server(LONG, script=lambda request: status(404)) as one, Server(LONG, lambda request: status(503)) as two:
        urls = [one.url("/a.asvp?token=secret"), two.url("/b.asvp?token=secret")]
        with caplog.at_level(logging.DEBUG), pytest.raises(TransportError) as caught:
            alphastream_gpu.open([*urls, "missing.asvp"], config=QUICK)
    text = str(caught.value)
    assert "all 3 mirrors failed: " in text
    for part in ("/a.asvp: ", "404", "/b.asvp: ", "503", "missing.asvp"):
        assert part in text
    assert "secret" not in text + caplog.text


def test_rounds_are_repeated() -> None:
    """As often as requests are, with a pause between."""
    with Server(LONG, script=lambda request: status(503)) as one, Server(LONG, lambda request: status(503)) as two:
        with pytest.raises(TransportError):
            alphastream_gpu.open([one.url(), two.url()], config=Config(http_retries=2, http_backoff=1))
        assert (len(one.requests), len(two.requests)) == (3, 3)
        two.script = lambda request: None if request.number > 4 else status(503)
        alphastream_gpu.open([one.url(), two.url()], config=Config(http_retries=4, http_backoff=1)).close()


def test_arguments() -> None:
    for wrong, error in (
        ([], ValueError),
        ([b"bytes"], TypeError),
        ([5], TypeError),
        ([["http://example.org/a"]], TypeError),
        (["ftp://example.org/a"], ValueError),
        (["http://example.org/a", "http://"], ValueError),
    ):
        with pytest.raises(error):
            alphastream_gpu.open(wrong)
    with pytest.raises(ValueError, match="headers, client: only for http"):
        alphastream_gpu.open(["a.asvp", Path("b.asvp")], headers={"X-A": "b"})
    with pytest.raises(ValueError, match="http_offline: needs a URL as the first mirror"):
        alphastream_gpu.open(["a.asvp", "http://a.org/a"], config=Config(http_offline=True, cache_dir="x"))
    with alphastream_gpu.open(("missing.asvp", SAMPLE)) as stream:
        assert stream.metadata.frame_count == 120


def test_sources_and_callables_are_mirrors() -> None:
    with Server(LONG) as server:

        async def sign() -> str:
            return server.url("/person.asvp?signed")

        with alphastream_gpu.open([sign, MemorySource(LONG, name="x")], headers={"X-Key": "1"}) as stream:
            server.script = lambda request: status(500)
            stream.read_frame(19_999)
        assert {request.headers.get("x-key") for request in server.requests} == {"1"}


def test_the_name_is_that_of_the_first_mirror() -> None:
    """The key of an ASVR depends on it."""
    assert as_source(["http://a.org/x/one.asvr?q", "http://b.org/two.asvr"], Config()).name == "one.asvr"
    assert as_source([Path("films/one.asvr"), "http://b.org/two.asvr"], Config()).name == "one.asvr"


def test_the_cache_is_played_if_no_mirror_answers(tmp_path: Path) -> None:
    config = Config(cache_dir=tmp_path, http_retries=0)
    with Server(SAMPLE.read_bytes()) as one, Server(SAMPLE.read_bytes()) as two:
        urls = [one.url(), two.url()]
        one.script = lambda request: status(503)
        alphastream_gpu.open(urls, config=config).close()
        assert two.requests
    with alphastream_gpu.open(urls, config=config) as stream:
        assert len(list(stream.read_frames())) == 120


def test_no_mirror_is_mixed_with_an_old_version_from_the_disk(tmp_path: Path) -> None:
    config = Config(cache_dir=tmp_path, http_retries=0)
    with Server(LONG) as one:
        alphastream_gpu.open([one.url()], config=config).close()
        one.script = lambda request: status(503)
        with alphastream_gpu.open([one.url()], config=config) as stream:
            stream.read_frame(0)
            one.script = lambda request: None
            with pytest.raises(TransportError, match="unreachable when the stream was opened"):
                stream.read_frame(19_999)


class Failing(MemorySource):
    """A source that hangs or fails, and cannot be closed."""

    def __init__(self, error: BaseException | None) -> None:
        super().__init__(LONG, name="failing")
        self.error = error

    async def read(self, span: ByteRange) -> memoryview:
        if self.error is None:
            await asyncio.sleep(3600)
        assert self.error is not None
        raise self.error

    async def aclose(self) -> None:
        raise OSError("cannot be closed")


def test_a_source_that_fails_as_a_mirror() -> None:
    for error in (OSError("no disk"), TimeoutError("slow"), ValueError("a mistake"), TransportError("gone")):
        with alphastream_gpu.open([Failing(error), MemorySource(LONG, name="x")]) as stream:
            assert stream.metadata.frame_count == 20_000
            stream.read_frame(19_999)
            with pytest.raises(TransportError, match="cannot be closed"):
                stream.close()


@pytest.mark.slow
def test_the_deadline_is_for_all_mirrors() -> None:
    async def read() -> None:
        source = as_source([Failing(TransportError("gone"))], Config(http_deadline=1, http_retries=10))
        with pytest.raises(FrameTimeoutError, match=r"not read within 1 s; so far: gone"):
            await source.read(ByteRange(0, 9))
        assert isinstance(source.last_failure, TransportError)
        assert source.next_attempt_at is None
        assert (source.requests, source.bytes_received, source.reply_summary) == (0, 0, "")
        with pytest.raises(TransportError, match="cannot be closed"):
            await source.aclose()

    asyncio.run(read())


def test_the_next_attempt_is_known() -> None:
    async def read() -> None:
        source = as_source([Failing(TransportError("gone"))], Config(http_backoff=60_000))
        reading = asyncio.create_task(source.read(ByteRange(0, 9)))
        while source.next_attempt_at is None:
            await asyncio.sleep(0.01)
        assert 59 < source.next_attempt_at - time.monotonic() < 121
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        with pytest.raises(TransportError, match="cannot be closed"):
            await source.aclose()

    asyncio.run(read())


@pytest.fixture(scope="module", autouse=True)
def _no_loop_is_left() -> Iterator[None]:
    yield
    wait_until(lambda: not [one for one in threading.enumerate() if one.name.startswith("alphastream-source")])


def test_reads_at_the_same_time_move_on_together() -> None:
    async def read(one: Server, two: Server) -> None:
        source = as_source([one.url(), two.url()], QUICK)
        await source.read(ByteRange(0, 9))
        one.script = lambda request: status(500)
        spans = [ByteRange(at, at + 100) for at in range(100_000, 130_000, 3_000)]
        found = await asyncio.gather(*map(source.read, spans))
        assert [bytes(part) for part in found] == [LONG[span.start : span.stop] for span in spans]
        await source.aclose()

    with Server(LONG) as one, Server(LONG) as two:
        asyncio.run(read(one, two))


def test_closing() -> None:
    async def play(url: str) -> None:
        source = as_source([url, MemorySource(LONG)], Config())
        await source.read(ByteRange(0, 9))
        await source.aclose()
        with pytest.raises(ClosedError):
            await source.read(ByteRange(90_000, 90_009))
        assert repr(source).startswith("<MirrorSource http://127.0.0.1")

    with Server(LONG) as server:
        asyncio.run(play(server.url()))
