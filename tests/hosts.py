"""
Requirements of tests: OpenGL, toolkits, servers, compilers. If one is missing, a test is skipped with the reason; in CI
it fails. At the end of a run, one line has the number of skipped tests and the command that installs what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Any, Final, NoReturn

import pytest
from support import ROOT

__all__ = ["need", "skip_or_fail", "summary"]

_MISSING: Final = "missing here: "
"""The start of the reason of every skip that depends on the machine."""


def skip_or_fail(reason: str, variable: str = "ALPHASTREAM_REQUIRE_HOSTS") -> NoReturn:
    """Skip the test with a reason; fail if the environment variable is set, as in CI."""
    if os.environ.get(variable):
        pytest.fail(f"{variable} is set, and {reason}")
    pytest.skip(_MISSING + reason)


def need(program: str, fix: str) -> str:
    """The path of a program. If it is not installed, skip with a fix, or fail in CI."""
    found = shutil.which(program)
    if found is None:
        skip_or_fail(f"{program} is not installed: {fix}")
    return found


def summary(skipped: list[Any]) -> str:
    """The last line of a run, from the reports of its skipped tests; empty if no test was skipped for this machine."""
    n_skipped = sum(_MISSING in str(report.longrepr) for report in skipped)
    if not n_skipped:
        return ""
    setup = ROOT / ".ci" / "setup.py"
    command = ""
    if setup.exists() and sys.platform == "linux":
        asked = [sys.executable, str(setup), "test", "--missing"]
        command = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    advice = f"to run them, too: {command}" if command else "see the reasons above"
    return f"{n_skipped} tests were skipped because of missing requirements on this machine; {advice}"
