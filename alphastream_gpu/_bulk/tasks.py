"""
Tasks: what is computed of a span of frames. Top-level pure functions of (array, start, stop), which know no engine.

Strategy
--------
A task can be pickled with its arguments, and returns small arrays, one value a frame. It may run twice, in any order
and in any process. Masks are computed with one bit a pixel: 256 KB at 2048 x 1024 in place of 2 MB, whose memory is
used again for the next frame (aligned.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from .._arrays import MaskArray, stream_of
from .._exceptions import GLUnavailableError
from .._geometry.bits import count_set, pack, words_of
from .._geometry.frame import FrameGeometry
from .._raster import rasterize_packed
from .._raster.coverage import packed_by

__all__ = [
    "AGAINST",
    "FIELDS",
    "METHODS",
    "Columns",
    "Words",
    "chosen_fields",
    "iou_of",
    "moments_of",
    "statistics_of",
    "verification_of",
]

Columns: TypeAlias = dict[str, npt.NDArray[Any]]
"""One value a frame, by the names of columns."""
Words: TypeAlias = npt.NDArray[np.uint64]
"""A mask, (height, ceil(width / 64)): pixel x is bit ``x % 64`` of word ``x // 64``."""

FIELDS: Final = ("area", "box", "centroid", "channels", "points", "bytes")
"""What :func:`statistics_of` can compute."""
METHODS: Final = ("compiled", "numpy", "compute", "triangles")
"""What makes the masks of :func:`verification_of`: the two twins of the CPU, and the methods of a MaskRenderer."""
AGAINST: Final = ("numpy", "compiled")
_BATCH_FRAMES: Final = 64
"""Frames whose geometry is in memory at a time. One of a hostile file may take 32 MB."""
_OF_FIELD: Final = {
    "area": ("area",),
    "box": ("left", "top", "right", "bottom"),
    "centroid": ("x", "y"),
    "channels": ("channels",),
    "points": ("points",),
    "bytes": ("bytes",),
}
_WITH_BIT: Final = tuple(np.uint64(sum(1 << bit for bit in range(64) if bit >> place & 1)) for place in range(6))
"""The bits of a word whose place has the bit `place`: the sum of the places is made of six counts."""


def chosen_fields(fields: str | Sequence[str]) -> tuple[str, ...]:
    """
    The fields that a caller chose, in the order of :data:`FIELDS`.

    Raises:
        ValueError: one is unknown, or there is none.
    """
    wanted = [fields] if isinstance(fields, str) else list(fields)
    unknown = [field for field in wanted if field not in FIELDS]
    if unknown or not wanted:
        found = ", ".join(map(repr, unknown)) or "none"
        raise ValueError(f"fields: expected some of {', '.join(FIELDS)}, found {found}")
    return tuple(field for field in FIELDS if field in wanted)


def statistics_of(array: MaskArray, start: int, stop: int, *, fields: Sequence[str] = FIELDS) -> Columns:
    """
    The figures of the frames ``start..stop - 1`` of a stream.

    Args:
        array: the stream, with the size of the masks.
        start: the first frame, from 0.
        stop: one past the last frame.
        fields: which figures.

    Returns:
        Arrays of one value a frame. ``area`` int64: set pixels. ``left``, ``top``, ``right``, ``bottom`` int64: the
        bounding box of the set pixels, inclusive; 0, 0, -1, -1 for an empty mask. ``x``, ``y`` float64: the centroid of
        the set pixels, as the mean of their coordinates; NaN for an empty mask. ``channels``, ``points`` int64: of the
        frame. ``bytes`` int64: of the frame as stored.

    Raises:
        FrameNotFoundError: the range is outside the stream.
        DecodeError: a frame is malformed.
        TransportError: the source cannot be read, or has changed.
        FrameTimeoutError: the source took longer than its deadline.
        NotReadyError: the source cannot be opened.
        ClosedError: the array is closed.
        ValueError: an argument is outside its range.
    """
    n_frames, size = max(0, stop - start), array.shape[:0:-1]
    columns = [column for field in chosen_fields(fields) for column in _OF_FIELD[field]]
    found: Columns = {name: np.zeros(n_frames, np.float64 if name in ("x", "y") else np.int64) for name in columns}
    has_moments, has_area = "left" in found or "x" in found, "area" in found
    if n_frames and "bytes" in found:
        with stream_of(array) as stream:
            found["bytes"][:] = np.diff(stream._lifetime.open_session().reader.index.offsets[start : stop + 1])
    if set(columns) <= {"bytes"}:
        return found
    for place, geometry in enumerate(_geometries(array, start, stop)):
        if has_moments:
            words = words_of(rasterize_packed(geometry, size, native_size=array.native_size))
            for name, value in moments_of(words).items():
                if name in found:
                    found[name][place] = value
        elif has_area:
            found["area"][place] = count_set(rasterize_packed(geometry, size, native_size=array.native_size))
        if "channels" in found:
            found["channels"][place] = geometry.channel_count
        if "points" in found:
            found["points"][place] = len(geometry.points)
    return found


