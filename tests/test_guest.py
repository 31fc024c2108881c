"""
A guest that leaves no trace: whatever a host has set stays set, and changes no bit of a mask.
"""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import moderngl
import numpy as np
import pytest
from glstate import GL, POISONS, difference, draw_something, immutable_texture, live_names, snapshot
from support import geometry_of

import alphastream_gpu
from alphastream_gpu import FrameGeometry, GLUnavailableError, MaskRenderer, rasterize
from alphastream_gpu._gl import attach as attach_module
from alphastream_gpu._gl import guest, passes, renderer, selfcheck
from alphastream_gpu._gl.functions import Functions

NATIVE = selfcheck.NATIVE_SIZE
SCENE = selfcheck.scene()
FAR = geometry_of([[(3, 4), (20, 9), (40000, 30)]])
"""Beyond the shaders: the CPU's mask is uploaded."""
SIZES = [(96, 64), (48, 16), (37, 71)]
"""Drawn directly, by steps, and through a resolve pass."""

SET_BY_MODERNGL = ("PRIMITIVE_RESTART", "TEXTURE_CUBE_MAP_SEAMLESS", "PROGRAM_POINT_SIZE")
"""In every context that it makes."""


def expected(size: tuple[int, int], geometry: FrameGeometry = SCENE) -> np.ndarray:
    return rasterize(geometry, size, native_size=NATIVE)


def use_everything(renderer: MaskRenderer, check: Callable[[], None]) -> None:
    """Every call that touches GL, on every path. The textures are made without touching any state (DSA)."""
    for size in SIZES:
        texture, array = immutable_texture(size), immutable_texture(size, layers=3)
        for geometry in (SCENE, FAR):
            renderer.render(geometry, into=texture)
            check()
            assert (renderer.read(texture) == expected(size, geometry)).all()
            renderer.render(geometry, into=array, layer=0)
            check()
            assert (renderer.read(array, layer=0) == expected(size, geometry)).all()
            check()
            renderer.render_many([SCENE, geometry, SCENE], into=array)
            check()
            assert (renderer.read(array, layer=1) == expected(size, geometry)).all()
            assert (renderer.read(array, layer=2) == expected(size)).all()
        for mask in renderer.read_frames([SCENE] * 4, size=size):
            check()
            assert (mask == expected(size)).all()
        check()
        GL.glDeleteTextures(2, (GL.GLuint * 2)(texture, array))
    assert (renderer.read(renderer.render(SCENE)) == expected(NATIVE)).all()
    check()


@pytest.fixture
def host(ctx_new: moderngl.Context) -> Iterator[moderngl.Context]:
    """A context as it is made, but that something was drawn."""
    draw_something()
    yield ctx_new
    assert GL.glGetError() == 0


@pytest.mark.parametrize("poison", POISONS)
def test_what_a_host_has_set_stays_and_changes_no_bit(host: moderngl.Context, poison: str) -> None:
    plain = snapshot()
    early = MaskRenderer(host, native_size=NATIVE)
    assert difference(plain, snapshot()) == {}
    POISONS[poison]()
    assert GL.glGetError() == 0
    before = snapshot()
    assert difference(plain, before) or poison in SET_BY_MODERNGL, "this poisons nothing"

    def check() -> None:
        assert difference(before, snapshot()) == {}

    use_everything(early, check)
    renderer._exact.pop(host)  # so that the self-check, too, meets the state
    with MaskRenderer(host, native_size=NATIVE) as late:
        check()
        assert late.is_exact
        use_everything(late, check)
    early.release()
    check()


def test_everything_poisoned_at_once(host: moderngl.Context) -> None:
    for poison in POISONS.values():
        poison()
    assert GL.glGetError() == 0
    before = snapshot()

    def check() -> None:
        assert difference(before, snapshot()) == {}

    with MaskRenderer(host, native_size=NATIVE) as made:
        assert made.is_exact
        use_everything(made, check)
        unkind = MaskRenderer(host, native_size=NATIVE, preserve_state=False)
    use_everything(unkind, lambda: None)  # masks are exact without preserving, too
    assert difference(before, snapshot()) != {}
    unkind.release()


