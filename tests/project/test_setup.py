"""
The set-up of make's targets: what counts as there, what is asked for, and what is said of a failure. `make fresh` shows
the whole of it in new systems.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from hosts import summary
from support import ROOT

SCRIPTS = ROOT / ".ci"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"ci_{name}", SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def setup() -> ModuleType:
    return load("setup")


def test_a_renamed_package_is_there(setup: ModuleType) -> None:
    """Debian 13's names; a package that was removed but left its settings is not there."""
    status = (
        "ii \tlibglib2.0-0t64\tlibglib2.0-0 (= 2.84.4-3~deb13u1)\n"
        "ii \tlibegl1:amd64\t\n"
        "ii \tpkgconf-bin\tpkg-config (= 1.8.1), pkgconf-tools:any\n"
        "rc \txvfb\txserver\n"
        "un \tcmake\t\n"
    )
    there = setup.installed_or_provided(status)
    assert {"libglib2.0-0t64", "libglib2.0-0", "pkg-config", "pkgconf-tools"} <= there
    assert not {"xvfb", "xserver", "cmake"} & there


def test_everything_is_asked_for_at_once(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "has_venv", lambda: False)
    needs = setup.TARGETS["test"]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    wanted = setup.wanted_packages(needs, has_gl=False)
    assert wanted[0] == f"python{version}-venv"
    assert {"libegl1", "libgl1-mesa-dri", "gcc", "xauth"} <= set(wanted)
    assert len(wanted) == len(set(wanted))
    assert setup.wanted_packages(setup.TARGETS["demo"], has_gl=True) == [f"python{version}-venv"]
    monkeypatch.setattr(setup, "has_venv", lambda: True)
    assert setup.wanted_packages(setup.TARGETS["demo"], has_gl=True) == []
    assert setup.wanted_packages(setup.TARGETS["lint"], has_gl=True) == []


@pytest.mark.parametrize(
    ("uid", "has_sudo", "command"),
    [
        (0, False, "apt-get update && apt-get install -y --no-install-recommends a b"),
        (1000, True, "sudo apt-get update && sudo apt-get install -y --no-install-recommends a b"),
        (1000, False, "su -c 'apt-get update && apt-get install -y --no-install-recommends a b'"),
    ],
)
def test_the_command_can_be_pasted(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, uid: int, has_sudo: bool, command: str
) -> None:
    monkeypatch.setattr(setup.os, "geteuid", lambda: uid)
    monkeypatch.setattr(setup.shutil, "which", lambda name: "/usr/bin/sudo" if has_sudo else None)
    assert setup.apt_command(["a", "b"]) == command


@pytest.mark.parametrize(
    ("log", "problem"),
    [
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(': Failed to establish a"
            " new connection: [Errno -3] Temporary failure in name resolution')': /simple/hatchling/\n"
            * 5
            + "ERROR: Could not find a version that satisfies the requirement hatchling>=1.27 (from versions: none)\n",
            (
                "the package index could not be reached (Temporary failure in name resolution); check the network,"
                " then run the command again"
            ),
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n",
            "no space left on the disk for Python packages",
        ),
        (
            "WARNING: Location 'file:///x' is ignored\nERROR: No matching distribution found for atheris>=3.0\n",
            "pip failed:\nERROR: No matching distribution found for atheris>=3.0",
        ),
    ],
)
def test_what_pip_buries(setup: ModuleType, log: str, problem: str) -> None:
    assert setup.pip_problem(log) == problem


@pytest.mark.parametrize(
    ("code", "log", "problem"),
    [
        (0, "Reading package lists...\n", ""),
        (
            0,
            (
                "W: Failed to fetch http://deb.debian.org/x  Temporary failure resolving 'deb.debian.org'\n"
                "W: Some index files failed to download. They have been ignored, or old ones used instead.\n"
            ),
            "the package archive could not be reached (Temporary failure resolving)",
        ),
        (100, "Reading...\nE: Unable to locate package nosuch\n", "E: Unable to locate package nosuch"),
    ],
)
def test_what_apt_buries(setup: ModuleType, code: int, log: str, problem: str) -> None:
    assert setup.apt_problem(code, log) == problem


