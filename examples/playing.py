"""
What a player shows, and when: keys, the pointer and the clock in, the frame to show out. The compositor's, but nothing
here draws.

The view is a value and its rules are pure functions; only :func:`steer`, :func:`set_clock` and :func:`tick` touch clock
and stream.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final, Literal, Protocol, TypeAlias

from seekbar import Bar

from alphastream_gpu import Attempt, ErrorCode, FrameGeometry, LastError, PlaybackClock

__all__ = [
    "EYES",
    "Eye",
    "Input",
    "Key",
    "Pointer",
    "View",
    "describe",
    "follow",
    "handle",
    "point",
    "present",
    "press",
    "rest",
    "set_clock",
    "steer",
    "tick",
    "wanted",
]

Eye: TypeAlias = Literal["both", "left", "right"]
EYES: Final[tuple[Eye, ...]] = ("both", "left", "right")


class Key(Enum):
    """What a key asks for."""

    PAUSE = auto()
    STEP = auto()
    STEP_BACK = auto()
    JUMP = auto()
    JUMP_BACK = auto()
    HOME = auto()
    EYE = auto()
    BAR = auto()
    STATISTICS = auto()
    QUIT = auto()


@dataclass(frozen=True, slots=True)
class Pointer:
    """
    What the pointer did, with its left button.
    """

    action: Literal["press", "move", "release"]
    """Moves are of interest only while the button is down."""
    x: float
    y: float
    """Pixels of the framebuffer, from the window's top left corner; outside of the window too."""


Input: TypeAlias = Key | Pointer


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """
    What is shown and what should be.

    Positions count on where the stream begins again, so that before and after are plain: position p is frame
    ``p % n_frames``.
    """

    n_frames: int
    n_jump: int
    """Frames in a second."""
    position: int = 0
    """Where the clock is."""
    shown: int | None = None
    """The position whose picture is on the screen."""
    is_sought: bool = True
    """The user moved the position since: the next picture may be an earlier one, and what lies between is not late."""
    is_paused: bool = False
    is_dragging: bool = False
    """The pointer holds the play head."""
    is_waiting: bool = False
    """The clock stands until the frame at the position is there: the user moved there, or the stream has stalled."""
    eye: Eye = "both"
    has_bar: bool = True
    has_statistics: bool = False
    is_closing: bool = False
    n_shown: int = 0
    n_late: int = 0
    """Frames that were never shown, because their time was over."""

    @property
    def is_standing(self) -> bool:
        """Whether the clock stands."""
        return self.is_paused or self.is_dragging or self.is_waiting


def handle(view: View, inputs: Iterable[Input], bar: Bar) -> View:
    """The view after keys and what the pointer did."""
    for one in inputs:
        view = press(view, one) if isinstance(one, Key) else point(view, one, bar)
    return view


def press(view: View, key: Key) -> View:
    """The view after a key."""
    moves = {
        Key.STEP: 1,
        Key.STEP_BACK: -1,
        Key.JUMP: view.n_jump,
        Key.JUMP_BACK: -view.n_jump,
        Key.HOME: -view.position,
    }
    if key in moves:
        is_paused = view.is_paused or key in (Key.STEP, Key.STEP_BACK)
        return replace(_sought(view, view.position + moves[key]), is_paused=is_paused)
    if key is Key.PAUSE:
        return replace(view, is_paused=not view.is_paused)
    if key is Key.EYE:
        return replace(view, eye=EYES[(EYES.index(view.eye) + 1) % len(EYES)])
    if key is Key.BAR:
        return replace(view, has_bar=not view.has_bar, is_dragging=False)
    if key is Key.STATISTICS:
        return replace(view, has_statistics=not view.has_statistics)
    return replace(view, is_closing=True)


def point(view: View, pointer: Pointer, bar: Bar) -> View:
    """The view after the pointer was pressed on the bar, dragged from there, or released."""
    if pointer.action == "release":
        return replace(view, is_dragging=False)
    if pointer.action == "press" and view.has_bar and bar.is_grabbed(pointer.y):
        view = replace(view, is_dragging=True)
    if not view.is_dragging:
        return view
    position = view.position - view.position % view.n_frames + bar.frame_at(pointer.x)
    return view if position == view.position else _sought(view, position)


def _sought(view: View, position: int) -> View:
    return replace(view, position=position, is_sought=True, is_waiting=True)


