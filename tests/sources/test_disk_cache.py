"""
The disk cache: what is read from it and when, what it refuses, and what a crash may leave. test_cache_model.py plays
with all of that at random.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
from badserver import Request, Server, page, status, whole_file
from cachemodel import URL, FakeServer, cached, content, peer, read_once
from hypothesis import given, settings
from hypothesis import strategies as st
from support import SAMPLE, SQUARE, asvp_of, block_of, wait_until

import alphastream_gpu
from alphastream_gpu import ByteRange, ClosedError, Config, HttpSource, Source, TransportError
from alphastream_gpu._sources import open_source
from alphastream_gpu._sources.cache import CachedSource, Folder
from alphastream_gpu._sources.cache import disk as _disk
from alphastream_gpu._sources.cache import entry as _entry
from alphastream_gpu._sources.cache.entry import Entry
from alphastream_gpu._sources.cache.record import HEAD_BYTES, PAGE_BYTES, Identity, key_of, place_of
from alphastream_gpu.testing import SourceConformance

LONG = asvp_of([block_of(SQUARE)] * 20_000)
"""Longer than some of the first reads of a stream."""
ALL = [ByteRange(0, 200_000)]
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.pages"))


def run(server: FakeServer, folder: Path, spans: list[ByteRange] = ALL, **options: Any) -> list[bytes | str]:
    return asyncio.run(read_once(server, folder, spans, **options))


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


class TestCold(SourceConformance):
    @pytest.fixture(autouse=True)
    def _servers(self) -> Iterator[None]:
        with ExitStack() as self.servers:
            yield

    def make(self, data: bytes, folder: Path) -> Source:
        server = self.servers.enter_context(Server(data))
        config = Config(cache_dir=folder / "cache")
        return asyncio.run(open_source(server.url(), config))


class TestWarm(TestCold):
    """Every page is on the disk."""

    def make(self, data: bytes, folder: Path) -> Source:
        server = self.servers.enter_context(Server(data))
        config = Config(cache_dir=folder / "cache")

        async def warm() -> Source:
            source = await open_source(server.url(), config)
            await source.read(ByteRange(0, len(data)))
            await source.aclose()
            return await open_source(server.url(), config)

        return asyncio.run(warm())


class TestOffline(TestWarm):
    """The server is gone."""

    def make(self, data: bytes, folder: Path) -> Source:
        with ExitStack() as self.servers:
            source = super().make(data, folder)
        assert isinstance(source, CachedSource)
        source._is_offline = True
        return source

    def test_an_empty_file(self, tmp_path: Path) -> None:
        """A server has no ETag for it, so it is not cached."""
        with pytest.raises(TransportError, match="not in the disk cache"):
            super().test_an_empty_file(tmp_path)


def test_a_warm_cache_asks_for_nothing_but_the_first_bytes(server: FakeServer, tmp_path: Path) -> None:
    assert run(server, tmp_path) == [server.data]
    server.reads.clear()
    assert run(server, tmp_path) == [server.data]
    assert server.reads == [ByteRange(0, 65536)]


def test_only_what_is_missing_is_fetched(server: FakeServer, tmp_path: Path) -> None:
    """In whole pages; runs with a few pages between them in one request."""
    run(server, tmp_path, [ByteRange(100_000, 100_010)])
    server.reads.clear()
    assert run(server, tmp_path) == [server.data]
    page = 100_000 // PAGE_BYTES
    assert server.reads == [
        ByteRange(0, 65536),
        ByteRange(65536, 200_000),  # the page between is not worth another request
    ]
    assert page * PAGE_BYTES > 65536


@pytest.mark.slow
def test_a_stream_over_http(tmp_path: Path) -> None:
    config = Config(cache_dir=tmp_path)
    with Server(LONG) as web:
        for _ in range(2):
            with alphastream_gpu.open(web.url(), config=config) as stream:
                assert len(list(stream.read_frames())) == 20_000
        first, second = (len(web.requests) - 1), web.requests[-1]
        assert second.range == (0, 65536)
        assert first >= 1
        assert web.body_bytes <= len(LONG) + 2 * 65536 + 2 * PAGE_BYTES * first


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [4096, 65536, 1 << 20])
def test_the_cache_needs_no_more_requests(tmp_path: Path, chunk: int) -> None:
    """Although it reads whole pages."""
    counts = []
    for config in (Config(http_chunk=chunk), Config(http_chunk=chunk, cache_dir=tmp_path)):
        with Server(LONG) as web, alphastream_gpu.open(web.url(), config=config) as stream:
            assert len(list(stream.read_frames(0, 10_000))) == 10_000
            counts.append(len(web.requests))
    assert counts[1] <= counts[0] + 1


def test_another_version(server: FakeServer, tmp_path: Path) -> None:
    run(server, tmp_path)
    server.version = 1
    assert run(server, tmp_path) == [server.data]
    assert len(files(tmp_path)) == 2
    server.is_up = False
    assert run(server, tmp_path) == [server.data]


def test_the_old_version_is_not_played_offline(server: FakeServer, tmp_path: Path) -> None:
    """Even if the new one is not complete."""
    run(server, tmp_path)
    server.version = 1
    first = ByteRange(0, 100)
    run(server, tmp_path, [first])
    server.is_up = False
    assert run(server, tmp_path, [first, ByteRange(150_000, 150_010)]) == [server.data[:100], "TransportError"]
    server.version, server.is_up = 0, True  # the server has gone back
    server.reads.clear()
    assert run(server, tmp_path) == [server.data]
    assert server.reads == [ByteRange(0, 65536)]


def test_a_version_without_validator_outdates_the_others(tmp_path: Path) -> None:
    config = Config(cache_dir=tmp_path, http_retries=0)
    with Server(SAMPLE.read_bytes()) as web:
        alphastream_gpu.open(web.url(), config=config).close()
        web.etag = None
        web.data = asvp_of([block_of(SQUARE)] * 7)
        with alphastream_gpu.open(web.url(), config=config) as stream:
            assert stream.metadata.frame_count == 7
    with pytest.raises(TransportError, match="connection"):
        alphastream_gpu.open(web.url(), config=config)


def test_one_validator_for_two_files(server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """nginx makes ETags of time and length. If the first bytes differ, nothing of the old file is used."""
    run(server, tmp_path)
    other = FakeServer(version=5, length=server.length)
    other.facts = server.facts  # type: ignore[method-assign]
    assert run(other, tmp_path) == [other.data]
    assert "another file under the same validator" in caplog.text
    assert run(other, tmp_path) == [other.data]
    assert len(files(tmp_path)) == 1


def test_without_a_validator_nothing_is_kept(tmp_path: Path) -> None:
    config = Config(cache_dir=tmp_path)
    with Server(SAMPLE.read_bytes(), etag=None) as web:
        alphastream_gpu.open(web.url(), config=config).close()
        assert len(web.requests) == 1
    assert not files(tmp_path)


@pytest.mark.parametrize(("age", "n_files"), [(3600, 1), (5, 0)])
def test_last_modified(tmp_path: Path, age: float, n_files: int) -> None:
    """A file that changed a moment ago may change again within the same second."""

    async def modified(web: Server, request: Request, wire: Any) -> None:
        first, stop = request.range
        part = web.data[first:stop]
        await wire.head(
            206,
            Content_Range=f"bytes {first}-{first + len(part) - 1}/{len(web.data)}",
            Content_Length=len(part),
            Last_Modified=formatdate(time.time() - age, usegmt=True),
        )
        await wire.body(part)

    with Server(SAMPLE.read_bytes(), script=lambda request: modified) as web:
        alphastream_gpu.open(web.url(), config=Config(cache_dir=tmp_path)).close()
    assert len(files(tmp_path)) == n_files


def test_other_ways_of_validation_have_no_cache(tmp_path: Path) -> None:
    """Their replies may come from different versions."""
    with Server(SAMPLE.read_bytes()) as web:
        alphastream_gpu.open(web.url(), config=Config(cache_dir=tmp_path, http_validate="size")).close()
    assert not files(tmp_path)


@pytest.mark.slow
def test_a_server_that_ignores_ranges(tmp_path: Path) -> None:
    config = Config(cache_dir=tmp_path)
    with Server(LONG, script=lambda request: whole_file) as web:
        stream = alphastream_gpu.open(web.url(), config=config)
        assert len(list(stream.read_frames())) == 20_000
        stream.close()
    with alphastream_gpu.open(web.url(), config=Config(cache_dir=tmp_path, http_offline=True)) as stream:
        assert len(list(stream.read_frames())) == 20_000


# The server cannot be asked.


@pytest.mark.parametrize("answer", [503, 429])
def test_a_server_that_cannot_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: int) -> None:
    config = Config(cache_dir=tmp_path, http_retries=0)
    with Server(SAMPLE.read_bytes()) as web:
        alphastream_gpu.open(web.url(), config=config).close()
        web.script = lambda request: status(answer)
        with alphastream_gpu.open(web.url("/person.asvp?token=secret"), config=config) as stream:
            assert len(list(stream.read_frames())) == 120
    assert "played from the disk cache, because the server cannot be asked" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("answer", [401, 403, 404, 410, 416])
def test_a_server_that_says_no_is_obeyed(tmp_path: Path, answer: int) -> None:
    config = Config(cache_dir=tmp_path, http_retries=0)
    with Server(SAMPLE.read_bytes()) as web:
        alphastream_gpu.open(web.url(), config=config).close()
        web.script = lambda request: status(answer)
        with pytest.raises(TransportError, match=str(answer)):
            alphastream_gpu.open(web.url(), config=config)


@pytest.mark.slow
def test_a_server_that_hangs_at_opening(tmp_path: Path) -> None:
    """Half of init_timeout is left for the disk."""
    config = Config(cache_dir=tmp_path, init_timeout=1)

    async def never(web: Server, request: Request, wire: Any) -> None:
        await asyncio.sleep(3600)

    with Server(SAMPLE.read_bytes()) as web:
        alphastream_gpu.open(web.url(), config=config).close()
        web.script = lambda request: never
        with alphastream_gpu.open(web.url(), config=config) as stream:
            assert len(list(stream.read_frames())) == 120


@pytest.mark.slow
def test_a_sign_in_page_leaves_the_cache_alone(tmp_path: Path) -> None:
    config = Config(cache_dir=tmp_path)
    with Server(SAMPLE.read_bytes()) as web:
        alphastream_gpu.open(web.url(), config=config).close()
        web.script = lambda request: page(200, b"<!doctype html><title>Hotel</title>" + b" " * 100)
        with pytest.raises(alphastream_gpu.DecodeError, match="HTML page"):
            alphastream_gpu.open(web.url(), config=config)
    with alphastream_gpu.open(web.url(), config=config) as stream:
        assert len(list(stream.read_frames())) == 120


def test_a_server_that_comes_back_with_another_version(tmp_path: Path) -> None:
    """While the old one is played from the disk: its missing pages are not taken from the new one."""
    config = Config(cache_dir=tmp_path, http_retries=0)
    with Server(LONG) as web:
        alphastream_gpu.open(web.url(), config=config).close()
        web.script = lambda request: status(503)
        with alphastream_gpu.open(web.url(), config=config) as stream:
            stream.read_frame(0)
            web.script, web.etag = lambda request: None, '"v2"'
            with pytest.raises(TransportError, match="the file changed while open"):
                stream.read_frame(19_999)
            stream.read_frame(0)  # from the disk
    with pytest.raises(TransportError, match="connection"):
        alphastream_gpu.open(web.url(), config=config)


@pytest.mark.parametrize("fills", [False, True])
def test_a_change_that_a_later_read_meets_outdates_the_version(tmp_path: Path, fills: bool) -> None:
    """Also one that only filling meets; but not a sign-in page in place of the file."""
    config = Config(cache_dir=tmp_path, http_retries=0, prefetch_frames=0, prefetch="all" if fills else "ahead")
    offline = Config(cache_dir=tmp_path, http_offline=True)
    with Server(LONG) as web:
        web.script = lambda request: page(200, b"<!doctype html>") if request.range[0] else None
        with alphastream_gpu.open(web.url(), config=config) as stream:
            with pytest.raises(TransportError):
                stream.read_frame(19_999)
            with alphastream_gpu.open(web.url(), config=offline) as other:
                other.read_frame(0)
    with Server(LONG) as web:

        def changed(request: Request) -> None:
            web.etag = '"v2"' if request.range[0] else '"v1"'

        web.script = changed
        with alphastream_gpu.open(web.url(), config=config) as stream:
            if not fills:
                with pytest.raises(TransportError, match="the file changed while open"):
                    stream.read_frame(19_999)
            wait_until(lambda: Folder(str(tmp_path), 1 << 30).newest(key_of(web.url())) is None)
            stream.read_frame(0)
    with pytest.raises(TransportError, match="not in the disk cache"):
        alphastream_gpu.open(web.url(), config=offline)


def test_offline(tmp_path: Path) -> None:
    online, offline = Config(cache_dir=tmp_path), Config(cache_dir=tmp_path, http_offline=True)
    with Server(LONG) as web:
        with pytest.raises(TransportError, match="not in the disk cache"):
            alphastream_gpu.open(web.url(), config=offline)
        with alphastream_gpu.open(web.url(), config=online) as stream:
            stream.read_frame(0)
        n_requests = len(web.requests)
        with alphastream_gpu.open(lambda: web.url("/person.asvp?sign=1"), config=offline) as stream:
            stream.read_frame(0)
            assert stream.stats().requests == 0
            with pytest.raises(TransportError, match=r"page \d+ is not in the disk cache"):
                stream.read_frame(19_999)
        assert len(web.requests) == n_requests
    with pytest.raises(ValueError, match="http_offline: needs cache_dir"):
        alphastream_gpu.open(web.url(), config=Config(http_offline=True))

    def broken() -> str:
        raise RuntimeError("token=secret")

    with pytest.raises(TransportError, match="the URL callable failed: RuntimeError"):
        alphastream_gpu.open(broken, config=offline)


# The rest of the file.


@pytest.mark.slow
def test_the_rest_is_fetched_while_idle(tmp_path: Path) -> None:
    config = Config(cache_dir=tmp_path, prefetch="all")
    with Server(LONG) as web:
        with alphastream_gpu.open(web.url(), config=config) as stream:
            wait_until(lambda: web.body_bytes >= len(LONG))
            stream.read_frame(19_999)
        assert web.body_bytes < 1.1 * len(LONG) + 65536
    with alphastream_gpu.open(web.url(), config=Config(cache_dir=tmp_path, http_offline=True)) as stream:
        assert len(list(stream.read_frames())) == 20_000


@pytest.mark.slow
def test_filling_is_held_and_goes_on(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alphastream_gpu._sources.cache import fill

    monkeypatch.setattr(fill, "fill_bytes", lambda rate: PAGE_BYTES)

    async def play() -> None:
        source = cached(server, tmp_path, fills=True)
        await source.read(ByteRange(0, 10))
        while len(server.reads) < 4:
            await asyncio.sleep(0.001)
        source.is_held = True
        await asyncio.sleep(0.05)  # one may be under way
        n_reads = len(server.reads)
        await asyncio.sleep(0.2)
        assert len(server.reads) == n_reads < 15
        assert await source.read(ByteRange(190_000, 190_010)) == server.data[190_000:190_010]
        source.is_held = False
        assert source._filling is not None
        await asyncio.wait_for(source._filling, 20)
        await source.aclose()

    asyncio.run(play())
    assert run(server, tmp_path, is_offline=True) == [server.data]


@pytest.mark.slow
def test_a_pause_holds_back_the_rest(tmp_path: Path) -> None:
    """Also of a source that is loaded during the pause, through a loop of its own, and of mirrors."""
    config = Config(cache_dir=tmp_path, prefetch="all", prefetch_frames=0)
    with Server(LONG) as web, alphastream_gpu.AlphaStream(config=config) as stream:
        stream.pause()
        for source in (web.url(), web.url, [web.url()]):
            stream.load_source(source)
            n_bytes = web.body_bytes
            time.sleep(0.2)
            assert web.body_bytes == n_bytes <= 3 * 65536
        stream.resume()
        wait_until(lambda: web.body_bytes >= len(LONG))
        for is_held in (True, False):
            (stream.pause if is_held else stream.resume)()
            source = stream._lifetime.session.reader.source  # type: ignore[union-attr]
            assert isinstance(source, CachedSource)
            assert source.is_held == is_held


def test_filling_goes_on_after_failures(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alphastream_gpu._sources.cache import fill

    monkeypatch.setattr(fill, "_FIRST_PAUSE", 0.01)

    async def play() -> None:
        source = cached(server, tmp_path, fills=True)
        await source.read(ByteRange(0, 10))
        server.is_up = False
        await asyncio.sleep(0.1)
        server.is_up = True
        while not source._filling.done():  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
        await source.aclose()

    asyncio.run(play())
    assert run(server, tmp_path, is_offline=True) == [server.data]


def test_a_disk_that_forgets(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not keep is fetched once while idle, not again and again."""
    monkeypatch.setattr(Entry, "write", lambda *args: None)

    async def play() -> None:
        source = cached(server, tmp_path, fills=True)
        await source.read(ByteRange(0, 10))
        assert source._filling is not None
        await asyncio.wait_for(source._filling, 20)
        await source.aclose()

    asyncio.run(play())
    assert sum(map(len, server.reads)) <= 2 * server.length


