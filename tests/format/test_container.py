"""
Header, sizes table and blocks: valid files, malformed files and their error messages.
"""

from __future__ import annotations

import asyncio
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import SAMPLE, SQUARE, asvp_of, block_of

import alphastream_gpu
from alphastream_gpu import Config, DecodeError, FrameGeometry
from alphastream_gpu._format.block import inflate_block
from alphastream_gpu._format.container import (
    BlockIndex,
    Header,
    index_blocks,
    inflate_sizes_table,
    parse_asvp_header,
    parse_asvr_header,
)

GOOD = asvp_of([block_of(SQUARE), block_of(struct.pack("<I", 0))])


def _open(data: bytes, **options: object) -> list[FrameGeometry]:
    async def read() -> list[FrameGeometry]:
        async with await alphastream_gpu.open_async(data, **options) as stream:  # type: ignore[arg-type]
            return [geometry async for geometry in stream.frames()]

    return asyncio.run(read())


def test_a_file_by_hand() -> None:
    square, empty = _open(GOOD)
    assert square == FrameGeometry.from_payload(SQUARE)
    assert empty.channel_count == 0


def test_the_samples_header() -> None:
    with alphastream_gpu.open(SAMPLE) as stream:
        metadata = stream.metadata
    assert (metadata.container, metadata.version, metadata.frame_count) == ("ASVP", "PLN1", 120)
    assert metadata.duration == 2.0
    assert metadata.source_bytes == SAMPLE.stat().st_size == 16 + metadata.table_bytes + metadata.block_bytes
    assert metadata.trailing_bytes == 0


def test_a_stream_without_frames() -> None:
    data = asvp_of([])
    with alphastream_gpu.open(data) as stream:
        assert stream.metadata.frame_count == 0
        assert stream.metadata.duration == 0
    assert _open(data) == []


def test_a_frame_count_of_zero_means_unknown() -> None:
    assert len(_open(asvp_of([block_of(SQUARE)] * 3, count=0))) == 3


def test_bytes_after_the_last_block_are_ignored() -> None:
    data = GOOD + b"anything"
    assert len(_open(data)) == 2
    with alphastream_gpu.open(data) as stream:
        assert stream.metadata.trailing_bytes == 8


