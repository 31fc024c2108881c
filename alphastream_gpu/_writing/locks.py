"""
Locks: an open file can be locked, so that other processes of this host know that it is in use.

The end of a process unlocks its files. Whether other hosts see a lock depends on the file system.
"""

from __future__ import annotations

import errno
from typing import IO, Final

__all__ = ["try_lock"]

_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL})
"""Of flock, on a file system without locks."""


def try_lock(file: IO[bytes]) -> bool | None:
    """
    Lock a file until it is closed, without waiting.

    Args:
        file: an open file. The lock belongs to this opening: a second opening in the same process is refused too.

    Returns:
        True if the file is locked now; False if another opening has the lock; None if the system (Windows) or the file
        system has no such locks.

    Raises:
        OSError: of the system.
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        if exc.errno in _NO_LOCKS:
            return None
        raise
    return True
