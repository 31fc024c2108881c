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
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from .._exceptions import DecodeError
from .cropping import container_crop
from .faults import reading
from .frames import Matte, Reader
from .options import MAX_FRAMES, InputOptions
from .picture import check_picture_size
from .planes import channel_of, orientation, turned
from .rate import longest_pause, rate_of, shown_frames, told
from .video_choice import Seen, choose

__all__ = ["VideoReader"]

_ALPHA_PROBES: Final = 1000
"""Frames that are looked at for a pixel that is not opaque."""
_RANGE_PROBES: Final = 32
_MAX_PIXELS: Final = 16384 * 16384
_CONTAINERS: Final = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,mxf,nut,ogg,ivf,obu,av1,h264,hevc,m4v,gif,"
    "apng,yuv4mpegpipe,dv,rm,wtv,mjpeg,vc1,gxf,swf,mpjpeg,png_pipe,webp_pipe,jpeg_pipe"
)
"""Playlists (HLS, concat, DASH) are not among them: a file from a stranger could name other files of this machine."""
_WITH_ALPHA: Final = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""The decoders that keep WebM's alpha; FFmpeg's own of these codecs drop it."""
_ADVICE: Final = "the frames before are complete; copy or export the video again"


@dataclass(frozen=True)
class _Scan:
    """What the packets of a stream say."""

    times: list[int]
    """Of the frames, ascending, in ticks. Their numbers if the container has no times."""
    time_base: Fraction
    is_timed: bool
    missing: str
    """What is missing at the end of the file; empty if nothing is."""


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
        self._path = path
        self._options = options
        self._opened: list[Any] = []
        self._decoder = ""
        with self._open(threads=False) as (container, stream):
            check_picture_size(self.name, stream.codec_context.width, stream.codec_context.height)
            self._scan = self._scanned(container, stream)
            codec = stream.codec_context.name
            alpha_mode = {key.lower(): text for key, text in stream.metadata.items()}.get("alpha_mode")
            declared = (stream.average_rate, stream.guessed_rate, stream.base_rate)
        self._plan_frames(declared)
        self._way = self._found_way()
        if alpha_mode == "1":
            self._decoder = _WITH_ALPHA.get(codec, "")
        seen = self._look()
        self._choice = choose(self.name, seen, options)
        self.notes += self._choice.notes
        self.threshold = self._choice.threshold
        self.found = (
            f"{self.name}, {codec} {seen.form}, {self.count} frames"
            + (f" at {_rate_text(self.fps)} a second" if self.fps else "")
            + f"; {self._choice.said}"
        )

    # Opening.

    @contextmanager
    def _open(self, *, threads: bool) -> Iterator[tuple[Any, Any]]:
        with reading(self.name, advice="it is no video that FFmpeg reads, or it is damaged; export it again"):
            import av

            with self._path.open("rb"):  # FFmpeg's errors about storage are vaguer
                pass
            container: Any = av.open(
                "file:" + str(self._path.absolute()),
                container_options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"},
                metadata_errors="replace",
            )
        self._opened.append(container)
        try:
            streams = [one for one in container.streams.video if "attached_pic" not in str(one.disposition)]
            if not streams:
                raise DecodeError(f"{self.name}: expected a video stream, found none")
            stream = streams[0]
            if stream.codec_context is None:
                raise DecodeError(
                    f"{self.name}: this FFmpeg has no decoder for its codec; export it as ProRes or H.264"
                )
            stream.codec_context.options = _decoder_options()
            stream.codec_context.thread_type = "AUTO" if threads else "NONE"
            if not threads:
                stream.codec_context.thread_count = 1
            yield container, stream
        finally:
            self._opened.remove(container)
            container.close()

    def close(self) -> None:
        for container in self._opened:
            container.close()

    def _scanned(self, container: Any, stream: Any) -> _Scan:
        times: list[int | None] = []
        packets, problem = 0, ""
        is_vp8 = stream.codec_context.name == "vp8"
        try:
            with reading(self.name):
                for packet in container.demux(stream):
                    if packet.size == 0:
                        continue
                    packets += 1
                    # VP8's hidden frames are packets of their own: bit 4 of the first byte says "shown"
                    if not packet.is_discard and not (is_vp8 and not bytes(packet)[0] & 0x10):
                        times.append(packet.pts)
                    if len(times) > MAX_FRAMES:
                        raise DecodeError(f"{self.name}: expected at most {MAX_FRAMES} frames")
        except DecodeError as exc:
            if not times or len(times) > MAX_FRAMES:
                raise
            problem = exc.message
        if not times:
            raise DecodeError(f"{self.name}: expected frames, found none; the file is empty or cut off")
        if not problem and stream.frames > packets:
            problem = f"{self.name}: expected {stream.frames} frames, found {packets}: the file is cut off"
        known = sorted({time for time in times if time is not None})
        if len(known) == len(times):
            base = Fraction(stream.time_base)
            problem = problem or _cut_off(self.name, stream, known, base)
            return _Scan(known, base, is_timed=True, missing=problem)
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        return _Scan(list(range(len(times))), 1 / rate, is_timed=False, missing=problem)

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

    def _found_way(self) -> tuple[int, int, int, int]:
        """How the picture is turned and cropped; FFmpeg's own decoders hand on how it is turned."""
        frame = next((frame for _, frame in self._decoded(threads=False)), None)
        if frame is None:
            raise DecodeError(f"{self.name}: no frame can be decoded; {_ADVICE}")
        check_picture_size(self.name, frame.width, frame.height)
        data = frame.side_data.get("DISPLAYMATRIX")
        way = orientation(None if data is None else bytes(data))
        if way is None:
            self.notes.append(f"{self.name}: it is to be turned by an angle that is no multiple of 90; that is ignored")
            way = (1, 0, 0, 1)
        self._stored_size = (frame.width, frame.height)
        with reading(self.name), self._path.open("rb") as file:
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
            for number, (_, frame) in enumerate(self._decoded(threads=False)):
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
        decoded = self._decoded(threads=threads)
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
        if self._decoder:  # libvpx gives no frame for a packet without alpha
            raise DecodeError(f"{self.name}: expected a frame with alpha, found one without")
        if at_end:
            raise DecodeError(self._scan.missing or f"{self.name}: the video ends before its last frame")
        note = f"{self.name}: some frames cannot be decoded; the frame next to them stands for them"
        if note not in self.notes:
            self.notes.append(note)

    def _decoded(self, *, threads: bool) -> Iterator[tuple[int, Any]]:
        """Decoded frames with their times, or with their numbers if there are no times."""
        number = 0
        with self._open(threads=threads) as (container, stream):
            codec = self._special_decoder() or stream.codec_context
            packets = container.demux(stream)
            while True:
                with reading(self.name):
                    packet = next(packets, None)
                    frames = codec.decode(packet if packet is not None and packet.size else None)
                for frame in frames:
                    if frame.is_corrupt:
                        raise DecodeError(f"{self.name}: a frame is damaged")
                    time = frame.pts if self._scan.is_timed else number
                    number += 1
                    if time is not None:
                        yield time, frame
                if packet is None or not packet.size:
                    return

    def _special_decoder(self) -> Any:
        if not self._decoder:
            return None
        with reading(self.name, advice="this FFmpeg has no decoder that keeps the alpha of WebM"):
            import av

            codec: Any = av.CodecContext.create(self._decoder, "r")
            codec.options = _decoder_options()
            return codec

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


def _decoder_options() -> dict[str, str]:
    """A damaged frame is an error: by default, decoders guess its pixels. And no frame is larger than a mask can be."""
    return {"err_detect": "crccheck+explode", "max_pixels": str(_MAX_PIXELS)}


def _cut_off(name: str, stream: Any, times: list[int], base: Fraction) -> str:
    """What is missing, where a Matroska file says how long the stream is."""
    text = {key.upper(): value for key, value in stream.metadata.items()}.get("DURATION", "")
    try:
        hours, minutes, seconds = text.strip("\0").split(":")
        declared = int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds[:12])
    except (ValueError, ZeroDivisionError):
        return ""
    gap = (times[-1] - times[0]) * base / max(1, len(times) - 1) if len(times) > 1 else Fraction(1)
    end = times[-1] * base
    if declared <= end + 2 * gap + Fraction(1, 20):
        return ""
    return f"{name}: expected {float(declared):.3f} s, found {float(end):.3f} s: the file is cut off"


def _rate_text(rate: Fraction | None) -> str:
    return "?" if rate is None else str(rate)
