"""
Exports of masks that other libraries read: videos, COCO annotations, Zarr stores.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import zarr
from exported import CONFIG, MASKS, N_FRAMES, SIZE, back, exported, probed, same_export, stream_file
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from support import SAMPLE

import alphastream_gpu
from alphastream_gpu import Config, ExportProgress, TransportError
from alphastream_gpu._exporting import coco, coders, mask_videos
from alphastream_gpu._exporting.journal import journal_path
from alphastream_gpu._inputs.rle import counts_of_mask, text_of_counts

GRAY = np.where(MASKS, 255, 0).astype(np.uint8)
RATE = Fraction(60000, 1001)
VIDEOS = [("out.mkv", "ffv1"), ("out.mkv", "h264"), ("out.mp4", "h264"), ("out.mov", "h264")]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stream_file(tmp_path_factory.mktemp("stream") / "masks.asvp")


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight frames, so that small videos have several segments."""
    whole = coders.mask_coder

    def short(codec: str) -> coders.Coder:
        coder = whole(codec)
        return dataclasses.replace(coder, segment_frames=8)

    monkeypatch.setattr("alphastream_gpu._exporting.export.mask_coder", short)


def killed_after(n_frames: int) -> Any:
    def progress(at: ExportProgress) -> None:
        if at.done >= n_frames:
            raise KeyboardInterrupt

    return progress


def luma_of(frame: Any) -> np.ndarray:
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]


# Videos.


@pytest.mark.parametrize(("name", "codec"), VIDEOS)
def test_a_video_comes_back(source: Path, tmp_path: Path, name: str, codec: str) -> None:
    target = tmp_path / name
    report = exported(source, target, codec=codec, config=Config(native_size=SIZE, fps=RATE))
    assert (report.kind, report.codec, report.layout, report.is_lossless) == ("video", codec, None, True)
    assert (back(target) == MASKS).all()
    with alphastream_gpu._inputs.open_frames(target) as frames:
        assert frames.fps == RATE
        assert "range 0..255 (said by the file)" in frames.about
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("name", "codec"), VIDEOS)
def test_what_ffmpeg_says_of_a_video(source: Path, tmp_path: Path, name: str, codec: str) -> None:
    """Luma 0 and 255 in every frame, full range, times without gaps. H.264 without colours is decoded as yuvj420p."""
    target = tmp_path / name
    exported(source, target, codec=codec, config=Config(native_size=SIZE, fps=RATE))
    with av.open(str(target)) as file:
        stream: Any = file.streams.video[0]
        assert stream.codec_context.name == codec
        assert stream.codec_context.color_range == 2
        assert (stream.width, stream.height) == SIZE
        frames = list(file.decode(stream))
        assert len(frames) == N_FRAMES
        assert {frame.format.name for frame in frames} == {"gray" if codec == "ffv1" else "yuvj420p"}
        for number, (frame, mask) in enumerate(zip(frames, GRAY, strict=True)):
            assert (luma_of(frame) == mask).all()
            rounding = stream.time_base / 2 if name.endswith("mkv") else 0  # to milliseconds
            assert abs(frame.pts * stream.time_base - number / RATE) <= rounding
        if codec == "ffv1":
            assert all(frame.key_frame for frame in frames)


@pytest.mark.parametrize(("name", "codec"), VIDEOS)
def test_what_ffprobe_says_of_a_video(source: Path, tmp_path: Path, name: str, codec: str) -> None:
    exported(source, tmp_path / name, codec=codec, config=Config(native_size=SIZE, fps=RATE))
    found = probed(tmp_path / name)
    assert (found["codec_name"], found["nb_read_frames"]) == (codec, str(N_FRAMES))
    assert found["pix_fmt"] in ({"gray"} if codec == "ffv1" else {"gray", "yuvj420p"})
    assert (found["width"], found["height"], found["color_range"]) == (*SIZE, "pc")
    if not name.endswith("mkv"):  # whose times are rounded to milliseconds
        assert Fraction(found["r_frame_rate"]) == RATE


