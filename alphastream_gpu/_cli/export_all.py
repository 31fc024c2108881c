"""
alphastream export-all: exports many streams to another format, in this process or on a cluster.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .._bulk import Table, export
from .export import export_options
from .jobs import JobOptions, ResultOptions, given, job_options, result_options, run_job
from .pipes import FolderParameter
from .running import blocking_command, cli

__all__ = ["export_all"]


@cli.command("export-all")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--folder", type=FolderParameter(), required=True, help="Where the files are written.")
@click.option("--suffix", required=True, help="What the names get in place of their endings, such as .mkv.")
@export_options
@result_options
@job_options
@blocking_command
def export_all(
    files: tuple[str, ...], folder: Path, suffix: str, bits: str, result: ResultOptions, job: JobOptions, **how: Any
) -> int:
    """Export many streams, each as export does, to files of the same names.

    With --scheduler, a stream is a task for a worker, which must see the streams and the folder by the same paths.
    """
    code, _ = run_job(
        "export",
        result,
        lambda progress: export(
            list(files),
            folder,
            suffix,
            key=job.key(*files),
            config=job.config,
            scheduler=job.scheduler,
            resume=job.resume,
            progress=progress,
            bits=int(bits),
            **given(how),
        ),
        _lines,
    )
    return code


def _lines(table: Table) -> list[str]:
    columns = table.columns
    return [f"{target}: {size:,} bytes" for target, size in zip(columns["target"], columns["bytes"], strict=True)]
