"""
The command line: its output, the stream that it goes to, and the exit codes.
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
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any
from unittest import mock

import click.testing
import moderngl
import numpy as np
import pytest
from badserver import Server, status
from PIL import Image
from support import GOLDEN, ROOT, SAMPLE, SQUARE, asvp_of, block_of, golden_frames, sha256

import alphastream_gpu
from alphastream_gpu import AsvrKey, GLUnavailableError, _cli
from alphastream_gpu._cli.pipes import input_of
from alphastream_gpu._gl import choice, compute


def run(*arguments: object, env: dict[str, str] | None = None) -> click.testing.Result:
    """Run a command in this process. An uncaught exception fails the test."""
    done = click.testing.CliRunner().invoke(_cli.cli, [str(argument) for argument in arguments], env=env)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_info() -> None:
    done = run("info", SAMPLE)
    assert done.exit_code == 0
    assert "ASVP" in done.stdout
    assert "2048 x 1024" in done.stdout


@pytest.mark.parametrize(
    ("n_frames", "fps", "shown"),
    [
        (0, "60", "0.000 s"),
        (1, "60", "0.017 s"),
        (120, "60", "2.0 s"),
        (3598, "60", "1 min 0.0 s"),
        (16_375, "60000/1001", "4 min 33.2 s"),
        (216_300, "60", "1 h 0 min 5.0 s"),
    ],
)
def test_a_readable_duration(tmp_path: Path, n_frames: int, fps: str, shown: str) -> None:
    path = tmp_path / "long.asvp"
    path.write_bytes(asvp_of([block_of(SQUARE)] * n_frames))
    line = next(line for line in run("info", path, "--fps", fps).stdout.splitlines() if "duration" in line)
    assert line.split() == ["duration", *shown.split()]
    assert isinstance(json.loads(run("info", path, "--json").stdout)["duration"], float)


def test_info_as_json() -> None:
    facts = json.loads(run("info", SAMPLE, "--json", "--fps", "60000/1001").stdout)
    assert facts["frame_count"] == 120
    assert facts["fps"] == "60000/1001"
    assert facts["duration"] == pytest.approx(2.002)
    assert facts["source_bytes"] == SAMPLE.stat().st_size


@pytest.mark.slow
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


def test_headers_reach_the_server(tmp_path: Path) -> None:
    given = ("--header", "Authorization: Bearer abc", "--header", "X-One:2")
    with Server(SAMPLE.read_bytes()) as server:
        url = server.url()
        commands = (("info", url), ("render", url, "--frame", 0, "--backend", "cpu", "-o", tmp_path / "mask.png"))
        for command in (*commands, ("convert", url, tmp_path / "copy.asvp")):
            server.requests.clear()
            done = run(*command, *given)
            assert done.exit_code == 0, done.stderr
            assert server.requests
            for request in server.requests:
                assert (request.headers["authorization"], request.headers["x-one"]) == ("Bearer abc", "2")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("Secret",), "header 1:"),
        (("A: 1", ": secret"), "header 2:"),
        (("A: secret\r\nHost: other",), "header 1:"),
        (("A: 1",), "--header is for http: and https: URLs"),
    ],
)
def test_headers_that_cannot_be_sent(given: tuple[str, ...], message: str) -> None:
    done = run("info", SAMPLE, *(word for text in given for word in ("--header", text)))
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert "ecret" not in done.stderr


@pytest.mark.slow
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

    for module in (_cli.render, _cli.verify):
        monkeypatch.setattr(module, "create_headless_context", refuse)


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


@pytest.mark.slow
def test_verify(ctx: moderngl.Context) -> None:
    done = run("verify", SAMPLE)
    ctx.__enter__()
    assert done.exit_code == 0
    assert re.match(r"120 frames: GPU equals CPU, bit for bit, by (compute and )?triangles \(", done.stdout)
    assert "verify" in done.stderr


@pytest.mark.slow
def test_verify_by_one_method(ctx: moderngl.Context) -> None:
    """verify never uses the upload, which would compare the CPU with itself."""
    done = run("verify", SAMPLE, "--method", "triangles")
    assert done.exit_code == 0
    assert "bit for bit, by triangles (" in done.stdout
    assert run("verify", SAMPLE, "--method", "upload").exit_code == 2
    ctx.__enter__()


@pytest.mark.slow
def test_verify_without_compute_shaders(ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "missing", lambda gl: "compute shaders need OpenGL 4.3, found 3.3")
    done = run("verify", SAMPLE)
    assert done.exit_code == 0
    assert done.stderr.startswith("alphastream: skipping compute: compute shaders need OpenGL 4.3, found 3.3\n")
    assert "bit for bit, by triangles (" in done.stdout
    done = run("verify", SAMPLE, "--method", "compute")
    assert (done.exit_code, done.stderr) == (3, "alphastream: compute shaders need OpenGL 4.3, found 3.3\n")
    ctx.__enter__()


def test_verify_on_a_driver_that_fails_the_self_check(ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "count_wrong_pixels", lambda render: 3)
    done = run("verify", SAMPLE)
    assert done.exit_code == 1
    assert "the self-check failed for every available method" in done.stderr
    ctx.__enter__()


def test_verify_stops_at_the_first_difference(ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _cli.verify.rasterize
    calls = []

    def wrong(geometry: alphastream_gpu.FrameGeometry, **options: tuple[int, int]) -> np.ndarray:
        mask = real(geometry, **options)
        calls.append(geometry)
        if len(calls) == 6:
            mask[100, 100] ^= 255
        return mask

    monkeypatch.setattr(_cli.verify, "rasterize", wrong)
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
    assert done.stderr.startswith("alphastream: sizes table: cannot be decrypted with this key")
    assert passphrase.hex() not in done.stderr
    for text, message in (("", "set ALPHASTREAM_PASSPHRASE"), ("abc", "ALPHASTREAM_PASSPHRASE: expected 64")):
        done = run("info", tmp_path / "a.asvr", "--scene-id", 7, env={"ALPHASTREAM_PASSPHRASE": text})
        assert done.exit_code == 2
        assert done.stderr.startswith("alphastream: ")
        assert message in done.stderr


def test_the_first_bytes_determine_the_format(tmp_path: Path, passphrase: bytes) -> None:
    """The file names do not."""
    env = {"ALPHASTREAM_PASSPHRASE": passphrase.hex()}
    assert run("convert", SAMPLE, tmp_path / "a.asvr", "--scene-id", 7, env=env).exit_code == 0
    unnamed = (tmp_path / "a.asvr").rename(tmp_path / "a")
    key = ["--scene-id", 7, "--resource-name", "a.asvr"]
    assert json.loads(run("info", unnamed, "--json", *key, env=env).stdout)["container"] == "ASVR"
    assert run("convert", unnamed, tmp_path / "b.asvp", *key, env=env).exit_code == 0
    plain = tmp_path / "plain.asvr"
    plain.write_bytes(SAMPLE.read_bytes())
    for options in ([], key):
        assert json.loads(run("info", plain, "--json", *options).stdout)["container"] == "ASVP"
    assert run("convert", plain, tmp_path / "c.asvp").exit_code == 0


def test_messages_name_options(tmp_path: Path, passphrase: bytes) -> None:
    """Messages do not name Python parameters."""
    env = {"ALPHASTREAM_PASSPHRASE": passphrase.hex()}
    path = tmp_path / "a.asvr"
    assert run("convert", SAMPLE, path, "--scene-id", 7, env=env).exit_code == 0
    done = run("info", path, "--scene-id", 8, env=env)
    assert done.exit_code == 3
    for part in (
        "--scene-id 8",
        "--stream-version 1.5.0",
        "--resource-name a.asvr",
        "ALPHASTREAM_PASSPHRASE (not shown)",
    ):
        assert part in done.stderr
    assert "=" not in done.stderr
    done = run("info", path)
    assert done.exit_code == 2
    assert done.stderr.endswith("Error: an encrypted stream needs --scene-id\n")
    done = run("info", path.rename(tmp_path / "a"))
    assert done.exit_code == 3
    assert done.stderr.endswith(
        "this is either an encrypted ASVR, which needs --scene-id, and its owner's passphrase in ALPHASTREAM_PASSPHRASE"
        " (64 hex digits), or not an alpha stream\n"
    )
    done = run("info", (tmp_path / "a").rename(tmp_path / "maß.asvr"), "--scene-id", 7, env=env)
    assert done.stderr.endswith("encrypted under as --resource-name\n")
    done = run("convert", SAMPLE, tmp_path / "maß2.asvr", "--scene-id", 7, env=env)
    assert done.stderr.endswith("encrypted under as --target-name\n")


def test_convert_under_another_name(tmp_path: Path, passphrase: bytes) -> None:
    env = {"ALPHASTREAM_PASSPHRASE": passphrase.hex()}
    done = run("convert", SAMPLE, tmp_path / "a.asvr", "--scene-id", 7, "--target-name", "b.asvr", env=env)
    assert done.exit_code == 0, done.stderr
    key = AsvrKey(passphrase, scene_id=7, resource_name="b.asvr")
    with alphastream_gpu.open(tmp_path / "a.asvr", key=key) as stream:
        assert stream.metadata.frame_count == 120


def test_a_failed_conversion_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "bad.asvp").write_bytes(asvp_of([block_of(SQUARE), b"junk"]))
    done = run("convert", tmp_path / "bad.asvp", tmp_path / "out.asvp")
    assert done.exit_code == 3
    assert "frame 1" in done.stderr
    assert os.listdir(tmp_path) == ["bad.asvp"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["info", "no/such.asvp"], 3, "opening 'no/such.asvp': "),
        (["info", GOLDEN], 3, "expected an alpha stream, found a JSON text"),
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
        (
            ["info", SAMPLE, "--fps", "5000"],
            2,
            "Invalid value for '--fps': rate: expected 1..1000 frames/s, found 5000",
        ),
        (["info", SAMPLE, "--resource-name", "maß"], 2, "expected ASCII"),
        (["info", SAMPLE, "--stream-version", "é"], 2, "expected ASCII"),
        (["convert", SAMPLE, "x.txt"], 2, "ending in .asvp or .asvr, or -"),
        (["convert", SAMPLE, "x.asvr"], 2, "an .asvr output needs --scene-id"),
        (["info", "ftp://host/x.asvp"], 2, "scheme 'ftp'"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_invalid_usage(arguments: list[object], code: int, message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == code
    assert message in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.slow
def test_the_module_and_its_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "alphastream_gpu", "--version"], capture_output=True, text=True, check=True
    )
    assert alphastream_gpu.__version__ in done.stdout


def test_without_its_packages_the_cli_names_the_command_to_install_them() -> None:
    """The command has the packages' own names: alphastream-gpu is on no index yet."""
    script = "import sys; sys.modules['click'] = None; from alphastream_gpu.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    packages = " ".join(f"'{one}'" for one in sorted(extras["cli"]))
    assert done.stderr.strip() == (f"alphastream: the command line needs click; run: python -m pip install {packages}")


