"""
One version: what the package says of itself, what the changelog says, and a release's tag must agree.

    python .ci/version.py             the version
    python .ci/version.py v1.2.0      the same, and a tag that must belong to it
    python .ci/version.py --notes     what the changelog says of the newest version

Between releases the package is X.Y.Z.dev0 and the changelog begins with [Unreleased]; a release is X.Y.Z and
begins it with its own version and date. Exits with 1, and says why, where that does not hold.
"""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path

__all__ = ["VersionError", "check", "notes"]

ROOT = Path(__file__).resolve().parents[1]
_HEADING = re.compile(r"^## \[(?P<name>[^\]]+)\](?: - (?P<date>\S+))?$", re.M)


class VersionError(Exception):
    """Two places disagree."""


def check(root: Path, tag: str | None = None) -> str:
    """The version, after every check."""
    source = (root / "alphastream_gpu" / "__init__.py").read_text("utf-8")
    found = re.search(r'^__version__ = "(\d+\.\d+\.\d+(\.dev0)?)"$', source, re.M)
    if found is None:
        raise VersionError('alphastream_gpu/__init__.py: expected __version__ = "X.Y.Z" or "X.Y.Z.dev0"')
    version = found[1]
    heading = _HEADING.search((root / "CHANGELOG.md").read_text("utf-8"))
    name = heading["name"] if heading else None
    expected = "Unreleased" if version.endswith(".dev0") else version
    if heading is None or name != expected:
        raise VersionError(f"CHANGELOG.md: expected [{expected}] first, since the version is {version}, found [{name}]")
    if expected == version:
        try:
            datetime.date.fromisoformat(heading["date"] or "")
        except ValueError:
            raise VersionError(f"CHANGELOG.md: expected '## [{version}] - YYYY-MM-DD', found {heading[0]!r}") from None
    if tag is not None and tag != f"v{version}":
        raise VersionError(f"tag: expected v{version}, found {tag}")
    if tag is not None and version.endswith(".dev0"):
        raise VersionError(f"tag: {version} is no release")
    return version


def notes(root: Path) -> str:
    """The newest section of the changelog, without its heading."""
    text = (root / "CHANGELOG.md").read_text("utf-8")
    headings = list(_HEADING.finditer(text))
    return text[headings[0].end() : headings[1].start() if len(headings) > 1 else len(text)].strip() + "\n"


def main(arguments: list[str]) -> int:
    try:
        version = check(ROOT, *[argument for argument in arguments if argument != "--notes"])
    except VersionError as exc:
        print(f"version: {exc}", file=sys.stderr)
        return 1
    sys.stdout.write(notes(ROOT) if "--notes" in arguments else f"{version}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
