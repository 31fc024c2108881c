"""
Buffering: what is here of a stream, what is fetched in advance, and who is told of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import suppress
from itertools import pairwise
from typing import Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from .._exceptions import AlphaStreamError, ClosedError
from .._geometry.frame import FrameGeometry
from .._runtime.callbacks import ToldFuture
from .._runtime.calls import entered, marked
from .attempts import Attempt, Outcome
from .events import AsyncListener, CallbackListener, StreamEvent, StreamState
from .heads import PlayHead
from .monitor import error_of
from .planner import BufferGoal
from .playing import Playing, plain
from .session import Session

__all__ = ["Buffering", "Readiness"]

T = TypeVar("T")
Mask = npt.NDArray[np.uint8]

Readiness: TypeAlias = Literal["missing", "coming", "fetched", "ready", "failed"]
"""How far a mask is. ``"coming"``: the frame is being fetched, or its mask is being made. ``"fetched"``: the geometry
is here, and a call makes the mask."""


class Buffering(Playing):
    """The part of a stream that says and steers what is fetched. Any thread may call."""

    def request(self, index: int) -> Future[FrameGeometry]:
        """
        Ask for a frame without waiting.

        The frame is fetched as urgently as by :meth:`get_frame`; a fetch of it that is under way is joined. The play
        head does not move. Cancelling the future gives the fetch up, unless somebody else wants the frame. It works
        with ``concurrent.futures.wait`` and ``asyncio.wrap_future``. In a forked child, waiting for it raises
        ClosedError.

        Callbacks (``add_done_callback``) run on a thread of this stream that does nothing else, one after another: they
        may block and make any call, but delay each other. What ``asyncio.wrap_future`` adds does not wait for them. One
        that is added when the future is done runs at once, on the thread that adds it.

        Args:
            index: the frame.

        Returns:
            A future of the frame's geometry. Its errors are those of :meth:`read_frame`. Closing the stream ends it
            with ClosedError, loading another source with NotReadyError.

        Raises:
            FrameNotFoundError: outside the stream.
            NotReadyError: nothing is loaded, or called within another call of this library on the same thread.
            ClosedError: the stream is closed.
        """
        return self._request(plain(index))[1]

    def _request(self, index: int) -> tuple[Session, ToldFuture[FrameGeometry]]:
        """:meth:`request`, and the session that was asked."""
        lifetime = self._lifetime
        future: ToldFuture[FrameGeometry] = ToldFuture(lifetime.callbacks, lifetime.refusal)
        with entered("request"):
            session, found = self._asked(Session.ask_offline, index)
        if isinstance(found, FrameGeometry):
            future.set_result(found)
            return session, future
        pending = found

        def leave(_: Future[FrameGeometry]) -> None:
            if not lifetime.is_parents:
                with marked():
                    session.leave(index, pending, keep=False)

        future.when_done(leave)
        pending.future.add_done_callback(lambda done: _relay(future, done))
        return session, future

    def _request_mask(self, index: int, size: tuple[int, int]) -> Future[Mask]:
        """
        :meth:`request` of a mask. When the geometry is here, the pool makes the mask.

        Args:
            index: the frame.
            size: ``(width, height)`` of the mask.
        """
        session, geometry = self._request(plain(index))
        mask: Future[Mask] = Future()

        def make(done: Future[FrameGeometry]) -> None:
            try:
                with marked():
                    work = self._lifetime.products.mask_later(session, index, done.result(), size)
            except Exception as exc:  # also that of a cancelled future
                if mask.set_running_or_notify_cancel():
                    mask.set_exception(exc)
                return
            work.add_done_callback(lambda made: _relay(mask, made))
            mask.add_done_callback(lambda _: work.cancel())  # no effect on work that is done

        geometry.when_done(make)
        mask.add_done_callback(lambda _: geometry.cancel())
        return mask

    def _made_mask(self, index: int, size: tuple[int, int]) -> Mask | None:
        """The mask of a frame if it was made ahead. Does not wait, and the play head does not move."""
        with marked():
            session = self._lifetime.open_session()
            session.reader.check(index)
            return self._lifetime.products.made_mask(session, index, size)

    def _readiness(self, index: int, size: tuple[int, int]) -> tuple[Readiness, AlphaStreamError | None]:
        """
        How far a mask is, and why the last attempt to fetch the frame failed. Does not wait, and changes nothing.

        Args:
            index: the frame.
            size: ``(width, height)`` of the mask.

        Raises:
            FrameNotFoundError: outside the stream.
            NotReadyError: nothing is loaded.
            ClosedError: the stream is closed.
        """
        with marked():
            session, products = self._lifetime.open_session(), self._lifetime.products
            session.reader.check(index)
            is_here, is_coming, failure = session.status(index)
            if is_here:
                if products.made_mask(session, index, size) is not None:
                    return "ready", None
                return "coming" if products.is_mask_coming(session, index, size) else "fetched", None
        if is_coming:
            return "coming", None
        return ("missing", None) if failure is None else ("failed", failure)

    def prefetch(self, start: int, stop: int) -> Future[int]:
        """
        Fetch a range of frames in advance, without waiting.

        The play heads come first: the range is read while they need nothing, one read at a time. It is cut to half of
        ``config.cache_frames``, because the other half belongs to the play heads; play and later ranges drop its frames
        as they drop all that was not used lately. A frame that is malformed is passed over. At most 256 ranges may wait
        at a time.

        Args:
            start: first frame.
            stop: one past the last frame.

        Returns:
            A future of the number of frames of the range that are here when all were read. Cancelling it ends the
            fetching. It ends with TransportError or FrameTimeoutError after three failed reads, and with ClosedError
            or NotReadyError as that of :meth:`request`. Callbacks run as there.

        Raises:
            FrameNotFoundError: outside the stream.
            NotReadyError: nothing is loaded, too many ranges wait, or called within another call of this library on the
                same thread.
            ClosedError: the stream is closed.
        """
        start, stop = plain(start), plain(stop)
        lifetime = self._lifetime
        future: ToldFuture[int] = ToldFuture(lifetime.callbacks, lifetime.refusal)
        with entered("prefetch"):
            while True:
                session = lifetime.open_session()
                if start < stop:
                    session.reader.check(start)
                    session.reader.check(stop - 1)
                most = max(1, lifetime.config.cache_frames // 2)
                if session.prefetch(start, min(max(start, stop), start + most), future):
                    break
                if session is lifetime.session:
                    raise lifetime.refusal()

        def look(_: Future[int]) -> None:
            if future.cancelled() and not lifetime.is_closed:
                with suppress(RuntimeError):  # closed meanwhile, and the loop has ended
                    lifetime.loop.call_soon(session.look_after_ranges)

        future.when_done(look)
        return future

    def buffered(self) -> tuple[tuple[int, int], ...]:
        """
        The frames whose geometry is here.

        Returns:
            Ranges of frames ``(start, stop)``, `stop` exclusive, ascending and with a gap between any two. Empty if
            nothing is loaded.
        """
        session = self._lifetime.session
        if session is None:
            return ()
        with marked():
            here = sorted(session.cached())
        if not here:
            return ()
        cuts = [(a + 1, b) for a, b in pairwise(here) if b != a + 1]
        starts = [here[0], *(b for _, b in cuts)]
        return tuple(zip(starts, [*(a for a, _ in cuts), here[-1] + 1], strict=True))

    def last_attempt(self, index: int) -> Attempt | None:
        """
        What came of the last attempt to get a frame.

        The last 256 reads and the last 1,024 failures are remembered.

        Args:
            index: the frame; it may lie outside the stream.

        Returns:
            None if nobody tried, or it is forgotten.
        """
        index = plain(index)
        session = self._lifetime.session
        if session is None:
            return None
        with marked():
            is_here, is_coming, failure = session.status(index)
        read = session.network.last_read(index)
        outcome: Outcome = "here" if is_here else "failed" if failure else "coming" if is_coming else "dropped"
        if outcome == "dropped" and read is None:
            return None
        error = error_of(failure, index) if outcome == "failed" and failure is not None else None
        if read is None or outcome == "coming":
            return Attempt(index, outcome, error, None, None)
        return Attempt(index, outcome, error, read.ended_at - read.began_at, read.ended_at)

    @property
    def buffer_goal(self) -> BufferGoal:
        """How far ahead of the play head frames are fetched; at first ``config.prefetch_frames``."""
        return self._lifetime.goal

    def set_buffer_goal(self, goal: BufferGoal) -> None:
        """
        Change how far ahead of each play head frames are fetched, also while playing: up to the first of the limits.

        All play heads together fetch at most half of ``config.cache_frames`` ahead. The goal holds for sources that are
        loaded later, too. What was fetched already stays.

        Args:
            goal: the limits.
        """
        if not isinstance(goal, BufferGoal):
            raise TypeError(f"goal: expected a BufferGoal, found {type(goal).__name__}")
        self._lifetime.set_goal(goal)

    @property
    def is_paused(self) -> bool:
        """Whether :meth:`pause` holds back what nobody asked for."""
        return self._lifetime.is_paused

    def pause(self) -> None:
        """
        Fetch nothing in advance until :meth:`resume`: neither what lies ahead of a play head nor a range, nor the rest
        of the file for the disk cache.

        Frames that are asked for are fetched all the same, and reads under way go on. Play itself does not stop.
        """
        self._lifetime.pause(is_paused=True)

    def resume(self) -> None:
        """Fetch in advance again, after :meth:`pause`."""
        self._lifetime.pause(is_paused=False)

    def play_head(self) -> PlayHead:
        """
        Make another play head, for a second position or a second size in the same stream.

        Raises:
            ClosedError: the stream is closed.
        """
        if self._lifetime.is_closed:
            raise self._lifetime.refusal()
        return PlayHead(self._lifetime)

    @property
    def state(self) -> StreamState:
        """
        What the stream is doing, for a player's display; of the stream's own play head.

        - ``"opening"``: nothing is loaded yet.
        - ``"failed"``: nothing is loaded, because the last source could not be opened.
        - ``"buffering"``: no frame was asked for yet, or the frame at the play head is on its way and not late.
        - ``"stalled"``: that frame is missing, and the last attempt failed or is late; see :attr:`is_stalled`.
        - ``"playing"``: that frame is here. The library does not know whether the player moves on.
        - ``"ended"``: that frame is here, and is the last one in the direction of play.
        - ``"closed"``: the stream is closed.
        """
        with marked():
            return self._lifetime.monitor.state()

    def on_event(self, callback: Callable[[StreamEvent], object]) -> Callable[[], None]:
        """
        Have a function called when :attr:`state` changes.

        The function is called on a thread of this stream that does nothing else, never on a thread that renders, one
        event after another, in order. It may block and make any call. At most 64 events wait for it; then the oldest
        are lost, and :attr:`StreamEvent.lost` of the next says how many. States that last for less than some
        microseconds may not be seen. The first event says what the state is; the last is ``"closed"``. An exception is
        logged, and ends nothing.

        Args:
            callback: called with each event.

        Returns:
            A function that ends this. A call that is under way is not waited for.

        Raises:
            ClosedError: the stream is closed.
            NotReadyError: the system has no thread for it.
        """
        lifetime = self._lifetime
        with marked():
            if lifetime.is_closed:
                raise lifetime.refusal()
            lifetime.callbacks.start()
            listener = CallbackListener(callback, lifetime.callbacks)
        self._on_loop(_add, lifetime.monitor.add, listener)

        def end() -> None:
            listener.end()
            with suppress(ClosedError):
                self._on_loop(lifetime.monitor.remove, listener)

        return end

    def events(self) -> AsyncIterator[StreamEvent]:
        """
        Iterate over the changes of :attr:`state`, from this call on, on the running event loop.

        Order, bound and the first event as of :meth:`on_event`; after ``"closed"`` the iteration ends.

        Raises:
            ClosedError: the stream is closed.
            RuntimeError: no event loop is running.
        """
        lifetime = self._lifetime
        with marked():
            if lifetime.is_closed:
                raise lifetime.refusal()
            listener = AsyncListener(asyncio.get_running_loop())
        self._on_loop(_add_iterator, lifetime.monitor.add, listener)
        return listener.iterate()

    def _on_loop(self, function: Callable[..., object], *args: object) -> None:
        """Call a function on the loop, before closing ends what is there. Raises ClosedError if that has begun."""
        lifetime = self._lifetime
        with marked(), lifetime.lock:
            if lifetime.is_closed:
                raise lifetime.refusal()
            lifetime.loop.call_soon(function, *args)


def _add(add: Callable[..., None], listener: CallbackListener) -> None:
    add(listener, is_iterator=False)


def _add_iterator(add: Callable[..., None], listener: AsyncListener) -> None:
    add(listener, is_iterator=True)


def _relay(future: Future[T], done: Future[T]) -> None:
    """Pass a result on, unless the future was cancelled."""
    if future.set_running_or_notify_cancel():
        error = ClosedError("the stream was closed during the call") if done.cancelled() else done.exception()
        if error is not None:
            future.set_exception(_own(error))
        else:
            future.set_result(done.result())


def _own(error: BaseException) -> BaseException:
    """The same error as this future's own: raised by many threads at once, one object would mix up tracebacks."""
    if not isinstance(error, AlphaStreamError):
        return error
    own = type(error)(str(error), frame_index=error.frame_index)
    own.__cause__ = error.__cause__
    return own
