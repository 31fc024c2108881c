"""
Disk: the threads of a cached source, in which it opens, reads and writes its file of the cache.

An error of the disk is not raised. It ends the use of the cache by this source, and is logged once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from ..._exceptions import AlphaStreamError
from ..._runtime.workers import Serial
from .entry import Entry
from .folder import Folder
from .record import PAGE_BYTES, Identity
from .spool import Spool

__all__ = ["FIRST_BYTES", "Disk"]

T = TypeVar("T")

FIRST_BYTES: Final = 64 * 1024
"""The bytes that a server is asked for first; as many as the first read of a stream."""
_DISK_SECONDS: Final = 2.0
"""How long the disk may take for a read."""
_TOUCH_SECONDS: Final = 60.0
_MOST_UNWRITTEN_BYTES: Final = 16 * 1024 * 1024
"""What waits for a slow disk at most; more is not stored."""
_logger = logging.getLogger("alphastream_gpu")


class Disk:
    """
    The file of a cached source.

    Args:
        folder: the cache, or the file of a download.
        name: the name of the source, for messages.
    """

    def __init__(self, folder: Folder | Spool, name: Callable[[], str]) -> None:
        self.entry: Entry | None = None
        """The open file; None if there is none, or if it failed."""
        self._folder = folder
        self._name = name
        self._opened: Entry | None = None
        """The same, until it is closed."""
        self._reader = Serial("alphastream-cache")
        self._writer = Serial("alphastream-cache-write")
        self._writing: set[asyncio.Future[None]] = set()
        self._n_unwritten = self._n_since_room = 0
        self._touched_at = 0.0
        self._has_failed = False

    async def newest(self, key: str) -> Identity | None:
        """The version of a file that its server had last, if it is in the cache."""
        return await self._call(partial(self._folder.newest, key))

    async def open(self, key: str, identity: Identity | None, head: bytes, asked_at: float) -> None:
        """
        Open the file of the version that the server has.

        Args:
            key: of the URL.
            identity: the version; None if it cannot be cached.
            head: its first bytes, whole pages or all.
            asked_at: when the server was asked, in seconds since the epoch.
        """
        await self._call(partial(self._open, key, identity, head, asked_at))

    async def open_again(self, identity: Identity) -> bytes | None:
        """Open the file of a version that the server cannot be asked for. Returns its first bytes, or none if they are
        not all there; None if it cannot be opened."""
        return await self._call(partial(self._open_again, identity))

    async def read(self, entry: Entry, first: int, stop: int) -> tuple[bytearray, list[int]] | None:
        """Read pages, as :meth:`Entry.read`; None after an error."""
        limit = asyncio.timeout(_DISK_SECONDS)
        try:
            async with limit:  # cheaper than _call(), and nothing is lost if it is cancelled
                return await self._reader.call(partial(self._read, entry, first, stop))
        except (OSError, AlphaStreamError) as exc:  # TimeoutError is an OSError
            self._give_up(TimeoutError() if limit.expired() else exc)
        return None

    async def written(self) -> None:
        """Wait until everything is written."""
        while self._writing:
            await asyncio.wait(set(self._writing))

    async def outdate(self, entry: Entry) -> None:
        """Note that the server has another version than that of the file, which nobody plays unasked any more."""
        if self.entry is entry:
            writing = self._write_soon(partial(entry.stamp, 0.0, is_synced=True), 0)
            if writing is not None:
                await asyncio.wait({writing}, timeout=_DISK_SECONDS)

    def store(self, entry: Entry, first: int, data: bytes) -> None:
        """Write pages later. The read that fetched them does not wait for the disk."""
        if self.entry is not entry or self._n_unwritten + len(data) > _MOST_UNWRITTEN_BYTES:
            return
        self._write_soon(partial(self._write, entry, first, data), len(data))

    def _write_soon(self, function: Callable[[], None], n_bytes: int) -> asyncio.Future[None] | None:
        """Call a function in the thread that writes."""
        try:
            writing = self._writer.call(function)
        except AlphaStreamError as exc:
            self._give_up(exc)
            return None
        self._n_unwritten += n_bytes
        self._writing.add(writing)
        writing.add_done_callback(partial(self._written, n_bytes))
        return writing

    def _write(self, entry: Entry, first: int, data: bytes) -> None:
        entry.write(first, data)
        self._n_since_room += len(data)
        if self._n_since_room >= self._folder.step:
            self._n_since_room = 0
            if entry.is_removed:
                raise FileNotFoundError(0, "another process removed the file to make room")
            entry.touch()
            self._folder.make_room(keep=entry.path.name)

    def _written(self, n_bytes: int, done: asyncio.Future[None]) -> None:
        self._writing.discard(done)
        self._n_unwritten -= n_bytes
        error = None if done.cancelled() else done.exception()
        if error is not None:
            self._give_up(error)

    async def close(self) -> None:
        """Write what was read last, and close the file, unless the disk takes longer than two seconds."""
        if not self._reader.is_running:
            return
        ends_at = time.monotonic() + _DISK_SECONDS
        # In this order: the file may just be opened, and what was read last is still to be written.
        for thread, call in ((self._reader, lambda: None), (self._writer, self._close_entry)):
            await asyncio.wait({thread.call(call)}, timeout=max(0.0, ends_at - time.monotonic()))
            thread.end()

    def _close_entry(self) -> None:
        """Close the file. Runs in the thread that writes, after the one that reads has ended."""
        self.entry = None
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()
            if self._n_since_room:
                with suppress(OSError):
                    self._folder.make_room(keep=opened.path.name)

    def _open_again(self, identity: Identity) -> bytes | None:
        self._close_entry()  # of a first read that was cancelled
        entry = self._folder.open(identity)
        if entry is None:
            return None
        self.entry = self._opened = entry
        stop = min(identity.n_pages, FIRST_BYTES // PAGE_BYTES)
        pages, missing = entry.read(0, stop) if stop else (b"", [])
        return b"" if missing else bytes(pages)

    def _open(self, key: str, identity: Identity | None, head: bytes, asked_at: float) -> None:
        self._close_entry()  # of a first read that was cancelled
        self._folder.outdate(key, identity, asked_at)
        entry = None if identity is None else self._folder.open(identity)
        if entry is None:
            return
        self._opened = entry
        assert identity is not None
        if not _agrees(entry, head):
            _logger.warning("%r: the server has another file under the same validator; not cached", self._name())
            self._close_entry()
            self._folder.remove(identity)
            return
        if head:
            entry.write(0, head)
        entry.stamp(asked_at)
        self.entry = None if self._has_failed else entry

    def _read(self, entry: Entry, first: int, stop: int) -> tuple[bytearray, list[int]]:
        now = time.monotonic()
        if now > self._touched_at + _TOUCH_SECONDS:
            self._touched_at = now
            entry.touch()
        return entry.read(first, stop)

    async def _call(self, function: Callable[[], T]) -> T | None:
        """Call a function in the thread that reads. None if it fails, or if the disk does not answer."""
        try:
            done, _ = await asyncio.wait({self._reader.call(function)}, timeout=_DISK_SECONDS)
            if done:
                return done.pop().result()
            self._give_up(TimeoutError(f"no answer within {_DISK_SECONDS:g} s"))
        except (OSError, AlphaStreamError) as exc:
            self._give_up(exc)
        return None

    def _give_up(self, error: BaseException) -> None:
        """Go on without the cache."""
        if not self._has_failed:
            self._has_failed = True
            reason = getattr(error, "strerror", None) or type(error).__name__
            _logger.warning("%r: the disk cache is not used any more: %s", self._name(), reason)
        self.entry = None


def _agrees(entry: Entry, head: bytes) -> bool:
    """Whether the first pages on the disk are those that the server has."""
    stop = -(-len(head) // PAGE_BYTES)
    if not stop:
        return True
    pages, missing = entry.read(0, stop)
    starts = (number * PAGE_BYTES for number in range(stop) if number not in missing)
    return all(pages[at : at + PAGE_BYTES] == head[at : at + PAGE_BYTES] for at in starts)
