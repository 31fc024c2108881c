"""
Compiled: the compiled twin, which makes the masks of the numpy twin in a fraction of the time, if numba is installed.

Strategy
--------
No mask waits for numba. The first masks of a process are made by numpy. After some of them, numba is imported and the
kernels of runs.py are compiled, or read from numba's cache, in a background thread. When that is done, the kernels make
the masks. A process that makes few masks never imports numba, which takes 0.2 s and 56 MB.

Frames of more runs than a real frame has are left to numpy. The kernels would need as much memory as the frame has
runs, or walk all segments for each band of rows, which takes longer than numpy does.
"""

from __future__ import annotations

import logging
import os
import threading
from functools import lru_cache
from itertools import count
from types import SimpleNamespace
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from .._geometry.aligned import aligned_empty
from .._geometry.frame import FrameGeometry
from .._runtime.kernels import Kernels
from .grid import Axis, Grid
from .resolve import resolve

__all__ = ["BEGIN_AFTER", "MAX_RUNS", "VARIABLE", "Backend", "CompiledTwin", "twin"]

Backend: TypeAlias = Literal["numba", "numpy"]
Mask = npt.NDArray[np.uint8]
Table = npt.NDArray[np.uint16]

_logger = logging.getLogger("alphastream_gpu")

VARIABLE: Final = "ALPHASTREAM_RASTERIZER"
"""The environment variable that chooses: ``auto``, ``numba`` or ``numpy``. It is read when the first mask is made."""
BEGIN_AFTER: Final = 32
"""Masks that numpy makes before numba is imported, if the choice is ``auto``. They take some 30 ms."""
MAX_RUNS: Final = 1 << 16
"""The most runs of a frame that the kernels draw; a frame of the sample has 4,500. Also the most points and channels,
so that a larger frame is left to numpy without counting its runs."""

_FRAME: Final = "Array(int32, 2, 'C', readonly=True), Array(int32, 1, 'C', readonly=True), int64, int64"
_TABLE: Final = "Array(uint16, 1, 'C', readonly=True)"
_TABLES: Final = f"{_TABLE}, {_TABLE}, {_TABLE}, {_TABLE}, int64, boolean"
_SCRATCH: Final = "int32[::1], uint32[::1], int64[::1], uint8[:, ::1]"
_KERNELS: Final = Kernels(
    "alphastream_gpu._raster.runs",
    {
        "draw": f"boolean({_FRAME}, {_TABLES}, {_SCRATCH}, uint8)",
        "draw_packed": f"boolean({_FRAME}, {_TABLES}, {_SCRATCH})",
    },
)


class _Tables(NamedTuple):
    """What ``runs.draw`` needs to know of a grid; its docstring describes the tables."""

    first_row: Table
    samples: Table
    out_row: Table
    first_column: Table
    stride: int
    is_even: bool


