"""
The list of known mutants, ``tests/mutants.toml``, names functions and lines that exist. `make mutants`, which compares
the list with the survivors, takes an hour.
"""

from __future__ import annotations

import ast

import mutants
import pytest
from support import PACKAGE


def functions() -> dict[str, str]:
    """The source of each function and method of the package, by the name that the list has for it."""
    found: dict[str, str] = {}

    def collect(prefix: str, body: list[ast.stmt], lines: list[str]) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                collect(f"{prefix}.{node.name}", node.body, lines)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found[f"{prefix}.{node.name}"] = "\n".join(lines[node.lineno - 1 : node.end_lineno])

    for path in PACKAGE.rglob("*.py"):
        text = path.read_text("utf-8")
        collect(".".join(path.relative_to(PACKAGE).with_suffix("").parts), ast.parse(text).body, text.splitlines())
    return found


FUNCTIONS = functions()


@pytest.mark.parametrize("name", sorted({mutant.function for mutant in mutants.listed()}))
def test_every_listed_mutant_changes_a_line_that_exists(name: str) -> None:
    assert name in FUNCTIONS, f"{mutants.LIST.name}: there is no such function"
    source = " ".join(FUNCTIONS[name].split())
    for mutant in mutants.listed():
        if mutant.function == name:
            assert " ".join(mutant.before.split()) in source, f"{mutants.LIST.name}: there is no such line"
