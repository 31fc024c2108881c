"""
AlphaStream: the public class of an opened stream. A thin layer; the work is done on the library's event loop and in its
thread pools.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from fractions import Fraction
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from .._config import Config
from .._exceptions import (
    AlphaStreamError,
    ClosedError,
    NotReadyError,
)
from .._format.cipher import AsvrKey
from .._geometry.frame import FrameGeometry
from .._runtime.calls import entered, held, marked
from .._sources import SourceLike
from .buffering import Buffering
from .lifetime import Lifetime
from .metadata import Metadata
from .playing import plain
from .session import Session
from .stats import Stats, counted
from .timebase import frame_at, time_of

__all__ = ["AlphaStream"]

T = TypeVar("T")


class AlphaStream(Buffering):
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
    :meth:`read_batch`                       FrameGeometry objects   blocks the thread     raises
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
            super().__init__(Lifetime(self._config), None)

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

    @property
    def fingerprint(self) -> str:
        """
        The name of the file's content, 64 hexadecimal digits. It is the SHA-256 of the sizes of the blocks, the length
        of the file, and its strong ETag or else Last-Modified, if a server sends one and ``config.http_validate`` is
        ``"etag"``.

        A copy of a file has the same fingerprint as the file, on any disk and in memory. The file behind a URL has
        another one than its copy on a disk, because of the ETag. Blocks are not read for it: two files whose blocks
        all have equal sizes have the same fingerprint if no server tells them apart.

        Raises:
            NotReadyError: nothing is loaded.
            ClosedError: the stream is closed.
        """
        return self._lifetime.open_session().reader.fingerprint()

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
                counts, reasons = dict(lifetime.counters), dict(lifetime.retry_reasons)
                session = lifetime.session
            if session is not None:
                session.add_counts(counts, reasons)
            if session is lifetime.session:  # otherwise another source was loaded meanwhile, and counts are double
                break
        counts["made_ahead"] = lifetime.products.n_made
        stats = counted(counts, reasons)
        if session is None:
            return stats
        network, requests = session.network, session.reader.source.recent_requests
        return replace(stats, bandwidth=network.bandwidth, latency=network.latency, recent_requests=requests)

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
        index = plain(index)
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
        index = plain(index)
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
                    batch = batch or self._lifetime.submit(partial(session.bulk.fetch, start, stop))
                    try:
                        geometries, error = batch.result()
                    except CancelledError:
                        raise ClosedError("the stream was closed during the call") from None
                    start += len(geometries)
                    is_more = error is None and start < stop
                    batch = self._lifetime.submit(partial(session.bulk.fetch, start, stop)) if is_more else None
                yield from geometries
                if error is not None:
                    raise error
        finally:
            if batch is not None:
                batch.cancel()

    def read_batch(self, indices: Iterable[int]) -> list[FrameGeometry]:
        """
        Fetch and decode several frames, in any order, for scripts; blocks as long as it takes, as :meth:`read_frame`.

        Frames that lie near each other are read together. From a server, up to 64 KiB between two frames are read and
        dropped, which takes less time than another request. The frames are decoded on the calling thread, past the
        cache.

        Args:
            indices: frames from 0, in any order, each as often as wanted. A frame is read and decoded once.

        Returns:
            The frames in the order of `indices`.

        Raises:
            FrameNotFoundError: an index is outside the stream; then nothing is read.
            NotReadyError: as of :meth:`read_frame`, or another source was loaded during the call.
            DecodeError: one of the frames is malformed; the first one in the file.
            TransportError: the source failed.
            FrameTimeoutError: the source took longer than its deadline, such as ``config.http_deadline``.
            ClosedError: the stream was closed, also while reading.
        """
        wanted = [plain(index) for index in indices]
        with entered("read_batch"):
            with self._lifetime.lock:
                session = self._lifetime.open_session()
            for index in wanted:
                session.reader.check(index)
            found = session.bulk.read(sorted(set(wanted)))
        return [found[index] for index in wanted]

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

    def _prepare_for_renderers(self) -> None:
        """Called by MaskRenderer.for_stream."""
        self._lifetime.prepare_for_renderers()

    def _range(self, start: int, stop: int | None) -> tuple[Session, int, int]:
        """A range of frames that is in the stream."""
        with marked(), self._lifetime.lock:
            session = self._lifetime.open_session()
        start, stop = plain(start), session.n_frames if stop is None else plain(stop)
        if start < stop:
            session.reader.check(start)
            session.reader.check(stop - 1)
        return session, start, stop

    def _batch(
        self, session: Session, start: int, stop: int
    ) -> asyncio.Task[tuple[list[FrameGeometry], AlphaStreamError | None]]:
        return asyncio.create_task(self._run(partial(session.bulk.fetch, start, stop)))

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


def _relay(waiter: Future[FrameGeometry], done: Future[FrameGeometry]) -> None:
    """Pass a result on to one waiter, unless that one was cancelled."""
    if waiter.set_running_or_notify_cancel():
        error = done.exception()
        if error is not None:
            waiter.set_exception(error)
        else:
            waiter.set_result(done.result())
