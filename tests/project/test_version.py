"""
One version: in the package, the changelog and a release's tag. (The wheel's is in test_wheel.py, the C library's in
test_capi.py.)
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from support import ROOT

import alphastream_gpu


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """`.ci/version.py`, which releases ask."""
    spec = importlib.util.spec_from_file_location("version", ROOT / ".ci" / "version.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "alphastream_gpu").mkdir()
    return tmp_path


def write(tree: Path, version: str, changelog: str) -> None:
    (tree / "alphastream_gpu" / "__init__.py").write_text(f'import x\n\n__version__ = "{version}"\n', "utf-8")
    (tree / "CHANGELOG.md").write_text(f"# Changelog\n\nWords.\n\n{changelog}", "utf-8")


@pytest.mark.skipif(
    not (ROOT / "alphastream_gpu").is_dir(), reason="the source tree is gone: this is a test of an installed package"
)
def test_this_version(script: ModuleType) -> None:
    assert script.check(ROOT) == alphastream_gpu.__version__


NOTES = "### Added\n\n- A thing.\n"
OLDER = "\n## [1.1.0] - 2026-01-02\n\n- Old.\n"


def test_a_release_and_its_notes(script: ModuleType, tree: Path) -> None:
    write(tree, "1.2.0", f"## [1.2.0] - 2026-03-04\n\n{NOTES}{OLDER}")
    assert script.check(tree) == script.check(tree, "v1.2.0") == "1.2.0"
    assert script.notes(tree) == NOTES
    write(tree, "1.2.0", f"## [1.2.0] - 2026-03-04\n\n{NOTES}")
    assert script.notes(tree) == NOTES


def test_between_releases(script: ModuleType, tree: Path) -> None:
    write(tree, "1.3.0.dev0", f"## [Unreleased]\n\n{NOTES}{OLDER}")
    assert script.check(tree) == "1.3.0.dev0"
    with pytest.raises(script.VersionError, match=r"1\.3\.0\.dev0 is no release"):
        script.check(tree, "v1.3.0.dev0")


@pytest.mark.parametrize(
    ("version", "changelog", "tag", "message"),
    [
        ("1.2", "## [1.2] - 2026-03-04", None, "expected __version__"),
        ("1.2.0", "", None, "expected [1.2.0] first, since the version is 1.2.0, found [None]"),
        ("1.2.0", "## [Unreleased]", None, "expected [1.2.0] first"),
        ("1.2.0", "## [1.2.1] - 2026-03-04", None, "expected [1.2.0] first"),
        ("1.2.0.dev0", "## [1.2.0] - 2026-03-04", None, "expected [Unreleased] first"),
        ("1.2.0", "## [1.2.0]", None, "YYYY-MM-DD"),
        ("1.2.0", "## [1.2.0] - soon", None, "YYYY-MM-DD"),
        ("1.2.0", "## [1.2.0] - 2026-03-04", "v1.2.1", "tag: expected v1.2.0, found v1.2.1"),
        ("1.2.0", "## [1.2.0] - 2026-03-04", "1.2.0", "tag: expected v1.2.0, found 1.2.0"),
    ],
)
def test_what_disagrees(
    script: ModuleType, tree: Path, version: str, changelog: str, tag: str | None, message: str
) -> None:
    write(tree, version, changelog)
    with pytest.raises(script.VersionError) as caught:
        script.check(tree, tag)
    assert message in str(caught.value)
