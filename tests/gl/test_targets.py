"""
Targets with each method: moderngl's textures, a host's texture names, views, layers, textures of sharing contexts. Also
the targets that are refused, and the reasons.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import moderngl
import numpy as np
import pytest
from glstate import GL, gl, immutable_texture, names_of
from hypothesis import given, settings
from hypothesis import strategies as st
from support import geometry_of

from alphastream_gpu import FrameGeometry, MaskRenderer, WrongContextError, rasterize
from alphastream_gpu._gl import triangles
from alphastream_gpu._gl.attach import identity_of

NATIVE = (31, 33)
TRIANGLE = geometry_of([[(2, 2), (28, 5), (11, 27)]])
OTHER = geometry_of([[(1, 30), (30, 30), (15, 1)]])
SIZES = [NATIVE, (62, 11), (1, 1), (128, 64)]


def expected(size: tuple[int, int], geometry: FrameGeometry = TRIANGLE) -> np.ndarray:
    return rasterize(geometry, size, native_size=NATIVE)


@pytest.fixture
def renderer(ctx: moderngl.Context, method: Any) -> Iterator[MaskRenderer]:
    with MaskRenderer(ctx, native_size=NATIVE, method=method) as renderer:
        assert renderer.method == method
        yield renderer


def mutable_texture(
    size: tuple[int, int], kind: str = "R8", layers: int = 0, levels: int = 1, **parameters: int | str
) -> int:
    """
    Create a texture as old programs do, one level after the other, full of noise, and bind it. The default filter needs
    all levels.
    """
    name = int(GL.glGenTextures(1))
    target = GL.GL_TEXTURE_2D_ARRAY if layers else GL.GL_TEXTURE_2D
    GL.glBindTexture(target, name)
    GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)
    for level in range(levels):
        width, height = max(size[0] >> level, 1), max(size[1] >> level, 1)
        noise = b"\x7f" * (width * height * max(layers, 1))
        pixels = 0, GL.GL_RED, GL.GL_UNSIGNED_BYTE, noise
        if layers:
            GL.glTexImage3D(target, level, gl(kind), width, height, layers, *pixels)
        else:
            GL.glTexImage2D(target, level, gl(kind), width, height, *pixels)
    _parametrize(target, name, parameters)
    return name


def _parametrize(target: int, name: int, parameters: dict[str, int | str]) -> None:
    GL.glBindTexture(target, name)
    for parameter, value in parameters.items():
        GL.glTexParameteri(target, gl(parameter), gl(value) if isinstance(value, str) else value)


def storage_texture(
    size: tuple[int, int], kind: str = "R8", layers: int = 0, levels: int = 1, target: str = "", **parameters: int | str
) -> int:
    """Create a texture of immutable storage with noise in every level. It is bound."""
    name = int(GL.glGenTextures(1))
    where = gl(target or ("TEXTURE_2D_ARRAY" if layers else "TEXTURE_2D"))
    GL.glBindTexture(where, name)
    if layers and not target:
        GL.glTexStorage3D(where, levels, gl(kind), *size, layers)
    else:
        GL.glTexStorage2D(where, levels, gl(kind), *size)
    pixels = gl("RED_INTEGER" if kind.endswith("UI") else "RED"), GL.GL_UNSIGNED_BYTE, b"\x7f"
    for level in range(levels):
        GL.glClearTexImage(name, level, *pixels)
    _parametrize(where, name, parameters)
    return name


def view(of: int, target: str, *, level: int = 0, first: int = 0, layers: int = 1, levels: int = 1) -> int:
    """Create a texture view: another name for some of a texture's levels and layers, as R8."""
    name = int(GL.glGenTextures(1))
    GL.glTextureView(name, gl(target), of, GL.GL_R8, level, levels, first, layers)
    return name


