"""
Mask: encodes one mask after another to geometry, exactly or within a tolerance, and verifies the result.

Every geometry is rasterized before it is returned. The search is not trusted: if an exact geometry draws a wrong pixel,
unit steps along the borders are written instead, and the log says so. If a tolerant geometry is too far from the mask,
the tolerance is halved, and at last the exact geometry is written.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from .._geometry.bits import words_of
from .._geometry.frame import FrameGeometry, check_geometry
from .._geometry.size import check_size
from .._raster.coverage import rasterize, rasterize_packed
from .blocks import check_effort, encode_block
from .chains import Chains, Room
from .compiled import kernels
from .costs import FIRST_COSTS
from .paths import ExactPaths, Paths, cheaper_of, tolerant_paths, unit_steps

__all__ = ["MaskEncoder", "count_pixels", "encode_mask", "optimize_geometry"]

Mask = npt.NDArray[np.bool_] | npt.NDArray[np.uint8]
Costs = npt.NDArray[np.float64]

MAX_TOLERANCE: Final = 64.0
"""In pixels. A coarser mask is better made by scaling it."""
REACH: Final = 1.0
"""Pixels that a pixel may change beyond the tolerance: a line is drawn half a pixel beside its segment, and the nearest
pixel of a border is a little farther than the border."""
_STABLE_BITS: Final = 3.0
"""What a vertex costs less that was one in the frame before. It cuts the flicker of a still, noisy source to less than
half at equal bytes."""
_SLACK: Final = {1: 0.0, 2: 2.0, 3: 6.0}
"""For each effort, in bits: dearer segments are not kept for another round (exact.py)."""
_ROUNDS: Final = {1: 1, 2: 4, 3: 8}
"""For each effort: the rounds, the first of which has fixed costs and the others learned ones."""
_LEAST_TOLERANCE: Final = 0.25
"""In pixels: a smaller tolerance allows nothing but exact geometry."""

_logger = logging.getLogger("alphastream_gpu")


def encode_mask(
    mask: npt.ArrayLike,
    tolerance: float = 0.0,
    min_area: int = 0,
    *,
    threshold: float | None = None,
) -> FrameGeometry:
    """
    Encode a mask as polygons.

    With a tolerance of 0, ``rasterize(result, native_size=(width, height))`` equals the mask in every bit. Above 0,
    every pixel that differs is at most `tolerance` + 1 pixels from the border of the mask: from a set pixel that has an
    unset pixel, or the edge of the mask, on one of its four sides.

    Args:
        mask: bool or uint8 (height, width), 1..16384 each, of 0 and 1 or of 0 and 255; row 0 at the top. Any strides;
            not kept, not changed. With a `threshold`, any real dtype.
        tolerance: 0..64 pixels. 1 halves the size of noisy masks.
        min_area: in pixels. Components of fewer set pixels are removed, then holes of fewer unset pixels are filled.
            Pixels that touch at a corner belong to one component, but not to one hole. What is said above is then true
            of the mask after that.
        threshold: set the pixels above this value.

    Returns:
        The geometry: a channel for each component.

    Raises:
        ValueError: the mask has other values, another shape, or NaNs; or an argument is outside its range.
        TypeError: the mask has another dtype, and there is no `threshold`.
        ImportError: numba is not installed; the message has the command that installs it.
    """
    binary = _binary(mask, threshold)
    height, width = binary.shape
    return MaskEncoder((width, height), tolerance=tolerance, min_area=min_area, stable=False).encode(binary)


class MaskEncoder:
    """
    Encodes the masks of a stream, one after another. For one thread at a time.

    Exact encoding (`tolerance` 0) keeps nothing from mask to mask.

    Args:
        native_size: ``(width, height)`` of all masks, 1..16384 pixels each. If omitted, the first mask sets it.
        tolerance: 0..64 pixels, see :func:`encode_mask`.
        min_area: in pixels, see :func:`encode_mask`.
        effort: 1..3. 1 is the fastest; 2 searches twice, and takes 2 % off; 3 also tries each border in both
            directions, and takes another 1 % off.
        stable: prefer the vertices of the mask before, so that a still outline does not flicker. Without effect if
            `tolerance` is 0.

    Raises:
        ValueError: an argument is outside its range.
    """

    def __init__(
        self,
        native_size: tuple[int, int] | None = None,
        *,
        tolerance: float = 0.0,
        min_area: int = 0,
        effort: int = 2,
        stable: bool = True,
    ) -> None:
        self._native_size = None if native_size is None else check_size("native_size", native_size)
        if not 0.0 <= tolerance <= MAX_TOLERANCE:  # also refuses NaN
            raise ValueError(f"tolerance: expected 0..{MAX_TOLERANCE:g} pixels, found {tolerance!r}")
        if not min_area >= 0:
            raise ValueError(f"min_area: expected 0 pixels or more, found {min_area!r}")
        self._tolerance = float(tolerance)
        self._min_area = math.ceil(min(min_area, 1 << 62))
        self._effort = check_effort(effort)
        self._stable = bool(stable)
        self._last_points: npt.NDArray[np.int32] | None = None

    @property
    def native_size(self) -> tuple[int, int] | None:
        """``(width, height)`` of the masks in pixels; None if it was omitted and there was no mask yet."""
        return self._native_size

    def encode(self, mask: npt.ArrayLike) -> FrameGeometry:
        """
        Encode the next mask.

        Args:
            mask: bool or uint8 (height, width), as of :func:`encode_mask`.

        Returns:
            The geometry, with the guarantee of :func:`encode_mask`.

        Raises:
            ValueError: the mask has another size or other values.
            TypeError: the mask is neither bool nor uint8.
            ImportError: numba is not installed; the message has the command that installs it.
        """
        binary = _binary(mask, None)
        size = binary.shape[1], binary.shape[0]
        if self._native_size is None:
            self._native_size = size
        elif self._native_size != size:
            expected = "{} x {}".format(*self._native_size)
            raise ValueError(
                f"mask: expected {expected} pixels, as native_size or the first mask, found {size[0]} x {size[1]}"
            )
        return self._next(Room(binary), size)

    def encode_packed(self, mask: npt.NDArray[np.uint8]) -> FrameGeometry:
        """
        Encode the next mask, with eight pixels in a byte.

        Args:
            mask: uint8 (height, ceil(width / 8)), as :func:`rasterize_packed` returns it, of the native size. Bits at
                the end of a row that are no pixels are ignored.

        Returns:
            What :meth:`encode` returns for the same mask.

        Raises:
            ValueError: the native size is not known, or the mask has another size.
            TypeError: the mask is no array of uint8.
            ImportError: numba is not installed; the message has the command that installs it.
        """
        if not isinstance(mask, np.ndarray) or mask.dtype != np.uint8:
            found = f"an array of {mask.dtype}" if isinstance(mask, np.ndarray) else type(mask).__name__
            raise TypeError(f"mask: expected an array of uint8, found {found}")
        if self._native_size is None:
            raise ValueError("native_size: packed masks do not tell their width; pass it to MaskEncoder")
        width, height = self._native_size
        if mask.shape != (height, -(-width // 8)):
            raise ValueError(
                f"mask: expected the shape {(height, -(-width // 8))} for {width} x {height} pixels, found {mask.shape}"
            )
        # The compiled functions take arrays that can be written, although they write only to others.
        return self._next(Room.of_packed(np.require(mask, requirements=("C", "W")), width), self._native_size)

    def _next(self, room: Room, size: tuple[int, int]) -> FrameGeometry:
        geometry = self._encoded(room, size)
        self._last_points = geometry.points
        return geometry

    def reset(self) -> None:
        """Forget the last mask, as before an unrelated one. The native size is kept."""
        self._last_points = None

    def __repr__(self) -> str:
        return f"<MaskEncoder {self._native_size} tolerance={self._tolerance:g} effort={self._effort}>"

    def _encoded(self, room: Room, size: tuple[int, int]) -> FrameGeometry:
        if self._min_area > 1:
            room.remove_small(self._min_area, 0)
        tolerance = self._tolerance
        while tolerance >= _LEAST_TOLERANCE:
            geometry = self._tolerant(room, tolerance)
            farthest = room.farthest_difference(rasterize(geometry, native_size=size), self._tolerance + REACH)
            if farthest <= self._tolerance + REACH:
                return geometry
            _logger.debug("a mask within %g pixels was too far from the input; trying half", tolerance)
            tolerance /= 2
        return _exact(room, size, self._effort)

    def _tolerant(self, room: Room, tolerance: float) -> FrameGeometry:
        copy = room.copy()
        copy.remove_small(0, int(2 * tolerance - 1))
        chains = Chains.of(copy)
        bonus = self._bonus(chains)
        rounds = _rounds(lambda costs: tolerant_paths(chains, tolerance, costs, bonus), min(_ROUNDS[self._effort], 2))
        return min((paths.geometry(is_exact=False) for paths in rounds), key=_block_bytes)

    def _bonus(self, chains: Chains) -> Costs:
        """Bits that vertices of the last mask cost less. float64 (n,), for the pixels of the chains."""
        last = self._last_points
        if not self._stable or last is None or not len(last):
            return np.zeros(len(chains.x))
        was_vertex = np.isin(_keys(chains.x, chains.y), _keys(last[:, 0], last[:, 1]))
        return np.where(was_vertex, _STABLE_BITS, 0.0)


def optimize_geometry(geometry: FrameGeometry, native_size: tuple[int, int], effort: int = 3) -> FrameGeometry:
    """
    Encode the mask of a frame anew, exactly.

    Points outside the window and crossing outlines are no obstacle, because the frame is rasterized first.

    Args:
        geometry: the frame.
        native_size: ``(width, height)`` of the grid that the points are on, 1..16384 pixels each.
        effort: 1..3, see :class:`MaskEncoder`.

    Returns:
        A frame with the same mask at native size and with fewer bytes in its block, if there is one; else `geometry`
        itself. The blocks are compared as :func:`encode_block` makes them.

    Raises:
        ValueError: an argument is outside its range.
        ImportError: numba is not installed; the message has the command that installs it.
    """
    check_geometry("geometry", geometry)
    size = check_size("native_size", native_size)
    found = _exact(Room(rasterize(geometry, native_size=size)), size, check_effort(effort))
    try:
        old = encode_block(geometry.to_payload(), effort)
    except ValueError:  # the format cannot hold the old one
        return found
    return found if len(encode_block(found.to_payload(), effort)) < len(old) else geometry


def count_pixels(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """
    Compare two masks of one size, packed as by ``rasterize_packed``, both writable.

    Returns:
        The number of pixels that are set in one of them or in both, and the number of those that differ.
    """
    n_set, n_differing = kernels().count_pixels(words_of(first).reshape(-1), words_of(second).reshape(-1))
    return n_set, n_differing


def _exact(room: Room, size: tuple[int, int], effort: int) -> FrameGeometry:
    """The geometry of the room's mask, verified."""
    chains = Chains.of(room)
    geometry = _search(chains, effort)
    if room.is_equal(rasterize_packed(geometry, native_size=size)):
        return geometry
    _logger.error(
        "encoding: a mask of %d x %d came out wrong, so it is written in unit steps; please report this", *size
    )
    return unit_steps(chains).geometry(is_exact=True)


