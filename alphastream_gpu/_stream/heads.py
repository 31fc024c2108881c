"""
Heads: further play heads on one stream.
"""

from __future__ import annotations

from types import TracebackType
from typing import NoReturn

from .._exceptions import ClosedError
from .._runtime.calls import marked, may_not_wait
from .lifetime import Lifetime
from .playhead import HeadKey
from .playing import Playing
from .session import Session

__all__ = ["PlayHead"]


class PlayHead(Playing):
    """
    A play head beside the stream's own: for a second eye, or for a preview beside the player.

    Made by :meth:`AlphaStream.play_head`; a context manager. It uses the stream's source, cache and threads. All play
    heads of a stream have fair shares: of the requests that fetch ahead, of half the cache, and of the masks made
    ahead. Any thread may call, several at once. Close a play head that is not used any more, for it keeps its share
    until then, or until it is garbage. Closing the stream closes its play heads.

    Args:
        lifetime: what the stream owns.
    """

    def __init__(self, lifetime: Lifetime) -> None:
        key = HeadKey()
        super().__init__(lifetime, key)
        self._head_key = key
        self._is_closed = False

    def close(self) -> None:
        """Give the share back, and give up what only this play head wanted. Does not wait; may be called again."""
        self._is_closed = self._head_key.is_dropped = True
        self._ask = self._refuse
        if may_not_wait():  # the call that was interrupted may hold any lock
            self._lifetime.drop_head_soon(self._key)
            return
        with marked():
            self._lifetime.drop_head(self._key)

    def __del__(self) -> None:
        if not getattr(self, "_is_closed", True):  # True if the constructor raised
            self._head_key.is_dropped = True
            self._lifetime.drop_head_soon(self._key)  # this may run at any point, also where a lock is held

    def __enter__(self) -> PlayHead:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<PlayHead closed>" if self._is_closed or self._lifetime.is_closed else "<PlayHead>"

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise ClosedError("the play head is closed")

    def _refuse(self, session: Session, index: int) -> NoReturn:
        raise ClosedError("the play head is closed")
