"""
Fuzz target: what a server answers. `HttpSource` gives exactly the bytes that were asked for or one of the errors,
within its deadline and its memory, and tells its secrets to nobody.

The input describes a server: its replies one by one, and what is read from it. A reply is an honest one, bent in some
ways, or any bytes; after the last one the server is honest. All of httpx, httpcore and h11 is in between: the bytes
come from a network backend that is handed to httpcore, with no socket. Time is the event loop's own, so a server that
hangs costs nothing.

An honest server never sends other bytes than those its Content-Range names, so what a read returns is known.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import re
import selectors
import ssl
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from alphastream_gpu import ByteRange, FrameTimeoutError, HttpSource, TransportError
from fuzz import Feed, within_memory

__all__ = ["VirtualLoop", "check"]

FILE = tuple(bytes((k * 37 + k // 251 + 128 * version) % 256 for k in range(48_000)) for version in range(2))
"""The file, in two versions that differ in each byte."""
_OWN = "https://own.example"
_QUERY, _OTHER_QUERY, _TOKEN, _COOKIE = "q-secret", "r-secret", "t-secret", "c-secret"
_URL = f"{_OWN}/files/person.asvp?signature={_QUERY}"
_DEADLINE = 20.0
_CHUNK = 4096
_SCALE = 16
"""Bytes of the file for one of the input's: the file is some times as long as a request may be."""
_MOST_REPLIES = 24
_MEMORY = 2 << 20
"""Bytes: a client, its parser's 100 KB of headers, and pieces of 64 KB; a server that floods sends 16 MiB."""
_FLOOD_PIECE = bytes(1 << 16)
_FLOOD_PIECES = 256

_VALIDATORS: tuple[dict[str, str], ...] = (
    {},
    {"ETag": '"v{}"'},
    {"Last-Modified": "Mon, 0{} Jan 2024 00:00:00 GMT"},
    {"ETag": 'W/"v{}"'},
)
_STATUSES = (203, 204, 304, 400, 401, 403, 404, 408, 410, 416, 429, 500, 502, 503)
_LOCATIONS = (
    f"/moved?signature={_OTHER_QUERY}",
    f"https://other.example/moved?signature={_OTHER_QUERY}",
    f"https://own.example:8443/moved?signature={_OTHER_QUERY}",
    f"http://own.example/moved?signature={_OTHER_QUERY}",
    f"https://[::1/?signature={_OTHER_QUERY}",
    f"https://a\u00e9 b/?signature={_OTHER_QUERY}",
    f"file:///etc/passwd?signature={_OTHER_QUERY}",
    "#",
)
_HANG, _RESET = "hang", "reset"

Piece = bytes | str


@dataclass
class _Reply:
    """One reply as the input describes it."""

    kind: int
    bent: int
    number: int
    text: bytes

    @property
    def is_raw(self) -> bool:
        return self.kind == 9

    @property
    def lacks_validator(self) -> bool:
        return bool(self.bent & 1)

    @property
    def version(self) -> int:
        return self.bent >> 1 & 1


