"""
Properties and methods of a caller's source that raise exceptions or return invalid values.
"""

from __future__ import annotations

import asyncio
import threading
from array import array
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from support import SAMPLE, wait_until

import alphastream_gpu
from alphastream_gpu import AlphaStream, AsvrKey, ByteRange, Config, MemorySource, RequestTiming, TransportError
from alphastream_gpu._sources.guest import GuestSource, on_own_loop
from alphastream_gpu._stream.session import Session

DATA = SAMPLE.read_bytes()
ONCE = Config(prefetch_frames=0, get_frame_timebox=1000)
ERRORS = (
    KeyError,
    GeneratorExit,
    StopIteration,
    StopAsyncIteration,
    SystemExit,
    KeyboardInterrupt,
    asyncio.CancelledError,
)
DEFAULTS: dict[str, Any] = {
    "name": "",
    "length": None,
    "last_failure": None,
    "next_attempt_at": None,
    "reply_summary": "",
    "requests": 0,
    "bytes_received": 0,
    "recent_requests": (),
    "retry_reasons": {},
}
NEEDED = ("name", "length")
"""If these are invalid, reads fail."""


class Source(MemorySource):
    """A source whose properties can be replaced."""

    def __init__(self) -> None:
        super().__init__(DATA, name="mine")
        self.values: dict[str, Callable[[], Any]] = {}
        self.is_closed = False

    async def aclose(self) -> None:
        self.is_closed = True


def _replaceable(name: str) -> property:
    def get(self: Source) -> Any:
        replaced = self.values.get(name)
        return getattr(super(Source, self), name) if replaced is None else replaced()

    return property(get)


for _name in DEFAULTS:
    setattr(Source, _name, _replaceable(_name))


def raising(error: type[BaseException]) -> Callable[[], Any]:
    def get() -> Any:
        if error is KeyboardInterrupt and threading.current_thread() is threading.main_thread():
            return 5  # there it would be Ctrl-C
        raise error("k")

    return get


def returning(value: object) -> Callable[[], Any]:
    return lambda: value


INVALID: dict[str, list[object]] = {
    "name": [None, b"x", 5, "x" * 100_000],
    "length": [-1, 2**63, 10**5000, "5", 5.0, float("nan"), b""],
    "last_failure": ["broken", ValueError("x"), TransportError, 5],
    "next_attempt_at": ["soon", float("nan"), float("inf"), 1j, b""],
    "reply_summary": [None, 5, b"x", "x" * 100_000],
    "requests": [-1, 2**63, None, "5", 1.5, float("nan")],
    "bytes_received": [-1, 2**63, None, "5", 1.5],
    "recent_requests": [None, [], (5,), (RequestTiming(float("nan"), 0.0, 0, None),), ((),) * 1001],
    "retry_reasons": [None, (), {5: 1}, {"x": -1}, {"x": 1.5}],
}


def use(source: Source, name: str) -> None:
    """Open, play, look at everything, and close; the given property is invalid from the beginning."""
    if name in NEEDED:
        with pytest.raises(TransportError, match=f"^source: {name}: "):
            alphastream_gpu.open(source, config=ONCE)
        assert source.is_closed
        return
    with alphastream_gpu.open(source, config=ONCE) as stream:
        look(stream)
        assert stream.get_geometry(100) is not None
        assert stream.get_frame(100) is not None
    assert source.is_closed
    assert stream.stats().hits == 1


def look(stream: AlphaStream) -> None:
    stats = stream.stats()
    assert type(stats.requests) is int
    assert type(stats.bytes_fetched) is int
    assert stats.requests >= 0
    assert stats.bytes_fetched >= 0
    assert stream.metadata.frame_count == 120


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("name", DEFAULTS)
def test_a_property_that_raises(name: str, error: type[BaseException]) -> None:
    source = Source()
    source.values[name] = raising(error)
    use(source, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFAULTS)
def test_a_property_with_an_invalid_value(name: str) -> None:
    for value in INVALID[name]:
        source = Source()
        source.values[name] = returning(value)
        use(source, name)
        guest = GuestSource(source)
        assert getattr(guest, name) == DEFAULTS[name]
        with pytest.raises(TransportError, match=f"^source: {name}: expected .*; correct this property of the source$"):
            guest._checked_fact(name)


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("name", DEFAULTS)
def test_a_property_that_raises_later(name: str, error: type[BaseException]) -> None:
    source = Source()
    with alphastream_gpu.open(source, config=ONCE) as stream:
        assert stream.read_frame(1).channel_count
        source.values[name] = raising(error)
        look(stream)
        if name in NEEDED:
            with pytest.raises(TransportError, match=f"^source: {name}: raised {error.__name__}"):
                stream.read_frame(100)
            del source.values[name]
        assert stream.read_frame(100).channel_count
        source.values[name] = raising(error)
        with alphastream_gpu.open(DATA) as other:
            assert other.read_frame(5).channel_count
        stream.load_source(DATA)
        assert source.is_closed
        assert stream.metadata.source_bytes == len(DATA)


def test_messages_about_properties() -> None:
    def told(name: str, value: object) -> str:
        source = Source()
        source.values[name] = returning(value)
        with pytest.raises(TransportError) as caught:
            GuestSource(source)._checked_fact(name)
        return str(caught.value).partition("found ")[2].partition(";")[0]

    assert told("length", -5) == "-5"
    assert told("length", 10**5000) == "a larger number"
    assert told("length", 5.5) == "5.5"
    assert told("name", b"secret") == "bytes"
    assert told("reply_summary", "x" * 70_000) == "a str of 70000 characters"


