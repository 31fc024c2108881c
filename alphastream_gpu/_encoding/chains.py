"""
Chains: finds the borders of a mask, and prepares them as chains for the search for paths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .._geometry.aligned import aligned_empty, aligned_zeros
from .borders import MARGIN
from .compiled import kernels

__all__ = ["Chains", "Room"]

Bools = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int32]
Long = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


class Room:
    """
    A copy of a mask with unset pixels around it (borders.py, "Strategy").

    Args:
        mask: bool or uint8 (height, width): 0 and 1, or 0 and 255. Any strides.

    Raises:
        ValueError: the mask has other values.
    """

    def __init__(self, mask: npt.NDArray[np.bool_] | Bytes) -> None:
        height, width = mask.shape
        self._use(height, width, aligned_zeros)
        self.pixels[1:-1, MARGIN : MARGIN + self.width] = mask
        if kernels().normalize(self.flat.view(np.uint64)) == 2:
            found = np.unique(mask)
            raise ValueError(
                f"mask: expected the values 0 and 1, or 0 and 255, found {_shown(found)}; pass threshold= to choose"
                " which values are set"
            )

    @classmethod
    def of_packed(cls, bits: Bytes, width: int) -> Room:
        """A room for a mask that is packed as by ``rasterize_packed``; the bits after a row's end are ignored."""
        room = cls.__new__(cls)
        room._use(len(bits), width, aligned_empty)
        kernels().unpack(bits, width, room.words)
        return room

    def _use(self, height: int, width: int, allocate: Callable[[tuple[int]], Bytes]) -> None:
        self.height, self.width = height, width
        self.stride = MARGIN + (width // 8 + 1) * 8
        self.flat: Bytes = allocate(((height + 2) * self.stride,))
        """uint8, with a length that is a multiple of 8."""
        self.pixels: Bytes = self.flat.reshape(height + 2, self.stride)
        """uint8 (height + 2, stride), the same memory. Pixel (x, y) is at ``[y + 1, x + MARGIN]``."""

    @property
    def words(self) -> npt.NDArray[np.uint64]:
        """uint64 (height + 2, stride / 8), the same memory: eight pixels each."""
        return self.flat.view(np.uint64).reshape(self.height + 2, -1)

    def copy(self) -> Room:
        """A copy, in which no border was walked."""
        room = Room.__new__(Room)
        room.height, room.width, room.stride = self.height, self.width, self.stride
        room.flat = self.flat.copy()
        room.pixels = room.flat.reshape(self.pixels.shape)
        kernels().normalize(room.flat.view(np.uint64))
        return room

    def places(self, x: Int, y: Int) -> Long:
        """Indices of pixels in :attr:`flat`. int64 (n,)."""
        places: Long = (y.astype(np.int64) + 1) * self.stride + x + MARGIN
        return places

    def remove_small(self, min_area: int, max_extent: int) -> None:
        """
        Remove small components, then fill small holes.

        Args:
            min_area: in pixels; regions of fewer pixels are small.
            max_extent: in pixels; regions that are no wider and no taller are small.
        """
        for are_holes in (False, True):
            chains = Chains.of(self)
            of_kind = np.flatnonzero(chains.is_hole == are_holes)
            first = chains.offsets[of_kind]
            places = self.places(chains.x[first] + int(are_holes), chains.y[first])
            kernels().normalize(self.flat.view(np.uint64))
            if len(places) and max_extent > 0:
                is_small = (chains.extents()[of_kind] - 2 * int(are_holes)) <= max_extent
                self._flip(places[is_small], np.iinfo(np.int64).max, are_holes)
                places = places[~is_small]
            if min_area > 1:
                self._flip(places, min_area, are_holes)

    def _flip(self, places: Long, least_area: int, are_holes: bool) -> None:
        kernels().flip_small_regions(self.flat, self.stride, np.ascontiguousarray(places), least_area, are_holes)

    def is_equal(self, bits: Bytes) -> bool:
        """Whether a mask, packed as by ``rasterize_packed``, has the same set pixels."""
        return bool(kernels().is_equal(self.words, bits))

    def farthest_difference(self, mask: Bytes, limit: float) -> float:
        """How far a differing pixel is from this mask's border, in pixels; inf if it is farther than `limit`."""
        return float(kernels().farthest_difference(self.pixels, mask, float(limit)))


@dataclass(frozen=True, eq=False)
class Chains:
    """The borders of a mask, each a closed chain of set pixels."""

    room: Room
    x: Int
    """int32 (n,)."""
    y: Int
    """int32 (n,)."""
    offsets: Long
    """int64 (borders + 1,): border b is ``offsets[b]`` to ``offsets[b + 1]``."""
    is_hole: Bools
    """bool (borders,)."""
    anchors: Long
    """int64 (borders,): for a hole, the pixel that it is connected to, as an index in x and y; else -1."""

    @classmethod
    def of(cls, room: Room) -> Chains:
        """Find the borders of a mask."""
        compiled = kernels()
        x, y, offsets, is_hole, is_west = compiled.trace(room.flat, room.flat.view(np.uint64), room.stride)
        if is_hole.any():
            anchors = compiled.find_anchors(x, y, offsets, is_hole, is_west, room.pixels)
        else:
            anchors = np.full(len(is_hole), -1, np.int64)
        return cls(room, x, y, offsets, is_hole, anchors)

    def backward(self) -> tuple[Chains, Long]:
        """
        The same chains in the other direction, from the same first pixels.

        Returns:
            The chains, and for each of their pixels its index in these chains, int64 (n,).
        """
        first, count = self.offsets[:-1], np.diff(self.offsets)
        step = np.arange(len(self.x)) - np.repeat(first, count)
        order = np.repeat(first, count) + (-step) % np.repeat(count, count)
        anchors = np.where(self.anchors >= 0, order[self.anchors], -1)  # the order is its own inverse
        return Chains(self.room, self.x[order], self.y[order], self.offsets, self.is_hole, anchors), order

    def stops(self) -> Bools:
        """The pixels to which holes are connected. bool (n,), a new array."""
        stops = np.zeros(len(self.x), np.bool_)
        stops[self.anchors[self.is_hole]] = True
        return stops

    def edge_stops(self) -> Bools:
        """The pixels where a border begins or ends to run along the window's edge. bool (n,), a new array."""
        after, before = np.arange(1, len(self.x) + 1), np.arange(-1, len(self.x) - 1)
        after[self.offsets[1:] - 1], before[self.offsets[:-1]] = self.offsets[:-1], self.offsets[1:] - 1
        stops = np.zeros(len(self.x), np.bool_)
        for on_edge in (self.x == 0, self.x == self.room.width - 1, self.y == 0, self.y == self.room.height - 1):
            stops |= on_edge & (on_edge[after] ^ on_edge[before])
        return stops

    def extents(self) -> Long:
        """The larger of width and height of each border's box, in pixels. int64 (borders,)."""
        first = self.offsets[:-1]
        width, height = (np.maximum.reduceat(c, first) - np.minimum.reduceat(c, first) for c in (self.x, self.y))
        extents: Long = np.maximum(width, height).astype(np.int64) + 1
        return extents


def _shown(values: npt.NDArray[np.generic]) -> str:
    """Some values, for a message."""
    shown = [str(value) for value in values[:5]]
    return ", ".join(shown) + (f", ... {values[-1]}" if len(values) > 5 else "")
