"""
What can be rendered into: moderngl's textures, a host's bare names, layers; and what is refused, with why.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import moderngl
import numpy as np
import pytest
from glstate import GL, immutable_texture
from hypothesis import given, settings
from hypothesis import strategies as st
from support import geometry_of

from alphastream_gpu import FrameGeometry, MaskRenderer, rasterize
from alphastream_gpu._gl import passes

NATIVE = (31, 33)
TRIANGLE = geometry_of([[(2, 2), (28, 5), (11, 27)]])
OTHER = geometry_of([[(1, 30), (30, 30), (15, 1)]])
SIZES = [NATIVE, (62, 11), (1, 1), (128, 64)]


def expected(size: tuple[int, int], geometry: FrameGeometry = TRIANGLE) -> np.ndarray:
    return rasterize(geometry, size, native_size=NATIVE)


@pytest.fixture
def renderer(ctx: moderngl.Context) -> Iterator[MaskRenderer]:
    with MaskRenderer(ctx, native_size=NATIVE) as renderer:
        yield renderer


def mutable_texture(size: tuple[int, int], kind: str = "GL_R8", layers: int = 0) -> int:
    """As an old program makes them, with all mipmap levels and the name bound."""
    name = int(GL.glGenTextures(1))
    if layers:
        GL.glBindTexture(GL.GL_TEXTURE_2D_ARRAY, name)
        GL.glTexImage3D(
            GL.GL_TEXTURE_2D_ARRAY, 0, getattr(GL, kind), *size, layers, 0, GL.GL_RED, GL.GL_UNSIGNED_BYTE, None
        )
    else:
        GL.glBindTexture(GL.GL_TEXTURE_2D, name)
        GL.glTexImage2D(GL.GL_TEXTURE_2D, 0, getattr(GL, kind), *size, 0, GL.GL_RED, GL.GL_UNSIGNED_BYTE, None)
    return name


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [mutable_texture, immutable_texture])
def test_a_bare_name(renderer: MaskRenderer, size: tuple[int, int], make: Any) -> None:
    name = make(size)
    assert renderer.render(TRIANGLE, into=name) == name
    assert (renderer.read(name) == expected(size)).all()
    pixels = np.zeros(size[::-1], np.uint8)
    GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
    GL.glGetTextureImage(name, 0, GL.GL_RED, GL.GL_UNSIGNED_BYTE, pixels.nbytes, pixels)
    assert (pixels == expected(size)).all()
    assert GL.glIsTexture(name)
    renderer.release()
    assert GL.glIsTexture(name)
    GL.glDeleteTextures([name])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [mutable_texture, immutable_texture])
def test_layers_of_a_bare_name(renderer: MaskRenderer, size: tuple[int, int], make: Any) -> None:
    name = make(size, layers=3)
    renderer.render(OTHER, into=name, layer=0)
    renderer.render(OTHER, into=name, layer=2)
    renderer.render(TRIANGLE, into=name, layer=1)
    for layer, geometry in enumerate((OTHER, TRIANGLE, OTHER)):
        assert (renderer.read(name, layer=layer) == expected(size, geometry)).all()
    GL.glDeleteTextures([name])


def test_the_renderers_own_texture_by_its_name(renderer: MaskRenderer) -> None:
    """texture.glo is a GL name like any other: another binding binds it, and reads what is in it."""
    texture = renderer.render(TRIANGLE)
    pixels = np.zeros(NATIVE[::-1], np.uint8)
    GL.glBindTexture(GL.GL_TEXTURE_2D, texture.glo)
    assert GL.glGetIntegerv(GL.GL_TEXTURE_BINDING_2D) == texture.glo
    GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
    GL.glGetTexImage(GL.GL_TEXTURE_2D, 0, GL.GL_RED, GL.GL_UNSIGNED_BYTE, pixels)
    assert (pixels == expected(NATIVE)).all()


def test_layers_of_moderngls_array(ctx: moderngl.Context, renderer: MaskRenderer) -> None:
    array = ctx.texture_array((62, 11, 2), 1)
    assert renderer.render(TRIANGLE, into=array, layer=1) is array
    assert (renderer.read(array, layer=1) == expected((62, 11))).all()
    array.release()


def test_a_deleted_texture_is_not_kept_alive(ctx: moderngl.Context, renderer: MaskRenderer) -> None:
    """
    No framebuffer of the renderer's still has the texture of the last frame: it would be drawn into when the host's
    next texture gets the same name.
    """
    texture = immutable_texture(NATIVE)
    renderer.render(TRIANGLE, into=texture)
    renderer.read(texture)
    attached = ctypes.c_int(-1)
    for framebuffer in range(1, 1000):
        if GL.glIsFramebuffer(framebuffer):
            GL.glGetNamedFramebufferAttachmentParameteriv(
                framebuffer, GL.GL_COLOR_ATTACHMENT0, GL.GL_FRAMEBUFFER_ATTACHMENT_OBJECT_NAME, attached
            )
            assert attached.value != texture
    assert attached.value >= 0
    GL.glDeleteTextures([texture])


def test_an_external_texture_of_moderngls_with_a_wrong_size(ctx: moderngl.Context, renderer: MaskRenderer) -> None:
    """moderngl believes what it is told of a foreign texture; GL knows."""
    name = immutable_texture((62, 11))
    external = ctx.external_texture(name, (99, 99), 1, 0, "f1")
    renderer.render(TRIANGLE, into=external)
    assert (renderer.read(name) == expected((62, 11))).all()
    GL.glDeleteTextures([name])


def test_what_is_refused(renderer: MaskRenderer, ctx: moderngl.Context) -> None:
    unbound = int(GL.glGenTextures(1))
    no_storage = int(GL.glGenTextures(1))
    GL.glBindTexture(GL.GL_TEXTURE_2D, no_storage)
    flat, array = immutable_texture(NATIVE), immutable_texture(NATIVE, layers=2)
    buffer = ctx.buffer(reserve=4)
    names = [unbound, no_storage, flat, array]
    for texture, layer, error, message in (
        (unbound, None, ValueError, "is no texture of the renderer's context .bind it once"),
        (10**6, None, ValueError, "is no texture"),
        (0, None, ValueError, "0 is no texture"),
        (-1, None, ValueError, "-1 is no texture"),
        (2**40, None, ValueError, "is no texture"),
        (no_storage, None, ValueError, f"level 0 of {no_storage} has no storage"),
        (
            array,
            None,
            ValueError,
            "expected the name of a GL_TEXTURE_2D, found that of another kind; say which `layer`",
        ),
        (flat, 0, ValueError, "expected the name of a GL_TEXTURE_2D_ARRAY, found that of another kind; leave `layer`"),
        (array, 2, ValueError, "layer: expected 0..1, found 2"),
        (array, -1, ValueError, "layer: expected 0..1, found -1"),
        (1.0, None, TypeError, "or a GL name .int., found float"),
        (buffer, None, TypeError, "found Buffer"),
        (True, None, TypeError, "found bool"),
        (array, True, TypeError, "layer: expected an int, found bool"),
        (array, 1.0, TypeError, "integer"),
    ):
        for call in (lambda t, k: renderer.render(TRIANGLE, into=t, layer=k), lambda t, k: renderer.read(t, layer=k)):
            with pytest.raises(error, match=message):
                call(texture, layer)
    assert GL.glGetError() == 0
    GL.glDeleteTextures(names)
    buffer.release()


@pytest.mark.parametrize(
    "kind", ["R16", "RG8", "RGBA8", "R8UI", "R8_SNORM", "R16F", "DEPTH_COMPONENT16", "SRGB8_ALPHA8"]
)
def test_other_formats_are_refused(renderer: MaskRenderer, kind: str) -> None:
    name = immutable_texture(NATIVE, kind=kind, fill=False)
    for call in (lambda: renderer.render(TRIANGLE, into=name), lambda: renderer.read(name)):
        with pytest.raises(ValueError, match="expected R8"):
            call()
    assert GL.glGetError() == 0
    GL.glDeleteTextures([name])


def test_a_layer_without_a_target(renderer: MaskRenderer) -> None:
    with pytest.raises(TypeError, match="found Texture; leave `layer` out"):
        renderer.render(TRIANGLE, layer=0)


def test_geometry_of_another_type(renderer: MaskRenderer) -> None:
    array = immutable_texture(NATIVE, layers=2)
    for call in (
        lambda: renderer.render([[(1, 2)]]),  # type: ignore[type-var]
        lambda: renderer.render_many([TRIANGLE, "x"], into=array),  # type: ignore[list-item]
        lambda: list(renderer.read_frames([None])),  # type: ignore[list-item]
    ):
        with pytest.raises(TypeError, match="geometry: expected a FrameGeometry, found"):
            call()
    GL.glDeleteTextures([array])


def test_batches_may_come_from_any_iterable(renderer: MaskRenderer) -> None:
    """Also one that uses the renderer itself."""
    array = immutable_texture(NATIVE, layers=2)

    def lazily() -> Iterator[FrameGeometry]:
        for geometry in (TRIANGLE, OTHER):
            renderer.render(geometry)
            yield geometry

    renderer.render_many(lazily(), into=array)
    assert (renderer.read(array, layer=1) == expected(NATIVE, OTHER)).all()
    GL.glDeleteTextures([array])


def test_its_own_texture_released_by_the_caller(renderer: MaskRenderer) -> None:
    renderer.render(OTHER).release()
    assert (renderer.read(renderer.render(TRIANGLE)) == expected(NATIVE)).all()


def test_scratch_textures_stay_within_a_budget(ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Players change sizes; what was used longest ago gives way."""
    overlapping = geometry_of([[(2, 2), (28, 5), (11, 27)], [(3, 3), (29, 9), (8, 25)]])
    monkeypatch.setattr(passes, "MAX_SCRATCH_BYTES", 20_000)
    with MaskRenderer(ctx, native_size=(32, 32)) as renderer:
        for size in [(32, 32), (16, 16), (8, 32), (32, 4), (31, 31), (4, 4), (16, 32), (32, 32)] * 2:
            texture, array = immutable_texture(size), immutable_texture(size, layers=7)
            mask = rasterize(overlapping, size, native_size=(32, 32))
            assert (renderer.read(renderer.render(overlapping, into=texture)) == mask).all()
            renderer.render_many([overlapping] * 7, into=array)
            assert (renderer.read(array, layer=6) == mask).all()
            GL.glDeleteTextures([texture, array])
        for made in renderer._passes.values():
            assert len(made._scratch) == 2 or sum(map(passes._texels, made._scratch)) <= 20_000


