"""
alphastream merge: joins the results of several runs, each of its own frames.
"""

from __future__ import annotations

import click

from .._bulk import Table, merge, read_table
from .jobs import ResultOptions, result_options, show
from .running import EXIT_BAD_INPUT, blocking_command, cli

__all__ = ["merge_files"]

_MOST_NAMED = 20


@cli.command("merge")
@click.argument("files", metavar="PART...", nargs=-1, required=True)
@result_options
@blocking_command
def merge_files(files: tuple[str, ...], result: ResultOptions) -> int:
    """Merge results of statistics, iou or verify-all.

    PART is what --json printed, a .json file of -o, or a file of the folder of --resume. All of them are of one
    computation. Exits with 3 if frames are missing. The result has the same bytes as that of one run.
    """
    table = merge(map(read_table, files))
    missing = table.missing
    if missing:
        named = [
            *missing[:_MOST_NAMED],
            *([f"and {len(missing) - _MOST_NAMED} more"] if len(missing) > _MOST_NAMED else []),
        ]
        click.echo(f"alphastream: missing: {'; '.join(named)}", err=True)
        if not result.is_partial:
            return EXIT_BAD_INPUT
    show(table, result, _lines)
    return EXIT_BAD_INPUT if missing else 0


def _lines(table: Table) -> list[str]:
    return [f"{' and '.join(part.sources)}: {part.stop - part.start:,} rows" for part in table.parts]
