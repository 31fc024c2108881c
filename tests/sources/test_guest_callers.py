"""
Code of callers in HTTP sources: signers, clients, factories, transports, hooks and callbacks that block, hang or raise.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import pytest
from badserver import Server
from support import SAMPLE, wait_until

import alphastream_gpu
from alphastream_gpu import AlphaStream, ByteRange, Config, HttpSource, MemorySource, TransportError
from alphastream_gpu._runtime.loop import LoopLease
from alphastream_gpu._sources import guest as _guest
from alphastream_gpu._sources import open_source

DATA = SAMPLE.read_bytes()
URL = "http://host/person.asvp"
ONCE = Config(prefetch_frames=0, http_retries=0, http_backoff=0, get_frame_timebox=1000)

Code = Callable[[], object]
"""What the code of the caller does: it blocks or raises."""


def nothing() -> None:
    """Code of a caller that neither blocks nor raises."""


def reply(request: httpx.Request, code: Code = nothing) -> httpx.Response:
    """The reply of a server; `code` runs when its body is read."""
    start, stop = map(int, request.headers["range"].removeprefix("bytes=").split("-"))
    part = DATA[start : stop + 1]
    headers = {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(DATA)}", "ETag": '"1"'}
    return httpx.Response(206, headers={**headers, "Content-Length": str(len(part))}, stream=Body(code, part))


class Transport(httpx.AsyncBaseTransport):
    """A transport without a network."""

    def __init__(self, sending: Code = nothing, closing: Code = nothing) -> None:
        self.sending, self.closing = sending, closing
        self.loops: set[asyncio.AbstractEventLoop] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.loops.add(asyncio.get_running_loop())
        self.sending()
        return reply(request)

    async def aclose(self) -> None:
        self.closing()


class Body(httpx.AsyncByteStream):
    def __init__(self, code: Code, data: bytes) -> None:
        self.code, self.data = code, data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.code()
        yield self.data


class Auth(httpx.Auth):
    def __init__(self, code: Code) -> None:
        self.code = code

    async def async_auth_flow(self, request: httpx.Request) -> AsyncIterator[httpx.Request]:  # type: ignore[override]
        self.code()
        yield request


def client_of(sending: Code = nothing, **options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=Transport(sending), **options)


def with_signer(code: Code) -> dict[str, Any]:
    async def sign() -> str:
        code()
        return URL

    return {"source": sign, "client": client_of}


def with_awaitable(code: Code) -> dict[str, Any]:
    given = with_signer(code)
    sign = given["source"]

    def begin() -> object:
        return sign()

    return {**given, "source": begin}


def with_thread(code: Code) -> dict[str, Any]:
    def sign() -> str:
        code()
        return URL

    return {"source": sign, "client": client_of}


def with_hook(code: Code) -> dict[str, Any]:
    async def hook(message: object) -> None:
        code()

    return {"source": URL, "client": client_of(event_hooks={"request": [hook]})}


def with_reply_hook(code: Code) -> dict[str, Any]:
    async def hook(message: object) -> None:
        code()

    return {"source": URL, "client": partial(client_of, event_hooks={"response": [hook]})}


def with_body(code: Code) -> dict[str, Any]:
    return {"source": URL, "client": httpx.AsyncClient(transport=httpx.MockTransport(partial(reply, code=code)))}


def with_factory(code: Code) -> dict[str, Any]:
    def make() -> httpx.AsyncClient:
        code()
        return client_of()

    return {"source": URL, "client": make}


ON_THE_LOOP: dict[str, Callable[[Code], dict[str, Any]]] = {
    "signer": with_signer,
    "signer without async": with_awaitable,
    "transport": lambda code: {"source": URL, "client": client_of(code)},
    "transport of a factory": lambda code: {"source": URL, "client": lambda: client_of(code)},
    "request hook": with_hook,
    "response hook of a factory": with_reply_hook,
    "authentication": lambda code: {"source": URL, "client": client_of(auth=Auth(code))},
    "body": with_body,
}
"""Where code of a caller runs on an event loop."""
IN_A_THREAD: dict[str, Callable[[Code], dict[str, Any]]] = {"signer in a thread": with_thread, "factory": with_factory}
EVERYWHERE = ON_THE_LOOP | IN_A_THREAD


@pytest.fixture
def other() -> Iterator[AlphaStream]:
    """A stream without code of a caller, on the event loop of the library."""
    with alphastream_gpu.open(MemorySource(DATA), config=ONCE) as stream:
        yield stream


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    wait_until(lambda: not [one for one in threading.enumerate() if one.name.startswith("alphastream-source")])


class Blocking:
    """Code that blocks its thread until `end` is set, from the time when `is_on` is set."""

    def __init__(self) -> None:
        self.is_on = True
        self.begun, self.end = threading.Event(), threading.Event()

    def __call__(self) -> None:
        if self.is_on:
            self.begun.set()
            assert self.end.wait(60)


@pytest.mark.parametrize("where", ON_THE_LOOP)
def test_code_that_blocks_delays_only_its_own_stream(where: str, other: AlphaStream) -> None:
    code = Blocking()
    with ThreadPoolExecutor(1) as pool:
        try:
            opening = pool.submit(partial(alphastream_gpu.open, **ON_THE_LOOP[where](code), config=ONCE))
            assert code.begun.wait(30)
            for index in range(3):
                assert other.get_geometry(index) is not None
            with alphastream_gpu.open(SAMPLE, config=ONCE) as third:
                assert third.get_geometry(7) is not None
            assert not opening.done()
        finally:
            code.end.set()
        with opening.result(30) as stream:
            assert stream.read_frame(7) == other.read_frame(7)


def test_a_callback_that_blocks_delays_only_its_own_stream(other: AlphaStream) -> None:
    code = Blocking()
    with Server(DATA) as server, ThreadPoolExecutor(1) as pool:
        source = HttpSource(server.url())
        source.on_attempt = code
        try:
            opening = pool.submit(alphastream_gpu.open, source)
            assert code.begun.wait(30)
            assert other.get_geometry(7) is not None
        finally:
            code.end.set()
        opening.result(30).close()


def test_the_librarys_own_client_runs_on_the_loop_of_all_streams() -> None:
    with Server(DATA) as server, alphastream_gpu.open(server.url()) as stream:
        assert stream.read_frame(7).channel_count
        assert not any(one.name.startswith("alphastream-source") for one in threading.enumerate())
        assert stream.stats().requests == len(server.requests)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_the_counters_of_a_stream_with_a_callers_code(where: str) -> None:
    with alphastream_gpu.open(**EVERYWHERE[where](nothing), config=ONCE) as stream:
        geometry = stream.read_frame(100)
        stats = stream.stats()
        assert (stats.requests, stats.reads) == (1, 1)
        assert stats.bytes_fetched == stats.bytes_read == stream.metadata.source_bytes == len(DATA)
    assert stream.stats().requests == 1
    with alphastream_gpu.open(DATA) as same:
        assert same.read_frame(100) == geometry


@pytest.mark.slow
@pytest.mark.parametrize("where", EVERYWHERE)
def test_code_that_hangs_does_not_hang_close(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_guest, "_CLOSE_SECONDS", 0.2)
    code = Blocking()
    stream = AlphaStream(config=ONCE)
    arguments = EVERYWHERE[where](code)
    source = HttpSource(arguments["source"], client=arguments["client"])
    with ThreadPoolExecutor(1) as pool:
        try:
            opening = pool.submit(stream.load_source, source)
            assert code.begun.wait(30)
            started = time.monotonic()
            stream.close()
            assert time.monotonic() - started < 10
            with pytest.raises(alphastream_gpu.ClosedError):
                opening.result(30)
        finally:
            code.end.set()


@pytest.mark.slow
@pytest.mark.parametrize("where", ["signer", "transport", "client's aclose"])
def test_code_that_hangs_does_not_hang_exit(where: str) -> None:
    """Exit waits for all streams for 2 s."""
    script = f"""
