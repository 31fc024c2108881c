"""
The public names and their paths, and the direction of imports. test_docstrings.py tests the docstrings.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import layout
from support import PACKAGE, ROOT

import alphastream_gpu


def test_all_is_exactly_the_public_names() -> None:
    assert all(hasattr(alphastream_gpu, name) for name in alphastream_gpu.__all__)  # loads the names of GL
    public = {name for name in vars(alphastream_gpu) if not name.startswith("_")}
    modules = {name for name in public if inspect.ismodule(getattr(alphastream_gpu, name))}
    assert sorted((public - modules) | {"__version__"}) == alphastream_gpu.__all__


def test_everything_shows_its_public_path() -> None:
    for name in alphastream_gpu.__all__:
        thing = getattr(alphastream_gpu, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__module__ == "alphastream_gpu", name


def test_the_configuration_page_is_made_from_the_code() -> None:
    script = "import configuration, sys; sys.stdout.write(configuration.table())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT / "docs")
    assert (ROOT / "docs" / "configuration.md").read_text("utf-8") == done.stdout


def test_modules_declare_what_they_export() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert "\n__all__ = [" in path.read_text("utf-8"), path


def test_imports_point_one_way() -> None:
    """No two folders of the package import from each other, directly or indirectly."""
    assert layout.levels()["__main__"] == max(layout.levels().values())
    assert layout.FIGURE.read_text("utf-8") == layout.drawn(), "run python docs/layout.py"


ALLOWED = {
    "_exceptions": "",
    "_wording": "",
    "_runtime": "_exceptions",
    "_format": "_exceptions _runtime _wording",
    "_geometry": "_exceptions _format _wording",
    "_raster": "_exceptions _geometry _runtime",
    "_gl": "_exceptions _geometry _raster",
    "_sources": "_config _exceptions _format _runtime _wording",
}
"""The rooms that these rooms may import from. A new arrow is a decision: the rest of the layout follows from these."""


def test_lower_rooms_import_only_from_allowed_rooms() -> None:
    imports = layout.room_imports()
    for room, allowed in ALLOWED.items():
        assert imports[room] <= set(allowed.split()), room


PURE = "_format/* _geometry/[!a]* _raster/* _stream/plan _stream/playhead _sources/pages _sources/ranges"
PURE += " _sources/cache/record _sources/http/address _sources/http/reply _sources/http/verdict"
PURE += " _capi/options _context/fixes _gl/mesh _wording"
"""Modules without I/O. Of `_geometry`, aligned.py is missing, because it takes memory from the system."""


def test_pure_modules_do_no_io() -> None:
    for pattern in PURE.split():
        paths = list(PACKAGE.glob(f"{pattern}.py"))
        assert paths, pattern
        for path in paths:
            source = path.read_text("utf-8")
            assert not re.search(r"\bopen\(|\bawait\b|\basync\b|import (socket|mmap|httpx|asyncio)", source), path


def test_importing_starts_nothing_and_loads_no_gl_crypto_or_http() -> None:
    """numpy is the only package that is imported, and http.client is not imported."""
    script = """
import sys
before = set(sys.modules)
import alphastream_gpu, threading
new = {name.partition(".")[0] for name in set(sys.modules) - before} - {"alphastream_gpu"}
print(sorted(new - sys.stdlib_module_names), "http.client" in sys.modules, threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['numpy'] False 1"
