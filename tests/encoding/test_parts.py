"""
The smaller parts: splicing, small channels, areas, tolerant paths, costs, blocks.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import oracle
import pytest
from encoded import PLAIN, chains_of, same
from hypothesis import given
from hypothesis import strategies as st
from masks import random_masks

from alphastream_gpu import FrameGeometry
from alphastream_gpu._encoding import areas, blocks, compiled, count_pixels, encode_block, splice, tolerant
from alphastream_gpu._encoding.chains import Room
from alphastream_gpu._encoding.costs import FIRST_COSTS, PRIOR
from alphastream_gpu._encoding.paths import unit_steps
from alphastream_gpu._format.block import inflate_block, pack_block


def _spliced(mask: np.ndarray, functions: object) -> tuple[np.ndarray, np.ndarray]:
    chains = chains_of(mask)
    paths = unit_steps(chains)
    found: tuple[np.ndarray, np.ndarray] = functions.splice(  # type: ignore[attr-defined]
        paths.x, paths.y, paths.ends, chains.is_hole, chains.anchors
    )
    return found


def test_bridges_run_there_and_back() -> None:
    mask = np.ones((9, 300), bool)
    mask[4, 280] = False
    points, offsets = _spliced(mask, compiled.kernels())
    channel = [tuple(point) for point in points.tolist()]
    assert offsets.tolist() == [0, len(points)]
    start = channel.index((0, 4))
    assert channel[start : start + 4] == [(0, 4), (127, 4), (254, 4), (279, 4)]
    end = start + 7
    assert channel[end : end + 4] == [(279, 4), (152, 4), (25, 4), (0, 4)]
    FrameGeometry(points, offsets).to_payload()  # no step is too long


def test_a_wall_of_one_pixel_needs_no_bridge() -> None:
    """The anchor stands for the hole's first pixel, also for another hole that is connected to it."""
    mask = np.ones((3, 7), bool)
    mask[1, 1::2] = False
    points, offsets = _spliced(mask, compiled.kernels())
    assert offsets.tolist() == [0, len(points)]
    assert (np.abs(np.diff(points, axis=0)).max(axis=1) <= 1).all()


def test_compiled_and_plain_splicing_agree() -> None:
    for mask in random_masks(60, seed=1):
        small = mask[:25, :25]
        chains = chains_of(small)
        results = []
        for functions in (compiled.kernels(), PLAIN[splice]):
            points, offsets = _spliced(small, functions)
            borders = (chains.x, chains.y, chains.offsets, chains.is_hole)
            results.append(
                (
                    points,
                    offsets,
                    *(
                        a
                        for e in (True, False)
                        for a in functions.complete_small_channels(points, offsets, *borders, e)
                    ),
                )
            )
        assert same(*results)


@given(st.lists(st.tuples(st.integers(-1, 1), st.integers(-1, 1)).filter(any), min_size=1, max_size=9))
def test_two_points_are_enough_if_their_line_draws_the_chain(steps: list[tuple[int, int]]) -> None:
    pixels = np.cumsum([(20, 20), *steps], axis=0).astype(np.int32)
    points = np.ascontiguousarray(pixels[[0, -1]])
    if (points[0] == points[1]).all():
        return
    x, y = (np.ascontiguousarray(pixels[:, axis]) for axis in (0, 1))
    arguments = (points, np.array([0, 2]), x, y, np.array([0, len(x)]), np.zeros(1, bool), True)
    line = set(oracle.line(tuple(points[0].tolist()), tuple(points[1].tolist())))
    expected = 2 if set(map(tuple, pixels.tolist())) <= line else 3
    for functions in (compiled.kernels(), PLAIN[splice]):
        assert len(functions.complete_small_channels(*arguments)[0]) == expected


def test_compiled_and_plain_areas_agree() -> None:
    rng = np.random.default_rng(2)
    for mask in random_masks(30, seed=2):
        room = Room(mask[:20, :20])
        other = np.where(rng.random((room.height, room.width)) < 0.1, 255, 0).astype(np.uint8)
        other ^= np.ascontiguousarray(mask[:20, :20])
        places = np.flatnonzero(room.flat)[:1]
        results = []
        for functions in (compiled.kernels(), PLAIN[areas]):
            flat = room.flat.copy()
            n_flipped = functions.flip_small_regions(flat, room.stride, places, 20, False)
            far = functions.farthest_difference(room.pixels, other, 2.0)
            results.append((flat, np.array([n_flipped]), np.array([far])))
        assert same(*results)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 16, 20])
