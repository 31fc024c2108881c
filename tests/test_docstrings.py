"""
Docstrings of public names must describe every argument and every error, the shape and dtype of arrays, and the unit or
range of numbers. griffe reads the sources; this file has the rules.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import griffe
import pytest
from support import ROOT

import alphastream_gpu

ARRAY = re.compile(r"\b(NDArray|ArrayLike|Mask)\b")
DTYPE_AND_SHAPE = re.compile(r"\b(u?int(8|16|32|64)|float32) ?\([^)]+\)")
NUMBER = re.compile(r"\b(int|float|Fraction)\b")
UNIT_OR_RANGE = re.compile(
    r"\b(seconds?|milliseconds|pixels?|bytes?|frames?|calls|layers?|index|requests|draws?|objects|channels|masks|reads?"
    r"|fetches|bits?|retries|width|height|EGL device|how often)\b|\d\.\.|\bfrom 0\b",
    re.IGNORECASE,
)
FRAME_ERRORS = {"ClosedError", "DecodeError", "FrameTimeoutError", "NotReadyError", "TransportError"}
RAISED_ELSEWHERE = {
    "AlphaStream.frame": {*FRAME_ERRORS, "FrameNotFoundError"},
    "AlphaStream.frames": {*FRAME_ERRORS, "FrameNotFoundError"},
    "AlphaStream.get_triangle_strip_vertices": {*FRAME_ERRORS, "FrameNotFoundError"},
    "AlphaStream.load_source": {
        "ClosedError",
        "DecodeError",
        "FrameTimeoutError",
        "KeyMismatchError",
        "TransportError",
    },
    "open": {"DecodeError", "FrameTimeoutError", "KeyMismatchError", "TransportError"},
    "open_async": {"DecodeError", "FrameTimeoutError", "KeyMismatchError", "TransportError"},
}
"""Errors that come from tasks on the library's loop or from threads of its pools. The rules below cannot find them in
the sources."""
SAME_AS = re.compile(r"(?:Args|Args and errors|Errors) as of :(?:func|meth|class):`\.?([\w.]+)`\.")
"""A reference to another function that has the full docstring. The arguments of both must be the same."""

_loaded = griffe.load("alphastream_gpu", search_paths=[ROOT], docstring_parser="google")
assert isinstance(_loaded, griffe.Module)
PACKAGE = _loaded


@dataclass(frozen=True)
class Public:
    """A public function, class, method, property or field."""

    name: str
    thing: griffe.Object

    @property
    def text(self) -> str:
        return self.thing.docstring.value if self.thing.docstring else ""

    @property
    def call(self) -> griffe.Function | None:
        """The function that takes the arguments: the function itself, or the constructor of a class."""
        if isinstance(self.thing, griffe.Function):
            return self.thing
        if not isinstance(self.thing, griffe.Class) or "dataclass" in self.thing.labels:
            return None  # the arguments of a dataclass are its fields, which are tested one by one
        constructor = self.thing.members.get("__init__")
        return constructor if isinstance(constructor, griffe.Function) else None

    def section(self, kind: griffe.DocstringSectionKind) -> list[tuple[str, str]]:
        """The names and descriptions of the entries of a section."""
        if self.thing.docstring is None:
            return []
        found = [one for one in self.thing.docstring.parse("google", warnings=False) if one.kind is kind]
        return [
            (str(getattr(one, "name", "") or one.annotation), one.description) for part in found for one in part.value
        ]


def _target(found: griffe.Object | griffe.Alias) -> griffe.Object:
    """The object that an import or an inherited member refers to."""
    while isinstance(found, griffe.Alias):
        found = found.final_target
    return found


def _public() -> Iterator[Public]:
    for name in (*alphastream_gpu.__all__, *(f"bulk.{name}" for name in alphastream_gpu.bulk.__all__)):
        if name == "__version__":
            continue
        thing = _target(PACKAGE[name])
        yield Public(name, thing)
        if isinstance(thing, griffe.Class):
            for member_name, member in thing.all_members.items():
                if not member_name.startswith("_"):
                    yield Public(f"{name}.{member_name}", _target(member))


EVERYTHING = {one.name: one for one in _public()}


def each(check: Callable[[Public], None]) -> Callable[[str], None]:
    """A test of each name of the package, and of its members."""

    @pytest.mark.parametrize("owner", dict.fromkeys(name.partition(".")[0] for name in EVERYTHING))
    def test(owner: str) -> None:
        for name, one in EVERYTHING.items():
            if name.partition(".")[0] == owner:
                check(one)

    test.__name__, test.__doc__ = check.__name__, check.__doc__
    return test


def test_griffe_finds_every_public_name() -> None:
    """A name that griffe does not find would not be tested."""
    for name in alphastream_gpu.__all__:
        thing = getattr(alphastream_gpu, name)
        if isinstance(thing, type):
            for member in dir(thing):
                if not member.startswith("_") and not any(hasattr(base, member) for base in (OSError, int)):
                    assert f"{name}.{member}" in EVERYTHING


@each
def test_there_is_a_docstring(one: Public) -> None:
    if one.name.startswith("Config."):
        option = {option.name: option for option in fields(alphastream_gpu.Config)}[one.name.partition(".")[2]]
        assert (option.metadata.get("doc") or one.text).endswith(".")
        return
    if one.name.endswith(".code") and issubclass(getattr(alphastream_gpu, one.name[:-5]), Exception):
        return  # AlphaStreamError.code has the docstring for all
    assert _inherited(one).text.strip(), f"{one.name} has no docstring"


def _inherited(one: Public) -> Public:
    """The name itself, or, if it has no docstring, the name that it overrides."""
    owner, _, member = one.name.partition(".")
    if member and not one.text:
        for base in getattr(alphastream_gpu, owner).__mro__[1:]:
            if f"{base.__name__}.{member}" in EVERYTHING:
                return EVERYTHING[f"{base.__name__}.{member}"]
    return one


@each
def test_every_argument_has_an_entry(one: Public) -> None:
    if one.call is None or not one.text:
        return
    wanted = [parameter.name.lstrip("*") for parameter in one.call.parameters if parameter.name not in ("self", "cls")]
    entries = dict(one.section(griffe.DocstringSectionKind.parameters))
    if reference := SAME_AS.search(one.text):
        other = EVERYTHING.get(reference[1]) or EVERYTHING[f"{one.name.partition('.')[0]}.{reference[1]}"]
        assert other.call is not None
        described = [parameter.name for parameter in other.call.parameters if parameter.name not in ("self", "cls")]
        if "Args" in reference[0]:
            wanted = [name for name in wanted if name in entries or name not in described]
    assert list(entries) == wanted, one.name
    for name, description in entries.items():
        annotation = str(one.call.parameters[name].annotation)
        if ARRAY.search(annotation):
            assert DTYPE_AND_SHAPE.search(description), f"{one.name}, {name}: dtype and shape, such as int32 (n, 2)"
        elif NUMBER.search(annotation) and "Texture" not in annotation:  # a texture is an int, its name in GL
            assert UNIT_OR_RANGE.search(description), f"{one.name}, {name}: its unit or range"


@each
def test_results_are_described(one: Public) -> None:
    """Arrays with dtype and shape, numbers with their unit; also of properties and fields."""
    thing = one.thing
    if not one.text or isinstance(thing, griffe.Class) or one.name.endswith(".code"):
        return
    if isinstance(thing, griffe.Function):
        annotation = str(thing.returns)
        section = re.search(r"^(?:Returns|Yields):\n(.+?)(?:\n\n|\Z)", one.text, re.MULTILINE | re.DOTALL)
        text = section[1] if section else one.text  # griffe would take "uint8 (h, w):" for a type
    else:
        annotation, text = str(thing.annotation or ""), one.text
    if ARRAY.search(annotation):
        assert DTYPE_AND_SHAPE.search(text), f"{one.name}: dtype and shape, such as uint8 (height, width)"
    elif NUMBER.search(annotation) and not one.name.startswith("ErrorCode."):
        assert UNIT_OR_RANGE.search(text), f"{one.name}: its unit or range"


@each
def test_every_error_has_an_entry(one: Public) -> None:
    """Errors that the function raises itself, by functions of the package that it calls, or by tasks that it awaits."""
    call = one.call
    if call is None or SAME_AS.search(one.text):
        return
    described = {name for name, _ in _inherited(one).section(griffe.DocstringSectionKind.raises)}
    owner = call.parent.name if isinstance(call.parent, griffe.Class) else ""
    assert isinstance(call.filepath, Path)
    raised = _raised(call.filepath, f"{owner}.{call.name}" if owner else call.name) | RAISED_ELSEWHERE.get(
        one.name, set()
    )
    missing = raised - described - {"AssertionError", "TypeError"}  # docs/reference.md describes wrong types
    assert not missing, f"{one.name} raises {sorted(missing)}"


@each
def test_every_entry_of_an_error_is_an_exception(one: Public) -> None:
    for name, _ in one.section(griffe.DocstringSectionKind.raises):
        error = getattr(alphastream_gpu, name, None) or getattr(builtins, name, None)
        assert isinstance(error, type), f"{one.name}: {name!r} is not an exception"
        assert issubclass(error, Exception), f"{one.name}: {name!r} is not an exception"


@cache
def _functions(path: Path) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions of a module by name, and its methods by Class.name."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    found[f"{node.name}.{inner.name}"] = inner
    return found


@cache
def _imported(path: Path) -> dict[str, Path]:
    """For each name that is imported anywhere in a module, the module of the package that it comes from."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            module = base.with_suffix(".py") if base.with_suffix(".py").exists() else base / "__init__.py"
            found |= {alias.asname or alias.name: module for alias in node.names}
    return found


