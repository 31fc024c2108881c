"""
MaskArray: the masks of a stream as one lazy array.

Strategy
--------
Nothing is read before it is indexed. An index selects frames, rows and columns (indexing.py). The frames are read in
batches, each once, and only the rows and columns that are wanted are rasterized, straight into the result. So no mask
is kept: a mask takes 3,000 times the bytes of its frame in the file, and rasterizing it again takes less time than most
caches do.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from math import prod
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from .._exceptions import ClosedError
from .._geometry.aligned import aligned_empty
from .._raster.coverage import drawn
from .._raster.grid import Grid, crop_of
from .._stream.stream import AlphaStream
from .indexing import Part, Selection, selected
from .reopening import Recipe, close_kept, reopened

if TYPE_CHECKING:
    import dask.array

__all__ = ["MaskArray", "reopening_copy", "stream_of"]

_BATCH_FRAMES: Final = 64
"""Frames whose geometry is read at a time: some 40 KB of a file."""
_MOST_CONVERTED: Final = 1 << 30
"""Bytes up to which ``numpy.asarray`` makes an array of all masks. A stream of five minutes is 37 GB."""


class MaskArray:
    """
    The masks of a stream as an array of shape (frames, height, width), made by :func:`open_array`.

    Indexing returns new numpy arrays, exactly as the array of all masks would: by integers, slices with any step,
    ``...``, and one list or one-dimensional array of integers or bools. :attr:`oindex` takes one for each axis. Only
    the frames that are indexed are read, and only the rows and columns that are indexed are rasterized. Anything else
    raises IndexError, with the reason.

    ``len(masks)`` is the number of frames. Iterating gives one mask after the other, and reads frames in batches.
    All methods may be called from any thread.

    The array can be pickled if its source is a path, a URL without user and query, a callable that can be pickled, or
    bytes, and its key is None or a :class:`KeyFromEnvironment`. No secret is pickled. The copy opens the source again
    when it is first indexed, once in each process, also after a fork, and refuses a file that has changed.

    It has no methods of numpy's arrays: ``masks[10:20].sum()`` computes with a part, and :meth:`to_dask` makes an array
    that computes with all of it, part by part.
    """

    _recipe: Recipe
    _stream: AlphaStream | None
    """Opened with this object; None in a copy."""
    _process: int
    """That has the stream."""
    _n_frames: int
    _size: tuple[int, int]
    _dtype: np.dtype[Any]
    _chunk_frames: int
    _is_closed: bool

    def __init__(self) -> None:
        raise TypeError("a MaskArray is made by open_array()")

    @classmethod
    def _made(
        cls,
        recipe: Recipe,
        stream: AlphaStream | None,
        *,
        n_frames: int,
        size: tuple[int, int],
        dtype: np.dtype[Any],
        chunk_frames: int,
    ) -> MaskArray:
        masks = cls.__new__(cls)
        masks._recipe = recipe
        masks._stream = stream
        masks._process = os.getpid()
        masks._n_frames = n_frames
        masks._size = size
        masks._dtype = dtype
        masks._chunk_frames = chunk_frames
        masks._is_closed = False
        if stream is not None:
            weakref.finalize(masks, _close_later, stream).atexit = False
        return masks

    @property
    def shape(self) -> tuple[int, int, int]:
        """The number of frames, and the height and the width of a mask in pixels."""
        return self._n_frames, self._size[1], self._size[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """``uint8`` for 0 and 255, or ``bool``."""
        return self._dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions, 3, which are frames, rows and columns."""
        return 3

    @property
    def size(self) -> int:
        """The number of pixels of all masks, as in numpy."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes that all masks would take in memory."""
        return self.size * self._dtype.itemsize

    @property
    def chunks(self) -> tuple[int, int, int]:
        """The shape of a part that is read well at a time, as a number of frames, the height and the width."""
        return self._chunk_frames, self._size[1], self._size[0]

    @property
    def fps(self) -> Fraction:
        """Frames per second, of the configuration."""
        return self._recipe.config.fps

    @property
    def native_size(self) -> tuple[int, int]:
        """The width and the height in pixels of the grid that the polygons are on, of the configuration."""
        return self._recipe.config.native_size

    @property
    def fingerprint(self) -> str:
        """Names the content of the file, as :attr:`AlphaStream.fingerprint`."""
        return self._recipe.fingerprint

    @property
    def oindex(self) -> OuterIndexer:
        """Indexing by several lists, each for its own axis, such as ``masks.oindex[[5, 7], :, [0, 10, 20]]``."""
        return OuterIndexer(self)

    def to_dask(self, chunk_frames: int | None = None) -> dask.array.Array:
        """
        The array as a dask array, of the same shape and dtype. Nothing is read.

        Slices of the dask array, also crops, come down to this array, so that only what they select is read and
        rasterized. A worker opens the source by itself. This needs the extra ``[arrays]``.

        Args:
            chunk_frames: frames in a chunk, 1 or more; :attr:`chunks` if omitted.

        Raises:
            ValueError: `chunk_frames` is outside its range.
            ImportError: dask is not installed.
        """
        from .dasks import dask_array

        return dask_array(self, chunk_frames)

    def close(self) -> None:
        """
        Close the stream of this array. Indexing raises ClosedError from then on; copies in other processes go on.

        Raises:
            TransportError: as :meth:`AlphaStream.close`.
            NotReadyError: likewise.
        """
        self._is_closed = True
        if self._stream is None or self._process != os.getpid():
            close_kept(self._recipe)
        else:
            self._stream.close()

    def __len__(self) -> int:
        return self._n_frames

    def __getitem__(self, key: Any) -> Any:
        return self._at(selected(key, self.shape, is_outer=False))

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        grid = self._grid(range(self._size[1]), range(self._size[0]))
        for first in range(0, self._n_frames, _BATCH_FRAMES):
            with self._opened() as stream:
                geometries = stream.read_batch(range(first, min(first + _BATCH_FRAMES, self._n_frames)))
            for geometry in geometries:
                yield drawn(geometry, grid, None, self._value).view(self._dtype)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("the masks are made when they are indexed, so numpy cannot have them without a copy")
        if self.nbytes > _MOST_CONVERTED:
            raise ValueError(
                f"all {self._n_frames} masks would take {self.nbytes / 1e9:.1f} GB of memory. Index a part of them,"
                " iterate over them, or use to_dask(), which computes part by part; masks[:] takes the memory"
            )
        masks: npt.NDArray[Any] = self[:]
        return masks if dtype is None else masks.astype(dtype, copy=False)

    def __enter__(self) -> MaskArray:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = " closed" if self._is_closed else ""
        return f"<MaskArray {' x '.join(map(str, self.shape))} {self._dtype}{state}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _copy_of, (self._recipe, self._n_frames, self._size, self._dtype.str, self._chunk_frames)

    def __dask_tokenize__(self) -> object:
        config = self._recipe.config
        return "MaskArray", self.fingerprint, self.shape, self._dtype.str, config.native_size

    @property
    def _value(self) -> int:
        return 1 if self._dtype == np.bool_ else 255

    def _opened(self) -> AbstractContextManager[AlphaStream]:
        """The stream of this array in this process, for one call."""
        if self._is_closed:
            raise ClosedError("the array is closed")
        if self._stream is not None and self._process == os.getpid():
            return nullcontext(self._stream)
        return reopened(self._recipe)

    def _grid(self, rows: Part, columns: Part) -> Grid:
        return crop_of(self.native_size, self._size, _some(columns), _some(rows))

    def _at(self, selection: Selection) -> Any:
        frames, rows, columns = selection.parts
        block: npt.NDArray[Any] = aligned_empty(selection.lengths)
        if block.size:
            self._fill(block, _some(frames), self._grid(rows, columns))
        else:
            self._opened()  # closed or not
        return selection.shaped(block.view(self._dtype))

    def _fill(self, block: npt.NDArray[np.uint8], frames: range | npt.NDArray[np.int64], grid: Grid) -> None:
        """Rasterize frames into a block, each once, in the order of the file."""
        places: dict[int, int] = {}
        for place, index in enumerate(frames if isinstance(frames, range) else frames.tolist()):
            if index in places:
                continue
            places[index] = place
        wanted = sorted(places)
        with self._opened() as stream:
            for first in range(0, len(wanted), _BATCH_FRAMES):
                batch = wanted[first : first + _BATCH_FRAMES]
                for index, geometry in zip(batch, stream.read_batch(batch), strict=True):
                    drawn(geometry, grid, block[places[index]], self._value)
        if len(places) < len(frames):
            for place, index in enumerate(map(int, frames)):
                if places[index] != place:
                    block[place] = block[places[index]]


