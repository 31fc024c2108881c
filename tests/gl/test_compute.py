"""
Compute shaders: bounds, working memory, interrupts, and contexts older than OpenGL 4.3.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import moderngl
import numpy as np
import oracle
import pytest
import test_coverage
from conftest import need_method
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import ROOT, frames, geometry_of

from alphastream_gpu import FrameGeometry, GLUnavailableError, MaskRenderer, rasterize
from alphastream_gpu._gl import compute
from alphastream_gpu._gl.attach import identity_of
from alphastream_gpu._gl.shaders import COMPUTE_EXTENSIONS

SMALL = (64, 32)
SPOT = [(3, 3), (28, 5), (20, 27)]
FAR = 1 << 30


@pytest.fixture
def renderer(ctx: moderngl.Context) -> Iterator[MaskRenderer]:
    need_method("compute", ctx)
    with MaskRenderer(ctx, native_size=SMALL, method="compute") as renderer:
        assert renderer.method == "compute"
        yield renderer


def check(renderer: MaskRenderer, geometry: FrameGeometry) -> bool:
    """Render and compare. Return whether the shaders made the mask, not the CPU twin."""
    before = renderer.stats
    mask = renderer.read(renderer.render(geometry))
    assert (mask == rasterize(geometry, native_size=renderer.native_size)).all()
    after = renderer.stats
    n_compute, n_upload = after.compute_frames - before.compute_frames, after.upload_frames - before.upload_frames
    assert n_compute + n_upload == after.frames - before.frames == 1
    assert n_upload == after.cpu_fallbacks - before.cpu_fallbacks
    n_dispatches = 3 if len(geometry.points) else 2
    assert after.dispatches - before.dispatches == n_dispatches * n_compute
    return bool(n_compute)


# Bounds.


def test_as_many_points_as_fit_in_a_row_of_work_groups(renderer: MaskRenderer, ctx: moderngl.Context) -> None:
    points = np.random.default_rng(1).integers(0, 6, (compute.MAX_POINTS + 1, 2))
    assert check(renderer, FrameGeometry(points[:-1]))
    assert not check(renderer, FrameGeometry(points))
    n_groups = (compute.MAX_POINTS << 3) // 64
    assert n_groups <= 65535 <= renderer._gl.integer_at(0x91BE, 0)  # GL_MAX_COMPUTE_WORK_GROUP_COUNT


def test_points(renderer: MaskRenderer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "MAX_POINTS", 5)
    assert check(renderer, geometry_of([SPOT, [], [(1, 1), (9, 9)]]))
    assert not check(renderer, geometry_of([SPOT, [], [(1, 1), (9, 9)], [(2, 2)]]))


def test_planes(renderer: MaskRenderer) -> None:
    assert check(renderer, geometry_of([SPOT] * 32))
    assert not check(renderer, geometry_of([SPOT] * 33))
    assert not check(renderer, geometry_of([SPOT] * 65))  # more planes than a frame computes
    assert check(renderer, geometry_of([[(5, 5)]] * 2000))
    assert not check(renderer, geometry_of([[(x % 60, x // 60), (x % 60 + 1, x // 60), (3, 3)] for x in range(1025)]))


def test_working_memory(renderer: MaskRenderer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame needs its planes, plane 0 and the mask."""
    monkeypatch.setattr(renderer._method, "_most_planes", 4)
    assert check(renderer, geometry_of([SPOT] * 2))
    assert not check(renderer, geometry_of([SPOT] * 3))
    assert check(renderer, geometry_of([SPOT]))


