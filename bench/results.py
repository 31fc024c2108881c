"""
Results: what `make bench` measured, as a JSON file and a picture, with the machine it ran on.

``python bench/results.py`` draws the picture; with ``--publish`` it puts both into docs/, for the page of benchmarks.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

__all__ = ["FIGURES", "draw", "main", "write"]

ROOT: Final = Path(__file__).resolve().parents[1]
FIGURES: Final = ROOT / "build" / "bench" / "figures.json"
PICTURE: Final = FIGURES.with_suffix(".png")
PUBLISHED: Final = ROOT / "docs" / "figures" / "benchmarks"
"""Without a suffix."""

_OURS: Final = {
    "from_payload": "decode a payload",
    "cpu_small": "CPU twin, 512 x 256",
    "cpu_native": "CPU twin, 2048 x 1024",
    "cpu_large": "CPU twin, 6720 x 3360",
    "render_native": "MaskRenderer and finish, 2048 x 1024",
    "cover_strip": "cover strip",
}
_YARDSTICKS: Final = {
    "inflate": "inflate a payload (zlib)",
    "fillpoly": "cv2.fillPoly, 2048 x 1024, not exact",
    "cv2_resize_large": "cv2.resize to 6720 x 3360",
    "pillow": "Pillow, 2048 x 1024, not exact",
    "skia": "skia, 2048 x 1024, not exact",
}
LABELS: Final = _OURS | _YARDSTICKS
_OUR_COLOUR: Final = "#2a6f97"
_OTHER_COLOUR: Final = "#9a9a9a"
_BAR_COLOUR: Final = "#b23a48"


def write(
    benchmarks: Iterable[Any],
    figures: list[dict[str, Any]],
    facts: Mapping[str, str],
    *,
    driver: Mapping[str, Any],
    tables: Mapping[str, list[dict[str, Any]]],
) -> Path:
    """
    Write the JSON file.

    Args:
        benchmarks: pytest-benchmark's.
        figures: with their bars; ``value`` and ``met`` are None for what could not be measured here.
        facts: what else was said.
        driver: the GL driver; empty if no benchmark asked for a context.
        tables: the rows of bench_methods.py, by table.
    """
    works: dict[str, Any] = {}
    for benchmark in benchmarks:
        stats, frames = benchmark.stats, benchmark.extra_info.get("frames")
        if stats.rounds and frames:
            works[benchmark.name.removeprefix("test_")] = {
                name: getattr(stats, name) / frames for name in ("min", "q1", "median", "q3", "max")
            }
    for row in tables.get("one frame", ()):
        if row.get("is_auto") and row["size"] == [2048, 1024]:
            works["render_native"] = row["done_kept"]
    result = {
        "machine": _machine(),
        "driver": dict(driver),
        "seconds_a_frame": works,
        "figures": figures,
        "facts": {name.strip(): text for name, text in facts.items()},
        "methods": dict(tables),
    }
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    FIGURES.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    return FIGURES.relative_to(ROOT)


def _machine() -> dict[str, str]:
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": _version("numpy"),
        "moderngl": _version("moderngl"),
        "opencv": _version("opencv-python-headless"),
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _version(package: str) -> str:
    """Of a package that may be installed in another way than ours."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    """What is measured; empty in a copy of the tree that git does not know."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def draw(result: Mapping[str, Any], path: Path) -> None:
    """A picture: medians a frame with their quartiles, ours beside the yardsticks; and each figure beside its bar."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    works = result["seconds_a_frame"]
    rows = [(name, label, name in _OURS) for name, label in {**_OURS, **_YARDSTICKS}.items() if name in works]
    rows.sort(key=lambda row: works[row[0]]["median"])
    figures = [figure for figure in result["figures"] if figure["bar"] and figure["value"]]  # None: not measured
    height = 0.34 * (len(rows) + len(figures)) + 2.4
    picture, (times, bars) = plt.subplots(
        2, 1, figsize=(10, height), height_ratios=[max(1, len(rows)), max(1, len(figures))], layout="constrained"
    )
    for place, (name, _, is_ours) in enumerate(rows):
        one = works[name]
        middle = one["median"] * 1e3
        spread = [[middle - one["q1"] * 1e3], [one["q3"] * 1e3 - middle]]
        times.barh(place, middle, xerr=spread, color=_OUR_COLOUR if is_ours else _OTHER_COLOUR, capsize=3, height=0.62)
        times.text(one["q3"] * 1e3 * 1.08, place, f"{middle:.3g} ms", va="center", fontsize=9)
    times.set(xscale="log", yticks=range(len(rows)), yticklabels=[label for _, label, _ in rows])
    times.set_xlabel("milliseconds a frame; medians, lines from quartile to quartile; blue: ours", fontsize=9)
    times.set_title("What a frame takes", loc="left", fontsize=11)
    for place, figure in enumerate(reversed(figures)):
        share = figure["bar"] / figure["value"] if figure["at_least"] else figure["value"] / figure["bar"]
        bars.barh(place, share, color=_OUR_COLOUR if figure["met"] else _BAR_COLOUR, height=0.62)
        sign = "≥" if figure["at_least"] else "≤"
        value = f"{figure['value']:,.0f}" if figure["value"] >= 1000 else f"{figure['value']:.3g}"
        text = " ".join([value, *figure["unit"].split(), f"({sign} {figure['bar']:,g})"])
        shade = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}  # the line of the bars runs behind it
        bars.text(min(share, 1.1) + 0.015, place, text, va="center", fontsize=8.5, bbox=shade)
    bars.axvline(1, color=_BAR_COLOUR, linewidth=1, zorder=0.5)
    bars.set(yticks=range(len(figures)), yticklabels=[figure["work"] for figure in reversed(figures)], xlim=(0, 1.55))
    bars.set_xlabel("share of the bar that is used up; the red line is the bar", fontsize=9)
    bars.set_title("Figures beside their bars", loc="left", fontsize=11)
    for axes in (times, bars):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", labelsize=9, length=0)
    low, high = times.get_xlim()
    times.set_xlim(low, high * 2.2)
    machine, driver = result["machine"], result.get("driver", {})
    picture.suptitle(
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, numpy {machine['numpy']},"
        f" {machine['date']}" + (f"\nOpenGL: {driver['renderer']}" if driver else ""),
        fontsize=9,
        color="#555555",
    )
    picture.savefig(path, dpi=110)
    plt.close(picture)


def main(arguments: list[str] | None = None) -> int:
    """Draw the picture of the last run; the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--publish", action="store_true", help="put the file and the picture into docs/figures/")
    options = parser.parse_args(arguments)
    draw(json.loads(FIGURES.read_text("utf-8")), PICTURE)
    print(f"drawn: {PICTURE.relative_to(ROOT)}")
    if options.publish:
        for path in (FIGURES, PICTURE):
            shutil.copy(path, PUBLISHED.with_suffix(path.suffix))
    return 0


if __name__ == "__main__":
    sys.exit(main())