def pixels_of(name: int, size: tuple[int, int], level: int = 0, layers: int = 1) -> np.ndarray:
    """Return the pixels of a level: uint8 (layers, h, w)."""
    pixels = np.zeros((layers, *size[::-1]), np.uint8)
    GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
    GL.glGetTextureImage(name, level, GL.GL_RED, GL.GL_UNSIGNED_BYTE, pixels.nbytes, pixels)
    return pixels


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [mutable_texture, immutable_texture])
def test_a_bare_name(renderer: MaskRenderer, size: tuple[int, int], make: Any) -> None:
    name = make(size)
    assert renderer.render(TRIANGLE, into=name) == name
    assert (renderer.read(name) == expected(size)).all()
    assert (pixels_of(name, size)[0] == expected(size)).all()
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


class Pitfall(NamedTuple):
    """A texture of a kind that a method could handle wrong."""

    make: Callable[..., int]
    is_storable: bool | None
    """Whether compute shaders can store into it. Other stores are lost without an error. None if it depends on the
driver."""
    is_drawable: bool = True
    """Whether OpenGL guarantees that it can be drawn to and read from."""


LINEAR: dict[str, int | str] = {"TEXTURE_MIN_FILTER": "LINEAR"}
FILTERED: dict[str, int | str] = {"TEXTURE_MIN_FILTER": "NEAREST_MIPMAP_NEAREST"}
PITFALLS = {
    "mutable, not complete": Pitfall(mutable_texture, False),
    "mutable, not complete, another filter": Pitfall(partial(mutable_texture, **FILTERED), False),
    "mutable, complete": Pitfall(partial(mutable_texture, **LINEAR), True),
    "mutable, all levels": Pitfall(partial(mutable_texture, levels=6), False),
    "mutable, all levels, linear": Pitfall(partial(mutable_texture, levels=6, **LINEAR), True),
    "mutable, some levels": Pitfall(partial(mutable_texture, levels=2), False),
    "mutable, max level 0": Pitfall(partial(mutable_texture, TEXTURE_MAX_LEVEL=0), False),
    "mutable, max level 0, linear": Pitfall(partial(mutable_texture, TEXTURE_MAX_LEVEL=0, **LINEAR), True),
    "mutable, base level 1": Pitfall(
        partial(mutable_texture, levels=6, TEXTURE_BASE_LEVEL=1, **LINEAR), False, is_drawable=False
    ),
    "mutable, base level that is not there": Pitfall(
        partial(mutable_texture, TEXTURE_BASE_LEVEL=3), False, is_drawable=False
    ),
    "mutable, unsized": Pitfall(partial(mutable_texture, kind="RED"), False),
    # Drivers may report the requested value or the effective one.
    "mutable, unsized, linear": Pitfall(partial(mutable_texture, kind="RED", **LINEAR), None),
    "mutable, swizzled": Pitfall(partial(mutable_texture, TEXTURE_SWIZZLE_R="ONE", **LINEAR), True),
    "immutable": Pitfall(storage_texture, True),
    "immutable, all levels": Pitfall(partial(storage_texture, levels=6), True),
    "immutable, max level 0": Pitfall(partial(storage_texture, levels=6, TEXTURE_MAX_LEVEL=0), True),
    "immutable, base level 1": Pitfall(partial(storage_texture, levels=6, TEXTURE_BASE_LEVEL=1), False),
    # Drivers may report 9, or 0, which is the effective value.
    "immutable, base level that is not there": Pitfall(partial(storage_texture, TEXTURE_BASE_LEVEL=9), None),
    "immutable, swizzled": Pitfall(partial(storage_texture, TEXTURE_SWIZZLE_R="ZERO"), True),
}


def carry_out(pitfall: Pitfall, method: str, call: Callable[[], Any]) -> bool:
    """Make a call. Return whether it worked. It may fail only if OpenGL does not guarantee it."""
    refusal = ""
    try:
        call()
    except ValueError as exc:
        refusal = str(exc)
    if refusal:
        assert not pitfall.is_drawable, refusal
        assert "GL cannot draw to it or read from it" in refusal
        assert method in ("triangles", "reading")  # the other methods do not draw
    return not refusal


