"""
Folder: the folder of the disk cache, with its rights, its size and its names.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .entry import Entry, identity_in, is_private
from .record import FileInCache, Identity, is_name, victims

__all__ = ["Folder"]

_NAME: Final = "alphastream-1"
"""A folder of the cache's own within the caller's, so that nothing of the caller's is ever removed."""
_MOST_FILES: Final = 20_000
"""Files that are looked at. A folder with more of them is not the work of this cache."""
_FEWEST_STEP_BYTES: Final = 256 * 1024
_MOST_STEP_BYTES: Final = 8 * 1024 * 1024


class Folder:
    """
    The files of a cache. All methods block.

    Args:
        path: the caller's folder, which is created if it does not exist.
        limit: most bytes of all files.
    """

    def __init__(self, path: str, limit: int) -> None:
        self._path = Path(path, _NAME)
        self.limit = limit
        self.step = min(max(limit // 16, _FEWEST_STEP_BYTES), _MOST_STEP_BYTES)
        """After how many bytes written room should be made again."""

    def open(self, identity: Identity) -> Entry | None:
        """
        Open the file of an identity and make room for it. None if it would never fit.

        Raises:
            OSError: the folder or the file cannot be used, or others may write to it.
        """
        if not identity.is_usable or identity.n_bytes > self.limit:
            return None
        self._prepare()
        entry = Entry(self._path / identity.name, identity)
        try:
            entry.touch()
            self.make_room(keep=entry.path.name)
        except BaseException:
            entry.close()
            raise
        return entry

    def newest(self, key: str) -> Identity | None:
        """
        The version of a file that its server had when it was last asked. None if it is not in the cache.

        Raises:
            OSError: the folder cannot be read.
        """
        stamped = ((identity, at) for identity, at in self._versions(key) if at > 0)
        return max(stamped, key=lambda one: one[1], default=(None, 0.0))[0]

    def outdate(self, key: str, present: Identity | None, asked_at: float) -> None:
        """
        Note that the server has another version than those in the cache, so that no older one is played when the server
        cannot be asked. It is synced to the disk, because a power cut must not bring the old version back.

        Args:
            key: of the file's URL.
            present: the version that the server has; None if that cannot be cached.
            asked_at: when the server was asked. Somebody else may have heard of a later version meanwhile.

        Raises:
            OSError: a file cannot be written.
        """
        for identity, at in self._versions(key):
            is_later = asked_at < at <= time.time()  # not if the clock was wrong then
            if at > 0 and identity != present and not is_later:
                entry = Entry(self._path / identity.name, identity)
                try:
                    entry.stamp(0.0, is_synced=True)
                finally:
                    entry.close()

    def remove(self, identity: Identity) -> None:
        """Remove the file of an identity."""
        with contextlib.suppress(OSError):  # on Windows, another process may have it open
            (self._path / identity.name).unlink()

    def make_room(self, *, keep: str) -> None:
        """Remove the least recently used files, if all files take more than the limit."""
        files = [
            FileInCache(one.name, _bytes_of(status), status.st_mtime)
            for one, status in self._files()
            if stat.S_ISREG(status.st_mode)
        ]
        for name in victims(files, self.limit, keep=keep):
            with contextlib.suppress(OSError):  # another process may have removed it, or has it open on Windows
                (self._path / name).unlink()

    def _versions(self, key: str) -> Iterator[tuple[Identity, float]]:
        """The versions of a file, and when the server last had them."""
        if not self._path.is_dir():
            return
        self._prepare()
        for one, _ in self._files(key):
            with contextlib.suppress(OSError):  # removed meanwhile, or somebody else's
                found = identity_in(Path(one.path))
                if found is not None:
                    yield found

    def _files(self, key: str | None = None) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
        """What has the name of a file of the cache. Anything else is not the cache's, and is left alone."""
        with os.scandir(self._path) as listed:
            for _, one in zip(range(_MOST_FILES), listed, strict=False):
                if is_name(one.name, key):
                    with contextlib.suppress(OSError):
                        yield one, one.stat(follow_symlinks=False)

    def _prepare(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.mkdir(mode=0o700, exist_ok=True)
        status = os.lstat(self._path)
        if not (stat.S_ISDIR(status.st_mode) and is_private(status)):
            raise PermissionError(0, f"expected a folder {_NAME!r} that belongs to this user alone")


def _bytes_of(status: os.stat_result) -> int:
    """Bytes on the disk. A sparse file takes less than its length."""
    blocks: int | None = getattr(status, "st_blocks", None)
    return status.st_size if blocks is None else blocks * 512
