"""
Opening URLs: headers, clients and callables, pages instead of files, and the resource name of an ASVR.
"""

from __future__ import annotations

import asyncio
import copy
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import badserver
import httpx
import pytest
from badserver import Server
from support import SQUARE, asvp_of, block_of

import alphastream_gpu
from alphastream_gpu import (
    AlphaStreamBuilder,
    AlphaStreamError,
    AsvrKey,
    AsvrWriter,
    ByteRange,
    Config,
    DecodeError,
    FrameGeometry,
    KeyMismatchError,
    MemorySource,
    TransportError,
)

DATA = bytes(range(200))


PAGES = {
    "html": (b"\n <!DOCTYPE html><html><head><title>Sign in</title></head></html>", "an HTML page"),
    "old html": (b"<HTML><BODY>Please sign in to go on.", "an HTML page"),
    "xml": (b"\xef\xbb\xbf<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML or HTML document"),
    "json": (b'{"error": "the session has expired"}', "a JSON text"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "a Git LFS pointer"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("status", [200, 206])
def test_a_page_instead_of_a_file(name: str, status: int, passphrase: bytes) -> None:
    """The error must not be about the key or the magic."""
    text, kind = PAGES[name]
    key = AsvrKey(passphrase, scene_id=1)
    with Server(b"", lambda request: badserver.page(status, text)) as server:
        for with_key, container in ((key, "ASVR"), (None, "ASVP")):
            with pytest.raises(DecodeError) as caught:
                alphastream_gpu.open(server.url("/mask.asvr"), key=with_key)
            assert type(caught.value) is DecodeError
            assert str(caught.value).startswith(f"header: expected an {container}, found {kind}")
            assert f"(status {status}, content type 'text/html; charset=utf-8')" in str(caught.value)
    with pytest.raises(DecodeError, match=rf"^header: expected an ASVR, found {kind}[^(]*$"):
        alphastream_gpu.open(text, key=key)


def test_a_key_mismatch_has_a_summary_of_the_reply(passphrase: bytes) -> None:
    with (
        Server(b"", lambda request: badserver.page(200, b"Forbidden." * 9, "text/plain")) as server,
        pytest.raises(KeyMismatchError, match=r"\(.*; the server's reply: status 200, content type 'text/plain'\)"),
    ):
        alphastream_gpu.open(server.url("/mask.asvr"), key=AsvrKey(passphrase, scene_id=1))


def test_a_source_that_returns_too_many_bytes() -> None:
    class Generous(MemorySource):
        async def read(self, span: ByteRange) -> memoryview:
            return await super().read(ByteRange(span.start, span.stop + (3 if span.start else 0)))

    with (
        alphastream_gpu.open(Generous(asvp_of([block_of(SQUARE)] * 5))) as stream,
        pytest.raises(TransportError, match="frame 1: expected bytes .*: the source's read is too long"),
    ):
        asyncio.run(stream.frame(1))


@pytest.mark.slow
def test_open_with_headers_a_client_and_a_url_callable() -> None:
    data = asvp_of([block_of(SQUARE)] * 5)
    with Server(data) as server:

        async def sign() -> str:
            return server.url("/x.asvp?sig=1")

        def opened(stream: alphastream_gpu.AlphaStream) -> None:
            with stream:
                assert stream.metadata.frame_count == 5

        opened(alphastream_gpu.open(sign, headers={"X-Key": "1"}))
        opened(asyncio.run(alphastream_gpu.open_async(sign, headers={"X-Key": "1"})))
        opened(AlphaStreamBuilder().source(sign).headers({"X-Key": "1"}).http_retries(0).open())
        opened(asyncio.run(AlphaStreamBuilder().source(sign).headers({"X-Key": "1"}).open_async()))
        assert [(one.target, one.headers["x-key"]) for one in server.requests] == [("/x.asvp?sig=1", "1")] * 4
        server.requests.clear()

        def make() -> httpx.AsyncClient:
            return httpx.AsyncClient(headers={"X-Key": "2"})

        opened(alphastream_gpu.open(server.url(), client=make))
        opened(asyncio.run(alphastream_gpu.open_async(server.url(), client=make)))
        opened(AlphaStreamBuilder().source(server.url()).client(make).open())
        opened(alphastream_gpu.open(server.url))
        assert [one.headers.get("x-key") for one in server.requests] == ["2", "2", "2", None]
        with alphastream_gpu.open(data) as stream:
            stream.load_source(sign)
            assert stream.metadata.frame_count == 5


def test_headers_and_client_of_a_config() -> None:
    data = asvp_of([block_of(SQUARE)] * 5)
    config = Config(http_headers={"X-Key": "secret"}, http_retries=1)
    with Server(data) as server:
        url = server.url()
        for stream in (
            alphastream_gpu.open(url, config=config),
            asyncio.run(alphastream_gpu.open_async(url, config=config)),
            alphastream_gpu.open(url, config=config, headers={"X-Key": "own"}),
            alphastream_gpu.open(url, config=Config(http_client=lambda: httpx.AsyncClient(headers={"X-Key": "2"}))),
            alphastream_gpu.open(data, config=config),
        ):
            stream.load_source(url)
            stream.close()
    found = [one.headers.get("x-key") for one in server.requests]
    assert found == ["secret", "secret", "own", "2"] + ["secret"] * 3 + ["2", "secret"]
    assert "secret" not in repr(config)
    assert "http_client" not in repr(config)
    assert config == Config(http_retries=1)
    assert hash(config) == hash(Config(http_retries=1))
    assert replace(config, fps=30).http_headers == {"X-Key": "secret"}
    assert pickle.loads(pickle.dumps(Config(http_retries=1))) == config
    for duplicate in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="headers are secrets"):
            duplicate(config)
    with pytest.raises(TypeError, match="http_headers: expected a mapping, found list"):
        Config(http_headers=["X-Key: secret"])  # type: ignore[arg-type]


@pytest.mark.parametrize("source", [b"data", "no/such.asvp", Path("x"), "file:///x", MemorySource(b"data"), int])
def test_headers_and_clients_are_only_for_http(source: Any) -> None:
    for options in ({"headers": {"X-Key": "1"}}, {"client": httpx.AsyncClient}):
        with pytest.raises(ValueError, match="^headers, client: only for http: and https: URLs"):
            alphastream_gpu.open(source, **options)
        with pytest.raises(ValueError, match="^headers, client: only for http: and https: URLs"):
            asyncio.run(alphastream_gpu.open_async(source, **options))


def test_the_options_of_config_apply_with_headers() -> None:
    with Server(DATA, lambda request: badserver.status(503)) as server:
        with pytest.raises(AlphaStreamError):
            alphastream_gpu.open(server.url(), headers={"X-Key": "1"}, config=Config(http_retries=2, http_backoff=0))
        assert len(server.requests) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", ["/a/pov%20mask%231.asvr", "/a/pov mask%231.asvr?token=a/b.asvr#x/y", "//a%2Fpov%20mask%231.asvr#t"]
)
def test_a_key_does_not_depend_on_the_spelling_of_a_url(path: str, passphrase: bytes, tmp_path: Path) -> None:
    key = AsvrKey(passphrase, scene_id=7)
    local = tmp_path / "pov mask#1.asvr"
    with AsvrWriter(local, key=key) as writer:
        writer.add_frame(FrameGeometry([[1, 1], [9, 1], [9, 9]]))
    with Server(local.read_bytes()) as server:
        for source in (local, str(local), local.as_uri(), server.url(path), lambda: server.url(path)):
            with alphastream_gpu.open(source, key=key) as stream:
                assert stream.metadata.frame_count == 1
                assert re.search("pov mask#1", repr(stream._lifetime.session.reader.source.name))  # type: ignore[union-attr]
