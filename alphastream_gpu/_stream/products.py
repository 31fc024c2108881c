"""
Products: provides the masks and strips of frames, made ahead of the play head or during a call.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from .._config import Config
from .._exceptions import AlphaStreamError, ClosedError, DecodeError, FrameTimeoutError, mapped_errors, shown_as_base
from .._geometry.frame import FrameGeometry
from .._raster.coverage import mask_steps, rasterize
from .._runtime.workers import Workers, usable_processors
from .ahead import GivenUp, MadeAhead, Wait, Waiting
from .session import Session

__all__ = ["Products", "TimeBoxEndedError"]

T = TypeVar("T")
Variant = TypeVar("Variant", bound=Hashable)
Mask = npt.NDArray[np.uint8]
Strip = npt.NDArray[np.float32]

_QUICK_POINTS: Final = 1000
_QUICK_PIXELS: Final = 1 << 22
"""A frame within both limits is rasterized on the caller's thread. That takes a few milliseconds, even if each step is
as long as the format allows. A larger frame is rasterized in the pool, where the time box can end the wait."""
_QUICK_SHARE: Final = 2 / 3
"""How much of the time box may be gone when that begins. Later, the pool makes the product, for this call or the
next."""
_QUICK_SECONDS: Final = 0.001
"""What may be gone of any time box but one of 0: a frame that is here needs no waiting."""
_MAX_SLOW: Final = 4
"""The most products that the pool makes for calls whose time box ended. One more, and the oldest is given up."""


@shown_as_base
class TimeBoxEndedError(FrameTimeoutError):
    """The time box of a real-time call ended. The stream counts these apart from I/O deadlines."""


class Products:
    """
    The masks and the cover strips of a stream.

    A product is found if it was made ahead. Otherwise it is made now, and nothing is begun ahead meanwhile: what
    somebody waits for never queues behind what nobody has asked for yet.

    All methods may be called from any thread.

    Args:
        config: options.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        # One processor is left for what somebody waits for: a product made ahead is given up only between two steps.
        n_workers = min(config.raster_workers, max(1, usable_processors() - 1))
        n_ahead = config.ready_frames
        self._ahead_pool = Workers(n_workers, "alphastream-raster")
        self._asked_pool = Workers(config.raster_workers, "alphastream-asked")
        self._waiting = Waiting()
        self._masks = MadeAhead(self._mask_ahead, self._waiting, n_ahead, n_workers, self._ahead_pool)
        self._strips = MadeAhead(_strip_of, self._waiting, n_ahead, n_workers, self._ahead_pool)
        self._lock = threading.RLock()
        self._slow: OrderedDict[Hashable, Future[object]] = OrderedDict()
        """What the pool makes for calls, by frame and variant; a call that asks again joins."""
        self._is_closed = False

    @property
    def n_made(self) -> int:
        """Products made ahead so far."""
        return self._masks.n_made + self._strips.n_made

    def mask(
        self,
        session: Session,
        index: int,
        geometry: FrameGeometry,
        size: tuple[int, int],
        deadline: float,
        head: object = None,
    ) -> Mask:
        """
        The mask of a frame.

        Args:
            session: what the frame is of.
            index: the frame.
            geometry: of the frame.
            size: ``(width, height)`` of the mask.
            deadline: by ``time.monotonic``, when the call's time box ends.
            head: the key of the play head; None is the stream's own.

        Raises:
            TimeBoxEndedError: it is not ready by the deadline; ask again.
            ClosedError: the stream was closed.
        """
        variant = (session.serial, size)
        make = partial(_mask_of, self._config.native_size)
        return self._get(self._masks, make, session, index, geometry, variant, size[0] * size[1], deadline, head)

    def strip(
        self, session: Session, index: int, geometry: FrameGeometry, deadline: float, head: object = None
    ) -> Strip:
        """
        The cover strip of a frame. Arguments and errors as of :meth:`mask`.

        Raises:
            DecodeError: the frame's outlines cross too often.
        """
        try:
            variant: tuple[int, Literal["cover"]] = (session.serial, "cover")
            return self._get(self._strips, _strip_of, session, index, geometry, variant, 0, deadline, head)
        except DecodeError as exc:
            raise DecodeError(f"frame {index}: {exc}", frame_index=index) from exc

    def made_mask(self, session: Session, index: int, size: tuple[int, int]) -> Mask | None:
        """The mask of a frame if it is made already. Does not wait."""
        return self._masks.get(index, (session.serial, size))

    def is_mask_coming(self, session: Session, index: int, size: tuple[int, int]) -> bool:
        """Whether the mask of a frame that is here is being made, or will be made ahead."""
        key = (index, (session.serial, size))
        with self._lock:
            if key in self._slow:
                return True
        return self._masks.is_coming(*key)

    def mask_later(self, session: Session, index: int, geometry: FrameGeometry, size: tuple[int, int]) -> Future[Mask]:
        """
        Make the mask of a frame in the pool, for a caller that does not wait. It is as urgent as one that is waited
        for: nothing is begun ahead until it is made.

        Args:
            session: what the frame is of.
            index: the frame.
            geometry: of the frame.
            size: ``(width, height)`` of the mask.

        Returns:
            A future of the mask. It can be cancelled until it is begun. Closing the stream cancels it.

        Raises:
            ClosedError: the stream is closed.
            NotReadyError: the system has no thread for it.
        """
        variant = (session.serial, size)
        wait = self._waiting.begin()
        try:
            work = self._asked_pool.submit(self._mask_kept, geometry, index, variant, wait)
        except RuntimeError as exc:
            self._end_wait(wait)
            if isinstance(exc, AlphaStreamError):
                raise
            raise ClosedError("the stream is closed") from exc  # the pool is shut down
        work.add_done_callback(partial(self._end_wait, wait))
        return work

    def aim(self, session: Session, index: int, size: tuple[int, int] | None, head: object = None) -> None:
        """Have ready what lies ahead of a frame for a play head: strips, and masks of a size if there is one."""
        if not self._config.ready_frames:
            return
        processing, ahead = self._config.processing, session.ahead(head)
        if processing != "mask":
            self._strips.aim(ahead, index, (session.serial, "cover"), session.peek, head)
        if processing != "triangles" and size is not None:
            self._masks.aim(ahead, index, (session.serial, size), session.peek, head)

    def aim_again(self, index: int, ahead: range, head: object) -> None:
        """Have ready a frame that a play head was sent to, and what lies ahead, as it was asked for lately."""
        self._strips.aim_again(index, ahead, head)
        self._masks.aim_again(index, ahead, head)

    def drop(self, head: object) -> None:
        """A play head was closed: make nothing ahead of it."""
        self._strips.drop(head)
        self._masks.drop(head)

    def go_on(self) -> None:
        """Frames came in, or a wait ended: some of what is wanted ahead may be possible now."""
        self._masks.go_on()
        self._strips.go_on()

    def forget(self) -> None:
        """Drop what was made, and is being made, of a source that is gone."""
        self._masks.forget()
        self._strips.forget()
        with self._lock:
            slow, self._slow = self._slow, OrderedDict()
        for work in slow.values():
            work.cancel()

    def refuse(self) -> None:
        """Begin nothing more: the stream is being closed."""
        self._is_closed = True

    def close(self, deadline: float | None) -> None:
        """End the threads; by a deadline of ``time.monotonic``, if there is one."""
        self._is_closed = True
        self.forget()
        for pool in (self._ahead_pool, self._asked_pool):
            pool.shutdown(wait=False, cancel_futures=True)
            pool.join(deadline)

    def _get(
        self,
        products: MadeAhead[Variant, T],
        make: Callable[[FrameGeometry, Variant], T],
        session: Session,
        index: int,
        geometry: FrameGeometry,
        variant: Variant,
        n_pixels: int,
        deadline: float,
        head: object,
    ) -> T:
        # The variant has the session's number: a product of another source must never be found under this index.
        product = products.get(index, variant)
        size = variant[1] if products is self._masks else None  # type: ignore[index]
        if product is not None:
            self.aim(session, index, size, head)
            return product
        wait = self._waiting.begin()
        try:
            self.aim(session, index, size, head)
            work = partial(make, geometry, variant)
            product = self._in_time(index, (index, variant), geometry, deadline, n_pixels, work)
            products.keep(index, variant, product)
        finally:
            self._end_wait(wait)
        return product

    def _mask_kept(self, geometry: FrameGeometry, index: int, variant: tuple[int, tuple[int, int]], wait: Wait) -> Mask:
        """A mask, which is kept with those that are made ahead if it is one of them. Holds the wait meanwhile."""
        with mapped_errors(f"frame {index}"):
            mask = _mask_of(self._config.native_size, geometry, variant)
        self._masks.keep_if_wanted(index, variant, mask)
        return mask

    def _mask_ahead(self, geometry: FrameGeometry, variant: tuple[int, tuple[int, int]]) -> Mask:
        """A mask that nobody has asked for yet, given up between two steps if somebody waits for another."""
        steps = mask_steps(geometry, variant[1], self._config.native_size)
        while not self._waiting:
            try:
                next(steps)
            except StopIteration as end:
                mask: Mask = end.value
                return mask
        raise GivenUp

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
                        raise TimeBoxEndedError(
                            f"frame {index}: what is made of its {len(geometry.points)} points is not ready yet; ask"
                            " again",
                            frame_index=index,
                        ) from exc
                    made = work.result()  # or cancelled, in that very moment
        except CancelledError as exc:
            if self._is_closed:
                raise ClosedError("the stream was closed during the call") from exc
            raise TimeBoxEndedError(f"frame {index}: other frames came first; ask again", frame_index=index) from exc
        finally:
            if work.done():
                with self._lock:
                    if self._slow.get(key) is work:
                        del self._slow[key]
        return made

    def _asked(self, key: Hashable, make: Callable[[], T]) -> Future[T]:
        """What the pool makes for a call; begun if no call asked before."""
        dropped: list[Future[object]] = []
        with self._lock:
            work: Future[T] | None = self._slow.get(key)  # type: ignore[assignment]  # under a key, always the same kind
            if work is not None:
                return work
            if self._is_closed:
                raise ClosedError("the stream is closed")
            # The pool holds the wait: it lasts until the product is made, also if the time box ends before.
            wait = self._waiting.begin()
            work = self._asked_pool.submit(_made, make, wait)
            self._slow[key] = work  # type: ignore[assignment]
            while len(self._slow) > _MAX_SLOW:
                dropped.append(self._slow.popitem(last=False)[1])
        # Not under the lock: the callback of a cancelled product takes locks of its own.
        for one in dropped:
            one.cancel()
        work.add_done_callback(partial(self._end_wait, wait))
        return work

    def _end_wait(self, wait: Wait, _: object = None) -> None:
        self._waiting.end(wait)
        self.go_on()


def _made(make: Callable[[], T], wait: Wait) -> T:
    """Make a product in the pool, which holds the wait meanwhile."""
    return make()


def _mask_of(native_size: tuple[int, int], geometry: FrameGeometry, variant: tuple[int, tuple[int, int]]) -> Mask:
    return rasterize(geometry, variant[1], native_size=native_size)


def _strip_of(geometry: FrameGeometry, variant: tuple[int, Literal["cover"]]) -> Strip:
    return geometry.triangle_strip(variant[1])
