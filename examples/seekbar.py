"""
The geometry of the compositor's seek bar and of its stall sign: which pixels have which colour, and which frame is
under the pointer. Pure functions of the window's size; overlay.py draws what they return.

Pixels are those of the window's framebuffer, counted from its top left corner.

On a bar of `w` columns for `n` frames, column x belongs to frame ``x * n // w``, for drawing and for clicks alike. So a
column has the colour of the buffered ranges exactly if a click on it seeks to a frame that is here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor
from typing import Final, NamedTuple, TypeAlias

from plates import Size

__all__ = ["SIGN_STEPS", "Bar", "Colour", "Fill", "Rect", "place", "stall_sign"]

Colour: TypeAlias = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""
Fill: TypeAlias = "tuple[Rect, Colour]"
"""A rectangle filled with a colour. Later ones cover earlier ones."""

FRAME: Final[Colour] = (20, 20, 24)
TRACK: Final[Colour] = (70, 70, 78)
BUFFERED: Final[Colour] = (150, 176, 204)
HEAD: Final[Colour] = (255, 184, 56)
SIGN: Final[Colour] = (20, 20, 24)
DOT: Final[Colour] = (86, 86, 96)
LIT: Final[Colour] = (255, 184, 56)

MARGIN, HEIGHT, BORDER, HEAD_WIDTH, OVERHANG = 16, 10, 2, 4, 4
DOT_EDGE, DOT_GAP, SIGN_PADDING = 12, 8, 16
"""In pixels of a display of scale 1."""
SIGN_STEPS: Final = 3
"""The dots of the stall sign, of which one is lit at a time."""


class Rect(NamedTuple):
    """A rectangle of pixels."""

    left: int
    top: int
    width: int
    height: int

    def grown(self, by: int) -> Rect:
        """The rectangle with a border around it."""
        return Rect(self.left - by, self.top - by, self.width + 2 * by, self.height + 2 * by)


@dataclass(frozen=True, slots=True)
class Bar:
    """
    A seek bar at its place in a window.
    """

    rect: Rect
    """At least one pixel wide."""
    n_frames: int
    """At least 1."""
    scale: int = 1
    """Of the display: 2 if its pixels are half as large as usual."""

    def frame_at(self, x: float) -> int:
        """The frame under the pointer: the first one left of the bar, the last one right of it."""
        column = floor(x) - self.rect.left
        if column >= self.rect.width:
            return self.n_frames - 1
        return max(0, column) * self.n_frames // self.rect.width

    def column_of(self, frame: int) -> int:
        """
        The first column that belongs to a frame, counted from the bar's left edge.

        If there are more frames than columns, a frame may have none: then the first one after it, or the last one.
        """
        return min(self._first_column(frame), self.rect.width - 1)

    def stripes(self, ranges: Iterable[tuple[int, int]]) -> list[Rect]:
        """
        The columns of ranges of frames.

        Args:
            ranges: first frame and one past the last, as :meth:`alphastream_gpu.AlphaStream.buffered` returns them.
        """
        left, top, _, height = self.rect
        columns = [(self._first_column(start), self._first_column(stop)) for start, stop in ranges]
        return [Rect(left + first, top, end - first, height) for first, end in columns if first < end]

    def head(self, frame: int) -> Rect:
        """The play head: a handle, higher than the bar."""
        left, top, _, height = self.rect
        width, overhang = HEAD_WIDTH * self.scale, OVERHANG * self.scale
        return Rect(left + self.column_of(frame) - width // 2, top - overhang, width, height + 2 * overhang)

    def fills(self, ranges: Iterable[tuple[int, int]], frame: int) -> tuple[Fill, ...]:
        """Everything to draw: the bar, the ranges that are here, and the play head at a frame."""
        return (
            (self.rect.grown(BORDER * self.scale), FRAME),
            (self.rect, TRACK),
            *((stripe, BUFFERED) for stripe in self.stripes(ranges)),
            (self.head(frame).grown(self.scale), FRAME),
            (self.head(frame), HEAD),
        )

    def is_grabbed(self, y: float) -> bool:
        """Whether a press at this height takes hold of the bar. The margin around it counts, for it is thin."""
        return y >= self.rect.top - MARGIN * self.scale

    def _first_column(self, frame: int) -> int:
        """The first column x with ``x * n_frames // width >= frame``; the width if there is none."""
        return -(-frame * self.rect.width // self.n_frames)


def place(window: Size, n_frames: int, scale: int = 1) -> Bar:
    """The bar at the bottom of a window. In a window too small for it, a part lies outside."""
    margin, height = MARGIN * scale, HEIGHT * scale
    rect = Rect(margin, window[1] - margin - height, max(1, window[0] - 2 * margin), height)
    return Bar(rect, n_frames, scale)


def stall_sign(window: Size, step: int, scale: int = 1) -> tuple[Fill, ...]:
    """
    The sign in the middle of a window that says that play waits: a row of dots.

    Args:
        window: its size.
        step: which dot is lit, 0 to ``SIGN_STEPS - 1``. One after the other shows that the program is alive.
        scale: of the display.
    """
    edge, pitch, padding = DOT_EDGE * scale, (DOT_EDGE + DOT_GAP) * scale, SIGN_PADDING * scale
    width = pitch * (SIGN_STEPS - 1) + edge
    left, top = (window[0] - width) // 2, (window[1] - edge) // 2
    dots = [Rect(left + k * pitch, top, edge, edge) for k in range(SIGN_STEPS)]
    return (
        (Rect(left, top, width, edge).grown(padding), SIGN),
        *((dot, LIT if k == step else DOT) for k, dot in enumerate(dots)),
    )
