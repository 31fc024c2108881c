"""
An HTTP server on loopback that misbehaves on demand. Written on bare sockets, so that nothing corrects it.
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
    """What a client asked for."""

    number: int
    """From 0, over the server's life."""
    target: str
    """Path and query as on the request line."""
    headers: dict[str, str]

    @property
    def range(self) -> tuple[int, int]:
        """First byte, and one past the last."""
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["range"])
        assert match is not None
        return int(match[1]), int(match[2]) + 1


class Wire:
    """The open connection, for a behaviour to write to."""

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
    Serves one file. `script` picks a behaviour for each request; None is to behave well.
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
        # Windows' own loop always has a task that waits for the next client, and _main would wait for that one.
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
        # A connection that asyncio is just accepting would be left open by a server that closes.
        while accepting := asyncio.all_tasks() - self._tasks - {asyncio.current_task()}:
            await asyncio.wait(accepting)
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            # Whoever does not read would keep it open; asyncio does not say of a TLS connection that it has ended.
            if self.tls or writer.transport.get_write_buffer_size():
                with contextlib.suppress(AttributeError):  # Python 3.11.2 cannot abort TLS that is closed already
                    writer.transport.abort()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Called, not awaited, so that no connection is unknown between its coming and its task's first step."""
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
    """The head of a good reply, and the bytes that are to follow it."""
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
    """As a good server does."""
    if request.range[0] >= len(server.data):
        await wire.head(416, Content_Range=f"bytes */{len(server.data)}", Content_Length=0)
        return
    part = await promise(server, request, wire)
    server.body_bytes += len(part)
    await wire.body(part)


def status(code: int, **headers: object) -> Behaviour:
    """Just a status."""

    async def behave(server: Server, request: Request, wire: Wire) -> None:
        await wire.head(code, Content_Length=0, **headers)

    return behave


async def whole_file(server: Server, request: Request, wire: Wire) -> None:
    """200 with everything, as if no range had been asked for."""
    await wire.head(200, Content_Length=len(server.data), ETag=server.etag)
    await wire.body(server.data)


async def whole_file_until_the_end(server: Server, request: Request, wire: Wire) -> None:
    """200 with everything, whose length only the connection's end tells."""
    await wire.head(200, Connection="close")
    await wire.body(server.data)
    wire.writer.close()


async def whole_file_in_chunks(server: Server, request: Request, wire: Wire) -> None:
    """200 with everything, in pieces with their lengths."""
    await wire.head(200, Transfer_Encoding="chunked", ETag=server.etag)
    for at in range(0, len(server.data), 50_000):
        part = server.data[at : at + 50_000]
        await wire.body(b"%x\r\n%b\r\n" % (len(part), part))
    await wire.body(b"0\r\n\r\n")


def at_most(n_bytes: int) -> Behaviour:
    """A good reply with no more than this of what was asked for, as RFC 9110 allows."""

    async def behave(server: Server, request: Request, wire: Wire) -> None:
        first, stop = request.range
        stop = min(stop, first + n_bytes, len(server.data))
        content_range = f"bytes {first}-{stop - 1}/{len(server.data)}"
        await wire.head(206, Content_Range=content_range, Content_Length=stop - first, ETag=server.etag)
        await wire.body(server.data[first:stop])

    return behave


async def twice(server: Server, request: Request, wire: Wire) -> None:
    """Two good replies to one request, in one piece."""
    first, stop = request.range
    part = server.data[first:stop]
    head = (
        f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{first + len(part) - 1}/{len(server.data)}\r\n"
    )
    head += f"Content-Length: {len(part)}\r\nETag: {server.etag}\r\n\r\n"
    await wire.body((head.encode() + part) * 2)


def page(status: int, text: bytes, content_type: str = "text/html; charset=utf-8") -> Behaviour:
    """A page in place of the file, as of a sign-in."""

    async def behave(server: Server, request: Request, wire: Wire) -> None:
        content_range = f"bytes 0-{len(text) - 1}/{len(text)}" if status == 206 else None
        await wire.head(status, Content_Type=content_type, Content_Length=len(text), Content_Range=content_range)
        await wire.body(text)

    return behave


def altered(**changes: object) -> Behaviour:
    """A good reply with other headers or another body: `content_range`, `body`, `length`, `encoding`, `etag`."""

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


async def not_http(server: Server, request: Request, wire: Wire) -> None:
    await wire.body(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    wire.writer.close()


async def no_keep_alive(server: Server, request: Request, wire: Wire) -> None:
    await wire.body(await promise(server, request, wire, Connection="close"))
    wire.writer.close()


async def close_when_idle(server: Server, request: Request, wire: Wire) -> None:
    """A good reply that promises to keep the connection, and does not."""
    await well(server, request, wire)
    await asyncio.sleep(0.005)
    wire.writer.close()
