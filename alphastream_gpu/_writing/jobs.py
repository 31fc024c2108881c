"""
Jobs: the first line of a file that keeps the finished part of a job, and the lock of that file.

The line is JSON and says what the job is. A job that was interrupted is continued only by a job with the same line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

from .._exceptions import TransportError
from .locks import try_lock

__all__ = ["MAX_JOB_BYTES", "NO_JOB", "job_difference", "job_line", "lock_job"]

MAX_JOB_BYTES: Final = 1 << 16
"""Of the first line."""
NO_JOB: Final = "no job of this package"


def job_line(job: Mapping[str, Any]) -> bytes:
    """
    The first line of a file, with its end.

    Args:
        job: what the job is; strings, numbers, lists and None, as JSON has them.
    """
    return json.dumps(job, sort_keys=True).encode() + b"\n"


def job_difference(line: bytes, head: bytes) -> str:
    """In words, how the job of a file differs from this one; two lines."""
    try:
        theirs, ours = json.loads(line), json.loads(head)
        if "format" not in theirs:
            return NO_JOB
        names = sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
    except (ValueError, AttributeError, TypeError):
        return NO_JOB
    return "another job, with other " + ", ".join(names)


def lock_job(file: IO[bytes], path: Path) -> None:
    """
    Let no other process write the file, where the system has such locks. The end of the process unlocks it.

    Raises:
        TransportError: another process has the lock.
    """
    if try_lock(file) is False:
        raise TransportError(f"{str(path)!r}: another process is writing to the same target")
