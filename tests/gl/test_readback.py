"""
Readback of masks: directly, into an array of the caller's, and through a ring of pixel buffers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import moderngl
import numpy as np
import pytest
from support import geometry_of

from alphastream_gpu import ClosedError, FrameGeometry, GLUnavailableError, MaskRenderer, rasterize

NATIVE = (61, 33)


def moving(n: int) -> FrameGeometry:
    """Frames of a moving triangle."""
    return geometry_of([[(n, n), (n + 9, n), (n, n + 9)]])


def expected(n: int, size: tuple[int, int] = NATIVE) -> np.ndarray:
    return rasterize(moving(n), size, native_size=NATIVE)


@pytest.fixture(params=["mapped", "copied"])
def renderer(
    ctx: moderngl.Context, method: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MaskRenderer]:
    """With pixel buffers that stay mapped, and without, as before OpenGL 4.4."""
    with MaskRenderer(ctx, native_size=NATIVE, method=method) as renderer:
        if request.param == "copied":
            monkeypatch.setattr(renderer._gl, "glBufferStorage", None)
        elif renderer._gl.glBufferStorage is None:
            pytest.skip("the driver cannot keep buffers mapped")
        yield renderer


@pytest.mark.parametrize("size", [None, NATIVE, (7, 9), (8, 8), (122, 67)])
def test_reading_frames_through_a_ring(renderer: MaskRenderer, size: tuple[int, int] | None) -> None:
    rng = np.random.default_rng(5)
    batch = [FrameGeometry(rng.integers(-10, 70, (n, 2))) for n in range(8)]
    for count in range(8):
        masks = list(renderer.read_frames(batch[:count], size=size))
        assert len(masks) == count
        for geometry, mask in zip(batch, masks, strict=False):
            assert (mask == rasterize(geometry, size, native_size=NATIVE)).all()
            assert mask.flags.writeable
            assert mask.flags.c_contiguous
    assert renderer.stats.frames == sum(range(8))
    assert renderer._ring.n_made == (0 if renderer.method == "upload" else 3)
    for buffer in renderer._ring._all.values():
        assert (buffer.mapped is None) == (renderer._gl.glBufferStorage is None)


def test_one_array_for_all_frames(renderer: MaskRenderer) -> None:
    """Every step yields the same array with the next mask. The two frames ahead are not in it."""
    out = np.full(NATIVE[::-1], 9, np.uint8)
    n_masks = 0
    for n, mask in enumerate(renderer.read_frames(map(moving, range(6)), out=out)):
        assert mask is out
        assert (out == expected(n)).all()
        n_masks += 1
    assert n_masks == 6
    large = np.zeros((66, 122), np.uint8)
    [mask] = renderer.read_frames([moving(3)], size=(122, 66), out=large)
    assert mask is large
    assert (large == expected(3, (122, 66))).all()


def test_masks_without_an_array_do_not_change_later(renderer: MaskRenderer) -> None:
    masks = list(renderer.read_frames(map(moving, range(9))))
    for n, mask in enumerate(masks):
        assert (mask == expected(n)).all()
    assert len({mask.ctypes.data for mask in masks}) == 9


def test_reading_into_an_array(renderer: MaskRenderer) -> None:
    texture = renderer.render(moving(4))
    out = np.full(NATIVE[::-1], 9, np.uint8)
    assert renderer.read(texture, out=out) is out
    assert (out == expected(4)).all()
    rows = np.full((100, NATIVE[0]), 9, np.uint8)  # contiguous rows of something larger
    part = rows[40 : 40 + NATIVE[1]]
    assert renderer.read(texture, out=part) is part
    assert (part == expected(4)).all()
    assert (rows[:40] == 9).all()
    assert (rows[40 + NATIVE[1] :] == 9).all()


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros(NATIVE, np.uint8), ValueError, r"out: expected the shape \(33, 61\), .* found \(61, 33\)"),
        (np.zeros(NATIVE[::-1], np.int8), TypeError, "out: expected a uint8 array, found int8"),
        (np.zeros(NATIVE[::-1], np.bool_), TypeError, "out: expected a uint8 array, found bool"),
        (bytearray(61 * 33), TypeError, "out: expected a uint8 array, found bytearray"),
        (np.zeros((33, 122), np.uint8)[:, ::2], ValueError, r"C-contiguous and writable, found .* strides \(122, 2\)"),
        (np.zeros(NATIVE, np.uint8).T, ValueError, "C-contiguous"),
        (np.frombuffer(bytes(61 * 33), np.uint8).reshape(33, 61), ValueError, "read-only"),
    ],
)
def test_arrays_that_cannot_be_written_to(
    renderer: MaskRenderer, out: Any, error: type[Exception], message: str
) -> None:
    """The call raises at once, not when the first frame is asked for."""
    texture = renderer.render(moving(1))
    for call in (lambda: renderer.read(texture, out=out), lambda: renderer.read_frames([], out=out)):
        with pytest.raises(error, match=message):
            call()
    with pytest.raises(ValueError, match="out: expected the shape"):
        renderer.read_frames([], size=(8, 8), out=np.zeros((8, 9), np.uint8))


def test_frames_are_taken_two_ahead_and_rings_may_be_left(renderer: MaskRenderer) -> None:
    if renderer.method == "upload":
        return  # test_the_cpus_masks_are_taken_one_by_one
    taken = []

    def source() -> Iterator[FrameGeometry]:
        for n in range(10):
            taken.append(n)
            yield moving(n)

    frames = renderer.read_frames(source())
    assert taken == []
    next(frames)
    assert taken == [0, 1, 2]
    mask = renderer.read(renderer.render(geometry_of([])))  # a call in between
    assert not mask.any()
    other = renderer.read_frames(source(), size=(5, 5))  # a second ring, of another size
    next(other)
    assert (next(frames) == expected(1)).all()
    frames.close()  # type: ignore[attr-defined]
    del other
    list(renderer.read_frames(source()))
    made = renderer.stats.gl_objects
    for n, mask in enumerate(renderer.read_frames(source())):
        assert (mask == expected(n)).all()
    assert renderer.stats.gl_objects == made  # buffers of abandoned rings are reused


def test_two_rings_in_turn(renderer: MaskRenderer) -> None:
    """With one size and with two. No ring yields a mask of the other."""
    for size in (NATIVE, (30, 16)):
        one = renderer.read_frames(map(moving, range(8)))
        other = renderer.read_frames(map(moving, range(8, 16)), size=size)
        for n, (mask, second) in enumerate(zip(one, other, strict=True)):
            assert (mask == expected(n)).all()
            assert (second == expected(n + 8, size)).all()


def test_the_cpus_masks_are_taken_one_by_one(ctx: moderngl.Context) -> None:
    """Without a texture, and without GL objects."""
    taken = []

    def source() -> Iterator[FrameGeometry]:
        for n in itertools.count():
            taken.append(n)
            yield moving(n)

    with MaskRenderer(ctx, native_size=NATIVE, method="upload") as renderer:
        made = renderer.stats.gl_objects
        frames = renderer.read_frames(source())
        assert (next(frames) == expected(0)).all()
        assert (next(frames) == expected(1)).all()
        assert taken == [0, 1]
        stats = renderer.stats
        assert (stats.frames, stats.upload_frames, stats.cpu_fallbacks) == (2, 2, 0)
        assert (stats.uploaded_bytes, stats.gl_objects) == (0, made)


def test_cpu_frames_among_gpu_frames(renderer: MaskRenderer) -> None:
    far = geometry_of([[(3, 4), (20, 9), (70000, 30)]])
    masks = list(renderer.read_frames([moving(0), far, moving(2), far, far]))
    for geometry, mask in zip([moving(0), far, moving(2), far, far], masks, strict=True):
        assert (mask == rasterize(geometry, native_size=NATIVE)).all()
    assert renderer.stats.cpu_fallbacks == (0 if renderer.method == "upload" else 3)


def test_a_ring_after_release(ctx: moderngl.Context, method: Any) -> None:
    renderer = MaskRenderer(ctx, native_size=NATIVE, method=method)
    frames = renderer.read_frames([geometry_of([])] * 5)
    next(frames)
    renderer.release()
    with pytest.raises(ClosedError):
        next(frames)
    with pytest.raises(ValueError, match="size: expected"):
        renderer.read_frames([], size=(0, 1))


def test_a_wait_that_fails(ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost frame is an error. A slow frame is waited for."""
    answers = [0x911B, 0x911B, 0x911C, 0x911D]  # two timeouts, satisfied; failed
    with MaskRenderer(ctx, native_size=NATIVE, method="triangles") as renderer:
        if renderer._gl.glBufferStorage is None:
            pytest.skip("the driver cannot keep buffers mapped")
        real = renderer._gl.glClientWaitSync

        def answering(*arguments: Any) -> int:
            real(*arguments)
            return answers.pop(0)

        monkeypatch.setattr(renderer._gl, "glClientWaitSync", answering)
        frames = renderer.read_frames(map(moving, range(2)))
        assert (next(frames) == expected(0)).all()
        with pytest.raises(GLUnavailableError, match="lost a frame that was being read back"):
            next(frames)
        monkeypatch.undo()
        assert [int(mask.sum()) for mask in renderer.read_frames([moving(7)])] == [int(expected(7).sum())]


def test_no_memory_for_a_pixel_buffer(ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    with MaskRenderer(ctx, native_size=NATIVE, method="triangles") as renderer:
        if renderer._gl.glBufferStorage is None:
            pytest.skip("the driver cannot keep buffers mapped")
        monkeypatch.setattr(renderer._gl, "glMapBufferRange", lambda *arguments: None)
        with pytest.raises(GLUnavailableError, match="no memory for a pixel buffer of 2013 bytes"):
            next(renderer.read_frames([moving(0)]))
        monkeypatch.undo()
        [mask] = renderer.read_frames([moving(5)])
        assert (mask == expected(5)).all()
