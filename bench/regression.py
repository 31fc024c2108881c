"""
Regression: this tree's times beside those of its parent commit, measured in turns in one run.

``python bench/regression.py`` takes the parent's files out of git, starts a process for each tree, has both do the same
work in turns (A B, B A, ...), and compares the best of each. Red, with exit code 1, is what takes more than 1.25 times
the parent's time, and still does when it is measured once more, longer. Where valgrind is there, the instructions of a
part of it are counted too, which a busy machine does not change. docs/benchmarks.md says what is measured and why.

The parent is HEAD's first one; with changes that are not committed, HEAD itself.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from compileall import compile_dir
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Final
from zipfile import ZipFile

__all__ = ["Verdict", "compare", "main", "summary"]

ROOT: Final = Path(__file__).resolve().parents[1]
WORKER: Final = ROOT / "bench" / "timed_work.py"
RESULT: Final = ROOT / "build" / "bench" / "regression.json"
TIME_BAR: Final = 1.25
"""Less is lost in the moods of shared machines; what creeps below it, the figures of `make bench` show."""
INSTRUCTION_BAR: Final = 1.02
"""Three quarters of that run are the interpreter's start and imports, so some 8 % of what the frames take."""
_TURNS: Final = 9
_RETRIED_TURNS: Final = 25
_TURN_SECONDS: Final = 0.12
_COUNTED: Final = ("decode", "rasterize_native")
_IMPORT: Final = "import"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One comparison."""

    name: str
    what: str
    unit: str
    """``s`` or ``instructions``."""
    before: float
    now: float
    bar: float

    @property
    def ratio(self) -> float:
        """now / before"""
        return self.now / self.before

    @property
    def is_red(self) -> bool:
        """Whether it is past the bar."""
        return self.ratio > self.bar

    def __str__(self) -> str:
        scale, unit = (1e3, "ms") if self.unit == "s" else (1e-6, "million instructions")
        verdict = f"RED, past {self.bar:g}" if self.is_red else "ok"
        return (
            f"{self.name:<18} {self.ratio:5.2f} x the parent's: {self.now * scale:9.3f} {unit} instead of"
            f" {self.before * scale:9.3f}  {verdict}  ({self.what})"
        )


class _Side:
    """A process that works with one tree's package."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self._process = subprocess.Popen(
            [sys.executable, WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment(tree)
        )
        found = self._read()
        if not Path(found).is_relative_to(tree):
            raise SystemExit(f"the package of {tree} was to be measured, found {found}")

    def __enter__(self) -> _Side:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.communicate()

    def seconds(self, name: str, repeats: int) -> float | str:
        """Of one repetition; a text if this tree cannot do it."""
        if name == _IMPORT:
            return _import_seconds(self.tree)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name} {repeats}\n")
        self._process.stdin.flush()
        answer = self._read()
        return answer if answer.startswith("missing") else float(answer)

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the process for {self.tree} ended with {self._process.wait()}")
        return line.strip()


def _environment(tree: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(tree), "PYTHONHASHSEED": "0"}


def _import_seconds(tree: Path) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import alphastream_gpu"], check=True, env=_environment(tree))
    return time.perf_counter() - start


def compare(name: str, what: str, before: _Side, now: _Side, say: Callable[[str], None]) -> Verdict | None:
    """
    Measure one kind of work on both sides, once more if it is red; None if the one before cannot do it.

    Raises:
        SystemExit: the one now cannot do it, which is a fault and not new.
    """
    verdict = _measured(name, what, before, now, _TURNS, say)
    if verdict is not None and verdict.is_red:
        say(f"{verdict}; once more")
        verdict = _measured(name, what, before, now, _RETRIED_TURNS, say)
    return verdict


