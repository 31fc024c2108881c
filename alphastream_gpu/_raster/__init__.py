"""
The numpy twin: the exact mask on the CPU. Its stages carry the names of the shaders' stages.

``segments`` (points to line segments) -> ``fill`` (even-odd interior) and ``outline`` (the segments' own pixels)
-> ``resolve`` (to the output size), put together by ``coverage``.
"""

from .coverage import rasterize, rasterize_packed

__all__ = ["rasterize", "rasterize_packed"]
