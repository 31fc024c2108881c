"""
The runtime: threads, the event loop, locks, exit and forks. It knows no stream.
"""

__all__ = []
