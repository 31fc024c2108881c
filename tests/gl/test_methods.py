"""
Methods: the choice of a renderer's method, the properties that all methods share, and the counters of each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import moderngl
import numpy as np
import pytest
from conftest import METHODS, need_method
from glstate import live_names
from support import SAMPLE, geometry_of

import alphastream_gpu
from alphastream_gpu import (
    AlphaStream,
    ClosedError,
    FrameGeometry,
    GLUnavailableError,
    MaskRenderer,
    NotReadyError,
    RenderStats,
    WrongContextError,
    rasterize,
)
from alphastream_gpu._gl import SHADER_METHODS, choice, compute, mesh, selfcheck
from alphastream_gpu._gl.attach import identity_of
from alphastream_gpu._gl.drivers import is_software
from alphastream_gpu._gl.packing import Package

NATIVE = (61, 33)
TRIANGLE = geometry_of([[(2, 2), (28, 5), (11, 27)]])
OVERLAPPING = geometry_of([[(2, 2), (58, 5), (11, 27)], [(9, 3), (50, 30), (30, 1)], [(0, 30), (60, 2)]])


@pytest.fixture
def unchecked(ctx: moderngl.Context) -> Any:
    """The session's context, as if no method had been checked on it. The known results are restored afterwards."""
    identity = identity_of(ctx)
    known = set(identity.exact_methods)
    identity.exact_methods.clear()
    yield identity
    identity.exact_methods.clear()
    identity.exact_methods.update(known)


@pytest.fixture
def hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the driver look like a GPU's."""
    monkeypatch.setattr(choice, "is_software", lambda name: False)


def test_a_method_by_its_name(ctx: moderngl.Context, method: Any) -> None:
    with MaskRenderer(ctx, native_size=NATIVE, method=method) as renderer:
        assert renderer.method == method
        assert renderer.is_exact
        assert repr(renderer) == f"<MaskRenderer 61x33 {method}>"
    assert (*SHADER_METHODS, "upload") == METHODS


def test_software_drivers_use_the_upload(ctx: moderngl.Context) -> None:
    """Unless the caller names a method: shaders on the CPU are slower than the CPU twin and an upload."""
    with MaskRenderer(ctx) as renderer:
        if is_software(ctx.info["GL_RENDERER"]):
            assert renderer.method == "upload"
        else:
            assert renderer.method in SHADER_METHODS
        assert renderer.is_exact


