"""
Exact: finds the segments that draw a chain exactly.

A module of kernels: numba compiles it (_runtime/kernels.py), and the tests also run it as plain Python.

Strategy
--------
*Nodes.* A path's vertices are nodes of a chain. Node 2k is the chain's pixel k, counted from the chain's start; node 2n
is the start again. Where the chain steps from pixel k diagonally, exactly one of the two pixels beside the step may be
set. That pixel is the *corner* k, node 2k + 1. A path may turn there, because the corner is a pixel of the mask.

*Segments.* A segment leads from node s to node t, past the chain's pixels in between. It may be used if it draws these
pixels and no others, by the rules of docs/coverage.md. Say it goes U along its major axis and V along the other, both
taken as absolute values, and the i-th pixel in between lies v(i) off the start along the minor axis.

- The pixels between s and t number U - 1, and v is never against the direction of V.
- *Line.* The pixel in column i is v(i) = (2 i V + U - 1) // (2 U). So (2 v(i) - 1) / (2 i) < V / U <= (2 v(i) + 1) /
  (2 i) for each i. The bounds are intersected while t moves on, so each t takes a constant time.
- *Crossings.* A segment whose major axis is y crosses each row once, and the crossing's pixel is drawn in addition to
  the line's. The two pixels differ only if the crossing is half-way between two pixels: the crossing then takes the
  even pixel, and the line may take the odd one. In that case both pixels must be set in the mask, and one of them must
  be the chain's. (If the line takes the odd pixel, the chain's pixel is the odd or the even one. If the line takes the
  even pixel, line and crossing have the same pixel.) So the lower bound is inclusive for such segments, and the rows
  with half-way crossings are checked. There are such rows if U has more factors 2 than V has.
- The format's steps are -128..127 (docs/format.md, "Channel").
- A *stop* is a pixel that must be a vertex. No segment passes it.

*Long runs.* Masks of people have a few runs of hundreds of equal steps, most of them along the window's edge. All
segments between the pixels of such a run are exact. Looking for them all took three quarters of the time, because each
pixel has 128 of them, and almost none is of use. So two kinds are left out:

- A path may end anywhere in its closing run (starts.py), at no cost. So no segment from a pixel of that run is needed.
- In another run, a path needs vertices near the two ends, where it comes from a segment of another slope or goes on to
  one. In the middle it needs vertices only because steps are limited, and then the longest steps serve. So from a pixel
  at least `_RUN_END` steps after the run's first one, segments to pixels of the same run are left out, except for the
  last `_RUN_END` pixels of the run and for steps of 127 and 128 pixels. The search then begins behind the segments that
  are left out. The bounds there are known without a walk, because all the steps are equal.

*Pruning.* cheapest.py searches the segments several times, with different costs. Only segments on paths that are nearly
as cheap as the cheapest one are kept, so that this takes little time. Nodes are in the order of the chain, so the cost
to each node is known when its segments are looked for.

Rejected: vertices that are not pixels of the mask (they would be drawn), and A* (most of the time is spent on finding
segments).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["SIGNATURES", "find_segments"]

Int = npt.NDArray[np.int32]
Long = npt.NDArray[np.int64]
Short = npt.NDArray[np.int16]
Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

_MARGIN = 8
"""As MARGIN of borders.py; a module of kernels uses no other module."""
_REACH = 128
"""The longest step of the format, in pixels."""

_PATH_SLACKS = 4.0
"""How much more a whole path may cost than the cheapest one, as a multiple of the slack of one segment."""
_ROUNDING = 1e-6
"""In bits: sums of costs depend on their order."""
_RUN_END = 16
"""Steps at each end of a long run where all segments are looked for. 8 cost 0.03 % more bytes, and save little."""

_STEP_X = (1, 1, 0, -1, -1, -1, 0, 1)
_STEP_Y = (0, 1, 1, 1, 0, -1, -1, -1)
"""The step of each way in x and in y; see :func:`_way`."""

_FLAT_CORNER = 8
"""Bit of a step, above its way: the corner is the pixel beside the first end, which segments along x can reach."""
_STEEP_CORNER = 16
"""Likewise the pixel above or below it, which segments along y can reach."""
_END = 32
"""Bit of a step that leads to a stop or to the chain's end."""

