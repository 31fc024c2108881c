"""
What to do about each lack: one table, and the function that picks from it what fits a machine. Pure.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from .system import System

__all__ = ["Situation", "cure_for"]


class Situation(Enum):
    """What can be wrong."""

    EGL_LIBRARY = "no libEGL"
    GL_LIBRARY = "no libGL"
    X11_LIBRARY = "no libX11"
    OPENGL_LIBRARY = "no libOpenGL"
    VENDOR = "EGL finds no driver's library"
    DRIVER = "a driver does not start"
    NODE = "a GPU's file may not be opened"
    VERSION = "no OpenGL 3.3"
    CURRENT = "a context of another interface is current"
    DISPLAY = "no X server answers"
    DEVICE_INDEX = "a wrong index in the environment"
    GLCONTEXT = "glcontext lacks a part"
    GLFW = "no GLFW"
    DIFFERENT = "masks are not exact"
    SOFTWARE = "no GPU is used"
    OTHER = "anything else"


class _Remedy(NamedTuple):
    debian: str = ""
    """Packages."""
    fedora: str = ""
    culprits: tuple[str, ...] = ()
    """Variables that can cause it: where one is set, to unset it comes first."""
    has_nvidia_cure: bool = False
    words: str = ""
    """What no package cures."""


_MESA: Final = ("libegl1 libgl1 libgl1-mesa-dri", "mesa-libEGL mesa-libGL mesa-dri-drivers libglvnd-egl")
_MESA_VARIABLES: Final = (
    "LIBGL_DRIVERS_PATH",
    "GALLIUM_DRIVER",
    "MESA_LOADER_DRIVER_OVERRIDE",
    "LIBGL_ALWAYS_SOFTWARE",
)
_REMEDIES: Final[dict[Situation, _Remedy]] = {
    Situation.EGL_LIBRARY: _Remedy(*_MESA, ("GLCONTEXT_LINUX_LIBEGL",)),
    Situation.GL_LIBRARY: _Remedy(*_MESA, ("GLCONTEXT_LINUX_LIBGL",)),
    Situation.X11_LIBRARY: _Remedy("libx11-6", "libX11", ("GLCONTEXT_LINUX_LIBX11",)),
    Situation.OPENGL_LIBRARY: _Remedy("libopengl0", "libglvnd-opengl"),
    Situation.VENDOR: _Remedy(
        *_MESA, ("__EGL_VENDOR_LIBRARY_FILENAMES", "__EGL_VENDOR_LIBRARY_DIRS"), has_nvidia_cure=True
    ),
    Situation.DRIVER: _Remedy(*_MESA, _MESA_VARIABLES, has_nvidia_cure=True),
    Situation.NODE: _Remedy(
        words="add the user to the group render (usermod -aG render USER), or give the container --device /dev/dri"
    ),
    Situation.VERSION: _Remedy(
        culprits=("MESA_GL_VERSION_OVERRIDE", "GLCONTEXT_GLVERSION", "GLCONTEXT_WIN_LIBGL"),
        words="update the graphics driver, or take another device",
    ),
    Situation.CURRENT: _Remedy(
        words="release the current context first (glfw.make_context_current(None)), or use another thread"
    ),
    Situation.DISPLAY: _Remedy(words="set DISPLAY to an X server that runs, or start one with xvfb-run"),
    Situation.DEVICE_INDEX: _Remedy(culprits=("GLCONTEXT_DEVICE_INDEX",)),
    Situation.GLCONTEXT: _Remedy(words="pip install --force-reinstall glcontext"),
    Situation.GLFW: _Remedy(words="pip install glfw"),
    Situation.DIFFERENT: _Remedy(words="report this driver; masks are made by the CPU and uploaded on it"),
    Situation.SOFTWARE: _Remedy(
        culprits=_MESA_VARIABLES,
        has_nvidia_cure=True,
        words="where there is a GPU, install its driver, or give the container --device /dev/dri",
    ),
    Situation.OTHER: _Remedy(words="update the graphics driver"),
}
_ELSEWHERE: Final = {
    "win32": "install the graphics driver of the GPU's maker",
    "darwin": "run it as a user who is logged in to the desktop",
}
"""Where no package is missing: OpenGL comes with the driver or the system."""


def cure_for(situation: Situation, system: System, why: str = "") -> str:
    """
    What to do, on one line.

    Args:
        situation: what is wrong.
        system: the machine.
        why: the driver's or linker's own words; they tell whether LD_LIBRARY_PATH is to blame.
    """
    remedy = _REMEDIES[situation]
    cures = [f"unset {name} (it is {system.variables[name]!r})" for name in _culprits(remedy, system, why)]
    if not system.has_egl and remedy.debian:
        cures.append(_ELSEWHERE[system.platform])
    elif remedy.debian:
        cures.append(_packages(remedy, system))
    if remedy.words:
        cures.append(remedy.words)
    if remedy.has_nvidia_cure and system.has_nvidia and system.has_egl:
        cures.append(_nvidia(system))
    return ", or ".join(cures)


def _culprits(remedy: _Remedy, system: System, why: str) -> list[str]:
    culprits = [name for name in remedy.culprits if name in system.variables]
    folders = system.variables.get("LD_LIBRARY_PATH", "").split(":")
    if any(folder and f"{folder.rstrip('/')}/" in why for folder in folders):
        culprits.append("LD_LIBRARY_PATH")
    return culprits


def _packages(remedy: _Remedy, system: System) -> str:
    commands = {"debian": f"apt-get install {remedy.debian}", "fedora": f"dnf install {remedy.fedora}"}
    return commands.get(system.distribution) or f"{commands['debian']} (Debian, Ubuntu), {commands['fedora']} (Fedora)"


def _nvidia(system: System) -> str:
    found = system.variables.get("NVIDIA_DRIVER_CAPABILITIES")
    now = "" if found is None else f"; it is {found!r}"
    return (
        "in a container, for its NVIDIA GPU: start it with --gpus all -e NVIDIA_DRIVER_CAPABILITIES=all"
        f" (graphics,utility is enough{now}); where that brings libEGL_nvidia.so.0 but no vendor file 10_nvidia.json,"
        " write one and name it in __EGL_VENDOR_LIBRARY_FILENAMES"
    )
