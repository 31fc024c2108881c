"""
Host programs, run as a user runs them: what they show is compared with numpy's picture, every pixel. And hosts' own
kinds of contexts: GLX and EGL, core and compatibility, with every state poisoned.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hosting
import moderngl
import numpy as np
import pytest
from hosts import skip_or_fail
from PIL import Image
from screen import Program, Screen, open_screen, started
from support import ROOT, SAMPLE, asvp_of, block_of, golden_frames, sha256

from alphastream_gpu import FrameGeometry, rasterize

Picture = np.ndarray
EXAMPLES = ROOT / "examples"
PICTURES = ROOT / "build" / "examples"
"""Where the pictures are left that CI keeps."""
LABEL = np.s_[:32, :128]
"""Where toolkits write the frame's number."""
XCB_PACKAGES = (
    "libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0"
    " libxcb-xkb1 libxkbcommon-x11-0"
)
HOSTS = {
    # what is run: program, environment, whether it labels its pictures
    "PyOpenGL": ("pyopengl_app.py", {}, False),
    "Qt offscreen": ("qt_app.py", {"QT_QPA_PLATFORM": "offscreen"}, True),
    "Qt, X11 and GLX": ("qt_app.py", {"QT_QPA_PLATFORM": "xcb", "QT_XCB_GL_INTEGRATION": "xcb_glx"}, True),
    "Qt, X11 and EGL": ("qt_app.py", {"QT_QPA_PLATFORM": "xcb", "QT_XCB_GL_INTEGRATION": "xcb_egl"}, True),
    "pyglet": ("pyglet_app.py", {}, True),
    "pyglet headless": ("pyglet_app.py", {"PYGLET_HEADLESS": "1"}, True),
}
IN_WINDOWS = ["PyOpenGL", "Qt, X11 and GLX", "pyglet"]
PROGRAMS = sorted({program for program, _, _ in HOSTS.values()})


# References, in numpy.