def follow(view: View, position: int) -> View:
    """The view when the clock has come to a position. It never goes back; only the user does that."""
    if view.is_standing or position <= view.position:
        return view
    return replace(view, position=position)


def wanted(view: View) -> int | None:
    """The position whose picture should come next; None if it is there."""
    if view.is_sought or view.shown is None or view.position > view.shown:
        return view.position
    return None


def present(view: View, position: int) -> View:
    """The view when the picture of the wanted position has come."""
    n_passed = 0 if view.is_sought or view.shown is None else position - view.shown - 1
    return replace(
        view,
        shown=position,
        is_sought=False,
        is_waiting=False,
        n_shown=view.n_shown + 1,
        n_late=view.n_late + n_passed,
    )


def describe(view: View, rate: float, problem: str) -> str:
    """One line for the user: `rate` in pictures a second, `problem` for when a frame does not come."""
    frame = "no frame yet" if view.shown is None else f"frame {view.shown % view.n_frames} of {view.n_frames}"
    state = "paused" if view.is_paused else f"{rate:.0f} fps"
    if wanted(view) is not None:
        state = f"waiting ({problem})" if problem else "waiting"
    return f"{frame} | {state} | eye: {view.eye} | late: {view.n_late}"


class Geometries(Protocol):
    """What playing needs of a stream."""

    @property
    def is_stalled(self) -> bool:
        """Whether the frame asked for last is missing, and late."""

    def get_geometry(self, index: int) -> FrameGeometry | None:
        """The frame, or None if it is not there in time."""

    def last_error(self) -> LastError | None:
        """Why not."""

    def last_attempt(self, index: int) -> Attempt | None:
        """What came of fetching a frame."""

    def seek(self, index: int) -> None:
        """Fetch this frame, and nothing that was asked for before."""

    def frame_at(self, seconds: float) -> int:
        """The position at a time."""

    def time_of(self, index: int) -> float:
        """When a position begins."""


def steer(before: View, view: View, clock: PlaybackClock, stream: Geometries) -> None:
    """
    Let stream and clock do as the user wants.

    Of many moves of the pointer, only the newest target is fetched. A step to the next frame is no seek: the stream
    finds out by itself whether play goes forward or backward.
    """
    if abs(view.position - before.position) > 1:
        stream.seek(view.position % view.n_frames)
    set_clock(view, clock, stream)


def set_clock(view: View, clock: PlaybackClock, stream: Geometries) -> None:
    """Let the clock stand or run as the view says: after each :func:`tick`, too, once its picture is drawn."""
    if view.is_standing:
        clock.seek(stream.time_of(view.position))
    if view.is_standing != clock.is_paused:
        (clock.pause if view.is_standing else clock.play)()


def tick(view: View, clock: PlaybackClock, stream: Geometries) -> tuple[View, FrameGeometry | None]:
    """
    Ask for the frame that the clock is at, unless it is on the screen.

    What is not there in time is not waited for: the last picture stays, and next time the clock's frame is asked for,
    not the one that was missed. So no frame is ever shown after a later one. But if the stream has stalled, the clock
    stands until it goes on, so that a break of the connection skips nothing.
    """
    view = follow(view, stream.frame_at(clock.time()))
    position = wanted(view)
    if position is None:
        return view, None
    geometry = stream.get_geometry(position % view.n_frames)
    if geometry is not None:
        view = present(view, position)
    else:
        view = replace(view, is_waiting=_is_worth_waiting(view, stream))
    return view, geometry


def _is_worth_waiting(view: View, stream: Geometries) -> bool:
    """Whether the frame that did not come is to be waited for. One that is malformed will never come."""
    error = stream.last_error()
    if error is not None and error.code is ErrorCode.DECODE:
        return False
    return view.is_waiting or stream.is_stalled


def rest(view: View, clock: PlaybackClock, stream: Geometries) -> float:
    """Seconds in which nothing is due, unless the user does something."""
    if wanted(view) is not None:
        attempt = stream.last_attempt(view.position % view.n_frames) if view.is_waiting else None
        if attempt is not None and attempt.outcome == "failed":
            return 0.25  # to ask is to send another request
        return 0.02  # then ask again; where waiting helps, get_geometry itself has waited
    if view.is_standing:
        return 0.25
    return min(max(0.0, stream.time_of(view.position + 1) - clock.time()), 0.25)
