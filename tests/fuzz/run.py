"""
Runs the fuzz targets under atheris. ``make fuzz SECONDS=600`` is the usual way; see docs/testing.md.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

from fuzz import CORPUS, TARGETS  # noqa: E402 - the folder above is not a package

BUILD = ROOT / "build" / "fuzz"
MAX_INPUT_BYTES = 4096
LONGEST_INPUT_SECONDS = 300
"""No input takes a second; libFuzzer measures by the clock, which goes on while a machine sleeps."""
MOST_MEMORY_MB = 1024
ROUND_SECONDS = 60
"""Then a new process goes on from the corpus: atheris (3.0, 3.1) never frees the result of a comparison of arrays in
instrumented code, which makes some MB a second. What one input takes is measured by the targets themselves."""

_TARGET = click.argument("target", type=click.Choice(TARGETS))


@click.group()
def main() -> None:
    """Fuzz the package's readers."""


@main.command()
@click.option("--seconds", default=60, show_default=True, type=click.IntRange(1), help="For each target.")
@click.option("--target", "targets", multiple=True, type=click.Choice(TARGETS), help="Only these; may be repeated.")
def all(seconds: int, targets: tuple[str, ...]) -> None:
    """Run the targets one after the other, and tell what each saw."""
    _need_atheris()
    failed = [target for target in targets or TARGETS if not _run(target, seconds)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; the inputs are in {BUILD.relative_to(ROOT)}/crashes")


@main.command(context_settings={"ignore_unknown_options": True})
@_TARGET
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def one(target: str, arguments: tuple[str, ...]) -> None:
    """Run one target with libFuzzer's own arguments (-help=1 lists them)."""
    _need_atheris()
    import atheris

    with atheris.instrument_imports(include=["alphastream_gpu"]):
        check = importlib.import_module(f"fuzz.{target}").check
        for room in ("_format", "_geometry", "_raster", "_runtime", "_sources", "_stream", "_writing"):
            for module in sorted((ROOT / "alphastream_gpu" / room).rglob("[!_]*.py")):
                # What is imported later would not be instrumented.
                importlib.import_module(".".join(module.relative_to(ROOT).with_suffix("").parts))
    # libFuzzer starts itself again by its first argument, so that must be a program.
    atheris.Setup([str(_launcher(target)), *arguments], check)
    atheris.Fuzz()


@main.command()
@_TARGET
def minimise(target: str) -> None:
    """Replace a target's committed corpus by the fewest inputs that reach what it and the last runs found."""
    _need_atheris()
    committed, merged = HERE / CORPUS / target, BUILD / f"{target}.merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir(parents=True)
    found = [str(folder) for folder in (committed, BUILD / target) if folder.is_dir()]
    arguments = ["-merge=1", f"-max_len={MAX_INPUT_BYTES}", str(merged), *found]
    subprocess.run([_launcher(target), *arguments], check=True, cwd=ROOT)
    kept = {path.name for path in merged.iterdir()}
    named = [path for path in committed.glob("*") if not re.fullmatch("[0-9a-f]{40}", path.name)]
    for path in committed.glob("*"):
        if path not in named:  # those with a name of their own were put there by hand, and stay
            path.unlink()
    committed.mkdir(parents=True, exist_ok=True)
    contents = {path.read_bytes() for path in named}
    for name in kept:
        if (merged / name).read_bytes() not in contents:
            shutil.copy(merged / name, committed / name)
    files = list(committed.iterdir())
    print(f"{target}: {len(files)} inputs, {sum(path.stat().st_size for path in files)} bytes")


def _need_atheris() -> None:
    try:
        importlib.import_module("atheris")
    except ImportError as exc:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.exit(
            f"no atheris for Python {version} on {sys.platform}: {exc}; make fuzz installs it where it has a wheel"
        )


def _launcher(target: str) -> Path:
    """A program that runs one target."""
    path = BUILD / f"run-{target}"
    text = f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "run.py"}" one {target} "$@"\n'
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    return path


def _run(target: str, seconds: int) -> bool:
    """Run a target for a while, in rounds, and print a line; False after a crash."""
    found, crashes, committed = BUILD / target, BUILD / "crashes" / target, HERE / CORPUS / target
    for folder in (found, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(found.iterdir())
    log = BUILD / f"{target}.log"
    started = time.monotonic()
    runs = peak = status = 0
    edges: list[str] = []
    # libFuzzer ends without a process's exit handlers, which would remove what a target has written.
    with log.open("wb") as output, tempfile.TemporaryDirectory() as scratch:
        while not status and (left := round(seconds - (time.monotonic() - started))) > 0:
            at = output.tell()
            status = subprocess.run(
                [
                    _launcher(target),
                    f"-max_total_time={min(ROUND_SECONDS, left)}",
                    f"-max_len={MAX_INPUT_BYTES}",
                    f"-timeout={LONGEST_INPUT_SECONDS}",
                    f"-report_slow_units={LONGEST_INPUT_SECONDS}",
                    f"-rss_limit_mb={MOST_MEMORY_MB}",
                    f"-artifact_prefix={crashes}/",
                    "-print_final_stats=1",
                    str(found),
                    str(committed),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, "TMPDIR": scratch},
                check=False,
            ).returncode
            output.seek(0, os.SEEK_END)
            text = log.read_bytes()[at:].decode(errors="replace")
            stats = dict(re.findall(r"^stat::(\w+):\s+(\d+)$", text, re.M))
            runs += int(stats.get("number_of_executed_units", 0))
            peak = max(peak, int(stats.get("peak_rss_mb", 0)))
            edges = re.findall(r"\bcov: (\d+)", text) or edges
    took = time.monotonic() - started
    print(
        f"{target}: {runs} executions in {took:.0f} s ({runs / took:.0f}/s), {edges[-1] if edges else 0} edges,"
        f" {len(set(found.iterdir()) - before)} new corpus entries, peak {peak} MB"
        + (f"; FAILED with {status}, see {log.relative_to(ROOT)}" if status else ""),
        flush=True,
    )
    return not status


if __name__ == "__main__":
    main()
