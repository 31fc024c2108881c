"""
What one environment cannot show: the built package on every Python that it claims, and with the oldest dependencies.

    nox -s package          wheel and sdist into dist/, checked
    nox -s installed        the wheel of dist/, installed from PyPI on each Python, tested with the source tree gone
    nox -s smoke            the same in seconds
    nox -s lowest           the tests with the lowest versions that pyproject.toml allows

Arguments after `--` go to pytest. Pythons that are not on this machine are left out, and named; on GitHub they fail.
Python 3.12.0 and 3.12.1 are passed over.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["package", "installed", "lowest"]
nox.options.download_python = "never"  # what is tested is what people have
os.environ["UV_PYTHON_DOWNLOADS"] = "never"
os.environ.setdefault("UV_SYSTEM_CERTS", "true")  # whom the system trusts, as pip is told where there is a proxy
os.environ["UV_LINK_MODE"] = "copy"  # a cache on another disk is no reason for a warning

UNSUPPORTED = ("3.12.0", "3.12.1")
"""Excluded in pyproject.toml: they cannot start a thread in an exit handler, which closes streams that are open."""
PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))
DIST = Path("dist").resolve()
WITHOUT_CHECKOUT = [
    f"--ignore=tests/{name}.py"
    for name in (
        "project/test_documentation",
        "project/test_gates",
        "project/test_setup",
        "project/test_wheel",
        "test_docstrings",
        "test_exports",
    )
]
"""They read the source tree."""
WITHOUT_HOSTS = ["--ignore=tests/examples"]
PARALLEL = ["-n", "auto", "--maxprocesses=8", "--dist=worksteal"]
SMOKE = [
    "format/test_cipher",
    "format/test_polystream",
    "sources/test_sources",
    "raster/test_fill",
    "stream/test_stream",
]

# pyenv's Pythons, before its shims, which stand for versions that are not chosen too. Of one minor version, a supported
# one comes first.
_pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
_folders = sorted(_pyenv.glob("3.*/bin"), key=lambda folder: (folder.parent.name in UNSUPPORTED, folder))
os.environ["PATH"] = os.pathsep.join([*map(str, _folders), os.environ["PATH"]])


@nox.session(venv_backend="venv")  # what CI runs takes pip, which knows a machine's mirrors
def package(session: nox.Session) -> None:
    """Build in isolation, as PyPI's users would, and check what PyPI would."""
    session.install("build", "twine")
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(DIST), silent=True)
    session.run("twine", "check", "--strict", *map(str, sorted(DIST.iterdir())))


@nox.session(python=PYTHONS)
def installed(session: nox.Session) -> None:
    """The sdist's own tests, on the wheel: cpu, formats, sources, HTTP, command line, GL, C."""
    _test_wheel(session, "capi,cli,test", *WITHOUT_HOSTS, *PARALLEL, *session.posargs)


@nox.session(
    venv_backend="venv",
    python=[python for python in PYTHONS if python != f"{sys.version_info.major}.{sys.version_info.minor}"],
)
def smoke(session: nox.Session) -> None:
    """On the Pythons that `make test` does not run on."""
    _test_wheel(session, "test", *(f"tests/{name}.py" for name in SMOKE), *session.posargs)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """On the lowest Python too."""
    session.install("--resolution=lowest-direct", "--editable", ".[examples,dev]")
    session.run("uv", "pip", "list", external=True, silent=False)
    session.run("python", "-m", "pytest", *PARALLEL, *session.posargs)


def _test_wheel(session: nox.Session, extras: str, *arguments: str) -> None:
    """Install the wheel of dist/ and run tests of the sdist from a folder that has nothing of the package's source."""
    version = session.run("python", "-c", "import platform; print(platform.python_version())", silent=True)
    if str(version).strip() in UNSUPPORTED:
        session.skip(f"Python {str(version).strip()} is passed over: it cannot start a thread in an exit handler")
    found = sorted(DIST.glob("*.whl")) + sorted(DIST.glob("*.tar.gz"))
    if len(found) != 2:
        session.error("expected a wheel and an sdist in dist/; run: nox -s package")
    wheel, sdist = found
    session.install(f"alphastream-gpu[{extras}] @ {wheel.as_uri()}")
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(sdist) as archive:
            if hasattr(tarfile, "data_filter"):  # not before Python 3.11.4
                archive.extraction_filter = tarfile.data_filter
            archive.extractall(scratch)
        (top,) = Path(scratch).iterdir()
        for gone in ("alphastream_gpu", "shaders"):
            shutil.rmtree(top / gone)
        with session.chdir(top):
            session.run("python", "-c", "import alphastream_gpu as a; assert 'site-packages' in a.__file__, a.__file__")
            session.run("python", "-m", "pytest", *WITHOUT_CHECKOUT, *arguments)
