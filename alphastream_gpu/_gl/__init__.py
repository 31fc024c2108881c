"""
The GL side: masks rasterized in shaders, bit for bit what the numpy twin makes.
"""

from .headless import create_headless_context
from .renderer import MaskRenderer, RenderStats

__all__ = ["MaskRenderer", "RenderStats", "create_headless_context"]