def _search(chains: Chains, effort: int) -> FrameGeometry:
    """The exact geometry of a mask, not verified."""
    forward = ExactPaths(chains, _SLACK[effort])
    # The last round is the best but for a byte or two, so the others are not compressed.
    paths, _ = forward.cheapest(FIRST_COSTS, _ROUNDS[effort] if forward.is_kept else 1)
    geometry = paths.geometry(is_exact=True)
    if effort < 3 or not forward.is_kept:
        return geometry
    reversed_chains, order = chains.backward()
    backward = ExactPaths(reversed_chains, _SLACK[effort])

    def cheaper(costs: Costs) -> Paths:
        return cheaper_of(forward.cheapest(costs), backward.cheapest(costs), order)

    return min(
        (geometry, *(found.geometry(is_exact=True) for found in _rounds(cheaper, _ROUNDS[effort]))), key=_block_bytes
    )


def _rounds(search: Callable[[Costs], Paths], n_rounds: int) -> Iterator[Paths]:
    """Search several times, with costs that are learned from the result before."""
    paths = search(FIRST_COSTS)
    yield paths
    for _ in range(n_rounds - 1):
        paths = search(paths.learned_costs())
        yield paths


def _block_bytes(geometry: FrameGeometry) -> int:
    return len(encode_block(geometry.to_payload(), 2))


def _binary(mask: npt.ArrayLike, threshold: float | None) -> Mask:
    """The mask as an array of two dimensions, bool or uint8. Its values are checked later, where they are copied."""
    array = np.asarray(mask)
    if array.ndim != 2:
        raise ValueError(f"mask: expected the shape (height, width), found {array.shape}")
    check_size("mask", (array.shape[1], array.shape[0]))
    if threshold is None:
        if array.dtype not in (np.dtype(np.bool_), np.dtype(np.uint8)):
            raise TypeError(f"mask: expected bool or uint8, found {array.dtype}; pass threshold= for other values")
        return array
    if array.dtype.kind not in "biuf":
        raise TypeError(f"mask: expected real numbers, found {array.dtype}")
    if not math.isfinite(threshold):
        raise ValueError(f"threshold: expected a finite number, found {threshold!r}")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError("mask: expected numbers, found NaN")
    return array > threshold


def _keys(x: npt.NDArray[np.int32], y: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    return (y.astype(np.int64) << 32) + x