def width_of(name: int, level: int) -> int:
    """Return the width in pixels, or 0 if there is no such level."""
    width = ctypes.c_int()
    GL.glGetTextureLevelParameteriv(name, level, GL.GL_TEXTURE_WIDTH, width)
    return width.value


def same(found: np.ndarray, mask: np.ndarray) -> None:
    assert (found == mask).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", PITFALLS)
def test_textures_of_every_kind(renderer: MaskRenderer, name: str) -> None:
    """Masks are exact at native size and scaled. Other levels do not change."""
    pitfall = PITFALLS[name]
    for size in (NATIVE, (40, 37)):
        texture = pitfall.make(size)

        def read(geometry: FrameGeometry, texture: int = texture, size: tuple[int, int] = size) -> None:
            same(renderer.read(texture), expected(size, geometry))

        for geometry in (OTHER, TRIANGLE):
            if carry_out(pitfall, renderer.method, partial(renderer.render, geometry, into=texture)):
                same(pixels_of(texture, size)[0], expected(size, geometry))
                carry_out(pitfall, "reading", partial(read, geometry))
        level = 1
        while width_of(texture, level):
            level_size = max(size[0] >> level, 1), max(size[1] >> level, 1)
            assert (pixels_of(texture, level_size, level) == 0x7F).all()
            level += 1
        GL.glDeleteTextures([texture])
    assert GL.glGetError() == 0
    if renderer.method == "compute":
        assert renderer.stats.dispatches == 12
        is_stored = renderer._method._beside is None  # type: ignore[attr-defined]
        assert pitfall.is_storable in (None, is_stored)


@pytest.mark.parametrize("name", PITFALLS)
def test_arrays_of_every_kind(renderer: MaskRenderer, name: str) -> None:
    """The same for layers, by single calls and in a batch. Other layers and levels do not change."""
    pitfall = PITFALLS[name]
    size = (40, 37)
    texture = pitfall.make(size, layers=5)
    noise = np.full(size[::-1], 0x7F, np.uint8)
    one, two = expected(size), expected(size, OTHER)
    if carry_out(pitfall, renderer.method, lambda: renderer.render(OTHER, into=texture, layer=3)):
        for found, mask in zip(pixels_of(texture, size, layers=5), (noise, noise, noise, two, noise), strict=True):
            same(found, mask)
        renderer.render_many([TRIANGLE, OTHER, TRIANGLE], into=texture, first_layer=1)
        for found, mask in zip(pixels_of(texture, size, layers=5), (noise, one, two, one, noise), strict=True):
            same(found, mask)
        carry_out(pitfall, "reading", lambda: same(renderer.read(texture, layer=2), two))
        if renderer.method == "compute" and pitfall.is_storable is not None:
            assert renderer.stats.dispatches == (6 if pitfall.is_storable else 12)  # copies are one by one
    if width_of(texture, 1):
        assert (pixels_of(texture, (20, 18), 1, layers=5) == 0x7F).all()
    assert GL.glGetError() == 0
    GL.glDeleteTextures([texture])


def test_views_of_levels_and_layers(renderer: MaskRenderer) -> None:
    """Only the part in the view is written to. Level 0 and layer 0 are those of the view."""
    size = (40, 37)
    flat = storage_texture((160, 148), levels=4)
    array = storage_texture((160, 148), layers=6, levels=4)
    integers = storage_texture(size, kind="R8UI")
    for name, of, level, layer in (
        (view(flat, "TEXTURE_2D", level=2), flat, 2, 0),
        (view(flat, "TEXTURE_2D", level=2, levels=2), flat, 2, 0),
        (view(array, "TEXTURE_2D", level=2, first=4), array, 2, 4),
        (view(integers, "TEXTURE_2D"), integers, 0, 0),
    ):
        renderer.render(TRIANGLE, into=name)
        same(renderer.read(name), expected(size))
        if of != integers:
            same(pixels_of(of, size, level, layers=6 if of == array else 1)[layer], expected(size))
        renderer.render(OTHER, into=name)
        same(renderer.read(name), expected(size, OTHER))
        GL.glDeleteTextures([name])
    for level, width, height in ((0, 160, 148), (1, 80, 74), (3, 20, 18)):
        assert (pixels_of(flat, (width, height), level) == 0x7F).all()
        assert (pixels_of(array, (width, height), level, layers=6) == 0x7F).all()
    others = np.delete(pixels_of(array, size, 2, layers=6), 4, axis=0)
    assert (others == 0x7F).all()
    assert GL.glGetError() == 0
    GL.glDeleteTextures([flat, array, integers])


