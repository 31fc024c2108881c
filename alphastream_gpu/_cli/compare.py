"""
alphastream compare: compares two streams, videos, folders or arrays, mask by mask.
"""

from __future__ import annotations

import math
from pathlib import Path

import click

from .._comparing import CompareReport, compare, picture_of_worst
from .._config import Config
from .._exceptions import mapped_errors
from .._format.cipher import LateKey
from .._format.names import scheme_of
from .._inputs import InputOptions
from .._writing.whole_file import whole_file
from .inputs import input_options, is_number
from .options import ascii_text, key_to_read
from .running import EXIT_CHECK_FAILED, blocking_command, cli, progress_bar

__all__ = ["compare_masks"]


@cli.command("compare")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--max-distance",
    type=click.FloatRange(0),
    callback=is_number,
    help="Exit with 1 if a differing pixel is farther than this from A's border.",
)
@click.option(
    "--min-iou",
    type=click.FloatRange(0, 1),
    callback=is_number,
    help="Exit with 1 if the IoU of a frame is below this.",
)
@click.option("--worst", type=click.IntRange(0, 100), default=5, show_default=True, help="Frames in table and picture.")
@click.option("--picture", metavar="PNG", help="Write the worst frames: A, B and where they differ.")
@click.option("--json", "as_json", is_flag=True, help="Print all frames as JSON.")
@click.option("--scene-id", type=click.IntRange(0, 0xFFFFFFFF), help="ASVR: the stream's scene number.")
@click.option("--stream-version", default="1.5.0", show_default=True, callback=ascii_text, help="ASVR: its version.")
@click.option("--resource-name", callback=ascii_text, help="ASVR: the file's original name, if it was renamed.")
@input_options
@blocking_command
def compare_masks(
    first: str,
    second: str,
    inputs: InputOptions,
    max_distance: float | None,
    min_iou: float | None,
    worst: int,
    picture: str | None,
    as_json: bool,
    scene_id: int | None,
    stream_version: str,
    resource_name: str | None,
) -> int:
    """Compare the masks of A and B.

    A and B are streams, or what encode reads. Exits with 1 if --max-distance or --min-iou is not met, or if these are
    given and A and B have different numbers of frames. The native size of a stream is that of the other masks, or
    --native-size.
    """
    if picture is not None and scheme_of(picture) is not None:
        raise click.UsageError(f"--picture: expected a path, found a {scheme_of(picture)}: URL")
    config = None if inputs.native_size is None else Config(native_size=inputs.native_size)
    key = LateKey(lambda head: key_to_read(scene_id, stream_version, resource_name, head))
    with progress_bar() as bar:
        task = bar.add_task("compare", total=None)
        report = compare(
            first,
            second,
            key=key,
            config=config,
            options=inputs,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        if picture is not None:
            content = picture_of_worst(report, first, second, worst, key=key, config=config, options=inputs)
            with mapped_errors(f"writing {picture!r}"), whole_file(Path(picture)) as file:
                file.write(content)
    click.echo(report.to_json() if as_json else "\n".join(_lines(report, worst)))
    is_checked = max_distance is not None or min_iou is not None
    fails = (
        (max_distance is not None and report.max_distance > max_distance)
        or (min_iou is not None and report.min_iou < min_iou)
        or (is_checked and report.frame_counts[0] != report.frame_counts[1])
    )
    return EXIT_CHECK_FAILED if fails else 0


def _lines(report: CompareReport, n_worst: int) -> list[str]:
    width, height = report.native_size
    counts = report.frame_counts
    lines = [f"{len(report.frames):,} frames of {width} x {height} compared"]
    if counts[0] != counts[1]:
        lines.append(f"A has {counts[0]:,} frames, B has {counts[1]:,}")
    if report.is_equal:
        return [*lines, "equal: no pixel differs"]
    lines.append(
        f"IoU {report.min_iou:.4f} at least, {report.mean_iou:.4f} on average; {report.differing_pixels:,} pixels"
        f" differ, the farthest {_pixels(report.max_distance)} from A's border; flicker {report.mean_flicker:.1f}"
        " pixels a frame"
    )
    worst = report.worst(n_worst)
    if worst:
        lines.append(
            f"{'frame':>8} {'IoU':>7} {'differ':>9} {'farthest':>9} {'area A':>10} {'area B':>10} {'flicker':>8}"
        )
    for frame in worst:
        lines.append(
            f"{frame.index:>8} {frame.iou:>7.4f} {frame.differing_pixels:>9,} {_pixels(frame.max_distance):>9}"
            f" {frame.area[0]:>10,} {frame.area[1]:>10,} {frame.flicker:>8,}"
        )
    return lines


def _pixels(distance: float) -> str:
    return f"{distance:.2f}" if math.isfinite(distance) else "unbounded"
