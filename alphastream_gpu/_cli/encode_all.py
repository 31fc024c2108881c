"""
alphastream encode-all: encodes many inputs, each to a stream of its own, in this process or on a cluster.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .._bulk import Table, encode
from .._format.cipher import KeyFromEnvironment
from .._format.names import scheme_of
from .._inputs import InputOptions
from .encode import encoder_options
from .inputs import input_options
from .jobs import RESUME, SCHEDULER, ResultOptions, given, result_options, run_job
from .options import ascii_text
from .pipes import FolderParameter
from .running import blocking_command, cli

__all__ = ["encode_all"]


@cli.command("encode-all")
@click.argument("sources", metavar="INPUT...", nargs=-1, required=True)
@click.option("--folder", type=FolderParameter(), required=True, help="Where the streams are written.")
@encoder_options
@click.option("--scene-id", type=click.IntRange(0, 0xFFFFFFFF), help="Write ASVR with this scene number.")
@click.option("--stream-version", default="1.5.0", show_default=True, callback=ascii_text, help="ASVR: its version.")
@SCHEDULER
@RESUME
@result_options
@input_options
@blocking_command
def encode_all(
    sources: tuple[str, ...],
    folder: Path,
    inputs: InputOptions,
    scene_id: int | None,
    stream_version: str,
    scheduler: str | None,
    resume: str | None,
    result: ResultOptions,
    **how: Any,
) -> int:
    """Encode many inputs, each as encode does, to streams of the same names.

    With --scheduler, an input is a task for a worker, which must see the inputs and the folder by the same paths.
    """
    for one in sources:
        if scheme_of(one) is not None:
            raise click.UsageError(f"INPUT: expected a path, found a {scheme_of(one)}: URL; download it first")
    key = None if scene_id is None else KeyFromEnvironment(scene_id=scene_id, version=stream_version)
    code, _ = run_job(
        "encode",
        result,
        lambda progress: encode(
            list(sources),
            folder,
            key=key,
            scheduler=scheduler,
            resume=resume,
            progress=progress,
            options=inputs,
            **given(how),
        ),
        _lines,
    )
    return code


def _lines(table: Table) -> list[str]:
    columns = table.columns
    return [
        f"{target}: {n_frames:,} frames, {n_bytes:,} bytes"
        for target, n_frames, n_bytes in zip(columns["target"], columns["frames"], columns["bytes"], strict=True)
    ]
