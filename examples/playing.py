"""
What a player shows, and when: keys and the clock in, the frame to show out. The compositor's, but nothing here draws.

The view is a value and its rules are pure functions; only :func:`steer` and :func:`tick` touch clock and stream.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final, Literal, Protocol, TypeAlias

from alphastream_gpu import FrameGeometry, PlaybackClock

__all__ = ["EYES", "Eye", "Key", "View", "describe", "follow", "present", "press", "rest", "steer", "tick", "wanted"]

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
    QUIT = auto()


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
    """Where the clock stands."""
    shown: int | None = None
    """The position whose picture is on the screen."""
    is_sought: bool = True
    """A key moved the position since: the next picture may be an earlier one, and what lies between is not late."""
    is_paused: bool = False
    eye: Eye = "both"
    is_closing: bool = False
    n_shown: int = 0
    n_late: int = 0
    """Frames that were never shown, because their time was over."""


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
        return replace(view, position=view.position + moves[key], is_sought=True, is_paused=is_paused)
    if key is Key.PAUSE:
        return replace(view, is_paused=not view.is_paused)
    if key is Key.EYE:
        return replace(view, eye=EYES[(EYES.index(view.eye) + 1) % len(EYES)])
    return replace(view, is_closing=True)


def follow(view: View, position: int) -> View:
    """The view when the clock has come to a position. It never goes back; only keys do that."""
    if view.is_paused or position <= view.position:
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
    return replace(view, shown=position, is_sought=False, n_shown=view.n_shown + 1, n_late=view.n_late + n_passed)


def describe(view: View, rate: float, problem: str) -> str:
    """One line for the user: `rate` in pictures a second, `problem` for when a frame does not come."""
    frame = "no frame yet" if view.shown is None else f"frame {view.shown % view.n_frames} of {view.n_frames}"
    state = "paused" if view.is_paused else f"{rate:.0f} fps"
    if wanted(view) is not None:
        state = f"waiting ({problem})" if problem else "waiting"
    return f"{frame} | {state} | eye: {view.eye} | late: {view.n_late}"


class Geometries(Protocol):
    """What playing needs of a stream."""

    def get_geometry(self, index: int) -> FrameGeometry | None:
        """The frame, or None if it is not there in time."""

    def frame_at(self, seconds: float) -> int:
        """The position at a time."""

    def time_of(self, index: int) -> float:
        """When a position begins."""


def steer(view: View, clock: PlaybackClock, stream: Geometries) -> None:
    """Let the clock stand or run as the view says, after keys."""
    if view.is_paused or view.is_sought:
        clock.seek(stream.time_of(view.position))
    if view.is_paused != clock.is_paused:
        (clock.pause if view.is_paused else clock.play)()


def tick(view: View, clock: PlaybackClock, stream: Geometries) -> tuple[View, FrameGeometry | None]:
    """
    Ask for the frame that the clock is at, unless it is on the screen.

    What is not there in time is not waited for: the last picture stays, and next time the clock's frame is asked for,
    not the one that was missed. So no frame is ever shown after a later one.
    """
    view = follow(view, stream.frame_at(clock.time()))
    position = wanted(view)
    geometry = None if position is None else stream.get_geometry(position % view.n_frames)
    if position is None or geometry is None:
        return view, None
    return present(view, position), geometry


def rest(view: View, clock: PlaybackClock, stream: Geometries) -> float:
    """Seconds in which nothing is due, unless a key comes."""
    if wanted(view) is not None:
        return 0.02  # then ask again; where waiting helps, get_geometry itself has waited
    if view.is_paused:
        return 0.25
    return min(max(0.0, stream.time_of(view.position + 1) - clock.time()), 0.25)
