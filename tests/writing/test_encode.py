"""
encode, optimize: whole streams, interrupted and resumed, verified, from any number of threads.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from support import SAMPLE, asvp_of, block_of, payload_of, sample_geometries

import alphastream_gpu
from alphastream_gpu import (
    AlphaStream,
    AsvrKey,
    Config,
    DecodeError,
    EncodeProgress,
    FrameGeometry,
    InputOptions,
    TransportError,
    compare,
    encode,
    optimize,
    rasterize,
)
from alphastream_gpu._writing import encode as _encode
from alphastream_gpu._writing.spool import EncodedFrame, Spool, spool_path

SIZE = (96, 64)


def shapes(n: int, seed: int = 3) -> npt.NDArray[np.bool_]:
    """Masks of a disc that moves, with a hole and some noise; bool (n, 64, 96)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    masks = []
    for k in range(n):
        away = np.hypot(x - 30 - k * 0.3, y - 32)
        masks.append(((away < 24) & (away > 6)) ^ (rng.random((SIZE[1], SIZE[0])) < 0.002))
    return np.array(masks)


MASKS = shapes(150)


def masks_of(path: Path, key: AsvrKey | None = None, size: tuple[int, int] = SIZE) -> list[npt.NDArray[np.uint8]]:
    with alphastream_gpu.open(path, key=key, config=Config(native_size=size)) as stream:
        return [rasterize(geometry, native_size=size) for geometry in stream.read_frames()]


@pytest.mark.slow
def test_exactly(tmp_path: Path) -> None:
    seen: list[EncodeProgress] = []
    report = encode(MASKS, tmp_path / "out.asvp", progress=seen.append)
    assert [(mask != 0).tolist() for mask in masks_of(tmp_path / "out.asvp")] == MASKS.tolist()
    assert report.frames == report.verified == 150
    assert report.bytes == (tmp_path / "out.asvp").stat().st_size
    assert (report.differing_pixels, report.min_iou, report.mean_iou, report.max_distance) == (0, 1.0, 1.0, 0.0)
    assert (report.native_size, report.fps, report.resumed_from, report.misfits) == (SIZE, None, 0, ())
    assert list(tmp_path.iterdir()) == [tmp_path / "out.asvp"]
    assert list(dict.fromkeys(one.stage for one in seen)) == ["compiling", "encoding", "writing", "verifying"]
    assert max(one.done for one in seen if one.stage == "encoding") == 150
    assert {one.total for one in seen} == {150}
    assert json.loads(report.to_json())["bytes_per_frame"] == report.bytes / 150


@pytest.mark.slow
def test_within_a_tolerance(tmp_path: Path) -> None:
    exact = encode(MASKS, tmp_path / "exact.asvp")
    report = encode(MASKS, tmp_path / "out.asvp", tolerance=1.0, options=InputOptions(fps=Fraction(30)))
    assert report.bytes < exact.bytes
    made = masks_of(tmp_path / "out.asvp")
    differing = [int(((mask != 0) != given).sum()) for mask, given in zip(made, MASKS, strict=True)]
    unions = [int(((mask != 0) | given).sum()) for mask, given in zip(made, MASKS, strict=True)]
    ious = [1 - d / u for d, u in zip(differing, unions, strict=True)]
    assert report.differing_pixels == sum(differing) > 0
    assert report.min_iou == pytest.approx(min(ious), abs=1e-12)
    assert report.mean_iou == pytest.approx(sum(ious) / 150, abs=1e-12)
    assert 0 < report.max_distance <= 2.0
    assert report.verified == 150
    assert report.fps == 30


@pytest.mark.slow
def test_a_least_iou(tmp_path: Path) -> None:
    report = encode(MASKS, tmp_path / "out.asvp", min_iou=0.98)
    assert 0.98 <= report.min_iou < 1
    assert encode(MASKS, tmp_path / "one.asvp", min_iou=1.0).differing_pixels == 0


@pytest.mark.slow
@pytest.mark.parametrize("tolerance", [0.0, 1.0])
def test_the_bytes_do_not_depend_on_the_threads(tolerance: float, tmp_path: Path) -> None:
    for jobs in (1, 3):
        encode(MASKS, tmp_path / f"{jobs}.asvp", tolerance=tolerance, jobs=jobs)
    assert (tmp_path / "1.asvp").read_bytes() == (tmp_path / "3.asvp").read_bytes()


def test_an_asvr(tmp_path: Path, passphrase: bytes) -> None:
    key = AsvrKey(passphrase, scene_id=7)
    report = encode(MASKS[:20], tmp_path / "out.asvr", key=key)
    assert report.verified == 20
    assert not (tmp_path / "out.asvr").read_bytes().startswith(b"ASVP")
    assert [(mask != 0).tolist() for mask in masks_of(tmp_path / "out.asvr", key)] == MASKS[:20].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("tolerance", [0.0, 1.0])