def iou_of(array: MaskArray, other: MaskArray, start: int, stop: int) -> Columns:
    """
    Compare the masks of the frames ``start..stop - 1`` of two streams.

    Args:
        array: one stream.
        other: the other one, with masks of the same size.
        start: the first frame, from 0.
        stop: one past the last frame.

    Returns:
        Arrays of one value a frame. ``iou`` float64: intersection over union, 0..1; 1 for two empty masks.
        ``differing_pixels`` int64: pixels that are set in one mask only. ``area``, ``other_area`` int64: set pixels.

    Raises:
        FrameNotFoundError: the range is outside the stream.
        DecodeError: a frame is malformed.
        TransportError: the source cannot be read, or has changed.
        FrameTimeoutError: the source took longer than its deadline.
        NotReadyError: the source cannot be opened.
        ClosedError: the array is closed.
        ValueError: an argument is outside its range.
    """
    n_frames = max(0, stop - start)
    found: Columns = {name: np.zeros(n_frames, np.int64) for name in ("differing_pixels", "area", "other_area")}
    iou = np.ones(n_frames)
    pairs = zip(_geometries(array, start, stop), _geometries(other, start, stop), strict=True)
    for place, (one, two) in enumerate(pairs):
        first = rasterize_packed(one, array.shape[:0:-1], native_size=array.native_size)
        second = rasterize_packed(two, other.shape[:0:-1], native_size=other.native_size)
        differing, union = count_set(first ^ second), count_set(first | second)
        found["differing_pixels"][place] = differing
        found["area"][place], found["other_area"][place] = count_set(first), count_set(second)
        iou[place] = 1.0 - differing / union if union else 1.0
    return {"iou": iou, **found}


def verification_of(
    array: MaskArray, start: int, stop: int, *, method: str = "compiled", against: str = "numpy"
) -> Columns:
    """
    Compare the native masks of the frames ``start..stop - 1`` that two methods make.

    Args:
        array: the stream. Its size does not count.
        start: the first frame, from 0.
        stop: one past the last frame.
        method: ``"compiled"`` or ``"numpy"``, the twins of the CPU; or ``"compute"`` or ``"triangles"``, methods of a
            :class:`alphastream_gpu.MaskRenderer`, which gets a context of its own for the task.
        against: ``"numpy"`` or ``"compiled"``.

    Returns:
        ``differing_pixels`` int64 (frames,): pixels that differ.

    Raises:
        FrameNotFoundError: the range is outside the stream.
        DecodeError: a frame is malformed.
        TransportError: the source cannot be read, or has changed.
        FrameTimeoutError: the source took longer than its deadline.
        NotReadyError: the source cannot be opened.
        ClosedError: the array is closed.
        ValueError: an argument is outside its range.
        GLUnavailableError: there is no OpenGL, or no method that is exact, for a method of the renderer.
        WrongContextError: another context is current on this thread.
        ImportError: numba is missing, for ``"compiled"``.
    """
    found = np.zeros(max(0, stop - start), np.int64)
    with _maker(method, array.native_size) as made, _maker(against, array.native_size) as expected:
        for place, geometry in enumerate(_geometries(array, start, stop)):
            found[place] = count_set(made(geometry) ^ expected(geometry))
    return {"differing_pixels": found}


def moments_of(words: Words) -> dict[str, float]:
    """The area, the bounding box and the centroid of a mask, by the names of their columns. Sums are exact."""
    used = np.flatnonzero(words.any(axis=1))
    if not used.size:
        return {"area": 0, "left": 0, "top": 0, "right": -1, "bottom": -1, "x": np.nan, "y": np.nan}
    top, bottom = int(used[0]), int(used[-1])
    words = words[top : bottom + 1]
    counts = np.bitwise_count(words)
    of_rows, of_columns = counts.sum(axis=1, dtype=np.int64), counts.sum(axis=0, dtype=np.int64)
    area = int(of_rows.sum())
    sum_of_y = int(of_rows @ np.arange(top, bottom + 1))
    sum_of_x = 64 * int(of_columns @ np.arange(of_columns.size))
    for place, mask in enumerate(_WITH_BIT):
        sum_of_x += int(np.bitwise_count(words & mask).sum(dtype=np.int64)) << place
    row = np.bitwise_or.reduce(words, axis=0).astype("<u8").view(np.uint8)
    columns = np.flatnonzero(np.unpackbits(row, bitorder="little"))
    left, right = int(columns[0]), int(columns[-1])
    return {
        "area": area,
        "left": left,
        "top": top,
        "right": right,
        "bottom": bottom,
        "x": sum_of_x / area,
        "y": sum_of_y / area,
    }


def _geometries(array: MaskArray, start: int, stop: int) -> Iterator[FrameGeometry]:
    for first in range(start, stop, _BATCH_FRAMES):
        with stream_of(array) as stream:
            batch = stream.read_batch(range(first, min(stop, first + _BATCH_FRAMES)))
        yield from batch


@contextmanager
def _maker(method: str, native_size: tuple[int, int]) -> Iterator[Callable[[FrameGeometry], npt.NDArray[np.uint8]]]:
    """What makes packed native masks by a method."""
    if method in AGAINST:
        yield packed_by(method, native_size)
        return
    from .._context.headless import create_headless_context
    from .._gl import MaskRenderer

    with ExitStack() as stack:
        context = create_headless_context()
        stack.callback(context.release)
        renderer = stack.enter_context(MaskRenderer(context, native_size=native_size, method=method))  # type: ignore[arg-type]
        if renderer.method != method:
            raise GLUnavailableError(
                f"{method}: expected exact masks, found wrong ones in the self-check, by {context.info['GL_RENDERER']}"
            )
        yield lambda geometry: pack(renderer.read(renderer.render(geometry)))