def test_without_preserving_masks_are_the_shaders_too(host: moderngl.Context) -> None:
    """On a context that no other renderer was checked on, as it is made and with everything poisoned."""
    for poisons in ((), POISONS.values()):
        for poison in poisons:
            poison()
        renderer._exact.pop(host, None)
        with MaskRenderer(host, native_size=NATIVE, preserve_state=False) as made:
            assert made.is_exact
            use_everything(made, lambda: None)
            assert 0 < made.stats.cpu_fallbacks < made.stats.frames / 2  # those of FAR
        assert GL.glGetError() == 0


@pytest.mark.parametrize("version", [330, 400, 410, 430])
@pytest.mark.parametrize("extensions", [True, False])
def test_contexts_of_older_versions(
    host: moderngl.Context, monkeypatch: pytest.MonkeyPatch, version: int, extensions: bool
) -> None:
    """
    What newer versions have an old context may have by extensions. Where it has not, there is no such state, and older
    functions do instead.
    """
    monkeypatch.setattr(host, "version_code", version)
    if not extensions:
        monkeypatch.setattr(Functions, "has", lambda self, version_code, extension: self.version_code >= version_code)
    for name, poison in POISONS.items():
        if extensions or ("by buffer" not in name and name not in ("viewports and scissors", "clip control")):
            poison()
    assert GL.glGetError() == 0
    before = snapshot()

    def check() -> None:
        assert difference(before, snapshot()) == {}

    with MaskRenderer(host, native_size=NATIVE) as old:
        assert (old._gl.glClipControl is not None) == extensions
        assert (old._gl.glBlendFuncSeparatei is not None) == (extensions or version >= 400)
        assert (old._gl.glViewportIndexedf is not None) == (extensions or version >= 410)
        use_everything(old, check)
        texture, array = immutable_texture((8, 8)), immutable_texture((8, 8), layers=2)
        GL.glEnable(0x1234)  # an error of the host's
        with pytest.raises(ValueError, match="expected the name of a GL_TEXTURE_2D, found that of another kind"):
            old.render(SCENE, into=array)
        with pytest.raises(ValueError, match="expected the name of a GL_TEXTURE_2D_ARRAY, found"):
            old.render(SCENE, into=texture, layer=0)
        check()
        assert [GL.glGetError(), GL.glGetError()] == [GL.GL_INVALID_ENUM, 0]


@pytest.mark.parametrize("broken", ["glBindTexture", "glFramebufferTexture2D", "glReadPixels"])
def test_an_exception_on_the_way_leaves_no_trace_either(host: moderngl.Context, broken: str) -> None:
    for poison in POISONS.values():
        poison()
    assert GL.glGetError() == 0
    with MaskRenderer(host, native_size=NATIVE) as made:
        texture = immutable_texture((41, 67))
        made.render(SCENE, into=texture)  # makes its scratch texture
        before = snapshot()
        real = getattr(made._gl, broken)
        for nth in range(1, 9):
            calls = []

            def stumble(*arguments: Any, nth: int = nth, calls: list[int] = calls) -> None:
                calls.append(1)
                if len(calls) == nth:
                    raise ZeroDivisionError
                real(*arguments)

            setattr(made._gl, broken, stumble)
            try:
                made.render(SCENE, into=texture)
                made.read(texture)
            except ZeroDivisionError:
                pass
            setattr(made._gl, broken, real)
            assert difference(before, snapshot()) == {}, nth
        made.render(SCENE, into=texture)
        assert (made.read(texture) == expected((41, 67))).all()


