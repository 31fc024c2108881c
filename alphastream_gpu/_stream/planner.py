"""
Planner: which reads are to begin for what lies ahead of the play heads, and for ranges that were asked for in advance.
No I/O; its session's lock guards it.

Play heads have fair shares. The head with the fewest reads under way is planned for first, and no head takes more
request slots than its share while another one needs some. A range is read only while no head needs anything, one read
at a time.

A read is no longer than what the line delivers in a tenth of a second: the frames of a read come all at once, so a
long one would hold up its first frame. For the same reason, no more is under way than keeps the line busy. What is
planned begins when a frame that was asked for has had the line for itself.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np

from .._config import Config
from .._exceptions import AlphaStreamError, NotReadyError
from .plan import FrameSpan, plan_reads
from .playhead import Follower, HeadKey
from .reader import StreamReader
from .slots import Slots
from .timebase import finite

__all__ = ["BufferGoal", "Head", "Plan", "Planner", "Range"]

_PLAN_FRAMES: Final = 512
"""Frames that one step of planning looks at: a millisecond."""
_SLOW_READ_SECONDS: Final = 0.004
"""Reads that take longer have a price of their own (a network, a disk that spins up): prefetch whole windows at
once."""
_LONGEST_READ: Final = 0.1
"""Seconds that a planned read may take beside the latency, as far as the rate of the line is known; more where the
latency is so long that shorter reads would leave the line idle."""
_SHORT_READ: Final = 16
"""Frames of the first planned read of a new place."""
_MOST_BUNDLED: Final = 64
_FAST_BANDWIDTH: Final = 131_072
"""Bytes a second. A line that is slower is no faster than its first read says."""
_LEAST_READ_BYTES: Final = 4096
_MOST_FRAMES: Final = 65536
_MOST_BYTES: Final = 2**63 - 1
_MOST_RANGES: Final = 256
"""Ranges that wait: each plan looks at all of them, and play waits for the plan."""
_MOST_FAILURES: Final = 3
"""Failed reads after which a range is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferGoal:
    """
    How far ahead of the play head frames are fetched: up to the first of these limits.

    Raises:
        ValueError: a limit outside its range.
    """

    frames: int | None = None
    """Frames, 0..65536; None for no such limit."""
    seconds: float | None = None
    """Seconds of play at the stream's frame rate, 0..65536; None for no such limit."""
    bytes: int | None = None
    """Bytes as stored in the file, 0..2**63 - 1; None for no such limit."""

    def __post_init__(self) -> None:
        for name, value in (("frames", self.frames), ("bytes", self.bytes)):
            if value is not None:
                object.__setattr__(self, name, operator.index(value))
        if self.seconds is not None:
            object.__setattr__(self, "seconds", finite("seconds", self.seconds))
        for name, most in (("frames", _MOST_FRAMES), ("seconds", _MOST_FRAMES), ("bytes", _MOST_BYTES)):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= most:
                raise ValueError(f"{name}: expected 0..{most}, found {value}")

    def _window(self, fps: Fraction) -> int:
        """The limits in frames and seconds, as a number of frames."""
        limits = [_MOST_FRAMES]
        if self.frames is not None:
            limits.append(self.frames)
        if self.seconds is not None:
            limits.append(int(Fraction(self.seconds) * fps))
        return min(limits)


class Head(Follower):
    """
    A play head, and what is planned for it.

    Args:
        window: frames that are prefetched in steady play.
    """

    def __init__(self, window: int) -> None:
        super().__init__(window)
        self.frontier: int | None = None
        """The furthest frame that is planned for; None where planning has to begin anew."""
        self.is_filling = False
        """Whether the window is being planned, step by step."""
        self.n_slots = 0
        """Request slots that reads for this head take."""
        self.turn = 0
        """When a read was last begun for it, as a number that grows."""
        self.target: int | None = None
        """The frame of the last seek."""
        self.missing: int | None = None
        """The frame that was last asked for and not here."""
        self.missing_since = 0.0
        """When it was asked for first, by ``time.monotonic``."""
        self.is_arriving = True
        """Whether no frame was found since the last jump."""
        self.arrived_at: int | None = None
        """Where the last jump went."""

    def read_again(self, first: int) -> None:
        """A read of frames from `first` on was given up, or failed."""
        self.frontier = None

    def jumped(self, before: int | None, direction: int) -> None:
        """
        The head jumped, or turned around. A jump ahead within what is planned needs no other plan.

        Args:
            before: where it was.
            direction: of play before.
        """
        self.is_arriving, self.arrived_at = True, self.at
        at, frontier = self.at, self.frontier
        if before is None or at is None or frontier is None or direction != self.direction:
            is_planned = False
        else:
            is_planned = (before - at) * direction <= 0 <= (frontier - at) * direction
        if is_planned:
            self.window = self.full_window
        else:
            self.frontier = None


