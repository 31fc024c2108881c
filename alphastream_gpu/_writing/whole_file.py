"""
Whole files: a file that appears under its name complete, or not at all.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["whole_file"]


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """
    Open a new file that takes the place of `path` when the block ends, after it was synced to the disk.

    After an exception, also from the block, there is under `path` what was there before; only if the last step, the
    sync of the folder, fails, it is the new file. The file is made beside `path`, because a rename works within one
    file system.

    Args:
        path: of a regular file, or of one that does not exist yet. A link is replaced, not followed.

    Raises:
        OSError: the file cannot be made, written, synced or renamed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        # Not mkstemp: its mode 0600 would stick to the finished file; "x" honours the caller's umask.
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable. Windows cannot open folders, and needs no such step."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
