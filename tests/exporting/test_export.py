"""
Exports of masks to arrays, pictures and raw files: they come back bit for bit, resume, and leave no half target.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import CONFIG, MASKS, N_FRAMES, SIZE, back, exported, stream_file
from PIL import Image

import alphastream_gpu
from alphastream_gpu import DecodeError, ExportProgress, InputOptions, TransportError, encode, rasterize
from alphastream_gpu._exporting import pieces
from alphastream_gpu._exporting.journal import Journal, journal_path

GRAY = np.where(MASKS, 255, 0).astype(np.uint8)
BITS = np.packbits(MASKS, axis=2, bitorder="little")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stream_file(tmp_path_factory.mktemp("stream") / "masks.asvp")


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def killed_after(n_frames: int) -> Any:
    """A callback of progress that ends the export when so many frames are done."""

    def progress(at: ExportProgress) -> None:
        if at.done >= n_frames:
            raise Killed

    return progress


# What is written.


def test_npy(source: Path, tmp_path: Path) -> None:
    report = exported(source, tmp_path / "out.npy")
    found = np.load(tmp_path / "out.npy")
    assert found.dtype == np.uint8
    assert (found == GRAY).all()
    assert (back(tmp_path / "out.npy") == MASKS).all()
    assert (report.kind, report.frames, report.size, report.is_lossless) == ("npy", N_FRAMES, SIZE, True)
    assert report.bytes == (tmp_path / "out.npy").stat().st_size
    assert [one.name for one in tmp_path.iterdir()] == ["out.npy"]
    assert json.loads(report.to_json())["fps"] == "60"


def test_packed_npy(source: Path, tmp_path: Path) -> None:
    exported(source, tmp_path / "out.npy", packed=True)
    found = np.load(tmp_path / "out.npy")
    assert (found == BITS).all()
    options: dict[str, Any] = {"packed": True, "native_size": SIZE}
    assert (back(tmp_path / "out.npy", **options) == MASKS).all()
    with alphastream_gpu._inputs.open_frames(found, InputOptions(**options)) as frames:
        assert (np.array(list(frames)) == MASKS).all()
    with pytest.raises(ValueError, match=r"expected bytes of the shape \(frames, height, 5\).*check native_size"):
        back(tmp_path / "out.npy", packed=True, native_size=(40, SIZE[1]))
    with pytest.raises(ValueError, match="threshold: out.npy is packed"):
        back(tmp_path / "out.npy", threshold=0.5, **options)


def test_npz(source: Path, tmp_path: Path) -> None:
    exported(source, tmp_path / "a.npz")
    exported(source, tmp_path / "b.npz", packed=True, jobs=1)
    with np.load(tmp_path / "a.npz") as found:
        assert list(found) == ["masks"]
        assert (found["masks"] == GRAY).all()
    with np.load(tmp_path / "b.npz") as found:
        assert (found["packed_masks"] == BITS).all()
        assert found["width"] == SIZE[0]
    assert (back(tmp_path / "a.npz") == MASKS).all()
    assert (back(tmp_path / "b.npz") == MASKS).all()
    first = (tmp_path / "b.npz").read_bytes()
    exported(source, tmp_path / "b.npz", packed=True, jobs=3)
    assert (tmp_path / "b.npz").read_bytes() == first


@pytest.mark.parametrize(("bits", "mode"), [(1, "1"), (8, "L")])
def test_png(source: Path, tmp_path: Path, bits: int, mode: str) -> None:
    report = exported(source, tmp_path / "out" / "m_%04d.png", bits=bits)
    names = sorted(one.name for one in (tmp_path / "out").iterdir())
    assert names == [f"m_{number:04}.png" for number in range(N_FRAMES)]
    for name, mask in zip(names, GRAY, strict=True):
        with Image.open(tmp_path / "out" / name) as picture:
            assert picture.mode == mode
            assert (np.asarray(picture.convert("L")) == mask).all()
    assert (back(tmp_path / "out") == MASKS).all()
    assert report.bytes == sum(one.stat().st_size for one in (tmp_path / "out").iterdir())


def test_raw(source: Path, tmp_path: Path) -> None:
    exported(source, tmp_path / "out.raw")
    assert (tmp_path / "out.raw").read_bytes() == GRAY.tobytes()
    file = io.BytesIO()
    report = alphastream_gpu.export(source, file, config=CONFIG)
    assert file.getvalue() == GRAY.tobytes()
    assert (report.target, report.kind, report.bytes) == ("", "raw", 0)


def test_a_file_that_takes_only_a_part(source: Path) -> None:
    class Slow(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(data[:1000])

    file = Slow()
    alphastream_gpu.export(source, file, config=CONFIG)
    assert file.getvalue() == GRAY.tobytes()


def test_a_part_in_another_size(source: Path, tmp_path: Path) -> None:
    report = exported(source, tmp_path / "out.npy", start=3, frames=20, size=(30, 90))
    assert report.frames == 20
    with alphastream_gpu.open(source, config=CONFIG) as stream:
        expected = [rasterize(one, (30, 90), native_size=SIZE) for one in stream.read_frames(3, 23)]
    assert (np.load(tmp_path / "out.npy") == expected).all()
    exported(source, tmp_path / "out" / "%d.png", start=35, frames=100)
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["35.png", "36.png"]


def test_the_way_there_and_back(source: Path, tmp_path: Path) -> None:
    """By the public function itself, as a stream whose masks are compared."""
    exported(source, tmp_path / "out.npz")
    report = encode(tmp_path / "out.npz", tmp_path / "back.asvp")
    assert (report.native_size, report.differing_pixels) == (SIZE, 0)
    with alphastream_gpu.open_array(tmp_path / "back.asvp", config=CONFIG) as masks:
        assert (masks[:] == GRAY).all()


# Interruptions.


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("name", ["out.npy", "out.raw", "%03d.png"])
def test_a_killed_export_goes_on(source: Path, tmp_path: Path, name: str, jobs: int) -> None:
    """The same call writes the same bytes, and draws only what was missing."""
    expected = tmp_path / "whole"
    expected.mkdir()
    exported(source, expected / name)
    target = tmp_path / "killed" / name
    target.parent.mkdir()
    with pytest.raises(Killed) as caught:
        exported(source, target, jobs=jobs, progress=killed_after(16))
    assert "run it again to go on from there" in caught.value.__notes__[0]
    assert not target.exists()
    assert journal_path(target).exists()
    seen: list[ExportProgress] = []
    report = exported(source, target, jobs=jobs, progress=seen.append)
    assert 16 <= report.resumed_from < N_FRAMES
    assert seen[0].done == report.resumed_from
    assert seen[-1] == ExportProgress("exporting", N_FRAMES, N_FRAMES)
    found = {one.name: one.read_bytes() for one in target.parent.iterdir()}
    assert found == {one.name: one.read_bytes() for one in expected.iterdir()}


def test_damaged_pieces_are_made_again(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.npy"
    with pytest.raises(Killed):
        exported(source, target, jobs=1, progress=killed_after(32))
    part = tmp_path / ".out.npy.part"
    content = bytearray(part.read_bytes())
    content[200] ^= 1
    part.write_bytes(content)
    assert exported(source, target).resumed_from == 16
    assert (np.load(target) == GRAY).all()
    pattern = tmp_path / "%d.png"
    with pytest.raises(Killed):
        exported(source, pattern, jobs=1, progress=killed_after(24))
    (tmp_path / "3.png").write_bytes(b"")
    (tmp_path / "9.png").unlink()
    assert exported(source, pattern).resumed_from == 8
    assert (back(pattern) == MASKS).all()


def test_another_export_to_the_same_target(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.npy"
    with pytest.raises(Killed):
        exported(source, target, progress=killed_after(16))
    with pytest.raises(DecodeError, match="another job, with other frames, size, start; finish that"):
        exported(source, target, start=1, frames=37, size=(8, 8), config=CONFIG)
    exported(source, target, start=1, resume=False)
    assert (np.load(target) == GRAY[1:]).all()


def test_an_old_target_is_kept_until_the_new_one_is_complete(source: Path, tmp_path: Path) -> None:
    for name in ("out.npy", "out.npz"):
        (tmp_path / name).write_bytes(b"old")
        with pytest.raises(Killed):
            exported(source, tmp_path / name, progress=killed_after(16))
        assert (tmp_path / name).read_bytes() == b"old"
        exported(source, tmp_path / name)
        assert (back(tmp_path / name) == MASKS).all()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out.npy", "out.npz"]


def test_a_damaged_frame(source: Path, tmp_path: Path) -> None:
    """Nothing is left if no piece was finished; otherwise, what was finished is kept."""
    content = bytearray(source.read_bytes())
    content[-3] ^= 0xFF
    damaged = tmp_path / "damaged.asvp"
    damaged.write_bytes(content)
    with pytest.raises(DecodeError, match="frame 36"):
        exported(damaged, tmp_path / "out.npy", start=32)
    with pytest.raises(DecodeError, match="frame 36"):
        exported(damaged, tmp_path / "out.npz")
    assert [one.name for one in tmp_path.iterdir()] == ["damaged.asvp"]
    with pytest.raises(DecodeError, match="frame 36"):
        exported(damaged, tmp_path / "out.npy", jobs=1)
    assert sorted(one.name for one in tmp_path.iterdir()) == [".out.npy.export", ".out.npy.part", "damaged.asvp"]
    exported(damaged, tmp_path / "part.npy", frames=36)
    assert (np.load(tmp_path / "part.npy") == GRAY[:36]).all()


def test_pictures_of_another_export(source: Path, tmp_path: Path) -> None:
    """Numbers that would stay would be taken for frames."""
    exported(source, tmp_path / "%d.png")
    with pytest.raises(TransportError, match=r"17 pictures have numbers that are not among the frames 0\.\.19"):
        exported(source, tmp_path / "%d.png", frames=20)
    exported(source, tmp_path / "%d.png", bits=1)
    assert (back(tmp_path / "%d.png") == MASKS).all()


def test_a_full_disk(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for name in ("out.npy", "out.npz"):
        with pytest.raises(TransportError, match="No space left on device"):
            exported(source, tmp_path / name)
        assert not (tmp_path / name).exists()


# Journals.


def test_a_journal_that_was_cut_or_damaged_at_any_byte(tmp_path: Path) -> None:
    path, job = tmp_path / "journal", {"kind": "test"}
    with Journal(path, job, resume=True) as journal:
        for first in (0, 8, 16):
            journal.add(first, [first, "x"])
    whole = path.read_bytes()
    head = whole.index(b"\n") + 1
    for cut in range(head, len(whole) + 1):
        path.write_bytes(whole[:cut])
        with Journal(path, job, resume=True) as journal:
            n = len(journal.records)
            assert list(journal.records) == [0, 8, 16][:n]
            journal.add(24, None)
        with Journal(path, job, resume=True) as journal:
            assert list(journal.records) == [*[0, 8, 16][:n], 24]
    for place in range(head, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        with Journal(path, job, resume=True) as journal:
            assert len(journal.records) < 3


@pytest.mark.parametrize("content", [b"{}", b"nonsense\n", b"\0" * 1000, b"[1]\n", b"x" * 100_000])
def test_a_file_that_is_no_journal(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content)
    with pytest.raises(DecodeError, match="another job|no job of this package"):
        Journal(path, {"kind": "test"}, resume=True)
    with Journal(path, {"kind": "test"}, resume=False) as journal:
        assert journal.records == {}


def test_two_exports_to_one_target(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    target = tmp_path / "out.npy"

    def again(at: ExportProgress) -> None:
        exported(source, target)

    with pytest.raises(TransportError, match="another process is writing to the same target"):
        exported(source, target, progress=again)


def test_pieces_cover_all_frames() -> None:
    assert list(pieces.pieces_of(range(3, 20), 8)) == [range(3, 11), range(11, 19), range(19, 20)]


# Arguments.


def test_a_stream_without_frames(tmp_path: Path) -> None:
    with alphastream_gpu.AsvpWriter(tmp_path / "empty.asvp"):
        pass
    with pytest.raises(ValueError, match="source: expected frames, found none"):
        exported(tmp_path / "empty.asvp", tmp_path / "out.npy")
    assert not (tmp_path / "out.npy").exists()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("out", {}, "target: expected a name such as out.mkv, out.mp4"),
        ("out.jpg", {}, "target: expected a name such as"),
        ("out.png", {}, r"expected the place of the frame's number once, as in %06d.png, found 'out.png'"),
        ("out.npy", {"codec": "ffv1"}, "codec: is for videos"),
        ("out.npy", {"bits": 1}, "bits: is for PNG"),
        ("%d.png", {"bits": 2}, "bits: expected 1 or 8"),
        ("%d.png", {"packed": True}, "packed: is for npy and npz"),
        ("out.npy", {"start": 37}, r"start: expected 0\.\.36"),
        ("out.npy", {"frames": 0}, "frames: expected 1 or more"),
        ("out.npy", {"jobs": 0}, "jobs: expected"),
        ("out.npy", {"size": (0, 4)}, "size: expected"),
        ("http://host/out.npy?token=1", {}, "target: expected the path of a file, found a http: URL"),
    ],
)
def test_arguments_that_do_not_fit(
    source: Path, tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    target = name if "://" in name else tmp_path / name
    with pytest.raises(ValueError, match=message) as caught:
        alphastream_gpu.export(source, target, config=CONFIG, **options)
    assert "token" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_targets_that_cannot_be_written(source: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(TransportError, match="it is a directory"):
        exported(source, tmp_path / "folder.npy")
    for name in ("no/out.npy", "no/out.npz", "no/no/%d.png"):
        with pytest.raises(TransportError, match="out|creating"):
            exported(source, tmp_path / name)
