"""
alphastream encode: encodes the masks of videos, pictures and arrays to a stream, or makes a trial with a contact sheet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from .._exceptions import mapped_errors
from .._format.names import scheme_of
from .._inputs import InputOptions
from .._writing.encode import encode as encode_masks
from .._writing.report import EncodeReport
from .._writing.trial import TrialReport, try_encoding
from .._writing.whole_file import whole_file
from .inputs import input_options
from .options import ascii_text, is_asvr, key_to_write
from .progress import shown_progress
from .running import blocking_command, cli, one_line

__all__ = ["encode", "encoder_options", "report_lines", "target_of"]

T = TypeVar("T")

_ADVICE: Final = "noise and texture do not fit polygons; try --min-area 20, or --tolerance 1"


_OPTIONS: Final = (
    click.option(
        "--tolerance", type=click.FloatRange(0, 64), default=0.0, show_default=True, help="Pixels; 0 is exact."
    ),
    click.option("--min-iou", type=click.FloatRange(0.5, 1), help="Least IoU of each frame, in place of a tolerance."),
    click.option(
        "--min-area", type=click.IntRange(0), default=0, show_default=True, help="Drop smaller spots and holes."
    ),
    click.option(
        "--effort", type=click.IntRange(1, 3), default=2, show_default=True, help="More is slower and smaller."
    ),
    click.option("--stable/--no-stable", default=True, show_default=True, help="Keep still outlines still."),
    click.option("--jobs", type=click.IntRange(1, 256), help="Threads; one for each processor if omitted."),
    click.option(
        "--verify",
        type=click.Choice(["exact", "sample", "none"]),
        default="exact",
        show_default=True,
        help="Which frames are read back from the file.",
    ),
)


def encoder_options(function: Callable[..., T]) -> Callable[..., T]:
    """Add the options that say how masks are encoded."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@cli.command()
@click.argument("sources", metavar="INPUT...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="OUT", required=True, help="The .asvp or .asvr file to write.")
@encoder_options
@click.option("--resume/--no-resume", default=True, show_default=True, help="Go on where a killed run stopped.")
@click.option("--dry-run", is_flag=True, help="Encode thirty frames; write OUT.png, a contact sheet, and no stream.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, with the times of a video's frames.")
@click.option("--scene-id", type=click.IntRange(0, 0xFFFFFFFF), help="ASVR: the stream's scene number.")
@click.option("--stream-version", default="1.5.0", show_default=True, callback=ascii_text, help="ASVR: its version.")
@click.option("--target-name", callback=ascii_text, help="ASVR: the name to encrypt under, if not that of OUT.")
@input_options
@blocking_command
def encode(
    sources: tuple[str, ...],
    output: str,
    inputs: InputOptions,
    dry_run: bool,
    as_json: bool,
    scene_id: int | None,
    stream_version: str,
    target_name: str | None,
    **how: Any,
) -> int:
    """Encode masks to a stream.

    INPUT is a video, a folder or pattern of pictures, a NumPy or Zarr array, or a COCO file; or several pictures. The
    file is read back and verified. To continue an interrupted run, start the same command again.
    """
    target = target_of(output)
    for one in sources:
        if scheme_of(one) is not None:
            raise click.UsageError(f"INPUT: expected a path, found a {scheme_of(one)}: URL; download it first")
        if one.lower().endswith((".asvp", ".asvr")):
            raise click.UsageError("INPUT: expected masks, found a stream; see optimize and convert")
    source = sources[0] if len(sources) == 1 else list(sources)
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(shown_progress())
        if dry_run:
            coding = {name: how[name] for name in ("tolerance", "min_iou", "min_area", "effort", "stable")}
            trial, sheet = try_encoding(source, inputs, progress, **coding)
            path = target.with_name(f"{target.name}.png")
            with mapped_errors(f"writing {str(path)!r}"), whole_file(path) as file:
                file.write(sheet)
            stack.close()
            click.echo(trial.to_json() if as_json else "\n".join(_trial_lines(trial, path)))
            return 0
        key = key_to_write(scene_id, stream_version, target_name) if is_asvr(target.name) else None
        report = encode_masks(source, target, key=key, options=inputs, progress=progress, **how)
    click.echo(report.to_json() if as_json else "\n".join(report_lines(report)))
    return 0


def report_lines(report: EncodeReport) -> list[str]:
    """A report in lines that people read."""
    width, height = report.native_size
    rate = "" if report.fps is None else f", {float(report.fps):g} frames/s"
    lines = [
        report.about,
        (
            f"{report.target}: {report.frames:,} frames of {width} x {height}{rate}, {report.bytes:,} bytes,"
            f" {report.bytes_per_frame:,.0f} a frame, in {report.seconds:.1f} s"
        ),
    ]
    if report.differing_pixels:
        lines.append(
            f"{report.differing_pixels:,} pixels differ: IoU {report.min_iou:.4f} at least, {report.mean_iou:.4f} on"
            f" average, at most {report.max_distance:.2f} pixels from the border"
        )
    else:
        lines.append("exact: no pixel differs")
    if report.bytes_before is not None:
        lines.append(f"{1 - report.bytes / max(1, report.bytes_before):.1%} smaller than before")
    lines.append(f"verified: {report.verified:,} frames read back")
    return [*lines, *map(one_line, report.notes), *_misfit_lines(report.misfits, report.frames)]


def _trial_lines(trial: TrialReport, sheet: Path) -> list[str]:
    whole = (
        "" if trial.total_bytes is None else f"; about {trial.total_bytes:,} bytes for {trial.total_frames:,} frames"
    )
    return [
        trial.about,
        f"{trial.frames} frames: {trial.bytes_per_frame:,.0f} bytes a frame{whole}",
        f"{trial.frames_per_second:.0f} frames a second on one thread; IoU {trial.min_iou:.4f} at least",
        f"contact sheet: {sheet}",
        *map(one_line, trial.notes),
        *_misfit_lines(trial.misfits, trial.frames),
    ]


def _misfit_lines(misfits: tuple[int, ...], n_frames: int) -> list[str]:
    if not misfits:
        return []
    shown = ", ".join(map(str, misfits[:5])) + (", ..." if len(misfits) > 5 else "")
    return [f"{len(misfits)} of {n_frames} frames take more bytes than a PNG ({shown}): {_ADVICE}"]


def target_of(output: str) -> Path:
    """The path of OUT; a URL or a name without a known ending is wrong usage."""
    if scheme_of(output) is not None:
        raise click.UsageError(f"OUT: expected a path, found a {scheme_of(output)}: URL")
    target = Path(output)
    if target.suffix.lower() not in (".asvp", ".asvr"):
        raise click.UsageError("OUT: expected a name ending in .asvp or .asvr")
    return target
