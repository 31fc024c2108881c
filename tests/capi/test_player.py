"""
The player behind a handle of libalphastream, without the library: options, keys, and messages for C hosts.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from badserver import Server, never, whole_file
from support import SAMPLE, SQUARE, asvp_of, block_of

from alphastream_gpu import AsvrKey, AsvrWriter, Config, ErrorCode, FrameGeometry, rasterize
from alphastream_gpu._capi.options import OPTION_NAMES, Options
from alphastream_gpu._capi.player import Player
from alphastream_gpu._stream import products

VARIABLE = "ALPHASTREAM_PASSPHRASE"


def init(player: Player, url: str | Path, environ: dict[str, str] | None = None, **given: Any) -> bool:
    """CV_init with typical numbers."""
    options = {
        "scene_id": 7,
        "size": (64, 32),
        "version": "1.5.0",
        "start_frame": 0,
        "ready_frames": 0,
        "cache_frames": 8,
        "init_frames": 1,
        "init_timeout": 10.0,
        "data_timeout": 10.0,
    }
    return player.init(str(url), environ=environ or {}, **{**options, **given})


def outcome(player: Player) -> tuple[ErrorCode, str]:
    error = player.error
    return (ErrorCode.NONE, "") if error is None else (error.code, error.message)


@pytest.fixture
def player() -> Any:
    made = Player()
    yield made
    made.close()


@pytest.fixture
def asvr(tmp_path: Path, passphrase: bytes) -> Path:
    path = tmp_path / "person.asvr"
    with AsvrWriter(path, key=AsvrKey(passphrase, scene_id=7)) as writer:
        writer.add_frame(FrameGeometry.from_payload(SQUARE))
    return path


def test_the_first_bytes_determine_the_format(player: Player, asvr: Path, passphrase: bytes) -> None:
    """The file's name does not."""
    environ = {VARIABLE: passphrase.hex()}
    assert init(player, asvr, environ)
    unnamed = asvr.rename(asvr.with_name("person"))
    assert player.set_option("resource_name", "person.asvr")
    assert init(player, unnamed, environ)
    assert player.n_frames == 1
    plain = asvr.with_name("plain.asvr")
    plain.write_bytes(SAMPLE.read_bytes())
    for one in ({}, environ, {VARIABLE: "malformed"}):
        assert init(player, plain, one, version=None)
        assert player.n_frames == 120


def test_a_passphrase_that_is_missing_or_malformed(player: Player, asvr: Path, passphrase: bytes) -> None:
    assert not init(player, asvr)
    code, text = outcome(player)
    assert code is ErrorCode.INVALID
    assert 'ALPHASTREAM_PASSPHRASE or CV_set_option "passphrase"' in text
    assert not init(player, asvr, {VARIABLE: passphrase.hex()[1:]})
    assert outcome(player) == (
        ErrorCode.INVALID,
        "ALPHASTREAM_PASSPHRASE: expected 64 hex digits, found another text of 63 characters",
    )
    assert not init(player, asvr, {VARIABLE: passphrase.hex()}, version=None)
    assert outcome(player)[0] is ErrorCode.INVALID
    assert "CV_init's version is null" in outcome(player)[1]


def test_a_stream_that_is_neither_plain_nor_decrypted(player: Player, asvr: Path) -> None:
    note = asvr.with_name("note.asvp")
    note.write_text("a note, and no stream")
    for path in (note, asvr.rename(asvr.with_name("stream"))):
        assert not init(player, path)
        code, text = outcome(player)
        assert code is ErrorCode.DECODE
        assert "either an encrypted ASVR, which needs its owner's passphrase" in text
        assert 'CV_set_option "passphrase"' in text
        assert text.endswith("or not an alpha stream")
    note.write_text("<!DOCTYPE html><html></html>")
    assert not init(player, note)
    assert outcome(player) == (ErrorCode.DECODE, "header: expected an alpha stream, found an HTML page")


