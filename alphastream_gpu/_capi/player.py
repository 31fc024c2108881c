"""
Player: the state of a handle of the C library: a stream, the last error, and the memory that was handed out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from .._config import Config
from .._exceptions import (
    AlphaStreamError,
    ClosedError,
    DecodeError,
    ErrorCode,
    FrameTimeoutError,
    NotReadyError,
    PassphraseError,
)
from .._format.cipher import PASSPHRASE_VARIABLE, AsvrKey, KeyWords, LateKey, passphrase_of, said_in
from .._format.container import neither_plain_nor_opened
from .._geometry.size import check_size
from .._sources import SourceLike, is_http, with_http
from .._sources.base import resource_name_of
from .._stream.stats import LastError
from .._stream.stream import AlphaStream
from .._wording import said_in_c
from .options import Options
from .requests import Requests
from .states import FrameState, StreamState

__all__ = ["ENCRYPTED_SUFFIX", "Handout", "Player"]

Thing = TypeVar("Thing")

ENCRYPTED_SUFFIX: Final = ".asvr"
_TIME_BOX_MS: Final = 10.0
"""How long a call waits. The promised limit is 12 ms; the rest is for the wake-up and the return."""
_LONGEST_INIT_SECONDS: Final = 300.0
_MAX_READY_FRAMES: Final = 256
_MAX_READY_BYTES: Final = 1 << 29
"""Most bytes of masks made ahead: 512 MiB. Hosts ask for many masks without knowing the size of one."""
_FEWEST_READY_FRAMES: Final = 2
_MAX_CACHE_FRAMES: Final = 65536
_PREFETCH_FRAMES: Final = 120
_PAUSE_SECONDS: Final = 0.001
"""Pause between two checks for a frame that CV_init waits for. The time box is also a pause, but may be 0."""
_KEY_WORDS: Final = KeyWords(
    passphrase=f'the passphrase (not shown; {PASSPHRASE_VARIABLE}, or CV_set_option "passphrase")',
    scene_id="scene_id {} of CV_init",
    version="version {!r} of CV_init",
    resource_name='the name {!r} (of base_url, or CV_set_option "resource_name")',
    other_name='CV_set_option "resource_name"',
)
_NEEDS_PASSPHRASE: Final = (
    f'its owner\'s passphrase (64 hex digits, in {PASSPHRASE_VARIABLE} or CV_set_option "passphrase")'
)
_NEEDS_VERSION: Final = "the version that it was made for (CV_init's version is null)"
_STATES: Final = {
    "opening": StreamState.OPENING,
    "buffering": StreamState.BUFFERING,
    "playing": StreamState.PLAYING,
    "stalled": StreamState.STALLED,
    "ended": StreamState.ENDED,
    "failed": StreamState.FAILED,
    "closed": StreamState.FAILED,
}
_INTERNAL: Final = "internal error, please report it: "


class Handout(Generic[Thing]):
    """
    Keeps the last object that each thread was given, until the thread's next one, or until the thread or player ends.

    A result is valid "until the next call". If threads share a handle, a call on one thread must not invalidate another
    thread's result. So each thread has its own last object. cffi keeps a host thread's Python state, including
    thread-local data, from the thread's first call to its end.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def give(self, thing: Thing) -> Thing:
        """Keep an object for this thread in place of the last one, and return it."""
        self._local.thing = thing
        return thing


