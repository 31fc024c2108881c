"""
Declarations: generates the header, cffi's cdef and the C shim from ``functions.toml``. Pure.
"""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from importlib.resources import files

from .._exceptions import ErrorCode
from . import states

__all__ = [
    "PREFIX",
    "Enumeration",
    "Function",
    "cdef",
    "enumerations",
    "error_codes",
    "exports",
    "functions",
    "header",
    "shim_functions",
    "structs",
]

PREFIX = "alphastream_on_"
"""Prefix of the names of the Python functions that the shim calls."""


@dataclass(frozen=True, slots=True)
class Function:
    """One exported function."""

    name: str
    result: str
    arguments: tuple[str, ...]
    doc: str
    failure: str = ""
    """A C expression; empty for void."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """The value that is first written through each pointer, if the pointer is not null."""
    constant: str = ""
    """``name`` or ``version`` if the function returns that without handle and interpreter; else empty."""

    @property
    def parameters(self) -> str:
        """The parameters as declared."""
        return ", ".join(self.arguments) or "void"

    @property
    def argument_names(self) -> str:
        """The arguments as passed on."""
        return ", ".join(argument.split()[-1].lstrip("*") for argument in self.arguments)


@dataclass(frozen=True, slots=True)
class Enumeration:
    """Numbers that functions return for states."""

    prefix: str
    """Of the C names; the rest is the name of the state."""
    doc: str
    states: type[IntEnum]
    meanings: Mapping[str, str]
    """By the name of the state."""


def _data() -> dict[str, list[dict[str, object]]]:
    return tomllib.loads((files(__package__) / "functions.toml").read_text("utf-8"))


def functions() -> tuple[Function, ...]:
    """Return the functions in the file's order."""
    return tuple(
        Function(**{**entry, "arguments": tuple(entry["arguments"]), "doc": str(entry["doc"]).strip()})  # type: ignore[arg-type]
        for entry in _data()["function"]
    )


def error_codes() -> dict[str, ErrorCode]:
    """Return the error codes by their C names."""
    return {str(entry["name"]): ErrorCode[str(entry["error"])] for entry in _data()["code"]}


def enumerations() -> tuple[Enumeration, ...]:
    """Return the enumerations of states in the file's order."""
    return tuple(
        Enumeration(str(entry["prefix"]), str(entry["doc"]), getattr(states, str(entry["states"])), entry["meanings"])  # type: ignore[arg-type]
        for entry in _data()["enum"]
    )


def structs() -> list[tuple[str, str]]:
    """Return the description and the declaration of each structure."""
    return [
        (
            str(entry["doc"]).strip(),
            f"typedef struct {entry['name']} {{\n"
            + "".join(f"    {one};\n" for one in entry["fields"])  # type: ignore[attr-defined]
            + f"}} {entry['name']};",
        )
        for entry in _data()["struct"]
    ]


def header() -> str:
    """Return the text of ``alphastream.h``."""
    declarations = "\n\n".join(
        f"{_comment(function.doc)}\nALPHASTREAM_API {function.result} {function.name}({function.parameters});"
        for function in functions()
    )
    codes = ",\n".join(f"    {name} = {code.value}" for name, code in error_codes().items())
    enums = "\n\n".join(map(_numbers, enumerations()))
    types = "\n\n".join(f"{_comment(doc)}\n{declaration}" for doc, declaration in structs())
    return f"""\
/* alphastream.h: exact alpha masks from ASVP and ASVR streams. Generated from functions.toml; do not edit.
 *
 * All strings are UTF-8 and null-terminated. Any thread may use a handle, several threads at the same time. */

#ifndef ALPHASTREAM_H
#define ALPHASTREAM_H

#include <stdbool.h>
#include <stddef.h>

#ifndef ALPHASTREAM_API
#define ALPHASTREAM_API extern
#endif

#ifdef __cplusplus
extern "C" {{
#endif

enum {{
{codes}
}};

{enums}

{types}

{declarations}

#ifdef __cplusplus
}}
#endif

#endif
"""


def cdef() -> str:
    """Return the declarations for cffi: the Python functions that the shim calls, with their own names."""
    types = [declaration for _, declaration in structs()]
    lines = [f"{one.result} {PREFIX}{one.name}({one.parameters});" for one in functions() if not one.constant]
    own = [f"void {PREFIX}start(bool owns_interpreter);", f"void {PREFIX}exit(void);"]
    return "\n".join([*types, *own, *lines]) + "\n"


def shim_functions(constants: dict[str, str]) -> str:
    """
    Return the exported functions in C. Each checks what needs no interpreter, then calls the Python function.

    Args:
        constants: the values of ``name`` and ``version``.
    """
    parts = []
    for one in functions():
        head = f"ALPHASTREAM_API {one.result} {one.name}({one.parameters})"
        if one.constant:
            text = constants[one.constant].replace("\\", "\\\\").replace('"', '\\"')
            unused = "".join(f"    (void){name};\n" for name in one.argument_names.split(", ") if name)
            parts.append(f'{head}\n{{\n{unused}    return "{text}";\n}}\n')
            continue
        ready = "alphastream_is_ready(handle)" if one.arguments else "alphastream_start()"
        call = f"{PREFIX}{one.name}({one.argument_names})"
        cleared = "".join(f"    if ({name})\n        *{name} = {value};\n" for name, value in one.outputs.items())
        fail = f"return {one.failure};" if one.failure else "return;"
        kept = f"{one.result} result = {call};" if one.failure else f"{call};"
        answer = "    return result;\n" if one.failure else ""
        parts.append(
            f"{head}\n{{\n{cleared}    if (!{ready})\n        {fail}\n"
            "    struct alphastream_thread_settings before;\n    alphastream_enter(&before);\n"
            f"    {kept}\n    alphastream_leave(&before);\n{answer}}}\n"
        )
    return "\n".join(parts)


def exports() -> str:
    """Return the linker's version script, which exports the functions and nothing else."""
    names = " ".join(f"{one.name};" for one in functions())
    return f"{{ global: {names} local: *; }};\n"


def _numbers(one: Enumeration) -> str:
    numbers = ",\n".join(
        f"    /* {one.meanings[state.name]} */\n    {one.prefix}{state.name} = {int(state)}" for state in one.states
    )
    return f"{_comment(one.doc)}\nenum {{\n{numbers}\n}};"


def _comment(doc: str) -> str:
    paragraphs = [
        "\n".join(textwrap.wrap(" ".join(paragraph.split()), 100, initial_indent=" * ", subsequent_indent=" * "))
        for paragraph in doc.split("\n\n")
    ]
    text = "\n *\n".join(paragraphs)
    return "/*" + text[2:] + " */"
