"""
What the compositor draws where there is no video: the person's colours, and the room that passes by behind.

Computed in numpy and Pillow, once per size. The same arguments give the same bytes, so that tests can compare.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from plates import NO_PICTURE, Picture, Size

__all__ = ["DrawnPlate", "Room"]

Colour: TypeAlias = tuple[int, int, int]
Shares: TypeAlias = npt.NDArray[np.float32]
Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom."""

PAN_SECONDS: Final = 4
"""The room passes by one eye's width in this time."""
CLOTH_DISPARITY: Final = 14 / 1024
"""How much further left the sample's person stands in the right eye, in widths of an eye. The cloth goes along; in
stereo it would hang far behind the person otherwise."""

LAMP: Final = 0.815
FLOOR: Final = 0.72
WHITE, WOOD, DARK = (250, 248, 243), (92, 64, 46), (58, 48, 42)
LAMPSHADE: Final = 212, 203, 180
THINGS: Final[tuple[tuple[str, Box, Colour], ...]] = (
    ("rectangle", (0.000, 0.695, 1.000, 0.725), WHITE),  # skirting board
    ("rectangle", (0.330, 0.160, 0.410, 0.360), DARK),  # three pictures
    ("rectangle", (0.336, 0.172, 0.404, 0.348), (42, 92, 104)),
    ("ellipse", (0.348, 0.225, 0.392, 0.313), (233, 176, 88)),
    ("rectangle", (0.430, 0.220, 0.490, 0.360), DARK),
    ("rectangle", (0.436, 0.232, 0.484, 0.348), (196, 98, 72)),
    ("ellipse", (0.445, 0.266, 0.475, 0.326), (250, 226, 190)),
    ("rectangle", (0.870, 0.170, 0.950, 0.400), DARK),
    ("rectangle", (0.876, 0.182, 0.944, 0.388), (62, 66, 110)),
    ("ellipse", (0.885, 0.245, 0.935, 0.345), (226, 132, 118)),
    ("rounded_rectangle", (0.300, 0.500, 0.520, 0.740), (60, 104, 104)),  # sofa
    ("rounded_rectangle", (0.285, 0.580, 0.535, 0.780), (70, 120, 119)),
    ("rectangle", (0.409, 0.520, 0.411, 0.770), (52, 92, 93)),
    ("rectangle", (0.8125, 0.36, 0.8175, 0.760), DARK),  # lamp
    ("ellipse", (0.790, 0.750, 0.840, 0.775), DARK),
)
"""Shares of the panorama's width and height."""