def test_a_wrong_key_names_what_a_host_can_set(player: Player, asvr: Path, passphrase: bytes) -> None:
    assert not init(player, asvr, {VARIABLE: passphrase.hex()}, scene_id=8)
    code, text = outcome(player)
    assert code is ErrorCode.DECODE
    for part in (
        "scene_id 8 of CV_init",
        "version '1.5.0' of CV_init",
        "the name 'person.asvr' (of base_url, or CV_set_option \"resource_name\")",
        'ALPHASTREAM_PASSPHRASE, or CV_set_option "passphrase"',
    ):
        assert part in text
    assert "=" not in text
    renamed = asvr.rename(asvr.with_name("Maß.asvr"))
    assert not init(player, renamed, {VARIABLE: passphrase.hex()})
    assert outcome(player)[1].endswith('encrypted under as CV_set_option "resource_name"')


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_messages_advise_c_hosts(player: Player, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not init(player, tmp_path / "pipe")
    assert outcome(player)[1].endswith("so write what the pipe holds to a file first")
    long = FrameGeometry([(x % 2 * 50, x) for x in range(9000)])
    (tmp_path / "long.asvp").write_bytes(asvp_of([block_of(long.to_payload())]))
    assert init(player, tmp_path / "long.asvp")
    while player.strip(0) is None and outcome(player)[0] is ErrorCode.TIMEOUT:
        pass
    assert outcome(player)[1].endswith("; use the mask, CV_get_frame")
    assert player.set_option("http_whole_file_cap", "100")
    with Server(SAMPLE.read_bytes(), lambda request: whole_file) as server:
        assert not init(player, server.url())
    assert outcome(player)[1].endswith('up to 100 bytes (CV_set_option "http_whole_file_cap")')


def test_the_passphrase_as_an_option(player: Player, asvr: Path, passphrase: bytes) -> None:
    """It overrides the variable, whatever its value, and is never shown."""
    for wrong in (passphrase.hex()[:-1], "", "zz" * 32):
        assert not player.set_option("passphrase", wrong)
        code, text = outcome(player)
        assert code is ErrorCode.INVALID
        assert text == f"passphrase: expected 64 hex digits, found another text of {len(wrong)} characters"
    assert player.set_option("passphrase", passphrase.hex().upper())
    assert outcome(player)[0] is ErrorCode.NONE
    assert init(player, asvr, {VARIABLE: "malformed"})
    assert passphrase.hex() not in repr(player._options).lower()
    assert repr(passphrase)[2:-1] not in repr(player._options)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("nonsense", "1", "name: expected one of passphrase, resource_name, get_frame_timebox_ms, http_header, "),
        ("", "1", "found ''"),
        ("get_frame_timebox_ms", "-1", "get_frame_timebox_ms: expected 0.0..1000.0 ms, found '-1'"),
        ("get_frame_timebox_ms", "soon", "get_frame_timebox_ms: expected 0.0..1000.0 ms, found 'soon'"),
        ("get_frame_timebox", "nan", "get_frame_timebox: expected 0.0..1000.0 ms, found 'nan'"),
        ("cache_frames", "0", "cache_frames: expected 1..65536 frames, found '0'"),
        ("cache_frames", "5.5", "found '5.5'"),
        ("native_size", "2048", "native_size: expected 1x1..16384x16384 pixels, found '2048'"),
        ("native_size", "0x5", "native_size: expected 1x1..16384x16384 pixels, found '0x5'"),
        ("fps", "1/0", "fps: expected 1..1000 frames/s, found '1/0'"),
        ("http2", "yes", "http2: expected true or false, found 'yes'"),
        ("processing", "all", "processing: expected 'mask' or 'triangles' or 'both', found 'all'"),
        ("resource_name", "maß.asvr", "resource_name: expected ASCII, found 'maß.asvr'"),
        ("http_header", "no colon", 'http_header: expected "Name: value" on one line, found 8 other characters'),
        ("http_header", "X-Key: secret\r\nHost: other", "on one line, found 26 other characters"),
        ("http_header", ": secret", "found 8 other characters"),
    ],
)
def test_invalid_options(player: Player, name: str, value: str, message: str) -> None:
    assert not player.set_option(name, value)
    code, text = outcome(player)
    assert code is ErrorCode.INVALID
    assert message in text
    assert "secret" not in text
    assert player._options == Options()


