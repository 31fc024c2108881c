"""
Headless: creates a context without a window. It tries each possible way in order, and reports failures with their
fixes.

Strategy
--------
On Linux a context comes from an EGL device. That needs no display, and it distinguishes GPUs. Hardware is tried before
Mesa's software device. An X server is the last resort, for drivers without EGL devices. Windows and macOS have one way
each.

making.py creates one context, or raises whatever glcontext and moderngl raise. This module decides which context to
create, and explains each failure. After a failure, the context that was current before is current again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import moderngl

from .._exceptions import GLUnavailableError
from .causes import Cause, explain, library_causes, vendor_causes
from .egl import Device, Library, library_name
from .fixes import Situation, fix_for
from .making import make_by_default, make_on_device, names_of
from .system import System, look_at_system
from .vendors import find_vendors

__all__ = ["Search", "create_headless_context", "search"]


def create_headless_context(device: int | str | None = None) -> moderngl.Context:
    """
    Create an OpenGL core context without a window, of the newest version that the driver supports, 3.3 at least.

    On Linux without ``device``, the environment variable ``GLCONTEXT_DEVICE_INDEX`` selects the EGL device. If it is
    not set, every EGL device is tried, GPUs before software, and then the X server that ``DISPLAY`` names. On Windows
    and macOS the system decides.

    A context that is current on this thread stops being current, as with moderngl. If this function fails, that context
    is current again. (An EGL context cannot replace a GLX context, which GLFW creates on X11. Then EGL devices fail.)
    The new context does not become moderngl's default.

    Args:
        device: the GPU. An int is the index of an EGL device, from 0, as ``alphastream doctor`` lists them; it needs
            EGL, and therefore Linux. A str is part of the device's renderer, vendor or file (/dev/dri/...), ignoring
            case. EGL reports these names, or OpenGL on a context that is created to ask. Only a device with a matching
            name is used.

    Returns:
        A new context, current on this thread. The caller must release it.

    Raises:
        GLUnavailableError: every attempt failed, or the device does not exist. The message has a line per attempt: what
            was tried, why it failed, and a fix.
        TypeError: `device` is neither int nor str.
        ValueError: `device` is negative or empty.
    """
    _check(device)
    found = search(device)
    if found.context is None:
        lines = [found.headline, *map(str, found.causes)]
        raise GLUnavailableError("\n".join(lines)) from found.error
    return found.context


@dataclass
class Search:
    """The result of a search for a context."""

    system: System
    context: moderngl.Context | None = None
    """Current on this thread. The caller must release it."""
    way: str = ""
    """The device or interface that provided the context."""
    headline: str = "no OpenGL 3.3 context without a window:"
    """First line of the error if there is no context."""
    causes: list[Cause] = field(default_factory=list)
    """Why each attempt failed."""
    error: Exception | None = None
    """The first error, if any."""

    def fail(self, tried: str, error: Exception, *, node: str = "") -> None:
        """Record a failed attempt."""
        self.causes.append(explain(tried, error, self.system, node=node))
        self.error = self.error or error


def search(device: int | str | None = None) -> Search:
    """Try all ways in order until one works. `device` is as in :func:`create_headless_context`."""
    found = Search(look_at_system())
    if not found.system.has_egl:
        _try_system(found, device)
        return found
    if device is None and (wanted := found.system.variables.get("GLCONTEXT_DEVICE_INDEX")):
        _try_variable(found, wanted)
        return found
    _try_egl(found, device)
    if found.context is None and device is None and (display := found.system.variables.get("DISPLAY")):
        # By soname: otherwise glcontext uses a compiler, if there is one, to find the libraries.
        _try_default(found, f"X11 display {display!r}", libgl="libGL.so.1", libx11="libX11.so.6")
    return found


def _check(device: object) -> None:
    if device is None:
        return
    if isinstance(device, bool) or not isinstance(device, int | str):
        raise TypeError(f"device: expected an index or part of a name, found {device!r}")
    if isinstance(device, int) and device < 0:
        raise ValueError(f"device: expected an index from 0, found {device}")
    if isinstance(device, str) and not device.strip():
        raise ValueError(f"device: expected part of a name, found {device!r}")


def _try_variable(found: Search, wanted: str) -> None:
    """Use the device that glcontext's variable selects."""
    try:
        index = int(wanted)
        _check(index)
    except ValueError as exc:
        fix = fix_for(Situation.DEVICE_INDEX, found.system)
        found.causes.append(Cause("GLCONTEXT_DEVICE_INDEX", "expected an index from 0", fix))
        found.error = exc
        return
    _try_egl(found, index, choose="set GLCONTEXT_DEVICE_INDEX={}")


