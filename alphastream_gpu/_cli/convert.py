"""
alphastream convert: converts ASVP to ASVR and back, and keeps the compressed frames as they are.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from .._format.names import shown_path
from .._sources import as_source
from .._stream.reader import StreamReader
from .._writing.convert import convert_blocks
from .._writing.writer import AsvpWriter, AsvrWriter
from .options import StreamOptions, ascii_text, is_asvr, stream_options
from .pipes import Input, Output, OutputParameter
from .running import cli, command, progress_bar

__all__ = ["convert"]


@cli.command()
@click.argument("file", metavar="IN")
@click.argument("target", metavar="OUT", type=OutputParameter())
@click.option("--target-name", callback=ascii_text, help="ASVR output: encrypt under this name instead of OUT's own.")
@stream_options
@command
async def convert(
    file: Input,
    target: Output,
    target_name: str | None,
    options: StreamOptions,
) -> int | Callable[[], int]:
    """Convert between ASVP and ASVR.

    The first bytes of IN determine its format. The ending of OUT, .asvp or .asvr, determines the new format.
    Compressed frames are kept as they are. An ASVR to ASVR conversion changes only the name: both files have the
    same passphrase, scene and version. Standard output (-) becomes an ASVP, or with --target-name an ASVR of that
    name. It is written after all frames are converted, so a pipe gets nothing if the conversion fails before that.
    """
    if not target.is_direct:
        _format_of(target, target_name)
        n_frames = await _convert(file, Path(target.path), target_name, options)
        click.echo(f"{target.shown}: {n_frames} frames, {Path(target.path).stat().st_size:,} bytes")
        return 0
    target.check()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        suffix, target_name = _format_of(target, target_name)
        spool = Path(folder, f"stream{suffix}")
        n_frames = await _convert(file, spool, target_name, options)
        kept = stack.pop_all()

    def deliver() -> int:
        with kept, open(spool, "rb") as whole:
            target.write(whole)
            n_bytes = whole.tell()
        click.echo(f"{target.shown}: {n_frames} frames, {n_bytes:,} bytes", err=target.is_standard)
        return 0

    return deliver


def _format_of(target: Output, target_name: str | None) -> tuple[str, str | None]:
    """Return the ending that determines the format, and the name to encrypt under, if it is not the spool's own."""
    suffix = Path(target.name).suffix.lower()
    if suffix in (".asvp", ".asvr"):
        return suffix, target_name or (target.name if suffix == ".asvr" else None)
    if target.is_direct:
        return (".asvp" if target_name is None else ".asvr"), target_name
    found = shown_path(target.name)
    raise click.UsageError(f"OUT: expected a name ending in .asvp or .asvr, or -, found {found!r}")


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
