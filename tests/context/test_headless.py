"""
create_headless_context: the order of attempts, the choice of the device, and the messages if every attempt fails.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import moderngl
import pytest
from hosts import skip_or_fail
from hypothesis import given
from hypothesis import strategies as st
from nogl import PACKAGES, account, run_python
from screen import open_screen

from alphastream_gpu import GLUnavailableError, MaskRenderer, create_headless_context
from alphastream_gpu._context import headless
from alphastream_gpu._context.causes import explain
from alphastream_gpu._context.egl import Current, Device, Library, _describe, library_name
from alphastream_gpu._context.system import System
from alphastream_gpu._context.vendors import find_vendors
from alphastream_gpu._gl.loader import current_context

SOFTWARE = ("EGL_MESA_device_software",)
NO_FILE = "cannot open shared object file: No such file or directory"
NOTHING = "no OpenGL 3.3 context without a window:"


@pytest.fixture
def only_software(ctx: moderngl.Context) -> None:
    """For tests that quote the messages of Mesa's software device."""
    devices = Library(library_name({})).devices() if importlib.util.find_spec("glcontext.egl") else ()
    if len(devices) != 1 or not devices[0].is_software:
        pytest.skip("needs Mesa's software device as the only device")


# --- devices that exist -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("only_software")
@pytest.mark.parametrize("device", [None, 0, "llvmpipe", "LLVMPIPE", " mesa "])
def test_a_device_by_index_and_by_name(ctx: moderngl.Context, device: int | str | None) -> None:
    default = moderngl._store.default_context
    made = create_headless_context(device)
    try:
        assert made.version_code >= 330
        assert "llvmpipe" in made.info["GL_RENDERER"]
        assert moderngl._store.default_context is default
        with MaskRenderer(made) as renderer:
            assert renderer.is_exact
    finally:
        made.release()
        ctx.__enter__()


@pytest.mark.usefixtures("only_software")
def test_a_device_that_does_not_exist_leaves_the_current_context(ctx: moderngl.Context) -> None:
    ctx.__enter__()
    before = current_context().handle
    with pytest.raises(GLUnavailableError) as caught:
        create_headless_context("nonesuch")
    renderer, vendor = ctx.info["GL_RENDERER"], ctx.info["GL_VENDOR"]
    assert str(caught.value).splitlines() == [
        "no EGL device matches 'nonesuch':",
        f"EGL device 0 (software): is {renderer} ({vendor}); pass device=0",
    ]
    assert current_context().handle == before
    with pytest.raises(GLUnavailableError) as caught:
        create_headless_context(7)
    assert str(caught.value).splitlines() == [
        "no EGL device 7:",
        "EGL device 0 (software): available; pass device=0",
    ]
    assert current_context().handle == before


@pytest.mark.usefixtures("only_software")
def test_no_context_is_current_after_a_failure_without_one(ctx: moderngl.Context) -> None:
    opengl_api = 0x30A2
    Library(library_name({})).restore(Current(opengl_api, None, None, None, None))
    try:
        with pytest.raises(GLUnavailableError):
            create_headless_context("nonesuch")
        with pytest.raises(GLUnavailableError, match="no OpenGL context is current"):
            current_context()
    finally:
        ctx.__enter__()


