"""
Many frames at once: the bits of single renders, in as few draws and uploads as there can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import moderngl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import NATIVE, frames, geometry_of

from alphastream_gpu import ClosedError, FrameGeometry, MaskRenderer, rasterize
from alphastream_gpu._gl import renderer as renderer_module
from alphastream_gpu._gl.mesh import MAX_STEP, grid_for

SMALL = (64, 32)
BY_VERTEX, BY_GEOMETRY = "layered_by_vertex", "layered"


def read_all(renderer: MaskRenderer, array: moderngl.TextureArray, count: int, first: int = 0) -> list[np.ndarray]:
    return [renderer.read(array, layer=layer) for layer in range(first, first + count)]


@pytest.fixture(params=[BY_VERTEX, BY_GEOMETRY])
def small(ctx: moderngl.Context, request: pytest.FixtureRequest) -> Iterator[MaskRenderer]:
    """By both ways to choose a layer."""
    if request.param == BY_VERTEX and "GL_ARB_shader_viewport_layer_array" not in ctx.extensions:
        pytest.skip("the driver cannot choose layers in the vertex stage")
    with MaskRenderer(ctx, native_size=SMALL) as renderer:
        renderer._layered = (request.param,)
        yield renderer


@settings(max_examples=60)
@given(
    batch=st.lists(frames(low=-20, high=80), min_size=1, max_size=9),
    size=st.sampled_from([SMALL, (32, 32), (8, 2), (4, 4), (16, 32), (33, 17), (1, 1), (128, 96)]),
    first=st.integers(0, 2),
)
def test_a_batch_has_the_bits_of_single_renders(
    small: MaskRenderer, batch: Any, size: tuple[int, int], first: int
) -> None:
    ctx = small._ctx
    geometries = [geometry_of(channels) for channels in batch]
    noise = b"\x7f" * (size[0] * size[1] * (len(batch) + 4))
    array = ctx.texture_array((*size, len(batch) + 4), 1, noise)
    small.render_many(geometries, into=array, first_layer=first)
    for geometry, mask in zip(geometries, read_all(small, array, len(batch), first), strict=True):
        assert (mask == rasterize(geometry, size, native_size=SMALL)).all()
    for layer in (*range(first), *range(first + len(batch), len(batch) + 4)):
        assert (small.read(array, layer=layer) == 0x7F).all(), "a layer that is not the batch's"
    array.release()


@pytest.mark.parametrize("size", [(256, 128), (1024, 512), (500, 300), NATIVE])
def test_the_sample(ctx: moderngl.Context, geometries: list[FrameGeometry], size: tuple[int, int]) -> None:
    batch = geometries[20:36]
    array = ctx.texture_array((*size, len(batch)), 1)
    with MaskRenderer(ctx) as renderer:
        renderer.render_many(batch, into=array)
        for geometry, mask in zip(batch, read_all(renderer, array, len(batch)), strict=True):
            assert (mask == rasterize(geometry, size, native_size=NATIVE)).all()
    array.release()


def test_what_a_batch_costs(ctx: moderngl.Context, geometries: list[FrameGeometry]) -> None:
    """64 frames: one upload and two draws where no channels overlap, four where some do."""
    array = ctx.texture_array((256, 128, 64), 1)
    with MaskRenderer(ctx) as renderer:
        plain = [geometry for geometry in geometries if draws_of(renderer, geometry) == 2]
        for batch, draws in ((plain[:64], 2), (geometries[:64], 4)):
            renderer.render_many(batch, into=array)
            before = renderer.stats
            renderer.render_many(batch, into=array)
            after = renderer.stats
            assert after.draws - before.draws == draws
            assert after.frames - before.frames == 64
            assert after.gl_objects == before.gl_objects
            singly = sum(upload_of(renderer, geometry) for geometry in batch)
            # twice the record of a single frame's, and the same indices
            assert after.uploaded_bytes - before.uploaded_bytes < 1.6 * singly
    array.release()


def draws_of(renderer: MaskRenderer, geometry: FrameGeometry) -> int:
    before = renderer.stats.draws
    renderer.render(geometry)
    return renderer.stats.draws - before


def upload_of(renderer: MaskRenderer, geometry: FrameGeometry) -> int:
    before = renderer.stats.uploaded_bytes
    renderer.render(geometry)
    return renderer.stats.uploaded_bytes - before


def test_large_batches_are_drawn_in_parts(
    ctx: moderngl.Context, geometries: list[FrameGeometry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By scratch memory, by vertices, by channels; each limit alone."""
    batch = geometries[:12]
    array = ctx.texture_array((100, 50, 12), 1)
    with MaskRenderer(ctx) as renderer:
        assert renderer._layers_at_once((100, 50)) == 4  # native masks of 2 MB, five components of them
        assert renderer._layers_at_once((256, 128)) == 128
        for name, limit, parts in (
            ("_BATCH_SCRATCH_BYTES", 1, 12),
            ("_BATCH_SCRATCH_BYTES", 1 << 40, 1),
            ("MAX_SEGMENTS", 1000, None),
            ("MAX_CHANNELS", 7, None),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(renderer_module, name, limit)
                lengths = [len(part) for part in renderer_module._parts(batch, renderer._layers_at_once((100, 50)))]
                assert sum(lengths) == 12
                assert parts in (None, len(lengths))
                renderer.render_many(batch, into=array)
            for geometry, mask in zip(batch, read_all(renderer, array, 12), strict=True):
                assert (mask == rasterize(geometry, (100, 50), native_size=NATIVE)).all()
    array.release()


def test_a_frame_beyond_the_shaders_among_others(small: MaskRenderer) -> None:
    far = geometry_of([[(3, 4), (20, 9), (70000, 30)]])
    near = geometry_of([[(3, 4), (20, 9), (40, 30)]])
    array = small._ctx.texture_array((*SMALL, 3), 1)
    small.render_many([near, far, near], into=array)
    for geometry, mask in zip((near, far, near), read_all(small, array, 3), strict=True):
        assert (mask == rasterize(geometry, native_size=SMALL)).all()
    assert small.stats.cpu_fallbacks == 1
    array.release()


def test_no_frames_and_too_many(small: MaskRenderer) -> None:
    array = small._ctx.texture_array((*SMALL, 2), 1)
    small.render_many([], into=array)
    assert small.stats.frames == 0
    with pytest.raises(ValueError, match=r"layer: expected 0..1, found 1..2"):
        small.render_many([geometry_of([])] * 2, into=array, first_layer=1)
    with pytest.raises(TypeError, match="expected a moderngl.TextureArray, found Texture"):
        small.render_many([geometry_of([])], into=small._ctx.texture(SMALL, 1))  # type: ignore[arg-type]
    array.release()


@given(channels=frames(low=-40, high=140))
@pytest.mark.parametrize("step_x", [1, 2, 4, 8])
@pytest.mark.parametrize("step_y", [1, 4, 8])
def test_a_grid_of_every_nth_pixel(rasterizer: Any, channels: Any, step_x: int, step_y: int) -> None:
    """Outputs smaller by powers of two are drawn without the native mask; each pixel is the native one's all the
    same."""
    native = (128, 64)
    size = (native[0] // step_x, native[1] // step_y)
    geometry = geometry_of(channels)
    assert grid_for(native, size).step == (step_x, step_y)
    whole = rasterize(geometry, native_size=native)
    assert (rasterizer(geometry, size, native_size=native) == whole[::step_y, ::step_x]).all()


def test_a_coarse_grid_of_open_channels_alone(rasterizer: Any) -> None:
    """The segments that touch a pixel of the grid are drawn, also where none bounds an interior and they stand last."""
    geometry = geometry_of([[(5, 1), (5, 1)], [(0, 0), (0, 0)], [(9, 3), (10, 3)], [(16, 8), (17, 9)]])
    expected = np.zeros((8, 16), np.uint8)
    expected[0, 0] = expected[1, 2] = 255
    assert (rasterizer(geometry, (16, 8), native_size=(128, 64)) == expected).all()


def test_which_grids_are_coarse() -> None:
    assert grid_for((2048, 1024), (1024, 1024)).step == (2, 1)
    for size in ((2048 // 16, 1024), (2048, 300), (4096, 1024), (683, 341), (1, 1)):
        assert grid_for((2048, 1024), size) == (2048, 1024, 1, 1), size
    assert grid_for((30, 10), (15, 5)).step == (2, 2)
    assert MAX_STEP == 8


@pytest.mark.parametrize("size", [None, SMALL, (7, 9), (8, 8)])
def test_reading_frames_through_a_ring(small: MaskRenderer, size: tuple[int, int] | None) -> None:
    rng = np.random.default_rng(5)
    batch = [FrameGeometry(rng.integers(-10, 70, (n, 2))) for n in range(8)]
    for count in range(8):
        masks = list(small.read_frames(batch[:count], size=size))
        assert len(masks) == count
        for geometry, mask in zip(batch, masks, strict=False):
            assert (mask == rasterize(geometry, size, native_size=SMALL)).all()
            assert mask.flags.writeable
    assert small._ring.n_buffers == 3


def test_frames_are_taken_two_ahead_and_rings_may_be_left(small: MaskRenderer) -> None:
    taken = []

    def source() -> Iterator[FrameGeometry]:
        for n in range(10):
            taken.append(n)
            yield geometry_of([[(n, n), (n + 9, n), (n, n + 9)]])

    frames = small.read_frames(source())
    assert taken == []
    next(frames)
    assert taken == [0, 1, 2]
    mask = small.read(small.render(geometry_of([])))  # another call in between
    assert not mask.any()
    other = small.read_frames(source(), size=(5, 5))  # a second ring, of another size
    next(other)
    second = next(frames)
    assert (second == rasterize(geometry_of([[(1, 1), (10, 1), (1, 10)]]), native_size=SMALL)).all()
    frames.close()  # type: ignore[attr-defined]
    del other
    made = small.stats.gl_objects
    assert len(list(small.read_frames(source()))) == 10
    assert small.stats.gl_objects == made  # buffers of rings that were left are used again


def test_a_ring_after_release(ctx: moderngl.Context) -> None:
    renderer = MaskRenderer(ctx, native_size=SMALL)
    frames = renderer.read_frames([geometry_of([])] * 5)
    next(frames)
    renderer.release()
    with pytest.raises(ClosedError):
        next(frames)
    with pytest.raises(ValueError, match="size: expected"):
        renderer.read_frames([], size=(0, 1))
