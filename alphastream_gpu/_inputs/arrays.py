"""
Arrays: readers of stacks and iterables of arrays. Torch tensors and memory maps are arrays, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .._exceptions import DecodeError
from .._geometry.bits import unpack
from .._geometry.size import check_size
from .frames import Matte, Reader
from .options import InputOptions
from .values import IntegerMasks

__all__ = ["IterableReader", "Meaning", "PackedReader", "StackReader", "as_array", "frame_shape", "is_array"]


def is_array(thing: object) -> bool:
    """Whether a thing is an array of any library: numpy, torch, zarr, h5py, ..."""
    return hasattr(thing, "shape") and (
        hasattr(thing, "__array__") or hasattr(thing, "__dlpack__") or hasattr(thing, "__getitem__")
    )


def as_array(thing: Any) -> Matte:
    """
    Convert an array of any library to numpy, without a copy where that is possible.

    Raises:
        TypeError: the thing is not an array of bool, integers or floats.
    """
    if not isinstance(thing, np.ndarray):
        if hasattr(thing, "detach"):  # torch: __array__ refuses tensors that need gradients or are on a GPU
            thing = thing.detach()
            thing = thing.cpu() if hasattr(thing, "cpu") else thing
            thing = thing.float() if "bfloat16" in str(getattr(thing, "dtype", "")) else thing
        elif hasattr(thing, "get") and hasattr(thing, "__cuda_array_interface__"):  # cupy
            thing = thing.get()
        try:
            if hasattr(thing, "__array__") or not hasattr(thing, "__dlpack__"):
                thing = np.asarray(thing)
            else:
                thing = np.from_dlpack(thing)
        except (TypeError, ValueError, RuntimeError, BufferError) as exc:
            raise TypeError(f"expected an array in the CPU's memory, found {type(thing).__name__}: {exc}") from exc
    if thing.dtype.kind not in "buif":
        raise TypeError(f"expected an array of bool, integers or floats, found {thing.dtype}")
    return thing  # type: ignore[no-any-return]


def frame_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """
    The count, height and width of a stack: (H, W), (N, H, W) or (N, 1, H, W).

    Raises:
        ValueError: another shape, or a size outside 1..16384.
    """
    if len(shape) == 4 and shape[1] == 1:
        shape = (shape[0], *shape[2:])
    if len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3:
        raise ValueError(f"expected the shape (frames, height, width), (frames, 1, height, width) or (height, width), "
                         f"found {shape}")  # fmt: skip
    if len(shape) == 3 and shape[2] <= 4 < shape[1]:
        raise ValueError(f"expected the shape (frames, height, width), found {shape}: that looks like one picture with "
                         "channels; pass one channel, array[..., c]")  # fmt: skip
    check_size("size of the frames", (shape[2], shape[1]))
    return shape[0], shape[1], shape[2]


class Meaning:
    """
    What the values of arrays mean: bool as is, integers as masks, anything else with a threshold or as objects.

    Args:
        options: threshold, objects.
        default: the threshold of floats if none is given; None: floats need one.
    """

    def __init__(self, options: InputOptions, default: float | None = None) -> None:
        self._options = options
        self._default = default
        self._masks = IntegerMasks()
        self.threshold: float | None = None
        """For the reader; set by :meth:`begin`."""
        self.said = ""

    def begin(self, dtype: np.dtype[Any]) -> None:
        """
        Decide by the dtype of the input.

        Raises:
            ValueError: floats without a threshold.
        """
        threshold = self._options.threshold
        if self._options.objects is not None:
            numbers = [one for one in self._options.objects if isinstance(one, int)]
            if len(numbers) < len(self._options.objects) or dtype.kind not in "ui":
                raise ValueError(f"objects: expected numbers, and an array of integers; found {self._options.objects} "
                                 f"and {dtype}")  # fmt: skip
            self.said = f"{dtype}, objects {', '.join(map(str, numbers))}"
        elif dtype.kind == "b":
            self.said = "bool"
        elif threshold is not None or dtype.kind == "f":
            self.threshold = self._default if threshold is None else threshold
            if self.threshold is None:
                raise ValueError(f"threshold: an array of {dtype} needs one, for example 0.5 for 0..1, or 0 for logits")
            self.said = str(dtype)
        else:
            self.said = f"{dtype}, 0 and 1 or 0 and 255"

    def matte(self, frame: Matte) -> Matte:
        """
        Convert a frame to what :attr:`threshold` is for.

        Raises:
            ValueError: integers that are no mask.
        """
        if self._options.objects is not None:
            return np.isin(frame, [one for one in self._options.objects if isinstance(one, int)])
        if frame.dtype.kind == "b":
            return frame if self.threshold is None else np.where(frame, np.float32(np.inf), np.float32(-np.inf))
        if self.threshold is not None:
            return frame if frame.dtype != np.float16 else frame.astype(np.float32)
        if frame.dtype.kind == "f":
            raise ValueError(f"expected {self.said} as in the first frame, found {frame.dtype}")
        return self._masks.mask(frame)


class StackReader(Reader):
    """
    Frames of one array-like thing, or of a function.

    Args:
        name: the input's name in messages.
        shape: (H, W), (N, H, W) or (N, 1, H, W).
        dtype: of the values.
        frames: called with the first frame's index, yields frames (H, W) or (1, H, W) from there on.
        options: threshold, objects.

    Raises:
        ValueError: the shape, or an option does not fit.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        frames: Callable[[int], Iterator[Any]],
        options: InputOptions,
    ) -> None:
        super().__init__()
        self.name = name
        if dtype.kind not in "buif":
            raise TypeError(f"{name}: expected bool, integers or floats, found {dtype}")
        try:
            self.count, height, width = frame_shape(shape)
            self._meaning = Meaning(options)
            self._meaning.begin(dtype)
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from None
        self.size = (width, height)
        self.threshold = self._meaning.threshold
        self._frames = frames
        self.found = f"{name}, {self.count} frames of {self._meaning.said}"

    def read(self, first: int) -> Iterator[Matte]:
        assert self.count is not None
        for number, frame in zip(range(first, self.count), self._frames(first), strict=True):
            yield _converted(self.name, number, frame, self.size, self._meaning)

    @classmethod
    def of(cls, name: str, stack: Any, options: InputOptions) -> StackReader:
        """A reader of an array of any library. Only one frame at a time is converted."""
        shape = tuple(int(edge) for edge in stack.shape)
        one = as_array(stack[0] if len(shape) > 2 and shape[0] else stack) if not hasattr(stack, "dtype") else None
        dtype = _dtype_of(stack) if one is None else one.dtype

        def frames(first: int) -> Iterator[Any]:
            if len(shape) == 2:
                yield stack
                return
            for number in range(first, shape[0]):
                yield stack[number]

        return cls(name, shape, dtype, frames, options)


