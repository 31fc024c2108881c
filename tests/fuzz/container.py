"""
Fuzz target: a whole ASVP or ASVR. Opened and read exactly as docs/format.md says or refused, by the pure layer under a
reader and by a stream.

The first byte of the input says how it is opened. The rest is either the file as it is, or, since checksums keep a
fuzzer out of what is compressed, the description of a file: what its header and table lie about, and its blocks. An
ASVR is made of the same by encrypting each part with a key that the process makes up, so inputs reach what is behind
the cipher; `reference` reads the plain parts with zlib and struct alone.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import oracle

import alphastream_gpu
from alphastream_gpu import (
    AlphaStreamError,
    AsvrKey,
    Config,
    DecodeError,
    ErrorCode,
    FrameGeometry,
    FrameNotFoundError,
    MemorySource,
    TransportError,
    rasterize,
)
from alphastream_gpu._format.cipher import cipher_for
from alphastream_gpu._stream import reader as reader_module
from alphastream_gpu._stream.reader import StreamReader
from fuzz import Feed, within_memory
from fuzz.payload import described, is_well_formed

__all__ = ["built", "check", "pieces", "reference"]

_CONFIG = Config(
    native_size=(24, 16), max_frames=64, max_frame_bytes=2048, decode_workers=1, raster_workers=1, ready_frames=2
)
_MEMORY = 1 << 20
"""Bytes that reading may take beside the input's own size: limits allow a table of 512 and frames of 2,048."""
_MOST_BLOCKS = 80
_NAME = "fuzzed.asvr"
_MAGIC = b"ASVPPLN1"

_ENCRYPTED, _STRICT, _LENGTH_UNKNOWN, _SMALL_FIRST_READ, _REMOTE, _BUILT, _OTHER_KEY, _AS_STREAM = (
    1 << bit for bit in range(8)
)


class _Bytes(MemorySource):
    """Bytes whose length may be unknown, or which count their reads as requests to a server."""

    def __init__(self, data: bytes, *, is_length_known: bool, is_remote: bool) -> None:
        super().__init__(data, name=_NAME)
        self._is_length_known = is_length_known
        self._is_remote = is_remote
        self._reads = 0

    @property
    def length(self) -> int | None:  # type: ignore[override]
        return super().length if self._is_length_known else None

    @property
    def requests(self) -> int:
        return self._reads if self._is_remote else 0

    async def read(self, span: alphastream_gpu.ByteRange) -> memoryview:
        self._reads += 1
        return await super().read(span)


def check(data: bytes, *, always_measure: bool = False) -> None:
    """A container is read as the format says, frame by frame, or refused with the error of its kind."""
    flags, rest = data[0] if data else 0, data[1:]
    plain = built(rest) if flags & _BUILT else rest
    is_encrypted = bool(flags & _ENCRYPTED)
    is_strict, is_length_known = bool(flags & _STRICT), not flags & _LENGTH_UNKNOWN
    stored = _encrypted(plain) if is_encrypted else plain
    key = _key(int(bool(flags & _OTHER_KEY))) if is_encrypted else None
    expected = reference(plain, is_encrypted=is_encrypted, is_strict=is_strict, is_length_known=is_length_known)
    if is_encrypted and flags & _OTHER_KEY:
        expected = None

    def source() -> _Bytes:
        return _Bytes(stored, is_length_known=is_length_known, is_remote=bool(flags & _REMOTE))

    with _first_read(64 if flags & _SMALL_FIRST_READ else reader_module.FIRST_READ_BYTES):
        # A stream starts three threads, so only one input in four is opened as one.
        if flags & _AS_STREAM and len(data) % 2:
            found = _runner().run(_by_stream(source(), key, is_strict))
        else:
            found = within_memory(
                lambda: _runner().run(_by_reader(source(), key, is_strict)),
                data,
                _MEMORY + 8 * len(stored),
                always=always_measure,
            )
    if expected is None or found is None:
        assert found is None, "opened, but the format refuses it"
        assert expected is None, "refused, but the format allows it"
        return
    assert len(found) == len(expected)
    for index, (geometry, payload) in enumerate(zip(found, expected, strict=True)):
        if payload is None or geometry is None:
            assert geometry is None, f"frame {index}: decoded, but the format refuses it"
            assert payload is None, f"frame {index}: refused, but the format allows it"
        else:
            channels = oracle.decode(payload)
            assert geometry.channel_count == len(channels)
            assert geometry.points.tolist() == [list(point) for channel in channels for point in channel]


