"""
StreamReader: a container on a source. Carries out what the format layer plans: reads header and table, then blocks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

from ._block import inflate_block
from ._cipher import AsvrKey, StreamCipher
from ._config import Config
from ._container import (
    HEADER_BYTES,
    BlockIndex,
    Header,
    max_table_bytes,
    parse_asvp_header,
    parse_asvr_header,
    parse_sizes_table,
    refuse_table_past_end,
)
from ._exceptions import DecodeError, FrameNotFoundError, TransportError, mapped_errors
from ._geometry import FrameGeometry
from ._ranges import ByteRange, FrameSpan
from ._sources import Source

__all__ = ["FIRST_READ_BYTES", "StreamReader"]

FIRST_READ_BYTES = 64 * 1024
"""The first read: header and, in a usual file, the whole table (16,375 frames compress to about 30 KB)."""


class StreamReader:
    """
    Header, index and cipher of one opened stream, and the reads they allow.

    Holds the source but does not own it; whoever made the source closes it.
    """

    def __init__(
        self, source: Source, header: Header, index: BlockIndex, cipher: StreamCipher | None, config: Config
    ) -> None:
        self.source = source
        self.header = header
        self.index = index
        self._cipher = cipher
        self._config = config

    @classmethod
    async def open(
        cls, source: Source, *, key: AsvrKey | None = None, strict: bool = True, config: Config
    ) -> StreamReader:
        """
        Read header and table.

        Args:
            source: the bytes.
            key: for an ASVR; without it the source is read as ASVP.
            strict: refuse an ASVP with other magic bytes.
            config: limits.

        Raises:
            DecodeError: what FORMAT says a reader refuses. KeyMismatchError when the table does not open.
            TransportError: the source failed.
        """
        first = await _read(source, ByteRange(0, FIRST_READ_BYTES), "header")
        cipher = None
        if key is not None:
            cipher = await asyncio.to_thread(_cipher_of, key, source.name)  # scrypt takes some 50 ms
            head = cipher.header_and_table(first[:HEADER_BYTES])
            header = parse_asvr_header(head)
        else:
            header = parse_asvp_header(bytes(first[:HEADER_BYTES]), strict=strict)
        try:
            table = await _read_table(source, header, first, config)
            if cipher is not None:
                table = cipher.header_and_table(table)
            index = parse_sizes_table(
                memoryview(table)[HEADER_BYTES:],
                header,
                source_length=source.length,
                max_frames=config.max_frames,
            )
        except DecodeError as exc:
            if key is None:
                raise
            # A wrong key turns the table's length and content into noise; every complaint about them means the same.
            raise key.mismatch(source.name, str(exc)) from exc
        return cls(source, header, index, cipher, config)

    def check(self, index: int) -> None:
        """Raise :class:`FrameNotFoundError` unless `index` is a frame of this stream."""
        if not 0 <= index < len(self.index):
            raise FrameNotFoundError(
                f"frame {index}: expected 0..{len(self.index) - 1}, the stream has {len(self.index)} frames"
                if len(self.index)
                else f"frame {index}: the stream is empty",
                frame_index=index,
            )

    def span(self, first: int, stop: int) -> FrameSpan:
        """The span of the frames ``first..stop - 1``."""
        offsets = self.index.offsets
        return FrameSpan(first, stop, ByteRange(int(offsets[first]), int(offsets[stop])))

    async def read_blocks(self, span: FrameSpan) -> list[memoryview]:
        """
        Read neighbouring blocks in one go.

        Returns:
            One view per frame of the span, as stored (still encrypted in an ASVR).

        Raises:
            DecodeError: the source ended too early.
            TransportError: the source failed.
        """
        data = await _read(self.source, span.bytes, f"frame {span.first}")
        if len(data) != len(span.bytes):
            raise TransportError(
                f"frame {span.first}: expected {span.bytes}, found {len(data)} bytes: the file is truncated",
                frame_index=span.first,
            )
        view = memoryview(data)
        starts: Sequence[int] = self.index.offsets[span.first : span.stop + 1].tolist()
        return [view[a - span.bytes.start : b - span.bytes.start] for a, b in pairwise(starts)]

    def decrypt_block(self, index: int, stored: memoryview) -> bytes | memoryview:
        """The block without its cipher: length field and zlib stream."""
        return stored if self._cipher is None else self._cipher.block(index, stored)

    def payload(self, index: int, stored: memoryview) -> bytes:
        """
        The payload of a stored block. Pure computation.

        Raises:
            DecodeError: the block is malformed or over the limit.
        """
        block = self.decrypt_block(index, stored)
        return inflate_block(block, max_frame_bytes=self._config.max_frame_bytes, frame_index=index)

    def decode(self, index: int, stored: memoryview) -> FrameGeometry:
        """
        The geometry of a stored block. Pure computation.

        Raises:
            DecodeError: the block or its payload is malformed or over a limit.
        """
        payload = self.payload(index, stored)
        try:
            return FrameGeometry.from_payload(payload)
        except DecodeError as exc:
            raise DecodeError(f"frame {index}: {exc}", frame_index=index) from exc


def _cipher_of(key: AsvrKey, name: str) -> StreamCipher:
    return key.cipher(name)


async def _read(source: Source, span: ByteRange, what: str) -> bytes | memoryview:
    with mapped_errors(f"{what}: reading {span} of {source.name!r}"):
        return await source.read(span)


async def _read_table(source: Source, header: Header, first: bytes | memoryview, config: Config) -> bytes | memoryview:
    """Header and compressed table as stored, from the first read and at most one more."""
    refuse_table_past_end(header, source.length)
    most = max_table_bytes(config.max_frames)
    if header.table_bytes > most:
        raise DecodeError(
            f"header: announces a sizes table of {header.table_bytes} bytes, more than max_frames={config.max_frames}"
            f" frames can take ({most})"
        )
    end = header.blocks_offset
    if end <= len(first):
        return first[:end]
    rest = await _read(source, ByteRange(len(first), end), "sizes table")
    return b"".join((first, rest))