@pytest.mark.parametrize(
    ("make", "target", "first", "layers", "level"),
    [
        (partial(storage_texture, layers=6, levels=4), "TEXTURE_2D_ARRAY", 1, 4, 2),
        (partial(storage_texture, levels=4), "TEXTURE_2D_ARRAY", 0, 1, 2),
        (partial(storage_texture, target="TEXTURE_CUBE_MAP", levels=4), "TEXTURE_2D_ARRAY", 2, 4, 2),
    ],
)
def test_views_as_arrays(renderer: MaskRenderer, make: Any, target: str, first: int, layers: int, level: int) -> None:
    """Views of an array's layers, of a 2D texture, and of a cube's faces."""
    size = (40, 40)
    of = make((160, 160))
    name = view(of, target, level=level, first=first, layers=layers)
    renderer.render_many([TRIANGLE, OTHER][:layers], into=name)
    same(renderer.read(name, layer=0), expected(size))
    if layers > 1:
        renderer.render(OTHER, into=name, layer=layers - 1)
        for layer, geometry in ((0, TRIANGLE), (1, OTHER), (layers - 1, OTHER)):
            same(renderer.read(name, layer=layer), expected(size, geometry))
        for layer in range(2, layers - 1):
            assert (renderer.read(name, layer=layer) == 0x7F).all()
    with pytest.raises(ValueError, match=f"layer: expected 0..{layers - 1}, found {layers}"):
        renderer.render(OTHER, into=name, layer=layers)
    assert GL.glGetError() == 0
    GL.glDeleteTextures([name, of])


@contextmanager
def sharing(ctx: moderngl.Context) -> Iterator[Callable[[], Any]]:
    """Create a second EGL context that shares objects with the current one. Yields a function to make it current."""
    if identity_of(ctx).current.interface != "EGL":
        pytest.skip("the context is not one of EGL's")
    egl, pointer = ctypes.CDLL("libEGL.so.1"), ctypes.c_void_p
    for name, arguments in (
        ("eglGetCurrentDisplay", []),
        ("eglGetCurrentContext", []),
        ("eglQueryContext", [pointer, pointer, ctypes.c_int, pointer]),
        ("eglChooseConfig", [pointer, pointer, pointer, ctypes.c_int, pointer]),
        ("eglCreateContext", [pointer] * 4),
        ("eglMakeCurrent", [pointer] * 4),
        ("eglDestroyContext", [pointer] * 2),
    ):
        getattr(egl, name).argtypes = arguments
    for name in ("eglGetCurrentDisplay", "eglGetCurrentContext", "eglCreateContext"):
        getattr(egl, name).restype = pointer
    display, first = egl.eglGetCurrentDisplay(), egl.eglGetCurrentContext()
    config_id, version_major, version_minor, none = 0x3028, 0x3098, 0x30FB, 0x3038
    number, config = ctypes.c_int(), pointer()
    assert egl.eglQueryContext(display, first, config_id, ctypes.addressof(number))
    wanted = (ctypes.c_int * 3)(config_id, number.value, none)
    assert egl.eglChooseConfig(display, wanted, ctypes.addressof(config), 1, ctypes.addressof(number))
    version = (ctypes.c_int * 5)(version_major, 3, version_minor, 3, none)
    second = egl.eglCreateContext(display, config, first, version)
    assert second
    try:
        yield lambda: egl.eglMakeCurrent(display, None, None, second)
    finally:
        ctx.__enter__()
        egl.eglDestroyContext(display, second)


