"""
What is kept: geometry by its last use, and what is made ahead, with a pool that runs when it is told to.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphastream_gpu import FrameGeometry
from alphastream_gpu._stream import ahead
from alphastream_gpu._stream.ahead import MadeAhead, Waiting
from alphastream_gpu._stream.cache import GeometryCache


def _frame(n_points: int) -> FrameGeometry:
    return FrameGeometry(np.full((n_points, 2), n_points, np.int32))


FRAMES = [_frame(n) for n in range(1, 9)]


@given(
    capacity=st.integers(1, 5),
    max_bytes=st.sampled_from([1, 104, 152, 1 << 20]),  # which some frames reach exactly
    steps=st.lists(
        st.tuples(st.sampled_from(["put"] * 6 + ["get", "get", "peek", "in", "clear"]), st.integers(0, 7)),
        min_size=20,
        max_size=40,
    ),
)
def test_the_least_recently_used_frame_goes(capacity: int, max_bytes: int, steps: list[tuple[str, int]]) -> None:
    """Against a list, oldest use first. One frame is kept, however large: somebody is about to be given it."""
    cache, used, evicted = GeometryCache(capacity, max_bytes=max_bytes), list[int](), 0
    frames = {}
    for action, index in steps:
        if action == "put":
            frames[index] = FRAMES[(index + len(used)) % 8]
            cache.put(index, frames[index])
            used = [*(other for other in used if other != index), index]
            while len(used) > capacity or (len(used) > 1 and sum(frames[one].nbytes for one in used) > max_bytes):
                evicted += 1
                del used[0]
        elif action == "get":
            assert cache.get(index) is (frames[index] if index in used else None)
            if index in used:
                used = [*(other for other in used if other != index), index]
        elif action == "peek":
            assert cache.peek(index) is (frames[index] if index in used else None)
        elif action == "in":
            assert (index in cache) is (index in used)
        else:
            cache.clear()
            used = []
        assert len(cache) == len(used)
        assert cache.nbytes == sum(frames[index].nbytes for index in used)
        assert cache.evicted == evicted


class _Pool:
    """Runs what was submitted when it is told to."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], Any]] = []
        self.is_shut = False

    def submit(self, job: Callable[..., Any], *args: Any) -> None:
        if self.is_shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        self.jobs.append(partial(job, *args))

    def run(self) -> None:
        while self.jobs:
            self.jobs.pop(0)()


class _Maker:
    """A `MadeAhead` over frames 0..7 that are there or not."""

    def __init__(self, n_ahead: int = 3, n_workers: int = 2) -> None:
        self.pool = _Pool()
        self.there = set(range(8))
        self.made: list[tuple[int, str]] = []
        self.during: Callable[[], None] = lambda: None
        self.ahead: MadeAhead[str, str] = MadeAhead(self._make, Waiting(), n_ahead, n_workers, self.pool)  # type: ignore[arg-type]

    def _make(self, geometry: FrameGeometry, variant: str) -> str:
        self.made.append((len(geometry.points) - 1, variant))
        self.during()
        return f"{len(geometry.points) - 1}{variant}"

    def geometry_of(self, index: int) -> FrameGeometry | None:
        return FRAMES[index] if index in self.there else None

    def aim(self, around: range, at: int, variant: str = "a", head: object = None) -> None:
        self.ahead.aim(around, at, variant, self.geometry_of, head)

    def kept(self, variant: str = "a") -> list[int]:
        kept = [index for index in range(8) if self.ahead.get(index, variant) is not None]
        assert [self.ahead.get(index, variant) for index in kept] == [f"{index}{variant}" for index in kept]
        return kept


def test_the_nearest_frames_are_made_ahead() -> None:
    maker = _Maker()
    maker.aim(range(1, 7), 0)
    assert len(maker.pool.jobs) == 1  # each aim, and each frame that comes in, sends one worker more
    assert maker.kept() == []
    maker.pool.run()
    assert maker.made == [(1, "a"), (2, "a"), (3, "a")]
    assert maker.kept() == [1, 2, 3]
    assert maker.ahead.n_made == 3
    assert maker.kept("b") == []
    maker.pool.run()
    maker.aim(range(1, 7), 0)
    assert maker.pool.jobs == []  # nothing left to do


