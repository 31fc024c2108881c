"""
Follower: finds out a player's position and direction, only from the frames that it asks for. Pure.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Follower", "HeadKey"]

_LARGEST_STEP: Final = 8
"""Frames that a player may skip and still be playing: one that drops to 8 fps of 60, or plays at eight times the
speed."""
_TURNS_AFTER: Final = 3
"""Steps backward in a row that mean backward play; one or two are a player that looks back at what it dropped."""
_FIRST_WINDOW: Final = 16
"""Frames prefetched after a jump, where a read costs next to nothing; the window doubles as play goes on."""


class HeadKey:
    """
    What a stream knows a play head by. It stays the same when another source is loaded.
    """

    __slots__ = ("is_dropped",)

    def __init__(self) -> None:
        self.is_dropped = False
        """Whether the play head is closed. Set before its share is given back: a call that another thread is just
        making must not take a share again, which nobody would give back."""


class Follower:
    """
    Follows the frames asked for.

    Args:
        window: frames that are prefetched in steady play.
    """

    def __init__(self, window: int) -> None:
        self.full_window = window
        """Frames to have ready ahead in steady play."""
        self.at: int | None = None
        """The frame last asked for."""
        self.direction = 1
        """1 forward, -1 backward."""
        self.window = min(window, _FIRST_WINDOW)
        """Frames to have ready ahead; grows from jump to steady play, as operating systems read files ahead."""
        self._backward_steps = 0

    def move(self, index: int) -> bool:
        """
        A frame was asked for.

        Returns:
            Whether prefetching must be planned anew: after a jump, or when play turned around.
        """
        before, self.at = self.at, index
        if before is None:
            return True
        step = index - before
        if step == 0:
            return False
        if abs(step) > _LARGEST_STEP:
            self._restart(1)
            return True
        self._backward_steps = self._backward_steps + 1 if step < 0 else 0
        if step > 0 and self.direction < 0:
            self._restart(1)
            return True
        if self.direction > 0 and self._backward_steps >= _TURNS_AFTER:
            self._restart(-1)
            return True
        return False

    def seek(self, index: int, direction: int) -> None:
        """
        Go to a frame, whatever was asked for before.

        Args:
            index: the frame.
            direction: of play from there, 1 or -1.
        """
        self.at = index
        self._restart(direction)

    def set_full_window(self, window: int) -> bool:
        """Prefetch another number of frames in steady play. Returns whether more are to be fetched now."""
        is_full = self.window == self.full_window
        grows = window > self.full_window and is_full
        self.full_window = window
        if grows or window < self.window:
            self.window = window
        return grows

    def grow(self, *, at_once: bool) -> None:
        """Widen the window, since the frames ahead are being played; `at_once` where each read has its price."""
        self.window = self.full_window if at_once else min(self.full_window, 2 * self.window)

    def ahead(self, n_frames: int, *, after: int | None = None) -> range:
        """
        The frames to have ready, nearest first.

        Args:
            n_frames: frames in the stream.
            after: the furthest frame that is planned for already; the range begins behind it.
        """
        if self.at is None:
            return range(0)
        if self.direction > 0:
            first = self.at + 1 if after is None else max(self.at, after) + 1
            return range(max(first, 0), min(self.at + self.window + 1, n_frames))
        first = self.at - 1 if after is None else min(self.at, after) - 1
        return range(min(first, n_frames - 1), max(self.at - self.window - 1, -1), -1)

    def reach(self, n_frames: int) -> range:
        """The frames that are to be ready in steady play."""
        if self.at is None:
            return range(0)
        if self.direction > 0:
            return range(self.at, min(self.at + self.full_window + 1, n_frames))
        return range(max(self.at - self.full_window, 0), min(self.at + 1, n_frames))

    def distance_to(self, index: int) -> int:
        """Frames from the head to `index`, in the direction of play; negative behind it."""
        return 0 if self.at is None else (index - self.at) * self.direction

    def _restart(self, direction: int) -> None:
        self.direction = direction
        self.window = min(self.full_window, _FIRST_WINDOW)
        self._backward_steps = 0
