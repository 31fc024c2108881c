"""
Set up what a make target needs: the environment .venv, and system packages where they may be installed.

    .ci/setup TARGET             set up; does nothing, in a tenth of a second, if everything is there
    .ci/setup TARGET --missing   print the one command that installs the missing system packages, or nothing

Strategy. Everything that is missing is found first, and installed or named together. Root, and a user whose sudo asks
for no password, get the packages installed. Anyone else gets one command to paste; whatever works without the packages
goes on. A package counts as there if it is installed *or provided*, because distributions rename packages: on Debian
13, libglib2.0-0t64 provides libglib2.0-0. `.venv/.ready` records in which folder and with which Python the environment
was made: an environment survives neither a move of the checkout nor an upgrade of Python, and is then made again.

Two variables make what is missing an error, as in CI: ALPHASTREAM_REQUIRE_GL and ALPHASTREAM_REQUIRE_HOSTS.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, NoReturn

ROOT: Final = Path(__file__).resolve().parents[1]
VENV: Final = Path(".venv")
"""Relative to ROOT, the working directory: messages are then the same on every machine."""
PYTHON: Final = VENV / "bin" / "python"
READY: Final = VENV / ".ready"
NO_GL: Final = VENV / ".no-gl"
"""Exists if the last look found no OpenGL; `make demo` reads it."""

GL_PACKAGES: Final = ("libegl1", "libgl1", "libgl1-mesa-dri")
HOST_PACKAGES: Final = (
    *("gcc", "g++", "libc6-dev", "pkg-config", "cmake", "mono-mcs", "mono-runtime"),  # the C library's host programs
    *("xvfb", "xauth", "xdotool", "libglx-mesa0"),  # windows, through GLX
    *(
        "libx11-6",
        "libxcursor1",
        "libxrandr2",
        "libxinerama1",
        "libxi6",
        "libxext6",
        "libxrender1",
        "libxxf86vm1",
    ),  # GLFW
    *("libglib2.0-0", "libfontconfig1", "libdbus-1-3", "libxkbcommon0", "libxkbcommon-x11-0"),  # Qt, and what follows
    *("libxcb-cursor0", "libxcb-icccm4", "libxcb-image0", "libxcb-keysyms1", "libxcb-randr0", "libxcb-render-util0"),
    *("libxcb-shape0", "libxcb-xkb1"),
    *("libvulkan1", "mesa-vulkan-drivers"),
    "ffmpeg",  # another reader of exported videos
)
"""What the examples' and the C library's host programs need: compilers and Mono, an X server without a monitor, the
libraries that toolkits load, Vulkan with Mesa's software driver. Also the program that examines exported videos."""


@dataclass(frozen=True)
class Needs:
    """What a make target needs."""

    extras: tuple[str, ...]
    """Of pyproject.toml; the target cannot run without them."""
    gl: bool = False
    """An OpenGL driver; without one the target goes on with the CPU."""
    hosts: bool = False
    """The host programs' packages, and the extra [examples]; without them tests are skipped."""


TARGETS: Final = {
    "demo": Needs(("cli",), gl=True),
    "test": Needs(("capi", "cli", "test"), gl=True, hosts=True),
    "bench": Needs(("bench", "capi", "cli", "test"), gl=True),
    "lint": Needs(("capi", "cli", "lint")),
    "docs": Needs(("cli", "docs")),
    "capi": Needs(("capi", "cli")),
    "package": Needs(("package",), gl=True),
    "mutants": Needs(("cli", "mutants", "test")),
    "fuzz": Needs(("cli", "fuzz", "test")),
}


@dataclass(frozen=True)
class Ready:
    """What `.venv` was made of, as `.venv/.ready` keeps it."""

    folder: str
    """The checkout: an environment's scripts name it, and work nowhere else."""
    python: str
    """Version, major and minor: packages lie in a folder of that name."""
    requirements: str
    """Checksum of what pyproject.toml says of dependencies and commands."""
    extras: tuple[str, ...] = ()
    """Installed so far. "examples" is among them only if every package of it could be installed."""


