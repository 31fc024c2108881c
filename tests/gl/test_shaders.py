"""
Shader sources: they are found, expanded and numbered, every file is used, and every uniform and define that Python sets
exists.
"""

from __future__ import annotations

import re
from pathlib import Path

import moderngl
import pytest
from support import PACKAGE, ROOT

from alphastream_gpu._gl import packing, shaders

SHADERS = Path(str(shaders.shader_folder()))
UNIFORM = r"^uniform (\w+) (\w+);"


@pytest.mark.parametrize("stage", shaders.DRAWN)
def test_a_stage_has_the_same_name_everywhere(stage: str) -> None:
    assert (SHADERS / f"{stage}.vert.glsl").is_file()
    assert (SHADERS / f"{stage}.frag.glsl").is_file()
    assert (PACKAGE / "_raster" / f"{stage}.py").is_file()
    assert (ROOT / "tests" / "raster" / f"test_{stage}.py").is_file()


def test_every_file_belongs_to_a_program() -> None:
    parts = [part for program in shaders.PROGRAMS.values() for part in program.parts.values()]
    used = {name for part in parts for name in shaders.source_names(part)}
    assert used == {path.relative_to(SHADERS).as_posix() for path in SHADERS.rglob("*") if path.is_file()}


def test_version_comes_first_and_includes_are_numbered() -> None:
    source = shaders.shader_source("fill.vert")
    lines = source.splitlines()
    assert lines[0] == "#version 330 core"
    first_line = lines.index("#line 2 0")
    assert all(line.startswith("#define ") for line in lines[1:first_line])
    assert "#include" not in source
    assert "#line 1 1" in lines
    assert shaders.source_names("fill.vert") == ("fill.vert.glsl", "shared/package.glsl", "shared/lattice.glsl")


def test_the_source_for_extensions() -> None:
    """The source has the oldest version and the extensions instead of its own version. The rest is the same."""
    plain = shaders.shader_source("cross.comp", ("COMPUTE",)).splitlines()
    other = shaders.shader_source("cross.comp", ("COMPUTE",), has_version=False).splitlines()
    n = len(shaders.COMPUTE_EXTENSIONS)
    assert plain[0] == "#version 430 core"
    assert other[0] == "#version 330 core"
    assert other[1 : n + 1] == [f"#extension {name} : require" for name in shaders.COMPUTE_EXTENSIONS]
    assert other[n + 1 :] == plain[1:]


def test_the_package_is_the_same_in_python_and_in_the_shaders() -> None:
    """Shaders use only positions of the header. They use all of them, except one word that makes their number even."""
    defines = dict(define.split() for define in packing.defines())
    assert {name: int(place) for name, place in defines.items()} == {
        **{f"PACKAGE_{name.upper()}": place for place, name in enumerate(packing.HEADER)},
        "PACKAGE_CHANNELS_AT": len(packing.HEADER),
        "PACKAGE_FRAME_SHIFT": packing.FRAME_SHIFT,
    }
    used: set[str] = set()
    for path in SHADERS.rglob("*.glsl"):
        used |= set(re.findall(r"\bPACKAGE_[A-Z_]+\b(?!\s+defines)", re.sub("//.*", "", path.read_text("utf-8"))))
    assert used == defines.keys() - {"PACKAGE_RESERVED"}
    assert len(packing.HEADER) % 2 == 0


def test_a_drivers_message_names_file_and_line(ctx: moderngl.Context) -> None:
    """With line k of an include broken, the message has source n and line k: "n:k(column)", or "n(k) :"."""
    source = shaders.shader_source("outline.frag")
    included = (SHADERS / "shared" / "segment.glsl").read_text("utf-8").splitlines()
    number = next(k for k, line in enumerate(included, 1) if "int v = " in line)
    broken = source.replace("int v = ", "nonsense v = ")
    with pytest.raises(moderngl.Error) as caught:
        ctx.program(vertex_shader=shaders.shader_source("outline.vert"), fragment_shader=broken)
    source_number = shaders.source_names("outline.frag").index("shared/segment.glsl")
    assert re.search(rf"\b{source_number}(:{number}\b|\({number}\))", str(caught.value)), str(caught.value)
    assert ctx.error == "GL_NO_ERROR"


def test_the_depth_of_includes_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for depth in range(7):
        (tmp_path / f"f{depth}.glsl").write_text(f'#include "f{depth + 1}.glsl"\n')
    monkeypatch.setattr(shaders, "shader_folder", lambda: tmp_path)
    with pytest.raises(RecursionError, match="nest deeper than 4"):
        shaders._expand("f0.glsl", {}, 0)


def test_every_uniform_is_known_by_its_name(ctx: moderngl.Context) -> None:
    """
    The linked programs have exactly the uniforms of the sources, and Python sets these and no others. The buffer
    texture and the scratch texture are in unit 0, the default of every sampler.
    """
    python = (PACKAGE / "_gl" / "triangles.py").read_text("utf-8")
    for stage in shaders.DRAWN:
        program = shaders.PROGRAMS[stage]
        sources = {argument: shaders.shader_source(part, program.defines) for argument, part in program.parts.items()}
        declared = dict(
            reversed(match) for source in sources.values() for match in re.findall(UNIFORM, _seen(source, set()), re.M)
        )
        built = ctx.program(**sources)
        active = {member for member in built if isinstance(built[member], moderngl.Uniform)}
        built.release()
        assert declared.keys() == active, stage
        samplers = {name for name, kind in declared.items() if "sampler" in kind}
        assert samplers == ({"planes"} if stage == "resolve" else {"words"})
        assigned = set()
        for stages, name in re.findall(r'_set_uniform\(("\w+"|stage), "(\w+)"', python):
            if stages == f'"{stage}"' or (stages == "stage" and stage != "resolve"):
                assigned.add(name)
        assert assigned == active - samplers, stage


@pytest.mark.parametrize("name", [name for name in shaders.PROGRAMS if name not in shaders.DRAWN])
def test_compute_stages_have_no_uniforms_but_the_target(name: str) -> None:
    """The package has all their inputs, so that no call sets uniforms."""
    program = shaders.PROGRAMS[name]
    [part] = program.parts.values()
    source = _seen(shaders.shader_source(part, program.defines), set(program.defines))
    targets = [("writeonly restrict uniform", "image2D" + "Array" * name.endswith("layered"))] * ("resolve" in name)
    assert re.findall(r"^(?:layout\(.*?\) )?((?:\w+ )*uniform) (\w+) \w+;", source, re.M) == targets
    assert source.count("uniform") == len(targets)


def _seen(source: str, defines: set[str]) -> str:
    """Apply the #ifdefs of an expanded source, and remove its comments. This is enough for the package's files."""
    keep, lines = [True], []
    for line in source.splitlines():
        if match := re.match(r"#ifdef (\w+)", line):
            keep.append(match[1] in defines)
        elif line.startswith("#else"):
            keep[-1] = not keep[-1]
        elif line.startswith("#endif"):
            keep.pop()
        elif all(keep):
            lines.append(line.partition("//")[0])
    assert keep == [True]
    return "\n".join(lines)
