"""
GL renderer: rasterizes masks in shaders, with the same bits as the numpy twin.
"""

from .choice import SHADER_METHODS
from .renderer import MaskRenderer, RenderStats

__all__ = ["SHADER_METHODS", "MaskRenderer", "RenderStats"]
