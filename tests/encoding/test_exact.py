"""
Exact segments and paths: compared with the oracle's lines and crossings, and with a search over all pairs of nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import oracle
import pytest
from encoded import PLAIN, chains_of, same
from masks import random_masks

from alphastream_gpu._encoding import cheapest, compiled, exact, starts
from alphastream_gpu._encoding.chains import Chains
from alphastream_gpu._encoding.costs import FIRST_COSTS, PRIOR
from alphastream_gpu._encoding.paths import _DIVISORS as DIVISORS

Point = tuple[int, int]


def _nodes(chains: Chains, b: int, start: int, mask: np.ndarray) -> list[Point | None]:
    """The nodes of a border: its pixels, and the corners in between; None where there is no corner."""
    begin, end = chains.offsets[b], chains.offsets[b + 1]
    pixels = [(int(chains.x[k]), int(chains.y[k])) for k in (*range(start, end), *range(begin, start + 1))]
    nodes: list[Point | None] = []
    for (x, y), (next_x, next_y) in pairwise(pixels):
        corners = [c for c in ((next_x, y), (x, next_y)) if c not in ((x, y), (next_x, next_y)) and mask[c[1], c[0]]]
        nodes += [(x, y), corners[0] if len(corners) == 1 else None]
    return [*nodes, pixels[-1]]


def _is_exact(a: Point, b: Point, passed: list[Point], mask: np.ndarray) -> bool:
    """Whether a segment draws the pixels that it passes, and beside them only pixels of the mask, at half-way rows."""
    drawn = list(oracle.line(a, b))
    between = set(drawn[1:-1])
    crossings = set()
    (x0, y0), (x1, y1) = (a, b) if a[1] < b[1] else (b, a)
    for y in range(y0, y1):
        crossings.add((round(x0 + Fraction((y - y0) * (x1 - x0), y1 - y0)), y))
    return (
        set(passed) <= between | crossings
        and len(passed) == len(between)
        and all(mask[y, x] for x, y in between | crossings)
        # A pixel that was not passed may be drawn only in a row where the crossing is half-way.
        and all((x, y) in passed or any(p[1] == y for p in passed) for x, y in between)
        and all(p in between or p in crossings for p in passed)
    )


def _segments(chains: Chains, b: int, slack: float = np.inf) -> tuple[int, set[tuple[int, int, Point]]]:
    """The start of a border's path, and the segments between its nodes: from, to, step."""
    common = _common(chains, compiled.kernels())
    begins, lengths, codes = compiled.kernels().find_segments(
        *common, b, b + 1, chains.stops(), chains.room.pixels, DIVISORS, FIRST_COSTS, slack
    )
    found = set()
    for s, (first, stop) in enumerate(pairwise(begins.tolist())):
        for e in range(first, stop):
            step = np.array([codes[e] & 255, codes[e] >> 8]).astype(np.uint8).view(np.int8)
            found.add((s, s + int(lengths[e]), (int(step[0]), int(step[1]))))
    return int(common[4][b]), found


def _common(chains: Chains, functions: SimpleNamespace) -> tuple[np.ndarray, ...]:
    """The arguments that describe the chains."""
    borders = (chains.x, chains.y, chains.offsets, chains.is_hole)
    begins = functions.longest_run_ends(*borders)
    return *borders, begins, functions.straight_runs(*borders, begins, chains.stops())


def _small(count: int, seed: int) -> Iterator[tuple[np.ndarray, Chains, int]]:
    """Borders of a few dozen pixels."""
    for mask in random_masks(count, seed):
        cut = np.ascontiguousarray(mask[:18, :18])
        chains = chains_of(cut)
        for b, n in enumerate(np.diff(chains.offsets).tolist()):
            if 1 < n < 60:
                yield cut, chains, b


def test_every_segment_draws_only_what_it_passes() -> None:
    n_segments = 0
    for mask, chains, b in _small(60, seed=1):
        start, segments = _segments(chains, b)
        nodes = _nodes(chains, b, start, mask)
        for s, t, step in segments:
            a, c = nodes[s], nodes[t]
            assert a is not None
            assert c is not None
            passed = [node for k, node in enumerate(nodes[:t]) if k > s and k & 1 == 0 and node is not None]
            assert step == (c[0] - a[0], c[1] - a[1])
            assert _is_exact(a, c, passed, mask), (a, c, passed)
            n_segments += 1
    assert n_segments > 5000


