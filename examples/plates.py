"""
Where the compositor's pictures come from; here, the colour plate read from a video. The drawn ones are in drawn.py.

Each source answers ``at(seconds, size)`` with uint8 (height, width, 3), RGB, row 0 at the top, both eyes side by side
like the masks. A picture depends on the two arguments alone, so a frame looks the same whenever it is composed. While
the picture stays the same the same array is given again, so that it need not be sent to the GPU once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from av import VideoFrame

__all__ = ["NO_PICTURE", "Picture", "PlateError", "Size", "Source", "VideoPlate"]

Picture: TypeAlias = npt.NDArray[np.uint8]
"""(height, width, 3), RGB, row 0 at the top."""
Size: TypeAlias = tuple[int, int]
"""(width, height)."""

NO_PICTURE: Final[Picture] = np.empty((0, 0, 3), np.uint8)
SEEK_SECONDS: Final = 2
"""A video is decoded on to a time up to this far ahead; only beyond is seeking worth its way from the key frame."""


class PlateError(Exception):
    """A video that cannot be opened, read or placed in time."""


class Source(Protocol):
    """Something that has a picture for each time."""

    def at(self, seconds: Fraction, size: Size) -> Picture:
        """The picture at a time, both eyes side by side, exactly of this size. Not to be written to."""

    def close(self) -> None:
        """Let go of files; the source is not used any more."""


class VideoPlate:
    """
    Reads the person's colours from a video; both eyes side by side, like the masks.

    Shown is the last video frame that begins at the time asked for or before, times counted from the first frame's;
    after the end, the last one. On the way forward every frame is decoded, but only what is asked for is converted.

    Args:
        path: a file, or an address that FFmpeg reads.

    Raises:
        PlateError: cannot be opened, or holds no pictures, or they have no times.
    """

    def __init__(self, path: str) -> None:
        import av

        self._path = path
        self._pictured: VideoFrame | None = None
        self._picture = NO_PICTURE
        with _foreign_errors(path):
            self._container = av.open(path)
            try:
                if not self._container.streams.video:
                    raise PlateError(f"{path}: holds no video")
                self._stream = self._container.streams.video[0]
                self._stream.thread_type = "AUTO"
                self._tick = self._stream.time_base or Fraction(1, 1000)
                self._frames = self._container.decode(self._stream)
                first = self._next_frame()
                if first is None:
                    raise PlateError(f"{path}: holds no pictures")
                self._first_pts = self._pts(first)
                self._shown, self._upcoming = first, self._next_frame()
            except BaseException:
                self._container.close()
                raise

    def at(self, seconds: Fraction, size: Size) -> Picture:
        """The video's frame at a time, scaled to `size` if the video has another; else as it is."""
        width, height = size
        with _foreign_errors(self._path):
            frame = self._frame_at(self._first_pts + int(seconds / self._tick))
            if frame is not self._pictured or self._picture.shape != (height, width, 3):
                self._picture = frame.to_ndarray(width=width, height=height, format="rgb24", interpolation="BICUBIC")
                self._pictured = frame
        return self._picture

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _frame_at(self, pts: int) -> VideoFrame:
        """Go to the last frame at `pts` or before."""
        far = int(SEEK_SECONDS / self._tick)
        if pts < self._pts(self._shown) or (self._upcoming is not None and pts > self._pts(self._upcoming) + far):
            self._seek(pts)
        while self._upcoming is not None and self._pts(self._upcoming) <= pts:
            self._shown, self._upcoming = self._upcoming, self._next_frame()
        return self._shown

    def _seek(self, pts: int) -> None:
        """Go to a key frame at `pts` or before."""
        import av

        for target in (pts, self._first_pts):
            try:
                self._container.seek(target, stream=self._stream)
                self._frames = self._container.decode(self._stream)
                frame = self._next_frame()
            except av.FFmpegError:
                if target == self._first_pts:
                    raise
                continue  # some formats refuse a time after their end
            if frame is not None and self._pts(frame) <= pts:
                break  # else a poor index led past it: go on from the beginning
        if frame is None:
            raise PlateError(f"{self._path}: its first picture is not found again")
        self._shown, self._upcoming = frame, self._next_frame()

    def _next_frame(self) -> VideoFrame | None:
        return next(self._frames, None)

    def _pts(self, frame: VideoFrame) -> int:
        if frame.pts is None:
            raise PlateError(f"{self._path}: its pictures have no times; put it into a container such as .mp4 or .mkv")
        return frame.pts


@contextmanager
def _foreign_errors(path: str) -> Iterator[None]:
    import av

    try:
        yield
    except av.FFmpegError as exc:
        raise PlateError(f"{path}: {exc.strerror}") from exc
