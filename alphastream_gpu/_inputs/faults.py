"""
Faults: converts the exceptions that other libraries raise about an input to errors of this package.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from .._exceptions import DecodeError, TransportError
from .._extras import pip_command

__all__ = ["WrongOptionError", "missing_package", "reading"]

# What FFmpeg means by bad content (EINVAL and its like) is not about the file's storage.
_STORAGE = {
    *("ENOENT", "EACCES", "EPERM", "EISDIR", "ENOTDIR", "EIO", "EMFILE", "ENFILE", "ELOOP", "ENAMETOOLONG"),
    *("ESTALE", "ENXIO", "ENODEV", "EBUSY", "ETIMEDOUT", "ENOTCONN", "ESHUTDOWN", "EHOSTDOWN", "EREMOTEIO"),
}


class WrongOptionError(ValueError):
    """An option that does not fit what the file holds. :func:`reading` does not take it for a fault of the file."""


@contextmanager
def reading(what: str, *, frame: int | None = None, advice: str = "") -> Iterator[None]:
    """
    Convert every exception of a library that reads an input: TransportError for storage, DecodeError for content.

    Readers of files raise almost any class on damaged content (SyntaxError, KeyError, struct.error, RecursionError), so
    no table of classes could be complete. Only calls of the library belong into the block: a ValueError about the
    caller's own argument would be converted, too.

    Args:
        what: what is read, such as ``"masks.npy"`` or ``"frame 3 of person.mov"``.
        frame: the frame that the error belongs to, or None.
        advice: what to do about bad content; added to the message.
    """
    try:
        yield
    except (DecodeError, TransportError, WrongOptionError):
        raise
    except ImportError as exc:
        missing_package(exc.name or str(exc), cause=exc)
    except Exception as exc:
        if isinstance(exc, OSError) and errno.errorcode.get(exc.errno or 0) in _STORAGE:
            raise TransportError(f"{what}: {exc.strerror or exc}", frame_index=frame) from exc
        reason = "not enough memory" if isinstance(exc, MemoryError) else _reason(exc)
        raise DecodeError(f"{what}: {reason}" + (f"; {advice}" if advice else ""), frame_index=frame) from exc


def missing_package(name: str, *, cause: ImportError | None = None) -> NoReturn:
    """Raise the error for a package that an input needs and that is not installed."""
    raise TransportError(f"this input needs {name}; run: {pip_command('encode')}") from cause


def _reason(exc: Exception) -> str:
    """One line of a foreign error, without the path that some of them repeat."""
    text = str(getattr(exc, "strerror", None) or exc).strip().splitlines()  # FFmpeg's errors have it, too
    return (text[0][:300] if text else "") or type(exc).__name__
