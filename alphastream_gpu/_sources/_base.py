"""
The interface every byte source has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

from .._exceptions import FrameTimeoutError, shown_as_base
from .._ranges import ByteRange

__all__ = ["SilentServerError", "Source", "check_range", "resource_name_of"]

Number = TypeVar("Number", int, float)


@shown_as_base
class SilentServerError(FrameTimeoutError):
    """The deadline passed, and until then the server did not answer at all."""


class Source(ABC):
    """
    Bytes that can be read by range. Write your own for storage that this package does not know.

    All methods run on the stream's own event loop thread, several reads at once; they must not block it for long.
    A stream closes its source, once.

    An implementation raises :class:`~alphastream_gpu.TransportError` for failures of the storage. ``OSError`` and
    ``TimeoutError`` are mapped to our errors by the stream.
    """

    _last_failure: str = ""
    """Why the attempt before this one failed, for whoever ends the wait for the next."""

    @property
    @abstractmethod
    def name(self) -> str:
        """
        The last part of the path or URL, without a query.

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


def check_range(name: str, value: Number, low: Number, high: Number) -> Number:
    """
    The value of a source's option, of the type that its bounds have.

    Raises:
        ValueError: not within ``low..high``, both included, or not whole where the bounds are.
        TypeError: not a number.
    """
    if not low <= value <= high or (isinstance(low, int) and int(value) != value):
        raise ValueError(f"{name}: expected {low}..{high}, found {value!r}")
    return type(low)(value)


def resource_name_of(path: str) -> str:
    """What follows the last ``/`` or ``\\``, before any ``?`` (docs/format.md, "Encryption")."""
    return path.partition("?")[0].replace("\\", "/").rpartition("/")[2]
