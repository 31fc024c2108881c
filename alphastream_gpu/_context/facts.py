"""
Facts: gathers the facts about this machine's OpenGL, for doctor.py.

Nothing here raises: if something cannot be examined, that is a fact too. Contexts are created and released, so the
context that was current before is not current afterwards.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import moderngl

from .._exceptions import GLUnavailableError
from .._gl import SHADER_METHODS, MaskRenderer
from .causes import Cause
from .egl import Device, Library, as_line, library_name, load_problem
from .headless import search
from .making import names_of
from .system import System, look_at_system
from .vendors import VendorFiles, find_vendors

__all__ = ["ContextFacts", "EglFacts", "Facts", "GlfwFacts", "gather"]

_PACKAGES: Final = ("numpy", "moderngl", "glcontext", "manifold3d", "cryptography", "httpx")
_LIBRARIES: Final = {
    # soname: the variable that makes glcontext load another library
    "libEGL.so.1": "GLCONTEXT_LINUX_LIBEGL",
    "libGL.so.1": "GLCONTEXT_LINUX_LIBGL",
    "libX11.so.6": "GLCONTEXT_LINUX_LIBX11",
    "libOpenGL.so.0": "",
}
# glcontext loads libEGL for devices, libX11 for contexts through an X server, and libGL for the functions of both.
# PyOpenGL loads libOpenGL for its EGL platform. Dependencies of these libraries (libGLdispatch, libGLX, libgbm, a
# driver's own) are not listed: if one is missing, a listed library or a vendor's library does not load, and the linker
# names the missing one.
_GLFW_SECONDS: Final = 20
"""Timeout for importing and starting GLFW. It takes a fraction of a second, but a remote display may never answer."""
_GLFW_SCRIPT: Final = """
import json, warnings
warnings.simplefilter("ignore")
import glfw
glfw.ERROR_REPORTING = False
started = bool(glfw.init())
error = "" if started else str(glfw.get_error()[1] or b"", "utf-8", "replace")
print("\\n" + json.dumps([glfw.get_version_string().decode(), started, error]))
"""


@dataclass(frozen=True)
class EglFacts:
    """EGL; empty on Windows and macOS."""

    problem: str = ""
    """Why EGL cannot be queried; empty if it can."""
    uses_vendor_files: bool = False
    """Whether this EGL finds drivers by vendor files."""
    vendor_files: VendorFiles = field(default_factory=VendorFiles)
    devices: tuple[tuple[Device, str, str], ...] = ()
    """For each device: the renderer of a context on it, or why there is no context, and the fix."""


@dataclass(frozen=True)
class ContextFacts:
    """The context that :func:`create_headless_context` returns."""

    way: str
    renderer: str
    vendor: str
    version: str
    r8_problem: str = ""
    """Why an R8 texture cannot be rendered to; empty if it can."""
    mask_problem: str = ""
    """Why masks cannot be rendered at all."""
    exact_methods: tuple[str, ...] = ()
    """The shader methods that passed the self-check."""
    wrong_methods: tuple[str, ...] = ()
    """The shader methods that failed the self-check."""
    auto_method: str = ""
    """The method that a renderer uses by default."""


@dataclass(frozen=True)
class GlfwFacts:
    """GLFW, which the examples open windows with."""

    package: str = ""
    """Version of the Python package; empty if it is not installed."""
    library: str = ""
    """Version of the library, with its platforms; empty if it does not load."""
    problem: str = ""
    """Why GLFW does not load or start."""


@dataclass(frozen=True)
class Facts:
    """All facts about a real or made-up machine."""

    system: System
    python: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    """Version of each package; empty if it is not installed."""
    libraries: dict[str, str] = field(default_factory=dict)
    """For each shared library, why it does not load; empty if it does."""
    egl: EglFacts = field(default_factory=EglFacts)
    context: ContextFacts | None = None
    causes: tuple[Cause, ...] = ()
    """Why there is no context."""
    glfw: GlfwFacts = field(default_factory=GlfwFacts)


def gather() -> Facts:
    """Gather all facts."""
    system = look_at_system()
    found = search()
    try:
        context = None if found.context is None else _look_at_context(found.context, found.way)
    finally:
        if found.context is not None:
            found.context.release()
    return Facts(
        system=system,
        python=f"{platform.python_version()} on {platform.platform()} ({sys.executable})",
        packages={name: _version(name) for name in _PACKAGES},
        libraries=_look_at_libraries(system) if system.has_egl else {},
        egl=_look_at_egl(system) if system.has_egl else EglFacts(),
        context=context,
        causes=tuple(found.causes),
        glfw=_look_at_glfw(),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _look_at_libraries(system: System) -> dict[str, str]:
    return {soname: load_problem(system.variables.get(variable) or soname) for soname, variable in _LIBRARIES.items()}


def _look_at_egl(system: System) -> EglFacts:
    try:
        library = Library(library_name(system.variables))
    except GLUnavailableError as exc:
        return EglFacts(str(exc))
    vendor_files = find_vendors(system.variables) if library.is_glvnd else VendorFiles()
    devices = tuple(_look_at_device(device) for device in library.devices())
    return EglFacts("", library.is_glvnd, vendor_files, devices)


def _look_at_device(device: Device) -> tuple[Device, str, str]:
    found = search(device.index)
    if found.context is None:
        cause = found.causes[0]
        return device, cause.why, cause.fix
    try:
        return device, names_of(found.context)[0], ""
    finally:
        found.context.release()


def _look_at_context(context: moderngl.Context, way: str) -> ContextFacts:
    renderer_name, vendor, version_text = names_of(context)
    exact: list[str] = []
    wrong: list[str] = []
    mask_problem = auto_method = ""
    for method in SHADER_METHODS:
        try:
            with MaskRenderer(context, method=method) as renderer:
                (exact if renderer.method == method else wrong).append(method)
        except GLUnavailableError as exc:
            mask_problem = as_line(str(exc))
    try:
        with MaskRenderer(context) as renderer:
            auto_method = renderer.method
    except GLUnavailableError as exc:
        mask_problem = as_line(str(exc))
    return ContextFacts(
        way=way,
        renderer=renderer_name,
        vendor=vendor,
        version=version_text,
        r8_problem=_r8_problem(context),
        mask_problem="" if exact or wrong else mask_problem,
        exact_methods=tuple(exact),
        wrong_methods=tuple(wrong),
        auto_method=auto_method,
    )


def _r8_problem(context: moderngl.Context) -> str:
    """Render to a texture with one byte per pixel, as masks have, without a shader, and read it back."""
    made: list[Any] = []
    try:
        made.append(context.texture((3, 2), 1))
        made.append(context.framebuffer([made[0]]))
        made[1].clear(red=0.2)  # exactly 51 of 255
        pixels = made[1].read(components=1, alignment=1)
    except moderngl.Error as exc:
        return as_line(str(exc))
    finally:
        for one in reversed(made):
            one.release()
    return "" if pixels == b"\x33" * 6 else f"expected pixels of 51, found {pixels.hex(' ')} (hexadecimal)"


def _look_at_glfw() -> GlfwFacts:
    """Start GLFW in its own process: it may hang on a display, it prints, and it cannot be started twice."""
    package = _version("glfw")
    if not package:
        return GlfwFacts()
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _GLFW_SCRIPT],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GLFW_SECONDS,
            check=False,
        )
        library, started, error = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return GlfwFacts(package, problem=f"does not start within {_GLFW_SECONDS} seconds")
    except OSError as exc:
        return GlfwFacts(package, problem=f"cannot start {sys.executable}: {exc.strerror}")
    except (ValueError, LookupError):  # it printed no answer: an import failed, or the process crashed
        return GlfwFacts(package, problem=as_line((done.stderr.splitlines() or [f"exit code {done.returncode}"])[-1]))
    return GlfwFacts(package, as_line(str(library)), "" if started else as_line(error) or "does not start")
