"""
Run README's commands in Debian systems that have nothing, as a stranger would, and print a table.

    make fresh                         every row; rows that were green for this commit are not run again
    make fresh ROWS='trixie.*user'     rows whose name matches a pattern
    make fresh AGAIN=--again           every row, green or not

A row is a new system, made by debootstrap with what README asks for: of a release, for root or for a user who may not
become root, in a usual folder or in one whose path has a space and an umlaut. In it, a clone of HEAD:

- runs the commands of README's section "See it work", word for word, as they are read out of README;
- is moved, and runs the first of them again;
- runs it once more without a network;
- and a second clone without a network says in one line that the package index could not be reached.

Needs root, for debootstrap, chroot and mounts, which end with the process that made them. Everything is written below
build/fresh/: the systems, which are removed when their row is green, a log of each row, and what was downloaded.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
WORK: Final = ROOT / "build" / "fresh"
MIRROR: Final = "http://deb.debian.org/debian"
RELEASES: Final = {"bookworm": "Debian 12", "trixie": "Debian 13"}
PLACES: Final = {"usual": "alphastream_gpu", "odd": "Müllers Kiste/alphastream gpu"}
PACKAGES: Final = "python3,git,make,ca-certificates"
"""What README takes for granted; root gets the venv package from the set-up, a user must have it."""
CERTIFICATES: Final = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
PASSED_ON: Final = (*CERTIFICATES, "PIP_INDEX_URL", "http_proxy", "https_proxy", "no_proxy")
"""Variables by which this machine reaches the package indexes."""
UNREACHABLE: Final = "could not be reached"


@dataclass(frozen=True)
class Row:
    """One system, and where in it a stranger works."""

    release: str
    who: str
    place: str

    @property
    def name(self) -> str:
        return f"{self.release} {self.who} {self.place}"

    @property
    def home(self) -> str:
        return "/root" if self.who == "root" else "/home/user"

    @property
    def folder(self) -> str:
        return f"{self.home}/{PLACES[self.place]}"


@dataclass
class Outcome:
    """What came of a row: for each step, whether it did what it must, and a few words."""

    steps: dict[str, tuple[bool, str]] = field(default_factory=dict)
    seconds: int = 0

    @property
    def ok(self) -> bool:
        return bool(self.steps) and all(ok for ok, _ in self.steps.values())


ROWS: Final = [Row(*parts) for parts in itertools.product(RELEASES, ("root", "user"), PLACES)]


def commands_of_readme() -> list[str]:
    """The commands of the first block of shell in README's section "See it work", without their comments."""
    section = (ROOT / "README.md").read_text("utf-8").partition("## See it work")[2]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block, "README has no block of commands in its section See it work"
    return [command for line in block[1].splitlines() if (command := line.partition("#")[0].strip())]


# Systems.


def base(row: Row) -> Path:
    """A release with what README takes for granted, made once."""
    folder = WORK / "bases" / f"{row.release}-{row.who}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = folder.with_suffix(".part")
    shutil.rmtree(making, ignore_errors=True)
    packages = PACKAGES + (",python3-venv" if row.who == "user" else "")
    command = ["debootstrap", "--variant=minbase", f"--include={packages}", row.release, str(making), MIRROR]
    with open(WORK / f"{folder.name}.debootstrap.log", "w") as log:
        subprocess.run(command, stdout=log, stderr=log, check=True)
    if row.who == "user":
        subprocess.run(["chroot", str(making), "useradd", "--create-home", "--shell", "/bin/bash", "user"], check=True)
    making.rename(folder)
    return folder


