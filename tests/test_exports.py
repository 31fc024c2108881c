"""
The public surface: names and their paths (test_docstrings.py has what they say); and which way imports point.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

from support import PACKAGE, ROOT

import alphastream_gpu


def test_all_is_exactly_the_public_names() -> None:
    assert all(hasattr(alphastream_gpu, name) for name in alphastream_gpu.__all__)  # those of GL are loaded by that
    public = {name for name in vars(alphastream_gpu) if not name.startswith("_")}
    modules = {name for name in public if inspect.ismodule(getattr(alphastream_gpu, name))}
    assert sorted((public - modules) | {"__version__"}) == alphastream_gpu.__all__


def test_everything_shows_its_public_path() -> None:
    for name in alphastream_gpu.__all__:
        thing = getattr(alphastream_gpu, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__module__ == "alphastream_gpu", name


def test_the_configuration_page_is_what_the_code_says() -> None:
    script = "import configuration, sys; sys.stdout.write(configuration.table())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT / "docs")
    assert (ROOT / "docs" / "configuration.md").read_text("utf-8") == done.stdout


def test_modules_declare_what_they_export() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert "\n__all__ = [" in path.read_text("utf-8"), path


LAYERS = [
    ["_aligned", "_exceptions", "_extras", "_playhead", "_segments", "_timebase", "_whole_file"],
    ["_calls"],
    ["_clock", "_crossings", "_deflate", "_planes", "_polystream", "_ranges", "_stats", "_workers"],
    ["_block", "_cipher", "_config", "_container", "_exit", "_loop", "_strips"],
    ["_geometry"],
    ["_cache", "_raster", "_sources"],
    ["_ahead", "_gl", "_pipes", "_reader"],
    ["_facts", "_metadata", "_writer"],
    ["_session"],
    ["_convert", "_doctor", "_stream"],
    ["_open"],
    ["_builder", "_capi"],
    ["_cli"],
    ["__init__", "__main__"],
]


def test_imports_point_one_way() -> None:
    rank = {name: number for number, names in enumerate(LAYERS) for name in names}
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        home = relative.parts[0].removesuffix(".py")
        depth = len(relative.parts)
        for dots, module, names in re.findall(r"^\s*from (\.+)([\w.]*) import (.*)", path.read_text("utf-8"), re.M):
            if len(dots) < depth:
                continue  # within a subpackage
            target = module.split(".")[0] or "__init__"
            if target == "__init__" and names == "__version__":
                continue  # no layer's
            assert rank[target] < rank[home] or target == home, f"{relative} imports {target}"


def test_the_format_layer_does_no_io() -> None:
    pure = "_deflate _polystream _block _cipher _container _geometry _ranges _strips _crossings _segments _planes"
    pure += " _sources/_names _sources/_pages _sources/http/address _sources/http/reply _sources/http/verdict"
    for name in pure.split():
        source = (PACKAGE / f"{name}.py").read_text("utf-8")
        assert not re.search(r"\bopen\(|\bawait\b|\basync\b|import (socket|mmap|httpx|asyncio)", source), name


def test_importing_starts_nothing_and_loads_no_gl_crypto_or_http() -> None:
    """Numpy is the only package that comes along; of the standard library, nothing that talks HTTP."""
    script = """
import sys
before = set(sys.modules)
import alphastream_gpu, threading
new = {name.partition(".")[0] for name in set(sys.modules) - before} - {"alphastream_gpu"}
print(sorted(new - sys.stdlib_module_names), "http.client" in sys.modules, threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['numpy'] False 1"