class _Server:
    """What is behind the network: the script, and what has been seen."""

    def __init__(self, feed: Feed) -> None:
        setup = feed.number()
        self.validators = _VALIDATORS[setup & 3]
        self.is_callable = bool(setup & 4)
        self.cap = _SCALE * (1000 if setup & 8 else 4096)
        n_reads = 1 + (setup >> 4 & 3)
        self.spans = []
        for _ in range(n_reads):
            start = _SCALE * (feed.number(2) % 3500)
            self.spans.append(ByteRange(start, start + _SCALE * 8 * feed.number()))
        self.replies: list[_Reply] = []
        while feed and len(self.replies) < _MOST_REPLIES:
            kind, bent, number = feed.number() % 16, feed.number(), feed.number()
            self.replies.append(_Reply(kind, bent, number, feed.take(number) if kind in (6, 9, 14) else b""))
        self.is_honest = not any(reply.is_raw for reply in self.replies)
        # Without a validator in each reply nothing tells versions apart.
        self.has_versions = setup & 3 in (1, 2) and not any(reply.lacks_validator for reply in self.replies)
        self._next = iter(self.replies)

    def answer(self, request: bytes, origin: str) -> Iterable[Piece]:
        """The pieces that come back for a request."""
        if request.startswith(b"HEAD "):  # for the length of the file, after a Content-Range without it
            return [f"HTTP/1.1 200 OK\r\nContent-Length: {len(FILE[0])}\r\n\r\n".encode()]
        asked = re.search(rb"\r\nrange: bytes=(\d+)-(\d+)\r\n", request, re.I)
        assert asked is not None, "a request without its range"
        reply = next(self._next, _Reply(0, 0, 0, b""))
        return self._pieces(reply, ByteRange(int(asked[1]), int(asked[2]) + 1), _cookie_of(origin))

    def _pieces(self, reply: _Reply, span: ByteRange, cookie: str) -> Iterable[Piece]:
        bent, number = reply.bent, reply.number
        file = FILE[reply.version if self.has_versions else 0]
        headers = {}
        if not reply.lacks_validator:
            headers = {name: text.format(reply.version + 1) for name, text in self.validators.items()}
        status, first, stop, total = 206, span.start, min(span.stop, len(file)), len(file)
        match reply.kind:
            case 6:
                status = _STATUSES[number % len(_STATUSES)]
                headers["Retry-After"] = reply.text.decode("latin-1")
            case 7:
                status = (301, 302, 303, 307, 308)[bent >> 5 & 3]
                headers["Location"] = _LOCATIONS[number % len(_LOCATIONS)]
                headers["Set-Cookie"] = f"login={cookie}; Path=/"
            case 8:
                status, first, stop = 200, 0, len(file)
            case 9:
                return [reply.text, _HANG] if bent & 1 else [reply.text]
            case 10 | 11:
                return [_HANG if reply.kind == 10 else _RESET]
            case 12:
                flood = [_FLOOD_PIECE] * _FLOOD_PIECES
                head = f"bytes {first}-{stop - 1}/{total}" if bent & 1 else f"bytes 0-{len(flood)}/{1 << 24}"
                return [f"HTTP/1.1 20{6 * (bent >> 2 & 1)} OK\r\nContent-Range: {head}\r\n\r\n".encode(), *flood]
            case 13:
                return [b"HTTP/1.1 206 OK\r\n", *[b"X: " + b"x" * 65000 + b"\r\n"] * _FLOOD_PIECES]
            case 14:
                headers["Content-Range"] = reply.text.decode("latin-1")
            case 15:
                first, stop, total = (
                    (first + 1, stop + 1, total),
                    (first, stop - 1, total),
                    (first, stop, total + number),
                    (max(0, first - 1), stop, total),
                )[bent >> 5 & 3]
        body = b"" if stop <= first else file[first:stop]
        if status == 206 and stop <= first and reply.kind != 14:
            status, body = 416, b""
            headers["Content-Range"] = f"bytes */{total}"
        elif status == 206:
            headers.setdefault("Content-Range", f"bytes {first}-{stop - 1}/{total}")
        return _framed(status, headers, body, bent, number)


def _cookie_of(origin: str) -> str:
    """The secret that a host's cookie has."""
    return f"{_COOKIE}-{urlsplit(origin).hostname}"


