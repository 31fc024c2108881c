"""
alphastream download: whole or not at all, resumed, and verified.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import pytest
from badserver import Request, Server, close_within_the_body, never, status, well
from support import SAMPLE, SQUARE, asvp_of, block_of, wait_until

from alphastream_gpu import AsvrKey, AsvrWriter, _cli

LONG = asvp_of([block_of(SQUARE)] * 40_000) + b"padding"
"""With some bytes after the last frame."""


def run(*arguments: object, env: dict[str, str] | None = None) -> click.testing.Result:
    done = click.testing.CliRunner().invoke(_cli.cli, ["download", *map(str, arguments)], env=env)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def failing_after(n_requests: int) -> Callable[[Request], Any]:
    return lambda request: close_within_the_body if request.number >= n_requests else None


@pytest.mark.slow
@pytest.mark.parametrize("data", [SAMPLE.read_bytes(), LONG, asvp_of([])], ids=["sample", "long", "empty"])
@pytest.mark.parametrize("options", [[], ["--no-verify"]])
def test_a_download(tmp_path: Path, data: bytes, options: list[str]) -> None:
    with Server(data) as server:
        done = run(server.url(), "-o", tmp_path / "a.asvp", *options)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "a.asvp").read_bytes() == data
    assert f"{len(data):,} bytes" in done.stdout
    assert ("frames" in done.stdout) == (not options)
    assert os.listdir(tmp_path) == ["a.asvp"]


@pytest.mark.slow
def test_progress_is_shown(tmp_path: Path) -> None:
    with Server(LONG) as server:
        done = run(server.url(), "-o", tmp_path / "a.asvp")
    assert f"{len(LONG)}/{len(LONG)}" in done.stderr


@pytest.mark.slow
def test_it_is_resumed(tmp_path: Path) -> None:
    target = tmp_path / "a.asvp"
    target.write_bytes(b"before")
    with Server(LONG, failing_after(3)) as server:
        done = run(server.url("/person.asvp?token=secret"), "-o", target)
        assert done.exit_code == 3
        assert "secret" not in done.output
        assert target.read_bytes() == b"before"
        assert len(os.listdir(tmp_path)) == 2
        received = server.body_bytes
        server.script = lambda request: None
        server.body_bytes = 0
        done = run(server.url("/person.asvp?token=other"), "-o", target)
    assert done.exit_code == 0, done.output
    assert target.read_bytes() == LONG
    assert received > 200_000
    assert server.body_bytes < len(LONG) - received + 200_000
    assert "bytes were there" in done.stdout
    assert os.listdir(tmp_path) == ["a.asvp"]


@pytest.mark.slow
def test_another_version_starts_again(tmp_path: Path) -> None:
    other = asvp_of([block_of(SQUARE)] * 39_000)
    with Server(LONG, failing_after(3)) as server:
        assert run(server.url(), "-o", tmp_path / "a.asvp").exit_code == 3
        server.script, server.data, server.etag = lambda request: None, other, '"v2"'
        assert run(server.url(), "-o", tmp_path / "a.asvp").exit_code == 0
    assert (tmp_path / "a.asvp").read_bytes() == other


@pytest.mark.slow
def test_a_file_that_changes_during_the_download(tmp_path: Path) -> None:
    def change(request: Request) -> Any:
        server.etag = '"v2"' if request.number > 2 else '"v1"'
        return well

    with Server(LONG, change) as server:
        done = run(server.url(), "-o", tmp_path / "a.asvp")
    assert done.exit_code == 3
    assert "the file changed while open" in done.stderr
    assert not (tmp_path / "a.asvp").exists()


@pytest.mark.slow
@pytest.mark.parametrize("end", [len(LONG) - 1, 1])
def test_a_damaged_partial_download(tmp_path: Path, end: int) -> None:
    with Server(LONG, failing_after(3)) as server:
        run(server.url(), "-o", tmp_path / "a.asvp")
        (part,) = tmp_path.iterdir()
        damaged = bytearray(part.read_bytes())
        damaged[100::5000] = bytes(len(damaged[100::5000]))
        part.write_bytes(damaged[:end])
        server.script = lambda request: None
        assert run(server.url(), "-o", tmp_path / "a.asvp").exit_code == 0
    assert (tmp_path / "a.asvp").read_bytes() == LONG


def test_every_frame_is_verified(tmp_path: Path) -> None:
    blocks = [block_of(SQUARE)] * 900
    blocks[777] = block_of(SQUARE)[:-3] + b"bad"
    with Server(asvp_of(blocks)) as server:
        done = run(server.url(), "-o", tmp_path / "a.asvp")
        assert done.exit_code == 3
        assert "frame 777" in done.stderr
        assert not (tmp_path / "a.asvp").exists()
        assert run(server.url(), "-o", tmp_path / "a.asvp", "--no-verify").exit_code == 0


@pytest.mark.slow
def test_bytes_that_were_damaged_on_their_way_are_fetched_again(tmp_path: Path) -> None:
    """The server says that the file is the same. What was received must not be taken from the disk again."""
    at = len(LONG) - 1000
    damaged = LONG[:at] + bytes(byte ^ 1 for byte in LONG[at:])
    with Server(damaged) as server:
        assert run(server.url(), "-o", tmp_path / "a.asvp").exit_code == 3
        assert os.listdir(tmp_path) == []
        server.data = LONG
        assert run(server.url(), "-o", tmp_path / "a.asvp").exit_code == 0
    assert (tmp_path / "a.asvp").read_bytes() == LONG


def test_an_encrypted_stream_needs_its_key(tmp_path: Path, passphrase: bytes) -> None:
    path = tmp_path / "one.asvr"
    with AsvrWriter(path, key=AsvrKey(passphrase, scene_id=7)) as writer:
        writer.add_block(block_of(SQUARE))
    env = {"ALPHASTREAM_PASSPHRASE": passphrase.hex()}
    out = tmp_path / "out"
    out.mkdir()
    with Server(path.read_bytes()) as server:
        url = server.url("/one.asvr")
        assert run(url, "-o", out / "a", "--scene-id", 7, env=env).exit_code == 0
        assert run(url, "-o", out / "b", "--scene-id", 8, env=env).exit_code == 3
        done = run(url, "-o", out / "c")
        assert (done.exit_code, "an encrypted stream needs --scene-id" in done.stderr) == (2, True)
        assert run(url, "-o", out / "d", "--no-verify").exit_code == 0
    assert (out / "a").read_bytes() == (out / "d").read_bytes() == path.read_bytes()
    assert not (out / "b").exists()
    assert not (out / "c").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a.asvp", "-o", "b"], 2, "expected an http: or https: URL to download"),
        (["http://127.0.0.1:1/a", "-o", "-"], 2, "-o: expected a file"),
        (["http://127.0.0.1:1/a", "-o", "/dev/null"], 2, "-o: expected a file"),
        (["http://127.0.0.1:1/a", "-o", "missing/folder/b"], 3, "writing 'missing/folder/b'"),
        (["http://127.0.0.1:1/a"], 2, "Missing option"),
    ],
)
def test_invalid_usage(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.asvp").write_bytes(SAMPLE.read_bytes())
    done = run(*arguments)
    assert (done.exit_code, message in done.stderr) == (code, True), done.output
    assert os.listdir(tmp_path) == ["a.asvp"]


def test_a_page_and_a_missing_file(tmp_path: Path) -> None:
    with Server(LONG, lambda request: status(404)) as server:
        done = run(server.url(), "-o", tmp_path / "a.asvp")
    assert (done.exit_code, "404" in done.stderr, os.listdir(tmp_path)) == (3, True, [])


def test_headers(tmp_path: Path) -> None:
    with Server(SAMPLE.read_bytes()) as server:
        assert run(server.url(), "-o", tmp_path / "a", "--header", "X-Key: 1").exit_code == 0
        assert {request.headers.get("x-key") for request in server.requests} == {"1"}


@pytest.mark.slow
def test_a_server_without_a_validator(tmp_path: Path) -> None:
    """Nothing can be resumed, but the download works."""
    with Server(LONG, etag=None) as server:
        assert run(server.url(), "-o", tmp_path / "a.asvp").exit_code == 0
    assert (tmp_path / "a.asvp").read_bytes() == LONG
    assert os.listdir(tmp_path) == ["a.asvp"]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_process(tmp_path: Path, how: signal.Signals) -> None:
    target = tmp_path / "a.asvp"
    # The end of the file is not sent, so that the process is within the download however late the signal comes.
    with Server(LONG, lambda request: never if request.range[0] > 600_000 else None) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "alphastream_gpu", "download", server.url(), "-o", str(target)],
            stderr=subprocess.PIPE,
        )
        part = tmp_path / ".a.asvp.alphastream-part"
        wait_until(lambda: part.exists() and part.stat().st_size > 500_000)
        process.send_signal(how)
        _, said = process.communicate(timeout=30)
        assert process.returncode == (130 if how == signal.SIGINT else -9), said
        assert not target.exists()
        server.script, server.body_bytes = lambda request: None, 0
        assert run(server.url(), "-o", target).exit_code == 0
        assert server.body_bytes < len(LONG)
    assert target.read_bytes() == LONG
