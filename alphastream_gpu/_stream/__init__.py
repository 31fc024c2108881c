"""
The stream: fetches and decodes frames in time for playing.

``stream.py`` has the public class. ``session.py`` is one loaded source: ``plan.py`` decides which frames one read
fetches, ``reader.py`` reads them, and ``cache.py`` keeps them. ``ahead.py`` makes masks and strips before they are
asked for.
"""

__all__ = []
