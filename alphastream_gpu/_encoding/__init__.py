"""
Encoding: finds the polygons whose rasterization is a given mask, exactly or within a tolerance.
"""

from .blocks import encode_block
from .compiled import prepare_encoder
from .mask import MaskEncoder, count_pixels, encode_mask, optimize_geometry

__all__ = ["MaskEncoder", "count_pixels", "encode_block", "encode_mask", "optimize_geometry", "prepare_encoder"]