class DrawnPlate:
    """
    The person's colours: a cloth in folds, lit warm from the upper right and blue from the left.
    """

    def __init__(self) -> None:
        self._picture = NO_PICTURE

    def at(self, seconds: Fraction, size: Size) -> Picture:
        """The same at all times: the light stands still, and the person moves through it."""
        width, height = size
        if self._picture.shape != (height, width, 3):
            eyes = (width // 2, 0.0), (width - width // 2, CLOTH_DISPARITY)
            self._picture = np.concatenate([_draw_cloth((columns, height), shift) for columns, shift in eyes], axis=1)
        return self._picture

    def close(self) -> None:
        """Nothing is held."""


class Room:
    """
    The moving background: a room that passes by, as seen by someone who turns the head.
    """

    def __init__(self) -> None:
        self._size: Size = 0, 0
        self._panorama = NO_PICTURE

    def at(self, seconds: Fraction, size: Size) -> Picture:
        """The part of the room in view at a time; the same in both eyes, so that it is far behind the person."""
        width, height = size
        left, right = width // 2, width - width // 2
        if self._size != size:
            panorama = _draw_room((2 * right, height))
            self._size, self._panorama = size, np.concatenate((panorama, panorama[:, :right]), axis=1)
        first = int(seconds * right / PAN_SECONDS) % (2 * right)
        return np.concatenate(
            (self._panorama[:, first : first + left], self._panorama[:, first : first + right]), axis=1
        )

    def close(self) -> None:
        """Nothing is held."""


def _draw_cloth(size: Size, shift: float) -> Picture:
    x, y = _grid(size)
    x = x + shift
    warm = np.exp(-(((x - 0.62) / 0.42) ** 2) - ((y - 0.18) / 0.55) ** 2)
    cold = np.exp(-(((x - 0.02) / 0.30) ** 2) - ((y - 0.55) / 0.60) ** 2)
    folds = (0.5 + 0.5 * np.sin(26 * (x + 0.35 * y) + 2.2 * np.sin(7 * y + 3 * x))) ** 2
    folds *= ((y - 0.42) / 0.35).clip(0, 1)
    cloth = np.empty((size[1], size[0], 3), np.uint8)
    for channel, (top, rise, warmth, cold_light, in_folds) in enumerate(
        ((51, 0, 199, 5, 13), (43, 8, 120, 71, 13), (92, 25, 56, 107, 23))
    ):
        light = top + rise * y + warmth * warm + cold_light * cold
        cloth[..., channel] = _as_bytes(light + folds * (in_folds - 0.22 * light))
    return cloth


def _draw_room(size: Size) -> Picture:
    """A panorama whose left edge goes on from its right one; drawn twice as large, which smooths what is in it."""
    canvas = Image.new("RGB", (2 * max(64, size[0]), 2 * max(32, size[1])))
    _fade(canvas, (0, 0, 1, FLOOR), (238, 229, 214), (214, 199, 178))
    _fade(canvas, (0, FLOOR, 1, 1), (150, 112, 82), (98, 68, 48))
    pen = ImageDraw.Draw(canvas)
    for board in range(1, 9):
        y = FLOOR + (1 - FLOOR) * (board / 8) ** 1.7  # the nearer, the wider
        pen.rectangle(_pixels(canvas, (0, y, 1, y + 0.002)), WOOD)
    for shape, box, colour in THINGS:
        more = {"radius": 0.03 * canvas.height} if shape == "rounded_rectangle" else {}
        getattr(pen, shape)(_pixels(canvas, box), fill=colour, **more)
    for left in (0.06, 0.56):
        _draw_window(canvas, left)
    pen.ellipse(_pixels(canvas, (0.682, 0.35, 0.717, 0.42)), (255, 240, 205))  # the sun, in one of them
    left, top, right, bottom = _pixels(canvas, (LAMP - 0.04, 0.26, LAMP + 0.04, 0.40))
    pen.polygon((left, bottom, (3 * left + right) / 4, top, (left + 3 * right) / 4, top, right, bottom), LAMPSHADE)
    return _lit(np.asarray(canvas.resize(size, Image.Resampling.BOX)))


def _draw_window(canvas: Image.Image, left: float) -> None:
    right, top, bottom = left + 0.20, 0.10, 0.58
    pen = ImageDraw.Draw(canvas)
    pen.rectangle(_pixels(canvas, (left - 0.009, top - 0.018, right + 0.009, bottom + 0.018)), WHITE)
    view = canvas.crop(_pixels(canvas, (left, top, right, bottom)))
    _fade(view, (0, 0, 1, 1), (112, 166, 216), (250, 214, 170))
    brush = ImageDraw.Draw(view)
    brush.ellipse(_pixels(view, (-0.4, 0.72, 0.8, 1.6)), (126, 150, 142))
    brush.ellipse(_pixels(view, (0.3, 0.80, 1.5, 1.7)), (84, 118, 104))
    brush.rectangle(_pixels(view, (0.48, 0, 0.52, 1)), WHITE)
    brush.rectangle(_pixels(view, (0, 0.46, 1, 0.50)), WHITE)
    canvas.paste(view, _pixels(canvas, (left, top, right, bottom)))
    pen.rectangle(_pixels(canvas, (left - 0.018, bottom + 0.018, right + 0.018, bottom + 0.036)), (232, 226, 214))


def _lit(room: Picture) -> Picture:
    """With daylight between the windows, and the lamp's glow."""
    x, y = _grid((room.shape[1], room.shape[0]))
    around = np.sin(np.pi * (x - LAMP)) / np.pi  # a distance that goes round; else the panorama would show its seam
    glow = np.exp(-((around / 0.09) ** 2) - ((y - 0.34) / 0.26) ** 2)
    daylight = 0.9 + 0.1 * np.cos(4 * np.pi * (x - 0.16)) * (1 - y)
    lit = np.empty_like(room)
    for channel, (lamplight, haze) in enumerate(((0.25, 26), (0.20, 18), (0.11, 4))):
        lit[..., channel] = _as_bytes(room[..., channel] * daylight * (1 + lamplight * glow) + haze * glow)
    return lit


def _fade(canvas: Image.Image, box: Box, above: Colour, below: Colour) -> None:
    """Fill a box from one colour to another."""
    left, top, right, bottom = _pixels(canvas, box)
    share = np.linspace(0, 1, bottom - top)[:, None]
    rows = _as_bytes((1 - share) * above + share * below)
    canvas.paste(Image.fromarray(rows[:, None]).resize((right - left, bottom - top)), (left, top))


def _pixels(canvas: Image.Image, box: Box) -> tuple[int, int, int, int]:
    """From shares of width and height."""
    width, height = canvas.size
    return round(box[0] * width), round(box[1] * height), round(box[2] * width), round(box[3] * height)


def _grid(size: Size) -> tuple[Shares, Shares]:
    """The pixels' centres, as shares of width and height, to broadcast."""
    width, height = size
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    return x.astype(np.float32)[None, :], y.astype(np.float32)[:, None]


def _as_bytes(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    return np.rint(values.clip(0, 255)).astype(np.uint8)
