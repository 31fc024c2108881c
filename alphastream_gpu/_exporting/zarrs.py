"""
Zarrs: writes masks to an array of bool in a Zarr store, format 3, whose chunks have eight pixels in a byte.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from .._exceptions import TransportError, mapped_errors
from .._writing.whole_file import sync_folder
from .drawing import Drawing
from .faults import needed, writing
from .pieces import Target
from .segments import checksum_of

__all__ = ["ZarrTarget"]

_CHUNK_FRAMES: Final = 16
_CHUNK_BYTES: Final = 1 << 26
"""Bytes of a chunk in memory, of which each thread has one; a chunk has one frame at least."""
_LEVEL: Final = 3
"""Of Zstandard. Packed bits take half as many bytes as bytes of 0 and 1 do with it."""


class ZarrTarget(Target):
    """
    An array of bool with the dimensions time, y and x. A chunk is a piece, and is written by one thread.

    Args:
        path: the target, a folder.
        frames: all frames of the export.
        size: width and height of the masks.
        rate: frames a second.
    """

    def __init__(self, path: Path, frames: range, size: tuple[int, int], rate: Fraction) -> None:
        needed("zarr", "zarr")
        self.piece_frames = max(1, min(_CHUNK_FRAMES, _CHUNK_BYTES // (size[0] * size[1])))
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._frames = frames
        self._size = size
        self._rate = rate
        self._array: Any = None

    def begin(self, *, is_resumed: bool) -> None:
        with mapped_errors(f"reading {str(self._path)!r}"):
            is_other = self._path.exists() and not (self._path / "zarr.json").exists()
        if is_other:
            raise TransportError(f"writing {str(self._path)!r}: it is there, and no Zarr store of format 3; remove it")
        with writing(repr(str(self._path))):
            if not is_resumed and self._part.exists():
                shutil.rmtree(self._part)
            self._array = self._opened() if is_resumed else self._created()

    def has(self, piece: range, record: Any) -> bool:
        return bool(self._checksum(piece) == record)

    def write(self, piece: range, drawing: Drawing) -> Any:
        block = np.empty((len(piece), self._size[1], self._size[0]), np.bool_)
        for place, mask in enumerate(drawing.into(piece)):
            np.not_equal(mask, 0, out=block[place])
        with writing(repr(str(self._path))):
            first = piece.start - self._frames.start
            self._array[first : first + len(piece)] = block
            return self._checksum(piece)

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            shutil.rmtree(self._part)

    def finish(self, records: dict[int, Any], tell: Callable[[int], None]) -> None:
        old = self._path.with_name(f".{self._path.name}.old")
        with mapped_errors(f"writing {str(self._path)!r}"):
            if old.exists():
                shutil.rmtree(old)
            if self._path.exists():  # no system replaces a folder that has files
                os.replace(self._path, old)
            os.replace(self._part, self._path)
            sync_folder(self._path.parent)
        with contextlib.suppress(OSError):
            shutil.rmtree(old)

    def _created(self) -> Any:
        import zarr
        from zarr.codecs import ZstdCodec
        from zarr.codecs.numcodecs import PackBits

        width, height = self._size
        with warnings.catch_warnings():
            # zarr warns that this codec is not in the core of the specification. numcodecs, on which zarr depends, has
            # it, and other readers know it as "packbits".
            warnings.filterwarnings("ignore", message="Numcodecs codecs are not in")
            return zarr.create_array(
                str(self._part),
                shape=(len(self._frames), height, width),
                chunks=(self.piece_frames, height, width),
                dtype=np.bool_,
                filters=[PackBits()],
                compressors=[ZstdCodec(level=_LEVEL)],
                dimension_names=["time", "y", "x"],
                attributes={"fps": str(self._rate), "first_frame": self._frames.start},
            )

    def _opened(self) -> Any:
        import zarr

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Numcodecs codecs are not in")
            return zarr.open_array(str(self._part), mode="r+")

    def _checksum(self, piece: range) -> list[int]:
        """Of the file of a chunk. A chunk without a set pixel has no file."""
        number = (piece.start - self._frames.start) // self.piece_frames
        path = self._part / "c" / str(number) / "0" / "0"
        try:
            return checksum_of(path)
        except FileNotFoundError:
            return [0, 0]