async def _by_reader(source: MemorySource, key: AsvrKey | None, is_strict: bool) -> list[FrameGeometry | None] | None:
    try:
        reader = await StreamReader.open(source, key=key, strict=is_strict, config=_CONFIG)
    except DecodeError:
        return None
    found: list[FrameGeometry | None] = []
    for index in range(len(reader.index)):
        try:
            (block,) = await reader.read_blocks(reader.span(index, index + 1))
            found.append(reader.decode(index, block))
        except (DecodeError, TransportError) as exc:
            assert exc.frame_index == index
            found.append(None)
    return found


async def _by_stream(source: MemorySource, key: AsvrKey | None, is_strict: bool) -> list[FrameGeometry | None] | None:
    try:
        stream = await alphastream_gpu.open_async(source, key=key, strict=is_strict, config=_CONFIG)
    except DecodeError:
        return None
    found: list[FrameGeometry | None] = []
    async with stream:
        n_frames = stream.metadata.frame_count
        for index in range(n_frames):
            try:
                geometry = await stream.frame(index)
            except (DecodeError, TransportError) as exc:
                assert exc.frame_index == index
                geometry = None
            found.append(geometry)
            if index < 4:
                _check_playing(stream, index, geometry)
        good = next((index for index, geometry in enumerate(found) if geometry is None), n_frames)
        seen = []
        try:
            async for geometry in stream.frames():
                seen.append(geometry)
        except AlphaStreamError:
            assert good < n_frames
        assert seen == found[:good]
        try:
            await stream.frame(n_frames)
        except FrameNotFoundError:
            pass
        else:
            raise AssertionError("a frame behind the last one")
    return found


def _check_playing(stream: alphastream_gpu.AlphaStream, index: int, geometry: FrameGeometry | None) -> None:
    """The real-time way says the same, if it has an answer by then."""
    mask = stream.get_frame(index, 12, 8)
    error = stream.last_error()
    if mask is None:
        assert error is not None
        wanted = (ErrorCode.DECODE, ErrorCode.TRANSPORT) if geometry is None else ()
        assert error.code in (*wanted, ErrorCode.TIMEOUT, ErrorCode.NOT_READY)
    else:
        assert geometry is not None
        assert np.array_equal(mask, rasterize(geometry, (12, 8), native_size=_CONFIG.native_size))


def built(description: bytes) -> bytes:
    """A file made as a description says: some of it right, some of it lies."""
    feed = Feed(description)
    lies, more_lies = feed.number(), feed.number()
    blocks: list[bytes] = []
    magic = _MAGIC if more_lies & 7 else feed.take(8).ljust(8, b"\0")
    while feed and len(blocks) < _MOST_BLOCKS:
        blocks.append(_built_block(feed, feed.number()))
    sizes = [len(block) for block in blocks]
    if more_lies & 0x18 == 0x18 and blocks:
        sizes[-1] = (sizes[-1] + feed.number() - 2, (1 << 63) - 1 - sizes[-1], (1 << 64) - 1)[more_lies >> 5 & 1]
    table = struct.pack(f"<{len(sizes)}Q", *(size % (1 << 64) for size in sizes))
    if lies & 0x30 == 0x30:
        table = table[:-3] if lies & 0x40 else bytes(8 * (60 + len(blocks)))
    packed = zlib.compress(table)
    declared = (len(blocks), 0, len(blocks), len(blocks) + 1)[lies & 3]
    table_bytes = len(packed)
    if lies & 0xC == 0xC:
        table_bytes = (len(packed) + 1, len(packed) - 1, 0xFFFFFFFF, 0)[lies >> 6]
    elif lies & 0xC == 0x8:
        packed += b"\0\0"  # something behind the zlib stream
        table_bytes += 2
    file = magic + struct.pack("<II", declared, table_bytes) + packed + b"".join(blocks)
    if more_lies & 0xC0 == 0xC0:
        return file[: -1 - (lies >> 4)]
    return file + b"trailing" if more_lies & 0xC0 == 0x80 else file


