"""
Heads: further play heads on one stream.
"""

from __future__ import annotations

from types import TracebackType
from typing import NoReturn

from .._exceptions import ClosedError
from .._runtime.calls import marked
from .lifetime import Lifetime
from .playing import Playing
from .session import Session

__all__ = ["PlayHead"]


class PlayHead(Playing):
    """
    A play head beside the stream's own: for a second eye, or for a preview beside the player.

    Made by :meth:`AlphaStream.play_head`; a context manager. It uses the stream's source, cache and threads. All play
    heads of a stream have fair shares: of the requests that fetch ahead, of half the cache, and of the masks made
    ahead. Any thread may call, several at once. Close a play head that is not used any more, for it keeps its share
    until then. Closing the stream closes its play heads.

    Args:
        lifetime: what the stream owns.
    """

    def __init__(self, lifetime: Lifetime) -> None:
        super().__init__(lifetime, object())
        self._is_closed = False

    def close(self) -> None:
        """Give the share back, and give up what only this play head wanted. Does not wait; may be called again."""
        self._is_closed = True
        self._ask = self._refuse
        with marked():
            session = self._lifetime.session
            if session is not None:
                session.drop_head(self._key)
            self._lifetime.products.drop(self._key)

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
