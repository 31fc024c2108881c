"""
Arguments of unsupported types are refused, and numbers of numpy are accepted.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import moderngl
import numpy as np
import pytest
from support import SAMPLE, SQUARE, asvp_of, block_of, sample_geometries

import alphastream_gpu
from alphastream_gpu import (
    AsvpWriter,
    AsvrKey,
    Config,
    DecodeError,
    FrameGeometry,
    KeyMismatchError,
    MaskRenderer,
    MemorySource,
    PlaybackClock,
    rasterize,
    rasterize_packed,
)

POINTS = np.array([(0, 0), (9, 0), (9, 9)])


@pytest.mark.parametrize(
    "path", [b"person.asvp", b"folder/person", b"C:\\person", b"https://host/person.asvr?a=1", bytearray(b"./x.bin")]
)
def test_a_path_in_bytes(path: bytes, passphrase: bytes) -> None:
    """Bytes are the content of a stream. The error must say so, and not that the content is truncated."""
    for options in ({}, {"key": AsvrKey(passphrase, scene_id=1)}):
        with pytest.raises(DecodeError) as caught:
            alphastream_gpu.open(path, **options)
        assert not isinstance(caught.value, KeyMismatchError)
        text = str(caught.value)
        assert f"found {len(path)} bytes that look like a path or a URL" in text
        assert path.decode() not in text  # a URL may have secrets in it


@pytest.mark.parametrize(
    "content", [b"", b"ASVP", b"person", b"\x00/x.asvp", b"\xff.asvp", b"<a/>", b'{"a": "b/c"}', b"a/b\n", b"/" * 5000]
)
def test_content_that_is_not_a_path(content: bytes) -> None:
    with pytest.raises(DecodeError, match=r"^header: "):
        alphastream_gpu.open(content)


def test_a_file_whose_content_looks_like_a_path(tmp_path: Path) -> None:
    (tmp_path / "x.asvp").write_text("/another/person.asvp")
    with pytest.raises(DecodeError, match=r"^header: "):
        alphastream_gpu.open(tmp_path / "x.asvp")
    with alphastream_gpu.open(MemorySource(asvp_of([block_of(SQUARE)]))) as stream:
        assert stream.metadata.frame_count == 1


@pytest.mark.parametrize("call", [rasterize, rasterize_packed])
def test_an_array_instead_of_geometry(call: Callable[[Any], Any]) -> None:
    message = "geometry: expected a FrameGeometry, found ndarray; FrameGeometry(points, channel_offsets) makes one"
    with pytest.raises(TypeError, match=re.escape(message)):
        call(POINTS)
    for other in (None, SQUARE, [(0, 0)]):
        with pytest.raises(TypeError, match=f"geometry: expected a FrameGeometry, found {type(other).__name__}$"):
            call(other)


def test_an_array_instead_of_geometry_in_gl(ctx: moderngl.Context) -> None:
    with MaskRenderer(ctx, native_size=(64, 32)) as renderer:
        for call in (renderer.render, lambda array: [*renderer.read_frames([array])]):
            with pytest.raises(TypeError, match="geometry: expected a FrameGeometry, found ndarray"):
                call(POINTS)


def test_an_array_instead_of_a_frame(tmp_path: Path) -> None:
    """The bytes of an array are not a payload and must not be decoded as one."""
    with AsvpWriter(tmp_path / "x.asvp") as writer:
        for wrong in (POINTS, np.frombuffer(SQUARE, np.uint8), [1, 2], "text", None):
            found = type(wrong).__name__
            with pytest.raises(TypeError, match=f"expected a FrameGeometry or its payload as bytes, found {found}$"):
                writer.add_frame(wrong)  # type: ignore[arg-type]
        for right in (SQUARE, bytearray(SQUARE), memoryview(SQUARE), FrameGeometry.from_payload(SQUARE)):
            writer.add_frame(right)
        assert writer.frame_count == 4


def test_numbers_of_numpy() -> None:
    with alphastream_gpu.open(SAMPLE) as stream:
        for one in (1, 1.0, Fraction(1), np.float16(1), np.float32(1), np.float64(1), np.int8(1), np.uint64(1)):
            frame = stream.frame_at(one)  # type: ignore[arg-type]
            assert (frame, type(frame)) == (60, int)
        for index in (60, np.int8(60), np.uint64(60)):
            time = stream.time_of(index)  # type: ignore[arg-type]
            assert (time, type(time)) == (1.0, float)
        for bad in (float("inf"), float("-inf"), float("nan"), np.float32("inf"), np.float16("nan")):
            with pytest.raises(ValueError, match="seconds: expected a finite number, found"):
                stream.frame_at(bad)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            stream.time_of(1.5)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="seconds: expected a number, found str"):
            stream.frame_at("1.0")  # type: ignore[arg-type]
        assert stream.frame_at(10**400) == 60 * 10**400
        with pytest.raises(ValueError, match="index: expected a frame whose time fits a float"):
            stream.time_of(10**400)
        stream.set_rate(np.float32(59.94))  # type: ignore[arg-type]
        assert stream.time_of(5994) == 100.0
    geometry = sample_geometries()[60]
    size = np.array([512, 256])
    assert np.array_equal(rasterize(geometry, size), rasterize(geometry, (512, 256)))  # type: ignore[arg-type]
    small = rasterize(geometry, (np.uint8(200), np.int16(100)), native_size=np.array([2048, 1024]))  # type: ignore[arg-type]
    assert np.array_equal(small, rasterize(geometry, (200, 100)))


def test_indices_of_numpy_do_not_overflow() -> None:
    """Frames behind the play head may have negative indices, which an unsigned number cannot hold."""
    with warnings.catch_warnings(), alphastream_gpu.open(SAMPLE, config=Config(get_frame_timebox=1000)) as stream:
        warnings.simplefilter("error")
        for one in (np.uint8(1), np.int8(1), np.uint64(1), True):
            assert stream.get_geometry(one) == stream.get_geometry(1)  # type: ignore[arg-type]
            assert np.array_equal(stream.get_frame(one), stream.get_frame(1))  # type: ignore[arg-type]
            assert np.array_equal(stream.get_triangle_strip_vertices(one), stream.get_triangle_strip_vertices(1))  # type: ignore[arg-type]
        assert stream.get_geometry(np.uint8(200)) is None  # type: ignore[arg-type]
        error = stream.last_error()
        assert error is not None
        assert type(error.frame_index) is int


def test_numbers_of_numpy_do_not_reduce_the_precision_of_a_clock() -> None:
    clock = PlaybackClock(now=lambda: 0.0)
    clock.set_rate(np.float32(2))  # type: ignore[arg-type]
    assert type(clock.rate) is float
    for report in (clock.seek, clock.sync):
        report(np.float32(0.1))  # type: ignore[arg-type]
        assert type(clock.time()) is float
        assert clock.time() == float(np.float32(0.1))
    for one in (np.float16("nan"), np.float32("inf")):
        with pytest.raises(ValueError, match="media_time: expected a finite number, found"):
            clock.seek(one)  # type: ignore[arg-type]