FAR = st.tuples(st.integers(-3500, 3500), st.integers(-3500, 3500))
NEAR = st.tuples(st.integers(-20, 50), st.integers(-20, 50))


@given(channels=st.lists(st.lists(FAR | NEAR, min_size=2, max_size=6), min_size=1, max_size=3))
@settings(max_examples=300)
def test_points_far_outside(renderer: MaskRenderer, channels: Any) -> None:
    """In every direction. What a driver draws wrong there is left to the CPU (mesh.MAX_OVERHANG)."""
    geometry = geometry_of(channels)
    for size in (NATIVE, (31, 11), (7, 9)):
        texture = immutable_texture(size)
        assert (renderer.read(renderer.render(geometry, into=texture)) == expected(size, geometry)).all()
        GL.glDeleteTextures([texture])


def test_a_triangle_that_llvmpipe_draws_wrong(ctx: moderngl.Context) -> None:
    """Left of and above the window by some 3,000 pixels each: 335 pixels were wrong."""
    geometry = geometry_of([[(21, 25), (-1432, -3116), (-3301, -551)]])
    with MaskRenderer(ctx) as renderer:
        assert (renderer.read(renderer.render(geometry)) == rasterize(geometry)).all()
        assert renderer.stats.cpu_fallbacks == 1
