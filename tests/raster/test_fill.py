"""
The fill stage: even-odd spans on the CPU; on GL, triangles that flip pixels, or a prefix XOR of crossings.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import moderngl
import numpy as np
import oracle
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import Rasterizer, frames, geometry_of

from alphastream_gpu import MaskRenderer
from alphastream_gpu._geometry.segments import segments_of
from alphastream_gpu._gl import enums
from alphastream_gpu._gl.shaders import shader_source
from alphastream_gpu._raster import fill
from alphastream_gpu._raster.grid import grid_of


def _spans(channels: Any, native: tuple[int, int]) -> np.ndarray:
    """The interiors and crossings without the outlines, by the oracle."""
    covered = np.zeros((native[1], native[0]), np.uint8)
    for channel in channels:
        if len(channel) >= 3:
            for y in range(native[1]):
                across = oracle.crossings(channel, y)
                for left, right in zip(across[0::2], across[1::2], strict=True):
                    for x in range(max(left, 0), min(right, native[0] - 1) + 1):
                        covered[y, x] = 1
    return covered


def _filled(channels: Any, native: tuple[int, int]) -> np.ndarray:
    words = fill.fill_words(segments_of(geometry_of(channels)), grid_of(native, native))
    assert words.shape == (native[1], -(-native[0] // 64))
    bits = np.unpackbits(words.view(np.uint8).reshape(-1), bitorder="little").reshape(len(words), -1)
    assert not bits[:, native[0] :].any()
    return bits[:, : native[0]]


@pytest.mark.slow
@given(channels=frames(low=-80, high=200), width=st.sampled_from([1, 31, 64, 65, 130]), height=st.integers(1, 40))
def test_spans_equal_the_oracle(channels: Any, width: int, height: int) -> None:
    assert (_filled(channels, (width, height)) == _spans(channels, (width, height))).all()


@pytest.mark.slow
@given(channels=frames(low=-80, high=200))
def test_bands_and_the_exact_path_change_nothing(channels: Any) -> None:
    expected = _filled(channels, (130, 40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fill, "_BAND_CROSSINGS", 7)
        patch.setattr(fill, "FLOAT_EXTENT", -1)
        assert (_filled(channels, (130, 40)) == expected).all()


@given(
    depth=st.integers(0, (1 << 32) - 2),
    rest=st.integers(1, 1 << 32),
    run=st.integers(1 - (1 << 32), (1 << 32) - 1),
    top_x=st.integers(-(1 << 31), (1 << 31) - 1),
)
@example(depth=(1 << 32) - 3, rest=1, run=(1 << 32) - 1, top_x=-(1 << 31))
@example(depth=(1 << 31) - 1, rest=1 << 31, run=1 - (1 << 32), top_x=(1 << 31) - 1)
@example(depth=(1 << 32) - 2, rest=1, run=(1 << 32) - 2, top_x=3)
@example(depth=1, rest=1, run=1, top_x=0)
@example(depth=1, rest=1, run=1, top_x=1)
@example(depth=1, rest=1, run=-1, top_x=1)
@example(depth=3, rest=3, run=5, top_x=-1)
def test_the_exact_division_is_exact_for_any_int32(depth: int, rest: int, run: int, top_x: int) -> None:
    """Compared with Python's fractions, which are rounded half to even."""
    height = min(depth + rest, (1 << 32) - 1)
    found = fill._divided_half_to_even(*(np.array([number], np.int64) for number in (depth, run, height, top_x)))
    assert found.tolist() == [round(top_x + Fraction(depth * run, height)) - top_x]


@pytest.mark.parametrize("rest", [0, 1, -1, (1 << 31) - 3, (1 << 31) - 2])
@pytest.mark.parametrize("depth", [(1 << 32) - 7, (1 << 31) + 12345, 3_000_000_019])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_exact_division_beside_a_half_and_beside_an_integer(rest: int, depth: int, sign: int) -> None:
    """Products near 2^64, where the remainder determines the rounding and float64 has an error of a thousand."""
    height = (1 << 32) - 5  # a prime, so that every remainder is possible
    run = sign * (rest * pow(depth, -1, height) % height)
    found = fill._divided_half_to_even(*(np.array([number], np.int64) for number in (depth, run, height, 0)))
    assert found.tolist() == [round(Fraction(depth * run, height))]


