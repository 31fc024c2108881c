"""
Playing: the real-time calls of a play head. A stream has one of its own, and may have more (``heads.py``).
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from .._exceptions import AlphaStreamError, ClosedError, TransportError
from .._geometry.aligned import read_only_copy
from .._geometry.frame import FrameGeometry
from .._geometry.size import check_size
from .._runtime.calls import entered, held
from .answers import Answers
from .fetches import Pending
from .lifetime import Lifetime
from .products import TimeBoxEndedError
from .session import Session
from .stats import LastError

__all__ = ["Playing", "plain"]


class Playing:
    """
    A play head, and the calls that move it. Any thread may call.

    Args:
        lifetime: of the stream.
        key: of the play head; None is the stream's own.
    """

    def __init__(self, lifetime: Lifetime, key: object) -> None:
        self._lifetime = lifetime
        self._key = key
        self._answers = Answers(lifetime, lifetime.config.get_frame_timebox)
        self._ask: Callable[[Session, int], FrameGeometry | Pending | None] = (
            Session.ask if key is None else partial(Session.ask, key=key)
        )

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
        native_width, native_height = self._lifetime.config.native_size
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
        index = plain(index)
        with self._answers.of(index) as answer, entered("get_triangle_strip_vertices"):
            session, geometry = self._get(index, answer.deadline)
            strip = self._lifetime.products.strip(session, index, geometry, answer.deadline, self._key)
        return read_only_copy(strip)

    def seek(self, index: int, *, reverse: bool = False) -> None:
        """
        Move the play head, and fetch what is there, without waiting.

        The frame is fetched at once, as urgently as by :meth:`get_frame`, and then what play needs from there. What the
        play head asked for before is given up, unless somebody waits for it or another play head wants it: of many
        seeks in a row, as while a slider is dragged, only the newest target is fetched.

        Args:
            index: the frame.
            reverse: whether play goes backward from there. What lies before the frame is fetched then. Three frames in
                a row that are asked for backward say the same, and one that is asked for forward turns play around.

        Raises:
            FrameNotFoundError: outside the stream.
            NotReadyError: nothing is loaded, or called within another call of this library on the same thread.
            ClosedError: the stream is closed.
        """
        index = plain(index)
        with entered("seek"):
            self._refuse_if_closed()
            while True:
                session = self._lifetime.open_session()
                if session.seek(index, self._key, reverse=reverse):
                    break
                if session is self._lifetime.session:
                    raise self._lifetime.refusal()
            self._lifetime.products.aim_again(index, session.ahead(self._key), self._key)

    @property
    def is_stalled(self) -> bool:
        """
        Whether the frame at the play head is missing, and the last attempt to get it failed or is late.

        A frame is late once it was missing for longer than the time box. Directly after a jump or a seek it is late
        once it was missing for longer than the time box and twice what a read takes, on average. False before a frame
        was asked for, and when the stream is closed.
        """
        session = self._lifetime.session
        return session is not None and self._lifetime.monitor.is_stalled(session, self._key)

    @property
    def buffered_seconds(self) -> float:
        """Seconds of play that are here without a gap, from the play head's frame on, in the direction of play."""
        session = self._lifetime.session
        if session is None:
            return 0.0
        with held(session.lock):
            head = session.planner.find(self._key)
            n_frames = 0 if head is None else session.n_buffered(head)
        return float(n_frames / self._lifetime.fps)

    def _refuse_if_closed(self) -> None:
        """For play heads that can be closed by themselves."""

    def last_error(self) -> LastError | None:
        """
        Why the calling thread's last real-time call gave None; None after one that gave something.

        Each thread has its own, so that no other thread's call comes between a None and the question why.
        """
        return self._answers.last_error()

    def clear_error(self) -> None:
        """Forget the calling thread's last error."""
        self._answers.clear_error()

    def _mask(
        self, index: int, size: tuple[int, int], made: npt.NDArray[np.uint8] | None = None
    ) -> npt.NDArray[np.uint8]:
        """
        :meth:`get_frame`, raising what that returns None for. Not a copy: the C library gives out a const pointer, and
        keeps the array alive.

        Args:
            index: the frame.
            size: ``(width, height)`` of the mask.
            made: the mask if the caller has it already; then only the play head moves.
        """
        index = plain(index)
        with self._answers.of(index) as answer, entered("get_frame"):
            if made is not None:
                session, found = self._asked(self._ask, index)
                if not isinstance(found, FrameGeometry):
                    session.leave(index, found, keep=True)
                self._lifetime.products.aim(session, index, size, self._key)
                return made
            session, geometry = self._get(index, answer.deadline)
            return self._lifetime.products.mask(session, index, geometry, size, answer.deadline, self._key)

    def _geometry(self, index: int) -> FrameGeometry:
        """:meth:`get_geometry`, likewise."""
        index = plain(index)
        with self._answers.of(index) as answer, entered("get_geometry"):
            session, geometry = self._get(index, answer.deadline)
            session.reader.prepares_planes = True  # whoever asks for geometry is likely to render it
            self._lifetime.products.aim(session, index, None, self._key)
        return geometry

    def _get(self, index: int, deadline: float) -> tuple[Session, FrameGeometry]:
        """A frame's geometry by the deadline. Raises whatever prevents it."""
        session, found = self._asked(self._ask, index)
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

    def _not_there(self, session: Session, index: int) -> AlphaStreamError:
        """
        Why a frame is not there within the time box. While a source waits before it tries again what failed, that
        is the failure: a player that polls would never be told, because few calls end just when an attempt fails.
        """
        source = session.reader.source
        failure, next_at = source.last_failure, source.next_attempt_at
        if failure is None or next_at is None:
            box = self._lifetime.config.get_frame_timebox
            return TimeBoxEndedError(
                f"frame {index}: not there within {box:g} ms; it is still coming", frame_index=index
            )
        wait = max(0.0, next_at - time.monotonic())
        return TransportError(
            f"frame {index}: the last attempt failed: {failure}; the next is in {wait:.1f} s", frame_index=index
        )


def plain(index: int) -> int:
    """As Python's own int: numpy's would overflow in sums, and True would be a key beside 1."""
    return int(operator.index(index))
