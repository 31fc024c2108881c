"""
The comparators can fail: each rule is broken on purpose, and the test named beside it is shown to notice.

==========================  ==========================================================
Broken rule                 Caught by
==========================  ==========================================================
half-way crossings          test_fill.py::test_halves_go_to_the_even_pixel
plane colouring             test_coverage.py::test_two_equal_channels_do_not_cancel,
                            test_coverage.py::test_overlapping_channels_unite,
                            test_resolve.py::test_odd_sizes
closing segment             test_coverage.py::test_the_closing_segment_is_drawn
line ties                   test_outline.py::test_ties_go_to_the_start
the window's borders        test_coverage.py::test_crossing_each_border
parity of words before      test_coverage.py::test_long_closing_segments,
                            test_coverage.py::test_wide_frames_of_overlapping_channels
scaling                     test_batch.py::test_a_coarse_grid_of_open_channels_alone,
                            test_resolve.py::test_odd_sizes
==========================  ==========================================================

The tests run here are those very functions, with a rasterizer that is broken in one place: the CPU twin, or a method of
the renderer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import moderngl
import numpy as np
import pytest
import test_batch
import test_coverage
import test_fill
import test_outline
import test_resolve
from conftest import GLRasterizer, need_method

import alphastream_gpu
from alphastream_gpu import FrameGeometry
from alphastream_gpu._geometry import frame as _geometry
from alphastream_gpu._geometry.segments import Segments
from alphastream_gpu._gl import method as method_module
from alphastream_gpu._gl import shaders
from alphastream_gpu._raster import coverage, fill, outline

Break = Callable[[pytest.MonkeyPatch], None]
Noticing = Callable[[Any], None]


def _edit_shader(name: str, old: str, new: str) -> Break:
    def apply(patch: pytest.MonkeyPatch) -> None:
        def edited(part: str, defines: tuple[str, ...] = (), **options: bool) -> str:
            source = shaders.shader_source(part, defines, **options)
            if part == name:
                if source.count(old) != 1:  # no AssertionError, which is what the tests are to raise
                    raise LookupError(f"{name} has {source.count(old)} times {old!r}")
                source = source.replace(old, new)
            return source

        patch.setattr(method_module, "shader_source", edited)

    return apply


def _one_plane_for_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_geometry, "planes_of", lambda geometry, boxes: np.zeros(len(boxes), np.int32))


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

HALVES = test_fill.test_halves_go_to_the_even_pixel
TIES = test_outline.test_ties_go_to_the_start
CLOSING = test_coverage.test_the_closing_segment_is_drawn
PAIR = test_coverage.test_two_equal_channels_do_not_cancel
CROWD = partial(test_coverage.test_overlapping_channels_unite, n=32)
BORDERS = test_coverage.test_crossing_each_border
WIDE = partial(test_coverage.test_wide_frames_of_overlapping_channels, width=6500)
LONG = partial(test_coverage.test_long_closing_segments, size=(16384, 9))
SCALED = test_batch.test_a_coarse_grid_of_open_channels_alone
ODD = test_resolve.test_odd_sizes

NO_CLOSING = "return channel.n_points > 2 || (channel.n_points == 2 && !is_last);", "return !is_last;"

TRIANGLE_MUTANTS: dict[str, tuple[Break, Noticing]] = {
    "half-way crossings": (_edit_shader("outline.frag", "2 * abs(distance) == height", "false"), HALVES),
    "half-way parity": (_edit_shader("outline.frag", "(pixel.x & 1) != 0", "(pixel.x & 1) == 0"), HALVES),
    "plane colouring": (_one_plane_for_all, PAIR),
    "plane colouring, crowd": (_one_plane_for_all, CROWD),
    "planes drawn": (_edit_shader("fill.vert", "channel.plane == plane", "channel.plane == min(plane, 0)"), ODD),
    "closing segment": (_edit_shader("outline.vert", *NO_CLOSING), CLOSING),
    "line ties": (_edit_shader("outline.frag", "(major - 1) / 2", "major / 2"), TIES),
    "scaling, coarse": (_edit_shader("outline.frag", "* grid_step", "* (grid_step / 2)"), SCALED),
    "scaling": (_edit_shader("resolve.frag", "grid_size / output_size", "(grid_size - 1) / output_size"), ODD),
    "planes united": (_edit_shader("resolve.frag", "any(", "all("), ODD),
}
COMPUTE_MUTANTS: dict[str, tuple[Break, Noticing]] = {
    "half-way crossings": (_edit_shader("cross.comp", "(column & 1) != 0", "false"), HALVES),
    "half-way parity": (_edit_shader("cross.comp", "(column & 1) != 0", "(column & 1) == 0"), HALVES),
    "rounding": (_edit_shader("cross.comp", "rest > missing", "rest >= missing"), HALVES),
    "plane colouring": (_one_plane_for_all, PAIR),
    "plane colouring, crowd": (_one_plane_for_all, CROWD),
    "planes filled": (_edit_shader("fill.comp", "plane <= n_planes", "plane < n_planes"), ODD),
    "closing segment": (_edit_shader("cross.comp", *NO_CLOSING), CLOSING),
    "line ties": (_edit_shader("cross.comp", "(major - 1u) / 2u", "major / 2u"), TIES),
    "left of the window": (_edit_shader("cross.comp", "column = max(column, 0);", ""), BORDERS),
    "above the window": (_edit_shader("cross.comp", "max(top.y, 0) + lane", "max(top.y, 1) + lane"), BORDERS),
    "crossing pixels": (
        _edit_shader("cross.comp", "set_pixel(channel.frame, ivec2(column, row), window);", ""),
        HALVES,
    ),
    "shifts in a word": (_edit_shader("fill.comp", "parity ^= parity << 16;", ""), BORDERS),
    "words before, in the run": (_edit_shader("fill.comp", "uint(n_odd) ^ this_carry", "this_carry"), LONG),
    "words before, beyond 32": (_edit_shader("fill.comp", "bitCount(low) + bitCount(high & before)", "0"), LONG),
    "carry between runs": (_edit_shader("fill.comp", "(carry >> (plane - 1)) & 1u", "0u"), WIDE),
    "carry of another plane": (_edit_shader("fill.comp", "& 1) << (plane - 1)", "& 1)"), WIDE),
    "carry of the second half": (
        _edit_shader("fill.comp", "(bitCount(low) + bitCount(high)) & 1", "bitCount(low) & 1"),
        WIDE,
    ),
    "scaling": (_edit_shader("resolve.comp", "column += step;", "column += 1;"), SCALED),
    "scaling, rests": (_edit_shader("resolve.comp", "column++;", ""), ODD),
}
GL_MUTANTS = {
    **{f"triangles: {name}": ("triangles", *mutant) for name, mutant in TRIANGLE_MUTANTS.items()},
    **{f"compute: {name}": ("compute", *mutant) for name, mutant in COMPUTE_MUTANTS.items()},
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
    method, mutate, noticing = GL_MUTANTS[name]
    need_method(method, ctx)
    whole = GLRasterizer(ctx, method)  # checks the driver; the mutants would be found out there, and not used
    noticing(whole)
    whole.release()
    mutate(monkeypatch)
    broken = GLRasterizer(ctx, method)
    with pytest.raises(AssertionError):
        noticing(broken)
    assert broken.renderers, "no mask was made"
    broken.release()
