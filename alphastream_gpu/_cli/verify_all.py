"""
alphastream verify-all: compares the masks that two methods make of many streams, in this process or on a cluster.
"""

from __future__ import annotations

import click

from .._bulk import Table, verify
from .._bulk.tasks import AGAINST, METHODS
from .jobs import JobOptions, ResultOptions, frames_option, job_options, result_options, run_job
from .running import EXIT_CHECK_FAILED, blocking_command, cli

__all__ = ["verify_all"]


@cli.command("verify-all")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--method", type=click.Choice(METHODS), default="compiled", show_default=True, help="What is checked.")
@click.option(
    "--against", type=click.Choice(AGAINST), default="numpy", show_default=True, help="What it is compared with."
)
@frames_option
@result_options
@job_options
@blocking_command
def verify_all(
    files: tuple[str, ...],
    method: str,
    against: str,
    frames: str | None,
    result: ResultOptions,
    job: JobOptions,
) -> int:
    """Compare the masks of two methods bit by bit, for many streams.

    Exits with 1 if a pixel differs. compiled and numpy are the rasterizers of the CPU. compute and triangles need
    OpenGL in each process that computes.
    """
    code, table = run_job(
        "verify",
        result,
        lambda progress: verify(
            job.sources(files),
            method=method,
            against=against,
            frames=frames,
            key=job.key(*files),
            config=job.config,
            scheduler=job.scheduler,
            resume=job.resume,
            progress=progress,
        ),
        lambda table: _lines(table, method, against),
    )
    return EXIT_CHECK_FAILED if code == 0 and table is not None and table["differing_pixels"].any() else code


def _lines(table: Table, method: str, against: str) -> list[str]:
    lines = []
    for part in table.parts:
        values = part.columns["differing_pixels"]
        wrong = int((values != 0).sum())
        first = f"; frame {part.start + int((values != 0).argmax())} is the first" if wrong else ""
        lines.append(
            f"{part.sources[0]}: {values.size:,} frames, {method} differs from {against} in {wrong:,} of them{first}"
        )
    return lines
