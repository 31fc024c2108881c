"""
Self-check: a scene that is small enough to render at first use, with a case for every rule and every stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from .._geometry.frame import FrameGeometry
from .._raster.coverage import rasterize

__all__ = ["NATIVE_SIZE", "SIZES", "count_wrong_pixels", "scene"]

NATIVE_SIZE: Final = (96, 64)
SIZES: Final = ((96, 64), (48, 16), (41, 67))
"""Native, every second column and every fourth row, and a size that needs scaling."""


@cache
def scene() -> FrameGeometry:
    """A self-intersection, overlapping channels, a line, steep half-way edges, points far outside, a single point."""
    channels = [
        [(5, 3), (60, 50), (58, 4), (9, 47)],
        [(30, 10), (90, 20), (70, 60), (20, 40)],
        [(40, 8), (43, 14), (48, 33), (41, 55), (36, 30)],
        [(44, 20), (80, 30), (50, 58), (30, 50)],
        [(2, 60), (80, 2)],
        [(-20, 30), (10, 20), (12, 90), (-9, 70)],
        [(70, -2048), (77, 5), (3001, 40), (66, 2900)],
        [(21, 25), (-1432, -2048), (-2048, -551)],
        [(24, 21), (-2048, -2048), (-551, -1432)],
        [(95, 0)],
    ]
    offsets = np.cumsum([0, *(len(channel) for channel in channels)])
    return FrameGeometry(np.concatenate([np.array(channel) for channel in channels]), offsets)


def count_wrong_pixels(
    render: Callable[[Sequence[FrameGeometry], tuple[int, int]], Sequence[npt.NDArray[np.uint8]]],
) -> int:
    """
    Return how many pixels of the scene differ from the CPU twin's.

    The scene is rendered at each size: alone, and twice in a batch with a frame without points in between.

    Args:
        render: returns the masks of frames of native size :data:`NATIVE_SIZE`, at a given size. One frame is rendered
            into a texture, several into an array texture.
    """
    n_wrong = 0
    for size in SIZES:
        for geometries in ([scene()], [scene(), FrameGeometry([]), scene()]):
            for geometry, mask in zip(geometries, render(geometries, size), strict=True):
                n_wrong += int((mask != rasterize(geometry, size, native_size=NATIVE_SIZE)).sum())
    return n_wrong