def test_a_version_heard_of_late(server: FakeServer, tmp_path: Path) -> None:
    """A process with a slow disk notes the old version after another one noted the new version."""
    old, new = (Identity(key_of(URL), ("etag", f'"v{k}"'), 5) for k in range(2))
    folder = Folder(str(tmp_path), 1 << 30)
    now = time.time()
    for identity, asked_at in ((new, now - 1), (old, now - 2)):
        folder.outdate(identity.key, identity, asked_at)
        entry = folder.open(identity)
        assert entry is not None
        entry.stamp(asked_at)
        entry.close()
    assert folder.newest(old.key) == new
    folder.outdate(old.key, old, now)
    assert folder.newest(old.key) == old
    folder.outdate(old.key, None, now)
    assert folder.newest(old.key) is None


def test_that_a_version_is_old_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut must not bring it back. Nothing else waits for the disk."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    server = FakeServer()
    run(server, tmp_path)
    (old,) = files(tmp_path)
    assert synced == []
    server.version = 1
    run(server, tmp_path)
    assert synced == [old.stat().st_ino]


@pytest.mark.slow
def test_a_read_comes_before_filling(server: FakeServer, tmp_path: Path) -> None:
    """Nothing is fetched ahead while a read is under way."""

    async def play() -> None:
        source = cached(server, tmp_path, fills=True)
        read, source.inner.read = source.inner.read, None  # type: ignore[method-assign, assignment]
        held = asyncio.Event()

        async def slow(span: ByteRange) -> bytes | memoryview:
            if span.start >= 150_000:
                await held.wait()
            return await read(span)

        source.inner.read = slow  # type: ignore[method-assign]
        await source.read(ByteRange(0, 10))
        reading = asyncio.create_task(source.read(ByteRange(190_000, 190_010)))
        await asyncio.sleep(0)
        n_reads = len(server.reads)
        await asyncio.sleep(0.3)
        assert len(server.reads) <= n_reads + 1
        held.set()
        assert await reading == server.data[190_000:190_010]
        await source.aclose()

    asyncio.run(play())