# Outputs that cannot be written.

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")


def run_process(*arguments: object, **streams: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "alphastream_gpu", *map(str, arguments)]
    return subprocess.run(command, text=True, check=False, **{"stderr": subprocess.PIPE, **streams})


@pytest.mark.slow
@needs_full
@pytest.mark.parametrize("command", [["info", SAMPLE], ["info", SAMPLE, "--json"], ["--help"], ["doctor"]])
def test_a_full_standard_output(command: list[object]) -> None:
    with open(FULL, "w") as full:
        done = run_process(*command, stdout=full)
    assert (done.returncode, done.stderr) == (3, "alphastream: cannot write: No space left on device\n")


@pytest.mark.slow
@needs_full
def test_a_full_standard_error() -> None:
    with open(FULL, "w") as full:
        assert run_process("info", "none.asvp", stdout=subprocess.PIPE, stderr=full).returncode == 3
        assert run_process("info", SAMPLE, stdout=subprocess.PIPE, stderr=full).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="its pipes fail otherwise")
def test_a_closed_pipe_on_standard_output() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "w") as broken:
        done = run_process("info", SAMPLE, stdout=broken)
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.slow
def test_a_closed_standard_output() -> None:
    script = f"exec {shlex.quote(sys.executable)} -m alphastream_gpu info {shlex.quote(str(SAMPLE))} >&-"
    done = subprocess.run(["/bin/sh", "-c", script], stderr=subprocess.PIPE, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 3)


