"""
open and open_async: a source, a key and options in, an opened stream out.
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
    Open a stream. Returns once header and table are read.

    Args:
        source: a path, a ``file:``, ``http:`` or ``https:`` URL, a callable that gives a URL (a signer, also an
            asynchronous one), a bytes-like object, or a :class:`Source`. The stream closes it.
        key: for an encrypted ASVR. A source that begins with the magic of a plain ASVP needs none, and is opened as
            plain with one, too.
        strict: refuse an ASVP whose magic bytes differ.
        config: options; the defaults of :class:`Config` otherwise.
        headers: for an HTTP source: sent to the URL's own origin, never to another one that it redirects to. They are
            secrets, so they are no option of `config`, which is shown and compared.
        client: for an HTTP source: an ``httpx.AsyncClient`` to use, or a callable that makes one, which the stream then
            closes, as :class:`HttpSource` describes it.

    Raises:
        DecodeError: malformed, or over a limit.
        KeyMismatchError: an ASVR's table does not open with `key`. A kind of DecodeError.
        TransportError: the source cannot be read.
        NotReadyError: the system has no thread for the library's event loop.
        FrameTimeoutError: not open within ``config.init_timeout``.
        ValueError: a URL that is malformed or of an unknown scheme, headers that cannot be sent, or `headers` or
            `client` for a source that is not HTTP.
        TypeError: `source` is none of these, or `headers` or `client` of another kind.
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
    """:func:`open` without blocking the caller's event loop. Args and errors as of :func:`open`."""
    source = with_http(source, config or Config(), headers=headers, client=client)
    stream = AlphaStream(config=config)
    try:
        await stream.aload_source(source, key=key, strict=strict)
    except BaseException:
        await stream.aclose()
        raise
    return stream