@pytest.mark.parametrize(
    ("device", "error", "message"),
    [
        (True, TypeError, "device: expected an index or part of a name, found True"),
        (1.0, TypeError, "device: expected an index or part of a name, found 1.0"),
        (b"llvmpipe", TypeError, "found b'llvmpipe'"),
        (-1, ValueError, "device: expected an index from 0, found -1"),
        ("", ValueError, "device: expected part of a name, found ''"),
        (" ", ValueError, "found ' '"),
    ],
)
def test_invalid_arguments(device: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        create_headless_context(device)


@pytest.mark.slow
@pytest.mark.usefixtures("only_software")
def test_the_index_in_the_environment_applies_without_an_argument() -> None:
    script = (
        "import sys, alphastream_gpu as a\n"
        "for device in (0, None):\n"
        "    try: print(a.create_headless_context(device).version_code >= 330)\n"
        "    except a.GLUnavailableError as exc: print(exc)\n"
    )
    done = run_python(script, GLCONTEXT_DEVICE_INDEX="5")
    assert done.stdout.splitlines() == [
        "True",
        "no EGL device 5:",
        "EGL device 0 (software): available; set GLCONTEXT_DEVICE_INDEX=0",
    ]
    assert run_python(script, GLCONTEXT_DEVICE_INDEX="0").stdout.splitlines() == ["True", "True"]
    for wrong in ("-1", "first"):
        assert run_python(script, GLCONTEXT_DEVICE_INDEX=wrong).stdout.splitlines() == [
            "True",
            NOTHING,
            f"GLCONTEXT_DEVICE_INDEX: expected an index from 0; unset GLCONTEXT_DEVICE_INDEX (it is '{wrong}')",
        ]


# --- OpenGL that is missing or broken -----------------------------------------------------------------------------


@pytest.mark.slow
def test_with_libegl_hidden(ctx: moderngl.Context, tmp_path: Path) -> None:
    """A file that is not a library is found before the real one."""
    (tmp_path / "libEGL.so.1").write_text("no library")
    said = account(LD_LIBRARY_PATH=tmp_path)
    fix = f"unset LD_LIBRARY_PATH (it is '{tmp_path}'), or {PACKAGES}"
    why = f"{tmp_path}/libEGL.so.1: file too short"
    assert said.lines == [NOTHING, f"EGL: libEGL.so.1 does not load: {why}; {fix}"]
    assert (said.exit_code, said.ok) == (1, False)
    assert said.findings["libEGL.so.1"] == {
        "name": "libEGL.so.1",
        "ok": False,
        "detail": f"does not load: {why}",
        "fix": fix,
        "level": "needed",
    }
    assert said.findings["EGL devices"]["detail"] == "not checked: no EGL"
    at = said.words.index(f"MISSING libEGL.so.1: does not load: {why}")
    assert said.words[at + 1] == f"        fix: {fix}"
    assert "        fix: as above" in said.words


@pytest.mark.slow
@pytest.mark.usefixtures("ctx")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/no/such/libEGL.so", f"/no/such/libEGL.so: {NO_FILE}"),
        ("libm.so.6", "libm.so.6 has no function eglBindAPI"),
    ],
)
def test_with_another_library_for_egl(name: str, why: str) -> None:
    said = account(GLCONTEXT_LINUX_LIBEGL=name)
    fix = f"unset GLCONTEXT_LINUX_LIBEGL (it is '{name}'), or {PACKAGES}"
    assert said.lines == [NOTHING, f"EGL: {name} does not load: {why}; {fix}"]
    assert said.findings["OpenGL context"]["fix"] == fix
    assert said.exit_code == 1


@pytest.mark.slow
def test_with_libgl_hidden(ctx: moderngl.Context, only_software: None, tmp_path: Path) -> None:
    (tmp_path / "libGL.so.1").write_text("no library")
    said = account(LD_LIBRARY_PATH=tmp_path)
    why = f"libGL does not load: libGL.so.1 not loaded: {tmp_path}/libGL.so.1: file too short"
    fix = f"unset LD_LIBRARY_PATH (it is '{tmp_path}'), or {PACKAGES}"
    assert said.lines == [NOTHING, f"EGL device 0 (software): {why}; {fix}"]
    assert said.findings["libGL.so.1"]["ok"] is False
    assert said.exit_code == 1


@pytest.mark.slow
@pytest.mark.usefixtures("ctx")
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        ("{{{", "not JSON"),
        ("[" * 60000, "not JSON"),
        ('{"ICD": []}', "names no library (ICD, library_path)"),
        ('{"ICD": {"library_path": ""}}', "names no library (ICD, library_path)"),
        (
            '{"file_format_version": "1.0.0", "ICD": {"library_path": "libEGL_nonesuch.so.0"}}',
            f"the driver's library does not load: libEGL_nonesuch.so.0: {NO_FILE}",
        ),
    ],
    ids=["missing", "garbage", "nested", "no library", "empty library", "missing library"],
)
def test_with_an_invalid_vendor_file(tmp_path: Path, content: str | None, why: str) -> None:
    vendor = tmp_path / "50_wrong.json"
    if content is not None:
        vendor.write_text(content)
    said = account(__EGL_VENDOR_LIBRARY_FILENAMES=vendor)
    fix = f"unset __EGL_VENDOR_LIBRARY_FILENAMES (it is '{vendor}'), or {PACKAGES}"
    assert said.lines == [NOTHING, f"EGL vendor file {vendor}: {why}; {fix}"]
    assert (said.exit_code, said.ok) == (1, False)
    found = said.findings[f"EGL vendor {vendor}"]
    assert (found["ok"], found["detail"], found["level"]) == (False, why, "needed")
    assert found["fix"].startswith(fix)
    assert said.findings["exact masks"]["detail"] == "not checked: no context"
    assert f"MISSING EGL vendor {vendor}: {why}" in said.words
    assert f"MISSING OpenGL context: EGL vendor file {vendor}: {why}" in said.words