def test_working_memory_of_the_largest_frames(ctx: moderngl.Context) -> None:
    """128 MiB hold four bitmaps of 16,384 x 16,384."""
    need_method("compute", ctx)
    with MaskRenderer(ctx, native_size=(16384, 16384), method="compute") as renderer:
        planned: Any = renderer._method.plan
        assert renderer._method._most_planes == 4  # type: ignore[attr-defined]
        assert planned(geometry_of([SPOT] * 2), (8, 8)) is not None
        assert planned(geometry_of([SPOT] * 3), (8, 8)) is None


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shift", [0, -30000, -65535, -65500])
def test_extents(renderer: MaskRenderer, axis: int, shift: int) -> None:
    """A channel's box is at most 65,535 wide and high, at any position. Channels may be further apart."""
    for extent, fits in ((65535, True), (65536, False)):
        channel = [(shift, 2), (shift + extent, 9), (shift + 77, 30)]
        channel = [point[::-1] if axis else point for point in channel]
        assert check(renderer, geometry_of([SPOT, channel])) == fits
        assert check(renderer, geometry_of([channel, SPOT])) == fits
    apart = [[(x, 2), (x + 10, 9), (x, 30)] for x in (-700_000, 3, 700_000)]
    assert check(renderer, geometry_of([[point[::-1] if axis else point for point in channel] for channel in apart]))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("at", "fits"),
    [
        (FAR - 9, True), (FAR - 8, False), (-FAR, True), (-FAR - 1, False), ((1 << 31) - 10, False), (-1 << 31, False),
    ],
)  # fmt: skip
def test_coordinates(renderer: MaskRenderer, axis: int, at: int, fits: bool) -> None:
    """Coordinates are valid up to 2^30. A crossing left of the window flips its whole row; two crossings cancel."""
    channel = [(at, -5), (at + 9, 12), (at + 3, 44)]
    channel = [point[::-1] if axis else point for point in channel]
    assert check(renderer, geometry_of([channel, SPOT])) == fits
    assert check(renderer, geometry_of([SPOT, channel[:2]])) == fits
    farthest = [max(channel, key=lambda point: abs(point[axis]))]
    assert check(renderer, geometry_of([farthest, SPOT])) == fits  # a single point draws nothing, but is checked


def test_steps(renderer: MaskRenderer, monkeypatch: pytest.MonkeyPatch) -> None:
    """All points and the frame's box give an upper bound. Only if it is too large, each segment is measured."""
    wide = geometry_of([SPOT, [(0, 0), (63, 0)], *([[(50, 20), (51, 20)]] * 20)])  # a bound of 45 * 63
    monkeypatch.setattr(compute, "MAX_STEPS", 2834)
    assert not check(renderer, geometry_of([[(0, 0), (63, 31)] * 23]))  # their real length
    assert compute._count_steps(wide) == 2 * 63 + (25 + 22) + 25 + 20 * 2
    monkeypatch.setattr(compute, "MAX_STEPS", compute._count_steps(wide))
    assert check(renderer, wide)
    monkeypatch.setattr(compute, "MAX_STEPS", compute._count_steps(wide) - 1)
    assert not check(renderer, wide)


@given(channels=frames(low=-100, high=100))
@example(channels=[])
@example(channels=[[], [], [(0, 0), (9, 9)], [], [(90, 90)], [], []])
def test_steps_are_counted_from_above(channels: Any) -> None:
    lengths = [max(abs(a[0] - b[0]), abs(a[1] - b[1])) for channel in channels for a, b in oracle.segments(channel)]
    boxes = [max(max(axis) - min(axis) for axis in zip(*channel, strict=True)) for channel in channels if channel]
    assert sum(lengths) <= compute._count_steps(geometry_of(channels)) <= sum(lengths) + sum(boxes)


# Bits that 32-bit integers could get wrong.

NEAR = st.tuples(st.integers(-30, 60), st.integers(-30, 60))
ANYWHERE = st.tuples(st.integers(-32768, 32767), st.integers(-32768, 32767))
ON_AN_EDGE = st.tuples(st.sampled_from((-32768, 32767)), st.integers(-32768, 32767))


@pytest.mark.slow
@settings(max_examples=80)
@given(channels=st.lists(st.lists(NEAR | ANYWHERE | ON_AN_EDGE, min_size=2, max_size=4), min_size=1, max_size=3))
@example(channels=[[(-32768, -32768), (32767, 32767)], [(32767, -32768), (-32768, 32767)]])
@example(channels=[[(-32768, -32767), (32767, 32767)], [(32766, 32767), (-32768, -32768), (3, 40)]])
@example(channels=[[(32767, 5), (-32768, 6)], [(7, 32767), (6, -32768)], [(-32768, 7), (32767, 8), (9, 9)]])
@example(channels=[[(-32768, 11), (32767, 12), (-32768, 13)], [(11, -32768), (12, 32767), (13, -32768)]])
def test_long_segments_through_the_window(renderer: MaskRenderer, channels: Any) -> None:
    """Products of two extents, plus the summands, are just below 2^32."""
    geometry = geometry_of(channels)
    mask = renderer.read(renderer.render(geometry))
    assert (mask == test_coverage.cropped_oracle(channels, SMALL)).all()
    assert renderer.stats.cpu_fallbacks == 0


