"""
HttpSource: a file behind HTTP(S) range requests.

Strategy
--------
* There is no HEAD request. The first read requests a range like any other read. Its Content-Range has the length of the
  file, and its ETag (or Last-Modified) is remembered. A later reply with another value belongs to another file, and
  bytes of two files would give a wrong frame.
* The facts about the file are one value, :class:`File`. It is replaced only after a complete reply, so a failure does
  not change it.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from ..._config import Config, Validate, check_option
from ..._exceptions import ClosedError, FrameTimeoutError, TransportError, callers_mistake
from ..._runtime.loop import outcome
from ..._runtime.workers import call_contained
from ..._wording import said_in_python
from ..base import (
    ChangedFileError,
    Facts,
    RequestTiming,
    SilentServerError,
    Source,
    UnreachableError,
    resource_name_of,
)
from ..ranges import ByteRange
from .address import NO_HOST, Address, check_header, shown
from .callers import in_thread, raised
from .locate import Locator, UrlLike
from .progress import Outcome, Retries, Traffic, all_or_none
from .reply import judge, judge_length
from .verdict import Again, Elsewhere, File, Length, Nothing, Part, Refused, Reply, Terms, Verdict, Whole

if TYPE_CHECKING:
    import httpx

    from .wire import Answer, Wire

__all__ = ["ClientLike", "HttpSource", "UrlLike", "callers_code", "expect", "facts_of", "from_config", "locate"]

ClientLike: TypeAlias = "httpx.AsyncClient | Callable[[], httpx.AsyncClient]"
"""A client of the caller, or a callable that makes one."""

_OPTIONS: Final = {
    name: name if name == "http2" else f"http_{name}"
    for name in (
        "timeout",
        "deadline",
        "retries",
        "backoff",
        "chunk",
        "concurrency",
        "whole_file_cap",
        "http2",
        "validate",
    )
}
"""The names of the source's options, and their names in :class:`Config`, which defines them."""

_FREE_PIECES: Final = 16
_PIECE_BYTES: Final = 64 * 1024
"""A range may come in `_FREE_PIECES` pieces of any size, plus as many as pieces of this size would need."""


_parents: Final[list[object]] = []
"""In a forked child: the connections of its parent. They are kept, because collecting them would close them."""