@pytest.mark.parametrize("stop_at", [16, 70, 149])
def test_an_interrupted_job_goes_on(tolerance: float, stop_at: int, tmp_path: Path) -> None:
    """With the same bytes as in one go; also if the process was killed while it wrote a record."""
    whole, target = tmp_path / "whole.asvp", tmp_path / "out.asvp"
    encode(MASKS, whole, tolerance=tolerance)

    def stop(progress: EncodeProgress) -> None:
        if progress.stage == "encoding" and progress.done >= stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(MASKS, target, tolerance=tolerance, progress=stop)
    assert not target.exists()
    spool = spool_path(target)
    with open(spool, "ab") as file:
        file.write(b"half a record")
    report = encode(MASKS, target, tolerance=tolerance)
    assert report.resumed_from >= stop_at // 64 * 64
    assert target.read_bytes() == whole.read_bytes()
    assert sorted(tmp_path.iterdir()) == [target, whole]


@pytest.mark.slow
def test_an_interrupted_job_with_other_settings(tmp_path: Path) -> None:
    target = tmp_path / "out.asvp"

    def stop(progress: EncodeProgress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(MASKS, target, progress=stop)
    with pytest.raises(DecodeError, match="another job, with other effort, min_area"):
        encode(MASKS, target, min_area=5, effort=1)
    report = encode(MASKS, target, min_area=5, resume=False)
    assert report.resumed_from == 0
    assert target.exists()


def test_a_damaged_input_keeps_what_came_before(tmp_path: Path) -> None:
    target = tmp_path / "out.asvp"

    def broken() -> Iterator[npt.NDArray[np.bool_]]:
        yield from MASKS[:40]
        raise DecodeError("frame 40: damaged")

    with pytest.raises(DecodeError, match="frame 40: damaged"):
        encode(broken(), target)
    assert not target.exists()
    head = spool_path(target).read_bytes().split(b"\n", 1)[0]
    with Spool(spool_path(target), {k: v for k, v in json.loads(head).items() if k != "format"}, resume=True) as spool:
        assert len(spool) == 40


def test_a_frame_that_fits_badly_is_reported(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).random((3, 128, 128)) < 0.5
    noise[1] = 0
    report = encode(noise, tmp_path / "out.asvp")
    assert report.misfits == (0, 2)
    assert report.differing_pixels == 0


def test_a_file_that_was_damaged_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.asvp"
    target.write_bytes(b"an older file")
    other = block_of(payload_of([((2, 2), [(9, 0), (0, 9)])]))
    real = _encode.AsvpWriter.add_block
    monkeypatch.setattr(_encode.AsvpWriter, "add_block", lambda self, block, check: real(self, other, check=check))
    with pytest.raises(DecodeError, match="frame 0: read back from the new file"):
        encode(MASKS[:5], target)
    assert target.read_bytes() == b"an older file"
    monkeypatch.undo()
    assert encode(MASKS[:5], target).resumed_from == 5
    assert encode(MASKS[:5], target, verify="sample").verified == 1
    assert encode(MASKS[:5], target, verify=False).verified == 0


def test_what_a_run_left_that_was_killed_while_it_wrote(tmp_path: Path) -> None:
    target = tmp_path / "out.asvp"
    folder = tmp_path / ".out.asvp.unverified"
    folder.mkdir()
    (folder / "out.asvp").write_bytes(b"half")
    (folder / ".out.asvp.0123456789abcdef.tmp").write_bytes(b"half")
    encode(MASKS[:5], target)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kind", ["arrays", "iterator", "file"])
def test_another_input_of_the_same_kind_is_encoded_from_where_it_differs(kind: str, tmp_path: Path) -> None:
    """What says that is the hash of each mask; name, number and size are the same."""
    target, path, whole = tmp_path / "out.asvp", tmp_path / "masks.npy", tmp_path / "whole.asvp"
    other = MASKS.copy()
    other[20] = ~other[20]

    def given(masks: npt.NDArray[np.bool_]) -> Any:
        if kind == "arrays":
            return list(masks)
        if kind == "iterator":
            return iter(masks)
        np.save(path, masks)
        return path

    def stop(progress: EncodeProgress) -> None:
        if progress.stage == "encoding" and progress.done >= 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(given(MASKS), target, progress=stop)
    assert encode(given(other), target).resumed_from == 16
    encode(given(other), whole)
    assert target.read_bytes() == whole.read_bytes()


def test_another_stream_of_the_same_length_is_optimized_from_where_it_differs(tmp_path: Path) -> None:
    target, source = tmp_path / "out.asvp", tmp_path / "source.asvp"
    payloads = [payload_of([((k, 1), [(9, 0), (0, 9)])]) for k in range(40)]

    def stored(*places: int) -> bytes:
        chosen = [payloads[place] for place in places]
        return asvp_of([len(one).to_bytes(4, "little") + zlib.compress(one, 0) for one in chosen])

    def stop(progress: EncodeProgress) -> None:
        if progress.stage == "encoding" and progress.done >= 40:
            raise KeyboardInterrupt

    config = Config(native_size=(64, 48))
    source.write_bytes(stored(*range(40)))
    with pytest.raises(KeyboardInterrupt):
        optimize(source, target, config=config, progress=stop)
    source.write_bytes(stored(*range(35), 3, *range(36, 40)))
    assert optimize(source, target, config=config).resumed_from == 32
    assert compare(target, source, config=config).differing_pixels == 0


def test_a_job_that_is_interrupted_while_it_resumes_loses_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out.asvp"

    def stop_at(n_frames: int) -> Callable[[EncodeProgress], None]:
        def stop(progress: EncodeProgress) -> None:
            if progress.stage == "encoding" and progress.done >= n_frames:
                raise KeyboardInterrupt

        return stop

    for n_frames in (48, 16):
        with pytest.raises(KeyboardInterrupt):
            encode(MASKS, target, progress=stop_at(n_frames))
    assert encode(MASKS, target).resumed_from >= 48


def test_a_job_that_has_no_frame_yet_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out.asvp"
    grays = np.full((3, *MASKS.shape[1:]), 7, np.uint8)
    with pytest.raises(ValueError, match="threshold"):
        encode(grays, target)
    assert not spool_path(target).exists()
    with Spool(spool_path(target), {"kind": "another"}, resume=True):
        pass
    assert encode(grays, target, options=InputOptions(threshold=3)).frames == 3


def test_an_interrupted_job_for_fewer_frames(tmp_path: Path) -> None:
    """The frames that are kept are those of the shorter job, too."""
    target, whole = tmp_path / "out.asvp", tmp_path / "whole.asvp"

    def stop(progress: EncodeProgress) -> None:
        if progress.stage == "encoding" and progress.done >= 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as interrupted:
        encode(MASKS, target, progress=stop)
    (note,) = interrupted.value.__notes__
    assert note.endswith(f"frames are kept in {str(spool_path(target))!r}; run it again to go on from there")
    report = encode(MASKS, target, options=InputOptions(frames=40))
    assert (report.frames, report.resumed_from) == (40, 40)
    encode(MASKS[:40], whole)
    assert target.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tolerance": -1}, "tolerance: expected 0..64"),
        ({"tolerance": float("nan")}, "tolerance: expected 0..64"),
        ({"min_iou": 0.2}, "min_iou: expected 0.5..1, found 0.2"),
        ({"min_iou": 0.9, "tolerance": 1.0}, "min_iou: expected no tolerance beside it"),
        ({"min_iou": 0.9, "min_area": 20}, "min_iou: expected no min_area beside it"),
        ({"min_area": -1}, "min_area: expected 0"),
        ({"effort": 4}, "effort: expected 1, 2 or 3, found 4"),
        ({"jobs": 0}, r"jobs: expected 1\.\.256 threads, found 0"),
        ({"verify": "some"}, "verify: expected True, 'exact', 'sample', 'none' or False, found 'some'"),
    ],
)
def test_arguments_outside_their_range(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        encode(MASKS[:3], tmp_path / "out.asvp", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_no_frames(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected"):
        encode(MASKS[:0], tmp_path / "out.asvp")
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="spool"):
        encode(MASKS[:3], tmp_path / "no" / "out.asvp")


def test_two_jobs_for_one_target(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    target = tmp_path / "out.asvp"
    begun, go_on = threading.Event(), threading.Event()

    def wait(progress: EncodeProgress) -> None:
        begun.set()
        go_on.wait(60)

    thread = threading.Thread(target=lambda: encode(MASKS, target, progress=wait))
    thread.start()
    begun.wait(60)
    go_on.set()
    thread.join(60)
    assert target.exists()
    job = {"kind": "test"}
    with (
        Spool(spool_path(target), job, resume=True),
        pytest.raises(TransportError, match="another process is writing to the same target"),
    ):
        Spool(spool_path(target), job, resume=True)


def test_the_frames_of_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sixteenth is read back and compared."""
    read: list[int] = []
    right = AlphaStream.read_batch

    def read_batch(self: AlphaStream, indices: Iterable[int]) -> list[FrameGeometry]:
        read.extend(indices)
        return right(self, indices)

    monkeypatch.setattr(AlphaStream, "read_batch", read_batch)
    masks = [MASKS[k % len(MASKS)] for k in range(300)]
    done: list[int] = []

    def tell(progress: EncodeProgress) -> None:
        if progress.stage == "verifying":
            done.append(progress.done)

    assert encode(masks, tmp_path / "out.asvp", verify="sample", progress=tell).verified == 19
    assert sorted(read) == list(range(0, 300, 16))
    assert done == sorted(done)
    assert done[-1] == 300
    read.clear()
    assert encode(masks[:40], tmp_path / "out.asvp").verified == 40
    assert sorted(read) == list(range(40))


# Spools.


def test_a_spool_that_was_cut_at_any_byte(tmp_path: Path) -> None:
    """Every prefix of the file gives a prefix of the frames, and new frames are added after it."""
    path, job = tmp_path / "spool", {"kind": "test"}
    frames = [EncodedFrame(bytes([k]) * (5 + k), bytes([k] * 16), bytes([k + 1] * 16), 10, k, 0, 0.5) for k in range(4)]
    with Spool(path, job, resume=True) as spool:
        spool.add(frames[:1])
        spool.add(frames[1:])
        spool.add([])
    whole = path.read_bytes()
    head = whole.index(b"\n") + 1
    n_seen = set()
    for cut in range(head, len(whole) + 1):
        path.write_bytes(whole[:cut])
        with Spool(path, job, resume=True) as spool:
            n = len(spool)
            n_seen.add(n)
            assert list(spool) == frames[:n]
            spool.add(frames[3:])
            assert list(spool) == [*frames[:n], frames[3]]
    assert n_seen == {0, 1, 2, 3, 4}
    for place in range(head, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        with Spool(path, job, resume=True) as spool:
            assert list(spool) == frames[: len(spool)]
            assert len(spool) < 4


@pytest.mark.parametrize("content", [b"", b"{}", b"nonsense\n", b"\0" * 1000, b"[1]\n", b"x" * 100_000])
def test_a_file_that_is_no_spool(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "spool"
    path.write_bytes(content)
    if content:
        with pytest.raises(DecodeError, match="it is of (no job of this package|another job)"):
            Spool(path, {"kind": "test"}, resume=True)
    with Spool(path, {"kind": "test"}, resume=False) as spool:
        assert len(spool) == 0


# Optimizing.


@pytest.mark.slow
def test_optimizing_the_sample(tmp_path: Path) -> None:
    """No pixel changes, and no frame becomes larger."""
    target = tmp_path / "small.asvp"
    report = optimize(SAMPLE, target, effort=1)
    assert report.frames == report.verified == 120
    assert report.bytes == target.stat().st_size < report.bytes_before == SAMPLE.stat().st_size  # type: ignore[operator]
    with alphastream_gpu.open(target) as stream:
        for old, new in zip(sample_geometries(), stream.read_frames(), strict=True):
            assert (rasterize(old) == rasterize(new)).all()


@pytest.mark.slow
def test_optimizing_never_makes_a_frame_larger(tmp_path: Path) -> None:
    """Also frames that an encoder could not have made: points outside the window, repeated points, tiny blocks."""
    rng = np.random.default_rng(5)
    payloads = [
        payload_of([((int(rng.integers(0, 90)), 5), [tuple(map(int, one)) for one in rng.integers(-60, 60, (n, 2))])])
        for n in range(40)
    ]
    old = tmp_path / "old.asvp"
    old.write_bytes(asvp_of([block_of(payload) for payload in payloads]))
    config = Config(native_size=SIZE)
    for effort in (1, 3):
        report = optimize(old, tmp_path / "new.asvp", config=config, effort=effort)
        assert report.verified == 40
        assert report.bytes <= report.bytes_before  # type: ignore[operator]
    before, after = masks_of(old), masks_of(tmp_path / "new.asvp")
    assert all((one == other).all() for one, other in zip(before, after, strict=True))


@pytest.mark.slow
def test_optimizing_an_asvr(tmp_path: Path, passphrase: bytes) -> None:
    key = AsvrKey(passphrase, scene_id=7)
    encode(MASKS[:20], tmp_path / "a.asvr", key=key, effort=1)
    config = Config(native_size=SIZE)
    optimize(tmp_path / "a.asvr", tmp_path / "b.asvr", key=key, target_key=key, config=config)
    optimize(tmp_path / "b.asvr", tmp_path / "c.asvp", key=key, config=config)
    for name, given in (("b.asvr", key), ("c.asvp", None)):
        assert [(mask != 0).tolist() for mask in masks_of(tmp_path / name, given)] == MASKS[:20].tolist()
