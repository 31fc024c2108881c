"""
Pipes: the files that commands read and write. A file may be ``-``, a pipe, or an open file of the process.

Frames are read by position, so an input pipe is first read into memory completely, within a limit. The header of a
stream has the number of frames and comes first, so an output pipe is written only when all of the output is ready.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from .._exceptions import TransportError, mapped_errors
from .._format.names import scheme_of
from .._sources import MemorySource, SourceLike
from .._sources.base import resource_name_of

__all__ = ["STANDARD", "FolderParameter", "Input", "Output", "OutputParameter", "input_of", "output_of"]

STANDARD: Final = "-"
_DESCRIPTOR: Final = re.compile(r"/dev/(?:stdin|stdout|stderr)|/dev/fd/[0-9]+|/proc/(?:self|[0-9]+)/fd/[0-9]+")
"""The names that systems give to the open files of a process. Shells write ``<(...)`` as ``/dev/fd/63``."""
_STANDARD_INPUT: Final = ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
_STANDARD_OUTPUT: Final = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")

if TYPE_CHECKING:
    OutputType = click.ParamType["Output"]
else:
    OutputType = click.ParamType  # generic only since click 8.4


@dataclass(frozen=True, slots=True)
class Input:
    """A stream that a command reads."""

    source: SourceLike
    is_standard: bool
    """Whether it is standard input."""
    name: str
    """The last part of the path or URL; empty for standard input and other open files, whose names say nothing."""


def input_of(file: str, most_bytes: int) -> Input:
    """
    Return the input for FILE: a path or URL as it is, or the content of standard input or of another pipe.

    Args:
        file: ``-``, a path or a URL. ``./-`` is a file.
        most_bytes: the most bytes that are read from a pipe.

    Raises:
        TransportError: the pipe cannot be read or has more bytes.
    """
    if file == STANDARD:
        return _standard_input(most_bytes)
    mode = _mode_of(file)
    is_regular = mode is not None and stat.S_ISREG(mode)
    if file in _STANDARD_INPUT and mode is not None and not is_regular:
        return _standard_input(most_bytes)
    name = "" if _is_open_file(file) else resource_name_of(file)
    if mode is None or not stat.S_ISFIFO(mode):
        return Input(file, file in _STANDARD_INPUT, name)
    with mapped_errors(f"reading {file!r}"), open(file, "rb") as pipe:  # waits for a writer
        content = _content_of(pipe, repr(file), most_bytes)
    return Input(MemorySource(content, name=name or "pipe"), False, name)


def _standard_input(most_bytes: int) -> Input:
    if sys.stdin is None:
        raise TransportError("standard input: closed")
    if sys.stdin.isatty():
        raise TransportError("standard input: expected a stream, found a terminal; redirect a file or a pipe to it")
    with mapped_errors("reading standard input"):
        content = _content_of(sys.stdin.buffer, "standard input", most_bytes)
    return Input(MemorySource(content, name="standard input"), True, "")


def _content_of(pipe: IO[bytes], shown: str, most_bytes: int) -> bytes:
    content = pipe.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise TransportError(
            f"{shown}: expected at most {most_bytes} bytes, found more; save them to a file, and pass its name"
        )
    return content


@dataclass(frozen=True, slots=True)
class Output:
    """What a command writes."""

    path: str
    is_standard: bool
    """Whether it is standard output."""
    is_direct: bool
    """Whether it is written to: standard output, a pipe, a device or another open file. Other files are replaced."""
    name: str
    """The last part of the path; empty for standard output and other open files."""

    @property
    def shown(self) -> str:
        return "standard output" if self.is_standard else str(Path(self.path))

    def check(self) -> None:
        """
        Refuse a standard output that cannot be used, before anything is computed.

        Raises:
            TransportError: standard output is closed, or is a terminal, which bytes would only corrupt.
        """
        if self.is_standard and sys.stdout is None:
            raise TransportError("standard output: closed")
        if self.is_standard and sys.stdout.isatty():
            raise TransportError("standard output: expected a file or a pipe, found a terminal")

    @contextlib.contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """
        Open a direct output, for what is written while it is made. Otherwise as :meth:`write`.

        Raises:
            TransportError: the output cannot be opened, or is a terminal.
        """
        assert self.is_direct
        self.check()
        if self.is_standard:
            sys.stdout.flush()
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
            return
        with contextlib.ExitStack() as stack:
            with mapped_errors(f"writing {self.path!r}"):
                file = stack.enter_context(open(self.path, "wb"))  # waits for a reader
            if file.isatty():
                raise TransportError(f"{self.path!r}: expected a file or a pipe, found a terminal")
            yield file

    def write(self, content: IO[bytes]) -> None:
        """
        Write a direct output. Opening a pipe waits for its reader, and writing waits until it reads. So this is called
        outside of the event loop, in which the keyboard could not interrupt the waiting.

        Raises:
            TransportError: the output cannot be opened or written. Errors of standard output are handled at the
                command's end, which does not report that a reader is gone.
        """
        with self.opened() as file:
            if self.is_standard:  # whose errors are handled at the command's end
                shutil.copyfileobj(content, file)
                return
            with mapped_errors(f"writing {self.path!r}"):
                shutil.copyfileobj(content, file)


def output_of(text: str) -> Output:
    """
    Return the output for an argument: ``-`` or a path. ``./-`` is a file.

    Raises:
        ValueError: it is a URL.
    """
    scheme = scheme_of(text)
    if scheme is not None:  # not quoted: the query and the user information may be secrets
        raise ValueError(f"expected a path or -, found a URL ({scheme}:); write to a file, then upload the file")
    if text == STANDARD or text in _STANDARD_OUTPUT:
        return Output(text, True, True, "")
    if _is_open_file(text):
        return Output(text, False, True, "")
    mode = _mode_of(text)
    is_direct = mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
    return Output(text, False, is_direct, Path(text).name)


class OutputParameter(OutputType):
    """A file to write; a directory or a URL is refused."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Output:
        if isinstance(value, Output):
            return value
        try:
            output = output_of(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)
        if not output.is_direct:
            click.Path(dir_okay=False).convert(value, param, ctx)
        return output


class FolderParameter(click.Path):
    """A folder to write to; standard output or a URL is refused."""

    name = "directory"

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == STANDARD:
            self.fail("expected a folder, found -, which is standard output; ./- is a folder of that name", param, ctx)
        scheme = scheme_of(os.fsdecode(value))
        if scheme is not None:
            self.fail(f"expected a folder, found a URL ({scheme}:)", param, ctx)
        return super().convert(value, param, ctx)


def _mode_of(path: str) -> int | None:
    """The mode of a file; None for a URL, or after an error, which is reported when the file is opened."""
    with contextlib.suppress(OSError, ValueError):
        return os.stat(path).st_mode
    return None


def _is_open_file(path: str) -> bool:
    return _DESCRIPTOR.fullmatch(path) is not None
