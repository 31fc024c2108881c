"""
Guest: every state that a host has set is preserved, and changes no bit of a mask, with each method.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import moderngl
import numpy as np
import pytest
from glstate import (
    GL,
    KINDS,
    POISONS,
    WRONG_CALLS,
    EGLContext,
    difference,
    gl,
    host_program,
    immutable_texture,
    listening,
    live_names,
    names_of,
    new,
    pending_errors,
    snapshot,
)
from support import ROOT, geometry_of

from alphastream_gpu import FrameGeometry, GLUnavailableError, MaskRenderer, WrongContextError, rasterize
from alphastream_gpu._gl import attach, choice, guest, identity, method, selfcheck, triangles
from alphastream_gpu._gl.functions import Functions

METHODS = ("compute", "triangles", "upload")
NATIVE = selfcheck.NATIVE_SIZE
SCENE = selfcheck.scene()
FAR = geometry_of([[(3, 4), (20, 9), (70000, 30)]])
"""A frame that the shaders cannot render: the CPU's mask is uploaded."""
SIZES = [(96, 64), (48, 16), (37, 71)]
"""Sizes that are drawn directly, by steps, and through a resolve pass."""

SET_BY_MODERNGL = ("PRIMITIVE_RESTART", "TEXTURE_CUBE_MAP_SEAMLESS", "PROGRAM_POINT_SIZE")
"""States that moderngl enables in every context that it creates."""
BY_VIEWPORT = ("viewports and scissors", "scissor of")
BY_BUFFER = ("by buffer",)

every_method = pytest.mark.parametrize("name", METHODS)
by_shaders = pytest.mark.parametrize("name", METHODS[:2])


def expected(size: tuple[int, int], geometry: FrameGeometry = SCENE) -> np.ndarray:
    return rasterize(geometry, size, native_size=NATIVE)


def renderer_of(name: str, ctx: moderngl.Context | None = None, *, preserve_state: bool = True) -> MaskRenderer:
    """Create a renderer with an exact method of that name, which sets no more states than are known to matter."""
    made = MaskRenderer(ctx, native_size=NATIVE, method=name, preserve_state=preserve_state)  # type: ignore[arg-type]
    assert (made.method, made.is_exact) == (name, True)
    assert name == "upload" or name in made._owner.identity.exact_methods
    return made


def use_everything(renderer: MaskRenderer, check: Callable[[], None]) -> None:
    """
    Make every call that uses GL, on every path. The textures are created without changing any state (DSA).

    A change stays until the next check, so it is enough to check after some of the calls.
    """
    for size in SIZES:
        texture, array = immutable_texture(size), immutable_texture(size, layers=3)
        odd, odd_array = immutable_texture(size, levels=2), immutable_texture(size, layers=3, levels=2)
        for one in (odd, odd_array):
            GL.glTextureParameteri(one, gl("TEXTURE_BASE_LEVEL"), 1)  # a shader must not store into the other level
        out = np.empty(size[::-1], np.uint8)
        for geometry in (SCENE, FAR):
            exact = expected(size, geometry)
            assert renderer.render(geometry, into=texture) == texture
            check()
            assert (renderer.read(texture) == exact).all()
            assert renderer.read(texture, out=out) is out
            assert (out == exact).all()
            check()
            renderer.render(geometry, into=array, layer=0)
            assert (renderer.read(array, layer=0, out=out) == exact).all()
            renderer.render_many([SCENE, geometry, SCENE], into=array)
            assert (renderer.read(array, layer=1) == exact).all()
            assert (renderer.read(array, layer=2) == expected(size)).all()
            renderer.render(geometry, into=odd)
            assert (renderer.read(odd) == exact).all()
            renderer.render_many([geometry, SCENE], into=odd_array, first_layer=1)
            assert (renderer.read(odd_array, layer=1) == exact).all()
            check()
        for to in (None, out):
            geometries = [SCENE, FAR, SCENE, SCENE]
            masks = renderer.read_frames(geometries, size=size, out=to)
            for geometry, mask in zip(geometries, masks, strict=True):
                assert (mask == expected(size, geometry)).all()
                assert to is None or mask is to
            check()
        GL.glDeleteTextures(4, (GL.GLuint * 4)(texture, array, odd, odd_array))
    assert (renderer.read(renderer.render(SCENE)) == expected(NATIVE)).all()
    check()


def check_against(before: dict[str, Any]) -> Callable[[], None]:
    """Return a check that the state is unchanged and no error is pending."""

    def check() -> None:
        assert difference(before, snapshot()) == {}
        assert GL.glGetError() == 0

    return check


def poison_all() -> None:
    for poison in POISONS.values():
        poison()
    assert GL.glGetError() == 0


@pytest.fixture
def host(ctx_new: moderngl.Context) -> Iterator[moderngl.Context]:
    """A context that moderngl created."""
    yield ctx_new
    assert GL.glGetError() == 0


@pytest.fixture
def window(ctx_session: moderngl.Context) -> Iterator[EGLContext]:
    """A context that moderngl does not know, with its own framebuffer."""
    context = EGLContext()
    try:
        yield context
        assert GL.glGetError() == 0
    finally:
        context.destroy()
        ctx_session.__enter__()


# States that a host has set.


@pytest.mark.slow
@every_method
@pytest.mark.parametrize("poison", POISONS)
def test_each_host_state_is_preserved_and_changes_no_bit(host: moderngl.Context, poison: str, name: str) -> None:
    plain = snapshot()
    early = renderer_of(name, host)
    assert difference(plain, snapshot()) == {}
    POISONS[poison]()
    assert GL.glGetError() == 0
    before = snapshot()
    assert difference(plain, before) or poison in SET_BY_MODERNGL, "this poisons nothing"
    check = check_against(before)
    use_everything(early, check)
    attach.identity_of(host).exact_methods.clear()  # so that the self-check also runs in this state
    with renderer_of(name, host) as late:
        check()
        use_everything(late, check)
    early.release()
    check()


@pytest.mark.slow
@every_method
def test_all_states_at_once(host: moderngl.Context, name: str) -> None:
    poison_all()
    before = snapshot()
    check = check_against(before)
    with renderer_of(name, host) as made:
        use_everything(made, check)
        unkind = renderer_of(name, host, preserve_state=False)
    use_everything(unkind, lambda: None)  # masks are also exact without preserve_state
    assert difference(before, snapshot()) != {}
    unkind.release()


@pytest.mark.slow
@every_method
@pytest.mark.parametrize("is_poisoned", [False, True])
def test_masks_without_preserve_state(host: moderngl.Context, name: str, is_poisoned: bool) -> None:
    """In a context where no method was checked before, in its initial state and with every state changed."""
    if is_poisoned:
        poison_all()
    with renderer_of(name, host, preserve_state=False) as made:
        use_everything(made, lambda: None)
        stats = made.stats
    assert (stats.cpu_fallbacks > 0) == (name != "upload")  # those of FAR
    assert stats.upload_frames == (stats.frames if name == "upload" else stats.cpu_fallbacks)
    assert stats.cpu_fallbacks < stats.frames / 2


