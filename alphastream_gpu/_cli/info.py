"""
alphastream info: shows a stream's header and table.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .._open import open_async
from .._stream.metadata import Metadata
from .options import StreamOptions, stream_options
from .pipes import Input
from .running import cli, command

__all__ = ["info"]


@cli.command()
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@stream_options
@command
async def info(
    file: Input,
    as_json: bool,
    options: StreamOptions,
) -> int:
    """Show a stream's header and table."""
    async with await open_async(file.source, key=options.key(file), config=options.config) as stream:
        facts = _facts(stream.metadata)
    if as_json:
        click.echo(json.dumps(facts))
        return 0
    table = Table(show_header=False, box=None)
    for name, value in facts.items():
        shown = _duration(value) if name == "duration" else "unknown" if value is None else _shown(value)
        table.add_row(name.replace("_", " "), escape(shown))
    Console().print(table)
    return 0


def _facts(metadata: Metadata) -> dict[str, Any]:
    facts = asdict(metadata)
    facts["fps"] = str(metadata.fps)
    facts["duration"] = metadata.duration
    facts["trailing_bytes"] = metadata.trailing_bytes
    return facts


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " x ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _duration(seconds: float) -> str:
    """``2.0 s``, ``4 min 32.9 s``, ``1 h 0 min 5.0 s``; three decimals below one second."""
    if seconds < 1:
        return f"{seconds:.3f} s"
    tenths = round(10 * seconds)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h"] * (hours > 0) + [f"{minutes} min"] * (hours + minutes > 0)
    return " ".join([*parts, f"{tenths / 10:.1f} s"])
