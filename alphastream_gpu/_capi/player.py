"""
Player: what a handle of the C library stands for. A stream, its last outcome, and what was handed out.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from .._cipher import AsvrKey
from .._config import Config
from .._exceptions import AlphaStreamError, ErrorCode, NotReadyError
from .._open import open as open_stream
from .._raster.coverage import check_size
from .._sources._base import resource_name_of
from .._stats import LastError
from .._stream import AlphaStream

__all__ = ["ENCRYPTED_SUFFIX", "Handout", "Player"]

Thing = TypeVar("Thing")

ENCRYPTED_SUFFIX: Final = ".asvr"
_MAX_THREADS: Final = 16
"""Threads of which each keeps what it was given last; a handle is one player's, which has few."""
_MAX_READY_FRAMES: Final = 256
_MAX_READY_BYTES: Final = 1 << 29
"""Masks made ahead take at most 512 MiB: hosts ask for many, not knowing what one takes."""
_FEWEST_READY_FRAMES: Final = 2
_MAX_CACHE_FRAMES: Final = 65536
_PREFETCH_FRAMES: Final = 120
_INTERNAL: Final = "internal error, please report it: "


class Handout(Generic[Thing]):
    """
    The last thing that each thread was given, kept alive until its next.

    The promise is "until the next call"; a host that shares a handle between threads would break it for one by the
    other's call. So it is kept for each.
    """

    def __init__(self) -> None:
        self._things: OrderedDict[int, Thing] = OrderedDict()
        self._lock = threading.Lock()

    def give(self, thing: Thing) -> Thing:
        """Keep it for this thread in the place of the last one."""
        with self._lock:
            self._things[threading.get_ident()] = thing
            self._things.move_to_end(threading.get_ident())
            while len(self._things) > _MAX_THREADS:
                self._things.popitem(last=False)
        return thing


class Player:
    """
    One handle. All methods may be called from any thread; none raises.
    """

    def __init__(self) -> None:
        self._stream: AlphaStream | None = None
        self._size = (0, 0)
        self._error: LastError | None = None
        self._opening = threading.Lock()
        self._is_destroyed = False
        self._masks: Handout[npt.NDArray[np.uint8]] = Handout()
        self._strips: Handout[npt.NDArray[np.float32]] = Handout()
        self.texts: Handout[Any] = Handout()
        """C strings of error texts."""

    @property
    def error(self) -> LastError | None:
        """The last call's outcome; None after success."""
        return self._error

    @property
    def n_frames(self) -> int:
        """Frames of the stream, 0 without one."""
        stream = self._stream
        return 0 if stream is None else stream.metadata.frame_count

    @property
    def frame_size(self) -> int:
        """Bytes of a mask, 0 without a stream."""
        return 0 if self._stream is None else self._size[0] * self._size[1]

    def init(
        self,
        url: str,
        *,
        scene_id: int,
        size: tuple[int, int],
        version: str | None,
        start_frame: int,
        ready_frames: int,
        cache_frames: int,
        init_frames: int,
        init_timeout: float,
        data_timeout: float,
        environ: Mapping[str, str],
    ) -> bool:
        """
        Open a stream in the place of the last one; times in seconds.

        Returns:
            Whether it can be played. :attr:`error` says why not.
        """
        with self._opening:
            deadline = time.monotonic() + init_timeout
            self._close_stream()
            try:
                if self._is_destroyed:
                    raise NotReadyError("the handle is destroyed")
                size = check_size("width, height", size)
                key = None
                if resource_name_of(url).lower().endswith(ENCRYPTED_SUFFIX):
                    if version is None:
                        raise ValueError("version: expected text, found null; an .asvr needs the one it was made for")
                    key = AsvrKey.from_environment(scene_id=scene_id, version=version, environ=environ)
                config = _config(ready_frames, cache_frames, init_frames, init_timeout, data_timeout, size)
                stream = open_stream(url, key=key, config=config)
            except Exception as exc:
                return self._fail(exc)
            self._size = size
            self._stream = stream
            self._error = None
            self._prefetch(stream, range(start_frame, min(start_frame + init_frames, self.n_frames)), deadline)
            return True

    def frame(self, index: int) -> npt.NDArray[np.uint8] | None:
        """A mask, which stays alive until this thread's next call; None: see :attr:`error`."""
        try:
            stream = self._playing()
            mask = stream.get_frame(index, *self._size)
            self._error = None if mask is not None else self._why(stream, index)
        except Exception as exc:
            self._fail(exc, index)
            return None
        return None if mask is None else self._masks.give(mask)

    def strip(self, index: int) -> npt.NDArray[np.float32] | None:
        """A cover strip, likewise."""
        try:
            strip = self._playing().get_triangle_strip_vertices(index)
            self._error = None
        except Exception as exc:
            self._fail(exc, index)
            return None
        return self._strips.give(strip)

    def refuse(self, reason: str) -> None:
        """Note a call that could not be made."""
        self._error = LastError(ErrorCode.INVALID, reason, None)

    def close(self) -> None:
        """End it; waits for a CV_init that is going on."""
        self._is_destroyed = True
        with self._opening:
            self._close_stream()

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _playing(self) -> AlphaStream:
        stream = self._stream
        if stream is None:
            raise NotReadyError("nothing is loaded; call CV_init first, and see what it said")
        return stream

    def _prefetch(self, stream: AlphaStream, frames: range, deadline: float) -> None:
        """Wait for the first frames, as long as there is time; what goes wrong with one is told when it is asked
        for."""
        for index in frames:
            while stream.get_geometry(index) is None and time.monotonic() < deadline:
                if self._why(stream, index).code not in (ErrorCode.TIMEOUT, ErrorCode.NOT_READY):
                    break
            if time.monotonic() >= deadline:
                break
        if frames:
            stream.get_frame(frames.start, *self._size)  # the play head back to the start, and masks ahead of it

    @staticmethod
    def _why(stream: AlphaStream, index: int) -> LastError:
        # Another thread's success may have cleared it in between.
        return stream.last_error() or LastError(ErrorCode.TIMEOUT, f"frame {index}: ask again", index)

    def _fail(self, exc: Exception, index: int | None = None) -> bool:
        if isinstance(exc, AlphaStreamError):
            self._error = LastError(ErrorCode(exc.code), str(exc), index)
        elif isinstance(exc, (ValueError, TypeError)):
            self._error = LastError(ErrorCode.INVALID, str(exc), index)
        else:
            self._error = LastError(ErrorCode.INVALID, f"{_INTERNAL}{type(exc).__name__}: {exc}", index)
        return False


def _config(
    ready_frames: int,
    cache_frames: int,
    init_frames: int,
    init_timeout: float,
    data_timeout: float,
    size: tuple[int, int],
) -> Config:
    """Options from a host's numbers, each brought into its range: hosts pass 0 for "none" and much for "much"."""
    most_ready = max(_FEWEST_READY_FRAMES, _MAX_READY_BYTES // (size[0] * size[1]))
    cache_frames = min(max(cache_frames, init_frames, 1), _MAX_CACHE_FRAMES)
    return Config(
        ready_frames=min(ready_frames, _MAX_READY_FRAMES, most_ready),
        cache_frames=cache_frames,
        prefetch_frames=min(max(_PREFETCH_FRAMES, init_frames), cache_frames),
        init_timeout=min(max(init_timeout, 0.1), 300.0),
        http_timeout=min(max(data_timeout, 1.0), 300.0),
        http_deadline=min(max(data_timeout, 1.0), 3600.0),
    )
