"""
Triangle strips: drawn by a simple GL program, as a host draws them, and compared with the mask.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import moderngl
import numpy as np
import oracle
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from support import NATIVE, SAMPLE, channels_of, frames, geometry_of, wait_until

import alphastream_gpu
from alphastream_gpu import Config, ErrorCode, FrameGeometry, FrameNotFoundError, FrameTimeoutError, rasterize
from alphastream_gpu._geometry import strips as _strips
from alphastream_gpu._geometry.segments import segments_of
from alphastream_gpu._raster.grid import grid_of
from alphastream_gpu._raster.outline import outline_pixels

VERTEX = """
#version 330 core
in vec2 corner;
uniform vec2 size;
void main() { gl_Position = vec4((corner + 0.5) / size * 2.0 - 1.0, 0.0, 1.0); }
"""
FRAGMENT = """
#version 330 core
out vec4 colour;
void main() { colour = vec4(1.0); }
"""


class Drawer:
    """Draws strips as a host program would."""

    def __init__(self, ctx: moderngl.Context) -> None:
        self.ctx = ctx
        self.program = ctx.program(VERTEX, FRAGMENT)

    def __call__(self, strip: np.ndarray, size: tuple[int, int], *, xor: bool = False) -> np.ndarray:
        ctx = self.ctx
        texture = ctx.texture(size, 1)
        framebuffer = ctx.framebuffer([texture])
        framebuffer.use()
        framebuffer.clear()
        self.program["size"] = size
        if len(strip):
            buffer = ctx.buffer(strip.tobytes())
            array = ctx.vertex_array(self.program, [(buffer, "2f", "corner")])
            if xor:
                ctx.enable(moderngl.BLEND)
                ctx.blend_func = (moderngl.ONE_MINUS_DST_COLOR, moderngl.ONE_MINUS_SRC_COLOR)
            array.render(moderngl.TRIANGLE_STRIP)
            ctx.disable(moderngl.BLEND)
            array.release()
            buffer.release()
        drawn = np.frombuffer(texture.read(alignment=1), np.uint8).reshape(size[1], size[0])
        ctx.detect_framebuffer(0).use()
        framebuffer.release()
        texture.release()
        return drawn


@pytest.fixture
def drawer(ctx: moderngl.Context) -> Iterator[Drawer]:
    made = Drawer(ctx)
    yield made
    made.program.release()


def _lines(geometry: FrameGeometry, size: tuple[int, int]) -> np.ndarray:
    marked = np.zeros((size[1], size[0]), bool)
    for pixels in outline_pixels(segments_of(geometry), grid_of(size, size)):
        marked.reshape(-1)[pixels] = True
    return marked


def _outline(geometry: FrameGeometry, size: tuple[int, int]) -> np.ndarray:
    """
    The outline pixels: the lines of all segments, and the half-way crossings beside steep segments.

    If a steep segment crosses a row half-way between two pixels, its line has one of them, and the line in the opposite
    direction has the other one. The crossing is the even one.
    """
    marked = _lines(geometry, size)
    turned = []
    for channel in channels_of(geometry):
        for a, b in itertools.pairwise([*channel, channel[0]] if len(channel) >= 3 else []):
            if abs(b[1] - a[1]) > abs(b[0] - a[0]):
                turned.append([b, a])
    marked[:, ::2] |= _lines(geometry_of(turned), size)[:, ::2]
    return marked


def _check_cover(geometry: FrameGeometry, drawer: Drawer, size: tuple[int, int]) -> None:
    """Draw a cover strip and assert that it differs from the exact mask only on the outline pixels of the mask."""
    drawn = drawer(geometry.triangle_strip(), size)
    assert not ((drawn != rasterize(geometry, native_size=size)) & ~_outline(geometry, size)).any()


@pytest.mark.slow
def test_cover_strips_of_every_sample_frame(drawer: Drawer, geometries: list[FrameGeometry]) -> None:
    for geometry in geometries:
        _check_cover(geometry, drawer, NATIVE)


@pytest.mark.slow
@hypothesis_settings(max_examples=150)
@given(channels=frames(low=0, high=63))
@example(channels=[[(0, 0), (1, 61), (0, 61), (44, 21), (1, 22), (22, 41)]])  # a hole that touches the outline
def test_cover_strips_of_random_frames(drawer: Drawer, channels: Any) -> None:
    _check_cover(geometry_of(channels), drawer, (64, 64))


@pytest.mark.slow
def test_cover_strips_of_channels_that_touch_themselves(drawer: Drawer) -> None:
    """Many points on a coarse grid: holes touch outlines, and several lines cross in one point."""
    random = np.random.default_rng(6)
    for count in random.integers(3, 61, 300):
        ring = 8 * random.integers(0, 21, (int(count), 2))
        _check_cover(geometry_of([[(int(x), int(y)) for x, y in ring]]), drawer, (168, 168))


# Channels that Clipper2 or manifold3d cut wrongly if their points are not shifted.
WRONG_UNSHIFTED = [
    [
        (4, 1),
        (5, 1),
        (4, 3),
        (0, 5),
        (7, 0),
        (3, 6),
        (5, 4),
        (4, 2),
        (7, 4),
        (1, 8),
        (3, 8),
        (1, 0),
        (5, 1),
        (7, 4),
        (8, 2),
    ],
    [(13, 10), (9, 5), (9, 4), (19, 19), (4, 1), (18, 9), (4, 17)],
    [(7, 4), (5, 6), (4, 5), (6, 5), (5, 0), (8, 8), (0, 5)],
    [(0, 0), (0, 4), (4, 5), (3, 0), (3, 3), (0, 1), (1, 4), (5, 2)],
]


@pytest.mark.parametrize("scale", [1, 4, 8])
@pytest.mark.parametrize("channel", WRONG_UNSHIFTED)
def test_cover_strips_of_channels_that_are_hard_to_cut(
    drawer: Drawer, channel: list[tuple[int, int]], scale: int
) -> None:
    _check_cover(geometry_of([[(scale * x, scale * y) for x, y in channel]]), drawer, (160, 160))


def test_a_channel_that_is_cut_wrongly_is_cut_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few shifts are tried and the best is taken. A channel that is cut correctly is not cut again."""
    right, wrong = [(40, 40), (40, 50), (50, 50), (50, 40)], [(0, 0), (0, 9), (9, 9), (9, 0)]
    sizes = iter([9, 7, 2, 3])
    n_cut = 0

    def triangles(ring: np.ndarray) -> np.ndarray:
        nonlocal n_cut
        n_cut += 1
        if ring.max() > 20:
            return np.array([[(40, 40), (50, 40), (40, 50)]], np.float64)
        size = next(sizes)
        return np.array([[(0, 0), (0, size), (size, 0)]], np.float64)

    monkeypatch.setattr(_strips, "_triangles", triangles)
    strip = geometry_of([right, wrong]).triangle_strip()
    assert strip[:3].tolist() == [[40, 40], [50, 40], [40, 50]]
    assert strip[-3:].tolist() == [[0, 0], [0, 2], [2, 0]]
    assert len(strip) == 8
    assert n_cut == 5


