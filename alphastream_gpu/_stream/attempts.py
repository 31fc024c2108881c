"""
Attempts: what came of an attempt to get a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from .stats import LastError

__all__ = ["Attempt", "Outcome"]

Outcome: TypeAlias = Literal["here", "coming", "failed", "dropped"]
"""What came of an attempt; see :attr:`Attempt.outcome`."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    The last attempt to get a frame.
    """

    frame_index: int
    """The index of the frame."""
    outcome: Outcome
    """``"here"``: the geometry is in the cache. ``"coming"``: it is being fetched. ``"failed"``: see :attr:`error`; it
    may be fetched again already. ``"dropped"``: it was here, and was dropped to make room."""
    error: LastError | None
    """Why it failed, if it did."""
    seconds: float | None
    """How long its read took, in seconds; None if that is not known."""
    ended_at: float | None
    """When its read ended, in seconds of ``time.monotonic``; None if that is not known."""
