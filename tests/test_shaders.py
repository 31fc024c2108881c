"""
Shader sources: found, expanded, numbered; and every uniform that Python sets is there.
"""

from __future__ import annotations

import re
from pathlib import Path

import moderngl
import pytest
from support import PACKAGE, ROOT

from alphastream_gpu._gl import shaders

SHADERS = Path(str(shaders.shader_folder()))


@pytest.mark.parametrize("stage", shaders.STAGES)
def test_a_stage_has_one_name_everywhere(stage: str) -> None:
    assert (SHADERS / f"{stage}.vert.glsl").is_file()
    assert (SHADERS / f"{stage}.frag.glsl").is_file()
    assert (PACKAGE / "_raster" / f"{stage}.py").is_file()
    assert (ROOT / "tests" / f"test_{stage}.py").is_file()


def test_version_comes_first_and_includes_are_numbered() -> None:
    source = shaders.shader_source("fill.vert")
    lines = source.splitlines()
    assert lines[0] == "#version 330 core"
    assert lines[1] == "#line 2 0"
    assert "#include" not in source
    assert "#line 1 1" in lines
    assert shaders.source_names("fill.vert") == ("fill.vert.glsl", "shared/lattice.glsl", "shared/placement.glsl")


def test_a_drivers_message_names_file_and_line(ctx: moderngl.Context) -> None:
    """Break line k of an include; the message says source n, line k."""
    source = shaders.shader_source("outline.frag")
    included = (SHADERS / "shared" / "segment.glsl").read_text("utf-8").splitlines()
    number = next(k for k, line in enumerate(included, 1) if "int v = " in line)
    broken = source.replace("int v = ", "nonsense v = ")
    with pytest.raises(moderngl.Error) as caught:
        ctx.program(vertex_shader=shaders.shader_source("outline.vert"), fragment_shader=broken)
    source_number = shaders.source_names("outline.frag").index("shared/segment.glsl")
    assert re.search(rf"\b{source_number}:{number}\b", str(caught.value)), str(caught.value)
    assert ctx.error == "GL_NO_ERROR"


def test_includes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for depth in range(7):
        (tmp_path / f"f{depth}.glsl").write_text(f'#include "f{depth + 1}.glsl"\n')
    monkeypatch.setattr(shaders, "shader_folder", lambda: tmp_path)
    with pytest.raises(RecursionError, match="nest deeper than 4"):
        shaders._expand("f0.glsl", {}, 0)


def test_every_uniform_is_known_by_its_name(ctx: moderngl.Context) -> None:
    """Uniforms in the sources are exactly what the linked programs have, and Python sets these and no others."""
    python = (PACKAGE / "_gl" / "passes.py").read_text("utf-8")
    known = set()
    for stage in shaders.STAGES:
        for name, variant in shaders.VARIANTS.items():
            declared = set()
            for part in variant.parts.values():
                source = _preprocessed((SHADERS / f"{stage}.{part}.glsl").read_text("utf-8"), set(variant.defines))
                declared |= set(re.findall(r"^uniform \w+ (\w+)(?:\[\d+\])?;", source, re.M))
            parts = {key: shaders.shader_source(f"{stage}.{part}", name) for key, part in variant.parts.items()}
            program = ctx.program(**parts)
            active = {member for member in program if isinstance(program[member], moderngl.Uniform)}
            program.release()
            assert declared == active, (stage, name)
            known |= active
    assert set(re.findall(r'(?:program|_fill|_outline|_resolve)\["(\w+)"\]', python)) == known


def _preprocessed(source: str, defines: set[str]) -> str:
    """What remains of a source by its #ifdefs, includes taken in: enough of a preprocessor for these files."""
    keep, lines = [True], []
    for line in source.splitlines():
        if match := re.match(r"#ifdef (\w+)", line):
            keep.append(match[1] in defines)
        elif line.startswith("#else"):
            keep[-1] = not keep[-1]
        elif line.startswith("#endif"):
            keep.pop()
        elif all(keep):
            if match := re.match(r'#include "(.*)"', line):
                lines.append(_preprocessed((SHADERS / match[1]).read_text("utf-8"), defines))
            lines.append(line)
    return "\n".join(lines)
