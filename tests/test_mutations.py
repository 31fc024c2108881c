"""
The comparators can fail: each rule is broken on purpose, and the test named beside it is shown to notice.

==========================  ==========================================================
Broken rule                 Caught by
==========================  ==========================================================
half-way crossings          test_fill.py::test_halves_go_to_the_even_pixel
plane colouring             test_coverage.py::test_two_equal_channels_do_not_cancel,
                            test_coverage.py::test_more_than_32_overlapping_channels_unite
closing segment             test_coverage.py::test_the_closing_segment_is_drawn
line ties                   test_outline.py::test_ties_go_to_the_start
==========================  ==========================================================

The tests run here are those very functions, with a rasterizer that is broken in one place.
"""

from __future__ import annotations

from collections.abc import Callable

import moderngl
import numpy as np
import pytest
import test_coverage
import test_fill
import test_outline
from conftest import GLRasterizer

import alphastream_gpu
from alphastream_gpu import FrameGeometry
from alphastream_gpu._gl import mesh, passes, shaders
from alphastream_gpu._raster import coverage, fill, outline
from alphastream_gpu._raster.segments import Segments

Break = Callable[[pytest.MonkeyPatch], None]


def _edit_shader(name: str, old: str, new: str) -> Break:
    def apply(patch: pytest.MonkeyPatch) -> None:
        def edited(stage: str, variant: str) -> str:
            source = shaders.shader_source(stage, variant)
            if stage == name:
                assert source.count(old) == 1
                source = source.replace(old, new)
            return source

        patch.setattr(passes, "shader_source", edited)

    return apply


def _one_plane_for_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(mesh, "assign_planes", lambda low, high, segments, frames: np.zeros(len(low), np.int64))


def _no_closing_segment(module: object) -> Break:
    def apply(patch: pytest.MonkeyPatch) -> None:
        def open_ended(geometry: FrameGeometry) -> Segments:
            found = real(geometry)
            lasts = geometry.channel_offsets[1:] - 1
            keep = np.ones(found.n_segments, bool)
            keep[lasts] = False
            bx, by = np.where(keep, found.bx, found.ax), np.where(keep, found.by, found.ay)
            return found._replace(bx=bx, by=by, dx=bx - found.ax, dy=by - found.ay)

        real = module.segments_of  # type: ignore[attr-defined]
        patch.setattr(module, "segments_of", open_ended)

    return apply


def _half_up_on_the_cpu(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fill.np, "rint", lambda values, out: np.floor(values + 0.5, out=out))


def _ties_to_the_end_on_the_cpu(patch: pytest.MonkeyPatch) -> None:
    real = outline._Runs._slopes

    def broken(self: outline._Runs, part: slice) -> tuple[np.ndarray, np.ndarray]:
        slope, offset = real(self, part)
        return slope, np.where(offset > 0, 0.5, offset)

    patch.setattr(outline._Runs, "_slopes", broken)


CPU_MUTANTS = {
    "half-way crossings": (_half_up_on_the_cpu, test_fill.test_halves_go_to_the_even_pixel),
    "closing segment": (_no_closing_segment(coverage), test_coverage.test_the_closing_segment_is_drawn),
    "line ties": (_ties_to_the_end_on_the_cpu, test_outline.test_ties_go_to_the_start),
}
GL_MUTANTS = {
    "half-way crossings": (
        _edit_shader("outline.frag", "2 * abs(distance) == height", "false"),
        test_fill.test_halves_go_to_the_even_pixel,
    ),
    "half-way parity": (
        _edit_shader("outline.frag", "(pixel.x & 1) != 0", "(pixel.x & 1) == 0"),
        test_fill.test_halves_go_to_the_even_pixel,
    ),
    "plane colouring": (_one_plane_for_all, test_coverage.test_two_equal_channels_do_not_cancel),
    "plane colouring, crowd": (_one_plane_for_all, test_coverage.test_more_than_32_overlapping_channels_unite),
    "closing segment": (_no_closing_segment(mesh), test_coverage.test_the_closing_segment_is_drawn),
    "line ties": (
        _edit_shader("outline.frag", "(major - 1) / 2", "major / 2"),
        test_outline.test_ties_go_to_the_start,
    ),
}


@pytest.mark.parametrize("name", CPU_MUTANTS)
def test_a_broken_cpu_twin_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate, noticing = CPU_MUTANTS[name]
    noticing(alphastream_gpu.rasterize)
    mutate(monkeypatch)
    # An open polygon has rows of a single crossing, which already the pairing into spans cannot take.
    with pytest.raises((AssertionError, ValueError)):
        noticing(alphastream_gpu.rasterize)


@pytest.mark.parametrize("name", GL_MUTANTS)
def test_a_broken_renderer_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch, ctx: moderngl.Context) -> None:
    mutate, noticing = GL_MUTANTS[name]
    alphastream_gpu.MaskRenderer(ctx).release()  # checks the driver; the mutants would be found out there, and not used
    mutate(monkeypatch)
    broken = GLRasterizer(ctx)
    with pytest.raises(AssertionError):
        noticing(broken)
    for made in broken.renderers.values():
        made.release()