@pytest.mark.parametrize(
    ("channel", "needs_clip", "is_exact"),
    [
        ([(0, 0), (63, 9), (5, 63)], False, False),
        ([(0, 0), (64, 9), (5, 63)], True, False),
        ([(-1, 0), (6, 9), (5, 63)], True, False),
        ([(0, -9), (6, 90), (5, 63)], False, False),
        ([(0, 0), (1 << 17, 9), (5, 63)], True, False),
        ([(0, 0), ((1 << 17) + 1, 9), (5, 63)], True, True),
        ([(0, 0), (6, 1 << 17), (5, 63)], False, False),
        ([(0, -1), (6, 1 << 17), (5, 63)], False, True),
        ([(1 << 24, 0), ((1 << 24) - 4, 9), ((1 << 24) - 1, 8)], True, False),
        ([((1 << 24) + 1, 0), ((1 << 24) - 4, 9), ((1 << 24) - 1, 8)], True, True),
    ],
)
def test_clipping_and_exact_division_only_if_needed(
    channel: list[tuple[int, int]], needs_clip: bool, is_exact: bool
) -> None:
    """Clipping and exact division take time, so they are used only for frames that need them."""
    edges = fill._Edges(segments_of(geometry_of([channel])), grid_of((64, 64), (64, 64)))
    assert (edges.needs_clip, edges.is_exact) == (needs_clip, is_exact)


