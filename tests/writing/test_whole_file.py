"""
Whole file: a target is complete or unchanged, and what a killed process left beside it is removed by the next.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from alphastream_gpu._writing import whole_file as module
from alphastream_gpu._writing.locks import try_lock
from alphastream_gpu._writing.whole_file import whole_file

HANGS = """
import sys, time
from pathlib import Path
from alphastream_gpu._writing.whole_file import whole_file
with whole_file(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("open", flush=True)
    time.sleep(60)
"""
HAS_LOCKS = importlib.util.find_spec("fcntl") is not None
needs_locks = pytest.mark.skipif(not HAS_LOCKS, reason="this system cannot tell whether a file is in use")
ODD = "a[1].{2}*.bin"
"""A name whose characters mean something in patterns."""


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def write(path: Path, data: bytes) -> None:
    with whole_file(path) as file:
        file.write(data)


@needs_locks
@pytest.mark.parametrize("name", ["out.mkv", ODD])
def test_a_killed_process(tmp_path: Path, name: str) -> None:
    """While it lives, its file stays. After its death, the next call for the same target removes it."""
    target = tmp_path / name
    with subprocess.Popen([sys.executable, "-c", HANGS, str(target)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        write(target, b"whole")
        assert len(names(tmp_path)) == 2, "the file of a process that is alive was removed"
        child.send_signal(signal.SIGKILL)
    write(tmp_path / "other", b"")
    assert len(names(tmp_path)) == 3, "the file of another target was removed"
    write(target, b"again")
    assert names(tmp_path) == sorted([name, "other"])
    assert target.read_bytes() == b"again"


@needs_locks
def test_only_names_of_its_own_are_removed(tmp_path: Path) -> None:
    kept = [
        ".out.tmp",
        ".out.0123.tmp",
        ".out.0123456789ABCDEF.tmp",
        ".out.b.0123456789abcdef.tmp",
        "out.0123456789abcdef.tmp",
        ".xout.0123456789abcdef.tmp",
    ]
    for one in kept:
        (tmp_path / one).write_bytes(b"theirs")
    (tmp_path / ".out.0123456789abcdef.tmp").write_bytes(b"left")
    (tmp_path / "elsewhere").write_bytes(b"theirs")
    (tmp_path / ".out.1123456789abcdef.tmp").symlink_to(tmp_path / "elsewhere")
    (tmp_path / ".out.2123456789abcdef.tmp").mkdir()
    write(tmp_path / "out", b"whole")
    found = {*kept, "out", "elsewhere", ".out.1123456789abcdef.tmp", ".out.2123456789abcdef.tmp"}
    assert names(tmp_path) == sorted(found)


@needs_locks
def test_a_file_that_is_taken_for_a_left_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process can find a file before its lock. Then another file is made."""
    asked: list[str] = []

    def takes_two(file: IO[bytes]) -> bool | None:
        asked.append(str(file.name))
        if len(asked) == 1:
            return False
        if len(asked) == 2:
            os.unlink(file.name)
        return try_lock(file)

    monkeypatch.setattr(module, "try_lock", takes_two)
    write(tmp_path / "out", b"whole")
    assert len(set(asked)) == 3
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"whole"


def test_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can tell whether a file is in use, nothing is removed."""
    left = tmp_path / ".out.0123456789abcdef.tmp"
    left.write_bytes(b"left")

    def none(file: IO[bytes]) -> None:
        return None

    monkeypatch.setattr(module, "try_lock", none)
    write(tmp_path / "out", b"whole")
    assert names(tmp_path) == sorted([left.name, "out"])


def test_a_failed_block(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), whole_file(target) as file:
        file.write(b"half")
        1 / 0  # noqa: B018
    assert names(tmp_path) == ["out"]
    assert target.read_bytes() == b"before"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists a process's files")
def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        write(tmp_path / "out", b"whole")
    assert len(os.listdir("/proc/self/fd")) == before


@needs_locks
def test_two_openings_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("xb") as first, path.open("rb") as second:
        assert try_lock(first) is True
        assert try_lock(second) is False
        first.close()
        assert try_lock(second) is True
