"""
HTTP sources on a scripted transport: cases that need no server.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import badserver
import httpx
import pytest
from badserver import Server

import alphastream_gpu
from alphastream_gpu import (
    ByteRange,
    ClosedError,
    FrameTimeoutError,
    HttpSource,
    TransportError,
    __version__,
)
from alphastream_gpu._sources.base import SilentServerError
from alphastream_gpu._sources.http import client as own_client

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
    with pytest.raises(ValueError, match=rf"^{name}: expected .*\.\..* \w+, found {value}$"):
        HttpSource("http://host/x", **{name: value})


def test_a_failed_attempt_keeps_nothing_for_the_garbage_collector() -> None:
    """Otherwise the data of a hostile server would add up with each attempt."""

    class Received:
        pass

    kept = []

    def fail(request: httpx.Request) -> httpx.Response:
        assert not any(one() for one in kept), "an object of an earlier attempt is still alive"
        received = Received()
        kept.append(weakref.ref(received))
        error = httpx.ReadError("it broke off", request=request)
        raise error  # its traceback has this frame, which refers to it: a cycle

    gc.disable()
    try:
        with pytest.raises(TransportError, match=r"ReadError at test_http_edges\.py:\d+$"):
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handler", "kind"), [(_hang, SilentServerError), (_busy, FrameTimeoutError)], ids=["silent", "answers"]
)
def test_a_silent_server_raises_another_error_than_a_busy_one(handler: Handler, kind: type[Exception]) -> None:
    with pytest.raises(FrameTimeoutError) as caught:
        read("http://host/x", (0, 9), (20, 30), handler=handler, deadline=1, retries=10, backoff=1)
    assert type(caught.value) is kind


def test_http2_must_be_a_bool() -> None:
    with pytest.raises(ValueError, match=r"^http2: expected False or True, found 'no'$"):
        HttpSource("http://host/x", http2="no")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://host?a=%2F", b"/?a=%2F"),
        ("http://host", b"/"),
        ("http://host/a%2fb?x=1#part", b"/a%2fb?x=1"),
        ("http://host/a/../b/./c?d=/../e", b"/a/../b/./c?d=/../e"),
        (
            "http://host/gr\u00fcn.asvp",
            b"/gr%C3%BCn.asvp",
        ),  # httpx escapes characters that a request line must not contain
        ("http://host/a b", b"/a%20b"),
    ],
)
def test_the_target_is_sent_unchanged(url: str, target: bytes) -> None:
    targets = []

    def handler(request: httpx.Request) -> httpx.Response:
        assert "target" not in request.extensions, "a proxy would see it"
        targets.append(request.url.raw_path)
        return well(request)

    assert read(url, (3, 9), handler=handler) == [DATA[3:9]]
    assert targets == [target]


@pytest.mark.parametrize("target", ["/there?", "/a/../there?sig=%2F%2f", "/there;?x", "/a//b?c=d?e"])
def test_the_target_of_an_absolute_redirect_is_sent_unchanged(target: str) -> None:
    targets = []

    def handler(request: httpx.Request) -> httpx.Response:
        targets.append(request.url.raw_path)
        return well(request) if len(targets) > 1 else httpx.Response(302, headers={"Location": f"http://host{target}"})

    assert read("http://host/x", (3, 9), handler=handler) == [DATA[3:9]]
    assert targets == [b"/x", target.encode()]


def test_a_whole_file_of_another_length_is_another_file() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.headers["range"].startswith("bytes=0-"):
            return well(request)
        return httpx.Response(200, headers={"Content-Length": "150"}, stream=httpx.ByteStream(DATA[:150]))

    with pytest.raises(TransportError, match="the file changed while open: expected 200 bytes, found 150"):
        read("http://host/x", (0, 9), (9, 20), handler=handler)


def test_a_bug_of_a_transport_has_its_place() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise RuntimeError("a bug")

    with pytest.raises(
        TransportError, match=r"^http://host/x: the given client failed: RuntimeError at test_http_edges\.py:\d+$"
    ):
        read("http://host/x", (0, 9), handler=handler)


def test_a_source_that_is_closed_during_its_url_callable() -> None:
    async def run() -> None:
        async def sign() -> str:
            await source.aclose()
            return "http://host/x"

        source = HttpSource(sign)
        with pytest.raises(ClosedError, match="the source is closed"):
            await source.read(ByteRange(0, 9))

    asyncio.run(run())


@pytest.mark.slow
def test_a_url_callable_that_takes_too_long() -> None:
    async def never() -> str:
        await asyncio.sleep(60)
        return "http://host/x"

    def refuse() -> str:
        raise FrameTimeoutError("raised by the signer")

    with pytest.raises(FrameTimeoutError, match=r"^the URL: bytes 0\.\.8 not read within 1 s$"):
        read(never, (0, 9), deadline=1)
    with pytest.raises(
        FrameTimeoutError, match=r"^the URL callable failed: FrameTimeoutError at test_http_edges\.py:\d+$"
    ):
        read(refuse, (0, 9))


def test_an_address_that_expires_during_another_request_is_not_used_again() -> None:
    """A request succeeds on an address that has expired meanwhile. The address must not be remembered again."""

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


@pytest.mark.slow
def test_the_test_server_closes_all_connections_when_it_ends() -> None:
    """An open connection would make a later test fail."""
    for _ in range(20):
        with Server(DATA) as server:
            clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
        for client in clients:
            client.close()
    gc.collect()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://host/a\nb", r"expected no control characters, found U\+000A at character 13"),
        ("http://host/a\r\nX: y", r"found U\+000D at character 13"),
        ("http://host/?a=\x00", r"found U\+0000"),
        ("http://host/#\x1b[2J", r"found U\+001B"),
        ("http://host/\ud800", r"found U\+D800"),
        ("http://host/" + "a" * 65_525, "expected at most 65536 characters, found 65537"),
        ("http://host\\/x", "malformed host or port"),
        ("http://ho st/x", "malformed host or port"),
        ("http://[::1::2]/x", "malformed host or port"),
        ("http://host:65536/", "malformed host or port"),
        ("http:///x", "found no host"),
        (" http://host/", "expected http://host/... or https://host/..., found no scheme"),
        ("ws://host/", "found the scheme 'ws'"),
    ],
)
def test_an_invalid_url_is_a_value_error(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^URL: .*{message}"):
        HttpSource(url)


@pytest.mark.parametrize("url", ["http://xn--/x", "http://a..b/x", f"http://{'a' * 64}.test/x", "http://1.2.3.400/x"])
def test_an_invalid_host(url: str) -> None:
    """Found at the first request. A ValueError if the caller gave the URL, and a TransportError if a callable did."""
    with pytest.raises(ValueError, match="^URL: malformed host or port$"):
        alphastream_gpu.open(url)
    with pytest.raises(TransportError, match="the URL has a malformed host or port"):
        alphastream_gpu.open(lambda: url)


def test_a_long_url_is_sent() -> None:
    path = "/" + "a" * 60_000
    targets = []

    def handler(request: httpx.Request) -> httpx.Response:
        targets.append(request.url.raw_path)
        return httpx.Response(404)

    with pytest.raises(TransportError) as caught:
        read("http://host" + path, (0, 9), handler=handler)
    assert targets == [path.encode()]
    assert len(str(caught.value)) < 700


def test_an_ipv6_address_is_shown_in_brackets() -> None:
    source = HttpSource("http://user:pw@[::1]:9/x.asvp?a=b", retries=0)
    assert repr(source) == "<HttpSource 'http://[::1]:9/x.asvp' ? bytes>"
    with pytest.raises(TransportError, match=r"^http://\[::1\]:9/x\.asvp: "):
        asyncio.run(source.read(ByteRange(0, 9)))
    assert repr(HttpSource("https://[fe80::1%25eth0]/x")) == "<HttpSource 'https://[fe80::1%25eth0]/x' ? bytes>"


def test_a_shown_path_has_no_control_characters() -> None:
    assert (
        repr(HttpSource("http://host/gr\u00fcn\u202e.asvp"))
        == r"<HttpSource 'http://host/gr\\xfcn\\u202e.asvp' ? bytes>"
    )


def test_the_user_agent() -> None:
    """It is the library's, or that of the caller's headers or client. Another origin always gets the library's."""
    agents: list[tuple[str, str | None]] = []

    async def elsewhere(server: Server, request: badserver.Request, wire: badserver.Wire) -> None:
        agents.append((request.target, request.headers.get("user-agent")))
        if request.target == "/x":
            await wire.head(302, Location=other.url("/there"), Content_Length=0)
        else:
            await badserver.well(server, request, wire)

    own = f"alphastream_gpu/{__version__}"
    with Server(DATA, lambda request: elsewhere) as server, Server(DATA, lambda request: elsewhere) as other:
        for options, first in (
            ({}, own),
            ({"headers": {"user-agent": "mine/1"}}, "mine/1"),
            ({"client": lambda: httpx.AsyncClient(headers={"User-Agent": "yours/2"})}, "yours/2"),
        ):
            agents.clear()
            asyncio.run(_read_once(server.url("/x"), **options))
            assert agents == [("/x", first), ("/there", own)]