@pytest.mark.slow
@pytest.mark.parametrize(("name", "codec"), VIDEOS)
def test_a_killed_video_goes_on(source: Path, tmp_path: Path, name: str, codec: str) -> None:
    whole, target = tmp_path / "whole" / name, tmp_path / name
    whole.parent.mkdir()
    exported(source, whole, codec=codec, jobs=1)
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt) as caught:
        exported(source, target, codec=codec, jobs=2, progress=killed_after(16))
    assert "run it again" in caught.value.__notes__[0]
    assert target.read_bytes() == b"old"
    parts = tmp_path / f".{name}.parts"
    (parts / "00000008.mkv").write_bytes(b"damaged")
    seen: list[ExportProgress] = []
    report = exported(source, target, codec=codec, jobs=3, progress=seen.append)
    assert 8 <= report.resumed_from < N_FRAMES
    assert seen[-1] == ExportProgress("joining", N_FRAMES, N_FRAMES)
    assert same_export(target, whole)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([name, "whole"])


def test_a_kill_while_joining(source: Path, tmp_path: Path) -> None:
    def progress(at: ExportProgress) -> None:
        if at.stage == "joining" and at.done >= 16:
            raise KeyboardInterrupt

    target = tmp_path / "out.mkv"
    with pytest.raises(KeyboardInterrupt):
        exported(source, target, progress=progress)
    assert not target.exists()
    assert not [one for one in tmp_path.iterdir() if one.suffix == ".tmp"]
    assert exported(source, target).resumed_from == N_FRAMES
    assert (back(target) == MASKS).all()


