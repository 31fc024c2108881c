"""
Container: the header, the sizes table and the block index of ASVP and ASVR. Bytes in, records out; no I/O, no cipher.

Layout (docs/format.md, "Container"): a 16-byte header, a zlib-compressed table of u64 block sizes, the blocks.

This module does not decide whether a file is an ASVP or an ASVR: :meth:`StreamReader.open` in ``_stream/reader.py``
does, by the first eight bytes and the caller's key, and calls the parser of that kind.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from .._exceptions import DecodeError
from .._wording import MAX_FRAMES
from .deflate import deflate, deflated_bound, inflate_at_most

__all__ = [
    "ASVP_MAGIC",
    "ASVR_HEADER_VERSION",
    "HEADER_BYTES",
    "BlockIndex",
    "Header",
    "asvp_header",
    "asvr_header",
    "index_blocks",
    "inflate_sizes_table",
    "max_table_bytes",
    "neither_plain_nor_opened",
    "parse_asvp_header",
    "parse_asvr_header",
    "refuse_table_past_end",
    "sizes_table",
]

HEADER_BYTES: Final = 16
ASVP_MAGIC: Final = b"ASVPPLN1"
ASVR_HEADER_VERSION: Final = 4
"""The first header word of the ASVR files made for version "1.5.0". A reader records it and does not check it."""

_SIZE_BYTES: Final = 8
_DEFLATE_MAX_RATIO: Final = 1032
"""
The largest compression factor of deflate, about, from zlib's technical notes. A table of T bytes inflates to at most
1032 T bytes plus the slack of one block, which bounds the memory for a malformed table.
"""

ContainerName = Literal["ASVP", "ASVR"]


@dataclass(frozen=True, slots=True)
class Header:
    """The first 16 bytes of a file, decrypted if the file is encrypted."""

    container: ContainerName
    version: str
    """``"PLN1"`` for ASVP; the decimal first word for ASVR (``"4"``)."""
    declared_frames: int
    """The frame count in header bytes 8..11; 0 if the writer did not set it. Always 0 for ASVR, where the meaning of
    these bytes is unknown."""
    table_bytes: int
    """Length of the compressed sizes table in bytes; the blocks start at byte ``16 + table_bytes``."""

    @property
    def blocks_offset(self) -> int:
        """Byte offset of block 0."""
        return HEADER_BYTES + self.table_bytes


@dataclass(frozen=True, slots=True)
class BlockIndex:
    """The place of each block: ``offsets[i]`` inclusive to ``offsets[i + 1]`` exclusive, in bytes from the start of the
    file."""

    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def end(self) -> int:
        """The first byte after the last block."""
        return int(self.offsets[-1])


def parse_asvp_header(data: bytes, *, strict: bool = True) -> Header:
    """
    Parse a plain header.

    Args:
        data: the first bytes of the file; at least 16.
        strict: refuse a magic other than ``ASVPPLN1``. If False, bytes 0..11 may have any value.

    Raises:
        DecodeError: `data` is too short, or the magic is wrong.
    """
    _refuse_short_header(data)
    magic, declared, table_bytes = struct.unpack_from("<8sII", data)
    if strict and magic != ASVP_MAGIC:
        raise DecodeError(
            f"{neither_plain_nor_opened(magic, 'key=AsvrKey(...)')}; strict=False accepts an ASVP with another magic"
        )
    if magic != ASVP_MAGIC:
        declared = 0  # with another magic, these bytes may not be a frame count
    return Header("ASVP", "PLN1", declared, table_bytes)


def neither_plain_nor_opened(head: bytes, need: str) -> str:
    """
    The message for a stream that is not plain, if no key was given. An ASVR is encrypted from its first byte on, so it
    looks like any other data.

    Args:
        head: the first bytes of the stream.
        need: what the caller has to give to open an encrypted stream.
    """
    return (
        f"header: expected the magic {ASVP_MAGIC!r} of a plain ASVP file, found {head[: len(ASVP_MAGIC)]!r}: this is"
        f" either an encrypted ASVR, which needs {need}, or not an alpha stream"
    )


def parse_asvr_header(data: bytes) -> Header:
    """
    Parse a decrypted ASVR header. The header does not show whether the key is right; the sizes table does.

    Raises:
        DecodeError: `data` is too short.
    """
    _refuse_short_header(data)
    version, _zero, _unknown, table_bytes = struct.unpack_from("<IIII", data)
    return Header("ASVR", str(version), 0, table_bytes)


def _refuse_short_header(data: bytes) -> None:
    if len(data) < HEADER_BYTES:
        raise DecodeError(f"header: expected {HEADER_BYTES} bytes, found {len(data)}: the file is truncated")


def refuse_table_past_end(header: Header, length: int | None) -> None:
    """Raise :class:`DecodeError` if the sizes table of a header ends past the end of a source of known `length`."""
    if length is not None and header.blocks_offset > length:
        raise DecodeError(
            f"header: the sizes table of {header.table_bytes} bytes ends at byte {header.blocks_offset},"
            f" past the end of the source at {length}"
        )


def max_table_bytes(max_frames: int) -> int:
    """The largest size in bytes of the compressed sizes table of `max_frames` frames."""
    return deflated_bound(max_frames * _SIZE_BYTES)


def inflate_sizes_table(compressed: bytes | memoryview, header: Header, *, max_frames: int) -> bytes:
    """
    Inflate the sizes table. If the table of an ASVR inflates, its key is right: the checksum of the table is the only
    check of a key.

    Args:
        compressed: exactly ``header.table_bytes`` bytes, decrypted.
        header: the header of the file.
        max_frames: the most frames that the caller accepts. It bounds the memory for the table.

    Raises:
        DecodeError: the table is truncated or not a zlib stream. OverLimitError for more than `max_frames`.
    """
    if len(compressed) != header.table_bytes:
        raise DecodeError(
            f"sizes table: expected {header.table_bytes} bytes, found {len(compressed)}: the file is truncated"
        )
    limit = min(max_frames * _SIZE_BYTES, header.table_bytes * _DEFLATE_MAX_RATIO + 64)
    return inflate_at_most(compressed, limit, what="sizes table", over=f"more than {MAX_FRAMES.of(max_frames)}")


def index_blocks(table: bytes, header: Header, *, source_length: int | None) -> BlockIndex:
    """
    Check an inflated sizes table and compute the offsets of the blocks.

    Args:
        table: the result of :func:`inflate_sizes_table`.
        header: the header of the file.
        source_length: bytes in the source, or None if the source does not know its length.

    Raises:
        DecodeError: the table is not a whole number of sizes, their number differs from the frame count of the header,
            or a block ends past the end of the source.
    """
    if len(table) % _SIZE_BYTES:
        raise DecodeError(f"sizes table: expected a whole number of 8-byte sizes, found {len(table)} bytes")
    sizes = np.frombuffer(table, "<u8")
    if header.declared_frames not in (0, len(sizes)):
        raise DecodeError(f"sizes table: the header declares {header.declared_frames} frames, found {len(sizes)} sizes")
    return _index_blocks(sizes, header.blocks_offset, source_length)


_INT64_MAX: Final = (1 << 63) - 1
_REFUSED_PART: Final = 4096
"""Sizes converted to Python integers by one call, during which other threads wait for the interpreter's lock."""


