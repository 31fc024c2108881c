"""
MaskRenderer with each method: reuse of objects, counters, targets, ownership.
"""

from __future__ import annotations

import threading
from typing import Any

import moderngl
import numpy as np
import pytest
from conftest import METHODS, need_method
from glstate import live_names
from support import NATIVE, geometry_of, golden_frames, sha256

import alphastream_gpu
from alphastream_gpu import (
    ClosedError,
    FrameGeometry,
    GLUnavailableError,
    MaskRenderer,
    RenderStats,
    WrongContextError,
    rasterize,
)
from alphastream_gpu._gl import method as method_module
from alphastream_gpu._gl.attach import identity_of

TRIANGLE = geometry_of([[(2, 2), (28, 5), (11, 27)]])
SMALL = (31, 33)
SINGULAR = {"compute": "compute", "triangle": "triangles", "upload": "upload"}
"""The names of the counters, and the methods that they count."""


def test_a_context_of_its_own(ctx_new: moderngl.Context, geometries: list[FrameGeometry]) -> None:
    for method in METHODS:
        need_method(method, ctx_new)
        with MaskRenderer(ctx_new, method=method) as renderer:
            texture = renderer.render(geometries[60])
            assert (texture.size, texture.components, texture.dtype) == (NATIVE, 1, "f1")
            assert texture.glo > 0
            assert sha256(renderer.read(texture)) == golden_frames()[60]["sha256"]


@pytest.mark.slow
def test_the_cost_of_a_frame(ctx: moderngl.Context, geometries: list[FrameGeometry], method: Any) -> None:
    """
    Three dispatches; or two draws for a single plane, and more draws for more planes; or only an upload. After warm-up,
    no frame creates a GL object. (The compute shaders use a small native size, to save CPU time.)
    """
    native_size = (512, 256) if method == "compute" else NATIVE
    with MaskRenderer(ctx, native_size=native_size, method=method) as renderer:
        target = ctx.texture((300, 200), 1)
        for geometry in geometries[::2]:
            renderer.render(geometry)
            renderer.render(geometry, into=target)
        warm = renderer.stats
        n_single_plane = 0
        for geometry in geometries[::2]:
            before = renderer.stats
            renderer.render(geometry)
            after = renderer.stats
            spent = [getattr(after, name) - getattr(before, name) for name in ("dispatches", "draws", "uploaded_bytes")]
            dispatches, draws, n_bytes = spent
            if method == "compute":
                assert (dispatches, draws) == (3, 0)
            elif method == "triangles":
                assert dispatches == 0
                assert draws == 2 if geometry.plane_count == 1 else draws > 2
                n_single_plane += draws == 2
            else:
                assert (dispatches, draws) == (0, 0)
            assert n_bytes == 2048 * 1024 if method == "upload" else n_bytes < 6144
            by_method = [getattr(after, f"{name}_frames") - getattr(before, f"{name}_frames") for name in SINGULAR]
            assert by_method == [name == method for name in SINGULAR.values()]
            assert after.frames - before.frames == 1
            renderer.render(geometry, into=target)
        assert n_single_plane > 30 or method != "triangles"
        assert renderer.stats.gl_objects == warm.gl_objects
        assert renderer.stats.cpu_fallbacks == 0
        target.release()


@pytest.mark.parametrize(
    ("method", "reaches"),
    [
        ("triangles", [(16383, 0), (-2048, 0), (16384, 1), (-2049, 2), (70000, 3), (-70000, 4)]),
        ("compute", [(16384, 0), (-32768, 0), (65538, 0), (65539, 1), (-65515, 1), (-65516, 2), (1 << 30, 3)]),
        ("upload", [(70000, 0)]),
    ],
)
def test_a_frame_too_far_outside_is_made_by_the_cpu_and_counted(
    ctx: moderngl.Context, method: Any, reaches: list[tuple[int, int]]
) -> None:
    need_method(method, ctx)
    with MaskRenderer(ctx, native_size=SMALL, method=method) as renderer:
        for reach, n_fallbacks in reaches:
            geometry = geometry_of([[(3, 4), (20, 9), (reach, 30)]])
            mask = renderer.read(renderer.render(geometry))
            assert (mask == rasterize(geometry, native_size=SMALL)).all()
            assert renderer.stats.cpu_fallbacks == n_fallbacks, reach
        stats = renderer.stats
        assert stats.frames == len(reaches)
        assert stats.upload_frames == (len(reaches) if method == "upload" else n_fallbacks)
        assert stats.compute_frames + stats.triangle_frames + stats.upload_frames == stats.frames


