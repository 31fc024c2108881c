"""
Running: runs a command, with the exit codes, errors on one line, and the progress bar.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .. import __version__
from .._exceptions import AlphaStreamError, PassphraseError
from .._wording import said_on_command_line
from .options import StreamOptions
from .pipes import input_of

__all__ = [
    "EXIT_BAD_INPUT",
    "EXIT_CHECK_FAILED",
    "EXIT_WRONG_USAGE",
    "blocking_command",
    "cli",
    "command",
    "one_line",
    "progress_bar",
]

P = ParamSpec("P")
T = TypeVar("T")

EXIT_CHECK_FAILED: Final = 1
EXIT_WRONG_USAGE: Final = 2
EXIT_BAD_INPUT: Final = 3


class Commands(click.Group):
    """A group whose commands exit silently with 3 if the reader of their output is gone."""

    def make_context(self, *given: Any, **options: Any) -> click.Context:
        with _until_the_reader_has_gone():
            return super().make_context(*given, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _until_the_reader_has_gone():
            return super().invoke(ctx)


@contextlib.contextmanager
def _until_the_reader_has_gone() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # click would exit with 1, which means that a check failed
        sys.exit(EXIT_BAD_INPUT)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="alphastream")
def cli() -> None:
    """Exact alpha masks from ASVP and ASVR streams. FILE may be a URL, or - for standard input.

    Exit codes: 0 done, 1 a check failed, 2 wrong usage, 3 the input is bad or unreachable, the output cannot be
    written, or something that the command needs is missing. An ASVR's passphrase is read from
    ALPHASTREAM_PASSPHRASE (64 hex digits).
    """


def command(function: Callable[P, Coroutine[Any, Any, int | Callable[[], int]]]) -> Callable[P, None]:
    """
    Run an async command, as :func:`blocking_command` does.

    The keyboard cannot interrupt the reading or writing of a pipe within the event loop. So the input is opened before
    the loop starts, and a command may return a function that writes its output. It is called after the loop has ended,
    and returns the exit code.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        ended = asyncio.run(function(*args, **kwargs))
        return ended if isinstance(ended, int) else ended()

    return blocking_command(run)


def blocking_command(function: Callable[P, int], *, interrupted: str = "interrupted") -> Callable[P, None]:
    """
    Run a command. Turn our errors into one line on standard error and the exit code.

    For a command with :func:`stream_options`, the keyword `file` becomes an :class:`Input`.

    Args:
        function: the command, which returns the exit code.
        interrupted: what Ctrl-C prints.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            options = kwargs.get("options")
            if isinstance(options, StreamOptions):
                file = input_of(str(kwargs["file"]), options.config.http_whole_file_cap)
                kwargs["file"] = options.with_headers(file)
            code = function(*args, **kwargs)
        except PassphraseError as exc:
            click.echo(f"alphastream: {one_line(exc)}", err=True)
            sys.exit(EXIT_WRONG_USAGE)
        except (AlphaStreamError, ImportError) as exc:
            click.echo(f"alphastream: {one_line(exc)}", err=True)
            sys.exit(EXIT_BAD_INPUT)
        except ValueError as exc:  # an option that click could not check
            raise click.UsageError(one_line(exc)) from exc
        except KeyboardInterrupt as exc:
            click.echo(f"alphastream: {'; '.join((interrupted, *_notes(exc)))}", err=True)
            sys.exit(130)
        sys.exit(code)

    return run


def one_line(text: object) -> str:
    """The line for an error and its notes, in the words for users of the command line."""
    return " ".join(said_on_command_line("; ".join((str(text), *_notes(text)))).split())


def _notes(error: object) -> list[str]:
    """What ``add_note`` added to an exception."""
    return getattr(error, "__notes__", [])


def progress_bar() -> Progress:
    """Return a progress bar on standard error, so that standard output has only the command's result."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
