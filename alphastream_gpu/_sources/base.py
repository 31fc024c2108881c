"""
Base: Source, the interface of all byte sources. The kinds of sources are listed in ``select.py``, which makes the
source for a caller's argument.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .._exceptions import AlphaStreamError, FrameTimeoutError, TransportError, shown_as_base
from .._format.names import resource_name_of
from .ranges import ByteRange

__all__ = [
    "ChangedFileError",
    "Facts",
    "RequestTiming",
    "SilentServerError",
    "Source",
    "UnreachableError",
    "resource_name_of",
]


@shown_as_base
class SilentServerError(FrameTimeoutError):
    """The deadline passed, and the server had not sent any answer."""


@dataclass(frozen=True, slots=True)
class RequestTiming:
    """
    A request of a source, which has ended.
    """

    began_at: float
    """When it was sent, in seconds of ``time.monotonic``."""
    seconds: float
    """How long it took, with its redirects, in seconds."""
    bytes: int
    """Bytes that it brought; 0 if it failed."""
    failure: str | None
    """Why it failed; None if it did not. It is shown in logs, so it must not contain secrets."""


@shown_as_base
class UnreachableError(TransportError):
    """The server could not be asked: there is no connection, or it answers that it cannot answer now."""


@shown_as_base
class ChangedFileError(TransportError):
    """The server has another version of the file than the one that is read."""


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What is known about a file of a server.
    """

    url: str | None
    """The caller's URL; None while a callable has not returned one. It may contain secrets."""
    length: int | None
    """In bytes."""
    validator: tuple[str, str] | None
    """The name and the value of the header that identifies its content."""


class Source(ABC):
    """
    Bytes that can be read by range. Write a subclass for storage that this package does not support.

    :meth:`read` and :meth:`aclose` run on an event loop that no other source uses; several reads run at the same time.
    A call that blocks delays all reads of this source, but no other source. The properties are read on any thread and
    must not block. A stream closes its source once.

    An implementation raises :class:`~alphastream_gpu.TransportError` for failures of the storage. The stream converts
    ``OSError`` and ``TimeoutError`` to errors of this package, and every other exception to a TransportError.

    If a property raises an exception or has an invalid value, the stream uses the value that this class returns: None,
    0 or an empty text. If the property is :attr:`name` or :attr:`length`, reads fail with a TransportError.
    """

    on_attempt: Callable[[], object] | None = None
    """A callback without arguments. A source that repeats failed requests calls it after each attempt, on its event
    loop, when :attr:`last_failure` and :attr:`next_attempt_at` are updated. It must neither block nor raise; an
    exception fails the read. Set it before the source is opened, so that the source gets an event loop of its own."""

    @property
    def last_failure(self) -> AlphaStreamError | None:
        """
        Why the last attempt failed; None after a successful attempt, and before the first one.

        A source that repeats failed requests sets this while a read is still waiting. The error is only a report: the
        read itself raises another one in the end.
        """
        return None

    @property
    def next_attempt_at(self) -> float | None:
        """
        The time of the next attempt of a read, in seconds of ``time.monotonic``; the earliest one if several reads
        wait. None if no read waits for an attempt. Like :attr:`last_failure`, this is read on any thread.
        """
        return None

    @property
    def reply_summary(self) -> str:
        """
        A description of the server's reply with the first bytes, such as ``status 200, content type 'text/html'``.
        Empty for a source without a server. Shown in messages, so it must not contain secrets.
        """
        return ""

    @property
    def recent_requests(self) -> tuple[RequestTiming, ...]:
        """The last requests, the oldest first, 1000 of them at most; empty for a source without a server."""
        return ()

    @property
    def retry_reasons(self) -> Mapping[str, int]:
        """
        How often a request was repeated, by the reason. Reasons are shown in logs, so they must not contain secrets.
        """
        return {}

    @property
    @abstractmethod
    def name(self) -> str:
        """
        The last part of the path, or of the percent-decoded path of the URL.

        The key of an ASVR depends on it. It is shown in messages, so it must not contain secrets.
        """

    @property
    @abstractmethod
    def length(self) -> int | None:
        """The length in bytes, or None while it is unknown. It may become known with the first read."""

    @abstractmethod
    async def read(self, span: ByteRange) -> bytes | memoryview:
        """
        Read a range.

        Args:
            span: the range of bytes. It may reach beyond the end.

        Returns:
            The bytes of `span` that exist: exactly ``len(span)`` bytes, or fewer only at the end of the source. They
            must stay valid and unchanged while the caller holds them.

        Raises:
            TransportError: the storage failed.
            FrameTimeoutError: the read took too long.
            ClosedError: the source is closed.
        """

    @property
    def requests(self) -> int:
        """The number of requests so far, including retries and redirects; 0 for a source without a server."""
        return 0

    @property
    def bytes_received(self) -> int:
        """Bytes of reply bodies received so far, including those of replies that broke off."""
        return 0

    async def aclose(self) -> None:  # noqa: B027 - a source without resources has nothing to close
        """Release the resources of the source. Called once, after the last read has ended."""
