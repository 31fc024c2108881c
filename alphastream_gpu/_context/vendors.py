"""
Vendors: reads EGL vendor files, the small JSON files that tell glvnd's libEGL which driver libraries there are.

glvnd skips an invalid vendor file silently, and then there are no devices. So this module reads the files as glvnd does
(see its document icd_enumeration.md), and reports what is wrong with each.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .egl import as_line, load_problem

__all__ = ["Vendor", "VendorFiles", "find_vendors"]

_FILENAMES: Final = "__EGL_VENDOR_LIBRARY_FILENAMES"
_DIRECTORIES: Final = "__EGL_VENDOR_LIBRARY_DIRS"
_DEFAULT_DIRECTORIES: Final = "/etc/glvnd/egl_vendor.d:/usr/share/glvnd/egl_vendor.d"
_MOST_BYTES: Final = 65536
"""Most bytes that are read of a vendor file. Real ones have some hundred."""
_MOST_FILES: Final = 64


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor file."""

    path: str
    library: str = ""
    """The driver's library that the file names."""
    problem: str = ""
    """Why glvnd cannot use the file; empty if it can."""


@dataclass(frozen=True, slots=True)
class VendorFiles:
    """The vendor files that glvnd would read, in its order."""

    places: str = _DEFAULT_DIRECTORIES
    """Where the files are searched: files or folders, separated by colons."""
    variable: str = ""
    """The environment variable that sets `places`; empty for the built-in folders."""
    vendors: tuple[Vendor, ...] = ()


def find_vendors(variables: Mapping[str, str]) -> VendorFiles:
    """Read all vendor files, and try to load the library that each names, as glvnd does."""
    if _FILENAMES in variables:  # glvnd also uses an empty value: then there are no vendors
        places, variable = variables[_FILENAMES], _FILENAMES
        paths = [path for path in places.split(":") if path]
    else:
        variable = _DIRECTORIES if _DIRECTORIES in variables else ""
        places = variables.get(_DIRECTORIES, _DEFAULT_DIRECTORIES)
        paths = [path for folder in places.split(":") if folder for path in _files_in(folder)]
    return VendorFiles(as_line(places), variable, tuple(_read(path) for path in paths[:_MOST_FILES]))


def _files_in(folder: str) -> list[str]:
    try:
        return [str(Path(folder, name)) for name in sorted(os.listdir(folder)) if name.endswith(".json")]
    except (OSError, ValueError):  # ValueError: a null character
        return []


def _read(path: str) -> Vendor:
    shown = as_line(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return Vendor(shown, problem="not a regular file")  # reading a pipe would block for ever
        with open(path, "rb") as file:
            library = _library_in(json.loads(file.read(_MOST_BYTES)))
    except OSError as exc:
        return Vendor(shown, problem=exc.strerror or str(exc))
    except (ValueError, RecursionError):
        return Vendor(shown, problem="not JSON")
    if library is None:
        return Vendor(shown, problem="names no library (ICD, library_path)")
    why = load_problem(library)
    return Vendor(shown, as_line(library), f"the driver's library does not load: {why}" if why else "")


def _library_in(content: Any) -> str | None:
    icd = content.get("ICD") if isinstance(content, dict) else None
    library = icd.get("library_path") if isinstance(icd, dict) else None
    # An empty path would load this program itself.
    return library if isinstance(library, str) and library else None