def test_bands_hold_a_bounded_number_of_crossings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each band has about the given number of crossings. The bands are consecutive, from the first crossed row on."""
    channel = [(k * 5 % 61, k * 7 % 50 + 3) for k in range(60)]
    edges = fill._Edges(segments_of(geometry_of([channel])), grid_of((64, 64), (64, 64)))
    assert list(edges.bands()) == [(0, 64)]
    monkeypatch.setattr(fill, "_BAND_CROSSINGS", 40)
    bands = list(edges.bands())
    counts = [len(edges.crossings(first, stop)) for first, stop in bands]
    in_row = [len(oracle.crossings(channel, y)) for y in range(64)]
    assert counts == [sum(in_row[first:stop]) for first, stop in bands]
    assert sum(counts) == sum(in_row)
    assert min(counts) > 0
    assert max(counts) <= 40 + max(in_row)
    assert sum(in_row) // 80 < len(bands) <= sum(in_row) // 40 + 1
    assert bands[0][0] == next(y for y, count in enumerate(in_row) if count)
    assert bands[-1][1] == 64
    assert [stop for _, stop in bands[:-1]] == [first for first, _ in bands[1:]]
    monkeypatch.setattr(fill, "_BAND_CROSSINGS", sum(in_row))
    assert list(edges.bands()) == [(0, 64)]
    nothing = fill._Edges(segments_of(geometry_of([[(0, 0), (9, 0), (3, 0)]])), grid_of((64, 64), (64, 64)))
    assert list(nothing.bands()) == []


def test_a_band_that_begins_at_the_second_row(monkeypatch: pytest.MonkeyPatch) -> None:
    channels = [[(4 * k, 0), (4 * k + 3, 0), (4 * k + 1, 2)] for k in range(10)]
    expected = _filled(channels, (64, 8))
    monkeypatch.setattr(fill, "_BAND_CROSSINGS", 20)
    edges = fill._Edges(segments_of(geometry_of(channels)), grid_of((64, 8), (64, 8)))
    assert list(edges.bands()) == [(0, 1), (1, 8)]
    assert (_filled(channels, (64, 8)) == expected).all()


@pytest.mark.slow
def test_halves_go_to_the_even_pixel(rasterizer: Rasterizer) -> None:
    """The half-way rule: steep edges whose crossings lie exactly between two pixels, on both sides and for both
    parities."""
    for shift in range(4):
        channel = [(10 + shift, 2), (13 + shift, 8), (9 + shift, 16), (4 + shift, 6)]
        expected = oracle.mask([channel], (33, 20))
        assert (rasterizer(geometry_of([channel]), native_size=(33, 20)) == expected).all()


def test_half_way_pixels_are_not_in_the_outline() -> None:
    """A channel can have half-way pixels that neither the outline nor the strict interior sets."""
    channel = [(1, 0), (2, 2), (0, 2)]
    outline = {pixel for a, b in oracle.segments(channel) for pixel in oracle.line(a, b)}
    crossing = {(x, y) for y in range(3) for x in oracle.crossings(channel, y)}
    assert crossing - outline


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 8, 9, 16, 17, 100])
def test_triangles_cut_a_polygon_completely(ctx: moderngl.Context, n: int) -> None:
    """
    The output of the vertex stage is read back. Modulo two, the edges of the triangles add up to the edges of the
    polygon: every inner edge appears twice. Triangles of other planes have no area.
    """
    drawn = _zigzag(n)
    for others in ([], [[], [(0, 9), (1, 20), (0, 21)], [(1, 1), (2, 9)]]):
        channels = [drawn, *others]
        corners = _vertices(ctx, channels, 0)
        assert len(corners) == sum(map(len, channels))
        whole = [triangle for triangle in corners if len(set(triangle)) == 3]
        assert len(whole) == n - 2
        assert all(len(set(triangle)) == 1 for triangle in corners if triangle not in whole)
        odd: set[frozenset[tuple[float, float]]] = set()
        for a, b, c in whole:
            for edge in ((a, b), (b, c), (c, a)):
                odd ^= {frozenset(edge)}
        assert odd == {frozenset((drawn[k], drawn[(k + 1) % n])) for k in range(n)}


def test_triangles_of_the_other_planes(ctx: moderngl.Context) -> None:
    channels = [_zigzag(9), _zigzag(8), [(0, 0)], _zigzag(7)]
    for plane, channel in ((0, channels[0]), (1, channels[1]), (2, channels[3])):
        corners = _vertices(ctx, channels, plane)
        whole = [triangle for triangle in corners if len(set(triangle)) == 3]
        assert len(whole) == len(channel) - 2
        assert {point for triangle in whole for point in triangle} == set(channel)
    assert all(len(set(triangle)) == 1 for triangle in _vertices(ctx, channels, 3))


def _zigzag(n: int) -> list[tuple[int, int]]:
    """A channel of n different points. All these channels overlap."""
    return [(k, (k % 2) * 40 + 1) for k in range(n)]


def _vertices(ctx: moderngl.Context, channels: Any, plane: int) -> list[tuple[tuple[float, float], ...]]:
    """The triangles of a plane in native pixels, from the vertex stage of the fill."""
    n_vertices = 3 * sum(map(len, channels))
    program = ctx.program(vertex_shader=shader_source("fill.vert"), varyings=["gl_Position"])
    for name, value in (
        ("plane", plane),
        ("grid_scale", (1.0, 1.0)),
        ("viewport_origin", (0.0, 0.0)),
        ("viewport_span", (128.0, 128.0)),
        ("inverse_span", (1 / 128, 1 / 128)),
    ):
        program[name] = value
    captured = ctx.buffer(reserve=16 * n_vertices)
    array = ctx.vertex_array(program, [])
    somewhere = ctx.simple_framebuffer((1, 1))  # drawing needs a framebuffer, even if nothing is drawn to it
    with MaskRenderer(ctx, native_size=(128, 128), method="triangles") as renderer:
        triangles: Any = renderer._method
        with triangles.guard:
            triangles._gl.glBindFramebuffer(enums.GL_DRAW_FRAMEBUFFER, somewhere.glo)
            triangles._upload(geometry_of(channels))  # binds the package
            array.transform(captured, vertices=n_vertices)
    positions = np.frombuffer(captured.read(), np.float32).reshape(-1, 4)
    points = (positions[:, :2] + 1) * 64 - 0.5
    for thing in (array, captured, somewhere, program):
        thing.release()
    return [tuple(map(tuple, triangle)) for triangle in points.reshape(-1, 3, 2).tolist()]
