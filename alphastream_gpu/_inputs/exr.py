"""
EXR: reads the channels of an OpenEXR picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .._exceptions import DecodeError
from .faults import reading
from .picture import check_picture_size

__all__ = ["read_exr"]

_NAMES: Final = {"R": "red", "G": "green", "B": "blue", "A": "alpha", "Y": "luma"}
_ADVICE: Final = "render the frame again"


def read_exr(path: Path, *, frame: int | None = None) -> dict[str, npt.NDArray[np.float32]]:
    """
    Read the channels R, G, B, A and Y of the first part.

    Compositors crop what they store (the data window) to what is not empty; the rest of the display window is 0.

    Returns:
        By name, float32 (height, width) of the display window.

    Raises:
        DecodeError: the file is damaged, too large, or has none of these channels.
        TransportError: the file cannot be read.
    """
    with reading(path.name, frame=frame, advice=_ADVICE):
        import OpenEXR

        with path.open("rb"):  # OpenEXR's error for a missing file names neither path nor reason
            pass
        with OpenEXR.File(str(path), header_only=True) as file:
            header = file.header()
            data, display = _window(header["dataWindow"]), _window(header["displayWindow"])
    for window in (data, display):
        check_picture_size(path.name, window[2] - window[0], window[3] - window[1])
    with reading(path.name, frame=frame, advice=_ADVICE), OpenEXR.File(str(path), separate_channels=True) as file:
        stored = {
            _NAMES[name]: np.asarray(channel.pixels).astype(np.float32)
            for name, channel in file.channels().items()
            if name in _NAMES
        }
    if {"red", "green", "blue"} - stored.keys() and "luma" not in stored:
        stored = {name: pixels for name, pixels in stored.items() if name == "alpha"}
    if not stored:
        raise DecodeError(f"{path.name}: expected the channels A, Y or R, G, B, found none of them", frame_index=frame)
    if any(pixels.shape != (data[3] - data[1], data[2] - data[0]) for pixels in stored.values()):
        raise DecodeError(f"{path.name}: subsampled channels are not supported", frame_index=frame)
    return {name: _placed(pixels, data, display) for name, pixels in stored.items()}


def _window(box: Any) -> tuple[int, int, int, int]:
    """Left, top, right, bottom; right and bottom are exclusive."""
    (left, top), (right, bottom) = np.asarray(box[0]).tolist(), np.asarray(box[1]).tolist()
    return int(left), int(top), int(right) + 1, int(bottom) + 1


def _placed(
    pixels: npt.NDArray[np.float32], data: tuple[int, int, int, int], display: tuple[int, int, int, int]
) -> npt.NDArray[np.float32]:
    """The pixels of the data window in the display window."""
    if data == display:
        return pixels
    placed = np.zeros((display[3] - display[1], display[2] - display[0]), np.float32)
    left, top = max(data[0], display[0]), max(data[1], display[1])
    right, bottom = min(data[2], display[2]), min(data[3], display[3])
    if left < right and top < bottom:
        placed[top - display[1] : bottom - display[1], left - display[0] : right - display[0]] = pixels[
            top - data[1] : bottom - data[1], left - data[0] : right - data[0]
        ]
    return placed
