"""
EGL, queried by ctypes: the library, its devices, and the context that is current.

glcontext creates contexts through EGL by a device's index. It does not list the devices or their names, and does not
check whether its context became current. So this module asks EGL directly. It creates no context.

The texts that EGL returns come from a driver, so they may be anything. They are decoded with replacement characters,
put on one line, and cut to a maximum length.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from ctypes import c_char_p, c_int, c_uint, c_void_p
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from .._exceptions import GLUnavailableError

__all__ = ["Device", "Library", "as_line", "library_name", "load_problem"]

_EXTENSIONS: Final = 0x3055
_DRAW: Final = 0x3059
_READ: Final = 0x305A
_PROTOTYPES: Final[dict[str, tuple[Any, ...]]] = {
    # name: result, arguments
    "eglBindAPI": (c_uint, c_uint),
    "eglGetCurrentContext": (c_void_p,),
    "eglGetCurrentDisplay": (c_void_p,),
    "eglGetCurrentSurface": (c_void_p, c_int),
    "eglGetProcAddress": (c_void_p, c_char_p),
    "eglMakeCurrent": (c_uint, c_void_p, c_void_p, c_void_p, c_void_p),
    "eglQueryAPI": (c_uint,),
    "eglQueryString": (c_char_p, c_void_p, c_int),
}
_DEVICE_STRINGS: Final = {
    # field of Device: the enumerant, and the device extension that provides it (a query without it is an EGL error)
    "vendor": (0x3053, "EGL_EXT_device_query_name"),
    "renderer": (0x335F, "EGL_EXT_device_query_name"),
    "drm_file": (0x3233, "EGL_EXT_device_drm"),
    "render_node": (0x3377, "EGL_EXT_device_drm_render_node"),
}
_MOST_DEVICES: Final = 64
"""Most devices that are read: more than any machine has. A broken library's count cannot allocate more."""
_MOST_CHARACTERS: Final = 16384
"""Most characters that are read of a string. The longest real ones, lists of extensions, have some two thousand."""


@dataclass(frozen=True, slots=True)
class Device:
    """What EGL reports about a device without a context. A driver may report nothing: then the strings are empty."""

    index: int
    renderer: str = ""
    vendor: str = ""
    drm_file: str = ""
    """The device's file, such as /dev/dri/card0."""
    render_node: str = ""
    """The file that is needed for rendering, such as /dev/dri/renderD128."""
    extensions: tuple[str, ...] = ()

    @property
    def is_software(self) -> bool:
        """Whether the device renders on the CPU. Mesa marks such devices."""
        return "EGL_MESA_device_software" in self.extensions

    def matches(self, name: str, *more: str) -> bool:
        """Return whether `name` is part of one of the device's names or of `more`, ignoring case."""
        names = (self.renderer, self.vendor, self.drm_file, self.render_node, *more)
        return any(name.casefold() in known.casefold() for known in names)

    def __str__(self) -> str:
        names = [self.renderer or self.vendor, self.render_node or self.drm_file, "software" * self.is_software]
        known = ", ".join(filter(None, names))
        return f"EGL device {self.index} ({known})" if known else f"EGL device {self.index}"


class Current(NamedTuple):
    """The API, display, surfaces and context that are current on a thread."""

    api: int
    display: int | None
    draw: int | None
    read: int | None
    context: int | None


class Library:
    """
    libEGL.

    Args:
        name: the library's file or soname.

    Raises:
        GLUnavailableError: the library cannot be loaded, or is not EGL. The message has the reason.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            self._library = ctypes.CDLL(name)
        except OSError as exc:
            raise GLUnavailableError(as_line(str(exc))) from exc
        for function, (result, *arguments) in _PROTOTYPES.items():
            try:
                # CFUNCTYPE releases the GIL: the first of these calls loads drivers.
                setattr(self, f"_{function}", ctypes.CFUNCTYPE(result, *arguments)((function, self._library)))
            except AttributeError as exc:
                raise GLUnavailableError(f"{name} has no function {function}") from exc

    def __getattr__(self, name: str) -> Any:  # for type checkers: the functions are set by name
        raise AttributeError(name)

    @property
    def is_glvnd(self) -> bool:
        """Whether this is glvnd's dispatcher, which finds drivers by vendor files, and not one driver's own EGL."""
        return hasattr(self._library, "__glDispatchInit")  # of libGLdispatch, which glvnd's libEGL depends on

    def extensions(self) -> tuple[str, ...]:
        """Return the client extensions, which need no display."""
        return tuple(_text(self._eglQueryString(None, _EXTENSIONS)).split())

    def devices(self) -> tuple[Device, ...]:
        """Return the devices of all vendors in EGL's order. Empty also if EGL cannot list them."""
        query_devices = self._extension("eglQueryDevicesEXT", c_uint, c_int, c_void_p, c_void_p)
        if query_devices is None:
            return ()
        count = c_int()
        handles = (c_void_p * _MOST_DEVICES)()
        if not query_devices(_MOST_DEVICES, handles, ctypes.addressof(count)):
            return ()
        query_string = self._extension("eglQueryDeviceStringEXT", c_char_p, c_void_p, c_int)
        return tuple(
            _describe(index, handles[index], query_string) for index in range(min(max(count.value, 0), _MOST_DEVICES))
        )

    def current(self) -> Current:
        """Return what is current on this thread. The context is None if no EGL context is current."""
        return Current(
            self._eglQueryAPI(),
            self._eglGetCurrentDisplay(),
            self._eglGetCurrentSurface(_DRAW),
            self._eglGetCurrentSurface(_READ),
            self._eglGetCurrentContext(),
        )

    def restore(self, before: Current) -> None:
        """Make current again what was current before. If nothing was, make nothing current."""
        display = before.display if before.context else self._eglGetCurrentDisplay()
        if display:
            self._eglMakeCurrent(display, before.draw, before.read, before.context)
        self._eglBindAPI(before.api)

    def _extension(self, name: str, result: Any, *arguments: Any) -> Any:
        address = self._eglGetProcAddress(name.encode())
        return ctypes.CFUNCTYPE(result, *arguments)(address) if address else None


def library_name(variables: Mapping[str, str]) -> str:
    """Return the EGL library to load: the value of glcontext's variable, or the soname, which the linker looks up."""
    return variables.get("GLCONTEXT_LINUX_LIBEGL") or "libEGL.so.1"


def load_problem(library: str) -> str:
    """Return the linker's message if a library does not load, else an empty text."""
    try:
        ctypes.CDLL(library)
    except (OSError, ValueError) as exc:  # ValueError: a null character
        return as_line(str(exc))
    return ""


def as_line(text: str) -> str:
    """Return foreign text on one line, without terminal control characters."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def _describe(index: int, handle: int | None, query_string: Any) -> Device:
    if query_string is None:
        return Device(index)
    extensions = tuple(_text(query_string(handle, _EXTENSIONS)).split())
    strings = {
        field: _text(query_string(handle, what))
        for field, (what, extension) in _DEVICE_STRINGS.items()
        if extension in extensions
    }
    return Device(index, extensions=extensions, **strings)


def _text(answer: bytes | None) -> str:
    return as_line((answer or b"")[:_MOST_CHARACTERS].decode("utf-8", "replace"))
