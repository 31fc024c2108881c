"""
Making: creates a context with glcontext and wraps it with moderngl, in two steps.

If moderngl did both steps, the environment variable GLCONTEXT_DEVICE_INDEX would override an index from the caller.
Besides, glcontext does not check whether its context became current. If another interface's context is current on this
thread, an EGL context cannot become current, and moderngl would wrap the other one.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any, Final

import moderngl

from .._exceptions import GLUnavailableError
from .._gl.attach import identity_of
from .._gl.loader import current_context
from .._gl.undocumented import without_default
from .egl import Library, as_line, load_problem
from .system import System

__all__ = ["make_by_default", "make_on_device", "names_of"]


_VERSIONS: Final = (460, 450, 440, 430, 420, 410, 400, 330)
"""Newest first: some drivers return exactly the version that is asked for, and masks are faster from 4.3 on."""
_REFUSED: Final = re.compile("eglCreateContext failed|cannot create context")
"""glcontext's messages if the driver does not support the version."""


def make_by_default(**libraries: str) -> moderngl.Context:
    """
    Create a context in glcontext's default way for this system: through WGL, CGL or an X server.

    Args:
        libraries: names of libraries to load, by glcontext's parameter names.

    Raises:
        Exception: no context can be created. glcontext raises bare Exception and ImportError, moderngl ValueError.
    """
    backend = importlib.import_module("glcontext").default_backend()
    return _wrap(_newest(lambda version: backend(mode="standalone", glversion=version, **libraries)))


def make_on_device(egl: Library, index: int, system: System) -> moderngl.Context:
    """
    Create a context on an EGL device.

    Raises:
        Exception: as in :func:`make_by_default`. Then another context may be current, or none.
    """
    before = egl.current().context
    libgl = system.variables.get("GLCONTEXT_LINUX_LIBGL") or "libGL.so.1"
    if why := load_problem(libgl):  # glcontext would not report why
        raise GLUnavailableError(f"{libgl} not loaded: {why}")
    create = importlib.import_module("glcontext.egl").create_context
    native = _newest(
        lambda version: create(mode="standalone", libgl=libgl, libegl=egl.name, glversion=version, device_index=index)
    )
    if egl.current().context in (None, before):
        native.release()
        raise GLUnavailableError(_why_not_current())
    return _wrap(native)


def _newest(create: Callable[[int], Any]) -> Any:
    """Create a context of the newest version that the driver supports. After another error, 3.3 is tried at once."""
    *newer, oldest = _VERSIONS
    for version in newer:
        try:
            return create(version)
        except Exception as exc:  # glcontext raises bare Exception
            if not _REFUSED.search(str(exc)):
                break
    return create(oldest)


def names_of(context: moderngl.Context) -> tuple[str, str, str]:
    """Return renderer, vendor and version of a context that is current."""
    try:
        info = context.info
    except ValueError:  # a name is not valid text
        return "?", "?", "?"
    return as_line(info["GL_RENDERER"]), as_line(info["GL_VENDOR"]), as_line(info["GL_VERSION"])


def _why_not_current() -> str:
    try:
        interface = current_context().interface
    except GLUnavailableError:
        interface = "EGL"
    return "not made current without a surface" if interface == "EGL" else f"a context of {interface} is current"


def _wrap(native: Any) -> moderngl.Context:
    """Wrap a glcontext context, which is current, in a moderngl context."""
    try:
        with without_default():
            context = moderngl.create_context(require=330, standalone=True, context=native)
    except Exception:
        native.release()
        raise
    identity_of(context)  # records which GL context it wraps, while that one is current
    return context
