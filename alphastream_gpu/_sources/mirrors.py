"""
MirrorSource: one file that several places have. After a failure, the next place is read.

Strategy
--------
* One place is read until it fails; then the next one, and after the last one the first one again.
* The first bytes and the length of the first place that answers are the reference. Another place is read only if it has
  the same, and the same sizes table, which may be longer. Header and table fit to no other stream.
* A place is not asked twice in a row: the sources of the mirrors do not repeat requests, and this one repeats the
  round, with pauses.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final

from .._config import Config
from .._exceptions import AlphaStreamError, ClosedError, FrameTimeoutError, TransportError, contained_errors
from .base import Facts, RequestTiming, Source, UnreachableError
from .http import HttpSource, facts_of, locate
from .http.callers import in_thread
from .ranges import ByteRange

__all__ = ["Mirror", "MirrorSource"]

_FIRST_BYTES: Final = 64 * 1024
_MOST_REQUESTS: Final = 64
"""Requests whose timings are told."""
_logger = logging.getLogger("alphastream_gpu")


@dataclass(frozen=True, slots=True)
class Mirror:
    """
    One of the places.
    """

    shown: str
    """For messages; without secrets."""
    name: Callable[[], str]
    """The resource name."""
    open: Callable[[], Source]
    """Makes the source. It may block, and raise TransportError."""
    http: HttpSource | None
    """The source itself if it is one over HTTP, which knows its URL and the validator."""


class MirrorSource(Source):
    """
    Several mirrors as one source.

    Args:
        mirrors: one or more.
        config: how often and how long they are tried: ``http_retries`` rounds, ``http_backoff`` and ``http_deadline``.
            The first answer of a mirror must come within a share of ``init_timeout``, so that each of them is asked
            before that has passed.
    """

    def __init__(self, mirrors: Sequence[Mirror], config: Config) -> None:
        self._mirrors = tuple(mirrors)
        self._config = config
        self._opened: dict[int, Source] = {}
        """Those that have the same file, by their number."""
        self._failed_to_fit: dict[int, TransportError] = {}
        """Those that have another file, which are not tried again."""
        self._at = 0
        self._opening = asyncio.Lock()
        self._making = threading.Lock()
        self._first: bytes | None = None
        self._rest: tuple[ByteRange, bytes] | None = None
        """Where the part of header and table lies that comes after these first bytes, and its digest."""
        self._last_read: tuple[int, ByteRange] | None = None
        """The number of the mirror that was read last, and what was read."""
        self._length: int | None = None
        self._error: AlphaStreamError | None = None
        self._next_at: float | None = None
        self._is_closed = False
        self._made: dict[int, Source] = {}
        """All that were made, to be closed."""

    @property
    def name(self) -> str:
        return next(filter(None, (mirror.name() for mirror in self._mirrors)), "")

    @property
    def length(self) -> int | None:
        return self._length

    @property
    def requests(self) -> int:
        return sum(source.requests for source in tuple(self._made.values()))

    @property
    def bytes_received(self) -> int:
        return sum(source.bytes_received for source in tuple(self._made.values()))

    @property
    def recent_requests(self) -> tuple[RequestTiming, ...]:
        found = [one for source in tuple(self._made.values()) for one in source.recent_requests]
        return tuple(sorted(found, key=lambda one: one.began_at)[-_MOST_REQUESTS:])

    @property
    def retry_reasons(self) -> Mapping[str, int]:
        found: Counter[str] = Counter()
        for source in tuple(self._made.values()):
            found.update(source.retry_reasons)
        return found

    @property
    def last_failure(self) -> AlphaStreamError | None:
        return self._error

    @property
    def next_attempt_at(self) -> float | None:
        return self._next_at

    @property
    def reply_summary(self) -> str:
        source = self._opened.get(self._at)
        return "" if source is None else source.reply_summary

    async def read(self, span: ByteRange) -> bytes | memoryview:
        limit = asyncio.timeout(self._config.http_deadline)
        try:
            async with limit:
                return await self._read_any(span)
        except TimeoutError as exc:
            if isinstance(exc, AlphaStreamError) or not limit.expired():
                raise
        cause = "" if self._error is None else f"; so far: {self._error}"
        raise FrameTimeoutError(f"{self.name!r}: {span} not read within {self._config.http_deadline:g} s{cause}")

    async def aclose(self) -> None:
        """
        Close all mirrors.

        Raises:
            TransportError: one of them cannot be closed. The others are closed all the same.
        """
        self._is_closed = True
        made, self._made, self._opened = self._made, {}, {}
        results = await asyncio.gather(*(source.aclose() for source in made.values()), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def facts(self) -> Facts:
        """What is known about the file: the URL of the first mirror, and the validator of the one that is read."""
        first, current = self._mirrors[0].http, self._mirrors[self._at].http
        if first is None:
            return Facts(None, self._length, None)
        return Facts(facts_of(first).url, self._length, None if current is None else facts_of(current).validator)

    def expect(self, _facts: Facts, _first: bytes) -> None:
        """Refuse all reads from now on. Mirrors have validators of their own, so nobody could say whether one of them
        still has the version that is on the disk."""
        self._failed_to_fit = {
            number: TransportError(f"{mirror.shown}: was unreachable when the stream was opened; open it again")
            for number, mirror in enumerate(self._mirrors)
        }
        self._opened = {}

    def compare_tables(self, table: bytes | memoryview) -> None:
        """
        Compare mirrors by header and sizes table from now on, also those that are open.

        Args:
            table: both, as stored.
        """
        if self._first is None or len(table) <= len(self._first):
            return
        rest = ByteRange(len(self._first), len(table))
        self._rest = rest, sha256(memoryview(table)[rest.start :]).digest()
        opened, self._opened = self._opened, {}
        if self._last_read is not None:
            at, span = self._last_read
            if at in opened and span.start <= rest.start and rest.stop <= span.stop:
                self._opened[at] = opened[at]  # the table is its own

    async def locate(self) -> None:
        """Find out the URL of the first mirror."""
        if self._mirrors[0].http is not None:
            await locate(self._mirrors[0].http)

    def __repr__(self) -> str:
        return f"<MirrorSource {', '.join(mirror.shown for mirror in self._mirrors)}>"

    async def _read_any(self, span: ByteRange) -> bytes | memoryview:
        failures: dict[int, AlphaStreamError] = {}
        for number in range(self._config.http_retries + 1):
            failures = {}
            for _ in self._mirrors:
                at = self._at
                if at in failures:  # other reads have moved on meanwhile
                    at = next(one for one in range(len(self._mirrors)) if one not in failures)
                try:
                    data = await self._read_one(at, span)
                except (TransportError, FrameTimeoutError) as exc:
                    failures[at] = self._error = exc
                    self._move_on(at)
                    continue
                self._error = None
                return data
            if len(self._failed_to_fit) == len(self._mirrors) or number == self._config.http_retries:
                break
            pause = self._config.http_backoff / 1000 * 2**number * random.uniform(1, 2)
            self._next_at = time.monotonic() + pause
            try:
                await asyncio.sleep(pause)
            finally:
                self._next_at = None
        texts = "; ".join(str(failures[at]) for at in sorted(failures))
        is_silent = all(isinstance(error, UnreachableError | FrameTimeoutError) for error in failures.values())
        kind = UnreachableError if is_silent else TransportError
        raise kind(f"all {len(self._mirrors)} mirrors failed: {texts}")

    def _make(self, at: int) -> Source:
        """Make the source of a mirror, and keep it to be closed. Runs in a thread, which may end after its caller."""
        with self._making:
            source = self._made.get(at)
            if source is None:
                source = self._made[at] = self._mirrors[at].open()
        if self._is_closed:
            asyncio.run(source.aclose())
        return source

    def _move_on(self, at: int) -> None:
        if self._at == at:
            self._at = (at + 1) % len(self._mirrors)
            if len(self._mirrors) > 1:
                _logger.debug("%s failed; reading %s", self._mirrors[at].shown, self._mirrors[self._at].shown)

    async def _read_one(self, at: int, span: ByteRange) -> bytes | memoryview:
        while True:
            if self._is_closed:
                raise ClosedError(f"{self.name!r}: the source is closed")
            if at in self._failed_to_fit:
                raise self._failed_to_fit[at]
            source = self._opened.get(at)
            if source is None:
                async with self._opening:
                    source = self._opened.get(at) or await self._open(at)
            first = self._first
            if first is not None and (span.stop <= len(first) or len(first) == self._length):
                return first[span.start : span.stop]
            with contained_errors(f"reading {span} of {self._mirrors[at].shown}"):
                data = await source.read(span)
            if self._opened.get(at) is source:  # otherwise it is to be compared again
                self._last_read = at, span
                return data

    async def _open(self, at: int) -> Source:
        """Open a mirror and compare its file with that of the first one. Only one at a time."""
        mirror = self._mirrors[at]
        share = self._config.init_timeout / (len(self._mirrors) + 1)
        limit = asyncio.timeout(share if len(self._mirrors) > 1 else None)
        try:
            async with limit:
                source = self._made.get(at)
                if source is None:  # in a thread: opening a path may hang
                    source = await in_thread(partial(self._make, at))
                with contained_errors(f"reading {mirror.shown}"):
                    first = bytes(await source.read(ByteRange(0, _FIRST_BYTES)))
        except TimeoutError as exc:
            if isinstance(exc, AlphaStreamError) or not limit.expired():
                raise
            raise UnreachableError(f"{mirror.shown}: no answer within {share:.3g} s") from None
        if self._is_closed:
            raise ClosedError(f"{self.name!r}: the source is closed")
        if self._first is None:
            self._first, self._length = first, source.length
        elif source.length != self._length or first != self._first or not await self._has_rest(source, mirror):
            found = f"{source.length} bytes" if source.length != self._length else "another header or sizes table"
            error = TransportError(
                f"{mirror.shown}: has another file than the first mirror: expected {self._length} bytes, found {found}"
            )
            self._failed_to_fit[at] = error
            raise error
        if self._is_closed:
            raise ClosedError(f"{self.name!r}: the source is closed")
        self._opened[at] = source
        return source

    async def _has_rest(self, source: Source, mirror: Mirror) -> bool:
        """Whether a mirror has the sizes table that begins in the first bytes, as far as it is known."""
        if self._rest is None:
            return True
        span, digest = self._rest
        with contained_errors(f"reading {mirror.shown}"):
            return sha256(await source.read(span)).digest() == digest
