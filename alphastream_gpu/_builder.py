"""
AlphaStreamBuilder: a fluent interface that sets the options of Config one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from fractions import Fraction
from typing import Any, Self

from ._config import Config
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
            source: a path, a URL, a callable that returns a URL, bytes, or a :class:`Source`.
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

    def __getattr__(self, name: str) -> Any:
        if name not in _OPTIONS:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}; options: {sorted(_OPTIONS)}"
            )

        def set_option(value: Any) -> AlphaStreamBuilder:
            return self._with(name, value)

        set_option.__name__ = name
        set_option.__doc__ = _OPTIONS[name]
        return set_option

    def __getstate__(self) -> dict[str, Any]:
        if self._headers is not None or self._client is not None:
            raise TypeError(
                "an AlphaStreamBuilder with headers or a client cannot be pickled or copied: headers are secrets; pass"
                " its config() on"
            )
        return self.__dict__

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_OPTIONS})

    def _with(self, name: str, value: Any) -> Self:
        self._options[name] = value
        return self

    def _named_source(self) -> SourceLike:
        if self._source is None:
            raise ValueError("source: not set; call source(...) first, or build() for an empty stream")
        return self._source


_OPTIONS = {option.name: str(option.metadata["doc"]) for option in fields(Config)}
