"""
Inputs: opens what holds masks (videos, pictures, arrays, COCO JSON) as a sequence of bool masks.
"""

from __future__ import annotations

from .choose import open_frames
from .frames import Frames
from .options import InputOptions

__all__ = ["Frames", "InputOptions", "open_frames"]
