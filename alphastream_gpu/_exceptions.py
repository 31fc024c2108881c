"""
Every error that this package raises, and the table that maps foreign errors to them.

::

    AlphaStreamError
    ├── DecodeError (also ValueError)        the bytes break the format or exceed a limit
    │   └── KeyMismatchError                 an ASVR cannot be decrypted with this key
    ├── PassphraseError (also ValueError)    an ASVR's passphrase is missing or malformed
    ├── TransportError (also OSError)        a file, a network or a server failed
    ├── FrameNotFoundError (also IndexError) the frame index lies outside the stream
    ├── NotReadyError (also RuntimeError)    nothing is loaded yet, or the request could not be queued
    ├── FrameTimeoutError (also TimeoutError) a deadline passed; the work may still complete
    ├── GLUnavailableError (also RuntimeError) no usable OpenGL here; the message says how to fix it
    │   └── WrongContextError                wrong thread, wrong context, or a call within a call
    ├── ClosedError (also RuntimeError)      the object was closed or released before the call
    └── BulkError (also RuntimeError)        parts of a bulk job failed, and the others are done

Each class also inherits the builtin that people already catch for that kind of failure. An invalid *argument*
(an option outside its range, a size of zero) raises a plain ``ValueError`` or ``TypeError``, as in numpy.
Any other exception that leaves this package, on any input, is a bug.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, ClassVar, TypeVar

__all__ = [
    "AlphaStreamError",
    "BulkError",
    "ClosedError",
    "DecodeError",
    "ErrorCode",
    "FrameNotFoundError",
    "FrameTimeoutError",
    "GLUnavailableError",
    "KeyMismatchError",
    "NotReadyError",
    "PassphraseError",
    "TransportError",
    "WrongContextError",
]


class ErrorCode(IntEnum):
    """
    The number of an error, as C callers see it.
    """

    NONE = 0
    """Nothing went wrong."""
    NOT_FOUND = 3
    """The frame index lies outside the stream."""
    INVALID = -1
    """A null or misused handle, or a bad argument."""
    NOT_READY = -2
    """Nothing is loaded yet, or the request could not be queued."""
    TIMEOUT = -3
    """A frame was not ready within the time box (its request goes on), or an I/O deadline passed."""
    DECODE = -4
    """Malformed bytes, a wrong key, or a value over a limit."""
    TRANSPORT = -5
    """A network, file or server failure."""


class AlphaStreamError(Exception):
    """
    Base of every error of this package.

    Args:
        message: what failed, where, what was expected and found, and what to do about it.
        frame_index: the frame that the error belongs to, or None if it belongs to the whole stream.
    """

    code: ClassVar[ErrorCode] = ErrorCode.INVALID
    """The number of this kind of error, as C callers see it."""

    def __init__(self, message: str, *, frame_index: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        """The message; the same as ``str(error)``."""
        self.frame_index = frame_index
        """The frame that the error belongs to; None if it belongs to the whole stream."""

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        # The default __reduce__ would drop frame_index, and OSError's own one would look for an errno.
        public = next(cls for cls in type(self).__mro__ if "_is_shown_as_base" not in vars(cls))
        return _rebuild, (public, self.message, self.frame_index)


def _rebuild(cls: type[AlphaStreamError], message: str, frame_index: int | None) -> AlphaStreamError:
    return cls(message, frame_index=frame_index)


class DecodeError(AlphaStreamError, ValueError):
    """The bytes break the format, or a value in them is over a configured limit."""

    code = ErrorCode.DECODE


class KeyMismatchError(DecodeError):
    """The sizes table of an ASVR file cannot be decrypted with this key."""


class PassphraseError(AlphaStreamError, ValueError):
    """An ASVR needs its owner's passphrase. None was given, or the given one is not 32 bytes long."""

    code = ErrorCode.INVALID


class TransportError(AlphaStreamError, OSError):
    """A file, a network or a server failed to deliver bytes."""

    code = ErrorCode.TRANSPORT


class FrameNotFoundError(AlphaStreamError, IndexError):
    """The frame index lies outside the stream."""

    code = ErrorCode.NOT_FOUND


class NotReadyError(AlphaStreamError, RuntimeError):
    """Nothing is loaded yet, or the request could not be queued."""

    code = ErrorCode.NOT_READY


class FrameTimeoutError(AlphaStreamError, TimeoutError):
    """A deadline passed before the result was ready."""

    code = ErrorCode.TIMEOUT


class GLUnavailableError(AlphaStreamError, RuntimeError):
    """No usable OpenGL on this machine or in this context; the message says how to fix it."""

    code = ErrorCode.NOT_READY


