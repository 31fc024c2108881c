"""
alphastream build-capi: builds libalphastream.so for this Python environment.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from .. import __version__
from .pipes import FolderParameter
from .running import EXIT_BAD_INPUT, cli, one_line

__all__ = ["build_capi"]


@cli.command("build-capi")
@click.option(
    "-o",
    "--output",
    "directory",
    type=FolderParameter(),
    required=True,
    help="Folder to write to; created if it does not exist.",
)
def build_capi(directory: Path) -> None:
    """Build libalphastream.so, the C library, for this Python environment.

    Writes the library, its header, a pkg-config file and a CMake snippet. Needs a C compiler and Python's headers. With
    numba installed, also compiles the rasterizer for the processor of this machine, which takes seconds; the library
    uses it if the same user runs it.
    """
    from .._capi.build import BuildError, build
    from .._raster.compiled import twin

    try:
        written = build(directory, version=__version__)
    except BuildError as exc:
        click.echo(f"alphastream: {one_line(exc)}", err=True)
        sys.exit(EXIT_BAD_INPUT)
    except OSError as exc:
        click.echo(f"alphastream: cannot write {exc.filename or directory}: {exc.strerror or exc}", err=True)
        sys.exit(EXIT_BAD_INPUT)
    with contextlib.suppress(ImportError):  # no numba, or none that works here
        twin.load()
    for path in written:
        click.echo(path)
