"""
Stands in for commands that documentation names and tests do not run: ``standin.py NAME ARGUMENTS...``. It ends with a
word and exit code 1 if the real one would not understand, or if the project does not know what it is asked for, and
with 77 if something that a script needs is not on this machine.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LACKING = 77
"""Exit code: a script needs something that this machine has not."""


def make(arguments: list[str]) -> None:
    places = os.environ["PATH"].partition(":")[2]  # past the folder of stand-ins, which would call this again
    command = [shutil.which("make", path=places) or "make", "--dry-run", "-C", ROOT, *arguments]
    done = subprocess.run(command, env={**os.environ, "PATH": places}, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)


def pip(arguments: list[str]) -> None:
    """Extras and packages must stand in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    known = {_name(one) for some in (project["dependencies"], *extras.values()) for one in some}
    command, *wanted = arguments
    if command != "install":
        sys.exit(f"pip: expected install, found {command}")
    for one in wanted:
        own = re.fullmatch(r"(?:\.|alphastream-gpu)(?:\[([\w,]+)\])?", one)
        unknown = set((own[1] or "").split(",")) - {"", *extras} if own else {_name(one)} - known
        if unknown and not one.startswith("-"):
            sys.exit(f"pip: pyproject.toml does not know {sorted(unknown)}")


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=! ]", requirement)[0].lower().replace("_", "-")


def apt_get(arguments: list[str]) -> None:
    """Packages must be those that the project's own scripts and fixes install."""
    places = [*filter(Path.is_file, (ROOT / ".ci").iterdir()), ROOT / "alphastream_gpu" / "_context" / "fixes.py"]
    known = set(re.findall(r"[\w.+-]+", " ".join(place.read_text() for place in places)))
    for one in arguments:
        if not one.startswith("-") and one not in {"install", "update", *known}:
            sys.exit(f"apt-get: neither .ci nor fixes.py knows {one}")


def python3(arguments: list[str]) -> None:
    """Environments are empty here: what is installed into them is checked by another stand-in."""
    if arguments[:2] != ["-m", "venv"]:
        os.execv(sys.executable, [sys.executable, *arguments])
    (folder,) = arguments[2:]
    Path(folder, "bin").mkdir(parents=True)
    Path(folder, "bin", "activate").touch()


def python(arguments: list[str]) -> None:
    """The script must be there, and know every option."""
    script, *rest = arguments
    known = Path(f".{Path(script).name}.help")  # asked once in a page's folder: it takes a second
    if not known.exists():
        done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            sys.exit(LACKING if "; run: " in done.stderr else 1)
        known.write_text(done.stdout)
    for one in rest:
        if one.startswith("--") and not re.search(rf"{re.escape(one)}\b", known.read_text()):
            sys.exit(f"{script} has no {one}")


if __name__ == "__main__":
    name, *given = sys.argv[1:]
    {"make": make, "pip": pip, "apt-get": apt_get, "python": python, "python3": python3}[name](given)
