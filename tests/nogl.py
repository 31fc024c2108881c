"""
Runs create_headless_context and the doctor in processes in which OpenGL is missing or broken.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import ROOT

from alphastream_gpu._context.fixes import Situation, fix_for
from alphastream_gpu._context.system import System, look_at_system

PACKAGES = fix_for(Situation.DRIVER, System(distribution=look_at_system().distribution))
"""The fix that installs Mesa on this distribution; test_doctor.py tests its text."""
_OURS = re.compile("DISPLAY|WAYLAND|XDG_SESSION|GLCONTEXT_|LIBGL_|MESA_|GALLIUM_|NVIDIA_|__EGL|__GLX")
_SCRIPT = """
import json, sys
import click.testing
import alphastream_gpu
from alphastream_gpu import _cli

error = None
try:
    alphastream_gpu.create_headless_context(*json.loads(sys.argv[1])).release()
except alphastream_gpu.GLUnavailableError as exc:
    error = str(exc)

def doctor(*arguments):
    done = click.testing.CliRunner().invoke(_cli.cli, ["doctor", *arguments])
    if not isinstance(done.exception, SystemExit | None):
        raise done.exception
    return done

by_json, in_words = doctor("--json"), doctor()
print(json.dumps([error, by_json.exit_code, json.loads(by_json.stdout), in_words.exit_code, in_words.stdout]))
"""


@dataclass(frozen=True)
class Account:
    """The output of a run."""

    lines: list[str]
    """The error of create_headless_context, without the part that appears only on a machine with an NVIDIA GPU."""
    exit_code: int
    ok: bool
    findings: dict[str, dict[str, Any]]
    words: list[str]


def environment(**variables: object) -> dict[str, str]:
    """The environment of this process without the variables for OpenGL, plus the given variables."""
    kept = {name: value for name, value in os.environ.items() if not _OURS.match(name)}
    return {**kept, **{name: str(value) for name, value in variables.items()}}


def account(*device: int | str, **variables: object) -> Account:
    """Run create_headless_context and both forms of the doctor in a new process."""
    done = run_python(_SCRIPT, json.dumps(device), **variables)
    assert done.returncode == 0, done.stderr
    error, code, report, code_in_words, words = json.loads(done.stdout.splitlines()[-1])
    assert code == code_in_words
    findings = {finding["name"]: finding for finding in report["findings"]}
    assert len(findings) == len(report["findings"])
    return Account(_without_nvidia(error or "").splitlines(), code, report["ok"], findings, words.splitlines())


def run_python(script: str | Path, *arguments: str, **variables: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *([str(script)] if isinstance(script, Path) else ["-c", script]), *arguments]
    return subprocess.run(
        command, env=environment(**variables), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def _without_nvidia(text: str) -> str:
    return re.sub(", or in a container with an NVIDIA GPU.*", "", text)
