"""
Pngs: writes each mask to a PNG file of 1 or 8 bits a pixel.
"""

from __future__ import annotations

import io
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._exceptions import TransportError, mapped_errors
from .._geometry.bits import pack
from .._writing.whole_file import sync_folder
from .drawing import Drawing, Mask
from .faults import needed, writing
from .pieces import Target

__all__ = ["PngTarget"]

_NUMBER = re.compile(r"%0?(\d*)d")


class PngTarget(Target):
    """
    A file for each frame, whose name has the frame's number in the stream.

    Args:
        pattern: the target, such as ``out/%06d.png``.
        frames: all frames of the export.
        bits: 1 or 8.
    """

    piece_frames = 8

    def __init__(self, pattern: Path, frames: range, bits: int) -> None:
        self._folder = pattern.parent
        self._frames = frames
        self._bits = bits
        found = _NUMBER.search(pattern.name)
        assert found is not None  # choose() has checked it
        self._before, self._after = pattern.name[: found.start()], pattern.name[found.end() :]
        self._digits = int(found[1] or 0) if found[0].startswith("%0") else 0
        needed("PIL.Image", "Pillow")

    def begin(self, *, is_resumed: bool) -> None:
        name = re.compile(re.escape(self._before) + r"(\d+)" + re.escape(self._after))
        with mapped_errors(f"reading the folder {str(self._folder)!r}"):
            matches = filter(None, (name.fullmatch(one.name) for one in os.scandir(self._folder)))
            others = sorted(int(match[1]) for match in matches if int(match[1]) not in self._frames)
        if others:
            raise TransportError(
                f"{str(self._folder)!r}: {len(others)} pictures have numbers that are not among the frames"
                f" {self._frames.start}..{self._frames.stop - 1}, such as {others[0]}; remove them, or write to"
                " another folder"
            )

    def has(self, piece: range, record: Any) -> bool:
        try:
            return bool([_checksum(self._path_of(frame).read_bytes()) for frame in piece] == record)
        except OSError:
            return False

    def write(self, piece: range, drawing: Drawing) -> Any:
        record = []
        for frame, mask in zip(piece, drawing.into(piece), strict=True):
            path = self._path_of(frame)
            with writing(repr(str(path))):
                data = _png_of(mask, self._bits)
                temporary = path.with_name(f".{path.name}.tmp")
                temporary.write_bytes(data)
                os.replace(temporary, path)
            record.append(_checksum(data))
        return record

    def abandon(self) -> None:
        """Pictures are kept: each is complete."""

    def finish(self, records: dict[int, Any], tell: Callable[[int], None]) -> None:
        with mapped_errors(f"writing to {str(self._folder)!r}"):
            sync_folder(self._folder)

    def paths(self) -> list[Path]:
        """The files of all frames."""
        return list(map(self._path_of, self._frames))

    def _path_of(self, frame: int) -> Path:
        return self._folder / f"{self._before}{frame:0{self._digits or 1}d}{self._after}"


def _checksum(data: bytes) -> list[int]:
    return [len(data), zlib.crc32(data)]


def _png_of(mask: Mask, bits: int) -> bytes:
    from PIL import Image

    if bits == 1:  # packed here: Pillow's own conversion to one bit dithers
        picture = Image.frombytes("1", mask.shape[::-1], pack(mask, bitorder="big").tobytes())
    else:
        picture = Image.frombuffer("L", mask.shape[::-1], mask, "raw", "L", 0, 1)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
