"""
Handles: the numbers that C hosts hold as pointers. A number is looked up, never dereferenced, and never used twice.
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
"""Distance between handles: a handle looks like a pointer, and a modified handle is invalid."""


class Handles:
    """The existing players, by handle."""

    def __init__(self, make: Callable[[], Player] = Player) -> None:
        self._make = make
        self._players: dict[int, Player] = {}
        self._numbers = itertools.count(_FIRST, _STEP)
        self._lock = threading.Lock()

    def create(self) -> int:
        """Create a player and return its handle."""
        player = self._make()
        with self._lock:
            handle = next(self._numbers)
            self._players[handle] = player
        return handle

    def find(self, handle: int) -> Player | None:
        """Return the player of a handle. None if the handle is destroyed or was never created."""
        return self._players.get(handle)

    def destroy(self, handle: int) -> None:
        """Close the player of a handle, if there is one."""
        with self._lock:
            player = self._players.pop(handle, None)
        if player is not None:
            player.close()

    def destroy_all(self, patience: float) -> None:
        """
        Close all players in parallel, at exit. Also wait for the threads of players that are already being closed.

        Args:
            patience: seconds to wait for all of them together. A thread in the middle of an enormous frame takes
                longer, and ends with the process.
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
    Return whether a thread belongs to the library and can be waited for.

    Three kinds cannot: threads that look up a host name, which may hang in the system, threads that are just being
    started, and the calling thread.
    """
    return (
        thread.name.startswith("alphastream-")
        and thread.name != "alphastream-call"
        and thread.is_alive()
        and thread is not threading.current_thread()
    )
