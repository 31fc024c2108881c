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
            with file:
                yield file
            with writing(repr(str(temporary))):
                os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    def join(
        self,
        pieces: list[range],
        rate: Fraction,
        tell: Callable[[int], None],
    ) -> None:
        """
        Copy the packets of all segments to the target.

        Args:
            pieces: the frames of each segment, ascending.
            rate: frames a second.
            tell: called with the number of frames that are joined.
        """
        import av

        name, done = repr(str(self._target)), 0
        with writing(name), whole_file(self._target) as file:
            output: Any = av.open(file, "w", format=FORMATS[self._target.suffix.lower()], options=BITEXACT)
            with output:
                stream = None
                for piece in pieces:
                    begun = done
                    with av.open(str(self.path_of(piece.start))) as segment:
                        source = segment.streams.video[0]
                        if stream is None:
                            stream = output.add_stream_from_template(source)
                            stream.time_base = 1 / rate
                        for packet in segment.demux(source):
                            if packet.size == 0:
                                continue
                            packet.stream = stream
                            packet.time_base = 1 / rate
                            packet.pts = packet.dts = done
                            packet.duration = 1
                            output.mux(packet)
                            done += 1
                    if done != begun + len(piece):
                        raise TransportError(
                            f"writing {name}: expected {len(piece)} frames in the segment from frame {piece.start} on,"
                            f" found {done - begun}"
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
