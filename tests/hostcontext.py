"""
A host with a context of its own, in a process of its own: whatever it has set stays set, and changes no bit.

    python tests/hostcontext.py GLX|EGL CORE|COMPAT

Needs PYOPENGL_PLATFORM=glx or egl, and a display. Fails with an assertion.
"""

from __future__ import annotations

import sys
from typing import Any

from glstate import (
    COMPATIBILITY_POISONS,
    GL,
    POISONS,
    compatibility_snapshot,
    difference,
    draw_something,
    immutable_texture,
    snapshot,
)
from test_guest import FAR, NATIVE, SCENE, expected, use_everything

from alphastream_gpu import MaskRenderer

try:
    import glfw
except ImportError as exc:
    raise SystemExit(f"{exc}; run: pip install glfw") from exc


def make_context(interface: str, profile: str) -> None:
    """Current on this thread, as long as the process lives."""
    glfw.ERROR_REPORTING = "raise"
    glfw.init()
    glfw.window_hint(glfw.VISIBLE, False)
    glfw.window_hint(glfw.CONTEXT_VERSION_MAJOR, 3)
    glfw.window_hint(glfw.CONTEXT_VERSION_MINOR, 3)
    glfw.window_hint(glfw.OPENGL_PROFILE, getattr(glfw, f"OPENGL_{profile}_PROFILE"))
    api = glfw.EGL_CONTEXT_API if interface == "EGL" else glfw.NATIVE_CONTEXT_API
    glfw.window_hint(glfw.CONTEXT_CREATION_API, api)
    glfw.make_context_current(glfw.create_window(64, 64, "host", None, None))
    expected_bit = GL.GL_CONTEXT_COMPATIBILITY_PROFILE_BIT if IS_COMPATIBILITY else GL.GL_CONTEXT_CORE_PROFILE_BIT
    assert GL.glGetIntegerv(GL.GL_CONTEXT_PROFILE_MASK) == expected_bit


def one_by_one(made: MaskRenderer) -> None:
    """The states of compatibility contexts, each with every kind of call."""
    texture, array = immutable_texture((37, 71)), immutable_texture((96, 64), layers=3)
    for name, poison in COMPATIBILITY_POISONS.items():
        plain = whole_state()
        poison()
        assert GL.glGetError() == 0, name
        before = whole_state()
        assert difference(plain, before), f"{name} poisons nothing"

        def check(name: str = name, before: dict[str, Any] = before) -> None:
            assert difference(before, whole_state()) == {}, name

        for geometry in (SCENE, FAR):
            made.render(geometry, into=texture)
            check()
            assert (made.read(texture) == expected((37, 71), geometry)).all(), name
            made.render_many([SCENE, geometry], into=array, first_layer=1)
            check()
            assert (made.read(array, layer=2) == expected((96, 64), geometry)).all(), name
        [mask] = made.read_frames([SCENE])
        assert (mask == expected(NATIVE)).all(), name
        check()


def all_at_once() -> None:
    """Every state, before the renderer is made."""
    for poison in (*POISONS.values(), *(COMPATIBILITY_POISONS.values() if IS_COMPATIBILITY else ())):
        poison()
    assert GL.glGetError() == 0
    before = whole_state()

    def check() -> None:
        assert difference(before, whole_state()) == {}

    with MaskRenderer(native_size=NATIVE) as made:
        check()
        assert made._current.interface == INTERFACE
        assert made.is_exact
        use_everything(made, check)
    check()


def whole_state() -> dict[str, Any]:
    return snapshot() | (compatibility_snapshot() if IS_COMPATIBILITY else {})


INTERFACE, PROFILE = sys.argv[1:]
IS_COMPATIBILITY = PROFILE == "COMPAT"
make_context(INTERFACE, PROFILE)
draw_something()
if IS_COMPATIBILITY:
    with MaskRenderer(native_size=NATIVE) as renderer:
        assert renderer.is_exact
        one_by_one(renderer)
all_at_once()
assert GL.glGetError() == 0
