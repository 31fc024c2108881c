"""
Which source a caller's argument means. The only place that knows the list.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TypeAlias
from urllib.parse import urlsplit

from .._config import Config
from ._base import Source
from ._file import FileSource
from ._http import HttpSource
from ._memory import MemorySource

__all__ = ["SourceLike", "as_source", "open_source"]

SourceLike: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | Source"
"""A path, a URL, a bytes-like object, or a :class:`Source`."""


def as_source(source: SourceLike, config: Config) -> Source:
    """
    The source that an argument means.

    Raises:
        TransportError: the file cannot be opened.
        TypeError: none of the accepted kinds.
        ValueError: a URL of an unknown scheme.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, (str, os.PathLike)):
        return _from_text(os.fsdecode(source), config)
    try:
        return MemorySource(source)  # anything with the buffer protocol: bytes, mmap, array, ndarray
    except TypeError:
        raise TypeError(
            f"source: expected a path, a URL, a contiguous bytes-like object or a Source, found {type(source).__name__}"
        ) from None


async def open_source(source: SourceLike, config: Config) -> Source:
    """
    :func:`as_source` in a thread, since a path may hang in the system. Whoever is cancelled meanwhile leaves nothing
    open: what the thread opens then, it closes.

    Errors as of :func:`as_source`.
    """
    if isinstance(source, Source):
        return source
    opening = _Opening()
    try:
        return await asyncio.to_thread(opening.open, source, config)
    except BaseException:
        opened = opening.give_up()
        if opened is not None:
            await opened.aclose()
        raise


class _Opening:
    """A source that a thread opens for somebody who may give up before it is there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_awaited = True
        self._opened: Source | None = None

    def open(self, source: SourceLike, config: Config) -> Source:
        """For the thread."""
        opened = as_source(source, config)
        with self._lock:
            self._opened = opened
            is_awaited = self._is_awaited
        if not is_awaited and isinstance(opened, FileSource):  # the others hold nothing before they are read
            opened._close()
        return opened

    def give_up(self) -> Source | None:
        """The source if it is open already; if not, the thread will close it."""
        with self._lock:
            self._is_awaited = False
            return self._opened


def _from_text(text: str, config: Config) -> Source:
    scheme, separator, _ = text.partition("://")
    scheme = scheme.lower()
    if not separator and text[:5].lower() == "file:":
        scheme, separator = "file", ":"
    if not separator:
        return FileSource(text, buffer_bytes=config.file_buffer)
    if scheme == "file":
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise ValueError(f"file URL: expected no host or localhost, found {parts.netloc!r}")
        from urllib.request import url2pathname  # it knows drive letters; and loads http.client, so not at import

        return FileSource(url2pathname(parts.path), buffer_bytes=config.file_buffer)
    if scheme in ("http", "https"):
        return HttpSource(
            text,
            timeout=config.http_timeout,
            deadline=config.http_deadline,
            retries=config.http_retries,
            backoff=config.http_backoff / 1000,
            chunk=config.http_chunk,
            concurrency=config.http_concurrency,
            whole_file_cap=config.http_whole_file_cap,
            http2=config.http2,
        )
    raise ValueError(f"source: expected a path or a file:, http: or https: URL, found the scheme {scheme!r}")