SIGNATURES = {
    "find_segments": (
        "(int32[::1], int32[::1], int64[::1], boolean[::1], int64[::1], int64[::1], int64, int64, boolean[::1],"
        " uint8[:, ::1], int16[:, ::1], float64[::1], float64)"
    )
}


def find_segments(
    x: Int,
    y: Int,
    offsets: Long,
    is_hole: Any,
    starts: Long,
    straight: Long,
    first: int,
    stop: int,
    is_stop: Any,
    room: Bytes,
    divisors: Short,
    costs: Floats,
    slack: float,
) -> tuple[Long, Short, Int]:
    """
    Find the segments between the nodes of some chains that are on cheap paths.

    Args:
        x, y, offsets, is_hole: as borders.py returns them.
        starts, straight: int64 (borders,), as starts.py returns them.
        first, stop: the borders to process.
        is_stop: bool (n,): pixels of the chains that must be vertices.
        room: uint8 (height + 2, stride): the mask, as borders.py describes it.
        divisors: int16 (129, 129): the greatest common divisors.
        costs: float64 (256,): bits that a byte takes, 0 or more.
        slack: bits. A segment is left out if it is so much dearer than the cheapest way to its end that was found
            before, or if all paths over it are four times as much dearer than the cheapest path. inf keeps all.

    Returns:
        ``(begins, lengths, codes)``. The segments from the i-th node are ``begins[i]`` to ``begins[i + 1]``; the nodes
        of a border follow those of the border before. lengths: int16, from node to node. codes: int32, the two bytes
        of the step, x in the lower one. New arrays.
    """
    longest = 0
    for b in range(first, stop):
        longest = max(longest, offsets[b + 1] - offsets[b])
    steps, turns, runs = np.empty(longest, np.int16), np.empty(longest, np.int16), np.empty(longest, np.int32)
    cost_to, cost_from = np.empty(2 * longest + 1, np.float64), np.empty(2 * longest + 1, np.float64)
    begins = np.zeros(2 * (offsets[stop] - offsets[first]) + (stop - first) + 1, np.int64)
    lengths, codes = np.empty(1 << 14, np.int16), np.empty(1 << 14, np.int32)
    least = np.empty(_REACH + 1, np.float64)  # a lower bound of what a segment of some length costs
    cheapest = costs.min()
    for u in range(_REACH + 1):
        least[u] = min(costs[u], costs[256 - u if u else 0]) + cheapest
    size, node = 0, 0
    for b in range(first, stop):
        n = offsets[b + 1] - offsets[b]
        if n > 1:
            chain_x, chain_y = np.empty(n + 1, np.int32), np.empty(n + 1, np.int32)
            _unroll(x, y, is_stop, offsets[b], n, starts[b], room, chain_x, chain_y, steps)
            _find_turns(steps, n, turns, runs)
            lengths, codes, size = _extend(
                n, is_hole[b], straight[b], chain_x, chain_y, steps, turns, runs, room, divisors, costs, least, slack,
                cost_to, begins[node:], lengths, codes, size,
            )  # fmt: skip
            begins[node + 2 * n] = size
            size = _keep_near_cheapest(
                n, is_hole[b], straight[b], costs, slack, cost_to, cost_from, begins[node:], lengths, codes
            )
        else:
            begins[node : node + 3] = size
        node += 2 * n + 1
    begins[node] = size
    return begins, lengths[:size].copy(), codes[:size].copy()


