"""
The command line: what it prints, where, and with which exit code.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click.testing
import moderngl
import numpy as np
import pytest
from badserver import Server, status
from PIL import Image
from support import GOLDEN, ROOT, SAMPLE, SQUARE, asvp_of, block_of, golden_frames, sha256

import alphastream_gpu
from alphastream_gpu import AsvrKey, GLUnavailableError, _cli
from alphastream_gpu._gl import choice, compute


def run(*arguments: object, env: dict[str, str] | None = None) -> click.testing.Result:
    """In this process; an escaping exception is a failure."""
    done = click.testing.CliRunner().invoke(_cli.cli, [str(argument) for argument in arguments], env=env)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_info() -> None:
    done = run("info", SAMPLE)
    assert done.exit_code == 0
    assert "ASVP" in done.stdout
    assert "2048 x 1024" in done.stdout


def test_info_as_json() -> None:
    facts = json.loads(run("info", SAMPLE, "--json", "--fps", "60000/1001").stdout)
    assert facts["frame_count"] == 120
    assert facts["fps"] == "60000/1001"
    assert facts["duration"] == pytest.approx(2.002)
    assert facts["source_bytes"] == SAMPLE.stat().st_size


@pytest.mark.parametrize("backend", ["cpu", "gl", "auto"])
@pytest.mark.parametrize(("size", "golden"), [(None, "sha256"), ("512x256", "sha256_512x256")])
def test_render(ctx: moderngl.Context, tmp_path: Path, backend: str, size: str | None, golden: str) -> None:
    sized = [] if size is None else ["--size", size]
    done = run("render", SAMPLE, "--frame", 60, *sized, "--backend", backend, "-o", tmp_path / "mask.png")
    ctx.__enter__()
    assert done.exit_code == 0, done.stderr
    assert ("CPU" in done.stdout) == (backend == "cpu")
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.mode == "L"
        assert sha256(np.asarray(picture)) == golden_frames()[60][golden]


def test_over_http(ctx: moderngl.Context, tmp_path: Path) -> None:
    with Server(SAMPLE.read_bytes()) as server:
        url = server.url("/person_sbs.asvp?sig=hidden")
        assert json.loads(run("info", url, "--json").stdout)["frame_count"] == 120
        done = run("render", url, "--frame", 7, "-o", tmp_path / "mask.png")
        assert done.exit_code == 0, done.stderr
        with Image.open(tmp_path / "mask.png") as picture:
            assert sha256(np.asarray(picture)) == golden_frames()[7]["sha256"]
        assert run("verify", url).exit_code == 0
        ctx.__enter__()
        server.script = lambda request: status(404)
        done = run("info", url)
        assert done.exit_code == 3
        assert "404; no such file" in done.stderr
        assert "hidden" not in done.stderr


@pytest.fixture
def no_gl(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise GLUnavailableError("no driver here\non two lines; on Debian: apt-get install libegl1")

    monkeypatch.setattr(_cli, "create_headless_context", refuse)


@pytest.mark.usefixtures("no_gl")
def test_render_without_gl(tmp_path: Path) -> None:
    done = run("render", SAMPLE, "--frame", 0, "-o", tmp_path / "mask.png")
    assert done.exit_code == 0
    assert done.stderr.count("\n") == 1
    assert "rendering on the CPU: no driver here on two lines" in done.stderr
    done = run("render", SAMPLE, "--frame", 0, "--backend", "gl", "-o", tmp_path / "other.png")
    assert done.exit_code == 3
    assert "apt-get install" in done.stderr
    assert not (tmp_path / "other.png").exists()
    assert run("verify", SAMPLE).exit_code == 3


def test_verify(ctx: moderngl.Context) -> None:
    done = run("verify", SAMPLE)
    ctx.__enter__()
    assert done.exit_code == 0
    assert re.match(r"120 frames: GPU equals CPU, bit for bit, by (compute and )?triangles \(", done.stdout)
    assert "verify" in done.stderr


def test_verify_by_one_method(ctx: moderngl.Context) -> None:
    """Never by an upload, which would compare the CPU with itself."""
    done = run("verify", SAMPLE, "--method", "triangles")
    assert done.exit_code == 0
    assert "bit for bit, by triangles (" in done.stdout
    assert run("verify", SAMPLE, "--method", "upload").exit_code == 2
    ctx.__enter__()


def test_verify_without_the_method(ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "missing", lambda gl: "compute shaders need OpenGL 4.3, found 3.3")
    done = run("verify", SAMPLE)
    assert done.exit_code == 0
    assert done.stderr.startswith("alphastream: without compute: compute shaders need OpenGL 4.3, found 3.3\n")
    assert "bit for bit, by triangles (" in done.stdout
    done = run("verify", SAMPLE, "--method", "compute")
    assert (done.exit_code, done.stderr) == (3, "alphastream: compute shaders need OpenGL 4.3, found 3.3\n")
    ctx.__enter__()


def test_verify_on_a_driver_that_fails_the_self_check(ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "count_wrong_pixels", lambda render: 3)
    done = run("verify", SAMPLE)
    assert done.exit_code == 1
    assert "gets the self-check wrong by compute and triangles" in done.stderr
    ctx.__enter__()


def test_verify_stops_at_the_first_difference(ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _cli.rasterize
    calls = []

    def wrong(geometry: alphastream_gpu.FrameGeometry, **options: tuple[int, int]) -> np.ndarray:
        mask = real(geometry, **options)
        calls.append(geometry)
        if len(calls) == 6:
            mask[100, 100] ^= 255
        return mask

    monkeypatch.setattr(_cli, "rasterize", wrong)
    done = run("verify", SAMPLE, "--method", "triangles")
    ctx.__enter__()
    assert done.exit_code == 1
    assert "frame 5: 1 pixels differ between GPU and CPU, by triangles" in done.stderr
    assert len(calls) == 6


def test_convert_there_and_back(tmp_path: Path, passphrase: bytes) -> None:
    env = {"ALPHASTREAM_PASSPHRASE": passphrase.hex()}
    done = run("convert", SAMPLE, tmp_path / "a.asvr", "--scene-id", 7, env=env)
    assert done.exit_code == 0, done.stderr
    assert "120 frames" in done.stdout
    assert "convert" in done.stderr
    done = run("convert", tmp_path / "a.asvr", tmp_path / "b.asvp", "--scene-id", 7, env=env)
    assert done.exit_code == 0, done.stderr
    n_block_bytes = json.loads(run("info", SAMPLE, "--json").stdout)["block_bytes"]
    assert (tmp_path / "b.asvp").read_bytes()[-n_block_bytes:] == SAMPLE.read_bytes()[-n_block_bytes:]
    done = run("info", tmp_path / "a.asvr", "--scene-id", 7, "--json", env=env)
    assert json.loads(done.stdout)["container"] == "ASVR"
    done = run("info", tmp_path / "a.asvr", "--scene-id", 8, env=env)
    assert done.exit_code == 3
    assert done.stderr.startswith("alphastream: sizes table: does not open with this key")
    assert passphrase.hex() not in done.stderr
    done = run("info", tmp_path / "a.asvr", "--scene-id", 7, env={"ALPHASTREAM_PASSPHRASE": ""})
    assert done.exit_code == 3
    assert "none is built in" in done.stderr


def test_convert_under_another_name(tmp_path: Path, passphrase: bytes) -> None:
    env = {"ALPHASTREAM_PASSPHRASE": passphrase.hex()}
    done = run("convert", SAMPLE, tmp_path / "a.asvr", "--scene-id", 7, "--target-name", "b.asvr", env=env)
    assert done.exit_code == 0, done.stderr
    key = AsvrKey(passphrase, scene_id=7, resource_name="b.asvr")
    with alphastream_gpu.open(tmp_path / "a.asvr", key=key) as stream:
        assert stream.metadata.frame_count == 120


def test_a_failed_conversion_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.asvp").write_bytes(asvp_of([block_of(SQUARE), b"junk"]))
    done = run("convert", tmp_path / "bad.asvp", tmp_path / "out.asvp")
    assert done.exit_code == 3
    assert "frame 1" in done.stderr
    assert os.listdir(tmp_path) == ["bad.asvp"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["info", "no/such.asvp"], 3, "opening 'no/such.asvp': "),
        (["info", GOLDEN], 3, "expected the magic"),
        (["render", SAMPLE, "--frame", "120", "-o", "x.png"], 3, "expected 0..119"),
        (["render", SAMPLE, "--frame", "-1", "-o", "x.png"], 2, "-1 is not in the range"),
        (["render", SAMPLE, "--frame", "1", "--size", "5", "-o", "x.png"], 2, "expected WIDTHxHEIGHT"),
        (["render", SAMPLE, "--frame", "1", "--size", "0x5", "-o", "x.png"], 2, "edges of 1..16384"),
        (
            ["render", SAMPLE, "--frame", "1", "--backend", "cpu", "-o", "no/such/x.png"],
            3,
            "writing 'no/such/x.png': No such",
        ),
        (["info", SAMPLE, "--fps", "1/0"], 2, "expected a rate"),
        (["info", SAMPLE, "--fps", "5000"], 2, "fps: expected 1..1000"),
        (["info", SAMPLE, "--scene-id", "4"], 2, "--scene-id is for .asvr files"),
        (["info", "x.asvr"], 2, "an .asvr file needs --scene-id"),
        (["convert", SAMPLE, "x.txt"], 2, "ending in .asvp or .asvr"),
        (["info", "ftp://host/x.asvp"], 2, "scheme 'ftp'"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_mistakes(arguments: list[object], code: int, message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == code
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_the_module_and_its_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "alphastream_gpu", "--version"], capture_output=True, text=True, check=True
    )
    assert alphastream_gpu.__version__ in done.stdout


def test_without_its_packages_the_cli_says_how_to_get_them() -> None:
    """By their own names: what is on no index yet cannot be installed by the package's."""
    script = "import sys; sys.modules['click'] = None; from alphastream_gpu.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    packages = " ".join(f"'{one}'" for one in sorted(extras["cli"]))
    assert done.stderr.strip() == (f"alphastream: the command line needs click; run: python -m pip install {packages}")


