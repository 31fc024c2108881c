"""
Kernels: modules of plain functions that numba compiles. Each test compiles a small module of its own.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import wait_until

from alphastream_gpu._runtime import kernels as kernels_module
from alphastream_gpu._runtime.kernels import Kernels

pytest.importorskip("numba")

SOURCE = '''
def sum_of_doubles(values):
    total = 0
    for k in range(values.size):
        total += _doubled(values[k])
    return total


def _doubled(value):
    return 2 * value


def answer():
    return _from_outside()


def _from_outside():
    """Replaced where it is compiled."""
    return 0
'''
SIGNATURES = {"sum_of_doubles": "int64(int64[::1])"}
VALUES = np.array([1, 2, 40])

Make = Callable[..., Kernels]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes Kernels of a new module in a folder of the test's own, where numba's cache is, too."""
    name = f"kernels_of_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(kernels_module, "_is_told", threading.Event())
    return lambda signatures=SIGNATURES, **options: Kernels(name, signatures, **options)


def compile_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "alphastream-compile"]


def test_compiled_and_plain_functions_give_the_same(make: Make) -> None:
    kernels = make()
    assert kernels.is_installed
    assert kernels.load().sum_of_doubles(VALUES) == kernels.plain().sum_of_doubles(VALUES) == 86
    assert kernels.load() is kernels.load() is kernels.ready()
    assert type(kernels.plain().sum_of_doubles) is type(make)  # the module itself is as it was


def test_a_call_never_compiles(make: Make) -> None:
    """Types without a signature are refused: compiling for them would take seconds, maybe within a time box."""
    with pytest.raises(TypeError, match="No matching definition"):
        make().load().sum_of_doubles(VALUES.astype(np.float32))


def test_replacements_stand_for_functions_of_the_module(make: Make) -> None:
    def replacements() -> dict[str, Any]:
        import numba

        return {"_from_outside": numba.njit(lambda: 42)}

    kernels = make({"answer": "int64()"}, replacements=replacements)
    assert (kernels.plain().answer(), kernels.load().answer()) == (0, 42)