def test_an_encoder_that_loses_a_frame(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mask_videos._Pictures.picture
    n_seen = 0

    def picture(self: Any, *args: Any) -> Any:
        nonlocal n_seen
        n_seen += 1
        return None if n_seen == 20 else whole(self, *args)

    monkeypatch.setattr(mask_videos._Pictures, "picture", picture)
    with pytest.raises(TransportError, match=r"writing '.*out.mkv': "):
        exported(source, tmp_path / "out.mkv", jobs=1)
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.slow
def test_the_sample_as_a_video(tmp_path: Path) -> None:
    """Rows of 2048 pixels are drawn into FFmpeg's pictures themselves."""
    alphastream_gpu.export(SAMPLE, tmp_path / "out.mkv", frames=20)
    with alphastream_gpu.open_array(SAMPLE) as masks:
        assert (back(tmp_path / "out.mkv") == (masks[:20] != 0)).all()


def test_wide_rows(source: Path, tmp_path: Path) -> None:
    exported(source, tmp_path / "out.mkv", size=(64, 48))
    exported(source, tmp_path / "out.npy", size=(64, 48))
    assert (back(tmp_path / "out.mkv") == (np.load(tmp_path / "out.npy") != 0)).all()


@pytest.mark.parametrize(
    ("name", "codec", "message"),
    [
        ("out.mp4", "ffv1", "codec: expected h264 for masks alone in .mp4, found ffv1"),
        ("out.mkv", "vp9", "codec: expected ffv1 or h264 for masks alone in .mkv, found vp9"),
        ("out.webm", "auto", r"target: .webm cannot hold masks alone; expected .mkv \(ffv1 or h264\)"),
        ("out.mkv", "av1", "codec: expected one of auto, ffv1"),
    ],
)
def test_codecs_that_do_not_fit(source: Path, tmp_path: Path, name: str, codec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        exported(source, tmp_path / name, codec=codec)
    assert list(tmp_path.iterdir()) == []


# COCO.


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # in pycocotools
def test_coco_as_pycocotools_reads_it(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = exported(source, tmp_path / "out.json", start=2)
    found = COCO(str(tmp_path / "out.json"))
    capsys.readouterr()
    assert len(found.imgs) == report.frames == N_FRAMES - 2
    for number, image in enumerate(found.imgs):
        frame = number + 2
        assert found.imgs[image]["file_name"] == f"{frame:06d}.png"
        annotations = found.imgToAnns[image]
        assert len(annotations) == MASKS[frame].any()
        for one in annotations:
            assert (found.annToMask(one) == MASKS[frame]).all()
            run_lengths = coco_mask.encode(np.asfortranarray(MASKS[frame].astype(np.uint8)))
            assert one["segmentation"]["counts"] == run_lengths["counts"].decode()
            assert one["area"] == coco_mask.area(run_lengths)
            assert one["bbox"] == coco_mask.toBbox(run_lengths).tolist()
    assert [one["name"] for one in found.cats.values()] == ["foreground"]
    assert (back(tmp_path / "out.json") == MASKS[2:]).all()


def test_a_killed_coco_goes_on(source: Path, tmp_path: Path) -> None:
    exported(source, tmp_path / "whole.json")
    with pytest.raises(KeyboardInterrupt):
        exported(source, tmp_path / "out.json", progress=killed_after(16))
    assert journal_path(tmp_path / "out.json").exists()
    assert exported(source, tmp_path / "out.json").resumed_from >= 16
    assert (tmp_path / "out.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_run_lengths_of_all_small_masks() -> None:
    for number in range(1 << 9):
        mask = ((number >> np.arange(9)) & 1).astype(np.uint8).reshape(3, 3)
        expected = coco_mask.encode(np.asfortranarray(mask))
        assert text_of_counts(counts_of_mask(mask)) == expected["counts"].decode()
        found = coco._annotation(mask)
        assert (found is None) == (number == 0)
        if found is not None:
            assert found[1:] == [coco_mask.area(expected), coco_mask.toBbox(expected).tolist()]


# Zarr.


def test_zarr(source: Path, tmp_path: Path) -> None:
    exported(source, tmp_path / "out.zarr", start=1, config=Config(native_size=SIZE, fps=RATE))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Numcodecs codecs")
        found: Any = zarr.open(str(tmp_path / "out.zarr"), mode="r")
        assert found.dtype == np.bool_
        assert (found[:] == MASKS[1:]).all()
    assert found.metadata.zarr_format == 3
    assert found.metadata.dimension_names == ("time", "y", "x")
    assert dict(found.attrs) == {"fps": "60000/1001", "first_frame": 1}
    codecs = [one["name"] for one in found.metadata.to_dict()["codecs"]]
    assert codecs == ["numcodecs.packbits", "bytes", "zstd"]
    assert (back(tmp_path / "out.zarr") == MASKS[1:]).all()
    assert [one.name for one in tmp_path.iterdir()] == ["out.zarr"]


def test_a_killed_zarr_goes_on(source: Path, tmp_path: Path) -> None:
    """Also where a chunk was damaged; and the old store is there until the new one is complete."""
    exported(source, tmp_path / "whole.zarr")
    exported(source, tmp_path / "out.zarr", frames=3)
    with pytest.raises(KeyboardInterrupt):
        exported(source, tmp_path / "out.zarr", jobs=1, progress=killed_after(32))
    assert len(back(tmp_path / "out.zarr")) == 3
    (tmp_path / ".out.zarr.part" / "c" / "0" / "0" / "0").write_bytes(b"damaged")
    assert exported(source, tmp_path / "out.zarr").resumed_from == 16
    assert _content(tmp_path / "out.zarr") == _content(tmp_path / "whole.zarr")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out.zarr", "whole.zarr"]


def test_chunks_of_large_masks(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alphastream_gpu._exporting.zarrs._CHUNK_BYTES", 5 * SIZE[0] * SIZE[1])
    exported(source, tmp_path / "out.zarr")
    assert json.loads((tmp_path / "out.zarr" / "zarr.json").read_text())["chunk_grid"]["configuration"] == {
        "chunk_shape": [5, SIZE[1], SIZE[0]]
    }
    assert (back(tmp_path / "out.zarr") == MASKS).all()


def test_a_full_disk_while_a_segment_is_written(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("alphastream_gpu._exporting.segments.os.replace", full)
    with pytest.raises(TransportError, match="No space left on device"):
        exported(source, tmp_path / "out.mkv")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_zarr(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out.zarr").mkdir()
    (tmp_path / "out.zarr" / "thesis.txt").write_text("a year of work")
    with pytest.raises(TransportError, match="it is there, and no Zarr store of format 3; remove it"):
        exported(source, tmp_path / "out.zarr")
    assert (tmp_path / "out.zarr" / "thesis.txt").exists()
    assert [one.name for one in tmp_path.iterdir()] == ["out.zarr"]


def _content(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


# Packages.


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [("out.mkv", "av", "PyAV"), ("out.zarr", "zarr", "zarr"), ("%d.png", "PIL", "Pillow")],
)
def test_a_missing_package(
    source: Path, tmp_path: Path, name: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in [one for one in sys.modules if one.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, one)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"this export needs {package} .*; run: python -m pip install"):
        alphastream_gpu.export(source, tmp_path / name, config=CONFIG)
    assert list(tmp_path.iterdir()) == []
