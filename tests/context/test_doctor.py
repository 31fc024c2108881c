"""
The doctor: its findings and fixes on made-up machines, and the command on this machine. test_headless.py runs the
doctor in real processes in which OpenGL is missing or broken.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import click.testing
import moderngl
import pytest
from support import ROOT

from alphastream_gpu import _cli
from alphastream_gpu._context import doctor as _doctor
from alphastream_gpu._context import facts as _facts
from alphastream_gpu._context.causes import Cause, library_causes, vendor_causes
from alphastream_gpu._context.doctor import Finding, diagnose
from alphastream_gpu._context.egl import Device
from alphastream_gpu._context.facts import ContextFacts, EglFacts, Facts, GlfwFacts
from alphastream_gpu._context.fixes import Situation, fix_for
from alphastream_gpu._context.system import System, distribution_of
from alphastream_gpu._context.vendors import Vendor, VendorFiles

DEBIAN = System(distribution="debian")
APT = "apt-get install libegl1 libgl1 libgl1-mesa-dri"
DNF = "dnf install mesa-libEGL mesa-libGL mesa-dri-drivers libglvnd-egl"
NO_FILE = "cannot open shared object file"
SOFTWARE = Device(0, extensions=("EGL_MESA_device_software",))
MESA = ContextFacts(
    "EGL device 0 (software)",
    "llvmpipe (LLVM 15)",
    "Mesa",
    "4.5 (Core Profile) Mesa 22.3.6",
    exact_methods=("compute", "triangles"),
    auto_method="upload",
)
VENDORS = VendorFiles(vendors=(Vendor("/usr/share/glvnd/egl_vendor.d/50_mesa.json", "libEGL_mesa.so.0"),))
WELL = Facts(
    system=DEBIAN,
    python="3.12",
    packages={"numpy": "2.0"},
    libraries={"libEGL.so.1": "", "libGL.so.1": "", "libX11.so.6": "", "libOpenGL.so.0": ""},
    egl=EglFacts("", True, VENDORS, ((SOFTWARE, "llvmpipe (LLVM 15)", ""),)),
    context=MESA,
    glfw=GlfwFacts("2.11.0", "3.4.0 X11 Wayland"),
)
"""A Debian server with Mesa and without a display."""


def found(facts: Facts) -> dict[str, Finding]:
    return {finding.name: finding for finding in diagnose(facts).findings}


def without_egl(system: System) -> Facts:
    return replace(
        WELL,
        system=system,
        libraries={**WELL.libraries, "libEGL.so.1": NO_FILE},
        egl=EglFacts(NO_FILE),
        context=None,
        causes=tuple(library_causes("libEGL.so.1", NO_FILE, system)),
    )


def test_a_machine_without_problems() -> None:
    report = diagnose(WELL)
    assert report.ok
    assert {finding.name: finding.detail for finding in report.findings if finding.level == "needed"} == {
        "python": "3.12",
        "numpy": "2.0",
        "OpenGL context": "llvmpipe (LLVM 15) (Mesa), OpenGL 4.5 (Core Profile) Mesa 22.3.6,"
        " through EGL device 0 (software)",
        "R8 rendering": "renders and reads",
        "exact masks": "GPU equals CPU, bit for bit, by compute and triangles; renderers use upload by default",
    }
    assert {finding.name: finding.detail for finding in report.findings if finding.level == "optional"} == {
        "libEGL.so.1": "loads",
        "libGL.so.1": "loads",
        "libX11.so.6": "loads (only for contexts through X11)",
        "libOpenGL.so.0": "loads (only for PyOpenGL through EGL)",
        "EGL vendor /usr/share/glvnd/egl_vendor.d/50_mesa.json": "libEGL_mesa.so.0 loads",
        "EGL device 0": "software: llvmpipe (LLVM 15)",
        "GPU": "not used: the CPU renders the same masks, but slower",
        "GLFW": "glfw 2.11.0, library 3.4.0 X11 Wayland: starts",
        "display": "neither Wayland nor X11; masks do not need a display",
    }
    assert [finding.name for finding in report.findings if not finding.ok] == ["GPU", "display"]
    assert all(bool(finding.fix) != finding.ok for finding in report.findings)


@pytest.mark.parametrize(
    ("distribution", "fix"),
    [("debian", APT), ("fedora", DNF), ("", f"{APT} (Debian, Ubuntu), {DNF} (Fedora)")],
)
def test_packages_for_egl_by_distribution(distribution: str, fix: str) -> None:
    facts = without_egl(System(distribution=distribution))
    assert not diagnose(facts).ok
    findings = found(facts)
    assert findings["libEGL.so.1"] == Finding("libEGL.so.1", False, f"does not load: {NO_FILE}", fix)
    assert findings["OpenGL context"].detail == f"EGL: libEGL.so.1 does not load: {NO_FILE}"
    assert findings["OpenGL context"].fix == fix
    assert findings["EGL devices"].detail == "not checked: no EGL"
    assert findings["exact masks"].detail == "not checked: no context"


@pytest.mark.parametrize(
    ("os_release", "family"),
    [
        ({"ID": "debian"}, "debian"),
        ({"ID": "ubuntu", "ID_LIKE": "debian"}, "debian"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "debian"),
        ({"ID": "fedora"}, "fedora"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "fedora"),
        ({"ID": "alpine"}, ""),
        ({}, ""),
    ],
)
def test_distributions(os_release: dict[str, str], family: str) -> None:
    assert distribution_of(os_release) == family


def test_a_container_with_an_nvidia_gpu_but_no_graphics_driver() -> None:
    variables = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
    system = System(distribution="debian", has_nvidia=True, variables=variables)
    files = VendorFiles()
    facts = replace(
        WELL,
        system=system,
        egl=EglFacts("", True, files),
        context=None,
        causes=tuple(vendor_causes(files, system)),
    )
    findings = found(facts)
    nvidia = (
        "in a container with an NVIDIA GPU: start it with --gpus all -e NVIDIA_DRIVER_CAPABILITIES=all"
        " (graphics,utility is enough; now it is 'compute,utility'); if it then has libEGL_nvidia.so.0 but no vendor"
        " file 10_nvidia.json, write one and name it in __EGL_VENDOR_LIBRARY_FILENAMES"
    )
    places = "/etc/glvnd/egl_vendor.d:/usr/share/glvnd/egl_vendor.d"
    assert findings["EGL vendors"] == Finding("EGL vendors", False, f"none in {places}", f"{APT}, or {nvidia}")
    assert findings["EGL devices"] == Finding("EGL devices", False, "none", f"{APT}, or {nvidia}")
    assert findings["OpenGL context"].fix == f"{APT}, or {nvidia}"


def test_a_gpu_that_is_not_used() -> None:
    nvidia = found(replace(WELL, system=System(distribution="debian", has_nvidia=True)))["GPU"]
    assert (nvidia.ok, nvidia.level) == (False, "optional")
    assert "--gpus all" in nvidia.fix
    closed = found(replace(WELL, system=System(closed_nodes=("/dev/dri/renderD128",))))["GPU"]
    assert closed.fix.startswith("add the user to the group render")
    forced = found(replace(WELL, system=System(variables={"LIBGL_ALWAYS_SOFTWARE": "1"})))["GPU"]
    assert forced.fix.startswith("unset LIBGL_ALWAYS_SOFTWARE (it is '1')")
    used = found(replace(WELL, context=replace(MESA, renderer="NVIDIA GeForce RTX")))["GPU"]
    assert (used.ok, used.detail) == (True, "NVIDIA GeForce RTX")


def test_a_context_through_x11_only() -> None:
    """Problems with EGL are then notes."""
    facts = replace(
        without_egl(System(distribution="fedora", variables={"DISPLAY": ":0"})),
        context=replace(MESA, way="X11 display ':0'"),
        causes=(),
    )
    assert diagnose(facts).ok
    findings = found(facts)
    assert (findings["libEGL.so.1"].ok, findings["libEGL.so.1"].level) == (False, "optional")
    assert findings["OpenGL context"].detail.endswith("through X11 display ':0'")
    assert findings["display"] == Finding("display", True, "X11 (DISPLAY=:0)", level="optional")


def test_a_wayland_desktop() -> None:
    variables = {"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":1", "XDG_SESSION_TYPE": "wayland"}
    detail = "Wayland and X11 (WAYLAND_DISPLAY=wayland-0, DISPLAY=:1, XDG_SESSION_TYPE=wayland)"
    assert found(replace(WELL, system=System(variables=variables)))["display"].detail == detail
    alone = found(replace(WELL, system=System(variables={"XDG_SESSION_TYPE": "tty"})))["display"]
    assert not alone.ok
    assert alone.detail.endswith(" (XDG_SESSION_TYPE=tty)")


@pytest.mark.parametrize(
    ("platform", "interface", "fix"),
    [("win32", "WGL", "update the graphics driver"), ("darwin", "CGL", "run the program as a user who is logged in")],
)
def test_windows_and_macos_have_no_egl(platform: str, interface: str, fix: str) -> None:
    system = System(platform)
    facts = Facts(system, "3.12", {"numpy": "2.0"}, context=replace(MESA, way=interface), glfw=WELL.glfw)
    assert list(found(facts)) == [
        "python",
        "numpy",
        "OpenGL context",
        "GPU",
        "R8 rendering",
        "exact masks",
        "GLFW",
    ]
    situation = Situation.VERSION if platform == "win32" else Situation.DRIVER
    failing = replace(facts, context=None, causes=(Cause(interface, "fails", fix_for(situation, system)),))
    assert not diagnose(failing).ok
    assert found(failing)["OpenGL context"].fix.startswith(fix)
    assert not any("apt-get" in finding.fix for finding in diagnose(failing).findings)


def test_a_driver_whose_masks_are_wrong() -> None:
    none_exact = replace(MESA, exact_methods=(), wrong_methods=("compute", "triangles"))
    finding = found(replace(WELL, context=none_exact))["exact masks"]
    assert finding.detail == "the self-check found wrong pixels by compute and triangles"
    assert finding.fix.startswith("report this driver")
    one_exact = replace(MESA, exact_methods=("triangles",), wrong_methods=("compute",), auto_method="triangles")
    finding = found(replace(WELL, context=one_exact))["exact masks"]
    assert finding == Finding(
        "exact masks",
        True,
        "GPU equals CPU, bit for bit, by triangles; the self-check found wrong pixels by compute;"
        " renderers use triangles by default",
    )
    facts = replace(WELL, context=replace(MESA, mask_problem="no shaders", exact_methods=(), r8_problem="UNSUPPORTED"))
    assert not diagnose(facts).ok
    assert found(facts)["exact masks"] == Finding("exact masks", False, "no shaders", "update the graphics driver")
    assert found(facts)["R8 rendering"] == Finding("R8 rendering", False, "UNSUPPORTED", "update the graphics driver")


def test_causes_are_joined_and_each_fix_is_printed_once() -> None:
    causes = (Cause("EGL device 0", "fails", "do this"), Cause("EGL device 1", "fails too", "do this"))
    context = found(replace(WELL, context=None, causes=(*causes, Cause("X11 display ':0'", "silent", "or that"))))
    assert (
        context["OpenGL context"].detail == "EGL device 0: fails | EGL device 1: fails too | X11 display ':0': silent"
    )
    assert context["OpenGL context"].fix == "do this | or that"


@pytest.mark.parametrize(
    ("facts", "detail", "fix"),
    [
        (GlfwFacts(), "not installed (only for windows, as in the examples)", "pip install glfw"),
        (
            GlfwFacts("2.11.0", problem="ImportError: Failed to load GLFW3 shared library."),
            "glfw 2.11.0: ImportError: Failed to load GLFW3 shared library. (only for windows, as in the examples)",
            "pip install glfw",
        ),
        (
            GlfwFacts("2.11.0", "3.4.0", "X11: Failed to open display :9"),
            "glfw 2.11.0, library 3.4.0: X11: Failed to open display :9 (only for windows, as in the examples)",
            "set DISPLAY to a running X server, or start one with xvfb-run",
        ),
    ],
)
def test_glfw_is_optional(facts: GlfwFacts, detail: str, fix: str) -> None:
    report = diagnose(replace(WELL, glfw=facts))
    assert report.ok
    assert Finding("GLFW", False, detail, fix, "optional") in report.findings


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("import time; time.sleep(60)", "does not start within 0.5 seconds"),
        ("raise ImportError('no GLFW3')", "ImportError: no GLFW3"),
        ("import os; os._exit(7)", "exit code 7"),
        ("print('[1]')", "exit code 0"),
        ('print(\'["3.4", false, ""]\')', "does not start"),
    ],
)
def test_glfw_may_hang_or_crash(monkeypatch: pytest.MonkeyPatch, script: str, problem: str) -> None:
    monkeypatch.setattr(_facts, "_version", lambda package: "2.11.0")
    monkeypatch.setattr(_facts, "_GLFW_SCRIPT", script)
    if "sleep" in script:
        monkeypatch.setattr(_facts, "_GLFW_SECONDS", 0.5)
    assert _facts._look_at_glfw().problem == problem


def test_a_package_that_is_missing() -> None:
    finding = found(replace(WELL, packages={"httpx": ""}))["httpx"]
    assert finding == Finding("httpx", False, "not installed", "pip install httpx")
    assert _facts._version("no-such-package-of-ours") == ""


def test_every_situation_has_a_fix() -> None:
    machines = [DEBIAN, System(), System("win32"), System("darwin"), System(has_nvidia=True)]
    for situation in set(Situation) - {Situation.DEVICE_INDEX}:  # its only fix is to unset a variable
        for system in machines:
            assert fix_for(situation, system).isprintable()
            assert fix_for(situation, system), situation


# --- this machine ------------------------------------------------------------------------------------------------


def doctor(*arguments: str) -> click.testing.Result:
    done = click.testing.CliRunner().invoke(_cli.cli, ["doctor", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_doctor_as_json(ctx: moderngl.Context) -> None:
    done = doctor("--json")
    ctx.__enter__()
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == 0
    assert report["ok"] is True
    assert all(set(finding) == {"name", "ok", "detail", "fix", "level"} for finding in report["findings"])
    findings = {finding["name"]: finding for finding in report["findings"]}
    assert findings["R8 rendering"]["ok"] is True
    assert findings["exact masks"]["detail"].startswith("GPU equals CPU, bit for bit, by ")
    assert ctx.info["GL_RENDERER"] in findings["OpenGL context"]["detail"]
    assert ctx.info["GL_VERSION"] in findings["OpenGL context"]["detail"]


def test_doctor_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_doctor, "gather", lambda: without_egl(DEBIAN))
    done = doctor()
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "ok      python: 3.12",
        "ok      numpy: 2.0",
        f"MISSING libEGL.so.1: does not load: {NO_FILE}",
        f"        fix: {APT}",
        "ok      libGL.so.1: loads",
        "ok      libX11.so.6: loads (only for contexts through X11)",
        "ok      libOpenGL.so.0: loads (only for PyOpenGL through EGL)",
        "MISSING EGL devices: not checked: no EGL",
        f"MISSING OpenGL context: EGL: libEGL.so.1 does not load: {NO_FILE}",
        "        fix: as above",
        "MISSING R8 rendering: not checked: no context",
        "MISSING exact masks: not checked: no context",
        "ok      GLFW: glfw 2.11.0, library 3.4.0 X11 Wayland: starts",
        "note    display: neither Wayland nor X11; masks do not need a display",
        "        fix: set DISPLAY to a running X server, or start one with xvfb-run",
    ]


@pytest.mark.slow
def test_doctor_without_gl() -> None:
    """The command in a process without EGL vendor files."""
    env = {**os.environ, "__EGL_VENDOR_LIBRARY_FILENAMES": os.devnull}
    done = subprocess.run(
        [sys.executable, "-m", "alphastream_gpu", "doctor"],
        capture_output=True,
        text=True,
        env={name: value for name, value in env.items() if name != "DISPLAY"},
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    if "MISSING libEGL.so.1: does not load" in done.stdout:  # then EGL cannot be queried for vendors
        assert "MISSING EGL devices: not checked: no EGL" in done.stdout
        assert "fix: " in done.stdout
        return
    assert f"MISSING EGL vendor {os.devnull}: not a regular file" in done.stdout
    assert f"fix: unset __EGL_VENDOR_LIBRARY_FILENAMES (it is '{os.devnull}'), or " in done.stdout
