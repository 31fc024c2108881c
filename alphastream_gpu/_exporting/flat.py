"""
Flat: writes masks one after the other to a file, which is an npy file or has no header at all.
"""

from __future__ import annotations

import contextlib
import io
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .._exceptions import mapped_errors
from .._geometry.bits import pack
from .._writing.whole_file import sync_folder
from .drawing import Drawing
from .pieces import Target

__all__ = ["FlatTarget", "npy_header", "npy_target", "packed_shape", "raw_target"]

_READ_BYTES: Final = 1 << 20


class FlatTarget(Target):
    """
    A header, and frames of equal sizes. Pieces are written at their places in a file beside the target.

    Args:
        path: the target.
        frames: all frames of the export.
        header: its bytes.
        frame_bytes: of each frame.
        is_packed: eight pixels in a byte, the lowest bit first, as of :func:`rasterize_packed`.
    """

    piece_frames = 16

    def __init__(self, path: Path, frames: range, header: bytes, frame_bytes: int, *, is_packed: bool) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._frames = frames
        self._header = header
        self._frame_bytes = frame_bytes
        self._is_packed = is_packed

    def begin(self, *, is_resumed: bool) -> None:
        with mapped_errors(f"writing {str(self._path)!r}"), open(self._part, "r+b" if is_resumed else "w+b") as file:
            file.write(self._header)
            file.truncate(len(self._header) + len(self._frames) * self._frame_bytes)

    def has(self, piece: range, record: Any) -> bool:
        found, left = 0, len(piece) * self._frame_bytes
        with mapped_errors(f"reading {str(self._part)!r}"), open(self._part, "rb") as file:
            file.seek(self._place_of(piece))
            while left and (data := file.read(min(left, _READ_BYTES))):
                found = zlib.crc32(data, found)
                left -= len(data)
        return bool(not left and found == record)

    def write(self, piece: range, drawing: Drawing) -> Any:
        found = 0
        with contextlib.ExitStack() as stack:
            with mapped_errors(f"writing {str(self._path)!r}"):
                file = stack.enter_context(open(self._part, "r+b"))
                file.seek(self._place_of(piece))
            for mask in drawing.into(piece):
                data = (pack(mask) if self._is_packed else mask).data
                found = zlib.crc32(data, found)
                with mapped_errors(f"writing {str(self._path)!r}"):
                    file.write(data)
        return found

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self._part.unlink()

    def finish(self, records: dict[int, Any], tell: Callable[[int], None]) -> None:
        with mapped_errors(f"writing {str(self._path)!r}"):
            with open(self._part, "r+b") as file:
                os.fsync(file.fileno())
            os.replace(self._part, self._path)
            sync_folder(self._path.parent)

    def _place_of(self, piece: range) -> int:
        return len(self._header) + (piece.start - self._frames.start) * self._frame_bytes


def raw_target(path: Path, frames: range, size: tuple[int, int]) -> FlatTarget:
    """A file of gray pictures without a header, as ``ffmpeg -f rawvideo -pix_fmt gray`` reads it."""
    return FlatTarget(path, frames, b"", size[0] * size[1], is_packed=False)


def npy_target(path: Path, frames: range, size: tuple[int, int], *, is_packed: bool) -> FlatTarget:
    """An npy file of uint8 (frames, height, width), or (frames, height, ceil(width / 8)) with packed rows."""
    shape = packed_shape(len(frames), size) if is_packed else (len(frames), size[1], size[0])
    return FlatTarget(path, frames, npy_header(shape), shape[1] * shape[2], is_packed=is_packed)


def packed_shape(n_frames: int, size: tuple[int, int]) -> tuple[int, int, int]:
    """The shape of an array of packed masks."""
    return n_frames, size[1], (size[0] + 7) // 8


def npy_header(shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8) -> bytes:
    """The header of an npy file."""
    header = io.BytesIO()
    described = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(header, {"descr": described, "fortran_order": False, "shape": shape})
    return header.getvalue()
