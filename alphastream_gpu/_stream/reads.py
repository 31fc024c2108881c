"""
Reads: reads the source of a session and decodes what came, and keeps account of both, so that the session can end them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from .._exceptions import AlphaStreamError
from .._sources.base import SilentServerError
from .network import Network
from .plan import FrameSpan
from .planner import Planner
from .reader import FIRST_READ_BYTES, StreamReader

__all__ = ["Reads", "may_do_for_less"]

T = TypeVar("T")


class Reads:
    """
    The reads of one session, and the decoding of what they bring. Used on the loop.

    Args:
        reader: of the source.
        pool: where frames are decoded.
        planner: is told how long reads take.
    """

    def __init__(self, reader: StreamReader, pool: ThreadPoolExecutor, planner: Planner) -> None:
        self.reader = reader
        self.network = Network(reader.open_seconds, min(FIRST_READ_BYTES, reader.bytes_read))
        self._pool = pool
        self._planner = planner
        self._tasks: set[asyncio.Task[Any]] = set()
        self._jobs: set[Future[Any]] = set()
        """What is being decoded in the pool."""

    @property
    def is_idle(self) -> bool:
        """Whether no task runs."""
        return not self._tasks

    def track(self, task: asyncio.Task[AlphaStreamError | None]) -> None:
        """End this task with the session. Its exception was delivered to its waiters."""
        self._tasks.add(task)
        task.add_done_callback(self._untrack)

    def _untrack(self, task: asyncio.Task[AlphaStreamError | None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    @contextmanager
    def tracked(self) -> Iterator[None]:
        """Within this, the running task ends with the session."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    async def read(self, span: FrameSpan, frames: list[int] | None = None) -> list[memoryview]:
        """
        Read neighbouring blocks, and note how long that takes.

        Args:
            span: what is read.
            frames: which of its frames are wanted, ascending; all if omitted.
        """
        network, before = self.network, self.reader.bytes_read
        started = time.monotonic()
        try:
            blocks = await self.reader.read_blocks(span, frames)
        except AlphaStreamError as exc:
            network.failed(span, started, time.monotonic(), exc)
            raise
        ended = time.monotonic()
        self._planner.read_seconds += 0.25 * (ended - started - self._planner.read_seconds)
        network.ended(span, started, ended, len(span.bytes) if self.reader.bytes_read > before else 0)
        return blocks

    def in_pool(
        self, decode: Callable[[StreamReader, int, list[memoryview]], T], first: int, blocks: list[memoryview]
    ) -> asyncio.Future[T]:
        """Decode in the pool. :meth:`aclose` waits for what has begun, which keeps the source alive until it ends."""
        job = self._pool.submit(decode, self.reader, first, blocks)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return asyncio.wrap_future(job)

    async def aclose(self) -> None:
        """Cancel what runs, and wait until it has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            if not task.cancelling():  # a second cancellation would interrupt the clean-up after the first
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*map(asyncio.wrap_future, list(self._jobs)), return_exceptions=True)


def may_do_for_less(span: FrameSpan, error: AlphaStreamError) -> bool:
    """
    Whether one frame may be read where all of a span could not be: that one of the others cannot, or that all take
    longer than the deadline, is no reason to refuse it. A server that did not answer until the deadline would not
    answer for one frame, and whoever waited that long shall be told.
    """
    return len(span) > 1 and not isinstance(error, SilentServerError)
