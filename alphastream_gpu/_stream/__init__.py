"""
The stream: frames at the right time.

``stream.py`` is what callers see. ``session.py`` is one loaded source, whose frames ``reader.py`` reads as ``plan.py``
says and ``cache.py`` keeps; ``ahead.py`` makes masks and strips of them before they are asked for.
"""

__all__ = []