class Player:
    """
    One handle. Any thread may call any method. No method raises.
    """

    def __init__(self) -> None:
        self._requests: Requests | None = None
        """The stream, and what the host asked of it."""
        self._has_failed = False
        """Whether the last :meth:`init` failed."""
        self._error: LastError | None = None
        self._own = threading.local()
        self._opening = threading.Lock()
        """Held during :meth:`init`."""
        self._lock = threading.Lock()
        """Guards the three attributes below. Held only briefly."""
        self._coming: AlphaStream | None = None
        """The stream that :meth:`init` opens and prefetches. :meth:`close` closes it, which ends :meth:`init`."""
        self._is_destroyed = False
        self._options = Options()
        self._masks: Handout[npt.NDArray[np.uint8]] = Handout()
        self._polled: Handout[npt.NDArray[np.uint8]] = Handout()
        self._strips: Handout[npt.NDArray[np.float32]] = Handout()
        self._last_range = 0
        """The number of the last range that was to be fetched in advance, of all streams."""
        self.texts: Handout[Any] = Handout()
        """C strings of error texts."""

    @property
    def error(self) -> LastError | None:
        """
        The error of this thread's last call; None after success. A thread that has made no call sees the error of the
        last call on any thread.

        The error is kept per thread, because another thread's call must not explain a null that this thread got.
        """
        error: LastError | None = getattr(self._own, "error", self._error)
        return error

    def _note(self, error: LastError | None) -> None:
        self._error = self._own.error = error

    @property
    def n_frames(self) -> int:
        """Number of frames of the stream; 0 without a stream."""
        requests = self._requests
        return 0 if requests is None else requests.stream.metadata.frame_count

    @property
    def frame_size(self) -> int:
        """Bytes of a mask; 0 without a stream."""
        requests = self._requests
        return 0 if requests is None else requests.size[0] * requests.size[1]

    def set_option(self, name: str, value: str) -> bool:
        """Set an option for the next :meth:`init`. If False, :attr:`error` has the reason."""
        try:
            with self._lock:
                self._options.set(name, value)
        except Exception as exc:
            return self._fail(exc)
        self._note(None)
        return True

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
        Open a stream in place of the last one. Times are in seconds. Only one call at a time opens; another one waits,
        within its own time.

        Returns:
            Whether the stream can be played. If not, :attr:`error` has the reason.
        """
        with self._lock:
            options = self._options.copy()
        init_timeout = options.config.get("init_timeout", min(init_timeout, _LONGEST_INIT_SECONDS))
        deadline = time.monotonic() + init_timeout
        if not self._opening.acquire(timeout=init_timeout):
            return self._fail(FrameTimeoutError("another CV_init of this handle is in progress; wait until it returns"))
        try:
            self._leave_stream()
            size = check_size("width, height", size)
            key = LateKey(lambda head: _key(head, url, scene_id, version, options, environ))
            left = deadline - time.monotonic()
            config = _config(ready_frames, cache_frames, init_frames, left, data_timeout, size, options.config)
            stream = self._open(url, key, config, options.headers)
            try:
                n_frames = stream.metadata.frame_count
                self._prefetch(stream, range(start_frame, min(start_frame + init_frames, n_frames)), deadline, size)
                with self._lock:
                    self._refuse_destroyed()
                    self._requests = Requests(stream, size)
            except BaseException:
                stream.close()
                raise
        except Exception as exc:
            self._has_failed = True
            return self._fail(exc)
        finally:
            self._coming = None
            self._opening.release()
        self._note(None)
        return True

    def _open(self, url: str, key: AsvrKey, config: Config, headers: Mapping[str, str]) -> AlphaStream:
        stream = AlphaStream(config=config)
        try:
            with self._lock:
                self._coming = stream
                self._refuse_destroyed()
            stream.load_source(_source(url, config, headers), key=key)
        except BaseException:
            stream.close()
            raise
        return stream

    def _refuse_destroyed(self) -> None:
        if self._is_destroyed:
            raise ClosedError("the handle is destroyed")

    def frame(self, index: int) -> npt.NDArray[np.uint8] | None:
        """Return a mask, which stays alive until this thread's next call. If None, :attr:`error` has the reason."""
        try:
            requests = self._playing()
            mask = requests.stream._mask(index, requests.size, requests.ready(index))
        except Exception as exc:
            self._fail(exc, index)
            return None
        self._note(None)
        return self._masks.give(mask)

    def strip(self, index: int) -> npt.NDArray[np.float32] | None:
        """Return a cover strip, which stays alive like a mask."""
        try:
            strip = self._playing().stream.get_triangle_strip_vertices(index)
        except Exception as exc:
            self._fail(exc, index)
            return None
        self._note(None)
        return self._strips.give(strip)

    def poll(self, index: int) -> npt.NDArray[np.uint8] | None:
        """Return a mask that is ready, which stays alive until this thread's next call. Never waits. If None,
        :attr:`error` has the reason, and the mask may be coming."""
        try:
            mask = self._playing().poll(index)
        except Exception as exc:
            self._fail(exc, index)
            return None
        self._note(None)
        return self._polled.give(mask)

    def frame_state(self, index: int) -> FrameState:
        """Return how far a mask is. If FAILED, :attr:`error` has the reason."""
        try:
            state, error = self._playing().state(index)
        except Exception as exc:
            state, error = FrameState.FAILED, exc
        self._conclude(error, index)
        return state

    def cancel(self, index: int) -> bool:
        """Give up a frame that was polled. If False, :attr:`error` has the reason."""
        try:
            self._playing().cancel(index)
        except Exception as exc:
            return self._fail(exc, index)
        self._note(None)
        return True

    @property
    def state(self) -> StreamState:
        """What the handle is doing."""
        requests = self._requests
        if requests is None:
            if self._opening.locked():
                return StreamState.OPENING
            return StreamState.FAILED if self._has_failed else StreamState.NONE
        return _STATES[requests.stream.state]

    @property
    def buffered_seconds(self) -> float:
        """Seconds of play that are here, from the play head on."""
        requests = self._requests
        return 0.0 if requests is None else requests.stream.buffered_seconds

    def buffered(self) -> tuple[tuple[int, int], ...]:
        """Return the ranges of frames that are here. Empty after an error, which is in :attr:`error`."""
        try:
            ranges = self._playing().stream.buffered()
        except Exception as exc:
            self._fail(exc)
            return ()
        self._note(None)
        return ranges

    def seek(self, index: int, *, reverse: bool) -> bool:
        """Move the play head. If False, :attr:`error` has the reason."""
        try:
            self._playing().stream.seek(index, reverse=reverse)
        except Exception as exc:
            return self._fail(exc, index)
        self._note(None)
        return True

    def prefetch(self, start: int, stop: int) -> int:
        """Fetch a range in advance, and return its number. If 0, :attr:`error` has the reason."""
        try:
            requests = self._playing()
            if start > stop:
                raise ValueError(f"start, stop: expected start <= stop, found {start} and {stop}")
            with self._lock:
                number = self._last_range + 1
                requests.prefetch(start, stop, number)
                self._last_range = number
        except Exception as exc:
            self._fail(exc)
            return 0
        self._note(None)
        return number

    def range_state(self, number: int) -> FrameState:
        """Return how far a range is. If FAILED, :attr:`error` has the reason."""
        state, error = FrameState.FAILED, None
        try:
            self._check_range(number)
            requests = self._requests
            state, error = (FrameState.MISSING, None) if requests is None else requests.range_state(number)
        except Exception as exc:
            error = exc
        self._conclude(error)
        return state

    def cancel_range(self, number: int) -> bool:
        """End the fetching of a range. If False, :attr:`error` has the reason."""
        try:
            self._check_range(number)
            requests = self._requests
            if requests is not None:
                requests.cancel_range(number)
        except Exception as exc:
            return self._fail(exc)
        self._note(None)
        return True

    def _check_range(self, number: int) -> None:
        if not 0 < number <= self._last_range:
            raise ValueError(f"prefetch_id: expected a number that CV_prefetch returned, found {number}")

    def _conclude(self, error: BaseException | None, index: int | None = None) -> None:
        if error is None:
            self._note(None)
        else:
            self._fail(error, index)

    def refuse(self, reason: str) -> None:
        """Record the error of a call that could not be made."""
        self._note(LastError(ErrorCode.INVALID, reason, None))

    def refuse_init(self, reason: str) -> bool:
        """Refuse a CV_init with invalid arguments; always False. Like every failed CV_init, it ends the last stream."""
        if self._opening.acquire(blocking=False):  # otherwise another CV_init ends it
            self._leave_stream()
            self._has_failed = True
            self._opening.release()
        self.refuse(reason)
        return False

    def close(self) -> None:
        """End the stream, and a CV_init in progress."""
        with self._lock:
            self._is_destroyed = True
            coming = self._coming
        if coming is not None:
            coming.close()
        with self._opening:  # a CV_init in progress is about to return
            requests, self._requests = self._requests, None
        if requests is not None:
            requests.stream.close()

    def _leave_stream(self) -> None:
        """End the last stream without waiting for a frame that it may be rasterizing."""
        requests, self._requests = self._requests, None
        if requests is not None:
            stream = requests.stream
            try:
                threading.Thread(target=stream.close, name="alphastream-leaving", daemon=True).start()
            except RuntimeError:  # the system has no thread left
                stream.close()

    def _playing(self) -> Requests:
        requests = self._requests
        if requests is None:
            raise NotReadyError("nothing is loaded; call CV_init first, and check its error")
        return requests

    @staticmethod
    def _prefetch(stream: AlphaStream, frames: range, deadline: float, size: tuple[int, int]) -> None:
        """Wait for the first frames while there is time. A frame's error is reported when the frame is asked for."""
        for index in frames:
            while stream.get_geometry(index) is None and time.monotonic() < deadline:
                error = stream.last_error()  # no other thread has the stream yet
                if error is None or error.code not in (ErrorCode.TIMEOUT, ErrorCode.NOT_READY):
                    break
                time.sleep(_PAUSE_SECONDS)
            if time.monotonic() >= deadline:
                break
        if frames:
            stream.get_frame(frames.start, *size)  # moves the play head back, and starts masks ahead

    def _fail(self, exc: BaseException, index: int | None = None) -> bool:
        code = ErrorCode(exc.code) if isinstance(exc, AlphaStreamError) else ErrorCode.INVALID
        text = str(exc)
        if not isinstance(exc, (AlphaStreamError, ValueError, TypeError)):
            text = f"{_INTERNAL}{type(exc).__name__}: {exc}"
        self._note(LastError(code, said_in_c(text), index))
        return False


