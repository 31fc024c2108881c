"""
Values: interprets numbers as a matte: computes luma, finds the range of the values, and decides which integers are
masks.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["IntegerMasks", "found_range", "limits", "luma"]

_LUMA: Final = (19595, 38470, 7471)
"""The weights of BT.601 in 1/65536, as Pillow has them. They add up to 65536, so gray stays the same gray."""

_FULL_SHARE: Final = 100
"""One pixel in so many beyond the limited range shows that a range is full. Fewer can be overshoots of a codec; a matte
of full range has its background there, or its foreground."""


def luma(red: npt.NDArray[Any], green: npt.NDArray[Any], blue: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """
    The luma of RGB, full range, rounded: (19595 R + 38470 G + 7471 B) / 65536.

    Args:
        red: uint8, uint16 or float32 (height, width).
        green: likewise.
        blue: likewise.

    Returns:
        The same dtype and shape.
    """
    if red.dtype.kind == "f":
        weights = [np.float32(weight / 65536) for weight in _LUMA]
        return np.asarray(red * weights[0] + green * weights[1] + blue * weights[2], dtype=red.dtype)
    total = np.full(red.shape, 0x8000, np.uint32)
    for plane, weight in zip((red, green, blue), _LUMA, strict=True):
        total += plane.astype(np.uint32) * np.uint32(weight)
    return (total >> 16).astype(red.dtype)


def limits(bits: int, is_limited: bool) -> tuple[int, int]:
    """The lowest and the highest value of luma of so many bits: 16 and 235, or 0 and 255, for 8."""
    if is_limited:
        return 16 << (bits - 8), 235 << (bits - 8)
    return 0, (1 << bits) - 1


def found_range(histogram: npt.NDArray[np.int64], bits: int) -> Literal["full", "limited"]:
    """
    Find the range of luma from its values.

    Half-way between the ends of the two ranges (8 and 245, for 8 bits) values are told apart. In a full range matte
    the background is 0 and the foreground 255; in a limited one they are 16 and 235, give or take a few for the
    codec's errors. If more than a hundredth of the pixels is below 8 or above 245, the range is full.

    Args:
        histogram: int64 (2 ** bits,), how many pixels have each value.
        bits: 8..16.

    Returns:
        "full" or "limited"; limited, as FFmpeg assumes, if no value shows it.
    """
    below, above = 8 << (bits - 8), 245 << (bits - 8)
    outside = int(histogram[:below].sum()) + int(histogram[above + 1 :].sum())
    return "full" if outside * _FULL_SHARE > int(histogram.sum()) else "limited"


class IntegerMasks:
    """
    Integers as masks: 0 and 1, or 0 and the highest value of the dtype (255 in any wider dtype as well).

    The first frame with a set pixel decides, for all frames.
    """

    def __init__(self) -> None:
        self.high: int | None = None
        """The value of a set pixel; None while all pixels were 0."""

    def mask(self, frame: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """
        Convert a frame.

        Args:
            frame: an integer dtype (height, width).

        Returns:
            bool (height, width).

        Raises:
            ValueError: the frame has other values, which the message names.
        """
        is_set = np.asarray(frame != 0, dtype=np.bool_)
        if not is_set.any():
            return is_set
        low, high = int(frame.min()), int(frame.max())
        allowed = {1, 255, int(np.iinfo(frame.dtype).max)} if self.high is None else {self.high}
        if high not in allowed or low < 0 or not np.array_equal(is_set, frame == high):
            one = frame[is_set & (frame != high)]
            other = int(one.flat[0]) if one.size else high
            expected = f"0 and {self.high}, as before" if self.high else "0 and 1, or 0 and 255"
            raise ValueError(
                f"expected {expected}, found {other}; pass threshold= for a soft matte, or objects= for a picture "
                "of object numbers"
            )
        self.high = high
        return is_set
