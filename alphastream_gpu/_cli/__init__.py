"""
The command line, built with click and rich: a file for each command. Each command is a thin layer over the library.

The exit codes are fixed. 0: done. 1: a check failed. 2: wrong usage. 3: the input is bad or unreachable, the output
cannot be written, or the command needs something that is missing, such as a package, a compiler or GL. ``__main__.py``
handles errors of standard output and missing packages.

To add a command, write a file like ``info.py`` and import it here.
"""

from . import (  # noqa: F401 - each adds its command to the group
    build_capi,
    compare,
    convert,
    doctor,
    download,
    encode,
    encode_all,
    export,
    export_all,
    info,
    iou,
    merge,
    optimize,
    render,
    statistics,
    verify,
    verify_all,
)
from .running import cli

__all__ = ["cli"]