def _place(path: Path, name: str) -> tuple[Path, str] | None:
    """The module and the name of a function, by its name in another module. A class means its constructor."""
    while name not in _functions(path):
        if f"{name}.__init__" in _functions(path):
            return path, f"{name}.__init__"
        if name not in _imported(path) or _imported(path)[name] == path:
            return None
        path = _imported(path)[name]
    return path, name


def _raised(path: Path, name: str, seen: frozenset[tuple[Path, str]] = frozenset()) -> set[str]:
    """The names of the exceptions that a function raises, itself or by functions and constructors that it calls."""
    place = _place(path, name)
    if place is None or place in seen:
        return set()
    path, name = place
    owner = name.rpartition(".")[0]
    found: set[str] = set()
    for node in _outside_of_try(_functions(path)[name]):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            found |= _error(path, node.exc.func.id)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "mapped_errors":
                found.add("TransportError")  # for errors of the system
            found |= _raised(path, node.func.id, seen | {place})
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if _is_name(node.func.value, "self"):
                found |= _raised(path, f"{owner}.{node.func.attr}", seen | {place})
            elif isinstance(node.func.value, ast.Name):  # a method of a class
                found |= _raised_by_method(path, node.func.value.id, node.func.attr, seen | {place})
    return {one for one in found if not one.startswith("_")}


def _raised_by_method(path: Path, owner: str, name: str, seen: frozenset[tuple[Path, str]]) -> set[str]:
    while owner in _imported(path) and _imported(path)[owner] != path:
        path = _imported(path)[owner]
    return _raised(path, f"{owner}.{name}", seen)


def _error(path: Path, name: str) -> set[str]:
    """The public class of an error, or of the return type of the function that makes it; nothing for a variable."""
    place = _place(path, name)
    function = _functions(place[0]).get(place[1]) if place else None
    if function is not None and function.name != "__init__":
        name = function.returns.id if isinstance(function.returns, ast.Name) else ""
    tree = [alphastream_gpu.AlphaStreamError]
    for error in tree:
        tree += error.__subclasses__()
    for error in (one for one in tree if one.__name__ == name):
        return {next(base.__name__ for base in error.__mro__ if base.__name__ in alphastream_gpu.__all__)}
    return {name} if hasattr(builtins, name) else set()


def _outside_of_try(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes except the body of a `try` with handlers, because the handlers decide what is raised."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Try) and child.handlers:
            for part in (*child.handlers, *child.orelse, *child.finalbody):
                yield from _outside_of_try(part)
            continue
        yield child
        yield from _outside_of_try(child)


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
