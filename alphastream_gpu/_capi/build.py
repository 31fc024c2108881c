"""
Build: compiles ``libalphastream.so`` for the Python environment that runs this, and writes the files that hosts need.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from .._extras import pip_command
from .._writing.whole_file import whole_file
from .declarations import cdef, exports, header, shim_functions

__all__ = ["BuildError", "build"]

LIBRARY: Final = "libalphastream.so"
NAME: Final = "alphastream"
_MODULE: Final = "_alphastream_embedded"
_NEEDED_PACKAGES: Final = (
    "alphastream_gpu",
    "numpy",
    "_cffi_backend",
    "httpx",
    "cryptography",
    "manifold3d",
)
_STARTUP: Final = f"""
from {_MODULE} import ffi
from alphastream_gpu._capi.entry import bind
bind(ffi)
"""


class BuildError(Exception):
    """The library cannot be built on this machine. The message says what to install."""


def build(directory: Path, *, version: str) -> list[Path]:
    """
    Compile the library into a directory.

    Args:
        directory: created if it does not exist.
        version: the package's version.

    Returns:
        The files written: the library, ``alphastream.h``, ``alphastream.pc``, ``alphastream.cmake``.

    Raises:
        BuildError: no compiler, no headers, or a Python without a shared library.
    """
    directory = directory.resolve()
    library = _check_python()
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        built = _compile(Path(scratch), library, version)
        # Replaced, not overwritten: a host may have the old file mapped.
        with whole_file(directory / LIBRARY) as file:
            file.write(built.read_bytes())
        (directory / LIBRARY).chmod(built.stat().st_mode)
    texts = {
        f"{NAME}.h": header(),
        f"{NAME}.pc": _pkg_config(directory, version),
        f"{NAME}.cmake": _cmake(),
    }
    for name, text in texts.items():
        with whole_file(directory / name) as file:
            file.write(text.encode())
    return [directory / LIBRARY, *(directory / name for name in texts)]


def _check_python() -> Path:
    """Check the Python installation and return its shared library."""
    if not sys.platform.startswith("linux"):
        raise BuildError(f"{LIBRARY}: expected Linux, found {sys.platform}; other systems are not supported yet")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("INSTSONAME") or "none")
    if not sysconfig.get_config_var("Py_ENABLE_SHARED") or not library.is_file():
        raise BuildError(
            f"this Python ({sys.executable}) has no shared library; on Debian or Ubuntu: apt-get install lib{version}"
            f" lib{version}-dev; with pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install ..."
        )
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        raise BuildError(f"Python.h is missing; on Debian or Ubuntu: apt-get install {version}-dev")
    if shutil.which(os.environ.get("CC", "cc")) is None:
        raise BuildError("no C compiler; on Debian or Ubuntu: apt-get install gcc libc6-dev")
    for package in ("cffi", "setuptools"):
        if find_spec(package) is None:
            raise BuildError(f"{package} is missing; run: {pip_command('capi')}")
    return library


def _compile(scratch: Path, libpython: Path, version: str) -> Path:
    from cffi import FFI, VerificationError

    (scratch / "exports.map").write_text(exports(), "ascii")
    ffi = FFI()
    ffi.embedding_api(cdef())
    ffi.embedding_init_code(_STARTUP)
    ffi.set_source(
        _MODULE,
        _source(libpython, version),
        library_dirs=[str(libpython.parent)],
        extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-fvisibility=hidden"],
        extra_link_args=[
            f"-Wl,-rpath,{libpython.parent}",
            f"-Wl,--version-script={scratch / 'exports.map'}",
            f"-Wl,-soname,{LIBRARY}",
            "-Wl,--disable-new-dtags",  # RPATH, which LD_LIBRARY_PATH does not override
            "-Wl,-z,nodelete",  # its threads need its code until the process ends
        ],
    )
    try:
        # The compiler's output goes into the error, not to the user's terminal.
        with open(scratch / "log", "w+b") as log, _redirected(log.fileno()):
            return Path(ffi.compile(str(scratch), target=LIBRARY))
    except (VerificationError, SystemExit, OSError) as exc:
        said = (scratch / "log").read_text("utf-8", "replace").splitlines()
        errors = [line.strip() for line in said if "error" in line] or said[-3:]
        raise BuildError(f"compiling {LIBRARY} failed: {exc}; the compiler said: {' | '.join(errors[:5])}") from exc


class _redirected:  # noqa: N801 - a context manager, read as a phrase
    """Redirects standard output and error of this process and its children."""

    def __init__(self, target: int) -> None:
        self._target = target

    def __enter__(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._saved = [(number, os.dup(number)) for number in (1, 2)]
        for number, _ in self._saved:
            os.dup2(self._target, number)

    def __exit__(self, *exc: object) -> None:
        for number, saved in self._saved:
            os.dup2(saved, number)
            os.close(saved)


def _source(libpython: Path, version: str) -> str:
    shim = (files(__package__) / "shim.c").read_text("utf-8")
    parts = [
        "#include <stdbool.h>",
        cdef(),  # cffi defines these functions below
        f"static const char *const alphastream_executable = {_c_string(sys.executable)};",
        f"static const char *const alphastream_libpython = {_c_string(libpython.name)};",
        f"static const char *const alphastream_needed_files[] = {_c_strings(_needed_files())};",
        f"static const char *const alphastream_search_paths[] = {_c_strings(_search_paths())};",
        shim,
        shim_functions({"name": "alphastream_gpu", "version": version}),
    ]
    return "\n".join(parts)


def _needed_files() -> list[str]:
    """Return the files that the library checks before it starts the interpreter, which would fail without them."""
    found = [sys.executable, os.__file__]
    for package in _NEEDED_PACKAGES:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise BuildError(f"{package} is missing in this environment; run: {pip_command('')}")
        found.append(spec.origin)
    for package in sorted(_required_by(_NEEDED_PACKAGES[1:])):  # our own are in the list, without those for GL
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            found.append(spec.origin)
    return found


def _required_by(packages: Iterable[str]) -> set[str]:
    """Return all direct and indirect requirements of packages: httpx imports its own only when it connects."""
    modules_of: dict[str, list[str]] = {}
    for module, names in packages_distributions().items():
        for name in names:
            modules_of.setdefault(_normal(name), []).append(module)
    todo = [_normal(package) for package in packages]
    seen = set(todo)
    for name in todo:
        try:
            required = requires(name) or []
        except PackageNotFoundError:  # not a distribution, or one for another Python
            continue
        needed = {
            _normal(re.split(r"[^\w.-]", text, maxsplit=1)[0])
            for text in required
            if "extra ==" not in text.partition(";")[2]
        }
        todo += sorted(needed - seen)
        seen |= needed
    modules = {module for name in todo for module in modules_of.get(name, [name])}
    return {module for module in modules if module.isidentifier()} - set(packages)


def _normal(name: str) -> str:
    """Return a distribution's normalized name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _search_paths() -> list[str]:
    """Return this process's import paths. An isolated interpreter already has some of them."""
    return [path for path in sys.path if path and os.path.isabs(path) and Path(path).exists()]