def _unroll(
    x: Int, y: Int, is_stop: Any, begin: int, n: int, start: int, room: Bytes, chain_x: Int, chain_y: Int, steps: Short
) -> None:
    """Copy a chain, from its start round to its start again, and describe its steps."""
    place = start
    for k in range(n + 1):
        chain_x[k], chain_y[k] = x[place], y[place]
        if k > 0:
            step_x, step_y = chain_x[k] - chain_x[k - 1], chain_y[k] - chain_y[k - 1]
            step = _way(step_x, step_y)
            if step & 1:
                is_flat = room[chain_y[k - 1] + 1, chain_x[k] + _MARGIN] != 0
                is_steep = room[chain_y[k] + 1, chain_x[k - 1] + _MARGIN] != 0
                if is_flat and not is_steep:
                    step |= _FLAT_CORNER
                elif is_steep and not is_flat:
                    step |= _STEEP_CORNER
            steps[k - 1] = step | _END if k == n or is_stop[place] else step
        place = place + 1 if place + 1 < begin + n else begin


def _way(step_x: int, step_y: int) -> int:
    """The way of a king's move, 0..7: 0 east, 1 south-east, 2 south and so on; odd ways are diagonal."""
    if step_y == 0:
        return 0 if step_x > 0 else 4
    if step_y > 0:
        return 2 - step_x
    return 6 + step_x


def _find_turns(steps: Short, n: int, turns: Short, runs: Int) -> None:
    """
    For each step, find the way of the next step that has another way, or its own way where there is none; and count the
    equal steps from it on, up to a stop.
    """
    for k in range(n - 1, -1, -1):
        way = steps[k] & 7
        runs[k] = 1
        if k == n - 1:
            turns[k] = way
        elif steps[k + 1] & 7 == way:
            turns[k] = turns[k + 1]
            if not steps[k] & _END:
                runs[k] += runs[k + 1]
        else:
            turns[k] = steps[k + 1] & 7


def _longer(array: Any) -> Any:
    """A copy with room for as many values again."""
    twice = np.empty(2 * len(array), array.dtype)
    twice[: len(array)] = array
    return twice