@pytest.mark.parametrize("make", [mutable_texture, partial(mutable_texture, **LINEAR), storage_texture])
def test_textures_of_a_sharing_context(ctx: moderngl.Context, renderer: MaskRenderer, make: Any) -> None:
    """Another context of the host created the textures, and reads them."""
    with sharing(ctx) as make_other_current:
        make_other_current()
        flat, array = make((40, 37)), make((40, 37), layers=3)
        GL.glFinish()
        ctx.__enter__()
        renderer.render(TRIANGLE, into=flat)
        renderer.render_many([OTHER, TRIANGLE], into=array, first_layer=1)
        same(renderer.read(flat), expected((40, 37)))
        GL.glFinish()
        make_other_current()
        same(pixels_of(flat, (40, 37))[0], expected((40, 37)))
        for found, geometry in zip(pixels_of(array, (40, 37), layers=3)[1:], (OTHER, TRIANGLE), strict=True):
            same(found, expected((40, 37), geometry))
        with pytest.raises(WrongContextError, match="is not current on this thread"):
            renderer.render(TRIANGLE, into=flat)
        GL.glDeleteTextures([flat, array])
        ctx.__enter__()
        with pytest.raises(ValueError, match=f"{flat} is not a texture of the renderer's context"):
            renderer.render(TRIANGLE, into=flat)
    assert GL.glGetError() == 0


def test_the_renderers_own_texture_by_its_name(renderer: MaskRenderer) -> None:
    """texture.glo is an ordinary GL name: another GL binding can bind it, and read its pixels."""
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
    Neither a framebuffer of the renderer nor an image unit keeps the texture of the last frame. Otherwise it would be
    drawn into when the host's next texture gets the same name.
    """
    texture = immutable_texture(NATIVE)
    renderer.render(TRIANGLE, into=texture)
    renderer.read(texture)
    kind, attached = ctypes.c_int(-1), ctypes.c_int(-1)
    for framebuffer in names_of("framebuffers"):
        for what, value in (
            (GL.GL_FRAMEBUFFER_ATTACHMENT_OBJECT_TYPE, kind),
            (GL.GL_FRAMEBUFFER_ATTACHMENT_OBJECT_NAME, attached),
        ):
            GL.glGetNamedFramebufferAttachmentParameteriv(framebuffer, GL.GL_COLOR_ATTACHMENT0, what, value)
        assert (kind.value, attached.value) != (GL.GL_TEXTURE, texture)
    assert attached.value >= 0
    GL.glGetIntegeri_v(GL.GL_IMAGE_BINDING_NAME, 0, attached)
    assert attached.value == 0
    GL.glDeleteTextures([texture])


def test_an_external_moderngl_texture_with_a_wrong_size(ctx: moderngl.Context, renderer: MaskRenderer) -> None:
    """moderngl does not check the size of an external texture, but GL has the real one."""
    name = immutable_texture((62, 11))
    external = ctx.external_texture(name, (99, 99), 1, 0, "f1")
    renderer.render(TRIANGLE, into=external)
    assert (renderer.read(name) == expected((62, 11))).all()
    GL.glDeleteTextures([name])


def test_invalid_targets_are_refused(renderer: MaskRenderer, ctx: moderngl.Context) -> None:
    unbound = int(GL.glGenTextures(1))
    no_storage = int(GL.glGenTextures(1))
    GL.glBindTexture(GL.GL_TEXTURE_2D, no_storage)
    flat, array = immutable_texture(NATIVE), immutable_texture(NATIVE, layers=2)
    buffer = ctx.buffer(reserve=4)
    names = [unbound, no_storage, flat, array]
    for texture, layer, error, message in (
        (unbound, None, ValueError, "is not a texture of the renderer's context .bind it once"),
        (10**6, None, ValueError, "is not a texture"),
        (0, None, ValueError, "0 is not a texture"),
        (-1, None, ValueError, "-1 is not a texture"),
        (2**40, None, ValueError, "is not a texture"),
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


def test_a_buffer_texture_is_refused(renderer: MaskRenderer) -> None:
    """The query for the target of a buffer texture raises a GL error, which must not reach the host."""
    name, buffer = GL.glGenTextures(1), GL.glGenBuffers(1)
    GL.glBindBuffer(gl("TEXTURE_BUFFER"), buffer)
    GL.glBufferData(gl("TEXTURE_BUFFER"), 64, None, gl("STATIC_DRAW"))
    GL.glBindTexture(gl("TEXTURE_BUFFER"), name)
    GL.glTexBuffer(gl("TEXTURE_BUFFER"), gl("R8"), buffer)
    for call in (lambda: renderer.render(TRIANGLE, into=int(name)), lambda: renderer.read(int(name), layer=1)):
        with pytest.raises(ValueError, match="expected the name of a GL_TEXTURE_2D"):
            call()
    assert GL.glGetError() == 0
    GL.glDeleteTextures([name])
    GL.glDeleteBuffers(1, [buffer])


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
    """Also an iterable that uses the renderer itself."""
    array = immutable_texture(NATIVE, layers=2)

    def lazily() -> Iterator[FrameGeometry]:
        for geometry in (TRIANGLE, OTHER):
            renderer.render(geometry)
            yield geometry

    renderer.render_many(lazily(), into=array)
    assert (renderer.read(array, layer=1) == expected(NATIVE, OTHER)).all()
    GL.glDeleteTextures([array])


def test_the_renderers_own_texture_released_by_the_caller(renderer: MaskRenderer) -> None:
    renderer.render(OTHER).release()
    assert (renderer.read(renderer.render(TRIANGLE)) == expected(NATIVE)).all()


def test_scratch_textures_stay_within_a_budget(ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Players change sizes. The least recently used textures are released."""
    overlapping = geometry_of([[(2, 2), (28, 5), (11, 27)], [(3, 3), (29, 9), (8, 25)]])
    monkeypatch.setattr(triangles, "MAX_SCRATCH_BYTES", 20_000)
    with MaskRenderer(ctx, native_size=(32, 32), method="triangles") as renderer:
        for size in [(32, 32), (16, 16), (8, 32), (32, 4), (31, 31), (4, 4), (16, 32), (32, 32)] * 2:
            texture, array = immutable_texture(size), immutable_texture(size, layers=7)
            mask = rasterize(overlapping, size, native_size=(32, 32))
            assert (renderer.read(renderer.render(overlapping, into=texture)) == mask).all()
            renderer.render_many([overlapping] * 7, into=array)
            assert (renderer.read(array, layer=6) == mask).all()
            GL.glDeleteTextures([texture, array])
            kept = renderer._method._scratch  # type: ignore[attr-defined]
            assert len(kept) <= 2 or sum(int(np.prod(key)) for key in kept) <= 20_000