import sys, time, threading
sys.path[:0] = [{str(SAMPLE.parents[1] / "tests")!r}, {str(SAMPLE.parents[1] / "tests" / "sources")!r}]
import test_guest_callers as it, alphastream_gpu, httpx
hanging = threading.Event()
hangs = {where != "client's aclose"}
def code():
    if hangs:
        hanging.set()
        time.sleep(60)
def closing():
    hanging.set()
    time.sleep(60)
stream = alphastream_gpu.AlphaStream()
if {where!r} == "signer":
    arguments = it.with_signer(code)
else:
    arguments = dict(source=it.URL, client=lambda: httpx.AsyncClient(transport=it.Transport(code, closing)))
source = alphastream_gpu.HttpSource(arguments["source"], client=arguments["client"])
if hangs:
    threading.Thread(target=stream.load_source, args=[source], daemon=True).start()
    hanging.wait()
else:
    stream.load_source(source)
print("at exit", time.time(), flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=50, check=False
    )
    ended = time.time()
    assert done.stdout.startswith("at exit "), done.stderr
    assert ended - float(done.stdout.split()[-1]) < 15
    assert done.returncode == 0, done.stderr


ERRORS = (GeneratorExit, StopIteration, StopAsyncIteration, SystemExit, KeyboardInterrupt, asyncio.CancelledError)