@pytest.mark.slow
@pytest.mark.usefixtures("ctx")
def test_without_vendor_files(tmp_path: Path) -> None:
    said = account("llvmpipe", __EGL_VENDOR_LIBRARY_DIRS=tmp_path)
    where = f"none in __EGL_VENDOR_LIBRARY_DIRS='{tmp_path}'"
    fix = f"unset __EGL_VENDOR_LIBRARY_DIRS (it is '{tmp_path}'), or {PACKAGES}"
    assert said.lines == [NOTHING, f"EGL vendor files: {where}; {fix}"]
    assert said.findings["EGL vendors"]["detail"] == where
    assert said.findings["EGL devices"]["detail"] == "none"
    assert f"MISSING EGL vendors: {where}" in said.words


@pytest.mark.slow
@pytest.mark.usefixtures("only_software")
def test_an_invalid_vendor_file_beside_a_valid_one_is_a_note(tmp_path: Path) -> None:
    right = [vendor.path for vendor in find_vendors({}).vendors if not vendor.problem]
    said = account(__EGL_VENDOR_LIBRARY_FILENAMES=":".join(["/no/such.json", *right]))
    assert said.lines == []
    assert (said.exit_code, said.ok) == (0, True)
    assert said.findings["EGL vendor /no/such.json"]["level"] == "optional"
    assert "note    EGL vendor /no/such.json: No such file or directory" in said.words


@pytest.mark.slow
@pytest.mark.usefixtures("only_software")
@pytest.mark.parametrize(
    ("variable", "value", "why", "otherwise"),
    [
        (
            "LIBGL_DRIVERS_PATH",
            "/nonexistent",
            "the driver did not start: eglInitialize failed (0x3001), EGL_NOT_INITIALIZED",
            PACKAGES,
        ),
        (
            "MESA_GL_VERSION_OVERRIDE",
            "2.1",
            "the driver supports no OpenGL 3.3 core context: eglCreateContext failed (0x3009), EGL_BAD_MATCH",
            "update the graphics driver, or use another device",
        ),
    ],
)
def test_without_a_driver_and_with_an_old_one(variable: str, value: str, why: str, otherwise: str) -> None:
    said = account(**{variable: value})
    if not said.lines and variable == "LIBGL_DRIVERS_PATH":
        pytest.skip("this Mesa does not look for its drivers by that variable")
    fix = f"unset {variable} (it is '{value}'), or {otherwise}"
    assert said.lines == [NOTHING, f"EGL device 0 (software): {why}; {fix}"]
    assert (said.exit_code, said.ok) == (1, False)
    found = said.findings["EGL device 0"]
    assert (found["ok"], found["detail"]) == (False, f"software: {why}")
    assert found["fix"].startswith(fix)
    assert f"MISSING OpenGL context: EGL device 0 (software): {why}" in said.words
    assert "MISSING exact masks: not checked: no context" in said.words


# --- with an X server --------------------------------------------------------------------------------------------

GLX_SCRIPT = """
import glfw
import alphastream_gpu
from alphastream_gpu._gl.loader import current_context

assert glfw.init()
glfw.window_hint(glfw.VISIBLE, False)
window = glfw.create_window(8, 8, "", None, None)
glfw.make_context_current(window)
before = current_context()
assert before.interface == "GLX"
try:
    alphastream_gpu.create_headless_context(0)
except alphastream_gpu.GLUnavailableError as exc:
    print(exc)
assert before.is_current()
context = alphastream_gpu.create_headless_context()
assert not before.is_current()
with alphastream_gpu.MaskRenderer(context) as renderer:
    assert renderer.is_exact
context.release()
glfw.terminate()
"""


@pytest.mark.slow
@pytest.mark.usefixtures("only_software")
def test_while_a_glx_context_is_current(tmp_path: Path) -> None:
    """glcontext does not notice that its context did not become current, and moderngl would wrap the window's."""
    if importlib.util.find_spec("glfw") is None:
        skip_or_fail("glfw is not installed: pip install glfw")
    with open_screen(tmp_path) as screen:
        done = run_python(GLX_SCRIPT, DISPLAY=screen.environment["DISPLAY"])
    assert done.returncode == 0, done.stderr
    why = "the context that is current on this thread cannot be replaced: a context of GLX is current"
    fix = "release the current context first (glfw.make_context_current(None)), or use another thread"
    assert done.stdout.splitlines() == [NOTHING, f"EGL device 0 (software): {why}; {fix}"]


