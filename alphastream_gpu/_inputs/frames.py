"""
Frames: makes the sequence of masks of an input, and defines the interface of readers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .._exceptions import ClosedError
from .._geometry.bits import pack
from .options import InputOptions
from .shape import Shaper

__all__ = ["Frames", "Mask", "Matte", "Opened", "Reader"]

Mask = npt.NDArray[np.bool_]
Matte = npt.NDArray[Any]
"""(height, width); bool, or numbers that are compared with a threshold."""


class Frames(ABC):
    """
    An input, opened as a sequence of masks. A context manager. For one thread.
    """

    size: tuple[int, int]
    """Width and height of every mask in pixels, each 1..16384."""
    fps: Fraction | None
    """Frames a second; None if the input has no times."""
    count: int | None
    """How many masks __iter__ yields; None if that is not known before the end."""
    about: str
    """What was found and chosen, in one line."""
    times: Sequence[float] | None
    """For each mask, the time of the picture that it was made of, in seconds after the first picture of the input; None
    if the input has no times."""
    notes: list[str]
    """What the user should know, such as repeated frames. Iterating may add notes."""

    def __iter__(self) -> Iterator[Mask]:
        """
        Iterate over the masks from `options.start`, at most `options.frames`. Same errors as :meth:`read_from`.

        Yields:
            bool (height, width), C-contiguous; the caller owns the array.
        """
        return self.read_from(0)

    @abstractmethod
    def read_from(self, index: int) -> Iterator[Mask]:
        """
        Iterate as __iter__ does, without the first masks.

        Args:
            index: how many masks of __iter__ are left out, from 0. Videos are decoded from their beginning for this:
                seeking is exact in some containers and codecs only.

        Yields:
            bool (height, width), C-contiguous; the caller owns the array.

        Raises:
            ClosedError: close() was called.
            DecodeError: the content is damaged. All masks before the damage have been yielded.
            TransportError: the file cannot be read.
            ValueError: a frame needs an option that was not given, or an iterator would have to be read twice.
        """

    @abstractmethod
    def packed_from(self, index: int) -> Iterator[npt.NDArray[np.uint8]]:
        """
        Iterate as :meth:`read_from` does, with eight pixels in a byte.

        Yields:
            uint8 (height, ceil(width / 8)), as of ``rasterize_packed``; the caller owns the array.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the input. Closing twice is allowed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Reader(ABC):
    """
    One kind of input, as mattes of one size that are not yet cropped, resized and compared with the threshold.
    """

    name: str
    """The input's name in messages."""
    size: tuple[int, int]
    """Width and height of the mattes in pixels."""
    threshold: float | None
    """A pixel is set where the matte is above it; None if the mattes are bool."""
    count: int | None = None
    """How many frames there are; None if unknown."""
    fps: Fraction | None = None
    times: Sequence[float] | None = None
    """Seconds of each frame after the first; None if there are no times."""
    found: str
    """What was found and chosen, for `about`."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @abstractmethod
    def read(self, first: int) -> Iterator[Matte]:
        """
        Yield the mattes from frame `first` on, (height, width) of :attr:`size`. Errors as :meth:`Frames.read_from`.
        """

    def close(self) -> None:  # noqa: B027  a reader without resources needs none
        """Release what the reader holds."""


class Opened(Frames):
    """
    A reader's mattes as masks: cropped, resized and compared with the threshold.

    Args:
        reader: the input; closed with this object.
        options: how it is read.

    Raises:
        ValueError: an option does not fit the input.
    """

    def __init__(self, reader: Reader, options: InputOptions) -> None:
        self._reader = reader
        self._options = options
        self._shaper = Shaper(reader.size, options, reader.threshold)
        self._is_closed = False
        if reader.count is not None and options.start >= max(1, reader.count):
            raise ValueError(f"start: expected 0..{max(0, reader.count - 1)} in {reader.name}, found {options.start}")
        self.size = self._shaper.size
        self.fps = options.fps or reader.fps
        self.count = None
        if reader.count is not None:
            left = reader.count - options.start
            self.count = left if options.frames is None else min(left, options.frames)
        first = options.start
        self.times = None if reader.times is None else reader.times[first : first + (self.count or 0)]
        self.about = "; ".join((reader.found, *self._shaper.chosen))
        self.notes = reader.notes

    def read_from(self, index: int) -> Iterator[Mask]:
        # A copy: a mask may be the caller's, or the reader's own memory.
        return (np.array(mask, dtype=np.bool_, order="C") for mask in self._masks(index))

    def packed_from(self, index: int) -> Iterator[npt.NDArray[np.uint8]]:
        return map(pack, self._masks(index))

    def _masks(self, index: int) -> Iterator[Mask]:
        """The masks, each valid until the next one is asked for, and not to be written."""
        if index < 0:
            raise ValueError(f"index: expected 0 or more, found {index}")
        return self._shaped(index)

    def _shaped(self, index: int) -> Iterator[Mask]:
        self._check_open()
        left = None if self._options.frames is None else self._options.frames - index
        if left is not None and left <= 0:
            return
        for matte in self._reader.read(self._options.start + index):
            yield self._shaper.mask(matte)
            self._check_open()
            if left is not None:
                left -= 1
                if left == 0:  # before the next frame is read, which might be damaged
                    return

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError(f"{self._reader.name} was closed")

    def close(self) -> None:
        self._is_closed = True
        self._reader.close()
