"""
Convert: copies every block of a stream to a writer, without compressing it again.
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
    Copy all blocks. Each block is decoded once to check it.

    The caller closes the writer, or aborts it after an error.

    Yields:
        The number of frames copied so far, after every batch.

    Raises:
        DecodeError: a frame is malformed.
        TransportError: the input cannot be read, or the writer failed.
    """
    n_frames = len(reader.index)
    start = 0
    while start < n_frames:
        span = reader.batch(start, n_frames, max_bytes=_BATCH_BYTES, max_frames=_BATCH_FRAMES)
        for index, stored in enumerate(await reader.read_blocks(span), start):
            block = reader.decrypt_block(index, stored)
            reader.decode_block(index, block)  # raises for a malformed frame, with its index
            writer.add_block(block, check=False)
        start = span.stop
        yield start
