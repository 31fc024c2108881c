"""
What is registered to be closed at exit: closed by the process that registered it, and disowned in its forks.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import os, sys, threading
from concurrent.futures import Future
from alphastream_gpu._runtime.exit import close_at_exit, forget

class Thing:
    def __init__(self, name):
        self.name = name
        close_at_exit(self)

    def say(self, what):
        os.write(1, f"{self.name} {what}\\n".encode())

    def begin_close(self):
        self.say("begins")
        closing = Future()
        closing.set_result(None)
        return closing

    def end_close(self, closing, deadline=None):
        assert closing.done() and deadline is not None
        self.say("ends")
        forget(self)

    def disown(self):
        self.say("is disowned")

one, other, gone, closed = map(Thing, ("one", "other", "gone", "closed"))
del gone
forget(closed)
if FORKS and os.fork() == 0:
    sys.exit()  # runs the exit handlers
if FORKS:
    os.wait()
"""


NO_FORK = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")


@pytest.mark.slow
@pytest.mark.parametrize("forks", [False, pytest.param(True, marks=NO_FORK)])
def test_what_is_open_is_closed_at_exit_and_disowned_in_a_child(forks: bool) -> None:
    """All begin before the first is waited for."""
    done = subprocess.run(
        [sys.executable, "-c", f"FORKS = {forks}\n{SCRIPT}"], capture_output=True, text=True, timeout=60, check=False
    )
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    disowned = ["one is disowned", "other is disowned"] * forks
    assert sorted(lines[: len(disowned)]) == disowned
    left = lines[len(disowned) :]
    assert sorted(left[:2]) == ["one begins", "other begins"]
    assert sorted(left[2:]) == ["one ends", "other ends"]
