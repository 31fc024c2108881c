"""
Slots: counts the requests that a session has under way, and decides how many more it may begin. No I/O.
"""

from __future__ import annotations

from .._sources.ranges import ByteRange

__all__ = ["Slots"]


class Slots:
    """
    The request slots of a source, as the session gives them to reads.

    A read takes as many slots as it makes requests at a time. A read that nobody waits for in play (planned, or of a
    whole range of frames) leaves one slot free: a frame that a player asks for now must never queue behind such reads.

    Args:
        n_slots: requests at a time, 1 or more.
        request_bytes: most bytes that one request asks for.
    """

    def __init__(self, n_slots: int, request_bytes: int) -> None:
        self._n_slots = n_slots
        self._request_bytes = request_bytes
        self.n_patient = max(1, n_slots - 1)
        """The most slots that patient reads take."""
        self._busy = 0
        self.patient = 0
        """Slots of reads that nobody in play waits for."""

    def needed(self, span: ByteRange) -> int:
        """Slots that a read takes: no more than patient reads may have, because a source splits no read further."""
        return min(self.n_patient, max(1, -(-len(span) // self._request_bytes)))

    @property
    def is_free(self) -> bool:
        """Whether a frame that is asked for in play may be read now."""
        return self._busy < self._n_slots

    @property
    def n_free(self) -> int:
        """Slots that are free for patient reads; negative if urgent reads took more than there are."""
        return min(self.n_patient - self.patient, self._n_slots - self._busy)

    def take(self, n_slots: int, *, is_urgent: bool) -> None:
        """A read begins."""
        self._busy += n_slots
        self.patient += 0 if is_urgent else n_slots

    def give_back(self, n_slots: int, *, is_urgent: bool) -> None:
        """The read has ended."""
        self._busy -= n_slots
        self.patient -= 0 if is_urgent else n_slots
