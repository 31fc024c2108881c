"""
An HTTP server on loopback that misbehaves on demand. It writes to sockets directly, so that no HTTP library corrects
its replies.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType

REASONS = {200: "OK", 206: "Partial Content"}


@dataclass
class Request:
    """A request of a client."""

    number: int
    """The number of the request, from 0, since the server started."""
    target: str
    """Path and query as on the request line."""
    headers: dict[str, str]

    @property
    def range(self) -> tuple[int, int]:
        """The first byte, and the byte after the last."""
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["range"])
        assert match is not None
        return int(match[1]), int(match[2]) + 1


class Wire:
    """An open connection that a behaviour writes to."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer

    async def head(self, status: int, **headers: object) -> None:
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Whatever')}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value is not None]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())
        await self.writer.drain()

    async def body(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """End the connection with RST instead of FIN."""
        self.writer.transport.abort()


Behaviour = Callable[["Server", Request, Wire], Awaitable[None]]


@dataclass
class Server:
    """
    A server of one file. `script` returns the behaviour for each request; None is a correct reply.
    """

    data: bytes
    script: Callable[[Request], Behaviour | None] = lambda request: None
    latency: float = 0.0
    etag: str | None = '"v1"'
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    body_bytes: int = 0

    def __enter__(self) -> Server:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="badserver")
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def url(self, path: str = "/person.asvp") -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}{path}"

    def _run(self) -> None:
        # The default loop of Windows always has a task that waits for the next client, and _main would wait for it.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        # server.close() would leave a connection open that asyncio is just accepting.
        while accepting := asyncio.all_tasks() - self._tasks - {asyncio.current_task()}:
            await asyncio.wait(accepting)
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            # A client that does not read would keep the connection open. For TLS, asyncio does not report the end.
            if self.tls or writer.transport.get_write_buffer_size():
                with contextlib.suppress(AttributeError):  # Python 3.11.2 cannot abort TLS that is closed already
                    writer.transport.abort()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Not a coroutine, so that a connection is known at once, and not only after the first step of its task."""
        self._writers.append(writer)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while not writer.is_closing():
                    await self._one(reader, writer)
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        request = Request(len(self.requests), lines[0].split(" ")[1], headers)
        self.requests.append(request)
        if self.latency:
            await asyncio.sleep(self.latency)
        behaviour = self.script(request) or well
        await behaviour(self, request, Wire(writer))


async def promise(server: Server, request: Request, wire: Wire, **headers: object) -> bytes:
    """Send the head of a correct reply; return the bytes that must follow."""
    first, stop = request.range
    part = server.data[first:stop]
    await wire.head(
        206,
        Content_Range=f"bytes {first}-{first + len(part) - 1}/{len(server.data)}",
        Content_Length=len(part),
        ETag=server.etag,
        **headers,
    )
    return part


async def well(server: Server, request: Request, wire: Wire) -> None:
    """A correct reply."""
    if request.range[0] >= len(server.data):
        await wire.head(416, Content_Range=f"bytes */{len(server.data)}", Content_Length=0)
        return
    part = await promise(server, request, wire)
    server.body_bytes += len(part)
    await wire.body(part)


def status(code: int, **headers: object) -> Behaviour:
    """A reply with a status and an empty body."""

    async def behave(server: Server, request: Request, wire: Wire) -> None:
        await wire.head(code, Content_Length=0, **headers)

    return behave


async def whole_file(server: Server, request: Request, wire: Wire) -> None:
    """A 200 with the whole file, as if no range was requested."""
    await wire.head(200, Content_Length=len(server.data), ETag=server.etag)
    await wire.body(server.data)


async def whole_file_until_the_end(server: Server, request: Request, wire: Wire) -> None:
    """A 200 with the whole file, whose length is known only at the end of the connection."""
    await wire.head(200, Connection="close")
    await wire.body(server.data)
    wire.writer.close()


async def whole_file_in_chunks(server: Server, request: Request, wire: Wire) -> None:
    """A 200 with the whole file in chunks."""
    await wire.head(200, Transfer_Encoding="chunked", ETag=server.etag)
    for at in range(0, len(server.data), 50_000):
        part = server.data[at : at + 50_000]
        await wire.body(b"%x\r\n%b\r\n" % (len(part), part))
    await wire.body(b"0\r\n\r\n")


def at_most(n_bytes: int) -> Behaviour:
    """A correct reply with at most `n_bytes` of the requested bytes, which RFC 9110 allows."""

    async def behave(server: Server, request: Request, wire: Wire) -> None:
        first, stop = request.range
        stop = min(stop, first + n_bytes, len(server.data))
        content_range = f"bytes {first}-{stop - 1}/{len(server.data)}"
        await wire.head(206, Content_Range=content_range, Content_Length=stop - first, ETag=server.etag)
        await wire.body(server.data[first:stop])

    return behave


async def twice(server: Server, request: Request, wire: Wire) -> None:
    """Two correct replies to one request, sent together."""
    first, stop = request.range
    part = server.data[first:stop]
    head = (
        f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{first + len(part) - 1}/{len(server.data)}\r\n"
    )
    head += f"Content-Length: {len(part)}\r\nETag: {server.etag}\r\n\r\n"
    await wire.body((head.encode() + part) * 2)


def page(status: int, text: bytes, content_type: str = "text/html; charset=utf-8") -> Behaviour:
    """A page instead of the file, such as a sign-in page."""

    async def behave(server: Server, request: Request, wire: Wire) -> None:
        content_range = f"bytes 0-{len(text) - 1}/{len(text)}" if status == 206 else None
        await wire.head(status, Content_Type=content_type, Content_Length=len(text), Content_Range=content_range)
        await wire.body(text)

    return behave


def altered(**changes: object) -> Behaviour:
    """A reply with a changed header or body: `content_range`, `body`, `length`, `encoding`, `etag`."""

    async def behave(server: Server, request: Request, wire: Wire) -> None:
        first, stop = request.range
        part = server.data[first:stop]
        body = changes.get("body", part)
        data = body(part) if callable(body) else body
        assert isinstance(data, bytes)
        await wire.head(
            206,
            Content_Range=changes.get("content_range", f"bytes {first}-{first + len(part) - 1}/{len(server.data)}"),
            Content_Length=changes.get("length", len(data)),
            Content_Encoding=changes.get("encoding"),
            ETag=changes.get("etag", server.etag),
        )
        await wire.body(data)
        if changes.get("close"):
            wire.writer.close()

    return behave


async def reset_before_the_reply(server: Server, request: Request, wire: Wire) -> None:
    wire.reset()


async def reset_within_the_body(server: Server, request: Request, wire: Wire) -> None:
    part = await promise(server, request, wire)
    await wire.body(part[: len(part) // 2])
    await asyncio.sleep(0.02)
    wire.reset()


async def close_within_the_body(server: Server, request: Request, wire: Wire) -> None:
    part = await promise(server, request, wire)
    await wire.body(part[: len(part) // 2])
    wire.writer.close()


async def a_byte_now_and_then(server: Server, request: Request, wire: Wire) -> None:
    part = await promise(server, request, wire)
    for k in range(len(part)):
        await wire.body(part[k : k + 1])
        await asyncio.sleep(0.2)


async def never(server: Server, request: Request, wire: Wire) -> None:
    await asyncio.sleep(3600)


def once(is_open: Callable[[], bool]) -> Behaviour:
    """A correct reply, as soon as a condition holds."""

    async def behave(server: Server, request: Request, wire: Wire) -> None:
        while not is_open():
            await asyncio.sleep(0.005)
        await well(server, request, wire)

    return behave


async def not_http(server: Server, request: Request, wire: Wire) -> None:
    await wire.body(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    wire.writer.close()


async def no_keep_alive(server: Server, request: Request, wire: Wire) -> None:
    await wire.body(await promise(server, request, wire, Connection="close"))
    wire.writer.close()


async def close_when_idle(server: Server, request: Request, wire: Wire) -> None:
    """A correct reply with keep-alive, after which the server closes the connection."""
    await well(server, request, wire)
    await asyncio.sleep(0.005)
    wire.writer.close()