@pytest.mark.slow
def test_a_frame_of_very_many_points(ctx: moderngl.Context, method: Any) -> None:
    """The frame exceeds the bound of the triangles, but not that of the compute shaders. A small frame follows in the
    same memory."""
    rng = np.random.default_rng(1)
    with MaskRenderer(ctx, native_size=(64, 64), method=method) as renderer:
        for n_points, n_fallbacks in ((70_000, int(method == "triangles")), (30_000, int(method == "triangles"))):
            geometry = FrameGeometry(rng.integers(0, 64, (n_points, 2)))
            assert (renderer.read(renderer.render(geometry)) == rasterize(geometry, native_size=(64, 64))).all()
            assert renderer.stats.cpu_fallbacks == n_fallbacks
        small = renderer.read(renderer.render(TRIANGLE))
        assert (small == rasterize(TRIANGLE, native_size=(64, 64))).all()


@pytest.mark.parametrize("width", [1, 2, 3, 5, 31, 33, 1919])
def test_odd_widths_are_read_back_unpadded(ctx: moderngl.Context, width: int, method: Any) -> None:
    geometry = geometry_of([[(0, 0), (width - 1, 2), (width // 2, 6)]])
    with MaskRenderer(ctx, native_size=(width, 7), method=method) as renderer:
        mask = renderer.read(renderer.render(geometry))
    assert mask.shape == (7, width)
    assert mask.flags.writeable
    assert mask.flags.c_contiguous
    assert (mask == rasterize(geometry, native_size=(width, 7))).all()


def test_the_first_row_in_memory_is_the_top(ctx: moderngl.Context, method: Any) -> None:
    top = geometry_of([[(0, 0), (30, 0)]])
    with MaskRenderer(ctx, native_size=SMALL, method=method) as renderer:
        texture = renderer.render(top)
        assert texture.read(alignment=1)[:31] == b"\xff" * 31
        assert renderer.read(texture)[0].all()
        assert not renderer.read(texture)[1:].any()


def test_the_renderers_own_texture_is_overwritten_and_the_callers_is_kept(ctx: moderngl.Context, method: Any) -> None:
    with MaskRenderer(ctx, native_size=SMALL, method=method) as renderer:
        mine = ctx.texture(SMALL, 1)
        assert renderer.render(TRIANGLE, into=mine) is mine
        first = renderer.render(TRIANGLE)
        assert renderer.render(geometry_of([])) is first
        assert not renderer.read(first).any()
        assert (renderer.read(mine) == rasterize(TRIANGLE, native_size=SMALL)).all()
    assert mine.read(alignment=1) == rasterize(TRIANGLE, native_size=SMALL).tobytes()
    mine.release()


def test_targets_are_not_kept(ctx: moderngl.Context, method: Any) -> None:
    """A program that creates a texture per frame must not fill the renderer with framebuffers."""
    expected = rasterize(TRIANGLE, (16, 16), native_size=SMALL)
    with MaskRenderer(ctx, native_size=SMALL, method=method) as renderer:
        for i in range(20):
            target = ctx.texture((16, 16), 1)
            assert (renderer.read(renderer.render(TRIANGLE, into=target)) == expected).all()
            target.release()
            if i == 0:
                made = renderer.stats.gl_objects
        assert renderer.stats.gl_objects == made
        assert (renderer.read(renderer.render(TRIANGLE)) == rasterize(TRIANGLE, native_size=SMALL)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ({"components": 4}, "expected R8 .*, found the internal format 0x8058"),
        ({"components": 1, "dtype": "f2"}, "expected R8 .*, found the internal format 0x822d"),
        ({"components": 1, "samples": 4}, "expected R8 without multisampling, found samples=4"),
    ],
)
def test_other_textures_are_refused(ctx: moderngl.Context, make: dict[str, Any], message: str) -> None:
    texture = ctx.texture((16, 16), **make)
    with MaskRenderer(ctx, native_size=SMALL) as renderer:
        with pytest.raises(ValueError, match=message):
            renderer.render(TRIANGLE, into=texture)
        with pytest.raises(ValueError, match="expected R8"):
            renderer.read(texture)
    texture.release()


def test_objects_that_are_not_textures_of_this_context(ctx: moderngl.Context) -> None:
    released = ctx.texture((4, 4), 1)
    released.release()
    elsewhere = alphastream_gpu.create_headless_context()
    foreign = elsewhere.texture((4, 4), 1)
    ctx.__enter__()
    with MaskRenderer(ctx, native_size=SMALL) as renderer:
        for thing, error, message in (
            ("x", TypeError, "expected a moderngl.Texture or a GL name .int., found str"),
            (ctx.texture_array((4, 4, 1), 1), TypeError, "found TextureArray"),
            (released, ValueError, "is released"),
            (foreign, ValueError, "belongs to another context"),
        ):
            with pytest.raises(error, match=message):
                renderer.render(TRIANGLE, into=thing)  # type: ignore[arg-type]
    elsewhere.release()
    ctx.__enter__()


def broken_sources(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make the driver reject a stage."""
    real = method_module.shader_source

    def source(part: str, *arguments: Any, **options: Any) -> str:
        return real(part, *arguments, **options) + "nonsense" * part.startswith(name)

    monkeypatch.setattr(method_module, "shader_source", source)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["compute", "triangles"])
@pytest.mark.parametrize("is_checked", [False, True])
def test_a_failed_constructor_leaves_no_objects(
    ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch, method: Any, is_checked: bool
) -> None:
    need_method(method, ctx)
    with MaskRenderer(ctx, method=method):
        pass
    known = identity_of(ctx).exact_methods
    if not is_checked:
        known.discard(method)
    broken_sources(monkeypatch, "resolve")
    before = live_names()
    with pytest.raises(GLUnavailableError):
        MaskRenderer(ctx, method=method)
    after = live_names()
    assert after.pop("programs") <= before.pop("programs") + 1  # moderngl forgets the one that does not compile
    assert after == before
    assert (method in known) == is_checked


def test_another_thread_is_refused(ctx: moderngl.Context, method: Any) -> None:
    errors: list[Exception] = []
    with MaskRenderer(ctx, native_size=SMALL, method=method) as renderer:
        texture = renderer.render(TRIANGLE)

        def elsewhere() -> None:
            for call in (lambda: renderer.render(TRIANGLE), lambda: renderer.read(texture), renderer.release):
                try:
                    call()
                except WrongContextError as exc:
                    errors.append(exc)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert len(errors) == 3
        assert all("belongs to the thread that created it" in str(error) for error in errors)
        assert (renderer.read(texture) == rasterize(TRIANGLE, native_size=SMALL)).all()


def test_a_released_renderer(ctx: moderngl.Context, method: Any) -> None:
    renderer = MaskRenderer(ctx, native_size=SMALL, method=method)
    texture = renderer.render(TRIANGLE)
    assert repr(renderer) == f"<MaskRenderer 31x33 {method}>"
    renderer.release()
    renderer.release()
    assert repr(renderer) == f"<MaskRenderer 31x33 {method} released>"
    for call in (lambda: renderer.render(TRIANGLE), lambda: renderer.read(texture)):
        with pytest.raises(ClosedError, match="released"):
            call()


def test_many_renderers_one_after_the_other(ctx: moderngl.Context, method: Any) -> None:
    for _ in range(3):
        with MaskRenderer(ctx, native_size=SMALL, method=method) as renderer:
            renderer.render(TRIANGLE)
            assert ctx.error == "GL_NO_ERROR"


def test_stats_are_a_snapshot(ctx: moderngl.Context) -> None:
    with MaskRenderer(ctx, native_size=SMALL) as renderer:
        before = renderer.stats
        renderer.render(TRIANGLE)
        assert before == RenderStats(gl_objects=before.gl_objects)
        assert renderer.stats.frames == 1


@pytest.mark.parametrize(
    ("method", "stage", "message"),
    [
        (
            "triangles",
            "fill",
            r"the shaders of fill .*fill\.vert\.glsl', 'shared/package\.glsl', 'shared/lattice\.glsl'",
        ),
        ("compute", "cross", r"the shaders of cross_compute .*cross\.comp\.glsl', 'shared/package\.glsl'"),
    ],
)
def test_shaders_that_a_driver_rejects(
    ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch, method: Any, stage: str, message: str
) -> None:
    need_method(method, ctx)
    broken_sources(monkeypatch, stage)
    with pytest.raises(GLUnavailableError, match=f"rejects {message}"):
        MaskRenderer(ctx, method=method)
    assert ctx.error == "GL_NO_ERROR"


def test_a_released_texture_of_the_renderers_is_created_again(ctx: moderngl.Context, method: Any) -> None:
    with MaskRenderer(ctx, native_size=SMALL, method=method) as renderer:
        renderer.render(TRIANGLE).release()
        again = renderer.render(TRIANGLE)
        assert (renderer.read(again) == rasterize(TRIANGLE, native_size=SMALL)).all()
        assert renderer.render(TRIANGLE) is again


@pytest.mark.parametrize("size", [(0, 4), (4, 20000)])
def test_native_sizes_outside_their_range(ctx: moderngl.Context, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="native_size: expected"):
        MaskRenderer(ctx, native_size=size)