@pytest.mark.slow
@pytest.mark.parametrize("few", [0, 1 << 20])
@settings(max_examples=60)
@given(channels=frames(low=-80, high=120))
def test_eight_lanes_a_segment_and_thirty_two(renderer: MaskRenderer, few: int, channels: Any) -> None:
    """Many points get fewer lanes each. The result does not change."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compute, "_FEW_POINTS", few)
        mask = renderer.read(renderer.render(geometry_of(channels)))
    assert (mask == oracle.mask(channels, SMALL)).all()


# Interrupts.


class Interrupting:
    """GL functions that raise at the n-th call, before or after doing their work."""

    NAMES = (
        "glBindBufferBase",
        "glBufferData",
        "glBindImageTexture",
        "glUseProgram",
        "glDispatchCompute",
        "glMemoryBarrier",
    )

    def __init__(self, patch: pytest.MonkeyPatch, gl: Any, at: int, *, is_after: bool) -> None:
        self.was_raised = False
        self._countdown = at
        self._is_after = is_after
        for name in self.NAMES:
            patch.setattr(gl, name, self._wrapped(getattr(gl, name)))

    def _wrapped(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            is_now, self._countdown = self._countdown == 0, self._countdown - 1
            if is_now and not self._is_after:
                self.was_raised = True
                raise KeyboardInterrupt
            result = real(*arguments)
            if is_now:
                self.was_raised = True
                raise KeyboardInterrupt
            return result

        return call


@pytest.mark.slow
@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("is_again", [False, True])
@pytest.mark.parametrize("before", [[], [[SPOT]], [[SPOT] * 9]])
def test_an_interrupt_at_any_call_does_not_affect_later_masks(
    ctx: moderngl.Context, before: list[Any], is_again: bool, is_after: bool
) -> None:
    """
    Interrupts every call of a dispatch in turn: without working memory, with too little, and with enough of it. Flips
    may be left in the memory, or the memory may be about to grow. The next masks are exact, of the same frame and of
    others.
    """
    need_method("compute", ctx)
    crossed = geometry_of([[(0, 0), (63, 5), (40, 31)], [(9, 1), (50, 30), (2, 20)], [(3, 3), (60, 9), (33, 30)]])
    n_interrupts = 0
    for at in itertools.count():
        with MaskRenderer(ctx, native_size=SMALL, method="compute") as renderer, pytest.MonkeyPatch.context() as patch:
            for channels in before:
                renderer.render(geometry_of(channels))
            interrupting = Interrupting(patch, renderer._gl, at, is_after=is_after)
            with suppress(KeyboardInterrupt):
                renderer.render(crossed)
            patch.undo()
            n_interrupts += interrupting.was_raised
            others = [geometry_of(channels) for channels in ([], [SPOT], [[(2, 2), (9, 9)]], [SPOT] * 12)]
            for geometry in [crossed, *others] if is_again else [*others, crossed]:
                assert check(renderer, geometry), at
        if not interrupting.was_raised:
            break
    assert n_interrupts >= 14


def test_an_interrupt_between_the_crossings_and_the_fill(
    renderer: MaskRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flips then stay in the working memory. They must not appear in a later mask."""
    real, n_calls = renderer._gl.glDispatchCompute, itertools.count()

    def interrupted(*groups: int) -> None:
        if next(n_calls) == 1:
            raise KeyboardInterrupt
        real(*groups)

    renderer.render(geometry_of([SPOT]))
    monkeypatch.setattr(renderer._gl, "glDispatchCompute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        renderer.render(geometry_of([[(0, 0), (63, 5), (40, 31)]]))
    monkeypatch.undo()
    assert not renderer.read(renderer.render(geometry_of([]))).any()
    assert check(renderer, geometry_of([SPOT]))


# Older contexts.

OLD = """
import json, sys
sys.path.insert(0, "tests")
import numpy as np
import alphastream_gpu
from alphastream_gpu import FrameGeometry, GLUnavailableError, MaskRenderer, rasterize
from alphastream_gpu._gl.selfcheck import NATIVE_SIZE, scene

ctx = alphastream_gpu.create_headless_context()
found = {"version": ctx.version_code}
try:
    with MaskRenderer(ctx, native_size=NATIVE_SIZE, method="compute") as renderer:
        found["method"], found["is_exact"] = renderer.method, renderer.is_exact
        n_wrong = 0
        for size in (NATIVE_SIZE, (48, 16), (41, 67), (200, 100)):
            expected = rasterize(scene(), size, native_size=NATIVE_SIZE)
            texture, array = ctx.texture(size, 1), ctx.texture_array((*size, 3), 1)
            renderer.render(scene(), into=texture)
            renderer.render_many([scene(), FrameGeometry([]), scene()], into=array)
            n_wrong += int((renderer.read(texture) != expected).sum())
            n_wrong += int((renderer.read(array, layer=0) != expected).sum())
            n_wrong += int(renderer.read(array, layer=1).sum())
            n_wrong += int((renderer.read(array, layer=2) != expected).sum())
        found["n_wrong"], found["dispatches"] = n_wrong, renderer.stats.dispatches
except GLUnavailableError as exc:
    found["error"] = str(exc)
found["pending"] = ctx.error
print(json.dumps(found))
"""


def old_context(ctx: moderngl.Context, version: str, **variables: str) -> dict[str, Any]:
    """Return what a process finds whose driver reports an older version."""
    need_method("compute", ctx)
    if "Mesa" not in ctx.info["GL_VERSION"]:
        pytest.skip("only Mesa has a variable that overrides the version")
    environment = os.environ | {
        "MESA_GL_VERSION_OVERRIDE": version,
        "MESA_GLSL_VERSION_OVERRIDE": version.replace(".", "") + "0",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", OLD], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.3", "4.1", "4.2"])