@pytest.mark.parametrize(
    ("around", "at", "kept"), [(range(6, 8), 5, [3, 4, 5, 6, 7]), (range(2, -1, -1), 3, [0, 1, 2, 3, 4, 5])]
)
def test_what_lies_out_of_reach_is_dropped(around: range, at: int, kept: list[int]) -> None:
    """Two frames behind the head are kept, and what is ahead."""
    maker = _Maker(n_ahead=8)
    maker.aim(range(8), 0)
    maker.pool.run()
    assert maker.kept() == list(range(8))
    maker.aim(around, at)
    assert maker.kept() == kept


def test_another_variant_is_another_product() -> None:
    maker = _Maker()
    maker.aim(range(1, 4), 0)
    maker.pool.run()
    maker.aim(range(1, 4), 0, "b")
    assert (maker.kept(), maker.kept("b")) == ([], [])
    maker.pool.run()
    assert (maker.kept(), maker.kept("b")) == ([], [1, 2, 3])
    assert maker.ahead.n_made == 6


def test_a_product_of_the_callers_own_is_kept_if_it_is_of_the_variant() -> None:
    maker = _Maker(n_ahead=0)
    maker.aim(range(1, 4), 0)
    assert maker.pool.jobs == []
    maker.ahead.keep(0, "a", "0a")
    maker.ahead.keep(1, "b", "1b")
    assert maker.kept() == [0]
    assert maker.ahead.n_made == 0


def test_what_was_made_for_others_is_kept_if_it_lies_ahead() -> None:
    """Where no product is made ahead in that variant, and out of reach, it is not."""
    maker = _Maker()
    maker.ahead.keep_if_wanted(1, "a", "1a")
    assert maker.kept() == []
    maker.aim(range(1, 4), 0)
    for index in range(8):
        maker.ahead.keep_if_wanted(index, "a", f"{index}a")
    maker.ahead.keep_if_wanted(1, "b", "1b")
    assert (maker.kept(), maker.kept("b")) == ([0, 1, 2, 3], [])
    maker.pool.run()
    assert maker.made == []


def test_which_products_are_coming() -> None:
    """Those that a play head wants in the variant that it asked for last, also while they are made."""
    maker = _Maker()
    assert not maker.ahead.is_coming(1, "a")
    maker.aim(range(1, 7), 0)

    def coming(variant: str = "a") -> list[int]:
        return [index for index in range(8) if maker.ahead.is_coming(index, variant)]

    during: list[list[int]] = []
    maker.during = lambda: during.append(coming())
    assert (coming(), coming("b")) == ([1, 2, 3], [])
    maker.pool.run()
    assert during == [[1, 2, 3]] * 3
    maker.aim(range(4, 7), 3, "b")
    assert (coming(), coming("b")) == ([], [4, 5, 6])
    maker.aim(range(2, 7), 1, "a", head="another")
    assert (coming(), coming("b")) == ([2, 3, 4], [4, 5, 6])


def test_no_more_workers_than_allowed_or_useful() -> None:
    maker = _Maker(n_ahead=3, n_workers=2)
    for expected in (1, 2, 2):
        maker.aim(range(1, 7), 0)
        assert len(maker.pool.jobs) == expected
    maker.pool.run()
    maker = _Maker(n_ahead=1, n_workers=5)
    for _ in range(3):
        maker.aim(range(1, 7), 0)
    assert len(maker.pool.jobs) == 1


def test_a_worker_that_ended_can_be_sent_again() -> None:
    maker = _Maker(n_workers=1)
    for at in (0, 1, 2):
        maker.aim(range(at + 1, 7), at)
        assert len(maker.pool.jobs) == 1
        maker.pool.run()
    assert maker.kept() == [1, 2, 3, 4, 5]


