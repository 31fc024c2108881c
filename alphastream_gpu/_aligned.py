"""
Aligned: arrays at addresses that C hosts may rely on.
"""

from __future__ import annotations

from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["ALIGNMENT", "aligned_empty"]

ALIGNMENT: Final = 64
"""Bytes; a cache line, and the widest vector registers. Masks and strips are handed to C hosts where they lie."""


def aligned_empty(shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8) -> npt.NDArray[Any]:
    """An array that begins at a multiple of :data:`ALIGNMENT`, which numpy's own do not; also one without elements."""
    n_bytes = prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(n_bytes + ALIGNMENT, np.uint8)
    return np.ndarray(shape, dtype, raw, -raw.ctypes.data % ALIGNMENT)
