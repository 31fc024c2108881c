"""
MadeAhead: makes masks and strips from geometry ahead of the play head, in a pool of threads.

Only one variant is made, such as masks of the size that was last asked for. Only a few frames are kept, because a mask
takes 2 MB. That is also why the cache keeps geometry and not masks.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, Generic, TypeVar

from .._geometry.frame import FrameGeometry

__all__ = ["GivenUp", "MadeAhead", "Wait", "Waiting"]

Variant = TypeVar("Variant", bound=Hashable)
Product = TypeVar("Product")

_KEPT_BEHIND: Final = 2
"""Frames kept behind the head: a player that shows a frame twice, or looks one back, gets it at once."""


class GivenUp(Exception):  # noqa: N818 - no error: it never leaves this folder
    """A product that is made ahead is given up, because somebody waits for another. It is made later."""


class Wait:
    """A wait for a product that is made now."""

    __slots__ = ("__weakref__",)


class Waiting:
    """
    The waits for products that are made now. Nothing is begun ahead while there is one.

    The call that waits, and the work it waits for, hold the object of the wait. Ctrl-C may end a call between any two
    of its lines, also before it comes to :meth:`end`. The object dies with the call then, and the wait with the object.
    A count of waits would never come back to zero.
    """

    def __init__(self) -> None:
        self._waits: weakref.WeakSet[Wait] = weakref.WeakSet()

    def begin(self) -> Wait:
        """A wait, which lasts until :meth:`end`, and no longer than the object returned."""
        wait = Wait()
        self._waits.add(wait)
        return wait

    def end(self, wait: Wait) -> None:
        """End a wait. It may have ended already."""
        self._waits.discard(wait)

    def __bool__(self) -> bool:
        return len(self._waits) > 0


class MadeAhead(Generic[Variant, Product]):
    """
    Args:
        make: makes the product of a geometry in a variant; on any thread, several at once. It may raise
            :class:`GivenUp` while somebody waits.
        waiting: who waits for what is made now.
        n_ahead: frames made ahead; 0 turns it off.
        n_workers: threads that this uses at a time.
        pool: the threads; owned by the stream, and shut down before this is thrown away.
    """

    def __init__(
        self,
        make: Callable[[FrameGeometry, Variant], Product],
        waiting: Waiting,
        n_ahead: int,
        n_workers: int,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._make = make
        self._waiting = waiting
        self._n_ahead = n_ahead
        self._n_workers = n_workers
        self._pool = pool
        self._lock = threading.Lock()
        self._made: dict[int, Product] = {}
        self._variant: Variant | None = None
        self._wanted: list[int] = []
        self._making: set[int] = set()
        self._workers: set[object] = set()
        """Those under way. A set, and not a count: Ctrl-C between sending one and counting it would leave a wrong
        count for ever."""
        self._geometry_of: Callable[[int], FrameGeometry | None] = lambda index: None
        self.n_made = 0
        """Products made ahead so far."""

    def get(self, index: int, variant: Variant) -> Product | None:
        """A ready product, or None."""
        with self._lock:
            return self._made.get(index) if variant == self._variant else None

    def keep(self, index: int, variant: Variant, product: Product) -> None:
        """Keep what was made for a caller, if that variant is still the one asked for."""
        with self._lock:
            if variant == self._variant:
                self._made[index] = product

    def aim(self, around: range, at: int, variant: Variant, geometry_of: Callable[[int], FrameGeometry | None]) -> None:
        """
        Say what to have ready.

        Args:
            around: the frames ahead, nearest first.
            at: the play head.
            variant: of the products.
            geometry_of: a frame's geometry if it is there, from any thread. It belongs to the variant: another source,
                another variant.
        """
        wanted = list(around[: self._n_ahead])
        with self._lock:
            if variant != self._variant:
                self._variant = variant
                self._made.clear()
            reach = set(wanted)
            step = -1 if around.step < 0 else 1
            reach.update(at - step * k for k in range(_KEPT_BEHIND + 1))
            for index in [index for index in self._made if index not in reach]:
                del self._made[index]
            self._wanted = wanted
            self._geometry_of = geometry_of
            self._send_worker()

    def go_on(self) -> None:
        """Frames came in, or a wait ended: some of what is wanted may be possible now."""
        with self._lock:
            if self._wanted:
                self._send_worker()

    def forget(self) -> None:
        """Another source, or the end: nothing made so far is of use."""
        with self._lock:
            self._variant = None
            self._made.clear()
            self._wanted = []
            self._geometry_of = lambda index: None  # the last one keeps a source alive

    def _send_worker(self) -> None:
        """Send a worker if there is work for one more; the lock is held."""
        if self._waiting:
            return
        todo = sum(index not in self._made and index not in self._making for index in self._wanted)
        if len(self._workers) < min(self._n_workers, todo):
            worker = object()
            with suppress(RuntimeError):  # shut down meanwhile, or the system has no thread for it
                self._pool.submit(self._work, worker)
                self._workers.add(worker)

    def _work(self, worker: object) -> None:
        """Make products until nothing wanted can be made, or somebody waits for what is made elsewhere."""
        while True:
            with self._lock:
                variant = self._variant
                task = None if self._waiting else self._next()
                if task is None or variant is None:
                    self._workers.discard(worker)
                    return
                index, geometry = task
                self._making.add(index)
            try:
                product: Product | None = self._make(geometry, variant)
            except GivenUp:
                product = None
            except BaseException:
                # Not tried again ahead. A call for this frame makes the product itself, and raises the error.
                with self._lock:
                    self._making.discard(index)
                    self._wanted = [other for other in self._wanted if other != index]
                    self._workers.discard(worker)
                raise
            with self._lock:
                self._making.discard(index)
                if product is not None and variant == self._variant and index in self._wanted:
                    self._made[index] = product
                    self.n_made += 1

    def _next(self) -> tuple[int, FrameGeometry] | None:
        for index in self._wanted:
            if index not in self._made and index not in self._making:
                geometry = self._geometry_of(index)
                if geometry is not None:
                    return index, geometry
        return None
