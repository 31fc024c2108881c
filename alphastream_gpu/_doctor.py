"""
Doctor: what OpenGL this machine has, and what to install where it lacks something. Findings only; the CLI prints them.
"""

from __future__ import annotations

import ctypes.util
import platform
import sys
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import moderngl

from ._exceptions import GLUnavailableError
from ._gl import MaskRenderer, create_headless_context
from ._gl.headless import CURE

__all__ = ["Finding", "Report", "examine"]

_PACKAGES: Final = ("numpy", "moderngl", "glcontext", "cryptography", "httpx")
_LIBRARIES: Final = {"EGL": "libEGL.so.1", "GL": "libGL.so.1"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    ok: bool
    detail: str
    cure: str = ""
    """What to do about it; empty when nothing is wrong."""


@dataclass(frozen=True)
class Report:
    """Everything looked at, in the order in which one thing depends on another."""

    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether masks can be rendered with GL here."""
        return all(finding.ok for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"ok": self.ok, "findings": [asdict(finding) for finding in self.findings]}


def examine() -> Report:
    """Look at Python, packages, libraries, a context, and whether its masks are exact."""
    report = Report()
    findings = report.findings
    findings.append(Finding("python", True, f"{platform.python_version()} on {platform.platform()} ({sys.executable})"))
    for package in _PACKAGES:
        try:
            findings.append(Finding(package, True, version(package)))
        except PackageNotFoundError:
            findings.append(Finding(package, False, "not installed", f"pip install {package}"))
    if sys.platform.startswith("linux"):
        for name, soname in _LIBRARIES.items():
            found = ctypes.util.find_library(name)
            findings.append(Finding(soname, found is not None, found or "not found", "" if found else CURE))
    try:
        context = create_headless_context()
    except GLUnavailableError as exc:
        findings.append(Finding("OpenGL context", False, str(exc.__cause__ or exc), CURE))
        findings.append(Finding("exact masks", False, "not looked at, for lack of a context"))
        return report
    try:
        findings.extend(_examine_context(context))
    finally:
        context.release()
    return report


def _examine_context(context: moderngl.Context) -> list[Finding]:
    info = context.info
    driver = f"{info['GL_RENDERER']} ({info['GL_VENDOR']}), OpenGL {info['GL_VERSION']}"
    findings = [Finding("OpenGL context", True, driver)]
    try:
        with MaskRenderer(context) as renderer:
            is_exact = renderer.is_exact
    except GLUnavailableError as exc:
        return [*findings, Finding("exact masks", False, str(exc), "update the graphics driver")]
    detail = "GPU equals CPU, bit for bit" if is_exact else "the self-check found pixels that differ from the CPU's"
    cure = "" if is_exact else "report this driver; masks are made by the CPU and uploaded on it"
    return [*findings, Finding("exact masks", is_exact, detail, cure)]