# Outputs that cannot be written.

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")


def run_process(*arguments: object, **streams: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "alphastream_gpu", *map(str, arguments)]
    return subprocess.run(command, text=True, check=False, **{"stderr": subprocess.PIPE, **streams})


@needs_full
@pytest.mark.parametrize("command", [["info", SAMPLE], ["info", SAMPLE, "--json"], ["--help"], ["doctor"]])
def test_standard_output_that_is_full(command: list[object]) -> None:
    with open(FULL, "w") as full:
        done = run_process(*command, stdout=full)
    assert (done.returncode, done.stderr) == (3, "alphastream: cannot write: No space left on device\n")


@needs_full
def test_standard_error_that_is_full() -> None:
    with open(FULL, "w") as full:
        assert run_process("info", "none.asvp", stdout=subprocess.PIPE, stderr=full).returncode == 3
        assert run_process("info", SAMPLE, stdout=subprocess.PIPE, stderr=full).returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="its pipes fail otherwise")
def test_a_reader_that_has_seen_enough() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "w") as broken:
        done = run_process("info", SAMPLE, stdout=broken)
    assert (done.returncode, done.stderr) == (3, "")


def test_standard_output_that_is_closed() -> None:
    script = f"exec {shlex.quote(sys.executable)} -m alphastream_gpu info {shlex.quote(str(SAMPLE))} >&-"
    done = subprocess.run(["/bin/sh", "-c", script], stderr=subprocess.PIPE, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 3)


