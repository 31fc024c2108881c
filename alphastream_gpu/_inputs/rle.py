"""
RLE: decodes COCO's run lengths to masks.

The runs go down the columns, and begin with unset pixels. The compressed form is a text. Each character has 6 bits, and
the character "0" stands for 0: 5 bits of a number, and one bit that says that the number continues. The lowest 5 bits
come first. From the fourth number on, the difference to the number two places before is stored.

pycocotools has this, too, but its C code reads beyond the end of a damaged text and writes beyond the mask if the runs
are too long. So the text is decoded here, and pycocotools is the tests' oracle.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["counts_of_mask", "counts_of_text", "mask_of_counts", "text_of_counts"]

_MOST: Final = 1 << 31
"""A run is shorter than this: 16384 x 16384 pixels are 2 ** 28."""


def counts_of_text(text: str | bytes) -> npt.NDArray[np.int64]:
    """
    Decode the compressed form.

    Returns:
        int64 (n,), the length of each run in pixels; not checked.

    Raises:
        ValueError: the text is damaged.
    """
    try:
        data = text.encode("ascii") if isinstance(text, str) else bytes(text)
    except UnicodeEncodeError:
        raise ValueError("the run lengths contain a character that is none of 0..o") from None
    codes = np.frombuffer(data, np.uint8).astype(np.int64) - 48
    if not len(codes):
        return codes
    if codes.min() < 0 or codes.max() > 63:
        raise ValueError("the run lengths contain a character that is none of 0..o")
    is_last = (codes & 32) == 0
    if not is_last[-1]:
        raise ValueError("the run lengths are cut off")
    ends = np.flatnonzero(is_last)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > 7:
        raise ValueError("a run length has more than 7 characters")
    places = np.arange(len(codes)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((codes & 31) << (5 * places), starts)
    # the highest bit of the last five is the sign
    numbers -= np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)
    counts = numbers.copy()
    counts[1::2] = np.cumsum(numbers[1::2])
    counts[2::2] = np.cumsum(numbers[2::2])  # the first number is not added to the third
    return counts


def mask_of_counts(counts: Any, width: int, height: int) -> npt.NDArray[np.bool_]:
    """
    Draw run lengths.

    Args:
        counts: the length of each run in pixels, unset first.
        width: of the mask in pixels.
        height: likewise.

    Returns:
        bool (height, width).

    Raises:
        ValueError: the runs do not add up to the mask's pixels.
    """
    runs = np.asarray(counts)
    if runs.ndim != 1 or (runs.size and runs.dtype.kind not in "iu"):
        raise ValueError("expected a list of whole numbers as run lengths")
    runs = runs.astype(np.int64)
    if runs.size and (runs.min() < 0 or runs.max() >= _MOST or len(runs) > 2 * width * height + 2):
        raise ValueError(f"expected run lengths of 0..{width * height}")
    total = int(runs.sum())
    if total != width * height:
        raise ValueError(f"expected runs of {width * height} pixels together, found {total}")
    values = np.zeros(len(runs), np.bool_)
    values[1::2] = True
    return np.repeat(values, runs).reshape(width, height).T


def counts_of_mask(mask: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """
    The run lengths of a mask.

    Args:
        mask: bool or numbers (height, width); a pixel is set where it is not 0.

    Returns:
        int64 (n,), the length of each run in pixels, unset first.
    """
    pixels = np.not_equal(mask.T, 0).ravel()
    ends = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    counts = np.diff(ends, prepend=0, append=len(pixels))
    return np.concatenate(([0], counts)) if pixels[0] else counts


def text_of_counts(counts: npt.NDArray[np.int64]) -> str:
    """The compressed form of run lengths."""
    text = []
    for place, count in enumerate(counts.tolist()):
        number = count - (int(counts[place - 2]) if place > 2 else 0)
        more = True
        while more:
            bits = number & 31
            number >>= 5
            more = number != (-1 if bits & 16 else 0)
            text.append(chr(48 + bits + 32 * more))
    return "".join(text)
