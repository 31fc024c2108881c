"""
Callers: describes exceptions that come from a caller's code or from httpx, and refuses work once the interpreter is
ending.

Strategy
--------
A caller's client, hook, transport, authentication or callable knows the signed URL, the headers and the tokens, so the
text of its exception may contain any of them. No rule finds every secret in a text. So such a text is never shown, and
the exception is never attached to another one: a message has only the type of the exception and its place. The reason
of a failed connection is taken from the system's numbers instead of a text.

The texts of the library's own client come from httpx and the system. They are shown unless they look like a URL or a
part of one.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import sys
from collections.abc import Callable
from concurrent.futures import thread as _pools
from typing import Final, TypeVar

from ..._exceptions import ClosedError
from ..._runtime.workers import place_of

__all__ = ["at_end", "harmless", "in_thread", "is_ending", "raised", "refuse_at_end", "system_reason"]

T = TypeVar("T")

_HARMLESS: Final = re.compile(r"(?!.*://)[ !\"$'-<>A-~]{1,300}")
"""A text without ``?``, ``=``, ``&``, ``#``, ``@`` and ``%``, which texts of the system do not need and URLs do."""
_REASON: Final = re.compile(r"[A-Z0-9_]{1,80}")
_MOST_CAUSES: Final = 10


def raised(exc: BaseException) -> str:
    """The type of an exception, and the file and the line that raised it."""
    return f"{type(exc).__name__}{place_of(exc)}"


def harmless(text: str) -> str:
    """A text of httpx or the system, for messages; empty if it may contain a part of a URL."""
    return text if _HARMLESS.fullmatch(text) else ""


def system_reason(exc: BaseException) -> str:
    """
    Why the system failed, found in the causes of an exception; empty if no cause is an error of the system.

    The texts of the causes are not used, because the caller's code may have made them.
    """
    cause: BaseException | None = exc
    for _ in range(_MOST_CAUSES):
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if cause is None:
            break
        reason = _of_system(cause)
        if reason:
            return reason
        # httpcore removes the cause of its exceptions, but their argument is the exception of the system.
        inner = cause.args[0] if cause.args else None
        cause = inner if isinstance(inner, BaseException) else cause.__cause__
    return ""


def _of_system(exc: BaseException) -> str:
    if type(exc) is ssl.SSLCertVerificationError:  # OpenSSL sets the attribute; it is missing on any other one
        return f"certificate verify failed: {harmless(str(getattr(exc, 'verify_message', '')))}"
    if isinstance(exc, ssl.SSLError):
        return f"TLS failed: {exc.reason}" if _REASON.fullmatch(str(exc.reason)) else ""
    if isinstance(exc, socket.gaierror):
        names = (name for name in dir(socket) if name.startswith("EAI_") and getattr(socket, name) == exc.errno)
        return f"the name of the host cannot be resolved ({next(names, 'unknown reason')})"
    return os.strerror(exc.errno) if isinstance(exc, OSError) and isinstance(exc.errno, int) else ""


async def in_thread(function: Callable[[], T]) -> T:
    """
    Call a function in a thread of the running loop.

    Raises:
        ClosedError: the interpreter is ending, so no thread can be started.
    """
    try:
        return await asyncio.to_thread(function)
    except RuntimeError:
        if not is_ending():
            raise
    raise at_end()


def is_ending() -> bool:
    """Whether the interpreter began to end: exit handlers run, and no executor can start threads."""
    # Executors refuse work from this moment on, and Python has no public name for it. sys.is_finalizing() is true only
    # after the exit handlers.
    return bool(getattr(_pools, "_shutdown", False)) or sys.is_finalizing()


def at_end() -> ClosedError:
    """The error for a call that comes after the interpreter began to end."""
    return ClosedError("the interpreter is ending, and streams are closed: open and read them before the program ends")


def refuse_at_end() -> None:
    """Raise :class:`ClosedError` if the interpreter began to end."""
    if is_ending():
        raise at_end()
