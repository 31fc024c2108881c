"""
Select: makes the source for a caller's argument. Only this module has the list of all kinds of sources.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from functools import partial
from typing import TypeAlias, TypeGuard
from urllib.parse import urlsplit

from .._config import Config
from .._format.names import scheme_of
from .._wording import ABOUT_SOURCE
from .base import Source
from .file import FileSource
from .guest import on_own_loop
from .http import ClientLike, UrlLike, from_config
from .http.callers import in_thread, refuse_at_end
from .memory import MemorySource

__all__ = ["SourceLike", "as_source", "is_http", "open_source", "with_http"]

SourceLike: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | Source | UrlLike"
"""A path, a URL, a callable that returns a URL, a bytes-like object, or a :class:`Source`."""


def as_source(source: SourceLike, config: Config) -> Source:
    """
    Make the source for an argument.

    Raises:
        TransportError: the file cannot be opened.
        TypeError: the argument has an unsupported type.
        ValueError: the URL is malformed or has an unknown scheme.
    """
    if isinstance(source, Source):
        return source
    if is_http(source):
        return from_config(source, config)
    if isinstance(source, (str, os.PathLike)):
        return _from_text(os.fsdecode(source), config)
    try:
        # Any object with the buffer protocol: bytes, mmap, array, ndarray.
        return MemorySource(source)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"{ABOUT_SOURCE} a path, a URL, a callable that returns a URL, a contiguous bytes-like object or a Source,"
            f" found {type(source).__name__}"
        ) from None


def with_http(
    source: SourceLike, config: Config, *, headers: Mapping[str, str] | None, client: ClientLike | None
) -> SourceLike:
    """
    Make an HTTP source of an argument if the caller gave headers or a client; return the argument if not.

    Args:
        source: the caller's argument.
        config: the options.
        headers: headers for the URL's own origin, in place of those of the config.
        client: the client to use, in place of that of the config.

    Raises:
        ValueError: `source` is neither a URL nor a callable that returns one, or a header cannot be sent.
        TypeError: a header or `client` has an unsupported type.
        ClosedError: the interpreter is ending. The functions that open a stream call this first, before they start
            threads.
    """
    refuse_at_end()
    if headers is None and client is None:
        return source
    if not is_http(source):
        raise ValueError("headers, client: only for http: and https: URLs, and for callables that return one")
    return from_config(source, config, headers=headers, client=client)


async def open_source(source: SourceLike, config: Config) -> Source:
    """
    Call :func:`as_source` in a thread, because opening a path may hang in the system. If the caller is cancelled
    meanwhile, the source is closed as soon as it is open. A source that runs code of the caller gets an event loop of
    its own.

    Errors as of :func:`as_source`, and ClosedError if the interpreter is ending.
    """
    refuse_at_end()
    if isinstance(source, Source):
        return on_own_loop(source)
    opening = _Opening()
    try:
        return on_own_loop(await in_thread(partial(opening.open, source, config)))
    except BaseException:
        opened = opening.give_up()
        if opened is not None:
            await opened.aclose()
        raise


class _Opening:
    """A source that a thread opens for a task that may be cancelled before the source is open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_awaited = True
        self._opened: Source | None = None

    def open(self, source: SourceLike, config: Config) -> Source:
        """Open the source. Runs in the thread."""
        opened = as_source(source, config)
        with self._lock:
            self._opened = opened
            is_awaited = self._is_awaited
        if not is_awaited:
            asyncio.run(opened.aclose())
        return opened

    def give_up(self) -> Source | None:
        """Give up. Returns the source if it is already open; otherwise the thread closes it later."""
        with self._lock:
            self._is_awaited = False
            return self._opened


def is_http(source: SourceLike) -> TypeGuard[UrlLike]:
    """Whether an argument is a URL for HttpSource, or a callable that returns one."""
    if isinstance(source, str):
        return scheme_of(source) in ("http", "https")
    return callable(source) and not isinstance(source, (type, Source, os.PathLike))


def _from_text(text: str, config: Config) -> Source:
    scheme = scheme_of(text)
    if scheme is None:
        return FileSource(text, buffer=config.file_buffer)
    if scheme == "file":
        return FileSource(_path_of_file_url(text), buffer=config.file_buffer)
    raise ValueError(f"{ABOUT_SOURCE} a path or a file:, http: or https: URL, found the scheme {scheme[:20]!r}")


def _path_of_file_url(url: str) -> str:
    from urllib.request import url2pathname  # handles drive letters; not imported above, because it loads http.client

    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:  # its message may quote everything before the path
        host = "(malformed)"
    if host not in ("", "localhost"):
        raise ValueError(f"file URL: expected no host or localhost, found {host!r}")
    return url2pathname(parts.path)
