"""
The bounds on cover strips: outlines that cross too often are refused before they are cut.
"""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from support import asvp_of, block_of, channels_of, frames, geometry_of, wait_until

import alphastream_gpu
from alphastream_gpu import AlphaStream, Config, DecodeError, ErrorCode, FrameGeometry, FrameTimeoutError
from alphastream_gpu._geometry import crossings as _crossings
from alphastream_gpu._geometry import strips as _strips

Point = tuple[Fraction, Fraction]
Edge = tuple[Point, Point]


def _n_crossings(geometry: FrameGeometry, is_shifted: bool = True) -> int:
    """Count the crossings of edges, with shifted or unshifted points. Two visits of a point count as one crossing."""
    place = _shifted if is_shifted else _unshifted
    total = 0
    for channel in channels_of(geometry):
        if len(channel) < 3:
            continue
        edges = [(a, b) for a, b in zip(channel, [*channel[1:], channel[0]], strict=True) if a != b]
        total += sum(one[0] == other[0] for one, other in combinations(edges, 2))
        total += sum(_cross(*pair) for pair in combinations([(place(a), place(b)) for a, b in edges], 2))
    return total


def _shifted(point: tuple[int, int]) -> Point:
    ((x, y),) = _strips._shifted(np.array([point], np.int32), 0).tolist()
    return Fraction(x), Fraction(y)


def _unshifted(point: tuple[int, int]) -> Point:
    return Fraction(point[0]), Fraction(point[1])


def _cross(one: Edge, other: Edge) -> bool:
    """Whether two edges cross, touch, or lie on each other."""
    if set(one) == set(other):
        return True
    if set(one) & set(other):
        return False
    boxes_meet = all(
        max(min(a[axis], b[axis]) for a, b in (one, other)) <= min(max(a[axis], b[axis]) for a, b in (one, other))
        for axis in (0, 1)
    )
    return boxes_meet and _are_apart(*one, *other) and _are_apart(*other, *one)


def _are_apart(a: Point, b: Point, *others: Point) -> bool:
    """Whether two points lie on different sides of the line from a to b. A point on the line counts."""
    left, right = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) for x, y in others)
    return left * right <= 0


def _is_refused(geometry: FrameGeometry) -> bool:
    try:
        geometry.triangle_strip()
    except DecodeError:
        return True
    return False


@pytest.mark.slow
@given(channels=frames(max_channels=3, max_points=16))
def test_crossings_are_counted_exactly(channels: Any) -> None:
    """A limit equal to the number of crossings accepts a frame, and a limit of one less refuses it, for any size of the
    parts."""
    geometry = geometry_of(channels)
    n_crossings = _n_crossings(geometry)
    for part in (1, 7, 1 << 18):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_crossings, "_PART", part)
            patch.setattr(_crossings, "MAX_CROSSINGS", n_crossings)
            assert not _is_refused(geometry)
            if n_crossings:
                patch.setattr(_crossings, "MAX_CROSSINGS", n_crossings - 1)
                assert _is_refused(geometry)


@given(channels=frames(low=0, high=4, max_channels=2, max_points=10))
def test_edges_that_touch_count_as_crossing(channels: Any) -> None:
    """An end on another edge, or edges on each other. Shifts remove most of these cases, but not all."""
    geometry = geometry_of(channels)
    n_crossings = _n_crossings(geometry, is_shifted=False)
    check = partial(
        _crossings.check_crossings, geometry.points, geometry.points.astype(np.float64), geometry.channel_offsets
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_crossings, "MAX_CROSSINGS", n_crossings)
        check()
        if n_crossings:
            patch.setattr(_crossings, "MAX_CROSSINGS", n_crossings - 1)
            with pytest.raises(DecodeError, match="that cross at most"):
                check()


def test_points_are_shifted_to_coordinates_that_clipper_does_not_round() -> None:
    """So Clipper2 and the count agree on which edges lie on each other."""
    import manifold3d

    shifted = _strips._shifted(np.random.default_rng(1).integers(0, 2048, (300, 2), np.int32), 0)
    for ring in shifted.reshape(-1, 3, 2):
        (outline,) = manifold3d.CrossSection([ring], manifold3d.FillRule.EvenOdd).to_polygons()
        assert sorted(outline.tolist()) == sorted(ring.tolist())


