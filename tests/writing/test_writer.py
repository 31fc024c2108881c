"""
Writers and conversion: exact payloads, unchanged blocks, complete files or none.
"""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import NO_FILE, SAMPLE, SQUARE, payload_frames, sample_geometries

import alphastream_gpu
from alphastream_gpu import (
    AsvpWriter,
    AsvrKey,
    AsvrWriter,
    ClosedError,
    Config,
    FileSource,
    FrameGeometry,
    TransportError,
)
from alphastream_gpu._stream.reader import StreamReader
from alphastream_gpu._writing import writer as writer_module
from alphastream_gpu._writing.convert import convert_blocks


def _payloads(path: Path, key: AsvrKey | None = None) -> list[bytes]:
    async def read() -> list[bytes]:
        async with await alphastream_gpu.open_async(path, key=key) as stream:
            return [geometry.to_payload() async for geometry in stream.frames()]

    return asyncio.run(read())


def _blocks(path: Path, key: AsvrKey | None = None) -> list[bytes]:
    """Every block as stored, after decryption."""

    async def read() -> list[bytes]:
        source = FileSource(path)
        reader = await StreamReader.open(source, key=key, config=Config())
        blocks = await reader.read_blocks(reader.span(0, len(reader.index)))
        await source.aclose()
        return [bytes(reader.decrypt_block(index, block)) for index, block in enumerate(blocks)]

    return asyncio.run(read())


def _convert(source: Path, writer: AsvpWriter | AsvrWriter, key: AsvrKey | None = None) -> list[int]:
    async def run() -> list[int]:
        opened = FileSource(source)
        reader = await StreamReader.open(opened, key=key, config=Config())
        with writer:
            done = [n async for n in convert_blocks(reader, writer)]
        await opened.aclose()
        return done

    return asyncio.run(run())


@pytest.mark.slow
@given(payloads=st.lists(payload_frames(), max_size=4))
def test_round_trips_are_byte_exact(tmp_path: Path, payloads: list[bytes]) -> None:
    key = AsvrKey(os.urandom(32), scene_id=3)
    key._keys["a.asvr"] = bytes(32)  # saves a thousand calls of scrypt
    for path, writer in (
        (tmp_path / "a.asvp", AsvpWriter(tmp_path / "a.asvp")),
        (tmp_path / "a.asvr", AsvrWriter(tmp_path / "a.asvr", key=key)),
    ):
        with writer:
            for number, payload in enumerate(payloads):
                writer.add_frame(FrameGeometry.from_payload(payload) if number % 2 else payload)
        assert _payloads(path, key if path.suffix == ".asvr" else None) == payloads


def test_the_sample_through_both_formats(tmp_path: Path, passphrase: bytes) -> None:
    key = AsvrKey(passphrase, scene_id=85342)
    encrypted, plain = tmp_path / "person.asvr", tmp_path / "person.asvp"
    assert _convert(SAMPLE, AsvrWriter(encrypted, key=key))[-1] == 120
    _convert(encrypted, AsvpWriter(plain), key)
    assert _blocks(SAMPLE) == _blocks(encrypted, key) == _blocks(plain)
    assert _payloads(plain) == [geometry.to_payload() for geometry in sample_geometries()]
    assert encrypted.read_bytes()[16:] != plain.read_bytes()[16:]
    with pytest.raises(alphastream_gpu.DecodeError):
        alphastream_gpu.open(encrypted)


def test_a_written_header(tmp_path: Path) -> None:
    with AsvpWriter(tmp_path / "x.asvp") as writer:
        assert writer.frame_count == 0
        writer.add_frame(SQUARE)
        assert repr(writer).endswith("1 frames open>")
    data = (tmp_path / "x.asvp").read_bytes()
    assert data[:12] == b"ASVPPLN1\x01\0\0\0"


def test_an_empty_file(tmp_path: Path) -> None:
    AsvpWriter(tmp_path / "x.asvp").close()
    assert _payloads(tmp_path / "x.asvp") == []


