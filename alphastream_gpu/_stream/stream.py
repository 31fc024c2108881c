"""
AlphaStream: one opened stream, as callers see it. A thin face; the work is done on the library's loop and its pools.
"""

from __future__ import annotations

import asyncio
import operator
import time
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from fractions import Fraction
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .._config import Config
from .._exceptions import (
    AlphaStreamError,
    ClosedError,
    NotReadyError,
    TransportError,
)
from .._format.cipher import AsvrKey
from .._geometry.aligned import read_only_copy
from .._geometry.frame import FrameGeometry
from .._geometry.size import check_size
from .._runtime.calls import entered, held, marked
from .._sources import SourceLike
from .answers import Answers
from .fetches import Pending
from .lifetime import Lifetime
from .metadata import Metadata
from .products import TimeBoxEndedError
from .session import Session
from .stats import LastError, Stats
from .timebase import frame_at, time_of

__all__ = ["AlphaStream"]

T = TypeVar("T")


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
        self._config = config or Config()
        with entered("AlphaStream"):
            self._lifetime = Lifetime(self._config)
        self._answers = Answers(self._lifetime, self._config.get_frame_timebox)

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
        metadata = self._lifetime.metadata
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
        with self._answers.of(index) as answer, entered("get_triangle_strip_vertices"):
            session, geometry = self._get(index, answer.deadline)
            strip = self._lifetime.products.strip(session, index, geometry, answer.deadline)
        return read_only_copy(strip)

    def last_error(self) -> LastError | None:
        """
        Why the calling thread's last real-time call gave None; None after one that gave something.

        Each thread has its own, so that no other thread's call comes between a None and the question why.
        """
        return self._answers.last_error()

    def clear_error(self) -> None:
        """Forget the calling thread's last error."""
        self._answers.clear_error()

    def stats(self) -> Stats:
        """
        A consistent snapshot of the counters. From a signal handler, it may be taken in the middle of a call.

        Raises:
            ClosedError: in a forked child, of a stream of the parent's.
        """
        lifetime = self._lifetime
        while True:
            with held(lifetime.lock):
                if lifetime.is_parents:
                    raise lifetime.refusal()
                counts = dict(lifetime.counters)
                session = lifetime.session
            if session is not None:
                session.add_counts(counts)
            if session is lifetime.session:  # otherwise another source was loaded meanwhile, and counts are double
                break
        counts["made_ahead"] = lifetime.products.n_made
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
        self._lifetime.set_rate(checked)

    def time_of(self, index: int) -> float:
        """
        When a frame begins, in seconds: index / fps, computed in fractions.

        Args:
            index: the frame; it may lie outside the stream.

        Raises:
            ValueError: so large that no float holds its time.
        """
        return time_of(index, self._lifetime.fps)

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
        return frame_at(seconds, self._lifetime.fps)

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
                    batch = batch or self._lifetime.submit(partial(session.fetch_batch, start, stop))
                    try:
                        geometries, error = batch.result()
                    except CancelledError:
                        raise ClosedError("the stream was closed during the call") from None
                    start += len(geometries)
                    is_more = error is None and start < stop
                    batch = self._lifetime.submit(partial(session.fetch_batch, start, stop)) if is_more else None
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
            future = self._lifetime.submit(lambda: self._lifetime.load(source, key, strict))
            try:
                future.result()
            except CancelledError:
                raise ClosedError("the stream was closed while it was opening a source") from None

    async def aload_source(self, source: SourceLike, *, key: AsvrKey | None = None, strict: bool = True) -> None:
        """:meth:`load_source` without blocking the caller's event loop. Args and errors as of :func:`open`."""
        await self._run(lambda: self._lifetime.load(source, key, strict))

    def close(self) -> None:
        """
        Close the stream and its source; calls that wait end with ClosedError. May be called again.

        Returns when all is closed. A signal handler, a finalizer, a :class:`Source` or a URL callable would wait for
        what it interrupted: called by one of these, it returns at once, and another thread closes the stream.

        Raises:
            TransportError: the source could not be closed properly; it and the stream are closed all the same.
            NotReadyError: the system has no thread for that other one; the stream is closed at exit.
        """
        self._lifetime.close()

    async def aclose(self) -> None:
        """
        :meth:`close` without blocking the caller's event loop. Cancelled, it goes on in the background.

        Errors as of :meth:`close`.
        """
        await self._lifetime.aclose()

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

    def __del__(self) -> None:
        lifetime = getattr(self, "_lifetime", None)  # None if the constructor raised
        if lifetime is None or lifetime.is_closed:
            return
        warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)
        lifetime.hand_over()  # this may be the loop's own thread, which close() would wait for

    def __reduce__(self) -> str:
        raise TypeError(
            "an AlphaStream cannot be pickled or copied: it has threads and an open source; give the other process the"
            " path or URL, and open it there"
        )

    def __repr__(self) -> str:
        if self._lifetime.is_parents:
            return "<AlphaStream of the parent process>"
        if self._lifetime.is_closed:
            return "<AlphaStream closed>"
        metadata = self._lifetime.metadata
        return (
            f"<AlphaStream {metadata.container} {metadata.frame_count} frames>" if metadata else "<AlphaStream empty>"
        )

    def _mask(self, index: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """
        :meth:`get_frame`, raising what that returns None for. Not a copy: the C library gives out a const pointer, and
        keeps the array alive.
        """
        index = _plain(index)
        with self._answers.of(index) as answer, entered("get_frame"):
            session, geometry = self._get(index, answer.deadline)
            return self._lifetime.products.mask(session, index, geometry, size, answer.deadline)

    def _prepare_for_renderers(self) -> None:
        """Called by MaskRenderer.for_stream."""
        self._lifetime.prepare_for_renderers()

    def _geometry(self, index: int) -> FrameGeometry:
        """:meth:`get_geometry`, likewise."""
        index = _plain(index)
        with self._answers.of(index) as answer, entered("get_geometry"):
            session, geometry = self._get(index, answer.deadline)
            session.reader.prepares_planes = True  # whoever asks for geometry is likely to render it
            self._lifetime.products.aim(session, index, None)
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
            session = self._lifetime.open_session()
            found = ask(session, index)
            if found is not None:
                return session, found
            if session is self._lifetime.session:  # it has ended, and none comes after it
                raise self._lifetime.refusal()

    def _range(self, start: int, stop: int | None) -> tuple[Session, int, int]:
        """A range of frames that is in the stream."""
        with marked(), self._lifetime.lock:
            session = self._lifetime.open_session()
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

    def _batch(
        self, session: Session, start: int, stop: int
    ) -> asyncio.Task[tuple[list[FrameGeometry], AlphaStreamError | None]]:
        return asyncio.create_task(self._run(partial(session.fetch_batch, start, stop)))

    async def _run(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run on the library's loop, awaited on the caller's."""
        future = self._lifetime.submit(function)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._lifetime.is_closed and not (task is not None and task.cancelling()):
                raise ClosedError("the stream was closed during the call") from None
            raise


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
