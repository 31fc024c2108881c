"""
Tolerant: finds the cheapest closed path within a distance of a chain.

A module of kernels: numba compiles it (_runtime/kernels.py), and the tests also run it as plain Python.

Strategy
--------
*Path.* The vertices are pixels of the chain. A segment may be used if every pixel of the chain between its ends is
within the tolerance of it. A path costs the bits of its steps, and for each pixel the square of its distance from its
segment, times a weight. So among paths of equally many bytes, the one closest to the chain is the cheapest.

For a start s, the pixels farther than the tolerance each allow a sector of directions. The sectors are intersected
while the end t moves on, so each t takes a constant time. The sum of squares comes from running sums. A pixel may lie
beyond the end of a segment, if the chain turns back; then the distances are computed one by one.

*Stops* are pixels that must be vertices: the anchors of holes, and the pixels where a border starts or stops to run
along the window's edge. So a person who is cut off by the edge is still cut off there.

*Bonus.* A vertex that was one in the frame before costs less. A still outline then keeps its vertices although its
pixels flicker.

*Refining.* Each vertex may move to a pixel around it if the path then is cheaper and still within the tolerance. This
is repeated. A vertex must also stay within the tolerance plus half a pixel of its own pixel of the chain. Otherwise a
sharp corner could stick out, although every pixel of the chain is close to a segment.

How far the result is from the mask is checked after rasterizing (mask.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["SIGNATURES", "refine_paths", "tolerant_paths"]

Int = npt.NDArray[np.int32]
Long = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_LOW, _HIGH = -128, 127
"""The steps of the format."""
_ROUNDING = 1e-9
"""Distances are computed in float64, from integers below 2^15; they may seem larger by rounding."""
_MAX_MOVES = 2
"""How often each vertex may move in refining."""

SIGNATURES = {
    "tolerant_paths": (
        "(int32[::1], int32[::1], int64[::1], boolean[::1], int64[::1], boolean[::1], float64[::1], float64[::1],"
        " float64, float64)"
    ),
    "refine_paths": (
        "(int32[::1], int32[::1], int64[::1], boolean[::1], boolean[::1], int32[::1], int32[::1], int64[::1],"
        " int64[::1], float64[::1], float64, float64, int64, int64)"
    ),
}


def tolerant_paths(
    x: Int,
    y: Int,
    offsets: Long,
    is_hole: Any,
    starts: Long,
    is_stop: Any,
    bonus: Floats,
    costs: Floats,
    tolerance: float,
    weight: float,
) -> tuple[Int, Int, Long, Long]:
    """
    Find the cheapest closed path along each chain.

    Args:
        x, y, offsets, is_hole: as borders.py returns them.
        starts: int64 (borders,): where the paths start, as indices in the chains.
        is_stop: bool (n,): pixels of the chains that must be vertices.
        bonus: float64 (n,): bits that a vertex costs less.
        costs: float64 (256,): bits that a byte takes.
        tolerance: in pixels, above 0.
        weight: bits for each square pixel of distance.

    Returns:
        ``(x, y, places, ends)`` as of cheapest.py's ``cheapest_paths``, for all borders.
    """
    longest, n_borders = 0, len(is_hole)
    for b in range(n_borders):
        longest = max(longest, offsets[b + 1] - offsets[b])
    places_of, before = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    cost_to = np.empty(longest + 1, np.float64)
    near_x, near_y = np.empty(longest + 1, np.float64), np.empty(longest + 1, np.float64)
    out_x, out_y, places = np.empty(len(x), np.int32), np.empty(len(x), np.int32), np.empty(len(x), np.int64)
    ends = np.zeros(n_borders + 1, np.int64)
    size = 0
    for b in range(n_borders):
        begin, n = offsets[b], offsets[b + 1] - offsets[b]
        for k in range(n + 1):
            place = starts[b] + k
            place = place if place < begin + n else place - n
            places_of[k], near_x[k], near_y[k] = place, x[place], y[place]
        before[n] = 0
        if n > 1:
            _relax(n, is_hole[b], near_x, near_y, places_of, is_stop, bonus, costs, tolerance, weight, cost_to, before)
        length, k = 1, before[n]
        while k > 0:
            length += 1
            k = before[k]
        k = before[n]
        for i in range(size + length - 1, size - 1, -1):
            places[i] = places_of[k]
            out_x[i], out_y[i] = x[places_of[k]], y[places_of[k]]
            k = before[k] if k > 0 else 0
        size += length
        ends[b + 1] = size
    return out_x[:size].copy(), out_y[:size].copy(), places[:size].copy(), ends


def _relax(  # noqa: PLR0912 - one function, because numba counts references to the arrays of each call
    n: int,
    is_hole: bool,
    near_x: Floats,
    near_y: Floats,
    places_of: Long,
    is_stop: Any,
    bonus: Floats,
    costs: Floats,
    tolerance: float,
    weight: float,
    cost_to: Floats,
    before: Long,
) -> None:
    """Find the cheapest path to each pixel of a chain, from its start round to the start again, which is pixel n."""
    cost_to[: n + 1] = np.inf
    cost_to[0] = 0.0
    for s in range(n):
        # Directions from low to high, in the sense of the cross product; any direction without has_sector.
        low_x = low_y = high_x = high_y = 0.0
        has_sector = False
        farthest = 0.0
        sum_xx = sum_xy = sum_yy = 0.0
        for t in range(s + 1, n + 1):
            dx, dy = near_x[t] - near_x[s], near_y[t] - near_y[s]
            square = dx * dx + dy * dy
            is_inside = not has_sector or _is_inside(dx, dy, low_x, low_y, high_x, high_y)
            if square > 0.0 and is_inside and min(dx, dy) >= _LOW and max(dx, dy) <= _HIGH:
                cost = cost_to[s] + weight * (dy * dy * sum_xx - 2.0 * dx * dy * sum_xy + dx * dx * sum_yy) / square
                if t < n or is_hole:
                    cost += costs[int(dx) & 255] + costs[int(dy) & 255]
                cost -= bonus[places_of[t]]
                if cost < cost_to[t]:
                    is_near = True
                    if square < farthest:  # a pixel may lie beyond the end
                        for k in range(s + 1, t):
                            beyond_x, beyond_y = near_x[k] - near_x[t], near_y[k] - near_y[t]
                            if beyond_x * dx + beyond_y * dy > 0.0 and (
                                beyond_x * beyond_x + beyond_y * beyond_y > tolerance * tolerance + _ROUNDING
                            ):
                                is_near = False
                                break
                    if is_near:
                        cost_to[t], before[t] = cost, s
            if is_stop[places_of[t]] or max(abs(dx), abs(dy)) > _HIGH + 1 + tolerance:
                break
            sum_xx, sum_xy, sum_yy = sum_xx + dx * dx, sum_xy + dx * dy, sum_yy + dy * dy
            farthest = max(farthest, square)
            if square <= tolerance * tolerance:
                continue
            # The sector of this pixel: its direction, turned by the angle whose sine is tolerance / distance.
            length = np.sqrt(square)
            ux, uy, sine = dx / length, dy / length, tolerance / length
            cosine = np.sqrt(1.0 - sine * sine)
            from_x, from_y = ux * cosine + uy * sine, uy * cosine - ux * sine
            to_x, to_y = ux * cosine - uy * sine, uy * cosine + ux * sine
            if not has_sector:
                low_x, low_y, high_x, high_y = from_x, from_y, to_x, to_y
                has_sector = True
                continue
            # Two sectors overlap if an end of one is in the other.
            has_from = _is_inside(from_x, from_y, low_x, low_y, high_x, high_y)
            has_to = _is_inside(to_x, to_y, low_x, low_y, high_x, high_y)
            if not (has_from or has_to or _is_inside(low_x, low_y, from_x, from_y, to_x, to_y)):
                break
            if has_from:
                low_x, low_y = from_x, from_y
            if has_to:
                high_x, high_y = to_x, to_y


def _is_inside(x: float, y: float, low_x: float, low_y: float, high_x: float, high_y: float) -> bool:
    """
    Whether a direction is in a sector of less than half a turn, between two unit vectors.

    The last condition is for sectors without width: their opposite direction has cross products of 0, too.
    """
    return (
        low_x * y - low_y * x >= -_ROUNDING
        and x * high_y - y * high_x >= -_ROUNDING
        and x * (low_x + high_x) + y * (low_y + high_y) > 0.0
    )


def refine_paths(
    x: Int,
    y: Int,
    offsets: Long,
    is_hole: Any,
    is_stop: Any,
    path_x: Int,
    path_y: Int,
    places: Long,
    ends: Long,
    costs: Floats,
    tolerance: float,
    weight: float,
    width: int,
    height: int,
) -> None:
    """
    Move vertices by a pixel where that makes a path cheaper. The paths are changed in place.

    Args:
        x, y, offsets, is_hole, is_stop, costs, tolerance, weight: as for :func:`tolerant_paths`.
        path_x, path_y, places, ends: as it returns them.
        width, height: of the window, which vertices do not leave.
    """
    for b in range(len(is_hole)):
        first, m = ends[b], ends[b + 1] - ends[b]
        if m < 3:
            continue
        for _ in range(_MAX_MOVES):
            n_moved = 0
            for i in range(m):
                if is_stop[places[first + i]] or (is_hole[b] and i == 0):
                    continue
                n_moved += _move(
                    x, y, offsets[b], offsets[b + 1], path_x, path_y, places, first, m, i,
                    costs, tolerance, weight, width, height,
                )  # fmt: skip
            if n_moved == 0:
                break


def _move(
    x: Int,
    y: Int,
    begin: int,
    end: int,
    path_x: Int,
    path_y: Int,
    places: Long,
    first: int,
    m: int,
    i: int,
    costs: Floats,
    tolerance: float,
    weight: float,
    width: int,
    height: int,
) -> int:
    """Move one vertex to the best pixel around it; 1 if it moved."""
    a, v, c = first + (i - 1) % m, first + i, first + (i + 1) % m
    best, best_x, best_y = np.inf, path_x[v], path_y[v]
    for to_y in range(max(path_y[v] - 1, 0), min(path_y[v] + 2, height)):
        for to_x in range(max(path_x[v] - 1, 0), min(path_x[v] + 2, width)):
            off_x, off_y = to_x - x[places[v]], to_y - y[places[v]]
            if off_x * off_x + off_y * off_y > (tolerance + 0.5) * (tolerance + 0.5):
                continue
            in_x, in_y, out_x, out_y = to_x - path_x[a], to_y - path_y[a], path_x[c] - to_x, path_y[c] - to_y
            if min(in_x, in_y, out_x, out_y) < _LOW or max(in_x, in_y, out_x, out_y) > _HIGH:
                continue
            cost = costs[in_x & 255] + costs[in_y & 255] + costs[out_x & 255] + costs[out_y & 255]
            if to_x == path_x[v] and to_y == path_y[v]:
                cost -= _ROUNDING  # of two equally good pixels, the present one
            if cost >= best:
                continue
            cost += weight * _squares(
                x, y, begin, end, places[a], places[v], path_x[a], path_y[a], to_x, to_y, tolerance
            )
            if cost >= best:
                continue
            cost += weight * _squares(
                x, y, begin, end, places[v], places[c], to_x, to_y, path_x[c], path_y[c], tolerance
            )
            if cost < best:
                best, best_x, best_y = cost, to_x, to_y
    is_moved = best_x != path_x[v] or best_y != path_y[v]
    path_x[v], path_y[v] = best_x, best_y
    return int(is_moved)


def _squares(
    x: Int, y: Int, begin: int, end: int, place: int, last: int, ax: int, ay: int, bx: int, by: int, tolerance: float
) -> float:
    """The sum of the squared distances of a chain's pixels from a segment; inf if one is beyond the tolerance."""
    dx, dy = float(bx - ax), float(by - ay)
    square = dx * dx + dy * dy
    total = 0.0
    while True:
        px, py = float(x[place] - ax), float(y[place] - ay)
        along = 0.0 if square == 0.0 else min(max((px * dx + py * dy) / square, 0.0), 1.0)
        off_x, off_y = px - along * dx, py - along * dy
        distance = off_x * off_x + off_y * off_y
        if distance > tolerance * tolerance + _ROUNDING:
            return np.inf
        total += distance
        if place == last:
            return total
        place = place + 1 if place + 1 < end else begin
