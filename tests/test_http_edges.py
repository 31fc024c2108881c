"""
HTTP sources on a scripted transport: what no server has to be made for.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from badserver import Server

from alphastream_gpu import ByteRange, ClosedError, FrameTimeoutError, HttpSource, TransportError
from alphastream_gpu._sources._base import SilentServerError

DATA = bytes(range(200))
Handler = Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]


def well(request: httpx.Request, data: bytes = DATA) -> httpx.Response:
    first, last = map(int, request.headers["range"].removeprefix("bytes=").split("-"))
    part = data[first : last + 1]
    content_range = f"bytes {first}-{first + len(part) - 1}/{len(data)}"
    return httpx.Response(206, headers={"Content-Range": content_range}, stream=httpx.ByteStream(part))


def read(url: Any, *spans: tuple[int, int], handler: Handler = well, **options: Any) -> list[bytes]:
    async def run() -> list[bytes]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            source = HttpSource(url, client=client, **{"backoff": 0.0, **options})
            try:
                return [await source.read(ByteRange(*span)) for span in spans]
            finally:
                await source.aclose()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", 0),
        ("timeout", float("nan")),
        ("deadline", 3601),
        ("retries", -1),
        ("retries", 2.5),
        ("backoff", -0.1),
        ("chunk", 0),
        ("chunk", 1000.5),
        ("concurrency", 0),
        ("whole_file_cap", -1),
    ],
)
def test_an_option_out_of_its_range(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: expected .*\.\..*, found {value}$"):
        HttpSource("http://host/x", **{name: value})


def test_a_failed_attempt_keeps_nothing_for_the_garbage_collector() -> None:
    """What a hostile server sent for it, say: attempts would add up."""

    class Received:
        pass

    kept = []

    def fail(request: httpx.Request) -> httpx.Response:
        assert not any(one() for one in kept), "of the attempt before"
        received = Received()
        kept.append(weakref.ref(received))
        error = httpx.ReadError("it broke off", request=request)
        raise error  # whose frame has it, too: a cycle

    gc.disable()
    try:
        with pytest.raises(TransportError, match="it broke off"):
            read("http://host/x", (0, 9), handler=fail, retries=3)
    finally:
        gc.enable()
    assert len(kept) == 4


async def _hang(request: httpx.Request) -> httpx.Response:
    if "bytes=0-" not in request.headers["range"]:
        await asyncio.sleep(3600)
    return well(request)


def _busy(request: httpx.Request) -> httpx.Response:
    return well(request) if "bytes=0-" in request.headers["range"] else httpx.Response(503)


@pytest.mark.parametrize(
    ("handler", "kind"), [(_hang, SilentServerError), (_busy, FrameTimeoutError)], ids=["silent", "answers"]
)
def test_a_silent_server_is_told_from_a_busy_one(handler: Handler, kind: type[Exception]) -> None:
    with pytest.raises(FrameTimeoutError) as caught:
        read("http://host/x", (0, 9), (20, 30), handler=handler, deadline=0.2, retries=10, backoff=0.001)
    assert type(caught.value) is kind


def test_http2_is_true_or_false() -> None:
    with pytest.raises(ValueError, match=r"^http2: expected False or True, found 'no'$"):
        HttpSource("http://host/x", http2="no")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://host?a=%2F", b"/?a=%2F"),
        ("http://host", b"/"),
        ("http://host/a%2fb?x=1#part", b"/a%2fb?x=1"),
        ("http://host/gr\u00fcn.asvp", None),  # left to httpx, which escapes it
        ("http://host/a b", None),
    ],
)
def test_the_target_goes_out_as_it_was_given(url: str, target: bytes | None) -> None:
    targets = []

    def handler(request: httpx.Request) -> httpx.Response:
        targets.append(request.extensions.get("target"))
        return well(request)

    assert read(url, (3, 9), handler=handler) == [DATA[3:9]]
    assert targets == [target]


def test_a_whole_file_of_another_length_is_another_file() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.headers["range"].startswith("bytes=0-"):
            return well(request)
        return httpx.Response(200, headers={"Content-Length": "150"}, stream=httpx.ByteStream(DATA[:150]))

    with pytest.raises(TransportError, match="the file changed while open: expected 200 bytes, found 150"):
        read("http://host/x", (0, 9), (9, 20), handler=handler)


def test_a_fault_of_the_transports_own_is_not_taken_for_the_servers() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="^a bug$"):
        read("http://host/x", (0, 9), handler=handler)


def test_a_source_that_is_closed_while_its_url_is_asked_for() -> None:
    async def run() -> None:
        async def sign() -> str:
            await source.aclose()
            return "http://host/x"

        source = HttpSource(sign)
        with pytest.raises(ClosedError, match="the source is closed"):
            await source.read(ByteRange(0, 9))

    asyncio.run(run())


def test_a_callable_that_gives_no_url_in_time() -> None:
    async def never() -> str:
        await asyncio.sleep(60)
        return "http://host/x"

    def refuse() -> str:
        raise FrameTimeoutError("the signer's own")

    with pytest.raises(FrameTimeoutError, match=r"^the URL: bytes 0\.\.8 not read within 0\.05 s$"):
        read(never, (0, 9), deadline=0.05)
    with pytest.raises(FrameTimeoutError, match="^the signer's own$"):
        read(refuse, (0, 9))


def test_an_address_that_is_signed_anew_while_another_request_is_under_way() -> None:
    """The first request ends well on an address that is given up meanwhile; it must not come back into use."""

    async def run() -> None:
        signed = iter(range(9))
        gate = asyncio.Event()
        asked = []

        async def handler(request: httpx.Request) -> httpx.Response:
            asked.append(request.url.path)
            if len(asked) == 2:
                await gate.wait()
                return well(request)
            if len(asked) == 3:
                return httpx.Response(403)
            return well(request)

        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            source = HttpSource(lambda: f"http://host/{next(signed)}", client=client)
            await source.read(ByteRange(0, 2))
            slow = asyncio.ensure_future(source.read(ByteRange(0, 9)))
            while len(asked) < 2:
                await asyncio.sleep(0)
            assert await source.read(ByteRange(9, 20)) == DATA[9:20]
            gate.set()
            assert await slow == DATA[:9]
            assert await source.read(ByteRange(20, 30)) == DATA[20:30]
            assert asked == ["/0", "/0", "/0", "/1", "/1"]

    asyncio.run(run())


def test_a_server_of_the_tests_that_ends_while_clients_come_leaves_nothing_open() -> None:
    """What it left open, a later test would be blamed for."""
    for _ in range(20):
        with Server(DATA) as server:
            clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
        for client in clients:
            client.close()
    gc.collect()