async def _read_once(url: Any, **options: Any) -> bytes:
    source = HttpSource(url, **{"backoff": 0.0, **options})
    try:
        return await source.read(ByteRange(0, 9))
    finally:
        await source.aclose()


def test_making_a_client_does_not_block_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making a client takes 20 ms, in which no other stream could read frames."""
    made_by: list[threading.Thread] = []
    make = own_client.make_client

    def slow(**options: Any) -> httpx.AsyncClient:
        made_by.append(threading.current_thread())
        time.sleep(0.2)
        return make(**options)

    monkeypatch.setattr(own_client, "make_client", slow)

    async def run() -> None:
        source = HttpSource(server.url())
        reads = asyncio.gather(*(source.read(ByteRange(k, k + 9)) for k in range(5)))
        beats = 0
        while not reads.done():
            beats += 1
            await asyncio.sleep(0.01)
        assert beats > 5
        assert await reads == [DATA[k : k + 9] for k in range(5)]
        await source.aclose()

    with Server(DATA) as server:
        asyncio.run(run())
    assert len(made_by) == 1
    assert made_by[0] is not threading.current_thread()


@pytest.mark.slow
def test_nothing_is_imported_on_the_event_loop() -> None:
    """The imports for the first read over HTTP of a process take 150 ms."""
    script = """
