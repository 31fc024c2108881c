"""
Which source a caller's argument means. The only place that knows the list.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from typing import Any, TypeAlias, TypeGuard
from urllib.parse import urlsplit

from .._config import Config
from .._format.names import scheme_of
from .base import Source
from .file import FileSource
from .guest import on_own_loop
from .http import OPTIONS, ClientLike, HttpSource, UrlLike
from .memory import MemorySource

__all__ = ["SourceLike", "as_source", "is_http", "open_source", "with_http"]

SourceLike: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | Source | UrlLike"
"""A path, a URL, a callable that gives a URL, a bytes-like object, or a :class:`Source`."""


def as_source(source: SourceLike, config: Config) -> Source:
    """
    The source that an argument means.

    Raises:
        TransportError: the file cannot be opened.
        TypeError: none of the accepted kinds.
        ValueError: a URL that is malformed or of an unknown scheme.
    """
    if isinstance(source, Source):
        return source
    if is_http(source):
        return _http(source, config)
    if isinstance(source, (str, os.PathLike)):
        return _from_text(os.fsdecode(source), config)
    try:
        # Anything with the buffer protocol: bytes, mmap, array, ndarray.
        return MemorySource(source)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            "source: expected a path, a URL, a callable that gives one, a contiguous bytes-like object or a Source,"
            f" found {type(source).__name__}"
        ) from None


def with_http(
    source: SourceLike, config: Config, *, headers: Mapping[str, str] | None, client: ClientLike | None
) -> SourceLike:
    """
    The argument, as a source with headers and a client of the caller's, if there are any.

    Args:
        source: what the caller wants opened.
        config: options.
        headers: for the URL's own origin; secrets, so they are no option of Config, which is shown and compared.
        client: to use instead of one of the library's.

    Raises:
        ValueError: `source` is no URL and no callable that gives one, or a header cannot be sent.
        TypeError: a header or `client` is of another kind.
    """
    if headers is None and client is None:
        return source
    if not is_http(source):
        raise ValueError("headers, client: these are for http: and https: URLs, and for callables that give one")
    return _http(source, config, headers=headers, client=client)


async def open_source(source: SourceLike, config: Config) -> Source:
    """
    :func:`as_source` in a thread, since a path may hang in the system. Whoever is cancelled meanwhile leaves nothing
    open: what the thread opens then, it closes. A source of the caller's own is read on a loop of its own.

    Errors as of :func:`as_source`.
    """
    if isinstance(source, Source):
        return on_own_loop(source)
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


def is_http(source: SourceLike) -> TypeGuard[UrlLike]:
    """Whether this is a URL for HttpSource, or a callable that gives one."""
    if isinstance(source, str):
        return scheme_of(source) in ("http", "https")
    return callable(source) and not isinstance(source, (type, Source, os.PathLike))


def _http(url: UrlLike, config: Config, **options: Any) -> HttpSource:
    named = {name: getattr(config, option) for name, option in OPTIONS.items()}
    return HttpSource(url, **named, **options)


def _from_text(text: str, config: Config) -> Source:
    scheme = scheme_of(text)
    if scheme is None:
        return FileSource(text, buffer=config.file_buffer)
    if scheme == "file":
        return FileSource(_path_of_file_url(text), buffer=config.file_buffer)
    raise ValueError(f"source: expected a path or a file:, http: or https: URL, found the scheme {scheme[:20]!r}")


def _path_of_file_url(url: str) -> str:
    from urllib.request import url2pathname  # it knows drive letters; and loads http.client, so not at import

    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:  # whose text may quote all that stands before the path
        host = "a malformed one"
    if host not in ("", "localhost"):
        raise ValueError(f"file URL: expected no host or localhost, found {host!r}")
    return url2pathname(parts.path)
