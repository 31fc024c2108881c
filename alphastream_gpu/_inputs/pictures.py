"""
Pictures: a reader of the files in a folder, a glob or a list, in natural order.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from .._exceptions import DecodeError
from .frames import Matte, Reader
from .names import frame_numbers, natural_key, numbered_plan, ranges_of
from .options import InputOptions
from .picture import Picture, page_count, read_picture

__all__ = ["PictureReader", "in_order"]

_PROBES: Final = 16
"""Pictures that are looked at, evenly spread, before a channel and a range are chosen."""
_MOST_EMPTY: Final = 1000
"""Pictures that are looked at for a first set pixel."""


def in_order(paths: Sequence[Path]) -> list[Path]:
    """
    The natural order of a list of files that is in the order of their texts, as shells expand it; otherwise as given.
    """
    texts = [os.fspath(path) for path in paths]
    if texts == sorted(texts):
        return sorted(paths, key=lambda path: natural_key(os.fspath(path)))
    return list(paths)


class PictureReader(Reader):
    """
    Pictures as frames.

    Args:
        name: what the pictures are called in messages.
        paths: the files, in order.
        options: channel, threshold, gaps, objects.

    Raises:
        DecodeError: a picture that was looked at is damaged.
        TransportError: likewise, it cannot be read.
        ValueError: numbers are missing, or an option does not fit the pictures.
    """

    def __init__(self, name: str, paths: Sequence[Path], options: InputOptions) -> None:
        super().__init__()
        self.name = name
        self._options = options
        self._files, self._plan, order = _planned(name, paths, options, self.notes)
        self.count = len(self._plan)
        self._choose(order)

    def _choose(self, order: str) -> None:
        probes = [self._load(file) for file in _spread(len(self._files), _PROBES)]
        first = probes[0]
        self.size = first.size
        self._objects = _object_numbers(self._options)
        self._is_labels = self._objects is not None or (
            "labels" in first.planes and self._options.channel == "auto" and self._options.threshold is None
        )
        if self._is_labels:
            self._channel, self._high, self.threshold = "labels", 1.0, None
            which = "all" if self._objects is None else ", ".join(map(str, self._objects))
            self.found = f"{order}, {first.form}; objects: {which}"
            return
        self._channel = self._options.channel
        if self._channel == "auto":
            red = self._options.layout.startswith("fisheye")
            self._channel = "red" if red else "alpha" if any(map(_has_alpha, probes)) else "luma"
        self._check_channel(first)
        self._high = self._real_high(probes)
        threshold = self._options.threshold
        self.threshold = self._high / 2 if threshold is None else threshold
        self.found = f"{order}, {first.form}; channel {self._channel}, range 0..{self._high:g}"

    def _check_channel(self, first: Picture) -> None:
        if first.plane(self._channel) is None:
            raise ValueError(
                f"channel: expected one of {', '.join(first.planes)} in {self.name}, found {self._channel!r}"
            )

    def _real_high(self, probes: list[Picture]) -> float:
        """The value of white: as the file says, or 1 if 0 and 1 are the only values."""
        high = probes[0].high
        is_integer = probes[0].planes[next(iter(probes[0].planes))].dtype.kind in "ui"
        if self._channel == "alpha" or high == 1.0 or self._options.threshold is not None:
            return 1.0 if high is None else high
        highest = max(self._highest(picture) for picture in probes)
        if highest == 0:
            highest = next(
                filter(None, (self._highest(self._load(i)) for i in range(len(self._files))[:_MOST_EMPTY])), 0
            )
        if is_integer and highest == 1:
            self.notes.append(f"{self.name}: the values are 0 and 1; 1 is taken for set")
            return 1.0
        if high is None:
            if is_integer and highest in (0, 255):
                return 255.0
            raise ValueError(
                f"threshold: {self.name} does not say what white is (its highest value is {highest:g}); pass threshold="
            )
        if 0 < highest <= high / 2:
            self.notes.append(
                f"{self.name}: no pixel looked at is above half of {high:g}; the highest is {highest:g}. Pass "
                "threshold= if that is the matte, or objects= if the values are object numbers"
            )
        return high

    def _highest(self, picture: Picture) -> float:
        plane = picture.plane(self._channel)
        return float(plane.max()) if plane is not None else 0.0

    def read(self, first: int) -> Iterator[Matte]:
        last: tuple[int, Matte] | None = None
        for frame in range(first, len(self._plan)):
            file = self._plan[frame]
            if file is None:
                yield np.zeros((self.size[1], self.size[0]), np.bool_ if self._is_labels else np.uint8)
                continue
            if last is None or last[0] != file:  # a repeated picture is not read again
                last = file, self._matte(self._load(file, frame), file, frame)
            yield last[1]

    def _matte(self, picture: Picture, file: int, frame: int) -> Matte:
        name = self._files[file][0].name
        if picture.size != self.size:
            raise DecodeError(
                f"{name}, frame {frame}: expected {self.size[0]} x {self.size[1]} pixels as in the first picture, "
                f"found {picture.size[0]} x {picture.size[1]}; all pictures must have one size",
                frame_index=frame,
            )
        if self._is_labels:
            labels = picture.planes.get("labels", picture.planes.get("luma"))
            if labels is None:
                raise DecodeError(
                    f"{name}, frame {frame}: expected object numbers (a palette or gray), found {picture.form}",
                    frame_index=frame,
                )
            return labels != 0 if self._objects is None else np.isin(labels, self._objects)
        plane = picture.plane(self._channel)
        if plane is None:  # some tools drop the alpha of an opaque picture
            return np.full((self.size[1], self.size[0]), self._high, np.float32)
        high = self._high if picture.high is None else picture.high
        # some tools store black and white pictures with 1 bit, and others of the same folder with 8
        return plane if self._high in (high, 1.0) else plane * np.float32(self._high / high)

    def _load(self, file: int, frame: int | None = None) -> Picture:
        path, page = self._files[file]
        return read_picture(path, page=page, frame=frame)


def _planned(
    name: str, paths: Sequence[Path], options: InputOptions, notes: list[str]
) -> tuple[list[tuple[Path, int]], list[int | None], str]:
    """Files with their pages, for each frame the index of its file, and what was found."""
    if len(paths) == 1:
        pages = page_count(paths[0])
        return [(paths[0], page) for page in range(pages)], list(range(pages)), f"{name}, {pages} pictures"
    files = [(path, 0) for path in paths]
    numbers = frame_numbers([path.name for path in paths])
    if numbers is None or numbers != sorted(numbers):
        return files, list(range(len(files))), f"{name}, {len(files)} pictures in the order of their names"
    try:
        plan = numbered_plan(numbers, options.gaps)
    except ValueError as exc:
        raise ValueError(f"{name}: {exc}") from None
    gaps = ranges_of(numbers)
    if gaps:
        missing = sum(last - first + 1 for first, last in gaps)
        done = {"repeat": "the frame before was repeated", "empty": "they are empty", "close": "they were left out"}
        notes.append(f"{name}: {missing} numbers are missing; {done[options.gaps]}")
    return files, plan, f"{name}, {len(files)} pictures, numbered {numbers[0]}..{numbers[-1]}"


def _spread(count: int, most: int) -> list[int]:
    """At most so many indices of a sequence, evenly spread, with the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def _has_alpha(picture: Picture) -> bool:
    """Whether there is an alpha channel that is not opaque everywhere."""
    alpha = picture.planes.get("alpha")
    return alpha is not None and bool((alpha != picture.high).any())


def _object_numbers(options: InputOptions) -> list[int] | None:
    if options.objects is None:
        return None
    for one in options.objects:
        if isinstance(one, str):
            raise ValueError(f"objects: expected numbers for pictures, found {one!r}")
    return [one for one in options.objects if isinstance(one, int)]
