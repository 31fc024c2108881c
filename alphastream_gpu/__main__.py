"""
The entry point of ``python -m alphastream_gpu`` and the ``alphastream`` command. The CLI is an optional extra.

This module also handles errors of standard output and standard error: one line reports a stream that cannot be written.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import IO, Final

from ._extras import pip_command

__all__ = ["main"]

EXIT_CANNOT_WRITE: Final = 3
EXIT_PACKAGE_MISSING: Final = 3
"""Not 1, which means that a check failed: a script that runs ``verify`` would report wrong pixels."""


def main() -> None:
    """Run the command line, and exit with its code, or with 3 if standard output cannot be written."""
    try:
        code = _run()
    except OSError as exc:  # from writing the output: the commands report all other errors themselves
        code = _cannot_write(exc)
    problem = _flush(sys.stdout)
    if problem is not None and code == 0:
        code = _cannot_write(problem)
    _flush(sys.stderr)
    sys.exit(code)


def _run() -> int:
    try:
        from ._cli import cli
    except ModuleNotFoundError as exc:
        if exc.name not in ("click", "rich", "PIL"):
            raise
        print(f"alphastream: the command line needs {exc.name}; run: {pip_command('cli')}", file=sys.stderr)
        return EXIT_PACKAGE_MISSING
    try:
        cli()
    except SystemExit as exc:
        if isinstance(exc.__context__, BrokenPipeError):  # click would exit with 1, which means that a check failed
            return EXIT_CANNOT_WRITE
        return exc.code if isinstance(exc.code, int) else 0
    return 0


def _cannot_write(exc: OSError) -> int:
    """Report the error, unless the reader of the output is gone."""
    if not isinstance(exc, BrokenPipeError):
        with contextlib.suppress(OSError):
            print(f"alphastream: cannot write: {exc.strerror or exc}", file=sys.stderr)
    return EXIT_CANNOT_WRITE


def _flush(stream: IO[str] | None) -> OSError | None:
    """Flush. After a failure, drop the rest: Python would try to write it again at exit, and exit with 120."""
    try:
        if stream is not None:
            stream.flush()
    except OSError as exc:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[union-attr]
        return exc
    return None


if __name__ == "__main__":
    main()
