"""
Planes: overlapping channels never share one, and others are not kept apart for nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from support import NATIVE, frames, geometry_of

from alphastream_gpu import FrameGeometry
from alphastream_gpu._gl.mesh import plan_draw
from alphastream_gpu._gl.planes import MAX_CHANNELS, MAX_PLANES, assign_planes
from alphastream_gpu._raster.segments import segments_of


def _colours(channels: Any) -> tuple[list[Any], np.ndarray | None]:
    closed = [channel for channel in channels if len(channel) >= 3]
    low = np.array([np.min(channel, axis=0) for channel in closed]).reshape(-1, 2)
    high = np.array([np.max(channel, axis=0) for channel in closed]).reshape(-1, 2)
    return closed, assign_planes(low, high, segments_of(geometry_of(channels)))


def _strict_interior(channel: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """Lattice points with odd winding parity, boundary points left out, by ray casting in integers."""
    points = set()
    edges = list(zip(channel, channel[1:] + channel[:1], strict=True))
    xs, ys = zip(*channel, strict=True)
    for x in range(min(xs), max(xs) + 1):
        for y in range(min(ys), max(ys) + 1):
            inside = False
            on_edge = False
            for (ax, ay), (bx, by) in edges:
                cross = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
                within = min(ax, bx) <= x <= max(ax, bx) and min(ay, by) <= y <= max(ay, by)
                on_edge |= cross == 0 and within
                if (ay > y) != (by > y):
                    inside ^= (cross > 0) == (by > ay)
            if inside and not on_edge:
                points.add((x, y))
    return points


@given(channels=frames(low=0, high=24, max_channels=5, max_points=7))
def test_channels_of_one_plane_share_no_interior(channels: Any) -> None:
    closed, planes = _colours(channels)
    assert planes is not None
    interiors = [_strict_interior(channel) for channel in closed]
    for one in range(len(closed)):
        for other in range(one):
            if planes[one] == planes[other]:
                assert not interiors[one] & interiors[other]


def test_the_sample_mostly_needs_one_plane(geometries: list[FrameGeometry]) -> None:
    plans = [plan_draw(geometry, NATIVE) for geometry in geometries]
    assert all(plan is not None for plan in plans)
    assert sum(len(plan.planes) == 1 for plan in plans if plan) == 89
    assert max(len(plan.planes) for plan in plans if plan) <= 3


def test_boxes_that_overlap_but_whose_rows_do_not_meet_share_a_plane() -> None:
    """Two silhouettes that lean past each other: an L and a reversed L, interlocked."""
    left = [(0, 0), (10, 0), (10, 60), (40, 60), (40, 99), (0, 99)]
    right = [(20, 0), (60, 0), (60, 99), (50, 99), (50, 50), (20, 50)]
    _, planes = _colours([left, right])
    assert planes is not None
    assert planes.tolist() == [0, 0]


def test_the_largest_channel_gets_plane_zero() -> None:
    _, planes = _colours(
        [[(5, 5), (8, 5), (5, 8)], [(0, 0), (50, 0), (50, 50), (0, 50)], [(20, 20), (30, 20), (20, 30)]]
    )
    assert planes is not None
    assert planes.tolist() == [1, 0, 1]


def test_too_many_planes_or_channels_are_left_to_the_cpu() -> None:
    spot = [(0, 0), (9, 0), (0, 9)]
    assert _colours([spot] * MAX_PLANES)[1] is not None
    assert _colours([spot] * (MAX_PLANES + 1))[1] is None
    far = [[(x, 0), (x + 1, 0), (x, 1)] for x in range(0, 3 * (MAX_CHANNELS + 1), 3)]
    assert _colours(far[:-1])[1] is not None
    assert _colours(far)[1] is None
