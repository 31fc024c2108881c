"""
Shader sources: loaded from the package (or the checkout), includes resolved, lines numbered for the driver's messages.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

__all__ = ["STAGES", "shader_folder", "shader_source", "source_names"]

STAGES: Final = ("fill", "outline", "resolve")
"""Raster stages; each has a ``.vert.glsl``, a ``.frag.glsl``, a numpy twin of its name, and a test."""

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
def shader_source(name: str) -> str:
    """
    A stage's complete source, such as ``shader_source("fill.vert")``.

    Includes are resolved here rather than by ``ctx.includes``, which belongs to the host program. Each file gets a
    number (:func:`source_names`), and ``#line`` directives let a driver's message name the file and line that a
    person sees.
    """
    numbers: dict[str, int] = {}
    return "\n".join(_expand(f"{name}.glsl", numbers, 0)) + "\n"


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
