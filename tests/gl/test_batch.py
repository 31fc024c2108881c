"""
Batches: they have the bits of single renders, with each method, and take three dispatches with compute shaders. Also
outputs that are smaller by powers of two, which the triangles draw without a native mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import moderngl
import numpy as np
import pytest
from conftest import need_method
from hypothesis import given, settings
from hypothesis import strategies as st
from support import NATIVE, frames, geometry_of

from alphastream_gpu import FrameGeometry, MaskRenderer, rasterize
from alphastream_gpu._gl import compute as compute_module
from alphastream_gpu._gl.mesh import MAX_STEP, grid_for

SMALL = (64, 32)


def read_all(renderer: MaskRenderer, array: moderngl.TextureArray, count: int, first: int = 0) -> list[np.ndarray]:
    return [renderer.read(array, layer=layer) for layer in range(first, first + count)]


@pytest.fixture
def small(ctx: moderngl.Context, method: Any) -> Iterator[MaskRenderer]:
    with MaskRenderer(ctx, native_size=SMALL, method=method) as renderer:
        assert renderer.method == method
        yield renderer


@pytest.mark.slow
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
    array = ctx.texture_array((*size, len(batch) + 4), 1, noise, alignment=1)
    small.render_many(geometries, into=array, first_layer=first)
    for geometry, mask in zip(geometries, read_all(small, array, len(batch), first), strict=True):
        assert (mask == rasterize(geometry, size, native_size=SMALL)).all()
    for layer in (*range(first), *range(first + len(batch), len(batch) + 4)):
        assert (small.read(array, layer=layer) == 0x7F).all(), "a layer that is not the batch's"
    array.release()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(256, 128), (1024, 512), (500, 300), NATIVE])
def test_the_sample(ctx: moderngl.Context, geometries: list[FrameGeometry], size: tuple[int, int], method: Any) -> None:
    batch = geometries[24:32]
    array = ctx.texture_array((*size, len(batch)), 1)
    with MaskRenderer(ctx, method=method) as renderer:
        renderer.render_many(batch, into=array)
        for geometry, mask in zip(batch, read_all(renderer, array, len(batch)), strict=True):
            assert (mask == rasterize(geometry, size, native_size=NATIVE)).all()
    array.release()


@pytest.mark.slow
def test_what_a_batch_costs(ctx: moderngl.Context, geometries: list[FrameGeometry], method: Any) -> None:
    """
    With compute shaders, 64 frames take one upload and three dispatches, whether channels overlap or not. Triangles are
    drawn frame by frame, and masks are uploaded one by one. The native size is small to save time, so the frames extend
    beyond the window.
    """
    array = ctx.texture_array((256, 128, 64), 1)
    with MaskRenderer(ctx, native_size=(512, 256), method=method) as renderer:
        costs = []
        for geometry in geometries[:64]:
            before = renderer.stats
            renderer.render(geometry, into=array, layer=3)
            after = renderer.stats
            costs.append((after.draws - before.draws, after.uploaded_bytes - before.uploaded_bytes))
        for _ in range(2):
            before = renderer.stats
            renderer.render_many(geometries[:64], into=array)
            after = renderer.stats
        assert after.frames - before.frames == 64
        assert after.gl_objects == before.gl_objects
        assert after.cpu_fallbacks == 0
        assert after.dispatches - before.dispatches == (3 if method == "compute" else 0)
        assert after.draws - before.draws == (sum(draws for draws, _ in costs) if method == "triangles" else 0)
        n_bytes = after.uploaded_bytes - before.uploaded_bytes
        singly = sum(n_bytes for _, n_bytes in costs)
        assert n_bytes < singly if method == "compute" else n_bytes == singly
    array.release()


def test_64_frames_of_native_size_are_one_part(ctx: moderngl.Context, geometries: list[FrameGeometry]) -> None:
    """64 frames fit within the bounds, including the sample's frames with the most overlaps."""
    need_method("compute", ctx)
    with MaskRenderer(ctx, method="compute") as renderer:
        compute: Any = renderer._method
        plans = [compute.plan(geometry, NATIVE) for geometry in geometries[:64]]
        assert [len(part) for part in compute._parts(plans, 64)] == [64]