class OuterIndexer:
    """
    Indexes an array by a list for each axis.
    """

    def __init__(self, masks: MaskArray) -> None:
        self._masks = masks

    def __getitem__(self, key: Any) -> Any:
        return self._masks._at(selected(key, self._masks.shape, is_outer=True))


def _some(part: Part) -> range | npt.NDArray[np.int64]:
    return range(part, part + 1) if isinstance(part, int) else part


def _close_later(stream: AlphaStream) -> None:
    """Close the stream of an array that was dropped, without waiting: this may be any thread."""
    stream._lifetime.hand_over()


def stream_of(masks: MaskArray) -> AbstractContextManager[AlphaStream]:
    """
    The stream of an array in this process, for one call. It stays open afterwards.

    Raises:
        ClosedError: the array is closed.
        AlphaStreamError: the source cannot be opened again.
    """
    return masks._opened()


def reopening_copy(masks: MaskArray) -> MaskArray:
    """
    A copy that opens the source when it is first used, as a copy in another process does. So a program can hold the
    arrays of many files, and few of them are open.
    """
    return _copy_of(masks._recipe, masks._n_frames, masks._size, masks._dtype.str, masks._chunk_frames)


def _copy_of(recipe: Recipe, n_frames: int, size: tuple[int, int], dtype: str, chunk_frames: int) -> MaskArray:
    return MaskArray._made(recipe, None, n_frames=n_frames, size=size, dtype=np.dtype(dtype), chunk_frames=chunk_frames)