@pytest.mark.slow
@given(channels=frames(low=0, high=63))
def test_parity_strips_give_the_exact_interior(drawer: Drawer, channels: Any) -> None:
    """Off the outline, XOR gives the parity of each pixel over all channels."""
    geometry = geometry_of(channels)
    drawn = drawer(geometry.triangle_strip("parity"), (64, 64), xor=True)
    parity = np.zeros((64, 64), np.uint8)
    for channel in channels_of(geometry):
        if len(channel) >= 3:
            parity ^= _strictly_inside(channel)
    off = ~_outline(geometry, (64, 64)) & ~_on_a_segment(channels_of(geometry))
    assert ((drawn == parity) | ~off).all()


def _strictly_inside(channel: list[tuple[int, int]]) -> np.ndarray:
    inside = np.zeros((64, 64), np.uint8)
    for y in range(64):
        row = _exact_crossings(channel, y)
        for x in range(64):
            inside[y, x] = 255 * (sum(crossing < x for crossing in row) % 2)
    return inside


def _exact_crossings(channel: list[tuple[int, int]], y: int) -> list[Any]:
    """The exact crossings of a row, without rounding."""
    found = []
    for a, b in oracle.segments(channel):
        (x0, y0), (x1, y1) = (a, b) if a[1] < b[1] else (b, a)
        if y0 <= y < y1:
            found.append(x0 + Fraction((y - y0) * (x1 - x0), y1 - y0))
    return found


def _on_a_segment(channels: list[list[tuple[int, int]]]) -> np.ndarray:
    marked = np.zeros((64, 64), bool)
    for channel in channels:
        for a, b in oracle.segments(channel):
            for x, y in oracle.line(a, b):
                if 0 <= x < 64 and 0 <= y < 64:
                    marked[y, x] = True
    return marked


