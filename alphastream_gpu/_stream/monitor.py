"""
Monitor: the state of a stream, computed when it is asked for, and published when it changes.

Nothing is computed for a frame that is played from the cache. The state can only change when the play head comes to a
frame that is not here, when frames come in or fail, when a time has passed, at the ends of the stream, and while it is
another than playing. Sessions call :meth:`Monitor.look` then, on the loop, and only if somebody listens.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from typing import TYPE_CHECKING, NamedTuple

from .._exceptions import AlphaStreamError, ErrorCode
from .events import Listener, StreamEvent, StreamState
from .planner import Head
from .session import Session
from .stats import LastError

if TYPE_CHECKING:
    from .lifetime import Lifetime

__all__ = ["Monitor", "error_of"]


class _Found(NamedTuple):
    """The state of a session."""

    state: StreamState
    at: int | None
    """Where the play head is."""
    error: AlphaStreamError | None = None
    late_at: float | None = None
    """When the frame that is missing will be late, by ``time.monotonic``."""


class Monitor:
    """
    The state of one stream, and its listeners.

    Args:
        lifetime: of the stream.
        timebox: milliseconds that a call may wait.
    """

    def __init__(self, lifetime: Lifetime, timebox: float) -> None:
        self._lifetime = lifetime
        self._timebox = timebox / 1000
        self._listeners: set[Listener] = set()
        self._iterators: weakref.WeakSet[Listener] = weakref.WeakSet()
        """Those that nobody may end: an iterator that is dropped is gone from here."""
        self._last: StreamState | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.failure: AlphaStreamError | None = None
        """Why the last source could not be opened."""

    # From any thread.

    def state(self) -> StreamState:
        """The state now."""
        return self._found().state

    def is_stalled(self, session: Session, key: object) -> bool:
        """Whether the frame of a play head is missing, and its last attempt failed or is late."""
        with session.lock:
            head = session.planner.find(key)
            return head is not None and self._of_head(session, head).state == "stalled"

    # On the loop.

    def add(self, listener: Listener, *, is_iterator: bool) -> None:
        """Tell a listener the state, and its changes from now on."""
        self.look()  # so that the others are told the same
        found = self._found()
        self._last = found.state
        listener.put(self._event(found, None))
        if found.state != "closed":
            (self._iterators if is_iterator else self._listeners).add(listener)
            self.look()

    def remove(self, listener: Listener) -> None:
        """Tell a listener nothing more."""
        self._listeners.discard(listener)
        self._iterators.discard(listener)
        self._watch()

    def look(self) -> None:
        """Publish the state if it has changed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not (self._listeners or self._iterators):
            return
        found = self._found()
        if found.late_at is not None:
            wait = max(0.0, found.late_at - time.monotonic()) + 0.001
            self._timer = asyncio.get_running_loop().call_later(wait, self.look)
        if found.state == self._last:
            self._watch()
            return
        event = self._event(found, self._last)
        self._last = found.state
        self._watch()
        for listener in (*self._listeners, *self._iterators):
            listener.put(event)

    def end(self) -> None:
        """The stream is closed: say so for the last time."""
        self.look()
        self._listeners.clear()
        self._iterators.clear()

    def _watch(self) -> None:
        """Have the session say when its play head moves, if somebody listens."""
        session = self._lifetime.session
        if session is not None:
            is_on = bool(self._listeners or self._iterators)
            with session.lock:  # those who call on_moved look first whether it is None
                session.on_moved = self.look if is_on else None
                session.is_watched = is_on and self._last != "playing"

    def _found(self) -> _Found:
        lifetime = self._lifetime
        session = lifetime.session
        if lifetime.is_closed:
            return _Found("closed", None)
        if session is None:
            return _Found("opening", None) if self.failure is None else _Found("failed", None, self.failure)
        with session.lock:
            return self._of_head(session, session.head)

    def _of_head(self, session: Session, head: Head) -> _Found:
        """The state of a play head. The session's lock is held."""
        index = head.at
        if index is None:
            return _Found("buffering", None)
        is_here, _, error = session.status(index)
        if not is_here:
            if error is not None:
                return _Found("stalled", index, error)
            patience = self._timebox + (2 * session.planner.read_seconds if head.is_arriving else 0.0)
            late_at = head.missing_since + patience
            if head.missing != index:
                return _Found("buffering", index)
            if late_at > time.monotonic():
                return _Found("buffering", index, None, late_at)
            return _Found("stalled", index, session.reader.source.last_failure)
        if index == (session.n_frames - 1 if head.direction > 0 else 0):
            return _Found("ended", index)
        return _Found("playing", index)

    @staticmethod
    def _event(found: _Found, previous: StreamState | None) -> StreamEvent:
        error = None if found.error is None else error_of(found.error, found.at)
        return StreamEvent(found.state, previous, found.at, time.monotonic(), error)


def error_of(error: AlphaStreamError, index: int | None) -> LastError:
    """An error as it is shown to callers."""
    return LastError(ErrorCode(error.code), str(error), index)
