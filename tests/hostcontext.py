"""
A host with a GL context in its own process. Tests for each method that the host's state does not change and does not
affect the masks.

    python tests/hostcontext.py GLX|EGL CORE|COMPAT

Needs PYOPENGL_PLATFORM=glx or egl, and a display. Fails with an assertion.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "gl"))

import moderngl
from glstate import (
    COMPATIBILITY_POISONS,
    GL,
    POISONS,
    WRONG_CALLS,
    EGLContext,
    compatibility_snapshot,
    difference,
    gl,
    immutable_texture,
    listening,
    pending_errors,
    snapshot,
)
from test_guest import FAR, METHODS, NATIVE, SCENE, expected, renderer_of, use_everything

from alphastream_gpu import MaskRenderer
from alphastream_gpu._gl.loader import current_context

try:
    import glfw
except ImportError as exc:
    raise SystemExit(f"{exc}; run: pip install glfw") from exc


def make_context(interface: str, profile: str) -> Any:
    """Make a window whose context stays current on this thread until the process ends."""
    glfw.ERROR_REPORTING = "raise"
    glfw.init()
    glfw.window_hint(glfw.VISIBLE, False)
    glfw.window_hint(glfw.CONTEXT_VERSION_MAJOR, 3)
    glfw.window_hint(glfw.CONTEXT_VERSION_MINOR, 3)
    glfw.window_hint(glfw.OPENGL_PROFILE, getattr(glfw, f"OPENGL_{profile}_PROFILE"))
    api = glfw.EGL_CONTEXT_API if interface == "EGL" else glfw.NATIVE_CONTEXT_API
    glfw.window_hint(glfw.CONTEXT_CREATION_API, api)
    window = glfw.create_window(64, 64, "host", None, None)
    glfw.make_context_current(window)
    expected_bit = GL.GL_CONTEXT_COMPATIBILITY_PROFILE_BIT if IS_COMPATIBILITY else GL.GL_CONTEXT_CORE_PROFILE_BIT
    assert GL.glGetIntegerv(GL.GL_CONTEXT_PROFILE_MASK) == expected_bit
    return window


def one_by_one() -> None:
    """Test each state of compatibility contexts with every kind of call, by each method."""
    texture, array = immutable_texture((37, 71)), immutable_texture((96, 64), layers=3)
    renderers = [renderer_of(name) for name in METHODS]
    for poison_name, poison in COMPATIBILITY_POISONS.items():
        plain = whole_state()
        poison()
        assert GL.glGetError() == 0, poison_name
        before = whole_state()
        assert difference(plain, before), f"{poison_name} poisons nothing"
        for made in renderers:
            what = f"{poison_name}, {made.method}"
            for geometry in (SCENE, FAR):
                made.render(geometry, into=texture)
                assert difference(before, whole_state()) == {}, what
                assert (made.read(texture) == expected((37, 71), geometry)).all(), what
                made.render_many([SCENE, geometry], into=array, first_layer=1)
                assert difference(before, whole_state()) == {}, what
                assert (made.read(array, layer=2) == expected((96, 64), geometry)).all(), what
            [mask] = made.read_frames([SCENE])
            assert (mask == expected(NATIVE)).all(), what
            made._owner.identity.exact_methods.clear()
            renderer_of(made.method).release()
            assert difference(before, whole_state()) == {}, what
    for made in renderers:
        made.release()


def all_at_once() -> None:
    """Test with all states set before the renderer is made."""
    for poison in (*POISONS.values(), *(COMPATIBILITY_POISONS.values() if IS_COMPATIBILITY else ())):
        poison()
    assert GL.glGetError() == 0
    before = whole_state()

    def check() -> None:
        assert difference(before, whole_state()) == {}

    for name in METHODS:
        with renderer_of(name) as made:
            check()
            assert made._owner.identity.current.interface == INTERFACE
            use_everything(made, check)
        check()


def misuse() -> None:
    """Test a texture of the wrong kind. A pending error of the host stays pending, and there is no other error. A debug
    callback gets no message of the library."""
    texture, array = immutable_texture((37, 71)), immutable_texture((96, 64), layers=3)
    with renderer_of("upload") as made, listening() as heard:
        before = whole_state()
        for error in (None, *WRONG_CALLS):
            if error is not None:
                WRONG_CALLS[error]()
            heard.clear()
            for wrong, layer in ((array, None), (texture, 0)):
                with suppress(ValueError):
                    made.render(SCENE, into=wrong, layer=layer)
                    raise AssertionError("nothing was raised")
            assert heard == [], heard
            assert pending_errors() == ([] if error is None else [gl(error)]), error
        assert difference(before, whole_state()) == {}


def another_default(window: Any) -> None:
    """Test with an EGL context as moderngl's default context, which must not be taken for the current one."""
    current = current_context()
    before = whole_state()
    glfw.make_context_current(None)
    default = moderngl.create_context(standalone=True, backend="egl")
    EGLContext.leave_any()
    glfw.make_context_current(window)
    assert moderngl.get_context() is default
    for _ in range(2):
        with MaskRenderer(native_size=NATIVE) as made:
            assert made._ctx is not default
            found = current_context()
            assert (found.interface, found.handle) == (current.interface, current.handle)
            assert (made.read(made.render(SCENE)) == expected(NATIVE)).all()
        assert difference(before, whole_state()) == {}
    glfw.make_context_current(None)
    default.__enter__()
    with MaskRenderer(native_size=NATIVE) as made:
        assert made._ctx is default
        assert (made.read(made.render(SCENE)) == expected(NATIVE)).all()
    EGLContext.leave_any()
    glfw.make_context_current(window)


def whole_state() -> dict[str, Any]:
    return snapshot() | (compatibility_snapshot() if IS_COMPATIBILITY else {})


INTERFACE, PROFILE = sys.argv[1:]
IS_COMPATIBILITY = PROFILE == "COMPAT"
host = make_context(INTERFACE, PROFILE)
another_default(host)
if IS_COMPATIBILITY:
    one_by_one()
all_at_once()
misuse()
assert GL.glGetError() == 0
