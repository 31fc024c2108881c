"""
Spool: keeps the finished frames of an encoding job in a file beside the target, so that a killed job can continue.

The file begins with a line of JSON, which says what is encoded and how. One record follows for each frame, with a
checksum. A record may be cut short or damaged, as after a power failure. This record and those after it are ignored,
and their frames are encoded again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from .._exceptions import DecodeError, TransportError, mapped_errors
from .._format.polystream import MAX_PAYLOAD_BYTES
from .jobs import MAX_JOB_BYTES, NO_JOB, job_difference, job_line, lock_job

__all__ = ["EncodedFrame", "Spool", "spool_path"]

_FORMAT: Final = 3
_RECORD: Final = struct.Struct("<II16s16sIIIf")
"""Bytes of the block, CRC-32 of all after these two fields, and the fields of :class:`EncodedFrame`."""
_CHECKED: Final = 8


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """A frame as it is stored, and how its mask differs from the one that was given."""

    block: bytes
    """The length field and the zlib stream."""
    digest: bytes
    """16 bytes: the hash of the mask that the block gives."""
    given: bytes
    """16 bytes: the hash of what it was made of: of the mask that was given, or of the block."""
    n_set: int
    """Set pixels of the mask that was given, or of the other mask; of both together."""
    n_differing: int
    """Pixels that differ."""
    bitmap_bytes: int
    """About as many bytes as the mask takes as a picture of one bit a pixel; 0 if that was not looked at."""
    farthest: float
    """Pixels from the border of the mask that was given to the farthest pixel that differs."""

    @property
    def iou(self) -> float:
        """Intersection over union of the two masks, 0..1; 1 for two empty masks."""
        return 1.0 - self.n_differing / self.n_set if self.n_set else 1.0


def spool_path(target: Path) -> Path:
    """Where the spool of a target is: in the same folder, so that it is found again."""
    return target.with_name(f".{target.name}.spool")


class Spool:
    """
    Frames in the order in which they are added. A context manager; not thread-safe.

    Leaving the ``with`` block closes the file and keeps it. :meth:`remove` deletes it.

    Args:
        path: of the file.
        job: what is encoded and how; strings, numbers and lists, as JSON has them.
        resume: go on with a file that is there. Otherwise it is begun anew.

    Raises:
        TransportError: the file cannot be written, or another process writes it.
        DecodeError: the file is of another job, or is no spool.
    """

    def __init__(self, path: Path, job: Mapping[str, Any], *, resume: bool) -> None:
        self._path = path
        self._starts: list[int] = []
        """Where each record begins."""
        self.given: list[bytes] = []
        """The hashes of what the frames were made of, in their order."""
        self.digests: list[bytes] = []
        """The hashes of the masks that the frames give, in their order."""
        with mapped_errors(f"opening the spool {str(path)!r}"):
            self._file = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115 - closed by __exit__
        try:
            with mapped_errors(f"opening the spool {str(path)!r}"):
                lock_job(self._file, path)
                head = job_line({"format": _FORMAT, **job})
                if not (resume and self._found(head)):
                    self._begin(head)
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        return len(self._starts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._file.close()
        if exc is not None and not self._starts:
            self.remove()  # so that another try, with other options, is no other job
        elif exc is not None:
            exc.add_note(
                f"{len(self._starts)} frames are kept in {str(self._path)!r}; run it again to go on from there"
            )

    def __iter__(self) -> Iterator[EncodedFrame]:
        """The frames, read from the file."""
        for start in self._starts:
            with mapped_errors(f"reading the spool {str(self._path)!r}"):
                self._file.seek(start)
                frame = self._next()
            if frame is None:
                raise TransportError(f"reading the spool {str(self._path)!r}: frame at byte {start} is damaged now")
            yield frame

    def add(self, frames: Sequence[EncodedFrame]) -> None:
        """
        Append frames, and hand them to the system, so that they outlive this process.

        Raises:
            TransportError: writing failed.
        """
        records = list(map(_record, frames))
        with mapped_errors(f"writing the spool {str(self._path)!r}"):
            start = self._file.seek(0, os.SEEK_END)
            self._file.write(b"".join(records))
            self._file.flush()
        self._starts += itertools.accumulate(map(len, records[:-1]), initial=start) if records else ()
        self.given += [frame.given for frame in frames]
        self.digests += [frame.digest for frame in frames]

    def cut(self, n_frames: int) -> None:
        """Forget the frames from `n_frames` on."""
        if n_frames < len(self._starts):
            with mapped_errors(f"writing the spool {str(self._path)!r}"):
                self._file.truncate(self._starts[n_frames])
            del self._starts[n_frames:], self.given[n_frames:], self.digests[n_frames:]

    def remove(self) -> None:
        """Close and delete the file: its frames are in the target now."""
        self._file.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _begin(self, head: bytes) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._file.write(head)
        self._file.flush()

    def _found(self, head: bytes) -> bool:
        """Whether the file has frames of this job. Reads where they begin."""
        self._file.seek(0)
        line = self._file.readline(MAX_JOB_BYTES)
        if not line:
            return False
        end = self._file.tell()
        if line != head:
            difference = job_difference(line, head)
            if difference != NO_JOB and self._next() is None:
                return False  # it has no frame yet
            raise DecodeError(
                f"spool {str(self._path)!r}: it is of {difference}; finish that job, or pass resume=False to begin anew"
            )
        while (frame := self._next()) is not None:
            self._starts.append(end)
            self.given.append(frame.given)
            self.digests.append(frame.digest)
            end = self._file.tell()
        self._file.seek(end)
        self._file.truncate()
        return True

    def _next(self) -> EncodedFrame | None:
        """The record at the file's position, or None if there is no whole one."""
        fixed = self._file.read(_RECORD.size)
        if len(fixed) < _RECORD.size:
            return None
        n_bytes, checksum, *fields = _RECORD.unpack(fixed)
        if n_bytes > MAX_PAYLOAD_BYTES + (MAX_PAYLOAD_BYTES >> 8) + 64:
            return None
        block = self._file.read(n_bytes)
        if len(block) < n_bytes or zlib.crc32(block, zlib.crc32(fixed[_CHECKED:])) != checksum:
            return None
        return EncodedFrame(block, *fields)


def _record(frame: EncodedFrame) -> bytes:
    fields = (frame.digest, frame.given, frame.n_set, frame.n_differing, frame.bitmap_bytes, frame.farthest)
    checked = _RECORD.pack(len(frame.block), 0, *fields)[_CHECKED:] + frame.block
    return struct.pack("<II", len(frame.block), zlib.crc32(checked)) + checked