class PackedReader(Reader):
    """
    Masks of one bit a pixel, eight pixels in a byte, the lowest bit first.

    Args:
        name: the input's name in messages.
        shape: (N, H, bytes of a row) or (H, bytes of a row).
        dtype: of the array; must be uint8.
        frames: called with the first frame's index, yields frames (H, bytes of a row) from there on.
        width: pixels of a row.

    Raises:
        ValueError: the shape or the dtype is another one, or does not fit the width.
    """

    threshold = None

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        frames: Callable[[int], Iterator[Any]],
        width: int,
    ) -> None:
        super().__init__()
        self.name = name
        if dtype != np.uint8 or len(shape) not in (2, 3) or shape[-1] != (width + 7) // 8:
            raise ValueError(
                f"{name}: expected bytes of the shape (frames, height, {(width + 7) // 8}) for packed masks that are"
                f" {width} pixels wide, found {dtype} {shape}; check native_size"
            )
        self.count = shape[0] if len(shape) == 3 else 1
        self.size = (width, shape[-2])
        check_size("size of the frames", self.size)
        self._frames = frames
        self.found = f"{name}, {self.count} frames of packed bits"

    def read(self, first: int) -> Iterator[Matte]:
        for frame in self._frames(first):
            bits = np.ascontiguousarray(as_array(frame))
            yield unpack(bits, self.size[0])

    @classmethod
    def of(cls, name: str, stack: Any, options: InputOptions) -> PackedReader:
        """A reader of an array. Its width is that of the option `native_size`, or eight pixels for each byte."""
        shape = tuple(int(edge) for edge in stack.shape)
        for option in ("threshold", "objects"):
            if getattr(options, option) is not None:
                raise ValueError(f"{option}: {name} is packed, so its values are masks; leave it out")

        def frames(first: int) -> Iterator[Any]:
            if len(shape) == 2:
                yield stack
                return
            for number in range(first, shape[0]):
                yield stack[number]

        width = options.native_size[0] if options.native_size else 8 * shape[-1]
        return cls(name, shape, _dtype_of(stack), frames, width)


