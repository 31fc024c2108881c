"""
States: the numbers that the C functions return for the state of a frame, of a range and of a stream.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["FrameState", "StreamState"]


class FrameState(IntEnum):
    """How far a mask is. The numbers ascend, so ``>= FETCHED`` can be written in C."""

    FAILED = -1
    """The last attempt failed, or the call could not be made. The last error has the reason."""
    MISSING = 0
    """It is not here, and nothing fetches it."""
    COMING = 1
    """It is being fetched or made."""
    FETCHED = 2
    """Its polygons are here. CV_get_frame makes the mask, which takes some milliseconds."""
    READY = 3
    """The mask is made."""


class StreamState(IntEnum):
    """What a handle is doing."""

    FAILED = -1
    """The last CV_init failed, or the handle is invalid."""
    NONE = 0
    """There was no CV_init yet."""
    OPENING = 1
    """CV_init is in progress, on another thread."""
    BUFFERING = 2
    """The frame at the play head is on its way and not late, or no frame was asked for yet."""
    PLAYING = 3
    """That frame is here."""
    STALLED = 4
    """That frame is missing, and the last attempt to fetch it failed or is late."""
    ENDED = 5
    """That frame is here, and it is the last one in the direction of play."""
