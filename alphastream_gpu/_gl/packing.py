"""
Packing: the data that is uploaded for a frame or a batch, in one layout for every stage of every method.

A package is an array of 32-bit words with four parts:

- the header, one word per name in :data:`HEADER`. The shaders get these names and their positions as defines
  (shaders/shared/package.glsl), so both sides use this list.
- the start of each channel, and the end of the last one.
- one word per channel: its plane in the lowest eight bits, and the number of its frame above them.
- the points unchanged, x and y.

In a batch, the channels and points of the frames follow one another. A frame of 540 points takes some 4.5 KB. Nothing
is computed per point here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from .._geometry.frame import FrameGeometry

__all__ = ["FRAME_SHIFT", "HEADER", "Package", "defines"]

HEADER: Final = (
    "n_points",
    "n_channels",
    "planes_at",
    "points_at",
    "n_planes",
    "lane_bits",
    "native_width",
    "native_height",
    "row_words",
    "bits_at",
    "output_width",
    "output_height",
    "first_layer",
    "reserved",
)
"""The header's words. ``planes_at`` and ``points_at`` are positions in the package. ``bits_at`` is the position of the
first parity plane in the working memory of the compute stages. An even number of words keeps the points' pairs
aligned."""
FRAME_SHIFT: Final = 8
"""A channel's word is its plane plus its frame's number, shifted left by this many bits."""
_PLACES: Final = {name: place for place, name in enumerate(HEADER)}
_FIRST_WORDS: Final = 2048


def defines() -> tuple[str, ...]:
    """Return the header's positions and the shift, as defines for the shaders."""
    return (
        *(f"PACKAGE_{name.upper()} {place}" for name, place in _PLACES.items()),
        f"PACKAGE_CHANNELS_AT {len(HEADER)}",
        f"PACKAGE_FRAME_SHIFT {FRAME_SHIFT}",
    )


class Package:
    """
    The memory that packages are built in. It is reused, and grows when a frame needs more.

    After :meth:`pack`, ``address`` and ``n_bytes`` describe the data to upload, until the next call.
    """

    def __init__(self) -> None:
        self._reserve(_FIRST_WORDS)
        self.n_bytes = 0

    def pack(self, geometries: Sequence[FrameGeometry], planes: Sequence[npt.NDArray[np.int32]], **header: int) -> None:
        """
        Build a package.

        Args:
            geometries: the frames, one or more.
            planes: for each frame, the planes of its channels.
            header: words of the header, except the package's own positions and counts.
        """
        n_points = sum(len(geometry.points) for geometry in geometries)
        n_channels = sum(len(one) for one in planes)
        channels_at = len(HEADER)
        planes_at = channels_at + n_channels + 1
        points_at = planes_at + n_channels
        points_at += points_at & 1
        n_words = points_at + 2 * n_points
        if n_words > len(self._words):
            self._reserve(1 << (n_words - 1).bit_length())
        words = self._words
        channel, point = 0, 0
        for frame, (geometry, of_channels) in enumerate(zip(geometries, planes, strict=True)):
            points, n = geometry.points, len(of_channels)
            at = channels_at + channel
            if point:
                np.add(geometry.channel_offsets, point, out=words[at : at + n + 1])
            else:
                words[at : at + n + 1] = geometry.channel_offsets
            at = planes_at + channel
            if frame:
                np.add(of_channels, frame << FRAME_SHIFT, out=words[at : at + n])
            else:
                words[at : at + n] = of_channels
            at = points_at + 2 * point
            words[at : at + 2 * len(points)] = points.reshape(-1)
            channel += n
            point += len(points)
        header |= {"n_points": n_points, "n_channels": n_channels, "planes_at": planes_at, "points_at": points_at}
        words[:channels_at] = [header.get(name, 0) for name in HEADER]
        self.n_bytes = 4 * n_words

    @staticmethod
    def words_for(n_points: int, n_channels: int) -> int:
        """Return the most words that a package with these numbers of points and channels can have."""
        return len(HEADER) + 2 * n_channels + 2 + 2 * n_points

    @property
    def words(self) -> npt.NDArray[np.int32]:
        """The package, for tests. The next package overwrites it."""
        return self._words[: self.n_bytes // 4]

    def _reserve(self, n_words: int) -> None:
        self._words = np.zeros(n_words, np.int32)
        self.address = self._words.ctypes.data
        """The package's address in memory."""