def _extend(  # noqa: PLR0912, PLR0915 - see its docstring
    n: int,
    is_hole: bool,
    n_straight: int,
    chain_x: Int,
    chain_y: Int,
    steps: Short,
    turns: Short,
    runs: Int,
    room: Bytes,
    divisors: Short,
    costs: Floats,
    least: Floats,
    slack: float,
    cost_to: Floats,
    begins: Long,
    lengths: Short,
    codes: Int,
    size: int,
) -> tuple[Short, Int, int]:
    """
    Find the segments of one chain, and append them.

    One function, because numba counts references to each array that a function is given, which takes longer than some
    steps of the inner loop. Indices of the inner loop are unsigned, so that numba does not check for negative ones.
    """
    cost_to[: 2 * n + 1] = np.inf
    cost_to[0] = 0.0
    # A closing segment costs nothing, so `least` is no bound for it. Its end stays without a cost until all are found.
    closing = np.inf
    for s in range(2 * n):
        begins[s] = size
        so_far, first = cost_to[s], s >> 1
        if so_far == np.inf or (first >= n - n_straight and s & 1 == 0):
            continue
        if size + 4 * _REACH > len(lengths):
            lengths, codes = _longer(lengths), _longer(codes)
        first_step = steps[first]
        limit = so_far - slack
        skipped = 0  # the next steps of a long run, whose segments are left out
        if s & 1 == 0 and first >= _RUN_END and runs[first - _RUN_END] == runs[first] + _RUN_END:
            skipped = max(0, min(runs[first] - _RUN_END, _REACH - 2))
        for turn in range(2):
            # The two ways that the steps of a segment may have: along the major axis, and diagonal.
            along = diagonal = first_step & 7
            if s & 1:
                # From a corner, the first step is along an axis.
                if turn:
                    break
                along = _axis_way(along, first_step & _STEEP_CORNER != 0)
                if first + 1 < n:
                    diagonal = steps[first + 1] & 7
                    if diagonal == along:
                        diagonal = turns[first + 1]
            elif along & 1:
                along = (along + (1 if turn else 7)) & 7
            elif turn:
                break
            else:
                diagonal = turns[first]
            along_x, along_y = _STEP_X[along], _STEP_Y[along]
            aside_x, aside_y = _STEP_X[diagonal] - along_x, _STEP_Y[diagonal] - along_y
            if abs(aside_x) + abs(aside_y) != 1:
                diagonal = along
            is_steep = along_x == 0
            corner = _STEEP_CORNER if is_steep else _FLAT_CORNER
            strict = 0 if is_steep else 1
            # low_v / low_u < v / u <= high_v / high_u, where u and v are the offsets of a target. above_low and
            # below_high are v * low_u - low_v * u and high_v * u - v * high_u.
            low_v, low_u, high_v, high_u = -1, 1, 2, 1
            above_low, below_high = 0, 0
            v = 0
            if skipped > 0:  # the state behind these steps
                if first_step & 7 == along:
                    high_v, high_u, above_low, below_high = 1, 2 * skipped, skipped, skipped
                else:
                    v = skipped
                    low_v, low_u = 2 * skipped - 1, 2 * skipped
                    above_low, below_high = skipped, skipped
            for u in range(1 + skipped, min(_REACH, n - first) + 1):
                k = first + u
                step = steps[np.uint64(k - 1)]
                way = along if u == 1 and s & 1 else step & 7
                above_low -= low_v
                below_high += high_v
                if way != along:
                    if step & corner and u < _REACH and not (way - along + 1) & 5:
                        t = 2 * k - 1
                        if (
                            cost_to[np.uint64(t)] > limit + least[np.uint64(u)]
                            and above_low >= strict
                            and below_high >= 0
                        ):
                            lengths[np.uint64(size)] = t - s
                            codes[np.uint64(size)] = _code(u * along_x + v * aside_x, u * along_y + v * aside_y)
                            size += 1
                    if way != diagonal:
                        break
                    v += 1
                    above_low += low_u
                    below_high -= high_u
                t = 2 * k
                if cost_to[np.uint64(t)] > limit + least[np.uint64(u)] and above_low >= strict and below_high >= 0:
                    lengths[np.uint64(size)] = t - s
                    codes[np.uint64(size)] = _code(u * along_x + v * aside_x, u * along_y + v * aside_y)
                    size += 1
                if step & _END:
                    break
                if 2 * above_low > low_u:
                    low_v, low_u, above_low = 2 * v - 1, 2 * u, u
                    if low_v * high_u - high_v * low_u > -strict:
                        break
                if 2 * below_high > high_u:
                    high_v, high_u, below_high = 2 * v + 1, 2 * u, u
                    if low_v * high_u - high_v * low_u > -strict:
                        break
        # Of these segments, keep those that are cheap enough and draw no wrong pixel.
        stop, size = size, begins[s]
        for e in range(size, stop):
            t, code = s + lengths[np.uint64(e)], codes[np.uint64(e)]
            is_closing = t == 2 * n and not is_hole
            cost = so_far if is_closing else so_far + costs[code & 255] + costs[code >> 8]
            known = closing if is_closing else cost_to[t]
            if known < np.inf and cost >= known + slack:
                continue
            to_x, to_y = _signed(code & 255), _signed(code >> 8)
            u, v = max(abs(to_x), abs(to_y)), abs(to_x)
            if u == _REACH and not is_closing and _is_over_reach(to_x, to_y, first_step & 7):
                continue
            if v > 0 and v < u and (u & -u) > (v & -v):
                x0, y0 = chain_x[first], chain_y[first]
                if s & 1 and first_step & _FLAT_CORNER:
                    x0 = chain_x[first + 1]
                elif s & 1:
                    y0 = chain_y[first + 1]
                if not _draws_half_way_rows(first, x0, y0, to_x, to_y, chain_x, room, divisors):
                    continue
            lengths[size], codes[size] = lengths[e], codes[e]
            size += 1
            if is_closing:
                closing = min(closing, cost)
            else:
                cost_to[t] = min(cost_to[t], cost)
    if not is_hole:
        cost_to[2 * n] = closing
    return lengths, codes, size