def test_valid_values_are_passed_on() -> None:
    failure = TransportError("broken")
    values = {
        "name": "a",
        "length": np.int64(5),
        "last_failure": failure,
        "next_attempt_at": np.float32(5),
        "reply_summary": "status 200",
        "requests": np.uint8(7),
        "bytes_received": 2**63 - 1,
    }
    source = Source()
    source.values = {name: returning(value) for name, value in values.items()}
    guest = GuestSource(source)
    assert {name: getattr(guest, name) for name in values} == values
    assert type(guest.length) is type(guest.requests) is int
    assert type(guest.next_attempt_at) is float


def test_ctrl_c_during_a_property_is_not_lost() -> None:
    """Python raises it on the main thread only."""
    source = Source()

    def interrupted() -> int:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return 5

    with alphastream_gpu.open(source, config=ONCE) as stream:
        source.values["requests"] = interrupted
        with pytest.raises(KeyboardInterrupt):
            stream.stats()
        source.values.clear()
        look(stream)


def test_a_key_does_not_use_the_default_of_an_invalid_name() -> None:
    source = Source()
    source.values["name"] = raising(KeyError)
    with pytest.raises(TransportError, match=r"^source: name: raised KeyError: 'k'$"):
        alphastream_gpu.open(source, key=AsvrKey(bytes(32), scene_id=1))


def test_a_subclass_that_overrides_only_a_property_is_the_callers() -> None:
    class Mine(MemorySource):
        @property
        def length(self) -> int:
            raise LookupError("no length")

    assert isinstance(on_own_loop(Mine(DATA)), GuestSource)
    own = MemorySource(DATA)
    assert on_own_loop(own) is own
    with pytest.raises(TransportError, match="^source: length: raised LookupError: no length$"):
        alphastream_gpu.open(Mine(DATA))


def test_closing_finishes_although_counting_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(session: Session, *tables: dict[str, int]) -> None:
        raise TransportError("counting failed")

    source = Source()
    stream = alphastream_gpu.open(source, config=ONCE)
    monkeypatch.setattr(Session, "add_counts", broken)
    with pytest.raises(TransportError, match="^counting failed$"):
        stream.close()
    assert source.is_closed
    stream.close()
    wait_until(lambda: not [one for one in threading.enumerate() if one.name.startswith("alphastream-source")])


def raised_plainly(error: type[BaseException]) -> Awaitable[Any]:
    raise error("k")


async def raised_in_a_coroutine(error: type[BaseException]) -> Any:
    raise error("k")


async def raised_in_a_task(error: type[BaseException]) -> Any:
    async def task() -> Any:
        raise error("k")

    return await asyncio.create_task(task())


async def raised_by_a_future(error: type[BaseException]) -> Any:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.get_loop().call_soon(future.set_exception, RuntimeError if error is StopIteration else error("k"))
    return await future


@pytest.mark.slow
@pytest.mark.parametrize("how", [raised_plainly, raised_in_a_coroutine, raised_in_a_task, raised_by_a_future])
@pytest.mark.parametrize("error", ERRORS)
def test_a_method_that_raises(
    how: Callable[[type[BaseException]], Awaitable[Any]],
    error: type[BaseException],
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Raising(MemorySource):
        is_broken = False

        def read(self, span: ByteRange) -> Any:
            return how(error) if self.is_broken else super().read(span)

        def aclose(self) -> Any:
            return how(error)

    source = Raising(DATA)
    stream = alphastream_gpu.open(source, config=ONCE)
    with alphastream_gpu.open(MemorySource(DATA), config=ONCE) as other:
        source.is_broken = True
        names = f"raised ({error.__name__}|RuntimeError)"
        with pytest.raises(TransportError, match=names):
            stream.read_frame(100)
        source.is_broken = False
        assert stream.read_frame(100) == other.read_frame(100)
        with pytest.raises(TransportError, match=f"closing the source: {names}"):
            stream.close()
        assert other.get_geometry(7) is not None
        source.is_broken = True
        with pytest.raises(TransportError, match=names):  # of read, not of aclose
            alphastream_gpu.open(source, config=ONCE)
        assert other.get_geometry(8) is not None
    if how is not raised_in_a_task:  # asyncio ends a loop whose task raises SystemExit
        assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


def test_a_method_that_cannot_be_looked_up() -> None:
    class Without(MemorySource):
        @property
        def read(self) -> Any:
            raise SystemExit(3)

    with pytest.raises(TransportError, match="raised SystemExit: 3"):
        alphastream_gpu.open(Without(DATA))


def test_views_that_are_not_bytes() -> None:
    """The length of a view counts its items, not its bytes."""

    class Viewing(MemorySource):
        view: Callable[[memoryview], Any] = staticmethod(lambda data: data)

        async def read(self, span: ByteRange) -> Any:
            return self.view(await super().read(span))

    def released(data: memoryview) -> memoryview:
        view = memoryview(bytes(data))
        view.release()
        return view

    source = Viewing(DATA)
    with alphastream_gpu.open(source, config=ONCE) as stream, alphastream_gpu.open(DATA) as other:
        for view in (released, lambda data: memoryview(np.frombuffer(data, "u1"))[::2]):
            source.view = view
            with pytest.raises(TransportError, match="expected a contiguous memoryview, found one that is not"):
                stream.read_frame(100)
        source.view = lambda data: memoryview(array("b", bytes(data)))
        assert stream.read_frame(100) == other.read_frame(100)
        source.view = lambda data: memoryview(np.frombuffer(data, "u1")[None])
        assert stream.read_frame(101) == other.read_frame(101)