def test_the_hosts_moderngl_state_is_still_what_gl_has(host: moderngl.Context) -> None:
    """moderngl remembers the framebuffer in use and what is enabled; a guest must not let the two part."""
    framebuffer = host.framebuffer([host.texture((16, 16), 4)])
    framebuffer.use()
    host.scissor = (0, 0, 3, 3)
    host.wireframe = True
    host.gc_mode = "context_gc"
    with MaskRenderer(host, native_size=NATIVE) as made:
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


def test_the_current_context_without_moderngl(host: moderngl.Context) -> None:
    """No context handed in: the one that is current is used, and moderngl's default is not set."""
    assert moderngl._store.default_context is None  # type: ignore[attr-defined]
    for poison in POISONS.values():
        poison()
    assert GL.glGetError() == 0
    before = snapshot()

    def check() -> None:
        assert difference(before, snapshot()) == {}

    with MaskRenderer(native_size=NATIVE) as made:
        check()
        use_everything(made, check)
    check()
    assert moderngl._store.default_context is None  # type: ignore[attr-defined]


def test_a_program_with_a_default_context_of_moderngls(host: moderngl.Context) -> None:
    moderngl._store.default_context = host  # type: ignore[attr-defined]
    try:
        with MaskRenderer(native_size=NATIVE) as made:
            texture = host.texture(NATIVE, 1)
            assert (made.read(made.render(SCENE, into=texture)) == expected(NATIVE)).all()
        assert moderngl.get_context() is host
    finally:
        moderngl._store.default_context = None  # type: ignore[attr-defined]


def test_no_context_is_current(host: moderngl.Context, ctx_session: moderngl.Context) -> None:
    made = MaskRenderer(host, native_size=NATIVE)
    host.__exit__(None, None, None)  # current no more
    try:
        for call in (lambda: made.render(SCENE), made.release):
            with pytest.raises(GLUnavailableError, match="its OpenGL context is not current|is not current on this"):
                call()
        ctx_session.__enter__()  # another one is
        with pytest.raises(GLUnavailableError, match="is not current on this thread"):
            made.render(SCENE)
    finally:
        host.__enter__()
    made.release()


@pytest.mark.parametrize("attached", [True, False])
def test_a_pending_error_is_still_the_hosts(host: moderngl.Context, attached: bool) -> None:
    texture = immutable_texture((48, 16))
    provoke = {
        GL.GL_INVALID_ENUM: lambda: GL.glEnable(0x1234),
        GL.GL_INVALID_VALUE: lambda: GL.glClear(0xFFFFFFFF),
        GL.GL_INVALID_OPERATION: lambda: GL.glBindVertexArray(12345678),
    }
    for error, wrong_call in provoke.items():
        attach_module._attached.clear()
        while GL.glGetError():
            pass
        wrong_call()
        with MaskRenderer(None if attached else host, native_size=NATIVE) as made:
            made.render(SCENE, into=texture)
            made.read(texture)
        errors = [GL.glGetError() for _ in range(4)]
        assert error in errors
        assert errors[-1] == 0