def scene(mask: Picture, frame: int) -> Picture:
    """What examples/host_scene.frag.glsl draws: uint8 (height, width, 3), top row first."""
    height, width = mask.shape
    y, x = np.mgrid[:height, :width]
    near = height // 96
    down = 96 * y // height

    def is_person(by: int) -> Picture:
        return mask[np.maximum(y - by, 0), np.maximum(x - by, 0)] > 0

    person = np.stack((232 - down, 168 - down // 2, 132 + down // 4), axis=2)
    person += np.where(is_person(near), 0, 20)[..., None]
    wall = np.stack((np.full_like(down, 28), 52 + down // 3, 84 + down // 2), axis=2)
    wall += np.where((x + y + 2 * frame) // 32 % 2, 16, 0)[..., None]
    wall = np.where(is_person(3 * near)[..., None], wall * 5 // 8, wall)
    return np.where(is_person(0)[..., None], person, wall).astype(np.uint8)


def without_label(picture: Picture) -> Picture:
    cut = picture.copy()
    cut[LABEL] = 0
    return cut


def check_picture(found: Picture, expected: Picture, *, is_labelled: bool) -> None:
    """Every pixel, but for the label; and that there is one."""
    assert found.shape == expected.shape
    assert int((without_label(found) != without_label(expected)).any(axis=2).sum()) == 0
    text = (found[LABEL] > expected[LABEL]).all(axis=2)  # white
    assert (found[LABEL] == expected[LABEL])[~text].all()
    assert text.any() == is_labelled
    if is_labelled:
        rows, columns = np.nonzero(text)
        assert 7 <= columns.min() < columns.max() < 120, "it would be cut off"
        assert 4 <= rows.min() < rows.max() < 28


# The programs.


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory, ctx_session: moderngl.Context) -> Iterator[Screen]:
    """On a machine with OpenGL."""
    with open_screen(tmp_path_factory.mktemp("screen")) as opened:
        opened.environment.pop("PYOPENGL_PLATFORM", None)  # EGL, which is for this process
        opened.xdotool("mousemove", "799", "599")  # the pointer is in the picture
        yield opened


def environment_of(screen: Screen, host: str) -> dict[str, str]:
    _, own, _ = HOSTS[host]
    environment = {**screen.environment, **own}
    if host == "pyglet headless":
        del environment["DISPLAY"]
    return environment


def run(program: str | Path, *arguments: object, environment: dict[str, str]) -> tuple[int, str]:
    """Its exit code, and what it wrote to standard error. What it says of missing packages skips the test."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / program), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == ""
    if done.returncode == 1 and "; run: pip install" in done.stderr:
        skip_or_fail(done.stderr.strip())
    if 'Could not load the Qt platform plugin "xcb"' in done.stderr:
        skip_or_fail(f"Qt's platform plugin xcb needs libraries: apt-get install {XCB_PACKAGES}")
    # Qt says so of the offscreen platform; what it does not support there is to show the widget.
    return done.returncode, done.stderr.replace("QOpenGLWidget is not supported on this platform.\n", "")


def load(path: Path) -> Picture:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.slow
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(("frame", "size"), [(60, (1024, 512)), (7, (403, 301))])
def test_the_picture(
    screen: Screen, geometries: list[FrameGeometry], host: str, frame: int, size: tuple[int, int]
) -> None:
    program, _, is_labelled = HOSTS[host]
    output = PICTURES / f"{host.replace(', ', ' ').replace(' ', '_').lower()}_{frame}.png"
    output.unlink(missing_ok=True)
    arguments = ("--frame", frame, "--size", f"{size[0]}x{size[1]}", "--output", output)
    assert run(program, *arguments, environment=environment_of(screen, host)) == (0, "")
    check_picture(load(output), scene(rasterize(geometries[frame], size), frame), is_labelled=is_labelled)


@pytest.mark.slow
def test_a_screen_of_twice_the_density(screen: Screen, geometries: list[FrameGeometry], tmp_path: Path) -> None:
    """Qt's sizes are then not in pixels."""
    environment = {**environment_of(screen, "Qt offscreen"), "QT_SCALE_FACTOR": "2"}
    arguments = ("--size", "512x256", "--output", tmp_path / "double.png")
    assert run("qt_app.py", *arguments, environment=environment) == (0, "")
    found, exact = load(tmp_path / "double.png").copy(), scene(rasterize(geometries[0], (1024, 512)), 0)
    assert found.shape == exact.shape
    found[:64, :256] = exact[:64, :256] = 0  # the label is larger
    assert (found == exact).all()


def looks_like(window: Program, exact: Picture, *, is_labelled: bool) -> bool:
    try:
        check_picture(window.picture(), exact, is_labelled=is_labelled)
    except AssertionError:  # not yet
        return False
    return True


def test_the_comparison_can_fail(geometries: list[FrameGeometry]) -> None:
    exact = scene(rasterize(geometries[60], (1024, 512)), 60)
    check_picture(exact, exact, is_labelled=False)
    one_off = exact.copy()
    one_off[300, 400, 1] += 1
    shifted = scene(np.roll(rasterize(geometries[60], (1024, 512)), 1, axis=0), 60)
    labelled, cut_off = exact.copy(), exact.copy()
    labelled[12:20, 8:90], cut_off[12:20, 8:128] = 255, 255
    check_picture(labelled, exact, is_labelled=True)
    for wrong, is_labelled in (
        *((picture, False) for picture in (one_off, shifted, exact[::-1], exact[:, ::-1], exact[:-1], labelled)),
        *((picture, True) for picture in (exact, cut_off)),
    ):
        with pytest.raises(AssertionError):
            check_picture(wrong, exact, is_labelled=is_labelled)


@pytest.mark.slow
@pytest.mark.parametrize("host", IN_WINDOWS)
def test_the_window(screen: Screen, geometries: list[FrameGeometry], tmp_path: Path, host: str) -> None:
    """A stream of one frame, so that it is known what the screen must show, at two sizes; then one that plays."""
    program, _, is_labelled = HOSTS[host]
    name = program.removesuffix(".py")
    assert run(program, "--frames", 2, "--size", "64x32", environment=environment_of(screen, host)) == (0, "")
    own = Screen(screen.environment["DISPLAY"], screen.folder)
    own.environment = environment_of(screen, host)
    (tmp_path / "still.asvp").write_bytes(asvp_of([block_of(geometries[60].to_payload())]))
    with started(own, EXAMPLES / program, tmp_path / "still.asvp", "--size", "640x320") as window:
        window.find_window(f"{name}: frame 0")  # Qt has another window before
        for size in ((640, 320), (501, 403)):
            window.resize(*size)
            exact = scene(rasterize(geometries[60], size), 0)
            window.until(
                lambda exact=exact: looks_like(window, exact, is_labelled=is_labelled), f"the picture of {size}"
            )
        screen.xdotool("key", "q")
        assert window.wait() == (0, "")
    with started(own, EXAMPLES / program, "--size", "640x320") as window:
        window.find_window(f"{name}: frame")
        first = window.title()
        window.until(lambda: window.title() not in ("", first), "another frame")
        screen.xdotool("key", "q")
        assert window.wait() == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_no_display(screen: Screen, tmp_path: Path, program: str) -> None:
    environment = {name: value for name, value in screen.environment.items() if name != "DISPLAY"}
    code, err = run(program, "--output", tmp_path / "no.png", environment=environment)
    assert code == 3, err
    assert re.fullmatch(rf"{program}: no window\b.*: .+\n", err)
    assert not (tmp_path / "no.png").exists()


@pytest.mark.slow
def test_qt_without_opengl_and_without_windows(screen: Screen, tmp_path: Path) -> None:
    environment = environment_of(screen, "Qt offscreen")
    code, err = run("qt_app.py", environment=environment)
    assert (code, err) == (3, "qt_app.py: Qt's platform 'offscreen' shows no OpenGL widgets; use --output\n")
    del environment["DISPLAY"]
    code, err = run("qt_app.py", "--output", tmp_path / "no.png", environment=environment)
    assert (code, err) == (3, "qt_app.py: Qt's platform 'offscreen' has no OpenGL here\n")


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_picture_that_cannot_be_written(screen: Screen, tmp_path: Path, program: str) -> None:
    code, err = run(program, "--size", "64x32", "--output", tmp_path, environment=screen.environment)
    assert code == 3, err
    assert re.fullmatch(rf"{program}: .*{re.escape(str(tmp_path))}.*\n", err)


def test_nothing_of_moderngl_in_a_plain_program() -> None:
    for name in ("pyopengl_app.py", "hosting.py"):
        assert "moderngl" not in (EXAMPLES / name).read_text("utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("ctx")
def test_headless(geometries: list[FrameGeometry]) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    output = PICTURES / "headless_ci.png"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    assert run("headless_ci.py", environment=environment) == (0, "")
    assert not output.exists()
    assert run("headless_ci.py", "--output", output, environment=environment) == (0, "")
    mask = np.asarray(Image.open(output))
    assert (mask == rasterize(geometries[60])).all()
    assert sha256(mask) == golden_frames()[60]["sha256"]


# What the programs share.


def in_hosting(*arguments: object, show: Callable[..., None]) -> int:
    return hosting.run("A test.", show, [str(argument) for argument in arguments])


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def never(*_: object) -> None:
        pytest.fail("nothing is to be shown")

    for wrong in ("12", "x5", "0x5", "5x9000", "5x6x7", "axb"):
        with pytest.raises(SystemExit) as info:
            in_hosting("--size", wrong, show=never)
        assert info.value.code == 2
        assert f"expected WxH, 1..8192 each, found '{wrong}'\n" in capsys.readouterr().err
    (tmp_path / "empty.asvp").write_bytes(asvp_of([]))
    for arguments, problem in (
        ((SAMPLE, "--frame", 120), "frame 120: expected 0..119"),
        ((SAMPLE, "--frame", -1), "frame -1: expected 0..119"),
        ((tmp_path / "no.asvp",), "No such file"),
        ((tmp_path / "empty.asvp",), "frame 0"),
        ((SAMPLE, "--output", SAMPLE / "x.png"), "Not a directory|File exists"),
    ):
        assert in_hosting(*arguments, show=never) == 3
        err = capsys.readouterr().err
        assert re.search(problem, err)
        assert err.count("\n") == 1


def test_what_is_shown(tmp_path: Path, geometries: list[FrameGeometry]) -> None:
    seen: list[Any] = []

    def show(player: hosting.Player, size: hosting.Size, output: Path | None) -> None:
        while not player.is_over:
            assert (player.next_geometry().points == geometries[5].points).all()
        seen.append((player.index, player.native_size, size, output))

    output = tmp_path / "new" / "x.png"
    assert in_hosting("--frame", 5, "--frames", 3, "--size", "31x17", "--output", output, show=show) == 0
    assert seen == [(5, (2048, 1024), (31, 17), output)]
    assert output.parent.is_dir()


def test_a_frame_that_is_late_and_the_end() -> None:
    """The last picture stays; after the end comes the beginning."""
    there = {5: "fifth", 6: None, 0: "first"}
    stream: Any = SimpleNamespace(
        metadata=SimpleNamespace(native_size=(8, 8), frame_count=7),
        time_of=lambda index: index / 60,
        frame_at=lambda seconds: round(seconds * 60),
        get_geometry=there.__getitem__,
    )
    player = hosting.Player(stream, "fifth", 5, None)  # type: ignore[arg-type]
    times = iter([5 / 60, 6 / 60, 7 / 60])
    player._clock = SimpleNamespace(time=lambda: next(times))  # type: ignore[assignment]
    shown = [(player.next_geometry(), player.index, player.is_over) for _ in range(3)]
    assert shown == [("fifth", 5, False), ("fifth", 5, False), ("first", 0, False)]


# Hosts' contexts.


@pytest.mark.slow
@pytest.mark.parametrize("interface", ["GLX", "EGL"])
@pytest.mark.parametrize("profile", ["CORE", "COMPAT"])
def test_contexts_of_hosts(screen: Screen, interface: str, profile: str) -> None:
    """In a process of its own: a thread has one context, of GLX or of EGL, and PyOpenGL takes to one of them."""
    environment = {**screen.environment, "PYOPENGL_PLATFORM": interface.lower()}
    script = ROOT / "tests" / "hostcontext.py"
    assert run(script, interface, profile, environment=environment) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("host", [host for host in HOSTS if host.startswith("Qt")])
def test_masks_amid_the_work_of_qpainter(screen: Screen, host: str) -> None:
    """With masks drawn between its calls, QPainter draws what it draws without."""
    assert run(ROOT / "tests" / "qpainter.py", environment=environment_of(screen, host)) == (0, "")
