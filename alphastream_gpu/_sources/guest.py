"""
GuestSource: runs a source that contains a caller's code on an event loop of its own.

The sources of the library never block the event loop that all streams share. The code of a caller may block it, for
example in a call that waits for a disk or a server. That code is a source that the caller wrote, or the client or the
URL callable of an HttpSource. On its own loop, it delays only its own reads.

The code of a caller may also raise any exception, and properties of the caller's source may have any value. A
GuestSource limits both: see :meth:`GuestSource.read` and :data:`_FACTS`.
"""

from __future__ import annotations

import asyncio
import math
import operator
import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from numbers import Real
from typing import Any, Final, NamedTuple, TypeVar, cast

from .._exceptions import AlphaStreamError, TransportError, contained_errors
from .._runtime.loop import LoopLease, outcome
from .._runtime.workers import call_contained
from .base import RequestTiming, Source
from .cache import CachedSource
from .file import FileSource
from .http import HttpSource
from .http.source import callers_code
from .memory import MemorySource
from .mirrors import MirrorSource
from .ranges import ByteRange

__all__ = ["GuestSource", "on_own_loop"]

T = TypeVar("T")

_guests: weakref.WeakValueDictionary[int, GuestSource] = weakref.WeakValueDictionary()
"""By the identity of the caller's source. A source that two streams read has one loop, to which its locks may
belong."""
_CLOSE_SECONDS: Final = 2.0
"""How long closing waits for a source that hangs; as long as exit does."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_guests.clear)  # their loops are the parent's


def on_own_loop(source: Source) -> Source:
    """Wrap a source that runs code of a caller in a :class:`GuestSource`; return another source unchanged."""
    owner = _owner(source)
    return source if owner is None else _guests.setdefault(id(source), GuestSource(source, owner))


def _owner(source: Source) -> object | None:
    """The object of the caller whose code a source runs; None if it runs only code of the library."""
    if isinstance(source, HttpSource):
        owner = callers_code(source)
        if owner is not None or type(source) is HttpSource:
            return owner
    if type(source) is CachedSource:
        return _owner(source.inner)  # both on one loop
    # Subclasses may override any method or property. The mirrors of a MirrorSource each have a loop if they need one.
    return None if type(source) in (FileSource, MemorySource, MirrorSource) else source


class _Fact(NamedTuple):
    """A property of a source: what it may be."""

    convert: Callable[[Any], Any]
    """Makes an exact value of a valid one. Raises an exception for an invalid one."""
    expected: str
    default: Any
    """The value in place of an invalid one."""


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MOST_CHARACTERS:
        raise ValueError
    return str(value)


def _count(value: Any) -> int:
    number = operator.index(value)
    if not 0 <= number <= _MOST_BYTES:
        raise ValueError
    return int(number)


def _time(value: Any) -> float:
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _error(value: Any) -> AlphaStreamError:
    if not isinstance(value, AlphaStreamError):
        raise TypeError
    return value


def _timings(value: Any) -> tuple[RequestTiming, ...]:
    if not isinstance(value, tuple) or len(value) > _MOST_ENTRIES:
        raise TypeError
    return tuple(
        RequestTiming(
            _time(one.began_at),
            _time(one.seconds),
            _count(one.bytes),
            None if one.failure is None else _text(one.failure),
        )
        for one in value
    )


def _reasons(value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping) or len(value) > _MOST_ENTRIES:
        raise TypeError
    return {_text(reason): _count(number) for reason, number in value.items()}


def _or_none(convert: Callable[[Any], T]) -> Callable[[Any], T | None]:
    return lambda value: None if value is None else convert(value)


_MOST_CHARACTERS: Final = 65_536
"""As many as a URL may have."""
_MOST_BYTES: Final = 2**63 - 1
_MOST_ENTRIES: Final = 1000
_A_TEXT: Final = f"a str of at most {_MOST_CHARACTERS} characters"
_A_COUNT: Final = "an integer from 0 to 2**63 - 1"
_FACTS: Final = {
    "name": _Fact(_text, _A_TEXT, ""),
    "length": _Fact(_or_none(_count), f"{_A_COUNT}, or None", None),
    "last_failure": _Fact(_or_none(_error), "an AlphaStreamError or None", None),
    "next_attempt_at": _Fact(_or_none(_time), "a finite number or None", None),
    "reply_summary": _Fact(_text, _A_TEXT, ""),
    "requests": _Fact(_count, _A_COUNT, 0),
    "bytes_received": _Fact(_count, _A_COUNT, 0),
    "recent_requests": _Fact(_timings, f"a tuple of at most {_MOST_ENTRIES} RequestTiming objects", ()),
    "retry_reasons": _Fact(_reasons, f"a mapping of at most {_MOST_ENTRIES} texts to counts", {}),
}


class GuestSource(Source):
    """
    A source that runs `read` and `aclose` of another source on an event loop of its own.

    The thread of the loop starts with the first read and ends when the source is closed. A cancelled read ends at
    once, even if the other source goes on; :meth:`aclose` waits until that read has ended.

    A property returns the default of :class:`Source` if that of the other source raises an exception or has an invalid
    value. If that property is `name` or `length`, on which the meaning of the bytes depends, reads fail, too.

    Args:
        inner: the other source.
        owner: the object of the caller whose code the source runs. Sources with the same owner have one loop. If
            omitted, it is `inner`.
    """

    def __init__(self, inner: Source, owner: object = None) -> None:
        self._inner = inner
        self._owner = inner if owner is None else owner
        self._lease: LoopLease | None = None
        self._is_closed = False
        self._starting = threading.Lock()
        self._n_reads = 0
        """Reads that callers wait for."""
        self._reads: set[asyncio.Task[Any]] = set()
        """Calls of the source that have not ended, on its loop."""

    @property
    def name(self) -> str:
        return cast("str", self._fact("name"))

    @property
    def length(self) -> int | None:
        return cast("int | None", self._fact("length"))

    @property
    def last_failure(self) -> AlphaStreamError | None:
        return cast("AlphaStreamError | None", self._fact("last_failure"))

    @property
    def next_attempt_at(self) -> float | None:
        return cast("float | None", self._fact("next_attempt_at"))

    @property
    def reply_summary(self) -> str:
        return cast("str", self._fact("reply_summary"))

    @property
    def requests(self) -> int:
        return cast("int", self._fact("requests"))

    @property
    def bytes_received(self) -> int:
        return cast("int", self._fact("bytes_received"))

    @property
    def recent_requests(self) -> tuple[RequestTiming, ...]:
        return cast("tuple[RequestTiming, ...]", self._fact("recent_requests"))

    @property
    def retry_reasons(self) -> Mapping[str, int]:
        return cast("Mapping[str, int]", self._fact("retry_reasons"))

    async def read(self, span: ByteRange) -> bytes | memoryview:
        """
        Read a range, as every source.

        Exceptions of the other source are raised here, for the caller to convert. ``GeneratorExit`` and
        ``StopIteration`` have a meaning for every coroutine that they pass, so they become a TransportError here.
        """
        doing = f"reading {span} of {self.name!r}"
        self._n_reads += 1
        try:
            # Not partial(self._inner.read, span): looking the method up runs code of the caller, too.
            data = await self._call(doing, lambda: self._inner.read(span))
        finally:
            self._n_reads -= 1
            if self._is_closed and not self._n_reads:  # by another stream; nobody closes this source again
                await self._end(time.monotonic() + _CLOSE_SECONDS)
        for name in ("name", "length"):
            self._checked_fact(name)
        return _flat(doing, data) if isinstance(data, memoryview) else data

    async def aclose(self) -> None:
        """
        Close the source after its reads have ended.

        Raises:
            TransportError: closing failed, or a read, or closing, does not end within two seconds. Then its thread is
                left to itself.
        """
        self._is_closed = True
        ends_at = time.monotonic() + _CLOSE_SECONDS
        limit = asyncio.timeout(_CLOSE_SECONDS)
        try:
            with contained_errors("closing the source"):
                async with limit:
                    await self._call("closing the source", self._after_the_reads)
        except TimeoutError:
            if not limit.expired():
                raise
            raise TransportError(
                f"closing {self.name!r}: the source still hangs after {_CLOSE_SECONDS:g} s, in a read or in aclose()"
            ) from None
        finally:
            if not self._n_reads:
                await self._end(ends_at)

    async def _end(self, deadline: float) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:  # it waits for the thread of the loop
            await asyncio.to_thread(lease.release, deadline)

    async def _after_the_reads(self) -> None:
        me = asyncio.current_task()
        await asyncio.gather(*(task for task in self._reads if task is not me), return_exceptions=True)
        await self._inner.aclose()

    def _fact(self, name: str) -> object:
        """A property of the source, or its default."""
        try:
            return self._checked_fact(name)
        except AlphaStreamError:
            return _FACTS[name].default

    def _checked_fact(self, name: str) -> object:
        """A property of the source. Raises TransportError if it raises an exception or has an invalid value."""
        fact = _FACTS[name]
        value = call_contained(f"source: {name}", lambda: getattr(self._inner, name))
        try:
            return call_contained("", lambda: fact.convert(value))
        except AlphaStreamError:
            pass
        raise TransportError(
            f"source: {name}: expected {fact.expected}, found {_shown(value)}; correct this property of the source"
        )

    async def _call(self, doing: str, function: Callable[[], Awaitable[T]]) -> T:
        """Await a method of the source on its loop. Its exceptions are raised here."""
        lease = self._lease
        if lease is None:
            lease = await asyncio.to_thread(self._start)
        result, error = await asyncio.wrap_future(lease.submit(partial(self._outcome, function)))
        # Raised here, the first would look as if this coroutine were dropped, and the second as if it had returned.
        if isinstance(error, GeneratorExit | StopIteration):
            raise TransportError(f"{doing}: raised {type(error).__name__}") from error
        if error is not None:
            raise error
        return cast("T", result)

    def _start(self) -> LoopLease:
        with self._starting:
            if self._lease is None:
                self._lease = LoopLease.of(self._owner, "alphastream-source")
            return self._lease

    async def _outcome(self, function: Callable[[], Awaitable[T]]) -> tuple[T | None, BaseException | None]:
        """Make a call of the source, on its loop."""
        task = asyncio.current_task()
        assert task is not None
        self._reads.add(task)
        try:
            return await outcome(function)
        except GeneratorExit as exc:
            if asyncio.current_task() is not task:
                raise
            # The caller's code awaited a future with this exception. asyncio throws it into the whole task, whose inner
            # coroutines it closes, outcome() among them.
            return None, exc
        finally:
            self._reads.discard(task)


def _flat(doing: str, data: memoryview) -> memoryview:
    """A view of a caller as bytes. Its length in other items would not be the length of the data."""
    try:
        return data if data.format == "B" and data.ndim == 1 and data.contiguous else data.cast("B")
    except (TypeError, ValueError):  # released, or not contiguous
        pass
    raise TransportError(f"{doing}: expected a contiguous memoryview, found one that is not contiguous or is released")


def _shown(value: object) -> str:
    """The form of an invalid value for messages. A long number or text is not shown."""
    kind = type(value)
    if kind is float or (kind is int and abs(cast("int", value)) <= 2 * _MOST_BYTES):
        return repr(value)
    if kind is str:
        return f"a str of {len(cast('str', value))} characters"
    return "a larger number" if kind is int else kind.__name__
