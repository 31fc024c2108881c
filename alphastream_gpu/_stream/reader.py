"""
StreamReader: reads a container from a source: the header and the sizes table, then blocks. It decides whether the
container is an ASVP or an ASVR (:meth:`StreamReader.open`). ``_format`` parses the bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import operator
import re
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from itertools import pairwise

import numpy as np

from .._config import Config
from .._exceptions import DecodeError, FrameNotFoundError, TransportError, contained_errors, mapped_errors
from .._format.block import inflate_block
from .._format.cipher import AsvrKey, LateKey, StreamCipher, cipher_for, key_mismatch
from .._format.container import (
    ASVP_MAGIC,
    HEADER_BYTES,
    BlockIndex,
    Header,
    index_blocks,
    inflate_sizes_table,
    max_table_bytes,
    parse_asvp_header,
    parse_asvr_header,
    refuse_table_past_end,
)
from .._format.deflate import OverLimitError, deflated_bound
from .._geometry.frame import FrameGeometry
from .._sources import FileSource, MemorySource, Source
from .._sources.layers import compare_tables, validator_of
from .._sources.pages import page_in_place_of_a_file
from .._sources.ranges import ByteRange
from .._wording import ABOUT_SOURCE, MAX_FRAME_BYTES, MAX_FRAMES, PATH_AS_CONTENT
from .plan import FrameSpan

__all__ = ["FIRST_READ_BYTES", "StreamReader"]

FIRST_READ_BYTES = 64 * 1024
"""The first read: header and, in a usual file, the whole table (16,375 frames compress to about 30 KB)."""


_MAX_PATH_BYTES = 4096
_PATH = re.compile(r"^[^<>|*\"{}]*([/\\]|\.\w{1,5}$)[^<>|*\"{}]*$")
"""A text with a separator, or that ends as a file's name; and has nothing that pages and data have."""


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
        self.reads = 0
        """Reads from the source so far."""
        self.bytes_read = 0
        """Bytes of those reads."""
        self.open_seconds = 0.0
        """How long the first read took; a first guess at what a read costs."""
        self.prepares_planes = False
        """Whether decoding also computes what a renderer needs of a frame, :attr:`FrameGeometry.planes`."""
        self._cipher = cipher
        self._config = config
        self._max_block_bytes = 4 + deflated_bound(config.max_frame_bytes)
        self._head: bytes | memoryview = b""
        self._fingerprint = ""

    @classmethod
    async def open(
        cls,
        source: Source,
        *,
        key: AsvrKey | None = None,
        strict: bool = True,
        config: Config,
        executor: Executor | None = None,
    ) -> StreamReader:
        """
        Read header and table.

        Args:
            source: the bytes.
            key: for an ASVR. A source that begins with the magic of an ASVP is read as such, whatever the key; without
                a key, so is every other.
            strict: refuse an ASVP with other magic bytes.
            config: limits.
            executor: whose threads derive the key and read the table; None is the running loop's.

        Raises:
            DecodeError: what FORMAT says a reader refuses. KeyMismatchError when the table does not open.
            TransportError: the source failed.
            TypeError: another kind of key.
        """
        if not (key is None or isinstance(key, AsvrKey)):
            raise TypeError(f"key: expected an AsvrKey, found {type(key).__name__}")
        loop = asyncio.get_running_loop()
        started = time.monotonic()
        first = await _read(source, ByteRange(0, FIRST_READ_BYTES), "header")
        open_seconds = time.monotonic() - started
        stored = bytes(first[:HEADER_BYTES])
        if stored.startswith(ASVP_MAGIC):
            key = None  # an ASVR begins with these eight bytes once in 2^64 files
        else:
            _refuse_path(source, first)
            _refuse_page(source, first, key)
            key = None if key is None or len(stored) < HEADER_BYTES else key._needed_for(stored)
        cipher = None
        if key is not None:
            cipher = await loop.run_in_executor(executor, cipher_for, key, source.name)  # scrypt takes some 50 ms
            header = parse_asvr_header(cipher.header_and_table(stored))
        else:
            header = parse_asvp_header(stored, strict=strict)
        try:
            table = stored_table = await _read_table(source, header, first, config)
            if cipher is not None:
                table = cipher.header_and_table(table)
            # Off the loop, which all streams share: a table of the largest size takes half a second.
            deflated = memoryview(table)[HEADER_BYTES:]
            sizes = await loop.run_in_executor(executor, _inflate_table, deflated, header, config)
        except OverLimitError:
            raise
        except DecodeError as exc:
            if key is None:
                raise
            # A wrong key turns the table's length and content into noise; what it says about them means nothing else.
            told = f"; the server's reply: {source.reply_summary}" if source.reply_summary else ""
            raise key_mismatch(key, source.name, f"{exc}{told}") from exc
        index = await loop.run_in_executor(executor, _index_table, sizes, header, source)
        compare_tables(source, stored_table)
        reader = cls(source, header, index, cipher, config)
        reader.open_seconds = open_seconds
        reader.reads = 1 if len(table) <= len(first) else 2
        reader.bytes_read = max(len(first), len(table))
        if source.requests:  # what came with the first request need not be asked for again
            reader._head = first
        return reader

    def check(self, index: int) -> None:
        """Raise :class:`FrameNotFoundError` unless `index` is a frame of this stream; TypeError if it is no integer."""
        operator.index(index)
        if not 0 <= index < len(self.index):
            raise FrameNotFoundError(
                f"frame {index}: expected 0..{len(self.index) - 1}, the stream has {len(self.index)} frames"
                if len(self.index)
                else f"frame {index}: the stream is empty",
                frame_index=index,
            )

    def fingerprint(self) -> str:
        """What :attr:`AlphaStream.fingerprint` describes."""
        if not self._fingerprint:
            sizes = np.diff(self.index.offsets).astype("<u8", copy=False)
            validator = validator_of(self.source) if self._config.http_validate == "etag" else None
            parts = (self.header.container, self.header.table_bytes, self.source.length, validator)
            self._fingerprint = hashlib.sha256(repr(parts).encode() + sizes.tobytes()).hexdigest()
        return self._fingerprint

    @property
    def n_known(self) -> int:
        """Bytes from the start that are read again from memory."""
        return len(self._head)

    def is_sensible(self, index: int) -> bool:
        """Whether a block's stored length could hold an acceptable payload; if not, it is never read."""
        offsets = self.index.offsets
        return bool(offsets[index + 1] - offsets[index] <= self._max_block_bytes)

    def batch(self, start: int, stop: int, *, max_bytes: int, max_frames: int) -> FrameSpan:
        """The span from `start` on, of at least one frame, within the limits where that is possible."""
        offsets = self.index.offsets
        last = min(stop, start + max_frames)
        fitting = int(np.searchsorted(offsets[start + 1 : last + 1], offsets[start] + max_bytes, side="right"))
        return self.span(start, start + max(1, fitting))

    def span(self, first: int, stop: int) -> FrameSpan:
        """The span of the frames ``first..stop - 1``."""
        offsets = self.index.offsets
        return FrameSpan(first, stop, ByteRange(int(offsets[first]), int(offsets[stop])))

    async def read_blocks(self, span: FrameSpan, frames: Sequence[int] | None = None) -> list[memoryview]:
        """
        Read neighbouring blocks in one go.

        Args:
            span: what is read.
            frames: which of its frames are wanted, ascending; all if omitted.

        Returns:
            One view per wanted frame, as stored (still encrypted in an ASVR).

        Raises:
            DecodeError: the source ended too early.
            TransportError: the source failed.
        """
        frames = range(span.first, span.stop) if frames is None else frames
        self._refuse_senseless(frames)
        return self._blocks(span, frames, await self._bytes(span))

    def read_blocks_here(self, source: FileSource | MemorySource, span: FrameSpan) -> list[memoryview]:
        """:meth:`read_blocks` on the calling thread, which is blocked: there and back to the loop takes longer."""
        frames = range(span.first, span.stop)
        self._refuse_senseless(frames)
        with contained_errors(f"frame {span.first}: reading {span.bytes} of {source.name!r}"):
            data = source._read_here(span.bytes)
        return self._blocks(span, frames, data)

    def _refuse_senseless(self, frames: Sequence[int]) -> None:
        for index in frames:
            if not self.is_sensible(index):
                raise DecodeError(
                    f"frame {index}: block: stored in {self.span(index, index + 1).bytes}, longer than a payload within"
                    f" {MAX_FRAME_BYTES.of(self._config.max_frame_bytes)} can be",
                    frame_index=index,
                )

    def _blocks(self, span: FrameSpan, frames: Sequence[int], data: bytes | memoryview) -> list[memoryview]:
        """The blocks of frames within the bytes of a span."""
        if len(data) != len(span.bytes):
            raise TransportError(
                f"frame {span.first}: expected {span.bytes}, found {len(data)} bytes: the file is truncated",
                frame_index=span.first,
            )
        view = memoryview(data)
        starts: Sequence[int] = self.index.offsets[span.first : span.stop + 1].tolist()
        at = span.bytes.start
        if len(frames) == len(span):
            return [view[a - at : b - at] for a, b in pairwise(starts)]
        return [view[starts[k - span.first] - at : starts[k - span.first + 1] - at] for k in frames]

    async def _bytes(self, span: FrameSpan) -> bytes | memoryview:
        """The bytes of a span, as far as they exist; those of the first read again from memory."""
        wanted, known = span.bytes, len(self._head)
        if wanted.stop <= known:
            return memoryview(self._head)[wanted.start : wanted.stop]
        missing = ByteRange(max(wanted.start, known), wanted.stop)
        data = await _read(self.source, missing, f"frame {span.first}")
        self.reads += 1
        self.bytes_read += len(data)
        return data if missing.start == wanted.start else b"".join((memoryview(self._head)[wanted.start :], data))

    def decrypt_block(self, index: int, stored: memoryview) -> bytes | memoryview:
        """The block without its cipher: length field and zlib stream."""
        return stored if self._cipher is None else self._cipher.block(index, stored)

    def decode(self, index: int, stored: memoryview) -> FrameGeometry:
        """
        The geometry of a stored block. Pure computation.

        Raises:
            DecodeError: the block or its payload is malformed or over a limit.
        """
        return self.decode_block(index, self.decrypt_block(index, stored))

    def decode_block(self, index: int, block: bytes | memoryview) -> FrameGeometry:
        """:meth:`decode` of a block that is decrypted already."""
        try:
            payload = inflate_block(block, max_frame_bytes=self._config.max_frame_bytes, frame_index=index)
            try:
                geometry = FrameGeometry.from_payload(payload)
            except DecodeError as exc:
                raise DecodeError(f"frame {index}: {exc}", frame_index=index) from exc
            if self.prepares_planes:
                geometry.planes  # noqa: B018 - computed here, so that the rendering thread finds it
            return geometry
        except MemoryError as exc:
            raise DecodeError(f"frame {index}: too large for the memory there is", frame_index=index) from exc


