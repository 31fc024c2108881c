"""
Cropping: reads from a video's container which part of each picture to show (Matroska's PixelCrop, and the clean
aperture of MP4 and QuickTime).

FFmpeg's decoders apply the cropping that the codec specifies. They ignore the cropping in the container, and PyAV does
not expose it, so it is read from the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import IO, Final

from .ebml import element, elements

__all__ = ["Crop", "container_crop"]

Crop = tuple[int, int, int, int]
"""Pixels to leave out at the left, top, right and bottom."""

_MOST_ELEMENTS: Final = 10_000
_MOST_BYTES: Final = 1 << 24
"""Of what is read at once: a list of tracks."""

_SEGMENT, _TRACKS, _CLUSTER = 0x18538067, 0x1654AE6B, 0x1F43B675
_ENTRY, _VIDEO = 0xAE, 0xE0
_LEFT, _TOP, _RIGHT, _BOTTOM = 0x54CC, 0x54BB, 0x54DD, 0x54AA


def container_crop(file: IO[bytes], width: int, height: int) -> Crop:
    """
    Read what a Matroska, WebM, MP4 or QuickTime file says to crop from its first video.

    Args:
        file: open at its beginning.
        width: of the decoded pictures in pixels.
        height: likewise.

    Returns:
        What to leave out; zeros if the file says nothing, or nothing that is possible. Damage is FFmpeg's to report.
    """
    start = file.read(12)
    file.seek(0)
    try:
        if start[:4] == b"\x1a\x45\xdf\xa3":
            crop = _matroska(file)
        elif start[4:8] in (b"ftyp", b"moov", b"wide", b"mdat", b"free", b"skip", b"pnot"):
            crop = _mp4(file, width, height)
        else:
            return 0, 0, 0, 0
    except (ValueError, IndexError, struct.error, ZeroDivisionError):
        return 0, 0, 0, 0
    left, top, right, bottom = crop
    is_possible = min(crop) >= 0 and left + right < width and top + bottom < height
    return crop if is_possible else (0, 0, 0, 0)


def _matroska(file: IO[bytes]) -> Crop:
    for _ in range(_MOST_ELEMENTS):
        name, size = element(file)
        if name == _CLUSTER:
            break
        if name == _TRACKS:
            tracks = file.read(min(size or 0, _MOST_BYTES))
            for entry in (data for number, data in elements(tracks) if number == _ENTRY):
                for video in (data for number, data in elements(entry) if number == _VIDEO):
                    said = {number: int.from_bytes(data, "big") for number, data in elements(video)}
                    return said.get(_LEFT, 0), said.get(_TOP, 0), said.get(_RIGHT, 0), said.get(_BOTTOM, 0)
            break
        if name != _SEGMENT:  # whose children follow
            if size is None:
                break
            file.seek(size, 1)
    return 0, 0, 0, 0


def _mp4(file: IO[bytes], width: int, height: int) -> Crop:
    for _ in range(_MOST_ELEMENTS):
        header = file.read(8)
        size = int.from_bytes(header[:4], "big")
        used = 8
        if size == 1:
            size, used = int.from_bytes(file.read(8), "big"), 16
        if len(header) < 8 or size < used:
            break
        if header[4:] == b"moov":
            for track in _boxes(file.read(min(size - used, _MOST_BYTES)), b"trak"):
                if b"vide" in b"".join(box[8:12] for box in _within(track, b"mdia", b"hdlr")):
                    return _aperture(track, width, height)
            break
        file.seek(size - used, 1)
    return 0, 0, 0, 0


def _aperture(track: bytes, width: int, height: int) -> Crop:
    for descriptions in _within(track, b"mdia", b"minf", b"stbl", b"stsd"):
        entry = descriptions[8 : 8 + int.from_bytes(descriptions[8:12], "big")]
        for box in _boxes(entry[8 + 78 :], b"clap"):  # after a VisualSampleEntry
            n = struct.unpack(">IIIIiIiI", box[:32])
            shown = Fraction(n[0], n[1]), Fraction(n[2], n[3])
            left = round((width - shown[0]) / 2 + Fraction(n[4], n[5]))
            top = round((height - shown[1]) / 2 + Fraction(n[6], n[7]))
            return left, top, width - left - round(shown[0]), height - top - round(shown[1])
    return 0, 0, 0, 0


def _within(data: bytes, *path: bytes) -> list[bytes]:
    """The contents of the boxes on a path."""
    found = [data]
    for name in path:
        found = [inner for outer in found for inner in _boxes(outer, name)]
    return found


def _boxes(data: bytes, name: bytes) -> Iterator[bytes]:
    """The contents of the boxes of one name within a box."""
    place = 0
    while place + 8 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        if size < 8:
            return
        if data[place + 4 : place + 8] == name:
            yield data[place + 8 : place + size]
        place += size
