"""
Lifetime: owns what a stream needs while it is open: a lease of the event loop, threads, and the session of the current
source.

It has no reference to the stream, because three callers must work without the stream: the exit handler, a forked child,
and the thread that closes a stream after its garbage collection.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from typing import Any, TypeVar

from .._config import Config
from .._exceptions import AlphaStreamError, ClosedError, FrameTimeoutError, NotReadyError
from .._format.cipher import AsvrKey
from .._runtime.callbacks import Callbacks
from .._runtime.calls import held, marked, may_not_wait
from .._runtime.exit import close_at_exit, forget, in_background
from .._runtime.loop import LoopLease
from .._runtime.workers import Workers
from .._sources import Source, SourceLike, open_source
from .._sources.layers import hold_filling
from .metadata import Metadata, describe
from .monitor import Monitor
from .planner import BufferGoal
from .products import Products
from .reader import StreamReader
from .session import Session
from .stats import new_counters

__all__ = ["Lifetime"]

T = TypeVar("T")

_logger = logging.getLogger("alphastream_gpu")


class Lifetime:
    """
    What a stream owns until it is closed. Any thread may call.

    It is registered to be closed at exit (``Closable``).

    Args:
        config: options.

    Raises:
        NotReadyError: the system has no thread for the library's event loop.
        TransportError: the system has no file descriptor for it.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.lock = threading.RLock()  # a signal handler may ask for stats() while its thread holds it
        """Guards what is assigned here, and the counters."""
        self.counters = new_counters()
        """Of the stream, and of the sessions that have ended."""
        self.retry_reasons: dict[str, int] = {}
        """Of the sessions that have ended."""
        self.session: Session | None = None
        """Of the present source; None before the first, and after closing."""
        self.metadata: Metadata | None = None
        self.fps = config.fps
        self.goal = BufferGoal(frames=config.prefetch_frames)
        self.is_paused = False
        """Whether nothing is fetched but what is asked for."""
        self.is_closed = False
        """Whether closing has begun, or is about to."""
        self.is_parents = False
        """Whether this process is a fork of the one that has the stream."""
        self._parents_session: Session | None = None
        """In such a process: the session."""
        self._is_closing = False
        self._has_renderers = False
        """Whether frames are for a MaskRenderer, so that what it needs of them is computed where they are decoded."""
        self._pending: set[Future[Any]] = set()
        """What :meth:`submit` began."""
        self._closers: set[asyncio.Future[None]] = set()
        """Sources that were replaced, while they are closed."""
        self._loading: set[asyncio.Task[Any]] = set()
        """Of :meth:`load`, on the loop; closing waits until each has closed its source."""
        self.loop = LoopLease()
        self.pool = Workers(config.decode_workers, "alphastream-decode")
        """Where frames are decoded."""
        self.products = Products(config)
        self.callbacks = Callbacks()
        self.monitor = Monitor(self, config.get_frame_timebox)
        close_at_exit(self)

    def refusal(self) -> ClosedError:
        """Why a call is refused after closing."""
        if self.is_parents:
            return ClosedError("the stream was opened before a fork; open it again in the child")
        return ClosedError("the stream is closed")

    def open_session(self) -> Session:
        """
        The session of the present source.

        Raises:
            ClosedError: the stream is closed.
            NotReadyError: nothing is loaded.
        """
        if self.is_closed:
            raise self.refusal()
        if self.session is None:
            raise NotReadyError("nothing is loaded: open a source first")
        return self.session

    def submit(self, function: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """
        Run on the library's loop. Closing cancels it.

        Raises:
            ClosedError: the stream is closed.
        """
        with marked(), self.lock:
            if self.is_closed:
                raise self.refusal()
            future = self.loop.submit(function)
            self._pending.add(future)
        future.add_done_callback(self._forget)
        return future

    def _forget(self, future: Future[Any]) -> None:
        # Without the lock: the collector may run this where the thread holds a session's, and that is taken second.
        self._pending.discard(future)

    def _on_delivered(self) -> None:
        """Frames came in, or could not be had. On the loop."""
        self.products.go_on()
        self.monitor.look()

    # Sources.

    def set_rate(self, fps: Fraction) -> None:
        """Change the frame rate of the present source and of later ones."""
        with held(self.lock):
            self.fps = fps
            if self.metadata is not None:
                self.metadata = replace(self.metadata, fps=fps)
            if self.session is not None:
                self.session.set_goal(self.goal, fps)

    def set_goal(self, goal: BufferGoal) -> None:
        """Change how far ahead the present source and later ones fetch."""
        with held(self.lock):
            self.goal = goal
            if self.session is not None:
                self.session.set_goal(goal, self.fps)

    def pause(self, *, is_paused: bool) -> None:
        """Fetch nothing but what is asked for, of the present source and of later ones; or go on."""
        with held(self.lock):
            self.is_paused = is_paused
            if self.session is not None:
                self.session.pause(is_paused=is_paused)
                hold_filling(self.session.reader.source, is_held=is_paused)

    def drop_head(self, key: object) -> None:
        """A play head was closed: its share is free, and what it alone wanted is given up."""
        if self.is_closed:  # in a forked child, any lock may be held for ever
            return
        session = self.session
        if session is not None:
            session.drop_head(key)
        self.products.drop(key)

    def drop_head_soon(self, key: object) -> None:
        """:meth:`drop_head` on the loop, for finalizers and signal handlers. Takes no lock."""
        if not self.is_closed:
            with suppress(RuntimeError):  # closed meanwhile, and the loop has ended
                self.loop.call_soon(self.drop_head, key)

    def prepare_for_renderers(self) -> None:
        """
        Have frames prepared for a MaskRenderer where they are decoded.

        Raises:
            ClosedError: the stream is closed.
        """
        with marked(), self.lock:
            if self.is_closed:
                raise self.refusal()
            self._has_renderers = True
            if self.session is not None:
                self.session.reader.prepares_planes = True

    async def load(self, source: SourceLike, key: AsvrKey | None, strict: bool) -> None:
        """Open a source in place of the present one, which stays loaded if that fails. On the loop."""
        self.monitor.failure = None
        self.monitor.look()
        try:
            await self._load(source, key, strict)
        except Exception as exc:
            self.monitor.failure = exc if isinstance(exc, AlphaStreamError) else NotReadyError(f"opening: {exc}")
            raise
        finally:
            self.monitor.look()

    async def _load(self, source: SourceLike, key: AsvrKey | None, strict: bool) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._loading.add(task)
        task.add_done_callback(self._loading.discard)
        config = self.config
        opened: Source | None = None
        try:
            async with asyncio.timeout(config.init_timeout):
                opened = await open_source(source, config)
                hold_filling(opened, is_held=self.is_paused)
                # In the stream's threads, which closing waits for: OpenSSL keeps something for each that derives a key.
                reader = await StreamReader.open(opened, key=key, strict=strict, config=config, executor=self.pool)
            session = Session(
                reader, config, self.loop, self.pool, fps=self.fps, goal=self.goal, on_delivered=self._on_delivered
            )
            with self.lock:
                if self.is_closed:
                    raise ClosedError("the stream was closed while it was opening a source")
                reader.prepares_planes = self._has_renderers
                previous, self.session = self.session, session
                if previous is not None:
                    previous.retire(session)
                    previous.add_counts(self.counters, self.retry_reasons)
                session.set_goal(self.goal, self.fps)  # they may have been changed meanwhile
                session.pause(is_paused=self.is_paused)
                hold_filling(opened, is_held=self.is_paused)
                self.metadata = replace(describe(reader, config), fps=self.fps)
        except BaseException as exc:
            present = self.session
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
        self.products.forget()
        self.monitor.look()
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

    # Closing.

    def close(self) -> None:
        """Close, and wait until all is closed; where this thread may not wait, in another one."""
        if may_not_wait():
            self.hand_over()
            return
        with marked():
            closing = self.begin_close()
            if closing is not None:
                self.end_close(closing)

    async def aclose(self) -> None:
        """:meth:`close`, without blocking the caller's event loop."""
        if may_not_wait():
            self.hand_over()
            return
        with marked():
            closing = self.begin_close()
        if closing is not None:
            await asyncio.shield(asyncio.to_thread(self._wait_for_close, closing))

    def hand_over(self) -> None:
        """Close in a thread of its own. Takes no lock: the call that was interrupted may hold any."""
        if not self.is_closed:
            self.is_closed = True
            in_background(self.close)

    def begin_close(self) -> Future[None] | None:
        """Refuse new calls, end the waiting ones, begin to close the source; None when somebody else already closes."""
        with self.lock:
            if self._is_closing:
                return None
            self._is_closing = self.is_closed = True
            self.products.refuse()
            if self.session is not None:
                self.session.close()
            pending = list(self._pending)
        for future in pending:
            future.cancel()
        return self.loop.submit(self._close_sources)

    async def _close_sources(self) -> None:
        session: Session | None = None
        try:
            try:
                with self.lock:
                    session, self.session = self.session, None
                    if session is not None:
                        session.add_counts(self.counters, self.retry_reasons)
            finally:  # also if counting fails, which reads properties of the source
                self.monitor.end()
                if session is not None:
                    await session.aclose()
        finally:
            for task in self._loading:
                if not task.cancelling():  # a second cancellation would interrupt the clean-up after the first
                    task.cancel()
            await asyncio.gather(*self._closers, *self._loading, return_exceptions=True)

    def end_close(self, closing: Future[None], deadline: float | None = None) -> None:
        """
        Wait until all is closed and the stream's threads have ended. Never on a thread of the library's.

        Args:
            closing: what :meth:`begin_close` gave.
            deadline: by `time.monotonic`, when to give up waiting.
        """
        try:
            closing.result(None if deadline is None else max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            if closing.done():
                raise
        finally:
            self.products.close(deadline)
            self.callbacks.end()
            self.pool.shutdown(wait=False, cancel_futures=True)
            self.pool.join(deadline)
            self.loop.release(deadline)
            forget(self)

    def _wait_for_close(self, closing: Future[None]) -> None:
        with marked():
            self.end_close(closing)

    def disown(self) -> None:
        """Leave all alone, in a forked child: the threads are the parent's, and so may be who holds a lock."""
        self.is_closed = self._is_closing = self.is_parents = True
        self.lock = threading.RLock()
        # Whoever finds no session takes none of its locks. It is kept, because it has open connections of the parent's.
        self._parents_session, self.session = self.session, None