def test_an_environment_that_cannot_be_used(setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(setup, "version_of", lambda python: "3.12")
    ready = setup.Ready("/a", "3.12", "checksum")
    assert setup.stale(None, "/a", "") == "there is none"
    assert setup.stale(ready, "/a", "") == ""
    assert setup.stale(ready, "/a", "3.12") == ""
    assert setup.stale(ready, "/b", "") == "it was made in /a"
    assert "3.11" in setup.stale(replace(ready, python="3.11"), "/a", "")
    assert "3.13 is asked for" in setup.stale(ready, "/a", "3.13")
    monkeypatch.setattr(setup, "version_of", lambda python: "")
    assert setup.stale(ready, "/a", "") == ".venv/bin/python does not run"
    (tmp_path / ".venv").mkdir()
    assert setup.stale(None, "/a", "") == "it is not complete"
    assert setup.version_of is not load("setup").version_of
    assert load("setup").version_of(tmp_path / "none") == ""


def test_what_was_set_up_is_kept(setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert setup.read_ready() is None
    (tmp_path / ".venv").mkdir()
    ready = setup.Ready("/ä b", "3.12", "checksum", ("cli", "test"))
    setup.write_ready(ready)
    assert setup.read_ready() == ready
    for broken in ("", "[]", "{}", '{"folder": 1}'):  # an empty one is what earlier versions wrote
        setup.READY.write_text(broken)
        assert setup.read_ready() is None


def test_targets_name_extras_and_the_makefile_targets(setup: ModuleType) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {extra for needs in setup.TARGETS.values() for extra in needs.extras} <= set(extras)
    makefile = (ROOT / "Makefile").read_text()
    for line in makefile.splitlines():
        if line.startswith("\t@.ci/setup"):
            assert line.split()[-1] in setup.TARGETS, line
    for target in setup.TARGETS:
        assert f".ci/setup {target}\n" in makefile


@pytest.mark.parametrize(("status", "version", "n_lines"), [(1, "3.9.2", 1), (3, "3.12.1", 2)])
def test_a_python_that_is_not_supported_is_named(tmp_path: Path, status: int, version: str, n_lines: int) -> None:
    unsupported = tmp_path / "python3"
    unsupported.write_text(f'#!/bin/sh\n[ "$1" = -V ] && echo "Python {version}"\nexit {status}\n')
    unsupported.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(unsupported)}
    command = [SCRIPTS / "setup", "demo"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    *passed_over, last = done.stderr.splitlines()
    assert len(passed_over) == n_lines - 1
    assert all(f"{unsupported} is Python {version}, which is passed over" in line for line in passed_over)
    assert last.startswith(
        f"setup: Python 3.11 or newer is needed, but not 3.12.0 or 3.12.1; found: Python {version}. Name another"
    )


def test_the_same_pythons_are_excluded_everywhere() -> None:
    excluded = ("3.12.0", "3.12.1")
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert requires == ",".join([">=3.11", *(f"!={version}" for version in excluded)])
    assert f"UNSUPPORTED = {excluded}".replace("'", '"') in (ROOT / "noxfile.py").read_text()
    tuples = ", ".join(f"({version.replace('.', ', ')})" for version in excluded)
    assert f"v in ({tuples})" in (SCRIPTS / "setup").read_text()


def test_the_line_at_the_end() -> None:
    class Report:
        def __init__(self, reason: str) -> None:
            self.longrepr = ("file", 1, f"Skipped: {reason}")

    assert summary([]) == ""
    assert summary([Report("reads the source tree")]) == ""
    line = summary([Report("missing here: cc is not installed"), Report("missing here: no OpenGL"), Report("else")])
    assert line.startswith("2 tests were skipped because of missing requirements on this machine; ")


def test_readme_is_what_fresh_systems_run() -> None:
    assert load("fresh").commands_of_readme() == ["make demo", "make test"]
