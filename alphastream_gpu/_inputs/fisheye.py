"""
Fisheye layouts: where the pieces of a matte are in the dead corners of a side-by-side fisheye picture.

The picture is W x H; each eye is E = W // 2 wide. The matte was scaled to 40 % and cut in pieces. A quarter of an eye's
matte is w = E // 5 wide and h = H // 5 high. The matte of both eyes side by side is 4w x 2h. No piece is mirrored or
turned.

**Layout a**, of Python packers: each quarter is in the corner of its own eye that has its name.

::

    left eye                right eye
    +----+----------+----+ +----+----------+----+
    | TL |          | TR | | TL |          | TR |
    +----+          +----+ +----+          +----+
    |                    | |                    |
    +----+          +----+ +----+          +----+
    | BL |          | BR | | BL |          | BR |
    +----+----------+----+ +----+----------+----+

**Layout b**, of the FFmpeg command that DeoVR published: the whole matte of an eye is drawn around a point on the
picture's edge, so that the part inside the picture is seen. The left eye's is drawn around the middle of the upper and
of the lower edge; the right eye's around each of the four corners.

::

    +----+-------+---------+-------+----+
    | R  |       | L lower |       | R  |      upper corners: R's lower right quarter at the left,
    | BR |       |  half   |       | BL |      R's lower left quarter at the right
    +----+       +---------+       +----+
    |                                   |
    +----+       +---------+       +----+
    | R  |       | L upper |       | R  |      lower corners: R's upper right quarter at the left,
    | TR |       |  half   |       | TL |      R's upper left quarter at the right
    +----+-------+---------+-------+----+
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["FisheyeLayout", "Piece", "from_fisheye", "matte_size", "pieces_of"]

FisheyeLayout: TypeAlias = Literal["fisheye-a", "fisheye-b"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangle of the matte, and where it is in the picture. Ranges are of pixels; each pair has equal lengths."""

    picture_rows: range
    picture_columns: range
    matte_rows: range
    matte_columns: range


def matte_size(width: int, height: int) -> tuple[int, int]:
    """
    The width and the height in pixels of the matte of both eyes.

    Args:
        width: of the picture in pixels.
        height: likewise.
    """
    return 4 * (width // 2 // 5), 2 * (height // 5)


def pieces_of(layout: FisheyeLayout, width: int, height: int) -> list[Piece]:
    """
    The pieces of the matte.

    Args:
        layout: fisheye-a or fisheye-b.
        width: of the picture in pixels.
        height: likewise.
    """
    eye = width // 2
    w, h = eye // 5, height // 5
    bottom, right, middle = height - h, width - w, eye - w
    if layout == "fisheye-a":
        columns = (0, middle, width - eye, right)
        return [_piece(x, y, w, h, w * i, h * j) for j, y in enumerate((0, bottom)) for i, x in enumerate(columns)]
    return [
        _piece(middle, bottom, 2 * w, h, 0, 0),
        _piece(middle, 0, 2 * w, h, 0, h),
        _piece(right, bottom, w, h, 2 * w, 0),
        _piece(0, bottom, w, h, 3 * w, 0),
        _piece(right, 0, w, h, 2 * w, h),
        _piece(0, 0, w, h, 3 * w, h),
    ]


def _piece(x: int, y: int, width: int, height: int, matte_x: int, matte_y: int) -> Piece:
    return Piece(
        range(y, y + height), range(x, x + width), range(matte_y, matte_y + height), range(matte_x, matte_x + width)
    )


def from_fisheye(picture: npt.NDArray[Any], layout: FisheyeLayout) -> npt.NDArray[Any]:
    """
    Take the matte out of a picture.

    Args:
        picture: any dtype (H, W).
        layout: fisheye-a or fisheye-b.

    Returns:
        The picture's dtype (2 * (H // 5), 4 * (W // 2 // 5)); new.
    """
    height, width = picture.shape
    matte = np.empty(matte_size(width, height)[::-1], picture.dtype)
    for one in pieces_of(layout, width, height):
        matte[_part(one.matte_rows), _part(one.matte_columns)] = picture[
            _part(one.picture_rows), _part(one.picture_columns)
        ]
    return matte


def _part(pixels: range) -> slice:
    return slice(pixels.start, pixels.stop)
