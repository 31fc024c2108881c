"""
System: the properties of this machine that decide where OpenGL comes from. fixes.py uses them.
"""

from __future__ import annotations

import glob
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["System", "distribution_of", "look_at_system"]

_VARIABLES: Final = (
    "DISPLAY",
    "GALLIUM_DRIVER",
    "GLCONTEXT_DEVICE_INDEX",
    "GLCONTEXT_GLVERSION",
    "GLCONTEXT_LINUX_LIBEGL",
    "GLCONTEXT_LINUX_LIBGL",
    "GLCONTEXT_LINUX_LIBX11",
    "GLCONTEXT_WIN_LIBGL",
    "LD_LIBRARY_PATH",
    "LIBGL_ALWAYS_SOFTWARE",
    "LIBGL_DRIVERS_PATH",
    "MESA_GL_VERSION_OVERRIDE",
    "MESA_LOADER_DRIVER_OVERRIDE",
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_VISIBLE_DEVICES",
    "WAYLAND_DISPLAY",
    "XDG_SESSION_TYPE",
    "__EGL_VENDOR_LIBRARY_DIRS",
    "__EGL_VENDOR_LIBRARY_FILENAMES",
)
"""Environment variables that drivers, glvnd, glcontext and containers read."""


@dataclass(frozen=True, slots=True)
class System:
    """A real or made-up machine."""

    platform: str = "linux"
    """As ``sys.platform``."""
    distribution: str = ""
    """debian (also Ubuntu and other derivatives), fedora (also RHEL and others), or empty if it is neither."""
    has_nvidia: bool = False
    """Whether there is an NVIDIA GPU, or the container was made for one."""
    closed_nodes: tuple[str, ...] = ()
    """Render nodes (/dev/dri/renderD*) that this user may not open."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """The relevant environment variables that are set."""

    @property
    def has_egl(self) -> bool:
        """Whether contexts are created through EGL or X11 on this system."""
        return self.platform not in ("win32", "darwin")


def look_at_system() -> System:
    """Examine this machine."""
    variables = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    try:
        distribution = distribution_of(platform.freedesktop_os_release())
    except (OSError, ValueError):  # no such file, or not text
        distribution = ""
    has_nvidia = bool(glob.glob("/dev/nvidia[0-9]*")) or os.path.exists("/proc/driver/nvidia")
    # The NVIDIA images set this variable; void and none mean that no GPU is wanted.
    has_nvidia = has_nvidia or variables.get("NVIDIA_VISIBLE_DEVICES", "void") not in ("", "void", "none")
    closed = tuple(path for path in sorted(glob.glob("/dev/dri/renderD*")) if not os.access(path, os.R_OK | os.W_OK))
    return System(sys.platform, distribution, has_nvidia, closed, variables)


def distribution_of(os_release: Mapping[str, str]) -> str:
    """Return the family of a distribution, from the ID and ID_LIKE of its os-release file."""
    names = {os_release.get("ID", ""), *os_release.get("ID_LIKE", "").split()}
    if names & {"debian", "ubuntu"}:
        return "debian"
    return "fedora" if names & {"fedora", "rhel", "centos"} else ""