def _c_string(text: str) -> str:
    return (
        '"'
        + "".join(
            f"\\{byte:03o}" if byte in b'"\\?' or not 32 <= byte < 127 else chr(byte) for byte in os.fsencode(text)
        )
        + '"'
    )


def _c_strings(texts: Iterable[str]) -> str:
    return "{" + ", ".join([*map(_c_string, texts), "NULL"]) + "}"


def _pkg_config(directory: Path, version: str) -> str:
    """Escape spaces and quotes in the folder's name as a shell does; ``${pcfiledir}`` would escape only spaces."""
    prefix = re.sub(r"([^\w/.+,:@%=-])", r"\\\1", str(directory))
    return f"""\
prefix={prefix}

Name: {NAME}
Description: Exact alpha masks from ASVP and ASVR streams
Version: {version}
Cflags: -I${{prefix}}
Libs: -L${{prefix}} -l{NAME} -Wl,-rpath,${{prefix}}
"""


def _cmake() -> str:
    return f"""\
# include(path/to/{NAME}.cmake), then target_link_libraries(your_player PRIVATE {NAME}::{NAME})
if(NOT TARGET {NAME}::{NAME})
  add_library({NAME}::{NAME} SHARED IMPORTED)
  set_target_properties({NAME}::{NAME} PROPERTIES
    IMPORTED_LOCATION "${{CMAKE_CURRENT_LIST_DIR}}/{LIBRARY}"
    IMPORTED_SONAME "{LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${{CMAKE_CURRENT_LIST_DIR}}")
endif()
"""
