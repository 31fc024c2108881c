"""
Select: makes the source for a caller's argument. Only this module has the list of all kinds of sources.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias, TypeGuard
from urllib.parse import urlsplit

from .._config import Config
from .._format.names import resource_name_of, scheme_of, shown_path
from .._wording import ABOUT_SOURCE, NEEDS_CACHE
from .base import Source
from .cache import CachedSource, Folder, Remote, Spool
from .file import FileSource
from .guest import on_own_loop
from .http import ClientLike, HttpSource, UrlLike, expect, facts_of, from_config, locate
from .http.address import shown
from .http.callers import in_thread, refuse_at_end
from .memory import MemorySource
from .mirrors import Mirror, MirrorSource

__all__ = ["SourceLike", "as_source", "is_http", "open_source", "spooled", "with_http"]

MirrorLike: TypeAlias = "str | os.PathLike[str] | Source | UrlLike"
"""A path, a URL, a callable that returns a URL, or a :class:`Source`."""
SourceLike: TypeAlias = "MirrorLike | bytes | bytearray | memoryview | Sequence[MirrorLike]"
"""A path, a URL, a callable that returns a URL, a bytes-like object, a :class:`Source`, or a list of mirrors."""


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
        return _cached(_remote(from_config(source, config)), config)
    if isinstance(source, (list, tuple)):
        return _from_mirrors(source, config, None, None)
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
    if isinstance(source, (list, tuple)) and any(map(is_http, source)):
        return _from_mirrors(source, config, headers, client)
    if not is_http(source):
        raise ValueError("headers, client: only for http: and https: URLs, and for callables that return one")
    return _cached(_remote(from_config(source, config, headers=headers, client=client)), config)


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


def spooled(source: SourceLike, config: Config, spool: Spool) -> Source:
    """
    Make the source of a download: it keeps what it reads in a file, and fetches only what is missing there.

    Args:
        source: a URL, a callable that returns one, or an HttpSource.
        config: the options. Its cache is not used.
        spool: the file.

    Raises:
        ValueError: `source` is not read over HTTP, or as of :func:`as_source`.
    """
    if is_http(source):
        source = from_config(source, config)
    if not isinstance(source, HttpSource):
        raise ValueError("expected an http: or https: URL to download")
    return CachedSource(_remote(source), spool)


def is_http(source: SourceLike) -> TypeGuard[UrlLike]:
    """Whether an argument is a URL for HttpSource, or a callable that returns one."""
    if isinstance(source, str):
        return scheme_of(source) in ("http", "https")
    return callable(source) and not isinstance(source, (type, Source, os.PathLike))


def _remote(source: HttpSource) -> Remote:
    return Remote(source, partial(facts_of, source), partial(expect, source), partial(locate, source))


def _cached(remote: Remote, config: Config) -> Source:
    """A source with the disk cache of a config, if it has one."""
    if config.cache_dir is None:
        if config.http_offline:
            raise ValueError(f"{NEEDS_CACHE}")
        return remote.source
    return CachedSource(
        remote,
        Folder(os.fspath(config.cache_dir), config.cache_bytes),
        is_offline=config.http_offline,
        fills=config.prefetch == "all",
        ask_seconds=config.init_timeout / 2,
    )


def _from_mirrors(
    mirrors: Sequence[MirrorLike], config: Config, headers: Mapping[str, str] | None, client: ClientLike | None
) -> Source:
    if not mirrors:
        raise ValueError("source: expected at least one mirror, found an empty list")
    if config.http_offline and any(map(is_http, mirrors)) and not is_http(mirrors[0]):
        raise ValueError("http_offline: needs a URL as the first mirror, by which the disk cache knows the file")
    made = MirrorSource([_mirror(one, config, headers, client) for one in mirrors], config)
    return _cached(Remote(made, made.facts, made.expect, made.locate), config) if is_http(mirrors[0]) else made


def _mirror(mirror: MirrorLike, config: Config, headers: Mapping[str, str] | None, client: ClientLike | None) -> Mirror:
    """A mirror. What is wrong with the argument is raised at once, and what is wrong with the file when it is read."""
    if is_http(mirror):
        # A request is repeated at the next mirror instead.
        source = from_config(mirror, replace(config, http_retries=0), headers=headers, client=client)
        own = on_own_loop(source)
        where = shown(mirror) if isinstance(mirror, str) else "a signed URL"
        return Mirror(where, lambda: source.name, lambda: own, source)
    if isinstance(mirror, Source):
        own = on_own_loop(mirror)
        return Mirror(f"the source {own.name!r}", lambda: own.name, lambda: own, None)
    if isinstance(mirror, (str, os.PathLike)):
        text = os.fsdecode(mirror)
        if scheme_of(text) not in (None, "file"):
            _from_text(text, config)  # raises
        make: Callable[[], Source] = partial(_from_text, text, config)
        return Mirror(repr(shown_path(text)), lambda: resource_name_of(text), make, None)
    raise TypeError(
        f"source: expected a list of paths, URLs, callables that return a URL, or Sources; found"
        f" {type(mirror).__name__} in it"
    )


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