def test_frames_whose_geometry_comes_later() -> None:
    maker = _Maker(n_workers=1)
    maker.ahead.go_on()
    assert maker.pool.jobs == []
    maker.there = {2}
    maker.aim(range(1, 7), 0)
    maker.pool.run()
    assert maker.kept() == [2]
    maker.there = {1, 2, 3}
    maker.ahead.go_on()
    maker.pool.run()
    assert maker.kept() == [1, 2, 3]


def test_two_workers_never_make_one_frame_twice() -> None:
    maker = _Maker(n_ahead=3, n_workers=2)
    maker.aim(range(1, 7), 0)
    maker.aim(range(1, 7), 0)
    assert len(maker.pool.jobs) == 2
    maker.during = lambda: maker.pool.jobs.pop(0)() if maker.pool.jobs else None  # the other one, meanwhile
    maker.pool.run()
    assert sorted(maker.made) == [(1, "a"), (2, "a"), (3, "a")]
    assert maker.kept() == [1, 2, 3]


def test_while_a_frame_is_made_it_counts_as_under_way() -> None:
    maker = _Maker(n_ahead=2, n_workers=2)

    def again() -> None:
        maker.during = lambda: None
        maker.aim(range(1, 3), 0)
        assert len(maker.pool.jobs) == 0  # one frame is left, and one worker is at it

    maker.during = again
    maker.aim(range(1, 3), 0)
    maker.pool.run()
    assert maker.kept() == [1, 2]


def test_what_is_wanted_no_more_is_not_kept() -> None:
    maker = _Maker(n_ahead=2, n_workers=1)

    def jump() -> None:
        maker.during = lambda: None
        maker.aim(range(5, 8), 4)

    maker.during = jump
    maker.aim(range(1, 4), 0)
    maker.pool.run()
    assert maker.made == [(1, "a"), (5, "a"), (6, "a")]
    assert maker.kept() == [5, 6]
    assert maker.ahead.n_made == 2


def test_another_variant_while_a_frame_is_made() -> None:
    maker = _Maker(n_ahead=2, n_workers=1)

    def resize() -> None:
        maker.during = lambda: None
        maker.aim(range(1, 4), 0, "b")

    maker.during = resize
    maker.aim(range(1, 4), 0)
    maker.pool.run()
    assert maker.made == [(1, "a"), (1, "b"), (2, "b")]
    assert (maker.kept(), maker.kept("b")) == ([], [1, 2])
    assert maker.ahead.n_made == 2


def test_forgetting() -> None:
    maker = _Maker(n_ahead=2, n_workers=1)
    maker.aim(range(1, 4), 0)
    maker.pool.run()
    maker.aim(range(3, 6), 2)
    maker.ahead.forget()
    assert maker.kept() == []
    maker.pool.run()
    maker.ahead.go_on()
    assert maker.pool.jobs == []
    assert maker.made == [(1, "a"), (2, "a")]
    maker.ahead.keep(1, "a", "1a")
    assert maker.kept() == []
    maker.aim(range(1, 4), 0)
    maker.pool.run()
    assert maker.kept() == [1, 2]


def test_a_frame_that_cannot_be_made_is_not_tried_again() -> None:
    maker = _Maker(n_ahead=3, n_workers=1)

    def fail() -> None:
        if maker.made[-1][0] == 1:
            raise ValueError("on purpose")

    maker.during = fail
    maker.aim(range(1, 4), 0)
    with pytest.raises(ValueError, match="on purpose"):
        maker.pool.run()
    maker.ahead.go_on()
    maker.ahead.go_on()
    assert len(maker.pool.jobs) == 1
    maker.pool.run()
    assert maker.made == [(1, "a"), (2, "a"), (3, "a")]
    assert maker.kept() == [2, 3]
    maker.aim(range(1, 4), 0)  # asked for anew
    maker.during = lambda: None
    maker.pool.run()
    assert maker.kept() == [1, 2, 3]