class HttpSource(Source):
    """
    A source that reads a file by HTTP(S) range requests.

    The proxies come from ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, and the certificates from
    ``SSL_CERT_FILE`` or ``SSL_CERT_DIR``, unless the caller gives a client. Cookies are not kept, except those of a
    redirect for its next hops.

    Args:
        url: an ``http:`` or ``https:`` URL, or a callable that returns one, which may be asynchronous. A callable that
            is not a coroutine function runs in a thread.
        client: an ``httpx.AsyncClient``, which stays open, or a callable that makes one. The callable is called in a
            thread, and its client is closed with the source. The headers, cookies, authentication and proxies of the
            client are used for the URL's own origin. The requests of streams with the same client run on one event
            loop of the library, so a client that was used on another loop does not work. If omitted, a
            client of the library is used, which sources with the same settings share.
        headers: sent only to the URL's own origin, never to another origin after a redirect. They are never shown.
        timeout: seconds for one request, from connecting to the last byte. This argument and the following ones are
            also options of :class:`Config`, with the prefix ``http_``; units, defaults and ranges are the same.
        deadline: seconds for one read with all its retries and redirects.
        retries: how often a failed request is repeated.
        backoff: milliseconds before the first retry. They double with each retry; up to as much again is added at
            random.
        chunk: most bytes that one request asks for.
        concurrency: most requests at the same time.
        whole_file_cap: most bytes accepted from a server that ignores ranges and sends the whole file; 0 accepts none.
        http2: whether to offer HTTP/2 (needs the ``h2`` package).
        validate: what must not change between replies: ``"etag"`` (a strong ETag, or else Last-Modified, and the
            length), ``"size"`` (the length) or ``"none"``. With ``"size"`` and ``"none"``, a file that is replaced
            while it is read, or replicas that differ, can give wrong masks or a DecodeError.

    Raises:
        ValueError: `url` is not an ``http:`` or ``https:`` URL with a host, a header cannot be sent, or an option is
            outside its range.
        TypeError: `url`, `client` or a header has an unsupported type.

    A failed read raises :class:`TransportError`, with the URL in the message, but without user, query and fragment.
    After the deadline it raises :class:`FrameTimeoutError`. A failure is never remembered.

    A source cannot be pickled, because it may hold secrets and connections: pass the URL on, and make a new source
    where it is needed.
    """

    def __init__(
        self,
        url: UrlLike,
        *,
        client: ClientLike | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = Config.http_timeout,
        deadline: float = Config.http_deadline,
        retries: int = Config.http_retries,
        backoff: float = Config.http_backoff,
        chunk: int = Config.http_chunk,
        concurrency: int = Config.http_concurrency,
        whole_file_cap: int = Config.http_whole_file_cap,
        http2: bool = Config.http2,
        validate: Validate = Config.http_validate,
    ) -> None:
        self._timeout: float = _option("timeout", timeout)
        self._deadline: float = _option("deadline", deadline)
        self._chunk: int = _option("chunk", chunk)
        self._whole_file_cap: int = _option("whole_file_cap", whole_file_cap)
        self._concurrency: int = _option("concurrency", concurrency)
        self._slots = asyncio.Semaphore(self._concurrency)
        self._http2: bool = _option("http2", http2)
        self._validate: Validate = _option("validate", validate)
        self._headers = dict(headers or {})
        for name, value in self._headers.items():
            check_header(name, value)
        self._makes_client = client is None or (callable(client) and not _is_client(client))
        if not self._makes_client and not _is_client(client):
            raise TypeError(
                f"client: expected an httpx.AsyncClient or a callable that makes one, found {type(client).__name__}"
            )
        self._given_client = client
        self._signer = None if isinstance(url, str) else url
        self._client: httpx.AsyncClient | None = None
        """The client in use, from the first read on."""
        self._where = Locator(url, timeout=self._timeout)
        self._name = resource_name_of(url) if isinstance(url, str) else ""
        self._file = File()
        self._whole: bytes | None = None
        self._wire: Wire | None = None
        self._making = asyncio.Lock()
        self._traffic = Traffic()
        self._retries = Retries(_option("retries", retries), _option("backoff", backoff) / 1000, self._report)
        self._summary = ""
        self._closed = False
        self._process: int | None = None
        """The process that reads this source, from the first read on."""
        self._said: Callable[[str], str] = str
        """Gives a message the option names that the caller knows."""

    @property
    def name(self) -> str:
        return self._name

    @property
    def length(self) -> int | None:
        return self._file.length

    @property
    def requests(self) -> int:
        return self._traffic.requests

    @property
    def bytes_received(self) -> int:
        return self._traffic.bytes_received

    @property
    def recent_requests(self) -> tuple[RequestTiming, ...]:
        return tuple(self._traffic.timings)

    @property
    def retry_reasons(self) -> Mapping[str, int]:
        return self._retries.reasons

    @property
    def last_failure(self) -> TransportError | None:
        return self._retries.error

    @property
    def next_attempt_at(self) -> float | None:
        return self._retries.next_attempt_at()

    @property
    def reply_summary(self) -> str:
        return self._summary

    async def read(self, span: ByteRange) -> bytes:
        self._refuse_if_closed()
        self._process = os.getpid()
        if self.length is not None:
            span = ByteRange(min(span.start, self.length), min(span.stop, self.length))
        if not span:
            return b""
        if self._whole is not None:
            return self._whole[span.start : span.stop]
        parts = [
            ByteRange(start, min(start + self._chunk, span.stop)) for start in range(span.start, span.stop, self._chunk)
        ]
        if self.length is None or len(parts) == 1:
            # The first reply has the length of the file, which determines the other parts that exist.
            first = await self._part(parts[0])
            return first if len(parts) == 1 else first + await self.read(ByteRange(parts[0].stop, span.stop))
        # One request slot stays free, for a read that somebody waits for meanwhile.
        slots = asyncio.Semaphore(max(1, self._concurrency - 1))
        return b"".join(await all_or_none([self._part_in_turn(part, slots) for part in parts]))

    async def aclose(self) -> None:
        """
        Close the source, and a client that was made for it.

        Raises:
            TransportError: the client of the caller's callable cannot be closed. The source is closed all the same.
        """
        self._closed = True
        self._whole = None
        wire, self._wire = self._wire, None
        client, self._client = self._client, None
        if self._is_parents:
            # The sockets are also the parent's. Closing a connection with TLS, or collecting it, would end it for both.
            _parents.append((wire, client))
        elif wire is not None and client is not None and self._makes_client:
            failure = await self._close(wire)
            if failure:
                raise TransportError(f"{self._shown()}: {failure}")

    def __repr__(self) -> str:
        url = self._where.own
        length = "?" if self.length is None else self.length
        return f"<HttpSource {'callable' if url is None else shown(url)!r} {length} bytes>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an HttpSource cannot be pickled or copied: it may hold secrets and connections. Pass the URL and the"
            " headers on, and make a new HttpSource where it is needed"
        )

    async def _part_in_turn(self, span: ByteRange, slots: asyncio.Semaphore) -> bytes:
        async with slots:
            return await self._part(span)

    async def _part(self, span: ByteRange) -> bytes:
        """Read one range within the deadline. The server may send it in several pieces."""
        replies = self._traffic.replies
        limit = asyncio.timeout(self._deadline)
        outcome: Outcome | None = None
        try:
            async with limit:
                outcome = await self._pieces(span, time.monotonic() + self._deadline)
        except TimeoutError:
            if not limit.expired():
                raise  # for example from the URL callable
        if isinstance(outcome, bytes):
            return outcome
        if outcome is not None:
            if isinstance(outcome, Again):
                raise UnreachableError(outcome.text)
            raise (ChangedFileError if outcome.is_changed else TransportError)(outcome.text)
        cause = "" if self.last_failure is None else f"; so far: {self.last_failure}"
        kind = SilentServerError if self._traffic.replies == replies else FrameTimeoutError
        raise kind(f"{self._shown()}: {span} not read within {self._deadline:g} s{cause}")

    async def _pieces(self, span: ByteRange, ends_at: float) -> Outcome:
        """Read a range. If a reply ends early, the remaining bytes are requested again."""
        wire = await self._ready()
        pieces: list[bytes] = []
        at = span.start
        for _ in range(_FREE_PIECES + len(span) // _PIECE_BYTES):
            outcome = await self._retries.run(partial(self._attempt, ByteRange(at, span.stop), wire), ends_at)
            if not isinstance(outcome, bytes):
                return outcome
            pieces.append(outcome)
            at += len(outcome)
            if not outcome or self.length is None or at >= min(span.stop, self.length):
                return b"".join(pieces)
        return Refused(f"{self._shown()}: the server sent {span} in more than {len(pieces)} pieces")

    async def _attempt(self, span: ByteRange, wire: Wire) -> Outcome:
        """Make one attempt. If the address has expired, a new one is used once."""
        outcome: Outcome | Elsewhere = Elsewhere("")
        for _ in range(2):
            async with self._slots:
                began_at = time.monotonic()
                outcome = await self._once(span, wire)
                self._traffic.note(began_at, outcome)
            if not isinstance(outcome, Elsewhere):
                return outcome
        assert isinstance(outcome, Elsewhere)
        return Refused(outcome.text)

    async def _once(self, span: ByteRange, wire: Wire) -> Outcome | Elsewhere:
        """Make one request with its redirects, within its time limit."""
        address = await self._where.resolve()
        self._refuse_if_closed()
        if not isinstance(address, Address):
            return replace(address, text=f"{self._shown()}: {address.text}")
        self._name = self._name or resource_name_of(address.own)
        limit = asyncio.timeout(self._timeout)
        answer: Answer | None = None
        try:
            async with limit:
                answer = await self._fetched(span, address, wire)
        except TimeoutError:
            assert limit.expired()  # those of a caller's client are not raised
        if answer is None:
            return Again(f"{shown(address.url)}: no complete reply to {span} within {self._timeout:g} s")
        return self._taken(span, address, answer)

    async def _fetched(self, span: ByteRange, address: Address, wire: Wire) -> Answer:
        """Send a request, and another one for the length of the file if no reply has had it."""
        answer = await wire.fetch(span, address, partial(self._judge, span))
        if not isinstance(answer.verdict, Part) or answer.verdict.length is not None:
            return answer
        assert answer.reply is not None
        part = answer.verdict
        file = replace(self._file.learned(0, answer.reply), length=None)  # the second reply must be about the same file
        found = await wire.fetch(
            None, answer.address, lambda reply, address: judge_length(reply, self._terms(address, file))
        )
        if not isinstance(found.verdict, Length):
            return found
        if found.verdict.length < part.span.stop:
            text = f"the server sent {part.span}, and answered HEAD with a length of {found.verdict.length} bytes"
            return replace(found, verdict=Refused(text))
        return replace(answer, verdict=Part(part.span, found.verdict.length))

    async def _close(self, wire: Wire) -> str:
        """Close a client that is not the caller's. Returns why that failed, without the text of the exception."""
        _, error = await outcome(wire.aclose)
        return "" if error is None else f"closing the client failed: {raised(error)}"

    def _judge(self, span: ByteRange, reply: Reply, address: Address) -> Verdict:
        return judge(reply, span, self._terms(address, self._file))

    def _terms(self, address: Address, file: File) -> Terms:
        is_moved = address.url != self._where.own
        return Terms(file, self._validate, self._whole_file_cap, is_moved, self._where.is_signed)

    def _taken(self, span: ByteRange, address: Address, answer: Answer) -> Outcome | Elsewhere:
        """The bytes of an answer, or its failure. Remembers the address and the facts about the file."""
        verdict, reply = answer.verdict, answer.reply
        where = shown(answer.address.url)
        match verdict:
            case Again() | Refused():
                return replace(verdict, text=self._said(f"{where}: {verdict.text}"))
            case Elsewhere():
                self._where.expire(address)
                return replace(verdict, text=self._said(f"{where}: {verdict.text}"))
            case Part() | Whole() | Nothing():
                assert reply is not None
                return self._learned(span, verdict, reply, answer)
        # httpx cannot make a request for the URL. That is an error of the caller, unless the URL comes from a callable
        # or from a redirect.
        if answer.address.url == address.own and not self._where.is_signed:
            raise callers_mistake(f"URL: {NO_HOST}")
        return Refused(f"{where}: the URL has a {NO_HOST}")

    def _learned(self, span: ByteRange, verdict: Part | Whole | Nothing, reply: Reply, answer: Answer) -> bytes:
        self._where.remember(answer.address)
        self._summary = self._summary or reply.summary()
        if isinstance(verdict, Nothing):
            self._file = replace(self._file, length=verdict.length)
            return b""
        if isinstance(verdict, Part):
            assert verdict.length is not None
            self._file = self._file.learned(verdict.length, reply)
            return answer.body
        self._file = self._file.learned(len(answer.body), reply)
        self._whole = answer.body
        return answer.body[span.start : span.stop]

    async def _ready(self) -> Wire:
        """Make the wire at first use, in a thread: its imports and certificates would block the event loop."""
        if self._wire is None:
            async with self._making:
                if self._wire is None:
                    self._refuse_if_closed()
                    wire = await in_thread(partial(self._make_wire, asyncio.get_running_loop()))
                    if isinstance(wire, str):
                        raise TransportError(f"{self._shown()}: {wire}")
                    if self._closed and self._makes_client:
                        await self._close(wire)
                    self._refuse_if_closed()
                    self._wire, self._client = wire, wire.client
        return self._wire

    def _make_wire(self, loop: asyncio.AbstractEventLoop) -> Wire | str:
        """Make the wire; returns the reason if that fails. Runs in a thread."""
        try:
            from .client import open_wire

            return open_wire(
                self._given_client,
                loop=loop,
                makes_client=self._makes_client,
                http2=self._http2,
                headers=self._headers,
                timeout=self._timeout,
                traffic=self._traffic,
            )
        except (ImportError, TransportError) as exc:
            return str(exc)

    @property
    def _is_parents(self) -> bool:
        return self._process is not None and self._process != os.getpid()

    def _refuse_if_closed(self) -> None:
        if self._is_parents:  # its locks and connections belong to the parent's event loop
            raise ClosedError(f"{self._name!r}: the source was opened before a fork; open it again in the child")
        if self._closed:
            raise ClosedError(f"{self._name!r}: the source is closed")

    def _report(self) -> None:
        if self.on_attempt is not None:
            call_contained(f"{self._shown()}: on_attempt", self.on_attempt)

    def _shown(self) -> str:
        """The form of the address for messages."""
        return "the URL" if self._where.own is None else shown(self._where.own)


def callers_code(source: HttpSource) -> object | None:
    """
    The object of the caller whose code runs in the requests of a source; None if only code of the library runs there.

    Sources with the same object must run on the same event loop, because its locks and connections belong to that loop.
    Such an object is a client, a function that returns URLs, or the object whose method that function is. A callable
    that makes a client makes another one for each source, so the source itself stands for it.
    """
    if source._given_client is not None and not source._makes_client:
        return source._given_client
    if source._signer is not None:
        signer: object = source._signer
        while isinstance(signer, partial):
            signer = signer.func
        return signer.__self__ if isinstance(signer, MethodType) else signer
    return None if source._given_client is None and source.on_attempt is None else source


def facts_of(source: HttpSource) -> Facts:
    """
    What a source knows about its file. There is no validator unless replies are compared by it, because otherwise they
    may come from different versions.
    """
    validator = source._file.validator if source._validate == "etag" else None
    return Facts(source._where.own, source._file.length, validator)


def expect(source: HttpSource, facts: Facts, _first: bytes = b"") -> None:
    """Accept only replies about a file that is known from before. Call this before the first reply."""
    source._file = File(facts.length, facts.validator)


async def locate(source: HttpSource) -> None:
    """
    Find out the URL of a source, and so its name, without a request.

    Raises:
        TransportError: the URL callable failed.
    """
    address = await source._where.resolve()
    if not isinstance(address, Address):
        raise TransportError(f"{source._shown()}: {address.text}")
    source._name = source._name or resource_name_of(address.own)


def from_config(url: UrlLike, config: Config, **options: Any) -> HttpSource:
    """
    Make a source with the options of a config. Its messages have the config's names of the options.

    Args:
        url: as for :class:`HttpSource`.
        config: the options.
        options: `client` and `headers` of :class:`HttpSource`, in place of the config's.

    Raises:
        ValueError, TypeError: as of :class:`HttpSource`.
    """
    given = {"client": config.http_client, "headers": config.http_headers}
    given |= {name: value for name, value in options.items() if value is not None}
    source = HttpSource(url, **{name: getattr(config, option) for name, option in _OPTIONS.items()}, **given)
    source._said = said_in_python
    return source


def _is_client(thing: object) -> bool:
    """Whether an object is a client. Does not use httpx, which may not be loaded yet."""
    return not isinstance(thing, type) and inspect.iscoroutinefunction(getattr(thing, "send", None))


def _option(name: str, value: Any) -> Any:
    return check_option(_OPTIONS[name], value, shown_as=name)
