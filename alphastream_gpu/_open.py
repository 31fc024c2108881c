"""
open and open_async: a source, a key and options in, an opened stream out.
"""

from __future__ import annotations

from ._cipher import AsvrKey
from ._config import Config
from ._sources import SourceLike
from ._stream import AlphaStream

__all__ = ["open", "open_async"]


def open(
    source: SourceLike, *, key: AsvrKey | None = None, strict: bool = True, config: Config | None = None
) -> AlphaStream:
    """
    Open a stream. Returns once header and table are read.

    Args:
        source: a path, a ``file:``, ``http:`` or ``https:`` URL, a bytes-like object, or a :class:`Source`. The stream
            closes it.
        key: for an encrypted ASVR. A source that begins with the magic of a plain ASVP needs none, and is opened as
            plain with one, too.
        strict: refuse an ASVP whose magic bytes differ.
        config: options; the defaults of :class:`Config` otherwise.

    Raises:
        DecodeError: malformed, or over a limit.
        KeyMismatchError: an ASVR's table does not open with `key`. A kind of DecodeError.
        TransportError: the source cannot be read.
        NotReadyError: the system has no thread for the library's event loop.
        FrameTimeoutError: not open within ``config.init_timeout``.
        ValueError: a URL of an unknown scheme.
        TypeError: `source` is none of these.
    """
    stream = AlphaStream(config=config)
    try:
        stream.load_source(source, key=key, strict=strict)
    except BaseException:
        stream.close()
        raise
    return stream


async def open_async(
    source: SourceLike, *, key: AsvrKey | None = None, strict: bool = True, config: Config | None = None
) -> AlphaStream:
    """:func:`open` without blocking the caller's event loop. Args and errors as of :func:`open`."""
    stream = AlphaStream(config=config)
    try:
        await stream.aload_source(source, key=key, strict=strict)
    except BaseException:
        await stream.aclose()
        raise
    return stream
