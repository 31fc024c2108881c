"""
Exporting: writes the masks of a stream as videos, pictures, arrays and annotations for other programs.
"""

__all__ = []
