"""
Inputs: opens videos, pictures, arrays and COCO JSON as sequences of bool masks.
"""

from __future__ import annotations

from .choose import open_frames
from .frames import Frames
from .options import InputOptions

__all__ = ["Frames", "InputOptions", "open_frames"]
