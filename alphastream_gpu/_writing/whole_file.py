"""
Whole file: writes a file that appears under its name when it is complete, or not at all.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from .locks import try_lock

__all__ = ["sync_folder", "whole_file"]

_TOKEN_BYTES: Final = 8
"""Of the random part in a temporary name."""


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """
    Open a new file. When the ``with`` block ends, the file is synced to the disk and replaces `path`.

    After an exception, including one from the block, `path` is unchanged. Only if the last step, the sync of the
    folder, fails, the new file is in place. The new file is created beside `path`, because a rename works only within a
    file system. If the process is killed, that file stays; the next call for the same `path` removes it.

    Args:
        path: the path of a regular file, which need not exist. A symbolic link is replaced, not followed.

    Raises:
        OSError: the file cannot be created, written, synced or renamed.
    """
    _remove_left(path)
    with contextlib.ExitStack() as held:
        temporary, file = _new_file(path, held)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            _unlink(temporary)
            raise
    sync_folder(path.parent)


def _new_file(path: Path, held: contextlib.ExitStack) -> tuple[Path, IO[bytes]]:
    """A new file beside `path`, which is locked until `held` ends: after the rename, not at the file's end."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(_TOKEN_BYTES)}.tmp")
        with contextlib.ExitStack() as undo:
            # Not mkstemp: the finished file would keep its mode 0600. Mode "x" applies the caller's umask.
            file = undo.enter_context(open(temporary, "xb"))
            undo.callback(_unlink, temporary)
            is_locked = try_lock(file)
            # Between its creation and its lock, another process could take the file for one that is left over. It then
            # holds the lock, or the name is gone: the next round makes another file.
            if is_locked is None or (is_locked and os.fstat(file.fileno()).st_nlink):
                if is_locked:
                    held.callback(os.close, os.dup(file.fileno()))  # a lock ends with the last of its descriptors
                undo.pop_all()
                return temporary, file


def _remove_left(path: Path) -> None:
    """Remove what processes that were killed left beside `path`: files that nobody has locked."""
    is_left = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{{2 * _TOKEN_BYTES}}}\.tmp").fullmatch
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:  # a help only: the caller's step goes on
        for entry in entries:
            if is_left(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError), open(entry.path, "rb") as file:
                    if try_lock(file):
                        os.unlink(entry.path)


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def sync_folder(folder: Path) -> None:
    """Sync a folder, which makes the rename durable. Windows cannot open folders and needs no such step."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
