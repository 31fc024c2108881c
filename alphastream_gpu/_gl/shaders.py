"""
Shaders: loads GLSL sources from the package or the checkout, expands includes, and numbers lines for driver messages.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, NamedTuple

from .packing import defines as package_defines

__all__ = ["COMPUTE_EXTENSIONS", "DRAWN", "PROGRAMS", "ShaderProgram", "shader_folder", "shader_source", "source_names"]


class ShaderProgram(NamedTuple):
    """A program's files and defines."""

    parts: dict[str, str]
    """The file for each argument of ``ctx.program``."""
    defines: tuple[str, ...] = ()


DRAWN: Final = ("fill", "outline", "resolve")
"""The raster stages of the triangle method. Each has a numpy twin of the same name, and a test."""
PROGRAMS: Final = {
    **{stage: ShaderProgram({"vertex_shader": f"{stage}.vert", "fragment_shader": f"{stage}.frag"}) for stage in DRAWN},
    "cross_compute": ShaderProgram({"compute_shader": "cross.comp"}, ("COMPUTE",)),
    "fill_compute": ShaderProgram({"compute_shader": "fill.comp"}, ("COMPUTE",)),
    "resolve_compute": ShaderProgram({"compute_shader": "resolve.comp"}, ("COMPUTE",)),
    "resolve_compute_layered": ShaderProgram({"compute_shader": "resolve.comp"}, ("COMPUTE", "LAYERED")),
}
"""All programs."""
COMPUTE_EXTENSIONS: Final = (
    "GL_ARB_compute_shader",
    "GL_ARB_shader_storage_buffer_object",
    "GL_ARB_shader_image_load_store",
    "GL_ARB_shading_language_420pack",
    "GL_ARB_gpu_shader5",
)
"""Extensions that the compute stages need if OpenGL is older than 4.3."""

_INCLUDE: Final = re.compile(r'^\s*#include\s+"([^"]+)"\s*$')
_MAX_INCLUDE_DEPTH: Final = 4


def shader_folder() -> Traversable:
    """
    Return the folder with the ``.glsl`` files: inside the installed package, or at the top of a checkout.

    Raises:
        FileNotFoundError: neither folder exists; the installation is broken.
    """
    packaged = files("alphastream_gpu") / "shaders"
    if packaged.is_dir():
        return packaged
    checkout = Path(__file__).resolve().parents[2] / "shaders"
    if checkout.is_dir():
        return checkout
    raise FileNotFoundError(f"shaders: expected {packaged} or {checkout}, found neither; reinstall alphastream-gpu")


@cache
def shader_source(name: str, defines: tuple[str, ...] = (), *, has_version: bool = True) -> str:
    """
    Return a stage's complete source, such as ``shader_source("fill.vert")``.

    Includes are expanded here rather than by ``ctx.includes``, which belongs to the host program. Each file gets a
    number (:func:`source_names`). ``#line`` directives make a driver's message name the number and the line of the
    original file.

    Args:
        name: the file name, without ``.glsl``.
        defines: names to define, with or without values.
        has_version: whether the context has the version that the file names. If not, the source is for OpenGL 3.3 with
            :data:`COMPUTE_EXTENSIONS`.
    """
    numbers: dict[str, int] = {}
    version, *lines = _expand(f"{name}.glsl", numbers, 0)
    head = [version]
    if not has_version:
        head = ["#version 330 core", *(f"#extension {extension} : require" for extension in COMPUTE_EXTENSIONS)]
    head += [f"#define {define}" for define in (*defines, *package_defines())]  # before the first #line
    return "\n".join([*head, *lines]) + "\n"


@cache
def source_names(name: str) -> tuple[str, ...]:
    """Return the files of a stage's source. A file's index is its number in driver messages."""
    numbers: dict[str, int] = {}
    _expand(f"{name}.glsl", numbers, 0)
    return tuple(numbers)


def _expand(file_name: str, numbers: dict[str, int], depth: int) -> list[str]:
    if depth > _MAX_INCLUDE_DEPTH:
        raise RecursionError(f"{file_name}: includes nest deeper than {_MAX_INCLUDE_DEPTH}")
    number = numbers.setdefault(file_name, len(numbers))
    lines: list[str] = []
    text = shader_folder().joinpath(file_name).read_text("utf-8")
    for line_number, line in enumerate(text.splitlines(), 1):
        include = _INCLUDE.match(line)
        if include is None:
            lines.append(line)
            if line.startswith("#version"):  # must be first, so the first #line comes after it
                lines.append(f"#line {line_number + 1} {number}")
            continue
        included = include[1]
        if included not in numbers:  # each file once
            lines.append(f"#line 1 {len(numbers)}")
            lines.extend(_expand(included, numbers, depth + 1))
        lines.append(f"#line {line_number + 1} {number}")
    return lines
