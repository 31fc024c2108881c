"""
Requests: the frames and ranges of a stream that a C host has asked for without waiting.

Strategy
--------
A host that polls may stop at any time, and may never cancel what it asked for. So the number of frames is bounded: a
frame that was handed out makes room for another one, and so does a frame that was not polled for a second. If there is
neither, a new frame is refused. Rejected: dropping the frame that was polled the longest time ago. A host that polls
one frame too many in turn would then lose each frame just before it asks again, and would never get one.

There is no callback. It would run code of the host on a thread of the library, and a host would have to know what that
code may do there. A poll does not wait.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from typing import Final

import numpy as np
import numpy.typing as npt

from .._exceptions import FrameTimeoutError, NotReadyError
from .._stream.stream import AlphaStream
from .states import FrameState

__all__ = ["MAX_FRAMES", "MAX_MASK_BYTES", "MAX_RANGES", "Requests"]

Mask = npt.NDArray[np.uint8]

MAX_FRAMES: Final = 16
"""Frames that are polled at a time."""
MAX_MASK_BYTES: Final = 1 << 29
"""Bytes of their masks: 512 MiB. With larger masks there are fewer frames, but at least two."""
MAX_RANGES: Final = 64
"""Ranges that are fetched in advance, with those whose end is remembered."""
_FEWEST_FRAMES: Final = 2
_FORGOTTEN_SECONDS: Final = 1.0
"""A frame that was not polled for so long makes room for another one."""
_STATES: Final = {
    "missing": FrameState.MISSING,
    "coming": FrameState.COMING,
    "fetched": FrameState.FETCHED,
    "ready": FrameState.READY,
    "failed": FrameState.FAILED,
}


class _Polled:
    """A frame that a host polls."""

    __slots__ = ("is_delivered", "mask", "polled_at")

    def __init__(self, mask: Future[Mask]) -> None:
        self.mask = mask
        self.polled_at = 0.0
        """By ``time.monotonic``."""
        self.is_delivered = False
        """Whether the host was given the mask."""

    def is_done(self) -> bool:
        """Whether there is a mask or an error. False after cancelling."""
        return self.mask.done() and not self.mask.cancelled()


class Requests:
    """
    An open stream with the frames and ranges that its host asked for. Any thread may call. No call waits.

    Args:
        stream: the stream. The caller closes it, which ends everything here.
        size: ``(width, height)`` of the masks.
    """

    def __init__(self, stream: AlphaStream, size: tuple[int, int]) -> None:
        self.stream = stream
        self.size = size
        self._most = max(_FEWEST_FRAMES, min(MAX_FRAMES, MAX_MASK_BYTES // (size[0] * size[1])))
        self._lock = threading.Lock()
        """Held only briefly. Nothing that takes it is called while a lock of the stream is held."""
        self._frames: OrderedDict[int, _Polled] = OrderedDict()
        """By index, in the order of asking."""
        self._ranges: OrderedDict[int, Future[int]] = OrderedDict()
        """By number, in the order of asking."""

    def poll(self, index: int) -> Mask:
        """
        Return a mask if it is ready; otherwise ask for it, if nobody has done that yet.

        Raises:
            FrameTimeoutError: it is coming; ask again.
            NotReadyError: too many frames are coming; ask again.
            FrameNotFoundError: outside the stream.
            DecodeError: the frame is malformed.
            TransportError: the source failed. The next call asks again.
            ClosedError: the stream is closed.
        """
        with self._lock:
            polled = self._frames.get(index)
            if polled is None or not polled.is_done():
                made = self.stream._made_mask(index, self.size)
                if made is not None:
                    if polled is not None:
                        polled.is_delivered = True
                    return made
            if polled is None:
                self._make_room()
                polled = self._frames[index] = _Polled(self.stream._request_mask(index, self.size))
            polled.polled_at = time.monotonic()
            if not polled.is_done():
                raise FrameTimeoutError(f"frame {index}: it is still coming; ask again", frame_index=index)
            error = polled.mask.exception()
            if error is not None:
                del self._frames[index]  # so that the next call asks again
                raise error
            polled.is_delivered = True
        return polled.mask.result()

    def ready(self, index: int) -> Mask | None:
        """The mask of a frame that was polled, if it is ready."""
        with self._lock:
            polled = self._frames.get(index)
            if polled is None or not polled.is_done() or polled.mask.exception() is not None:
                return None
            polled.is_delivered = True
        return polled.mask.result()

    def state(self, index: int) -> tuple[FrameState, BaseException | None]:
        """
        Return how far a mask is, and the reason if the last attempt failed. Changes nothing.

        Raises:
            FrameNotFoundError: outside the stream.
            ClosedError: the stream is closed.
        """
        readiness, failure = self.stream._readiness(index, self.size)
        with self._lock:
            polled = self._frames.get(index)
        if polled is None:
            return _STATES[readiness], failure
        if not polled.is_done():
            return FrameState.READY if readiness == "ready" else FrameState.COMING, None
        error = polled.mask.exception()
        return FrameState.READY if error is None else FrameState.FAILED, error

    def cancel(self, index: int) -> None:
        """
        Give up a frame that was polled, and drop its mask. It need not have been polled.

        Raises:
            FrameNotFoundError: outside the stream.
            ClosedError: the stream is closed.
        """
        self.stream._made_mask(index, self.size)  # refuses an index outside the stream
        with self._lock:
            polled = self._frames.pop(index, None)
        if polled is not None:
            polled.mask.cancel()

    def prefetch(self, start: int, stop: int, number: int) -> None:
        """
        Fetch a range of frames in advance.

        Args:
            start: first frame.
            stop: one past the last frame.
            number: names the range; a new one for each call.

        Raises:
            FrameNotFoundError: outside the stream.
            NotReadyError: too many ranges are being fetched.
            ClosedError: the stream is closed.
        """
        with self._lock:
            if len(self._ranges) >= MAX_RANGES:
                done = next((one for one, future in self._ranges.items() if future.done()), None)
                if done is None:
                    raise NotReadyError(
                        f"{MAX_RANGES} ranges are being fetched already; ask again when one is done, or end one with"
                        " CV_cancel_prefetch"
                    )
                del self._ranges[done]
            self._ranges[number] = self.stream.prefetch(start, stop)

    def range_state(self, number: int) -> tuple[FrameState, BaseException | None]:
        """Return how far a range is, and why it failed. MISSING if it was ended, or is forgotten."""
        with self._lock:
            future = self._ranges.get(number)
        if future is None or future.cancelled():
            return FrameState.MISSING, None
        if not future.done():
            return FrameState.COMING, None
        error = future.exception()
        return (FrameState.FETCHED, None) if error is None else (FrameState.FAILED, error)

    def cancel_range(self, number: int) -> None:
        """End the fetching of a range, if it is being fetched, and forget it."""
        with self._lock:
            future = self._ranges.pop(number, None)
        if future is not None:
            future.cancel()

    def _make_room(self) -> None:
        """Give up a frame if there are too many. The lock is held."""
        if len(self._frames) < self._most:
            return
        forgotten = time.monotonic() - _FORGOTTEN_SECONDS
        found = next((index for index, one in self._frames.items() if one.is_delivered), None)
        if found is None:
            found = next((index for index, one in self._frames.items() if one.polled_at < forgotten), None)
        if found is None:
            raise NotReadyError(
                f"{self._most} frames are coming already; ask again when one is ready, or give one up with"
                " CV_cancel_frame"
            )
        self._frames.pop(found).mask.cancel()