@pytest.mark.usefixtures("hardware")
def test_gpus_use_the_fastest_available_method(
    ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    need_method("compute", ctx)
    with MaskRenderer(ctx, method="auto") as renderer:
        assert renderer.method == "compute"
    monkeypatch.setattr(compute, "missing", lambda gl: "compute shaders are out of stock")
    with caplog.at_level(logging.INFO, "alphastream_gpu"), MaskRenderer(ctx) as renderer:
        assert renderer.method == "triangles"
        assert renderer.is_exact
    assert "the method compute is not available: compute shaders are out of stock" in caplog.text
    with pytest.raises(GLUnavailableError, match="out of stock"):
        MaskRenderer(ctx, method="compute")


@pytest.mark.parametrize("wrong", [{"compute"}, {"compute", "triangles"}, {"triangles"}])
@pytest.mark.usefixtures("hardware", "unchecked")
def test_a_method_with_wrong_pixels_is_not_used(
    ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch, wrong: set[str]
) -> None:
    """Even if it was asked for by name. Then is_exact is False."""
    need_method("compute", ctx)
    tried = _count_instead(monkeypatch, lambda name: 5 if name in wrong else 0)
    taken = next((name for name in SHADER_METHODS if name not in wrong), "upload")
    with MaskRenderer(ctx, native_size=NATIVE) as renderer:
        assert renderer.method == taken
        assert renderer.is_exact == (taken == "compute")
        assert (renderer.read(renderer.render(OVERLAPPING)) == rasterize(OVERLAPPING, native_size=NATIVE)).all()
        assert renderer.stats.cpu_fallbacks == 0
    for name in SHADER_METHODS:
        with MaskRenderer(ctx, method=name) as renderer:  # type: ignore[arg-type]
            assert renderer.method == ("upload" if name in wrong else name)
            assert renderer.is_exact == (name not in wrong)
    assert {name for name in tried if tried.count(name) > 1} == wrong  # a method that passed is not checked again


def _count_instead(monkeypatch: pytest.MonkeyPatch, count: Callable[[str], int]) -> list[str]:
    """Set the self-check's number of wrong pixels by method. Return the list that checked methods are added to."""
    tried: list[str] = []
    real = choice.Chooser._count_wrong

    def counted(self: choice.Chooser, name: str, *, is_thorough: bool) -> int:
        assert real(self, name, is_thorough=is_thorough) == 0
        tried.append(name)
        return count(name)

    monkeypatch.setattr(choice.Chooser, "_count_wrong", counted)
    return tried


@pytest.mark.slow
@pytest.mark.parametrize("method", SHADER_METHODS)
def test_a_method_is_checked_once_per_context(
    ctx: moderngl.Context, unchecked: Any, monkeypatch: pytest.MonkeyPatch, method: Any
) -> None:
    """The check does not change the renderer's counters, and leaves no GL objects."""
    need_method(method, ctx)
    tried = _count_instead(monkeypatch, lambda name: 0)
    before = live_names()
    stats = []
    for _ in range(3):
        with MaskRenderer(ctx, native_size=NATIVE, method=method) as renderer:
            stats.append(renderer.stats)
    assert tried == [method]
    assert unchecked.exact_methods == {method}
    assert stats[0] == stats[1] == stats[2] == RenderStats(gl_objects=stats[0].gl_objects)
    assert live_names() == before


def test_the_self_check_finds_a_wrong_pixel() -> None:
    """In any of its masks: alone and in a batch, at each size."""
    asked: list[tuple[int, tuple[int, int]]] = []

    def masks(geometries: Sequence[FrameGeometry], size: tuple[int, int]) -> list[np.ndarray]:
        asked.append((len(geometries), size))
        return [rasterize(geometry, size, native_size=selfcheck.NATIVE_SIZE) for geometry in geometries]

    assert selfcheck.count_wrong_pixels(masks) == 0
    assert asked == [(count, size) for size in selfcheck.SIZES for count in (1, 3)]

    def broken(geometries: Sequence[FrameGeometry], size: tuple[int, int]) -> list[np.ndarray]:
        made = masks(geometries, size)
        made[-1][size[1] // 2, size[0] // 2] ^= 255
        return made

    assert selfcheck.count_wrong_pixels(broken) == 2 * len(selfcheck.SIZES)


@pytest.mark.parametrize("method", ["Compute", "", "gpu", None, 1])
def test_an_unknown_method(ctx: moderngl.Context, method: Any) -> None:
    with pytest.raises(ValueError, match="method: expected auto, compute, triangles or upload, found"):
        MaskRenderer(ctx, method=method)


def test_every_method_makes_the_same_bits_and_counts_its_masks(ctx: moderngl.Context, method: Any) -> None:
    """Each method renders the same frames into every kind of target. Each mask is counted once, for its method."""
    far = geometry_of([[(3, 4), (20, 9), (70000, 30)]])
    counter = {"compute": "compute_frames", "triangles": "triangle_frames", "upload": "upload_frames"}[method]
    with MaskRenderer(ctx, native_size=NATIVE, method=method) as renderer:
        flat, array = ctx.texture((40, 70), 1), ctx.texture_array((*NATIVE, 5), 1)
        for geometry in (OVERLAPPING, TRIANGLE, geometry_of([]), far):
            expected = rasterize(geometry, native_size=NATIVE)
            assert (renderer.read(renderer.render(geometry)) == expected).all()
            renderer.render(geometry, into=flat)
            assert (renderer.read(flat) == rasterize(geometry, (40, 70), native_size=NATIVE)).all()
            renderer.render(geometry, into=array, layer=4)
            renderer.render_many([geometry, TRIANGLE, geometry], into=array, first_layer=1)
            for layer in (1, 3, 4):
                found = renderer.read(array, layer=layer)
                assert (found == (expected if layer < 4 else rasterize(geometry, native_size=NATIVE))).all()
            [mask] = renderer.read_frames([geometry])
            assert (mask == expected).all()
        stats = renderer.stats
        n_far = 0 if method == "upload" else 6  # alone, scaled, a layer, two of a batch, read back
        assert stats.frames == 4 * 7
        assert (stats.cpu_fallbacks, getattr(stats, counter)) == (n_far, 28 - n_far)
        assert stats.compute_frames + stats.triangle_frames + stats.upload_frames == stats.frames
        assert bool(stats.dispatches) == (method == "compute")
        assert bool(stats.draws) == (method == "triangles")
        flat.release()
        array.release()


def test_bounds_of_the_triangle_method(ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames within a bound are drawn, others made by the CPU twin. test_compute.py has the compute shaders' bounds."""
    spot = [(3, 3), (28, 5), (20, 27)]
    points = np.random.default_rng(1).integers(0, 6, (mesh.MAX_POINTS + 1, 2))
    n_words = Package.words_for(3, 1)
    with MaskRenderer(ctx, native_size=NATIVE, method="triangles") as renderer:

        def is_drawn(geometry: FrameGeometry) -> bool:
            before = renderer.stats
            assert (renderer.read(renderer.render(geometry)) == rasterize(geometry, native_size=NATIVE)).all()
            after = renderer.stats
            n_drawn = after.triangle_frames - before.triangle_frames
            assert after.cpu_fallbacks - before.cpu_fallbacks == after.upload_frames - before.upload_frames
            assert n_drawn + after.upload_frames - before.upload_frames == 1
            return bool(n_drawn)

        assert is_drawn(FrameGeometry(points[:-1]))
        assert not is_drawn(FrameGeometry(points))
        assert is_drawn(geometry_of([spot] * 64))
        assert not is_drawn(geometry_of([spot] * 65))
        for at, fits in ((-2048, True), (-2049, False), (16383, True), (16384, False)):
            assert is_drawn(geometry_of([spot, [(at, 3)]])) == fits
            assert is_drawn(geometry_of([[(3, at)], spot])) == fits
        assert not is_drawn(geometry_of([spot, [(-2048, 3), (14400, 9)]]))  # 16,449 from end to end
        monkeypatch.setattr(renderer._method, "_most_words", n_words)
        assert is_drawn(geometry_of([spot]))
        assert not is_drawn(geometry_of([[*spot, (9, 9)]]))


def test_uploaded_bytes(ctx: moderngl.Context, method: Any) -> None:
    """The size of the package, or of the mask."""
    package = Package()
    assert OVERLAPPING.planes is not None
    package.pack([OVERLAPPING], [OVERLAPPING.planes])
    with MaskRenderer(ctx, native_size=NATIVE, method=method) as renderer:
        renderer.render(OVERLAPPING)
        assert renderer.stats.uploaded_bytes == (61 * 33 if method == "upload" else package.n_bytes)


def test_without_preserving_the_hosts_state(ctx_new: moderngl.Context) -> None:
    for method in METHODS:
        need_method(method, ctx_new)
        with MaskRenderer(ctx_new, native_size=NATIVE, method=method, preserve_state=False) as renderer:
            assert renderer.method == method
            array = ctx_new.texture_array((40, 37, 2), 1)
            for geometry in (OVERLAPPING, TRIANGLE) * 2:
                assert (renderer.read(renderer.render(geometry)) == rasterize(geometry, native_size=NATIVE)).all()
                renderer.render_many([geometry, TRIANGLE], into=array)
                mask = renderer.read(array, layer=0)
                assert (mask == rasterize(geometry, (40, 37), native_size=NATIVE)).all()
            array.release()


@pytest.mark.slow
def test_release_leaves_no_objects(ctx: moderngl.Context, method: Any) -> None:
    MaskRenderer(ctx, native_size=NATIVE, method=method).release()  # checks the method
    host, array = ctx.texture((20, 10), 1), ctx.texture_array((20, 10, 3), 1)
    before = live_names()
    with MaskRenderer(ctx, native_size=NATIVE, method=method) as renderer:
        renderer.render(OVERLAPPING)
        renderer.render(OVERLAPPING, into=host)
        renderer.render_many([OVERLAPPING] * 3, into=array)
        assert len(list(renderer.read_frames([OVERLAPPING] * 4, size=(9, 9)))) == 4
    assert live_names() == before
    host.release()
    array.release()


@pytest.mark.slow
def test_objects_are_counted_and_created_once(ctx: moderngl.Context, method: Any) -> None:
    """The counter equals the number of GL's objects. Frames of known sizes create none."""
    MaskRenderer(ctx, native_size=NATIVE, method=method).release()
    target, array = ctx.texture((40, 37), 1), ctx.texture_array((40, 37, 3), 1)
    before = live_names()
    with MaskRenderer(ctx, native_size=NATIVE, method=method) as renderer:

        def use() -> None:
            for geometry in (OVERLAPPING, TRIANGLE, geometry_of([])):
                renderer.render(geometry)
                renderer.render(geometry, into=target)
                renderer.render_many([geometry, OVERLAPPING], into=array)
                renderer.read(target)
            list(renderer.read_frames([OVERLAPPING] * 4))

        use()
        made = renderer.stats.gl_objects
        after = live_names()
        # The shaders of a program are not counted.
        assert made == sum(after[kind] - before[kind] for kind in after if kind != "shaders")
        use()
        assert renderer.stats.gl_objects == made
        assert live_names() == after
    target.release()
    array.release()


def test_another_context_is_refused(ctx: moderngl.Context, method: Any) -> None:
    """Nothing is rendered, and nothing is released."""
    with MaskRenderer(ctx, native_size=NATIVE, method=method) as renderer:
        frames = renderer.read_frames([TRIANGLE] * 5)
        next(frames)
        texture = renderer.render(TRIANGLE)
        other = alphastream_gpu.create_headless_context()
        try:
            for call in (
                lambda: renderer.render(TRIANGLE),
                lambda: renderer.render_many([TRIANGLE], into=1),
                lambda: renderer.read(texture),
                lambda: next(renderer.read_frames([TRIANGLE])),
                renderer.release,
            ):
                with pytest.raises(WrongContextError, match="is not current on this thread"):
                    call()
            assert other.error == "GL_NO_ERROR"
        finally:
            other.release()
            ctx.__enter__()
        assert (renderer.read(texture) == rasterize(TRIANGLE, native_size=NATIVE)).all()
        assert (next(frames) == rasterize(TRIANGLE, native_size=NATIVE)).all()


def test_a_renderer_for_a_stream(ctx: moderngl.Context, method: Any) -> None:
    """The renderer has the stream's native size. The stream then prepares frames for renderers."""
    with alphastream_gpu.open(SAMPLE) as stream:
        with MaskRenderer.for_stream(stream, ctx, method=method) as renderer:
            assert renderer.native_size == stream.metadata.native_size == (2048, 1024)
            assert renderer.method == method
            geometry = stream.get_geometry(60)
            assert geometry is not None
            assert (renderer.read(renderer.render(geometry)) == rasterize(geometry)).all()
        stream.load_source(SAMPLE)
        geometry = stream.get_geometry(61)
        assert hasattr(geometry, "_planes"), "computed where it was decoded"


@pytest.mark.slow
def test_a_renderer_for_a_stream_without_a_source(ctx: moderngl.Context) -> None:
    before = live_names()
    with AlphaStream() as stream, pytest.raises(NotReadyError):
        MaskRenderer.for_stream(stream, ctx)
    assert live_names() == before


@pytest.mark.slow
def test_a_renderer_for_a_closed_stream(ctx: moderngl.Context) -> None:
    before = live_names()
    stream = alphastream_gpu.open(SAMPLE)
    stream.close()
    with pytest.raises(ClosedError):
        MaskRenderer.for_stream(stream, ctx)
    assert live_names() == before
