"""
Pipes: standard input and output as byte files, for ``-`` on the command line.

Frames are read by position, and a stream's header comes before the frames that it counts. So standard input is first
read whole, within a limit, and standard output is written only when all of it is ready.
"""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass
from typing import IO, Final

from .._exceptions import TransportError, mapped_errors
from .._sources import MemorySource, SourceLike
from .._sources.base import resource_name_of

__all__ = ["STANDARD", "Input", "input_of", "standard_output"]

STANDARD: Final = "-"


@dataclass(frozen=True, slots=True)
class Input:
    """A stream that a command reads."""

    source: SourceLike
    is_standard: bool
    name: str
    """The last part of the path or URL; empty for standard input, which has none."""


def input_of(file: str, most_bytes: int) -> Input:
    """
    Return the input for FILE: a path or URL as it is, or the content of standard input.

    Args:
        file: ``-``, a path or a URL. ``./-`` is a file.
        most_bytes: the most bytes that are read from standard input.

    Raises:
        TransportError: standard input cannot be read or has more bytes, or the path is a pipe.
    """
    if file != STANDARD:
        _refuse_pipe(file)
        return Input(file, False, resource_name_of(file))
    if sys.stdin is None:
        raise TransportError("standard input: closed")
    if sys.stdin.isatty():
        raise TransportError("standard input: expected a stream, found a terminal; redirect a file or a pipe to it")
    with mapped_errors("reading standard input"):
        content = sys.stdin.buffer.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise TransportError(
            f"standard input: expected at most {most_bytes} bytes, found more; save them to a file, and pass its name"
        )
    return Input(MemorySource(content, name="standard input"), True, "")


def standard_output() -> IO[bytes]:
    """
    Return standard output for bytes. Write errors are handled at the command's end, which does not report that a reader
    is gone.

    Raises:
        TransportError: standard output is closed, or is a terminal, which bytes would only corrupt.
    """
    if sys.stdout is None:
        raise TransportError("standard output: closed")
    if sys.stdout.isatty():
        raise TransportError("standard output: expected a file or a pipe, found a terminal")
    sys.stdout.flush()
    return sys.stdout.buffer


def _refuse_pipe(file: str) -> None:
    try:
        is_pipe = stat.S_ISFIFO(os.stat(file).st_mode)
    except (OSError, ValueError):  # a URL, or an error that is reported on opening
        return
    if is_pipe:
        raise TransportError(
            f"{file!r}: expected a regular file, found a pipe; frames are read by position, so redirect the pipe to"
            " standard input, and pass - as the name"
        )
