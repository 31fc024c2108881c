"""
Open: the functions open and open_async, which open a stream from a source, a key and options.
"""

from __future__ import annotations

from collections.abc import Mapping

from ._config import Config
from ._format.cipher import AsvrKey
from ._sources import ClientLike, SourceLike, with_http
from ._stream.stream import AlphaStream

__all__ = ["open", "open_async"]


def open(
    source: SourceLike,
    *,
    key: AsvrKey | None = None,
    strict: bool = True,
    config: Config | None = None,
    headers: Mapping[str, str] | None = None,
    client: ClientLike | None = None,
) -> AlphaStream:
    """
    Open a stream. Returns once the header and the sizes table are read.

    Args:
        source: a path, a ``file:``, ``http:`` or ``https:`` URL, a callable that returns a URL (a signer, which may be
            asynchronous), a bytes-like object, or a :class:`Source`. Or a list of mirrors, which are paths, URLs,
            callables and sources; the next one is read after a failure. The stream closes it.
        key: the key of an encrypted ASVR. A source that begins with the magic bytes of a plain ASVP needs no key; it is
            opened as a plain file even if a key is given.
        strict: refuse an ASVP whose magic bytes differ.
        config: the options; the defaults of :class:`Config` if omitted.
        headers: headers for an HTTP source. They are sent only to the URL's own origin, never to another origin after a
            redirect; with a list of mirrors, to the origin of each URL. They take the place of ``config.http_headers``.
        client: for an HTTP source: an ``httpx.AsyncClient``, or a callable that makes one. The stream closes a client
            that it made by the callable; see :class:`HttpSource`. It takes the place of ``config.http_client``.

    Raises:
        DecodeError: the stream is malformed or over a limit.
        KeyMismatchError: an ASVR cannot be decrypted with `key`. A subclass of DecodeError.
        TransportError: the source cannot be read.
        NotReadyError: the system cannot start a thread for the library's event loop.
        FrameTimeoutError: the stream is not open within ``config.init_timeout``.
        ClosedError: the interpreter is ending: exit handlers run. Or `source` is a source that was read before a fork.
        ValueError: the URL is malformed or has an unknown scheme, a list is empty, a header cannot be sent, or
            `headers` or `client` is given for a source that is not HTTP. Or ``config.http_offline`` is set without
            ``config.cache_dir``.
        TypeError: `source`, `headers` or `client` has an unsupported type.
    """
    source = with_http(source, config or Config(), headers=headers, client=client)
    stream = AlphaStream(config=config)
    try:
        stream.load_source(source, key=key, strict=strict)
    except BaseException:
        stream.close()
        raise
    return stream


async def open_async(
    source: SourceLike,
    *,
    key: AsvrKey | None = None,
    strict: bool = True,
    config: Config | None = None,
    headers: Mapping[str, str] | None = None,
    client: ClientLike | None = None,
) -> AlphaStream:
    """Like :func:`open`, but without blocking the caller's event loop. Args and errors as of :func:`open`."""
    source = with_http(source, config or Config(), headers=headers, client=client)
    stream = AlphaStream(config=config)
    try:
        await stream.aload_source(source, key=key, strict=strict)
    except BaseException:
        await stream.aclose()
        raise
    return stream