def test_every_option_of_config_by_its_name(player: Player) -> None:
    values = {
        "native_size": "4096x2048",
        "fps": "60000/1001",
        "http2": "true",
        "processing": "both",
        "http_offline": "0",
        "cache_dir": "",
    }
    for name in OPTION_NAMES[4:]:
        default = getattr(Config(), name)
        assert player.set_option(name, values.get(name, f" {default} ")), outcome(player)
    assert init(player, SAMPLE)
    stream = player._requests and player._requests.stream
    assert stream is not None
    config = replace(stream.config, init_timeout=10)  # it was the time left
    assert config == Config(native_size=(4096, 2048), fps="60000/1001", http2=True, processing="both")  # type: ignore[arg-type]


def test_options_apply_to_later_cv_inits(player: Player) -> None:
    assert init(player, SAMPLE, cache_frames=40, ready_frames=3)
    assert player.set_option("cache_frames", "20")
    for expected in (40, 20, 20):
        stream = player._requests and player._requests.stream
        assert stream is not None
        assert stream.config.cache_frames == expected
        assert stream.config.ready_frames == 3
        assert init(player, SAMPLE, cache_frames=40, ready_frames=3)


def test_a_time_box_of_zero_never_waits(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    """No mask is made on the host's thread either. The frame still arrives later."""
    threads = []

    def watched(*given: Any, **options: Any) -> Any:
        threads.append(threading.current_thread())
        return rasterize(*given, **options)

    monkeypatch.setattr(products, "rasterize", watched)
    assert player.set_option("get_frame_timebox_ms", "0")
    stream = asvp_of([block_of(SQUARE)] * 16_000)
    with Server(stream, lambda request: never if request.range[0] > 0 else None) as server:
        assert init(player, server.url(), init_frames=0)
        times = []
        for _ in range(50):
            begin = time.perf_counter()
            assert player.frame(15_999) is None
            times.append(time.perf_counter() - begin)
            assert outcome(player)[0] is ErrorCode.TIMEOUT
        assert sorted(times)[25] < 0.005
    assert init(player, SAMPLE, size=(2048, 1024), init_frames=3)
    deadline = time.monotonic() + 20
    while player.frame(2) is None and time.monotonic() < deadline:
        time.sleep(0.002)
    assert outcome(player)[0] is ErrorCode.NONE
    assert threads
    assert threading.current_thread() not in threads


def test_http_headers_reach_the_server(player: Player) -> None:
    for text in ("Authorization: Bearer abc", "X-One:1", "x-one: 2 ", "X-Gone: 3", "X-Gone:"):
        assert player.set_option("http_header", text)
    assert "abc" not in repr(player._options)
    with Server(SAMPLE.read_bytes()) as server:
        assert init(player, server.url())
        [request] = server.requests
    assert (request.headers["authorization"], request.headers["x-one"]) == ("Bearer abc", "2")
    assert "x-gone" not in request.headers
    assert init(player, SAMPLE), "a file has no use of them"


def test_messages_name_options_as_c_hosts_set_them(
    player: Player, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages of parts that know nothing of C, each reached by CV_init."""
    block = block_of(SQUARE)
    (tmp_path / "long.asvp").write_bytes(asvp_of([block] * 20))
    assert player.set_option("max_frames", "10")
    assert not init(player, tmp_path / "long.asvp")
    assert 'more than 10 frames (CV_set_option "max_frames")' in outcome(player)[1]
    assert not init(player, "ftp://host/a.asvp")
    assert outcome(player)[1].startswith("base_url: expected a path or a file:, http: or https: URL")
    assert not init(player, tmp_path)
    assert outcome(player)[1].endswith("expected a regular file, found a directory")
    assert player.set_option("max_frames", "100")
    assert player.set_option("max_frame_bytes", "64")
    big = FrameGeometry([(x, 0) for x in range(100)]).to_payload()
    (tmp_path / "big.asvp").write_bytes(asvp_of([block_of(big)]))
    assert init(player, tmp_path / "big.asvp")
    while player.frame(0) is None and outcome(player)[0] is ErrorCode.TIMEOUT:
        pass
    assert outcome(player)[1].endswith('over 64 bytes (CV_set_option "max_frame_bytes")')
    monkeypatch.setitem(sys.modules, "h2", None)
    assert player.set_option("http2", "true")
    assert not init(player, "http://localhost:9/a.asvp")
    assert outcome(player)[1].endswith("HTTP/2 needs the package h2; run: python -m pip install h2")