class _Scratch(threading.local):
    """Memory that the kernels use during a call, for each thread: 0.6 MB, of which they touch what a frame needs."""

    def __init__(self) -> None:
        self._runs = np.empty(MAX_RUNS, np.int64)
        self._arrays = self._sized(0)

    def of(self, rows: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """`changes`, `slots` and `runs` for a number of rows; ``runs.draw`` describes them."""
        if self._arrays[1].size < rows:
            self._arrays = self._sized(rows)
        return self._arrays

    def _sized(self, rows: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        return np.empty(rows + 1, np.int32), np.empty(rows, np.uint32), self._runs


class CompiledTwin:
    """
    Makes masks by compiled kernels, where and when that is possible.

    All methods may be called from any thread.

    Args:
        kernels: the functions of runs.py.
        choice: ``auto``, ``numba``, ``numpy`` or None for that of the environment.
    """

    def __init__(self, kernels: Kernels = _KERNELS, choice: str | None = None) -> None:
        self._kernels = kernels
        self._scratch = _Scratch()
        self.choose(choice)

    def choose(self, choice: str | None) -> None:
        """Change the choice, and begin to count masks anew."""
        self._choice = choice
        self._calls = count()
        self._functions: SimpleNamespace | None = None

    def load(self) -> None:
        """
        Compile the kernels now, and use them from now on, whatever the choice is.

        Raises:
            ImportError: numba is not installed, or does not work here.
        """
        self._functions = self._kernels.load()

    def use_kept(self) -> None:
        """
        Compile nothing in this process: use the kernels if numba has kept them, and numpy otherwise.

        For C hosts, in which no thread may compile. Takes some tenths of a second if numba is installed.
        """
        choice = _choice_of_environment() if self._choice is None else self._choice
        self._choice = "numpy"
        self._functions = None if choice == "numpy" else self._kernels.load_kept()

    def draw(self, geometry: FrameGeometry, grid: Grid, out: Mask | None, *, value: int = 255) -> Mask | None:
        """
        The mask of a frame, or None if numpy has to make it.

        Args:
            geometry: the frame.
            grid: the rows and columns of the mask; at least one of each.
            out: uint8 of the grid's shape, C-contiguous, gets the mask.
            value: 255 or 1, of the pixels that are set.
        """
        functions = self._functions_for(geometry)
        if functions is None:
            return None
        drawn = grid if grid.is_ascending else grid.raster
        mask = out if out is not None and drawn is grid else aligned_empty(drawn.shape)
        is_drawn = functions.draw(
            geometry.points,
            geometry.channel_offsets,
            grid.x.native,
            grid.y.native,
            *_tables(drawn),
            *self._scratch.of(grid.y.native),
            mask if type(mask) is np.ndarray else mask.view(np.ndarray),  # numba knows no subclasses
            value,
        )
        if not is_drawn:
            return None
        return mask if drawn is grid else resolve(mask, grid, out)

    def draw_packed(self, geometry: FrameGeometry, grid: Grid) -> Mask | None:
        """The mask of a frame with one bit per pixel, or None if numpy has to make it. The grid must be ascending."""
        functions = self._functions_for(geometry)
        if functions is None:
            return None
        mask: Mask = aligned_empty((grid.y.output, (grid.x.output + 7) // 8))
        is_drawn = functions.draw_packed(
            geometry.points,
            geometry.channel_offsets,
            grid.x.native,
            grid.y.native,
            *_tables(grid),
            *self._scratch.of(grid.y.native),
            mask,
        )
        return mask if is_drawn else None

    def _functions_for(self, geometry: FrameGeometry) -> SimpleNamespace | None:
        """The compiled functions; None if numpy has to draw a frame."""
        functions = self._functions or self._ready()
        if functions is None or len(geometry.points) > MAX_RUNS or len(geometry.channel_offsets) > MAX_RUNS:
            return None
        return functions

    def _ready(self) -> SimpleNamespace | None:
        """The compiled functions; None until they are compiled, which some call begins."""
        if self._choice is None:
            self._choice = _choice_of_environment()
        if self._choice == "numpy" or (self._choice == "auto" and next(self._calls) < BEGIN_AFTER):
            return None
        self._functions = self._kernels.ready()
        return self._functions


def _choice_of_environment() -> str:
    choice = os.environ.get(VARIABLE, "").strip().lower() or "auto"
    if choice not in ("auto", "numba", "numpy"):
        _logger.warning("%s: expected auto, numba or numpy, found %r; auto is used", VARIABLE, choice)
        return "auto"
    if choice == "numba" and not _KERNELS.is_installed:
        _logger.warning("%s is numba, but numba is not installed: python -m pip install numba", VARIABLE)
    return choice


@lru_cache(maxsize=32)
def _tables(grid: Grid) -> _Tables:
    """From a cache, 10 KB at 2048 x 1024."""
    x, y = grid.x, grid.y
    gaps = np.diff(y.samples)
    stride = int(gaps.min(initial=y.native)) if gaps.size else 1
    return _Tables(
        first_row=_table(y.first),
        samples=_table(np.append(y.samples, y.native)),
        out_row=_table(_first_places(y)),
        first_column=_table(x.first if x.places is None else _first_places(x)[x.first]),
        stride=stride,
        is_even=bool((gaps == stride).all()),
    )


def _first_places(axis: Axis) -> npt.NDArray[np.int64]:
    """int64 (size + 1,): the first output coordinate that shows a raster coordinate, and the number of all."""
    raster = np.arange(axis.size + 1)
    return raster if axis.places is None else np.searchsorted(axis.places, raster)


def _table(values: npt.NDArray[np.int64]) -> Table:
    """The kernels take read-only tables: an array that can be written would be another type to numba."""
    table = values.astype(np.uint16)
    table.setflags(write=False)
    return table


twin: Final = CompiledTwin()
"""The compiled twin of this process."""