def test_the_vertices_of_strips() -> None:
    bow = geometry_of([[(0, 0), (10, 10), (10, 0), (0, 10)]])
    strip = bow.triangle_strip()
    assert strip.dtype == np.float32
    assert strip.shape == (8, 2)
    assert strip.flags.c_contiguous
    assert {tuple(point) for point in strip.tolist()} == {(0, 0), (10, 10), (10, 0), (0, 10), (5, 5)}
    square = geometry_of([[(0, 0), (4, 0), (4, 4), (0, 4)], [(9, 9)], [(1, 1), (2, 2)]])
    zigzag = square.triangle_strip("parity")
    assert zigzag.tolist() == [[0, 0], [4, 0], [0, 4], [4, 4]]
    for kind in ("cover", "parity"):
        assert geometry_of([[(1, 1), (2, 2)], []]).triangle_strip(kind).shape == (0, 2)
        assert geometry_of([[(0, 0), (5, 5), (9, 9)]]).triangle_strip("cover").shape == (0, 2)
    with pytest.raises(ValueError, match="expected 'cover' or 'parity', found 'fan'"):
        square.triangle_strip("fan")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["cover", "parity"])
def test_a_strip_has_no_unnecessary_vertex(kind: Any) -> None:
    """Vertices are repeated only between triangles that share no vertex."""
    one, other = [(0, 0), (9, 0), (0, 9)], [(20, 20), (29, 20), (20, 29)]
    assert sorted(geometry_of([one]).triangle_strip(kind).tolist()) == sorted(map(list, one))
    both = geometry_of([one, other]).triangle_strip(kind).tolist()
    assert len(both) == 8
    assert both[2] == both[3]
    assert both[4] == both[5]


@pytest.mark.parametrize("kind", ["cover", "parity"])
def test_no_vertex_is_a_negative_zero(kind: Any) -> None:
    """A negative zero equals zero, but differs when a host prints, hashes or compares bytes."""
    for channel in (
        [(0, 0), (9, 0), (9, 9), (0, 9)],
        [(-4, -4), (4, 4), (0, 9), (4, -4), (-4, 4)],
        [(0, 5), (5, 0), (0, 0)],
    ):
        strip = geometry_of([channel]).triangle_strip(kind)
        assert 0 in strip
        assert not np.signbit(strip[strip == 0]).any()


def test_strips_of_a_stream() -> None:
    with alphastream_gpu.open(SAMPLE, config=Config(get_frame_timebox=1000, processing="both")) as stream:
        strip = stream.get_triangle_strip_vertices(60)
        assert not strip.flags.writeable
        geometry = stream.get_geometry(60)
        assert geometry is not None
        assert np.array_equal(strip, geometry.triangle_strip())
        assert np.array_equal(stream.get_triangle_strip_vertices(60), strip)
        with pytest.raises(FrameNotFoundError):
            stream.get_triangle_strip_vertices(120)
        error = stream.last_error()
        assert error is not None
        assert error.code == ErrorCode.NOT_FOUND
        for index in range(61, 70):
            assert stream.get_triangle_strip_vertices(index).size
        assert stream.last_error() is None
        wait_until(
            lambda: stream.stats().made_ahead > 0
        )  # those ahead of the last frame, if the calls above were faster


def test_a_strip_that_is_not_ready_in_time() -> None:
    with alphastream_gpu.open(SAMPLE, config=Config(get_frame_timebox=0)) as stream, pytest.raises(FrameTimeoutError):
        stream.get_triangle_strip_vertices(99)


def test_strips_at_the_ends_of_int32() -> None:
    low, high = -(2**31), 2**31 - 1
    for channel in ([(low, low), (0, low), (0, 0), (low, 0)], [(0, 0), (high, 0), (high, high), (0, high)]):
        strip = geometry_of([channel]).triangle_strip()
        assert len(strip) == 8
        assert {tuple(corner) for corner in strip.tolist()} == {tuple(map(np.float32, p)) for p in channel}


@pytest.mark.parametrize("kind", ["cover", "parity"])
def test_strips_are_aligned(kind: Any) -> None:
    """C hosts get the address of a strip; also the address of an empty strip is aligned."""
    for channels in ([], [[(0, 0), (5, 5)]], [[(0, 0), (9, 0), (9, 9)]], [[(0, 0), (9, 0), (9, 9), (0, 9)]]):
        strip = geometry_of(channels).triangle_strip(kind)
        assert strip.__array_interface__["data"][0] % 64 == 0
        assert strip.flags.c_contiguous
        assert strip.dtype == np.float32
