"""
Loader: finds the context that is current on this thread, whoever created it, and the addresses of its functions.

moderngl does not record which GL context a ``moderngl.Context`` wraps. glcontext, which creates moderngl's contexts,
finds a host's context only through GLX. So this module asks the windowing interfaces directly. It uses only libraries
that the process has already loaded: if a context is current, its library is loaded.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import c_uint, c_void_p
from types import TracebackType
from typing import Any, Final, NamedTuple

from .._exceptions import GLUnavailableError

__all__ = ["CurrentContext", "current_context"]


class _Interface(NamedTuple):
    """A windowing interface of OpenGL."""

    name: str
    libraries: tuple[str, ...]
    get_current: str
    get_address: str | None
    """The function that looks up GL functions. None if the library exports them all."""
    make_current: str
    places: tuple[tuple[str, tuple[Any, ...]], ...]
    """The functions, with arguments, that return what the context is current with: display and surfaces. `make_current`
    takes their results in this order, and then the context."""


_EGL_DRAW: Final = 0x3059
_EGL_READ: Final = 0x305A
_INTERFACES: Final[dict[str, tuple[_Interface, ...]]] = {
    "linux": (
        _Interface(
            "EGL",
            ("libEGL.so.1", "libEGL.so"),
            "eglGetCurrentContext",
            "eglGetProcAddress",
            "eglMakeCurrent",
            (
                ("eglGetCurrentDisplay", ()),
                ("eglGetCurrentSurface", (_EGL_DRAW,)),
                ("eglGetCurrentSurface", (_EGL_READ,)),
            ),
        ),
        _Interface(
            "GLX",
            ("libGLX.so.0", "libGL.so.1", "libGL.so"),
            "glXGetCurrentContext",
            "glXGetProcAddressARB",
            "glXMakeContextCurrent",
            (("glXGetCurrentDisplay", ()), ("glXGetCurrentDrawable", ()), ("glXGetCurrentReadDrawable", ())),
        ),
    ),
    "win32": (
        _Interface(
            "WGL",
            ("opengl32.dll",),
            "wglGetCurrentContext",
            "wglGetProcAddress",
            "wglMakeCurrent",
            (("wglGetCurrentDC", ()),),
        ),
    ),
    "darwin": (
        _Interface(
            "CGL",
            ("/System/Library/Frameworks/OpenGL.framework/OpenGL",),
            "CGLGetCurrentContext",
            None,
            "CGLSetCurrentContext",
            (),
        ),
    ),
}


_NO_ADDRESSES: Final = (1, 2, 3, (1 << 8 * ctypes.sizeof(ctypes.c_void_p)) - 1)
"""Values that some WGL drivers return for functions that they do not have."""


class CurrentContext:
    """
    A context, as its windowing interface knows it.

    It is also a loader for ``moderngl.create_context(context=...)``: it has the four methods that moderngl calls. Three
    of them do nothing, because the context belongs to the host.
    """

    def __init__(self, interface: _Interface, library: ctypes.CDLL, handle: int) -> None:
        self.interface = interface.name
        """EGL, GLX, WGL or CGL."""
        self.handle = handle
        """The context's address in that interface."""
        self._interface = interface
        self._library = library
        # PYFUNCTYPE keeps the GIL: these functions return at once, and another thread could take a released GIL.
        self._get_current = _function(library, interface.get_current, ctypes.PYFUNCTYPE(ctypes.c_void_p))
        self._get_address: Callable[[bytes], int | None] | None = None
        if interface.get_address is not None:
            prototype = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)
            self._get_address = _function(library, interface.get_address, prototype)

    def is_current(self) -> bool:
        """Return whether GL calls of this thread go to this context now."""
        return bool(self._get_current() == self.handle)

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """
        Make no context current on this thread within the ``with`` block.

        This context must be current. It is current again afterwards, with the same display and surfaces.
        """
        made_with = [
            _function(self._library, name, ctypes.PYFUNCTYPE(c_void_p, *[c_uint] * len(arguments)))(*arguments)
            for name, arguments in self._interface.places
        ]
        prototype = ctypes.CFUNCTYPE(c_uint, *[c_void_p] * (len(made_with) + 1))
        make_current = _function(self._library, self._interface.make_current, prototype)
        display = made_with[:1] if len(made_with) > 1 else []  # EGL and GLX need the display in any case
        make_current(*display, *[None] * (len(made_with) + 1 - len(display)))
        try:
            yield
        finally:
            make_current(*made_with, self.handle)

    def load_opengl_function(self, name: str) -> int:
        """Return the address of a GL function, or 0 if there is none."""
        address = self._get_address(name.encode()) if self._get_address is not None else None
        if address in _NO_ADDRESSES:
            address = None
        if not address:  # WGL looks up only functions newer than OpenGL 1.1, CGL looks up none
            exported = getattr(self._library, name, None)
            address = ctypes.cast(exported, ctypes.c_void_p).value if exported is not None else None
        return address or 0

    def release(self) -> None:
        """Do nothing: the context belongs to the host."""

    def __enter__(self) -> CurrentContext:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        pass


def current_context() -> CurrentContext:
    """
    Return the context that is current on this thread.

    Raises:
        GLUnavailableError: no context is current.
    """
    interfaces = _INTERFACES.get(sys.platform, _INTERFACES["linux"])
    for interface in interfaces:
        for library_name in interface.libraries:
            library = _loaded(library_name)
            if library is None or not hasattr(library, interface.get_current):
                continue
            handle = _function(library, interface.get_current, ctypes.PYFUNCTYPE(ctypes.c_void_p))()
            if handle:
                return CurrentContext(interface, library, handle)
            break
    raise GLUnavailableError(
        f"no OpenGL context is current on this thread (asked: {', '.join(one.name for one in interfaces)}); make your"
        " context current first, or create one with create_headless_context()"
    )


def _loaded(name: str) -> ctypes.CDLL | None:
    """Return a library if the process has already loaded it, else None."""
    try:
        return ctypes.CDLL(name, mode=getattr(os, "RTLD_NOLOAD", 0) | getattr(os, "RTLD_LAZY", 0))
    except OSError:
        return None


def _function(library: ctypes.CDLL, name: str, prototype: Any) -> Any:
    return prototype((name, library))
