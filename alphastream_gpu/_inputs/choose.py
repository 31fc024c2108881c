"""
Choose: picks the reader for an input.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._exceptions import DecodeError, TransportError
from .._geometry.size import MAX_NATIVE_EDGE
from .arrays import PackedReader, StackReader, as_array, is_array
from .faults import reading
from .frames import Frames, Matte, Opened, Reader
from .names import natural_key
from .npy import PACKED_MEMBER, WIDTH_MEMBER, Member, npz_members, open_npy
from .options import InputOptions
from .picture import PICTURE_ENDINGS
from .pictures import PictureReader, in_order

__all__ = ["open_frames"]


def open_frames(source: object, options: InputOptions | None = None, *, name: str | None = None) -> Frames:
    """
    Open an input as a sequence of masks.

    Args:
        source: a path of a video, a picture, a folder of pictures, a pattern (``frames/*.png``, ``f%04d.png``), npy,
            npz, zarr or COCO JSON; a list of paths; an array of any library of shape (frames, height, width), (frames,
            1, height, width) or (height, width); an iterable of 2-D arrays; what SAM 2, supervision or ultralytics
            return. docs/inputs.md has the whole list.
        options: how it is read; None for the defaults.
        name: the input's name in messages; None for its file name.

    Returns:
        The masks; to be closed by the caller.

    Raises:
        DecodeError: the content is damaged or not supported.
        TransportError: a file cannot be read, or a package is missing.
        ValueError: an option is missing or does not fit the input.
        TypeError: this kind of source is not supported.
    """
    options = options or InputOptions()
    reader = _reader(source, options, name)
    try:
        return Opened(reader, options)
    except BaseException:
        reader.close()
        raise


def _reader(source: Any, options: InputOptions, name: str | None) -> Reader:
    if isinstance(source, str | bytes | os.PathLike):
        reader = _reader_of_path(os.fsdecode(source), options)
    elif isinstance(source, Mapping):
        from .detections import reader_of_mapping

        reader = reader_of_mapping(name or "the dict", source, options)
    elif is_array(source):
        reader = _stack(name or "the array", source, options)
    elif hasattr(source, "__dlpack__"):
        reader = _stack(name or "the array", as_array(source), options)
    elif isinstance(source, Sequence) and source and isinstance(source[0], str | bytes | os.PathLike):
        reader = _reader_of_paths([Path(os.fsdecode(one)) for one in source], options)
    elif isinstance(source, Iterable):
        from .detections import reader_of_iterable

        reader = reader_of_iterable(name or "the iterable", source, options)
    else:
        raise TypeError(
            f"expected a path, an array, a dict or an iterable of arrays as input, found {type(source).__name__}"
        )
    if name is not None:
        reader.found = reader.found.replace(reader.name, name, 1)
        reader.name = name
    return reader


def _reader_of_path(text: str, options: InputOptions) -> Reader:
    path = Path(text)
    with reading(text):
        exists, is_folder = path.exists(), path.is_dir()
    if not exists:
        matches = _matches(text)
        if matches:
            return PictureReader(path.name, matches, options)
        if matches is not None:
            raise TransportError(f"{text}: no file matches")
        inside = next((parent for parent in path.parents if parent.suffix == ".zarr" and parent.exists()), None)
        if inside is None:
            raise TransportError(f"{text}: no such file or folder")
    if not exists or _is_zarr(path, is_folder):
        from .zarrs import zarr_reader

        return zarr_reader(path, options)
    if is_folder:
        return PictureReader(path.name or str(path.resolve()), _pictures_in(path), options)
    return _reader_of_file(path, options)


def _reader_of_file(path: Path, options: InputOptions) -> Reader:
    ending = path.suffix.lower()
    if options.packed and ending not in (".npy", ".npz"):
        raise ValueError(f"packed: is for npy files and arrays; {path.name} is neither")
    if ending in (".npy", ".npz"):
        try:
            return _stack(path.name, open_npy(path), options) if ending == ".npy" else _npz(path, options)
        except TypeError as exc:  # of an array it is the caller's mistake, of a file it is the file's content
            raise DecodeError(str(exc)) from None
    if ending == ".json":
        from .coco import CocoReader

        return CocoReader(path, options)
    if ending in PICTURE_ENDINGS - {".gif", ".apng"}:
        return PictureReader(path.name, [path], options)
    from .video import VideoReader

    return VideoReader(path, options)


def _reader_of_paths(paths: Sequence[Path], options: InputOptions) -> Reader:
    paths = in_order(paths)
    if len(paths) == 1:
        return _reader_of_path(os.fspath(paths[0]), options)
    if all(path.suffix.lower() in PICTURE_ENDINGS for path in paths):
        return PictureReader(paths[0].parent.name or paths[0].name, paths, options)
    return _Joined([_reader_of_path(os.fspath(path), options) for path in paths])


class _Joined(Reader):
    """Several inputs, one after the other."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        super().__init__()
        self._readers = readers
        first = readers[0]
        self.name = f"{len(readers)} inputs"
        self.size, self.threshold, self.fps = first.size, first.threshold, first.fps
        for reader in readers:
            if (reader.size, reader.threshold, reader.fps) != (self.size, self.threshold, self.fps):
                raise ValueError(
                    f"the inputs differ: {first.name} has {first.size}, threshold {first.threshold}, {first.fps} "
                    f"frames a second; {reader.name} has {reader.size}, {reader.threshold}, {reader.fps}. Pass "
                    "threshold= and fps=, or encode them one by one"
                )
            if reader.count is None:
                raise ValueError(f"{reader.name}: its number of frames is unknown, so nothing can follow it")
            self.notes += reader.notes
        self.count = sum(reader.count or 0 for reader in readers)
        self.found = "; then ".join(reader.found for reader in readers)

    def read(self, first: int) -> Iterator[Matte]:
        for reader in self._readers:
            count = reader.count or 0
            if first < count:
                yield from reader.read(first)
            first = max(0, first - count)

    def close(self) -> None:
        for reader in self._readers:
            reader.close()


def _stack(name: str, stack: Any, options: InputOptions) -> Reader:
    return (PackedReader if options.packed else StackReader).of(name, stack, options)


def _npz(path: Path, options: InputOptions) -> Reader:
    """One array of frames, or an array for each frame, in the natural order of their names; or packed masks."""
    if set(npz_members(path)) == {PACKED_MEMBER, WIDTH_MEMBER}:
        return _packed_npz(path)
    members = [Member(path, name) for name in sorted(npz_members(path), key=natural_key)]
    first = members[0]
    if len(members) == 1:
        return StackReader(path.name, first.shape, first.dtype, first.frames, options)
    shapes = {member.shape for member in members}
    if len(shapes) > 1 or len(first.shape) not in (2, 3) or (len(first.shape) == 3 and first.shape[0] != 1):
        raise DecodeError(
            f"{path.name}: expected one array, or arrays of one shape (height, width), found "
            f"{', '.join(map(str, sorted(shapes)[:4]))}; save the masks alone"
        )

    def frames(start: int) -> Iterator[Any]:
        for member in members[start:]:
            yield next(member.frames(0))

    return StackReader(path.name, (len(members), *first.shape[-2:]), first.dtype, frames, options)


def _packed_npz(path: Path) -> Reader:
    """Packed masks, and the width that they are unpacked to."""
    packed, width = Member(path, PACKED_MEMBER), Member(path, WIDTH_MEMBER)
    if width.shape != () or width.dtype.kind not in "iu":
        raise DecodeError(f"{path.name}: expected one number as {WIDTH_MEMBER}, found {width.dtype} {width.shape}")
    number = int(width.scalar())
    if not 1 <= number <= MAX_NATIVE_EDGE:
        raise DecodeError(f"{path.name}: expected a width of 1..{MAX_NATIVE_EDGE} pixels, found {number}")
    try:
        return PackedReader(path.name, packed.shape, packed.dtype, packed.frames, number)
    except ValueError as exc:
        raise DecodeError(str(exc)) from None


def _pictures_in(folder: Path) -> list[Path]:
    with reading(folder.name):
        found = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in PICTURE_ENDINGS and not path.name.startswith(".") and path.is_file()
        ]
    if not found:
        raise TransportError(f"{folder}: expected pictures ({', '.join(sorted(PICTURE_ENDINGS))}), found none")
    return sorted(found, key=lambda path: natural_key(path.name))


def _matches(text: str) -> list[Path] | None:
    """The files that a pattern matches, in natural order; None if the text is no pattern."""
    pattern = re.compile(r"%0?\d*d")
    if pattern.search(text):
        parts = pattern.split(text)
        name = re.compile(r"(\d+)".join(map(re.escape, parts)))
        found = glob.glob("*".join(map(glob.escape, parts)))
        found = [one for one in found if name.fullmatch(one)]
    elif glob.has_magic(text):
        found = glob.glob(text, recursive=True)
    else:
        return None
    return [Path(one) for one in sorted(found, key=natural_key) if os.path.isfile(one)]


def _is_zarr(path: Path, is_folder: bool) -> bool:
    if is_folder:
        return any((path / name).exists() for name in ("zarr.json", ".zarray", ".zgroup"))
    return path.name.endswith(".zarr.zip")
