"""
AlphaStream: one opened stream, as callers see it. A thin face; the work is done on the library's loop and its pool.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Final, TypeVar

from ._cipher import AsvrKey
from ._config import Config
from ._exceptions import AlphaStreamError, ClosedError, FrameTimeoutError, NotReadyError
from ._geometry import FrameGeometry
from ._loop import LoopLease
from ._metadata import Metadata, describe
from ._ranges import FrameSpan, plan_reads
from ._reader import StreamReader
from ._sources import Source, SourceLike, as_source

__all__ = ["AlphaStream", "open", "open_async"]

T = TypeVar("T")

_BATCH_FRAMES: Final = 64
_BATCH_BYTES: Final = 1024 * 1024
"""`frames` reads and decodes this much at a time: enough to make the crossing between threads cheap, little enough that
an abandoned iteration wastes nothing worth counting."""


class AlphaStream:
    """
    A stream of frame geometry.

    Made by :func:`open` or :func:`open_async`; a context manager with ``with`` and with ``async with``. All methods may
    be called from any thread.
    """

    def __init__(self, *, config: Config | None = None) -> None:
        self._config = config or Config()
        self._lock = threading.Lock()
        self._closed = False
        self._reader: StreamReader | None = None
        self._metadata: Metadata | None = None
        self._pending: set[Future[Any]] = set()
        self._loop = LoopLease()
        self._pool = ThreadPoolExecutor(self._config.decode_workers, thread_name_prefix="alphastream-decode")

    @property
    def config(self) -> Config:
        """The options this stream was made with."""
        return self._config

    @property
    def metadata(self) -> Metadata:
        """
        What header and table tell.

        Raises:
            NotReadyError: nothing is loaded.
        """
        if self._metadata is None:
            raise NotReadyError("nothing is loaded: open a source first")
        return self._metadata

    async def frame(self, index: int) -> FrameGeometry:
        """
        Fetch and decode one frame; waits as long as it takes.

        Raises:
            FrameNotFoundError: outside the stream.
            DecodeError: this frame is malformed; others may be fine.
            TransportError: the source failed.
            ClosedError: the stream was closed, also while waiting.
        """
        reader = self._open_reader()
        reader.check(index)
        geometries, error = await self._run(lambda: self._fetch(reader, reader.span(index, index + 1)))
        if error is not None:
            raise error
        return geometries[0]

    async def frames(self, start: int = 0, stop: int | None = None) -> AsyncIterator[FrameGeometry]:
        """
        Iterate over the geometry of the frames ``start..stop - 1``, in order; `stop` defaults to the end.

        Reads and decodes in batches. Raises like :meth:`frame`, after the frames before the bad one were yielded.
        """
        reader = self._open_reader()
        n_frames = len(reader.index)
        stop = n_frames if stop is None else stop
        if start < stop:
            reader.check(start)
            reader.check(stop - 1)
        plan = plan_reads(
            reader.index.offsets.tolist(), range(start, stop), max_bytes=_BATCH_BYTES, max_frames=_BATCH_FRAMES
        )
        for span in plan:
            geometries, error = await self._run(partial(self._fetch, reader, span))
            for geometry in geometries:
                yield geometry
            if error is not None:
                raise error

    def load_source(self, source: SourceLike, *, key: AsvrKey | None = None, strict: bool = True) -> None:
        """
        Open another source in this stream, in place of the present one. Blocks until header and table are read.

        The present source stays loaded when the new one fails.

        Args and errors as of :func:`open`.
        """
        future = self._submit(lambda: self._load(source, key, strict))
        try:
            future.result()
        except CancelledError:
            raise ClosedError("the stream was closed while it was opening a source") from None

    async def aload_source(self, source: SourceLike, *, key: AsvrKey | None = None, strict: bool = True) -> None:
        """:meth:`load_source` without blocking the caller's event loop."""
        await self._run(lambda: self._load(source, key, strict))

    def close(self) -> None:
        """
        Close the stream and its source; calls that wait end with ClosedError. May be called again.
        """
        if self._begin_close():
            try:
                self._loop.submit(self._close_source).result()
            finally:
                self._end_close()

    async def aclose(self) -> None:
        """:meth:`close` without blocking the caller's event loop."""
        if self._begin_close():
            try:
                await self._loop.run(self._close_source)
            finally:
                await asyncio.to_thread(self._end_close)

    def __enter__(self) -> AlphaStream:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> AlphaStream:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        if self._closed:
            return "<AlphaStream closed>"
        if self._metadata is None:
            return "<AlphaStream empty>"
        return f"<AlphaStream {self._metadata.container} {self._metadata.frame_count} frames>"

    def _begin_close(self) -> bool:
        """Refuse new calls and end the waiting ones; False when somebody else already closes."""
        with self._lock:
            if self._closed:
                return False
            self._closed = True
            pending = list(self._pending)
        for future in pending:
            future.cancel()
        return True

    async def _close_source(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.source.aclose()

    def _end_close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._loop.release()

    def _open_reader(self) -> StreamReader:
        reader = self._reader
        if self._closed:
            raise ClosedError("the stream is closed")
        if reader is None:
            raise NotReadyError("nothing is loaded: open a source first")
        return reader

    def _submit(self, function: Callable[[], Awaitable[T]]) -> Future[T]:
        """Run on the library's loop, known to :meth:`close`."""
        with self._lock:
            if self._closed:
                raise ClosedError("the stream is closed")
            future = self._loop.submit(function)
            self._pending.add(future)
        future.add_done_callback(self._forget)
        return future

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._pending.discard(future)

    async def _run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run on the library's loop, awaited on the caller's."""
        try:
            return await asyncio.wrap_future(self._submit(function))
        except asyncio.CancelledError:
            if self._closed:
                raise ClosedError("the stream was closed during the call") from None
            raise

    async def _load(self, source: SourceLike, key: AsvrKey | None, strict: bool) -> None:
        config = self._config
        opened: Source | None = None
        try:
            async with asyncio.timeout(config.init_timeout):
                opened = await asyncio.to_thread(as_source, source, config)
                reader = await StreamReader.open(opened, key=key, strict=strict, config=config)
        except BaseException as exc:
            if opened is not None:
                await opened.aclose()
            if isinstance(exc, TimeoutError) and not isinstance(exc, AlphaStreamError):
                raise FrameTimeoutError(f"opening: header and table not read within {config.init_timeout} s") from exc
            raise
        previous, self._reader = self._reader, reader
        self._metadata = describe(reader, config)
        if previous is not None:
            await previous.source.aclose()

    async def _fetch(
        self, reader: StreamReader, span: FrameSpan
    ) -> tuple[list[FrameGeometry], AlphaStreamError | None]:
        blocks = await reader.read_blocks(span)
        return await asyncio.get_running_loop().run_in_executor(self._pool, _decode, reader, span.first, blocks)


def _decode(
    reader: StreamReader, first: int, blocks: list[memoryview]
) -> tuple[list[FrameGeometry], AlphaStreamError | None]:
    """The geometries up to the first bad block, and its error."""
    geometries: list[FrameGeometry] = []
    for index, block in enumerate(blocks, first):
        try:
            geometries.append(reader.decode(index, block))
        except AlphaStreamError as exc:
            return geometries, exc
    return geometries, None


def open(
    source: SourceLike, *, key: AsvrKey | None = None, strict: bool = True, config: Config | None = None
) -> AlphaStream:
    """
    Open a stream. Returns once header and table are read.

    Args:
        source: a path, a ``file:`` URL, a bytes-like object, or a :class:`Source`. The stream closes it.
        key: for an encrypted ASVR; without it the source is read as plain ASVP.
        strict: refuse an ASVP whose magic bytes differ.
        config: options; the defaults of :class:`Config` otherwise.

    Raises:
        DecodeError: malformed, or over a limit. KeyMismatchError when an ASVR's table does not open with `key`.
        TransportError: the source cannot be read.
        FrameTimeoutError: not open within ``config.init_timeout``.
    """
    stream = AlphaStream(config=config)
    try:
        stream.load_source(source, key=key, strict=strict)
    except BaseException:
        stream.close()
        raise
    return stream


async def open_async(
    source: SourceLike, *, key: AsvrKey | None = None, strict: bool = True, config: Config | None = None
) -> AlphaStream:
    """:func:`open` without blocking the caller's event loop."""
    stream = AlphaStream(config=config)
    try:
        await stream.aload_source(source, key=key, strict=strict)
    except BaseException:
        await stream.aclose()
        raise
    return stream
