"""
Drivers: detects drivers that render on the CPU, by their renderer names.

Workarounds for a driver's faults do not belong here. They do not depend on the driver's name, but on what the driver
does. They belong in these files:

- ``choice.py`` chooses the method, and does not use a method that gets a pixel wrong.
- ``selfcheck.py`` has the scene that finds wrong pixels. If a driver has a new fault, add a case to the scene.
- ``functions.py`` has the GL functions and queries that are called without moderngl.
- ``guest.py`` has the GL state. If a driver lets another state change the masks, add that state.
"""

from __future__ import annotations

from typing import Final

__all__ = ["is_software"]

_SOFTWARE: Final = ("llvmpipe", "softpipe", "swrast", "software rasterizer", "swiftshader", "gdi generic")
"""Parts of the renderer names of drivers that use the CPU."""


def is_software(renderer: str) -> bool:
    """Return whether a driver renders on the CPU, by its renderer name."""
    return any(name in renderer.casefold() for name in _SOFTWARE)
