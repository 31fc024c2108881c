"""
Convert: reads the blocks of a stream one by one, and copies them to a writer without compressing them again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from .._config import Config
from .._format.cipher import AsvrKey
from .._geometry.frame import FrameGeometry
from .._runtime.calls import entered
from .._runtime.loop import LoopLease
from .._sources import SourceLike, open_source
from .._stream.reader import StreamReader
from .writer import AsvpWriter, AsvrWriter

__all__ = ["StoredFrames", "convert_blocks", "stored_frames"]

_BATCH_FRAMES: Final = 256
_BATCH_BYTES: Final = 1024 * 1024


async def convert_blocks(reader: StreamReader, writer: AsvpWriter | AsvrWriter) -> AsyncIterator[int]:
    """
    Copy all blocks. Each block is decoded once to check it.

    The caller closes the writer, or aborts it after an error.

    Yields:
        The number of frames copied so far, after every batch.

    Raises:
        DecodeError: a frame is malformed.
        TransportError: the input cannot be read, or the writer failed.
    """
    start = 0
    while start < len(reader.index):
        batch = await _batch(reader, start)
        for block, _ in batch:
            writer.add_block(block, check=False)
        start += len(batch)
        yield start


async def _batch(reader: StreamReader, start: int) -> list[tuple[bytes, FrameGeometry]]:
    """Some frames from `start` on: each one's block, decrypted, and its geometry."""
    span = reader.batch(start, len(reader.index), max_bytes=_BATCH_BYTES, max_frames=_BATCH_FRAMES)
    batch = []
    for index, stored in enumerate(await reader.read_blocks(span), start):
        block = reader.decrypt_block(index, stored)
        batch.append((bytes(block), reader.decode_block(index, block)))  # raises for a malformed frame, with its index
    return batch


class StoredFrames:
    """
    The frames of an opened stream as they are stored.

    Args:
        reader: the stream.
        loop: where it is read.
    """

    def __init__(self, reader: StreamReader, loop: LoopLease) -> None:
        self._reader = reader
        self._loop = loop

    def __len__(self) -> int:
        return len(self._reader.index)

    @property
    def name(self) -> str:
        """The name of the source."""
        return self._reader.source.name

    @property
    def n_bytes(self) -> int:
        """Bytes of the file."""
        return int(self._reader.index.offsets[-1])

    def read_from(self, start: int) -> Iterator[tuple[bytes, FrameGeometry]]:
        """From a frame on, each one's block and geometry. Errors as of :func:`convert_blocks`."""
        while start < len(self):
            with entered("reading the stream"):
                batch = self._loop.submit(partial(_batch, self._reader, start)).result()
            yield from batch
            start += len(batch)


@contextmanager
def stored_frames(source: SourceLike, key: AsvrKey | None, config: Config) -> Iterator[StoredFrames]:
    """
    Open a stream, to read all of it as it is stored.

    Args:
        source: as :func:`open` takes it.
        key: for an ASVR.
        config: limits.
    """
    loop = LoopLease()
    try:
        with entered("opening the stream"):
            opened = loop.submit(lambda: open_source(source, config)).result()
        try:
            with entered("opening the stream"):
                reader = loop.submit(lambda: StreamReader.open(opened, key=key, config=config)).result()
            yield StoredFrames(reader, loop)
        finally:
            with entered("closing the stream"):
                loop.submit(opened.aclose).result()
    finally:
        loop.release()