def test_a_pool_that_is_shut_down() -> None:
    maker = _Maker(n_workers=1)
    maker.pool.is_shut = True
    maker.aim(range(1, 4), 0)
    maker.pool.is_shut = False
    for _ in range(2):
        maker.aim(range(1, 4), 0)
        assert len(maker.pool.jobs) == 1
    maker.pool.run()
    assert maker.kept() == [1, 2, 3]


def test_two_variants_in_turn_are_both_kept() -> None:
    """From the second turn on: a variant that comes back is not another size of a window."""
    maker = _Maker(n_ahead=2, n_workers=1)
    for at in range(3):
        for variant in ("a", "b"):
            maker.aim(range(at + 1, 8), at, variant)
            maker.pool.run()
    assert (maker.kept("a"), maker.kept("b")) == ([2, 3, 4], [2, 3, 4])
    assert maker.made.count((3, "a")) == maker.made.count((3, "b")) == 1


def test_a_window_that_is_resized_keeps_no_old_size() -> None:
    maker = _Maker(n_ahead=2, n_workers=1)
    for at, variant in enumerate("abcdef"):
        maker.aim(range(at + 1, 8), at, variant)
        maker.pool.run()
    assert [maker.kept(variant) for variant in "abcdef"] == [[], [], [], [], [], [6, 7]]


def test_a_variant_that_is_not_asked_for_any_more_is_forgotten() -> None:
    maker = _Maker(n_ahead=2, n_workers=1)
    for variant in "abab":
        maker.aim(range(1, 8), 0, variant)
        maker.pool.run()
    assert (maker.kept("a"), maker.kept("b")) == ([1, 2], [1, 2])
    for _ in range(ahead._LATELY - 1):
        maker.aim(range(1, 8), 0, "b")
    assert maker.kept("a") == [1, 2]
    maker.aim(range(1, 8), 0, "b")
    assert (maker.kept("a"), maker.kept("b")) == ([], [1, 2])


def test_heads_take_turns() -> None:
    """What is nearest to its head is made first, of equals for the head that got less."""
    maker = _Maker(n_ahead=3, n_workers=1)
    maker.aim(range(1, 4), 0, "a", "left")
    maker.aim(range(5, 8), 4, "a", "right")
    maker.pool.run()
    assert maker.made == [(1, "a"), (5, "a"), (2, "a"), (6, "a"), (3, "a"), (7, "a")]
    assert maker.kept() == [1, 2, 3, 5, 6, 7]
    maker.ahead.drop("right")
    assert maker.kept() == [1, 2, 3]


def test_two_heads_share_what_both_want() -> None:
    maker = _Maker(n_ahead=3, n_workers=1)
    maker.aim(range(1, 4), 0, "a", "left")
    maker.aim(range(2, 5), 1, "a", "right")
    maker.pool.run()
    assert sorted(maker.made) == [(1, "a"), (2, "a"), (3, "a"), (4, "a")]


def test_where_a_head_was_sent_comes_first() -> None:
    maker = _Maker(n_ahead=3, n_workers=1)
    maker.aim(range(1, 4), 0)
    maker.pool.run()
    maker.made.clear()
    maker.ahead.aim_again(5, range(6, 8), None)
    assert maker.kept() == []
    maker.pool.run()
    assert maker.made == [(5, "a"), (6, "a"), (7, "a")]


def test_the_variants_that_are_remembered_are_bounded() -> None:
    maker = _Maker(n_ahead=1, n_workers=1)
    for head in range(20):
        maker.aim(range(1, 4), 0, f"{head}", str(head))
    maker.pool.run()
    assert len(maker.ahead._aims) == ahead._MOST_AIMS
    assert len(maker.ahead._made) <= ahead._MOST_AIMS
    assert len(maker.ahead._newest) <= ahead._MOST_AIMS
    assert maker.kept("19") == [1]
