"""
Hostile files: truncated at any byte, changed in any bit, with wrong sizes, or with zlib bombs. The result must be a
typed error or the identical frame, in bounded memory.
"""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
import textwrap
import time
import zlib
from pathlib import Path

import pytest
from support import ROOT, SAMPLE, SQUARE, asvp_of, block_of, payload_of

import alphastream_gpu
from alphastream_gpu import (
    AsvpWriter,
    AsvrKey,
    AsvrWriter,
    Config,
    DecodeError,
    FrameGeometry,
    KeyMismatchError,
    TransportError,
)
from alphastream_gpu._format.block import inflate_block

BLOCKS = [block_of(SQUARE), block_of(SQUARE)]
FILE = asvp_of(BLOCKS)


def _frames(data: bytes, key: AsvrKey | None = None) -> list[FrameGeometry]:
    async def read() -> list[FrameGeometry]:
        async with await alphastream_gpu.open_async(data, key=key) as stream:
            return [geometry async for geometry in stream.frames()]

    return asyncio.run(read())


def test_truncation_at_every_byte() -> None:
    """The sizes table has the end of the last block, so a file that is truncated anywhere is refused at once."""
    for length in range(len(FILE)):
        with pytest.raises(DecodeError, match=r"header|table"):
            _frames(FILE[:length])


class _Unbounded(alphastream_gpu.MemorySource):
    """A source that does not know its length, which a server may not send."""

    @property
    def length(self) -> None:  # type: ignore[override]
        return None


@pytest.mark.parametrize("cut", range(1, len(BLOCKS[0]) + 1))
def test_truncation_where_the_length_is_unknown(cut: int) -> None:
    async def read() -> None:
        async with await alphastream_gpu.open_async(_Unbounded(FILE[:-cut])) as stream:
            assert await stream.frame(0) == FrameGeometry.from_payload(SQUARE)
            with pytest.raises(TransportError, match=r"frame 1: expected bytes .* truncated") as caught:
                await stream.frame(1)
            assert caught.value.frame_index == 1
            seen = []
            with pytest.raises(TransportError, match=r"frame 1: expected bytes .* truncated"):
                async for geometry in stream.frames():
                    seen.append(geometry)
            assert seen == [FrameGeometry.from_payload(SQUARE)]

    asyncio.run(read())


def test_every_single_bit_flip_in_a_block() -> None:
    """zlib's checksum detects changes of the data, and the length field is compared with the inflated length."""
    original = inflate_block(BLOCKS[0], max_frame_bytes=1 << 20)
    for bit in range(8 * len(BLOCKS[0])):
        flipped = bytearray(BLOCKS[0])
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            payload = inflate_block(bytes(flipped), max_frame_bytes=1 << 20)
        except DecodeError:
            continue
        assert payload == original  # such as zlib's unused compression-level bits


@pytest.mark.slow
def test_every_single_bit_flip_in_header_and_table() -> None:
    expected = _frames(FILE)
    end = len(FILE) - sum(map(len, BLOCKS))
    for bit in range(8 * end):
        flipped = bytearray(FILE)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            frames = _frames(bytes(flipped))
        except DecodeError:
            continue
        assert frames == expected


def test_every_single_bit_flip_in_a_payload_parses_or_is_refused() -> None:
    for bit in range(8 * len(SQUARE)):
        flipped = bytearray(SQUARE)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            geometry = FrameGeometry.from_payload(bytes(flipped))
        except DecodeError:
            continue
        assert geometry.to_payload() == bytes(flipped)


@pytest.mark.slow
def test_an_asvr_truncated_or_with_a_changed_bit(tmp_path: Path, passphrase: bytes) -> None:
    key = AsvrKey(passphrase, scene_id=7, resource_name="x.asvr")
    with AsvrWriter(tmp_path / "x.asvr", key=key) as writer:
        for block in BLOCKS:
            writer.add_block(block)
    data = (tmp_path / "x.asvr").read_bytes()
    expected = _frames(data, key)
    for length in range(len(data)):
        with pytest.raises((KeyMismatchError, DecodeError)):
            _frames(data[:length], key)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert _frames(bytes(flipped), key) == expected
        except DecodeError:
            continue


def test_one_malformed_frame_does_not_affect_the_others(tmp_path: Path) -> None:
    data = asvp_of([BLOCKS[0], b"\xff" * 30, BLOCKS[1]])

    async def read() -> None:
        async with await alphastream_gpu.open_async(data) as stream:
            good = await stream.frame(0)
            with pytest.raises(DecodeError, match="frame 1: block: announces a payload of 4294967295") as caught:
                await stream.frame(1)
            assert caught.value.frame_index == 1
            assert await stream.frame(2) == good
            seen = []
            with pytest.raises(DecodeError, match="frame 1"):
                async for geometry in stream.frames():
                    seen.append(geometry)
            assert seen == [good]

    asyncio.run(read())


@pytest.mark.skipif(sys.platform == "win32", reason="files are not sparse by default on Windows: 8 GiB of disk")
def test_a_block_too_long_for_its_payload_is_never_read(tmp_path: Path) -> None:
    """A sparse file, with 8 GiB in its sizes table and a few KB on disk."""
    table = zlib.compress(struct.pack("<2Q", len(BLOCKS[0]), 8 << 30))
    path = tmp_path / "sparse.asvp"
    path.write_bytes(b"ASVPPLN1" + struct.pack("<II", 2, len(table)) + table + BLOCKS[0])
    os.truncate(path, 16 + len(table) + len(BLOCKS[0]) + (8 << 30))

    async def read() -> None:
        async with await alphastream_gpu.open_async(path) as stream:
            good = await stream.frame(0)
            with pytest.raises(DecodeError, match="frame 1: block: stored in bytes .*, longer than a payload within"):
                await stream.frame(1)
            seen = []
            with pytest.raises(DecodeError, match="frame 1"):
                async for geometry in stream.frames():
                    seen.append(geometry)
            assert seen == [good]
            wait = time.monotonic() + 5
            while stream.get_geometry(0) is None and time.monotonic() < wait:
                pass
            assert stream.get_geometry(0) == good

    asyncio.run(read())


