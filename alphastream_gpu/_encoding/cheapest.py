"""
Cheapest: finds the cheapest closed path over the segments of exact.py.

A module of kernels: numba compiles it (_runtime/kernels.py), and the tests also run it as plain Python.

Nodes are in the order of the chain, so one pass over the segments finds the cheapest path to each node. A segment costs
the bits of its two bytes. How many bits a byte takes depends on the paths, so they are searched several times.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["SIGNATURES", "cheapest_paths", "learned_costs"]

Int = npt.NDArray[np.int32]
Long = npt.NDArray[np.int64]
Short = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float64]

SIGNATURES = {
    "cheapest_paths": (
        "(int32[::1], int32[::1], int64[::1], boolean[::1], int64[::1], int64[::1], int64, int64, int64[::1],"
        " int16[::1], int32[::1], float64[::1], float64[::1], int64)"
    ),
    "learned_costs": "(int32[::1], int32[::1], int64[::1], float64[::1])",
}

_MOST_BITS = 14.0
"""deflate's codes have at most 15 bits (RFC 1951, 3.2.7), and a byte that never occurs needs no code at all."""


def cheapest_paths(
    x: Int,
    y: Int,
    offsets: Long,
    is_hole: Any,
    starts: Long,
    straight: Long,
    first: int,
    stop: int,
    begins: Long,
    lengths: Short,
    codes: Int,
    costs: Floats,
    prior: Floats,
    n_rounds: int,
) -> tuple[Int, Int, Long, Long, Floats]:
    """
    Find the cheapest closed path round each of some chains. Several rounds learn the costs from the paths before.

    Args:
        x, y, offsets, is_hole, starts, straight, first, stop: as for exact.py's ``find_segments``.
        begins, lengths, codes: as it returns them.
        costs: float64 (256,): bits that a byte takes in the first round, 0 or more.
        prior: as for :func:`learned_costs`.
        n_rounds: 1 or more.

    Returns:
        ``(x, y, places, ends, bits)``. x, y: int32 (m,), the vertices. places: int64 (m,), the index of a vertex in the
        chains, -1 for a corner. ends: int64 (stop - first + 1,): the vertices of the i-th border are ``ends[i]`` to
        ``ends[i + 1]``. bits: float64 (stop - first,), the costs of the paths. New arrays.
    """
    found = _paths(x, y, offsets, is_hole, starts, straight, first, stop, begins, lengths, codes, costs)
    for _ in range(n_rounds - 1):
        learned = learned_costs(found[0], found[1], found[3], prior)
        found = _paths(x, y, offsets, is_hole, starts, straight, first, stop, begins, lengths, codes, learned)
    return found


def learned_costs(x: Int, y: Int, ends: Long, prior: Floats) -> Floats:
    """
    Learn the costs of bytes from the steps of paths round the same mask.

    The bits of a byte are those of an ideal code for the frequencies, -log2 p.

    Args:
        x, y, ends: the vertices of the paths, as :func:`cheapest_paths` returns them.
        prior: float64 (256,), above 0: bytes that are counted beside those of the steps.

    Returns:
        float64 (256,), 0..14 bits. A new array.
    """
    counts = prior.copy()
    for b in range(len(ends) - 1):
        for k in range(ends[b] + 1, ends[b + 1]):
            counts[(x[k] - x[k - 1]) & 255] += 1.0
            counts[(y[k] - y[k - 1]) & 255] += 1.0
    total = 0.0
    for byte in range(256):
        total += counts[byte]
    costs = np.empty(256, np.float64)
    for byte in range(256):
        costs[byte] = min(-math.log2(counts[byte] / total), _MOST_BITS)
    return costs


def _paths(
    x: Int,
    y: Int,
    offsets: Long,
    is_hole: Any,
    starts: Long,
    straight: Long,
    first: int,
    stop: int,
    begins: Long,
    lengths: Short,
    codes: Int,
    costs: Floats,
) -> tuple[Int, Int, Long, Long, Floats]:
    """The cheapest paths at given costs."""
    longest = 0
    for b in range(first, stop):
        longest = max(longest, offsets[b + 1] - offsets[b])
    cost_to = np.empty(2 * longest + 1, np.float64)
    before, code_to = np.empty(2 * longest + 1, np.int64), np.empty(2 * longest + 1, np.int32)
    path = np.empty(2 * longest + 1, np.int64)
    total = 2 * (offsets[stop] - offsets[first])
    out_x, out_y, places = np.empty(total, np.int32), np.empty(total, np.int32), np.empty(total, np.int64)
    ends, bits = np.zeros(stop - first + 1, np.int64), np.zeros(stop - first, np.float64)
    size, node = 0, 0
    for b in range(first, stop):
        begin, n = offsets[b], offsets[b + 1] - offsets[b]
        cost_to[: 2 * n + 1] = np.inf
        cost_to[0] = 0.0
        for s in range(2 * n):
            so_far = cost_to[s]
            for e in range(begins[node + s], begins[node + s + 1]):
                t, code = s + lengths[e], codes[e]
                cost = so_far if t == 2 * n and not is_hole[b] else so_far + costs[code & 255] + costs[code >> 8]
                if cost < cost_to[t]:
                    cost_to[t], before[t], code_to[t] = cost, s, code
        for k in range(n - 1, n - 1 - straight[b], -1):  # from there, the closing segment costs nothing
            if cost_to[2 * k] < cost_to[2 * n]:
                cost_to[2 * n], before[2 * n] = cost_to[2 * k], 2 * k
        bits[b - first] = cost_to[2 * n]
        length = 1
        path[0] = 0 if n == 1 else before[2 * n]
        while path[length - 1] > 0:
            path[length] = before[path[length - 1]]
            length += 1
        at_x, at_y = x[starts[b]], y[starts[b]]
        for i in range(length - 1, -1, -1):
            s = path[i]
            if s > 0:
                at_x += _signed(code_to[s] & 255)
                at_y += _signed(code_to[s] >> 8)
            out_x[size], out_y[size] = at_x, at_y
            places[size] = -1 if s & 1 else begin + (starts[b] - begin + (s >> 1)) % n
            size += 1
        ends[b - first + 1] = size
        node += 2 * n + 1
    return out_x[:size].copy(), out_y[:size].copy(), places[:size].copy(), ends, bits


def _signed(byte: int) -> int:
    """A byte as a signed number."""
    return byte - 256 if byte >= 128 else byte