def test_contexts_that_have_the_extensions(ctx: moderngl.Context, version: str) -> None:
    """On such contexts, the stages are built for OpenGL 3.3 with extensions, and are exact."""
    assert old_context(ctx, version) == {
        "version": int(version.replace(".", "") + "0"),
        "method": "compute",
        "is_exact": True,
        "n_wrong": 0,
        "dispatches": 4 * 6,
        "pending": "GL_NO_ERROR",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "hidden", [("GL_ARB_compute_shader",), ("GL_ARB_gpu_shader5", "GL_ARB_shading_language_420pack")]
)
def test_contexts_without_an_extension(ctx: moderngl.Context, hidden: tuple[str, ...]) -> None:
    found = old_context(ctx, "3.3", MESA_EXTENSION_OVERRIDE=" ".join(f"-{name}" for name in hidden))
    named = ", ".join(name for name in COMPUTE_EXTENSIONS if name in hidden)
    assert found.pop("error").startswith(f"compute shaders need OpenGL 4.3, found 3.3 without {named} (")
    assert found == {"version": 330, "pending": "GL_NO_ERROR"}


def test_every_extension_is_required(ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    gl = identity_of(ctx).gl
    for version, extensions, words in (
        (430, frozenset(), None),
        (460, frozenset(), None),
        (420, frozenset(COMPUTE_EXTENSIONS), None),
        (420, frozenset(), f"found 4.2 without {', '.join(COMPUTE_EXTENSIONS)} ("),
        *(
            (330, frozenset(COMPUTE_EXTENSIONS) - {one}, f"compute shaders need OpenGL 4.3, found 3.3 without {one} (")
            for one in COMPUTE_EXTENSIONS
        ),
    ):
        monkeypatch.setattr(gl, "version_code", version)
        monkeypatch.setattr(gl, "extensions", extensions)
        why = compute.missing(gl)
        assert why is None if words is None else why is not None and words in why
    with pytest.raises(GLUnavailableError, match="found 3.3 without GL_ARB_gpu_shader5"):
        MaskRenderer(ctx, method="compute")
