"""
Paths: finds a closed path round each border of a mask, exactly or within a tolerance, and makes geometry of the paths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from .._geometry.frame import FrameGeometry
from .chains import Chains
from .compiled import kernels
from .costs import FIRST_COSTS, PRIOR

__all__ = ["ExactPaths", "Paths", "cheaper_of", "tolerant_paths", "unit_steps"]

Costs = npt.NDArray[np.float64]
Int = npt.NDArray[np.int32]
Long = npt.NDArray[np.int64]

_DIVISORS: Final = np.gcd.outer(np.arange(129), np.arange(129)).astype(np.int16)
_BATCH_PIXELS: Final = 1 << 20
"""Pixels of chains whose segments are kept at a time. A frame of people has some 6,000. Only noise has more, and its
segments would take gigabytes."""


@dataclass(frozen=True, eq=False)
class Paths:
    """A closed path round each border of a mask."""

    chains: Chains
    x: Int
    """int32 (n,), the vertices of all paths."""
    y: Int
    """int32 (n,)."""
    places: Long
    """int64 (n,): the pixels of the chains that the vertices are, or are near to; -1 for a corner (exact.py)."""
    ends: Long
    """int64 (borders + 1,): the vertices of border b are ``ends[b]`` to ``ends[b + 1]``."""

    def learned_costs(self) -> Costs:
        """The bits that a byte takes in a polystream of these paths. float64 (256,)."""
        costs: Costs = kernels().learned_costs(self.x, self.y, self.ends, PRIOR)
        return costs

    def geometry(self, *, is_exact: bool) -> FrameGeometry:
        """Make one channel of each component."""
        chains, compiled = self.chains, kernels()
        if chains.is_hole.any():
            vertices = np.full(len(chains.x), -1, np.int64)
            is_pixel = self.places >= 0
            vertices[self.places[is_pixel]] = np.flatnonzero(is_pixel)
            anchors = np.where(chains.is_hole, vertices[chains.anchors], -1)
            points, offsets = compiled.splice(self.x, self.y, self.ends, chains.is_hole, anchors)
        else:
            points, offsets = np.stack((self.x, self.y), axis=1), self.ends
        if len(offsets) > 1 and np.diff(offsets).min() < 3:
            points, offsets = compiled.complete_small_channels(
                points, offsets, chains.x, chains.y, chains.offsets, chains.is_hole, is_exact
            )
        return FrameGeometry(points, offsets)


class ExactPaths:
    """
    The paths that draw the borders exactly. The segments are found once, and searched with different costs.

    Args:
        chains: the borders.
        slack: in bits: how much dearer than the cheapest a segment may be that is kept for :meth:`cheapest`.
    """

    def __init__(self, chains: Chains, slack: float) -> None:
        self._chains = chains
        self._slack = slack
        borders = (chains.x, chains.y, chains.offsets, chains.is_hole)
        self._stops = chains.stops()
        starts = kernels().longest_run_ends(*borders)
        self._common = (*borders, starts, kernels().straight_runs(*borders, starts, self._stops))
        self._batches = _batches(chains)
        self._segments = self._found(*self._batches[0]) if len(self._batches) == 1 else None

    @property
    def is_kept(self) -> bool:
        """Whether :meth:`cheapest` takes little time, because the segments are kept."""
        return self._segments is not None

    def cheapest(self, costs: Costs, n_rounds: int = 1) -> tuple[Paths, Costs]:
        """
        The cheapest paths.

        Args:
            costs: float64 (256,): bits that a byte takes.
            n_rounds: search so often, each time with the costs that the paths before have; 1 unless :attr:`is_kept`.

        Returns:
            The paths, and the bits of each, float64 (borders,).
        """
        parts = []
        for first, stop in self._batches:
            segments = self._segments or self._found(first, stop)
            parts.append(kernels().cheapest_paths(*self._common, first, stop, *segments, costs, PRIOR, n_rounds))
        if len(parts) == 1:
            x, y, places, ends, bits = parts[0]
        else:
            x, y, places, bits = (np.concatenate([part[i] for part in parts]) for i in (0, 1, 2, 4))
            ends = _sums(np.concatenate([np.diff(part[3]) for part in parts]))
        return Paths(self._chains, x, y, places, ends), bits

    def _found(self, first: int, stop: int) -> tuple[Long, npt.NDArray[np.int16], Int]:
        found: tuple[Long, npt.NDArray[np.int16], Int] = kernels().find_segments(
            *self._common, first, stop, self._stops, self._chains.room.pixels, _DIVISORS, FIRST_COSTS, self._slack
        )
        return found


def cheaper_of(first: tuple[Paths, Costs], second: tuple[Paths, Costs], order: Long) -> Paths:
    """
    For each border, the cheaper one of two paths.

    Args:
        first: paths and their bits.
        second: the same on the chains in the other direction.
        order: int64 (n,): for each pixel of those chains, its index in the first ones, as of ``Chains.backward``.
    """
    (forward, bits), (backward, other_bits) = first, second
    is_second = other_bits < bits
    counts = np.where(is_second, np.diff(backward.ends), np.diff(forward.ends))
    begins = np.where(is_second, backward.ends[:-1] + len(forward.x), forward.ends[:-1])
    ends = _sums(counts)
    chosen = np.repeat(begins - ends[:-1], counts) + np.arange(ends[-1])
    places = np.concatenate((forward.places, np.where(backward.places >= 0, order[backward.places], -1)))
    x, y = np.concatenate((forward.x, backward.x)), np.concatenate((forward.y, backward.y))
    return Paths(forward.chains, x[chosen], y[chosen], places[chosen], ends)


def unit_steps(chains: Chains) -> Paths:
    """Every pixel of the chains as a vertex: exact without any search."""
    return Paths(chains, chains.x, chains.y, np.arange(len(chains.x)), chains.offsets)


def tolerant_paths(chains: Chains, tolerance: float, costs: Costs, bonus: Costs) -> Paths:
    """
    Paths within a tolerance of the chains.

    Args:
        chains: the borders.
        tolerance: in pixels, above 0.
        costs: float64 (256,): bits that a byte takes.
        bonus: float64 (n,): bits that a vertex at a pixel of the chains costs less.
    """
    compiled, room = kernels(), chains.room
    borders = (chains.x, chains.y, chains.offsets, chains.is_hole)
    starts = compiled.longest_run_ends(*borders)
    stops = chains.stops() | chains.edge_stops()
    weight = 1.0 / (tolerance * tolerance)
    found = compiled.tolerant_paths(*borders, starts, stops, bonus, costs, tolerance, weight)
    compiled.refine_paths(*borders, stops, *found, costs, tolerance, weight, room.width, room.height)
    return Paths(chains, *found)


def _batches(chains: Chains) -> list[tuple[int, int]]:
    """Runs of borders, first inclusive to stop exclusive, each of a bounded number of pixels, or of one border."""
    batches, first = [], 0
    n = len(chains.is_hole)
    while first < n:
        limit = chains.offsets[first] + _BATCH_PIXELS
        stop = max(int(np.searchsorted(chains.offsets, limit, side="right")) - 1, first + 1)
        batches.append((first, stop))
        first = stop
    return batches or [(0, 0)]


def _sums(counts: Long) -> Long:
    """The running sums, from 0."""
    sums = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=sums[1:])
    return sums
