"""
What a driver's name for itself tells.
"""

from __future__ import annotations

from typing import Final

__all__ = ["is_software"]

_SOFTWARE: Final = ("llvmpipe", "softpipe", "swrast", "software rasterizer", "swiftshader", "gdi generic")
"""Names by which drivers that use the CPU call themselves."""


def is_software(renderer: str) -> bool:
    """Whether the CPU does the work of a driver, by its name for its renderer."""
    return any(name in renderer.casefold() for name in _SOFTWARE)
