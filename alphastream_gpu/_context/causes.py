"""
Why there is no context, in words: one table for what glcontext and moderngl say. Pure.

glcontext raises bare ``Exception`` with a function's name and an EGL error in hex; the words come before, and its own
text is kept, for whoever searches for it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from .cures import Situation, cure_for
from .egl import as_line
from .system import System
from .vendors import VendorFiles

__all__ = ["Cause", "explain", "library_causes", "vendor_causes"]


class Cause(NamedTuple):
    """One thing that was tried in vain."""

    tried: str
    why: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.tried}: {self.why}" + (f"; {self.cure}" if self.cure else "")


_EGL_ERRORS: Final = {
    "0x3001": "EGL_NOT_INITIALIZED",
    "0x3002": "EGL_BAD_ACCESS",
    "0x3003": "EGL_BAD_ALLOC",
    "0x3004": "EGL_BAD_ATTRIBUTE",
    "0x3005": "EGL_BAD_CONFIG",
    "0x3006": "EGL_BAD_CONTEXT",
    "0x3008": "EGL_BAD_DISPLAY",
    "0x3009": "EGL_BAD_MATCH",
    "0x300c": "EGL_BAD_PARAMETER",
    "0x300e": "EGL_CONTEXT_LOST",
}
_MEANINGS: Final[tuple[tuple[str, Situation, str], ...]] = (
    # pattern in the text, what is wrong, and in words; the first that matches wins
    (r"failed \(0x3003\)", Situation.OTHER, "the driver has no memory left for it"),
    ("eglInitialize failed", Situation.DRIVER, "its driver did not start"),
    ("eglGetPlatformDisplayEXT failed", Situation.DRIVER, "its driver does not render without a display"),
    ("eglBindAPI failed", Situation.VERSION, "its driver has no desktop OpenGL"),
    ("eglC.* failed", Situation.VERSION, "its driver gives no OpenGL 3.3 core context"),
    (r"egl\w+ not found", Situation.EGL_LIBRARY, "this EGL cannot use devices"),
    ("egl.* not loaded", Situation.EGL_LIBRARY, "libEGL does not load"),
    ("x11.* not loaded", Situation.X11_LIBRARY, "libX11 does not load"),
    ("gl.* not loaded|gl.* not found in", Situation.GL_LIBRARY, "libGL does not load"),
    ("Requested OpenGL version", Situation.VERSION, "its OpenGL is older than 3.3"),
    ("XOpenDisplay", Situation.DISPLAY, "no X server answers"),
    ("glXChooseFBConfig|glXChooseVisual", Situation.DRIVER, "the X server offers no OpenGL"),
    ("cannot create context", Situation.VERSION, "its driver gives no OpenGL 3.3 core context"),
    (
        r"glXMakeCurrent|a context of \w+ is current",
        Situation.CURRENT,
        "it cannot replace what is current on this thread",
    ),
    ("not made current", Situation.OTHER, "its driver needs a window"),
    ("No module named|cannot import name", Situation.GLCONTEXT, "this build of glcontext lacks the part for it"),
)


def explain(tried: str, error: Exception, system: System, *, node: str = "") -> Cause:
    """
    The cause that an attempt's error stands for.

    Args:
        tried: what was tried.
        error: what glcontext, moderngl or Python's import raised.
        system: the machine.
        node: the device's render node; where this user may not open it, that is why its driver does not start.
    """
    text = as_line(str(error)) or type(error).__name__
    for pattern, situation, words in _MEANINGS:
        if re.search(pattern, text, re.IGNORECASE):
            if situation is Situation.DRIVER and node in system.closed_nodes:
                situation, words = Situation.NODE, f"this user may not open {node}"  # noqa: PLW2901 - the special case
            return Cause(tried, f"{words}: {_with_name(text)}", cure_for(situation, system, text))
    return Cause(tried, _with_name(text), cure_for(Situation.OTHER, system, text))


def library_causes(name: str, why: str, system: System) -> list[Cause]:
    """The cause when libEGL does not load, in the linker's words."""
    return [Cause("EGL", f"{name} does not load: {why}", cure_for(Situation.EGL_LIBRARY, system, why))]


def vendor_causes(files: VendorFiles, system: System) -> list[Cause]:
    """What is wrong with EGL's vendor files: a cause for each that is wrong, or one when there are none."""
    cure = cure_for(Situation.VENDOR, system)
    if not files.vendors:
        places = f"{files.variable}={files.places!r}" if files.variable else files.places
        return [Cause("EGL vendor files", f"there are none in {places}", cure)]
    return [Cause(f"EGL vendor file {one.path}", one.problem, cure) for one in files.vendors if one.problem]


def _with_name(text: str) -> str:
    """The text, and the name of the EGL error in it."""
    code = re.search(r"\((0x[0-9a-f]{4})\)", text)
    name = _EGL_ERRORS.get(code[1]) if code else None
    return f"{text}, {name}" if name else text
