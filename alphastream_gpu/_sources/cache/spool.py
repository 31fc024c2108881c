"""
Spool: one file in place of a folder of the cache, for a download that is resumed.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from .entry import Entry
from .record import Identity

__all__ = ["Spool"]


class Spool:
    """
    A file that keeps what a :class:`CachedSource` reads. It has no limit, and is of use only while its server can be
    asked, which says whether the file there is still the same. All methods block.

    Args:
        path: the file, which is created if it does not exist. What another version left in it is overwritten.
    """

    step: Final = 1 << 62

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, identity: Identity) -> Entry | None:
        """Open the file. Errors as of :class:`Entry`."""
        return Entry(self._path, identity) if identity.is_usable else None

    def newest(self, _key: str) -> Identity | None:
        """None: a download is never completed without the server."""

    def outdate(self, _key: str, _present: Identity | None, _asked_at: float) -> None:
        """Do nothing: the file holds one version."""

    def make_room(self, *, keep: str) -> None:
        """Do nothing."""

    def remove(self, _identity: Identity | None = None) -> None:
        """Remove the file, if it exists."""
        with contextlib.suppress(OSError):
            self._path.unlink()