class Range:
    """
    Frames that were asked for in advance.

    Args:
        start: first frame.
        stop: one past the last frame.
        future: done when all frames were read, with the number of frames that are here.
    """

    def __init__(self, start: int, stop: int, future: Future[int]) -> None:
        self.start = self.at = start
        self.stop = stop
        self.future = future
        self.n_slots = 0
        self.turn = 0
        self.n_failures = 0
        self.error: AlphaStreamError | None = None
        """Why it is given up."""

    @property
    def is_read(self) -> bool:
        """Whether nothing is left to begin or to wait for."""
        return self.n_slots == 0 and (self.at >= self.stop or self.error is not None)

    def read_again(self, first: int) -> None:
        """A read of frames from `first` on was given up, or failed."""
        self.at = min(self.at, max(first, self.start))

    def fail(self, error: AlphaStreamError) -> None:
        """A read for it failed. After some of them it is given up."""
        self.n_failures += 1
        if self.n_failures >= _MOST_FAILURES:
            self.error = error


class Plan(NamedTuple):
    """Reads to begin."""

    reads: list[tuple[Head | Range, FrameSpan]]
    is_unfinished: bool
    """Whether another step is to follow, because a window is planned in steps."""


class Planner:
    """
    Args:
        reader: of the frames.
        config: options.
        slots: the request slots of the source.
        fps: of play.
        goal: how far ahead to fetch.
    """

    def __init__(self, reader: StreamReader, config: Config, slots: Slots, fps: Fraction, goal: BufferGoal) -> None:
        self._reader = reader
        self._config = config
        self._slots = slots
        self.fps = fps
        self._goal = goal
        self._n_frames = len(reader.index)
        self._turns = itertools.count(1)
        self.default = Head(self._window(1))
        """The play head of the stream itself."""
        self.others: dict[object, Head] = {}
        """Further play heads, by what the stream knows them by."""
        self.ranges: list[Range] = []
        self.read_seconds = reader.open_seconds
        """What a read takes, on average."""
        self.bandwidth = math.inf
        """Of the line, bytes a second."""
        self.latency = 0.0
        """Of the line, seconds."""
        self.n_bytes = 0
        """Of the planned reads under way."""
        self.n_planned = 0
        """Bytes of the reads of the present plan."""

    # Heads and goals.

    def heads(self) -> list[Head]:
        """The play heads that have asked for frames."""
        return [head for head in (self.default, *self.others.values()) if head.at is not None]

    def head(self, key: object) -> Head:
        """A play head by its key; None is the stream's own. It is made if there is none. After it was closed, it gets
        no share."""
        head = self.find(key)
        if head is None:
            head = Head(self._window(len(self.others) + 2))
            if not (isinstance(key, HeadKey) and key.is_dropped):
                self.others[key] = head
                self._share_out()
        return head

    def find(self, key: object) -> Head | None:
        """A play head by its key; None if it has not asked for a frame of this source."""
        return self.default if key is None else self.others.get(key)

    def drop(self, key: object) -> None:
        """A play head was closed."""
        if self.others.pop(key, None) is not None:
            self._share_out()

    def add(self, one: Range) -> None:
        """
        Fetch a range, after those that were added before.

        Raises:
            NotReadyError: too many wait already.
        """
        if sum(not other.future.cancelled() for other in self.ranges) >= _MOST_RANGES:
            raise NotReadyError(
                f"prefetch: expected at most {_MOST_RANGES} ranges that wait; cancel those that are not needed any more"
            )
        self.ranges.append(one)

    def set_goal(self, goal: BufferGoal, fps: Fraction) -> None:
        """Fetch another number of frames ahead."""
        self._goal, self.fps = goal, fps
        self._share_out()

    @property
    def window(self) -> int:
        """Frames that are fetched ahead of each head in steady play."""
        return self._window(len(self.others) + 1)

    def _window(self, n_heads: int) -> int:
        # What is ahead and not yet played is older in the cache than what was played, so half of it must be enough.
        most = self._config.cache_frames // 2 // n_heads
        return min(self._goal._window(self.fps), most)

    def _share_out(self) -> None:
        window = self.window
        for head in (self.default, *self.others.values()):
            if head.set_full_window(window) and head.frontier is not None:
                head.is_filling = True

    def low_water(self, head: Head) -> int:
        """Frames ahead at which the next plan is made: a sixth of the window, or what plays during two reads."""
        played_during_read = int(2 * self.read_seconds * float(self.fps))
        return min(max(head.window // 6, played_during_read + 4), 3 * head.window // 4)

    # Plans.

    def plan(self, is_missing: Callable[[int], bool]) -> Plan:
        """
        What to begin now.

        Args:
            is_missing: whether a frame is neither here nor on its way.
        """
        n_free = self._slots.n_free
        if n_free <= 0:
            return Plan([], False)
        self.n_planned = 0
        heads = self._in_need()
        reads: list[tuple[Head | Range, FrameSpan]] = []
        is_unfinished = False
        share = -(-self._slots.n_patient // max(1, len(heads)))
        for head in heads:
            most = n_free if len(heads) == 1 else min(n_free, share - head.n_slots)
            if most <= 0:
                continue
            spans = self._ahead(head, most, is_missing)
            n_taken = sum(self._slots.needed(span.bytes) for span in spans)
            n_free -= n_taken
            is_unfinished |= head.is_filling and n_taken < most and self._has_room
            reads += ((head, span) for span in spans)
        if not reads and not is_unfinished and all(head.n_slots == 0 for head in heads):
            reads += self._of_ranges(n_free, is_missing)
        turn = next(self._turns)
        for owner, _ in reads:
            owner.turn = turn
        return Plan(reads, is_unfinished)

    @property
    def _has_room(self) -> bool:
        """Whether more reads would find the line idle."""
        return self.n_bytes + self.n_planned < self._most_bytes

    @property
    def _most_bytes(self) -> float:
        """Bytes under way that keep the line busy; those of two reads at least, while the latency is not known."""
        least = 0 if self.latency else _LEAST_READ_BYTES + 1
        return max(least, self.bandwidth * (self.latency + _LONGEST_READ))

    def bundle(self, index: int, is_missing: Callable[[int], bool]) -> FrameSpan:
        """
        What to read for a frame that was asked for and is not here: the frame, and if play came there step by step,
        also those that come next, as many as the line delivers during its latency. Each by itself would come too late.

        Args:
            index: the frame.
            is_missing: whether a frame is neither here nor on its way.
        """
        first, stop = index, index + 1
        head = next((head for head in self.heads() if head.at == index != head.arrived_at), None)
        if head is not None and head.window:
            most = min(self.bandwidth * self.latency, self._config.http_chunk)
            offsets, step = self._reader.index.offsets, head.direction
            for other in range(index + step, index + step * min(head.window, _MOST_BUNDLED), step):
                low, high = min(first, other), max(stop, other + 1)
                if not 0 <= other < self._n_frames or not is_missing(other) or not self._reader.is_sensible(other):
                    break
                if offsets[high] - offsets[low] > most:
                    break
                first, stop = low, high
        return self._reader.span(first, stop)

    def time_for(self, n_bytes: int) -> float:
        """Seconds that the line takes for bytes that were asked for; planned reads begin so much later."""
        return min(n_bytes / self.bandwidth, _LONGEST_READ)

    def _in_need(self) -> list[Head]:
        """The heads that need reads, the one to begin with first."""
        heads = [head for head in self.heads() if head.full_window and (head.is_filling or self._is_low(head))]
        if len(heads) > 1:
            heads.sort(key=lambda head: (head.n_slots, head.turn))
        return heads

    def _is_low(self, head: Head) -> bool:
        return head.frontier is None or (
            0 < head.frontier < self._n_frames - 1 and head.distance_to(head.frontier) < self.low_water(head)
        )

    def _ahead(self, head: Head, n_slots: int, is_missing: Callable[[int], bool]) -> list[FrameSpan]:
        """One step of a plan for a head, within a number of slots."""
        assert head.at is not None
        is_filling = head.is_filling and head.frontier is not None
        if not is_filling and (head.frontier is not None or self.read_seconds > _SLOW_READ_SECONDS):
            head.grow(at_once=self.read_seconds > _SLOW_READ_SECONDS)
        self._limit(head)
        ahead = head.ahead(self._n_frames, after=head.frontier)
        step = ahead[:_PLAN_FRAMES]
        sensible = self._reader.is_sensible
        wanted = [i for i in step if is_missing(i) and sensible(i)]
        if head.frontier is None and wanted and abs(wanted[0] - head.at) <= _SHORT_READ:
            # The first frames of a new place come in short reads, for those of a read come all at once.
            known = int(np.searchsorted(self._reader.index.offsets, self._reader.n_known, side="right")) - 1
            n_known = sum(index < known for index in wanted) if head.direction > 0 else 0
            cuts = (0, n_known, n_known + _SHORT_READ, n_known + 4 * _SHORT_READ, len(wanted))
            spans = [span for a, b in itertools.pairwise(cuts) for span in self._spans(wanted[a:b])]
        else:
            spans = self._spans(wanted)
        sums = itertools.accumulate(self._slots.needed(span.bytes) for span in spans)
        n_fitting = self._fitting(spans)
        plan = [span for span, sum_of_slots in zip(spans[:n_fitting], sums, strict=False) if sum_of_slots <= n_slots]
        self.n_planned += sum(map(self.cost, plan))
        head.frontier = step[-1] if step else head.at
        if sum(map(len, plan)) < len(wanted):
            last = plan[-1] if plan else None
            before = step[0] - head.direction if step else head.at
            head.frontier = before if last is None else last.stop - 1 if head.direction > 0 else last.first
        head.is_filling = bool(ahead) and head.frontier != ahead[-1]
        return plan

    def _spans(self, wanted: Sequence[int]) -> list[FrameSpan]:
        most = self._config.http_chunk
        longest = max(_LONGEST_READ, self.latency / self._slots.n_patient)
        if not self.latency and self.bandwidth > _FAST_BANDWIDTH:
            longest *= 3  # the latency, which is not known yet, is part of the bandwidth, which is too low by far
        if self.bandwidth * longest < most:
            most = max(_LEAST_READ_BYTES, int(self.bandwidth * longest))
        return plan_reads(
            self._reader.index.offsets, wanted, max_bytes=most, max_frames=self._config.prefetch_frames or 120
        )

    def cost(self, span: FrameSpan) -> int:
        """Bytes that come over the line for a read."""
        return 0 if span.bytes.stop <= self._reader.n_known else len(span.bytes)

    def _fitting(self, spans: Sequence[FrameSpan]) -> int:
        """How many of some reads keep the line busy; at least one if it is idle."""
        most = self._most_bytes - self.n_bytes - self.n_planned
        for number, span in enumerate(spans):
            cost = self.cost(span)
            if cost and most <= 0 and (number or self.n_bytes or self.n_planned):
                return number
            most -= cost
        return len(spans)

    def _limit(self, head: Head) -> None:
        """Keep the window of a head within the goal in bytes."""
        if self._goal.bytes is None or head.at is None:
            return
        offsets = self._reader.index.offsets
        if head.direction > 0:
            first = min(max(head.at + 1, 0), self._n_frames)
            fitting = int(np.searchsorted(offsets, offsets[first] + self._goal.bytes, side="right")) - 1 - first
        else:
            last = min(max(head.at, 0), self._n_frames)
            fitting = last - int(np.searchsorted(offsets, offsets[last] - self._goal.bytes, side="left"))
        head.window = min(head.window, max(0, fitting))

    def _of_ranges(self, n_slots: int, is_missing: Callable[[int], bool]) -> Iterator[tuple[Range, FrameSpan]]:
        """The next read of the oldest range, one at a time."""
        if any(one.n_slots for one in self.ranges):
            return
        for one in self.ranges:
            while one.at < one.stop and one.error is None:
                step = range(one.at, min(one.at + _PLAN_FRAMES, one.stop))
                spans = self._spans([i for i in step if is_missing(i) and self._reader.is_sensible(i)])
                if not spans:
                    one.at = step.stop
                elif self._slots.needed(spans[0].bytes) <= n_slots:
                    one.at = spans[0].stop
                    yield one, spans[0]
                    return
                else:
                    return
