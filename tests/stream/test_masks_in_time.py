"""
Masks of a stream: at any size, made ahead, in time, and never those of another source.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any

import numpy as np
import pytest
from scripted import get, session_of
from support import NATIVE, SAMPLE, asvp_of, block_of, golden_frames, payload_of, sha256, wait_until

import alphastream_gpu
from alphastream_gpu import (
    Config,
    ErrorCode,
    FrameGeometry,
    rasterize,
)
from alphastream_gpu._stream import (
    products as _products,
)


def test_masks_are_the_goldens_at_any_size() -> None:
    goldens = golden_frames()
    with alphastream_gpu.open(SAMPLE, config=Config(get_frame_timebox=1000)) as stream:
        for index in range(0, 120, 7):
            for size, name in ((NATIVE, "sha256"), ((512, 256), "sha256_512x256"), ((1000, 600), "sha256_1000x600")):
                mask = stream.get_frame(index, *size)
                assert mask is not None
                assert mask.shape == (size[1], size[0])
                assert not mask.flags.writeable
                assert mask.flags.c_contiguous
                assert sha256(mask) == goldens[index][name]
        assert stream.get_frame(5) is not None
        assert sha256(stream.get_frame(5)) == goldens[5]["sha256"]  # type: ignore[arg-type]


def test_masks_are_made_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten of them, which calls find. A call rasterizes what was not made ahead itself."""
    goldens = golden_frames()
    made_now: list[FrameGeometry] = []

    def noted(geometry: FrameGeometry, *arguments: Any, **options: Any) -> np.ndarray:
        made_now.append(geometry)
        return rasterize(geometry, *arguments, **options)

    with alphastream_gpu.open(SAMPLE, config=Config(get_frame_timebox=1000)) as stream:
        assert stream.get_frame(10, 512, 256) is not None
        wait_until(lambda: stream.stats().made_ahead >= 10)
        assert stream.stats().made_ahead == 10
        monkeypatch.setattr(_products, "rasterize", noted)
        for index in range(11, 21):
            mask = stream.get_frame(index, 512, 256)
            assert mask is not None
            assert sha256(mask) == goldens[index]["sha256_512x256"]
        assert made_now == []
        assert stream.get_frame(90, 512, 256) is not None
        assert made_now == [stream.read_frame(90)]


def test_no_masks_are_made_ahead_when_asked_not_to() -> None:
    with alphastream_gpu.open(SAMPLE, config=Config(ready_frames=0, get_frame_timebox=1000)) as stream:
        assert stream.get_frame(10) is not None
        time.sleep(0.05)
        assert stream.stats().made_ahead == 0


def _is_prepared(geometry: FrameGeometry) -> bool:
    """Whether its planes are known without being asked for."""
    try:
        FrameGeometry.__dict__["_planes"].__get__(geometry)
    except AttributeError:
        return False
    return True


@pytest.mark.parametrize("way", ["masks alone", "geometry", "for_stream"])
def test_frames_ahead_are_prepared_for_renderers(way: str, request: pytest.FixtureRequest) -> None:
    """Where they are decoded, once somebody renders; not for whoever asks for masks."""
    with alphastream_gpu.open(SAMPLE, config=Config(prefetch_frames=20, ready_frames=0)) as stream:
        session = session_of(stream)
        if way == "for_stream":
            ctx = request.getfixturevalue("ctx")
            with alphastream_gpu.MaskRenderer.for_stream(stream, ctx) as renderer:
                assert renderer.native_size == stream.metadata.native_size
        ask = stream.get_geometry if way == "geometry" else partial(stream.get_frame, width=16, height=8)
        for index in (0, 40):  # the second jump comes after the first answer
            wait_until(lambda index=index: ask(index) is not None)
            wait_until(lambda index=index: session.peek(index + 15) is not None)
        ahead = [session.peek(index) for index in range(50, 60)]
        assert all(_is_prepared(one) == (way != "masks alone") for one in ahead if one is not None)
        if way == "for_stream":
            stream.load_source(SAMPLE)
            assert session_of(stream).reader.prepares_planes


