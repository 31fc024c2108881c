"""
AlphaStream: one opened stream, as callers see it. A thin face; the work is done on the library's loop and its pools.
"""

from __future__ import annotations

import asyncio
import operator
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from fractions import Fraction
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal, TypeVar

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
    TransportError,
    mapped_errors,
    shown_as_base,
)
from .._format.cipher import AsvrKey
from .._geometry.aligned import read_only_copy
from .._geometry.frame import FrameGeometry
from .._geometry.size import check_size
from .._raster import rasterize
from .._runtime.calls import entered, held, marked, may_not_wait
from .._runtime.exit import close_at_exit, forget, in_background
from .._runtime.loop import LoopLease
from .._runtime.workers import Workers
from .._sources import Source, SourceLike, open_source
from .ahead import MadeAhead
from .metadata import Metadata, describe
from .reader import StreamReader
from .session import Pending, Session
from .stats import LastError, Stats, new_counters
from .timebase import frame_at, time_of

__all__ = ["AlphaStream"]

T = TypeVar("T")

_QUICK_POINTS: Final = 1000
_QUICK_PIXELS: Final = 1 << 22
"""A frame within both is rasterized on the caller's thread, which takes a few milliseconds even if each step is as long
as the format allows; a larger one in the pool, where the time box can end the wait."""
_QUICK_SHARE: Final = 2 / 3
"""How much of the time box may be gone when that begins. Later the pool makes it, and this call or the next gets it."""
_QUICK_SECONDS: Final = 0.001
"""What may be gone of a time box however small, unless it is 0: a frame that is here needs no waiting."""
_MAX_SLOW: Final = 4
"""Frames that are being made in the pool for callers whose time box ended; an older one gives way."""


