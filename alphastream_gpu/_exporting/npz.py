"""
Npz: writes masks to an npz file, whose members are compressed.

An npz file is one compressed run of bytes, so it is written in one go, and begun anew after an interruption.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

import numpy as np

from .._exceptions import mapped_errors
from .._geometry.bits import pack
from .._inputs.npy import PACKED_MEMBER, WIDTH_MEMBER
from .._writing.whole_file import whole_file
from .drawing import Drawing
from .flat import npy_header, packed_shape

__all__ = ["write_npz"]

_MEMBER: Final = "masks.npy"
_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""Of the members, so that the same masks have the same bytes."""


def write_npz(
    path: Path, frames: range, drawing: Drawing, *, is_packed: bool, jobs: int, tell: Callable[[int], None]
) -> None:
    """
    Write masks to an npz file. It appears complete or not at all.

    The array `masks` is uint8 (frames, height, width). If packed, the array `packed_masks` is uint8 (frames, height,
    ceil(width / 8)), the lowest bit first, and `width` has the pixels of a row.

    Args:
        path: the target.
        frames: of the stream.
        drawing: makes the masks.
        is_packed: eight pixels in a byte.
        jobs: threads that draw.
        tell: called with the number of frames that are done.
    """
    with mapped_errors(f"writing {str(path)!r}"), whole_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        if is_packed:
            with _member(archive, WIDTH_MEMBER) as member:
                member.write(npy_header((), np.int64) + np.int64(drawing.size[0]).tobytes())
        shape = packed_shape(len(frames), drawing.size) if is_packed else (len(frames), *drawing.size[::-1])
        with _member(archive, PACKED_MEMBER if is_packed else _MEMBER) as member:
            member.write(npy_header(shape))
            for done, mask in enumerate(drawing.ahead(frames, jobs)):
                tell(done)
                member.write((pack(mask) if is_packed else mask).data)
    tell(len(frames))


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    return archive.open(info, "w", force_zip64=True)
