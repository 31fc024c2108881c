"""
alphastream optimize: encodes the frames of a stream again, in fewer bytes, without changing a pixel.
"""

from __future__ import annotations

from typing import Any

import click

from .._writing.optimize import optimize as optimize_stream
from .encode import report_lines, target_of
from .options import StreamOptions, ascii_text, is_asvr, stream_options
from .pipes import Input
from .progress import shown_progress
from .running import blocking_command, cli

__all__ = ["optimize"]


@cli.command()
@click.argument("file", metavar="IN")
@click.option("-o", "--output", metavar="OUT", required=True, help="The .asvp or .asvr file to write.")
@click.option("--target-name", callback=ascii_text, help="ASVR output: encrypt under this name instead of OUT's own.")
@click.option("--effort", type=click.IntRange(1, 3), default=3, show_default=True, help="More is slower and smaller.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Threads; one for each processor if omitted.")
@click.option("--resume/--no-resume", default=True, show_default=True, help="Go on where a killed run stopped.")
@click.option(
    "--verify",
    type=click.Choice(["exact", "sample", "none"]),
    default="exact",
    show_default=True,
    help="Which frames are read back from the file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@stream_options
@blocking_command
def optimize(
    file: Input, output: str, target_name: str | None, as_json: bool, options: StreamOptions, **how: Any
) -> int:
    """Encode the frames of a stream anew, in fewer bytes.

    No pixel of a mask changes at --native-size, and no frame becomes larger. An ASVR stays encrypted with the same
    passphrase, scene and version if OUT ends in .asvr.
    """
    target = target_of(output)
    target_key = options.key_to_write(target_name) if is_asvr(target.name) else None
    with shown_progress() as progress:
        report = optimize_stream(
            file.source,
            target,
            key=options.key(file),
            target_key=target_key,
            config=options.config,
            progress=progress,
            **how,
        )
    click.echo(report.to_json() if as_json else "\n".join(report_lines(report)))
    return 0
