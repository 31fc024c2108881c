"""
Makes small inputs of every kind: masks that move, and files with them, written by the usual tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from alphastream_gpu._inputs import Frames, InputOptions, open_frames

SIZE = (64, 48)


def moving_masks(count: int = 6, size: tuple[int, int] = SIZE) -> np.ndarray:
    """bool (count, height, width): a box that moves right by 8 pixels, and a fixed L at the lower left."""
    width, height = size
    masks = np.zeros((count, height, width), np.bool_)
    for i in range(count):
        masks[i, 8 : height // 2, 4 + 8 * (i % 4) : 20 + 8 * (i % 4)] = True
        masks[i, height - 16 : height - 4, 4:8] = True
        masks[i, height - 8 : height - 4, 4:24] = True
    return masks


def masks_of(source: object, *, name: str | None = None, **options: Any) -> np.ndarray:
    """All masks of an input."""
    with open_frames(source, InputOptions(**options), name=name) as frames:
        return all_of(frames)


def all_of(frames: Frames) -> np.ndarray:
    masks = list(frames)
    width, height = frames.size
    for mask in masks:
        assert mask.dtype == np.bool_
        assert mask.shape == (height, width)
        assert mask.flags.c_contiguous
        assert mask.flags.owndata
    assert frames.count in (None, len(masks))
    return np.array(masks).reshape(-1, height, width)


def write_video(
    path: Path,
    pictures: Sequence[np.ndarray],
    *,
    codec: str,
    form: str,
    given: str = "gray",
    rate: int | Fraction = 25,
    times: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    options: dict[str, str] | None = None,
    color_range: int | None = None,
    rotation: int | None = None,
) -> Path:
    """
    Write a video.

    Args:
        pictures: of the format `given`; converted to `form`, if that is another.
        times: of the frames, in ticks of `time_base`; None for 0, 1, 2, ... at `rate`.
        color_range: 1 limited, 2 full; None says nothing.
        rotation: degrees of the display matrix; None or 0 for none.
    """
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        if given == "yuv420p":
            stream.height = stream.height * 2 // 3
        stream.pix_fmt = form
        if color_range is not None:
            stream.codec_context.color_range = color_range
        if time_base is not None:
            stream.codec_context.time_base = time_base
        if rotation:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write a rotation")
            stream.set_display_rotation(rotation)
        for i, picture in enumerate(pictures):
            frame: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=given)
            if form != given:
                frame = frame.reformat(format=form)
            if color_range is not None:
                frame.color_range = color_range
            frame.pts = i if times is None else times[i]
            frame.time_base = time_base or 1 / Fraction(rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def gray_of(masks: np.ndarray, low: int = 0, high: int = 255) -> list[np.ndarray]:
    """uint8 pictures of masks."""
    return [np.where(mask, high, low).astype(np.uint8) for mask in masks]


def rgba_of(masks: np.ndarray, colour: tuple[int, int, int] = (200, 90, 30)) -> list[np.ndarray]:
    """uint8 (height, width, 4): one colour everywhere, the mask as alpha."""
    pictures = []
    for mask in masks:
        picture = np.empty((*mask.shape, 4), np.uint8)
        picture[..., :3] = colour
        picture[..., 3] = np.where(mask, 255, 0)
        pictures.append(picture)
    return pictures
