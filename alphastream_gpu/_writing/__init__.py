"""
Writing: files that are whole or not there, and streams converted block by block.
"""

__all__ = []
