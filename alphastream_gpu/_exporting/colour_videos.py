"""
Colour-videos: joins a colour video with the masks, as an alpha channel or in one picture, and copies its audio.

Strategy
--------
The colour video is decoded once, from its beginning, in a thread. Masks are drawn ahead in threads. The encoder has
threads of its own. Segments are encoded one after the other: to encode two at once, the pictures of one of them would
have to wait in memory. A killed export decodes again from the beginning, and encodes only the segments that are
missing; decoding takes a small part of the time.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from .choice import Choice
from .coders import colour_coder, new_encoder
from .colours import ColourVideo
from .composing import composer_for
from .drawing import Drawing
from .faults import writing
from .journal import Journal
from .matching import Matching
from .pieces import pieces_of
from .segments import Segments, checksum_of

__all__ = ["JoinedVideo"]

_OF_THE_FILE: Final = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
"""Metadata about the colour video's file, which are not true of the target."""
_OF_A_STREAM: Final = ("language", "title", "handler_name")


class JoinedVideo:
    """
    A video with the colours of another one and masks.

    Args:
        path: the target.
        chosen: codec, layout and quality.
        colours: the colour video.
        matching: the mask of each of its frames.

    Raises:
        ValueError: the layout does not fit the size of the colours.
    """

    def __init__(self, path: Path, chosen: Choice, colours: ColourVideo, matching: Matching) -> None:
        assert chosen.codec is not None
        assert chosen.layout is not None
        self._path = path
        self._name = repr(str(path))
        self._layout = chosen.layout
        self._colours = colours
        self._matching = matching
        self._coder = colour_coder(chosen.codec, chosen.layout, chosen.quality)
        self._composer = composer_for(chosen.layout, self._coder, colours.size)
        self._segments = Segments(path)
        self.notes: list[str] = []
        """What could not be copied."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures."""
        return self._composer.size

    @property
    def mask_size(self) -> tuple[int, int]:
        """Width and height of the masks in them."""
        return self._composer.mask_size

    @property
    def n_frames(self) -> int:
        """Frames of the target."""
        return len(self._matching.masks)

    @property
    def piece_frames(self) -> int:
        """Frames of a segment."""
        return self._coder.segment_frames

    def export(self, drawing: Drawing, journal: Journal, *, jobs: int, on_frames: Callable[[int], None]) -> int:
        """
        Encode the segments that the journal does not have.

        Args:
            drawing: makes the masks.
            journal: of finished segments.
            jobs: threads that draw, and threads of the encoder.
            on_frames: called with the number of frames that are done.

        Returns:
            How many frames an earlier run had done.
        """
        self._segments.begin(is_resumed=bool(journal.records))
        records = journal.records
        todo = [
            piece
            for piece in self._pieces
            if piece.start not in records or not self._segments.has(piece.start, records[piece.start])
        ]
        resumed = done = self.n_frames - sum(map(len, todo))
        on_frames(done)
        try:
            with contextlib.ExitStack() as stack:
                masks = drawing.ahead((self._matching.masks[i] for piece in todo for i in piece), jobs)
                stack.callback(masks.close)
                pictures = self._pictures(todo)
                stack.callback(pictures.close)
                for piece in todo:
                    journal.add(piece.start, self._encoded(piece, pictures, masks, jobs, _told(on_frames, done)))
                    done += len(piece)
                    on_frames(done)
        except BaseException:
            if not journal.records:
                self._segments.remove()
            raise
        return resumed

    def finish(self, tell: Callable[[int], None]) -> None:
        """Join the segments with the audio and the metadata of the colour video; the target appears."""
        projection = self._colours.projection
        if projection and not (self._layout == "alpha" or self._layout.startswith("fisheye")):
            projection = b""
            self.notes.append(
                f"{self._colours.name}: its projection and stereo mode are not copied: they would not be true of a"
                " picture with the mask beside the colours"
            )
        elif projection and self._path.suffix.lower() == ".mov":
            self.notes.append("FFmpeg writes no projection to .mov; stereo mode and all else are copied")
        with self._segments.opened(self._pieces[0].start, self._colours.time_base, projection) as (output, stream):
            if self._layout == "alpha" and "yuva420p" in self._coder.form:
                stream.metadata["alpha_mode"] = "1"
            self._copy_metadata(output)
            with self._audio(output) as audio:
                for _, packet in heapq.merge(self._video(stream, tell), audio, key=itemgetter(0)):
                    output.mux(packet)
        self._segments.remove()

    @property
    def _pieces(self) -> list[range]:
        return list(pieces_of(range(self.n_frames), self.piece_frames))

    def _pictures(self, todo: list[range]) -> Generator[Any, None, None]:
        """The pictures of the colour video from the first missing segment to the last one."""
        if not todo:
            return
        first, last = todo[0].start, todo[-1].stop
        with contextlib.closing(self._colours.pictures(self._matching.first + first, last - first)) as pictures:
            for number, picture in enumerate(pictures, first):
                if any(number in piece for piece in todo):
                    yield picture

    def _encoded(
        self, piece: range, pictures: Iterator[Any], masks: Iterator[Any], jobs: int, tell: Callable[[int], None]
    ) -> list[int]:
        rate = self._colours.rate
        with self._segments.written(piece.start) as file:
            with writing(self._name):
                stream = new_encoder(file, self._coder, self.size, rate, threads=jobs)
                self._describe(stream.codec_context)
            for number in range(len(piece)):
                frame, mask = next(pictures), next(masks)
                with writing(self._name):
                    picture = self._composer.picture(frame, mask)
                    picture.pts, picture.time_base = number, 1 / rate
                    picture.pict_type = 0  # the encoder chooses: a decoded picture says what it was
                    file.mux(stream.encode(picture))
                tell(number)
            with writing(self._name):
                file.mux(stream.encode(None))
        with writing(self._name):
            return checksum_of(self._segments.path_of(piece.start))

    def _describe(self, context: Any) -> None:
        """Say what the numbers of the pictures mean, as the colour video does."""
        if self._coder.form.startswith("bgr"):
            return
        for name, value in self._colours.colours.items():
            if value:
                setattr(context, name, value)
        if self._coder.color_range is not None:
            context.color_range = self._coder.color_range
        if self._colours.aspect_ratio:
            context.sample_aspect_ratio = self._colours.aspect_ratio

    def _copy_metadata(self, output: Any) -> None:
        with self._colours.file.open(threads=False) as (source, _):
            output.metadata.update(
                {key: text for key, text in source.metadata.items() if key.lower() not in _OF_THE_FILE}
            )

    def _video(self, stream: Any, tell: Callable[[int], None]) -> Iterator[tuple[Fraction, Any]]:
        """The packets of the segments, with their times in seconds."""
        ticks, tick = self._matching.ticks, self._colours.time_base
        for packet, number in self._segments.packets(self._pieces, tell):
            packet.stream = stream
            packet.time_base = tick
            packet.pts = packet.dts = ticks[number]
            following = number + 1 if number + 1 < len(ticks) else number
            packet.duration = max(1, ticks[following] - ticks[following - 1]) if following else 1
            yield ticks[number] * tick, packet

    @contextlib.contextmanager
    def _audio(self, output: Any) -> Iterator[Iterator[tuple[Fraction, Any]]]:
        """The packets of the colour video's audio, with their times in seconds from the first picture."""
        with self._colours.file.open(threads=False) as (source, _):
            targets: dict[int, Any] = {}
            for stream in source.streams.audio:
                try:
                    target = output.add_stream_from_template(stream)
                except (ValueError, TypeError) as exc:
                    self.notes.append(f"{self._colours.name}: its audio is left out: {exc}; .mkv and .mov hold it")
                    continue
                target.metadata.update({key: stream.metadata[key] for key in _OF_A_STREAM if key in stream.metadata})
                targets[stream.index] = target
            yield self._audio_packets(source, targets)

    def _audio_packets(self, source: Any, targets: dict[int, Any]) -> Iterator[tuple[Fraction, Any]]:
        if not targets:
            return
        tick = self._colours.time_base
        begin = self._colours.times[0] * tick + self._matching.start
        end = (self._matching.ticks[-1] + self._last_duration()) * tick
        for packet in source.demux(*(source.streams[index] for index in targets)):
            if not packet.size or packet.pts is None:
                continue
            time = packet.pts * packet.time_base - begin
            if 0 <= time < end:
                shift = round(begin / packet.time_base)
                packet.pts -= shift
                packet.dts = packet.pts if packet.dts is None else packet.dts - shift
                packet.stream = targets[packet.stream.index]
                yield time, packet

    def _last_duration(self) -> int:
        ticks = self._matching.ticks
        return max(1, ticks[-1] - ticks[-2]) if len(ticks) > 1 else 1


def _told(on_frames: Callable[[int], None], done: int) -> Callable[[int], None]:
    """Tell the frames within a segment, too: a segment can take minutes."""

    def tell(number: int) -> None:
        if number % 8 == 7:
            on_frames(done + number + 1)

    return tell
