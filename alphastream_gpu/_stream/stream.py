"""
AlphaStream: one opened stream, as callers see it. A thin face; the work is done on the library's loop and its pools.
"""

from __future__ import annotations

import asyncio
import logging
import operator
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import partial
from types import TracebackType
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from .._config import Config
from .._exceptions import (
    AlphaStreamError,
    ClosedError,
    ErrorCode,
    FrameTimeoutError,
    NotReadyError,
    TransportError,
)
from .._format.cipher import AsvrKey
from .._geometry.aligned import read_only_copy
from .._geometry.frame import FrameGeometry
from .._geometry.size import check_size
from .._runtime.calls import entered, held, marked, may_not_wait
from .._runtime.exit import close_at_exit, forget, in_background
from .._runtime.loop import LoopLease
from .._runtime.workers import Workers
from .._sources import Source, SourceLike, open_source
from .metadata import Metadata, describe
from .products import Products, TimeBoxEndedError
from .reader import StreamReader
from .session import Pending, Session
from .stats import LastError, Stats, new_counters
from .timebase import frame_at, time_of

__all__ = ["AlphaStream"]

T = TypeVar("T")

_STALL_SECONDS: Final = 0.25
"""How long calls must find no frame until that is logged as a stall. Each seek over a network finds none for some
pictures."""
_logger = logging.getLogger("alphastream_gpu")


