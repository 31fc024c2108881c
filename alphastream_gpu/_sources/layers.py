"""
Layers: what a stream asks or tells the sources below the one that it reads. A source over HTTP may be read through a
disk cache, several mirrors, and an event loop of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from .base import Source
from .cache import CachedSource
from .guest import GuestSource
from .http import HttpSource
from .mirrors import MirrorSource

__all__ = ["compare_tables", "hold_filling", "validator_of"]


def validator_of(source: Source) -> tuple[str, str] | None:
    """
    The name and the value of the header by which an HTTP source knows a changed file: its strong ETag, or else
    Last-Modified. None for other sources, for mirrors, and for a server that sends neither.
    """
    for one in _layers(source):
        if isinstance(one, HttpSource):
            return one._file.validator
    return None


def compare_tables(source: Source, table: bytes | memoryview) -> None:
    """
    Have the mirrors of a source compared by header and sizes table.

    Args:
        source: what a stream reads.
        table: header and sizes table, as stored.
    """
    for one in _layers(source):
        if isinstance(one, MirrorSource):
            one.compare_tables(table)


def hold_filling(source: Source, *, is_held: bool) -> None:
    """Fetch the rest of a file for the disk cache, or not. From any thread."""
    for one in _layers(source):
        if isinstance(one, CachedSource):
            one.is_held = is_held


def _layers(source: Source) -> Iterator[Source]:
    """A source, and what it is read from, the outermost first. Mirrors are not among them."""
    while True:
        yield source
        if isinstance(source, GuestSource):
            source = source._inner
        elif isinstance(source, CachedSource):
            source = source.inner
        else:
            return
