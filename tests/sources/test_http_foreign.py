"""
Code of callers around HTTP requests: its exceptions fail the read, and nothing of their texts is shown or attached.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import httpcore
import httpx
import pytest
from badserver import Server

import alphastream_gpu
from alphastream_gpu import (
    AlphaStreamError,
    ByteRange,
    ClosedError,
    Config,
    FrameTimeoutError,
    HttpSource,
    NotReadyError,
    TransportError,
)
from alphastream_gpu._sources.http.callers import harmless, system_reason

SECRET = "S3CRET"
TEXTS = (f"http://user:{SECRET}@host/x?sig={SECRET}", f"GET /x?sig={SECRET} failed", f"token {SECRET} has expired")
"""A URL, a part of one, and a secret that no pattern finds."""
DATA = bytes(range(200))
FAST = Config(http_retries=1, http_backoff=0, init_timeout=20)

ERRORS: dict[str, Callable[[str], BaseException]] = {
    "ConnectError": httpx.ConnectError,
    "ReadTimeout": httpx.ReadTimeout,
    "UnsupportedProtocol": httpx.UnsupportedProtocol,
    "RemoteProtocolError": httpx.RemoteProtocolError,
    "LocalProtocolError": httpx.LocalProtocolError,
    "ProxyError": httpx.ProxyError,
    "RequestError": httpx.RequestError,
    "TooManyRedirects": httpx.TooManyRedirects,
    "InvalidURL": httpx.InvalidURL,
    "StreamError": httpx.StreamError,
    "HTTPStatusError": lambda text: httpx.HTTPStatusError(
        text, request=httpx.Request("GET", text), response=httpx.Response(403)
    ),
    "httpcore": httpcore.ConnectError,
    "ValueError": ValueError,
    "UnicodeError": UnicodeError,
    "RuntimeError": RuntimeError,
    "KeyError": KeyError,
    "OSError": lambda text: OSError(5, text, text),
    "TimeoutError": TimeoutError,
    "gaierror": lambda text: socket.gaierror(socket.EAI_NONAME, text),
    "SSLError": lambda text: ssl.SSLError(1, text),
    "SSLCertVerificationError": lambda text: ssl.SSLCertVerificationError(1, text),
    "ImportError": ImportError,
    "AssertionError": AssertionError,
    "StopAsyncIteration": StopAsyncIteration,
    "CancelledError": asyncio.CancelledError,
    "GeneratorExit": GeneratorExit,
    "SystemExit": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "ExceptionGroup": lambda text: ExceptionGroup(text, [ValueError(text)]),
    "TransportError": TransportError,
    "FrameTimeoutError": FrameTimeoutError,
    "NotReadyError": NotReadyError,
    "ClosedError": ClosedError,
}


def _everything(exc: BaseException | None) -> Iterator[str]:
    seen: set[int] = set()
    waiting = [exc]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield f"{one!r} {one} {one.args!r} {getattr(one, '__notes__', '')}"
            yield "".join(traceback.format_exception(one)).split("\n", 1)[0]
            waiting += [one.__cause__, one.__context__]


def _raise(kind: str, text: str) -> Any:
    try:
        raise LookupError(text)
    except LookupError as exc:
        raise ERRORS[kind](text) from exc


def _hook(kind: str, text: str, which: str) -> Callable[[], httpx.AsyncClient]:
    async def hook(thing: Any) -> None:
        _raise(kind, text)

    return lambda: httpx.AsyncClient(event_hooks={which: [hook]})


def _transport(kind: str, text: str) -> Callable[[], httpx.AsyncClient]:
    return lambda: httpx.AsyncClient(transport=httpx.MockTransport(lambda request: _raise(kind, text)))


def _body(kind: str, text: str) -> Callable[[], httpx.AsyncClient]:
    class Body(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            yield b"x"
            _raise(kind, text)

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(206, headers={"Content-Range": "bytes 0-99/100"}, stream=Body())

    return lambda: httpx.AsyncClient(transport=httpx.MockTransport(handler))


def _auth(kind: str, text: str) -> Callable[[], httpx.AsyncClient]:
    class Auth(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Any:
            _raise(kind, text)
            yield request

    return lambda: httpx.AsyncClient(auth=Auth())


def _build_request(kind: str, text: str) -> Callable[[], httpx.AsyncClient]:
    class Client(httpx.AsyncClient):
        def build_request(self, *args: Any, **options: Any) -> httpx.Request:
            return _raise("RuntimeError", text)  # type: ignore[no-any-return]

    return Client


CLIENTS: dict[str, Callable[[str, str], Callable[[], httpx.AsyncClient]]] = {
    "request hook": lambda kind, text: _hook(kind, text, "request"),
    "response hook": lambda kind, text: _hook(kind, text, "response"),
    "transport": _transport,
    "body": _body,
    "auth": _auth,
    "build_request": _build_request,
    "callable that makes the client": lambda kind, text: lambda: _raise(kind, text),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("where", CLIENTS)
def test_the_text_of_a_client_is_not_shown(where: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Server(DATA) as server:
        for text in TEXTS:
            source = HttpSource(server.url(), client=CLIENTS[where](kind, text), retries=1, backoff=0)
            with pytest.raises(TransportError) as caught:
                alphastream_gpu.open(source, config=FAST)
            for shown in (*_everything(caught.value), *_everything(source.last_failure)):
                assert SECRET not in shown
            assert "127.0.0.1" in str(caught.value)
    assert SECRET not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("is_async", [False, True])
def test_the_text_of_a_url_callable_is_not_shown(kind: str, is_async: bool) -> None:
    for text in TEXTS:

        def sign(text: str = text) -> str:
            return str(_raise(kind, text))

        async def sign_later(text: str = text) -> str:
            return str(_raise(kind, text))

        with pytest.raises(FrameTimeoutError if kind == "FrameTimeoutError" else TransportError) as caught:
            alphastream_gpu.open(sign_later if is_async else sign, config=FAST)
        for shown in _everything(caught.value):
            assert SECRET not in shown
        assert "the URL callable failed: " in str(caught.value)
        assert " at test_http_foreign.py:" in str(caught.value)


@pytest.mark.parametrize("kind", ["RuntimeError", "OSError", "SystemExit", "TransportError"])
def test_the_text_of_a_client_that_cannot_be_closed_is_not_shown(kind: str) -> None:
    class Client(httpx.AsyncClient):
        async def aclose(self) -> None:
            await super().aclose()
            _raise(kind, TEXTS[0])

    async def run() -> None:
        source = HttpSource(server.url(), client=Client)
        await source.read(ByteRange(0, 9))
        with pytest.raises(TransportError, match="closing the client failed: ") as caught:
            await source.aclose()
        for shown in _everything(caught.value):
            assert SECRET not in shown

    with Server(DATA) as server:
        asyncio.run(run())


def test_the_reason_of_a_given_client_comes_from_the_system() -> None:
    """Without the texts, a failed connection must still be explained."""
    with Server(DATA) as server:
        url = server.url()
    for client in (httpx.AsyncClient, lambda: httpx.AsyncClient(verify=False)):
        with pytest.raises(TransportError, match="ConnectError: Connection refused$"):
            alphastream_gpu.open(url, client=client, config=FAST)
    with pytest.raises(TransportError, match=r"ConnectError: the name of the host cannot be resolved \(EAI_"):
        alphastream_gpu.open("http://no.such.host.invalid/x", client=httpx.AsyncClient, config=FAST)


def test_the_reason_of_a_failed_certificate() -> None:
    error = httpx.ConnectError(TEXTS[0])
    error.__cause__ = ExceptionGroup(TEXTS[0], [ssl.SSLCertVerificationError(1, TEXTS[0])])
    assert system_reason(error) == "certificate verify failed: "
    error.__cause__ = _openssl_error()
    assert system_reason(error).startswith("TLS failed: ")
    error.__cause__ = error
    assert system_reason(error) == ""


def _openssl_error() -> ssl.SSLError:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(b"no TLS at all" * 9)
    try:
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="host").do_handshake()
    except ssl.SSLError as exc:
        return exc
    raise AssertionError


@pytest.mark.parametrize(
    ("text", "is_harmless"),
    [
        ("All connection attempts failed", True),
        ("[Errno -2] Name or service not known", True),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch (_ssl.c:1006)", True),
        ("407 Proxy Authentication Required", True),
        ("http://host/x", False),
        ("GET /x?sig=1", False),
        ("user@host", False),
        ("a\nb", False),
        ("", False),
        ("x" * 301, False),
    ],
)
def test_the_texts_of_the_librarys_own_client(text: str, is_harmless: bool) -> None:
    assert harmless(text) == (text if is_harmless else "")


def test_an_exception_that_is_its_own_cause() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        error = RuntimeError(TEXTS[0])
        raise error from error

    with pytest.raises(TransportError, match="the given client failed: RuntimeError at "):
        alphastream_gpu.open(
            "http://host/x", client=lambda: httpx.AsyncClient(transport=httpx.MockTransport(handler)), config=FAST
        )


def test_a_cancelled_read_is_still_cancelled() -> None:
    """Exceptions of callers become errors, but a real cancellation passes."""

    async def run() -> None:
        async def hang(request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(3600)
            raise AssertionError

        async with httpx.AsyncClient(transport=httpx.MockTransport(hang)) as client:
            reading = asyncio.ensure_future(HttpSource("http://host/x", client=client).read(ByteRange(0, 9)))
            await asyncio.sleep(0.05)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading

    asyncio.run(run())


def test_a_failure_of_the_network_backend_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """httpcore logs the texts of exceptions of the backend, which may be the caller's."""
    caplog.set_level(logging.DEBUG)

    class Backend(httpcore.AsyncNetworkBackend):
        async def connect_tcp(self, *args: Any, **options: Any) -> Any:
            raise httpcore.ConnectError(TEXTS[1])

    def make() -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport()
        transport._pool = httpcore.AsyncConnectionPool(network_backend=Backend())
        return httpx.AsyncClient(transport=transport)

    with pytest.raises(AlphaStreamError) as caught:
        alphastream_gpu.open("http://127.0.0.1:9/x", client=make, config=FAST)
    assert SECRET not in str(caught.value)
    assert SECRET not in caplog.text
    assert "connect_tcp.failed (details are hidden)" in caplog.text
