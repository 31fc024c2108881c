"""
The client that sources share: connections, its end, and replies to the wrong source.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import Any

import pytest
from badserver import Server, promise, twice
from support import SAMPLE

import alphastream_gpu
from alphastream_gpu import ByteRange, HttpSource
from alphastream_gpu._sources.http import pool

DATA = SAMPLE.read_bytes()


def _clients(*sources: HttpSource) -> list[Any]:
    return [source._client for source in sources]


def _read(*sources: HttpSource) -> list[Any]:
    """Read all sources one after the other, and return their clients."""

    async def read() -> list[Any]:
        for source in sources:
            assert await source.read(ByteRange(0, 100)) == DATA[:100]
        clients = _clients(*sources)
        for source in sources[:-1]:
            await source.aclose()
        assert not clients[-1].is_closed
        assert await sources[-1].read(ByteRange(100, 200)) == DATA[100:200]
        await sources[-1].aclose()
        return clients

    return asyncio.run(read())


def test_sources_share_a_client_and_a_connection() -> None:
    with Server(DATA) as server:
        clients = _read(*(HttpSource(server.url()) for _ in range(5)))
        assert len(set(map(id, clients))) == 1
        assert clients[0].is_closed
        assert len(server._writers) == 1
    assert not pool._registry.clients


@pytest.mark.parametrize("options", [{"timeout": 5.0}, {"http2": True}])
def test_other_settings_have_another_client(options: Any) -> None:
    with Server(DATA) as server:
        assert len(set(map(id, _read(HttpSource(server.url()), HttpSource(server.url(), **options))))) == 2


def test_another_environment_has_another_client(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(server: Server) -> list[Any]:
        async with AsyncExitStack() as stack:
            sources = []
            for no_proxy in ("*", "127.0.0.1"):
                monkeypatch.setenv("NO_PROXY", no_proxy)
                sources.append(HttpSource(server.url()))
                stack.push_async_callback(sources[-1].aclose)
                await sources[-1].read(ByteRange(0, 9))
            return _clients(*sources)

    with Server(DATA) as server:
        assert len(set(map(id, asyncio.run(read(server))))) == 2


def test_streams_share_connections() -> None:
    with Server(DATA) as server:
        streams = [alphastream_gpu.open(server.url()) for _ in range(4)]
        for stream in streams:
            stream.read_frame(5)
        for stream in streams:
            stream.close()
        assert len(server._writers) == 1
    assert not pool._registry.clients


def test_each_source_counts_its_own_requests() -> None:
    async def read(server: Server) -> None:
        one, two = HttpSource(server.url()), HttpSource(server.url())
        await one.read(ByteRange(0, 100))
        await one.read(ByteRange(0, 100))
        await two.read(ByteRange(0, 10))
        assert (one.requests, two.requests) == (2, 1)
        assert (one.bytes_received, two.bytes_received) == (200, 10)
        await one.aclose()
        await two.aclose()

    with Server(DATA) as server:
        asyncio.run(read(server))


def test_headers_of_one_source_are_not_sent_by_another() -> None:
    async def read(server: Server) -> None:
        one = HttpSource(server.url(), headers={"Authorization": "secret"})
        two = HttpSource(server.url())
        for source in (one, two, one):
            await source.read(ByteRange(0, 10))
        await one.aclose()
        await two.aclose()

    with Server(DATA) as server:
        asyncio.run(read(server))
        assert ["authorization" in request.headers for request in server.requests] == [True, False, True]


@pytest.mark.parametrize("etag", ['"v1"', None])
def test_a_second_reply_does_not_reach_another_source(etag: str | None) -> None:
    """Two files of the same length on a server that replies twice to the first request."""
    other = DATA[::-1]

    async def as_asked(server: Server, request: Any, wire: Any) -> None:
        server.data = other if request.target.startswith("/b") else DATA
        server.etag = etag and (etag if server.data is DATA else '"b"')
        await wire.body(await promise(server, request, wire))

    async def read(server: Server) -> None:
        one, two = HttpSource(server.url("/a")), HttpSource(server.url("/b"), backoff=1)
        assert await one.read(ByteRange(0, 500)) == DATA[:500]
        assert await two.read(ByteRange(0, 500)) == other[:500]
        await one.aclose()
        await two.aclose()

    with Server(DATA, script=lambda request: as_asked if request.number else twice, etag=etag) as server:
        asyncio.run(read(server))


@pytest.mark.slow
def test_a_source_that_is_dropped_keeps_no_client() -> None:
    script = f"""
import asyncio, gc, sys, warnings
sys.path.insert(0, "tests")
from badserver import Server
from alphastream_gpu import ByteRange, HttpSource
from alphastream_gpu._sources.http import pool
warnings.simplefilter("ignore")
async def read(server):
    await HttpSource(server.url()).read(ByteRange(0, 9))
with Server({DATA[:100]!r}) as server:
    asyncio.run(read(server))
    gc.collect()
    print(len(pool._registry.clients))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "0\n", done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_has_clients_of_its_own() -> None:
    script = f"""
import asyncio, os, sys
sys.path.insert(0, "tests")
from badserver import Server
from alphastream_gpu import ByteRange, HttpSource
from alphastream_gpu._sources.http import pool
data = {DATA[:100]!r}
async def read(url):
    source = HttpSource(url)
    found = await source.read(ByteRange(0, 100))
    await source.aclose()
    return found
with Server(data) as server:
    loop = asyncio.new_event_loop()
    source = HttpSource(server.url())
    loop.run_until_complete(source.read(ByteRange(0, 9)))
    child = os.fork()
    if child == 0:
        good = not pool._registry.clients and asyncio.run(read(server.url())) == data
        os._exit(not good)
    assert os.waitpid(child, 0)[1] == 0
    assert loop.run_until_complete(source.read(ByteRange(0, 100))) == data
    loop.run_until_complete(source.aclose())
    loop.close()
    print(len(server._writers))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "2\n", done.stderr
