"""
Writing: writes ASVP and ASVR files atomically, and converts streams block by block.
"""

__all__ = []
