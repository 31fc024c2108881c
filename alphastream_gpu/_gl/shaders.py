"""
Shader sources: loaded from the package (or the checkout), includes resolved, lines numbered for the driver's messages.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, NamedTuple

__all__ = [
    "LAYER_BY_VERTEX_EXTENSION",
    "STAGES",
    "VARIANTS",
    "Variant",
    "shader_folder",
    "shader_source",
    "source_names",
]

STAGES: Final = ("fill", "outline", "resolve")
"""Raster stages; each has a ``.vert.glsl``, a ``.frag.glsl``, a numpy twin of its name, and a test."""


class Variant(NamedTuple):
    """A way to build a stage."""

    defines: tuple[str, ...]
    parts: dict[str, str]
    """The files of a stage, by the argument of ``ctx.program`` that each is for; which of them there are is the
    stage's affair."""


VARIANTS: Final = {
    "single": Variant((), {"vertex_shader": "vert", "fragment_shader": "frag"}),
    "layered": Variant(("LAYERED",), {"vertex_shader": "vert", "geometry_shader": "geom", "fragment_shader": "frag"}),
    "layered_by_vertex": Variant(("LAYERED", "LAYER_BY_VERTEX"), {"vertex_shader": "vert", "fragment_shader": "frag"}),
}
"""``single`` draws one frame into a 2D texture, ``layered`` many into the layers of an array texture; so does
``layered_by_vertex``, without a geometry stage, where :data:`LAYER_BY_VERTEX_EXTENSION` is there."""

LAYER_BY_VERTEX_EXTENSION: Final = "GL_ARB_shader_viewport_layer_array"

_INCLUDE: Final = re.compile(r'^\s*#include\s+"([^"]+)"\s*$')
_MAX_INCLUDE_DEPTH: Final = 4


def shader_folder() -> Traversable:
    """
    Where the ``.glsl`` files are: inside the installed package, or at the top of a checkout.

    Raises:
        FileNotFoundError: neither; the installation is broken.
    """
    packaged = files("alphastream_gpu") / "shaders"
    if packaged.is_dir():
        return packaged
    checkout = Path(__file__).resolve().parents[2] / "shaders"
    if checkout.is_dir():
        return checkout
    raise FileNotFoundError(f"shaders: expected {packaged} or {checkout}, found neither; reinstall alphastream-gpu")


@cache
def shader_source(name: str, variant: str = "single") -> str:
    """
    A stage's complete source, such as ``shader_source("fill.vert")``.

    Includes are resolved here rather than by ``ctx.includes``, which belongs to the host program. Each file gets a
    number (:func:`source_names`), and ``#line`` directives let a driver's message name the file and line that a
    person sees.
    """
    numbers: dict[str, int] = {}
    lines = _expand(f"{name}.glsl", numbers, 0)
    defines = VARIANTS[variant].defines
    lines[1:1] = [f"#define {define}" for define in defines]  # after #version, before the first #line
    if "LAYER_BY_VERTEX" in defines and name.endswith(".vert"):
        lines.insert(1, f"#extension {LAYER_BY_VERTEX_EXTENSION} : require")
    return "\n".join(lines) + "\n"


@cache
def source_names(name: str) -> tuple[str, ...]:
    """The files that make up a stage's source, by the number that the driver's messages give."""
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
            if line.startswith("#version"):  # must stand first, so the first #line comes after it
                lines.append(f"#line {line_number + 1} {number}")
            continue
        included = include[1]
        if included not in numbers:  # each file once
            lines.append(f"#line 1 {len(numbers)}")
            lines.extend(_expand(included, numbers, depth + 1))
        lines.append(f"#line {line_number + 1} {number}")
    return lines