def _source(url: str, config: Config, headers: Mapping[str, str]) -> SourceLike:
    """Return what to open. Headers apply only to http, so a host may set them whatever it opens next."""
    return with_http(url, config, headers=headers, client=None) if headers and is_http(url) else url


def _key(
    head: bytes, url: str, scene_id: int, version: str | None, options: Options, environ: Mapping[str, str]
) -> AsvrKey:
    """Return the key of a stream that is not plain, from the host's settings."""
    text = environ.get(PASSPHRASE_VARIABLE, "")
    passphrase = options.passphrase
    if passphrase is None and text.strip():
        passphrase = passphrase_of(text, PASSPHRASE_VARIABLE)
    if passphrase is not None and version is not None:
        key = AsvrKey(passphrase, scene_id=scene_id, version=version, resource_name=options.resource_name)
        return said_in(_KEY_WORDS, key)
    need = _NEEDS_PASSPHRASE if passphrase is None else _NEEDS_VERSION
    is_meant = resource_name_of(url).lower().endswith(ENCRYPTED_SUFFIX) or bool(
        options.passphrase or options.resource_name
    )
    if not is_meant:  # the host did not expect an encrypted stream: the file may be anything
        raise DecodeError(neither_plain_nor_opened(head, need))
    raise (PassphraseError if passphrase is None else ValueError)(f"an encrypted stream needs {need}")