def _try_system(found: Search, device: int | str | None) -> None:
    """Create a context on Windows or macOS, which have one way each and no choice of device."""
    interface = {"win32": "WGL", "darwin": "CGL"}[found.system.platform]
    if isinstance(device, int):
        found.causes.append(Cause(f"device {device}", "devices have no index on this system", "pass device=None"))
        return
    _try_default(found, interface)
    if found.context is not None and device is not None:
        renderer, vendor, _ = names_of(found.context)
        if not Device(0).matches(device.strip(), renderer, vendor):
            found.context.release()
            found.context = None
            found.headline = f"no device matches {device!r}:"
            found.causes.append(Cause(interface, f"is {renderer} ({vendor})", "pass device=None"))


def _try_default(found: Search, way: str, **libraries: str) -> None:
    """Create a context in glcontext's default way for this system."""
    try:
        found.context = make_by_default(**libraries)
        found.way = way
    except Exception as exc:  # glcontext raises bare Exception, ImportError and ValueError
        found.fail(way, exc)


def _try_egl(found: Search, device: int | str | None, choose: str = "pass device={}") -> None:
    """
    Create a context on an EGL device. If that fails, make current again what was current before. `choose` says how the
    caller selects another device.
    """
    name = library_name(found.system.variables)
    try:
        egl = Library(name)
    except GLUnavailableError as exc:
        found.causes += library_causes(name, str(exc), found.system)
        found.error = exc
        return
    before = egl.current()
    devices = egl.devices()
    if isinstance(device, int):
        _try_index(found, egl, devices, device, choose)
    else:
        _try_each(found, egl, devices, device.strip() if device else None)
    if found.context is None:
        egl.restore(before)
        found.causes += _vendor_causes(found, egl, devices)


def _vendor_causes(found: Search, egl: Library, devices: tuple[Device, ...]) -> list[Cause]:
    """Return why the vendors' devices are missing."""
    causes = vendor_causes(find_vendors(found.system.variables), found.system) if egl.is_glvnd else []
    if not causes and not devices:
        causes = [Cause("EGL", "lists no devices", fix_for(Situation.VENDOR, found.system))]
    return causes


def _try_index(found: Search, egl: Library, devices: tuple[Device, ...], index: int, choose: str) -> None:
    if index < len(devices):
        _try_device(found, egl, devices[index])
    elif devices:
        found.headline = f"no EGL device {index}:"
        found.causes += [Cause(str(one), "available", choose.format(one.index)) for one in devices]


def _try_each(found: Search, egl: Library, devices: tuple[Device, ...], name: str | None) -> None:
    """Try devices whose EGL names match first, and hardware before software."""
    known = {one.index for one in devices if name is not None and one.matches(name)}
    for one in sorted(devices, key=lambda one: (one.index not in known, one.is_software)):
        _try_device(found, egl, one)
        if found.context is None:
            continue
        if name is None or one.index in known:
            return
        renderer, vendor, _ = names_of(found.context)
        if one.matches(name, renderer, vendor):
            return
        found.context.release()
        found.context = None
        found.headline = f"no EGL device matches {name!r}:"
        found.causes.append(Cause(str(one), f"is {renderer} ({vendor})", f"pass device={one.index}"))


def _try_device(found: Search, egl: Library, device: Device) -> None:
    try:
        found.context = make_on_device(egl, device.index, found.system)
        found.way = str(device)
    except Exception as exc:  # glcontext raises bare Exception, ImportError and ValueError
        found.fail(str(device), exc, node=device.render_node)