@pytest.mark.slow
@pytest.mark.usefixtures("only_software")
def test_an_x_server_replaces_egl(tmp_path: Path) -> None:
    (tmp_path / "libEGL.so.1").write_text("no library")
    with open_screen(tmp_path) as screen:
        said = account(LD_LIBRARY_PATH=tmp_path, DISPLAY=screen.environment["DISPLAY"])
    assert said.lines == []
    assert (said.exit_code, said.ok) == (0, True)
    assert f"through X11 display '{screen.environment['DISPLAY']}'" in said.findings["OpenGL context"]["detail"]
    assert said.findings["libEGL.so.1"]["level"] == "optional"
    assert any(line.startswith("note    libEGL.so.1: does not load") for line in said.words)


# --- the order, on made-up machines ------------------------------------------------------------------------------


class MadeUp:
    """A libEGL with devices and a glcontext that creates contexts on some of them. Records what was tried."""

    is_glvnd = False

    def __init__(self, devices: list[Device], renderers: dict[int, str]) -> None:
        self.listed, self.renderers = devices, renderers
        self.tried: list[int] = []
        self.released: list[int] = []
        self.restored = 0

    def devices(self) -> tuple[Device, ...]:
        return tuple(self.listed)

    def current(self) -> None:
        pass

    def restore(self, before: None) -> None:
        self.restored += 1

    def make(self, egl: MadeUp, index: int, system: System) -> Any:
        self.tried.append(index)
        if index not in self.renderers:
            raise Exception("eglInitialize failed (0x3001)")
        return FakeContext(self, index)


class FakeContext:
    def __init__(self, machine: MadeUp, index: int) -> None:
        self.machine, self.index = machine, index
        self.info = {"GL_RENDERER": machine.renderers[index], "GL_VENDOR": "Maker", "GL_VERSION": "4.6"}

    def release(self) -> None:
        self.machine.released.append(self.index)


def on(
    monkeypatch: pytest.MonkeyPatch, devices: list[Device], renderers: dict[int, str], system: System | None = None
) -> MadeUp:
    machine = MadeUp(devices, renderers)
    monkeypatch.setattr(headless, "look_at_system", lambda: system or System(distribution="debian"))
    monkeypatch.setattr(headless, "Library", lambda name: machine)
    monkeypatch.setattr(headless, "make_on_device", machine.make)
    return machine


THREE = [
    Device(0, extensions=SOFTWARE),
    Device(1, render_node="/dev/dri/renderD128"),
    Device(2, renderer="GeForce RTX", vendor="NVIDIA", drm_file="/dev/dri/card1"),
]


def test_hardware_comes_before_software(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = on(monkeypatch, THREE, {0: "llvmpipe"})
    found = headless.search()
    assert machine.tried == [1, 2, 0]
    assert found.way == "EGL device 0 (software)"
    assert machine.restored == 0


@pytest.mark.parametrize(
    ("name", "tried", "released"),
    [
        ("geforce", [2], []),  # a name from EGL
        ("CARD1", [2], []),
        ("renderD128", [1], []),
        ("radeon", [1], []),  # a name from a context
        ("llvm", [1, 2, 0], [1, 2]),
    ],
)
def test_a_name_is_searched_in_egl_and_then_in_contexts(
    monkeypatch: pytest.MonkeyPatch, name: str, tried: list[int], released: list[int]
) -> None:
    machine = on(monkeypatch, THREE, {0: "llvmpipe", 1: "AMD Radeon", 2: "NVIDIA GeForce RTX"})
    assert headless.search(name).context is not None
    assert (machine.tried, machine.released) == (tried, released)


def test_a_name_without_a_match_lists_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(distribution="fedora", closed_nodes=("/dev/dri/renderD128",))
    machine = on(monkeypatch, THREE, {0: "llvmpipe\n\x1b[2J", 2: "NVIDIA GeForce RTX"}, system)
    with pytest.raises(GLUnavailableError) as caught:
        create_headless_context("arc")
    why = "no permission to open /dev/dri/renderD128: eglInitialize failed (0x3001), EGL_NOT_INITIALIZED"
    fix = "add the user to the group render (usermod -aG render USER), or start the container with --device /dev/dri"
    assert str(caught.value).splitlines() == [
        "no EGL device matches 'arc':",
        f"EGL device 1 (/dev/dri/renderD128): {why}; {fix}",
        "EGL device 2 (GeForce RTX, /dev/dri/card1): is NVIDIA GeForce RTX (Maker); pass device=2",
        "EGL device 0 (software): is llvmpipe [2J (Maker); pass device=0",
    ]
    assert isinstance(caught.value.__cause__, Exception)
    assert (machine.released, machine.restored) == ([2, 0], 1)


def test_an_index_is_the_only_device_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = on(monkeypatch, THREE, {0: "llvmpipe"}, System(variables={"DISPLAY": ":0"}))
    assert headless.search(1).context is None
    assert machine.tried == [1]


def test_no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, [], {})
    with pytest.raises(GLUnavailableError, match="EGL: lists no devices; apt-get install libegl1"):
        create_headless_context()


