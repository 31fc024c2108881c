"""
Entry: one file of the disk cache. Its pages are checked when they are read, so they may be written in any order.
"""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Final

from .record import (
    HEAD_BYTES,
    PAGE_BYTES,
    RECORD_BYTES,
    STAMP_AT,
    Identity,
    pack_head,
    pack_page,
    pack_stamp,
    page_of,
    place_of,
    read_head,
    read_stamp,
)

__all__ = ["Entry", "identity_in", "is_private", "open_private"]

_NO_LINKS: Final = getattr(os, "O_NOFOLLOW", 0)
_FLAGS: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | _NO_LINKS | getattr(os, "O_NONBLOCK", 0)


class Entry:
    """
    The file of one identity. One thread reads, and one thread writes.

    Args:
        path: the file, which is created if it does not exist.
        identity: what it holds.

    Raises:
        OSError: it cannot be opened or written, or is not a regular file of this user.
    """

    def __init__(self, path: Path, identity: Identity) -> None:
        self.path = path
        self.identity = identity
        self._to_read = open_private(path, os.O_RDWR | os.O_CREAT)
        try:
            self._to_write = open_private(path, os.O_RDWR)
        except BaseException:
            self._to_read.close()
            raise
        try:
            # Anything else there is no harm: no page of it will be taken for one of this identity.
            if self._read_at(0, STAMP_AT) != pack_head(identity):
                self._write_at(0, pack_head(identity))
        except BaseException:
            self.close()
            raise

    def read(self, first: int, stop: int) -> tuple[bytearray, list[int]]:
        """
        Read pages.

        Args:
            first: the first page.
            stop: the page after the last one, at most the number of pages.

        Returns:
            The bytes of all pages, and the numbers of those that are missing, which are zeros.

        Raises:
            OSError: the file cannot be read.
        """
        records = memoryview(self._read_at(place_of(first), (stop - first) * RECORD_BYTES))
        pages = bytearray((stop - first - 1) * PAGE_BYTES + self.identity.page_length(stop - 1))
        missing = []
        for number in range(first, stop):
            at = (number - first) * PAGE_BYTES
            n_bytes = RECORD_BYTES - PAGE_BYTES + self.identity.page_length(number)
            record = records[(number - first) * RECORD_BYTES :][:n_bytes]
            page = page_of(self.identity, number, record)
            if page is None:
                missing.append(number)
            else:
                pages[at : at + len(page)] = page
        return pages, missing

    def write(self, first: int, data: bytes | memoryview) -> None:
        """
        Write whole pages.

        Args:
            first: the number of the first one.
            data: their bytes. The end of the file may follow, but no part of another page.

        Raises:
            OSError: the file cannot be written, for example because the disk is full.
        """
        view = memoryview(data)
        records = [
            pack_page(self.identity, first + at // PAGE_BYTES, view[at : at + PAGE_BYTES])
            for at in range(0, len(view), PAGE_BYTES)
        ]
        self._write_at(place_of(first), b"".join(records))

    @property
    def is_removed(self) -> bool:
        """Whether the file has no name any more, because another process made room."""
        return os.fstat(self._to_write.fileno()).st_nlink == 0

    def stamp(self, at: float, *, is_synced: bool = False) -> None:
        """Note when the server last said that it has this version. 0 notes that it has another one."""
        self._write_at(STAMP_AT, pack_stamp(self.identity, at))
        if is_synced:
            os.fsync(self._to_write.fileno())

    def touch(self) -> None:
        """Note that the file is in use, by its time of modification: those of access are not kept everywhere."""
        os.utime(self.path)

    def close(self) -> None:
        """Close the file."""
        self._to_read.close()
        self._to_write.close()

    def _read_at(self, offset: int, n_bytes: int) -> bytes:
        self._to_read.seek(offset)
        return self._to_read.read(n_bytes) or b""

    def _write_at(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        self._to_write.seek(offset)
        while view:
            view = view[self._to_write.write(view) or 0 :]


def identity_in(path: Path) -> tuple[Identity, float] | None:
    """
    The identity of a file of the cache, and the time of its stamp; None if the head is damaged.

    Raises:
        OSError: the file cannot be read, or is not a regular file of this user.
    """
    with open_private(path, os.O_RDONLY) as file:
        head = file.read(HEAD_BYTES) or b""
    identity = read_head(head[:STAMP_AT], path.name)
    return None if identity is None else (identity, read_stamp(identity, head[STAMP_AT:]))


def open_private(path: Path, flags: int) -> io.FileIO:
    """
    Open a regular file of this user, which nobody else may write. A symbolic link is not followed, and a pipe does not
    wait for its other end.

    Raises:
        OSError: it cannot be opened, or is something else.
    """
    file = io.FileIO(os.open(path, flags | _FLAGS, 0o600), "rb" if flags == os.O_RDONLY else "rb+")
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and is_private(status):
        return file
    file.close()
    raise PermissionError(0, "expected a regular file that belongs to this user alone")


def is_private(status: os.stat_result) -> bool:
    """Whether a file or folder belongs to this user, and others may not write it. Windows keeps that in other ways."""
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022
