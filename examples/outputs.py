"""
Where the compositor's pictures go without a window: numbered PNG files, or a movie.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, TypeAlias

from PIL import Image
from plates import Picture, Size

__all__ = ["Movie", "Output", "PngSequence", "is_pattern"]

Trace: TypeAlias = TracebackType | None

BT709: Final = 1
LIMITED: Final = 1
"""Names of colours in a stream's header. Without them players guess, by the size of the picture."""


class Output(Protocol):
    """Takes pictures in order; complete when its ``with`` block ends without an error."""

    def write(self, index: int, picture: Picture) -> None:
        """Write the picture of a frame."""

    def __enter__(self) -> Output: ...
    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: Trace) -> None: ...


def is_pattern(path: str) -> bool:
    """Whether this names a sequence: one number such as ``%04d`` in it, and no other ``%``."""
    return re.fullmatch(r"[^%]*%(0?[1-9]\d?)?d[^%]*", path) is not None


class PngSequence:
    """
    Writes one PNG a frame.

    Args:
        pattern: such as ``out%04d.png``; the number is the frame's.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def write(self, index: int, picture: Picture) -> None:
        Image.fromarray(picture).save(self._pattern % index, compress_level=1)  # the next level takes twice the time

    def __enter__(self) -> PngSequence:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: Trace) -> None:
        """Every picture is complete by itself."""


class Movie:
    """
    Writes an MP4: whole, or not at all.

    H.264 where this FFmpeg has libx264, else MPEG-4; 4:2:0, so both edges must be even.
    """

    def __init__(self, path: str, size: Size, fps: Fraction) -> None:
        import av

        self._path = Path(path)
        self._part = self._path.with_name(self._path.name + ".part")
        self._tick = 1 / fps
        self._n_frames = 0
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        with self._foreign_errors():
            self._container = av.open(str(self._part), "w", format="mp4", options={"movflags": "faststart"})
            self._stream = self._container.add_stream(
                codec, rate=fps, options={"crf": "18"} if codec == "libx264" else {}
            )
            self._stream.width, self._stream.height = size
            self._stream.pix_fmt = "yuv420p"
            if codec != "libx264":
                self._stream.bit_rate = 16_000_000
            context = self._stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = BT709
            context.color_range = LIMITED
            self._container.start_encoding()  # now, so that a folder that is not there is found before the work

    def write(self, index: int, picture: Picture) -> None:
        import av

        with self._foreign_errors():
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
            frame.pts, frame.time_base = self._n_frames, self._tick
            self._container.mux(self._stream.encode(frame))
        self._n_frames += 1

    def __enter__(self) -> Movie:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: Trace) -> None:
        try:
            with self._foreign_errors():
                if exc is None:
                    self._container.mux(self._stream.encode(None))
                self._container.close()
            if exc is None:
                self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)

    @contextmanager
    def _foreign_errors(self) -> Iterator[None]:
        import av

        try:
            yield
        except av.FFmpegError as exc:
            raise OSError(exc.errno, exc.strerror, str(self._path)) from exc
