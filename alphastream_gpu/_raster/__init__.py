"""
Raster: the CPU twins, which make the exact mask without a GPU: the numpy twin, and the compiled twin.

The compiled twin is in ``compiled`` and ``runs``. The stages of the numpy twin have the names of the shaders' stages:

``segments`` (points to line segments) -> ``fill`` (even-odd interior) and ``outline`` (pixels of the segments)
-> ``resolve`` (to the output size). ``coverage`` calls the stages.
"""

from .coverage import rasterize, rasterize_packed

__all__ = ["rasterize", "rasterize_packed"]
