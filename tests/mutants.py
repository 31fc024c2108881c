"""
Mutation testing: runs mutmut and compares the survivors with ``mutants.toml``, which has a reason for each known one.

mutmut numbers the mutants of a function, and an edit of the function changes the numbers. So a survivor is identified
by its function and by the changed line before and after the mutation.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LIST = HERE / "mutants.toml"
MUTMUT = str(Path(sys.executable).with_name("mutmut"))
PACKAGE = "alphastream_gpu."
KILLED = ("killed", "timeout", "caught by type check")
"""Statuses of a mutant that the tests noticed. A timeout counts, because the tests never end."""


class Mutant(NamedTuple):
    """One change of one function."""

    function: str
    before: str
    after: str


def main() -> None:
    """Run the mutants that changed since the last run, and compare; exit with 1 if there is a difference."""
    if "--no-run" not in sys.argv:
        subprocess.run([MUTMUT, "run"], cwd=ROOT, check=True)
    found, known = survivors(), listed()
    for mutant in sorted(found.keys() - known.keys()):
        print(f"\nnew survivor {found[mutant]} in {mutant.function}\n- {mutant.before}\n+ {mutant.after}")
    for mutant in sorted(known.keys() - found.keys()):
        print(f"\nkilled or gone, remove it from {LIST.name}: {mutant.function}\n- {mutant.before}\n+ {mutant.after}")
    print(f"\n{len(found)} survivors, {len(found.keys() & known.keys())} of them known")
    sys.exit(found.keys() != known.keys())


def survivors() -> dict[Mutant, str]:
    """The mutants that no test noticed, or that were not tested, with their names in mutmut."""
    lines = _mutmut("results").splitlines()
    names = [
        name.strip()
        for name, _, status in (line.rpartition(":") for line in lines)
        if name and status.strip() not in KILLED
    ]
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(pool.map(_mutant, names), names, strict=True))


def listed() -> dict[Mutant, str]:
    """The known survivors with the kind of each."""
    data = tomllib.loads(LIST.read_text("utf-8"))
    known = {}
    for kind, entry in data.items():
        for function, changes in entry["mutants"].items():
            for before, after in changes:
                known[Mutant(function, before, after)] = kind
    return known


def _mutant(name: str) -> Mutant:
    module, _, mangled = name.rpartition(".")
    function = mangled.rpartition("__mutmut_")[0].removeprefix("x_").replace("xǁ", "").replace("ǁ", ".")
    diff = [line for line in _mutmut("show", name).splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    before, after = (" ".join(line[1:].strip() for line in diff if line[0] == sign) for sign in "-+")
    return Mutant(f"{module.removeprefix(PACKAGE)}.{function}", before, after)


def _mutmut(*arguments: str) -> str:
    return subprocess.run([MUTMUT, *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
