"""
Answers: records the results of a stream's real-time calls: the last error of each thread, counters, and the log of
stalls.
"""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Final

from .._exceptions import AlphaStreamError, ClosedError, ErrorCode, FrameTimeoutError, TransportError
from .._runtime.calls import held
from .lifetime import Lifetime
from .products import TimeBoxEndedError
from .stats import LastError

__all__ = ["Answer", "Answers"]

_STALL_SECONDS: Final = 0.25
"""How long calls must find no frame until that is logged as a stall. Each seek over a network finds none for some
pictures."""
_logger = logging.getLogger("alphastream_gpu")


class Answers:
    """
    What the real-time calls of a stream found. Any thread may call.

    Args:
        lifetime: of the stream.
        timebox: milliseconds that a call may wait.
    """

    def __init__(self, lifetime: Lifetime, timebox: float) -> None:
        self._lifetime = lifetime
        self._timebox = timebox
        self._own = threading.local()
        """``error``: the last error of each thread, for as long as the thread lives."""
        self._stalled_since: float | None = None
        """When the first of the calls that found no frame was made, up to now without one that did."""
        self._stalled_in: int | None = None
        """The serial number of the session that they asked."""
        self._has_told_stall = False

    def of(self, index: int) -> Answer:
        """The answer of one call, which begins now. A context manager around the call."""
        return Answer(self, index, time.monotonic() + self._timebox / 1000)

    def last_error(self) -> LastError | None:
        """The error of the calling thread's last call; None if there was none."""
        error: LastError | None = getattr(self._own, "error", None)
        return error

    def clear_error(self) -> None:
        """Forget the calling thread's last error."""
        self._own.error = None

    def succeed(self, index: int) -> None:
        """A call found its frame."""
        self._own.error = None
        if self._stalled_since is not None:
            self._recovered(index)

    def fail(self, error: AlphaStreamError, index: int) -> None:
        """A call found nothing."""
        if isinstance(error, FrameTimeoutError | TransportError):
            self._stalled(error, index)
        with held(self._lifetime.lock):
            self._lifetime.counters["timeouts" if isinstance(error, TimeBoxEndedError) else "failed"] += 1
            self._own.error = LastError(ErrorCode(error.code), str(error), index)

    def _stalled(self, error: AlphaStreamError, index: int) -> None:
        """A call found no frame. That is logged once, if there was none for some pictures."""
        now, since, serial = time.monotonic(), self._stalled_since, self._serial()
        if since is None or serial != self._stalled_in:
            self._stalled_since, self._stalled_in, self._has_told_stall = now, serial, False
        elif not self._has_told_stall and now - since > _STALL_SECONDS:
            self._has_told_stall = True
            self._log("stalled at frame %d for %.2f s: %s", index, now - since, error)

    def _recovered(self, index: int) -> None:
        since, self._stalled_since = self._stalled_since, None
        serial, self._stalled_in = self._stalled_in, None
        if self._has_told_stall and since is not None and serial == self._serial():
            self._has_told_stall = False
            self._log("recovered at frame %d after %.2f s", index, time.monotonic() - since)

    def _serial(self) -> int | None:
        session = self._lifetime.session
        return None if session is None else session.serial

    def _log(self, text: str, *values: object) -> None:
        """On the loop: a handler of the host's may take long, or call this library."""
        if _logger.isEnabledFor(logging.INFO):
            self._lifetime.loop.call_soon(_logger.info, text, *values)


class Answer:
    """
    One real-time call: until when it may wait. Its outcome goes to :class:`Answers`.

    It holds nothing that an interrupt between two of its lines could leave held.

    Args:
        answers: of the stream.
        index: the frame.
        deadline: by ``time.monotonic``, when the time box ends.
    """

    __slots__ = ("_answers", "_index", "deadline")

    def __init__(self, answers: Answers, index: int, deadline: float) -> None:
        self.deadline = deadline
        self._answers = answers
        self._index = index

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if exc is None:
            self._answers.succeed(self._index)
        elif isinstance(exc, AlphaStreamError) and not isinstance(exc, ClosedError):
            self._answers.fail(exc, self._index)