def new_system(row: Row) -> Path:
    """A copy of the base, with this machine's ways to the package indexes, and a clone of HEAD."""
    system = WORK / "systems" / row.name.replace(" ", "-")
    shutil.rmtree(system, ignore_errors=True)
    system.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", str(base(row)), str(system)], check=True)
    shutil.copy("/etc/resolv.conf", system / "etc" / "resolv.conf")
    for path in {os.environ[name] for name in CERTIFICATES if name in os.environ}:
        inside = system / path.lstrip("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.unlink(missing_ok=True)
        shutil.copy(path, inside)
    clone(row, system, row.folder)
    return system


def clone(row: Row, system: Path, folder: str) -> None:
    """As the user would: what belongs to somebody else, git would not touch."""
    inside = system / folder.lstrip("/")
    subprocess.run(["git", "clone", "--quiet", "--no-local", f"file://{ROOT}", str(inside)], check=True)
    top = system / row.home.lstrip("/")
    owner = top.stat()
    for path in [inside, *inside.parents]:
        if path == top:
            break
        os.chown(path, owner.st_uid, owner.st_gid)
    subprocess.run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", str(inside)], check=True)


INSIDE: Final = """
set -e
mount --bind /dev "$1/dev"
mount -t proc proc "$1/proc"
mkdir -p "$2" "$3" "$1/var/cache/pip"
mount --bind "$2" "$1/var/cache/apt/archives"
mount --bind "$3" "$1/var/cache/pip"
exec chroot "$1" /bin/sh -c "$4"
"""
"""What runs in namespaces of its own: the mounts are gone when it ends."""


def run_inside(
    row: Row, system: Path, folder: str, command: str, *, offline: bool = False, log: Path
) -> tuple[int, str, int]:
    """Exit code, output and seconds of a command in a system."""
    variables = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    variables |= {"HOME": row.home, "PATH": "/usr/local/bin:/usr/bin:/bin", "PIP_CACHE_DIR": "/var/cache/pip"}
    if row.who == "root":
        variables["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    words = " ".join(f"{name}='{value}'" for name, value in variables.items())
    script = f"cd '{folder}' && {command}"
    as_whom = "" if row.who == "root" else "setpriv --reuid user --regid user --init-groups "
    inner = f"exec env -i {words} {as_whom}/bin/sh -c {_quoted(script)}"
    caches = [WORK / "downloads" / "apt" / row.release, WORK / "downloads" / f"pip-{row.who}"]
    for cache in caches:
        cache.mkdir(parents=True, exist_ok=True)
    if row.who == "user":
        owner = (system / "home" / "user").stat()
        os.chown(caches[1], owner.st_uid, owner.st_gid)
    spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *(["--net"] if offline else [])]
    started = time.monotonic()
    done = subprocess.run(
        [*spaces, "sh", "-c", INSIDE, "sh", str(system), *map(str, caches), inner],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    seconds = round(time.monotonic() - started)
    with open(log, "a") as file:
        file.write(f"\n$ {command}   # in {folder}{', offline' if offline else ''}\n{done.stdout}")
        file.write(f"[exit code {done.returncode}, {seconds} s]\n")
    return done.returncode, done.stdout, seconds


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# Rows.


def run_row(row: Row, commands: Sequence[str]) -> Outcome:
    outcome = Outcome()
    log = WORK / f"{row.name.replace(' ', '-')}.log"
    log.unlink(missing_ok=True)
    started = time.monotonic()
    system = new_system(row)
    for command in commands:
        code, output, seconds = run_inside(row, system, row.folder, command, log=log)
        outcome.steps[command] = (
            code == 0 and says_what_it_must(row, command, output),
            f"{seconds} s{_counts(output)}",
        )
    first = commands[0]
    picture = system / row.folder.lstrip("/") / "build" / "mask.png"
    drawn = picture.is_file() and picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    outcome.steps["picture"] = drawn, "there" if drawn else "missing"
    moved = f"{row.folder} moved"
    (system / row.folder.lstrip("/")).rename(system / moved.lstrip("/"))
    code, _, seconds = run_inside(row, system, moved, first, log=log)
    outcome.steps["moved"] = code == 0, f"{seconds} s"
    code, _, seconds = run_inside(row, system, moved, first, offline=True, log=log)
    outcome.steps["offline"] = code == 0, f"{seconds} s"
    clone(row, system, row.folder)
    code, output, _ = run_inside(row, system, row.folder, first, offline=True, log=log)
    lines = [line for line in output.splitlines() if UNREACHABLE in line]
    outcome.steps["offline from the start"] = code != 0 and len(lines) == 1, "one line" if lines else "not said"
    outcome.seconds = round(time.monotonic() - started)
    if outcome.ok:
        shutil.rmtree(system)
    return outcome


def says_what_it_must(row: Row, command: str, output: str) -> bool:
    """A user without OpenGL is told so once by the demo, and by the tests how many were skipped and what adds them."""
    if row.who == "root":
        return "OpenGL, going on" not in output
    if "test" in command:
        return re.search(r"\d+ tests were skipped .*apt-get install", output) is not None
    return output.count("OpenGL") == 1


def _counts(output: str) -> str:
    """Pytest's summary, in short."""
    found = re.findall(r"(\d+) (passed|failed|skipped|error)", output)
    return "".join(f", {number} {word}" for number, word in found[-3:])


def table(outcomes: dict[str, Outcome]) -> str:
    columns = list(dict.fromkeys(step for outcome in outcomes.values() for step in outcome.steps))
    lines = [["", *columns, "in all"]]
    for name, outcome in outcomes.items():
        cells = [f"{'ok' if ok else 'FAILED'}, {words}" for ok, words in outcome.steps.values()]
        lines.append([name, *cells, f"{outcome.seconds} s"])
    widths = [max(len(line[column]) for line in lines if column < len(line)) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)) for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("rows", nargs="?", default="", help="a pattern that the rows' names must match")
    parser.add_argument("--again", action="store_true", help="also rows that were green for this commit")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("fresh: needs root, for debootstrap and chroot; run: sudo make fresh")
    if shutil.which("debootstrap") is None:
        sys.exit("fresh: debootstrap is missing; run: apt-get update && apt-get install -y debootstrap")
    WORK.mkdir(parents=True, exist_ok=True)
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    kept = WORK / f"{commit}.json"
    outcomes = {}
    if kept.exists() and not options.again:
        outcomes = {name: Outcome(**one) for name, one in json.loads(kept.read_text()).items()}
    commands = commands_of_readme()
    for row in ROWS:
        if not re.search(options.rows, row.name) or (row.name in outcomes and outcomes[row.name].ok):
            continue
        print(f"{row.name} ...", flush=True)
        outcomes[row.name] = run_row(row, commands)
        kept.write_text(json.dumps({name: asdict(one) for name, one in outcomes.items()}, indent=1))
    print(f"\nREADME's commands at {commit[:10]}\n{table(outcomes)}")
    failed = [name for name, outcome in outcomes.items() if not outcome.ok]
    if failed:
        print(f"\nlogs of what failed: {', '.join(str(WORK / (name.replace(' ', '-') + '.log')) for name in failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
