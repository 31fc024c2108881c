"""
Raster: the numpy twin, which makes the exact mask on the CPU. Its stages have the names of the shaders' stages.

``segments`` (points to line segments) -> ``fill`` (even-odd interior) and ``outline`` (pixels of the segments)
-> ``resolve`` (to the output size). ``coverage`` calls the stages.
"""

from .coverage import rasterize, rasterize_packed

__all__ = ["rasterize", "rasterize_packed"]