# The disk.


@pytest.mark.parametrize("is_up", [True, False])
def test_a_first_read_that_is_cancelled_leaves_no_file_open(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_up: bool
) -> None:
    """The next read asks the server again, and opens the file again."""
    run(server, tmp_path)
    server.is_up = is_up
    opened: list[Entry] = []
    open_file = Folder.open

    def slowly(folder: Folder, identity: Identity) -> Entry | None:
        entry = open_file(folder, identity)
        assert entry is not None
        opened.append(entry)
        time.sleep(0.05)
        return entry

    monkeypatch.setattr(Folder, "open", slowly)

    async def play() -> None:
        source = cached(server, tmp_path)
        reading = asyncio.create_task(source.read(ByteRange(0, 10)))
        while not opened:
            await asyncio.sleep(0.001)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert await source.read(ByteRange(100_000, 100_010)) == server.data[100_000:100_010]
        assert opened[0]._to_read.closed
        assert opened[0]._to_write.closed
        await source.aclose()

    asyncio.run(play())
    assert len(opened) == 2
    assert all(entry._to_read.closed and entry._to_write.closed for entry in opened)


def test_nobody_else_can_read_it(server: FakeServer, tmp_path: Path) -> None:
    run(server, tmp_path / "new" / "cache")
    (path,) = files(tmp_path)
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_no_secret_is_on_the_disk(tmp_path: Path) -> None:
    with Server(SAMPLE.read_bytes()) as web:
        url = web.url("/person.asvp?token=QUERYSECRET").replace("//", "//user:USERSECRET@")
        headers = {"Authorization": "HEADERSECRET"}
        alphastream_gpu.open(url, config=Config(cache_dir=tmp_path), headers=headers).close()
    (path,) = files(tmp_path)
    assert b"SECRET" not in path.read_bytes()
    assert "SECRET" not in str(path)
    assert b"person" not in path.read_bytes()[:HEAD_BYTES]


