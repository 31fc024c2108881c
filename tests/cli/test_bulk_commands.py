"""
The commands over many files: statistics, iou, verify-all, encode-all, export-all and merge.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import pytest
from inputfiles import SIZE, moving_masks
from test_encode_commands import run
from test_mask_array import CONFIG, DATA, N, small_stream

import alphastream_gpu
from alphastream_gpu import AsvrKey, AsvrWriter, bulk

NATIVE = ("--native-size", "24x16")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with two streams."""
    (tmp_path / "a.asvp").write_bytes(DATA)
    (tmp_path / "b.asvp").write_bytes(small_stream(seed=7))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def done(*arguments: object, **options: Any) -> click.testing.Result:
    result = run(*arguments, **options)
    assert result.exit_code == 0, result.stderr
    return result


def test_statistics_in_lines_and_files(folder: Path) -> None:
    lines = done("statistics", "a.asvp", "b.asvp", *NATIVE).stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"a.asvp: {N} frames; area ")
    table = bulk.statistics(["a.asvp", "b.asvp"], config=CONFIG)
    assert done("statistics", "a.asvp", "b.asvp", *NATIVE, "--json").stdout == table.to_json() + "\n"
    for form, content in (("json", table.to_json() + "\n"), ("csv", table.to_csv())):
        told = done("statistics", "a.asvp", "b.asvp", *NATIVE, "-o", f"out.{form}")
        assert told.stdout == f"out.{form}: {2 * N} rows\n"
        assert (folder / f"out.{form}").read_text() == content
    assert done("statistics", "a.asvp", "--field", "bytes", "--frames", "2:4", "--json").stdout.count('"area"') == 0
    piped = run("statistics", "-", *NATIVE, "--json")
    assert piped.exit_code == 3


def test_machines_that_split_by_ranges(folder: Path) -> None:
    """Each has its range, and merge gives the bytes of one run."""
    for place, frames in enumerate(("0:4", "4:7", "7:")):
        text = done("statistics", "a.asvp", "b.asvp", *NATIVE, "--frames", frames, "--json").stdout
        (folder / f"{place}.json").write_text(text)
    done("statistics", "a.asvp", "b.asvp", *NATIVE, "-o", "whole.csv")
    done("merge", "0.json", "1.json", "2.json", "-o", "merged.csv")
    assert (folder / "merged.csv").read_bytes() == (folder / "whole.csv").read_bytes()
    missing = run("merge", "0.json", "2.json", "-o", "partial.csv")
    assert missing.exit_code == 3
    assert missing.stderr == "alphastream: missing: frames 4..6 of a.asvp; frames 4..6 of b.asvp\n"
    assert not (folder / "partial.csv").exists()
    assert run("merge", "0.json", "2.json", "-o", "partial.csv", "--partial").exit_code == 3
    assert len((folder / "partial.csv").read_text().splitlines()) == 1 + 2 * (N - 3)
    assert done("merge", "2.json", "1.json", "0.json").stdout == f"a.asvp: {N} rows\nb.asvp: {N} rows\n"


def test_parts_of_a_folder_are_merged(folder: Path) -> None:
    done("statistics", "a.asvp", *NATIVE, "--resume", "parts", "-o", "whole.json")
    done("merge", *(folder / "parts").iterdir(), "-o", "merged.json")
    assert (folder / "merged.json").read_bytes() == (folder / "whole.json").read_bytes()


def test_what_fails_is_named_and_not_written(folder: Path) -> None:
    for more in ((), ("--partial",)):
        result = run("statistics", "a.asvp", "missing.asvp", *NATIVE, "-o", "out.csv", *more)
        assert result.exit_code == 3
        assert len(result.stderr.splitlines()) == 2  # and the bar
        assert "1 not computed, the others are done: missing.asvp: " in result.stderr
        assert (folder / "out.csv").exists() == bool(more)
    assert len((folder / "out.csv").read_text().splitlines()) == 1 + N


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("statistics",), "Missing argument"),
        (("statistics", "a.asvp", "--frames", "7:3"), "no end before the start, found 7:3"),
        (("statistics", "a.asvp", "-o", "a.txt"), "expected a name that ends in .csv, .json, .parquet, found 'a.txt'"),
        (("statistics", "a.asvr"), "an encrypted stream needs --scene-id"),
        (("iou", "a.asvp"), "expected pairs of files, found 1 files"),
        (("encode-all", "https://host/a.mp4?secret", "--folder", "out"), "found a https: URL"),
        (("merge", "a.json", "-o", "https://host/a.csv?secret"), "a https: URL"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str, folder: Path) -> None:
    (folder / "a.json").write_text(bulk.statistics("a.asvp", config=CONFIG).to_json())
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert "secret" not in result.stderr


