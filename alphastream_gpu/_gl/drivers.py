"""
Drivers: detects drivers that render on the CPU, by their renderer names.
"""

from __future__ import annotations

from typing import Final

__all__ = ["is_software"]

_SOFTWARE: Final = ("llvmpipe", "softpipe", "swrast", "software rasterizer", "swiftshader", "gdi generic")
"""Parts of the renderer names of drivers that use the CPU."""


def is_software(renderer: str) -> bool:
    """Return whether a driver renders on the CPU, by its renderer name."""
    return any(name in renderer.casefold() for name in _SOFTWARE)
