"""
Doctor: checks this machine's OpenGL and finds a fix for each problem. Pure: facts.py gathers the facts, this module
turns them into findings, and the command prints them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from .._gl.drivers import is_software
from .facts import ContextFacts, Facts, gather
from .fixes import Situation, fix_for

__all__ = ["Finding", "Report", "diagnose", "examine"]

_LIBRARIES: Final = {
    "libEGL.so.1": Situation.EGL_LIBRARY,
    "libGL.so.1": Situation.GL_LIBRARY,
    "libX11.so.6": Situation.X11_LIBRARY,
    "libOpenGL.so.0": Situation.OPENGL_LIBRARY,
}
_SPARE: Final = {"libX11.so.6": "only for contexts through X11", "libOpenGL.so.0": "only for PyOpenGL through EGL"}
"""Libraries that masks never need, and their use."""
_DISPLAY_VARIABLES: Final = ("WAYLAND_DISPLAY", "DISPLAY", "XDG_SESSION_TYPE")

Level = Literal["needed", "optional"]


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    """Stable across releases."""
    ok: bool
    detail: str
    fix: str = ""
    """What to do about a problem; empty if there is none."""
    level: Level = "needed"
    """Whether masks need it. The parts of a context are needed if there is no context, and optional if there is one."""


@dataclass(frozen=True)
class Report:
    """All findings, each after those that it depends on."""

    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether masks can be rendered with GL on this machine."""
        return all(finding.ok for finding in self.findings if finding.level == "needed")

    def as_dict(self) -> dict[str, Any]:
        """Return the report in a form for JSON."""
        return {"ok": self.ok, "findings": [asdict(finding) for finding in self.findings]}


def examine() -> Report:
    """Examine this machine."""
    return diagnose(gather())


def diagnose(facts: Facts) -> Report:
    """Turn facts into findings."""
    return Report(
        [
            Finding("python", True, facts.python),
            *_judge_packages(facts),
            *_judge_libraries(facts),
            *_judge_vendors(facts),
            *_judge_devices(facts),
            *_judge_context(facts),
            _judge_glfw(facts),
            *_judge_display(facts),
        ]
    )


def _part_level(facts: Facts) -> Level:
    """Return the level of the parts of a context."""
    return "needed" if facts.context is None else "optional"


def _judge_packages(facts: Facts) -> Iterator[Finding]:
    for name, version in facts.packages.items():
        yield Finding(name, bool(version), version or "not installed", "" if version else f"pip install {name}")


def _judge_libraries(facts: Facts) -> Iterator[Finding]:
    for name, why in facts.libraries.items():
        use = _SPARE.get(name)
        fix = fix_for(_LIBRARIES[name], facts.system, why) if why else ""
        detail = f"does not load: {why}" if why else "loads"
        level = "optional" if use else _part_level(facts)
        yield Finding(name, not why, f"{detail} ({use})" if use else detail, fix, level)


def _judge_vendors(facts: Facts) -> Iterator[Finding]:
    if not facts.egl.uses_vendor_files:
        return
    files = facts.egl.vendor_files
    fix = fix_for(Situation.VENDOR, facts.system)
    level = _part_level(facts)
    if not files.vendors:
        places = f"{files.variable}={files.places!r}" if files.variable else files.places
        yield Finding("EGL vendors", False, f"none in {places}", fix, level)
    for one in files.vendors:
        detail = one.problem or f"{one.library} loads"
        yield Finding(f"EGL vendor {one.path}", not one.problem, detail, fix if one.problem else "", level)


def _judge_devices(facts: Facts) -> Iterator[Finding]:
    if not facts.system.has_egl:
        return
    level = _part_level(facts)
    if facts.egl.problem:
        yield Finding("EGL devices", False, "not checked: no EGL", level=level)
    elif not facts.egl.devices:
        yield Finding("EGL devices", False, "none", fix_for(Situation.VENDOR, facts.system), level)
    for device, outcome, fix in facts.egl.devices:
        named = str(device).partition(" (")[2].removesuffix(")")
        detail = f"{named}: {outcome}" if named else outcome
        yield Finding(f"EGL device {device.index}", not fix, detail, fix, level)


def _judge_context(facts: Facts) -> Iterator[Finding]:
    context = facts.context
    if context is None:
        detail = " | ".join(f"{cause.tried}: {cause.why}" for cause in facts.causes)
        fixes = dict.fromkeys(cause.fix for cause in facts.causes if cause.fix)  # each once, in order
        yield Finding("OpenGL context", False, detail, " | ".join(fixes))
        yield Finding("R8 rendering", False, "not checked: no context")
        yield Finding("exact masks", False, "not checked: no context")
        return
    detail = f"{context.renderer} ({context.vendor}), OpenGL {context.version}, through {context.way}"
    yield Finding("OpenGL context", True, detail)
    yield _judge_hardware(facts, context)
    r8_fix = fix_for(Situation.OTHER, facts.system) if context.r8_problem else ""
    yield Finding("R8 rendering", not context.r8_problem, context.r8_problem or "renders and reads", r8_fix)
    yield _judge_masks(facts, context)


def _judge_hardware(facts: Facts, context: ContextFacts) -> Finding:
    if not is_software(context.renderer):
        return Finding("GPU", True, context.renderer, level="optional")
    situation = Situation.NODE if facts.system.closed_nodes else Situation.SOFTWARE
    detail = "not used: the CPU renders the same masks, but slower"
    return Finding("GPU", False, detail, fix_for(situation, facts.system), "optional")


def _judge_masks(facts: Facts, context: ContextFacts) -> Finding:
    name = "exact masks"
    if context.mask_problem:
        return Finding(name, False, context.mask_problem, fix_for(Situation.OTHER, facts.system))
    detail = f"the self-check found wrong pixels by {' and '.join(context.wrong_methods)}"
    if not context.exact_methods:
        return Finding(name, False, detail, fix_for(Situation.DIFFERENT, facts.system))
    exact = f"GPU equals CPU, bit for bit, by {' and '.join(context.exact_methods)}"
    if context.wrong_methods:
        exact += f"; {detail}"
    return Finding(name, True, f"{exact}; renderers use {context.auto_method} by default")


def _judge_glfw(facts: Facts) -> Finding:
    glfw = facts.glfw
    use = "only for windows, as in the examples"
    if not glfw.package:
        return Finding("GLFW", False, f"not installed ({use})", fix_for(Situation.GLFW, facts.system), "optional")
    versions = f"glfw {glfw.package}" + (f", library {glfw.library}" if glfw.library else "")
    if not glfw.problem:
        return Finding("GLFW", True, f"{versions}: starts", level="optional")
    situation = Situation.DISPLAY if glfw.library else Situation.GLFW
    return Finding("GLFW", False, f"{versions}: {glfw.problem} ({use})", fix_for(situation, facts.system), "optional")


def _judge_display(facts: Facts) -> Iterator[Finding]:
    if not facts.system.has_egl:
        return
    variables = facts.system.variables
    known = [f"{name}={variables[name]}" for name in _DISPLAY_VARIABLES if variables.get(name)]
    servers = [server for server, name in (("Wayland", "WAYLAND_DISPLAY"), ("X11", "DISPLAY")) if variables.get(name)]
    if servers:
        yield Finding("display", True, f"{' and '.join(servers)} ({', '.join(known)})", level="optional")
        return
    detail = "neither Wayland nor X11; masks do not need a display" + (f" ({', '.join(known)})" if known else "")
    yield Finding("display", False, detail, fix_for(Situation.DISPLAY, facts.system), "optional")