def _framed(status: int, headers: dict[str, str], body: bytes, bent: int, number: int) -> list[Piece]:
    """A reply as bytes, in pieces; some bits of `bent` change how its length is told, and where it is cut."""
    framing = bent >> 2 & 7
    if framing == 1:
        headers["Transfer-Encoding"] = "chunked"
        step = _SCALE * (1 + number)
        chunks = [body[at : at + step] for at in range(0, len(body), step)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])
    elif framing == 2:
        headers["Content-Length"] = str(len(body) + number - 128)
    elif framing == 3:
        headers["Content-Encoding"] = "gzip"
    if framing not in (1, 2, 4):  # 4: as long as the connection
        headers["Content-Length"] = str(len(body))
    head = f"HTTP/1.1 {status} Whatever\r\n" + "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    raw = head.encode("latin-1", "replace") + b"\r\n" + body
    if framing == 5:
        raw = raw[: len(raw) * number // 256]
    end: list[Piece] = [_HANG] if framing == 6 else [_RESET] if framing == 7 else []
    step = 7 if bent & 0x80 and len(raw) < 500 else 1000 * _SCALE
    return [*(raw[at : at + step] for at in range(0, len(raw), step)), *end]


class _Wire(httpcore.AsyncNetworkStream):
    """One connection."""

    def __init__(self, server: _Server, origin: str) -> None:
        self._server = server
        self._origin = origin
        self._request = b""
        self._pieces: list[Piece] = []

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if isinstance(piece, bytes):
            if len(piece) > max_bytes:
                self._pieces.insert(0, piece[max_bytes:])
            return piece[:max_bytes]
        if piece == _RESET:
            raise httpcore.ReadError("connection reset")
        await asyncio.sleep(1e6)
        raise AssertionError("no timeout ended the wait")

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._request += buffer
        if b"\r\n\r\n" in self._request:
            if self._origin != "https://own.example:443":
                assert _TOKEN.encode() not in self._request, f"credentials went to {self._origin}"
                assert _QUERY.encode() not in self._request, f"the signature went to {self._origin}"
            cookies = set(re.findall(rb"%s-\S+" % _COOKIE.encode(), self._request))
            assert cookies <= {_cookie_of(self._origin).encode()}, f"another host's cookie went to {self._origin}"
            self._pieces = list(self._server.answer(self._request, self._origin))
            self._request = b""

    async def aclose(self) -> None:
        self._pieces = []

    async def start_tls(self, *args: Any, **kwargs: Any) -> _Wire:
        self._origin = self._origin.replace("http:", "https:", 1)
        return self

    def get_extra_info(self, info: str) -> None:
        return None


class _Network(httpcore.AsyncNetworkBackend):
    """Every host leads to the one server."""

    def __init__(self, server: _Server) -> None:
        self._server = server

    async def connect_tcp(self, host: str, port: int, *args: Any, **kwargs: Any) -> _Wire:
        return _Wire(self._server, f"http://{host}:{port}")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Selector(selectors.DefaultSelector):
    """Never waits: what would have been waited is added to the loop's time."""

    waited = 0.0
    who: Callable[[], str] = str
    """Tells who waits, for the message of a wait without an end."""

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, f"everything waits, and nothing will happen: {self.who()}"
            self.waited += max(0.0, timeout)
        return ready


class _AtOnce(ThreadPoolExecutor):
    """Does at once what is given to a thread, which would take no time of the loop's and never be waited for."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as exc:
            future.set_exception(exc)
        return future


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is what would have been waited."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        self._virtual.who = lambda: ", ".join(map(repr, asyncio.all_tasks(self)))
        super().__init__(self._virtual)
        self.set_default_executor(_AtOnce())

    def time(self) -> float:
        return self._virtual.waited


class _Records(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def check(data: bytes, *, always_measure: bool = False) -> None:
    """Whatever a server answers, a read gives the right bytes or one of the errors."""
    records = _Records()
    _runner().get_loop()
    _ssl_context()
    with ExitStack() as logged:
        for name in ("httpx", "httpcore"):
            logged.enter_context(_logging_to(records, logging.getLogger(name)))
        within_memory(lambda: _runner().run(_read_all(_Server(Feed(data)))), data, _MEMORY, always=always_measure)
    _assert_quiet("\n".join(records.texts))


@contextmanager
def _logging_to(handler: logging.Handler, logger: logging.Logger) -> Iterator[None]:
    """Everything that the logger and those below it log goes to the handler, and nowhere else."""
    level, propagates = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = False  # pytest would keep it all, and its memory be taken for the package's
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates


async def _read_all(server: _Server) -> None:
    transport = httpx.AsyncHTTPTransport(verify=_ssl_context())
    # httpx has no option for the network; everything above it stays its own.
    transport._pool = httpcore.AsyncConnectionPool(ssl_context=_ssl_context(), network_backend=_Network(server))
    async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
        source = HttpSource(
            (lambda: _URL) if server.is_callable else _URL,
            client=client,
            headers={"Authorization": f"Bearer {_TOKEN}"},
            timeout=2.0,
            deadline=_DEADLINE,
            retries=2,
            chunk=_CHUNK,
            concurrency=2,
            whole_file_cap=server.cap,
        )
        possible = {0, 1} if server.has_versions else {0}
        for span in server.spans:
            possible = await _read(source, server, span, possible)
        _assert_quiet(repr(source))
        await source.aclose()


async def _read(source: HttpSource, server: _Server, span: ByteRange, possible: set[int]) -> set[int]:
    """One read; which versions of the file all reads so far can have been of."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        found = await source.read(span)
    except (TransportError, FrameTimeoutError) as exc:
        _assert_quiet("\n".join(_texts_of(exc)))
        found = None
    # The first part tells the length and the others follow it, so there are two deadlines at most.
    assert loop.time() - started <= 2 * _DEADLINE + 1, "past the deadline"
    if found is None:
        return possible
    length = source.length
    assert length is not None or not span
    stop = span.stop if length is None else min(span.stop, length)
    start = min(span.start, stop)
    assert len(found) == stop - start
    if not server.is_honest:
        return possible
    possible = {version for version in possible if found == FILE[version][start:stop]}
    assert possible, f"wrong bytes for {span}"
    return possible


def _texts_of(error: BaseException | None) -> Iterator[str]:
    """An error's text and those of all that is attached to it; without a traceback's lines, which take memory."""
    if error is not None:
        yield f"{error!r}: {error}"
        yield from _texts_of(error.__cause__)
        yield from _texts_of(error.__context__)


def _assert_quiet(text: str) -> None:
    for secret in (_QUERY, _OTHER_QUERY, _TOKEN, _COOKIE):
        assert secret not in text, f"{secret} is told: {text}"


@cache
def _runner() -> asyncio.Runner:
    """One event loop for all inputs."""
    runner = asyncio.Runner(loop_factory=VirtualLoop)
    atexit.register(runner.close)
    return runner


@cache
def _ssl_context() -> ssl.SSLContext:
    """Nothing is encrypted; a context that loads no certificates is what a client takes the least time to make."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
