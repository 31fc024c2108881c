"""
Report: the result of encoding a stream, and the progress while it runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal

from .spool import EncodedFrame

__all__ = ["EncodeProgress", "EncodeReport", "Tally"]


@dataclass(frozen=True, slots=True)
class EncodeProgress:
    """How far a job is."""

    stage: Literal["compiling", "encoding", "writing", "verifying"]
    """What it does. The first job of a machine compiles for some seconds."""
    done: int
    """Frames that this stage has done."""
    total: int | None
    """Frames that it will do; None if the input does not tell before its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeReport:
    """What :func:`encode` or :func:`optimize` wrote."""

    target: str
    """The file."""
    frames: int
    """Frames in it."""
    bytes: int
    """Bytes of it."""
    native_size: tuple[int, int]
    """Width and height of the masks; readers must be told, because the file does not store them."""
    fps: Fraction | None
    """Frame rate of the input, if it has one; readers must be told, too."""
    about: str
    """What was found in the input, and how it was read."""
    notes: tuple[str, ...]
    """What somebody should look at, such as frames that were repeated."""
    differing_pixels: int
    """Pixels that differ from the input's masks, of all frames; 0 if encoded exactly."""
    min_iou: float
    """The smallest intersection over union of a frame's mask and the input's, 0..1."""
    mean_iou: float
    """The mean over all frames."""
    max_distance: float
    """Pixels from the border of the input's mask to the farthest pixel that differs."""
    misfits: tuple[int, ...]
    """Frames, from 0, that take more bytes than as a picture of one bit a pixel. They have noise or texture."""
    verified: int
    """Frames that were read back from the file and found to give the right mask."""
    resumed_from: int
    """Frames that an earlier, interrupted job had encoded."""
    seconds: float
    """How long it took, in seconds."""
    bytes_before: int | None = None
    """Bytes of the stream that was optimized."""
    source_times: tuple[float, ...] | None = None
    """For each frame, the time of the picture that it was made of, in seconds after the first picture of a video; None
    for inputs without times. Frame k is at k / fps seconds. The two differ where a variable rate was made constant."""

    @property
    def bytes_per_frame(self) -> float:
        """Bytes of the file for each frame."""
        return self.bytes / self.frames if self.frames else 0.0

    def to_json(self) -> str:
        """All of it as a JSON object, with the frame rate as a string."""
        values: dict[str, Any] = asdict(self)
        values["fps"] = None if self.fps is None else str(self.fps)
        values["bytes_per_frame"] = self.bytes_per_frame
        return json.dumps(values)


class Tally:
    """The figures of a report, from its frames."""

    def __init__(self, frames: Iterable[EncodedFrame]) -> None:
        self.n_frames = 0
        self.differing_pixels = 0
        self.min_iou = 1.0
        self.max_distance = 0.0
        self.misfits: list[int] = []
        self._sum_of_iou = 0.0
        for frame in frames:
            self._add(frame)

    @property
    def mean_iou(self) -> float:
        """The mean of all frames; 1 for no frames."""
        return self._sum_of_iou / self.n_frames if self.n_frames else 1.0

    def figures(self) -> dict[str, Any]:
        """The fields of :class:`EncodeReport` that come from the frames."""
        return {
            "frames": self.n_frames,
            "differing_pixels": self.differing_pixels,
            "min_iou": self.min_iou,
            "mean_iou": self.mean_iou,
            "max_distance": self.max_distance,
            "misfits": tuple(self.misfits),
        }

    def _add(self, frame: EncodedFrame) -> None:
        if 0 < frame.bitmap_bytes < len(frame.block):
            self.misfits.append(self.n_frames)
        self.n_frames += 1
        self.differing_pixels += frame.n_differing
        self.min_iou = min(self.min_iou, frame.iou)
        self.max_distance = max(self.max_distance, frame.farthest)
        self._sum_of_iou += frame.iou
