"""
Runtime: threads, the event loop, locks, exit and forks. It does not depend on streams.
"""

__all__ = []
