"""
Writer: writes frames to an ASVP or ASVR file, which appears complete or not at all.

The sizes table stands before the blocks, but the sizes are known only after the last block. So blocks are spooled to an
unnamed temporary file beside the target. ``close`` assembles a second temporary file, syncs it, and renames it to the
target. The target is always a complete file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from abc import ABC, abstractmethod
from array import array
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import numpy as np

from .._exceptions import AlphaStreamError, ClosedError, TransportError, mapped_errors
from .._format.block import inflate_block, pack_block
from .._format.cipher import AsvrKey, StreamCipher, cipher_for
from .._format.container import asvp_header, asvr_header, sizes_table
from .._format.polystream import MAX_PAYLOAD_BYTES
from .._geometry.frame import FrameGeometry
from .._sources.base import resource_name_of
from .whole_file import whole_file

__all__ = ["AsvpWriter", "AsvrWriter"]

_COPY_BYTES: Final = 1024 * 1024


class _Writer(ABC):
    """
    Base of the writers: spools, assembles and renames. Safe to use from several threads. Frames are stored in the order
    of the calls.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        if not self._path.name:
            raise ValueError(f"path: expected the path of a file, found {os.fspath(path)!r}")
        if self._path.is_dir():
            raise TransportError(f"creating {str(self._path)!r}: it is a directory")
        self._sizes = array("Q")
        self._lock = threading.Lock()
        self._failure: str | None = None
        self._spool: IO[bytes] | None = None
        with mapped_errors(f"creating {str(self._path)!r}"):
            self._spool = tempfile.TemporaryFile(dir=self._path.parent)  # noqa: SIM115 - closed by close() or abort()

    @property
    def frame_count(self) -> int:
        """The number of frames added so far."""
        return len(self._sizes)

    def add_frame(self, frame: FrameGeometry | bytes | bytearray | memoryview) -> None:
        """
        Append a frame.

        Args:
            frame: the geometry of the frame, or its inflated payload, which is checked first.

        Raises:
            DecodeError: the payload breaks the format.
            ValueError: the format cannot hold this geometry.
            TransportError: writing to the disk failed.
            ClosedError: the writer is closed.
            TypeError: `frame` is neither geometry nor bytes. An array is refused, because its bytes are not a payload.
        """
        if isinstance(frame, FrameGeometry):
            payload = frame.to_payload()
            if len(payload) > MAX_PAYLOAD_BYTES:
                raise ValueError(
                    f"frame: expected a payload of at most {MAX_PAYLOAD_BYTES} bytes, found {len(payload)}"
                )
        else:
            payload = _payload_of(frame)
            FrameGeometry.from_payload(payload)
        self._append(pack_block(payload))

    def add_block(self, block: bytes | memoryview, *, check: bool = True) -> None:
        """
        Append a frame as another file stores it, after decryption. The compressed bytes are not changed.

        Args:
            block: the length field and the zlib stream.
            check: decode the block first. A caller that has just decoded it can pass False.

        Raises:
            DecodeError: the block breaks the format.
            TransportError: writing to the disk failed.
            ClosedError: the writer is closed.
        """
        if check:
            FrameGeometry.from_payload(inflate_block(block, max_frame_bytes=MAX_PAYLOAD_BYTES))
        self._append(bytes(block))

    def close(self) -> None:
        """
        Write the header and the sizes table, sync, and rename the file to the target. May be called again.

        Raises:
            TransportError: writing to the disk failed, now or in an earlier `add_frame`. The target is unchanged,
                unless only the last sync failed; then it is the complete new file.
        """
        with self._lock:
            spool, self._spool = self._spool, None
            if spool is None:
                return
            try:
                if self._failure is not None:
                    raise TransportError(
                        f"{str(self._path)!r}: not written, because adding a frame failed: {self._failure}"
                    )
                with mapped_errors(f"writing {str(self._path)!r}"):
                    spool.seek(0)
                    table = sizes_table(np.frombuffer(self._sizes, dtype=np.uint64))
                    with whole_file(self._path) as file:
                        file.write(self._head(table))
                        shutil.copyfileobj(spool, file, _COPY_BYTES)
            finally:
                _discard(spool)

    def abort(self) -> None:
        """Discard all frames; the target is not changed. May be called again, and after :meth:`close`."""
        with self._lock:
            spool, self._spool = self._spool, None
        if spool is not None:
            _discard(spool)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if exc_type is None:
            self.close()
        else:
            self.abort()

    def __repr__(self) -> str:
        state = "closed" if self._spool is None else "open"
        return f"<{type(self).__name__} {str(self._path)!r} {self.frame_count} frames {state}>"

    def _append(self, block: bytes) -> None:
        with self._lock:
            if self._spool is None:
                raise ClosedError(f"{str(self._path)!r}: the writer is closed; add frames before close()")
            try:
                with mapped_errors(f"writing {str(self._path)!r}"):
                    self._spool.write(self._stored(self.frame_count, block))
            except AlphaStreamError as exc:
                # Part of the block may be in the spool, so a file that is written from it would be wrong.
                self._failure = str(exc)
                raise
            self._sizes.append(len(block))

    @abstractmethod
    def _stored(self, index: int, block: bytes) -> bytes:
        """Convert a block to its form in the file, which has the same length."""

    @abstractmethod
    def _head(self, table: bytes) -> bytes:
        """Make the header and the table in their form in the file."""


class AsvpWriter(_Writer):
    """
    Write a plain ASVP. A context manager: after an exception in its block, no file is written.

    Args:
        path: the target. The file is in place when :meth:`close` returns.

    Raises:
        ValueError: `path` does not end with a file name.
        TransportError: `path` is a directory, or the folder cannot be written to.
    """

    def _stored(self, index: int, block: bytes) -> bytes:
        return block

    def _head(self, table: bytes) -> bytes:
        return asvp_header(self.frame_count, len(table)) + table


class AsvrWriter(_Writer):
    """
    Write an encrypted ASVR. A context manager: after an exception in its block, no file is written.

    Args:
        path: the target. The file is in place when :meth:`close` returns.
        key: the caller's key. If it has no `resource_name`, the encryption depends on the file name of the target. A
            reader of a renamed file then needs a key with the old name.

    Raises:
        ValueError: `path` does not end with a file name, or the resource name is not ASCII.
        TransportError: `path` is a directory, or the folder cannot be written to.
    """

    def __init__(self, path: str | os.PathLike[str], *, key: AsvrKey) -> None:
        self._cipher: StreamCipher = cipher_for(key, resource_name_of(os.fspath(path)))
        super().__init__(path)

    def _stored(self, index: int, block: bytes) -> bytes:
        return self._cipher.block(index, block)

    def _head(self, table: bytes) -> bytes:
        return self._cipher.header_and_table(asvr_header(len(table)) + table)


def _payload_of(frame: object) -> bytes:
    """Convert a payload to bytes. An array is refused: it holds points or a mask, not a payload."""
    try:
        if not isinstance(frame, np.ndarray):
            return bytes(memoryview(frame))  # type: ignore[arg-type]
    except TypeError:
        pass
    raise TypeError(f"frame: expected a FrameGeometry or its payload as bytes, found {type(frame).__name__}")


def _discard(spool: IO[bytes]) -> None:
    """Close the spool, whose content is not needed any more. Closing may fail on a full disk."""
    with contextlib.suppress(OSError):
        spool.close()
