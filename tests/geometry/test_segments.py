"""
Segments: the segments of a frame, compared with those of the oracle.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
from hypothesis import example, given
from support import frames, geometry_of

from alphastream_gpu._geometry.segments import Box, segments_of


@given(channels=frames(max_points=5))
@example(channels=[])
@example(channels=[[], [(3, 4)]])
@example(channels=[[(0, 0), (5, 0), (0, 5)]])
@example(channels=[[(0, 0), (5, 0), (0, 5)], [], [(1, 1), (2, 2)], [(7, -7)]])
def test_segments_equal_those_of_the_oracle(channels: Any) -> None:
    """The segments of closed channels come first, each with its channel. A closing segment without length is kept."""
    found = segments_of(geometry_of(channels))
    a = np.stack((found.ax, found.ay), 1).tolist()
    b = np.stack((found.bx, found.by), 1).tolist()
    drawn = [
        (channel, list(p), list(q))
        for channel, (p, q) in zip(found.channel.tolist(), zip(a, b, strict=True), strict=True)
    ]
    closed = [
        (number, list(p), list(q))
        for number, channel in enumerate(channels)
        if len(channel) >= 3
        for p, q in zip(channel, [*channel[1:], channel[0]], strict=True)
    ]
    lines = [
        (number, list(channel[0]), list(channel[1])) for number, channel in enumerate(channels) if len(channel) == 2
    ]
    assert drawn == closed + lines
    assert (found.n_closed, found.n_segments) == (len(closed), len(closed) + len(lines))
    assert np.array_equal(found.dx, found.bx - found.ax)
    assert np.array_equal(found.dy, found.by - found.ay)
    assert {array.dtype for array in found[:7]} == {np.dtype(np.int64)}
    with_length = [(p, q) for _, p, q in drawn if p != q]
    expected = [(list(p), list(q)) for channel in channels for p, q in oracle.segments(channel) if p != q]
    assert sorted(with_length) == sorted(expected)
    points = [point for channel in channels for point in channel]
    xs, ys = [x for x, _ in points] or [0], [y for _, y in points] or [0]
    assert found.box == Box(min(xs), min(ys), max(xs), max(ys))


def test_a_box() -> None:
    box = Box(2, 3, 7, 9)
    assert box.is_inside(8, 10)
    assert not box.is_inside(7, 10)
    assert not box.is_inside(8, 9)
    assert Box(0, 0, 0, 0).is_inside(1, 1)
    assert not Box(-1, 0, 0, 0).is_inside(1, 1)
    assert not Box(0, -1, 0, 0).is_inside(1, 1)
    for number in range(4):
        corners = [1, -2, 3, 4]
        corners[number] = -9
        assert Box(*corners).reach == 9
