"""
Player: what a handle of the C library stands for. A stream, its last outcome, and what was handed out.
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
from .options import Options

__all__ = ["ENCRYPTED_SUFFIX", "Handout", "Player"]

Thing = TypeVar("Thing")

ENCRYPTED_SUFFIX: Final = ".asvr"
_TIME_BOX_MS: Final = 10.0
"""How long a call waits. Players are promised 12 ms; the rest is for being woken and for the way back."""
_LONGEST_INIT_SECONDS: Final = 300.0
_MAX_READY_FRAMES: Final = 256
_MAX_READY_BYTES: Final = 1 << 29
"""Masks made ahead take at most 512 MiB: hosts ask for many, not knowing what one takes."""
_FEWEST_READY_FRAMES: Final = 2
_MAX_CACHE_FRAMES: Final = 65536
_PREFETCH_FRAMES: Final = 120
_PAUSE_SECONDS: Final = 0.001
"""Between two looks for a frame that CV_init waits for: the time box, which is such a pause, may be 0."""
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
_SAID_IN_C: Final = (
    ("so read a pipe into memory and open the bytes", "so write what the pipe holds to a file first"),
    ("; use the mask or a parity strip", "; use the mask, CV_get_frame"),
    ("(whole_file_cap)", '(CV_set_option "http_whole_file_cap")'),
)
"""What errors advise Python's callers, and what a C host can do instead."""
_INTERNAL: Final = "internal error, please report it: "


