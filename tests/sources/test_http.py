"""
HTTP sources with a server that misbehaves. A read must give the right bytes or the right typed error in time, and never
wrong bytes.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import badserver
import httpx
import pytest
from badserver import Behaviour, Request, Server
from support import SAMPLE, wait_until

import alphastream_gpu
from alphastream_gpu import ByteRange, ClosedError, Config, FrameTimeoutError, HttpSource, TransportError

DATA = bytes((k * 37 + k // 251) % 256 for k in range(300_000))
FAST = {"timeout": 10.0, "deadline": 30.0, "backoff": 10.0}
"""Short pauses between attempts, and limits for a busy machine. A test of a limit sets a smaller one."""


def fetch(url: Any, *spans: tuple[int, int], **options: Any) -> list[bytes]:
    """Read ranges one after the other from a new source."""

    async def read() -> list[bytes]:
        source = HttpSource(url, **{**FAST, **options})
        try:
            await source._ready()  # loads certificates first, so that this time does not count for the first attempt
            return [bytes(await source.read(ByteRange(*span))) for span in spans]
        finally:
            await source.aclose()

    return asyncio.run(read())


def only(number: int, behaviour: Behaviour) -> Callable[[Request], Behaviour | None]:
    return lambda request: behaviour if request.number == number else None


def always(behaviour: Behaviour) -> Callable[[Request], Behaviour | None]:
    return lambda request: behaviour


SPANS = [(0, 65536), (100_000, 100_500), (299_990, 300_010), (0, 300_000), (400_000, 400_010), (7, 7)]


def test_ranges() -> None:
    with Server(DATA) as server:
        assert fetch(server.url(), *SPANS) == [DATA[a:b] for a, b in SPANS]
        assert len(server.requests) == 4
        assert all(request.headers["accept-encoding"] == "identity" for request in server.requests)


def test_the_length_is_known_after_the_first_read() -> None:
    async def read() -> None:
        source = HttpSource(server.url())
        assert source.length is None
        await source.read(ByteRange(0, 65536))
        assert source.length == len(DATA)
        assert (source.requests, source.bytes_received) == (1, 65536)
        assert source.name == "person.asvp"
        await source.aclose()
        with pytest.raises(ClosedError):
            await source.read(ByteRange(0, 1))

    with Server(DATA) as server:
        asyncio.run(read())


def test_small_and_empty_files() -> None:
    with Server(b"abc") as server:
        assert fetch(server.url(), (0, 65536)) == [b"abc"]
    with Server(b"") as server:
        assert fetch(server.url(), (0, 65536), (0, 10)) == [b"", b""]


def test_long_reads_are_cut_into_chunks() -> None:
    with Server(DATA) as server:
        assert fetch(server.url(), (0, 10), (0, 300_000), chunk=40_000, concurrency=4) == [DATA[:10], DATA]
        assert len(server.requests) == 1 + 8
        assert max(b - a for a, b in (request.range for request in server.requests)) == 40_000


@pytest.mark.slow
def test_as_many_requests_at_a_time_as_allowed() -> None:
    running = most = 0

    async def counted(server: Server, request: Request, wire: badserver.Wire) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        await badserver.well(server, request, wire)

    with Server(DATA, always(counted)) as server:
        assert fetch(server.url(), (0, 10), (0, 300_000), chunk=10_000, concurrency=3)[1] == DATA
        assert most == 2  # one read leaves a request for another

        async def two_reads() -> None:
            source = HttpSource(server.url(), chunk=10_000, concurrency=3)
            await source.read(ByteRange(0, 10))
            spans = (ByteRange(0, 150_000), ByteRange(150_000, 300_000))
            assert b"".join(await asyncio.gather(*map(source.read, spans))) == DATA
            await source.aclose()

        asyncio.run(two_reads())
    assert most == 3


SLOW = {"never answers": 1.0, "a byte now and then": 1.0}
"""Behaviours that only a limit ends, with the limit: seconds for a request."""
RECOVERED: dict[str, Behaviour] = {
    "short body": badserver.close_within_the_body,
    "reset before the reply": badserver.reset_before_the_reply,
    "reset within the body": badserver.reset_within_the_body,
    "500": badserver.status(500),
    "503": badserver.status(503, Retry_After="0"),
    "408": badserver.status(408),
    "429": badserver.status(429),
    "not http": badserver.not_http,
    "never answers": badserver.never,
    "a byte now and then": badserver.a_byte_now_and_then,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECOVERED)
@pytest.mark.parametrize("number", [0, 1])
def test_failures_that_are_retried(name: str, number: int) -> None:
    with Server(DATA, only(number, RECOVERED[name])) as server:
        limit = {"timeout": SLOW.get(name, 10.0)}
        assert fetch(server.url(), (0, 1000), (5000, 6000), **limit) == [DATA[:1000], DATA[5000:6000]]
        assert len(server.requests) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", RECOVERED)
def test_a_read_fails_after_three_retries(name: str) -> None:
    with Server(DATA, always(RECOVERED[name])) as server:
        with pytest.raises(TransportError) as caught:
            fetch(server.url(), (0, 1000), timeout=SLOW.get(name, 10.0))
        assert len(server.requests) == 4
        assert server.url() in str(caught.value)


def test_two_failures_before_a_correct_reply() -> None:
    script = lambda request: badserver.status(500) if request.number < 2 else None  # noqa: E731
    with Server(DATA, script) as server:
        assert fetch(server.url(), (0, 1000)) == [DATA[:1000]]


REFUSED: dict[str, tuple[Behaviour, str]] = {
    "404": (badserver.status(404), "found 404; no such file"),
    "401": (badserver.status(401), "found 401; the server requires credentials"),
    "403": (badserver.status(403), "found 403; access denied"),
    "416": (badserver.status(416), "expected 206 for bytes 0..999, found 416"),
    "204": (badserver.status(204), "expected 206 for bytes 0..999, found 204"),
    "another range": (badserver.altered(content_range="bytes 1-1000/300000"), "expected Content-Range 0-999"),
    "wrong range": (badserver.altered(content_range="bytes 0-9/10"), "expected a body of 10 bytes, found more"),
    "no range": (badserver.altered(content_range=None), "expected a Content-Range for bytes 0..999, found ''"),
    "malformed range": (badserver.altered(content_range="bytes ten-twenty/x"), "expected a Content-Range"),
    "huge range": (badserver.altered(content_range=f"bytes 0-999/{'9' * 400}"), "expected a Content-Range"),
    "long body": (badserver.altered(body=lambda part: part + b"x"), "expected a body of 1000 bytes, found more"),
    "gzip": (badserver.altered(encoding="gzip"), "Content-Encoding 'gzip', which was not requested"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_replies_that_are_refused_without_a_retry(name: str) -> None:
    behaviour, message = REFUSED[name]
    with Server(DATA, always(behaviour)) as server:
        with pytest.raises(TransportError, match=message):
            fetch(server.url(), (0, 1000))
        assert len(server.requests) == 1


def test_no_server_at_the_address() -> None:
    with Server(DATA) as server:
        url = server.url()
    with pytest.raises(TransportError, match="attempts|connect"):
        fetch(url, (0, 10))


@pytest.mark.slow
def test_retry_after_is_honoured() -> None:
    with Server(DATA, only(0, badserver.status(429, Retry_After="1"))) as server:
        started = time.monotonic()
        fetch(server.url(), (0, 10), deadline=5.0)
        assert time.monotonic() - started >= 1


@pytest.mark.parametrize("concurrency", [2, 4])
def test_a_long_read_leaves_a_request_for_another(concurrency: int) -> None:
    """Its parts queue up by themselves, not in front of a read that begins later."""

    async def main(url: str) -> None:
        source = HttpSource(url, chunk=4096, concurrency=concurrency, **FAST)
        try:
            await source.read(ByteRange(0, 10))
            long = asyncio.create_task(source.read(ByteRange(0, 50 * 4096)))
            while source.requests < concurrency:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.05)
            assert source.requests == concurrency  # the first read, and all but one at a time
            assert await source.read(ByteRange(5, 15)) == DATA[5:15]
            assert not long.done()
            long.cancel()
        finally:
            await source.aclose()

    async def slow(server: Server, request: Request, wire: badserver.Wire) -> None:
        if request.range not in ((0, 10), (5, 15)):
            await asyncio.sleep(0.5)
        await badserver.well(server, request, wire)

    with Server(DATA, always(slow)) as server:
        asyncio.run(main(server.url()))


def test_retry_after_past_the_deadline_ends_at_once() -> None:
    with Server(DATA, only(0, badserver.status(429, Retry_After="3600"))) as server:
        started = time.monotonic()
        with pytest.raises(TransportError, match="asks to wait 3600 s, past the deadline"):
            fetch(server.url(), (0, 10))
        assert time.monotonic() - started < 25  # the deadline is 30 s


@pytest.mark.slow
def test_the_deadline_includes_all_attempts() -> None:
    with Server(DATA, always(badserver.never)) as server:
        started = time.monotonic()
        with pytest.raises(FrameTimeoutError, match=r"not read within 2 s"):
            fetch(server.url(), (0, 10), timeout=1, deadline=2, retries=10)
        assert time.monotonic() - started < 8  # eleven attempts would take longer


def test_a_server_that_ignores_ranges() -> None:
    with Server(DATA, always(badserver.whole_file)) as server:
        assert fetch(server.url(), (0, 10), (100, 200), (0, 300_000)) == [DATA[:10], DATA[100:200], DATA]
        assert len(server.requests) == 1
        with pytest.raises(TransportError, match=r"up to 299999 bytes \(whole_file_cap\)"):
            fetch(server.url(), (0, 10), whole_file_cap=299_999)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"etag": '"v2"'}, "changed while open: expected etag '\"v1\"', found '\"v2\"'"),
        ({"etag": None}, "expected etag '\"v1\"', found none"),
        ({"content_range": "bytes 500-599/300001"}, "expected 300000 bytes, found 300001"),
    ],
)
def test_a_file_that_changes_between_reads(change: dict[str, object], message: str) -> None:
    with Server(DATA, only(1, badserver.altered(**change))) as server:
        with pytest.raises(TransportError, match=message):
            fetch(server.url(), (0, 100), (500, 600))
        assert len(server.requests) == 2


def test_a_changed_date_is_noticed_without_a_strong_etag() -> None:
    async def dated(server: Server, request: Request, wire: badserver.Wire) -> None:
        first, stop = request.range
        await wire.head(
            206,
            Content_Range=f"bytes {first}-{stop - 1}/{len(DATA)}",
            Content_Length=stop - first,
            ETag='W/"weak"' if request.number == 0 else 'W/"other"',
            Last_Modified=f"Wed, 2{request.number // 2} Oct 2015 07:28:00 GMT",
        )
        await wire.body(DATA[first:stop])

    with (
        Server(DATA, always(dated)) as server,
        pytest.raises(TransportError, match="changed while open: expected last-modified"),
    ):
        fetch(server.url(), (0, 10), (10, 20), (20, 30))


@pytest.mark.slow
@pytest.mark.parametrize("behaviour", [badserver.no_keep_alive, badserver.close_when_idle])
def test_connections_that_end(behaviour: Behaviour) -> None:
    spans = [(k, k + 10) for k in range(0, 200, 10)]
    with Server(DATA, always(behaviour)) as server:
        assert fetch(server.url(), *spans) == [DATA[a:b] for a, b in spans]


def test_redirects_are_followed_and_remembered() -> None:
    def script(request: Request) -> Behaviour | None:
        return badserver.status(302, Location="/there.asvp?k=2") if request.target == "/person.asvp" else None

    with Server(DATA, script) as server:
        assert fetch(server.url(), (0, 10), (10, 20), (20, 30)) == [DATA[:10], DATA[10:20], DATA[20:30]]
        targets = [request.target for request in server.requests]
        assert targets == ["/person.asvp"] + ["/there.asvp?k=2"] * 3


def test_a_remembered_redirect_that_expires() -> None:
    """A signed address with a short life: the original URL is requested once more."""
    alive = {"n": 1}

    def script(request: Request) -> Behaviour | None:
        if request.target == "/person.asvp":
            return badserver.status(307, Location=f"/signed{alive['n']}")
        return None if request.target == f"/signed{alive['n']}" else badserver.status(403)

    async def read() -> None:
        source = HttpSource(server.url(), **FAST)
        assert await source.read(ByteRange(0, 10)) == DATA[:10]
        alive["n"] = 2
        assert await source.read(ByteRange(10, 20)) == DATA[10:20]
        alive["n"] = 3
        server.script = lambda request: badserver.status(403)
        with pytest.raises(TransportError, match="403"):
            await source.read(ByteRange(20, 30))
        await source.aclose()

    with Server(DATA, script) as server:
        asyncio.run(read())


def test_a_redirect_loop() -> None:
    with Server(DATA, always(badserver.status(302, Location="/person.asvp"))) as server:
        with pytest.raises(TransportError, match="more than 10 redirects"):
            fetch(server.url(), (0, 10))
        assert len(server.requests) == 11


@pytest.mark.parametrize("location", ["ftp://host/x", "http://[::1", "file:///etc/passwd"])
def test_redirects_to_invalid_addresses(location: str) -> None:
    with (
        Server(DATA, always(badserver.status(302, Location=location))) as server,
        pytest.raises(TransportError, match="not an HTTP URL|broke the HTTP protocol"),
    ):
        fetch(server.url(), (0, 10))


def test_credentials_are_sent_only_to_the_own_origin() -> None:
    with Server(DATA) as other:
        script = always(badserver.status(302, Location=other.url("/there")))
        with Server(DATA, script) as server:

            async def read() -> None:
                async with httpx.AsyncClient(
                    headers={"X-Api-Key": "k1"}, cookies={"session": "s1"}, auth=("user", "pass")
                ) as client:
                    source = HttpSource(server.url(), client=client, headers={"X-Token": "t1"}, **FAST)
                    for start in (0, 10, 20):
                        assert await source.read(ByteRange(start, start + 10)) == DATA[start : start + 10]
                    await source.aclose()
                    assert not client.is_closed

            asyncio.run(read())
            sent = server.requests[0].headers
            assert (sent["x-api-key"], sent["x-token"]) == ("k1", "t1")
            assert sent["authorization"].startswith("Basic")
            assert "session" in sent["cookie"]
        assert len(server.requests) == 1
        assert len(other.requests) == 3
        for request in other.requests:
            assert not {"x-api-key", "x-token", "authorization", "cookie"} & set(request.headers)


def test_a_url_callable_is_called_once_more_after_401_or_403() -> None:
    given: list[str] = []

    def sign() -> str:
        given.append(server.url(f"/person.asvp?sig={len(given)}"))
        return given[-1]

    def script(request: Request) -> Behaviour | None:
        return None if request.target.endswith(("sig=0", "sig=1")) and request.number != 1 else badserver.status(403)

    with Server(DATA, script) as server:
        assert fetch(sign, (0, 10), (10, 20)) == [DATA[:10], DATA[10:20]]
        assert len(given) == 2
        server.script = always(badserver.status(401))
        given.clear()
        with pytest.raises(TransportError, match="401"):
            fetch(sign, (0, 10))
        assert len(given) == 2


def test_many_refused_requests_share_one_call_of_the_url_callable() -> None:
    """Each new signature invalidates the one before, so all refused requests must share one new signature."""
    state = {"n": 0, "alive": 0}

    async def sign() -> str:
        state["n"] += 1
        state["alive"] = state["n"]
        await asyncio.sleep(0.02)
        return server.url(f"/person.asvp?sig={state['n']}")

    def script(request: Request) -> Behaviour | None:
        return None if request.target.endswith(f"sig={state['alive']}") else badserver.status(403)

    async def read() -> None:
        source = HttpSource(sign, **FAST)
        await source.read(ByteRange(0, 10))
        state["alive"] = -1  # expires
        parts = await asyncio.gather(*(source.read(ByteRange(k, k + 10)) for k in range(0, 80, 10)))
        assert b"".join(parts) == DATA[:80]
        assert state["n"] == 2
        await source.aclose()

    with Server(DATA, script, latency=0.01) as server:
        asyncio.run(read())


@pytest.mark.parametrize(
    "url", ["http://xn--/x", "http://127.0.0.1/\x01", "http://127.0.0.1/" + "a" * 70_000, "http://h\ud800/"]
)
def test_urls_that_httpx_refuses(url: str) -> None:
    with pytest.raises((TransportError, ValueError)) as caught:
        fetch(url, (0, 10), retries=0)
    assert type(caught.value) in (TransportError, ValueError)


def test_a_redirect_to_an_invalid_host() -> None:
    script = always(badserver.status(302, Location="http://xn--/"))
    with Server(DATA, script) as server, pytest.raises(TransportError):
        fetch(server.url(), (0, 10), retries=0)


def test_a_closed_client() -> None:
    async def read() -> None:
        client = httpx.AsyncClient()
        await client.aclose()
        source = HttpSource("http://127.0.0.1:1/x", client=client)
        with pytest.raises(TransportError, match="client is closed"):
            await source.read(ByteRange(0, 1))

    asyncio.run(read())


def test_asynchronous_and_failing_url_callables() -> None:
    async def give() -> str:
        await asyncio.sleep(0)
        return server.url()

    def fail() -> str:
        raise RuntimeError("could not sign https://host/x?secret=1")

    with Server(DATA) as server:
        assert fetch(give, (0, 10)) == [DATA[:10]]
    with pytest.raises(TransportError, match="the URL callable failed: RuntimeError") as caught:
        fetch(fail, (0, 10))
    assert "secret" not in str(caught.value)
    for wrong in (lambda: 5, lambda: "ftp://x/y"):
        with pytest.raises(TransportError, match="the URL callable"):
            fetch(wrong, (0, 10))


QUERIES = ["?sig=a%2Fb%2fc+d&e=%7e~", "?a=[1]&b={2}|3^4`", "?x=%zz%", "?", "?a?b=c//d", "?u='%20'"]


@pytest.mark.slow
@pytest.mark.parametrize("query", QUERIES)
def test_a_signed_query_is_sent_unchanged_and_never_logged(query: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Server(DATA, lambda request: badserver.status(404) if request.number else None) as server:
        url = server.url("/dir/person.asvp" + query)
        source = HttpSource(url)
        assert query == "?" or query[1:] not in repr(source)
        with pytest.raises(TransportError) as caught:
            fetch(url, (0, 10), (10, 20))
        assert [request.target for request in server.requests] == ["/dir/person.asvp" + query] * 2
    if query != "?":
        assert query[1:] not in str(caught.value)
        assert query[1:] not in "".join(str(record.getMessage()) for record in caplog.records if "httpx" in record.name)
    assert "/dir/person.asvp" in caplog.text


def test_a_password_in_the_url_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Server(DATA, always(badserver.status(404))) as server:
        url = server.url().replace("http://", "http://user:hunter2@")
        with pytest.raises(TransportError) as caught:
            fetch(url, (0, 10))
        assert server.requests[0].headers["authorization"].startswith("Basic ")
    assert "hunter2" not in str(caught.value) + caplog.text + repr(HttpSource(url))


@pytest.mark.parametrize("url", ["http://", "ftp://host/x", "http://host:port/x", "nonsense?secret=1"])
def test_bad_urls(url: str) -> None:
    with pytest.raises(ValueError, match="URL: ") as caught:
        HttpSource(url)
    assert "secret" not in str(caught.value)


def test_a_stream_from_a_url() -> None:
    with Server(SAMPLE.read_bytes()) as server:

        async def read() -> list[Any]:
            async with await alphastream_gpu.open_async(server.url()) as stream:
                assert len(server.requests) == 1
                return [geometry async for geometry in stream.frames()]

        async def from_disk() -> list[Any]:
            async with await alphastream_gpu.open_async(SAMPLE) as stream:
                return [geometry async for geometry in stream.frames()]

        assert asyncio.run(read()) == asyncio.run(from_disk())


def test_a_callers_client_and_config() -> None:
    config = Config(http_retries=0, http_backoff=0)
    with Server(SAMPLE.read_bytes(), only(0, badserver.status(500))) as server:
        with pytest.raises(TransportError, match="answered 500"):
            alphastream_gpu.open(server.url(), config=config)
        with alphastream_gpu.open(server.url(), config=config) as stream:
            assert stream.metadata.frame_count == 120


def test_a_failure_is_not_remembered() -> None:
    async def read() -> None:
        source = HttpSource(server.url(), retries=0, **FAST)
        for _ in range(3):
            with pytest.raises(TransportError):
                await source.read(ByteRange(0, 10))
        server.script = lambda request: None
        assert await source.read(ByteRange(0, 10)) == DATA[:10]
        await source.aclose()

    with Server(DATA, always(badserver.status(500))) as server:
        asyncio.run(read())


def test_a_cancelled_read_leaves_the_source_usable() -> None:
    async def read() -> None:
        source = HttpSource(server.url(), concurrency=1, **FAST)
        await source.read(ByteRange(0, 10))
        server.latency = 0.5
        for _ in range(20):
            task = asyncio.create_task(source.read(ByteRange(10, 20)))
            await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        server.latency = 0
        assert await source.read(ByteRange(10, 20)) == DATA[10:20]
        await source.aclose()

    with Server(DATA) as server:
        asyncio.run(read())


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ALL_PROXY": "nonsense://user:hush@proxy.test"}, "ALL_PROXY: expected the URL of a proxy"),
        ({"ALL_PROXY": "http://[user:hush"}, "ALL_PROXY: expected the URL of a proxy"),
        ({"SSL_CERT_FILE": "/nowhere"}, "certificates that SSL_CERT_FILE names cannot be read"),
    ],
)
def test_invalid_environment_variables(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """httpx uses these variables when a client is made, and raises various errors."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TransportError, match=message) as caught:
        fetch("https://example.test/person.asvp?sign=hush", (0, 10))
    assert "hush" not in str(caught.value)


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package for HTTP/2, or httpx itself."""
    with Server(DATA) as server:
        for module, options in (("h2", {"http2": True}), ("httpx", {})):
            with monkeypatch.context() as patch:
                patch.setitem(sys.modules, module, None)
                for loaded in ("client", "cookies", "wire"):  # as before the first read over HTTP
                    patch.delitem(sys.modules, f"alphastream_gpu._sources.http.{loaded}", raising=False)
                with pytest.raises(TransportError, match=module):
                    alphastream_gpu.open(server.url(), config=Config(**options))


@pytest.mark.slow
def test_the_error_after_a_deadline_has_the_last_failure() -> None:
    """The deadline ends the attempts before the last retry."""
    with Server(DATA, always(badserver.status(503))) as server:
        with pytest.raises(FrameTimeoutError, match=r"not read within 1 s; so far: .* the server answered 503"):
            fetch(server.url(), (0, 10), deadline=1, retries=10, backoff=200)
        with pytest.raises(FrameTimeoutError, match=r"not read within 0.5 s; so far: .* the server answered 503"):
            alphastream_gpu.open(server.url(), config=Config(init_timeout=0.5, http_retries=10))


def test_a_name_lookup_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither opening nor the end of the event loop waits for it."""
    is_over = threading.Event()

    def getaddrinfo(*arguments: object, **options: object) -> list[Any]:
        is_over.wait(60)
        raise OSError("no such name")

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    with pytest.raises(FrameTimeoutError, match=r"not read within 0.3 s"):
        alphastream_gpu.open("http://example.test/person.asvp", config=Config(init_timeout=0.3))

    def running() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("alphastream")]

    wait_until(lambda: running() == ["alphastream-call"])  # the lookup still runs, and the loop has ended
    is_over.set()
    wait_until(lambda: not running())
