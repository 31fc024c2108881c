"""
Jobs: the options and the output that the commands over many files share.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, TypeVar

import click

from .._bulk import Table
from .._bulk.spans import checked_frames
from .._bulk.tables import file_form
from .._config import Config
from .._exceptions import BulkError
from .._format.cipher import AsvrKey, KeyFromEnvironment
from .._sources import MemorySource, SourceLike
from .options import SizeParameter, WithoutSceneId, ascii_text, is_asvr
from .pipes import input_of
from .running import EXIT_BAD_INPUT, one_line, progress_bar

__all__ = [
    "RESUME",
    "SCHEDULER",
    "JobOptions",
    "ResultOptions",
    "frames_option",
    "given",
    "job_options",
    "result_options",
    "run_job",
    "show",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How streams are read, and what computes."""

    native_size: tuple[int, int]
    scene_id: int | None
    stream_version: str
    resource_name: str | None
    scheduler: str | None
    resume: str | None

    @property
    def config(self) -> Config:
        """The native size."""
        return Config(native_size=self.native_size)

    def key(self, *files: str) -> AsvrKey:
        """The key to read with. Its passphrase is read where a stream is opened, also in workers."""
        if self.scene_id is not None:
            return KeyFromEnvironment(
                scene_id=self.scene_id, version=self.stream_version, resource_name=self.resource_name
            )
        if any(map(is_asvr, files)):
            raise click.UsageError("an encrypted stream needs --scene-id")
        return WithoutSceneId()

    def sources(self, files: Sequence[str]) -> list[SourceLike]:
        """The sources for arguments: paths and URLs as they are, and the content of pipes."""
        sources = [input_of(file, self.config.http_whole_file_cap).source for file in files]
        is_elsewhere = self.scheduler not in (None, "process")
        if is_elsewhere and any(isinstance(source, MemorySource) for source in sources):
            raise click.UsageError("--scheduler: a pipe cannot be sent to other processes; save it to a file")
        return sources


@dataclass(frozen=True, slots=True)
class ResultOptions:
    """What becomes of a table."""

    output: str | None
    as_json: bool
    is_partial: bool


SCHEDULER = click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Compute on the cluster of dask at this address; local: in a process for each processor; process: in one. If"
    " omitted, much work is local and little work is not.",
)
RESUME = click.option("--resume", metavar="DIR", help="Keep finished parts here, and go on from those that are kept.")
_JOB = (
    click.option(
        "--native-size",
        type=SizeParameter(),
        default="2048x1024",
        show_default=True,
        help="Size of the polygons' grid; the file does not contain it.",
    ),
    click.option("--scene-id", type=click.IntRange(0, 0xFFFFFFFF), help="ASVR: the streams' scene number."),
    click.option(
        "--stream-version", default="1.5.0", show_default=True, callback=ascii_text, help="ASVR: the streams' version."
    ),
    click.option("--resource-name", callback=ascii_text, help="ASVR: the file's original name, if it was renamed."),
    SCHEDULER,
    RESUME,
)
_RESULT = (
    click.option("-o", "--output", metavar="OUT", help="File to write: .csv, .parquet or .json."),
    click.option("--json", "as_json", is_flag=True, help="Print the results as JSON, which merge reads."),
    click.option(
        "--partial", "is_partial", is_flag=True, help="Also write the results if some frames could not be computed."
    ),
)


def _frames_text(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    try:
        checked_frames(value)
    except ValueError as exc:
        raise click.BadParameter(str(exc).removeprefix("frames: "), context, option) from exc
    return value


frames_option = click.option(
    "--frames", metavar="A:B", callback=_frames_text, help="Only the frames from A to B - 1; all if omitted."
)


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given or have a default. On a cluster, some have another one."""
    return {name: value for name, value in options.items() if value is not None}


def job_options(function: Callable[..., T]) -> Callable[..., T]:
    """Add the options of :class:`JobOptions` to a command, as its keyword `job`."""
    return _with_options(function, "job", JobOptions, _JOB)


def result_options(function: Callable[..., T]) -> Callable[..., T]:
    """Add the options of :class:`ResultOptions` to a command, as its keyword `result`."""
    return _with_options(function, "result", ResultOptions, _RESULT)


def run_job(
    doing: str,
    result: ResultOptions,
    compute: Callable[[Callable[[int, int], object]], Table],
    lines: Callable[[Table], list[str]],
) -> tuple[int, Table | None]:
    """
    Run a job with a progress bar, and write what it computes.

    Args:
        doing: the word before the bar.
        result: what becomes of the table.
        compute: the job; takes what moves the bar.
        lines: the table in lines that people read, if it is not printed or written.

    Returns:
        The exit code, and the table.
    """
    if result.output is not None:
        file_form(result.output)  # before anything is computed
    problem: BulkError | None = None
    with _bar(doing) as move:
        try:
            table = compute(move)
        except BulkError as exc:
            problem, table = exc, exc.table
    if problem is not None:
        click.echo(f"alphastream: {one_line(problem)}", err=True)
        if not result.is_partial:
            return EXIT_BAD_INPUT, None
    show(table, result, lines)
    return (0 if problem is None else EXIT_BAD_INPUT), table


def show(table: Table, result: ResultOptions, lines: Callable[[Table], list[str]]) -> None:
    """Write and print a table."""
    if result.output is not None:
        table.write(result.output)
    if result.as_json:
        click.echo(table.to_json())
    elif result.output is None:
        click.echo("\n".join(lines(table)))
    else:
        click.echo(f"{result.output}: {len(table):,} rows")


@contextlib.contextmanager
def _bar(doing: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, which is shown when the work begins."""
    with contextlib.ExitStack() as stack:
        bar = progress_bar()
        task = bar.add_task(doing, total=None)
        begun = False

        def move(done: int, total: int) -> None:
            nonlocal begun
            if not begun:
                stack.enter_context(bar)
                begun = True
            bar.update(task, completed=done, total=total)

        yield move


def _with_options(
    function: Callable[..., T], name: str, kind: type[Any], options: tuple[Callable[[Any], Any], ...]
) -> Callable[..., T]:
    @wraps(function)
    def run(**given: Any) -> T:
        return function(**{name: kind(**{one.name: given.pop(one.name) for one in fields(kind)})}, **given)

    for option in reversed(options):
        run = option(run)
    return run
