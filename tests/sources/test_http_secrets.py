"""
Secrets: one is given at every input, and every output is searched for it.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import badserver
import httpx
import pytest
from badserver import Behaviour, Request, Server, Wire

import alphastream_gpu
from alphastream_gpu import (
    AlphaStreamBuilder,
    AlphaStreamError,
    AsvrKey,
    ByteRange,
    Config,
    FrameTimeoutError,
    HttpSource,
    TransportError,
)

SECRET = "S3CRET"
DATA = bytes((k * 37 + k // 251) % 256 for k in range(3000))
FAST = Config(http_retries=1, http_backoff=0, init_timeout=20)
USER, QUERY, FRAGMENT = f"user:{SECRET}@", f"?sig={SECRET}%2f&back=https://{SECRET}/", f"#token={SECRET}"


def texts(exc: BaseException | None, seen: set[int] | None = None) -> Iterator[str]:
    """All texts of an exception and of the exceptions attached to it: printed, logged, inspected."""
    seen = set() if seen is None else seen
    if exc is None or id(exc) in seen:
        return
    seen.add(id(exc))
    yield f"{exc!r} {exc} {exc.args!r} {getattr(exc, '__notes__', '')} {getattr(exc, 'filename', '')}"
    yield "".join(traceback.format_exception(exc))
    yield from texts(exc.__cause__, seen)
    yield from texts(exc.__context__, seen)


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., None]]:
    """A function that asserts that its arguments do not contain the secret. All log records are searched at the end."""
    caplog.set_level(logging.DEBUG)

    def check(*things: Any) -> None:
        for thing in things:
            for text in texts(thing) if isinstance(thing, BaseException) else [f"{thing!r} {thing}"]:
                assert SECRET.lower() not in text.lower()

    yield check
    for record in caplog.records:
        check(record.getMessage(), record.args, record.exc_text)


def source_texts(source: HttpSource) -> list[Any]:
    return [source, source.name, source.last_failure, source.reply_summary]


async def broken_location(server: Server, request: Request, wire: Wire) -> None:
    """A reply with a malformed header line, which h11 quotes in its error."""
    await wire.body(f"HTTP/1.1 302 F\r\nLocation : https://cdn/x{QUERY}\r\nContent-Length: 0\r\n\r\n".encode())
    wire.writer.close()


async def cookies_and_reset(server: Server, request: Request, wire: Wire) -> None:
    await wire.head(206, Set_Cookie=f"login={SECRET}", Content_Range="bytes 0-9/3000", Content_Length=10)
    wire.reset()


FAILING: dict[str, Behaviour] = {
    "404": badserver.status(404),
    "503": badserver.status(503, Set_Cookie=f"a={SECRET}"),
    "429 for long": badserver.status(429, Retry_After="99999"),
    "reset": badserver.reset_before_the_reply,
    "reset within": cookies_and_reset,
    "not http": badserver.not_http,
    "another range": badserver.altered(content_range="bytes 1-5/3000"),
    "encoded": badserver.altered(encoding="gzip"),
    "page": badserver.page(200, b"<!DOCTYPE html><html>Sign in</html>"),
    "no ASVR": badserver.well,
    "broken location": broken_location,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAILING)
@pytest.mark.parametrize("url", ["/dir/x.asvr{q}{f}", "/{q}", "{q}", "{f}", ""])
def test_a_url_that_fails(name: str, url: str, quiet: Callable[..., None], passphrase: bytes) -> None:
    with Server(DATA, lambda request: FAILING[name]) as server:
        address = f"http://{USER}127.0.0.1:{server.port}" + url.format(q=QUERY, f=FRAGMENT)
        source = HttpSource(address, headers={"Authorization": f"Bearer {SECRET}"}, retries=1, backoff=0)
        with pytest.raises(AlphaStreamError) as caught:
            alphastream_gpu.open(source, key=AsvrKey(passphrase, scene_id=1), config=FAST)
        quiet(caught.value, *source_texts(source))
        with pytest.raises(AlphaStreamError) as caught:
            alphastream_gpu.open(address, headers={"Authorization": f"Bearer {SECRET}"}, config=FAST)
        quiet(caught.value)
        sent = server.requests[0]
        if "{q}" in url:
            assert sent.target.endswith(QUERY), "the query was not sent"
        assert sent.headers["authorization"].startswith("Basic"), "the user of the URL was not sent"


LOCATIONS = [
    f"/there{QUERY}{FRAGMENT}",
    f"http://{USER}127.0.0.1:{{port}}/there{QUERY}",
    f"http://{USER}localhost:1/there{QUERY}",
    f"http://[::1/{QUERY}",
    f"http://xn--/{QUERY}",
    f"http://{USER}a b/{QUERY}",
    f"http://{USER}a..x/",
    f"ftp://{USER}host/{QUERY}",
    f"{SECRET}://x",
    f"file:///etc/passwd{QUERY}",
]


@pytest.mark.slow
@pytest.mark.parametrize("location", LOCATIONS)
@pytest.mark.parametrize("name", ["404", "reset", "broken location"])
def test_a_redirect_that_fails(location: str, name: str, quiet: Callable[..., None]) -> None:
    def script(request: Request) -> Behaviour:
        if request.target.startswith("/there"):
            return FAILING[name]
        where = location.format(port=server.port)
        return badserver.status(302, Location=where, Set_Cookie=f"login={SECRET}; Path=/")

    with Server(DATA, script) as server:
        source = HttpSource(server.url(f"/x.asvp{QUERY}"), retries=1, backoff=0)
        with pytest.raises(AlphaStreamError) as caught:
            alphastream_gpu.open(source, config=FAST)
        quiet(caught.value, *source_texts(source))


def test_a_redirect_that_works(quiet: Callable[..., None]) -> None:
    def script(request: Request) -> Behaviour | None:
        if request.target.startswith("/there"):
            return None
        return badserver.status(302, Location=f"/there{QUERY}", Set_Cookie=f"login={SECRET}; Path=/")

    async def read() -> None:
        source = HttpSource(server.url(f"/x.asvp{QUERY}"), headers={"X-Key": SECRET})
        for k in range(3):
            assert await source.read(ByteRange(k, k + 9)) == DATA[k : k + 9]
        quiet(*source_texts(source))
        await source.aclose()

    with Server(DATA, script) as server:
        asyncio.run(read())
        assert server.requests[1].headers["cookie"] == f"login={SECRET}"


def test_a_redirect_loop_and_a_missing_server(quiet: Callable[..., None]) -> None:
    with Server(DATA, lambda request: badserver.status(302, Location=f"/x{QUERY}")) as server:
        url = f"http://{USER}127.0.0.1:{server.port}/x{QUERY}"
        with pytest.raises(TransportError, match="more than 10 redirects") as caught:
            alphastream_gpu.open(url)
        quiet(caught.value)
    with pytest.raises(TransportError) as caught:
        alphastream_gpu.open(url, config=FAST)
    quiet(caught.value)
    with pytest.raises(TransportError) as caught:
        alphastream_gpu.open(url.replace("http:", "https:"), config=FAST)
    quiet(caught.value)


@pytest.mark.slow
def test_deadlines(quiet: Callable[..., None]) -> None:
    async def read(**options: Any) -> None:
        source = HttpSource(url, backoff=0, **options)
        with pytest.raises((FrameTimeoutError, TransportError)) as caught:
            await source.read(ByteRange(0, 9))
        quiet(caught.value, *source_texts(source))
        await source.aclose()

    with Server(DATA, lambda request: badserver.never) as server:
        url = f"http://{USER}127.0.0.1:{server.port}/x{QUERY}{FRAGMENT}"
        asyncio.run(read(timeout=1, retries=1))
        asyncio.run(read(deadline=1))
        with pytest.raises(FrameTimeoutError) as caught:
            alphastream_gpu.open(url, config=Config(init_timeout=0.5))
        quiet(caught.value)


def _fail() -> str:
    try:
        raise KeyError(f"https://host/x{QUERY}")
    except KeyError:
        raise RuntimeError(f"could not sign https://host/x{QUERY}")  # noqa: B904 - with a context, as in real code


async def _fail_later() -> str:
    await asyncio.sleep(0)
    return _fail()


async def _time_out() -> str:
    raise TimeoutError(f"https://host/x{QUERY}")


def _stop() -> str:
    return next(iter(()))


CALLABLES: dict[str, Any] = {
    "raises": _fail,
    "raises later": _fail_later,
    "times out": _time_out,
    "has no more": _stop,
    "number": lambda: 5,
    "bytes": f"https://host/x{QUERY}".encode,
    "no scheme": lambda: f"{USER}host/x{QUERY}",
    "other scheme": lambda: f"ftp://{USER}host/x{QUERY}",
    "control character": lambda: f"https://{USER}host/x{QUERY}\n",
    "malformed host": lambda: f"https://{USER}[::1/x{QUERY}",
    "host that cannot be": lambda: f"https://{USER}xn--/x{QUERY}",
    "normal form": lambda: f"https://{USER}a\u2100b/x{QUERY}",
}


@pytest.mark.parametrize("name", CALLABLES)
def test_a_callable_that_fails(name: str, quiet: Callable[..., None]) -> None:
    with pytest.raises(TransportError) as caught:
        alphastream_gpu.open(CALLABLES[name], config=FAST, headers={"X-Key": SECRET})
    quiet(caught.value)
    if name == "raises":
        line = _fail.__code__.co_firstlineno + 4
        assert str(caught.value).endswith(f"failed: RuntimeError at test_http_secrets.py:{line}")


def test_a_callable_that_works(quiet: Callable[..., None]) -> None:
    with Server(DATA, lambda request: badserver.status(403)) as server:
        source = HttpSource(lambda: f"http://{USER}127.0.0.1:{server.port}{QUERY}{FRAGMENT}")
        quiet(source)
        with pytest.raises(TransportError) as caught:
            alphastream_gpu.open(source)
        quiet(caught.value, *source_texts(source))
        assert len(server.requests) == 2


NO_FILES = [
    f"cdn.example.com/person.asvp{QUERY}",
    f"cdn.example.com/person.asvp{FRAGMENT}",
    f"{USER}cdn.example.com/person.asvp",
    f"{SECRET}@cdn.example.com/person.asvp",
    f"//{SECRET}@cdn.example.com/person.asvp",
    f"https:/{SECRET}@cdn.example.com/person.asvp",
    f"https:{SECRET}@cdn.example.com/person.asvp",
    f" {SECRET}@{SECRET}@cdn.example.com/person.asvp",
    f"//{USER}cdn.example.com/person.asvp{QUERY}",
    f"https:/{USER}cdn.example.com/person.asvp{QUERY}",
    f"https:{USER}cdn.example.com/person.asvp{QUERY}",
    f" https://{USER}cdn.example.com/person.asvp{QUERY}",
    f"x{QUERY}" + "y" * 5000,
    f"x/\ud800{QUERY}",
    f"ftp://{USER}host/x{QUERY}",
    f"s3://{USER}host/x{QUERY}",
    f"file://{USER}elsewhere/x.asvp{QUERY}",
    f"file://{USER}[::1/x.asvp{QUERY}",
    f"file://{USER}a\u2100b/x.asvp{QUERY}",
    f"file:///no/such.asvp{QUERY}{FRAGMENT}",
    f"file:/no/such.asvp{QUERY}{FRAGMENT}",
    f"http://{USER}/x{QUERY}",
    f"http://{USER}host:port/x{QUERY}",
    f"http://{USER}host:99999/x{QUERY}",
    f"http://{USER}[::1/x{QUERY}",
    f"http://{USER}a\u2100b/x{QUERY}",
    f"http://{USER}ho st/x{QUERY}",
    f"http://{USER}host\\@other/x{QUERY}",
    f"http://{USER}xn--/x{QUERY}",
    f"http://{USER}host/x{QUERY}\n",
    f"http://{USER}host/x{QUERY}\x7f",
    f"http://{USER}host/x{QUERY}\ud800",
    f"http://{USER}host/x{QUERY}" + "y" * 70_000,
]


@pytest.mark.slow
@pytest.mark.parametrize("text", NO_FILES, ids=range(len(NO_FILES)))
@pytest.mark.parametrize("kind", [str, Path])
def test_sources_that_cannot_be_opened(text: str, kind: type, quiet: Callable[..., None]) -> None:
    """A path, a URL without its scheme, or a malformed URL."""
    with pytest.raises((AlphaStreamError, ValueError)) as caught:
        alphastream_gpu.open(kind(text), config=FAST)
    quiet(caught.value)
    if kind is str and "://" in text:
        for make in (HttpSource, lambda url: alphastream_gpu.open(url, headers={"X-Key": SECRET}, config=FAST)):
            with pytest.raises((AlphaStreamError, ValueError)) as caught:
                source = make(text)
                alphastream_gpu.open(source, config=FAST)
            quiet(caught.value)


@pytest.mark.parametrize("client", [None, httpx.AsyncClient])
def test_headers_that_cannot_be_sent(client: Any, quiet: Callable[..., None]) -> None:
    for headers in (
        {"X-Key": f"{SECRET}\n"},
        {"X-Key": f"{SECRET}\u20ac"},
        {"X-Key": f" {SECRET}"},
        {f"X Key {SECRET[:0]}": SECRET},
        {"Range": SECRET},
        {"accept-encoding": SECRET},
        {"X-Key": SECRET.encode()},
        {5: SECRET},
    ):
        with pytest.raises((ValueError, TypeError), match="^headers: ") as caught:
            alphastream_gpu.open("http://host/x", headers=headers, client=client)
        quiet(caught.value)


def test_a_client_whose_headers_cannot_be_sent(quiet: Callable[..., None]) -> None:
    """The error must be about the client, not about the server."""
    with Server(DATA) as server:
        with pytest.raises(
            TransportError, match="the request cannot be sent; check whether the given client adds headers"
        ) as caught:
            alphastream_gpu.open(
                server.url(), client=lambda: httpx.AsyncClient(headers={"X-Key": f"{SECRET}\n"}), config=FAST
            )
        quiet(caught.value)
        assert not server.requests


def test_sources_and_builders_do_not_show_secrets(quiet: Callable[..., None]) -> None:
    url = f"https://{USER}host/x{QUERY}{FRAGMENT}"
    source = HttpSource(url, headers={"Authorization": SECRET})
    builder = AlphaStreamBuilder().source(url).headers({"Authorization": SECRET}).fps(30)
    quiet(*source_texts(source), builder, builder.config())
    assert repr(source) == "<HttpSource 'https://host/x' ? bytes>"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="an HttpSource cannot be pickled or copied: .* Pass the URL") as caught:
            pickle.dumps(source, protocol)
        quiet(caught.value)
    with pytest.raises(
        TypeError, match=r"headers or a client cannot be pickled or copied: .* its config\(\)"
    ) as caught:
        pickle.dumps(builder)
    quiet(caught.value)
    assert pickle.loads(pickle.dumps(AlphaStreamBuilder().fps(30))).config() == Config(fps=30)
    for function in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="make a new HttpSource") as caught:
            function(source)
        quiet(caught.value)


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "502 Bad Gateway"])
def test_a_proxy_with_a_password(status: str, quiet: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(server: Server, request: Request, wire: Wire) -> None:
        await wire.body(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nSet-Cookie: a={SECRET}\r\n\r\n".encode())

    script = lambda request: refuse  # noqa: E731
    with Server(DATA, script) as server:
        monkeypatch.setenv("all_proxy", server.url("").replace("http://", f"http://{USER}"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        for scheme in ("http", "https"):
            with pytest.raises(TransportError, match=status[:3]) as caught:
                alphastream_gpu.open(f"{scheme}://{USER}files.test/x{QUERY}", config=FAST)
            quiet(caught.value)
        assert server.requests[-1].target == "files.test:443"
        assert all("proxy-authorization" in request.headers for request in server.requests)


def test_requests_of_the_host_are_logged_as_usual(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Server(DATA) as server:
        with pytest.raises(AlphaStreamError):
            alphastream_gpu.open(server.url("/ours?a=1"))
        assert f'HTTP Request: GET {server.url("/ours")} "HTTP/1.1 206 Partial Content"' in caplog.messages
        assert "receive_response_headers.complete (details are hidden)" in caplog.messages
        assert any(message.startswith("connect_tcp.started host='127.0.0.1'") for message in caplog.messages)
        caplog.clear()

        async def own() -> None:
            async with httpx.AsyncClient() as client:
                await client.get(server.url("/theirs?a=1"), headers={"Range": "bytes=0-9"})

        asyncio.run(own())
        assert f'HTTP Request: GET {server.url("/theirs?a=1")} "HTTP/1.1 206 Partial Content"' in caplog.messages
        assert any("Content-Range" in message for message in caplog.messages)


def test_hooks_of_a_caller_get_the_unchanged_url() -> None:
    """Authentication that signs the text of the URL must sign the right text."""
    seen: list[str] = []

    async def hook(request: httpx.Request) -> None:
        seen.append(str(request.url))
        assert SECRET not in repr(request.url)

    with Server(DATA) as server:
        url = server.url(f"/x?sig={SECRET}")
        with pytest.raises(AlphaStreamError):
            alphastream_gpu.open(url, client=lambda: httpx.AsyncClient(event_hooks={"request": [hook]}))
        assert seen == [url]


def test_a_local_file_with_characters_of_urls_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a#b@c:d.asvp"
    path.write_bytes(DATA)
    with pytest.raises(alphastream_gpu.DecodeError):
        alphastream_gpu.open(path)
    with pytest.raises(TransportError, match=r"opening '.*/a\.\.\.' \(taken as a path; a URL begins with http:"):
        alphastream_gpu.open(tmp_path / "a#c")
