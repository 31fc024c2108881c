"""
FileSource: a file on disk, mapped into memory where that works, otherwise read with a buffer.

Strategy
--------
Reading a page of a mapping beyond the end of the file kills the process with SIGBUS. So every read first gets the
length from the file system and refuses a file that has shrunk. It also copies the bytes at once, because a view would
be read later. A window of a microsecond remains between the length and the copy. Programs that change a file while it
is played should replace it by rename, which is always safe.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import stat
import threading
from functools import partial
from typing import BinaryIO, Final

from .._config import Config, check_option
from .._exceptions import ClosedError, TransportError, mapped_errors
from .._format.names import shown_path
from .._runtime.workers import Serial
from .._wording import ABOUT_SOURCE, FROM_PIPE
from .base import Source, resource_name_of
from .ranges import ByteRange

__all__ = ["FileSource"]

_CLOSE_SECONDS: Final = 2.0
"""Seconds that closing waits for a read that hangs in the system."""


class FileSource(Source):
    """
    A regular file as a source.

    Its reads are made in a thread that belongs to this source. So a disk or a file server that hangs does not delay
    other sources.

    Args:
        path: the path of the file, which is opened at once, read-only.
        buffer: the size of the read buffer in bytes, for a file that cannot be mapped. Default and range are those of
            ``Config.file_buffer``.

    Raises:
        ValueError: `buffer` is outside its range.
        TransportError: the file cannot be opened, or is a pipe, socket, terminal or directory.
    """

    def __init__(self, path: str | os.PathLike[str], *, buffer: int = Config.file_buffer) -> None:
        buffer = check_option("file_buffer", buffer, shown_as="buffer")
        self._path = os.fspath(path)
        self._name = resource_name_of(self._path)
        self._opened: _OpenFile | None = _OpenFile(self._path, buffer)
        self._length = self._opened.length
        self._thread = Serial("alphastream-file")

    @property
    def name(self) -> str:
        return self._name

    @property
    def length(self) -> int:
        return self._length

    @property
    def is_mapped(self) -> bool:
        """Whether the file is mapped into memory; False for empty files and on file systems without mmap."""
        return self._opened is not None and self._opened.map is not None

    async def read(self, span: ByteRange) -> bytes:
        opened = self._opened
        if opened is None:
            raise ClosedError(f"{self._name!r}: the file was closed before {span} could be read")
        return await self._thread.call(partial(opened.read, span))

    def _read_here(self, span: ByteRange) -> bytes:
        """:meth:`read` on the calling thread, which is blocked as long as the system takes."""
        opened = self._opened
        if opened is None:
            raise ClosedError(f"{self._name!r}: the file was closed before {span} could be read")
        return opened.read(span)

    async def aclose(self) -> None:
        opened, self._opened = self._opened, None
        if opened is None:
            return
        if not self._thread.is_running and opened.close(is_waiting=False):
            return
        # The thread closes the file after its current read, which must not use a mapping that is gone. If that read
        # hangs, the thread closes the file when the read returns.
        closing = self._thread.call(opened.close)
        self._thread.end()
        await asyncio.wait({closing}, timeout=_CLOSE_SECONDS)

    def _close(self) -> None:
        """Like :meth:`aclose`, for code without an event loop, before the first read."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def __repr__(self) -> str:
        state = "closed" if self._opened is None else "mapped" if self.is_mapped else "buffered"
        return f"<FileSource {self._path!r} {self._length} bytes {state}>"


class _OpenFile:
    """The open file. Threads use it one after the other."""

    def __init__(self, path: str, buffer_bytes: int) -> None:
        self._path = path
        self._lock = threading.Lock()
        # Checked before opening, because opening a pipe would wait for a writer.
        _refuse_irregular(_mode_of(path), path)
        with mapped_errors(f"opening {path!r}"):
            self._file: BinaryIO = open(path, "rb", buffering=buffer_bytes)  # noqa: SIM115
        try:
            with mapped_errors(f"opening {path!r}"):
                status = os.fstat(self._file.fileno())
                _refuse_irregular(status.st_mode, path)
            self.length = status.st_size
            self.map = _map(self._file, self.length)
        except BaseException:
            self._file.close()
            raise

    def read(self, span: ByteRange) -> bytes:
        with self._lock, mapped_errors(f"reading {span} of {self._path!r}"):
            if self._file.closed:
                raise ClosedError(f"{self._path!r}: the file was closed before {span} could be read")
            length = os.fstat(self._file.fileno()).st_size
            if length < self.length:
                raise TransportError(
                    f"{self._path!r}: shrank from {self.length} to {length} bytes while open; replace files by rename"
                )
            if self.map is not None:
                return self.map[span.start : span.stop]
            self._file.seek(span.start)
            data = self._file.read(len(span))
        expected = max(0, min(span.stop, self.length) - span.start)
        if len(data) < expected:
            raise TransportError(f"{self._path!r}: expected {expected} bytes at {span.start}, found {len(data)}")
        return data

    def close(self, *, is_waiting: bool = True) -> bool:
        """Close the file. False if a thread is reading it, and `is_waiting` is false."""
        if not self._lock.acquire(blocking=is_waiting):
            return False
        try:
            mapping, self.map = self.map, None
            if mapping is not None:
                mapping.close()
            self._file.close()
        finally:
            self._lock.release()
        return True


def _mode_of(path: str) -> int:
    """The mode of a file. The error for a missing file shows only the part of the path that :func:`shown_path`
    allows."""
    shown = shown_path(path)
    hint = "" if shown == path else " (taken as a path; a URL begins with http:// or https://)"
    with mapped_errors(f"opening {shown!r}{hint}"):
        try:
            return os.stat(path).st_mode
        except OSError as exc:
            if shown == path:
                raise
            error: OSError | ValueError = OSError(exc.errno, exc.strerror, shown)
        except UnicodeError:
            error = ValueError(f"{ABOUT_SOURCE} a path, found one that the system cannot encode: {shown!r}")
        raise error  # outside of the handlers: an attached exception would show the whole path


def _refuse_irregular(mode: int, path: str) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISFIFO(mode):
        found = f"a pipe; frames are read by position, {FROM_PIPE}"
    else:
        found = "a directory" if stat.S_ISDIR(mode) else "a device or socket"
    raise TransportError(f"{path!r}: expected a regular file, found {found}")


def _map(file: BinaryIO, length: int) -> mmap.mmap | None:
    """Map the file; None if that is impossible: for an empty file or a file system without mmap."""
    if length == 0:
        return None
    try:
        return mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ)
    except (OSError, ValueError, OverflowError):
        return None