def _row(n: int) -> list[tuple[int, int]]:
    """A line back and forth on a row, with ever shorter edges between points that are all shifted equally in y."""
    row = np.stack([np.arange(1 << 21), np.full(1 << 21, 2**31 - 1)], axis=1)
    shifts = (_strips._shifted(row.astype(np.int32), 0) - row)[:, 1]
    places = row[shifts == np.median(shifts), 0][:n].tolist()
    order = [places[k // 2 if k % 2 else -1 - k // 2] for k in range(n)]
    return [(x, 2**31 - 1) for x in order]


def _star(n: int) -> list[tuple[int, int]]:
    """A star of an odd number of points on an ellipse, each joined to the two opposite ones. No star of as many points
    has more crossings."""
    turns = 2 * np.pi * np.arange(n) * (n // 2) / n
    points = np.stack([1024 + 1000 * np.cos(turns), 512 + 500 * np.sin(turns)], axis=1)
    return [(int(x), int(y)) for x, y in np.rint(points)]


HUB = [[point for k in range(400) for point in ((k, 0), (200, 100), (400 - k, 200))]]
"""Four hundred lines through one point, where Clipper2 has to order them again."""
FEW, MANY = "cross at most 65536 times", "expected at most 33554432 pairs of edges in all channels, found 33"

TOO_MUCH = {
    "a star": ([_star(1001)], FEW),
    "two stars, each within bounds": ([_star(331), [(0, 0), (9, 0), (0, 9)], _star(331)], FEW),
    "there and back": ([[(0, 0), (500, 100), (300, 700)] * 1000], FEW),
    "at the ends of int32": (
        [[((-1) ** k * (2**31 - 1 - k), (-1) ** (k // 2) * (2**31 - 1 - 7 * k)) for k in range(1500)]],
        FEW,
    ),
    "through one place": (HUB, FEW),
    "on each other": ([_row(400)], FEW),
    "teeth side by side": ([[(x, 1000 * (x % 2)) for x in range(8191)] + [(8190, 2000), (0, 2000)]], MANY),
    "more points than can be": ([[(x, 0) for x in range(8191)], [(0, x) for x in range(300)]], MANY),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", TOO_MUCH)
def test_frames_over_a_limit_are_refused_before_they_are_cut(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(ring: np.ndarray) -> np.ndarray:
        raise AssertionError("cut")

    monkeypatch.setattr(_strips, "_triangles", cut)
    channels, expected = TOO_MUCH[kind]
    geometry = geometry_of(channels)
    with pytest.raises(DecodeError, match=expected) as caught:
        geometry.triangle_strip()
    assert caught.value.frame_index is None
    assert len(geometry.triangle_strip("parity"))


@pytest.mark.slow
def test_large_frames_within_the_limits_are_cut() -> None:
    """Thousands of points in a channel, tens of thousands of points in a frame, and tens of thousands of crossings."""
    turns = np.linspace(0, 2 * np.pi, 8192, endpoint=False)
    wave = 400 + 20 * np.sin(300 * turns)
    smooth = np.rint(np.stack([1024 + 2 * wave * np.cos(turns), 512 + wave * np.sin(turns)], axis=1)).astype(int)
    squares = [[(x, y), (x + 5, y), (x + 5, y + 5), (x, y + 5)] for x in range(0, 2000, 10) for y in range(0, 500, 10)]
    for channels in ([_star(361)], [smooth.tolist()], squares):
        assert len(geometry_of(channels).triangle_strip()) > 10_000


def test_only_small_frames_are_cut_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A larger frame may have too many crossings with another shift. This frame has."""
    row = np.arange(2000)
    shifts = _strips._shifted(np.stack([row, np.zeros_like(row)], axis=1).astype(np.int32), 0)[:, 1]
    geometry = FrameGeometry(np.stack([row[np.argsort(shifts)], np.zeros_like(row)], axis=1))
    attempts = []

    def shifted(points: np.ndarray, attempt: int) -> np.ndarray:
        attempts.append(attempt)
        return was(points, attempt)

    was = _strips._shifted
    monkeypatch.setattr(_strips, "_shifted", shifted)
    geometry.triangle_strip()
    assert attempts == [0]
    with pytest.raises(DecodeError, match=FEW):
        _crossings.check_crossings(geometry.points, was(geometry.points, 1), geometry.channel_offsets)


def _strip(stream: AlphaStream, index: int) -> np.ndarray:
    """Get a strip in as many time boxes as a busy machine needs."""
    while True:
        try:
            return stream.get_triangle_strip_vertices(index)
        except FrameTimeoutError:
            continue


def _has_mask(stream: AlphaStream, index: int) -> bool:
    return stream.get_frame(index) is not None


def test_a_stream_with_frames_whose_strip_is_refused() -> None:
    """These frames still have masks, and the error has the index of the frame. The other frames have strips, whether
    they are made ahead or not."""
    tangle = FrameGeometry(np.random.default_rng(6).integers(0, 127, (1000, 2)))
    good = geometry_of([[(0, 0), (60, 0), (60, 60), (0, 60)]])
    blocks = [block_of(geometry.to_payload()) for geometry in (tangle, good, tangle, good)]
    config = Config(get_frame_timebox=1000, processing="both")
    with alphastream_gpu.open(asvp_of(blocks), config=config) as stream:
        for index in (0, 1, 2, 3, 2, 1, 0):
            if index % 2:
                assert np.array_equal(_strip(stream, index), good.triangle_strip())
                continue
            with pytest.raises(DecodeError, match=f"^frame {index}: cover strip: expected outlines that") as caught:
                _strip(stream, index)
            assert caught.value.frame_index == index
            error = stream.last_error()
            assert error is not None
            assert (error.code, error.frame_index) == (ErrorCode.DECODE, index)
            wait_until(partial(_has_mask, stream, index))
