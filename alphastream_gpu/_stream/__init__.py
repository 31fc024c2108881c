"""
The stream: fetches and decodes frames in time for playing.

``stream.py`` has the public class. ``session.py`` is one loaded source: ``planner.py`` decides what to read,
``scheduler.py`` begins and ends the reads, ``reader.py`` carries them out, and ``table.py`` and ``cache.py`` keep the
frames. ``bulk.py`` reads whole ranges for offline use. ``ahead.py`` makes masks and strips before they are asked for.
"""

__all__ = []
