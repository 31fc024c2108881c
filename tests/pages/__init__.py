"""
The documentation as the tests see it: pages, and the code blocks on them. Beside this file is what blocks stand in.

A block may have a marker, an HTML comment right above it, which neither GitHub nor the site shows::

    <!-- needs: gl, server -->     what a python or sh block finds: SETTINGS of test_documentation.py
    <!-- on a screen: TITLE -->    a program with a window of that title, run on an X server
    <!-- only options -->          commands that other tests run; here their scripts and options are checked
    <!-- within: player.c -->      a part of a file; this folder has the rest of it
    <!-- output -->                what the block before printed, with ... for what differs between machines
    <!-- part of the output -->    some of its lines, in order
    <!-- workflow -->              what a service runs; its commands are run as those of an sh block
    <!-- diagram -->               nothing to run
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType

from markdown_it import MarkdownIt
from support import ROOT

__all__ = ["PAGES", "Block", "anchors", "blocks", "drawing", "links"]

PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
        ROOT / "CHANGELOG.md",
        *sorted((ROOT / "docs").glob("*.md")),
        ROOT / "examples" / "README.md",
    )
}
"""By their names in the repository."""

_markdown = MarkdownIt("commonmark").enable("table")
_MARKER = re.compile(r"<!-- (?P<kind>[a-z ]+?)(?:: (?P<value>[^>]+))? -->")


@dataclass(frozen=True)
class Block:
    """A fenced code block."""

    page: str
    line: int
    """Of its first line of code, from 1."""
    language: str
    code: str
    marker: str = ""
    value: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def drawing(name: str) -> ModuleType:
    """A module of docs/figures: draw, which draws the figures, or mattes, which makes the files that guides encode."""
    folder = str(ROOT / "docs" / "figures")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


def blocks(page: str) -> Iterator[Block]:
    """The code blocks of a page, in order; Sphinx's directives are none."""
    tokens = _markdown.parse(PAGES[page].read_text())
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type != "fence" or token.info.startswith("{"):
            continue
        assert token.map is not None
        marker = _MARKER.fullmatch(before.content.strip()) if before and before.type == "html_block" else None
        kind, value = (marker["kind"], marker["value"] or "") if marker else ("", "")
        yield Block(page, token.map[0] + 2, token.info.strip(), token.content, kind, value)


def links(page: str) -> Iterator[tuple[int, str]]:
    """Lines and targets of a page's links and pictures."""
    for token in _markdown.parse(PAGES[page].read_text()):
        for child in token.children or ():
            target = child.attrs.get("href") or child.attrs.get("src")
            if target:
                yield (token.map or [0])[0] + 1, str(target)


def anchors(path: Path) -> set[str]:
    """The names that GitHub, and the site, give to a page's headings."""
    found: list[str] = []
    tokens = _markdown.parse(path.read_text())
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            text = "".join(child.content for child in inline.children or () if child.type in ("text", "code_inline"))
            name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            taken = sum(one == name or re.fullmatch(rf"{re.escape(name)}-\d+", one) is not None for one in found)
            found.append(f"{name}-{taken}" if taken else name)
    return set(found)
