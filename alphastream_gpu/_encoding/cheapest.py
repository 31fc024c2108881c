"""
Cheapest: finds the cheapest closed path over the segments of exact.py.

A module of kernels: numba compiles it (_runtime/kernels.py), and the tests also run it as plain Python.

Nodes are in the order of the chain, so one pass over the segments finds the cheapest path to each node. A segment costs
the bits of its two bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["SIGNATURES", "cheapest_paths"]

Int = npt.NDArray[np.int32]
Long = npt.NDArray[np.int64]
Short = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float64]

SIGNATURES = {
    "cheapest_paths": (
        "(int32[::1], int32[::1], int64[::1], boolean[::1], int64[::1], int64[::1], int64, int64, int64[::1],"
        " int16[::1], int32[::1], float64[::1])"
    ),
}


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
) -> tuple[Int, Int, Long, Long, Floats]:
    """
    Find the cheapest closed path round each of some chains.

    Args:
        x, y, offsets, is_hole, starts, straight, first, stop: as for exact.py's ``find_segments``.
        begins, lengths, codes: as it returns them.
        costs: float64 (256,): bits that a byte takes, 0 or more.

    Returns:
        ``(x, y, places, ends, bits)``. x, y: int32 (m,), the vertices. places: int64 (m,), the index of a vertex in the
        chains, -1 for a corner. ends: int64 (stop - first + 1,): the vertices of the i-th border are ``ends[i]`` to
        ``ends[i + 1]``. bits: float64 (stop - first,), the costs of the paths. New arrays.
    """
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
