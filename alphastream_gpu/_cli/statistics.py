"""
alphastream statistics: figures of each frame of many streams, in this process or on a cluster.
"""

from __future__ import annotations

import click
import numpy as np

from .._bulk import Table, statistics
from .._bulk.tasks import FIELDS
from .jobs import JobOptions, ResultOptions, frames_option, job_options, result_options, run_job
from .options import SizeParameter
from .running import blocking_command, cli

__all__ = ["statistics_of_files"]


@cli.command("statistics")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--field",
    "chosen",
    type=click.Choice(FIELDS),
    multiple=True,
    help="What to compute; may be repeated. Everything if omitted.",
)
@click.option("--size", type=SizeParameter(), help="Size of the masks; native if omitted.")
@frames_option
@result_options
@job_options
@blocking_command
def statistics_of_files(
    files: tuple[str, ...],
    chosen: tuple[str, ...],
    size: tuple[int, int] | None,
    frames: str | None,
    result: ResultOptions,
    job: JobOptions,
) -> int:
    """Compute area, bounding box, centroid, channels, points and bytes of each frame.

    Machines that share no cluster can each compute a range (--frames A:B --json), and merge joins the results.
    """
    code, _ = run_job(
        "statistics",
        result,
        lambda progress: statistics(
            job.sources(files),
            fields=chosen or FIELDS,
            frames=frames,
            size=size,
            key=job.key(*files),
            config=job.config,
            scheduler=job.scheduler,
            resume=job.resume,
            progress=progress,
        ),
        _lines,
    )
    return code


def _lines(table: Table) -> list[str]:
    lines = []
    for part in table.parts:
        figures = [f"{part.sources[0]}: {part.stop - part.start:,} frames"]
        for name in ("area", "channels", "points", "bytes"):
            values = part.columns.get(name, np.empty(0))
            if values.size:
                figures.append(f"{name} {values.min():,}..{values.max():,}, {values.mean():,.1f} on average")
        lines.append("; ".join(figures))
    return lines
