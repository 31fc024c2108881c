"""
Shape: makes the mask of a matte as it was read: layout, eye, size, threshold.

Strategy. The order is: take the matte out of its layout, take the eye, resize the *soft* matte, compare with the
threshold, invert, pad with unset pixels, double a mono picture. Thresholding before resizing would lose the matte's
sub-pixel edges. Padding comes after inverting, because what lies outside the picture is never set.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .._geometry.size import check_size
from .fisheye import from_fisheye
from .options import InputOptions, Layout

__all__ = ["Shaper", "taken"]


class Shaper:
    """
    Makes masks of one size from mattes of one size.

    Args:
        size: width and height of the mattes in pixels.
        options: layout, eye, native size, fit, threshold, invert.
        threshold: a pixel is set where the matte is above it; None for bool mattes.

    Raises:
        ValueError: the options do not fit the size of the mattes.
    """

    def __init__(self, size: tuple[int, int], options: InputOptions, threshold: float | None) -> None:
        check_size("size of the pictures", size)
        self._options = options
        self._matte_size = size
        self._threshold = threshold
        eye = _size_of(_one_eye(taken(_stand_in(size), options.layout), options.eye))
        if min(eye) < 1:
            raise ValueError(f"layout {options.layout}: {size[0]} x {size[1]} pixels are too few")
        self._is_doubled = options.eye == "mono-to-both"
        self._eye_size = self._target(eye)
        self._is_resized = self._eye_size != eye and options.fit == "stretch"
        self.size = (self._eye_size[0] * (1 + self._is_doubled), self._eye_size[1])
        """Width and height of the masks."""
        check_size("size of the masks", self.size)
        self.chosen = self._chosen(eye)
        """What was chosen, in parts of a sentence."""

    def mask(self, matte: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """
        Make a mask.

        Args:
            matte: bool or numbers (height, width) of the size given.

        Returns:
            bool (height, width) of :attr:`size`: a new array, or `matte` itself or a view of it.
        """
        if _size_of(matte) != self._matte_size:
            raise ValueError(f"expected a picture of {_shown(self._matte_size)}, found {_shown(_size_of(matte))}")
        matte = _one_eye(taken(matte, self._options.layout), self._options.eye)
        if self._is_resized:
            is_set = resized(matte, self._eye_size) > (0.5 if self._threshold is None else self._threshold)
        else:
            is_set = _above(matte, self._threshold)
        if self._options.invert:
            is_set = ~is_set
        if _size_of(is_set) != self._eye_size:
            is_set = _padded(is_set, self._eye_size)
        if self._is_doubled:
            return np.concatenate((is_set, is_set), axis=1)
        return is_set

    def _target(self, eye: tuple[int, int]) -> tuple[int, int]:
        native, fit = self._options.native_size, self._options.fit
        if native is None:
            return eye
        target = native
        if self._is_doubled:
            if native[0] % 2:
                raise ValueError(f"native_size: expected an even width for two eyes, found {native[0]}")
            target = (native[0] // 2, native[1])
        if fit == "exact" and eye != target:
            raise ValueError(
                f"native_size: expected {_shown(target)}, as asked for{' each eye' if self._is_doubled else ''}; the "
                f"input has {_shown(eye)}. Pass fit='stretch' or 'pad', or leave native_size out"
            )
        if fit == "pad" and (eye[0] > target[0] or eye[1] > target[1]):
            raise ValueError(f"fit='pad': {_shown(eye)} do not fit into {_shown(target)}; pass fit='stretch'")
        return target

    def _chosen(self, eye: tuple[int, int]) -> list[str]:
        chosen = []
        if self._threshold is not None:
            chosen.append(f"set above {self._threshold:g}")
        if self._options.layout != "plain":
            chosen.append(f"layout {self._options.layout}")
        if self._options.eye != "both":
            chosen.append(f"eye {self._options.eye}")
        if self._options.invert:
            chosen.append("inverted")
        if self._eye_size != eye:
            chosen.append(f"{self._options.fit} from {_shown(eye)} to {_shown(self._eye_size)}")
        return chosen


def taken(picture: npt.NDArray[Any], layout: Layout) -> npt.NDArray[Any]:
    """
    Take the matte out of a picture.

    Args:
        picture: any dtype (height, width).
        layout: where the matte is. A half of an odd size is rounded down, and lies at the outer edge.

    Returns:
        The picture's dtype (height, width); a view, or new for fisheye layouts.
    """
    height, width = picture.shape
    if layout == "alpha-right":
        return picture[:, width - width // 2 :]
    if layout == "alpha-left":
        return picture[:, : width // 2]
    if layout == "alpha-bottom":
        return picture[height - height // 2 :]
    if layout == "alpha-top":
        return picture[: height // 2]
    if layout == "fisheye-a" or layout == "fisheye-b":  # noqa: PLR1714 - mypy narrows the type only so
        return from_fisheye(picture, layout)
    return picture


def resized(matte: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """
    Resize with a triangle filter: linear between pixels if larger, an average over the area if smaller.

    Args:
        matte: bool or numbers (height, width).
        size: the new width and height in pixels.

    Returns:
        float32 (height, width), in the matte's range.
    """
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(matte, dtype=np.float32))
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR), dtype=np.float32)


def _above(matte: npt.NDArray[Any], threshold: float | None) -> npt.NDArray[np.bool_]:
    if threshold is None:
        return matte if matte.dtype == np.bool_ else matte != 0
    if matte.dtype.kind in "ui":  # a float would convert the whole array to float64 first
        return np.asarray(matte > math.floor(threshold), dtype=np.bool_)
    return np.asarray(matte > threshold, dtype=np.bool_)


def _one_eye(matte: npt.NDArray[Any], eye: str) -> npt.NDArray[Any]:
    width = matte.shape[1]
    if eye == "left":
        return matte[:, : width // 2]
    if eye == "right":
        return matte[:, width - width // 2 :]
    return matte


def _padded(mask: npt.NDArray[np.bool_], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Centered; an odd pixel goes to the right or to the bottom."""
    (height, width), (new_width, new_height) = mask.shape, size
    padded = np.zeros((new_height, new_width), np.bool_)
    top, left = (new_height - height) // 2, (new_width - width) // 2
    padded[top : top + height, left : left + width] = mask
    return padded


def _stand_in(size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """An array of a size that takes no memory."""
    return np.broadcast_to(np.bool_(False), (size[1], size[0]))


def _size_of(picture: npt.NDArray[Any]) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]


def _shown(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"