@pytest.mark.slow
@every_method
@pytest.mark.parametrize("version", [330, 400, 410, 430])
@pytest.mark.parametrize("extensions", [True, False])
def test_contexts_of_older_versions(
    host: moderngl.Context, monkeypatch: pytest.MonkeyPatch, version: int, extensions: bool, name: str
) -> None:
    """
    An old context may have newer features through extensions. If it does not, the state does not exist, and older
    functions are used.
    """
    pretend(monkeypatch, host, version, extensions=extensions)
    if name == "compute" and version < 430 and not extensions:
        with pytest.raises(
            GLUnavailableError, match="compute shaders need OpenGL 4.3, found 3.3 without|found 4.. with"
        ):
            renderer_of(name, host)
        return
    missing = () if extensions else (*BY_VIEWPORT, *BY_BUFFER, "clip control")
    for poison, set_it in POISONS.items():
        if not poison.startswith(missing) and not poison.endswith(missing):
            set_it()
    assert GL.glGetError() == 0
    check = check_against(snapshot())
    with renderer_of(name, host) as old:
        assert (old._gl.glClipControl is not None) == extensions
        assert (old._gl.glBlendFuncSeparatei is not None) == (extensions or version >= 400)
        assert (old._gl.glViewportIndexedf is not None) == (extensions or version >= 410)
        assert (old._gl.glGetTextureParameteriv is not None) == extensions
        use_everything(old, check)
    check()


def pretend(monkeypatch: pytest.MonkeyPatch, ctx: moderngl.Context, version: int, *, extensions: bool = False) -> None:
    """Make a context report an older version, with its extensions or without any."""

    class Older(Functions):
        def _checked_version(self, context: Any) -> int:
            super()._checked_version(context)
            return version

        @property
        def extensions(self) -> frozenset[str]:
            return self._extensions if extensions else frozenset()

        @extensions.setter
        def extensions(self, found: frozenset[str]) -> None:
            self._extensions = found

    monkeypatch.setattr(identity, "Functions", Older)
    attach._identities.pop(ctx, None)


@every_method
def test_moderngls_record_of_the_state_still_matches_gl(host: moderngl.Context, name: str) -> None:
    """moderngl records the framebuffer in use and the enabled states. GL's state must still match the record."""
    framebuffer = host.framebuffer([host.texture((16, 16), 4)])
    framebuffer.use()
    host.scissor = (0, 0, 3, 3)
    host.wireframe = True
    host.gc_mode = "context_gc"
    with renderer_of(name, host) as made:
        assert (made.read(made.render(SCENE)) == expected(NATIVE)).all()
        assert host.fbo is framebuffer
        assert (host.scissor, host.wireframe, host.gc_mode) == ((0, 0, 3, 3), True, "context_gc")
        host.wireframe = False
        host.clear(1.0, 1.0, 1.0, 1.0)
        host.scissor = None
        pixels = np.frombuffer(framebuffer.read(components=1), np.uint8).reshape(16, 16)
        assert pixels[:3, :3].all()
        assert pixels.sum() == 9 * 255
    assert host.gc_mode == "context_gc"