def _measured(
    name: str, what: str, before: _Side, now: _Side, turns: int, say: Callable[[str], None]
) -> Verdict | None:
    repeats, best = 1, {before: float("inf"), now: float("inf")}
    for turn in range(-1, turns):
        for side in (now, before) if turn % 2 else (before, now):  # first the one that must be able to
            taken = side.seconds(name, repeats)
            if isinstance(taken, str) and side is now:
                raise SystemExit(f"{name}: this tree cannot do it: {taken}")
            if isinstance(taken, str):
                say(f"{name:<18} not compared: {side.tree.name}: {taken}")
                return None
            if turn < 0:  # warmed up, and now a guess of how long it takes
                taken = side.seconds(name, 1)
                assert isinstance(taken, float)
                repeats = max(1, int(_TURN_SECONDS / taken))
            else:
                best[side] = min(best[side], taken)
    return Verdict(name, what, "s", best[before], best[now], TIME_BAR)


def _instructions(tree: Path) -> int:
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}", sys.executable, WORKER, *_COUNTED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment(tree))
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"valgrind ended with {done.returncode}: {done.stderr[-2000:]}")
    return int(found[1])


def _counted(before: Path, now: Path) -> Verdict:
    with ThreadPoolExecutor(2) as pool:
        then, today = pool.map(_instructions, (before, now))
    return Verdict(
        "instructions", f"{' and '.join(_COUNTED)}, with the imports", "instructions", then, today, INSTRUCTION_BAR
    )


def _parent() -> str:
    """What to compare with, as a commit's hash; empty where git knows none."""
    is_changed = bool(_git("status", "--porcelain", "--untracked-files=no"))
    done = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", "HEAD" if is_changed else "HEAD~1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def _take_out(commit: str, folder: Path) -> None:
    archive = subprocess.run(["git", "archive", "--format=zip", commit], cwd=ROOT, capture_output=True, check=True)
    with ZipFile(BytesIO(archive.stdout)) as files:
        files.extractall(folder)


def summary(verdicts: list[Verdict]) -> str:
    """One line: what got slower by how much, or that nothing did."""
    red = [f"{verdict.name} by {verdict.ratio - 1:.0%}" for verdict in verdicts if verdict.is_red]
    return f"SLOWER than the parent: {', '.join(red)}" if red else f"{len(verdicts)} comparisons, none past its bar"


def main(arguments: list[str] | None = None) -> int:
    """Compare; the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument(
        "--against", metavar="FOLDER", type=Path, help="a tree to compare with, instead of the parent's"
    )
    parser.add_argument("--tree", metavar="FOLDER", type=Path, default=ROOT, help="the tree to measure")
    parser.add_argument("--only", metavar="NAME", nargs="+", help="kinds of work, and 'instructions'")
    options = parser.parse_args(arguments)
    listed = subprocess.run([sys.executable, WORKER, "--list"], capture_output=True, text=True, check=True)
    work = {**json.loads(listed.stdout), _IMPORT: "a process that imports the package"}
    verdicts: list[Verdict] = []
    with ExitStack() as stack:
        before = options.against
        if before is None:
            commit = _parent()
            if not commit:
                print("nothing to compare with: git knows no parent of this commit (a shallow clone?)")
                return 0
            before = Path(stack.enter_context(tempfile.TemporaryDirectory())) / f"parent-{commit[:12]}"
            _take_out(commit, before)
        before, now = before.resolve(), options.tree.resolve()
        for tree in (before, now):
            compile_dir(tree / "alphastream_gpu", quiet=2)  # else imports would compile, in the tree that is new
        with _Side(before) as one, _Side(now) as other:
            for name, what in work.items():
                if not options.only or name in options.only:
                    verdict = compare(name, what, one, other, print)
                    if verdict is not None:
                        print(verdict, flush=True)
                        verdicts.append(verdict)
        if not options.only or "instructions" in options.only:
            if shutil.which("valgrind") is None:
                print("instructions       not counted: there is no valgrind")
            else:
                verdicts.append(_counted(before, now))
                print(verdicts[-1])
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps([{**asdict(one), "ratio": one.ratio} for one in verdicts], indent=1), "utf-8")
    print(summary(verdicts))
    return 1 if any(verdict.is_red for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