def _dtype_of(stack: Any) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(stack.dtype)
        return dtype
    except TypeError:  # torch.float32 and its like
        one = as_array(stack[:1])
        return one.dtype


class IterableReader(Reader):
    """
    Frames of an iterable of 2-D arrays. If it is an iterator, such as a generator, it can be read once.

    Its own exceptions pass unchanged: it runs in the caller's thread, and the caller knows them.

    Args:
        name: the input's name in messages.
        frames: the iterable, of arrays (H, W) or (1, H, W).
        options: threshold, objects.
        default: the threshold of floats if the options have none.

    Raises:
        ValueError: there is no frame, or the first frame needs an option.
    """

    def __init__(self, name: str, frames: Any, options: InputOptions, *, default: float | None = None) -> None:
        super().__init__()
        self.name = name
        self._source = frames
        self._iterator: Iterator[Any] = iter(frames)
        self._is_once = self._iterator is frames
        self._next = 0
        if hasattr(frames, "__len__"):
            self.count = len(frames)
        try:
            self._ahead: Any = as_array(next(self._iterator))
        except StopIteration:
            raise ValueError(f"{name}: expected at least one frame, found none") from None
        self._meaning = Meaning(options, default)
        self._meaning.begin(self._ahead.dtype)
        self.threshold = self._meaning.threshold
        count, height, width = frame_shape(self._ahead.shape)
        if count != 1:
            raise ValueError(f"{name}, frame 0: expected the shape (height, width), found {self._ahead.shape}")
        self.size = (width, height)
        frames_said = "frames" if self.count is None else f"{self.count} frames"
        self.found = f"{name}, {frames_said} of {self._meaning.said}"

    def read(self, first: int) -> Iterator[Matte]:
        if not self._is_once:
            frames: Iterator[tuple[int, Any]] = enumerate(self._source)
        elif first < self._next:
            raise ValueError(
                f"{self.name}: an iterator can be read once, and frame {first} is behind; pass a list or another "
                "iterable that can be read again"
            )
        else:
            frames = self._rest()
        for number, frame in frames:
            if number >= first:
                yield _converted(self.name, number, frame, self.size, self._meaning)

    def _rest(self) -> Iterator[tuple[int, Any]]:
        """The frames of an iterator that were not taken yet, with their numbers."""
        while True:
            if self._ahead is None:
                try:
                    self._ahead = next(self._iterator)
                except StopIteration:
                    return
            frame, number = self._ahead, self._next
            self._ahead, self._next = None, number + 1
            yield number, frame


def _converted(name: str, number: int, frame: Any, size: tuple[int, int], meaning: Meaning) -> Matte:
    try:
        array = as_array(frame)
        if array.ndim == 3 and array.shape[0] == 1:
            array = array[0]
        if array.shape != (size[1], size[0]):
            raise ValueError(f"expected the shape {(size[1], size[0])}, found {array.shape}")
        return meaning.matte(array)
    except (ValueError, TypeError) as exc:
        if isinstance(exc, DecodeError):
            raise
        raise type(exc)(f"{name}, frame {number}: {exc}") from None