# What is there.


def installed_or_provided(status: str) -> set[str]:
    """
    The names that `apt-get install` would find satisfied.

    Args:
        status: lines of dpkg-query, in the format `DPKG_FORMAT`.
    """
    names = set()
    for line in status.splitlines():
        state, package, provides = line.split("\t")
        if state.startswith("ii"):
            names.add(package)
            names.update(re.split(r"[ (:]", one.strip())[0] for one in provides.split(",") if one.strip())
    return names


DPKG_FORMAT: Final = "${db:Status-Abbrev}\t${Package}\t${Provides}\n"


def missing_packages(wanted: Iterable[str]) -> list[str]:
    """The Debian packages of `wanted` that are neither installed nor provided; none on other systems."""
    if shutil.which("dpkg-query") is None:
        return []
    done = run(["dpkg-query", "--show", f"--showformat={DPKG_FORMAT}"])
    there = installed_or_provided(done.stdout)
    return [package for package in wanted if package not in there]


def version_of(python: str | Path) -> str:
    """Major and minor version, such as 3.11; empty if it does not run."""
    try:
        return run([str(python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).stdout.strip()
    except OSError:
        return ""


def has_venv() -> bool:
    """Whether this Python can make environments; Debian and Ubuntu ship that part apart."""
    return run([sys.executable, "-c", "import ensurepip, venv"]).returncode == 0


def gl_problem() -> str:
    """Why there is no OpenGL; empty if there is. Any other failure ends the set-up with its own words."""
    script = """
import sys
import alphastream_gpu
try:
    alphastream_gpu.create_headless_context().release()
except alphastream_gpu.GLUnavailableError as exc:
    print(exc)
    sys.exit(4)
"""
    done = run([str(PYTHON), "-c", script])
    if done.returncode not in (0, 4):
        fail(f"the package does not work in {VENV}:\n{done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout.strip() if done.returncode == 4 else ""


def loads_gl() -> bool:
    """Whether the libraries of OpenGL load: a guess, for as long as there is no environment to make a context in."""
    try:
        for library in ("libEGL.so.1", "libGL.so.1"):
            ctypes.CDLL(library)
    except OSError:
        return False
    return True


def wanted_packages(needs: Needs, has_gl: bool) -> list[str]:
    """The system packages that a target uses, installed or not."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    wanted = [] if has_venv() else [f"python{version}-venv"]
    if needs.gl and not has_gl:
        wanted += GL_PACKAGES
    if needs.hosts:
        wanted += HOST_PACKAGES + GL_PACKAGES
        if sys.base_prefix == "/usr":  # Debian's Python, which is embedded with its package of headers
            wanted.append(f"libpython{version}-dev")
    return list(dict.fromkeys(wanted))


# What is installed.


def run(command: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


def fail(message: str) -> NoReturn:
    print(f"setup: {message}", file=sys.stderr)
    sys.exit(1)


def say(message: str) -> None:
    print(f"setup: {message}", file=sys.stderr, flush=True)


def root_prefix() -> list[str] | None:
    """What makes a command run as root without a question; None if nothing does."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and run(["sudo", "-n", "true"]).returncode == 0:
        return ["sudo", "-n"]
    return None


def apt_command(packages: Sequence[str]) -> str:
    """The one command for a user to paste."""
    names = " ".join(packages)
    if os.geteuid() == 0:
        return f"apt-get update && apt-get install -y --no-install-recommends {names}"
    if shutil.which("sudo"):
        return f"sudo apt-get update && sudo apt-get install -y --no-install-recommends {names}"
    return f"su -c 'apt-get update && apt-get install -y --no-install-recommends {names}'"


def apt_install(packages: Sequence[str]) -> str:
    """Install system packages; why that failed, or an empty text."""
    prefix = root_prefix()
    if prefix is None:
        return "only root may install them"
    say(f"installing {' '.join(packages)} ...")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *packages]):
        done = run([*prefix, "apt-get", *command], env=environment)
        problem = apt_problem(done.returncode, done.stdout + done.stderr)
        if problem:
            return problem
    return ""


def apt_problem(code: int, log: str) -> str:
    """Why apt-get failed, in a line; empty if it did not. Offline, `apt-get update` warns and exits with 0."""
    offline = unreachable(log)
    if offline and (code or "Some index files failed to download" in log):
        return f"the package archive could not be reached ({offline})"
    if code:
        errors = [line for line in log.splitlines() if line.startswith("E: ")]
        return " ".join(errors) or " ".join(log.split()[-30:]) or f"apt-get ended with exit code {code}"
    return ""


def pip_problem(log: str) -> str:
    """Why pip failed: one line for the causes that its output buries, else its last lines."""
    offline = unreachable(log)
    if offline:
        return f"the package index could not be reached ({offline}); check the network, then run the command again"
    if "No space left on device" in log:
        return "no space left on the disk for Python packages"
    lines = [line for line in log.splitlines() if not line.startswith("WARNING: Location ")]
    return "pip failed:\n" + "\n".join(lines[-20:])


_UNREACHABLE: Final = (
    "Temporary failure in name resolution",
    "Temporary failure resolving",
    "Name or service not known",
    "No address associated with hostname",
    "Could not resolve",
    "Network is unreachable",
    "No route to host",
    "Connection refused",
    "Connection timed out",
    "Could not connect to",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyError",
    "CERTIFICATE_VERIFY_FAILED",
)


def unreachable(log: str) -> str:
    """What a log says of a network that is not there; empty if nothing."""
    return next((words for words in _UNREACHABLE if words in log), "")


def pip_install(*arguments: str) -> str:
    """Install into the environment; why that failed, or an empty text."""
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *arguments]
    done = run(command)
    return pip_problem(done.stdout + done.stderr) if done.returncode else ""


