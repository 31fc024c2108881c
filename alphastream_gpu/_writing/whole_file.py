"""
Whole file: writes a file that appears under its name when it is complete, or not at all.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .locks import try_lock

__all__ = ["sync_folder", "whole_file"]


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """
    Open a new file. When the ``with`` block ends, the file is synced to the disk and replaces `path`.

    After an exception, including one from the block, `path` is unchanged. Only if the last step, the sync of the
    folder, fails, the new file is in place. The new file is created beside `path`, because a rename works only within a
    file system. If the process is killed, that file stays. The next call for the same `path` on this host removes it,
    if files can be locked there.

    Args:
        path: the path of a regular file, which need not exist. A symbolic link is replaced, not followed.

    Raises:
        OSError: the file cannot be created, written, synced or renamed.
    """
    with contextlib.ExitStack() as held:
        temporary, file = _new_file(path, held)
        made = os.fstat(file.fileno())
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            _remove(temporary, made)
            raise
    sync_folder(path.parent)


def _new_file(path: Path, held: contextlib.ExitStack) -> tuple[Path, IO[bytes]]:
    """
    A new file beside `path`.

    Usually, its name is the only one that processes of this host use for `path`, and it is locked until `held` ends:
    after the rename, and not at the file's end. So if there is such a file and it is not locked, its process was
    killed. Locks need not reach other hosts, which use other names. Where nothing can be locked, and beside a process
    that writes to the same `path`, the name is random, and nobody removes that file.
    """
    if os.name == "posix":
        host = zlib.crc32(os.uname().nodename.encode())
        temporary = path.with_name(f".{path.name}.{host:08x}.tmp")
        for _ in range(2):  # again, after one was removed, or if another process was faster
            _remove_left(temporary)
            with contextlib.suppress(FileExistsError), contextlib.ExitStack() as undo:
                file = undo.enter_context(_created(temporary))
                # Before its lock, another process may take the file for one that is left, and remove it.
                undo.callback(_remove_unless_taken, temporary, file)
                if try_lock(file) and _is_at(temporary, os.fstat(file.fileno())):
                    held.callback(os.close, os.dup(file.fileno()))  # a lock ends with the last of its descriptors
                    undo.pop_all()
                    return temporary, file
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    return temporary, _created(temporary)


def _created(path: Path) -> IO[bytes]:
    """A file that did not exist. Not by mkstemp, because the finished file would keep its mode 0600."""
    return open(path, "xb")


def _remove_left(temporary: Path) -> None:
    """Remove the file of a process that was killed. A file that is locked, or cannot be locked, stays."""
    with contextlib.suppress(OSError), open(temporary, "r+b") as file:  # NFS locks no file that is open for reading
        if try_lock(file):
            _remove(temporary, os.fstat(file.fileno()))


def _remove_unless_taken(temporary: Path, file: IO[bytes]) -> None:
    """Remove a file, unless another process has locked it, which then removes it."""
    with contextlib.suppress(OSError):
        if try_lock(file) is not False:
            _remove(temporary, os.fstat(file.fileno()))


def _remove(path: Path, file: os.stat_result) -> None:
    """Remove a file, unless another process has put another one there."""
    with contextlib.suppress(OSError):
        if _is_at(path, file):
            os.unlink(path)


def _is_at(path: Path, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(file, os.lstat(path))
    except FileNotFoundError:
        return False


def sync_folder(folder: Path) -> None:
    """Sync a folder, which makes the rename durable. Windows cannot open folders and needs no such step."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
