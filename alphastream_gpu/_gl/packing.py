"""
Packing: what is uploaded for one frame or for a batch, in one layout for every stage of every method.

A package is an array of 32-bit words. First a header, one word for each name in :data:`HEADER`; the shaders get the
names with their places as defines (shaders/shared/package.glsl), so that both sides have them from here. Then where
each channel starts, and the end; then the plane of each channel, with its frame's number above the lowest eight bits;
then the points as they are, x and y. Of a batch, the frames' channels and points follow one another.

A frame of 540 points is some 4.5 KB. Nothing is computed for a point here.
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
"""The header's words. ``planes_at`` and ``points_at`` are places in the package; ``bits_at`` is the place of the first
parity plane in the compute stages' working memory. An even number of them keeps the points' pairs aligned."""
FRAME_SHIFT: Final = 8
"""A channel's word is its plane plus its frame's number shifted by so many bits."""
_PLACES: Final = {name: place for place, name in enumerate(HEADER)}
_FIRST_WORDS: Final = 2048


def defines() -> tuple[str, ...]:
    """The header's places and the shift, as the shaders' defines."""
    return (
        *(f"PACKAGE_{name.upper()} {place}" for name, place in _PLACES.items()),
        f"PACKAGE_CHANNELS_AT {len(HEADER)}",
        f"PACKAGE_FRAME_SHIFT {FRAME_SHIFT}",
    )


class Package:
    """
    The memory that packages are put together in; reused, and grown when a frame needs more.

    After :meth:`pack`, ``address`` and ``n_bytes`` say what to upload, until the next call.
    """

    def __init__(self) -> None:
        self._reserve(_FIRST_WORDS)
        self.n_bytes = 0

    def pack(self, geometries: Sequence[FrameGeometry], planes: Sequence[npt.NDArray[np.int32]], **header: int) -> None:
        """
        Put a package together.

        Args:
            geometries: the frames, one or more.
            planes: of the channels of each.
            header: words of the header that are not places or counts of the package's own.
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
        """The most words that a package of so many points and channels has."""
        return len(HEADER) + 2 * n_channels + 2 + 2 * n_points

    @property
    def words(self) -> npt.NDArray[np.int32]:
        """The package, for tests; overwritten by the next one."""
        return self._words[: self.n_bytes // 4]

    def _reserve(self, n_words: int) -> None:
        self._words = np.zeros(n_words, np.int32)
        self.address = self._words.ctypes.data
        """Where the package lies in memory."""
