"""
Video-file: opens a file that FFmpeg's libraries can read, finds the times of its frames, and decodes them.

Opening reads all packets once, without decoding: this gives the time of every frame. Each decoding opens the file again
and begins at its first frame. Seeking was turned down: after a seek, decoders of open groups of pictures and of some
containers start with frames that are missing or wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from .._exceptions import DecodeError
from .faults import reading
from .options import MAX_FRAMES
from .picture import check_picture_size

__all__ = ["Scan", "VideoFile"]

_MAX_PIXELS: Final = 16384 * 16384
_CONTAINERS: Final = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,mxf,nut,ogg,ivf,obu,av1,h264,hevc,m4v,gif,"
    "apng,yuv4mpegpipe,dv,rm,wtv,mjpeg,vc1,gxf,swf,mpjpeg,png_pipe,webp_pipe,jpeg_pipe"
)
"""Playlists (HLS, concat, DASH) are not among them: a file from a stranger could name other files of this machine."""


@dataclass(frozen=True)
class Scan:
    """What the packets of a stream say."""

    times: list[int]
    """Of the frames, ascending, in ticks. Their numbers if the container has no times."""
    time_base: Fraction
    is_timed: bool
    missing: str
    """What is missing at the end of the file; empty if nothing is."""


class VideoFile:
    """
    A video file. One thread at a time.

    Args:
        path: the file.

    Raises:
        DecodeError: the file is damaged, or has no video.
        TransportError: the file cannot be read, or PyAV is missing.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.path = path
        self._opened: list[Any] = []
        self.decoder = ""
        """FFmpeg's name of the decoder, if it is not the usual one."""
        with self.open(threads=False) as (container, stream):
            check_picture_size(self.name, stream.codec_context.width, stream.codec_context.height)
            self.scan = self._scanned(container, stream)
            self.codec = str(stream.codec_context.name)
            self.metadata = dict(stream.metadata)
            self.declared_rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)

    @contextmanager
    def open(self, *, threads: bool) -> Iterator[tuple[Any, Any]]:
        """Open the file: its av.InputContainer, and its first video stream. The decoder has threads, or none."""
        with reading(self.name, advice="it is no video that FFmpeg reads, or it is damaged; export it again"):
            import av

            with self.path.open("rb"):  # FFmpeg's errors about storage are vaguer
                pass
            container: Any = av.open(
                "file:" + str(self.path.absolute()),
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
        """End all decoding."""
        for container in self._opened:
            container.close()

    def _scanned(self, container: Any, stream: Any) -> Scan:
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
            return Scan(known, base, is_timed=True, missing=problem)
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        return Scan(list(range(len(times))), 1 / rate, is_timed=False, missing=problem)

    def decoded(self, *, threads: bool) -> Iterator[tuple[int, Any]]:
        """Decoded frames with their times, or with their numbers if there are no times."""
        number = 0
        with self.open(threads=threads) as (container, stream):
            codec = self._special_decoder() or stream.codec_context
            packets = container.demux(stream)
            while True:
                with reading(self.name):
                    packet = next(packets, None)
                    frames = codec.decode(packet if packet is not None and packet.size else None)
                for frame in frames:
                    if frame.is_corrupt:
                        raise DecodeError(f"{self.name}: a frame is damaged")
                    time = frame.pts if self.scan.is_timed else number
                    number += 1
                    if time is not None:
                        yield time, frame
                if packet is None or not packet.size:
                    return

    def _special_decoder(self) -> Any:
        if not self.decoder:
            return None
        with reading(self.name, advice="this FFmpeg has no decoder that keeps the alpha of WebM"):
            import av

            codec: Any = av.CodecContext.create(self.decoder, "r")
            codec.options = _decoder_options()
            return codec


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
