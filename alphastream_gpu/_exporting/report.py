"""
Report: the result of an export, and the progress while it runs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal

__all__ = ["ExportProgress", "ExportReport"]


@dataclass(frozen=True, slots=True)
class ExportProgress:
    """How far an export is."""

    stage: Literal["exporting", "joining"]
    """What it does. Only videos, whose segments are joined, have the second stage."""
    done: int
    """Frames that this stage has done."""
    total: int
    """Frames that it will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What :func:`export` wrote."""

    target: str
    """The file, folder or pattern."""
    kind: str
    """The kind of target, which is raw, npy, npz, png, zarr, coco or video."""
    codec: str | None
    """The codec of a video, which is ffv1, h264, vp9 or prores; None for other kinds."""
    layout: str | None
    """Where the mask is in a video with colours; None for masks alone."""
    frames: int
    """Frames that were written."""
    bytes: int
    """Bytes of the target, of all its files; 0 for what was written to an open file."""
    size: tuple[int, int]
    """Width and height of the pictures in pixels."""
    fps: Fraction
    """Frames a second of the masks."""
    is_lossless: bool
    """Whether :func:`encode` reads the same masks back, bit for bit."""
    drift: float | None
    """With a colour video, the largest time between one of its frames and the frame of the mask that it got, in
    seconds."""
    notes: tuple[str, ...]
    """What somebody should look at, such as a colour video that is longer than the masks."""
    resumed_from: int
    """Frames that an earlier, interrupted export had finished."""
    seconds: float
    """How long it took, in seconds."""

    def to_json(self) -> str:
        """All of it as a JSON object, with the frame rate as a string."""
        values: dict[str, Any] = asdict(self)
        values["fps"] = str(self.fps)
        return json.dumps(values)