@pytest.mark.parametrize(("platform", "interface"), [("win32", "WGL"), ("darwin", "CGL")])
def test_windows_and_macos_have_one_way(monkeypatch: pytest.MonkeyPatch, platform: str, interface: str) -> None:
    machine = MadeUp([], {0: "Iris"})
    monkeypatch.setattr(headless, "look_at_system", lambda: System(platform))
    monkeypatch.setattr(headless, "make_by_default", lambda: FakeContext(machine, 0))
    assert headless.search().way == interface
    assert headless.search("iris").context is not None
    for device, line in [
        (0, "device 0: devices have no index on this system; pass device=None"),
        ("arc", f"{interface}: is Iris (Maker); pass device=None"),
    ]:
        found = headless.search(device)
        assert found.context is None
        assert [str(cause) for cause in found.causes] == [line]
    assert machine.released == [0]

    def refuse() -> None:
        raise ImportError("No module named 'glcontext.x'")

    monkeypatch.setattr(headless, "make_by_default", refuse)
    why = "this build of glcontext is incomplete: No module named 'glcontext.x'"
    fix = "pip install --force-reinstall glcontext"
    assert [str(cause) for cause in headless.search().causes] == [f"{interface}: {why}; {fix}"]


# --- messages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "eglBindAPI failed (0x300c)",
            "the driver has no desktop OpenGL: eglBindAPI failed (0x300c), EGL_BAD_PARAMETER",
        ),
        ("eglCreateContext failed (0x3003)", "the driver has no memory left: eglCreateContext failed (0x3003)"),
        ("eglQueryDevicesEXT not found", "this EGL does not support devices: eglQueryDevicesEXT not found; apt"),
        ("Requested OpenGL version 330, got version 310", "the driver's OpenGL is older than 3.3: Requested"),
        ("(standalone) XOpenDisplay: cannot open display", "no X server answers: (standalone) XOpenDisplay"),
        ("(standalone) glXChooseFBConfig failed", "the X server offers no OpenGL: (standalone) glXChooseFBConfig"),
        ("libX11.so.6 not loaded", "libX11 does not load: libX11.so.6 not loaded; apt-get install libx11-6"),
        ("libGL.so not found in /lib, /usr/lib or LD_LIBRARY_PATH", "libGL does not load: libGL.so not found in"),
        ("not made current without a surface", "the driver needs a window: not made current without a surface"),
        ("something\nnew (0x3fff)", "something new (0x3fff); update the graphics driver"),
        ("", "Exception; update the graphics driver"),
    ],
)
def test_foreign_messages_are_explained(text: str, line: str) -> None:
    said = str(explain("it", Exception(text), System(distribution="debian")))
    assert said.startswith(f"it: {line}")
    assert "\n" not in said


@given(st.binary(max_size=200), st.booleans())
def test_any_driver_name_becomes_one_line_of_text(name: bytes, is_endless: bool) -> None:
    answers = {0x3055: b"EGL_EXT_device_query_name EGL_EXT_device_drm \xff", 0x335F: name * (500 if is_endless else 1)}
    device = _describe(3, None, lambda handle, what: answers.get(what))
    assert str(device).isprintable()
    assert len(str(device)) < 20000
    assert device.vendor == device.drm_file == ""
    assert device.matches(device.renderer)


@pytest.mark.slow
@given(st.text(max_size=50), st.sampled_from(["__EGL_VENDOR_LIBRARY_FILENAMES", "__EGL_VENDOR_LIBRARY_DIRS"]))
def test_any_value_of_the_variables_is_read(places: str, variable: str) -> None:
    for vendor in find_vendors({variable: places}).vendors:
        assert vendor.problem
        assert vendor.path.isprintable()


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda inner: st.dictionaries(st.sampled_from(["ICD", "library_path"]), inner),
    )
)
def test_any_content_of_a_vendor_file_is_read(tmp_path: Path, content: Any) -> None:
    (tmp_path / "1.json").write_text(json.dumps(content))
    (vendor,) = find_vendors({"__EGL_VENDOR_LIBRARY_DIRS": str(tmp_path)}).vendors
    assert vendor.problem
