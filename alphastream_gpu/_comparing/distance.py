"""
Distance: measures how far the pixels at which two masks differ lie from the border of the first mask.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .._runtime.kernels import Kernels

__all__ = ["KERNELS", "farthest_difference"]

KERNELS = Kernels(
    f"{__package__}._distance_kernels",
    {
        "column_distances": "void(uint8[:,::1], int32[:,::1])",
        "farthest_squared": "int64(uint8[:,::1], uint8[:,::1], int32[:,::1])",
    },
)


def farthest_difference(mask: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    """
    The distance of the farthest differing pixel from the border of a mask.

    The distance of a pixel is that of its centre to the nearest centre of a pixel at which `mask` has the other value.
    Outside its window, a mask is unset.

    Args:
        mask: bool (height, width), C-contiguous.
        other: likewise, of the same shape.

    Returns:
        Pixels; 0 if the masks are equal, infinite if `mask` has no border.
    """
    if np.array_equal(mask, other):
        return 0.0
    kernels = KERNELS.load()
    distances = np.empty(mask.shape, np.int32)
    plain, differing = mask.view(np.uint8), other.view(np.uint8)
    kernels.column_distances(plain, distances)
    squared = kernels.farthest_squared(plain, differing, distances)
    return math.inf if squared < 0 else math.sqrt(squared)
