"""
Methods: which one a renderer takes, what they have in common, and what is counted for each.
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
    """The session's context as if no method had been tried on it yet; what is known is put back."""
    identity = identity_of(ctx)
    known = set(identity.exact_methods)
    identity.exact_methods.clear()
    yield identity
    identity.exact_methods.clear()
    identity.exact_methods.update(known)


@pytest.fixture
def hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the driver were a GPU's."""
    monkeypatch.setattr(choice, "is_software", lambda name: False)


def test_a_method_by_its_name(ctx: moderngl.Context, method: Any) -> None:
    with MaskRenderer(ctx, native_size=NATIVE, method=method) as renderer:
        assert renderer.method == method
        assert renderer.is_exact
        assert repr(renderer) == f"<MaskRenderer 61x33 {method}>"
    assert (*SHADER_METHODS, "upload") == METHODS


def test_software_drivers_get_the_cpus_masks(ctx: moderngl.Context) -> None:
    """Unless a method is named: their shaders take longer than the CPU twin and an upload."""
    with MaskRenderer(ctx) as renderer:
        if is_software(ctx.info["GL_RENDERER"]):
            assert renderer.method == "upload"
        else:
            assert renderer.method in SHADER_METHODS
        assert renderer.is_exact


@pytest.mark.usefixtures("hardware")
def test_gpus_get_the_fastest_that_is_there(
    ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    need_method("compute", ctx)
    with MaskRenderer(ctx, method="auto") as renderer:
        assert renderer.method == "compute"
    monkeypatch.setattr(compute, "missing", lambda gl: "compute shaders are out of stock")
    with caplog.at_level(logging.INFO, "alphastream_gpu"), MaskRenderer(ctx) as renderer:
        assert renderer.method == "triangles"
        assert renderer.is_exact
    assert "the method compute is not there: compute shaders are out of stock" in caplog.text
    with pytest.raises(GLUnavailableError, match="out of stock"):
        MaskRenderer(ctx, method="compute")


@pytest.mark.parametrize("wrong", [{"compute"}, {"compute", "triangles"}, {"triangles"}])
@pytest.mark.usefixtures("hardware", "unchecked")
def test_what_gets_pixels_wrong_is_left_out(
    ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch, wrong: set[str]
) -> None:
    """Also where it was asked for by name; what is taken then tells that something was not exact."""
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
    assert {name for name in tried if tried.count(name) > 1} == wrong  # what passed once is not tried again


def _count_instead(monkeypatch: pytest.MonkeyPatch, count: Callable[[str], int]) -> list[str]:
    """Let the self-check find so many wrong pixels, by the method's name; which methods are checked, in turn."""
    tried: list[str] = []
    real = choice.Chooser._count_wrong

    def counted(self: choice.Chooser, name: str, *, is_thorough: bool) -> int:
        assert real(self, name, is_thorough=is_thorough) == 0
        tried.append(name)
        return count(name)

    monkeypatch.setattr(choice.Chooser, "_count_wrong", counted)
    return tried


@pytest.mark.parametrize("method", SHADER_METHODS)
def test_a_method_is_checked_once_a_context(
    ctx: moderngl.Context, unchecked: Any, monkeypatch: pytest.MonkeyPatch, method: Any
) -> None:
    """What the check costs is nobody's but the context's: it is not counted, and nothing of it stays."""
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


def test_the_self_check_sees_what_is_wrong() -> None:
    """A pixel in any of its masks: alone and in a batch, at each size."""
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
def test_no_such_method(ctx: moderngl.Context, method: Any) -> None:
    with pytest.raises(ValueError, match="method: expected auto, compute, triangles or upload, found"):
        MaskRenderer(ctx, method=method)


def test_the_method_keeps_the_bits_and_counts_them(ctx: moderngl.Context, method: Any) -> None:
    """The same frames by each, into every kind of target; each mask is counted once, for the method that made it."""
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


def test_bounds_of_the_triangles(ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to each bound they are drawn, beyond it the CPU twin makes the mask; test_compute.py has the other's."""
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


def test_what_is_uploaded(ctx: moderngl.Context, method: Any) -> None:
    """The package, or the mask."""
    package = Package()
    assert OVERLAPPING.planes is not None
    package.pack([OVERLAPPING], [OVERLAPPING.planes])
    with MaskRenderer(ctx, native_size=NATIVE, method=method) as renderer:
        renderer.render(OVERLAPPING)
        assert renderer.stats.uploaded_bytes == (61 * 33 if method == "upload" else package.n_bytes)


def test_without_keeping_the_hosts_state(ctx_new: moderngl.Context) -> None:
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


def test_release_leaves_nothing(ctx: moderngl.Context, method: Any) -> None:
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


def test_objects_are_counted_and_made_once(ctx: moderngl.Context, method: Any) -> None:
    """As many as GL knows of; none for frames of sizes that were seen."""
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
        # Not counted: the shaders of a program.
        assert made == sum(after[kind] - before[kind] for kind in after if kind != "shaders")
        use()
        assert renderer.stats.gl_objects == made
        assert live_names() == after
    target.release()
    array.release()


def test_another_context_is_refused(ctx: moderngl.Context, method: Any) -> None:
    """A mistake of the program's: nothing is rendered, and nothing released."""
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
    """Of its native size; frames then come with what a renderer needs of them."""
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


def test_a_renderer_for_a_stream_that_has_nothing(ctx: moderngl.Context) -> None:
    before = live_names()
    with AlphaStream() as stream, pytest.raises(NotReadyError):
        MaskRenderer.for_stream(stream, ctx)
    assert live_names() == before


def test_a_renderer_for_a_closed_stream(ctx: moderngl.Context) -> None:
    before = live_names()
    stream = alphastream_gpu.open(SAMPLE)
    stream.close()
    with pytest.raises(ClosedError):
        MaskRenderer.for_stream(stream, ctx)
    assert live_names() == before