class AlphaStream:
    """
    A stream of frames.

    Made by :func:`alphastream_gpu.open` or :func:`alphastream_gpu.open_async`; a context manager with ``with`` and with
    ``async with``. All methods may be called from any thread, several at once.

    Two ways to get a frame. In *real time*, :meth:`get_frame` and :meth:`get_geometry` answer within the time box
    (12 ms) or give None, and what lies ahead is fetched, decoded and rasterized meanwhile. *Offline*, :meth:`frame` and
    :meth:`frames` wait as long as it takes and raise.

    Args:
        config: options; the defaults of :class:`Config` otherwise.

    Raises:
        NotReadyError: the system has no thread for the library's event loop.
        TransportError: the system has no file descriptor for it.
    """

    def __init__(self, *, config: Config | None = None) -> None:
        self._closed = True  # until all is there, so that __del__ leaves half a stream alone
        self._is_closing = self._is_parents = False
        self._config = config or Config()
        self._fps = self._config.fps
        self._lock = threading.RLock()  # a signal handler may ask for stats() while its thread holds it
        self._session: Session | None = None
        self._metadata: Metadata | None = None
        self._own = threading.local()
        """``error``: the last error of each thread, for as long as the thread lives."""
        self._has_renderers = False
        """Whether frames are for a MaskRenderer, so that what it needs of them is computed where they are decoded."""
        self._counters = new_counters()
        self._pending: set[Future[Any]] = set()
        self._closers: set[asyncio.Future[None]] = set()
        self._loading: set[asyncio.Task[Any]] = set()
        """Of :meth:`load_source`, on the loop; closing waits until each has closed its source."""
        with entered("AlphaStream"):
            self._start()

    def _start(self) -> None:
        self._loop = LoopLease()
        self._pool = Workers(self._config.decode_workers, "alphastream-decode")
        n_workers, n_ahead = self._config.raster_workers, self._config.ready_frames
        self._raster_pool = Workers(n_workers, "alphastream-raster")
        self._asked_pool = Workers(n_workers, "alphastream-asked")
        """For what somebody waits for, so that it never queues behind what is made ahead."""
        self._masks = MadeAhead(partial(_make_mask, self._config.native_size), n_ahead, n_workers, self._raster_pool)
        self._slow: OrderedDict[Hashable, Future[Any]] = OrderedDict()
        self._strips = MadeAhead(_make_strip, n_ahead, n_workers, self._raster_pool)
        self._closed = False
        close_at_exit(self)

    @property
    def config(self) -> Config:
        """The options this stream was made with."""
        return self._config

    @property
    def metadata(self) -> Metadata:
        """
        What header and table tell.

        Raises:
            NotReadyError: nothing is loaded.
        """
        metadata = self._metadata
        if metadata is None:
            raise NotReadyError("nothing is loaded: open a source first")
        return metadata

    def get_frame(
        self, index: int, width: int | None = None, height: int | None = None
    ) -> npt.NDArray[np.uint8] | None:
        """
        The mask of a frame, within the time box.

        Args:
            index: the frame. Asking moves the play head here.
            width: of the mask in pixels, 1..16384; native when omitted.
            height: of the mask in pixels, 1..16384; native when omitted.

        Returns:
            uint8 (height, width), 0 or 255, row 0 at the top, C-contiguous and read-only; a copy of the caller's own.
            None if it could not be had in time; :meth:`last_error` says why, and after TIMEOUT the frame is still
            coming.

        Raises:
            ValueError: a size outside its range.
            ClosedError: the stream is closed, also while waiting.
        """
        native_width, native_height = self._config.native_size
        size = (native_width if width is None else width, native_height if height is None else height)
        try:
            return self._mask(index, check_size("size", size))
        except ClosedError:
            raise
        except AlphaStreamError:
            return None

    def get_geometry(self, index: int) -> FrameGeometry | None:
        """
        The geometry of a frame, within the time box; as :meth:`get_frame`, without a mask.

        Args:
            index: the frame. Asking moves the play head here.

        Raises:
            ClosedError: the stream is closed, also while waiting.
        """
        try:
            return self._geometry(index)
        except ClosedError:
            raise
        except AlphaStreamError:
            return None

    def get_triangle_strip_vertices(self, index: int) -> npt.NDArray[np.float32]:
        """
        The cover strip of a frame (:meth:`FrameGeometry.triangle_strip`), within the time box.

        Args:
            index: the frame. Asking moves the play head here.

        Returns:
            float32 (n, 2) in native coordinates, read-only; it stays valid and unchanged.

        Raises:
            FrameTimeoutError: not there within the time box; it is still coming, so ask again.
            FrameNotFoundError: outside the stream.
            NotReadyError: nothing is loaded, or another source was loaded meanwhile.
            DecodeError: this frame is malformed, or its outlines cross too often to be cut; others may be fine.
            TransportError: the source failed.
            ClosedError: the stream is closed, also while waiting.
        """
        deadline = time.monotonic() + self._config.get_frame_timebox / 1000
        index = _plain(index)
        try:
            with entered("get_triangle_strip_vertices"):
                session, geometry = self._get(index, deadline)
                strip = self._strips.get(index, (session.serial, "cover"))
                with nullcontext() if strip is not None else self._others_wait():
                    self._make_ahead(session, index, None)
                    if strip is None:
                        make = partial(_make_strip_of, index, geometry, (session.serial, "cover"))
                        strip = self._in_time(index, (session.serial, index, "cover"), geometry, deadline, 0, make)
                        self._strips.keep(index, (session.serial, "cover"), strip)
        except ClosedError:
            raise
        except AlphaStreamError as exc:
            self._fail(exc, index)
            raise
        self._own.error = None
        return read_only_copy(strip)

    def last_error(self) -> LastError | None:
        """
        Why the calling thread's last real-time call gave None; None after one that gave something.

        Each thread has its own, so that no other thread's call comes between a None and the question why.
        """
        error: LastError | None = getattr(self._own, "error", None)
        return error

    def clear_error(self) -> None:
        """Forget the calling thread's last error."""
        self._own.error = None

    def stats(self) -> Stats:
        """
        A consistent snapshot of the counters. From a signal handler, it may be taken in the middle of a call.

        Raises:
            ClosedError: in a forked child, of a stream of the parent's.
        """
        with held(self._lock):
            if self._is_parents:
                raise self._refusal()
            counts = dict(self._counters)
            session = self._session
            if session is not None:
                _add_session(counts, session)
                counts["cached_frames"], counts["cached_bytes"], _ = session.cache_size()
            counts["made_ahead"] = self._masks.n_made + self._strips.n_made
            return Stats(**counts)

    def set_rate(self, fps: Fraction | float) -> None:
        """
        Change the frame rate that :meth:`time_of`, :meth:`frame_at`, :attr:`metadata` and prefetching go by.

        It holds for sources that are loaded later, too. :attr:`config` keeps the rate that the stream was made with.

        Args:
            fps: frames per second, 1..1000.

        Raises:
            ValueError: outside 1..1000.
        """
        checked = Config(fps=fps).fps  # type: ignore[arg-type]  # it converts and checks
        with held(self._lock):
            self._fps = checked
            if self._metadata is not None:
                self._metadata = replace(self._metadata, fps=checked)
            if self._session is not None:
                self._session.fps = checked

    def time_of(self, index: int) -> float:
        """
        When a frame begins, in seconds: index / fps, computed in fractions.

        Args:
            index: the frame; it may lie outside the stream.
        """
        return time_of(index, self._fps)

    def frame_at(self, seconds: float | Fraction) -> int:
        """
        The frame shown at a time: floor(seconds * fps), computed in fractions.

        A time within a microsecond before a frame's begin counts as that frame, so that times which went through
        floats come back to their frames. The index may lie outside the stream.

        Args:
            seconds: media time, in seconds.

        Raises:
            ValueError: not a finite number.
        """
        return frame_at(seconds, self._fps)

    async def frame(self, index: int) -> FrameGeometry:
        """
        Fetch and decode one frame; waits as long as it takes.

        Args:
            index: the frame.

        Raises:
            FrameNotFoundError: outside the stream.
            NotReadyError: nothing is loaded.
            DecodeError: this frame is malformed; others may be fine.
            TransportError: the source failed.
            FrameTimeoutError: the source took longer than its deadline, such as ``config.http_deadline``.
            ClosedError: the stream was closed, also while waiting.
        """
        session, index, found = self._joined(index)
        if isinstance(found, FrameGeometry):
            return found
        # Cancelling an await must not cancel a fetch that others may have joined, so each waits on a future of its own.
        waiter: Future[FrameGeometry] = Future()
        found.future.add_done_callback(partial(_relay, waiter))
        try:
            return await asyncio.wrap_future(waiter)
        finally:
            with marked(), self._lock:
                session.leave(index, found, keep=False)

    async def frames(self, start: int = 0, stop: int | None = None) -> AsyncIterator[FrameGeometry]:
        """
        Iterate over the geometry of the frames ``start..stop - 1``, in order.

        Reads and decodes in batches, one ahead, past the cache. An error comes after the frames before the bad one were
        yielded. Errors as of :meth:`frame`.

        Args:
            start: first frame.
            stop: one past the last frame; the stream's end when omitted.
        """
        session, start, stop = self._range(start, stop)
        batch: asyncio.Task[tuple[list[FrameGeometry], AlphaStreamError | None]] | None = None
        try:
            while start < stop:
                geometries, error = await (batch or self._batch(session, start, stop))
                start += len(geometries)
                batch = self._batch(session, start, stop) if error is None and start < stop else None
                for geometry in geometries:
                    yield geometry
                if error is not None:
                    raise error
        finally:
            if batch is not None:
                batch.cancel()
                await asyncio.gather(batch, return_exceptions=True)

    def read_frame(self, index: int) -> FrameGeometry:
        """
        Fetch and decode one frame, for scripts; blocks as long as it takes, also where an event loop runs.

        Args and errors as of :meth:`frame`.

        Raises:
            NotReadyError: nothing is loaded, or called by a :class:`Source`, a finalizer or a signal handler within
                another call: it would wait for itself.
        """
        with entered("read_frame"):
            session, index, found = self._joined(index)
            if isinstance(found, FrameGeometry):
                return found
            try:
                return found.future.result()
            finally:
                with self._lock:
                    session.leave(index, found, keep=False)

    def read_frames(self, start: int = 0, stop: int | None = None) -> Iterator[FrameGeometry]:
        """
        Iterate over the geometry of the frames ``start..stop - 1``, in order, for scripts; as :meth:`frames`, blocking.

        Reads and decodes in batches, one ahead, past the cache. An error comes after the frames before the bad one were
        yielded. Errors as of :meth:`read_frame`.

        Args:
            start: first frame.
            stop: one past the last frame; the stream's end when omitted.
        """
        session, start, stop = self._range(start, stop)
        batch: Future[tuple[list[FrameGeometry], AlphaStreamError | None]] | None = None
        try:
            while start < stop:
                with entered("read_frames"):
                    batch = batch or self._submit(partial(session.fetch_batch, start, stop))
                    try:
                        geometries, error = batch.result()
                    except CancelledError:
                        raise ClosedError("the stream was closed during the call") from None
                    start += len(geometries)
                    is_more = error is None and start < stop
                    batch = self._submit(partial(session.fetch_batch, start, stop)) if is_more else None
                yield from geometries
                if error is not None:
                    raise error
        finally:
            if batch is not None:
                batch.cancel()

    def load_source(self, source: SourceLike, *, key: AsvrKey | None = None, strict: bool = True) -> None:
        """
        Open another source in this stream, in place of the present one. Blocks until header and table are read.

        The present source stays loaded when the new one fails.

        Args and errors as of :func:`open`.
        """
        with entered("load_source"):
            future = self._submit(lambda: self._load(source, key, strict))
            try:
                future.result()
            except CancelledError:
                raise ClosedError("the stream was closed while it was opening a source") from None

    async def aload_source(self, source: SourceLike, *, key: AsvrKey | None = None, strict: bool = True) -> None:
        """:meth:`load_source` without blocking the caller's event loop. Args and errors as of :func:`open`."""
        await self._run(lambda: self._load(source, key, strict))

    def close(self) -> None:
        """
        Close the stream and its source; calls that wait end with ClosedError. May be called again.

        Returns when all is closed. A signal handler, a finalizer, a :class:`Source` or a URL callable would wait for
        what it interrupted: called by one of these, it returns at once, and another thread closes the stream.

        Raises:
            TransportError: the source could not be closed properly; it and the stream are closed all the same.
            NotReadyError: the system has no thread for that other one; the stream is closed at exit.
        """
        if may_not_wait():
            self._hand_over()
            return
        with marked():
            closing = self._begin_close()
            if closing is not None:
                self._end_close(closing)

    async def aclose(self) -> None:
        """
        :meth:`close` without blocking the caller's event loop. Cancelled, it goes on in the background.

        Errors as of :meth:`close`.
        """
        if may_not_wait():
            self._hand_over()
            return
        with marked():
            closing = self._begin_close()
        if closing is not None:
            await asyncio.shield(asyncio.to_thread(self._wait_for_close, closing))

    def __enter__(self) -> AlphaStream:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> AlphaStream:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    def _disown(self) -> None:
        """Leave the stream alone, in a forked child: its threads are the parent's, and so may be who holds the lock."""
        self._closed = self._is_closing = self._is_parents = True
        self._lock = threading.RLock()

    def __del__(self) -> None:
        if getattr(self, "_closed", True):
            return
        warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)
        self._hand_over()  # this may be the loop's own thread, which close() would wait for

    def __reduce__(self) -> str:
        raise TypeError(
            "an AlphaStream cannot be pickled or copied: it has threads and an open source; give the other process the"
            " path or URL, and open it there"
        )

    def __repr__(self) -> str:
        if self._is_parents:
            return "<AlphaStream of the parent process>"
        if self._closed:
            return "<AlphaStream closed>"
        if self._metadata is None:
            return "<AlphaStream empty>"
        return f"<AlphaStream {self._metadata.container} {self._metadata.frame_count} frames>"

    def _mask(self, index: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """:meth:`get_frame`, raising what that gives None for: where threads share a stream, its last error may be
        that of another's call."""
        deadline = time.monotonic() + self._config.get_frame_timebox / 1000
        index = _plain(index)
        try:
            with entered("get_frame"):
                session, geometry = self._get(index, deadline)
                # The session is part of the key: a mask of another source must never be found under this index.
                mask = self._masks.get(index, (session.serial, size))
                with nullcontext() if mask is not None else self._others_wait():
                    self._make_ahead(session, index, size)
                    if mask is None:
                        make = partial(_make_mask, self._config.native_size, geometry, (session.serial, size))
                        mask = self._in_time(
                            index, (session.serial, index, size), geometry, deadline, size[0] * size[1], make
                        )
                        self._masks.keep(index, (session.serial, size), mask)
        except ClosedError:
            raise
        except AlphaStreamError as exc:
            self._fail(exc, index)
            raise
        self._own.error = None
        return read_only_copy(mask)

    def _prepare_for_renderers(self) -> None:
        """Called by MaskRenderer.for_stream."""
        with marked(), self._lock:
            if self._closed:
                raise self._refusal()
            self._has_renderers = True
            if self._session is not None:
                self._session.reader.prepares_planes = True

    def _geometry(self, index: int) -> FrameGeometry:
        """:meth:`get_geometry`, likewise."""
        index = _plain(index)
        try:
            with entered("get_geometry"):
                session, geometry = self._get(index, time.monotonic() + self._config.get_frame_timebox / 1000)
                session.reader.prepares_planes = True  # whoever asks for geometry is likely to render it
                self._make_ahead(session, index, None)
        except ClosedError:
            raise
        except AlphaStreamError as exc:
            self._fail(exc, index)
            raise
        self._own.error = None
        return geometry

    def _get(self, index: int, deadline: float) -> tuple[Session, FrameGeometry]:
        """A frame's geometry by the deadline. Raises whatever prevents it."""
        with self._lock:
            session = self._open_session()
            session.reader.check(index)
            session.play(index)
            geometry = session.cached(index)
            if geometry is not None:
                self._counters["hits"] += 1
                return session, geometry
            pending, joined = session.join(index)
            self._counters["misses"] += 1
            self._counters["joined"] += joined
        try:
            return session, pending.future.result(max(0.0, deadline - time.monotonic()))
        except ClosedError as exc:
            raise ClosedError(str(exc)) from None  # of one's own: many threads may be given the same
        except TimeoutError as exc:
            if pending.future.done():  # it came in that very moment, or its own deadline ended
                return session, pending.future.result()
            raise self._not_there(session, index) from exc
        finally:
            with self._lock:
                session.leave(index, pending, keep=True)

    def _joined(self, index: int) -> tuple[Session, int, FrameGeometry | Pending]:
        """A frame that may be waited for: what is cached of it, or its fetch, to be left by whoever waited."""
        index = _plain(index)
        with marked(), self._lock:
            session = self._open_session()
            session.reader.check(index)
            return session, index, session.cached(index) or session.join(index)[0]

    def _range(self, start: int, stop: int | None) -> tuple[Session, int, int]:
        """A range of frames that is in the stream."""
        with marked(), self._lock:
            session = self._open_session()
        start, stop = _plain(start), session.n_frames if stop is None else _plain(stop)
        if start < stop:
            session.reader.check(start)
            session.reader.check(stop - 1)
        return session, start, stop

    def _not_there(self, session: Session, index: int) -> AlphaStreamError:
        """
        Why a frame is not there within the time box. While a source waits before it tries again what failed, that
        is the failure: a player that polls would never be told, because few calls end just when an attempt fails.
        """
        source = session.reader.source
        failure, next_at = source.last_failure, source.next_attempt_at
        if failure is None or next_at is None:
            box = self._config.get_frame_timebox
            return _TimeBoxEndedError(
                f"frame {index}: not there within {box:g} ms; it is still coming", frame_index=index
            )
        wait = max(0.0, next_at - time.monotonic())
        return TransportError(
            f"frame {index}: the last attempt failed: {failure}; the next is in {wait:.1f} s", frame_index=index
        )

    def _make_ahead(self, session: Session, index: int, size: tuple[int, int] | None) -> None:
        """See to what lies ahead being made, masks at the size asked for."""
        if not self._config.ready_frames:
            return
        processing = self._config.processing
        with self._lock:
            ahead = session.head.ahead(session.n_frames)
        if processing != "mask":
            self._strips.aim(ahead, index, (session.serial, "cover"), session.peek)
        if processing != "triangles" and size is not None:
            self._masks.aim(ahead, index, (session.serial, size), session.peek)

    @contextmanager
    def _others_wait(self) -> Iterator[None]:
        """While nothing is begun ahead, because somebody waits for what is made now."""
        self._hold_others()
        try:
            yield
        finally:
            self._let_others_go_on()

    def _hold_others(self) -> None:
        for one in (self._masks, self._strips):
            one.pause()

    def _let_others_go_on(self, *_: object) -> None:
        for one in (self._masks, self._strips):
            one.resume()

    def _in_time(
        self,
        index: int,
        key: Hashable,
        geometry: FrameGeometry,
        deadline: float,
        n_pixels: int,
        make: Callable[[], T],
    ) -> T:
        """Make something of a frame: here if that is quick, else in the pool by the deadline; asking again joins."""
        box = self._config.get_frame_timebox / 1000
        has_time = box > 0 and time.monotonic() < deadline - box + max(box * _QUICK_SHARE, _QUICK_SECONDS)
        if has_time and len(geometry.points) <= _QUICK_POINTS and n_pixels <= _QUICK_PIXELS:
            with mapped_errors(f"frame {index}"):
                return make()
        work = self._asked(key, make)
        try:
            with mapped_errors(f"frame {index}"):
                try:
                    made = work.result(max(0.0, deadline - time.monotonic()))
                except TimeoutError as exc:
                    if not work.done():
                        raise _TimeBoxEndedError(
                            f"frame {index}: what is made of its {len(geometry.points)} points is not ready yet; ask"
                            " again",
                            frame_index=index,
                        ) from exc
                    made = work.result()  # or cancelled, in that very moment
        except CancelledError as exc:
            if self._closed:
                raise ClosedError("the stream was closed during the call") from exc
            raise _TimeBoxEndedError(f"frame {index}: other frames came first; ask again", frame_index=index) from exc
        finally:
            if work.done():
                with self._lock:
                    if self._slow.get(key) is work:
                        del self._slow[key]
        return made

    def _asked(self, key: Hashable, make: Callable[[], T]) -> Future[T]:
        """What is being made for a call that may have ended; begun if nobody asked before."""
        dropped = []
        with self._lock:
            if self._closed:
                raise self._refusal()
            work: Future[T] | None = self._slow.get(key)
            is_new = work is None
            if work is None:
                work = self._slow[key] = self._asked_pool.submit(make)
                while len(self._slow) > _MAX_SLOW:
                    dropped.append(self._slow.pop(next(iter(self._slow))))
        # Not under the lock, which what is made ahead takes while it holds its own.
        for one in dropped:
            one.cancel()
        if is_new:
            self._hold_others()  # until it is made, also when the time box ends before
            work.add_done_callback(self._let_others_go_on)
        return work

    def _forget_made(self) -> None:
        """What was made, and is being made, of a source that is gone; it would keep that source alive."""
        self._masks.forget()
        self._strips.forget()
        with self._lock:
            slow, self._slow = self._slow, OrderedDict()
        for work in slow.values():
            work.cancel()

    def _fail(self, error: AlphaStreamError, index: int) -> None:
        with held(self._lock):
            self._counters["timeouts" if isinstance(error, _TimeBoxEndedError) else "failed"] += 1
            self._own.error = LastError(ErrorCode(error.code), str(error), index)

    def _begin_close(self) -> Future[None] | None:
        """Refuse new calls, end the waiting ones, begin to close the source; None when somebody else already closes."""
        with self._lock:
            if self._is_closing:
                return None
            self._is_closing = self._closed = True
            if self._session is not None:
                self._session.close()
            pending = list(self._pending)
        for future in pending:
            future.cancel()
        return self._loop.submit(self._close_session)

    async def _close_session(self) -> None:
        with self._lock:
            session, self._session = self._session, None
            if session is not None:
                _add_session(self._counters, session)
        try:
            if session is not None:
                await session.aclose()
        finally:
            for task in self._loading:
                if not task.cancelling():  # a second cancellation would interrupt the clean-up after the first
                    task.cancel()
            await asyncio.gather(*self._closers, *self._loading, return_exceptions=True)

    def _end_close(self, closing: Future[None], deadline: float | None = None) -> None:
        """
        Wait until all is closed and the stream's threads have ended. Never on a thread of the library's.

        Args:
            closing: what :meth:`_begin_close` gave.
            deadline: by `time.monotonic`, when to give up waiting.
        """
        try:
            closing.result(None if deadline is None else max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            if closing.done():
                raise
        finally:
            self._forget_made()
            for pool in (self._raster_pool, self._asked_pool, self._pool):
                pool.shutdown(wait=False, cancel_futures=True)
                pool.join(deadline)
            self._loop.release(deadline)
            forget(self)

    def _wait_for_close(self, closing: Future[None]) -> None:
        with marked():
            self._end_close(closing)

    def _hand_over(self) -> None:
        """Close in a thread of its own. Takes no lock: the call that was interrupted may hold any."""
        if not self._closed:
            self._closed = True
            in_background(self.close)

    def _refusal(self) -> ClosedError:
        if self._is_parents:
            return ClosedError("the stream was opened before a fork; open it again in the child")
        return ClosedError("the stream is closed")

    def _open_session(self) -> Session:
        if self._closed:
            raise self._refusal()
        if self._session is None:
            raise NotReadyError("nothing is loaded: open a source first")
        return self._session

    def _batch(
        self, session: Session, start: int, stop: int
    ) -> asyncio.Task[tuple[list[FrameGeometry], AlphaStreamError | None]]:
        return asyncio.create_task(self._run(partial(session.fetch_batch, start, stop)))

    def _submit(self, function: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Run on the library's loop, known to :meth:`close`."""
        with marked(), self._lock:
            if self._closed:
                raise self._refusal()
            future = self._loop.submit(function)
            self._pending.add(future)
        future.add_done_callback(self._forget)
        return future

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._pending.discard(future)

    async def _run(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run on the library's loop, awaited on the caller's."""
        future = self._submit(function)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and not (task is not None and task.cancelling()):
                raise ClosedError("the stream was closed during the call") from None
            raise

    async def _load(self, source: SourceLike, key: AsvrKey | None, strict: bool) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._loading.add(task)
        task.add_done_callback(self._loading.discard)
        config = self._config
        opened: Source | None = None
        try:
            async with asyncio.timeout(config.init_timeout):
                opened = await open_source(source, config)
                # In the stream's threads, which closing waits for: OpenSSL keeps something for each that derives a key.
                reader = await StreamReader.open(opened, key=key, strict=strict, config=config, executor=self._pool)
            session = Session(reader, config, self._loop, self._pool, self._counters, self._lock)
            session.on_delivered = partial(_more_geometry, self._masks, self._strips)
            with self._lock:
                if self._closed:
                    raise ClosedError("the stream was closed while it was opening a source")
                reader.prepares_planes = self._has_renderers
                previous, self._session = self._session, session
                if previous is not None:
                    previous.close()
                    previous.is_replaced = True
                    previous.owns_source = previous.reader.source is not opened
                    _add_session(self._counters, previous)
                session.fps = self._fps
                self._metadata = replace(describe(reader, config), fps=self._fps)
        except BaseException as exc:
            present = self._session
            if opened is not None and (present is None or present.reader.source is not opened):
                await opened.aclose()
            if isinstance(exc, TimeoutError) and not isinstance(exc, AlphaStreamError):
                cause = "" if opened is None or not opened._last_failure else f"; so far: {opened._last_failure}"
                raise FrameTimeoutError(
                    f"opening: header and table not read within {config.init_timeout:.3g} s{cause}"
                ) from exc
            raise
        self._forget_made()
        if previous is not None:
            # Shielded: whoever gives up waiting for the new source must not leave the old one open.
            closing = asyncio.ensure_future(previous.aclose())
            self._closers.add(closing)
            closing.add_done_callback(self._closers.discard)
            await asyncio.shield(closing)


def _plain(index: int) -> int:
    """As Python's own int: numpy's would overflow in sums, and True would be a key beside 1."""
    return int(operator.index(index))


def _make_mask(
    native_size: tuple[int, int], geometry: FrameGeometry, variant: tuple[int, tuple[int, int]]
) -> npt.NDArray[np.uint8]:
    return rasterize(geometry, variant[1], native_size=native_size)


def _more_geometry(*made_ahead: MadeAhead[Any, Any]) -> None:
    for one in made_ahead:
        one.more_geometry()


def _make_strip(geometry: FrameGeometry, variant: tuple[int, Literal["cover"]]) -> npt.NDArray[np.float32]:
    return geometry.triangle_strip(variant[1])


def _make_strip_of(
    index: int, geometry: FrameGeometry, variant: tuple[int, Literal["cover"]]
) -> npt.NDArray[np.float32]:
    """:func:`_make_strip`, whose error says of which frame."""
    try:
        return _make_strip(geometry, variant)
    except DecodeError as exc:
        raise DecodeError(f"frame {index}: {exc}", frame_index=index) from exc


@shown_as_base
class _TimeBoxEndedError(FrameTimeoutError):
    """The time box of a real-time call ended; told apart from an I/O deadline to count it."""


def _relay(waiter: Future[FrameGeometry], done: Future[FrameGeometry]) -> None:
    """Pass a result on to one waiter, unless that one was cancelled."""
    if waiter.set_running_or_notify_cancel():
        error = done.exception()
        if error is not None:
            waiter.set_exception(error)
        else:
            waiter.set_result(done.result())


def _add_session(counts: dict[str, int], session: Session) -> None:
    """Add what a session and its source count themselves; the lock is held."""
    reader = session.reader
    counts["reads"] += reader.reads
    counts["bytes_read"] += reader.bytes_read
    if session.owns_source:  # otherwise the source goes on counting for the session that loaded it again
        counts["requests"] += reader.source.requests
        counts["bytes_fetched"] += reader.source.bytes_received
    counts["evicted"] += session.cache_size()[2]
