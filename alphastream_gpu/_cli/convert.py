"""
alphastream convert: ASVP to ASVR and back, compressed frames kept.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import click

from .._sources import as_source
from .._stream.reader import StreamReader
from .._writing.convert import convert_blocks
from .._writing.writer import AsvpWriter, AsvrWriter
from .options import StreamOptions, ascii_text, is_asvr, stream_options
from .pipes import STANDARD, Input, standard_output
from .running import cli, command, progress_bar

__all__ = ["convert"]


@cli.command()
@click.argument("file", metavar="IN")
@click.argument("target", metavar="OUT", type=click.Path(dir_okay=False))
@click.option("--target-name", callback=ascii_text, help="ASVR output: encrypt under this name instead of OUT's own.")
@stream_options
@command
async def convert(
    file: Input,
    target: str,
    target_name: str | None,
    options: StreamOptions,
) -> int:
    """Convert between ASVP and ASVR.

    The first bytes of IN determine its format. The ending of OUT, .asvp or .asvr, determines the new format.
    Compressed frames are kept as they are. An ASVR to ASVR conversion changes only the name: both files have the
    same passphrase, scene and version. Standard output (-) becomes an ASVP, or with --target-name an ASVR of that
    name. It is written after all frames are converted, so a pipe gets nothing if the conversion fails before that.
    """
    if target == STANDARD:
        standard_output()
        with tempfile.TemporaryDirectory() as folder:
            spool = Path(folder, "stream.asvp" if target_name is None else "stream.asvr")
            n_frames = await _convert(file, spool, target_name, options)
            with open(spool, "rb") as whole:
                n_bytes = os.fstat(whole.fileno()).st_size
                shutil.copyfileobj(whole, standard_output())
            standard_output().flush()
        click.echo(f"standard output: {n_frames} frames, {n_bytes:,} bytes", err=True)
        return 0
    path = Path(target)
    if path.suffix.lower() not in (".asvp", ".asvr"):
        raise click.UsageError(f"OUT: expected a name ending in .asvp or .asvr, or -, found {path.name!r}")
    n_frames = await _convert(file, path, target_name, options)
    click.echo(f"{path}: {n_frames} frames, {path.stat().st_size:,} bytes")
    return 0


async def _convert(file: Input, target: Path, target_name: str | None, options: StreamOptions) -> int:
    """Convert to a file, whose ending determines the format. Return the number of frames."""
    write_key = options.key_to_write(target_name) if is_asvr(target.name) else None
    opened = as_source(file.source, options.config)
    try:
        reader = await StreamReader.open(opened, key=options.key(file), config=options.config)
        writer = AsvpWriter(target) if write_key is None else AsvrWriter(target, key=write_key)
        with writer, progress_bar() as progress:
            task = progress.add_task("convert", total=len(reader.index))
            async for done in convert_blocks(reader, writer):
                progress.update(task, completed=done)
    finally:
        await opened.aclose()
    return writer.frame_count
