"""
Whole file: writes a file that appears under its name when it is complete, or not at all.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["sync_folder", "whole_file"]


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """
    Open a new file. When the ``with`` block ends, the file is synced to the disk and replaces `path`.

    After an exception, including one from the block, `path` is unchanged. Only if the last step, the sync of the
    folder, fails, the new file is in place. The new file is created beside `path`, because a rename works only within a
    file system.

    Args:
        path: the path of a regular file, which need not exist. A symbolic link is replaced, not followed.

    Raises:
        OSError: the file cannot be created, written, synced or renamed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        # Not mkstemp: the finished file would keep its mode 0600. Mode "x" applies the caller's umask.
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Sync a folder, which makes the rename durable. Windows cannot open folders and needs no such step."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
