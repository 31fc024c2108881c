"""
alphastream iou: compares many pairs of streams, frame by frame, in this process or on a cluster.
"""

from __future__ import annotations

import click
import numpy as np

from .._bulk import Table, iou
from .inputs import is_number
from .jobs import JobOptions, ResultOptions, frames_option, job_options, result_options, run_job
from .options import SizeParameter
from .running import EXIT_CHECK_FAILED, blocking_command, cli

__all__ = ["iou_of_files"]


@cli.command("iou")
@click.argument("files", metavar="A B [A B]...", nargs=-1, required=True)
@click.option(
    "--min-iou",
    type=click.FloatRange(0, 1),
    callback=is_number,
    help="Exit with 1 if the IoU of a frame is below this.",
)
@click.option("--size", type=SizeParameter(), help="Size of the masks; native if omitted.")
@frames_option
@result_options
@job_options
@blocking_command
def iou_of_files(
    files: tuple[str, ...],
    min_iou: float | None,
    size: tuple[int, int] | None,
    frames: str | None,
    result: ResultOptions,
    job: JobOptions,
) -> int:
    """Compare pairs of streams: IoU, differing pixels and areas of each frame.

    A and B are streams. For other inputs, distances and pictures, see compare.
    """
    if len(files) % 2:
        raise click.UsageError(f"expected pairs of files, found {len(files)} files")
    sources = job.sources(files)
    code, table = run_job(
        "iou",
        result,
        lambda progress: iou(
            list(zip(sources[::2], sources[1::2], strict=True)),
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
    if code == 0 and table is not None and min_iou is not None and np.min(table["iou"], initial=1) < min_iou:
        return EXIT_CHECK_FAILED
    return code


def _lines(table: Table) -> list[str]:
    lines = []
    for part in table.parts:
        values = part.columns["iou"]
        differing = int(part.columns["differing_pixels"].sum())
        worst = f"; frame {part.start + int(values.argmin())} is the worst" if differing else ""
        lines.append(
            f"{part.sources[0]} and {part.sources[1]}: {values.size:,} frames; IoU {np.min(values, initial=1):.4f} at"
            f" least, {values.mean() if values.size else 1:.4f} on average;"
            f" {differing:,} pixels differ{worst}"
        )
    return lines