# The environment.


def requirements() -> tuple[str, dict[str, list[str]]]:
    """Checksum of what pyproject.toml says that an environment depends on; and the extras."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project = content["project"]
    extras = project["optional-dependencies"]
    facts = [
        content["build-system"],
        project["requires-python"],
        project["dependencies"],
        extras,
        project["scripts"],
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest(), extras


def read_ready() -> Ready | None:
    """None if there is no environment, or none that is known to be whole."""
    try:
        kept = json.loads(READY.read_text("utf-8"))
        return Ready(kept["folder"], kept["python"], kept["requirements"], tuple(kept["extras"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def stale(ready: Ready | None, folder: str, chosen: str) -> str:
    """
    Why an environment must be made anew; empty if it can be used.

    Args:
        ready: what it was made of.
        folder: where it is.
        chosen: the version of the Python that the user asks for; empty if none is.
    """
    if ready is None:
        return "it is not complete" if VENV.exists() else "there is none"
    if ready.folder != folder:
        return f"it was made in {ready.folder}"
    version = version_of(PYTHON)
    if not version:
        return f"{PYTHON} does not run"
    if ready.python != version:
        return f"it was made with Python {ready.python}, and {PYTHON} is {version} now"
    if chosen and version != chosen:
        return f"it has Python {version}, and {chosen} is asked for"
    return ""


def make_environment(reason: str) -> None:
    if VENV.exists():
        say(f"making {VENV} again: {reason}")
    done = run([sys.executable, "-m", "venv", "--clear", str(VENV)])
    if done.returncode:
        fail(f"making {VENV} failed: {(done.stderr or done.stdout).strip()}")


def set_up_environment(needs: Needs) -> None:
    """Make `.venv` if it is missing or stale, and install the extras that it has not yet."""
    checksum, extras_of = requirements()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    chosen = version if os.environ.get("PYTHON") else ""
    ready = read_ready()
    reason = stale(ready, str(ROOT), chosen)
    if reason or ready is None:
        make_environment(reason)
        ready = Ready(str(ROOT), version, "")
    if ready.requirements != checksum:
        ready = replace(ready, requirements=checksum, extras=())
    wanted = [extra for extra in needs.extras if extra not in ready.extras]
    if wanted:
        say(f"installing Python packages into {VENV} ({', '.join(wanted)}) ...")
        READY.unlink(missing_ok=True)  # until everything is there
        problem = pip_install("--editable", f".[{','.join(wanted)}]")
        if problem:
            fail(problem)
        ready = replace(ready, extras=(*ready.extras, *wanted))
        write_ready(ready)
    if needs.hosts and "examples" not in ready.extras:
        set_up_hosts(ready, extras_of["examples"])


def set_up_hosts(ready: Ready, packages: Sequence[str]) -> None:
    """One by one: where one has no wheel for this machine, the others' tests run all the same."""
    failed = [name for name in packages if not name.startswith("alphastream-gpu") and pip_install(name)]
    if not failed:
        write_ready(replace(ready, extras=(*ready.extras, "examples")))
        return
    say(f"these Python packages could not be installed, and what needs them is skipped: {' '.join(failed)}")
    if os.environ.get("ALPHASTREAM_REQUIRE_HOSTS"):
        fail("ALPHASTREAM_REQUIRE_HOSTS is set")