@pytest.mark.parametrize("size", [(0, 5), (5, 20000), (-1, 1)])
def test_a_bad_size_is_a_value_error(size: tuple[int, int]) -> None:
    with alphastream_gpu.open(SAMPLE) as stream, pytest.raises(ValueError, match="size: expected"):
        stream.get_frame(0, *size)


def test_a_huge_mask_keeps_the_time_box() -> None:
    with alphastream_gpu.open(SAMPLE) as stream:
        get(stream, 3)
        started = time.monotonic()
        mask = stream.get_frame(3, 16384, 8192)
        took = time.monotonic() - started
        assert mask is None
        error = stream.last_error()
        assert error is not None
        assert error.code == ErrorCode.TIMEOUT
        assert took < 5  # a measure of sanity, for a busy machine: the box is 12 ms


@pytest.mark.slow
def test_masks_of_another_source_are_never_given() -> None:
    """Loading, and asking for the same frame at the same size, while others play."""
    one = asvp_of([block_of(payload_of([((2, 2), [(9, 0), (0, 9)])]))] * 40)
    other = asvp_of([block_of(payload_of([((30, 30), [(9, 0), (0, 9)])]))] * 40)
    config = Config(native_size=(64, 64), get_frame_timebox=1000)
    stop = threading.Event()
    with alphastream_gpu.open(one, config=config) as stream:
        expected = {}
        for name, data in (("one", one), ("other", other)):
            stream.load_source(data)
            mask = stream.get_frame(5, 64, 64)
            assert mask is not None
            expected[name] = mask.copy()
        assert not np.array_equal(expected["one"], expected["other"])

        def play() -> None:
            index = 0
            while not stop.is_set():
                stream.get_frame(index % 40, 64, 64)
                index += 1

        threads = [threading.Thread(target=play) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(60):
            name, data = ("one", one) if number % 2 else ("other", other)
            stream.load_source(data)
            for index in (5, 6, 20):
                mask = stream.get_frame(index, 64, 64)
                assert mask is not None
                assert np.array_equal(mask, expected[name])
        stop.set()
        for thread in threads:
            thread.join()


def test_a_mask_made_while_another_source_is_loaded_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """One caller rasterizes; another loads a source and plays it at the same place and size; then the mask is done."""
    one = asvp_of([block_of(payload_of([((2, 2), [(9, 0), (0, 9)])]))] * 40)
    other = asvp_of([block_of(payload_of([((30, 30), [(9, 0), (0, 9)])]))] * 40)
    caller = threading.get_ident()
    interrupted: list[bool] = []
    real = _products.rasterize

    with alphastream_gpu.open(one, config=Config(native_size=(64, 64), get_frame_timebox=1000)) as stream:

        def load_and_play() -> None:
            stream.load_source(other)
            assert stream.get_frame(6, 64, 64) is not None

        def interrupted_rasterize(*args: Any, **options: Any) -> np.ndarray:
            mask = real(*args, **options)
            if threading.get_ident() == caller and not interrupted:
                interrupted.append(True)
                thread = threading.Thread(target=load_and_play)
                thread.start()
                thread.join()
            return mask

        monkeypatch.setattr(_products, "rasterize", interrupted_rasterize)
        old = stream.get_frame(5, 64, 64)
        new = stream.get_frame(5, 64, 64)
        assert interrupted
        assert old is not None
        assert new is not None
        assert old[3, 3]
        assert new[31, 31]
        assert not new[3, 3]


def test_a_huge_mask_comes_when_asked_again() -> None:
    with alphastream_gpu.open(SAMPLE) as stream:
        geometry = get(stream, 3)
        deadline = time.monotonic() + 20
        mask = None
        while mask is None and time.monotonic() < deadline:
            mask = stream.get_frame(3, 4096, 2048)
        assert mask is not None
        assert np.array_equal(mask, rasterize(geometry, (4096, 2048)))
