"""
Sphinx's settings for the documentation site: ``make docs``. Needs no network.

Pages are Markdown that GitHub shows as well, so links are written as files of the repository. Those that leave docs/
are turned into links to the site's pages here (``PAGES``); what has no page, such as an example's source, becomes a
download.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.pycode import ModuleAnalyzer

import alphastream_gpu

__all__ = ["PAGES", "setup"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PAGES = {
    ROOT / "README.md": "index.md",
    ROOT / "CHANGELOG.md": "changelog.md",
    ROOT / "CONTRIBUTING.md": "contributing.md",
    ROOT / "SECURITY.md": "security.md",
    ROOT / "LICENSE": "license.md",
    ROOT / "examples" / "README.md": "examples.md",
}
"""Files outside docs/, and the pages of the site that stand for them."""

for name in alphastream_gpu.__all__:
    getattr(alphastream_gpu, name)  # some are loaded at first use, and have their public paths from then on

project = "alphastream_gpu"
author = "The alphastream_gpu developers"
copyright = author
release = version = alphastream_gpu.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
root_doc = "index"
nitpicky = True
default_role = "code"  # docstrings name arguments in single backticks

html_theme = "furo"
html_title = f"alphastream_gpu {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
highlight_language = "none"  # of blocks that name none: diagrams
pygments_style = "friendly"
pygments_dark_style = "monokai"

myst_heading_anchors = 3  # the names that GitHub gives to headings
myst_enable_extensions = ["attrs_block"]

toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = True
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False

linkcheck_timeout = 20
linkcheck_retries = 3
linkcheck_ignore = [
    r"https://example\.org/.*",  # nobody's
]

nitpick_ignore_regex = [
    # Other projects' objects: their inventories would have to be fetched, and builds may be offline.
    (r"py:.*", r"(collections\.abc|fractions|httpx|moderngl|np|npt|numpy|os|typing|dataclasses|enum)\..*"),
    (r"py:.*", r"(Any|AsyncIterator|Awaitable|Callable|Fraction|Iterable|Iterator|Mapping|Self|TracebackType)"),
    (r"py:.*", r"alphastream_gpu\._gl\.renderer\.(Texture|Mask|RenderedStream)"),  # type variable, name, protocol
    (r"py:.*", r"ClientLike|ContainerName|SourceLike|UrlLike|Validate"),  # said in words where they are arguments
    (r"py:.*", r"tuple\[int"),  # napoleon cuts `tuple[int, int]` of a property in two
    (r"py:.*", r"(concurrent\.futures|dask)\..*"),
    (r"py:.*", r"Bool|Codec|Uint8|Picked|Outcome|Progress|StreamState|Verify"),  # likewise
    (r"py:.*", r"Channel|Eye|Fit|Gaps|Layout|Range"),  # likewise, of InputOptions
    (r"py:.*", r"alphastream_gpu\._arrays\.array\.OuterIndexer"),  # of `oindex`, which says what it does
]
suppress_warnings = ["ref.python"]  # fields of several classes are called `bytes`, as the type is


def setup(app: Any) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("source-read", lambda app, name, source: _relink(source, HERE))
    app.connect("include-read", lambda app, path, parent, source: _relink(source, (HERE / path).resolve().parent))
    app.connect("doctree-resolved", _shorten)
    app.connect("doctree-resolved", _name_cells)
    _analyze()
    return {"parallel_read_safe": True}


def _analyze() -> None:
    """
    Show Sphinx where public names are written.

    They name ``alphastream_gpu`` as their module, and there Sphinx would look for the order of methods and for the
    docstrings of fields, and find none.
    """
    package = ModuleAnalyzer.for_module("alphastream_gpu")
    package.analyze()
    for file in sorted((ROOT / "alphastream_gpu").rglob("*.py")):
        module = ModuleAnalyzer.for_file(str(file), ".".join(file.relative_to(ROOT).with_suffix("").parts))
        module.analyze()
        package.attr_docs |= {key: text for key, text in module.attr_docs.items() if key[0] in alphastream_gpu.__all__}
        package.tagorder |= module.tagorder


def _shorten(app: Any, tree: nodes.document, name: str) -> None:
    """Write array types as the sources do, ``NDArray[uint8]``; Sphinx shows what that stands for."""
    for place in (*tree.findall(addnodes.desc_returns), *tree.findall(addnodes.desc_annotation)):
        text = re.sub(r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]", r"NDArray[\1]", place.astext())
        if "NDArray" in text:
            place.clear()
            place.append(nodes.Text(text.removeprefix(" -> ")))


def _name_cells(app: Any, tree: nodes.document, name: str) -> None:
    """
    In tables of three and more columns, put the column's heading into each cell.

    site.css shows it on phones, where such a table is a list.
    """
    for table in tree.findall(nodes.table):
        headings = [cell.astext() for row in table.findall(nodes.thead) for cell in row.findall(nodes.entry)]
        if len(headings) < 3:
            continue
        table["classes"].append("as-list")
        for row in (row for body in table.findall(nodes.tbody) for row in body.findall(nodes.row)):
            for heading, cell in zip(headings[1:], row.children[1:], strict=False):
                if heading and cell.children:
                    cell.children[0].insert(0, nodes.inline("", heading, classes=["column-name"]))


def _relink(source: list[str], folder: Path) -> None:
    """Turn links to files of the repository, as seen from a folder, into links to pages, or to files as seen here."""

    def relinked(link: re.Match[str]) -> str:
        file = (folder / link[1]).resolve()
        if not file.is_file():
            return link[0]  # code that looks like a link, or Sphinx will say that it leads nowhere
        return f"]({PAGES.get(file) or os.path.relpath(file, HERE)}{link[2] or ''}"

    source[0] = re.sub(r"\]\((?!\w+:)([\w./-]+)(#[\w-]+)?(?=\))", relinked, source[0])