class AlphaStream:
    """
    A stream of frames.

    Made by :func:`alphastream_gpu.open` or :func:`alphastream_gpu.open_async`; a context manager with ``with`` and with
    ``async with``. All methods may be called from any thread, several at once.

    There are two ways to get a frame. Calls in *real time* return within the time box (``Config.get_frame_timebox``,
    12 ms), and move the play head: what lies ahead of it is fetched, decoded and rasterized meanwhile. *Offline* calls
    wait for as long as it takes.

    =======================================  ======================  ====================  =============================
    call                                     returns                 waits                 if the frame is missing
    =======================================  ======================  ====================  =============================
    :meth:`get_frame`                        a mask                  for the time box      None; see :meth:`last_error`
    :meth:`get_geometry`                     a FrameGeometry         for the time box      None; see :meth:`last_error`
    :meth:`get_triangle_strip_vertices`      a triangle strip        for the time box      raises
    :meth:`read_frame`, :meth:`read_frames`  FrameGeometry objects   blocks the thread     raises
    :meth:`frame`, :meth:`frames`            FrameGeometry objects   is awaited            raises
    =======================================  ======================  ====================  =============================

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
        self._stalled_since: float | None = None
        """When the first of the real-time calls that found no frame was made, up to now without one that did."""
        self._has_told_stall = False
        self._pending: set[Future[Any]] = set()
        self._closers: set[asyncio.Future[None]] = set()
        self._loading: set[asyncio.Task[Any]] = set()
        """Of :meth:`load_source`, on the loop; closing waits until each has closed its source."""
        with entered("AlphaStream"):
            self._start()

    def _start(self) -> None:
        self._loop = LoopLease()
        self._pool = Workers(self._config.decode_workers, "alphastream-decode")
        self._products = Products(self._config)
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
            return read_only_copy(self._mask(index, check_size("size", size)))
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
        index = _plain(index)
        with _Answer(self, index) as answer, entered("get_triangle_strip_vertices"):
            session, geometry = self._get(index, answer.deadline)
            strip = self._products.strip(session, index, geometry, answer.deadline)
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
        while True:
            with held(self._lock):
                if self._is_parents:
                    raise self._refusal()
                counts = dict(self._counters)
                session = self._session
            if session is not None:
                session.add_counts(counts)
            if session is self._session:  # otherwise another source was loaded meanwhile, and counts are double
                break
        counts["made_ahead"] = self._products.n_made
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

        Raises:
            ValueError: so large that no float holds its time.
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
            TypeError: not a number.
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
        index = _plain(index)
        with marked():
            session, found = self._asked(Session.ask_offline, index)
        if isinstance(found, FrameGeometry):
            return found
        # Cancelling an await must not cancel a fetch that others may have joined, so each waits on a future of its own.
        waiter: Future[FrameGeometry] = Future()
        found.future.add_done_callback(partial(_relay, waiter))
        try:
            return await asyncio.wrap_future(waiter)
        finally:
            with marked():
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
        index = _plain(index)
        with entered("read_frame"):
            session, found = self._asked(Session.ask_offline, index)
            if isinstance(found, FrameGeometry):
                return found
            try:
                return found.future.result()
            finally:
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
        """
        :meth:`get_frame`, raising what that returns None for. Not a copy: the C library gives out a const pointer, and
        keeps the array alive.
        """
        index = _plain(index)
        with _Answer(self, index) as answer, entered("get_frame"):
            session, geometry = self._get(index, answer.deadline)
            return self._products.mask(session, index, geometry, size, answer.deadline)

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
        with _Answer(self, index) as answer, entered("get_geometry"):
            session, geometry = self._get(index, answer.deadline)
            session.reader.prepares_planes = True  # whoever asks for geometry is likely to render it
            self._products.aim(session, index, None)
        return geometry

    def _get(self, index: int, deadline: float) -> tuple[Session, FrameGeometry]:
        """A frame's geometry by the deadline. Raises whatever prevents it."""
        session, found = self._asked(Session.ask, index)
        if isinstance(found, FrameGeometry):
            return session, found
        try:
            return session, found.future.result(max(0.0, deadline - time.monotonic()))
        except ClosedError as exc:
            raise ClosedError(str(exc)) from None  # of one's own: many threads may be given the same
        except TimeoutError as exc:
            if found.future.done():  # it came in that very moment, or its own deadline ended
                return session, found.future.result()
            raise self._not_there(session, index) from exc
        finally:
            session.leave(index, found, keep=True)

    def _asked(
        self, ask: Callable[[Session, int], FrameGeometry | Pending | None], index: int
    ) -> tuple[Session, FrameGeometry | Pending]:
        """The session that is asked for a frame, and its answer. The next session is asked if one ends meanwhile."""
        while True:
            session = self._open_session()
            found = ask(session, index)
            if found is not None:
                return session, found
            if session is self._session:  # it has ended, and none comes after it
                raise self._refusal()

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
            return TimeBoxEndedError(
                f"frame {index}: not there within {box:g} ms; it is still coming", frame_index=index
            )
        wait = max(0.0, next_at - time.monotonic())
        return TransportError(
            f"frame {index}: the last attempt failed: {failure}; the next is in {wait:.1f} s", frame_index=index
        )

    def _fail(self, error: AlphaStreamError, index: int) -> None:
        if isinstance(error, FrameTimeoutError | TransportError):
            self._stalled(error, index)
        with held(self._lock):
            self._counters["timeouts" if isinstance(error, TimeBoxEndedError) else "failed"] += 1
            self._own.error = LastError(ErrorCode(error.code), str(error), index)

    def _stalled(self, error: AlphaStreamError, index: int) -> None:
        """A real-time call found no frame. That is logged once, if there was none for some pictures."""
        now, since = time.monotonic(), self._stalled_since
        if since is None:
            self._stalled_since, self._has_told_stall = now, False
        elif not self._has_told_stall and now - since > _STALL_SECONDS:
            self._has_told_stall = True
            self._log("stalled at frame %d for %.2f s: %s", index, now - since, error)

    def _recovered(self, index: int) -> None:
        since, self._stalled_since = self._stalled_since, None
        if self._has_told_stall and since is not None:
            self._has_told_stall = False
            self._log("recovered at frame %d after %.2f s", index, time.monotonic() - since)

    def _log(self, text: str, *values: object) -> None:
        """On the loop: a handler of the host's may take long, or call this library."""
        if _logger.isEnabledFor(logging.INFO):
            self._loop.call_soon(_logger.info, text, *values)

    def _begin_close(self) -> Future[None] | None:
        """Refuse new calls, end the waiting ones, begin to close the source; None when somebody else already closes."""
        with self._lock:
            if self._is_closing:
                return None
            self._is_closing = self._closed = True
            self._products.refuse()
            if self._session is not None:
                self._session.close()
            pending = list(self._pending)
        for future in pending:
            future.cancel()
        return self._loop.submit(self._close_session)

    async def _close_session(self) -> None:
        session: Session | None = None
        try:
            try:
                with self._lock:
                    session, self._session = self._session, None
                    if session is not None:
                        session.add_counts(self._counters)
            finally:  # also if counting fails, which reads properties of the source
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
            self._products.close(deadline)
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool.join(deadline)
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
        # Without the lock: the collector may run this where the thread holds a session's, and that is taken second.
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
            session = Session(reader, config, self._loop, self._pool, fps=self._fps, on_delivered=self._products.go_on)
            with self._lock:
                if self._closed:
                    raise ClosedError("the stream was closed while it was opening a source")
                reader.prepares_planes = self._has_renderers
                previous, self._session = self._session, session
                if previous is not None:
                    previous.retire(session)
                    previous.add_counts(self._counters)
                session.fps = self._fps  # it may have been changed meanwhile
                self._stalled_since = None
                self._metadata = replace(describe(reader, config), fps=self._fps)
        except BaseException as exc:
            present = self._session
            if opened is not None and (present is None or present.reader.source is not opened):
                with suppress(AlphaStreamError):  # what prevented the opening is to be raised
                    await opened.aclose()
            if isinstance(exc, TimeoutError) and not isinstance(exc, AlphaStreamError):
                failure = None if opened is None else opened.last_failure
                cause = "" if failure is None else f"; so far: {failure}"
                raise FrameTimeoutError(
                    f"opening: header and table not read within {config.init_timeout:.3g} s{cause}"
                ) from exc
            raise
        self._products.forget()
        _logger.info("opened %r: %s, %d frames", opened.name, self.metadata.container, session.n_frames)
        if previous is not None:
            # Shielded: whoever gives up waiting for the new source must not leave the old one open.
            closing = asyncio.ensure_future(previous.aclose())
            self._closers.add(closing)
            closing.add_done_callback(self._closers.discard)
            try:
                await asyncio.shield(closing)
            except AlphaStreamError as exc:  # the new source is loaded all the same
                _logger.warning("the source that was replaced could not be closed: %s", exc)


