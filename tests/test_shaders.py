"""
Shader sources: found, expanded, numbered; and every uniform that Python sets is there.
"""

from __future__ import annotations

import re
from pathlib import Path

import moderngl
import pytest
from support import ROOT

from alphastream_gpu import MaskRenderer
from alphastream_gpu._gl import shaders


@pytest.mark.parametrize("stage", shaders.STAGES)
def test_a_stage_has_one_name_everywhere(stage: str) -> None:
    assert (ROOT / "shaders" / f"{stage}.vert.glsl").is_file()
    assert (ROOT / "shaders" / f"{stage}.frag.glsl").is_file()
    assert (ROOT / "alphastream_gpu" / "_raster" / f"{stage}.py").is_file()
    assert (ROOT / "tests" / f"test_{stage}.py").is_file()


def test_version_comes_first_and_includes_are_numbered() -> None:
    source = shaders.shader_source("fill.vert")
    lines = source.splitlines()
    assert lines[0] == "#version 330 core"
    assert lines[1] == "#line 2 0"
    assert "#include" not in source
    assert "#line 1 1" in lines
    assert shaders.source_names("fill.vert") == ("fill.vert.glsl", "shared/lattice.glsl")


def test_a_drivers_message_names_file_and_line(ctx: moderngl.Context) -> None:
    """Break line k of an include; the message says source 1, line k."""
    source = shaders.shader_source("outline.frag")
    included = (ROOT / "shaders" / "shared" / "segment.glsl").read_text().splitlines()
    number = next(k for k, line in enumerate(included, 1) if "int v = " in line)
    broken = source.replace("int v = ", "nonsense v = ")
    with pytest.raises(moderngl.Error) as caught:
        ctx.program(vertex_shader=shaders.shader_source("outline.vert"), fragment_shader=broken)
    assert re.search(rf"\b1:{number}\b", str(caught.value)), str(caught.value)
    assert ctx.error == "GL_NO_ERROR"


def test_includes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for depth in range(7):
        (tmp_path / f"f{depth}.glsl").write_text(f'#include "f{depth + 1}.glsl"\n')
    monkeypatch.setattr(shaders, "shader_folder", lambda: tmp_path)
    with pytest.raises(RecursionError, match="nest deeper than 4"):
        shaders._expand("f0.glsl", {}, 0)


def test_every_uniform_is_known_by_its_name(ctx: moderngl.Context) -> None:
    """Uniforms in the sources are exactly what the linked programs have; Python sets them by these names."""
    with MaskRenderer(ctx, native_size=(8, 8)) as renderer:
        for stage in shaders.STAGES:
            declared = set()
            for kind in ("vert", "frag"):
                declared |= set(re.findall(r"^uniform \w+ (\w+);", shaders.shader_source(f"{stage}.{kind}"), re.M))
            program = {"fill": renderer._fill, "outline": renderer._outline, "resolve": renderer._resolve}[stage]
            active = {name for name in program if isinstance(program[name], moderngl.Uniform)}
            assert declared == active, stage
