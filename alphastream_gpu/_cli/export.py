"""
alphastream export: writes the masks of a stream as a video, pictures, an array or annotations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final, TypeVar, get_args

import click

from .._exporting.choice import Codec, Layout
from .._exporting.export import export as export_masks
from .._exporting.report import ExportReport
from .options import SizeParameter, StreamOptions, stream_options
from .pipes import Input, output_of
from .progress import shown_progress
from .running import blocking_command, cli, one_line

__all__ = ["export", "export_options"]

T = TypeVar("T")

_KINDS: Final = {
    "raw": "raw gray pictures",
    "npy": "npy",
    "npz": "npz",
    "png": "PNG",
    "zarr": "Zarr",
    "coco": "COCO annotations",
}


_OPTIONS: Final = (
    click.option("--size", type=SizeParameter(), help="Size of the masks; --native-size if omitted."),
    click.option("--start", type=click.IntRange(0), default=0, show_default=True, help="First frame."),
    click.option("--frames", type=click.IntRange(1), help="Most frames; all if omitted."),
    click.option("--codec", type=click.Choice(get_args(Codec)), default="auto", show_default=True, help="Of a video."),
    click.option("--bits", type=click.Choice(["1", "8"]), default="8", show_default=True, help="PNG: bits of a pixel."),
    click.option("--packed", is_flag=True, help="npy, npz: eight pixels in a byte."),
    click.option("--jobs", type=click.IntRange(1, 256), help="Threads; one for each processor if omitted."),
)


def export_options(function: Callable[..., T]) -> Callable[..., T]:
    """Add the options of exports of masks alone."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@cli.command()
@click.argument("file", metavar="FILE")
@click.option("-o", "--output", metavar="OUT", required=True, help="What to write; its ending says what it is.")
@export_options
@click.option("--video", type=click.Path(), help="Colour video to join with the masks; its audio is copied.")
@click.option(
    "--layout",
    type=click.Choice(get_args(Layout)),
    default="auto",
    show_default=True,
    help="With --video: where the mask goes.",
)
@click.option("--quality", type=click.IntRange(0, 63), help="With --video: constant rate factor; less is better.")
@click.option("--resume/--no-resume", default=True, show_default=True, help="Go on where a killed run stopped.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@stream_options
@blocking_command
def export(file: Input, output: str, bits: str, as_json: bool, options: StreamOptions, **how: Any) -> int:
    """Write masks for other programs.

    OUT is out.mkv, out.mp4 or out.mov (a lossless gray video), out/%06d.png, out.npy, out.npz, out.zarr, out.json
    (COCO), out.raw, or - for raw gray pictures on standard output. With --video, it is out.webm (VP9 with alpha),
    out.mov (ProRes 4444), or out.mp4 (colours beside masks; clip_FISHEYE190_alpha.mp4 with a fisheye layout). To
    continue an interrupted run, start the same command again.
    """
    try:
        target = output_of(output)
    except ValueError as exc:
        raise click.UsageError(f"OUT: {one_line(exc)}") from exc
    with contextlib.ExitStack() as stack:
        written: Any = stack.enter_context(target.opened()) if target.is_direct else target.path
        progress = stack.enter_context(shown_progress())
        report = export_masks(
            file.source,
            written,
            key=options.key(file),
            config=options.config,
            bits=int(bits),
            progress=progress,
            **how,
        )
    text = report.to_json() if as_json else "\n".join(_lines(report, target.shown))
    click.echo(text, err=target.is_standard)
    return 0


def _lines(report: ExportReport, shown: str) -> list[str]:
    """A report in lines that people read."""
    width, height = report.size
    what = _KINDS.get(report.kind) or f"{report.codec} video"
    n_bytes = f", {report.bytes:,} bytes" if report.bytes else ""
    frames = f"{report.frames:,} frames of {width} x {height} at {float(report.fps):g} a second"
    lines = [f"{shown}: {what}, {frames}{n_bytes}, in {report.seconds:.1f} s"]
    if report.layout is not None:
        lines.append(
            f"layout {report.layout}; masks are at most {report.drift:.4f} s from their frames; "
            + ("lossless masks" if report.is_lossless else "lossy masks")
        )
    if report.resumed_from:
        lines.append(f"{report.resumed_from:,} frames were there from an interrupted run")
    return [*lines, *map(one_line, report.notes)]