def test_another_magic_needs_strict_false() -> None:
    data = asvp_of([block_of(SQUARE)], magic=b"WHATEVER", count=77)
    with pytest.raises(DecodeError, match="expected the magic b'ASVPPLN1'.*found b'WHATEVER'.*strict=False"):
        _open(data)
    assert len(_open(data, strict=False)) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "header: expected 16 bytes, found 0"),
        (GOOD[:15], "header: expected 16 bytes, found 15"),
        (GOOD[:16], "sizes table of .* past the end of the source at 16"),
        (asvp_of([block_of(SQUARE)], count=2), "header declares 2 frames, found 1 sizes"),
        (b"ASVPPLN1" + struct.pack("<II", 0, 0xFFFFFFFF), "sizes table of 4294967295 bytes"),
        (b"ASVPPLN1" + struct.pack("<II", 0, 4) + b"junk", "sizes table: expected a zlib stream"),
        (b"ASVPPLN1" + struct.pack("<II", 0, 0), "sizes table: the zlib stream is cut short"),
    ],
)
def test_malformed_containers(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        _open(data)


def _with_table(table: bytes, tail: bytes = b"", after: bytes = b"") -> bytes:
    compressed = zlib.compress(table) + tail
    return b"ASVPPLN1" + struct.pack("<II", 0, len(compressed)) + compressed + after


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_with_table(bytes(12)), "whole number of 8-byte sizes, found 12"),
        (_with_table(struct.pack("<Q", 5), after=bytes(4)), "block 0 of 5 bytes starts at byte"),
        (_with_table(struct.pack("<2Q", 3, 2), after=bytes(4)), "block 1 of 2 bytes"),
        (_with_table(struct.pack("<Q", (1 << 64) - 1)), "block 0 of 18446744073709551615 bytes"),
        (_with_table(struct.pack("<2Q", 1 << 63, 1 << 63)), "block 0 of 9223372036854775808"),
        (_with_table(struct.pack("<4Q", *[(1 << 62) + 1] * 4)), "block 0 of"),
        (_with_table(struct.pack("<Q", 1 << 32)), "block 0 of 4294967296"),
        (_with_table(b"", tail=b"x"), "nothing after the zlib stream, found 1"),
    ],
)
def test_malformed_tables(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        _open(data)


@given(sizes=st.lists(st.integers(0, (1 << 64) - 1), max_size=20), length=st.one_of(st.none(), st.integers(0, 1 << 63)))
def test_the_block_index_equals_exact_sums(sizes: list[int], length: int | None) -> None:
    table = zlib.compress(np.array(sizes, "<u8").tobytes())
    header = Header("ASVP", "PLN1", 0, len(table))
    ends = [16 + len(table)]
    for size in sizes:
        ends.append(ends[-1] + size)
    limit = (1 << 63) - 1 if length is None else length
    try:
        index = index_blocks(inflate_sizes_table(table, header, max_frames=100), header, source_length=length)
    except DecodeError:
        assert ends[-1] > limit
        return
    assert ends[-1] <= limit or not sizes
    assert index.offsets.tolist() == ends
    assert len(index) == len(sizes)


def test_more_frames_than_allowed() -> None:
    data = asvp_of([b""] * 11)
    with pytest.raises(DecodeError, match="more than max_frames=10 frames"):
        _open(data, config=Config(max_frames=10))
    config = Config(max_frames=11)
    with alphastream_gpu.open(data, config=config) as stream:
        assert stream.metadata.frame_count == 11


def test_a_table_longer_than_the_frame_limit_allows_is_not_read() -> None:
    data = b"ASVPPLN1" + struct.pack("<II", 0, 1000) + bytes(1000)
    with pytest.raises(DecodeError, match="announces a sizes table of 1000 bytes, more than max_frames=10"):
        _open(data, config=Config(max_frames=10))


def test_a_table_bomb() -> None:
    table = zlib.compress(bytes(64 << 20), 9)
    data = b"ASVPPLN1" + struct.pack("<II", 0, len(table)) + table
    with pytest.raises(DecodeError, match="inflates past 80000 bytes, more than max_frames=10000"):
        _open(data, config=Config(max_frames=10000))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (b"", "frame 7: block: expected at least its 4-byte length, found 0"),
        (b"\1\0\0", "found 3 bytes"),
        (struct.pack("<I", 5), "cut short after 0 bytes"),
        (block_of(SQUARE)[:-1], "cut short"),
        (block_of(SQUARE) + b"x", "nothing after the zlib stream, found 1"),
        (block_of(SQUARE, len(SQUARE) + 1), f"announces a payload of {len(SQUARE) + 1} bytes, found {len(SQUARE)}"),
        (block_of(SQUARE, len(SQUARE) - 1), rf"inflates past {len(SQUARE) - 1} bytes, the length that"),
        (block_of(SQUARE, 0), "inflates past 0 bytes"),
        (block_of(SQUARE, 0xFFFFFFFF), "announces a payload of 4294967295 bytes, over max_frame_bytes=4096"),
        (block_of(bytes(8 << 20), 4096), "inflates past 4096"),
        (block_of(SQUARE)[:4] + b"not zlib", "expected a zlib stream"),
    ],
)
def test_malformed_blocks(block: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message) as caught:
        inflate_block(block, max_frame_bytes=4096, frame_index=7)
    assert caught.value.frame_index == 7


def test_headers_are_parsed_field_by_field() -> None:
    assert parse_asvp_header(b"ASVPPLN1\x05\0\0\0\x09\0\0\0") == Header("ASVP", "PLN1", 5, 9)
    assert parse_asvr_header(struct.pack("<IIII", 4, 0, 99, 9)) == Header("ASVR", "4", 0, 9)
    assert len(BlockIndex(np.array([25], np.int64))) == 0