def test_a_picture_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stood there stays; nothing is left beside it."""

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    output = tmp_path / "mask.png"
    command = ["render", SAMPLE, "--frame", 0, "--backend", "cpu", "-o", output]
    done = run(*command)
    assert (done.exit_code, done.stderr) == (3, f"alphastream: writing {str(output)!r}: No space left on device\n")
    assert os.listdir(tmp_path) == []
    output.write_bytes(b"before")
    assert run(*command).exit_code == 3
    assert output.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["mask.png"]


@needs_full
def test_a_picture_to_a_device() -> None:
    """It is written to, not replaced."""
    done = run("render", SAMPLE, "--frame", 0, "--backend", "cpu", "-o", FULL)
    assert (done.exit_code, done.stderr) == (3, "alphastream: writing '/dev/full': No space left on device\n")
    assert FULL.is_char_device()
    assert run("render", SAMPLE, "--frame", 0, "--backend", "cpu", "-o", os.devnull).exit_code == 0


def test_a_picture_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "mask.png")
    assert run("render", SAMPLE, "--frame", 0, "--backend", "cpu", "-o", tmp_path / "link.png").exit_code == 0
    assert (tmp_path / "link.png").is_symlink()
    with Image.open(tmp_path / "mask.png") as picture:
        assert sha256(np.asarray(picture)) == golden_frames()[0]["sha256"]
