"""
Segments: keeps the encoded parts of a video in a folder beside the target, and joins them.

Strategy
--------
A video is encoded in segments. Each one begins with a key frame, is encoded by an encoder of its own, and is a complete
Matroska file. So segments can be encoded in any order and in several threads, and a killed export keeps those that are
finished. At the end, their packets are copied to the target one after the other, without being encoded again. A
frame is one packet, in the order in which frames are shown, so that a packet's number is its time. The times in the
segments, which Matroska rounds to milliseconds, are not used.

Encoding again from the beginning was rejected: an hour of video takes hours.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from .._exceptions import TransportError, mapped_errors
from .._writing.whole_file import whole_file
from .coders import FORMATS
from .faults import writing
from .projection import with_projection

__all__ = ["Segments", "checksum_of"]

_READ_BYTES: Final = 1 << 20
BITEXACT: Final = {"fflags": "+bitexact"}
"""Without it, Matroska gets random numbers, and the same masks would not have the same bytes."""


class Segments:
    """
    The segments of a video.

    Args:
        target: of the video.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._folder = target.with_name(f".{target.name}.parts")

    def begin(self, *, is_resumed: bool) -> None:
        """Create the folder, without segments of another export."""
        with mapped_errors(f"writing {str(self._folder)!r}"):
            if not is_resumed and self._folder.exists():
                shutil.rmtree(self._folder)
            self._folder.mkdir(exist_ok=True)

    def path_of(self, first: int) -> Path:
        """The file of a segment, by its first frame."""
        return self._folder / f"{first:08}.mkv"

    def has(self, first: int, record: Any) -> bool:
        """Whether the segment is stored as its record says."""
        try:
            return bool(checksum_of(self.path_of(first)) == record)
        except OSError:
            return False

    @contextlib.contextmanager
    def written(self, first: int) -> Iterator[Any]:
        """
        Open a segment to write; it gets its name at the end of the ``with`` block.

        Yields:
            An av.OutputContainer.
        """
        import av

        path = self.path_of(first)
        temporary = path.with_suffix(".tmp")
        with writing(repr(str(temporary))):
            file: Any = av.open(str(temporary), "w", format="matroska", options=BITEXACT)
        try:
            yield file
            with writing(repr(str(temporary))):
                file.close()
                os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(Exception):  # of a disk that is full, for example; the first error is raised
                file.close()
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    def join(self, pieces: list[range], rate: Fraction, tell: Callable[[int], None]) -> None:
        """
        Copy the packets of all segments to the target, a frame each 1 / `rate` seconds.

        Args:
            pieces: the frames of each segment, ascending.
            rate: frames a second.
            tell: called with the number of frames that are joined.
        """
        with self.opened(pieces[0].start, 1 / rate) as (output, stream):
            for packet, number in self.packets(pieces, tell):
                packet.stream = stream
                packet.time_base = 1 / rate
                packet.pts = packet.dts = number
                packet.duration = 1
                output.mux(packet)

    @contextlib.contextmanager
    def opened(self, first: int, tick: Fraction, projection: bytes = b"") -> Iterator[tuple[Any, Any]]:
        """
        Open the target, which gets its name at the end of the ``with`` block.

        Args:
            first: the first frame of a segment, whose stream the target gets.
            tick: seconds of a tick, for containers that have no ticks of their own.
            projection: elements of :func:`projection_of` for the stream.

        Yields:
            The av.OutputContainer, and its video stream.
        """
        import av

        with writing(repr(str(self._target))), whole_file(self._target) as file, contextlib.ExitStack() as stack:
            ending = self._target.suffix.lower()
            options = BITEXACT | ({"strict": "unofficial"} if projection else {})
            output: Any = stack.enter_context(av.open(file, "w", format=FORMATS[ending], options=options))
            path = self.path_of(first)
            template = stack.enter_context(av.open(with_projection(path, projection) if projection else str(path)))
            source = template.streams.video[0]
            stream = output.add_stream_from_template(source)
            if source.codec_context.name == "prores":  # FFmpeg would write the tag of ProRes 422
                stream.codec_context.codec_tag = source.codec_context.codec_tag
            stream.time_base = tick
            yield output, stream

    def packets(self, pieces: list[range], tell: Callable[[int], None]) -> Iterator[tuple[Any, int]]:
        """
        Read the packets of all segments.

        Args:
            pieces: the frames of each segment, ascending.
            tell: called with the number of frames that were read.

        Yields:
            Each packet, and its number from 0.

        Raises:
            TransportError: a segment has more or fewer packets than frames.
        """
        import av

        done = 0
        for piece in pieces:
            begun = done
            with av.open(str(self.path_of(piece.start))) as segment:
                for packet in segment.demux(segment.streams.video[0]):
                    if packet.size:
                        yield packet, done
                        done += 1
            if done != begun + len(piece):
                raise TransportError(
                    f"writing {str(self._target)!r}: expected {len(piece)} frames in the segment from frame"
                    f" {piece.start} on, found {done - begun}"
                )
            tell(done)

    def remove(self) -> None:
        """Delete the segments: they are in the target now."""
        with contextlib.suppress(OSError):
            shutil.rmtree(self._folder)


def checksum_of(path: Path) -> list[int]:
    """
    The bytes and the CRC-32 of a file.

    Raises:
        OSError: it cannot be read.
    """
    n_bytes = found = 0
    with open(path, "rb") as file:
        while data := file.read(_READ_BYTES):
            n_bytes += len(data)
            found = zlib.crc32(data, found)
    return [n_bytes, found]
