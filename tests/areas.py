"""
Branch coverage by area, from the data that ``pytest --cov`` left: ``make coverage`` prints it and fails below the bar.

coverage's own ``fail_under`` is one number for everything, made of lines and branches together; one area would hide
what another lacks.
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
}
"""Rooms of the package that are held to the bar. The others talk to drivers, to hosts or to a terminal, or are
tables."""


def main() -> None:
    """Print the table, and what is missed; exit with 1 if an area is below the bar."""
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
            lacking = [f"{a}->{b}" for a, b in files[name]["missing_branches"]]
            if lacking:
                missed.append(f"{name}: {', '.join(lacking)}")
    print(*missed, sep="\n")
    sys.exit(f"below {BAR:g} % of the branches: {', '.join(low)}" if low else 0)


def files_of(room: str) -> list[Path]:
    """The files of a folder of the package, or of a module beside the folders."""
    return sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]


def _share(sums: list[dict[str, int]], covered: str, total: str) -> tuple[float, str]:
    done, there = sum(one[covered] for one in sums), sum(one[total] for one in sums)
    percent = 100 * done / max(there, 1)
    return percent, f"{done}/{there} {percent:6.2f} %"


if __name__ == "__main__":
    main()