class WrongContextError(GLUnavailableError):
    """
    A renderer was called on the wrong thread, with the wrong context current, or from within its own call.

    Also raised while the host has an active transform feedback or query, if rendering would break or falsify it. Each
    of these is an error in the program; the absence of OpenGL is not.
    """

    code = ErrorCode.INVALID


class ClosedError(AlphaStreamError, RuntimeError):
    """The stream, writer or renderer was closed before or during the call."""

    code = ErrorCode.INVALID


class BulkError(AlphaStreamError, RuntimeError):
    """
    Parts of a bulk job failed. The others are done.

    Args:
        message: as of :class:`AlphaStreamError`.
        frame_index: as of :class:`AlphaStreamError`; None, because several frames may have failed.
        failures: each part that failed, with the reason.
        table: the results of the other parts, an ``alphastream_gpu.bulk.Table``.
    """

    code = ErrorCode.TRANSPORT

    def __init__(
        self, message: str, *, frame_index: int | None = None, failures: tuple[str, ...] = (), table: Any = None
    ) -> None:
        super().__init__(message, frame_index=frame_index)
        self.failures = failures
        """Each part that failed, such as ``"frames 256..511 of person.asvp: ..."``."""
        self.table = table
        """The results of the other parts, an ``alphastream_gpu.bulk.Table``. A pickled error has none."""


_Error = TypeVar("_Error", bound=type[Exception])


def shown_as_base(cls: _Error) -> _Error:
    """
    Give a private error class the name of its public base class.

    The package distinguishes the two classes. In reprs, tracebacks and logs, callers see the public one, which they can
    catch.
    """
    public = cls.__base__
    assert public is not None
    cls.__name__, cls.__qualname__ = public.__name__, public.__qualname__
    cls.__module__ = "alphastream_gpu" if issubclass(public, AlphaStreamError) else public.__module__
    cls._is_shown_as_base = True  # type: ignore[attr-defined]
    return cls


# The first row whose type matches is used, so a subclass stands before its base (TimeoutError is an OSError). The table
# lists the *expected* foreign errors. Any other foreign exception is a bug and is not converted.
ERROR_MAP: tuple[tuple[type[Exception], type[AlphaStreamError]], ...] = (
    (zlib.error, DecodeError),
    (MemoryError, DecodeError),  # a configured limit is higher than this machine's memory
    (TimeoutError, FrameTimeoutError),
    (OSError, TransportError),
    (ImportError, TransportError),  # a package that a source needs is not installed
)


def callers_mistake(message: str) -> ValueError:
    """The error for an argument that is found invalid while a source is read. contained_errors() lets it pass."""
    error = ValueError(message)
    error._is_callers_mistake = True  # type: ignore[attr-defined]
    return error


@contextmanager
def contained_errors(doing: str) -> Iterator[None]:
    """
    Convert every exception of the caller's own code into an error of this package, with the cause attached.

    The caller's code, a :class:`~alphastream_gpu.Source` or a callable, runs in the library's threads. There
    ``SystemExit`` and ``KeyboardInterrupt`` would end the event loop that all streams share, and ``CancelledError``
    would look as if the stream were being closed. Only a real cancellation of the current task passes.

    Args:
        doing: the operation, for the message, as in :func:`mapped_errors`.
    """
    try:
        with mapped_errors(doing):
            yield
    except AlphaStreamError:
        raise
    except GeneratorExit:
        raise  # the coroutine is being dropped
    except asyncio.CancelledError as exc:
        if _is_being_cancelled():
            raise
        raise TransportError(f"{doing}: raised CancelledError, although nobody cancelled it") from exc
    except BaseException as exc:
        if hasattr(exc, "_is_callers_mistake"):
            raise
        raise TransportError(f"{doing}: raised {type(exc).__name__}" + (f": {exc}" if str(exc) else "")) from exc


def _is_being_cancelled() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return False
    return task is not None and task.cancelling() > 0


@contextmanager
def mapped_errors(doing: str) -> Iterator[None]:
    """
    Convert the foreign errors of :data:`ERROR_MAP` into errors of this package, with the cause attached.

    Args:
        doing: the operation, for the message, such as ``"reading person.asvp"``. Without secrets and query strings.
    """
    try:
        yield
    except AlphaStreamError:
        raise
    except Exception as exc:
        for foreign, ours in ERROR_MAP:
            if isinstance(exc, foreign):
                raise ours(f"{doing}: {_reason(exc)}") from exc
        raise


def _reason(exc: Exception) -> str:
    """A short description of a foreign error. The text of an OSError itself would repeat the path."""
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    if isinstance(exc, MemoryError):
        return "not enough memory"
    return str(exc) or type(exc).__name__
