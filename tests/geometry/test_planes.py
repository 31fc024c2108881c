"""
Planes and boxes: overlapping channels are in different planes, and other channels share planes.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from support import frames, geometry_of

from alphastream_gpu import FrameGeometry
from alphastream_gpu._geometry import planes as _planes_module
from alphastream_gpu._geometry.planes import MAX_CHANNELS, MAX_PLANES, boxes_of, planes_of


def _planes(channels: Any) -> list[int] | None:
    """The plane of each channel."""
    geometry = geometry_of(channels)
    planes = planes_of(geometry, geometry.boxes)
    return None if planes is None else planes.tolist()


@given(channels=frames(low=-20, high=30))
@example(channels=[])
@example(channels=[[], [(3, 4)], [], [], [(-5, 6), (7, -8)], []])
def test_boxes(channels: Any) -> None:
    """The box of each channel and the bounds of all points, in both orders of computing them."""
    expected = []
    for channel in channels:
        xs, ys = [x for x, _ in channel], [y for _, y in channel]
        expected.append([min(xs), min(ys), max(xs), max(ys)] if channel else [0, 0, -1, -1])
    points = [point for channel in channels for point in channel]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    bounds = (min(xs), min(ys), max(xs), max(ys)) if points else (0, 0, -1, -1)
    assert geometry_of(channels).bounds == bounds
    geometry = geometry_of(channels)
    assert geometry.boxes.tolist() == expected
    assert geometry.bounds == bounds
    assert geometry.boxes.shape == (len(channels), 4)
    assert boxes_of(geometry.points, geometry.channel_offsets).tolist() == expected


def test_boxes_at_the_ends_of_int32() -> None:
    low, high = -(1 << 31), (1 << 31) - 1
    geometry = geometry_of([[(low, high), (high, low), (0, 0)], [(high, high)]])
    assert geometry.boxes.tolist() == [[low, low, high, high], [high, high, high, high]]
    assert geometry.bounds == (low, low, high, high)
    assert geometry.planes is not None
    assert geometry.planes.tolist() == [0, 0]


def test_properties_of_the_channels_of_a_geometry() -> None:
    geometry = geometry_of([[(0, 0), (9, 0), (0, 9)], [(1, 1), (5, 1), (1, 5)], [(3, 3)]])
    assert geometry.planes is geometry.planes
    assert geometry.boxes is geometry.boxes
    assert geometry.bounds is geometry.bounds
    assert geometry.plane_count == 2
    for array in (geometry.boxes, geometry.planes):
        assert array is not None
        assert array.dtype == np.int32
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)
    assert geometry_of([]).plane_count == geometry_of([[(3, 3)]]).plane_count == 1
    spot = [(0, 0), (9, 0), (0, 9)]
    crowd = geometry_of([spot] * (MAX_PLANES + 1))
    assert crowd.plane_count == 0
    assert crowd.planes is None
    assert geometry_of([spot] * MAX_PLANES).plane_count == MAX_PLANES
    same = pickle.loads(pickle.dumps(geometry))
    assert same == geometry
    assert hash(same) == hash(geometry)
    assert same.plane_count == 2


def _strict_interior(channel: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """The lattice points with odd winding parity, without boundary points, by ray casting in integers."""
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
def test_interiors_in_one_plane_do_not_overlap(channels: Any) -> None:
    planes = _planes(channels)
    assert planes is not None
    interiors = [_strict_interior(channel) if len(channel) >= 3 else set() for channel in channels]
    for one in range(len(channels)):
        assert planes[one] == 0 or len(channels[one]) >= 3
        for other in range(one):
            if planes[one] == planes[other]:
                assert not interiors[one] & interiors[other]


def test_the_sample_mostly_needs_one_plane(geometries: list[FrameGeometry]) -> None:
    counts = [geometry.plane_count for geometry in geometries]
    assert counts.count(1) == 90
    assert 1 <= min(counts) <= max(counts) <= 3


def test_channels_share_a_plane_if_only_their_boxes_overlap() -> None:
    """An L and a reversed L that interlock, as two silhouettes that lean past each other."""
    left = [(0, 0), (10, 0), (10, 60), (40, 60), (40, 99), (0, 99)]
    right = [(20, 0), (60, 0), (60, 99), (50, 99), (50, 50), (20, 50)]
    assert _planes([left, right]) == [0, 0]


def test_the_largest_channel_gets_plane_zero() -> None:
    small, large, other = [(5, 5), (8, 5), (5, 8)], [(0, 0), (50, 0), (50, 50), (0, 50)], [(20, 20), (30, 20), (20, 30)]
    assert _planes([small, large, other]) == [1, 0, 1]


def test_channels_without_an_interior_are_in_plane_zero() -> None:
    """In any position among the other channels."""
    spot = [(0, 0), (9, 0), (0, 9)]
    assert _planes([[], spot, [(1, 1)], spot, [(0, 0), (9, 9)], spot, []]) == [0, 0, 0, 1, 0, 2, 0]


def test_pairs_over_the_limit_count_as_overlapping(monkeypatch: pytest.MonkeyPatch) -> None:
    left = [(0, 0), (10, 0), (10, 60), (40, 60), (40, 99), (0, 99)]
    right = [(20, 0), (60, 0), (60, 99), (50, 99), (50, 50), (20, 50)]
    monkeypatch.setattr(_planes_module, "_MAX_PAIRS", 0)
    assert _planes([left, right]) == [0, 1]


def test_too_many_planes_or_channels_are_left_to_the_cpu() -> None:
    spot = [(0, 0), (9, 0), (0, 9)]
    assert _planes([spot] * MAX_PLANES) == list(range(MAX_PLANES))
    assert _planes([spot] * (MAX_PLANES + 1)) is None
    far = [[(x, 0), (x + 1, 0), (x, 1)] for x in range(0, 3 * (MAX_CHANNELS + 1), 3)]
    assert _planes(far[:-1]) == [0] * MAX_CHANNELS
    assert _planes(far) is None
    assert _planes([*far[:-1], [(0, 0), (9, 9)]]) == [0] * (MAX_CHANNELS + 1)
