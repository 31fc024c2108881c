"""
AlphaStreamBuilder: a fluent interface that sets the options of Config one by one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Self

from ._config import Config, Prefetch, Processing, Validate
from ._format.cipher import AsvrKey
from ._open import open, open_async
from ._sources import ClientLike, SourceLike
from ._stream.stream import AlphaStream

__all__ = ["AlphaStreamBuilder"]


class AlphaStreamBuilder:
    """
    A fluent interface to open a stream: ``AlphaStreamBuilder().source(url).fps(30).cache_frames(64).open()``.

    For every option of :class:`Config` there is a method of the same name. It takes the value and returns the builder.
    The stream is the same as that of ``open(source, key=key, config=Config(...))``. Options are checked when the stream
    is opened. Headers and a client belong to the source, so only :meth:`open` and :meth:`open_async` use them.
    """

    def __init__(self) -> None:
        self._options: dict[str, Any] = {}
        self._source: SourceLike | None = None
        self._key: AsvrKey | None = None
        self._strict = True
        self._headers: Mapping[str, str] | None = None
        self._client: ClientLike | None = None

    def source(self, source: SourceLike) -> Self:
        """
        Set the source to open.

        Args:
            source: a path, a URL, a callable that returns a URL, bytes, a :class:`Source`, or a list of mirrors.
        """
        self._source = source
        return self

    def key(self, key: AsvrKey) -> Self:
        """
        Set the key of an encrypted ASVR.

        Args:
            key: the key.
        """
        self._key = key
        return self

    def headers(self, headers: Mapping[str, str]) -> Self:
        """
        Set headers for an HTTP source, as :func:`open` takes them. The headers are never shown.

        Args:
            headers: sent only to the URL's own origin.
        """
        self._headers = headers
        return self

    def client(self, client: ClientLike) -> Self:
        """
        Set the client for an HTTP source, as :func:`open` takes it.

        Args:
            client: an ``httpx.AsyncClient``, which stays open, or a callable that makes one.
        """
        self._client = client
        return self

    def strict(self, strict: bool) -> Self:
        """
        Set whether an ASVP with other magic bytes is refused. The default is True.

        Args:
            strict: False accepts other magic bytes.
        """
        self._strict = strict
        return self

    def native_size(self, width: int, height: int) -> Self:
        """
        Set the size of the grid that the polygons are drawn on.

        Args:
            width: in pixels, 1..16384.
            height: in pixels, 1..16384.
        """
        return self._with("native_size", (width, height))

    def fps(self, fps: Fraction | float) -> Self:
        """
        Set the frame rate.

        Args:
            fps: frames per second, 1..1000.
        """
        return self._with("fps", fps)

    def init_timeout(self, init_timeout: float) -> Self:
        """
        Set ``Config.init_timeout``.

        Args:
            init_timeout: 0.1..300.0 s.
        """
        return self._with("init_timeout", init_timeout)

    def cache_frames(self, cache_frames: int) -> Self:
        """
        Set ``Config.cache_frames``.

        Args:
            cache_frames: 1..65536 frames.
        """
        return self._with("cache_frames", cache_frames)

    def prefetch_frames(self, prefetch_frames: int) -> Self:
        """
        Set ``Config.prefetch_frames``.

        Args:
            prefetch_frames: 0..65536 frames.
        """
        return self._with("prefetch_frames", prefetch_frames)

    def get_frame_timebox(self, get_frame_timebox: float) -> Self:
        """
        Set ``Config.get_frame_timebox``.

        Args:
            get_frame_timebox: 0.0..1000.0 ms.
        """
        return self._with("get_frame_timebox", get_frame_timebox)

    def raster_workers(self, raster_workers: int) -> Self:
        """
        Set ``Config.raster_workers``.

        Args:
            raster_workers: 1..64 threads.
        """
        return self._with("raster_workers", raster_workers)

    def ready_frames(self, ready_frames: int) -> Self:
        """
        Set ``Config.ready_frames``.

        Args:
            ready_frames: 0..256 frames.
        """
        return self._with("ready_frames", ready_frames)

    def processing(self, processing: Processing) -> Self:
        """
        Set ``Config.processing``.

        Args:
            processing: 'mask' or 'triangles' or 'both'.
        """
        return self._with("processing", processing)

    def decode_workers(self, decode_workers: int) -> Self:
        """
        Set ``Config.decode_workers``.

        Args:
            decode_workers: 1..64 threads.
        """
        return self._with("decode_workers", decode_workers)

    def file_buffer(self, file_buffer: int) -> Self:
        """
        Set ``Config.file_buffer``.

        Args:
            file_buffer: 4096..67108864 bytes.
        """
        return self._with("file_buffer", file_buffer)

    def http_timeout(self, http_timeout: float) -> Self:
        """
        Set ``Config.http_timeout``.

        Args:
            http_timeout: 1.0..300.0 s.
        """
        return self._with("http_timeout", http_timeout)

    def http_deadline(self, http_deadline: float) -> Self:
        """
        Set ``Config.http_deadline``.

        Args:
            http_deadline: 1.0..3600.0 s.
        """
        return self._with("http_deadline", http_deadline)

    def http_retries(self, http_retries: int) -> Self:
        """
        Set ``Config.http_retries``.

        Args:
            http_retries: 0..10 retries.
        """
        return self._with("http_retries", http_retries)

    def http_backoff(self, http_backoff: float) -> Self:
        """
        Set ``Config.http_backoff``.

        Args:
            http_backoff: 0.0..60000.0 ms.
        """
        return self._with("http_backoff", http_backoff)

    def http_chunk(self, http_chunk: int) -> Self:
        """
        Set ``Config.http_chunk``.

        Args:
            http_chunk: 4096..67108864 bytes.
        """
        return self._with("http_chunk", http_chunk)

    def http_concurrency(self, http_concurrency: int) -> Self:
        """
        Set ``Config.http_concurrency``.

        Args:
            http_concurrency: 1..64 requests.
        """
        return self._with("http_concurrency", http_concurrency)

    def http_whole_file_cap(self, http_whole_file_cap: int) -> Self:
        """
        Set ``Config.http_whole_file_cap``.

        Args:
            http_whole_file_cap: 0..1073741824 bytes.
        """
        return self._with("http_whole_file_cap", http_whole_file_cap)

    def http_validate(self, http_validate: Validate) -> Self:
        """
        Set ``Config.http_validate``.

        Args:
            http_validate: 'etag' or 'size' or 'none'.
        """
        return self._with("http_validate", http_validate)

    def http2(self, http2: bool) -> Self:
        """
        Set ``Config.http2``.

        Args:
            http2: False or True.
        """
        return self._with("http2", http2)

    def http_offline(self, http_offline: bool) -> Self:
        """
        Set ``Config.http_offline``.

        Args:
            http_offline: False or True.
        """
        return self._with("http_offline", http_offline)

    def cache_dir(self, cache_dir: str | os.PathLike[str] | None) -> Self:
        """
        Set ``Config.cache_dir``.

        Args:
            cache_dir: a path or None.
        """
        return self._with("cache_dir", cache_dir)

    def cache_bytes(self, cache_bytes: int) -> Self:
        """
        Set ``Config.cache_bytes``.

        Args:
            cache_bytes: 1048576..1099511627776 bytes.
        """
        return self._with("cache_bytes", cache_bytes)

    def prefetch(self, prefetch: Prefetch) -> Self:
        """
        Set ``Config.prefetch``.

        Args:
            prefetch: 'ahead' or 'all'.
        """
        return self._with("prefetch", prefetch)

    def max_frame_bytes(self, max_frame_bytes: int) -> Self:
        """
        Set ``Config.max_frame_bytes``.

        Args:
            max_frame_bytes: 64..33554432 bytes.
        """
        return self._with("max_frame_bytes", max_frame_bytes)

    def max_frames(self, max_frames: int) -> Self:
        """
        Set ``Config.max_frames``.

        Args:
            max_frames: 1..268435456 frames.
        """
        return self._with("max_frames", max_frames)

    def config(self) -> Config:
        """
        Make a Config of the options that are set so far.

        Raises:
            ValueError: an option is outside its range.
        """
        return Config(**self._options)

    def build(self) -> AlphaStream:
        """
        Make an empty stream with these options, for :meth:`AlphaStream.load_source`. Errors as of :class:`AlphaStream`.

        Raises:
            ValueError: an option is outside its range.
        """
        return AlphaStream(config=self.config())

    def open(self) -> AlphaStream:
        """
        Open the source. Errors as of :func:`open`.

        Raises:
            ValueError: the source is not set, an option is outside its range, or headers or a client are set for a
                source that is not HTTP.
        """
        return open(
            self._named_source(),
            key=self._key,
            strict=self._strict,
            config=self.config(),
            headers=self._headers,
            client=self._client,
        )

    async def open_async(self) -> AlphaStream:
        """Like :meth:`open`, but without blocking the caller's event loop. Args and errors as of :meth:`open`."""
        return await open_async(
            self._named_source(),
            key=self._key,
            strict=self._strict,
            config=self.config(),
            headers=self._headers,
            client=self._client,
        )

    def __getstate__(self) -> dict[str, Any]:
        if self._headers is not None or self._client is not None:
            raise TypeError(
                "an AlphaStreamBuilder with headers or a client cannot be pickled or copied: headers are secrets; pass"
                " its config() on"
            )
        return self.__dict__

    def _with(self, name: str, value: Any) -> Self:
        self._options[name] = value
        return self

    def _named_source(self) -> SourceLike:
        if self._source is None:
            raise ValueError("source: not set; call source(...) first, or build() for an empty stream")
        return self._source