@pytest.mark.slow
def test_a_batch_of_large_frames_is_decoded_a_few_at_a_time() -> None:
    block = block_of(payload_of([((0, 0), [(1, 1)] * 500_000)]))

    async def read() -> None:
        async with await alphastream_gpu.open_async(asvp_of([block] * 40)) as stream:
            session = stream._lifetime.session
            assert session is not None
            geometries, error = await asyncio.wrap_future(stream._lifetime.submit(lambda: session.bulk.fetch(0, 40)))
            assert error is None
            assert 1 <= len(geometries) < 8
            assert len([geometry async for geometry in stream.frames()]) == 40

    asyncio.run(read())


def test_a_truncated_asvr_is_not_a_key_mismatch(tmp_path: Path, passphrase: bytes) -> None:
    key = AsvrKey(passphrase, scene_id=7)
    with AsvrWriter(tmp_path / "x.asvr", key=key) as writer:
        for block in BLOCKS:
            writer.add_block(block)
    path = tmp_path / "x.asvr"
    with pytest.raises(DecodeError, match="more than max_frames=1") as caught:
        alphastream_gpu.open(path, key=key, config=Config(max_frames=1))
    assert not isinstance(caught.value, KeyMismatchError)
    os.truncate(path, path.stat().st_size - 5)
    with pytest.raises(DecodeError, match="block 1 of .* runs past the end") as caught:
        alphastream_gpu.open(path, key=key)
    assert not isinstance(caught.value, KeyMismatchError)


def test_a_writer_refuses_malformed_frames(tmp_path: Path) -> None:
    with AsvpWriter(tmp_path / "x.asvp") as writer:
        with pytest.raises(DecodeError):
            writer.add_frame(b"\1\0\0\0")
        with pytest.raises(DecodeError):
            writer.add_block(b"\1\0\0\0")
        writer.add_frame(SQUARE)
    assert len(_frames((tmp_path / "x.asvp").read_bytes())) == 1


ATTACKS = {
    "block bomb": "asvp_of([struct.pack('<I', 100) + zlib.compress(bytes(1 << 30), 9)])",
    "honest bomb": "asvp_of([struct.pack('<I', 1 << 30) + zlib.compress(bytes(1 << 30), 9)])",
    "table bomb": "b'ASVPPLN1' + struct.pack('<II', 0, len(BOMB)) + BOMB",
    "huge channel count": "asvp_of([block_of(struct.pack('<I', 0xFFFFFFFF) + bytes(16))])",
    "huge channel": "asvp_of([block_of(struct.pack('<II', 1, 0xFFFFFFFC) + bytes(16))])",
    "huge table": "b'ASVPPLN1' + struct.pack('<II', 0xFFFFFFFF, 0xFFFFFFFF)",
    "frames near 2^64": "b'ASVPPLN1' + struct.pack('<II', 0, len(NEAR)) + NEAR",
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a process within a limit of address space")
@pytest.mark.parametrize("attack", ATTACKS)
def test_memory_stays_bounded(attack: str) -> None:
    """A child process may take only 256 MB more than the interpreter already has. It must still raise the typed
    error."""
    script = f"""
        import resource, struct, sys, zlib
        sys.path.insert(0, {str(ROOT / "tests")!r})
        import asyncio
        import alphastream_gpu
        from support import asvp_of, block_of
        BOMB = zlib.compress(bytes(1 << 30), 9)
        NEAR = zlib.compress(struct.pack('<4Q', *[(1 << 64) - 2] * 4))
        data = {ATTACKS[attack]}
        async def read():
            async with await alphastream_gpu.open_async({str(SAMPLE)!r}) as stream:  # imports all modules
                await stream.frame(0)
            pages = int(open('/proc/self/statm').read().split()[0])
            limit = pages * resource.getpagesize() + (256 << 20)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            async with await alphastream_gpu.open_async(data) as stream:
                await stream.frame(0)
        try:
            asyncio.run(read())
        except alphastream_gpu.DecodeError as exc:
            print('refused:', exc)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.startswith("refused:"), done.stderr
    assert done.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of its memory from /proc")
def test_memory_stays_bounded_for_millions_of_points() -> None:
    """A valid frame of two million points is decoded and rasterized in a few hundred bytes for each point."""
    script = f"""
        import re, struct, sys
        from pathlib import Path
        sys.path.insert(0, {str(ROOT / "tests")!r})
        import numpy as np
        import alphastream_gpu
        n = (4 << 20) - 8
        deltas = np.tile(np.array([[127, 3], [-127, -3]], np.int8), (n // 4, 1))
        payload = struct.pack('<IIHH', 1, 4 + deltas.size, 900, 500) + deltas.tobytes()
        geometry = alphastream_gpu.FrameGeometry.from_payload(payload)
        mask = alphastream_gpu.rasterize(geometry)
        # Not getrusage: its first value is the peak of the parent process.
        peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
        print(len(geometry.points), int(mask.astype(bool).sum()), peak)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=300, check=True
    )
    n_points, covered, peak = map(int, done.stdout.split())
    assert n_points > 2_000_000
    assert covered > 100
    assert peak < 300 * n_points + (300 << 20)