def _config(
    ready_frames: int,
    cache_frames: int,
    init_frames: int,
    init_timeout: float,
    data_timeout: float,
    size: tuple[int, int],
    options: Mapping[str, Any],
) -> Config:
    """
    Build the options from a host's numbers, each clamped to its range: hosts pass 0 for "none" and large numbers for
    "much". An option that CV_set_option has set, and checked, replaces the argument.
    """
    ready_frames, cache_frames = options.get("ready_frames", ready_frames), options.get("cache_frames", cache_frames)
    most_ready = max(_FEWEST_READY_FRAMES, _MAX_READY_BYTES // (size[0] * size[1]))
    cache_frames = min(max(cache_frames, init_frames, 1), _MAX_CACHE_FRAMES)
    from_arguments = {
        "http_timeout": min(max(data_timeout, 1.0), 300.0),
        "http_deadline": min(max(data_timeout, 1.0), 3600.0),
        "get_frame_timebox": _TIME_BOX_MS,
    }
    bounded = {
        "ready_frames": min(ready_frames, _MAX_READY_FRAMES, most_ready),
        "cache_frames": cache_frames,
        "prefetch_frames": min(options.get("prefetch_frames", max(_PREFETCH_FRAMES, init_frames)), cache_frames),
        "init_timeout": max(init_timeout, 0.1),
    }
    return Config(**{**from_arguments, **options, **bounded})
