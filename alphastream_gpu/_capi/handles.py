"""
Handles: numbers that C hosts hold as pointers. They are looked up, never followed, and no number is used twice.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Final

from .._runtime.workers import join
from .player import Player

__all__ = ["Handles"]

_FIRST: Final = 0x10000
_STEP: Final = 0x10
"""So that a handle looks like a pointer, and one that was tampered with is none."""


class Handles:
    """The players that there are."""

    def __init__(self, make: Callable[[], Player] = Player) -> None:
        self._make = make
        self._players: dict[int, Player] = {}
        self._numbers = itertools.count(_FIRST, _STEP)
        self._lock = threading.Lock()

    def create(self) -> int:
        """A new player's handle."""
        player = self._make()
        with self._lock:
            handle = next(self._numbers)
            self._players[handle] = player
        return handle

    def find(self, handle: int) -> Player | None:
        """The player of a handle; None if it is destroyed, or never was one."""
        return self._players.get(handle)

    def destroy(self, handle: int) -> None:
        """Close a player, if there is one."""
        with self._lock:
            player = self._players.pop(handle, None)
        if player is not None:
            player.close()

    def destroy_all(self, patience: float) -> None:
        """
        Close all, side by side, as at exit, and wait for the threads of those that are being closed already, too.

        Args:
            patience: seconds to wait for them in all. One that is in the middle of an enormous frame would take longer;
                the process ends with it.
        """
        deadline = time.monotonic() + patience
        with self._lock:
            players = list(self._players.values())
            self._players.clear()
        closing = [threading.Thread(target=player.close, daemon=True) for player in players]
        for thread in closing:
            thread.start()
        join([*closing, *filter(_will_end, threading.enumerate())], deadline)


def _will_end(thread: threading.Thread) -> bool:
    """
    Whether it is the library's and can be waited for: not one that looks a name up, which may hang in the system, nor
    one that is just being started, nor the one that asks.
    """
    return (
        thread.name.startswith("alphastream-")
        and thread.name != "alphastream-call"
        and thread.is_alive()
        and thread is not threading.current_thread()
    )