def test_attaching_again_finds_the_same_context(host: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """moderngl's contexts are never collected, so one is made for each of GL's, and checked once."""
    checks = []
    real = renderer.count_wrong_pixels
    monkeypatch.setattr(renderer, "count_wrong_pixels", lambda draw: checks.append(1) or real(draw))
    wrappers = set()
    for _ in range(5):
        with MaskRenderer(native_size=NATIVE) as made:
            wrappers.add(made.render(SCENE).ctx)
    assert len(wrappers) == len(checks) == 1
    assert host not in wrappers


def test_a_context_that_is_not_the_current_one(host: moderngl.Context, ctx_session: moderngl.Context) -> None:
    """Its calls would go to the other, and draw into a texture there that has the same name."""
    MaskRenderer(host, native_size=NATIVE).release()
    ctx_session.__enter__()
    try:
        with pytest.raises(GLUnavailableError, match="another OpenGL context is current on this thread"):
            MaskRenderer(host, native_size=NATIVE)
        moderngl._store.default_context = host  # type: ignore[attr-defined]
        with MaskRenderer(native_size=NATIVE) as made:  # not of a default that belongs elsewhere
            assert made._ctx is not host
    finally:
        moderngl._store.default_context = None  # type: ignore[attr-defined]
        host.__enter__()


def test_things_that_are_no_context(ctx_session: moderngl.Context) -> None:
    with pytest.raises(TypeError, match="ctx: expected a moderngl.Context, found str"):
        MaskRenderer("x")  # type: ignore[arg-type]
    released = alphastream_gpu.create_headless_context()
    released.release()
    ctx_session.__enter__()
    with pytest.raises(GLUnavailableError, match="ctx: it is released"):
        MaskRenderer(released)


def test_a_host_that_collects_by_context_gc(host: moderngl.Context) -> None:
    host.gc_mode = "context_gc"
    with MaskRenderer(host, native_size=NATIVE) as made:
        made.render(SCENE)
        made.render_many([SCENE, SCENE], into=host.texture_array((37, 71, 2), 1))
        list(made.read_frames([SCENE, SCENE], size=(5, 5)))
        list(made.read_frames([SCENE, SCENE], size=(6, 6)))
    del made
    gc.collect()
    host.gc()


def test_an_advanced_blend_equation(host: moderngl.Context) -> None:
    """Those that no call sets for colours and alpha apart."""
    if "GL_KHR_blend_equation_advanced" not in host.extensions:
        pytest.skip("the driver has none")
    multiply = 0x9294
    GL.glBlendEquation(multiply)
    before = snapshot()
    assert before["BLEND_EQUATION_RGB"] == (multiply,)
    with MaskRenderer(host, native_size=NATIVE) as made:
        use_everything(made, lambda: None)
    assert difference(before, snapshot()) == {}


def test_a_call_from_within_a_call(host: moderngl.Context) -> None:
    with MaskRenderer(host, native_size=NATIVE) as made:
        POISONS["program"]()
        before = snapshot()
        with pytest.raises(GLUnavailableError, match="in the middle of another call"), made._drawing:
            made.render(SCENE)
        assert difference(before, snapshot()) == {}
        made.render(SCENE)


def test_interrupts_from_the_keyboard(host: moderngl.Context) -> None:
    """At any line of Python's in the modules that change state."""
    for poison in POISONS.values():
        poison()
    assert GL.glGetError() == 0
    with MaskRenderer(host, native_size=NATIVE) as made:
        texture = immutable_texture((41, 67))
        made.render(SCENE, into=texture)
        before = snapshot()
        lines = leaks = 0
        while True:
            lines += 2
            if not interrupted_after(lines, lambda: made.read(made.render(SCENE, into=texture))):
                break
            found = difference(before, snapshot())
            if found:
                leaks += 1
                before = snapshot()
        assert lines > 300
        assert leaks == 0
        assert (made.read(made.render(SCENE, into=texture)) == expected((41, 67))).all()


def interrupted_after(n_lines: int, call: Callable[[], Any]) -> bool:
    """Whether an interrupt came before the call was done; one raised at its n-th line within guest.py and passes.py."""
    seen = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal seen
        if not frame.f_code.co_filename.endswith(("guest.py", "passes.py")) or frame.f_code.co_name in (
            "__exit__",
            "_put_back",
        ):
            return None
        if event == "line":
            seen += 1
            if seen == n_lines:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()  # coverage's, where it is measured
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_a_program_that_was_deleted_while_in_use(host: moderngl.Context) -> None:
    """As moderngl's release() does; it is gone when another is used, and must not be asked for again."""
    POISONS["program"]()
    GL.glDeleteProgram(snapshot()["CURRENT_PROGRAM"][0])
    with MaskRenderer(host, native_size=NATIVE) as made:
        use_everything(made, lambda: None)
    assert GL.glGetError() == 0
    assert snapshot()["CURRENT_PROGRAM"] == (0,)


def test_a_thousand_renderers_leave_nothing(host: moderngl.Context) -> None:
    """Names, and memory: what Python has allocated is the same after the second half as after the first."""
    resource = pytest.importorskip("resource")

    def round_trip() -> None:
        with MaskRenderer(host, native_size=NATIVE) as made:
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
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 8 * 1024  # KiB; the high-water mark


@pytest.mark.parametrize("kept", ["everything", "nothing", "frames"])
def test_a_renderer_dropped_without_release_at_exit(ctx: moderngl.Context, kept: str) -> None:
    script = f"""
import sys, alphastream_gpu
from alphastream_gpu._gl.selfcheck import scene
ctx = alphastream_gpu.create_headless_context()
renderer = alphastream_gpu.MaskRenderer(ctx)
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


def test_a_driver_that_gets_a_bit_wrong(
    host: moderngl.Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Reported once, with the driver's name; from then on the masks are the CPU's, so that bits are right."""
    real = passes.shader_source
    monkeypatch.setattr(
        passes, "shader_source", lambda name, *of: real(name, *of).replace("(major - 1) / 2", "major / 2")
    )
    monkeypatch.setattr(renderer, "_reported", set())
    with caplog.at_level(logging.WARNING, "alphastream_gpu"):
        for _ in range(2):
            with MaskRenderer(host, native_size=NATIVE) as made:
                assert not made.is_exact
                use_everything(made, lambda: None)
                assert made.stats.cpu_fallbacks == made.stats.frames > 0
                assert made.stats.draws == 0
    [record] = caplog.records
    assert host.info["GL_RENDERER"] in record.getMessage()
    assert "uploading CPU masks instead" in record.getMessage()


def test_a_driver_that_gets_only_batches_wrong(
    host: moderngl.Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = passes.shader_source
    monkeypatch.setattr(
        passes,
        "shader_source",
        lambda name, variant: real(name, variant).replace("gl_Layer = first_layer", "gl_Layer = first_layer + 1"),
    )
    monkeypatch.setattr(renderer, "_reported", set())
    with caplog.at_level(logging.WARNING, "alphastream_gpu"), MaskRenderer(host, native_size=NATIVE) as made:
        assert made.is_exact
        use_everything(made, lambda: None)
    assert len(caplog.records) == len(made._layered)
    assert all("drawing batches another way" in record.getMessage() for record in caplog.records)


def test_a_driver_that_refuses_the_shaders_of_batches(
    host: moderngl.Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Then by a geometry stage, and if that is refused, too, frame by frame."""
    real = passes.shader_source
    for refused in (["layered_by_vertex"], ["layered_by_vertex", "layered"]):
        monkeypatch.setattr(
            passes,
            "shader_source",
            lambda name, variant, refused=refused: real(name, variant) + "?" * (variant in refused),
        )
        monkeypatch.setattr(renderer, "_reported", set())
        caplog.clear()
        renderer._exact.pop(host, None)
        with caplog.at_level(logging.WARNING, "alphastream_gpu"), MaskRenderer(host, native_size=NATIVE) as made:
            use_everything(made, lambda: None)
            use_everything(made, lambda: None)
        assert len(caplog.records) == len(set(refused) & set(made._layered))


def test_a_state_forgotten_is_noticed(host: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above can fail: leave one thing out."""
    monkeypatch.setattr(guest, "_SPOILERS", guest._SPOILERS[:-1])
    POISONS["sample mask"]()
    before = snapshot()
    with MaskRenderer(host, native_size=NATIVE) as made:
        monkeypatch.setattr(made._drawing, "_undo", [])
        made._drawing._put_back = lambda: None  # type: ignore[method-assign]
        made.render(SCENE)
        assert {"CURRENT_PROGRAM", "VERTEX_ARRAY_BINDING", "VIEWPORT 0"} <= set(difference(before, snapshot()))
