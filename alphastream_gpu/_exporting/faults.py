"""
Faults: converts the exceptions that other libraries raise while they write to errors of this package.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from .._exceptions import AlphaStreamError, TransportError
from .._extras import pip_command

__all__ = ["needed", "writing"]


@contextmanager
def writing(what: str) -> Iterator[None]:
    """
    Convert every exception of a library that writes to TransportError.

    FFmpeg, Pillow and Zarr raise classes of their own for a full disk, so no table of classes could be complete.

    Args:
        what: what is written, such as ``"out.mkv"``.
    """
    try:
        yield
    except AlphaStreamError:
        raise
    except Exception as exc:
        text = str(getattr(exc, "strerror", None) or exc).strip().splitlines()
        reason = "not enough memory" if isinstance(exc, MemoryError) else text[0][:300] if text else ""
        raise TransportError(f"writing {what}: {reason or type(exc).__name__}") from exc


def needed(module: str, package: str) -> Any:
    """
    Import a module of the extra ``[encode]``.

    Raises:
        ImportError: it is not installed; the message has the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as exc:
        raise ImportError(f"this export needs {package} ({exc}); run: {pip_command('encode')}") from exc
