"""
Standard input and output as files of bytes: what ``-`` stands for on the command line.

Frames are read by position, and a stream's header stands before what it counts. So standard input is read whole first,
within a bound, and standard output is written only when all of it is there.
"""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass
from typing import IO, Final

from ._exceptions import TransportError, mapped_errors
from ._sources import MemorySource, SourceLike
from ._sources.base import resource_name_of

__all__ = ["STANDARD", "Input", "input_of", "standard_output"]

STANDARD: Final = "-"


@dataclass(frozen=True, slots=True)
class Input:
    """A stream that a command is to read."""

    source: SourceLike
    is_standard: bool
    name: str
    """The last part of the path or URL; empty for standard input, which has none."""


def input_of(file: str, most_bytes: int) -> Input:
    """
    What FILE means: a path or URL as it is, or what standard input holds.

    Args:
        file: ``-``, a path or a URL. ``./-`` is a file.
        most_bytes: of standard input.

    Raises:
        TransportError: standard input cannot be read or holds more; or the path is that of a pipe.
    """
    if file != STANDARD:
        _refuse_pipe(file)
        return Input(file, False, resource_name_of(file))
    if sys.stdin is None:
        raise TransportError("standard input: it is closed")
    if sys.stdin.isatty():
        raise TransportError("standard input: expected a stream, found a terminal; redirect a file or a pipe to it")
    with mapped_errors("reading standard input"):
        content = sys.stdin.buffer.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise TransportError(
            f"standard input: expected at most {most_bytes} bytes, found more; save it to a file, and name that"
        )
    return Input(MemorySource(content, name="standard input"), True, "")


def standard_output() -> IO[bytes]:
    """
    Standard output for bytes. What writing to it raises is left to the command's end, where a reader that has gone is
    no error that is told.

    Raises:
        TransportError: it is closed, or a terminal, on which bytes would only do harm.
    """
    if sys.stdout is None:
        raise TransportError("standard output: it is closed")
    if sys.stdout.isatty():
        raise TransportError("standard output: expected a file or a pipe, found a terminal")
    sys.stdout.flush()
    return sys.stdout.buffer


def _refuse_pipe(file: str) -> None:
    try:
        is_pipe = stat.S_ISFIFO(os.stat(file).st_mode)
    except (OSError, ValueError):  # a URL, or what opening it will tell
        return
    if is_pipe:
        raise TransportError(
            f"{file!r}: expected a regular file, found a pipe; frames are read by position, so redirect the pipe to"
            " standard input, and name that: -"
        )
