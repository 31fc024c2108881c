"""
Mask-videos: writes masks to a lossless gray video.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from .coders import FULL_RANGE, Coder, new_encoder
from .drawing import Drawing, Mask
from .faults import needed, writing
from .pieces import Target, pieces_of
from .segments import Segments, checksum_of

__all__ = ["MaskVideo"]


class MaskVideo(Target):
    """
    A video of the masks, 0 and 255, full range.

    Args:
        path: the target.
        frames: all frames of the export.
        coder: the encoder.
        size: width and height of the masks.
        rate: frames a second.
    """

    def __init__(self, path: Path, frames: range, coder: Coder, size: tuple[int, int], rate: Fraction) -> None:
        needed("av", "PyAV")
        self.piece_frames = coder.segment_frames
        self._frames = frames
        self._name = repr(str(path))
        self._coder = coder
        self._size = size
        self._rate = rate
        self._segments = Segments(path)

    def begin(self, *, is_resumed: bool) -> None:
        self._segments.begin(is_resumed=is_resumed)

    def has(self, piece: range, record: Any) -> bool:
        return self._segments.has(piece.start, record)

    def write(self, piece: range, drawing: Drawing) -> Any:
        pictures = _Pictures(self._size)
        with self._segments.written(piece.start) as file:
            with writing(self._name):
                stream = new_encoder(file, self._coder, self._size, self._rate)
                stream.codec_context.color_range = FULL_RANGE
            for number, mask in enumerate(drawing.into(piece, pictures.place)):
                with writing(self._name):
                    file.mux(stream.encode(pictures.picture(mask, number, 1 / self._rate)))
            with writing(self._name):
                file.mux(stream.encode(None))
        with writing(self._name):
            return checksum_of(self._segments.path_of(piece.start))

    def abandon(self) -> None:
        self._segments.remove()

    def finish(self, records: dict[int, Any], tell: Callable[[int], None]) -> None:
        self._segments.join(list(pieces_of(self._frames, self.piece_frames)), self._rate, tell)
        self._segments.remove()


class _Pictures:
    """Gray pictures of FFmpeg, into which masks are drawn. The rows of a picture may be longer than those of a mask."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._frame: Any = None
        self._rows: Mask = np.empty((0, 0), np.uint8)
        self._own: Mask | None = None

    def place(self) -> Mask:
        """Make the next picture. Returns where its mask is drawn, uint8 (height, width), C-contiguous."""
        import av

        width, height = self._size
        self._frame = av.VideoFrame(width, height, "gray")
        plane = self._frame.planes[0]
        self._rows = np.frombuffer(plane, np.uint8)[: plane.line_size * height].reshape(height, plane.line_size)
        if plane.line_size == width:
            return self._rows
        if self._own is None:
            self._own = np.empty((height, width), np.uint8)
        return self._own

    def picture(self, mask: Mask, number: int, tick: Fraction) -> Any:
        """The picture with its mask, as an av.VideoFrame."""
        if mask is self._own:
            self._rows[:, : mask.shape[1]] = mask
        self._frame.color_range = FULL_RANGE
        self._frame.pts, self._frame.time_base = number, tick
        return self._frame
