"""
What tests need beside the package: OpenGL, toolkits, servers, compilers. Where something is missing, a test is skipped
with the reason; in CI it fails. At the end of a run, one line says how many were skipped, and which command adds them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Any, Final, NoReturn

import pytest
from support import ROOT

__all__ = ["lacking", "need", "summary"]

_MISSING: Final = "missing here: "
"""Begins the reason of every skip that another machine would not need."""


def lacking(reason: str, variable: str = "ALPHASTREAM_REQUIRE_HOSTS") -> NoReturn:
    """Skip with the reason; fail where the variable is set, as in CI."""
    if os.environ.get(variable):
        pytest.fail(f"{variable} is set, and {reason}")
    pytest.skip(_MISSING + reason)


def need(program: str, cure: str) -> str:
    """A program's path."""
    found = shutil.which(program)
    if found is None:
        lacking(f"{program} is not installed: {cure}")
    return found


def summary(skipped: list[Any]) -> str:
    """The last line of a run, from its skipped tests' reports; empty if none was skipped for what is missing here."""
    n_skipped = sum(_MISSING in str(report.longrepr) for report in skipped)
    if not n_skipped:
        return ""
    setup = ROOT / ".ci" / "setup.py"
    command = ""
    if setup.exists() and sys.platform == "linux":
        asked = [sys.executable, str(setup), "test", "--missing"]
        command = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    advice = f"to run them, too: {command}" if command else "the reasons stand above"
    return f"{n_skipped} tests were skipped for what is missing on this machine; {advice}"
