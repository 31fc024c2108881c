"""
The GL side: masks rasterized in shaders, bit for bit what the numpy twin makes.
"""

from .choice import SHADER_METHODS
from .renderer import MaskRenderer, RenderStats

__all__ = ["SHADER_METHODS", "MaskRenderer", "RenderStats"]