def _plain(index: int) -> int:
    """As Python's own int: numpy's would overflow in sums, and True would be a key beside 1."""
    return int(operator.index(index))


def _relay(waiter: Future[FrameGeometry], done: Future[FrameGeometry]) -> None:
    """Pass a result on to one waiter, unless that one was cancelled."""
    if waiter.set_running_or_notify_cancel():
        error = done.exception()
        if error is not None:
            waiter.set_exception(error)
        else:
            waiter.set_result(done.result())


class _Answer:
    """
    One real-time call: until when it may wait. Its outcome goes to :meth:`AlphaStream.last_error` and the counters.

    It holds nothing that an interrupt between two of its lines could leave held.

    Args:
        stream: the stream.
        index: the frame.
    """

    __slots__ = ("_index", "_stream", "deadline")

    def __init__(self, stream: AlphaStream, index: int) -> None:
        self.deadline = time.monotonic() + stream._config.get_frame_timebox / 1000
        self._stream = stream
        self._index = index

    def __enter__(self) -> _Answer:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if exc is None:
            self._stream._own.error = None
            if self._stream._stalled_since is not None:
                self._stream._recovered(self._index)
        elif isinstance(exc, AlphaStreamError) and not isinstance(exc, ClosedError):
            self._stream._fail(exc, self._index)