def _inflate_table(compressed: memoryview, header: Header, config: Config) -> bytes:
    with mapped_errors("sizes table"):
        return inflate_sizes_table(compressed, header, max_frames=config.max_frames)


def _refuse_page(source: Source, first: bytes | memoryview, key: AsvrKey | None) -> None:
    """Before the key or the magic is blamed, refuse a page that a server sent in place of the file."""
    page = page_in_place_of_a_file(first, source.reply_summary)
    if page is not None and (key is not None or source.reply_summary):
        kind = "ASVP" if key is None else "alpha stream" if isinstance(key, LateKey) else "ASVR"
        raise DecodeError(f"header: expected an {kind}, {page}")


def _refuse_path(source: Source, first: bytes | memoryview) -> None:
    """Bytes are content, and a path in bytes is the content of no stream: say that it is not opened."""
    if not isinstance(source, MemorySource) or not 0 < len(first) <= _MAX_PATH_BYTES:
        return
    try:
        text = bytes(first).decode()
    except UnicodeDecodeError:
        return
    if text.isprintable() and _PATH.search(text):
        raise DecodeError(
            f"{ABOUT_SOURCE} the content of a stream, found {len(text)} bytes that look like a path or a URL;"
            f" {PATH_AS_CONTENT}"
        )


def _index_table(table: bytes, header: Header, source: Source) -> BlockIndex:
    with mapped_errors("sizes table"):
        return index_blocks(table, header, source_length=source.length)


async def _read(source: Source, span: ByteRange, what: str) -> bytes | memoryview:
    with contained_errors(f"{what}: reading {span} of {source.name!r}"):
        data = await source.read(span)
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TransportError(
                f"{what}: reading {span} of {source.name!r}: expected bytes, found {type(data).__name__}"
            )
    if len(data) > len(span):
        raise TransportError(f"{what}: expected {span}, found {len(data)} bytes: the source's read is too long")
    return data


async def _read_table(source: Source, header: Header, first: bytes | memoryview, config: Config) -> bytes | memoryview:
    """Header and compressed table as stored, from the first read and at most one more."""
    refuse_table_past_end(header, source.length)
    most = max_table_bytes(config.max_frames)
    if header.table_bytes > most:
        raise DecodeError(
            f"header: announces a sizes table of {header.table_bytes} bytes, more than"
            f" {MAX_FRAMES.of(config.max_frames)} can take ({most})"
        )
    end = header.blocks_offset
    if end <= len(first):
        return first[:end]
    rest = await _read(source, ByteRange(len(first), end), "sizes table")
    return b"".join((first, rest))