class Handout(Generic[Thing]):
    """
    The last thing that each thread was given, kept alive until its next, or until the thread or the player ends.

    The promise is "until the next call"; a host that shares a handle between threads would break it for one by the
    other's call. So it is kept for each. cffi keeps a host thread's Python state, and with it what is local to the
    thread, from its first call to its end.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def give(self, thing: Thing) -> Thing:
        """Keep it for this thread in the place of the last one."""
        self._local.thing = thing
        return thing


class Player:
    """
    One handle. All methods may be called from any thread; none raises.
    """

    def __init__(self) -> None:
        self._stream: AlphaStream | None = None
        self._size = (0, 0)
        self._error: LastError | None = None
        self._own = threading.local()
        self._opening = threading.Lock()
        """Held during :meth:`init`."""
        self._lock = threading.Lock()
        """Guards the three below; held for moments."""
        self._coming: AlphaStream | None = None
        """What :meth:`init` opens and prefetches; whoever destroys the player closes it, which ends that."""
        self._is_destroyed = False
        self._options = Options()
        self._masks: Handout[npt.NDArray[np.uint8]] = Handout()
        self._strips: Handout[npt.NDArray[np.float32]] = Handout()
        self.texts: Handout[Any] = Handout()
        """C strings of error texts."""

    @property
    def error(self) -> LastError | None:
        """
        The outcome of this thread's last call, None after success: a null that it was given must not be explained by
        another thread's call. A thread that has made none sees the outcome of the last call.
        """
        error: LastError | None = getattr(self._own, "error", self._error)
        return error

    def _note(self, error: LastError | None) -> None:
        self._error = self._own.error = error

    @property
    def n_frames(self) -> int:
        """Frames of the stream, 0 without one."""
        stream = self._stream
        return 0 if stream is None else stream.metadata.frame_count

    @property
    def frame_size(self) -> int:
        """Bytes of a mask, 0 without a stream."""
        return 0 if self._stream is None else self._size[0] * self._size[1]

    def set_option(self, name: str, value: str) -> bool:
        """Set an option for the next :meth:`init`; False: see :attr:`error`."""
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
        Open a stream in the place of the last one; times in seconds. One opening at a time: another one waits, within
        its own time.

        Returns:
            Whether it can be played. :attr:`error` says why not.
        """
        with self._lock:
            options = self._options.copy()
        init_timeout = options.config.get("init_timeout", min(init_timeout, _LONGEST_INIT_SECONDS))
        deadline = time.monotonic() + init_timeout
        if not self._opening.acquire(timeout=init_timeout):
            return self._fail(FrameTimeoutError("another CV_init of this handle is going on; wait until it returned"))
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
                    self._size = size
                    self._stream = stream
            except BaseException:
                stream.close()
                raise
        except Exception as exc:
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
        """A mask, which stays alive until this thread's next call; None: see :attr:`error`."""
        try:
            mask = self._playing()._mask(index, self._size)
        except Exception as exc:
            self._fail(exc, index)
            return None
        self._note(None)
        return self._masks.give(mask)

    def strip(self, index: int) -> npt.NDArray[np.float32] | None:
        """A cover strip, likewise."""
        try:
            strip = self._playing().get_triangle_strip_vertices(index)
        except Exception as exc:
            self._fail(exc, index)
            return None
        self._note(None)
        return self._strips.give(strip)

    def refuse(self, reason: str) -> None:
        """Note a call that could not be made."""
        self._note(LastError(ErrorCode.INVALID, reason, None))

    def refuse_init(self, reason: str) -> bool:
        """A CV_init whose arguments are none ends the last stream, as every other one that fails; False."""
        if self._opening.acquire(blocking=False):  # else another CV_init is ending it
            self._leave_stream()
            self._opening.release()
        self.refuse(reason)
        return False

    def close(self) -> None:
        """End it, and a CV_init that is going on with it."""
        with self._lock:
            self._is_destroyed = True
            coming = self._coming
        if coming is not None:
            coming.close()
        with self._opening:  # which is about to return
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _leave_stream(self) -> None:
        """End the last stream, but do not wait for the frame that it may be rasterizing."""
        stream, self._stream = self._stream, None
        if stream is not None:
            try:
                threading.Thread(target=stream.close, name="alphastream-leaving", daemon=True).start()
            except RuntimeError:  # the system has no thread for it
                stream.close()

    def _playing(self) -> AlphaStream:
        stream = self._stream
        if stream is None:
            raise NotReadyError("nothing is loaded; call CV_init first, and see what it said")
        return stream

    @staticmethod
    def _prefetch(stream: AlphaStream, frames: range, deadline: float, size: tuple[int, int]) -> None:
        """Wait for the first frames, as long as there is time; what goes wrong with one is told when it is asked
        for."""
        for index in frames:
            while stream.get_geometry(index) is None and time.monotonic() < deadline:
                error = stream.last_error()  # only this thread has the stream yet
                if error is None or error.code not in (ErrorCode.TIMEOUT, ErrorCode.NOT_READY):
                    break
                time.sleep(_PAUSE_SECONDS)
            if time.monotonic() >= deadline:
                break
        if frames:
            stream.get_frame(frames.start, *size)  # the play head back to the start, and masks ahead of it

    def _fail(self, exc: Exception, index: int | None = None) -> bool:
        code = ErrorCode(exc.code) if isinstance(exc, AlphaStreamError) else ErrorCode.INVALID
        text = str(exc)
        if not isinstance(exc, (AlphaStreamError, ValueError, TypeError)):
            text = f"{_INTERNAL}{type(exc).__name__}: {exc}"
        for in_python, in_c in _SAID_IN_C:
            text = text.replace(in_python, in_c)
        self._note(LastError(code, text, index))
        return False


def _source(url: str, config: Config, headers: Mapping[str, str]) -> SourceLike:
    """What is opened; headers are for http alone, so a host may set them whatever it opens next."""
    return with_http(url, config, headers=headers, client=None) if headers and is_http(url) else url


def _key(
    head: bytes, url: str, scene_id: int, version: str | None, options: Options, environ: Mapping[str, str]
) -> AsvrKey:
    """The key of a stream that is not plain, from what the host has set."""
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
    if not is_meant:  # by the host, to be encrypted: it may be anything
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
    Options from a host's numbers, each brought into its range: hosts pass 0 for "none" and much for "much". What
    CV_set_option has set, and checked, takes the place of an argument.
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
