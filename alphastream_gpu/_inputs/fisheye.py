"""
Fisheye layouts: takes a matte out of the dead corners of a side-by-side fisheye picture.

The picture is W x H; each eye is E = W // 2 wide. The matte was scaled to 40 % and cut in pieces. A quarter of an eye's
matte is w = E // 5 wide and h = H // 5 high. Both functions return the matte of both eyes side by side, 4w x 2h. No
piece is mirrored or turned.

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

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["from_fisheye_a", "from_fisheye_b"]


def from_fisheye_a(picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """
    Take the matte out of layout a.

    Args:
        picture: any dtype (H, W).

    Returns:
        The picture's dtype (2 * (H // 5), 4 * (W // 2 // 5)); new.
    """
    width = picture.shape[1]
    eye = width // 2
    h, w = picture.shape[0] // 5, eye // 5
    eyes = []
    for one in (picture[:, :eye], picture[:, width - eye :]):
        upper = (one[:h, :w], one[:h, eye - w :])
        lower = (one[one.shape[0] - h :, :w], one[one.shape[0] - h :, eye - w :])
        eyes.append(np.block([list(upper), list(lower)]))
    return np.concatenate(eyes, axis=1)


def from_fisheye_b(picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """
    Take the matte out of layout b. Arguments and result as :func:`from_fisheye_a`.
    """
    height, width = picture.shape
    eye = width // 2
    h, w = height // 5, eye // 5
    bottom, right, middle = height - h, width - w, eye - w
    left_eye = (picture[bottom:, middle : middle + 2 * w], picture[:h, middle : middle + 2 * w])
    right_eye = (
        (picture[bottom:, right:], picture[bottom:, :w]),
        (picture[:h, right:], picture[:h, :w]),
    )
    return np.concatenate((np.concatenate(left_eye), np.block([list(row) for row in right_eye])), axis=1)