def test_an_encrypted_stream(folder: Path, passphrase: bytes) -> None:
    with AsvrWriter("c.asvr", key=AsvrKey(passphrase, scene_id=7)) as writer, alphastream_gpu.open("a.asvp") as stream:
        for geometry in stream.read_frames():
            writer.add_frame(geometry)
    environment = {"ALPHASTREAM_PASSPHRASE": passphrase.hex()}
    options = (*NATIVE, "--json", "--resume", "parts")
    found = json.loads(done("statistics", "c.asvr", "--scene-id", 7, *options, env=environment).stdout)
    plain = json.loads(done("statistics", "a.asvp", *options).stdout)
    assert found["parts"][0]["columns"]["area"] == plain["parts"][0]["columns"]["area"]
    (folder / "c.asvr").rename("c.bin")
    unnamed = run("statistics", "c.bin", *options)
    assert unnamed.exit_code == 3
    assert "which needs --scene-id" in unnamed.stderr


def test_iou(folder: Path) -> None:
    lines = done("iou", "a.asvp", "b.asvp", "a.asvp", "a.asvp", *NATIVE).stdout.splitlines()
    assert lines[0].startswith(f"a.asvp and b.asvp: {N} frames; IoU ")
    assert lines[0].endswith("is the worst")
    assert lines[1] == f"a.asvp and a.asvp: {N} frames; IoU 1.0000 at least, 1.0000 on average; 0 pixels differ"
    done("iou", "a.asvp", "a.asvp", *NATIVE, "--min-iou", 1)
    assert run("iou", "a.asvp", "b.asvp", *NATIVE, "--min-iou", 0.9).exit_code == 1


def test_verify_all(monkeypatch: pytest.MonkeyPatch) -> None:
    told = done("verify-all", "a.asvp", *NATIVE, "--method", "numpy")
    assert told.stdout == f"a.asvp: {N} frames, numpy differs from numpy in 0 of them\n"
    from alphastream_gpu._bulk import tasks

    real = tasks.packed_by

    def broken(maker: str, native_size: tuple[int, int]) -> Any:
        made = real("numpy", native_size)
        n_calls = iter(range(100))
        return made if maker == "numpy" else lambda geometry: made(geometry) ^ np.uint8(next(n_calls) == 3)

    monkeypatch.setattr(tasks, "packed_by", broken)
    result = run("verify-all", "a.asvp", *NATIVE)
    assert result.exit_code == 1
    assert result.stdout == f"a.asvp: {N} frames, compiled differs from numpy in 1 of them; frame 3 is the first\n"


def test_encode_all_and_export_all(folder: Path) -> None:
    np.save(folder / "m.npy", moving_masks(3))
    coding = ("--effort", 1, "--min-iou", 1, "--no-stable", "--verify", "sample", "--jobs", 2)
    told = done("encode-all", "m.npy", "--folder", "out", *coding, "--resume", "parts").stdout
    n_bytes = (folder / "out" / "m.asvp").stat().st_size
    assert told == f"{folder / 'out' / 'm.asvp'}: 3 frames, {n_bytes:,} bytes\n"
    assert len(bulk.statistics("out/m.asvp", config=alphastream_gpu.Config(native_size=SIZE))) == 3

    told = done("export-all", "a.asvp", *NATIVE, "--folder", "out", "--suffix", ".npy").stdout
    n_bytes = (folder / "out" / "a.npy").stat().st_size
    assert told == f"{folder / 'out' / 'a.npy'}: {n_bytes:,} bytes\n"
    assert np.load("out/a.npy").shape == (N, 16, 24)
    part = ("--suffix", "-part.npy", "--packed", "--start", 1, "--frames", 2, "--size", "16x8")
    done("export-all", "a.asvp", *NATIVE, "--folder", "out", *part)
    assert np.load("out/a-part.npy").shape == (2, 8, 2)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_content_of_a_pipe(folder: Path) -> None:
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    for arguments, code in (
        (("statistics", pipe), 0),
        (("iou", pipe, "a.asvp"), 0),
        (("statistics", pipe, "--scheduler", "local"), 2),
    ):
        writer = threading.Thread(target=pipe.write_bytes, args=(DATA,))
        writer.start()
        result = run(*arguments, *NATIVE, "--json")
        writer.join()
        assert result.exit_code == code
        if code == 0:
            areas = json.loads(result.stdout)["parts"][0]["columns"]["area"]
            assert areas == bulk.statistics(DATA, config=CONFIG)["area"].tolist()
    assert "a pipe cannot be sent to other processes; save it to a file" in " ".join(result.stderr.split())
