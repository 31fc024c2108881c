"""
Video: a reader of the files that FFmpeg's libraries can read.

Strategy. Opening a video reads all its packets once, without decoding: this gives the time of every frame, hence the
rate, the count, and which frames are repeated or dropped. Then the first frames are decoded, to find channel and range.
Each :meth:`VideoReader.read` opens the file again and decodes from its beginning. Seeking was turned down: after a
seek, decoders of open groups of pictures and of some containers start with frames that are missing or wrong.

Decoding runs on all cores. When a threaded decoder fails, frames before the damage are lost with it, so reading is then
repeated on one thread up to the damage.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from .._exceptions import DecodeError
from .cropping import container_crop
from .faults import reading
from .frames import Matte, Reader
from .options import InputOptions
from .picture import check_picture_size
from .planes import channel_of, orientation, turned
from .rate import longest_pause, rate_of, shown_frames, told
from .video_choice import Seen, choose
from .video_file import VideoFile

__all__ = ["VideoReader"]

_ALPHA_PROBES: Final = 1000
"""Frames that are looked at for a pixel that is not opaque."""
_RANGE_PROBES: Final = 32
_WITH_ALPHA: Final = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""The decoders that keep WebM's alpha; FFmpeg's own of these codecs drop it."""
_ADVICE: Final = "the frames before are complete; copy or export the video again"


