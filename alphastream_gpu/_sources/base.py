"""
The interface every byte source has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from .._exceptions import AlphaStreamError, FrameTimeoutError, shown_as_base
from .._format.names import resource_name_of
from .ranges import ByteRange

__all__ = ["SilentServerError", "Source", "resource_name_of"]


@shown_as_base
class SilentServerError(FrameTimeoutError):
    """The deadline passed, and until then the server did not answer at all."""


class Source(ABC):
    """
    Bytes that can be read by range. Write your own for storage that this package does not know.

    :meth:`read` and :meth:`aclose` run on an event loop that this source has to itself, several reads at once. One that
    blocks keeps no other source waiting, but every read of this one. The properties are asked for on any thread, and
    must answer at once. A stream closes its source, once.

    An implementation raises :class:`~alphastream_gpu.TransportError` for failures of the storage. ``OSError`` and
    ``TimeoutError`` are mapped to our errors by the stream.
    """

    on_attempt: Callable[[], object] | None = None
    """Called after each attempt of a source that repeats failed requests, on the event loop, without arguments. Then
    :attr:`last_failure` and :attr:`next_attempt_at` are new. It must neither block nor raise."""

    @property
    def last_failure(self) -> AlphaStreamError | None:
        """
        Why the last attempt failed; None after one that succeeded, and before the first.

        A source that repeats failed requests tells here how it goes while a read is still waiting. The error is a
        record: it is not the one that the read raises in the end.
        """
        return None

    @property
    def next_attempt_at(self) -> float | None:
        """
        When the next attempt of a read begins, in seconds of ``time.monotonic``; the earliest where several reads wait.
        None if no read waits for one. Like :attr:`last_failure`, asked for on any thread.
        """
        return None

    @property
    def reply_summary(self) -> str:
        """
        What the server said about the first bytes, such as ``status 200, content type 'text/html'``; empty where there
        is no server. For messages: no secrets.
        """
        return ""

    @property
    def _last_failure(self) -> str:
        """:attr:`last_failure` as text, for whoever ends the wait for the next attempt."""
        return str(self.last_failure or "")

    @property
    @abstractmethod
    def name(self) -> str:
        """
        The last part of the path or of the URL's path, percent-decoded where it is a URL's.

        Part of an ASVR's key, and shown in messages: no secrets.
        """

    @property
    @abstractmethod
    def length(self) -> int | None:
        """Length in bytes, or None as long as it is not known. May become known with the first read."""

    @abstractmethod
    async def read(self, span: ByteRange) -> bytes | memoryview:
        """
        Read a range.

        Args:
            span: which bytes. It may reach beyond the end.

        Returns:
            The bytes of `span` that exist: exactly ``len(span)`` of them, fewer only where the source ends. They
            must stay valid and unchanged for as long as the caller holds them.

        Raises:
            TransportError: the storage failed.
            FrameTimeoutError: it took too long.
            ClosedError: the source is closed.
        """

    @property
    def requests(self) -> int:
        """Requests made to a server so far, retries and redirects included; 0 where there is no server."""
        return 0

    @property
    def bytes_received(self) -> int:
        """Body bytes that came from a server so far, those of replies that broke off included."""
        return 0

    async def aclose(self) -> None:  # noqa: B027 - a source that holds nothing has nothing to close
        """Release what the source holds. Called once, after the last read has ended."""
