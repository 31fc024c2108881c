"""
Replies whose Content-Range has ``*`` in place of the length, which RFC 9110 allows. A HEAD request asks for the length.
"""

from __future__ import annotations

import asyncio
from typing import Any

import badserver
import httpx
import pytest
from badserver import Behaviour, Request, Server, Wire
from support import SAMPLE

import alphastream_gpu
from alphastream_gpu import ByteRange, Config, HttpSource, TransportError
from alphastream_gpu._sources.http.reply import judge_length
from alphastream_gpu._sources.http.verdict import (
    Again,
    Elsewhere,
    File,
    Length,
    Moved,
    Refused,
    Reply,
    Terms,
    Verdict,
)

DATA = SAMPLE.read_bytes()


async def without_length(server: Server, request: Request, wire: Wire) -> None:
    first, stop = request.range
    part = server.data[first:stop]
    content_range = f"bytes {first}-{first + len(part) - 1}/*"
    await wire.head(206, Content_Range=content_range, Content_Length=len(part), ETag=server.etag)
    await wire.body(part)


def head(status: int = 200, **headers: object) -> Behaviour:
    """The reply to HEAD, which has no body."""

    async def behave(server: Server, request: Request, wire: Wire) -> None:
        given = {"Content_Length": len(server.data), "ETag": server.etag, **headers}
        await wire.head(status, **given)
        if given["Content_Length"] is None:
            wire.writer.close()

    return behave


def is_head(request: Request) -> bool:
    return "range" not in request.headers


def read(url: Any, *spans: tuple[int, int], **options: Any) -> list[bytes]:
    async def run() -> list[bytes]:
        source = HttpSource(url, **{"backoff": 0, **options})
        try:
            return [await source.read(ByteRange(*span)) for span in spans]
        finally:
            await source.aclose()

    return asyncio.run(run())


def test_the_length_comes_from_a_head_request() -> None:
    with Server(DATA, lambda request: head() if is_head(request) else without_length) as server:
        spans = ((0, 1000), (500, 900), (len(DATA) - 10, len(DATA) + 10))
        assert read(server.url("/a%2f?sig=%2f"), *spans, headers={"X-Key": "1"}) == [DATA[a:b] for a, b in spans]
        assert [is_head(request) for request in server.requests] == [False, True, False, False]
        asked = server.requests[1]
        assert (asked.target, asked.headers["x-key"]) == ("/a%2f?sig=%2f", "1")
        assert asked.headers["accept-encoding"] == "identity"
        with alphastream_gpu.open(server.url()) as stream, alphastream_gpu.open(DATA) as same:
            assert asyncio.run(stream.frame(100)) == asyncio.run(same.frame(100))


def test_a_length_that_is_known_is_not_asked_for_again() -> None:
    with Server(DATA, lambda request: without_length if request.number else None) as server:
        assert read(server.url(), (0, 9), (9, 20)) == [DATA[:9], DATA[9:20]]
        assert not any(map(is_head, server.requests))


def test_a_head_request_is_redirected_and_retried() -> None:
    def script(request: Request) -> Behaviour:
        if not is_head(request):
            return without_length
        if request.target != "/there":
            return badserver.status(307, Location="/there")
        return badserver.status(503) if sum(map(is_head, server.requests)) == 2 else head()

    with Server(DATA, script) as server:
        assert read(server.url(), (0, 9)) == [DATA[:9]]
        assert [request.target for request in server.requests if is_head(request)] == [
            "/person.asvp",
            "/there",
            "/person.asvp",
            "/there",
        ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            badserver.status(405),
            r"expected the length of the file, found '\*' in Content-Range, .* HEAD with 405; one of",
        ),
        (head(Content_Length=None), "HEAD with 200 and Content-Length ''; one of the two must give the length"),
        (head(Content_Encoding="gzip"), "one of the two must give the length"),
        (head(Content_Length=8), r"the server sent bytes 0\.\.\d+, and answered HEAD with a length of 8 bytes"),
        (head(ETag='"v2"'), "the file changed while open: expected etag"),
        (badserver.status(302, Location="ftp://host/S3CRET"), "redirects to something that is not an HTTP URL"),
        (badserver.status(503), "the server answered 503 to HEAD"),
    ],
)
def test_a_length_that_cannot_be_learned(answer: Behaviour, message: str) -> None:
    with Server(DATA, lambda request: answer if is_head(request) else without_length) as server:
        with pytest.raises(TransportError, match=message) as caught:
            alphastream_gpu.open(HttpSource(server.url("/x?sig=S3CRET"), retries=1, backoff=0), config=Config())
        with pytest.raises(TransportError, match=message) as caught:
            read(server.url("/x?sig=S3CRET"), (0, 9), retries=1)
        assert "S3CRET" not in str(caught.value)


def test_a_head_request_to_another_origin_has_no_credentials() -> None:
    methods: list[tuple[str, str, str | None]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        methods.append((request.method, request.url.host, request.headers.get("x-key")))
        if request.url.host == "own.test":
            return httpx.Response(302, headers={"Location": "http://other.test/x"})
        if request.method == "HEAD":
            return httpx.Response(200, headers={"Content-Length": str(len(DATA))})
        return httpx.Response(206, headers={"Content-Range": "bytes 0-8/*"}, stream=httpx.ByteStream(DATA[:9]))

    def make() -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(handler))

    assert read("http://own.test/x", (0, 9), headers={"X-Key": "1"}, client=make) == [DATA[:9]]
    assert methods == [("GET", "own.test", "1"), ("GET", "other.test", None), ("HEAD", "other.test", None)]


TERMS = Terms(File(), "etag", 1000, is_moved=False, is_signed=False)
PINNED = Terms(File(None, ("etag", '"a"')), "etag", 1000, is_moved=False, is_signed=False)


@pytest.mark.parametrize(
    ("reply", "terms", "expected"),
    [
        (Reply(200, {"content-length": " 7 "}), TERMS, Length(7)),
        (Reply(200, {"content-length": "7", "etag": '"a"'}), PINNED, Length(7)),
        (Reply(200, {"content-length": "7", "content-encoding": "identity"}), TERMS, Length(7)),
        (Reply(301, {"location": "/x"}), TERMS, Moved("/x")),
        (Reply(408), TERMS, Again("the server answered 408 to HEAD")),
        (Reply(500, {"retry-after": "3"}), TERMS, Again("the server answered 500 to HEAD", 3.0)),
        (Reply(301), TERMS, "HEAD with 301;"),
        (Reply(206, {"content-length": "7"}), TERMS, "HEAD with 206;"),
        (Reply(404, {"content-length": "7"}), PINNED, "HEAD with 404;"),
        (Reply(200, {"content-length": "-7"}), TERMS, "HEAD with 200 and Content-Length '-7';"),
        (Reply(200, {"content-length": "7"}), PINNED, "the file changed while open"),
    ],
)
def test_the_reply_to_head(reply: Reply, terms: Terms, expected: Verdict | str) -> None:
    found = judge_length(reply, terms)
    if isinstance(expected, str):
        assert isinstance(found, Refused)
        assert expected in found.text
    else:
        assert found == expected
    assert not isinstance(found, Elsewhere)
