"""
The commands that make and compare streams: encode, optimize, compare; their options, answers and exit codes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import numpy.typing as npt
import pytest
from inputfiles import SIZE, gray_of, moving_masks, write_video
from PIL import Image
from support import SAMPLE, sample_geometries

import alphastream_gpu
from alphastream_gpu import AsvrKey, Config, InputOptions, _cli, encode, rasterize

Masks = npt.NDArray[np.bool_]

MASKS: Masks = moving_masks(40)
PROGRAM = (sys.executable, "-m", "alphastream_gpu")


def run(*arguments: object, env: dict[str, str] | None = None) -> click.testing.Result:
    """Run a command in this process. An uncaught exception fails the test."""
    done = click.testing.CliRunner().invoke(_cli.cli, [str(argument) for argument in arguments], env=env)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def report_of(*arguments: object, env: dict[str, str] | None = None) -> Any:
    """Run a command that succeeds, and return its JSON."""
    done = run(*arguments, "--json", env=env)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def masks_in(path: Path, size: tuple[int, int] = SIZE, key: AsvrKey | None = None) -> Masks:
    with alphastream_gpu.open(path, key=key, config=Config(native_size=size)) as stream:
        masks = [rasterize(geometry, native_size=size) != 0 for geometry in stream.read_frames()]
    return np.array(masks).reshape(-1, size[1], size[0])


@pytest.fixture
def npy(tmp_path: Path) -> Path:
    """Forty masks of 64 x 48."""
    np.save(tmp_path / "masks.npy", MASKS)
    return tmp_path / "masks.npy"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.asvp"


# Inputs.


def test_a_video(tmp_path: Path, out: Path) -> None:
    video = write_video(tmp_path / "matte.mov", gray_of(MASKS), codec="png", form="gray")
    done = run("encode", video, "-o", out)
    assert done.exit_code == 0, done.stderr
    assert (masks_in(out) == MASKS).all()
    lines = done.stdout.splitlines()
    assert lines[0].startswith("matte.mov, png gray, 40 frames at 25 a second; channel luma, range 0..255")
    size = f"{out.stat().st_size:,}"
    assert re.fullmatch(rf"\S+: 40 frames of 64 x 48, 25 frames/s, {size} bytes, \d+ a frame, in \d+\.\d s", lines[1])
    assert lines[2:] == ["exact: no pixel differs", "verified: 40 frames read back"]
    assert report_of("encode", video, "-o", out)["source_times"] == [k / 25 for k in range(40)]
    assert report_of("encode", *(video, "-o", out), "--start", 5, "--frames", 2)["source_times"] == [5 / 25, 6 / 25]
    for stage in ("compile (the first time only)", "encode", "write", "verify"):
        assert re.search(rf"{re.escape(stage)}\s.*\b(40/40|1/1)\s", done.stderr), stage


def test_a_folder_of_pictures(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for k, picture in enumerate(gray_of(MASKS[:12])):
        Image.fromarray(picture).save(folder / f"f{k}.png")
    for source in ((folder,), (folder / "*.png",), (folder / "f%d.png",), sorted(folder.glob("*.png"))):
        report = report_of("encode", *source, "-o", out, "--fps", "60000/1001")
        assert (report["frames"], report["fps"]) == (12, "60000/1001")
        assert (masks_in(out) == MASKS[:12]).all()
    (folder / "f5.png").unlink()
    done = run("encode", folder, "-o", out)
    assert done.exit_code == 2
    assert "1 numbers are missing between 0 and 11: 5. Pass --gaps repeat" in done.stderr
    report = report_of("encode", folder, "-o", out, "--gaps", "empty")
    assert report["notes"] == ["frames: 1 numbers are missing; they are empty"]
    assert not masks_in(out)[5].any()


def test_coco(tmp_path: Path, out: Path) -> None:
    """Two objects of two categories in each of three images."""
    boxes = [[[4, 4, 20, 10]], [[30, 20, 8, 8]]]
    annotations = [
        {
            "id": 1 + image * 2 + which,
            "image_id": image,
            "category_id": 1 + which,
            "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h] for x, y, w, h in boxes[which]],
        }
        for image in range(3)
        for which in range(2)
    ]
    content = {
        "images": [{"id": k, "file_name": f"{k}.png", "width": SIZE[0], "height": SIZE[1]} for k in range(3)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    source = tmp_path / "coco.json"
    assert report_of("encode", source, "-o", out)["frames"] == 3
    both = masks_in(out)
    report_of("encode", source, "-o", out, "--objects", "person")
    person = masks_in(out)
    report_of("encode", source, "-o", out, "--objects", "category:2")
    dog = masks_in(out)
    report_of("encode", source, "-o", out, "--objects", "1", "--objects", "4")
    by_number = masks_in(out)
    assert person.any(axis=(1, 2)).all()
    assert dog.any(axis=(1, 2)).all()
    assert not (person & dog).any()
    assert ((person | dog) == both).all()
    assert (by_number[0] == person[0]).all()
    assert (by_number[1] == dog[1]).all()
    done = run("encode", source, "-o", out, "--objects", "cat")
    assert done.exit_code != 0
    assert "--objects: 'cat' is not in coco.json" in " ".join(done.stderr.split())


# Options.


@pytest.mark.slow
def test_options_of_the_input(npy: Path, out: Path, tmp_path: Path) -> None:
    soft = tmp_path / "soft.npy"
    np.save(soft, np.where(MASKS, 0.6, 0.3))
    report_of("encode", soft, "-o", out, "--threshold", "0.5")
    assert (masks_in(out) == MASKS).all()
    report_of("encode", soft, "-o", out, "--threshold", "0.7", "--invert")
    assert masks_in(out).all()
    assert report_of("encode", npy, "-o", out, "--start", "7", "--frames", "3")["frames"] == 3
    assert (masks_in(out) == MASKS[7:10]).all()
    report_of("encode", npy, "-o", out, "--eye", "left", "--frames", "2")
    assert (masks_in(out, (32, 48)) == MASKS[:2, :, :32]).all()
    report_of("encode", npy, "-o", out, "--eye", "mono-to-both", "--frames", "2")
    assert (masks_in(out, (128, 48)) == np.concatenate((MASKS[:2], MASKS[:2]), axis=2)).all()
    report = report_of("encode", npy, "-o", out, "--native-size", "80x60", "--fit", "pad", "--frames", "2")
    assert report["native_size"] == [80, 60]
    assert (masks_in(out, (80, 60))[:, 6:54, 8:72] == MASKS[:2]).all()
    report_of("encode", npy, "-o", out, "--native-size", "128x96", "--fit", "stretch", "--frames", "2")
    assert masks_in(out, (128, 96)).mean() == pytest.approx(MASKS[:2].mean(), rel=0.05)


def test_options_of_a_video(tmp_path: Path, out: Path) -> None:
    """A matte of 16 and 235, which the file does not say; 118 lies between the halves of both ranges."""
    pictures = gray_of(MASKS[:10], 16, 235)
    pictures[0][0, 0] = 122
    video = write_video(tmp_path / "matte.mkv", pictures, codec="ffv1", form="gray")
    for given, is_set in (("limited", False), ("full", False)):
        report = report_of("encode", video, "-o", out, "--range", given)
        assert bool(masks_in(out)[0, 0, 0]) == is_set
        assert {"limited": "range 16..235", "full": "range 0..255"}[given] in report["about"]
    report_of("encode", video, "-o", out, "--threshold", "121.5")
    assert masks_in(out)[0, 0, 0]
    report = report_of("encode", video, "-o", out, "--fps", "50")
    assert (report["frames"], report["fps"]) == (20, "50")
    assert (masks_in(out)[::2] == masks_in(out)[1::2]).all()
    colour = [np.stack((np.full_like(one, 200), one, np.zeros_like(one)), axis=2) for one in gray_of(MASKS[:3])]
    rgb = write_video(tmp_path / "rgb.mov", colour, codec="png", form="rgb24", given="rgb24")
    report_of("encode", rgb, "-o", out, "--channel", "green")
    assert (masks_in(out) == MASKS[:3]).all()
    beside = [np.concatenate((np.full_like(one, 90), one), axis=1) for one in gray_of(MASKS[:3])]
    wide = write_video(tmp_path / "wide.mov", beside, codec="png", form="gray")
    report_of("encode", wide, "-o", out, "--layout", "alpha-right")
    assert (masks_in(out) == MASKS[:3]).all()


@pytest.mark.slow
def test_options_of_the_encoder(tmp_path: Path, out: Path) -> None:
    rng = np.random.default_rng(4)
    noisy = MASKS ^ (rng.random(MASKS.shape) < 0.01)
    source = tmp_path / "noisy.npy"
    np.save(source, noisy)
    exact = report_of("encode", source, "-o", out, "--jobs", "2")
    assert (exact["differing_pixels"], exact["verified"], exact["resumed_from"]) == (0, 40, 0)
    lossy = report_of("encode", source, "-o", out, "--tolerance", "1", "--no-stable", "--verify", "sample")
    assert lossy["bytes"] < exact["bytes"]
    assert lossy["verified"] == 3
    assert 0 < lossy["max_distance"] <= 2
    clean = report_of("encode", source, "-o", out, "--min-area", "9", "--effort", "1", "--verify", "none")
    assert clean["bytes"] < exact["bytes"]
    assert clean["verified"] == 0
    best = report_of("encode", source, "-o", out, "--effort", "3")
    assert best["bytes"] <= exact["bytes"]
    close = report_of("encode", source, "-o", out, "--min-iou", "0.97", "--stable")
    assert 0.97 <= close["min_iou"] < 1
    done = run("encode", source, "-o", out, "--tolerance", "1")
    assert re.search(r"[\d,]+ pixels differ: IoU 0\.\d{4} at least, 0\.\d{4} on average, at most \d", done.stdout)


@pytest.mark.slow
def test_an_asvr(npy: Path, tmp_path: Path, passphrase: bytes) -> None:
    env = {"ALPHASTREAM_PASSPHRASE": passphrase.hex()}
    report = report_of("encode", npy, "-o", tmp_path / "a.asvr", "--scene-id", 7, env=env)
    assert report["verified"] == 40
    assert (masks_in(tmp_path / "a.asvr", key=AsvrKey(passphrase, scene_id=7)) == MASKS).all()
    renamed = ("--scene-id", 7, "--stream-version", "2.0.0", "--target-name", "b.asvr")
    report_of("encode", npy, "-o", tmp_path / "c.asvr", *renamed, env=env)
    key = AsvrKey(passphrase, scene_id=7, version="2.0.0", resource_name="b.asvr")
    assert (masks_in(tmp_path / "c.asvr", key=key) == MASKS).all()
    target, to_read = tmp_path / "d.asvr", ("--native-size", "64x48", "--scene-id", 7)
    report_of("optimize", tmp_path / "a.asvr", "-o", target, *to_read, env=env)
    assert (masks_in(target, key=AsvrKey(passphrase, scene_id=7)) == MASKS).all()
    assert run("compare", npy, target, "--scene-id", 7, "--max-distance", 0, env=env).exit_code == 0
    for variables, message in (
        ({"ALPHASTREAM_PASSPHRASE": ""}, "set ALPHASTREAM_PASSPHRASE"),
        (env, "needs --scene-id"),
    ):
        given = () if variables is env else ("--scene-id", 7)
        done = run("encode", npy, "-o", tmp_path / "e.asvr", *given, env=variables)
        assert done.exit_code == 2
        assert message in done.stderr
        assert passphrase.hex() not in done.output


def test_a_dry_run(npy: Path, tmp_path: Path, out: Path) -> None:
    done = run("encode", npy, "-o", out, "--dry-run", "--tolerance", "8")
    assert done.exit_code == 0, done.stderr
    assert sorted(tmp_path.iterdir()) == [npy, tmp_path / "out.asvp.png"]
    assert re.search(r"^30 frames: \d+ bytes a frame; about [\d,]+ bytes for 40 frames$", done.stdout, re.MULTILINE)
    assert re.search(r"^\d+ frames a second on one thread; IoU 0\.\d+ at least$", done.stdout, re.MULTILINE)
    assert f"contact sheet: {out}.png\n" in done.stdout
    with Image.open(tmp_path / "out.asvp.png") as sheet:
        assert sheet.width == 6 * (64 + 8) + 8
        assert sheet.height == 5 * (48 + 16 + 8) + 8
    whole = report_of("encode", npy, "-o", out)
    trial = report_of("encode", npy, "-o", out, "--dry-run", "--frames", "100")
    assert trial["total_frames"] == 40
    assert trial["total_bytes"] == pytest.approx(whole["bytes"], rel=0.1)
    assert (masks_in(out) == MASKS).all()


def test_noise_is_reported_with_advice(tmp_path: Path, out: Path) -> None:
    noise = np.random.default_rng(1).random((2, 128, 128)) < 0.5
    np.save(tmp_path / "noise.npy", noise)
    for more in ((), ("--dry-run",)):
        done = run("encode", tmp_path / "noise.npy", "-o", out, *more)
        assert done.exit_code == 0
        assert "2 of 2 frames take more bytes than a PNG (0, 1): noise and texture do not fit polygons" in done.stdout
        assert "--min-area" in done.stdout


# Interruptions.


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_an_interrupted_run_goes_on(how: str, tmp_path: Path) -> None:
    """The result has the same bytes as in one go, and the spool is gone."""
    if sys.platform == "win32":
        pytest.skip("Windows has no such signals")
    masks = np.random.default_rng(3).random((240, 96, 96)) < 0.1
    np.save(tmp_path / "masks.npy", masks)
    source, target, spool = tmp_path / "masks.npy", tmp_path / "out.asvp", tmp_path / ".out.asvp.spool"
    command = ("encode", str(source), "-o", str(target), "--jobs", "1", "--tolerance", "0.5", "--no-stable")
    with subprocess.Popen([*PROGRAM, *command], stderr=subprocess.PIPE, text=True) as program:
        until = time.monotonic() + 120
        while time.monotonic() < until and not (spool.exists() and spool.stat().st_size > 50_000):
            time.sleep(0.01)
        program.send_signal(getattr(signal, how))
        _, errors = program.communicate(timeout=60)
    assert not target.exists()
    if how == "SIGINT":
        assert program.returncode == 130
        last = errors.splitlines()[-1]
        assert re.fullmatch(
            r"alphastream: interrupted; \d+ frames are kept in '.+'; run it again to go on from there", last
        )
    report = report_of(*command)
    assert 0 < report["resumed_from"] < 240
    whole = report_of("encode", source, "-o", tmp_path / "whole.asvp", *command[4:], "--no-resume")
    assert whole["resumed_from"] == 0
    assert target.read_bytes() == (tmp_path / "whole.asvp").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["masks.npy", "out.asvp", "whole.asvp"]


def test_a_damaged_video(tmp_path: Path, out: Path) -> None:
    """The frames before the damage are kept, and can be written alone."""
    video = write_video(tmp_path / "matte.mov", gray_of(MASKS), codec="png", form="gray")
    content = bytearray(video.read_bytes())
    starts = [one.start() for one in re.finditer(rb"\x89PNG", bytes(content))]
    content[starts[20] + 40 : starts[21]] = bytes(starts[21] - starts[20] - 40)
    video.write_bytes(content)
    done = run("encode", video, "-o", out, "--jobs", 1)
    assert done.exit_code == 3
    error = done.stderr.splitlines()[-1]
    found = re.fullmatch(
        r"alphastream: matte\.mov: .* at frame (\d+) of 40; .*; (\d+) frames are kept in '.+'; .*", error
    )
    assert found, error
    assert found[1] == found[2]
    n_good = int(found[1])
    assert 16 < n_good <= 20
    assert not out.exists()
    report = report_of("encode", video, "-o", out, "--frames", n_good)
    assert (report["frames"], report["resumed_from"]) == (n_good, n_good)
    assert (masks_in(out) == MASKS[:n_good]).all()
    assert sorted(os.listdir(tmp_path)) == ["matte.mov", "out.asvp"]


def test_a_spool_of_another_job(tmp_path: Path, out: Path) -> None:
    video = write_video(tmp_path / "matte.mkv", gray_of(MASKS), codec="ffv1", form="gray")
    content = video.read_bytes()
    video.write_bytes(content[: len(content) // 2])
    assert run("encode", video, "-o", out, "--jobs", 1).exit_code == 3
    done = run("encode", video, "-o", out, "--min-area", 3)
    assert done.exit_code == 3
    assert done.stderr.splitlines()[-1].endswith(
        "another job, with other min_area; finish that job, or pass --no-resume to begin anew".replace(
            "min_area", "--min-area"
        )
    )
    video.write_bytes(content)
    assert report_of("encode", video, "-o", out, "--min-area", 3, "--no-resume")["frames"] == 40


# optimize.


def test_optimize(npy: Path, tmp_path: Path, out: Path) -> None:
    old = tmp_path / "old.asvp"
    with alphastream_gpu.AsvpWriter(old) as writer:
        for geometry in sample_geometries()[:6]:
            writer.add_frame(geometry)
    report = report_of("optimize", old, "-o", out, "--effort", 1, "--jobs", 1, "--verify", "sample")
    assert (report["frames"], report["verified"], report["bytes_before"]) == (6, 1, old.stat().st_size)
    assert report["bytes"] == out.stat().st_size < old.stat().st_size
    assert (masks_in(out, (2048, 1024)) == masks_in(old, (2048, 1024))).all()
    done = run("optimize", old, "-o", out, "--effort", 1, "--no-resume")
    assert re.search(r"^\d\.\d% smaller than before$", done.stdout, re.MULTILINE)
    assert done.exit_code == 0
    before = old.read_bytes()
    assert run("optimize", old, "-o", old, "--effort", 1).exit_code == 0
    assert old.read_bytes() == out.read_bytes() != before


# compare.


def test_compare_equal(npy: Path, out: Path) -> None:
    encode(npy, out)
    done = run("compare", npy, out, "--max-distance", 0, "--min-iou", 1)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "40 frames of 64 x 48 compared\nequal: no pixel differs\n"
    facts = report_of("compare", npy, out)
    assert facts["is_equal"]
    assert len(facts["frames"]) == 40


def test_compare_beyond_the_limits(npy: Path, tmp_path: Path, out: Path) -> None:
    other = MASKS.copy()
    other[3, 30:40, 40:50] ^= True
    other[5, 9, 9] ^= True
    encode(other, out)
    picture = tmp_path / "worst.png"
    for limit, code in (
        (("--max-distance", 3), 1),
        (("--max-distance", 40), 0),
        (("--min-iou", 0.9), 1),
        (("--min-iou", 0.5), 0),
        ((), 0),
    ):
        assert run("compare", npy, out, *limit).exit_code == code, limit
    done = run("compare", npy, out, "--picture", picture, "--worst", 2, "--min-iou", 0.9)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[1].startswith("IoU 0.")
    assert "101 pixels differ" in lines[1]
    assert [line.split()[0] for line in lines[2:]] == ["frame", "3", "5"]
    with Image.open(picture) as image:
        assert image.size == (3 * (64 + 8) + 8, 2 * (48 + 16 + 8) + 8)
    facts = report_of("compare", npy, out)
    assert facts["differing_pixels"] == 101
    assert [frame["index"] for frame in facts["frames"] if frame["differing_pixels"]] == [3, 5]


def test_compare_different_numbers_of_frames(npy: Path, out: Path) -> None:
    encode(npy, out, options=InputOptions(frames=30))
    done = run("compare", npy, out)
    assert done.exit_code == 0
    assert "A has 40 frames, B has 30" in done.stdout
    assert run("compare", npy, out, "--min-iou", 0).exit_code == 1


# Wrong usage, and errors.


def one_line(done: click.testing.Result) -> str:
    """The error, without click's usage and without bars."""
    usage = re.search(r"^Error: (.*)", done.stderr, re.MULTILINE | re.DOTALL)
    if usage:
        return " ".join(usage[1].split())
    lines = [line for line in done.stderr.splitlines() if line.startswith("alphastream: ")]
    assert len(lines) == 1
    assert lines[0] == done.stderr.splitlines()[-1]
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["encode", "masks.npy"], 2, "Missing option '-o'"),
        (["encode", "-o", "x.asvp"], 2, "Missing argument 'INPUT...'"),
        (["encode", "masks.npy", "-o", "https://host/x.asvp"], 2, "OUT: expected a path, found a https: URL"),
        (["encode", "masks.npy", "-o", "x.mp4"], 2, "OUT: expected a name ending in .asvp or .asvr"),
        (["encode", "masks.npy", "-o", "x.asvr"], 2, "an .asvr output needs --scene-id"),
        (["encode", "https://host/x.mp4", "-o", "x.asvp"], 2, "found a https: URL; download it first"),
        (["encode", SAMPLE, "-o", "x.asvp"], 2, "expected masks, found a stream; see optimize and convert"),
        (["encode", "masks.npy", "-o", "x.asvp", "--threshold", "nan"], 2, "--threshold: expected a finite number"),
        (["encode", "masks.npy", "-o", "x.asvp", "--tolerance", "65"], 2, "65.0 is not in the range"),
        (
            ["encode", "masks.npy", "-o", "x.asvp", "--tolerance", "nan"],
            2,
            "--tolerance: expected 0..64 pixels, found nan",
        ),
        (
            ["encode", "masks.npy", "-o", "x.asvp", "--tolerance", "1", "--min-iou", "0.9"],
            2,
            "--min-iou: expected no tolerance beside it",
        ),
        (["encode", "masks.npy", "-o", "x.asvp", "--effort", "4"], 2, "4 is not in the range 1<=x<=3"),
        (["encode", "masks.npy", "-o", "x.asvp", "--jobs", "0"], 2, "0 is not in the range"),
        (["encode", "masks.npy", "-o", "x.asvp", "--start", "40"], 2, "--start: expected 0..39 in masks.npy, found 40"),
        (["encode", "masks.npy", "-o", "x.asvp", "--native-size", "5"], 2, "expected WIDTHxHEIGHT"),
        (
            ["encode", "masks.npy", "-o", "x.asvp", "--native-size", "9x9"],
            2,
            "Pass --fit stretch or 'pad', or leave --native-size out",
        ),
        (["encode", "floats.npy", "-o", "x.asvp"], 2, "--threshold: an array of float64 needs one"),
        (["encode", "no.mp4", "-o", "x.asvp"], 3, "no.mp4: no such file"),
        (["encode", "text.mp4", "-o", "x.asvp"], 3, "text.mp4: "),
        (["encode", "masks.npy", "-o", "no/x.asvp"], 3, "No such file or directory"),
        (["encode", "masks.npy", "-o", "no/x.asvp", "--dry-run"], 3, "writing 'no/x.asvp.png': No such file"),
        (["optimize", SAMPLE, "-o", "https://host/x.asvp"], 2, "OUT: expected a path, found a https: URL"),
        (["optimize", "no.asvp", "-o", "x.asvp"], 3, "opening 'no.asvp': No such file"),
        (["optimize", "masks.npy", "-o", "x.asvp"], 3, "not an alpha stream"),
        (["compare", "masks.npy"], 2, "Missing argument 'B'"),
        (["compare", "masks.npy", "no.asvp"], 3, "opening 'no.asvp': No such file"),
        (
            ["compare", "masks.npy", "floats.npy", "--threshold", "0"],
            2,
            "found 64 x 48 and 8 x 8; give the native size",
        ),
        (["compare", "masks.npy", "masks.npy", "--min-iou", "nan"], 2, "'--min-iou': expected a number, found nan"),
        (["compare", "masks.npy", "masks.npy", "--picture", "no/x.png"], 3, "writing 'no/x.png': No such file"),
        (["compare", "masks.npy", "masks.npy", "--picture", "http://h/x.png"], 2, "--picture: expected a path"),
    ],
)
def test_errors(
    arguments: list[object], code: int, message: str, npy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("floats.npy", np.zeros((2, 8, 8)))
    Path("text.mp4").write_text("this is no video")
    there = sorted(os.listdir())
    done = run(*arguments)
    assert done.exit_code == code, done.stderr
    assert message in one_line(done)
    assert "Traceback" not in done.output
    assert sorted(os.listdir()) == there


def test_help_lists_the_commands() -> None:
    done = run("--help")
    for name, text in (
        ("encode", "Encode masks to a stream."),
        ("optimize", "Encode the frames of a stream anew, in fewer bytes."),
        ("compare", "Compare the masks of A and B."),
    ):
        assert re.search(rf"^  {name} +{re.escape(text)}$", done.stdout, re.MULTILINE)
        assert run(name, "--help").exit_code == 0