@pytest.mark.parametrize(
    ("name", "bound", "parts"),
    [
        ("MAX_POINTS", 40, [4, 4, 4]),
        ("MAX_POINTS", 39, [3, 3, 3, 3]),
        ("MAX_POINTS", 10, [1] * 12),
        ("MAX_POINTS", 9, None),
        ("MAX_STEPS", 10 * 60 * 5, [5, 5, 2]),
        ("MAX_STEPS", 10 * 60 * 5 - 1, [4, 4, 4]),
        ("_most_planes", 12 * 3, [12]),
        ("_most_planes", 12 * 3 - 1, [11, 1]),
        ("_most_planes", 3, [1] * 12),
        ("_most_planes", 2, None),
    ],
)
def test_large_batches_are_dispatched_in_parts(
    ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch, name: str, bound: int, parts: list[int] | None
) -> None:
    """Each bound is tested alone. If a bound is below what one frame needs, the CPU makes the masks. Other layers do
    not
    change."""
    need_method("compute", ctx)
    rng = np.random.default_rng(1)
    batch = []
    for _ in range(12):  # ten points each, 60 pixels wide, one plane
        points = rng.integers(0, 32, (10, 2))
        points[:2, 0] = 0, 60
        batch.append(FrameGeometry(points))
    array = ctx.texture_array((*SMALL, 15), 1, b"\x7f" * (15 * SMALL[0] * SMALL[1]))
    with MaskRenderer(ctx, native_size=SMALL, method="compute") as renderer:
        monkeypatch.setattr(renderer._method if name.startswith("_") else compute_module, name, bound)
        renderer.render_many(batch, into=array, first_layer=2)
        for geometry, mask in zip(batch, read_all(renderer, array, 12, 2), strict=True):
            assert (mask == rasterize(geometry, native_size=SMALL)).all()
        for layer in (0, 1, 14):
            assert (renderer.read(array, layer=layer) == 0x7F).all()
        stats = renderer.stats
        assert stats.dispatches == 3 * len(parts or ())
        assert (stats.compute_frames, stats.cpu_fallbacks) == ((12, 0) if parts else (0, 12))
        if parts:
            compute: Any = renderer._method
            plans = [compute.plan(geometry, SMALL) for geometry in batch]
            assert [len(part) for part in compute._parts(plans, 12)] == parts
    array.release()


def test_a_cpu_frame_in_the_middle_of_a_batch(small: MaskRenderer) -> None:
    """The CPU makes only that frame. The frames before it are one batch, and those after it another."""
    far = geometry_of([[(3, 4), (20, 9), (70000, 30)]])
    near = geometry_of([[(3, 4), (20, 9), (40, 30)]])
    batch = [far, near, near, far, far, near, geometry_of([]), far]
    array = small._ctx.texture_array((*SMALL, 10), 1, b"\x7f" * (10 * SMALL[0] * SMALL[1]))
    small.render_many(batch, into=array, first_layer=1)
    for geometry, mask in zip(batch, read_all(small, array, 8, 1), strict=True):
        assert (mask == rasterize(geometry, native_size=SMALL)).all()
    for layer in (0, 9):
        assert (small.read(array, layer=layer) == 0x7F).all()
    stats = small.stats
    is_shader = small.method != "upload"
    assert (stats.frames, stats.cpu_fallbacks, stats.upload_frames) == (8, 4 * is_shader, 4 if is_shader else 8)
    assert stats.compute_frames == (4 if small.method == "compute" else 0)
    assert stats.triangle_frames == (4 if small.method == "triangles" else 0)
    assert stats.dispatches == (6 if small.method == "compute" else 0)
    array.release()


def test_frames_without_points(small: MaskRenderer) -> None:
    """Nothing is dispatched for missing segments, but every pixel is written."""
    array = small._ctx.texture_array((*SMALL, 3), 1, b"\x7f" * (3 * SMALL[0] * SMALL[1]))
    small.render_many([geometry_of([]), geometry_of([[], []]), geometry_of([])], into=array)
    assert not any(mask.any() for mask in read_all(small, array, 3))
    assert small.stats.dispatches == (2 if small.method == "compute" else 0)
    array.release()


def test_batches_of_growing_and_shrinking_sizes(small: MaskRenderer) -> None:
    """More frames, more planes, or fewer of both change the layout of the working memory."""
    rng = np.random.default_rng(3)
    array = small._ctx.texture_array((*SMALL, 9), 1)
    for n_frames, n_channels in ((1, 1), (3, 2), (1, 9), (9, 1), (2, 5), (8, 9), (1, 1), (9, 9), (4, 3)):
        offsets = 6 * np.arange(n_channels + 1)
        batch = [FrameGeometry(rng.integers(-5, 60, (6 * n_channels, 2)), offsets) for _ in range(n_frames)]
        small.render_many(batch, into=array)
        for geometry, mask in zip(batch, read_all(small, array, n_frames), strict=True):
            assert (mask == rasterize(geometry, native_size=SMALL)).all(), (n_frames, n_channels)
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


@pytest.mark.slow
@settings(max_examples=30)
@given(channels=frames(low=-40, high=140))
@pytest.mark.parametrize("step_x", [1, 2, 4, 8])
@pytest.mark.parametrize("step_y", [1, 4, 8])
def test_a_grid_of_every_nth_pixel(rasterizer: Any, channels: Any, step_x: int, step_y: int) -> None:
    """Outputs that are smaller by powers of two are drawn without a native mask. Their pixels equal the native ones."""
    native = (128, 64)
    size = (native[0] // step_x, native[1] // step_y)
    geometry = geometry_of(channels)
    assert grid_for(native, size).step == (step_x, step_y)
    whole = rasterize(geometry, native_size=native)
    assert (rasterizer(geometry, size, native_size=native) == whole[::step_y, ::step_x]).all()


def test_a_coarse_grid_of_open_channels_alone(rasterizer: Any) -> None:
    """Segments that touch a pixel of the grid are drawn, even if they are the last ones and none bounds an interior."""
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
