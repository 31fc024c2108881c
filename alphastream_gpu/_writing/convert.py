"""
Convert: every block of one stream into a writer, compressed bytes kept.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from .._stream.reader import StreamReader
from .writer import AsvpWriter, AsvrWriter

__all__ = ["convert_blocks"]

_BATCH_FRAMES: Final = 256
_BATCH_BYTES: Final = 1024 * 1024


async def convert_blocks(reader: StreamReader, writer: AsvpWriter | AsvrWriter) -> AsyncIterator[int]:
    """
    Copy all blocks, each decoded once to make sure of it.

    Yields:
        The number of frames copied so far, after every batch; closing the writer is the caller's.

    Raises:
        DecodeError, TransportError: the input is bad; the caller aborts the writer.
    """
    n_frames = len(reader.index)
    start = 0
    while start < n_frames:
        span = reader.batch(start, n_frames, max_bytes=_BATCH_BYTES, max_frames=_BATCH_FRAMES)
        for index, stored in enumerate(await reader.read_blocks(span), start):
            block = reader.decrypt_block(index, stored)
            reader.decode_block(index, block)  # refuses a bad frame, by its number
            writer.add_block(block, check=False)
        start = span.stop
        yield start
