"""
Geometry: the polygons of a frame, and the forms that are computed from the polygons alone.

``frame.py`` has :class:`FrameGeometry`. ``segments.py``, ``planes.py`` and ``strips.py`` compute the forms that the
numpy twin, the shaders and callers need. ``size.py`` checks sizes, ``aligned.py`` allocates arrays. No I/O.
"""

__all__ = []