def test_rooms_are_compared_with_packed_masks(width: int) -> None:
    for mask in random_masks(20, seed=9):
        cut = np.zeros((min(len(mask), 9), width), np.uint8)
        cut[:, : mask.shape[1]] = mask[: len(cut), :width]
        room = chains_of(cut).room  # its pixels are marked
        words, bits = room.flat.view(np.uint64).reshape(len(cut) + 2, -1), np.packbits(cut, axis=1, bitorder="little")
        for functions in (compiled.kernels(), PLAIN[areas]):
            assert functions.is_equal(words, bits)
            for x in range(width):
                wrong = bits.copy()
                wrong[len(cut) // 2, x // 8] ^= 1 << (x % 8)
                assert not functions.is_equal(words, wrong)


def test_pixels_are_counted_in_words() -> None:
    rng = np.random.default_rng(4)
    words = rng.integers(0, 1 << 64, (2, 50), np.uint64)
    words[:, :4] = [[0, 1 << 63, (1 << 64) - 1, 1], [0, 1 << 63, 0, 1]]
    first, second = ([int(word) for word in row] for row in words)
    expected = (
        sum((a | b).bit_count() for a, b in zip(first, second, strict=True)),
        sum((a ^ b).bit_count() for a, b in zip(first, second, strict=True)),
    )
    for functions in (compiled.kernels(), PLAIN[areas]):
        assert functions.count_pixels(words[0], words[1]) == expected
    bits = rng.integers(0, 256, (2, 7, 3), np.uint8)  # rows that fill no whole words
    union, differing = (int(np.bitwise_count(both).sum()) for both in (bits[0] | bits[1], bits[0] ^ bits[1]))
    assert count_pixels(bits[0], bits[1]) == (union, differing)


def test_compiled_and_plain_tolerant_paths_agree() -> None:
    for mask in random_masks(20, seed=3):
        chains = chains_of(mask[:20, :20])
        borders = (chains.x, chains.y, chains.offsets, chains.is_hole)
        starts = compiled.kernels().longest_run_ends(*borders)
        bonus = np.zeros(len(chains.x))
        results = []
        for functions in (compiled.kernels(), PLAIN[tolerant]):
            found = functions.tolerant_paths(*borders, starts, chains.stops(), bonus, FIRST_COSTS, 1.0, 1.0)
            before = found[0].copy()
            functions.refine_paths(*borders, chains.stops(), *found, FIRST_COSTS, 1.0, 1.0, 20, 20)
            results.append((before, *found))
        assert same(*results)


@pytest.mark.slow
@pytest.mark.parametrize("tolerance", [0.5, 1.0, 2.5])
def test_every_pixel_of_a_chain_is_within_the_tolerance_of_its_segment(tolerance: float) -> None:
    for mask in random_masks(60, seed=4):
        chains = chains_of(mask)
        borders = (chains.x, chains.y, chains.offsets, chains.is_hole)
        functions = compiled.kernels()
        starts, stops = functions.longest_run_ends(*borders), chains.stops()
        bonus = np.zeros(len(chains.x))
        found = functions.tolerant_paths(*borders, starts, stops, bonus, FIRST_COSTS, tolerance, 0.1)
        functions.refine_paths(*borders, stops, *found, FIRST_COSTS, tolerance, 0.1, mask.shape[1], mask.shape[0])
        x, y, places, ends = found
        for b in range(len(chains.is_hole)):
            begin, n = int(chains.offsets[b]), int(chains.offsets[b + 1] - chains.offsets[b])
            vertices = range(int(ends[b]), int(ends[b + 1]))
            for i in vertices:
                j = i + 1 if i + 1 < vertices.stop else vertices.start
                k = int(places[i])
                while n > 1:
                    assert _distance((chains.x[k], chains.y[k]), (x[i], y[i]), (x[j], y[j])) <= tolerance + 1e-6
                    if k == places[j]:
                        break
                    k = begin + (k - begin + 1) % n


def _distance(p: tuple[int, int], a: tuple[int, int], b: tuple[int, int]) -> float:
    """Of a point from a segment."""
    start, way = np.array(a, float), np.array(b, float) - a
    along = 0.0 if not way.any() else float(np.clip((np.array(p) - start) @ way / (way @ way), 0, 1))
    return float(np.hypot(*(np.array(p) - start - along * way)))


def test_learned_costs_follow_the_frequencies() -> None:
    """The bits of an ideal code for the steps within the paths, which are counted beside the prior."""
    mask = next(mask for mask in random_masks(60, seed=1) if len(chains_of(mask).is_hole) > 3)
    paths = unit_steps(chains_of(mask))
    counts = dict(enumerate(PRIOR.tolist()))
    for begin, end in zip(paths.ends[:-1].tolist(), paths.ends[1:].tolist(), strict=True):
        for axis in (paths.x.tolist(), paths.y.tolist()):
            for k in range(begin + 1, end):
                counts[(axis[k] - axis[k - 1]) % 256] += 1
    expected = [min(14.0, math.log2(sum(counts.values()) / count)) for count in counts.values()]
    costs = paths.learned_costs()
    assert np.allclose(costs, expected)
    assert costs[1] < costs[2] < costs[100] <= 14
    assert PRIOR.sum() == pytest.approx(6)


def test_first_costs() -> None:
    assert np.argmin(FIRST_COSTS) == 0
    assert np.allclose(FIRST_COSTS[1:128], FIRST_COSTS[:128:-1])


@given(st.binary(max_size=3000), st.sampled_from([1, 2]))
def test_blocks_inflate_to_their_payload(payload: bytes, effort: int) -> None:
    block = encode_block(payload, effort)
    assert inflate_block(block, max_frame_bytes=1 << 20) == payload


def test_no_block_is_larger_than_that_of_the_writers(geometries: list[FrameGeometry]) -> None:
    """A small window makes no difference, because it holds the payload."""
    for geometry in geometries[::5]:
        payload = geometry.to_payload()
        assert len(encode_block(payload, 2)) <= len(encode_block(payload, 1)) <= len(pack_block(payload))
    for size in (200, 700, 1000, 2000, 5000, 40000):
        payload = bytes(np.random.default_rng(size).integers(0, 9, size // 2, np.uint8).tobytes() * 2)
        assert len(encode_block(payload, 1)) <= len(pack_block(payload))


def test_the_highest_effort_uses_zopfli_if_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = bytes(range(100)) * 4
    pytest.importorskip("zopfli")
    smallest = encode_block(payload, 3)
    assert zlib.decompress(smallest[4:]) == payload
    monkeypatch.setattr(blocks, "_zopfli", lambda: None)
    assert len(smallest) <= len(encode_block(payload, 3)) <= len(encode_block(payload, 2))
