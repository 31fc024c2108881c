"""
MadeAhead: makes masks and strips from geometry ahead of the play head, in a pool of threads.

For each play head, the variant that was last asked for is made (a mask's size), and those that are asked for in turn
with it: two sizes alternately do not make each other's products void. A size that is asked for once, as while a window
is resized, is forgotten with the next. Only a few frames are kept: at 2 MB a mask, more is what a cache of geometry
avoids. What is nearest to its play head is made first, whichever head that is, so that all have equal shares.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, Generic, TypeVar

from .._geometry.frame import FrameGeometry
from .playhead import HeadKey

__all__ = ["GivenUp", "MadeAhead", "Wait", "Waiting"]

Variant = TypeVar("Variant", bound=Hashable)
Product = TypeVar("Product")

_LATELY: Final = 64
"""Calls of :meth:`MadeAhead.aim` for which a variant is remembered that is not asked for."""
_MOST_AIMS: Final = 8
"""Variants that are remembered, of all play heads."""
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


class _Aim(Generic[Variant]):
    """What a play head wants ready, in one variant."""

    def __init__(self, head: object, variant: Variant) -> None:
        self.head = head
        self.variant = variant
        self.wanted: list[int] = []
        """Frames to make, nearest first."""
        self.reach: set[int] = set()
        """Frames to keep."""
        self.geometry_of: Callable[[int], FrameGeometry | None] = lambda index: None
        self.aimed = 0
        """When it was asked for last, as the number of a call."""
        self.is_back = False
        """Whether the play head asked for another variant meanwhile, and for this one again."""
        self.n_made = 0


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
        self._made: dict[Variant, dict[int, Product]] = {}
        self._aims: dict[tuple[object, Variant], _Aim[Variant]] = {}
        """By play head and variant, the one asked for last at the end."""
        self._newest: dict[object, _Aim[Variant]] = {}
        """What each play head asked for last."""
        self._n_aimed = 0
        self._making: set[tuple[Variant, int]] = set()
        self._workers: set[object] = set()
        """Those under way. A set, and not a count: Ctrl-C between sending one and counting it would leave a wrong
        count for ever."""
        self.n_made = 0
        """Products made ahead so far."""

    def get(self, index: int, variant: Variant) -> Product | None:
        """A ready product, or None."""
        with self._lock:
            return self._made[variant].get(index) if variant in self._made else None

    def is_coming(self, index: int, variant: Variant) -> bool:
        """Whether a product is made ahead of a play head, now or later."""
        with self._lock:
            return any(
                aim.variant == variant and self._is_active(aim) and index in aim.wanted for aim in self._aims.values()
            )

    def keep(self, index: int, variant: Variant, product: Product) -> None:
        """Keep what was made for a caller, if that variant is still asked for."""
        with self._lock:
            if variant in self._made:
                self._made[variant][index] = product

    def keep_if_wanted(self, index: int, variant: Variant, product: Product) -> None:
        """
        Keep what was made for others than a play head, if it is one of those that are made ahead. Nothing else may be
        kept: only the next call of :meth:`aim` drops it, and whoever asks for it makes none.
        """
        with self._lock:
            if variant in self._made and index in self._reach_of(variant):
                self._made[variant][index] = product

    def aim(
        self,
        around: range,
        at: int,
        variant: Variant,
        geometry_of: Callable[[int], FrameGeometry | None],
        head: object = None,
    ) -> None:
        """
        Say what to have ready.

        Args:
            around: the frames ahead, nearest first.
            at: the play head.
            variant: of the products.
            geometry_of: a frame's geometry if it is there, from any thread. It belongs to the variant: another source,
                another variant.
            head: which play head.
        """
        wanted = list(around[: self._n_ahead])
        with self._lock:
            if isinstance(head, HeadKey) and head.is_dropped:
                return
            self._n_aimed += 1
            newest = self._aims.get((head, variant))
            if newest is None or self._newest.get(head) is not newest or variant not in self._made:
                newest = self._turn_to(head, variant)
            reach = set(wanted)
            step = -1 if around.step < 0 else 1
            reach.update(at - step * k for k in range(_KEPT_BEHIND + 1))
            newest.wanted, newest.reach, newest.geometry_of, newest.aimed = wanted, reach, geometry_of, self._n_aimed
            if len(self._aims) > 1:
                self._forget_old()
                reach = self._reach_of(variant)
            made = self._made[variant]
            for index in [index for index in made if index not in reach]:
                del made[index]
            self._send_worker()

    def aim_again(self, at: int, around: range, head: object) -> None:
        """A play head was sent to a frame, which is wanted before those ahead of it."""
        with self._lock:
            for aim in self._aims.values():
                if aim.head == head and self._is_active(aim):
                    aim.wanted = [at, *around[: max(0, self._n_ahead - 1)]][: self._n_ahead]
                    aim.reach = set(aim.wanted)
            self._drop_unreached()
            self._send_worker()

    def drop(self, head: object) -> None:
        """A play head was closed."""
        with self._lock:
            self._newest.pop(head, None)
            for key in [key for key, aim in self._aims.items() if aim.head == head]:
                del self._aims[key]
            self._drop_unreached()

    def go_on(self) -> None:
        """Frames came in, or a wait ended: some of what is wanted may be possible now."""
        with self._lock:
            if self._aims:
                self._send_worker()

    def forget(self) -> None:
        """Another source, or the end: nothing made so far is of use."""
        with self._lock:
            self._made.clear()
            self._aims.clear()  # they keep a source alive
            self._newest.clear()

    # With the lock held.

    def _turn_to(self, head: object, variant: Variant) -> _Aim[Variant]:
        """A play head asks for another variant than before, or for its first; or Ctrl-C ended such a call half-way."""
        aim = self._aims.pop((head, variant), None)
        if aim is None:
            aim = _Aim(head, variant)
        else:
            aim.is_back = True
        self._aims[head, variant] = aim
        if len(self._aims) > _MOST_AIMS:
            self._forget(next(iter(self._aims)))
        self._newest[head] = aim
        self._made.setdefault(variant, {})
        self._drop_unreached()
        return aim

    def _is_active(self, aim: _Aim[Variant]) -> bool:
        """Whether products are made for it."""
        return aim.is_back or self._newest.get(aim.head) is aim

    def _reach_of(self, variant: Variant) -> set[int]:
        """The frames whose products of a variant are worth keeping."""
        return set().union(
            *(aim.reach for aim in self._aims.values() if aim.variant == variant and self._is_active(aim))
        )

    def _forget_old(self) -> None:
        """Forget what was not asked for lately."""
        old = [key for key, aim in self._aims.items() if aim.aimed < self._n_aimed - _LATELY]
        for key in old:
            self._forget(key)
        if old:
            self._drop_unreached()

    def _forget(self, key: tuple[object, Variant]) -> None:
        aim = self._aims.pop(key)
        if self._newest.get(aim.head) is aim:
            del self._newest[aim.head]

    def _drop_unreached(self) -> None:
        for variant in list(self._made):
            reach = self._reach_of(variant)
            made = self._made[variant]
            for index in [index for index in made if index not in reach]:
                del made[index]
            if not any(aim.variant == variant and self._is_active(aim) for aim in self._aims.values()):
                del self._made[variant]

    def _send_worker(self) -> None:
        """Send a worker if there is work for one more; the lock is held."""
        if self._waiting:
            return
        todo = 0
        for aim in self._aims.values():
            variant = aim.variant
            if variant in self._made and self._is_active(aim):
                made = self._made[variant]
                for index in aim.wanted:
                    todo += index not in made and (variant, index) not in self._making
        if len(self._workers) < min(self._n_workers, todo):
            worker = object()
            with suppress(RuntimeError):  # shut down meanwhile, or the system has no thread for it
                self._pool.submit(self._work, worker)
                self._workers.add(worker)

    def _work(self, worker: object) -> None:
        """Make products until nothing wanted can be made, or somebody waits for what is made elsewhere."""
        while True:
            with self._lock:
                task = None if self._waiting else self._next()
                if task is None:
                    self._workers.discard(worker)
                    return
                aim, index, geometry = task
                variant = aim.variant
                self._making.add((variant, index))
            try:
                product: Product | None = self._make(geometry, variant)
            except GivenUp:
                product = None
            except BaseException:
                # Not tried again ahead. A call for this frame makes the product itself, and raises the error.
                with self._lock:
                    self._making.discard((variant, index))
                    for other in self._aims.values():
                        if other.variant == variant:
                            other.wanted = [one for one in other.wanted if one != index]
                    self._workers.discard(worker)
                raise
            with self._lock:
                self._making.discard((variant, index))
                if product is not None and variant in self._made and index in self._reach_of(variant):
                    self._made[variant][index] = product
                    aim.n_made += 1
                    self.n_made += 1

    def _next(self) -> tuple[_Aim[Variant], int, FrameGeometry] | None:
        """What is nearest to its play head; of equals, for whom the least was made."""
        best: tuple[tuple[int, int], _Aim[Variant], int, FrameGeometry] | None = None
        for aim in self._aims.values():
            if not self._is_active(aim):
                continue
            made = self._made.setdefault(aim.variant, {})
            for place, index in enumerate(aim.wanted):
                if best is not None and (place, aim.n_made) >= best[0]:
                    break
                if index not in made and (aim.variant, index) not in self._making:
                    geometry = aim.geometry_of(index)
                    if geometry is not None:
                        best = (place, aim.n_made), aim, index, geometry
                        break
        return None if best is None else best[1:]