def _draws_half_way_rows(
    k: int, x0: int, y0: int, to_x: int, to_y: int, chain_x: Int, room: Bytes, divisors: Short
) -> bool:
    """Whether a steep segment draws only pixels of the mask, and the chain's, in the rows where it is half-way."""
    u, v = abs(to_y), abs(to_x)
    x_sign, y_sign = 1 if to_x > 0 else -1, 1 if to_y > 0 else -1
    apart, step = u // divisors[u, v], x_sign * (v // divisors[u, v])
    column = x0 + x_sign * ((v // divisors[u, v]) >> 1)  # of the line: the nearer one to the start
    for i in range(apart >> 1, u, apart):
        if column & 1 == 0:
            if chain_x[k + i] != column:
                return False
        else:
            row = y0 + y_sign * i + 1
            if room[row, column + _MARGIN] == 0 or room[row, column + x_sign + _MARGIN] == 0:
                return False
        column += step
    return True


def _is_over_reach(step_x: int, step_y: int, way: int) -> bool:
    """Whether a step of 128 pixels has a positive 128, whose byte means -128."""
    return (step_x == -_REACH and _STEP_X[way] > 0) or (step_y == -_REACH and _STEP_Y[way] > 0)


def _code(step_x: int, step_y: int) -> int:
    return (step_x & 255) | ((step_y & 255) << 8)


def _axis_way(way: int, is_flat: bool) -> int:
    """The way along an axis that is part of a diagonal way."""
    if is_flat:
        return 0 if way in (1, 7) else 4
    return 2 if way in (1, 3) else 6


def _keep_near_cheapest(
    n: int,
    is_hole: bool,
    n_straight: int,
    costs: Floats,
    slack: float,
    cost_to: Floats,
    cost_from: Floats,
    begins: Long,
    lengths: Short,
    codes: Int,
) -> int:
    """
    Of a chain's segments, keep those on closed paths that are nearly as cheap as the cheapest; the new count of all.

    A pass from the end finds the cost from each node to the end. Of the segments of a frame, 6 % to 40 % are kept.
    """
    # From the last straight run, the closing segment leads to the end without cost.
    for t in range(2 * n + 1):
        cost_from[t] = 0.0 if t == 2 * n or (t & 1 == 0 and t >= 2 * (n - n_straight)) else np.inf
        cost_to[2 * n] = min(cost_to[2 * n], cost_to[t] + cost_from[t])
    limit = cost_to[2 * n] + _PATH_SLACKS * slack + _ROUNDING
    # The segments that are kept are moved to the end first, and then all together to the begin.
    begin, end = begins[0], begins[2 * n]
    stop = place = end
    for s in range(2 * n - 1, -1, -1):
        least, most = cost_from[s], limit - cost_to[s]
        first = begins[s]
        for e in range(stop - 1, first - 1, -1):
            t, code = s + lengths[np.uint64(e)], codes[np.uint64(e)]
            cost = cost_from[np.uint64(t)]
            if t != 2 * n or is_hole:
                cost += costs[code & 255] + costs[code >> 8]
            least = min(least, cost)
            if cost <= most:
                place -= 1
                lengths[np.uint64(place)], codes[np.uint64(place)] = t - s, code
        cost_from[s] = least
        stop, begins[s] = first, place
    for e in range(place, end):
        lengths[begin + e - place], codes[begin + e - place] = lengths[e], codes[e]
    for s in range(2 * n + 1):
        begins[s] -= place - begin
    size: int = begins[2 * n]
    return size


def _signed(byte: int) -> int:
    """A byte as a signed number."""
    return byte - 256 if byte >= 128 else byte
