"""
Composing: makes pictures of colours and a mask.

A picture of the colour video is never changed: decoders predict the next pictures from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .._inputs.fisheye import FisheyeLayout, Piece, matte_size, pieces_of
from .choice import Layout
from .coders import BT709, FULL_RANGE, LIMITED_RANGE, Coder
from .drawing import Mask

__all__ = ["Composer", "composer_for"]

_WEIGHTS: Final = {BT709: (0.2126, 0.0722), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
"""The shares of red and blue in the luma, by FFmpeg's numbers of the colour spaces; (0.299, 0.114) for all others."""


class Composer(ABC):
    """
    Makes pictures of one size and format.

    Args:
        form: the pixel format.
        size: width and height of the colour video.
    """

    size: tuple[int, int]
    """Of the pictures."""
    mask_size: tuple[int, int]
    """Of the masks that they take."""

    def __init__(self, form: str, size: tuple[int, int]) -> None:
        self.form = form
        self._colour_size = self.size = self.mask_size = size

    @abstractmethod
    def picture(self, frame: Any, mask: Mask) -> Any:
        """
        Make a picture.

        Args:
            frame: of the colour video, an av.VideoFrame.
            mask: uint8 (height, width) of :attr:`mask_size`, 0 and 255.

        Returns:
            A new av.VideoFrame.
        """


class AlphaComposer(Composer):
    """
    The mask is the alpha channel.

    Args:
        form: the pixel format.
        size: width and height of the colour video.
        color_range: FFmpeg's number of the range of the colours; that of the video if None.
    """

    def __init__(self, form: str, size: tuple[int, int], color_range: int | None) -> None:
        super().__init__(form, size)
        self._color_range = color_range

    def picture(self, frame: Any, mask: Mask) -> Any:
        if any(one.is_alpha for one in frame.format.components):  # the result would share its memory
            frame = converted(frame, "yuv444p16le" if "16" in frame.format.name else "yuv444p")
        made = converted(frame, self.form, self._color_range)
        alpha = next(one for one in made.format.components if one.is_alpha)
        rows = _rows(made.planes[alpha.plane], np.uint8 if alpha.bits == 8 else np.uint16)
        rows[: mask.shape[0], : mask.shape[1]] = (mask & 1) * np.uint16((1 << alpha.bits) - 1)
        return made