def _built_block(feed: Feed, kind: int) -> bytes:
    body = feed.take(feed.number())
    payload = body if kind & 0x40 else described(body)
    match kind & 7:
        case 4:  # another length than the payload's
            return struct.pack(
                "<I", (len(payload) + 1, max(0, len(payload) - 1), 0, 2049)[kind >> 4 & 3]
            ) + zlib.compress(payload)
        case 5:  # no block at all
            return body
        case 6:  # inflates a hundredfold
            payload = bytes(len(body) * 64)
            return struct.pack("<I", (len(payload), 100, 2048, 2049)[kind >> 4 & 3]) + zlib.compress(payload)
        case 7:  # cut, or with something behind
            block = struct.pack("<I", len(payload)) + zlib.compress(payload)
            return block[: -1 - (kind >> 4)] if kind & 8 else block + b"\0"
        case _:
            return struct.pack("<I", len(payload)) + zlib.compress(payload)


def pieces(plain: bytes) -> list[bytes]:
    """A file's parts that are encrypted on their own: header with table, blocks, and what is behind them."""
    table_bytes = int.from_bytes(plain[12:16], "little")
    end = 16 + table_bytes
    parts, rest = [plain[:end]], plain[end:]
    table = _inflated(plain[16:end], 8 * _CONFIG.max_frames) or b""
    for size in struct.unpack(f"<{len(table) // 8}Q", table[: len(table) & ~7]):
        parts.append(rest[:size])
        rest = rest[size:]
    return [*parts, rest]


def _encrypted(plain: bytes) -> bytes:
    cipher = cipher_for(_key(0), _NAME)
    head, *blocks = pieces(plain)
    return b"".join(
        [cipher.header_and_table(head), *(cipher.block(index, block) for index, block in enumerate(blocks))]
    )


def reference(plain: bytes, *, is_encrypted: bool, is_strict: bool, is_length_known: bool) -> list[bytes | None] | None:
    """
    What a file holds by the format, read with zlib and struct alone.

    Returns:
        Each frame's payload, None for a frame that is refused; or None where the whole file is.
    """
    if len(plain) < 16:
        return None
    magic, declared, table_bytes = struct.unpack_from("<8sII", plain)
    if not is_encrypted and magic != _MAGIC and is_strict:
        return None
    if is_encrypted or magic != _MAGIC:
        declared = 0
    compressed = plain[16 : 16 + table_bytes]
    if len(compressed) < table_bytes or table_bytes > _bound(8 * _CONFIG.max_frames):
        return None
    table = _inflated(compressed, 8 * _CONFIG.max_frames)
    if table is None or len(table) % 8 or declared not in (0, len(table) // 8):
        return None
    sizes = struct.unpack(f"<{len(table) // 8}Q", table)
    start = 16 + table_bytes
    if start + sum(sizes) > (len(plain) if is_length_known else (1 << 63) - 1):
        return None
    payloads: list[bytes | None] = []
    for size in sizes:
        block, start = plain[start : start + size], start + size
        length = int.from_bytes(block[:4], "little")
        payload = None
        if 4 <= len(block) == size <= 4 + _bound(_CONFIG.max_frame_bytes) and length <= _CONFIG.max_frame_bytes:
            payload = _inflated(block[4:], length)
        is_frame = payload is not None and len(payload) == length and is_well_formed(payload)
        payloads.append(payload if is_frame else None)
    return payloads


def _bound(n_bytes: int) -> int:
    """The most compressed bytes that a reader takes for so many."""
    return n_bytes + n_bytes // 1000 + 64


def _inflated(data: bytes, limit: int) -> bytes | None:
    """One zlib stream, all of it and nothing behind, or None."""
    inflater = zlib.decompressobj()
    try:
        out = inflater.decompress(data, limit + 1)
    except zlib.error:
        return None
    return out if len(out) <= limit and inflater.eof and not inflater.unused_data else None


@cache
def _key(number: int) -> AsvrKey:
    """The process's own keys: 0 encrypts, 1 is another one."""
    return AsvrKey(os.urandom(32), scene_id=number, resource_name=_NAME)


@cache
def _runner() -> asyncio.Runner:
    """One event loop for all inputs; a new one each would take as long as the rest."""
    runner = asyncio.Runner()
    atexit.register(runner.close)
    return runner


@contextmanager
def _first_read(n_bytes: int) -> Iterator[None]:
    """Change how much the first read takes, so that a small file's table needs a second one."""
    before = reader_module.FIRST_READ_BYTES
    reader_module.FIRST_READ_BYTES = n_bytes
    try:
        yield
    finally:
        reader_module.FIRST_READ_BYTES = before
