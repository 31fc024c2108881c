"""
MaskRenderer beyond the bits: reuse, counters, targets, ownership.
"""

from __future__ import annotations

import threading
from typing import Any

import moderngl
import numpy as np
import pytest
from glstate import live_names
from support import NATIVE, geometry_of, golden_frames, sha256

import alphastream_gpu
from alphastream_gpu import ClosedError, FrameGeometry, GLUnavailableError, MaskRenderer, RenderStats, rasterize
from alphastream_gpu._gl import passes as passes_module

TRIANGLE = geometry_of([[(2, 2), (28, 5), (11, 27)]])
SMALL = (31, 33)


def test_a_context_of_its_own(ctx_new: moderngl.Context, geometries: list[FrameGeometry]) -> None:
    with MaskRenderer(ctx_new) as renderer:
        texture = renderer.render(geometries[60])
        assert (texture.size, texture.components, texture.dtype) == (NATIVE, 1, "f1")
        assert texture.glo > 0
        assert sha256(renderer.read(texture)) == golden_frames()[60]["sha256"]


def test_what_a_frame_costs(ctx: moderngl.Context, geometries: list[FrameGeometry]) -> None:
    """Two draws and one write for a single plane; after warm-up, no GL object is made, whatever comes."""
    with MaskRenderer(ctx) as renderer:
        target = ctx.texture((1000, 600), 1)
        for geometry in geometries:
            renderer.render(geometry)
            renderer.render(geometry, into=target)
        warm = renderer.stats
        single_plane = 0
        for geometry in geometries:
            before = renderer.stats
            renderer.render(geometry)
            after = renderer.stats
            assert after.frames - before.frames == 1
            assert after.uploaded_bytes - before.uploaded_bytes < 6144
            single_plane += after.draws - before.draws == 2
            renderer.render(geometry, into=target)
        assert single_plane > 60
        assert renderer.stats.gl_objects == warm.gl_objects
        assert renderer.stats.cpu_fallbacks == 0
        target.release()


def test_a_frame_too_far_outside_is_made_by_the_cpu_and_counted(ctx: moderngl.Context) -> None:
    with MaskRenderer(ctx, native_size=SMALL) as renderer:
        for reach, fallbacks in ((16000, 0), (16384, 1), (-16384, 2), (70000, 3)):
            geometry = geometry_of([[(3, 4), (20, 9), (reach, 30)]])
            mask = renderer.read(renderer.render(geometry))
            assert (mask == rasterize(geometry, native_size=SMALL)).all()
            assert renderer.stats.cpu_fallbacks == fallbacks
        assert renderer.stats.frames == 4


def test_a_frame_of_very_many_segments(ctx: moderngl.Context) -> None:
    rng = np.random.default_rng(1)
    geometry = FrameGeometry(rng.integers(0, 64, (70_000, 2)))
    with MaskRenderer(ctx, native_size=(64, 64)) as renderer:
        assert (renderer.read(renderer.render(geometry)) == rasterize(geometry, native_size=(64, 64))).all()
        assert renderer.stats.cpu_fallbacks == 1
        large = FrameGeometry(rng.integers(0, 64, (30_000, 2)))
        assert (renderer.read(renderer.render(large)) == rasterize(large, native_size=(64, 64))).all()
        assert renderer.stats.cpu_fallbacks == 1
        small = renderer.read(renderer.render(TRIANGLE))
        assert (small == rasterize(TRIANGLE, native_size=(64, 64))).all()


