"""
Causes: explains why there is no context, by one table of the errors of glcontext and moderngl. Pure.

glcontext raises bare ``Exception`` with a function's name and an EGL error in hex. The explanation comes before this
text, which is kept so that users can search for it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from .egl import as_line
from .fixes import Situation, fix_for
from .system import System
from .vendors import VendorFiles

__all__ = ["Cause", "explain", "library_causes", "vendor_causes"]


class Cause(NamedTuple):
    """One attempt that failed."""

    tried: str
    why: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.tried}: {self.why}" + (f"; {self.fix}" if self.fix else "")


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
    # pattern in the text, situation, explanation; the first match wins
    (r"failed \(0x3003\)", Situation.OTHER, "the driver has no memory left"),
    ("eglInitialize failed", Situation.DRIVER, "the driver did not start"),
    ("eglGetPlatformDisplayEXT failed", Situation.DRIVER, "the driver does not render without a display"),
    ("eglBindAPI failed", Situation.VERSION, "the driver has no desktop OpenGL"),
    ("eglC.* failed", Situation.VERSION, "the driver supports no OpenGL 3.3 core context"),
    (r"egl\w+ not found", Situation.EGL_LIBRARY, "this EGL does not support devices"),
    ("egl.* not loaded", Situation.EGL_LIBRARY, "libEGL does not load"),
    ("x11.* not loaded", Situation.X11_LIBRARY, "libX11 does not load"),
    ("gl.* not loaded|gl.* not found in", Situation.GL_LIBRARY, "libGL does not load"),
    ("Requested OpenGL version", Situation.VERSION, "the driver's OpenGL is older than 3.3"),
    ("XOpenDisplay", Situation.DISPLAY, "no X server answers"),
    ("glXChooseFBConfig|glXChooseVisual", Situation.DRIVER, "the X server offers no OpenGL"),
    ("cannot create context", Situation.VERSION, "the driver supports no OpenGL 3.3 core context"),
    (
        r"glXMakeCurrent|a context of \w+ is current",
        Situation.CURRENT,
        "the context that is current on this thread cannot be replaced",
    ),
    ("not made current", Situation.OTHER, "the driver needs a window"),
    ("No module named|cannot import name", Situation.GLCONTEXT, "this build of glcontext is incomplete"),
)


def explain(tried: str, error: Exception, system: System, *, node: str = "") -> Cause:
    """
    Return the cause of an attempt's error.

    Args:
        tried: what was tried.
        error: the exception from glcontext, moderngl or Python's import.
        system: the machine.
        node: the device's render node. If this user may not open it, that is why the driver does not start.
    """
    text = as_line(str(error)) or type(error).__name__
    for pattern, situation, words in _MEANINGS:
        if re.search(pattern, text, re.IGNORECASE):
            if situation is Situation.DRIVER and node in system.closed_nodes:
                situation, words = Situation.NODE, f"no permission to open {node}"  # noqa: PLW2901 - the special case
            return Cause(tried, f"{words}: {_with_name(text)}", fix_for(situation, system, text))
    return Cause(tried, _with_name(text), fix_for(Situation.OTHER, system, text))


def library_causes(name: str, why: str, system: System) -> list[Cause]:
    """Return the cause if libEGL does not load, with the linker's message."""
    return [Cause("EGL", f"{name} does not load: {why}", fix_for(Situation.EGL_LIBRARY, system, why))]


def vendor_causes(files: VendorFiles, system: System) -> list[Cause]:
    """Return what is wrong with EGL's vendor files: a cause per invalid file, or one if there are no files."""
    fix = fix_for(Situation.VENDOR, system)
    if not files.vendors:
        places = f"{files.variable}={files.places!r}" if files.variable else files.places
        return [Cause("EGL vendor files", f"none in {places}", fix)]
    return [Cause(f"EGL vendor file {one.path}", one.problem, fix) for one in files.vendors if one.problem]


def _with_name(text: str) -> str:
    """Return the text with the name of its EGL error."""
    code = re.search(r"\((0x[0-9a-f]{4})\)", text)
    name = _EGL_ERRORS.get(code[1]) if code else None
    return f"{text}, {name}" if name else text