def test_nothing_appears_before_close(tmp_path: Path) -> None:
    writer = AsvpWriter(tmp_path / "x.asvp")
    writer.add_frame(SQUARE)
    assert not (tmp_path / "x.asvp").exists()
    writer.close()
    writer.close()
    writer.abort()
    assert os.listdir(tmp_path) == ["x.asvp"]
    with pytest.raises(ClosedError, match="the writer is closed"):
        writer.add_frame(SQUARE)


def test_an_exception_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"), AsvpWriter(tmp_path / "x.asvp") as writer:
        writer.add_frame(SQUARE)
        raise RuntimeError("stop")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_the_old_file_is_kept_after_a_disk_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    path = tmp_path / "x.asvp"
    path.write_bytes(b"old")
    writer = AsvpWriter(path)
    writer.add_frame(SQUARE)

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer_module.os, failing, fail)
    with pytest.raises(TransportError, match="writing .*: No space left on device"):
        writer.close()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.asvp"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of a file, which works only on Linux")
def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    """Errors of the system are converted, the caller's own exception is kept, and an incomplete file is not written."""
    script = f"""
import os, resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from alphastream_gpu import AsvpWriter, TransportError
from support import SQUARE, payload_of
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
noise = payload_of([((0, 0), [(k * 7919 % 255 - 127, k * 104729 % 253 - 126) for k in range(20000)])])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
def limit(n): resource.setrlimit(resource.RLIMIT_FSIZE, (n, hard))
writer = AsvpWriter({str(tmp_path / "a.asvp")!r})
writer.add_frame(SQUARE)
limit(0)
for call in (lambda: writer.add_frame(noise), writer.close):
    try: call()
    except TransportError as exc: print("typed", end=" ")
writer.abort()
try:
    with AsvpWriter({str(tmp_path / "b.asvp")!r}) as writer:
        writer.add_frame(SQUARE)
        raise KeyError("mine")
except KeyError: print("mine", end=" ")
writer = AsvpWriter({str(tmp_path / "c.asvp")!r})
try: writer.add_frame(noise)
except TransportError: print("typed", end=" ")
limit(hard)
try:
    writer.add_frame(SQUARE)
    writer.close()
except TransportError as exc: print(exc)
print(sorted(os.listdir({str(tmp_path)!r})))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("typed typed mine typed ")
    assert "not written, because adding a frame failed" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_frames_from_several_threads(tmp_path: Path, passphrase: bytes) -> None:
    key = AsvrKey(passphrase, scene_id=1)
    with AsvrWriter(tmp_path / "x.asvr", key=key) as writer:
        threads = [threading.Thread(target=lambda: [writer.add_frame(SQUARE) for _ in range(200)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert _payloads(tmp_path / "x.asvr", key) == [SQUARE] * 800


def test_invalid_targets_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="path: expected the path of a file"):
        AsvpWriter("")
    with pytest.raises(TransportError, match="it is a directory"):
        AsvpWriter(tmp_path)


def test_a_missing_folder(tmp_path: Path, passphrase: bytes) -> None:
    with pytest.raises(TransportError, match=f"creating .*: ({NO_FILE})"):
        AsvpWriter(tmp_path / "no" / "x.asvp")
    with pytest.raises(TransportError, match="creating"):
        AsvrWriter(tmp_path / "no" / "x.asvr", key=AsvrKey(passphrase, scene_id=1))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
def test_the_mode_of_a_file_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        AsvpWriter(tmp_path / "x.asvp").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.asvp").stat().st_mode) == 0o640


def test_a_name_that_is_not_ascii(tmp_path: Path, passphrase: bytes) -> None:
    with pytest.raises(ValueError, match="resource_name="):
        AsvrWriter(tmp_path / "maß.asvr", key=AsvrKey(passphrase, scene_id=1))