import asyncio, sys, threading
from alphastream_gpu import ByteRange, HttpSource

late = set()

def hook(event, arguments):
    if event == "import" and threading.current_thread() is threading.main_thread():
        late.add(arguments[0].partition(".")[0])

async def read():
    source = HttpSource(sys.argv[1])
    await source.read(ByteRange(0, 9))
    await source.aclose()

sys.addaudithook(hook)
asyncio.run(read())
print(sorted(late & {"anyio", "h11", "httpcore", "httpx", "ssl", "certifi"}))
"""
    with Server(DATA) as server:
        done = subprocess.run([sys.executable, "-c", script, server.url()], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_source_that_is_closed_while_its_client_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, goes_on = threading.Event(), threading.Event()
    clients: list[httpx.AsyncClient] = []

    def make() -> httpx.AsyncClient:
        begun.set()
        goes_on.wait(30)
        clients.append(httpx.AsyncClient())
        return clients[0]

    async def run() -> None:
        source = HttpSource("http://127.0.0.1:9/x", client=make)
        reading = asyncio.ensure_future(source.read(ByteRange(0, 9)))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        await source.aclose()
        goes_on.set()
        with pytest.raises(ClosedError):
            await reading

    asyncio.run(run())
    assert clients[0].is_closed


def test_only_a_client_of_a_callable_is_closed() -> None:
    async def run() -> None:
        made: list[httpx.AsyncClient] = []

        def make() -> httpx.AsyncClient:
            made.append(httpx.AsyncClient(transport=httpx.MockTransport(well)))
            return made[-1]

        await _read_once("http://host/x", client=make)
        assert made[0].is_closed
        client = make()
        await _read_once("http://host/x", client=client)
        assert not client.is_closed
        await client.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("client", [5, "client", httpx.Client()])
def test_an_invalid_client(client: Any) -> None:
    with pytest.raises(TypeError, match="client: expected an httpx.AsyncClient or a callable that makes one, found"):
        HttpSource("http://host/x", client=client)
    with pytest.raises(TransportError, match="client: expected the callable to return an httpx.AsyncClient, found a "):
        alphastream_gpu.open("http://host/x", client=lambda: client)


def test_a_url_callable_does_not_block_the_event_loop() -> None:
    called_by: list[threading.Thread] = []

    def sign() -> str:
        called_by.append(threading.current_thread())
        time.sleep(0.2)
        return "http://host/x"

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(well)) as client:
            source = HttpSource(sign, client=client)
            reading = asyncio.ensure_future(source.read(ByteRange(0, 9)))
            beats = 0
            while not reading.done():
                beats += 1
                await asyncio.sleep(0.01)
            assert beats > 5
            assert await reading == DATA[:9]

    asyncio.run(run())
    assert called_by[0] is not threading.current_thread()


@pytest.mark.slow
def test_errors_of_a_url_callable_that_times_out() -> None:
    async def never() -> str:
        await asyncio.sleep(60)
        return "http://host/x"

    async def gives_up() -> str:
        raise TimeoutError

    with pytest.raises(TransportError, match=r"^the URL: the URL callable took longer than 1 s$"):
        read(never, (0, 9), timeout=1, retries=1)
    with pytest.raises(TransportError, match=r"^the URL: the URL callable failed: TimeoutError at "):
        read(gives_up, (0, 9))


def test_failed_attempts_are_reported_while_a_read_waits() -> None:
    async def run() -> None:
        reports: list[tuple[str, float | None]] = []
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            source = HttpSource("http://host/x", client=client, backoff=10, retries=2)
            assert (source.last_failure, source.next_attempt_at, source.reply_summary) == (None, None, "")
            source.on_attempt = lambda: reports.append((str(source.last_failure), source.next_attempt_at))
            before = time.monotonic()
            assert await source.read(ByteRange(0, 9)) == DATA[:9]
            failure = "http://host/x: the server answered 503 to bytes 0..8"
            assert [text for text, _ in reports] == [failure, failure, "None"]
            assert reports[0][1] is not None
            assert before + 0.01 <= reports[0][1] <= time.monotonic()
            assert reports[2][1] is None
            assert source.reply_summary == "status 206, content type 'video/x-alpha'"
            replies.extend([404])
            with pytest.raises(TransportError) as caught:
                await source.read(ByteRange(10, 19))
            assert str(source.last_failure) == str(caught.value) == reports[3][0]
            assert len(reports) == 4
            replies.extend([503, 503, 503])
            with pytest.raises(TransportError):
                await source.read(ByteRange(10, 19))
            assert [after is None for _, after in reports[4:]] == [False, False, True]
            assert source.next_attempt_at is None

    replies = [503, 503]

    def handler(request: httpx.Request) -> httpx.Response:
        if replies:
            return httpx.Response(replies.pop())
        response = well(request)
        response.headers["Content-Type"] = "video/x-alpha"
        return response

    asyncio.run(run())


def test_a_cancelled_read_does_not_wait_for_an_attempt() -> None:
    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(503))) as client:
            source = HttpSource("http://host/x", client=client, backoff=60_000)
            reading = asyncio.ensure_future(source.read(ByteRange(0, 9)))
            while source.next_attempt_at is None:
                await asyncio.sleep(0)
            assert source.next_attempt_at > time.monotonic() + 50
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert source.next_attempt_at is None

    asyncio.run(run())