def test_ready_begins_to_compile_and_does_not_wait(make: Make) -> None:
    """As long as the test holds the compiler, every call returns, and there is one thread however many ask."""
    free, threads = threading.Event(), len(compile_threads())

    def held() -> dict[str, Any]:
        free.wait()
        return {}

    kernels = make(replacements=held)
    got: list[Any] = []
    askers = [threading.Thread(target=lambda: got.append(kernels.ready())) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert got == [None] * 8
    assert len(compile_threads()) == threads + 1
    free.set()
    wait_until(lambda: kernels.ready() is not None)
    made = kernels.ready()
    assert made is not None
    assert made.sum_of_doubles(VALUES) == 86
    wait_until(lambda: len(compile_threads()) == threads)


def test_threads_share_what_is_compiled(make: Make) -> None:
    n_compiled: list[int] = []

    def counted() -> dict[str, Any]:
        n_compiled.append(1)
        return {}

    kernels = make(replacements=counted)
    got: list[int] = []
    threads = [threading.Thread(target=lambda: got.append(kernels.load().sum_of_doubles(VALUES))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [86] * 8
    assert len(n_compiled) == 1


def test_without_numba(make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    kernels, threads = make(), len(compile_threads())
    assert not kernels.is_installed
    assert kernels.ready() is kernels.ready() is None
    assert len(compile_threads()) == threads
    with pytest.raises(ImportError):
        kernels.load()
    assert kernels.plain().sum_of_doubles(VALUES) == 86
    assert not caplog.records


def test_a_numba_that_does_not_work_is_reported_once(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> dict[str, Any]:
        raise OSError("no such processor")

    kernels = make(replacements=broken)
    with caplog.at_level(logging.WARNING, "alphastream_gpu"):
        assert kernels.ready() is None
        wait_until(lambda: not kernels.is_installed)
        assert kernels.ready() is kernels.ready() is None
    [record] = caplog.records
    assert "so numpy does its work: numba does not work here: OSError: no such processor" in record.getMessage()
    with pytest.raises(ImportError, match="the log says why"):
        kernels.load()


def test_no_thread_can_be_started(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    kernels = make()
    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", refused)
        assert kernels.ready() is None
    wait_until(lambda: kernels.ready() is not None)


def test_the_cache_is_used_again(make: Make, tmp_path: Path) -> None:
    make().load()
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")}
    assert files
    assert make().load().sum_of_doubles(VALUES) == 86
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")} == files


def test_damaged_cache_files(make: Make, tmp_path: Path) -> None:
    make().load()
    for path in tmp_path.rglob("*.nb?"):
        path.write_bytes(path.read_bytes()[:40])
    assert make().load().sum_of_doubles(VALUES) == 86


def test_no_folder_for_the_cache_is_logged_once(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Files stand where folders would be made: also root, who may write everywhere, can make none."""
    (tmp_path / "__pycache__").write_text("")
    (tmp_path / "file").write_text("")
    for variable in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "alphastream_gpu"):
        for kernels in (make(), make()):
            assert kernels.load().sum_of_doubles(VALUES) == 86
    [record] = caplog.records
    assert "set NUMBA_CACHE_DIR to a folder that can be written" in record.getMessage()


FORK = """
import os, sys, threading
sys.path.insert(0, sys.argv[1])
import numpy as np
from alphastream_gpu._runtime.kernels import Kernels

values, signatures = np.array([1, 2, 40]), {"sum_of_doubles": "int64(int64[::1])"}
name = sys.argv[2]
begun, free = threading.Event(), threading.Event()

def held():
    begun.set()
    free.wait()
    return {}

def in_child(check):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if check() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def can_compile():
    return Kernels(name, signatures).load().sum_of_doubles(values) == 86

def does_without():
    assert compiling.ready() is None
    assert other.ready() is None
    try:
        compiling.load()
    except ImportError:
        return done.load().sum_of_doubles(values) == 86  # what was compiled before the fork

idle = Kernels(name, signatures)
assert in_child(lambda: idle.load().sum_of_doubles(values) == 86) == 0
done = Kernels(name, signatures)
done.load()
compiling, other = Kernels(name, signatures, replacements=held), Kernels(name, signatures)
compiling.ready()
begun.wait()
assert in_child(does_without) == 0
free.set()
assert compiling.load().sum_of_doubles(values) == 86
assert other.load().sum_of_doubles(values) == 86
print("parent and children")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_while_a_thread_compiles(make: Make, tmp_path: Path) -> None:
    [path] = tmp_path.glob("*.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK, str(tmp_path), path.stem],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout == "parent and children\n", done.stderr


def test_what_was_kept_is_used_and_nothing_is_compiled(make: Make, tmp_path: Path) -> None:
    assert make().load_kept() is None
    assert not list(tmp_path.rglob("*.nb?"))
    make().load()
    kept = make().load_kept()
    assert kept is not None
    assert kept.sum_of_doubles(VALUES) == 86
    assert make(SIGNATURES | {"answer": "int64()"}).load_kept() is None
    for path in tmp_path.rglob("*.nb?"):
        path.write_bytes(path.read_bytes()[:40])
    assert make().load_kept() is None


EXIT = """
import os, sys, threading, time
os.environ["NUMBA_CACHE_DIR"] = sys.argv[1]
from alphastream_gpu._raster.compiled import _KERNELS

_KERNELS.ready()
time.sleep(float(sys.argv[2]))
print(threading.enumerate()[-1].name)
"""


@pytest.mark.slow
@pytest.mark.parametrize("seconds", ["0.1", "0.9"])
def test_the_end_of_python_waits_for_what_compiles(tmp_path: Path, seconds: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXIT, str(tmp_path), seconds], capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "alphastream-compile\n", "")
