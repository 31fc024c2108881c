"""
Trial: estimates the result of encoding an input from a few of its frames, and makes a picture of them.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from .._comparing import difference_tile, png_of_tiles
from .._encoding import prepare_encoder
from .._format.block import inflate_block
from .._format.polystream import MAX_PAYLOAD_BYTES
from .._geometry.bits import pack
from .._geometry.frame import FrameGeometry
from .._inputs import InputOptions, open_frames
from .._raster.coverage import rasterize
from .encode import Progress
from .encoding import FrameCoder
from .report import EncodeProgress, Tally

__all__ = ["TRIAL_FRAMES", "TrialReport", "try_encoding"]

TRIAL_FRAMES: Final = 30
_TABLE_BYTES: Final = 2
"""About what a frame takes in the compressed sizes table: 16,375 frames take 30 KB."""
_SHEET_COLUMNS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialReport:
    """What some frames took, and what all would take."""

    frames: int
    """Frames that were encoded."""
    bytes_per_frame: float
    """Bytes of a frame, on average."""
    total_frames: int | None
    """Frames of the input; None if it does not tell before its end."""
    total_bytes: int | None
    """About the bytes of the whole file."""
    frames_per_second: float
    """Frames encoded in a second, on one thread; reading the input is not counted."""
    native_size: tuple[int, int]
    """Width and height of the masks."""
    about: str
    """What was found in the input, and how it was read."""
    notes: tuple[str, ...]
    """What somebody should look at."""
    min_iou: float
    """The smallest intersection over union of a frame's mask and the input's."""
    misfits: tuple[int, ...]
    """Frames that take more bytes than as a picture of one bit a pixel."""

    def to_json(self) -> str:
        """All of it as a JSON object."""
        return json.dumps(asdict(self))


def try_encoding(source: object, options: InputOptions, progress: Progress, **how: Any) -> tuple[TrialReport, bytes]:
    """
    Encode the first frames of an input.

    Args:
        source: as of :func:`encode`.
        options: how the input is read.
        progress: told of each frame.
        how: the arguments of :class:`FrameCoder`, without the size.

    Returns:
        The report, and a PNG: each mask in gray; red where only the input's mask is set, blue where only the new one
        is.
    """
    with contextlib.closing(open_frames(source, options)) as frames:
        progress(EncodeProgress("compiling", 0, None))
        prepare_encoder()
        coder = FrameCoder(frames.size, **how)
        masks = list(itertools.islice(frames, TRIAL_FRAMES))
        if not masks:
            raise ValueError(f"source: expected masks, found none ({frames.about})")
        progress(EncodeProgress("encoding", 0, len(masks)))
        started = time.monotonic()
        encoded = coder.encode(map(pack, masks))
        seconds = time.monotonic() - started
        progress(EncodeProgress("encoding", len(masks), len(masks)))
        tiles = []
        for index, (mask, frame) in enumerate(zip(masks, encoded, strict=True), options.start):
            payload = inflate_block(frame.block, max_frame_bytes=MAX_PAYLOAD_BYTES)
            made = rasterize(FrameGeometry.from_payload(payload), native_size=frames.size) != 0
            tiles.append((f"frame {index}: {len(frame.block):,} bytes", difference_tile(mask, made)))
        tally = Tally(encoded)
        mean = float(np.mean([len(frame.block) for frame in encoded]))
        report = TrialReport(
            frames=len(masks),
            bytes_per_frame=mean,
            total_frames=frames.count,
            total_bytes=None if frames.count is None else round(frames.count * (mean + _TABLE_BYTES)),
            frames_per_second=len(masks) / max(seconds, 1e-9),
            native_size=frames.size,
            about=frames.about,
            notes=tuple(frames.notes),
            min_iou=tally.min_iou,
            misfits=tuple(tally.misfits),
        )
    return report, png_of_tiles(tiles, columns=_SHEET_COLUMNS)
