"""
AlphaStreamBuilder: the options of Config, one call at a time.
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
    Fluent way to a stream: ``AlphaStreamBuilder().source(url).fps(30).cache_frames(64).open()``.

    Every option of :class:`Config` is a method of its name that takes the value and returns the builder. The stream is
    the same that ``open(source, key=key, config=Config(...))`` gives. Options are checked when the stream is opened.
    Headers and a client are for :meth:`open` and :meth:`open_async`: they belong to the source.
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
        Name what to open.

        Args:
            source: a path, a URL, a callable that gives a URL, bytes, or a :class:`Source`.
        """
        self._source = source
        return self

    def key(self, key: AsvrKey) -> Self:
        """
        Give the key of an encrypted ASVR.

        Args:
            key: the key.
        """
        self._key = key
        return self

    def headers(self, headers: Mapping[str, str]) -> Self:
        """
        Give headers for an HTTP source, as :func:`open` takes them. They are never shown.

        Args:
            headers: sent to the URL's own origin.
        """
        self._headers = headers
        return self

    def client(self, client: ClientLike) -> Self:
        """
        Give a client for an HTTP source, as :func:`open` takes it.

        Args:
            client: an ``httpx.AsyncClient``, which stays open, or a callable that makes one.
        """
        self._client = client
        return self

    def strict(self, strict: bool) -> Self:
        """
        Say whether to refuse an ASVP with other magic bytes, which is done unless this says otherwise.

        Args:
            strict: False to accept it.
        """
        self._strict = strict
        return self

    def native_size(self, width: int, height: int) -> Self:
        """
        Say what grid the polygons are on.

        Args:
            width: in pixels, 1..16384.
            height: in pixels, 1..16384.
        """
        return self._with("native_size", (width, height))

    def fps(self, fps: Fraction | float) -> Self:
        """
        Say how fast the stream plays.

        Args:
            fps: frames per second, 1..1000.
        """
        return self._with("fps", fps)

    def config(self) -> Config:
        """
        The options so far.

        Raises:
            ValueError: an option outside its range.
        """
        return Config(**self._options)

    def build(self) -> AlphaStream:
        """
        An empty stream with these options; :meth:`AlphaStream.load_source` fills it. Errors as of :class:`AlphaStream`.

        Raises:
            ValueError: an option outside its range.
        """
        return AlphaStream(config=self.config())

    def open(self) -> AlphaStream:
        """
        Open the source. Errors as of :func:`open`.

        Raises:
            ValueError: no source was named, an option is outside its range, or headers or a client were given for a
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
        """:meth:`open` without blocking the caller's event loop. Args and errors as of :meth:`open`."""
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
            raise ValueError("source: none was named; call source(...) first, or build() for an empty stream")
        return self._source


_OPTIONS = {option.name: str(option.metadata["doc"]) for option in fields(Config)}
