"""
Npy: reads arrays in npy and npz files, without pickles.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from .._exceptions import DecodeError
from .faults import reading

__all__ = ["PACKED_MEMBER", "WIDTH_MEMBER", "Member", "npz_members", "open_npy"]

PACKED_MEMBER: Final = "packed_masks.npy"
WIDTH_MEMBER: Final = "width.npy"
"""The arrays of an npz file with packed masks: uint8 (frames, height, ceil(width / 8)), the lowest bit first, and the
pixels of a row."""

_MAX_HEADER: Final = 10_000
"""numpy's own default: the text of a header is parsed as Python, and a long one could exhaust the parser."""
_MAX_MEMBERS: Final = 1_000_000
_ADVICE: Final = "save the array again with numpy.save, without allow_pickle"


def open_npy(path: Path, *, frame: int | None = None) -> npt.NDArray[Any]:
    """
    Map an npy file into memory; nothing is read yet.

    Args:
        path: the file.
        frame: the frame that errors name.

    Returns:
        The array, read-only; any number of dimensions. The mapping is closed when the array is collected.

    Raises:
        DecodeError: the file is damaged, or holds Python objects.
        TransportError: the file cannot be read.
    """
    with reading(path.name, frame=frame, advice=_ADVICE):
        return np.load(path, mmap_mode="r", allow_pickle=False, max_header_size=_MAX_HEADER)  # type: ignore[no-any-return]


class Member:
    """
    An array in an npz file. Its header is read at once, its data on demand and in order, a frame at a time.

    An npz can be a small file with terabytes of zeros in it; only one frame is in memory.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        with self._reading(), zipfile.ZipFile(path) as file, file.open(name) as member:
            self.shape, self._is_fortran, self.dtype = _header(member)
            self._start = member.tell()
        if any(edge < 0 for edge in self.shape):
            raise DecodeError(f"{path.name}, {name}: expected a shape, found {self.shape}; {_ADVICE}")
        if self.dtype.hasobject:
            raise DecodeError(f"{path.name}, {name}: expected numbers, found Python objects; {_ADVICE}")

    def frames(self, first: int) -> Iterator[npt.NDArray[Any]]:
        """
        Yield the frames from `first` on.

        Yields:
            The dtype, (height, width): the last two dimensions.
        """
        shape = self.shape[-2:]
        size = int(np.prod(shape, dtype=object)) * self.dtype.itemsize
        total = int(np.prod(self.shape[:-2], dtype=object))
        if self._is_fortran:
            raise DecodeError(f"{self._path.name}, {self._name}: Fortran order is not supported; save a C array")
        yield from self._read(first, total, size, shape)

    def scalar(self) -> Any:
        """The value of an array without dimensions, such as a number."""
        with self._reading(), zipfile.ZipFile(self._path) as file, file.open(self._name) as member:
            member.seek(self._start)
            return np.frombuffer(member.read(self.dtype.itemsize), self.dtype)[0]

    def _read(self, first: int, total: int, size: int, shape: tuple[int, ...]) -> Iterator[npt.NDArray[Any]]:
        with self._reading():
            file = zipfile.ZipFile(self._path)
        with file:
            with self._reading():
                member = file.open(self._name)
            with member:
                for number in range(first, total):
                    with self._reading(number):
                        if number == first:
                            member.seek(self._start + first * size)
                        data = member.read(size)
                    if len(data) != size:
                        raise DecodeError(
                            f"{self._path.name}, {self._name}, frame {number}: expected {size} bytes, found "
                            f"{len(data)}; {_ADVICE}",
                            frame_index=number,
                        )
                    yield np.frombuffer(data, self.dtype).reshape(shape)

    def _reading(self, frame: int | None = None) -> AbstractContextManager[None]:
        what = f"{self._path.name}, {self._name}" + ("" if frame is None else f", frame {frame}")
        return reading(what, frame=frame, advice=_ADVICE)


def npz_members(path: Path) -> list[str]:
    """
    The names of the arrays in an npz file, with their ``.npy``, as stored.

    Raises:
        DecodeError: the file is damaged.
        TransportError: the file cannot be read.
    """
    with reading(path.name, advice=_ADVICE), zipfile.ZipFile(path) as file:
        names = [name for name in file.namelist() if name.endswith(".npy")]
    if not 1 <= len(names) <= _MAX_MEMBERS:
        raise DecodeError(f"{path.name}: expected 1..{_MAX_MEMBERS} arrays, found {len(names)}")
    return names


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"npy version {version} is not supported")
    return read(member, max_header_size=_MAX_HEADER)
