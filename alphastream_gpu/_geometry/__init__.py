"""
Geometry: the polygons of a frame, and what is computed of them alone.

``frame.py`` has :class:`FrameGeometry`; ``segments.py``, ``planes.py`` and ``strips.py`` are the forms that the twin,
the shaders and callers need. ``size.py`` says what a size may be, ``aligned.py`` makes the arrays. No I/O.
"""

__all__ = []