@pytest.mark.parametrize("width", [1, 2, 3, 5, 31, 33, 1919])
def test_odd_widths_are_read_back_unpadded(ctx: moderngl.Context, width: int) -> None:
    geometry = geometry_of([[(0, 0), (width - 1, 2), (width // 2, 6)]])
    with MaskRenderer(ctx, native_size=(width, 7)) as renderer:
        mask = renderer.read(renderer.render(geometry))
    assert mask.shape == (7, width)
    assert mask.flags.writeable
    assert mask.flags.c_contiguous
    assert (mask == rasterize(geometry, native_size=(width, 7))).all()


def test_the_first_row_in_memory_is_the_top(ctx: moderngl.Context) -> None:
    top = geometry_of([[(0, 0), (30, 0)]])
    with MaskRenderer(ctx, native_size=SMALL) as renderer:
        texture = renderer.render(top)
        assert texture.read(alignment=1)[:31] == b"\xff" * 31
        assert renderer.read(texture)[0].all()
        assert not renderer.read(texture)[1:].any()


def test_its_own_texture_is_overwritten_and_the_callers_kept(ctx: moderngl.Context) -> None:
    with MaskRenderer(ctx, native_size=SMALL) as renderer:
        mine = ctx.texture(SMALL, 1)
        assert renderer.render(TRIANGLE, into=mine) is mine
        first = renderer.render(TRIANGLE)
        assert renderer.render(geometry_of([])) is first
        assert not renderer.read(first).any()
        assert (renderer.read(mine) == rasterize(TRIANGLE, native_size=SMALL)).all()
    assert mine.read(alignment=1) == rasterize(TRIANGLE, native_size=SMALL).tobytes()
    mine.release()


def test_targets_are_not_held_on_to(ctx: moderngl.Context) -> None:
    """A program that makes a texture per frame must not fill the renderer with framebuffers."""
    expected = rasterize(TRIANGLE, (16, 16), native_size=SMALL)
    with MaskRenderer(ctx, native_size=SMALL) as renderer:
        for i in range(20):
            target = ctx.texture((16, 16), 1)
            assert (renderer.read(renderer.render(TRIANGLE, into=target)) == expected).all()
            target.release()
            if i == 0:
                made = renderer.stats.gl_objects
        assert renderer.stats.gl_objects == made
        assert (renderer.read(renderer.render(TRIANGLE)) == rasterize(TRIANGLE, native_size=SMALL)).all()


@pytest.mark.parametrize("make", [{"components": 4}, {"components": 1, "dtype": "f2"}, {"components": 1, "samples": 4}])
def test_other_textures_are_refused(ctx: moderngl.Context, make: dict[str, Any]) -> None:
    texture = ctx.texture((16, 16), **make)
    with MaskRenderer(ctx, native_size=SMALL) as renderer:
        with pytest.raises(ValueError, match="expected R8 without multisampling"):
            renderer.render(TRIANGLE, into=texture)
        with pytest.raises(ValueError, match="expected R8"):
            renderer.read(texture)
    texture.release()


def test_things_that_are_no_texture_of_this_context(ctx: moderngl.Context) -> None:
    released = ctx.texture((4, 4), 1)
    released.release()
    elsewhere = alphastream_gpu.create_headless_context()
    foreign = elsewhere.texture((4, 4), 1)
    ctx.__enter__()
    with MaskRenderer(ctx, native_size=SMALL) as renderer:
        for thing, error, message in (
            ("x", TypeError, "expected a moderngl.Texture or a GL name .int., found str"),
            (ctx.texture_array((4, 4, 1), 1), TypeError, "found TextureArray"),
            (released, ValueError, "it is released"),
            (foreign, ValueError, "belongs to another context"),
        ):
            with pytest.raises(error, match=message):
                renderer.render(TRIANGLE, into=thing)  # type: ignore[arg-type]
    elsewhere.release()
    ctx.__enter__()


def test_a_renderer_that_cannot_be_made_leaves_nothing(ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    real = passes_module.shader_source
    monkeypatch.setattr(passes_module, "shader_source", lambda name, *of: real(name, *of) + "x" * ("resolve" in name))
    before = live_names()
    with pytest.raises(GLUnavailableError):
        MaskRenderer(ctx)
    after = live_names()
    assert after.pop("programs") <= before.pop("programs") + 1  # moderngl forgets the one that does not compile
    assert after == before


def test_another_thread_is_refused(ctx: moderngl.Context) -> None:
    errors: list[Exception] = []
    with MaskRenderer(ctx, native_size=SMALL) as renderer:
        texture = renderer.render(TRIANGLE)

        def elsewhere() -> None:
            for call in (lambda: renderer.render(TRIANGLE), lambda: renderer.read(texture), renderer.release):
                try:
                    call()
                except GLUnavailableError as exc:
                    errors.append(exc)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert len(errors) == 3
        assert all("belongs to the thread that made it" in str(error) for error in errors)
        assert (renderer.read(texture) == rasterize(TRIANGLE, native_size=SMALL)).all()


def test_a_released_renderer(ctx: moderngl.Context) -> None:
    renderer = MaskRenderer(ctx, native_size=SMALL)
    texture = renderer.render(TRIANGLE)
    assert repr(renderer) == "<MaskRenderer 31x33>"
    renderer.release()
    renderer.release()
    assert repr(renderer) == "<MaskRenderer 31x33 released>"
    for call in (lambda: renderer.render(TRIANGLE), lambda: renderer.read(texture)):
        with pytest.raises(ClosedError, match="released"):
            call()


def test_many_renderers_one_after_the_other(ctx: moderngl.Context) -> None:
    for _ in range(3):
        with MaskRenderer(ctx, native_size=SMALL) as renderer:
            renderer.render(TRIANGLE)
            assert ctx.error == "GL_NO_ERROR"


def test_stats_are_a_snapshot(ctx: moderngl.Context) -> None:
    with MaskRenderer(ctx, native_size=SMALL) as renderer:
        before = renderer.stats
        renderer.render(TRIANGLE)
        assert before == RenderStats(gl_objects=before.gl_objects)
        assert renderer.stats.frames == 1


def test_shaders_that_a_driver_refuses(ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    real = passes_module.shader_source
    monkeypatch.setattr(passes_module, "shader_source", lambda name, *of: real(name, *of) + "nonsense")
    with pytest.raises(
        GLUnavailableError, match=r"refuses the fill shaders .*fill\.vert\.glsl', 'shared/lattice\.glsl'"
    ):
        MaskRenderer(ctx)
    assert ctx.error == "GL_NO_ERROR"


@pytest.mark.parametrize("size", [(0, 4), (4, 20000)])
def test_native_sizes_outside_their_range(ctx: moderngl.Context, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="native_size: expected"):
        MaskRenderer(ctx, native_size=size)
