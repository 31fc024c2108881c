"""
What the tests of the encoder share: chains, and the kernels as plain Python.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from alphastream_gpu import FrameGeometry, rasterize
from alphastream_gpu._encoding import areas, borders, cheapest, exact, splice, starts, tolerant
from alphastream_gpu._encoding.chains import Chains, Room

PLAIN: dict[ModuleType, SimpleNamespace] = {
    module: SimpleNamespace(**{name: getattr(module, name) for name in module.SIGNATURES})
    for module in (areas, borders, cheapest, exact, splice, starts, tolerant)
}


def chains_of(mask: np.ndarray) -> Chains:
    return Chains.of(Room(mask))


def mask_of(geometry: FrameGeometry, like: np.ndarray) -> np.ndarray:
    """The mask of a geometry as bool, in the size of another one."""
    return rasterize(geometry, native_size=(like.shape[1], like.shape[0])) != 0


def same(left: Any, right: Any) -> bool:
    """Whether two results of kernels are equal, array by array."""
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(left, right, strict=True))