@pytest.mark.slow
@every_method
def test_the_current_context_without_moderngl(window: EGLContext, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `ctx`, the current context is used, and moderngl's default is not set."""
    monkeypatch.setattr(moderngl._store, "default_context", None)
    poison_all()
    check = check_against(snapshot())
    with renderer_of(name) as made:
        check()
        use_everything(made, check)
    check()
    assert moderngl._store.default_context is None  # type: ignore[attr-defined]


def _texture_of(kind: str, *, samples: int = 0, layers: int = 0, levels: int = 1, texel: str = "RGBA8") -> int:
    """Create a texture that is not bound."""
    name = ctypes.c_uint()
    GL.glCreateTextures(gl(kind), 1, name)
    if samples and layers:
        GL.glTextureStorage3DMultisample(name.value, samples, gl(texel), 64, 64, layers, True)
    elif samples:
        GL.glTextureStorage2DMultisample(name.value, samples, gl(texel), 64, 64, True)
    elif layers:
        GL.glTextureStorage3D(name.value, levels, gl(texel), 64, 64, layers)
    else:
        GL.glTextureStorage2D(name.value, levels, gl(texel), 64, 64)
    return name.value


def _attach_renderbuffer(framebuffer: int, samples: int) -> None:
    name = ctypes.c_uint()
    GL.glCreateRenderbuffers(1, name)
    GL.glNamedRenderbufferStorageMultisample(name.value, samples, gl("RGBA8"), 64, 64)
    GL.glNamedFramebufferRenderbuffer(framebuffer, gl("COLOR_ATTACHMENT0"), gl("RENDERBUFFER"), name.value)


def _attach_texture(framebuffer: int, texture: int, level: int = 0, at: str = "COLOR_ATTACHMENT0") -> None:
    GL.glNamedFramebufferTexture(framebuffer, gl(at), texture, level)


def _attach_layer(framebuffer: int, texture: int, layer: int) -> None:
    GL.glNamedFramebufferTextureLayer(framebuffer, gl("COLOR_ATTACHMENT0"), texture, 0, layer)


ATTACHMENTS: dict[str, Callable[[int], None]] = {
    "nothing": lambda framebuffer: None,
    "a texture": lambda framebuffer: _attach_texture(framebuffer, _texture_of("TEXTURE_2D")),
    "a level": lambda framebuffer: _attach_texture(framebuffer, _texture_of("TEXTURE_2D", levels=3), 2),
    "a rectangle": lambda framebuffer: _attach_texture(framebuffer, _texture_of("TEXTURE_RECTANGLE")),
    "a renderbuffer": lambda framebuffer: _attach_renderbuffer(framebuffer, 0),
    "a multisampled renderbuffer": lambda framebuffer: _attach_renderbuffer(framebuffer, 4),
    "a multisampled texture": lambda framebuffer: _attach_texture(
        framebuffer, _texture_of("TEXTURE_2D_MULTISAMPLE", samples=4)
    ),
    "a layer of a multisampled array": lambda framebuffer: _attach_layer(
        framebuffer, _texture_of("TEXTURE_2D_MULTISAMPLE_ARRAY", samples=4, layers=2), 1
    ),
    "a layer of an array": lambda framebuffer: _attach_layer(framebuffer, _texture_of("TEXTURE_2D_ARRAY", layers=3), 1),
    "an array": lambda framebuffer: _attach_texture(framebuffer, _texture_of("TEXTURE_2D_ARRAY", layers=3)),
    "a slice": lambda framebuffer: _attach_layer(framebuffer, _texture_of("TEXTURE_3D", layers=3), 2),
    "a cube": lambda framebuffer: _attach_texture(framebuffer, _texture_of("TEXTURE_CUBE_MAP")),
    "a face of a cube": lambda framebuffer: _attach_layer(framebuffer, _texture_of("TEXTURE_CUBE_MAP"), 4),
    "depth alone": lambda framebuffer: _attach_texture(
        framebuffer, _texture_of("TEXTURE_2D", texel="DEPTH24_STENCIL8"), at="DEPTH_STENCIL_ATTACHMENT"
    ),
}
"""Objects that a host's framebuffer may have attached."""


@pytest.mark.parametrize("attachment", ATTACHMENTS)
def test_attaching_while_a_framebuffer_is_bound(window: EGLContext, attachment: str) -> None:
    """When moderngl wraps a context, it inspects the bound framebuffer."""
    framebuffer = ctypes.c_uint()
    GL.glCreateFramebuffers(1, framebuffer)
    ATTACHMENTS[attachment](framebuffer.value)
    POISONS["textures, unit 0"]()
    POISONS["textures, other units"]()
    POISONS["active unit"]()
    GL.glBindRenderbuffer(gl("RENDERBUFFER"), new(GL.glGenRenderbuffers))
    GL.glBindFramebuffer(gl("FRAMEBUFFER"), framebuffer.value)
    assert GL.glGetError() == 0
    with listening() as heard:
        check = check_against(snapshot())
        made = MaskRenderer(native_size=NATIVE)
        check()
        assert (made.read(made.render(SCENE)) == expected(NATIVE)).all()
        made.release()
        check()
    assert heard == []


def _scissor_all(box: tuple[int, int, int, int]) -> None:
    GL.glEnable(gl("SCISSOR_TEST"))
    GL.glScissor(*box)


SCISSORS: dict[str, Callable[[], object]] = {
    "all, everything": lambda: _scissor_all((0, 0, 4096, 4096)),
    "all, a pixel": lambda: _scissor_all((1, 1, 1, 1)),
    "all, nothing": lambda: _scissor_all((0, 0, 0, 0)),
    **{
        f"{i} alone": lambda i=i: (GL.glEnablei(gl("SCISSOR_TEST"), i), GL.glScissorIndexed(i, 0, 0, 1, 1))
        for i in (0, 1, 3, 15)
    },
}


@pytest.mark.slow
@every_method
@pytest.mark.parametrize("scissor", SCISSORS)
def test_scissors_in_a_context_without_earlier_draws(window: EGLContext, scissor: str, name: str) -> None:
    """Mesa (22.3) applies scissor tests of other viewports to the first one, mostly in a context's first draws."""
    SCISSORS[scissor]()
    check = check_against(snapshot())
    with renderer_of(name) as made:
        for size in SIZES:
            texture = immutable_texture(size)
            for _ in range(2):
                SCISSORS[scissor]()
                made.render(SCENE, into=texture)
                assert (made.read(texture) == expected(size)).all()
                check()


@pytest.mark.slow
@every_method
def test_a_scissor_that_is_set_later(window: EGLContext, name: str) -> None:
    with renderer_of(name) as made:
        use_everything(made, lambda: None)
        for set_it in SCISSORS.values():
            GL.glDisable(gl("SCISSOR_TEST"))
            set_it()
            use_everything(made, check_against(snapshot()))


@pytest.mark.slow
@every_method
def test_an_advanced_blend_equation(host: moderngl.Context, name: str) -> None:
    """These equations cannot be set for colour and alpha separately."""
    if "GL_KHR_blend_equation_advanced" not in host.extensions:
        pytest.skip("the driver has none")
    multiply = 0x9294
    GL.glBlendEquation(multiply)
    before = snapshot()
    assert before["BLEND_EQUATION_RGB"] == (multiply,)
    with renderer_of(name, host) as made:
        use_everything(made, check_against(before))


# Programs and objects that cannot be used again.


@every_method
def test_a_program_that_was_deleted_while_in_use(host: moderngl.Context, name: str) -> None:
    """moderngl's release() does this. The program is destroyed when another one is used, and must not be used again."""
    POISONS["program"]()
    before = snapshot()
    [program] = before["CURRENT_PROGRAM"]
    GL.glDeleteProgram(program)
    with listening() as heard, renderer_of(name, host) as made:
        use_everything(made, lambda: None)
    assert heard == []
    left = {} if name == "upload" else {"CURRENT_PROGRAM": ((program,), (0,))}
    assert difference(before, snapshot()) == left


@every_method
def test_a_program_whose_last_link_failed(window: EGLContext, name: str) -> None:
    """For example after a reload of shaders. The program stays in use, but cannot be used again."""
    made = renderer_of(name)
    program = host_program()
    GL.glUseProgram(program)
    broken = GL.glCreateShader(gl("FRAGMENT_SHADER"))
    GL.glShaderSource(broken, "#version 330\nsyntax error")
    GL.glCompileShader(broken)
    GL.glAttachShader(program, broken)
    GL.glLinkProgram(program)
    assert not GL.glGetProgramiv(program, gl("LINK_STATUS"))
    pending_errors()
    before = snapshot()
    assert before["CURRENT_PROGRAM"] == (program,)
    with listening() as heard:
        use_everything(made, lambda: None)
        made.release()
    assert heard == []
    left = {} if name == "upload" else {"CURRENT_PROGRAM": ((program,), (0,))}
    assert difference(before, snapshot()) == left


@every_method
@pytest.mark.parametrize("is_made_before", [True, False])
def test_objects_that_a_sharing_context_deletes(window: EGLContext, name: str, is_made_before: bool) -> None:
    """The objects stay bound here, but cannot be bound again. Everything else is unchanged."""
    early = renderer_of(name) if is_made_before else None
    spared = shared_objects()
    for poison in (
        "framebuffers",
        "textures, unit 0",
        "textures, other units",
        "samplers",
        "image units",
        "shader storage buffers, ranges",
        "uniform buffers, ranges",
        "pack buffer",
        "unpack buffer",
        "buffers",
    ):
        POISONS[poison]()
    GL.glBindBuffer(gl("ARRAY_BUFFER"), new(GL.glGenBuffers))
    GL.glBindRenderbuffer(gl("RENDERBUFFER"), new(GL.glGenRenderbuffers))
    assert GL.glGetError() == 0
    sharing = EGLContext(share=window)
    bound = shared_objects() - spared
    assert len(bound) > 200
    for delete, number in bound:
        delete(1, ctypes.c_uint(number))
    GL.glFinish()
    window.make_current()
    before = snapshot()
    with listening() as heard:
        made = early or renderer_of(name)
        texture, array = immutable_texture((37, 71)), immutable_texture((37, 71), layers=2)
        made.render(SCENE, into=texture)
        made.render_many([SCENE, FAR], into=array)
        assert (made.read(texture) == expected((37, 71))).all()
        assert (made.read(array, layer=1) == expected((37, 71), FAR)).all()
        for mask in made.read_frames([SCENE, FAR, SCENE], size=(5, 9)):
            assert mask.shape == (9, 5)
        made.release()
    assert pending_errors() == []
    assert heard == []
    for changed, (was, now) in difference(before, snapshot()).items():
        assert "BINDING" in changed or "BUFFER_S" in changed, changed  # names, and the ranges of these bindings
        assert now in {0, (0,)} or "IMAGE_BINDING" in changed, (changed, was, now)
    sharing.make_current()
    sharing.destroy()
    window.make_current()


SHARED = ("textures", "samplers", "buffers", "renderbuffers")
"""The kinds of objects that contexts share."""


def shared_objects() -> set[tuple[Callable[..., None], int]]:
    """Return the existing shared objects: how to delete each, and its name."""
    return {(KINDS[kind][2], name) for kind in SHARED for name in names_of(kind)}


# Errors.


def provoke(error: str, heard: list[str]) -> None:
    """Make an invalid call as the host, which its debug callback reports."""
    WRONG_CALLS[error]()
    assert len(heard) == 1
    heard.clear()


@pytest.mark.slow
@every_method
@pytest.mark.parametrize("attached", [True, False])
@pytest.mark.parametrize("version", [450, 430])
@pytest.mark.parametrize("error", WRONG_CALLS)
def test_a_pending_error_is_still_the_hosts(
    host: moderngl.Context, monkeypatch: pytest.MonkeyPatch, error: str, version: int, attached: bool, name: str
) -> None:
    """It is the only pending error, and a debug callback gets no message about our calls."""
    if version < 450:
        pretend(monkeypatch, host, version)
    texture, array = immutable_texture((48, 16)), immutable_texture((48, 16), layers=2)
    with listening() as heard:
        provoke(error, heard)
        with renderer_of(name, None if attached else host) as made:
            made.render(SCENE, into=texture)
            made.render(SCENE, into=array, layer=1)
            made.render_many([SCENE, FAR], into=array)
            made.read(texture)
            assert len(list(made.read_frames([SCENE] * 4, size=(8, 8)))) == 4
        assert pending_errors() == [gl(error)]
    assert heard == []


@pytest.mark.slow
@every_method
@pytest.mark.parametrize("version", [450, 430])
@pytest.mark.parametrize("error", [None, *WRONG_CALLS])
def test_a_texture_of_another_kind_and_a_pending_error(
    host: moderngl.Context, monkeypatch: pytest.MonkeyPatch, error: str | None, version: int, name: str
) -> None:
    """Also before OpenGL 4.5, where a texture is bound to be checked."""
    if version < 450:
        pretend(monkeypatch, host, version)
    texture, array = immutable_texture((48, 16)), immutable_texture((48, 16), layers=2)
    cube = _texture_of("TEXTURE_CUBE_MAP")
    with renderer_of(name, host) as made:
        before = snapshot()
        with listening() as heard:
            if error is not None:
                provoke(error, heard)
            for wrong in (array, cube):
                with pytest.raises(
                    ValueError, match="expected the name of a GL_TEXTURE_2D, found that of another kind"
                ):
                    made.render(SCENE, into=wrong)
                with pytest.raises(
                    ValueError, match="expected the name of a GL_TEXTURE_2D, found that of another kind"
                ):
                    made.read(wrong)
            for wrong in (texture, cube):
                with pytest.raises(ValueError, match="expected the name of a GL_TEXTURE_2D_ARRAY, found"):
                    made.render(SCENE, into=wrong, layer=0)
                with pytest.raises(ValueError, match="expected the name of a GL_TEXTURE_2D_ARRAY, found"):
                    made.render_many([SCENE], into=wrong)
            assert pending_errors() == ([] if error is None else [gl(error)])
        assert difference(before, snapshot()) == {}
        assert heard == []


@pytest.mark.slow
@every_method
def test_a_debug_callback_gets_no_messages(window: EGLContext, name: str) -> None:
    """From the creation of a renderer to its release."""
    poison_all()
    with listening() as heard:
        with renderer_of(name) as made:
            use_everything(made, check_against(snapshot()))
        assert heard == []
        provoke("INVALID_ENUM", heard)
        assert pending_errors() == [gl("INVALID_ENUM")]


def test_opengl_es_is_refused(ctx_session: moderngl.Context) -> None:
    context = EGLContext((3, 2), is_es=True)
    try:
        for error in ([], [gl("INVALID_ENUM")]):
            if error:
                GL.glEnable(0x1234)
            with pytest.raises(
                GLUnavailableError, match="3.3 or newer, found 'OpenGL ES 3.2.*; ask .* OpenGL 3.3 core"
            ):
                MaskRenderer(native_size=NATIVE)
            assert pending_errors() == error
    finally:
        context.destroy()
        ctx_session.__enter__()


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2.1", "3.2"])
@pytest.mark.usefixtures("ctx")
def test_an_old_opengl_is_refused(version: str) -> None:
    """In its own process, because Mesa reads the version override only once."""
    script = f"""
from glstate import EGLContext, pending_errors, GL
import alphastream_gpu
context = EGLContext((2, 1))
found = GL.glGetString(GL.GL_VERSION).decode()
if not found.startswith({version!r}):
    print("none:", found)
    raise SystemExit
for errors in ([], [0x500]):
    if errors:
        GL.glEnable(0x1234)
    try:
        alphastream_gpu.MaskRenderer()
    except alphastream_gpu.GLUnavailableError as exc:
        print(exc)
    assert pending_errors() == errors
context.destroy()
"""
    environment = {**os.environ, "MESA_GL_VERSION_OVERRIDE": version, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    if done.stdout.startswith("none:"):
        pytest.skip(f"the driver gives no OpenGL {version}, but {done.stdout[6:]}")
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith(f"expected desktop OpenGL 3.3 or newer, found '{version}")
        assert line.endswith("ask the windowing toolkit for an OpenGL 3.3 core context")


@every_method
def test_a_name_as_a_ctypes_integer(host: moderngl.Context, name: str) -> None:
    """Some toolkits return names as ctypes integers."""
    texture, array = immutable_texture((48, 16)), immutable_texture((48, 16), layers=2)
    with renderer_of(name, host) as made:
        for kind in (ctypes.c_uint, ctypes.c_int, ctypes.c_ulong, GL.GLuint):
            handed = kind(texture)
            assert made.render(SCENE, into=handed) is handed  # type: ignore[type-var]
            assert (made.read(kind(texture)) == expected((48, 16))).all()
            made.render(SCENE, into=kind(array), layer=1)  # type: ignore[type-var]
            made.render_many([FAR], into=kind(array))
            assert (made.read(kind(array), layer=0) == expected((48, 16), FAR)).all()
            assert (made.read(kind(array), layer=1) == expected((48, 16))).all()
        own = made.render(SCENE)
        assert (made.read(ctypes.c_uint(own.glo)) == expected(NATIVE)).all()


# Operations of the host in progress.


def feedback_program() -> int:
    """Create a program that captures each vertex's number four times."""
    program = GL.glCreateProgram()
    source = (
        "#version 330 core\nout vec4 captured; void main() { captured = vec4(gl_VertexID); gl_Position = captured; }"
    )
    for kind, text in (
        ("VERTEX_SHADER", source),
        ("FRAGMENT_SHADER", "#version 330 core\nout vec4 colour; void main() { colour = vec4(1.0); }"),
    ):
        shader = GL.glCreateShader(gl(kind))
        GL.glShaderSource(shader, text)
        GL.glCompileShader(shader)
        GL.glAttachShader(program, shader)
    varying = ctypes.create_string_buffer(b"captured")
    names = (ctypes.POINTER(ctypes.c_char) * 1)(ctypes.cast(varying, ctypes.POINTER(ctypes.c_char)))
    GL.glTransformFeedbackVaryings(program, 1, names, gl("INTERLEAVED_ATTRIBS"))
    GL.glLinkProgram(program)
    assert GL.glGetProgramiv(program, gl("LINK_STATUS"))
    return int(program)


def begin_transform_feedback() -> int:
    """Begin a transform feedback and return the buffer that it writes to."""
    GL.glBindVertexArray(new(GL.glGenVertexArrays))
    buffer = new(GL.glGenBuffers)
    GL.glBindBufferBase(gl("TRANSFORM_FEEDBACK_BUFFER"), 0, buffer)
    GL.glBufferData(gl("TRANSFORM_FEEDBACK_BUFFER"), 1024, bytes(1024), gl("STATIC_READ"))
    GL.glUseProgram(feedback_program())
    GL.glBeginTransformFeedback(gl("POINTS"))
    assert GL.glGetError() == 0
    return buffer


def end_transform_feedback(buffer: int) -> None:
    """Draw five points as the host, end the transform feedback, and check the captured data."""
    GL.glDrawArrays(gl("POINTS"), 0, 5)
    GL.glEndTransformFeedback()
    captured = (ctypes.c_float * 24)()
    GL.glGetNamedBufferSubData(buffer, 0, ctypes.sizeof(captured), captured)
    assert list(captured) == [0.0] * 4 + [1.0] * 4 + [2.0] * 4 + [3.0] * 4 + [4.0] * 4 + [0.0] * 4
    assert GL.glGetError() == 0


@pytest.mark.slow
@by_shaders
def test_an_active_transform_feedback_is_refused(
    window: EGLContext, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The feedback is not changed, no error is left pending, and reading still works."""
    texture, array = immutable_texture(NATIVE), immutable_texture(NATIVE, layers=2)
    made = renderer_of(name)
    use_everything(made, lambda: None)
    made.render(SCENE, into=texture)
    buffer = begin_transform_feedback()
    monkeypatch.setattr(choice, "is_software", lambda renderer_name: False)
    before = live_names()
    with listening() as heard:
        check = check_against(snapshot())
        for call in (
            lambda: made.render(FAR, into=texture),
            lambda: made.render_many([SCENE], into=array),
            lambda: next(made.read_frames([SCENE])),
            lambda: renderer_of(name),
            lambda: MaskRenderer(native_size=NATIVE),
        ):
            for exact_methods in (set(), {name}):
                made._owner.identity.exact_methods = exact_methods
                with pytest.raises(WrongContextError, match="a transform feedback is active"):
                    call()
                check()
        assert (made.read(texture) == expected(NATIVE)).all()
        check()
    assert heard == []
    assert live_names() == before
    end_transform_feedback(buffer)
    use_everything(made, lambda: None)
    made.release()


def test_uploads_during_an_active_transform_feedback(window: EGLContext) -> None:
    buffer = begin_transform_feedback()
    check = check_against(snapshot())
    with renderer_of("upload") as made:
        use_everything(made, check)
    check()
    end_transform_feedback(buffer)


@pytest.mark.slow
@every_method
def test_a_paused_transform_feedback(window: EGLContext, name: str) -> None:
    buffer = begin_transform_feedback()
    GL.glPauseTransformFeedback()
    check = check_against(snapshot())
    with renderer_of(name) as made:
        use_everything(made, check)
    check()
    GL.glResumeTransformFeedback()
    end_transform_feedback(buffer)


COUNTING = ("SAMPLES_PASSED", "ANY_SAMPLES_PASSED", "ANY_SAMPLES_PASSED_CONSERVATIVE", "PRIMITIVES_GENERATED")
HARMLESS = ("TIME_ELAPSED", "TRANSFORM_FEEDBACK_PRIMITIVES_WRITTEN")


def result_of(query: int) -> int:
    value = ctypes.c_uint()
    GL.glGetQueryObjectuiv(query, gl("QUERY_RESULT"), value)
    return value.value


@pytest.mark.slow
@pytest.mark.parametrize("target", COUNTING)
@pytest.mark.parametrize("name", ["compute", "upload"])
def test_a_counting_query_does_not_count_methods_without_draws(window: EGLContext, name: str, target: str) -> None:
    query = new(GL.glGenQueries)
    GL.glBeginQuery(gl(target), query)
    with renderer_of(name) as made:
        use_everything(made, check_against(snapshot()))
    assert GL.glGetQueryiv(gl(target), gl("CURRENT_QUERY")) == query
    GL.glEndQuery(gl(target))
    assert result_of(query) == 0


@pytest.mark.slow
@pytest.mark.parametrize("target", COUNTING)
def test_triangles_are_refused_during_a_counting_query(window: EGLContext, target: str) -> None:
    texture, array = immutable_texture(NATIVE), immutable_texture(NATIVE, layers=2)
    made = renderer_of("triangles")
    made.render(SCENE, into=texture)
    query = new(GL.glGenQueries)
    check = check_against(snapshot())
    GL.glBeginQuery(gl(target), query)
    for call in (
        lambda: made.render(FAR, into=texture),
        lambda: made.render_many([SCENE], into=array),
        lambda: next(made.read_frames([SCENE])),
        lambda: renderer_of("triangles"),
    ):
        for exact_methods in (set(), {"triangles"}):
            made._owner.identity.exact_methods = exact_methods
            with pytest.raises(WrongContextError, match="a query that counts samples, primitives or shader"):
                call()
            check()
    assert (made.read(texture) == expected(NATIVE)).all()
    check()
    GL.glEndQuery(gl(target))
    assert result_of(query) == 0
    use_everything(made, check)
    made.release()


STATISTICS = {
    "VERTICES_SUBMITTED": "triangles",
    "PRIMITIVES_SUBMITTED": "triangles",
    "VERTEX_SHADER_INVOCATIONS": "triangles",
    "FRAGMENT_SHADER_INVOCATIONS": "triangles",
    "CLIPPING_INPUT_PRIMITIVES": "triangles",
    "CLIPPING_OUTPUT_PRIMITIVES": "triangles",
    "COMPUTE_SHADER_INVOCATIONS": "compute",
}
"""Queries of OpenGL 4.6 section 4.4, and the method whose work each query would count."""


@pytest.mark.slow
@pytest.mark.parametrize("target", STATISTICS)
def test_a_method_is_refused_during_a_pipeline_statistics_query_that_counts_it(window: EGLContext, target: str) -> None:
    query = new(GL.glGenQueries)
    for name in ("compute", "triangles", "upload"):
        with renderer_of(name) as made:
            check = check_against(snapshot())
            GL.glBeginQuery(gl(target), query)
            if STATISTICS[target] == name:
                with pytest.raises(WrongContextError, match="counts samples, primitives or shader"):
                    made.render(SCENE, into=immutable_texture(NATIVE))
            else:
                use_everything(made, check)
            GL.glEndQuery(gl(target))
            assert result_of(query) == 0


@pytest.mark.slow
@every_method
@pytest.mark.parametrize("target", HARMLESS)
def test_a_query_that_counts_no_draws(window: EGLContext, target: str, name: str) -> None:
    query = new(GL.glGenQueries)
    GL.glBeginQuery(gl(target), query)
    with renderer_of(name) as made:
        use_everything(made, check_against(snapshot()))
    GL.glEndQuery(gl(target))
    assert result_of(query) == 0 or target == "TIME_ELAPSED"


def test_a_renderer_created_during_a_conditional_render_that_fails(
    window: EGLContext, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is drawn within it, and no query reports it. A later renderer checks the method again."""
    monkeypatch.setattr(choice, "_reported", set())
    query = new(GL.glGenQueries)
    GL.glBeginQuery(gl("ANY_SAMPLES_PASSED"), query)
    GL.glEndQuery(gl("ANY_SAMPLES_PASSED"))
    for name in ("compute", "triangles"):
        caplog.clear()
        GL.glBeginConditionalRender(query, gl("QUERY_WAIT"))
        with MaskRenderer(native_size=NATIVE, method=name) as made:  # type: ignore[arg-type]
            if name == "triangles" or made.method != name:  # some drivers still dispatch
                assert (made.method, made.is_exact) == ("upload", False)
                [record] = caplog.records
                assert f"the method {name}: " in record.getMessage()
                assert "conditional render" in record.getMessage()
            texture = immutable_texture((37, 71))
            made.render(SCENE, into=texture)
            assert (made.read(texture) == expected((37, 71))).all()
        GL.glEndConditionalRender()
        with renderer_of(name) as made:
            use_everything(made, lambda: None)


@pytest.mark.slow
def test_a_state_that_drawing_does_not_set(
    window: EGLContext, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If the self-check fails, it runs again with more states set. If it passes then, the method sets them too."""

    class Careless(guest.Drawing):
        """Sets colour masks only if it is thorough."""

        def __init__(self, gl: Functions, *, preserve: bool, is_thorough: bool = False) -> None:
            super().__init__(gl, preserve=preserve, is_thorough=is_thorough)
            if not is_thorough:
                self._draw_buffers = range(0)

    monkeypatch.setattr(triangles, "Drawing", Careless)
    monkeypatch.setattr(choice, "_reported", set())
    GL.glColorMask(False, True, True, True)
    check = check_against(snapshot())
    for _ in range(2):  # the method is not recorded as exact
        with MaskRenderer(native_size=NATIVE, method="triangles") as made:
            assert (made.method, made.is_exact) == ("triangles", True)
            use_everything(made, check)
            assert made._owner.identity.exact_methods == set()
    check()
    [record] = caplog.records
    assert "the method triangles: " in record.getMessage()
    assert "used with more states set" in record.getMessage()
    GL.glColorMask(True, True, True, True)
    renderer_of("triangles").release()


# Exceptions within a call.


class Breaking:
    """
    Counts a renderer's GL calls, and raises ZeroDivisionError at one of them.

    Args:
        renderer: the renderer whose functions are replaced. They are restored at the end of the ``with`` block.
        at: the index of the call, from 0. If negative, no call raises.
        is_made: whether the call is made before the exception.
    """

    def __init__(self, renderer: MaskRenderer, at: int = -1, *, is_made: bool = False) -> None:
        self._functions = renderer._gl.__dict__
        self._real = {name: one for name, one in self._functions.items() if name.startswith("gl") and callable(one)}
        self._at = at
        self._is_made = is_made
        self.calls: list[str] = []

    def __enter__(self) -> Breaking:
        for name, real in self._real.items():
            self._functions[name] = self._wrapped(name, real)
        return self

    def __exit__(self, *exc: object) -> None:
        self._functions.update(self._real)

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) != self._at + 1:
                return real(*arguments)
            if self._is_made:
                real(*arguments)
            raise ZeroDivisionError

        return call


@pytest.mark.slow
@every_method
@pytest.mark.parametrize("is_made", [False, True])
def test_an_exception_at_any_gl_call_preserves_the_state(host: moderngl.Context, name: str, is_made: bool) -> None:
    """If a call that restores the state raises, it is repeated. So a single exception has no effect anywhere."""
    poison_all()
    with renderer_of(name, host) as made:
        texture, array = immutable_texture((41, 67)), immutable_texture((41, 67), layers=3)

        def work() -> None:
            made.render(SCENE, into=texture)
            made.render_many([SCENE, FAR], into=array)
            made.read(texture)
            list(made.read_frames([SCENE] * 4, size=(8, 8)))

        work()  # creates scratch textures and pixel buffers
        before = snapshot()
        with Breaking(made) as breaking:
            work()
        n_calls = len(breaking.calls)
        assert set(UNDONE_BY[name]) <= set(breaking.calls)
        for at in range(n_calls):
            with Breaking(made, at, is_made=is_made) as breaking, pytest.raises(ZeroDivisionError):
                work()
            assert difference(before, snapshot()) == {}, (at, breaking.calls[at])
        use_everything(made, check_against(before))


UNDONE_BY = {
    # method: functions that restore what it changes
    "compute": ("glUseProgram", "glBindBuffer", "glBindBufferRange", "glBindImageTexture"),
    "triangles": (
        "glUseProgram", "glEnable", "glEnablei", "glBlendFuncSeparatei", "glColorMaski", "glViewportIndexedf",
        "glScissorIndexed", "glBindFramebuffer", "glBindVertexArray", "glBindBuffer", "glActiveTexture",
        "glBindTexture", "glBindSampler", "glPolygonMode", "glClipControl",
    ),
    "upload": ("glBindBuffer", "glPixelStorei"),
}  # fmt: skip
UNDOING = [(name, function) for name, functions in UNDONE_BY.items() for function in functions]


def failing_undo(made: MaskRenderer, monkeypatch: pytest.MonkeyPatch, function: str, times: int) -> list[int]:
    """Make a function fail n times while states are restored. Return a list to which each failure is added."""
    failures: list[int] = []
    state = {"is_undoing": False}
    real, real_put_back = getattr(made._gl, function), guest._Guest._put_back

    def put_back(self: Any) -> None:
        state["is_undoing"] = True
        try:
            real_put_back(self)
        finally:
            state["is_undoing"] = False

    def fail(*arguments: Any) -> Any:
        if state["is_undoing"] and len(failures) < times:
            failures.append(1)
            raise ZeroDivisionError
        return real(*arguments)

    monkeypatch.setattr(guest._Guest, "_put_back", put_back)
    monkeypatch.setattr(made._gl, function, fail)
    return failures


@pytest.mark.slow
@pytest.mark.parametrize(("name", "function"), UNDOING)
def test_an_undo_step_that_fails_once_is_repeated(
    host: moderngl.Context, monkeypatch: pytest.MonkeyPatch, name: str, function: str
) -> None:
    poison_all()
    texture = immutable_texture((41, 67))
    with renderer_of(name, host) as made:
        made.render(SCENE, into=texture)
        check = check_against(snapshot())
        with monkeypatch.context() as patch:
            failures = failing_undo(made, patch, function, 1)
            with pytest.raises(ZeroDivisionError):
                made.render(SCENE, into=texture)
            assert len(failures) == 1
        check()
        use_everything(made, check)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "function"), UNDOING)
def test_an_undo_step_that_always_fails_is_skipped(
    host: moderngl.Context, monkeypatch: pytest.MonkeyPatch, name: str, function: str
) -> None:
    """The other steps run, and the renderer can be used again."""
    poison_all()
    texture = immutable_texture((41, 67))
    with renderer_of(name, host) as made:
        made.render(SCENE, into=texture)
        before = snapshot()
        with monkeypatch.context() as patch:
            failures = failing_undo(made, patch, function, 1 << 20)
            with pytest.raises(ZeroDivisionError):
                made.render(SCENE, into=texture)
            assert 2 <= len(failures) < 200
            assert len(failures) % 2 == 0, "each step is tried twice"
        assert made._method.guard._undo == []  # type: ignore[attr-defined]
        changed = difference(before, snapshot())
        assert len(changed) < 50, "that of one function"
        if function != "glUseProgram":
            assert "CURRENT_PROGRAM" not in changed
        use_everything(made, check_against(snapshot()))


@pytest.mark.slow
@every_method
def test_a_call_from_within_a_call(host: moderngl.Context, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """For example from a signal handler or a debugger."""
    texture, array = immutable_texture((41, 67)), immutable_texture((41, 67), layers=2)
    POISONS["program"]()
    check = check_against(snapshot())
    with renderer_of(name, host) as made:
        frames = made.read_frames([SCENE] * 6, size=(8, 8))
        next(frames)
        calls: dict[str, Callable[[], object]] = {
            "render": lambda: made.render(SCENE, into=texture),
            "render_many": lambda: made.render_many([SCENE], into=array),
            "read": lambda: made.read(texture),
            "read_frames": lambda: next(made.read_frames([SCENE], size=(8, 8))),
        }
        calls["render"]()
        for outer, inner in itertools.product(("render", "render_many", "read"), calls):
            refused = []
            real = made._gl.glIsTexture

            def ask(texture_name: int, inner: str = inner, refused: list[str] = refused, real: Any = real) -> Any:
                with pytest.raises(WrongContextError, match="in the middle of another call") as info:
                    calls[inner]()
                refused.append(str(info.value))
                return real(texture_name)

            with monkeypatch.context() as patch:
                patch.setattr(made._gl, "glIsTexture", ask)
                calls[outer]()
            assert refused, (outer, inner)
            check()
        assert (made.read(texture) == expected((41, 67))).all()
        assert len(list(frames)) == 5  # an iterator without a refused call continues
        use_everything(made, check)


@every_method
def test_an_iterator_that_continues_within_a_call(
    host: moderngl.Context, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It raises too, and ends, like every generator that raises."""
    texture = immutable_texture((41, 67))
    with renderer_of(name, host) as made:
        frames = made.read_frames([SCENE] * 6, size=(8, 8))
        next(frames)
        real = made._gl.glIsTexture

        def ask(texture_name: int) -> Any:
            with pytest.raises(WrongContextError, match="in the middle of another call"):
                next(frames)
            monkeypatch.setattr(made._gl, "glIsTexture", real)
            return real(texture_name)

        monkeypatch.setattr(made._gl, "glIsTexture", ask)
        made.render(SCENE, into=texture)
        assert list(frames) == []
        use_everything(made, lambda: None)


@every_method
def test_a_release_from_within_a_call(host: moderngl.Context, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It would delete the objects that the call uses."""
    texture = immutable_texture((41, 67))
    with renderer_of(name, host) as made:
        real = made._gl.glIsTexture

        def ask(texture_name: int) -> Any:
            with pytest.raises(WrongContextError, match="in the middle of another call"):
                made.release()
            return real(texture_name)

        with monkeypatch.context() as patch:
            patch.setattr(made._gl, "glIsTexture", ask)
            made.render(SCENE, into=texture)
        use_everything(made, lambda: None)


@pytest.mark.slow
@every_method
def test_keyboard_interrupts(host: moderngl.Context, name: str) -> None:
    """At any Python line of the modules that change state."""
    poison_all()
    with renderer_of(name, host) as made:
        texture = immutable_texture((41, 67))
        made.render(SCENE, into=texture)
        before = snapshot()
        leaks = {}
        for line in itertools.count(1):
            if not interrupted_after(line, lambda: made.read(made.render(SCENE, into=texture))):
                break
            if found := difference(before, snapshot()):
                leaks[line] = found
                before = snapshot()
        assert line > 100
        assert leaks == {}
        assert (made.read(made.render(SCENE, into=texture)) == expected((41, 67))).all()


STATE_CHANGING = ("guest.py", "compute.py", "triangles.py", "upload.py", "target.py")


def interrupted_after(n_lines: int, call: Callable[[], Any]) -> bool:
    """Make a call with an interrupt at its n-th line within those modules. Return whether the interrupt came."""
    seen = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal seen
        if not frame.f_code.co_filename.endswith(STATE_CHANGING) or frame.f_code.co_name in ("__exit__", "_put_back"):
            return None
        if event == "line":
            seen += 1
            if seen == n_lines:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()  # of coverage, if it is measured
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


# Objects that renderers leave.


@pytest.mark.slow
@every_method
def test_a_host_that_collects_by_context_gc(host: moderngl.Context, name: str) -> None:
    host.gc_mode = "context_gc"
    with renderer_of(name, host) as made:
        made.render(SCENE)
        made.render_many([SCENE, SCENE], into=host.texture_array((37, 71, 2), 1))
        list(made.read_frames([SCENE, SCENE], size=(5, 5)))
        list(made.read_frames([SCENE, SCENE], size=(6, 6)))
    del made
    gc.collect()
    host.gc()


@pytest.mark.slow
@every_method
def test_a_thousand_renderers_leave_no_objects(host: moderngl.Context, name: str) -> None:
    """No names and no memory: Python's allocations are equal after the first and the second half."""
    resource = pytest.importorskip("resource")

    def round_trip() -> None:
        with renderer_of(name, host) as made:
            for _ in made.read_frames([SCENE]):
                pass
            made.render_many([SCENE, SCENE], into=array)

    array = host.texture_array((37, 71, 2), 1)
    round_trip()
    before = live_names()
    for _ in range(500):
        round_trip()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(499):
        round_trip()
    assert live_names() == before
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 8 * 1024  # KiB; the peak


@pytest.mark.slow
@every_method
@pytest.mark.parametrize("kept", ["everything", "nothing", "frames"])
def test_a_renderer_dropped_without_release_at_exit(ctx: moderngl.Context, kept: str, name: str) -> None:
    script = f"""
import sys, alphastream_gpu
from alphastream_gpu._gl.selfcheck import NATIVE_SIZE, scene
ctx = alphastream_gpu.create_headless_context()
renderer = alphastream_gpu.MaskRenderer(ctx, native_size=NATIVE_SIZE, method={name!r})
texture = renderer.render(scene())
frames = renderer.read_frames([scene()] * 5)
next(frames)
if {kept!r} == "nothing":
    del ctx, renderer, texture, frames
elif {kept!r} == "frames":
    ctx.release()
    del ctx, renderer, texture
print("end", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


# Drivers with errors.

BROKEN_STAGES = {
    # method: the change in its shaders
    "compute": ("(major - 1u) / 2u", "major / 2u"),
    "triangles": ("(major - 1) / 2", "major / 2"),
}


@pytest.mark.slow
@by_shaders
def test_a_driver_with_a_wrong_bit(
    host: moderngl.Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """It is reported once, with the driver's name. Then the CPU makes the masks, so that the bits are right."""
    break_shaders(monkeypatch, *BROKEN_STAGES[name])
    with caplog.at_level(logging.WARNING, "alphastream_gpu"):
        for _ in range(2):
            with MaskRenderer(host, native_size=NATIVE, method=name) as made:  # type: ignore[arg-type]
                assert (made.method, made.is_exact) == ("upload", False)
                use_everything(made, lambda: None)
                assert made.stats.upload_frames == made.stats.frames > 0
                assert made.stats.draws == made.stats.dispatches == made.stats.cpu_fallbacks == 0
    [record] = caplog.records
    assert host.info["GL_RENDERER"] in record.getMessage()
    assert f"the method {name}: " in record.getMessage()


def break_shaders(monkeypatch: pytest.MonkeyPatch, old: str, replacement: str, *, define: str = "") -> None:
    """Change the sources that have a define, and allow every warning to be logged again."""
    real = method.shader_source

    def shader_source(part: str, defines: tuple[str, ...] = (), **options: Any) -> str:
        source = real(part, defines, **options)
        return source.replace(old, replacement) if not define or define in defines else source

    monkeypatch.setattr(method, "shader_source", shader_source)
    monkeypatch.setattr(choice, "_reported", set())


def test_a_driver_whose_batches_are_wrong(
    host: moderngl.Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_shaders(monkeypatch, "PACKAGE_FIRST_LAYER] + frame", "PACKAGE_FIRST_LAYER] + frame - 1", define="LAYERED")
    with caplog.at_level(logging.WARNING, "alphastream_gpu"):
        with MaskRenderer(host, native_size=NATIVE, method="compute") as made:
            assert (made.method, made.is_exact) == ("upload", False)
            use_everything(made, lambda: None)
        renderer_of("triangles", host).release()
    assert len(caplog.records) == 1


@pytest.mark.slow
@pytest.mark.parametrize("define", ["COMPUTE", "LAYERED"])
def test_a_driver_that_rejects_the_shaders(
    host: moderngl.Context, monkeypatch: pytest.MonkeyPatch, define: str
) -> None:
    """The next method is used. A method that was asked for by name raises with the driver's message."""
    break_shaders(monkeypatch, "void main()", "void main(?)", define=define)
    monkeypatch.setattr(choice, "is_software", lambda renderer_name: False)
    before = snapshot()
    names = live_names()
    with pytest.raises(GLUnavailableError, match=r"rejects the shaders of \w+_compute.* \(source numbers: "):
        MaskRenderer(host, native_size=NATIVE, method="compute")
    assert difference(before, snapshot()) == {}
    assert live_names() | {"programs": 0} == names  # moderngl leaks the program that it creates before compiling
    with MaskRenderer(host, native_size=NATIVE) as made:
        assert (made.method, made.is_exact) == ("triangles", True)
        use_everything(made, check_against(before))
    assert live_names() | {"programs": 0} == names


# Tests of the tests.


@every_method
def test_a_state_without_a_restore_is_found(host: moderngl.Context, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The comparison above can fail: one state is not restored."""
    forgotten = {
        "compute": {"CURRENT_PROGRAM", "SHADER_STORAGE_BUFFER_BINDING 1", "IMAGE_BINDING_NAME 0"},
        "triangles": {"CURRENT_PROGRAM", "VERTEX_ARRAY_BINDING", "VIEWPORT 0", "TEXTURE_BINDING_BUFFER 0"},
        "upload": {"PIXEL_UNPACK_BUFFER_BINDING", "UNPACK_ALIGNMENT"},
    }
    POISONS["unpack buffer"]()
    before = snapshot()
    with renderer_of(name, host) as made:
        made._method.guard._put_back = lambda: None  # type: ignore[attr-defined]
        made.render(SCENE)
        assert forgotten[name] <= set(difference(before, snapshot()))
