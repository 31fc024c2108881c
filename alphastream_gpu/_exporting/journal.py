"""
Journal: keeps in a file beside the target which pieces of an export are done, so that a killed export can continue.

The first line says what is exported and how. One line follows for each finished piece, with a checksum. A line that is
cut short or damaged, as after a power failure, is ignored with those after it, and their pieces are made again.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from .._exceptions import DecodeError, mapped_errors
from .._writing.jobs import MAX_JOB_BYTES, job_difference, job_line, lock_job

__all__ = ["Journal", "journal_path"]

_FORMAT: Final = 1
_MOST_BYTES: Final = 1 << 30
"""Of the whole file, which is read at once: 400,000 frames of COCO with 2.5 KB each."""


def journal_path(target: Path) -> Path:
    """Where the journal of a target is: in the same folder, so that it is found again."""
    return target.with_name(f".{target.name}.export")


class Journal:
    """
    The records of finished pieces, by the numbers of their first frames. A context manager; not thread-safe.

    Leaving the ``with`` block closes the file, and keeps it if there are records. :meth:`remove` deletes it.

    Args:
        path: of the file.
        job: what is exported and how; strings, numbers, lists and None, as JSON has them.
        resume: go on with a file that is there. Otherwise it is begun anew.

    Raises:
        TransportError: the file cannot be written, or another process writes it.
        DecodeError: the file is of another job, or is no journal.
    """

    def __init__(self, path: Path, job: Mapping[str, Any], *, resume: bool) -> None:
        self._path = path
        self.records: dict[int, Any] = {}
        """What is known of each finished piece."""
        with mapped_errors(f"opening {str(path)!r}"):
            self._file = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115 - closed by __exit__
        try:
            with mapped_errors(f"opening {str(path)!r}"):
                lock_job(self._file, path)
                head = job_line({"format": _FORMAT, **job})
                if not (resume and self._found(head)):
                    self._file.seek(0)
                    self._file.truncate()
                    self._file.write(head)
                    self._file.flush()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if exc is not None and not self.records:
            self.remove()
        self._file.close()
        if exc is not None and self.records:
            exc.add_note("what was exported is kept; run it again to go on from there")

    def add(self, first: int, record: Any) -> None:
        """
        Record a piece as finished.

        Args:
            first: its first frame.
            record: what JSON has.

        Raises:
            TransportError: writing failed.
        """
        text = json.dumps([first, record]).encode()
        with mapped_errors(f"writing {str(self._path)!r}"):
            self._file.seek(0, os.SEEK_END)
            self._file.write(b"%08x %s\n" % (zlib.crc32(text), text))
            self._file.flush()
        self.records[first] = record

    def remove(self) -> None:
        """Close and delete the file: the target is complete."""
        self._file.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _found(self, head: bytes) -> bool:
        """Whether the file has pieces of this job. Reads them."""
        self._file.seek(0)
        line = self._file.readline(MAX_JOB_BYTES)
        if not line:
            return False
        if line != head:
            raise DecodeError(
                f"{str(self._path)!r}: it is of {job_difference(line, head)}; finish that export, or pass resume=False"
                " to begin anew"
            )
        end = self._file.tell()
        for line in self._file.read(_MOST_BYTES).splitlines(keepends=True):
            checksum, _, text = line[:-1].partition(b" ")
            if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
                break
            try:
                first, record = json.loads(text)
            except ValueError:
                break
            self.records[int(first)] = record
            end += len(line)
        self._file.seek(end)
        self._file.truncate()
        return True
