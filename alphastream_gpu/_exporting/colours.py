"""
Colours: reads the pictures of a colour video, and its audio.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from .._exceptions import DecodeError
from .._inputs.cropping import container_crop
from .._inputs.faults import reading
from .._inputs.planes import orientation
from .._inputs.video_file import VideoFile
from .._runtime.workers import Workers
from .coders import BT709, LIMITED_RANGE
from .projection import projection_of

__all__ = ["ColourVideo"]

_AHEAD: Final = 3
"""Pictures that are decoded ahead of the encoder: 150 MB at 8192 x 4096."""
_UPRIGHT: Final = (1, 0, 0, 1)


class ColourVideo:
    """
    A colour video, opened to be joined with masks.

    Args:
        path: the file.

    Raises:
        DecodeError: it is damaged, or has no video.
        TransportError: it cannot be read.
        ValueError: players turn or crop its pictures.
    """

    def __init__(self, path: Path) -> None:
        self.file = VideoFile(path)
        self.name = self.file.name
        self.times = self.file.scan.times
        self.time_base = self.file.scan.time_base
        if self.file.scan.missing:
            raise DecodeError(f"{self.file.scan.missing}; copy or export the video again")
        first = next((frame for _, frame in self.file.decoded(threads=False)), None)
        if first is None:
            raise DecodeError(f"{self.name}: no frame can be decoded; export it again")
        self.size = (int(first.width), int(first.height))
        self._check_upright(first)
        with self.file.open(threads=False) as (container, stream):
            context = stream.codec_context
            self.colours = {
                name: int(getattr(context, name) or 0)
                for name in ("color_range", "color_primaries", "color_trc", "colorspace")
            }
            if first.format.is_rgb or first.format.has_palette:  # as it is converted
                self.colours |= {"color_range": LIMITED_RANGE, "colorspace": BT709}
            self.aspect_ratio: Fraction | None = context.sample_aspect_ratio
            with reading(self.name):
                self.projection = projection_of(container, stream)

    @property
    def rate(self) -> Fraction:
        """About how many frames there are in a second, for encoders."""
        if len(self.times) < 2:
            return Fraction(30)
        rate = (len(self.times) - 1) / ((self.times[-1] - self.times[0]) * self.time_base)
        return min(max(rate.limit_denominator(1001), Fraction(1)), Fraction(1000))

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def pictures(self, first: int, count: int) -> Generator[Any, None, None]:
        """
        Decode pictures, ahead of the caller in a thread.

        Args:
            first: the first picture.
            count: how many.

        Yields:
            Each av.VideoFrame.

        Raises:
            DecodeError: a picture is damaged, is missing or has another size.
        """
        decoded = self._decoded(first, count)
        pool = Workers(1, "alphastream-export")
        waiting: deque[Future[Any]] = deque()
        try:
            for _ in range(_AHEAD):
                waiting.append(pool.submit(next, decoded, None))
            while (frame := waiting.popleft().result()) is not None:
                waiting.append(pool.submit(next, decoded, None))
                yield frame
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            decoded.close()

    def _decoded(self, first: int, count: int) -> Generator[Any, None, None]:
        number = 0
        for time, frame in self.file.decoded(threads=True):
            if number == first + count:
                return
            if time != self.times[number]:
                raise DecodeError(
                    f"{self.name}: frame {number} of {len(self.times)} cannot be decoded; export the video again"
                )
            if (frame.width, frame.height) != self.size:
                raise DecodeError(
                    f"{self.name}, frame {number}: expected {self.size[0]} x {self.size[1]} pixels as in the first"
                    f" frame, found {frame.width} x {frame.height}"
                )
            if number >= first:
                yield frame
            number += 1
        if number < first + count:
            raise DecodeError(f"{self.name}: it ends before frame {number} of {len(self.times)}; export it again")

    def _check_upright(self, frame: Any) -> None:
        data = frame.side_data.get("DISPLAYMATRIX")
        with reading(self.name), self.file.path.open("rb") as file:
            crop = container_crop(file, *self.size)
        if orientation(None if data is None else bytes(data)) != _UPRIGHT or any(crop):
            raise ValueError(
                f"video: {self.name} is turned or cropped by players, so that a mask would not fit its stored pictures;"
                " export it upright and cropped first"
            )