class VideoReader(Reader):
    """
    A video file.

    Args:
        path: the file.
        options: channel, range, threshold, fps, layout.

    Raises:
        DecodeError: the file is damaged, or has no video.
        TransportError: the file cannot be read.
        ValueError: an option does not fit the video.
    """

    def __init__(self, path: Path, options: InputOptions) -> None:
        super().__init__()
        if options.objects is not None:
            raise ValueError(f"objects: {path.name} is a video, which names no objects; leave it out")
        self.name = path.name
        self._options = options
        self._file = VideoFile(path)
        self._scan = self._file.scan
        alpha_mode = {key.lower(): text for key, text in self._file.metadata.items()}.get("alpha_mode")
        self._plan_frames(self._file.declared_rates)
        self._way = self._found_way()
        if alpha_mode == "1":
            self._file.decoder = _WITH_ALPHA.get(self._file.codec, "")
        seen = self._look()
        self._choice = choose(self.name, seen, options)
        self.notes += self._choice.notes
        self.threshold = self._choice.threshold
        self.found = (
            f"{self.name}, {self._file.codec} {seen.form}, {self.count} frames"
            + (f" at {_rate_text(self.fps)} a second" if self.fps else "")
            + f"; {self._choice.said}"
        )

    def close(self) -> None:
        self._file.close()

    def _plan_frames(self, declared: tuple[Any, ...]) -> None:
        times, base = self._scan.times, self._scan.time_base
        found, is_constant = rate_of(times, base, [None if rate is None else Fraction(rate) for rate in declared])
        self.fps = self._options.fps or found
        if self.fps is None or (is_constant and self.fps == found):
            self._shown = list(range(len(times)))
        else:
            try:
                self._shown = shown_frames(times, base, self.fps)
            except ValueError as exc:
                raise DecodeError(f"{self.name}: {exc}; its times are damaged") from None
            repeated, dropped = told(self._shown, len(times))
            what = f"{_rate_text(found)} frames a second" if is_constant and found else "variable frame rate"
            if not is_constant:
                start, pause = longest_pause(times, base)
                what += f" (the longest pause is {pause:.3f} s at {start:.3f} s; a damaged file has pauses, too)"
            self.notes.append(
                f"{self.name}: {what}, brought to {_rate_text(self.fps)} a second: {len(times)} frames became "
                f"{len(self._shown)}; {repeated} repeated, {dropped} dropped"
            )
        self.count = len(self._shown)
        self.times = [float((times[number] - times[0]) * base) for number in self._shown]

    def _found_way(self) -> tuple[int, int, int, int]:
        """How the picture is turned and cropped; FFmpeg's own decoders hand on how it is turned."""
        frame = next((frame for _, frame in self._file.decoded(threads=False)), None)
        if frame is None:
            raise DecodeError(f"{self.name}: no frame can be decoded; {_ADVICE}")
        check_picture_size(self.name, frame.width, frame.height)
        data = frame.side_data.get("DISPLAYMATRIX")
        way = orientation(None if data is None else bytes(data))
        if way is None:
            self.notes.append(f"{self.name}: it is to be turned by an angle that is no multiple of 90; that is ignored")
            way = (1, 0, 0, 1)
        self._stored_size = (frame.width, frame.height)
        with reading(self.name), self._file.path.open("rb") as file:
            self._crop = container_crop(file, frame.width, frame.height)
        left, top, right, bottom = self._crop
        shown = (frame.width - left - right, frame.height - top - bottom)
        self.size = shown[::-1] if way[1] else shown
        return way

    def _look(self) -> Seen:
        """Decode the first frames, to find channel and range."""
        seen: Seen | None = None
        wants_alpha = self._options.channel == "auto" and not self._options.layout.startswith("fisheye")
        try:
            for number, (_, frame) in enumerate(self._file.decoded(threads=False)):
                if seen is None:
                    seen = Seen.first(frame)
                if number < _RANGE_PROBES:
                    seen.add_luma(frame)
                looks_for_alpha = wants_alpha and seen.has_alpha and not seen.is_transparent
                if looks_for_alpha:
                    seen.add_alpha(frame)
                if number + 1 >= (_ALPHA_PROBES if looks_for_alpha else _RANGE_PROBES):
                    break
        except DecodeError:  # read() will report it, after the frames before it
            if seen is None:
                raise
        assert seen is not None  # _found_way() has decoded a frame
        return seen

    # Reading.

    def read(self, first: int) -> Iterator[Matte]:
        done = first
        try:
            for matte in self._read(first, threads=True):
                yield matte
                done += 1
        except DecodeError:
            pass
        else:
            return
        yield from self._read(done, threads=False)

    def _read(self, first: int, *, threads: bool) -> Iterator[Matte]:
        """The mattes of the output frames from `first` on."""
        decoded = self._file.decoded(threads=threads)
        held: tuple[int, Any] | None = None
        ahead: tuple[int, Any] | None = None
        last: tuple[int, Matte] | None = None
        for number in range(first, len(self._shown)):
            wanted = self._scan.times[self._shown[number]]
            try:
                while ahead is None or ahead[0] <= wanted:
                    held = ahead or held
                    ahead = next(decoded, None)
                    if ahead is None:
                        break
                if held is None:
                    held = ahead
                if held is None or held[0] != wanted:
                    self._miss(at_end=ahead is None)
                assert held is not None
            except DecodeError as exc:
                raise DecodeError(
                    f"{exc.message}, at frame {number} of {len(self._shown)}; {_ADVICE}", frame_index=number
                ) from exc
            if last is None or last[0] != held[0]:
                last = held[0], self._matte(held[1], number)
            yield last[1]
        if self._scan.missing:
            number = len(self._shown)
            raise DecodeError(f"{self._scan.missing}, after {number} frames; {_ADVICE}", frame_index=number)

    def _miss(self, *, at_end: bool) -> None:
        """A packet gave no frame. Decoders drop what they cannot decode, such as a beginning without a key frame."""
        if self._file.decoder:  # libvpx gives no frame for a packet without alpha
            raise DecodeError(f"{self.name}: expected a frame with alpha, found one without")
        if at_end:
            raise DecodeError(self._scan.missing or f"{self.name}: the video ends before its last frame")
        note = f"{self.name}: some frames cannot be decoded; the frame next to them stands for them"
        if note not in self.notes:
            self.notes.append(note)

    def _matte(self, frame: Any, number: int) -> Matte:
        if (frame.width, frame.height) != self._stored_size:
            raise DecodeError(
                f"{self.name}, frame {number}: expected {self._stored_size[0]} x {self._stored_size[1]} pixels as in "
                f"the first frame, found {frame.width} x {frame.height}; all frames must have one size",
                frame_index=number,
            )
        with reading(f"{self.name}, frame {number}", frame=number):
            matte = channel_of(frame, self._choice.channel, is_full=self._choice.is_full)
        if matte is None:
            raise DecodeError(
                f"{self.name}, frame {number}: expected a frame with {self._choice.channel}, found {frame.format.name}",
                frame_index=number,
            )
        left, top, right, bottom = self._crop
        matte = matte[top : frame.height - bottom, left : frame.width - right]
        return turned(matte, self._way)


def _rate_text(rate: Fraction | None) -> str:
    return "?" if rate is None else str(rate)
