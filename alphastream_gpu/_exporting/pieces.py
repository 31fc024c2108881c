"""
Pieces: exports frames in pieces, in several threads, and records each finished piece in a journal.

Strategy
--------
A piece is a run of frames that a thread draws and writes by itself. A target says how: an array is written at the place
of the piece in a file, a picture to a file of its own, a video to a segment. Pieces do not depend on each other, so the
result has the same bytes whatever the number of threads, and however often the export was interrupted. A thread holds
one mask at a time, or those of one chunk of Zarr, so the memory does not grow with the stream.

Pieces that an earlier run has finished are read and compared with their checksums, because after a power failure a file
may be shorter than its name promised.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from .._runtime.workers import Workers
from .drawing import Drawing
from .journal import Journal

__all__ = ["Target", "export_pieces", "pieces_of"]


class Target(ABC):
    """What is written, in pieces."""

    piece_frames: int
    """Frames of a piece; the last one may be shorter."""

    @abstractmethod
    def begin(self, *, is_resumed: bool) -> None:
        """
        Prepare the place of the pieces.

        Args:
            is_resumed: whether pieces of an earlier run of the same export are there.

        Raises:
            TransportError: it cannot be written.
        """

    @abstractmethod
    def has(self, piece: range, record: Any) -> bool:
        """
        Whether a piece is stored as its record says.

        Args:
            piece: its frames.
            record: what :meth:`write` returned, from JSON.
        """

    @abstractmethod
    def write(self, piece: range, drawing: Drawing) -> Any:
        """
        Draw and write a piece, on any thread.

        Args:
            piece: its frames.
            drawing: makes the masks.

        Returns:
            A record of the piece, as JSON has it.

        Raises:
            TransportError: it cannot be written.
            DecodeError: a frame is malformed.
        """

    @abstractmethod
    def abandon(self) -> None:
        """Remove what :meth:`begin` made, because no piece was finished. Errors are ignored."""

    @abstractmethod
    def finish(self, records: dict[int, Any], tell: Callable[[int], None]) -> None:
        """
        Join the pieces, and let the target appear under its name.

        Args:
            records: of all pieces, by their first frames, ascending.
            tell: called with the number of frames that are joined, if joining takes long.

        Raises:
            TransportError: it cannot be written.
        """


def pieces_of(frames: range, n_frames: int) -> Iterator[range]:
    """Cut a range of frames into pieces."""
    for first in range(frames.start, frames.stop, n_frames):
        yield range(first, min(first + n_frames, frames.stop))


def export_pieces(
    target: Target,
    frames: range,
    drawing: Drawing,
    journal: Journal,
    *,
    jobs: int,
    on_frames: Callable[[int], None],
) -> int:
    """
    Write the pieces that the journal does not have.

    Args:
        target: how they are written.
        frames: all frames of the export.
        drawing: makes the masks.
        journal: of finished pieces.
        jobs: threads.
        on_frames: called on this thread with the number of frames that are done.

    Returns:
        How many frames an earlier run had done.
    """
    target.begin(is_resumed=bool(journal.records))
    pieces = list(pieces_of(frames, target.piece_frames))
    todo = [
        one for one in pieces if one.start not in journal.records or not target.has(one, journal.records[one.start])
    ]
    resumed = done = len(frames) - sum(map(len, todo))
    on_frames(done)
    pool = Workers(jobs, "alphastream-export", may_call=True)
    waiting: deque[tuple[range, Future[Any]]] = deque()

    def finish_one() -> None:
        nonlocal done
        piece, future = waiting.popleft()
        journal.add(piece.start, future.result())
        done += len(piece)
        on_frames(done)

    try:
        for piece in todo:
            waiting.append((piece, pool.submit(target.write, piece, drawing)))
            if len(waiting) > jobs:
                finish_one()
        while waiting:
            finish_one()
    except BaseException:
        drawing.stop()
        pool.shutdown(wait=True, cancel_futures=True)
        if not journal.records:
            target.abandon()
        raise
    pool.shutdown(wait=True)
    return resumed
