"""
Polystream and FrameGeometry: conversion of payloads to points and back.
"""

from __future__ import annotations

import copy
import pickle
import re
import struct
from itertools import pairwise

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import SQUARE, channels_of, frames, geometry_of, payload_frames, payload_of

from alphastream_gpu import DecodeError, FrameGeometry
from alphastream_gpu._format.polystream import _PREPARED


@given(payload=payload_frames())
def test_decoding_equals_the_oracle_and_encodes_back(payload: bytes) -> None:
    geometry = FrameGeometry.from_payload(payload)
    assert channels_of(geometry) == oracle.decode(payload)
    assert geometry.to_payload() == payload


def test_every_kind_of_bytes() -> None:
    expected = FrameGeometry.from_payload(SQUARE)
    for payload in (bytearray(SQUARE), memoryview(SQUARE), memoryview(b"x" + SQUARE)[1:]):
        assert FrameGeometry.from_payload(payload) == expected


@pytest.mark.slow
@pytest.mark.parametrize("n", [_PREPARED - 3, _PREPARED - 2, _PREPARED - 1, _PREPARED, 3 * _PREPARED])
def test_more_pairs_than_prepared(n: int) -> None:
    deltas = [(127 - k % 255, k % 255 - 127) for k in range(n)]
    payload = payload_of([((65535, 0), deltas[: n // 2]), ((0, 65535), deltas[n // 2 :])])
    assert channels_of(FrameGeometry.from_payload(payload)) == oracle.decode(payload)


def test_coordinates_leave_the_16_bit_range() -> None:
    """Coordinates never wrap, neither above 65,535 nor below 0, where a wrong packing would let x borrow from y."""
    payload = payload_of([((0, 0), [(-128, 127), (-128, -128), (127, -128)]), ((65535, 65535), [(127, 127)] * 3)])
    geometry = FrameGeometry.from_payload(payload)
    assert geometry.points.min() == -256
    assert geometry.points.max() == 65535 + 3 * 127
    assert channels_of(geometry) == oracle.decode(payload)


def test_properties_of_a_geometry() -> None:
    geometry = FrameGeometry.from_payload(SQUARE)
    assert geometry.points.dtype == np.int32
    assert geometry.points.shape == (4, 2)
    assert geometry.points.flags.c_contiguous
    assert geometry.channel_offsets.dtype == np.int32
    assert geometry.channel_offsets.tolist() == [0, 4]
    assert geometry.channel_count == 1
    n_bytes = 4 * 8 + 2 * 4 + 4 * 4 + 4  # points, offsets, a box and a plane
    assert geometry.nbytes == n_bytes
    assert geometry.planes is not None
    assert geometry.nbytes == n_bytes  # the same before and after the planes are computed
    for array in (geometry.points, geometry.channel_offsets):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert repr(geometry) == "<FrameGeometry channels=1 points=4>"
    assert geometry == pickle.loads(pickle.dumps(geometry)) == copy.deepcopy(geometry)
    assert hash(geometry) == hash(FrameGeometry.from_payload(SQUARE))
    assert geometry != FrameGeometry.from_payload(payload_of([]))
    assert geometry != "a geometry"


def test_an_empty_frame() -> None:
    payload = struct.pack("<I", 0)
    geometry = FrameGeometry.from_payload(payload)
    assert geometry.points.shape == (0, 2)
    assert geometry.channel_offsets.tolist() == [0]
    assert geometry.to_payload() == payload


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "found 0"),
        (b"\0\0\0", "found 3"),
        (struct.pack("<I", 0) + b"x", "describes 4 bytes, found 5"),
        (struct.pack("<I", 1), "table of 8 bytes, found a payload of 4"),
        (struct.pack("<I", 0xFFFFFFFF), "4294967295 channels"),
        (struct.pack("<III", 2, 4, 4) + bytes(7), "describes 20 bytes, found 19"),
        (struct.pack("<III", 2, 4, 4) + bytes(9), "describes 20 bytes, found 21"),
        (struct.pack("<III", 2, 2, 6) + bytes(8), "channel 0: expected a size of at least 4 bytes, found 2"),
        (struct.pack("<III", 2, 8, 0) + bytes(8), "channel 1: expected a size of at least 4 bytes, found 0"),
        (struct.pack("<III", 2, 5, 7) + bytes(12), "channel 0: expected an even size, found 5"),
        (struct.pack("<III", 2, 0xFFFFFFFE, 14) + bytes(12), "describes 4294967320 bytes, found 24"),
    ],
)
def test_malformed_payloads(payload: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        FrameGeometry.from_payload(payload)


@given(payload=st.binary(max_size=64))
def test_random_bytes_parse_or_raise_the_one_error(payload: bytes) -> None:
    try:
        geometry = FrameGeometry.from_payload(payload)
    except DecodeError:
        return
    assert geometry.to_payload() == payload
    assert channels_of(geometry) == oracle.decode(payload)


@given(channels=frames(low=0, high=60).filter(all))
def test_geometry_from_points_goes_through_a_payload(channels: list[list[tuple[int, int]]]) -> None:
    geometry = geometry_of(channels)
    assert FrameGeometry.from_payload(geometry.to_payload()) == geometry


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ([[(0, 0)], []], "channel 1 has no point"),
        ([[(-1, 0)]], r"channel 0 starts at \(-1, 0\)"),
        ([[(0, 0)], [(5, 65536)]], r"channel 1 starts at \(5, 65536\)"),
        ([[(0, 0)], [(0, 0), (1, 1), (1, 130)]], r"channel 1: the step to its point 2 is \(0, 129\)"),
        ([[(200, 0), (71, 0)]], r"point 1 is \(-129, 0\)"),
    ],
)
def test_points_that_the_format_cannot_hold(channels: list[list[tuple[int, int]]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        geometry_of(channels).to_payload()


@pytest.mark.parametrize(
    ("points", "offsets", "message"),
    [
        ([1, 2, 3], None, r"shape \(n, 2\)"),
        ([[1, 2, 3]], None, r"shape \(n, 2\)"),
        ([[1, 2]], [0, 2], r"from 0 to 1, found 0\.\.2"),
        ([[1, 2]], [1, 1], r"from 0 to 1, found 1\.\.1"),
        ([[1, 2], [3, 4]], [0, 2, 1, 2], "decrease in between"),
        ([[1, 2]], [], "channel_offsets"),
        ([[1 << 31, 0]], None, "fit int32"),
    ],
)
def test_bad_geometry(points: object, offsets: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FrameGeometry(points, offsets)  # type: ignore[arg-type]


def test_points_must_be_integers() -> None:
    with pytest.raises(TypeError, match="expected integers, found float64"):
        FrameGeometry([[1.5, 2.0]])


def test_points_are_copied_and_stay_read_only() -> None:
    points = np.array([[1, 2], [3, 4], [5, 9]], np.int32)
    points.setflags(write=False)
    geometry = FrameGeometry(points)
    points.setflags(write=True)
    points[0] = 7
    assert geometry.points[0].tolist() == [1, 2]
    with pytest.raises(ValueError, match="WRITEABLE"):
        geometry.points.setflags(write=True)


def test_a_payload_must_be_bytes() -> None:
    for wrong in (5, "x", [1, 2]):
        with pytest.raises(TypeError):
            FrameGeometry.from_payload(wrong)  # type: ignore[arg-type]


EDGES = [-(1 << 31), -(1 << 31) + 127, -129, -128, -1, 0, 1, 127, 128, 65535, 65536, (1 << 31) - 128, (1 << 31) - 1]
"""Coordinates whose differences do not fit, wrap around int32, or borrow from x to y."""
NUMBERS = st.one_of(st.integers(-150, 150), st.sampled_from(EDGES))


def _problem_of(channels: list[list[tuple[int, int]]]) -> str | None:
    """What the format cannot hold."""
    for number, channel in enumerate(channels):
        if not all(0 <= value <= 65535 for value in channel[0]):
            return f"channel {number} starts at {channel[0]}, outside 0..65535"
    for number, channel in enumerate(channels):
        for k, (before, after) in enumerate(pairwise(channel), 1):
            step = (after[0] - before[0], after[1] - before[1])
            if not all(-128 <= part <= 127 for part in step):
                return f"channel {number}: the step to its point {k} is {step}, outside -128..127"
    return None


@given(st.lists(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=5), max_size=4), st.integers(0, 150))
def test_every_step_that_does_not_fit_is_found(channels: list[list[tuple[int, int]]], reach: int) -> None:
    """By a loop over the points. With a reach, most points are near the one before."""
    if reach:
        for channel in channels:
            channel[0] = tuple(abs(value) % 65536 for value in channel[0])  # type: ignore[assignment]
            for k in range(1, len(channel)):
                x, y = (before + value % reach for before, value in zip(channel[k - 1], channel[k], strict=True))
                channel[k] = (x, y)
    geometry, problem = geometry_of(channels), _problem_of(channels)
    if problem is not None:
        with pytest.raises(ValueError, match=re.escape(problem)):
            geometry.to_payload()
        return
    expected = len(channels).to_bytes(4, "little")
    expected += b"".join((2 * len(channel) + 2).to_bytes(4, "little") for channel in channels)
    for channel in channels:
        expected += b"".join(value.to_bytes(2, "little") for value in channel[0])
        for before, after in pairwise(channel):
            expected += bytes((b - a) & 255 for a, b in zip(before, after, strict=True))
    assert geometry.to_payload() == expected