def _fails(server: FakeServer, folder: Path, caplog: pytest.LogCaptureFixture) -> str:
    """Read twice with a cache that cannot be used. Returns what is logged."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "alphastream_gpu"):
        assert run(server, folder, [*ALL, ByteRange(5, 9)]) == [server.data, server.data[5:9]]
    assert len(caplog.records) == 1, caplog.text
    return caplog.text


@posix
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o722])
def test_a_folder_that_others_may_write(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    (tmp_path / "alphastream-1").mkdir()
    (tmp_path / "alphastream-1").chmod(mode)
    assert "not used any more: expected a folder 'alphastream-1'" in _fails(server, tmp_path, caplog)


@posix
def test_a_folder_of_somebody_else(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    assert "belongs to this user alone" in _fails(server, tmp_path, caplog)


@posix
def test_a_link_in_place_of_the_folder(server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "alphastream-1").symlink_to(tmp_path / "elsewhere")
    assert "belongs to this user alone" in _fails(server, tmp_path, caplog)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_file_in_place_of_the_folder(server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("mine")
    _fails(server, tmp_path / "file", caplog)
    assert (tmp_path / "file").read_text() == "mine"


@posix
@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "shared"])
def test_something_else_in_place_of_a_file(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    run(server, tmp_path)
    (path,) = files(tmp_path)
    path.unlink()
    precious = tmp_path / "precious"
    precious.write_text("mine")
    match kind:
        case "link":
            path.symlink_to(precious)
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case _:
            path.touch()
            path.chmod(0o666)
    _fails(server, tmp_path, caplog)
    assert precious.read_text() == "mine"


def test_what_is_not_the_caches_is_never_removed(server: FakeServer, tmp_path: Path) -> None:
    folder = tmp_path / "alphastream-1"
    run(server, tmp_path)
    for name in ("notes.txt", "0" * 32 + ".pages"):
        (folder / name).write_bytes(bytes(3_000_000))
    (tmp_path / "film.mp4").write_bytes(bytes(3_000_000))
    run(FakeServer(version=9), tmp_path, limit=1 << 18)
    assert (folder / "notes.txt").exists()
    assert (tmp_path / "film.mp4").exists()
    assert (folder / ("0" * 32 + ".pages")).exists()


def test_a_full_disk(server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: Any) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Entry, "write", full)
    assert "No space left on device" in _fails(server, tmp_path, caplog)


def test_a_disk_that_hangs(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_disk, "_DISK_SECONDS", 0.1)
    monkeypatch.setattr(Entry, "read", lambda *args: time.sleep(1))
    assert "no answer" in _fails(server, tmp_path, caplog) or "TimeoutError" in caplog.text


def test_the_least_recently_used_files_make_room(tmp_path: Path) -> None:
    """Each takes some 200 KB on the disk."""
    servers = [FakeServer(version=version) for version in range(5)]
    for server in servers[:3]:
        run(server, tmp_path, limit=1 << 30)
        time.sleep(0.02)
    names = {path.name: path for path in files(tmp_path)}
    run(servers[0], tmp_path)  # used again
    identities = [Identity(key_of(URL), ("etag", f'"v{one.version}"'), one.length) for one in servers]
    time.sleep(0.02)
    run(servers[3], tmp_path, limit=700_000)
    left = {path.name for path in files(tmp_path)}
    assert len(names) == 3
    assert identities[0].name in left
    assert identities[3].name in left
    assert identities[1].name not in left


def test_a_file_over_the_limit_is_not_cached(server: FakeServer, tmp_path: Path) -> None:
    server.length = 2_000_000
    assert run(server, tmp_path, [ByteRange(1_000_000, 1_000_009)], limit=1 << 20) == [server.data[1_000_000:1_000_009]]
    assert not files(tmp_path)


@posix
def test_a_file_that_is_removed_while_open(server: FakeServer, tmp_path: Path) -> None:
    server.length = 3_000_000

    async def play() -> None:
        source = cached(server, tmp_path, limit=4 << 20)
        for at in range(0, 3_000_000, 100_000):
            assert await source.read(ByteRange(at, at + 100_000)) == server.data[at : at + 100_000]
            if at == 1_000_000:
                files(tmp_path)[0].unlink()
        await source.aclose()

    asyncio.run(play())
    assert run(server, tmp_path, [ByteRange(0, 3_000_000)]) == [server.data]


# Crashes.


class Recorded(io.FileIO):
    """A file that notes what is written to it."""

    log: list[tuple[int, bytes]]

    def write(self, data: Any) -> int:
        self.log.append((self.tell(), bytes(data)))
        return super().write(data)


SECTOR = 512


@pytest.fixture(scope="module")
def writes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, bytes]]:
    """All that a process writes to a file of the cache that another version and a torn copy were written to before."""
    folder = tmp_path_factory.mktemp("writes")
    log: list[tuple[int, bytes]] = []

    def recording(path: Path, flags: int) -> io.FileIO:
        file = Recorded(os.open(path, flags, 0o600), "rb+" if flags else "rb")
        file.log = log
        return file

    server = FakeServer(length=60_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_entry, "open_private", recording)
        asyncio.run(read_once(server, folder, [ByteRange(0, 60_000)]))
        server.length = 100_000
    assert len(log) > 2
    return log


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_power_cut(writes: list[tuple[int, bytes]], tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    """
    After a power cut, each sector of each write is on the disk or not, in any order. No wrong byte is read, and what is
    missing is fetched again.
    """
    server = FakeServer(length=60_000)
    identity = Identity(key_of(URL), ("etag", '"v0"'), 60_000)
    other = Identity(key_of(URL), ("etag", '"v9"'), 60_000)
    image = bytearray(place_of(identity.n_pages))
    if data.draw(st.booleans(), "an older file in the same blocks"):
        folder = tmp_path_factory.mktemp("other")
        old = Entry(folder / other.name, other)
        old.write(0, content(9, 60_000))
        old.close()
        image[:] = (folder / other.name).read_bytes().ljust(len(image), b"\0")[: len(image)]
    arrived = data.draw(st.sampled_from([0.02, 0.5, 0.98]), "share of sectors")
    chance = data.draw(st.randoms(use_true_random=False))
    for offset, written in writes:
        for at in range(0, len(written), SECTOR):
            if chance.random() < arrived:
                image[offset + at : offset + at + SECTOR] = written[at : at + SECTOR]
    length = data.draw(st.one_of(st.just(len(image)), st.integers(0, len(image))), "length of the file")
    folder = tmp_path_factory.mktemp("cut")
    (folder / "alphastream-1").mkdir(mode=0o700)
    (folder / "alphastream-1" / identity.name).write_bytes(image[:length])
    (folder / "alphastream-1" / identity.name).chmod(0o600)
    server.is_up = False  # what is there must be right also if nobody can be asked
    for number, found in enumerate(run(server, folder, [ByteRange(k, k + 100) for k in range(0, 60_000, 5_000)])):
        assert isinstance(found, str) or found == server.data[5_000 * number : 5_000 * number + 100]
    server.is_up = True
    assert run(server, folder, [ByteRange(0, 60_000)]) == [server.data]
    server.reads.clear()
    assert run(server, folder, [ByteRange(0, 60_000)]) == [server.data]
    assert server.reads == [ByteRange(0, 60_000)] or server.reads == [ByteRange(0, 65536)]


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_writes(server: FakeServer, tmp_path: Path) -> None:
    server.length = 4_000_000
    for seconds in (0.0, 0.005, 0.02, 0.05):
        with contextlib.closing(_killed(server, tmp_path, seconds)):
            pass
        assert run(server, tmp_path, [ByteRange(0, 4_000_000)], limit=8 << 20) == [server.data]


def _killed(server: FakeServer, folder: Path, seconds: float) -> Any:
    with peer() as other:
        other.read(FakeServer(version=7, length=5), folder, [ByteRange(0, 5)], 8 << 20)  # it runs
        server.version += 1
        spans = [ByteRange(at, at + 50_000) for at in range(0, 4_000_000, 50_000)]
        other.begin(server, folder, spans, 8 << 20)
        time.sleep(seconds)
        other._process.kill()
        return other


# Forks, closes, and whose loop it runs on.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork(tmp_path: Path) -> None:
    """The child cannot use its parent's source, and opens its own one in the same cache."""
    script = f"""
import asyncio, os, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from cachemodel import ByteRange, FakeServer, cached, read_once
from alphastream_gpu import ClosedError
server, folder = FakeServer(), Path({str(tmp_path)!r})
source = cached(server, folder)
loop = asyncio.new_event_loop()
assert bytes(loop.run_until_complete(source.read(ByteRange(0, 9)))) == server.data[:9]
child = os.fork()
if child == 0:
    try:
        asyncio.run(source.read(ByteRange(5, 9)))
    except ClosedError as exc:
        assert "before a fork" in str(exc)
    asyncio.run(source.aclose())
    assert asyncio.run(read_once(server, folder, [ByteRange(0, 200_000)])) == [server.data]
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert bytes(loop.run_until_complete(source.read(ByteRange(0, 200_000)))) == server.data
loop.run_until_complete(source.aclose())
loop.close()
print("good")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "good\n", done.stderr


def test_closing_writes_what_was_read(server: FakeServer, tmp_path: Path) -> None:
    server.length = 5_000_000
    whole = [ByteRange(0, 5_000_000)]
    run(server, tmp_path, whole)
    assert run(server, tmp_path, whole, is_offline=True) == [server.data]


def test_nothing_stays_open(server: FakeServer, tmp_path: Path) -> None:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        run(server, tmp_path, fills=True)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_closing_before_the_first_read_and_twice(server: FakeServer, tmp_path: Path) -> None:
    async def play() -> None:
        source = cached(server, tmp_path)
        await source.aclose()
        await source.aclose()
        with pytest.raises(ClosedError):
            await source.read(ByteRange(0, 1))

    asyncio.run(play())


def test_a_client_of_the_caller(tmp_path: Path) -> None:
    """Its requests run on a loop of their own, with the cache."""
    threads = []

    class Transport(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            threads.append(threading.current_thread().name)
            return await super().handle_async_request(request)

    with Server(LONG) as web:
        for _ in range(2):
            with alphastream_gpu.open(
                web.url(), config=Config(cache_dir=tmp_path), client=lambda: httpx.AsyncClient(transport=Transport())
            ) as stream:
                stream.read_frame(19_999)
        assert set(threads) == {"alphastream-source"}
        assert len(threads) == 3  # the last frame comes from the disk the second time
    assert files(tmp_path)


def test_reprs_and_counts(server: FakeServer, tmp_path: Path) -> None:
    source = asyncio.run(open_source("http://user:secret@example.org/a.asvp?q", Config(cache_dir=tmp_path)))
    assert repr(source) == "<CachedSource of <HttpSource 'http://example.org/a.asvp' ? bytes>>"
    assert (source.name, source.length, source.requests, source.bytes_received) == ("a.asvp", None, 0, 0)
    assert (source.last_failure, source.next_attempt_at, source.reply_summary) == (None, None, "")
    assert isinstance(source, CachedSource)
    assert isinstance(source.inner, HttpSource)