def test_no_segment_is_missed() -> None:
    """Every pair of nodes whose line is the chain's pixels in between, without any half-way row."""
    n_pairs = 0
    for mask, chains, b in _small(40, seed=2):
        start, segments = _segments(chains, b)
        nodes = _nodes(chains, b, start, mask)
        begin = int(chains.offsets[b])
        stops, n = chains.stops(), len(nodes) // 2
        closing = 2 * (n - int(_common(chains, compiled.kernels())[5][b]))
        found = {(s, t) for s, t, _ in segments}
        for s, a in enumerate(nodes[:-1]):
            if a is None or (s & 1 and not any(t == s for _, t in found)):
                continue  # a corner that no segment leads to is no start
            if s & 1 == 0 and s >= closing:
                continue  # the path may end there
            for t in range(s + 1, len(nodes)):
                passed = [nodes[k] for k in range(s + 1, t) if k & 1 == 0]
                c = nodes[t]
                if any(stops[begin + (start - begin + k // 2) % n] for k in range(s + 1, t) if k & 1 == 0):
                    break
                if c is not None and c != a and passed == list(oracle.line(a, c))[1:-1] and _crosses_in(a, c, passed):
                    assert (s, t) in found, (a, c)
                    n_pairs += 1
    assert n_pairs > 3000


def _crosses_in(a: Point, c: Point, passed: list[Point | None]) -> bool:
    crossings = {(x, y) for y in range(min(a[1], c[1]), max(a[1], c[1])) for x in oracle.crossings([a, c], y)}
    return crossings <= {*passed, a, c}


def test_the_path_is_the_cheapest() -> None:
    """Bellman's equations over all segments of a border."""
    rng = np.random.default_rng(4)
    for _, chains, b in _small(12, seed=4):
        start, segments = _segments(chains, b)
        costs = rng.uniform(1, 9, 256)
        n = int(chains.offsets[b + 1] - chains.offsets[b])
        best = [0.0] + [np.inf] * 2 * n
        for s, t, (x, y) in sorted(segments):
            is_free = t == 2 * n and not chains.is_hole[b]
            best[t] = min(best[t], best[s] + (0 if is_free else costs[x & 255] + costs[y & 255]))
        assert _cheapest(chains, b, costs, np.inf)[4][0] == pytest.approx(_with_closing_run(chains, b, start, best))


def _with_closing_run(chains: Chains, b: int, start: int, best: list[float]) -> float:
    """The cheapest closed path if the closing segment may be a straight run of any length."""
    begin, n = int(chains.offsets[b]), int(chains.offsets[b + 1] - chains.offsets[b])
    if chains.is_hole[b]:
        return best[-1]
    chain = [begin + (start - begin + k) % n for k in range(n + 1)]
    points = np.stack((chains.x[chain], chains.y[chain]), axis=1).astype(int)
    steps, stops = np.diff(points, axis=0), chains.stops()[chain]
    result = best[-1]
    for k in range(n - 1, 0, -1):
        if (steps[k] != steps[n - 1]).any():
            break
        result = min(result, best[2 * k])
        if stops[k]:
            break
    return result


def _cheapest(chains: Chains, b: int, costs: np.ndarray, slack: float) -> tuple[np.ndarray, ...]:
    functions = compiled.kernels()
    common = (*_common(chains, functions), b, b + 1)
    segments = functions.find_segments(*common, chains.stops(), chains.room.pixels, DIVISORS, FIRST_COSTS, slack)
    found: tuple[np.ndarray, ...] = functions.cheapest_paths(*common, *segments, costs, PRIOR, 1)
    return found


def test_no_slack_finds_the_same_cheapest_path() -> None:
    """Segments that are too dear for the slack are not on the cheapest path."""
    for _, chains, b in _small(30, seed=5):
        all_bits, few_bits = (_cheapest(chains, b, FIRST_COSTS, slack)[4] for slack in (np.inf, 0.0))
        assert np.allclose(all_bits, few_bits)


@pytest.mark.parametrize(("width", "height"), [(300, 5), (5, 300), (200, 200)])
def test_long_lines_are_cut_into_steps_of_the_format(width: int, height: int) -> None:
    """In all four directions, and diagonally."""
    y, x = np.mgrid[:height, :width]
    diamond = np.abs(2 * x - width) * height + np.abs(2 * y - height) * width <= width * height
    for mask in (np.ones((height, width), bool), diamond):
        chains = chains_of(mask)
        for costs in (FIRST_COSTS, FIRST_COSTS[::-1].copy()):
            found = _cheapest(chains, 0, costs, 6.0)
            steps = np.diff(np.stack(found[:2]), axis=1)
            assert steps.min() >= -128
            assert steps.max() <= 127


@pytest.mark.slow
def test_what_is_left_out_in_long_runs_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Edges that meet in corners, and that bend; the second longest of each mask is no closing run."""
    y, x = np.mgrid[:160, :330]
    bent = np.hypot(np.maximum(np.abs(x - 165) - 100, 0), np.maximum(np.abs(y - 80) - 30, 0)) < 48
    masks = {"rectangle": (x > 20) & (y > 20), "bent": bent, "cut": bent & (y < 100), "band": abs(x - y - 80) < 40}
    for name, mask in masks.items():
        chains, found = chains_of(np.ascontiguousarray(mask)), []
        for end in (16, 1000):
            monkeypatch.setattr(exact, "_RUN_END", end)
            common = (*_common(chains, compiled.kernels()), 0, 1)
            segments = PLAIN[exact].find_segments(
                *common, chains.stops(), chains.room.pixels, DIVISORS, FIRST_COSTS, 1e6
            )
            bits = compiled.kernels().cheapest_paths(*common, *segments, FIRST_COSTS, PRIOR, 1)[4][0]
            found.append((len(segments[1]), bits))
        assert found[0][1] == pytest.approx(found[1][1]), name
        assert found[0][0] < found[1][0], name


def test_a_stop_is_a_vertex() -> None:
    for _, chains, b in _small(40, seed=6):
        begin, end = chains.offsets[b], chains.offsets[b + 1]
        stops = set(np.flatnonzero(chains.stops()[begin:end]) + begin)
        assert stops <= set(_cheapest(chains, b, FIRST_COSTS, 0.0)[2].tolist())


def test_compiled_and_plain_functions_agree() -> None:
    for mask in random_masks(24, seed=8):
        chains = chains_of(np.ascontiguousarray(mask[:20, :20]))
        results = []
        for functions in (
            compiled.kernels(),
            SimpleNamespace(**(vars(PLAIN[starts]) | vars(PLAIN[exact]) | vars(PLAIN[cheapest]))),
        ):
            common = (*_common(chains, functions), 0, len(chains.is_hole))
            segments = functions.find_segments(*common, chains.stops(), chains.room.pixels, DIVISORS, FIRST_COSTS, 2.0)
            paths = functions.cheapest_paths(*common, *segments, FIRST_COSTS, PRIOR, 3)
            results.append((*common[4:6], *segments, *paths, functions.learned_costs(*paths[:2], paths[3], PRIOR)))
        assert same(*results)
