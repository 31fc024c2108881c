"""
Costs: estimates how many bits each byte of a polystream will take after compression.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["FIRST_COSTS", "learned_costs"]

Costs = npt.NDArray[np.float64]

_PRIOR_BYTES: Final = 6.0
"""The weight of the first costs beside the bytes that were counted, in bytes."""
_MOST_BITS: Final = 14.0
"""deflate's codes have at most 15 bits (RFC 1951, 3.2.7), and a byte that never occurs needs no code at all."""


def _first_costs() -> Costs:
    """
    Short steps occur more often than long ones, in both directions. The two numbers were fitted to the payloads of
    traced people; 10 % more or less of either makes no difference of 0.5 %.
    """
    length = np.abs(np.arange(256).astype(np.uint8).view(np.int8).astype(np.float64))
    return 2.2 + 1.05 * np.log2(1.0 + length)


FIRST_COSTS: Final = _first_costs()
"""float64 (256,): bits of each byte, before any is known."""


def learned_costs(steps: npt.NDArray[np.uint8]) -> Costs:
    """
    Learn the costs from the steps of paths round the same mask.

    The bits of a byte are those of an ideal code for the frequencies, -log2 p.

    Args:
        steps: uint8 (n,), in any order.

    Returns:
        float64 (256,), 0..14 bits.
    """
    prior = np.exp2(-FIRST_COSTS)
    prior *= _PRIOR_BYTES / prior.sum()
    bits: Costs = -np.log2((np.bincount(steps, minlength=256) + prior) / (len(steps) + _PRIOR_BYTES))
    return np.clip(bits, 0.0, _MOST_BITS)