def test_a_picture_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The previous file stays, and no other file is left."""

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
    """A device is written to, not replaced."""
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


# Standard input and output.


def piped(*arguments: object, content: bytes = b"", **variables: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "alphastream_gpu", *map(str, arguments)]
    return subprocess.run(
        command, input=content, capture_output=True, check=False, env={**os.environ, **variables}, timeout=120
    )


def blocks_of(stream: bytes) -> bytes:
    """The blocks of a stream. Header and table may be compressed differently."""
    return stream[16 + int.from_bytes(stream[12:16], "little") :]


@pytest.mark.slow
def test_standard_input(ctx: moderngl.Context, tmp_path: Path) -> None:
    sample = SAMPLE.read_bytes()
    done = piped("info", "-", "--json", content=sample)
    assert json.loads(done.stdout)["source_bytes"] == len(sample)
    done = piped("verify", "-", "--method", "triangles", content=sample)
    assert done.returncode == 0, done.stderr
    done = piped("convert", "-", tmp_path / "out.asvp", content=sample)
    assert done.returncode == 0, done.stderr
    assert blocks_of((tmp_path / "out.asvp").read_bytes()) == blocks_of(sample)
    assert piped("info", "--", "-", content=sample).returncode == 0


@pytest.mark.slow
def test_standard_output(tmp_path: Path) -> None:
    done = piped("render", "-", "--frame", 3, "--backend", "cpu", "-o", "-", content=SAMPLE.read_bytes())
    assert done.returncode == 0
    with Image.open(BytesIO(done.stdout)) as picture:
        assert sha256(np.asarray(picture)) == golden_frames()[3]["sha256"]
    assert done.stderr.startswith(b"standard output: frame 3, 2048 x 1024, ")
    done = piped("convert", SAMPLE, "-")
    assert blocks_of(done.stdout) == blocks_of(SAMPLE.read_bytes())
    assert re.search(rb"^standard output: 120 frames, [\d,]+ bytes\n\Z", done.stderr, re.MULTILINE)


@pytest.mark.slow
def test_an_encrypted_stream_through_pipes(passphrase: bytes) -> None:
    variables = {"ALPHASTREAM_PASSPHRASE": passphrase.hex()}
    encrypted = piped("convert", SAMPLE, "-", "--target-name", "a.asvr", "--scene-id", 7, **variables)
    assert encrypted.returncode == 0, encrypted.stderr
    done = piped("convert", "-", "-", "--scene-id", 7, content=encrypted.stdout, **variables)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.endswith(b"Error: an encrypted stream on standard input needs --resource-name\n")
    key = ["--scene-id", 7, "--resource-name", "a.asvr"]
    done = piped("convert", "-", "-", *key, content=encrypted.stdout, **variables)
    assert blocks_of(done.stdout) == blocks_of(SAMPLE.read_bytes())


@pytest.mark.slow
def test_a_failed_conversion_writes_nothing_to_a_pipe() -> None:
    done = piped("convert", "-", "-", content=asvp_of([block_of(SQUARE), b"junk"]))
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"frame 1" in done.stderr


@pytest.mark.slow
def test_standard_input_without_a_stream() -> None:
    for content, message in ((b"", b"expected 16 bytes, found 0"), (b"x" * 99, b"not an alpha stream")):
        done = piped("info", "-", content=content)
        assert (done.returncode, done.stderr.count(b"\n")) == (3, 1)
        assert message in done.stderr
    script = f"exec {shlex.quote(sys.executable)} -m alphastream_gpu info - <"
    for stdin, expected in (("&-", "standard input: closed"), ("/dev/null", "found 0")):
        shell = ["/bin/sh", "-c", f"{script}{stdin}"]
        ended = subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
        assert (ended.returncode, ended.stderr.count("\n")) == (3, 1), ended.stderr
        assert expected in ended.stderr


def test_standard_input_is_limited() -> None:
    message = "at most 5 bytes, found more"
    with (
        mock.patch("sys.stdin", TextIOWrapper(BytesIO(b"123456"))),
        pytest.raises(alphastream_gpu.TransportError, match=message),
    ):
        input_of("-", 5)
    with mock.patch("sys.stdin", TextIOWrapper(BytesIO(b"12345"))):
        assert input_of("-", 5).is_standard


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="its pipes fail otherwise")
@pytest.mark.parametrize(
    "command",
    [
        ["convert", SAMPLE, "-"],
        ["render", SAMPLE, "--frame", 3, "-o", "-"],
        ["doctor"],
        ["--help"],
        ["info", SAMPLE, "--json"],
    ],
)
def test_a_command_whose_reader_is_gone(command: list[object]) -> None:
    """The command ends silently if the reader of its output is gone."""
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "wb") as broken:
        done = run_process(*command, *(["--backend", "cpu"] if "-o" in command else []), stdout=broken)
    assert done.returncode == 3
    assert "alphastream:" not in done.stderr
    assert "Error" not in done.stderr
    assert "standard output" not in done.stderr


@pytest.mark.slow
@needs_full
@pytest.mark.parametrize("command", [["convert", SAMPLE, "-"], ["render", SAMPLE, "--frame", 3, "-o", "-"]])
def test_binary_output_to_a_full_standard_output(command: list[object]) -> None:
    with open(FULL, "wb") as full:
        done = run_process(*command, *(["--backend", "cpu"] if "-o" in command else []), stdout=full)
    assert done.returncode == 3
    assert done.stderr.endswith("alphastream: cannot write: No space left on device\n")


def test_files_whose_names_start_with_a_dash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-", "--odd.asvp"):
        Path(name).write_bytes(SAMPLE.read_bytes())
    assert run("info", "./-").exit_code == 0
    assert run("info", "--", "--odd.asvp").exit_code == 0
    assert run("render", "./-", "--frame", 0, "--backend", "cpu", "-o", "./-").exit_code == 0
    with Image.open("-") as picture:
        assert picture.size == (2048, 1024)