class SideComposer(Composer):
    """The mask is beside the colours, as luma in the range of the colours."""

    def __init__(self, form: str, size: tuple[int, int], layout: Layout) -> None:
        super().__init__(form, size)
        width, height = size
        is_across = layout in ("alpha-right", "alpha-left")
        self.size = (2 * width, height) if is_across else (width, 2 * height)
        is_mask_last = layout in ("alpha-right", "alpha-bottom")
        second = (width, 0) if is_across else (0, height)
        self._colour_place, self._mask_place = ((0, 0), second) if is_mask_last else (second, (0, 0))

    def picture(self, frame: Any, mask: Mask) -> Any:
        import av

        colours = converted(frame, self.form)
        made = av.VideoFrame(*self.size, self.form)
        low, high = _luma_range(colours)
        width, height = self._colour_size
        for number in range(3):
            source, target = _rows(colours.planes[number]), _rows(made.planes[number])
            w, h = (width, height) if number == 0 else (width // 2, height // 2)
            x, y = self._colour_place if number == 0 else (self._colour_place[0] // 2, self._colour_place[1] // 2)
            target[y : y + h, x : x + w] = source[:h, :w]
            x, y = self._mask_place if number == 0 else (self._mask_place[0] // 2, self._mask_place[1] // 2)
            target[y : y + h, x : x + w] = np.where(mask, np.uint8(high), np.uint8(low)) if number == 0 else 128
        return _with_colours_of(made, colours)


class FisheyeComposer(Composer):
    """The pieces of a small mask are in the dead corners of the picture, red on black."""

    def __init__(self, form: str, size: tuple[int, int], layout: FisheyeLayout) -> None:
        super().__init__(form, size)
        self.mask_size = matte_size(*size)
        self._pieces = pieces_of(layout, *size)
        if min(self.mask_size) < 1:
            raise ValueError(f"video: {size[0]} x {size[1]} pixels are too few for the layout {layout}")

    def picture(self, frame: Any, mask: Mask) -> Any:
        import av

        colours = converted(frame, self.form)
        made = av.VideoFrame(*self.size, self.form)
        for source, target in zip(colours.planes, made.planes, strict=True):
            n_bytes = min(source.line_size, target.line_size)
            _rows(target)[:, :n_bytes] = _rows(source)[:, :n_bytes]
        _with_colours_of(made, colours)
        for piece in self._pieces:
            paste = _paste_yuv if self.form == "yuv420p" else _paste_bgr
            paste(made, piece, mask[_part(piece.matte_rows), _part(piece.matte_columns)])
        return made


def composer_for(layout: Layout, coder: Coder, size: tuple[int, int]) -> Composer:
    """
    The composer of a layout.

    Args:
        layout: where the mask goes.
        coder: the encoder of the pictures.
        size: width and height of the colour video.

    Raises:
        ValueError: the layout does not fit the size.
    """
    form = coder.form
    if "420" in form and (size[0] % 2 or size[1] % 2):
        raise ValueError(f"video: expected an even width and height, found {size[0]} x {size[1]}; crop the video first")
    if layout == "alpha":
        return AlphaComposer(form, size, coder.color_range)
    if layout == "fisheye-a" or layout == "fisheye-b":  # noqa: PLR1714 - mypy narrows the type only so
        return FisheyeComposer(form, size, layout)
    return SideComposer(form, size, layout)


def converted(frame: Any, form: str, color_range: int | None = None) -> Any:
    """
    A frame in another pixel format, in the same colour space; the frame itself if it has the format and the range.

    RGB becomes BT.709 of limited range, which players assume for large pictures.

    Args:
        frame: an av.VideoFrame.
        form: the pixel format.
        color_range: FFmpeg's number of the range; that of the frame if omitted.
    """
    is_rgb = bool(frame.format.is_rgb or frame.format.has_palette)
    found = FULL_RANGE if is_rgb else _range_of(frame)
    wanted = (LIMITED_RANGE if is_rgb else found) if color_range is None else color_range
    if form.startswith("bgr"):
        wanted = FULL_RANGE
    if frame.format.name == form and found == wanted:
        return frame
    # On one thread: with more, libswscale's threads overwrite pixels of each other where rows are no multiple of 16
    # pixels, and the same frame would not always become the same picture.
    given: dict[str, Any] = {"src_color_range": found, "dst_color_range": wanted, "threads": 1}
    if is_rgb and not form.startswith("bgr"):
        given["dst_colorspace"] = BT709
    made = frame.reformat(format=form, **given)
    made.color_range = wanted
    if is_rgb:
        made.colorspace = BT709
    return made


def _range_of(frame: Any) -> int:
    """FFmpeg's number for the range of a frame; limited if it says nothing."""
    if frame.format.name.startswith("yuvj") or int(frame.color_range or 0) == FULL_RANGE:
        return FULL_RANGE
    return LIMITED_RANGE


def _with_colours_of(made: Any, colours: Any) -> Any:
    """Copy to a picture what its numbers mean."""
    made.color_range, made.colorspace = colours.color_range, colours.colorspace
    return made


def _luma_range(frame: Any) -> tuple[int, int]:
    return (0, 255) if _range_of(frame) == FULL_RANGE else (16, 235)


def _rows(plane: Any, dtype: npt.DTypeLike = np.uint8) -> npt.NDArray[Any]:
    """The rows of a plane, with the padding at their ends."""
    found = np.frombuffer(plane, np.uint8)[: plane.line_size * plane.height].reshape(plane.height, plane.line_size)
    return found.view(dtype)


def _part(pixels: range) -> slice:
    return slice(pixels.start, pixels.stop)


def _paste_bgr(made: Any, piece: Piece, mask: Mask) -> None:
    pixels = _rows(made.planes[0])[_part(piece.picture_rows)]
    first = 4 * piece.picture_columns.start
    part = pixels[:, first : first + 4 * mask.shape[1]].reshape(*mask.shape, 4)
    part[..., :2] = 0
    part[..., 2] = mask


def _paste_yuv(made: Any, piece: Piece, mask: Mask) -> None:
    """
    Put a piece of a mask into a picture of yuv420p, so that half of full red divides set and unset pixels.

    A pixel of chroma stands for four of luma. Where these are all set, it is red; where none is, it is gray; otherwise
    it is half-way between, and the luma of the set pixels is so much higher that red is full there, too. With the mean
    of the four instead, and red's own luma, one of 1,000 pixels of a person came back wrong; this way none did, also
    where the decoder interpolates chroma. Chroma that belongs to the colours as well, where a piece begins or ends at
    an odd pixel, is that of the piece.
    """
    low, high = _luma_range(made)
    red = _red(int(made.colorspace or 0), low, high)
    y, x = piece.picture_rows.start, piece.picture_columns.start
    pad = ((y % 2, (y + mask.shape[0]) % 2), (x % 2, (x + mask.shape[1]) % 2))
    n_set, n_unset = _quads(np.pad(mask & 1, pad)), _quads(np.pad((mask & 1) ^ 1, pad))
    share = np.where(n_unset == 0, 2, np.minimum(n_set, 1))  # halves of red
    h, w = share.shape
    for plane, number in ((made.planes[1], red[1]), (made.planes[2], red[2])):
        chroma = np.array([128, (128 + number) // 2, number], np.uint8)
        _rows(plane)[y // 2 : y // 2 + h, x // 2 : x // 2 + w] = chroma[share]
    luma = np.array([low, (red[0] + high + 1) // 2, red[0]], np.uint8)
    of_pixels = share.repeat(2, axis=0).repeat(2, axis=1)[y % 2 :, x % 2 :][: mask.shape[0], : mask.shape[1]]
    _rows(made.planes[0])[_part(piece.picture_rows), _part(piece.picture_columns)] = luma[(mask & 1) * of_pixels]


def _quads(pixels: Mask) -> npt.NDArray[np.uint16]:
    """The sums of 2 x 2 pixels."""
    found: npt.NDArray[np.uint16] = (
        pixels[::2, ::2].astype(np.uint16) + pixels[1::2, ::2] + pixels[::2, 1::2] + pixels[1::2, 1::2]
    )
    return found


def _red(colour_space: int, low: int, high: int) -> tuple[int, int, int]:
    """The numbers of red in a colour space and a range of luma."""
    of_red, of_blue = _WEIGHTS.get(colour_space, (0.299, 0.114))
    extent = 255 if low == 0 else 224
    blueness = -of_red / (2 * (1 - of_blue))
    return round(low + of_red * (high - low)), round(128 + extent * blueness), min(255, round(128 + extent / 2))