FAR = st.tuples(st.integers(-3500, 3500), st.integers(-3500, 3500))
NEAR = st.tuples(st.integers(-20, 50), st.integers(-20, 50))


@pytest.mark.slow
@given(channels=st.lists(st.lists(FAR | NEAR, min_size=2, max_size=6), min_size=1, max_size=3))
@settings(max_examples=100)
def test_points_far_outside(renderer: MaskRenderer, channels: Any) -> None:
    """In every direction. Frames that a driver draws wrong are left to the CPU (mesh.MAX_OVERHANG)."""
    geometry = geometry_of(channels)
    for size in (NATIVE, (31, 11), (7, 9)):
        texture = immutable_texture(size)
        assert (renderer.read(renderer.render(geometry, into=texture)) == expected(size, geometry)).all()
        GL.glDeleteTextures([texture])


def test_a_triangle_that_llvmpipe_draws_wrong(ctx: moderngl.Context, method: Any) -> None:
    """It reaches some 3,000 pixels to the left of the window and above it. 335 pixels were wrong."""
    geometry = geometry_of([[(21, 25), (-1432, -3116), (-3301, -551)]])
    with MaskRenderer(ctx, method=method) as renderer:
        assert (renderer.read(renderer.render(geometry)) == rasterize(geometry)).all()
        assert renderer.stats.cpu_fallbacks == (1 if method == "triangles" else 0)
