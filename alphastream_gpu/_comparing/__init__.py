"""
Comparing: measures how far two sequences of masks differ, frame by frame and over time.
"""

from .distance import farthest_difference
from .picture import difference_tile, mask_tile, png_of_tiles
from .sequences import ComparedFrame, CompareReport, compare, picture_of_worst

__all__ = [
    "CompareReport",
    "ComparedFrame",
    "compare",
    "difference_tile",
    "farthest_difference",
    "mask_tile",
    "picture_of_worst",
    "png_of_tiles",
]