def _index_blocks(sizes: npt.NDArray[np.uint64], start: int, source_length: int | None) -> BlockIndex:
    """Sum the sizes of the blocks. Each size is bounded before the 64-bit sums are made, so that no sum can wrap."""
    end_limit = _INT64_MAX if source_length is None else source_length
    room = end_limit - start
    # Each size is at most room <= 2^63 - 1, but the sum of N sizes can pass 2^64. The float64 sum detects that: its
    # error is far below the factor of two between a sum that fits and one that could wrap.
    if len(sizes) and (int(sizes.max()) > room or float(sizes.sum(dtype=np.float64)) > 2.0 * room + 4096):
        _refuse_blocks_past_end(sizes, start, end_limit)
    offsets = np.empty(len(sizes) + 1, np.int64)
    offsets[0] = start
    np.cumsum(sizes, dtype=np.int64, out=offsets[1:])
    offsets[1:] += start
    if int(offsets[-1]) > end_limit or (len(sizes) and int(offsets.min()) < 0):
        _refuse_blocks_past_end(sizes, start, end_limit)
    offsets.setflags(write=False)
    return BlockIndex(offsets)


def _refuse_blocks_past_end(sizes: npt.NDArray[np.uint64], start: int, end_limit: int) -> None:
    end = start
    parts = (sizes[first : first + _REFUSED_PART].tolist() for first in range(0, len(sizes), _REFUSED_PART))
    for index, size in enumerate(chain.from_iterable(parts)):  # exact integers; runs only for an error
        if end + size > end_limit:
            raise DecodeError(
                f"sizes table: block {index} of {size} bytes starts at byte {end} and runs past the end of the source"
                f" at {end_limit}: the file is truncated or the table is wrong",
                frame_index=index,
            )
        end += size


def sizes_table(sizes: npt.NDArray[np.uint64]) -> bytes:
    """Compress the sizes of the blocks as stored, uint64 (frames,) in bytes, to the table that follows the header."""
    return deflate(np.ascontiguousarray(sizes, dtype="<u8").tobytes())


def asvp_header(n_frames: int, table_bytes: int) -> bytes:
    """The 16 bytes of a plain header."""
    return struct.pack("<8sII", ASVP_MAGIC, n_frames, table_bytes)


def asvr_header(table_bytes: int) -> bytes:
    """The 16 bytes of an ASVR header, before encryption."""
    return struct.pack("<IIII", ASVR_HEADER_VERSION, 0, 0, table_bytes)
