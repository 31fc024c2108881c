"""
Branch coverage by area, from the data of ``pytest --cov``. ``make coverage`` prints it, and fails if an area is below
the minimum.

coverage's own ``fail_under`` is one number for the whole package, of lines and branches together. So a high coverage of
one area could hide a low coverage of another.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "alphastream_gpu"
REPORT = ROOT / "build" / "coverage" / "coverage.json"
BAR = 95.0

AREAS = {
    "formats": "_format _geometry _writing",
    "sources": "_sources",
    "streaming": "_builder _open _runtime _stream",
    "raster": "_raster",
    "arrays": "_arrays",
    "bulk": "_bulk",
}
"""The folders and modules of the package that need the minimum. The other ones use drivers, hosts or a terminal, or
contain only tables."""


def main() -> None:
    """Print the table and the missed branches; exit with 1 if an area is below the minimum."""
    data = coverage.Coverage()
    data.load()
    data.json_report(outfile=str(REPORT))
    files = json.loads(REPORT.read_text())["files"]
    low, missed = [], []
    print(f"{'area':<12}{'branches':>20}{'lines':>20}")
    for area, rooms in AREAS.items():
        names = [str(path.relative_to(ROOT)) for room in rooms.split() for path in files_of(room)]
        sums = [files[name]["summary"] for name in names]
        branches = _share(sums, "covered_branches", "num_branches")
        lines = _share(sums, "covered_lines", "num_statements")
        print(f"{area:<12}{branches[1]:>20}{lines[1]:>20}")
        if branches[0] < BAR:
            low.append(area)
        for name in names:
            branches_missed = [f"{a}->{b}" for a, b in files[name]["missing_branches"]]
            if branches_missed:
                missed.append(f"{name}: {', '.join(branches_missed)}")
    print(*missed, sep="\n")
    sys.exit(f"below {BAR:g} % of the branches: {', '.join(low)}" if low else 0)


def files_of(room: str) -> list[Path]:
    """The files of a folder of the package; for a module beside the folders, its file."""
    return sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]


def _share(sums: list[dict[str, int]], covered: str, total: str) -> tuple[float, str]:
    done, there = sum(one[covered] for one in sums), sum(one[total] for one in sums)
    percent = 100 * done / max(there, 1)
    return percent, f"{done}/{there} {percent:6.2f} %"


if __name__ == "__main__":
    main()
