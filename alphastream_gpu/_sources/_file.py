"""
A source over a file on disk: mapped where that works, read with a buffer where it does not.

Strategy
--------
A page of a mapping beyond the file's end kills the process with SIGBUS when touched. So every read asks the
file system for the length first and refuses a file that has shrunk, and it copies at once instead of handing
out views that would be touched later. That leaves a window of a microsecond between question and copy; whoever
truncates files under a running player should replace them by rename instead, which is always safe.
"""

from __future__ import annotations

import mmap
import os
import stat
from typing import BinaryIO

from .._exceptions import ClosedError, TransportError, mapped_errors
from .._ranges import ByteRange
from ._base import Source, check_range, resource_name_of
from ._names import shown_path

__all__ = ["FileSource"]


class FileSource(Source):
    """
    A regular file.

    Args:
        path: the file. Opened at once, read-only.
        buffer_bytes: size of the buffered reads where the file cannot be mapped; 4096..67108864.

    Raises:
        ValueError: `buffer_bytes` is outside its range.
        TransportError: the file cannot be opened, or is a pipe, socket, terminal or directory.
    """

    def __init__(self, path: str | os.PathLike[str], *, buffer_bytes: int = 128 * 1024) -> None:
        check_range("buffer_bytes", buffer_bytes, 4096, 64 * 1024 * 1024)
        self._path = os.fspath(path)
        self._name = resource_name_of(self._path)
        # Checked before opening: to open a pipe would wait for its writer.
        _refuse_irregular(_mode_of(self._path), self._path)
        with mapped_errors(f"opening {self._path!r}"):
            self._file: BinaryIO | None = open(self._path, "rb", buffering=buffer_bytes)  # noqa: SIM115
        try:
            with mapped_errors(f"opening {self._path!r}"):
                status = os.fstat(self._file.fileno())
                _refuse_irregular(status.st_mode, self._path)
            self._length = status.st_size
            self._map = _map(self._file, self._length)
        except BaseException:
            self._file.close()
            raise

    @property
    def name(self) -> str:
        return self._name

    @property
    def length(self) -> int:
        return self._length

    @property
    def is_mapped(self) -> bool:
        """Whether reads come from a mapping; False for empty files and file systems without mmap."""
        return self._map is not None

    async def read(self, span: ByteRange) -> bytes:
        file = self._file
        if file is None:
            raise ClosedError(f"{self._name!r}: the file was closed before {span} could be read")
        with mapped_errors(f"reading {span} of {self._path!r}"):
            length = os.fstat(file.fileno()).st_size
            if length < self._length:
                raise TransportError(
                    f"{self._path!r}: shrank from {self._length} to {length} bytes while open; replace files by rename"
                )
            if self._map is not None:
                return self._map[span.start : span.stop]
            # Reads of one event loop never overlap between seek and read: neither awaits.
            file.seek(span.start)
            data = file.read(len(span))
        expected = max(0, min(span.stop, self._length) - span.start)
        if len(data) < expected:
            raise TransportError(f"{self._path!r}: expected {expected} bytes at {span.start}, found {len(data)}")
        return data

    async def aclose(self) -> None:
        self._close()

    def _close(self) -> None:
        """:meth:`aclose` for who has no event loop."""
        file, self._file = self._file, None
        mapping, self._map = self._map, None
        if mapping is not None:
            mapping.close()
        if file is not None:
            file.close()

    def __repr__(self) -> str:
        state = "closed" if self._file is None else "mapped" if self.is_mapped else "buffered"
        return f"<FileSource {self._path!r} {self._length} bytes {state}>"


def _mode_of(path: str) -> int:
    """The mode of what is there. An error that nothing is there shows no more of the path than :func:`shown_path`."""
    shown = shown_path(path)
    hint = "" if shown == path else " (a path: a URL begins with http:// or https://)"
    with mapped_errors(f"opening {shown!r}{hint}"):
        try:
            return os.stat(path).st_mode
        except OSError as exc:
            if shown == path:
                raise
            error: OSError | ValueError = OSError(exc.errno, exc.strerror, shown)
        except UnicodeError:
            error = ValueError(f"source: expected a path, found one that the system cannot encode: {shown!r}")
        raise error  # outside of the handlers, so that the path in full is not attached


def _refuse_irregular(mode: int, path: str) -> None:
    if stat.S_ISREG(mode):
        return
    kind = "a directory" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
    raise TransportError(
        f"{path!r}: expected a regular file, found {kind}; frames are read by position, so read a pipe into memory"
        " and open the bytes"
    )


def _map(file: BinaryIO, length: int) -> mmap.mmap | None:
    """Map the file, or None where that cannot be had: an empty file, a file system without mmap."""
    if length == 0:
        return None
    try:
        return mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ)
    except (OSError, ValueError, OverflowError):
        return None
