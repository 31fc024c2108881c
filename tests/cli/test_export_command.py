"""
The command export: its options, answers and exit codes, pipes, and a run that was killed.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import pytest
from exported import MASKS, N_FRAMES, SIZE, back, stream_file
from inputfiles import write_video
from support import SAMPLE

from alphastream_gpu import _cli

NATIVE = ("--native-size", f"{SIZE[0]}x{SIZE[1]}")
GRAY = np.where(MASKS, 255, 0).astype(np.uint8)
PROGRAM = (sys.executable, "-m", "alphastream_gpu")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stream_file(tmp_path_factory.mktemp("stream") / "masks.asvp")


def run(*arguments: object) -> click.testing.Result:
    """Run the command in this process. An uncaught exception fails the test."""
    done = click.testing.CliRunner().invoke(_cli.cli, ["export", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def report_of(*arguments: object) -> Any:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_what_is_printed(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    done = run(source, "-o", target, *NATIVE, "--fps", "30")
    assert done.exit_code == 0, done.stderr
    line = done.stdout.splitlines()[0]
    size = f"{target.stat().st_size:,}"
    assert re.fullmatch(
        rf"\S+out.mkv: ffv1 video, 37 frames of 61 x 47 at 30 a second, {size} bytes, in \d+\.\d s", line
    )
    assert re.search(r"export\s.*37/37", done.stderr)
    assert re.search(r"join\s.*37/37", done.stderr)
    assert (back(target) == MASKS).all()


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("out.npy", ("--packed",), "npy"),
        ("out.npz", (), "npz"),
        ("out/%03d.png", ("--bits", "1"), "png"),
        ("out.zarr", (), "zarr"),
        ("out.json", (), "coco"),
        ("out.mp4", ("--codec", "h264", "--jobs", "1"), "video"),
    ],
)
def test_each_kind(source: Path, tmp_path: Path, name: str, options: tuple[str, ...], kind: str) -> None:
    report = report_of(source, "-o", tmp_path / name, *NATIVE, *options, "--start", "2", "--frames", "30")
    assert (report["kind"], report["frames"], report["is_lossless"]) == (kind, 30, True)
    how: dict[str, Any] = {"packed": True, "native_size": SIZE} if "--packed" in options else {}
    assert (back(tmp_path / name, **how) == MASKS[2:32]).all()


@pytest.mark.slow
def test_standard_output(source: Path) -> None:
    done = subprocess.run([*PROGRAM, "export", source, "-o", "-", *NATIVE], capture_output=True, check=True)
    assert done.stdout == GRAY.tobytes()
    assert b"standard output: raw gray pictures, 37 frames of 61 x 47" in done.stderr


@pytest.mark.slow
def test_a_pipe_whose_reader_is_gone() -> None:
    """As ``| head -c 1``: exit code 3 without a word."""
    with subprocess.Popen(
        [*PROGRAM, "export", SAMPLE, "-o", "-", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.read(1)
        child.stdout.close()
        assert child.wait(60) == 3
        assert b"Traceback" not in child.stderr.read()


@pytest.mark.slow
def test_standard_input(source: Path, tmp_path: Path) -> None:
    command = [*PROGRAM, "export", "-", "-o", tmp_path / "out.npy", *NATIVE]
    subprocess.run(command, input=source.read_bytes(), capture_output=True, check=True)
    assert (back(tmp_path / "out.npy") == MASKS).all()


def test_a_colour_video(source: Path, tmp_path: Path) -> None:
    gray = [np.full((48, 64), 90, np.uint8)] * 40
    video = write_video(tmp_path / "colours.mp4", gray, codec="libx264", form="yuv420p")
    target = tmp_path / "out.mov"
    done = run(source, "-o", target, "--video", video, *NATIVE, "--fps", "25")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert ": prores video, 37 frames of 64 x 48 at 25 a second, " in lines[0]
    assert lines[1] == "layout alpha; masks are at most 0.0000 s from their frames; lossless masks"
    assert lines[2] == (
        "colours.mp4: its last 3 frames are left out: the masks end after 1.480 s, the video after 1.560 s"
    )
    target = tmp_path / "x_FISHEYE190_alpha.mp4"
    layout = ("--layout", "fisheye-b", "--quality", "10")
    report = report_of(source, "-o", target, "--video", video, *NATIVE, "--fps", "25", *layout)
    assert (report["layout"], report["is_lossless"], report["drift"]) == ("fisheye-b", False, 0.0)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("-o", "out.jpg"), 2, "target: expected a name such as out.mkv"),
        (("-o", "https://host/a.mkv?token=1"), 2, "OUT: expected a path or -, found a URL (https:)"),
        (("-o", "out.mkv", "--start", "99"), 2, "--start: expected 0..36 in this stream, found 99"),
        (("-o", "out.npy", "--codec", "ffv1"), 2, "--codec: is for videos"),
        (("-o", "out.mkv", "--bits", "1"), 2, "--bits: is for PNG"),
        (("-o", "out.mov", "--layout", "alpha"), 2, "--layout: 'alpha' joins the mask with a colour video"),
        (("-o", "out.mov", "--video", "no.mp4"), 3, "no.mp4: No such file"),
        (("-o", "no/out.mkv"), 3, "No such file or directory"),
    ],
)
def test_errors(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Any, code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(source, *arguments, *NATIVE)
    assert done.exit_code == code
    assert message in " ".join(done.stderr.split())
    assert "token" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("name", ["out.mkv", "out.npy"])
def test_a_process_that_is_killed(tmp_path: Path, name: str, how: signal.Signals) -> None:
    """The same command goes on, with the same bytes. After Ctrl-C, one line says so."""
    target, whole = tmp_path / name, tmp_path / f"whole{Path(name).suffix}"
    command = [*PROGRAM, "export", SAMPLE, "-o", target, "--jobs", "1", "--json"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    journal = tmp_path / f".{name}.export"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 3):
        if child.poll() is not None:
            pytest.skip("the machine is so fast that the export was done before it could be killed")
        assert time.monotonic() < deadline
        time.sleep(0.001)
    child.send_signal(how)
    _, stderr = child.communicate(timeout=60)
    if child.returncode == 0:
        pytest.skip("the machine is so fast that the export was done before it could be killed")
    assert child.returncode == (130 if how == signal.SIGINT else -9)
    if how == signal.SIGINT:
        assert b"alphastream: interrupted; what was exported is kept; run it again to go on from there" in stderr
    assert not target.exists()
    report = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert report["resumed_from"] >= 16
    run(SAMPLE, "-o", whole)
    assert target.read_bytes() == whole.read_bytes()
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([target.name, whole.name])


def test_the_frames_of_the_stream() -> None:
    assert N_FRAMES == len(MASKS) == 37
