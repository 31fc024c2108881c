"""
Reopening: how an array's stream is opened again in another process, once for all copies of the array.

Strategy
--------
An array is pickled as a recipe: the text of its source, its options, the name of its key, and the fingerprint of the
file. Workers unpickle the same array for each of their tasks, and drop it after each. So their streams do not belong to
the arrays: a process keeps the streams that were used last, by the number of the array that all its copies have.

A forked child has arrays of its parent, whose streams have threads and connections that the child does not have. It
opens their streams again, in the same way.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from .._config import Config
from .._exceptions import TransportError
from .._format.cipher import AsvrKey
from .._format.names import scheme_of
from .._open import open
from .._runtime.calls import SafeLock
from .._sources import Source, SourceLike
from .._sources.http.address import has_secrets
from .._stream.stream import AlphaStream

__all__ = ["Recipe", "close_kept", "reopened"]

_MOST_STREAMS: Final = 16
"""Streams that a process keeps open for arrays that it got from others."""


@dataclass(frozen=True)
class Recipe:
    """
    How to open the stream of an array.
    """

    number: str
    """That no other array has, in any process; copies of an array have the same."""
    source: SourceLike
    """A path is absolute."""
    key: AsvrKey | None
    config: Config
    fingerprint: str
    """That the file must have."""

    def open(self) -> AlphaStream:
        """
        Open the stream again.

        Raises:
            TransportError: the file has changed.
        """
        stream = open(self.source, key=self.key, config=self.config)
        found = stream.fingerprint
        if found != self.fingerprint:
            stream.close()
            raise TransportError(
                "the file has changed since the array was opened: expected the fingerprint"
                f" {self.fingerprint[:12]}..., found {found[:12]}...; open the array again"
            )
        return stream

    def __reduce__(self) -> tuple[Any, ...]:
        source = self.source
        plain = [*map(_plain, source)] if isinstance(source, list | tuple) else _plain(source)
        return Recipe, (self.number, plain, self.key, self.config, self.fingerprint)


def _plain(source: Any) -> Any:
    """A source, or a mirror, as it can be pickled without a secret."""
    if isinstance(source, Source):
        raise TypeError(
            f"an array of a {type(source).__name__} cannot be pickled, because a source may hold secrets and open"
            " files; open the array of a path, a URL, or a callable that returns a URL"
        )
    if isinstance(source, str) and scheme_of(source) in ("http", "https"):
        if has_secrets(source):
            raise TypeError(
                "an array of a URL with a query, a user or a password cannot be pickled, because they may be"
                " secrets; open the array of a callable that returns the URL, such as a function of a module"
            )
    elif not isinstance(source, str) and not callable(source):
        return bytes(source)  # every other source is content in memory
    return source


class _Kept:
    """A stream that is kept open, and how many calls use it."""

    def __init__(self) -> None:
        self.users = 0
        self._lock = threading.Lock()
        self._stream: AlphaStream | None = None

    def stream(self, recipe: Recipe) -> AlphaStream:
        """Open it, or wait until another thread has; a failure is not remembered."""
        with self._lock:
            if self._stream is None:
                self._stream = recipe.open()
            return self._stream

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


_lock = SafeLock()
_kept: OrderedDict[str, _Kept] = OrderedDict()
"""By the numbers of arrays; the one used last is the last."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.clear)  # they are the parent's


@contextmanager
def reopened(recipe: Recipe) -> Iterator[AlphaStream]:
    """The stream of an array in this process, for one call. It stays open afterwards, for the next."""
    dropped = []
    with _lock:
        kept = _kept.setdefault(recipe.number, _Kept())
        kept.users += 1
        _kept.move_to_end(recipe.number)
        idle = [number for number, one in _kept.items() if not one.users]
        for number in idle[: max(0, len(_kept) - _MOST_STREAMS)]:
            dropped.append(_kept.pop(number))
    for one in dropped:
        one.close()
    try:
        yield kept.stream(recipe)
    finally:
        with _lock:
            kept.users -= 1


def close_kept(recipe: Recipe) -> None:
    """Close the stream that this process keeps open for copies of an array, unless a call uses it. The next call opens
    it again."""
    with _lock:
        kept = _kept.get(recipe.number)
        if kept is None or kept.users:
            return
        del _kept[recipe.number]
    kept.close()
