"""
CachedSource: a source that is read from a server, with a copy on the disk of what was read.

Strategy
--------
* The first read always asks the server for the first 64 KiB, which a stream needs anyway: header and table. The reply
  says which version of the file the server has. Only pages of this version are used, and only if the first pages are
  also the same bytes. A weak promise of a server (the same ETag for two files) would otherwise be ours.
* If the server cannot be asked (no connection, no answer in time, 5xx, 429), the version that it had when it was last
  asked is played. A server that answers "no" (401, 403, 404, 410) is obeyed.
* If the server has another version at a later read, that is noted. This source still reads the version in the cache.
  Others that cannot ask the server do not.
* A cache that fails never fails a read: after an error of the disk, or if the disk does not answer, the source goes on
  without it, and logs that once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from ..._exceptions import AlphaStreamError, ClosedError, TransportError
from ..._wording import NOT_ASKED
from ..base import ChangedFileError, Facts, RequestTiming, Source, UnreachableError
from ..http.progress import all_or_none
from ..pages import page_in_place_of_a_file
from ..ranges import ByteRange
from .disk import FIRST_BYTES, Disk
from .entry import Entry
from .fill import fill
from .folder import Folder
from .record import PAGE_BYTES, Identity, at_least_a_minute_old, gaps, key_of
from .spool import Spool

__all__ = ["CachedSource", "Remote"]

_BRIDGE_PAGES: Final = 4
_logger = logging.getLogger("alphastream_gpu")


@dataclass(frozen=True, slots=True)
class Remote:
    """
    A source that is read from a server, and what the cache needs of it.
    """

    source: Source
    facts: Callable[[], Facts]
    """What is known about the file; complete after the first read."""
    expect: Callable[[Facts, bytes], None]
    """Accept only replies about this file, whose first bytes are these, as far as they are known."""
    locate: Callable[[], Awaitable[None]]
    """Find out the URL without asking the server for the file. Raises TransportError if that fails."""


class CachedSource(Source):
    """
    A source with a disk cache.

    Args:
        remote: the source. It is closed with this one.
        folder: the cache, or the file of a download.
        is_offline: never ask the server.
        fills: fetch the rest of the file while the line is idle.
        ask_seconds: how long the server may take to answer for the first time, if the file is in the cache.
    """

    def __init__(
        self,
        remote: Remote,
        folder: Folder | Spool,
        *,
        is_offline: bool = False,
        fills: bool = False,
        ask_seconds: float = 5.0,
    ) -> None:
        self.inner = remote.source
        self._remote = remote
        self._disk = Disk(folder, lambda: self.name)
        self._is_offline = is_offline
        self._fills = fills
        self._ask_seconds = ask_seconds
        self.is_held = False
        """Whether the rest of the file is not to be fetched for now."""
        self._asking = asyncio.Lock()
        self._is_asked = self._is_closed = False
        self._process: int | None = None
        """The process that reads this source, from the first read on."""
        self._length: int | None = None
        self._n_requests = 0
        self._idle_since = 0.0
        self._last_page = 0
        self._filling: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def length(self) -> int | None:
        return self.inner.length if self._length is None else self._length

    @property
    def requests(self) -> int:
        return self.inner.requests

    @property
    def bytes_received(self) -> int:
        return self.inner.bytes_received

    @property
    def recent_requests(self) -> tuple[RequestTiming, ...]:
        return self.inner.recent_requests

    @property
    def retry_reasons(self) -> Mapping[str, int]:
        return self.inner.retry_reasons

    @property
    def last_failure(self) -> AlphaStreamError | None:
        return self.inner.last_failure

    @property
    def next_attempt_at(self) -> float | None:
        return self.inner.next_attempt_at

    @property
    def reply_summary(self) -> str:
        return self.inner.reply_summary

    @property
    def is_caching(self) -> bool:
        """Whether pages are read from the disk and written to it."""
        return self._disk.entry is not None

    async def read(self, span: ByteRange) -> bytes | memoryview:
        self._refuse_if_closed()
        self._process = os.getpid()
        head = None
        if not self._is_asked:
            async with self._asking:
                self._refuse_if_closed()
                if not self._is_asked:
                    head = await self._ask()
                    self._is_asked = True
                    self._start_filling()
        if self.length is not None:
            span = ByteRange(min(span.start, self.length), min(span.stop, self.length))
        if not span:
            return b""
        if head is not None and span.stop <= len(head):  # not to be asked for again, if it is not on the disk
            return head[span.start : span.stop]
        self._last_page = span.start // PAGE_BYTES
        entry = self._disk.entry
        first, stop = span.start // PAGE_BYTES, -(-span.stop // PAGE_BYTES)
        found = None if entry is None else await self._disk.read(entry, first, stop)
        if entry is None or found is None:
            return await self._from_server(span)
        pages, missing = found
        if missing:
            await self._complete(entry, pages, missing, first)
        at = span.start % PAGE_BYTES
        return memoryview(pages).toreadonly()[at : at + len(span)]

    async def aclose(self) -> None:
        """
        Close the source. What was read last is still written, unless the disk takes longer than two seconds.

        Raises:
            TransportError: as of the source on the server.
        """
        self._is_closed = True
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.gather(self._filling, return_exceptions=True)
        try:
            if self._process in (None, os.getpid()):
                await self._disk.close()
        finally:
            await self.inner.aclose()

    def __repr__(self) -> str:
        return f"<CachedSource of {self.inner!r}>"

    # The first read.

    async def _ask(self) -> bytes | memoryview | None:
        """Ask the server which version of the file it has, and open that version's file in the cache. Returns the first
        bytes if the server sent them."""
        if self._is_offline:
            await self._remote.locate()
            if not await self._play_from_disk():
                raise TransportError(f"{self.name!r}: not in the disk cache, and {NOT_ASKED}")
            return None
        asked_at = time.time()
        may_wait = None if await self._newest() is None else self._ask_seconds
        limit = asyncio.timeout(may_wait)
        try:
            async with limit:
                head = await self.inner.read(ByteRange(0, FIRST_BYTES))
        except (UnreachableError, TimeoutError) as exc:
            if not isinstance(exc, AlphaStreamError) and not limit.expired():
                raise
            if not await self._play_from_disk():
                raise
            reason = exc if isinstance(exc, AlphaStreamError) else f"no answer within {self._ask_seconds:g} s"
            _logger.warning(
                "%r is played from the disk cache, because the server cannot be asked: %s", self.name, reason
            )
            return None
        if page_in_place_of_a_file(head, self.reply_summary) is not None:
            return head  # a sign-in page says nothing about the file
        facts = self._remote.facts()
        if facts.url is not None:
            await self._disk.open(key_of(facts.url), _identity(facts), bytes(head), asked_at)
        return head

    async def _newest(self) -> Identity | None:
        url = self._remote.facts().url
        return None if url is None else await self._disk.newest(key_of(url))

    async def _play_from_disk(self) -> bool:
        """Go on with the version that the server had last. False if it is not in the cache."""
        newest = await self._newest()
        if newest is None:
            return False
        head = await self._disk.open_again(newest)
        if head is None:
            return False
        self._length = newest.length
        self._remote.expect(Facts(None, newest.length, newest.validator), head)
        return True

    # Later reads.

    async def _complete(self, entry: Entry, pages: bytearray, missing: list[int], first: int) -> None:
        """Fetch the pages that are missing."""
        if self._is_offline:
            raise TransportError(f"{self.name!r}: page {missing[0]} is not in the disk cache, and {NOT_ASKED}")
        runs = gaps(missing, _BRIDGE_PAGES)
        parts = await all_or_none([self._run(run) for run in runs])
        for run, part in zip(runs, parts, strict=True):
            at = (run.start - first) * PAGE_BYTES
            pages[at : at + len(part)] = part
            self._disk.store(entry, run.start, part)

    async def _run(self, run: range) -> bytes:
        """Fetch pages."""
        assert self.length is not None
        span = ByteRange(run.start * PAGE_BYTES, min(run.stop * PAGE_BYTES, self.length))
        part = await self._from_server(span)
        if len(part) != len(span):
            raise TransportError(f"{self.name!r}: expected {span}, found {len(part)} bytes")
        return bytes(part)

    async def _from_server(self, span: ByteRange) -> bytes | memoryview:
        self._n_requests += 1
        try:
            return await self._of_this_version(span)
        finally:
            self._n_requests -= 1
            self._idle_since = time.monotonic()

    # The rest of the file.

    def _start_filling(self) -> None:
        entry = self._disk.entry
        if not self._fills or self._is_offline or entry is None:
            return
        self._filling = asyncio.get_running_loop().create_task(
            fill(
                entry.identity.n_pages,
                near=lambda: self._last_page,
                is_idle=self._is_idle,
                missing=partial(self._missing, entry),
                fetch=partial(self._fetch, entry),
            )
        )

    def _is_idle(self) -> bool:
        return not (self.is_held or self._n_requests) and time.monotonic() > self._idle_since + 0.05

    async def _missing(self, entry: Entry, first: int, stop: int) -> list[int] | None:
        await self._disk.written()  # what is not written yet would be fetched twice
        found = None if self._disk.entry is not entry else await self._disk.read(entry, first, stop)
        return None if found is None else found[1]

    async def _fetch(self, entry: Entry, pages: range) -> None:
        assert self.length is not None
        span = ByteRange(pages.start * PAGE_BYTES, min(pages.stop * PAGE_BYTES, self.length))
        self._disk.store(entry, pages.start, bytes(await self._of_this_version(span)))

    async def _of_this_version(self, span: ByteRange) -> bytes | memoryview:
        """Read from the server. If it has another version by now, that is noted in the cache."""
        try:
            return await self.inner.read(span)
        except ChangedFileError:
            entry = self._disk.entry
            if entry is not None:
                await self._disk.outdate(entry)
            raise

    def _refuse_if_closed(self) -> None:
        if self._process not in (None, os.getpid()):  # its threads and connections are the parent's
            raise ClosedError(f"{self.name!r}: the source was opened before a fork; open it again in the child")
        if self._is_closed:
            raise ClosedError(f"{self.name!r}: the source is closed")


def _identity(facts: Facts) -> Identity | None:
    """The version of a file that a server has; None if the server does not say what identifies its content."""
    if facts.url is None or facts.length is None or facts.validator is None:
        return None
    header, value = facts.validator
    if header == "last-modified" and not at_least_a_minute_old(value, time.time()):
        return None
    return Identity(key_of(facts.url), facts.validator, facts.length)
