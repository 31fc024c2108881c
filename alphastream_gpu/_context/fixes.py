"""
Fixes: one table of the fixes for each situation, and the function that picks those that fit a machine. Pure.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from .system import System

__all__ = ["Situation", "fix_for"]


class Situation(Enum):
    """A problem with a machine's OpenGL."""

    EGL_LIBRARY = "no libEGL"
    GL_LIBRARY = "no libGL"
    X11_LIBRARY = "no libX11"
    OPENGL_LIBRARY = "no libOpenGL"
    VENDOR = "EGL finds no driver's library"
    DRIVER = "a driver does not start"
    NODE = "no permission to open a GPU's file"
    VERSION = "no OpenGL 3.3"
    CURRENT = "a context of another interface is current"
    DISPLAY = "no X server answers"
    DEVICE_INDEX = "an invalid device index in the environment"
    GLCONTEXT = "glcontext is incomplete"
    GLFW = "no GLFW"
    DIFFERENT = "masks are not exact"
    SOFTWARE = "no GPU is used"
    OTHER = "anything else"


class _Fix(NamedTuple):
    debian: str = ""
    """Debian packages to install."""
    fedora: str = ""
    """Fedora packages to install."""
    variables: tuple[str, ...] = ()
    """Environment variables that can cause the problem. If one is set, the first advice is to unset it."""
    has_nvidia_fix: bool = False
    """Whether the options of an NVIDIA container can fix the problem."""
    words: str = ""
    """Advice other than packages."""


_MESA: Final = ("libegl1 libgl1 libgl1-mesa-dri", "mesa-libEGL mesa-libGL mesa-dri-drivers libglvnd-egl")
_MESA_VARIABLES: Final = (
    "LIBGL_DRIVERS_PATH",
    "GALLIUM_DRIVER",
    "MESA_LOADER_DRIVER_OVERRIDE",
    "LIBGL_ALWAYS_SOFTWARE",
)
_FIXES: Final[dict[Situation, _Fix]] = {
    Situation.EGL_LIBRARY: _Fix(*_MESA, ("GLCONTEXT_LINUX_LIBEGL",)),
    Situation.GL_LIBRARY: _Fix(*_MESA, ("GLCONTEXT_LINUX_LIBGL",)),
    Situation.X11_LIBRARY: _Fix("libx11-6", "libX11", ("GLCONTEXT_LINUX_LIBX11",)),
    Situation.OPENGL_LIBRARY: _Fix("libopengl0", "libglvnd-opengl"),
    Situation.VENDOR: _Fix(
        *_MESA, ("__EGL_VENDOR_LIBRARY_FILENAMES", "__EGL_VENDOR_LIBRARY_DIRS"), has_nvidia_fix=True
    ),
    Situation.DRIVER: _Fix(*_MESA, _MESA_VARIABLES, has_nvidia_fix=True),
    Situation.NODE: _Fix(
        words="add the user to the group render (usermod -aG render USER), or start the container with"
        " --device /dev/dri"
    ),
    Situation.VERSION: _Fix(
        variables=("MESA_GL_VERSION_OVERRIDE", "GLCONTEXT_GLVERSION", "GLCONTEXT_WIN_LIBGL"),
        words="update the graphics driver, or use another device",
    ),
    Situation.CURRENT: _Fix(
        words="release the current context first (glfw.make_context_current(None)), or use another thread"
    ),
    Situation.DISPLAY: _Fix(words="set DISPLAY to a running X server, or start one with xvfb-run"),
    Situation.DEVICE_INDEX: _Fix(variables=("GLCONTEXT_DEVICE_INDEX",)),
    Situation.GLCONTEXT: _Fix(words="pip install --force-reinstall glcontext"),
    Situation.GLFW: _Fix(words="pip install glfw"),
    Situation.DIFFERENT: _Fix(words="report this driver; with it, the CPU makes the masks and uploads them"),
    Situation.SOFTWARE: _Fix(
        variables=_MESA_VARIABLES,
        has_nvidia_fix=True,
        words="if there is a GPU, install its driver, or start the container with --device /dev/dri",
    ),
    Situation.OTHER: _Fix(words="update the graphics driver"),
}
_ELSEWHERE: Final = {
    "win32": "install the graphics driver from the GPU's vendor",
    "darwin": "run the program as a user who is logged in to the desktop",
}
"""Systems where OpenGL comes with the driver or the system, so that no package can be missing."""


def fix_for(situation: Situation, system: System, why: str = "") -> str:
    """
    Return what to do about a situation, on one line.

    Args:
        situation: what is wrong.
        system: the machine.
        why: the driver's or linker's message. It shows whether LD_LIBRARY_PATH is the cause.
    """
    fix = _FIXES[situation]
    advice = [f"unset {name} (it is {system.variables[name]!r})" for name in _wrong_variables(fix, system, why)]
    if not system.has_egl and fix.debian:
        advice.append(_ELSEWHERE[system.platform])
    elif fix.debian:
        advice.append(_packages(fix, system))
    if fix.words:
        advice.append(fix.words)
    if fix.has_nvidia_fix and system.has_nvidia and system.has_egl:
        advice.append(_nvidia(system))
    return ", or ".join(advice)


def _wrong_variables(fix: _Fix, system: System, why: str) -> list[str]:
    names = [name for name in fix.variables if name in system.variables]
    folders = system.variables.get("LD_LIBRARY_PATH", "").split(":")
    if any(folder and f"{folder.rstrip('/')}/" in why for folder in folders):
        names.append("LD_LIBRARY_PATH")
    return names


def _packages(fix: _Fix, system: System) -> str:
    commands = {"debian": f"apt-get install {fix.debian}", "fedora": f"dnf install {fix.fedora}"}
    return commands.get(system.distribution) or f"{commands['debian']} (Debian, Ubuntu), {commands['fedora']} (Fedora)"


def _nvidia(system: System) -> str:
    found = system.variables.get("NVIDIA_DRIVER_CAPABILITIES")
    now = "" if found is None else f"; now it is {found!r}"
    return (
        "in a container with an NVIDIA GPU: start it with --gpus all -e NVIDIA_DRIVER_CAPABILITIES=all"
        f" (graphics,utility is enough{now}); if it then has libEGL_nvidia.so.0 but no vendor file 10_nvidia.json,"
        " write one and name it in __EGL_VENDOR_LIBRARY_FILENAMES"
    )
