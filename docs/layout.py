"""
The layout of the package, drawn from its own imports: ``python docs/layout.py`` writes docs/figures/layout.svg. A test
compares it, and docs/tables.py makes the table of modules of what is read here.

A room is a folder of the package, or a module beside the folders. It stands one row above the highest room that it
imports from.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import count
from pathlib import Path
from typing import Final

__all__ = ["FIGURE", "PACKAGE", "drawn", "levels", "module_imports", "purpose", "room_imports", "room_of"]

HERE: Final = Path(__file__).resolve().parent
PACKAGE: Final = HERE.parent / "alphastream_gpu"
FIGURE: Final = HERE / "figures" / "layout.svg"

_WIDTH: Final = 900
_ROW: Final = 76
_BOX: Final = (104, 34)
"""Width and height of a room's box, in pixels."""


@cache
def module_imports() -> dict[str, frozenset[str]]:
    """For each module of the package, ``_stream.session`` and the like, the modules that it imports."""
    paths = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
    return {name: frozenset(_imported(name, path, paths)) for name, path in paths.items()}


def room_of(module: str) -> str:
    """The room that a module is in; ``__init__`` for the package itself."""
    return module.partition(".")[0] or "__init__"


def room_imports() -> dict[str, set[str]]:
    """For each room, the other rooms that it imports from."""
    rooms: dict[str, set[str]] = {room_of(module): set() for module in module_imports()}
    for module, imported in module_imports().items():
        rooms[room_of(module)] |= {room_of(other) for other in imported} - {room_of(module)}
    return rooms


def levels() -> dict[str, int]:
    """
    For each room, its row from below; a room that imports from no other is in row 0.

    Raises:
        ValueError: rooms import from each other in a circle.
    """
    rooms, found = room_imports(), dict[str, int]()
    while len(found) < len(rooms):
        ready = [room for room in rooms if room not in found and rooms[room] <= found.keys()]
        if not ready:
            raise ValueError(f"in a circle: {', '.join(sorted(rooms.keys() - found.keys()))}")
        found |= {room: 1 + max((found[other] for other in rooms[room]), default=-1) for room in ready}
    return found


def purpose(module: str) -> str:
    """The first sentence of a module's docstring, without the module's own name at its beginning."""
    path = PACKAGE / (module.replace(".", "/") + ".py")
    path = path if path.exists() else PACKAGE / module.replace(".", "/") / "__init__.py"
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    first = " ".join(text.partition("\n\n")[0].split())
    head, colon, rest = first.partition(": ")
    leaf = module.rpartition(".")[2].strip("_").replace("_", "").casefold()
    if colon and len(head.split()) <= 2 and leaf.rstrip("s") in head.casefold().replace("-", ""):
        first = rest
    first = re.sub(r":\w+:`~?(?:\w+\.)*(\w+)`", r"`\1`", first)
    first = first.partition(". ")[0].rstrip(".").replace("``", "`")
    return first[:1].upper() + first[1:]


def drawn() -> str:
    """The picture, as SVG: a box for each room, and a line to each room below that no other line leads to."""
    rows: dict[int, list[str]] = {}
    for room, level in sorted(levels().items()):
        rows.setdefault(level, []).append(room)
    height = _ROW * len(rows) + 20
    places = {
        room: (_WIDTH * (number + 1) / (len(rows[level]) + 1), height - 10 - _ROW * (level + 0.5))
        for level in rows
        for number, room in enumerate(rows[level])
    }
    imports = room_imports()
    lines = [_line(places[room], places[other]) for room in sorted(places) for other in sorted(_direct(room, imports))]
    boxes = [_box(room, *place) for room, place in sorted(places.items())]
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}">',
            "<title>Which rooms of the package import from which; upper ones from lower ones</title>",
            f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
            '<g stroke="#9a9a9a" fill="none">',
            *lines,
            "</g>",
            *boxes,
            "</svg>\n",
        )
    )


def _line(upper: tuple[float, float], lower: tuple[float, float]) -> str:
    """From box to box; the further, the more it bends outwards, around what is in between."""
    (x, y), (other_x, other_y) = (upper[0], upper[1] + _BOX[1] / 2), (lower[0], lower[1] - _BOX[1] / 2)
    rows = round((lower[1] - upper[1]) / _ROW) - 1
    bend = (x + other_x) / 2 + 75 * rows * (1 if x + other_x >= _WIDTH else -1)
    return f'<path d="M{x:.0f} {y:.0f} Q{bend:.0f} {(y + other_y) / 2:.0f} {other_x:.0f} {other_y:.0f}"/>'


def _box(room: str, x: float, y: float) -> str:
    width, height = _BOX
    text = room + "/" * (PACKAGE / room).is_dir()
    return (
        f'<rect x="{x - width / 2:.0f}" y="{y - height / 2:.0f}" width="{width}" height="{height}" rx="5"'
        f' fill="{"#d5e3ec" if text.endswith("/") else "#f2f2f2"}" stroke="#2a6f97"/>'
        f'<text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle" font-family="sans-serif" font-size="14">{text}</text>'
    )


def _direct(room: str, imports: dict[str, set[str]]) -> set[str]:
    """The rooms that a room imports from, without those that these lead to anyway."""
    return imports[room] - {far for near in imports[room] for far in _reached(near, imports)}


def _reached(room: str, imports: dict[str, set[str]]) -> set[str]:
    found = set(imports[room])
    for _ in count():
        more = {far for near in found for far in imports[near]} - found
        if not more:
            break
        found |= more
    return found


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(name: str, path: Path, paths: dict[str, Path]) -> set[str]:
    """What a module imports of the package, by relative imports, wherever they stand."""
    home = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            parts = [part for part in home if part][: len(home) - node.level + 1]
            parts += node.module.split(".") if node.module else []
            for alias in node.names:
                module = ".".join((*parts, alias.name))
                if module != "__version__":  # of the package, which every part may show
                    found.add(module if module in paths else ".".join(parts))
    return found - {name}


if __name__ == "__main__":
    FIGURE.write_text(drawn(), "utf-8")