def write_ready(ready: Ready) -> None:
    READY.write_text(json.dumps(asdict(ready), indent=2), "utf-8")


def set_up(target: str) -> None:
    needs = TARGETS[target]
    has_environment = not stale(read_ready(), str(ROOT), "")
    has_gl = not needs.gl or (not gl_problem() if has_environment else loads_gl())
    missing = missing_packages(wanted_packages(needs, has_gl))
    if missing:
        problem = apt_install(missing)
        if problem:
            report_missing(missing, problem, needs)
    set_up_environment(needs)
    if needs.gl:
        check_gl(missing)


def report_missing(missing: Sequence[str], problem: str, needs: Needs) -> None:
    """Name the one command that installs everything; end if nothing works without it."""
    required = any(name.endswith("-venv") for name in missing)
    without = (
        "" if required else "; what needs them is left out" if needs.hosts else "; going on without OpenGL, on the CPU"
    )
    say(f"system packages are missing, and {problem}{without}. To install them:\n    {apt_command(missing)}")
    if required:
        fail("Python cannot make an environment without its venv package")
    if needs.hosts and os.environ.get("ALPHASTREAM_REQUIRE_HOSTS"):
        fail("ALPHASTREAM_REQUIRE_HOSTS is set")


def check_gl(reported: Sequence[str]) -> None:
    """Note whether there is OpenGL. `reported` packages have been asked for already: once is enough."""
    problem = gl_problem()
    if not problem:
        NO_GL.unlink(missing_ok=True)
        return
    NO_GL.touch()
    if not set(GL_PACKAGES) & set(reported):
        say(f"no OpenGL, going on with the CPU: {problem}")
    if os.environ.get("ALPHASTREAM_REQUIRE_GL"):
        fail(f"ALPHASTREAM_REQUIRE_GL is set, and there is no OpenGL: {problem}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument(
        "--missing", action="store_true", help="print the command that installs missing system packages"
    )
    options = parser.parse_args()
    os.chdir(ROOT)
    if options.missing:
        packages = missing_packages(wanted_packages(TARGETS[options.target], has_gl=False))
        print(apt_command(packages) if packages else "", end="")
        return
    try:
        set_up(options.target)
    except OSError as exc:
        fail(f"{exc.filename or 'setting up'}: {exc.strerror or exc}")
    except KeyboardInterrupt:
        fail("interrupted; the same command goes on from here")


if __name__ == "__main__":
    main()
