"""
Whole file: a target is complete or unchanged, and what a killed process left beside it is removed by the next.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import signal
import subprocess
import sys
import zlib
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


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def write(path: Path, data: bytes) -> None:
    with whole_file(path) as file:
        file.write(data)


def own(path: Path) -> Path:
    """The temporary file of this host."""
    return path.with_name(f".{path.name}.{zlib.crc32(os.uname().nodename.encode()):08x}.tmp")


@needs_locks
@pytest.mark.parametrize("name", ["out.mkv", "a[1].{2}*.bin"])
def test_a_killed_process(tmp_path: Path, name: str) -> None:
    """While it lives, its file stays. After its death, the next call for the same target removes it."""
    target = tmp_path / name
    with subprocess.Popen([sys.executable, "-c", HANGS, str(target)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        assert names(tmp_path) == [own(target).name]
        write(target, b"whole")
        assert names(tmp_path) == sorted([own(target).name, name]), "the file of a process that is alive was removed"
        child.send_signal(signal.SIGKILL)
    write(tmp_path / "other", b"")
    assert len(names(tmp_path)) == 3, "the file of another target was removed"
    write(target, b"again")
    assert names(tmp_path) == sorted([name, "other"])
    assert target.read_bytes() == b"again"


@needs_locks
@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_no_file_of_ours(tmp_path: Path, kind: str) -> None:
    """Files of other hosts, whose locks are not seen here, are not touched, and neither is what a link leads to."""
    target = tmp_path / "out"
    others = [tmp_path / ".out.01234567.tmp", tmp_path / ".out.0123456789abcdef.tmp", tmp_path / "elsewhere"]
    for one in others:
        one.write_bytes(b"theirs")
    if kind == "folder":
        own(target).mkdir()
        others.append(own(target))
    else:
        own(target).symlink_to(tmp_path / "elsewhere")
        others.append(own(target))
    write(target, b"whole")
    assert names(tmp_path) == sorted([target.name, *(one.name for one in others)])
    assert all(one.is_dir() or one.read_bytes() == b"theirs" for one in others)


@needs_locks
def test_a_file_that_is_taken_for_a_left_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process can find a file before its lock. Then another file is made."""
    asked: list[str] = []

    def found_before(file: IO[bytes]) -> bool | None:
        asked.append(str(file.name))
        if len(asked) == 1:  # it was removed, and there is another one in its place, of a process that is alive
            os.unlink(file.name)
            Path(file.name).write_bytes(b"theirs")
            return try_lock(file)
        return False

    monkeypatch.setattr(module, "try_lock", found_before)
    write(tmp_path / "out", b"whole")
    assert (tmp_path / "out").read_bytes() == b"whole"
    assert own(tmp_path / "out").read_bytes() == b"theirs"
    assert len(names(tmp_path)) == 2


@needs_locks
def test_the_lock_ends_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(source: Path, target: Path) -> None:
        module._remove_left(source)  # by another process
        os.rename(source, target)

    monkeypatch.setattr(module.os, "replace", replace)
    write(tmp_path / "out", b"whole")
    assert (tmp_path / "out").read_bytes() == b"whole"


@pytest.mark.parametrize("error", [None, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int | None) -> None:
    """Where nobody can tell whether a file is in use, nothing is removed."""
    target = tmp_path / "out"
    own(target).write_bytes(b"left")
    if error is None:
        monkeypatch.setitem(sys.modules, "fcntl", None)
    else:

        def refused(*_: object) -> None:
            raise OSError(error, "no locks")

        monkeypatch.setattr("fcntl.flock", refused)
    write(target, b"whole")
    write(tmp_path / "other", b"whole")
    assert names(tmp_path) == sorted([own(target).name, "other", "out"])
    assert own(target).read_bytes() == b"left"


def test_other_errors_of_locks_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise OSError(errno.EIO, "the disk")

    monkeypatch.setattr("fcntl.flock", failing)
    with pytest.raises(OSError, match="the disk"):
        write(tmp_path / "out", b"whole")


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
