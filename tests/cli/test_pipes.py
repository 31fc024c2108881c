"""
Inputs and outputs that are no regular files: named pipes, the files that a shell opened, devices, and URLs.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from badserver import Server, whole_file
from PIL import Image
from support import SAMPLE, golden_frames, sha256
from test_cli import blocks_of, run

from alphastream_gpu import AsvrKey, TransportError, _cli
from alphastream_gpu import open as open_stream
from alphastream_gpu._cli.pipes import input_of

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
RENDER = ("--frame", 3, "--backend", "cpu")


def shell(script: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script in which `alphastream` is the command and `$sample` the sample."""
    command = f'alphastream() {{ {shlex.quote(sys.executable)} -m alphastream_gpu "$@"; }}\n{script}'
    environment = {**os.environ, "sample": str(SAMPLE), **variables}
    return subprocess.run(["bash", "-c", command], capture_output=True, check=False, timeout=60, env=environment)


def during(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe.asvp")
    return tmp_path / "pipe.asvp"


def test_a_named_pipe_is_read_into_memory(fifo: Path) -> None:
    during(lambda: fifo.write_bytes(SAMPLE.read_bytes()))
    done = run("info", fifo, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["source_bytes"] == SAMPLE.stat().st_size


def test_a_named_pipe_has_a_limit(fifo: Path) -> None:
    during(lambda: fifo.write_bytes(b"123456"))
    with pytest.raises(TransportError, match=r"pipe.asvp': expected at most 5 bytes, found more; save them to a file"):
        input_of(str(fifo), 5)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="the system has no /dev/fd")
@pytest.mark.parametrize(
    "script",
    [
        'cat "$sample" | alphastream info /dev/stdin --json',
        'alphastream info /dev/stdin --json < "$sample"',
        'alphastream info <(cat "$sample") --json',
        'cat "$sample" | alphastream info /dev/fd/0 --json',
        'alphastream convert "$sample" /dev/stdout | alphastream info - --json',
        'alphastream convert "$sample" /dev/fd/1 | alphastream info - --json',
        'alphastream convert "$sample" >(alphastream info - --json) > /dev/null; wait $!',
    ],
)
def test_files_that_a_shell_opened(script: str) -> None:
    done = shell(script)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frame_count"] == 120


@pytest.mark.slow
def test_a_picture_to_standard_output_by_its_path() -> None:
    """The answer line does not get into the picture."""
    done = shell('alphastream render "$sample" --frame 3 --backend cpu -o /dev/stdout | cat')
    with Image.open(BytesIO(done.stdout)) as picture:
        assert sha256(np.asarray(picture)) == golden_frames()[3]["sha256"]
    assert done.stdout.endswith(b"IEND\xaeB`\x82")
    assert done.stderr.startswith(b"standard output: frame 3")


@pytest.mark.slow
def test_an_open_file_without_a_name_needs_one(tmp_path: Path, passphrase: bytes) -> None:
    variables = {"ALPHASTREAM_PASSPHRASE": passphrase.hex()}
    assert run("convert", SAMPLE, tmp_path / "a.asvr", "--scene-id", 7, env=variables).exit_code == 0
    variables["file"] = str(tmp_path / "a.asvr")
    done = shell('alphastream info <(cat "$file") --scene-id 7', **variables)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.endswith(b"Error: an encrypted stream without a name needs --resource-name\n")
    done = shell('alphastream info /dev/stdin --scene-id 7 < "$file"', **variables)
    assert done.stderr.endswith(b"Error: an encrypted stream on standard input needs --resource-name\n")
    done = shell('alphastream info <(cat "$file") --scene-id 7 --resource-name a.asvr --json', **variables)
    assert json.loads(done.stdout)["container"] == "ASVR"


@pytest.mark.parametrize("command", [("render", *RENDER, "-o"), ("convert",)])
def test_a_named_pipe_is_written_to_and_not_replaced(fifo: Path, command: tuple[object, ...]) -> None:
    received: list[bytes] = []
    reading = during(lambda: received.append(fifo.read_bytes()))
    done = run(command[0], SAMPLE, *command[1:], fifo)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"{fifo}: ")
    reading.join(30)
    assert fifo.is_fifo()
    assert os.listdir(fifo.parent) == ["pipe.asvp"]
    if command[0] == "convert":
        assert blocks_of(received[0]) == blocks_of(SAMPLE.read_bytes())
    else:
        assert received[0].startswith(b"\x89PNG")


def test_an_encrypted_stream_to_a_named_pipe_has_its_name(tmp_path: Path, passphrase: bytes) -> None:
    os.mkfifo(tmp_path / "b.asvr")
    reading = during(lambda: (tmp_path / "copy").write_bytes((tmp_path / "b.asvr").read_bytes()))
    env = {"ALPHASTREAM_PASSPHRASE": passphrase.hex()}
    assert run("convert", SAMPLE, tmp_path / "b.asvr", "--scene-id", 7, env=env).exit_code == 0
    reading.join(30)
    with open_stream(tmp_path / "copy", key=AsvrKey(passphrase, scene_id=7, resource_name="b.asvr")) as stream:
        assert stream.metadata.frame_count == 120


def test_a_failed_conversion_to_a_named_pipe_writes_nothing(fifo: Path) -> None:
    """Its reader is not even opened: the pipe is opened when everything is ready."""
    done = run("convert", "none.asvp", fifo)
    assert done.exit_code == 3
    assert fifo.is_fifo()


@pytest.mark.parametrize(
    "url",
    ["http://me:secret@h/out.asvp?sig=secret", "HTTPS://h/out?sig=secret", "s3://me:secret@b/x", "file:///secret"],
)
@pytest.mark.parametrize(
    "command",
    [("convert", SAMPLE), ("render", SAMPLE, *RENDER, "-o"), ("build-capi", "-o"), ("build-capi", "--output")],
)
def test_an_output_is_no_url(command: tuple[object, ...], url: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*command, url)
    assert done.exit_code == 2
    assert "found a URL" in done.stderr
    assert "secret" not in done.output
    assert os.listdir(tmp_path) == []


def test_an_output_that_may_be_a_url_without_its_scheme(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("convert", SAMPLE, "h/out?sig=secret")
    assert done.exit_code == 2
    assert "secret" not in done.output


def test_the_c_library_has_no_place_in_a_pipe(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("build-capi", "-o", "-")
    assert done.exit_code == 2
    assert "expected a folder, found -, which is standard output" in " ".join(done.stderr.split())
    assert os.listdir(tmp_path) == []


def test_messages_name_no_options_of_python(tmp_path: Path) -> None:
    """The errors of servers, URLs and limits, as users of the command line see them."""
    os.mkfifo(tmp_path / "pipe")
    with Server(SAMPLE.read_bytes(), lambda request: whole_file) as server:
        url = server.url()
        commands = {
            "Invalid value for '--header': header 1: Range cannot be set": ("info", url, "--header", "Range: x"),
            "input: expected a path or a file:": ("info", "ftp://host/x"),
            "so give the pipe by its path, not by a URL": ("info", (tmp_path / "pipe").as_uri()),
            "expected a regular file, found a directory\n": ("info", tmp_path),
        }
        for message, command in commands.items():
            done = run(*command)
            assert message in done.stderr, done.stderr
            assert done.exit_code in (2, 3)
    with Server(SAMPLE.read_bytes(), lambda request: whole_file) as server:
        config = _cli.options.Config(http_whole_file_cap=100)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_cli.options.StreamOptions, "config", config)
            done = run("info", server.url())
    assert done.exit_code == 3
    assert done.stderr.endswith("accepted up to 100 bytes by this command; download the file and give its path\n")
