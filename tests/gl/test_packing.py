"""
Packing: compares the uploaded words with the layout in packing.py's docstring, word by word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import frames, geometry_of

from alphastream_gpu import FrameGeometry
from alphastream_gpu._gl.packing import FRAME_SHIFT, HEADER, Package

GIVEN = {name: 1000 + number for number, name in enumerate(HEADER) if name not in ("n_points", "n_channels")}
"""Words that the package does not use itself, and two that it sets."""


def expected(batch: Sequence[Sequence[Sequence[tuple[int, int]]]], planes: Sequence[Sequence[int]]) -> list[int]:
    """Return the package of a batch of frames. Each frame is a list of channels, and their planes are given."""
    starts, colours, coordinates = [0], [], []
    for frame, channels in enumerate(batch):
        for channel, plane in zip(channels, planes[frame], strict=True):
            starts.append(starts[-1] + len(channel))
            colours.append(plane + frame * 256)
            coordinates += [number for point in channel for number in point]
    planes_at = len(HEADER) + len(starts)
    points_at = planes_at + len(colours)
    padding = [0] * (points_at % 2)
    header = GIVEN | {
        "n_points": starts[-1],
        "n_channels": len(colours),
        "planes_at": planes_at,
        "points_at": points_at + len(padding),
    }
    return [*(header[name] for name in HEADER), *starts, *colours, *padding, *coordinates]


def packed(
    package: Package, batch: Sequence[Sequence[Sequence[tuple[int, int]]]], planes: Sequence[Sequence[int]]
) -> list[int]:
    """Return the package's words. A gap between planes and points is not part of the package, and is returned as 0."""
    package.pack([geometry_of(channels) for channels in batch], [np.array(one, np.int32) for one in planes], **GIVEN)
    words = package.words.tolist()
    if words[HEADER.index("points_at")] > words[HEADER.index("planes_at")] + words[HEADER.index("n_channels")]:
        words[words[HEADER.index("points_at")] - 1] = 0
    return words


batches = st.lists(frames(low=-(1 << 31), high=(1 << 31) - 1, max_channels=3, max_points=4), min_size=1, max_size=5)


@given(batch=batches, data=st.data())
@example(batch=[[]], data=None)
@example(batch=[[], [[]], [], [[(1, 2)], [], [(3, 4), (5, 6)]]], data=None)
def test_every_word(batch: Any, data: Any) -> None:
    planes = [
        [data.draw(st.integers(0, (1 << FRAME_SHIFT) - 1)) if data else 7 for _ in channels] for channels in batch
    ]
    package = Package()
    assert packed(package, batch, planes) == expected(batch, planes)
    assert package.n_bytes == 4 * len(expected(batch, planes))


@settings(max_examples=40)
@given(batches=st.lists(st.tuples(batches, st.integers(0, 9)), min_size=2, max_size=4))
def test_memory_is_reused(batches: Any) -> None:
    """The next package contains nothing of an earlier one, whether it is shorter or longer."""
    package = Package()
    for batch, plane in batches:
        planes = [[plane] * len(channels) for channels in batch]
        assert packed(package, batch, planes) == expected(batch, planes)


def test_memory_grows() -> None:
    """By powers of two, and only if necessary. The address is that of the words."""
    package = Package()
    sizes = []
    for n in (1000, 1015, 1016, 1500, 2100, 40, 1, 0):
        channels = [[(k, -k) for k in range(n)]]
        assert packed(package, [channels], [[3]]) == expected([channels], [[3]])
        assert package.address == package.words.ctypes.data
        assert package.n_bytes == package.words.nbytes
        sizes.append(len(package._words))
    assert sizes == [2048, 2048, 4096, 4096, 8192, 8192, 8192, 8192]


def test_points_stay_in_pairs_of_words() -> None:
    """The points start at an even position for any number of channels, so that a shader can read a pair at once."""
    for n_channels in range(5):
        package = Package()
        packed(package, [[[(1, 2)]] * n_channels], [[0] * n_channels])
        assert package.words[HEADER.index("points_at")] % 2 == 0


@pytest.mark.parametrize(("n_points", "n_channels"), [(0, 0), (0, 1), (1, 1), (5, 2), (300, 40), (7, 7)])
def test_the_most_words(n_points: int, n_channels: int) -> None:
    """The bound is enough for any package with these numbers of points and channels, and at most one word too large."""
    offsets = [0, *([n_points] * n_channels)]
    package = Package()
    package.pack([FrameGeometry(np.zeros((n_points, 2), np.int32), offsets)], [np.zeros(n_channels, np.int32)])
    assert len(package.words) <= Package.words_for(n_points, n_channels) <= len(package.words) + 1


def test_header_words_that_are_not_given_are_zero() -> None:
    package = Package()
    package.pack([geometry_of([[(1, 2)]])], [np.zeros(1, np.int32)])
    words = dict(zip(HEADER, package.words.tolist(), strict=False))
    assert {name for name, word in words.items() if word} == {"n_points", "n_channels", "planes_at", "points_at"}


def test_the_size_of_a_real_frame(geometries: list[FrameGeometry]) -> None:
    """8 bytes per point and 8 per channel, plus the header: some 4.5 KB."""
    package = Package()
    total = 0
    for geometry in geometries:
        assert geometry.planes is not None
        package.pack([geometry], [geometry.planes])
        assert package.n_bytes <= 4 * (len(HEADER) + 2) + 8 * (len(geometry.points) + geometry.channel_count)
        total += package.n_bytes
    assert 2000 < total / len(geometries) < 4600
