"""
What the tests of exports share: a small stream with masks of odd sizes, and what comes back from a target.
"""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hosts import need
from inputfiles import masks_of

import alphastream_gpu
from alphastream_gpu import AsvpWriter, Config, ExportReport, encode_mask

__all__ = ["CONFIG", "MASKS", "SIZE", "back", "exported", "probed", "same_export", "stream_file"]

SIZE = (61, 47)
"""Not a multiple of 8, nor of 2."""
N_FRAMES = 37
"""Not a multiple of the frames of a piece."""
CONFIG = Config(native_size=SIZE)


@cache
def _masks() -> npt.NDArray[np.bool_]:
    """Noise, boxes that move, an empty and a full mask: set pixels at all edges."""
    rng = np.random.default_rng(20)
    masks = rng.random((N_FRAMES, SIZE[1], SIZE[0])) < 0.4
    for number in range(0, N_FRAMES, 2):
        masks[number] = False
        masks[number, number % 20 : number % 20 + 18, number : number + 24] = True
    masks[4], masks[5] = False, True
    masks.flags.writeable = False
    return masks


MASKS = _masks()


def stream_file(path: Path) -> Path:
    """Write the masks to a stream."""
    with AsvpWriter(path) as writer:
        for mask in MASKS:
            writer.add_frame(encode_mask(mask))
    return path


def exported(source: Path, target: Path, **options: Any) -> ExportReport:
    return alphastream_gpu.export(source, target, config=options.pop("config", CONFIG), **options)


def back(target: object, **options: Any) -> npt.NDArray[np.bool_]:
    """The masks that ``encode`` reads from a target."""
    return masks_of(str(target), **options)


def probed(path: Path) -> dict[str, Any]:
    """What ffprobe says of the video in a file. It counts the frames that it can decode."""
    program = need("ffprobe", "it is in the package ffmpeg")
    options = ["-v", "error", "-count_frames", "-select_streams", "v", "-show_streams", "-of", "json"]
    streams = json.loads(subprocess.run([program, *options, path], capture_output=True, check=True).stdout)["streams"]
    assert len(streams) == 1
    found: dict[str, Any] = streams[0]
    return found


def same_export(made: Path, whole: Path, **how: Any) -> bool:
    """
    Whether a continued export wrote what one without interruption did: the same bytes. Of H.264, the same masks, sizes
    and times: x264 itself writes other bytes for the same pictures once in thousands of times, on a busy machine.
    """
    if made.read_bytes() == whole.read_bytes():
        return True
    videos = [probed(path) for path in (made, whole)]
    names = ("codec_name", "nb_read_frames", "pix_fmt", "width", "height", "time_base", "start_pts", "duration_ts")
    return (
        videos[0]["codec_name"] == "h264"
        and all(videos[0].get(name) == videos[1].get(name) for name in names)
        and bool((back(made, **how) == back(whole, **how)).all())
    )
