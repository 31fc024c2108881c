"""
Sequences: compares two sequences of masks, frame by frame and over time.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .._config import Config
from .._format.cipher import AsvrKey
from .._inputs import InputOptions
from .distance import farthest_difference
from .masks import open_masks
from .picture import difference_tile, mask_tile, png_of_tiles

__all__ = ["CompareReport", "ComparedFrame", "compare", "picture_of_worst"]

Mask = npt.NDArray[np.bool_]
_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class ComparedFrame:
    """How the second mask of a frame differs from the first."""

    index: int
    """The frame."""
    iou: float
    """Intersection over union, 0..1; 1 for two empty masks."""
    differing_pixels: int
    """Pixels that are set in one mask only."""
    max_distance: float
    """Pixels from the border of the first mask to the farthest pixel that differs; infinite if the first mask has no
    border."""
    area: tuple[int, int]
    """Set pixels of both masks."""
    flicker: int
    """Pixels that changed since the frame before in the second sequence, beyond those that changed in the first."""


@dataclass(frozen=True, slots=True)
class CompareReport:
    """What :func:`compare` found."""

    frames: tuple[ComparedFrame, ...]
    """Each frame that both sequences have."""
    frame_counts: tuple[int, int]
    """Frames of both sequences."""
    native_size: tuple[int, int]
    """Width and height of the masks."""

    @property
    def is_equal(self) -> bool:
        """Whether both have the same frames, and no pixel differs."""
        return self.frame_counts[0] == self.frame_counts[1] and not self.differing_pixels

    @property
    def differing_pixels(self) -> int:
        """The sum over all frames."""
        return sum(frame.differing_pixels for frame in self.frames)

    @property
    def min_iou(self) -> float:
        """The smallest of all frames; 1 without frames."""
        return min((frame.iou for frame in self.frames), default=1.0)

    @property
    def mean_iou(self) -> float:
        """The mean of all frames; 1 without frames."""
        return math.fsum(frame.iou for frame in self.frames) / len(self.frames) if self.frames else 1.0

    @property
    def max_distance(self) -> float:
        """The largest of all frames; 0 without frames."""
        return max((frame.max_distance for frame in self.frames), default=0.0)

    @property
    def mean_flicker(self) -> float:
        """Pixels for each step from one frame to the next; 0 with less than two frames."""
        steps = len(self.frames) - 1
        return sum(frame.flicker for frame in self.frames) / steps if steps > 0 else 0.0

    def worst(self, n_frames: int = 5) -> list[ComparedFrame]:
        """
        The frames with the smallest intersection over union, the worst first; those that are equal are left out.

        Args:
            n_frames: the most frames.
        """
        differing = [frame for frame in self.frames if frame.differing_pixels]
        return sorted(differing, key=lambda frame: (frame.iou, -frame.max_distance, frame.index))[:n_frames]

    def to_json(self) -> str:
        """All of it as a JSON object. An infinite distance is null, because JSON has no such number."""
        values: dict[str, Any] = {
            "frame_counts": self.frame_counts,
            "native_size": self.native_size,
            "is_equal": self.is_equal,
            "differing_pixels": self.differing_pixels,
            "min_iou": self.min_iou,
            "mean_iou": self.mean_iou,
            "max_distance": _finite_or_none(self.max_distance),
            "mean_flicker": self.mean_flicker,
            "frames": [{**asdict(frame), "max_distance": _finite_or_none(frame.max_distance)} for frame in self.frames],
        }
        return json.dumps(values)


def compare(
    a: object,
    b: object,
    *,
    key: AsvrKey | None = None,
    config: Config | None = None,
    options: InputOptions | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> CompareReport:
    """
    Compare two sequences of masks: streams, videos, pictures or arrays.

    Args:
        a: the first, which the second is measured by. An :class:`AlphaStream`, which stays open; a path or URL of a
            stream; or anything that :func:`encode` reads.
        b: the second.
        key: of an ASVR.
        config: options of streams, with their native size. If omitted, streams have the size of the other sequence,
            and 2048 x 1024 if both are streams.
        options: how a video, pictures or arrays are read.
        progress: called with the number of frames compared, and with that of all frames if it is known.

    Raises:
        ValueError: the masks of the two have different sizes.
        DecodeError: an input is damaged.
        TransportError: an input cannot be read.
        ImportError: a package that an input needs is missing; the message has the command that installs it.
    """
    frames: list[ComparedFrame] = []
    counts = [0, 0]
    before: tuple[Mask, Mask] | None = None
    with contextlib.ExitStack() as stack:
        first, second = open_masks(stack, a, b, key=key, config=config, options=options or InputOptions())
        if first.size != second.size:
            raise ValueError(
                f"a and b: expected masks of one size, found {first.size[0]} x {first.size[1]} and"
                f" {second.size[0]} x {second.size[1]}; give the native size of streams"
            )
        total = None if first.count is None or second.count is None else min(first.count, second.count)
        for index, pair in enumerate(itertools.zip_longest(first.masks(), second.masks(), fillvalue=_MISSING)):
            counts[0] += pair[0] is not _MISSING
            counts[1] += pair[1] is not _MISSING
            if pair[0] is _MISSING or pair[1] is _MISSING:
                continue
            masks: tuple[Mask, Mask] = pair  # type: ignore[assignment]
            frames.append(_compared(index, masks, before))
            before = masks
            if progress is not None:
                progress(index + 1, total)
    return CompareReport(tuple(frames), (counts[0], counts[1]), first.size)


def picture_of_worst(
    report: CompareReport,
    a: object,
    b: object,
    n_frames: int = 5,
    *,
    key: AsvrKey | None = None,
    config: Config | None = None,
    options: InputOptions | None = None,
) -> bytes:
    """
    The worst frames of a report as a PNG: a row for each, with both masks and where they differ.

    In the third tile, pixels that only `a` has set are red, and those that only `b` has set are blue. A report without
    differences gives its first frame.

    Args:
        report: what :func:`compare` found; the other arguments are those that it was given.
        a: the first sequence, which is read again.
        b: the second, likewise.
        n_frames: most rows.
        key: of an ASVR.
        config: options of streams.
        options: how other inputs are read.

    Raises:
        ValueError: there is no frame.
        ImportError: Pillow is missing; the message has the command that installs it.
    """
    worst = report.worst(n_frames) or list(report.frames[:1])
    if not worst:
        raise ValueError("picture: expected frames to show, found none")
    rows: dict[int, tuple[Mask, Mask]] = {}
    wanted = {frame.index for frame in worst}
    with contextlib.ExitStack() as stack:
        first, second = open_masks(stack, a, b, key=key, config=config, options=options or InputOptions())
        for index, pair in enumerate(zip(first.masks(), second.masks(), strict=False)):
            if index in wanted:
                rows[index] = pair
                if len(rows) == len(wanted):
                    break
    tiles = []
    for frame in worst:
        one, other = rows[frame.index]
        tiles += [
            (f"frame {frame.index}: A, {frame.area[0]:,} pixels", mask_tile(one)),
            (f"B, {frame.area[1]:,} pixels", mask_tile(other)),
            (f"IoU {frame.iou:.4f}, {frame.differing_pixels:,} differ", difference_tile(one, other)),
        ]
    return png_of_tiles(tiles, columns=3)


def _compared(index: int, masks: tuple[Mask, Mask], before: tuple[Mask, Mask] | None) -> ComparedFrame:
    one, other = masks
    n_differing, n_union = int((one ^ other).sum()), int((one | other).sum())
    changed = (
        (0, 0) if before is None else tuple(int((now ^ then).sum()) for now, then in zip(masks, before, strict=True))
    )
    return ComparedFrame(
        index,
        1.0 - n_differing / n_union if n_union else 1.0,
        n_differing,
        farthest_difference(one, other),
        (int(one.sum()), int(other.sum())),
        max(0, changed[1] - changed[0]),
    )


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