def raising(error: type[BaseException], times: int = 1) -> Code:
    """Code that raises an exception the first times."""
    left = iter([error("with a secret")] * times)

    def code() -> None:
        found = next(left, None)
        if found is not None:
            raise found

    return code


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("where", EVERYWHERE)
def test_an_exception_fails_alone(
    where: str, error: type[BaseException], other: AlphaStream, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = EVERYWHERE[where](raising(error))
    with pytest.raises(TransportError) as caught:
        alphastream_gpu.open(**arguments, config=ONCE)
    names = [error.__name__]
    if issubclass(error, StopIteration | StopAsyncIteration):
        names.append("RuntimeError")  # Python itself converts these two in a coroutine or a generator
    assert any(name in str(caught.value) for name in names)
    assert "secret" not in str(caught.value)
    assert other.get_geometry(7) is not None
    with alphastream_gpu.open(**arguments, config=ONCE) as stream:
        assert stream.read_frame(7) == other.read_frame(7)
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("where", EVERYWHERE)
def test_an_exception_in_a_source_that_is_used_without_a_stream(where: str, error: type[BaseException]) -> None:
    async def read() -> None:
        arguments = EVERYWHERE[where](raising(error))
        source = HttpSource(arguments["source"], client=arguments["client"], retries=0)
        with pytest.raises(TransportError):
            await source.read(ByteRange(0, 9))
        assert await source.read(ByteRange(0, 9)) == DATA[:9]
        await source.aclose()

    asyncio.run(read())


@pytest.mark.parametrize("error", ERRORS)
def test_an_exception_of_a_client_that_is_closed(error: type[BaseException], other: AlphaStream) -> None:
    def make() -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=Transport(closing=raising(error)))

    stream = alphastream_gpu.open(URL, client=make, config=ONCE)
    with pytest.raises(TransportError, match="http://host/person.asvp: closing the client failed: ") as caught:
        stream.close()
    assert "secret" not in str(caught.value)
    assert other.get_geometry(7) is not None


@pytest.mark.parametrize("error", ERRORS)
def test_an_exception_of_a_callback(error: type[BaseException], other: AlphaStream) -> None:
    with Server(DATA) as server:
        source = HttpSource(server.url())
        source.on_attempt = raising(error)
        with pytest.raises(TransportError, match=f"on_attempt: raised {error.__name__}"):
            alphastream_gpu.open(source, config=ONCE)
        assert other.get_geometry(7) is not None


def test_streams_with_one_client_have_one_loop() -> None:
    """The connections of a client belong to one loop."""
    transport = Transport()
    client = httpx.AsyncClient(transport=transport)
    with alphastream_gpu.open(URL, client=client) as first, alphastream_gpu.open(URL, client=client) as second:
        assert first.read_frame(100) == second.read_frame(100)
        second.close()
        assert first.read_frame(119).channel_count >= 0
        second_source = HttpSource(URL, client=client)
        first.load_source(second_source)
    assert len(transport.loops) == 1
    assert not client.is_closed


class Signer:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.loops: set[asyncio.AbstractEventLoop] = set()

    async def sign(self, url: str = URL) -> str:
        async with self.lock:
            self.loops.add(asyncio.get_running_loop())
            await asyncio.sleep(0.001)
        return url


@pytest.mark.parametrize("how", ["a method", "a partial method", "a function"])
def test_streams_with_one_signer_have_one_loop(how: str) -> None:
    signer = Signer()

    async def function() -> str:
        return await signer.sign()

    def given() -> Any:
        return {"a method": signer.sign, "a partial method": partial(signer.sign, URL), "a function": function}[how]

    with (
        alphastream_gpu.open(given(), client=client_of),
        alphastream_gpu.open(given(), client=client_of),
    ):
        pass
    assert len(signer.loops) == 1


def test_streams_with_one_factory_have_a_loop_each() -> None:
    transports: list[Transport] = []

    def make() -> httpx.AsyncClient:
        transports.append(Transport())
        return httpx.AsyncClient(transport=transports[-1])

    with alphastream_gpu.open(URL, client=make), alphastream_gpu.open(URL, client=make):
        assert len({loop for transport in transports for loop in transport.loops}) == 2


def test_the_loop_of_an_object_ends_with_its_last_lease() -> None:
    owner = object()
    leases = [LoopLease.of(owner, "alphastream-source") for _ in range(2)]
    other = LoopLease.of(object(), "alphastream-source")

    async def loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    loops = [lease.submit(loop).result(30) for lease in (*leases, other)]
    assert loops[0] is loops[1] is not loops[2]
    leases[0].release()
    assert leases[1].submit(loop).result(30) is loops[0]
    leases[1].release()
    other.release()
    assert all(one.is_closed() for one in loops)


def test_code_that_stops_its_loop(other: AlphaStream) -> None:
    def stop() -> None:
        asyncio.get_running_loop().stop()

    with alphastream_gpu.open(URL, client=client_of(stop), config=ONCE) as stream:
        assert stream.read_frame(7) == other.read_frame(7)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_task_that_raises_when_its_loop_ends(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    tasks = []

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise error from None

    def spawn() -> None:
        tasks.append(asyncio.ensure_future(wait()))

    with alphastream_gpu.open(URL, client=client_of(spawn), config=ONCE) as stream:
        assert stream.read_frame(7).channel_count
    assert all(isinstance(task.exception(), error) for task in tasks if not task.cancelled())
    assert "a task tried to end the process while its event loop ended" in caplog.text


def test_a_stream_opened_by_open_source_is_a_guest_only_with_a_callers_code() -> None:
    def sign() -> str:
        return URL

    async def opened(source: Any) -> type:
        found = await open_source(source, Config())
        await found.aclose()
        return type(found)

    assert asyncio.run(opened(sign)) is _guest.GuestSource
    assert asyncio.run(opened(HttpSource(URL, client=client_of))) is _guest.GuestSource
    assert asyncio.run(opened(URL)) is HttpSource
