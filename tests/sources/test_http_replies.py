"""
Interpreting replies: tables of cases for the pure code, and servers with unusual but valid replies.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import badserver
import pytest
from badserver import Behaviour, Request, Server, Wire
from support import SAMPLE, SQUARE, asvp_of, block_of

import alphastream_gpu
from alphastream_gpu import ByteRange, Config, HttpSource, TransportError
from alphastream_gpu._sources.http.reply import judge, read_headers, retry_after
from alphastream_gpu._sources.http.verdict import (
    Again,
    Elsewhere,
    File,
    Moved,
    Nothing,
    Part,
    Refused,
    Reply,
    Terms,
    Verdict,
    Whole,
)

DATA = bytes((k * 37 + k // 251) % 256 for k in range(300_000))
SPAN = ByteRange(100, 200)
TERMS = Terms(File(), "etag", 1000, is_moved=False, is_signed=False)


def terms(**changes: Any) -> Terms:
    names = ("file", "validate", "whole_file_cap", "is_moved", "is_signed")
    return Terms(**{name: changes.get(name, getattr(TERMS, name)) for name in names})


def reply(status: int, content_range: str = "", *, is_reused: bool = False, **headers: str) -> Reply:
    found = {name.replace("_", "-"): text for name, text in headers.items()}
    if content_range:
        found["content-range"] = content_range
    return Reply(status, found, is_reused)


WHOLE_PART = Part(SPAN, 300)


@pytest.mark.parametrize(
    "text",
    ["bytes 100-199/300", "Bytes 100-199/300", "BYTES 100-199/300", "bytes  100-199/300", " bytes 100-199/300 "],
)
def test_a_range_unit_in_any_case(text: str) -> None:
    assert judge(reply(206, text), SPAN, TERMS) == WHOLE_PART


@pytest.mark.parametrize(
    "text",
    [
        "",
        "octets 100-199/300",
        "bytes100-199/300",
        "bytes=100-199/300",
        "bytes 100-199",
        "bytes 100-199/300, bytes 100-199/300",
        "bytes \u0661\u0660\u0660-199/300",
        "bytes 100-200/*",
        "bytes */300",
        "bytes 99-199/300",
        "bytes 101-199/300",
        "bytes 100-200/300",
        "bytes 100-199/199",
        "bytes 100-99/300",
        "bytes 199-100/300",
        f"bytes 100-199/{'9' * 20}",
    ],
)
def test_invalid_and_wrong_content_ranges(text: str) -> None:
    verdict = judge(reply(206, text), SPAN, TERMS)
    assert isinstance(verdict, Refused)
    assert "Content-Range" in verdict.text


@pytest.mark.parametrize(
    ("text", "span", "total"),
    [
        ("bytes 100-100/300", (100, 101), 300),
        ("bytes 100-198/300", (100, 199), 300),
        ("bytes 100-149/150", (100, 150), 150),
        ("bytes 100-100/101", (100, 101), 101),
    ],
)
def test_fewer_bytes_than_requested(text: str, span: tuple[int, int], total: int) -> None:
    assert judge(reply(206, text), SPAN, TERMS) == Part(ByteRange(*span), total)


CASES: dict[str, tuple[Reply, Terms, Verdict | str]] = {
    "500": (reply(500), TERMS, Again("the server answered 500 to bytes 100..199")),
    "503": (reply(503, retry_after="7"), TERMS, Again("the server answered 503 to bytes 100..199", 7.0)),
    "408": (reply(408), TERMS, Again("the server answered 408 to bytes 100..199")),
    "302": (reply(302, location="/x"), TERMS, Moved("/x")),
    "302 to nowhere": (reply(302), TERMS, "expected 206 for bytes 100..199, found 302"),
    "304": (reply(304, location="/x"), TERMS, "expected 206 for bytes 100..199, found 304"),
    "403": (reply(403), TERMS, "found 403; access denied"),
    "403 of an old redirect": (reply(403), terms(is_moved=True), Elsewhere("the server answered 403")),
    "404 of an old redirect": (reply(404), terms(is_moved=True), Elsewhere("the server answered 404")),
    "401 of an old signature": (reply(401), terms(is_signed=True), Elsewhere("the server answered 401")),
    "404 of a signature": (reply(404), terms(is_signed=True), "found 404; no such file"),
    "416 past the end": (reply(416, "bytes */100"), TERMS, Nothing(100)),
    "416 in any case": (reply(416, "BYTES */0"), TERMS, Nothing(0)),
    "416 within": (reply(416, "bytes */101"), TERMS, "found 416; the server says that the file has 101 bytes"),
    "416 without": (reply(416), TERMS, "found 416"),
    "416 later": (
        reply(416, "bytes */50"),
        terms(file=File(300)),
        "found 416; the server says that the file has 50 bytes",
    ),
    "gzip": (reply(206, "bytes 100-199/300", content_encoding="gzip"), TERMS, "Content-Encoding 'gzip'"),
    "identity": (reply(206, "bytes 100-199/300", content_encoding=" Identity "), TERMS, WHOLE_PART),
    "no length": (reply(206, "bytes 100-199/*"), TERMS, Part(SPAN, None)),
    "no length, but known": (reply(206, "bytes 100-199/*"), terms(file=File(300)), WHOLE_PART),
    "no length, past the known end": (
        reply(206, "bytes 100-199/*"),
        terms(file=File(150)),
        "expected Content-Range 100-149, found 'bytes 100-199/*'",
    ),
    "another length": (
        reply(206, "bytes 100-199/301"),
        terms(file=File(300)),
        "the file changed while open: expected 300 bytes, found 301",
    ),
    "another length, by its size": (
        reply(206, "bytes 100-199/301"),
        terms(file=File(300), validate="size"),
        "the file changed while open: expected 300 bytes, found 301",
    ),
    "another length, by nothing": (
        reply(206, "bytes 100-199/301"),
        terms(file=File(300), validate="none"),
        Part(SPAN, 301),
    ),
    "another tag": (
        reply(206, "bytes 100-199/300", etag='"b"'),
        terms(file=File(300, ("etag", '"a"'))),
        "expected etag '\"a\"', found '\"b\"'; open it again, or see validate",
    ),
    "another tag, by its size": (
        reply(206, "bytes 100-199/300", etag='"b"'),
        terms(file=File(300, ("etag", '"a"')), validate="size"),
        WHOLE_PART,
    ),
    "no date any more": (
        reply(206, "bytes 100-199/300"),
        terms(file=File(300, ("last-modified", "Mon"))),
        "expected last-modified 'Mon', found none",
    ),
    "a page": (
        reply(200, etag='"p"', content_type="text/html", content_length="91"),
        terms(file=File(300, ("etag", '"a"'))),
        "(the reply: status 200, content type 'text/html')",
    ),
    "a page without a tag": (
        reply(200, content_type="text/html", content_length="91"),
        terms(file=File(300)),
        "expected 300 bytes, found 91 (the reply: status 200, content type 'text/html')",
    ),
    "another request's": (
        reply(206, "bytes 0-9/300", is_reused=True),
        TERMS,
        Again(
            "expected Content-Range 100-199, found 'bytes 0-9/300', which may be the reply to an earlier request on"
            " this connection"
        ),
    ),
    "whole": (reply(200, content_length="300"), TERMS, Whole(300, 1000)),
    "whole, of no length": (reply(200), TERMS, Whole(None, 1000)),
    "whole, of a known length": (reply(200), terms(file=File(300)), Whole(300, 1000)),
    "whole, of whatever length": (reply(200), terms(file=File(300), validate="none"), Whole(None, 1000)),
    "whole, of nonsense": (reply(200, content_length="many"), TERMS, Whole(None, 1000)),
    "too much": (
        reply(200, content_length="1001"),
        TERMS,
        "answered 200 with 1001 bytes; whole files are accepted up to 1000",
    ),
    "too much, as is known": (reply(200), terms(file=File(1001)), "with an unknown number of bytes; whole files are"),
    "none accepted": (
        reply(200),
        terms(whole_file_cap=0),
        "with an unknown number of bytes; whole files are accepted up to 0",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_verdicts(name: str) -> None:
    given, wanted, expected = CASES[name]
    verdict = judge(given, SPAN, wanted)
    if isinstance(expected, str):
        assert isinstance(verdict, Refused)
        assert expected in verdict.text
    else:
        assert verdict == expected


def test_quoted_headers_are_cut_in_messages() -> None:
    verdict = judge(reply(206, "x" * 100_000), SPAN, TERMS)
    assert isinstance(verdict, Refused)
    assert len(verdict.text) < 200
    assert "\n" not in judge(reply(206, "a\nb\x1b[2J"), SPAN, TERMS).text  # type: ignore[union-attr]


def test_the_header_that_identifies_a_file() -> None:
    both = {"etag": '"a"', "last_modified": "Mon"}
    assert File().learned(5, reply(206, **both)) == File(5, ("etag", '"a"'))
    assert File().learned(5, reply(206, etag='W/"a"', last_modified="Mon")) == File(5, ("last-modified", "Mon"))
    assert File().learned(5, reply(206, etag='W/"a"')) == File(5)
    assert File(4, ("etag", '"a"')).learned(5, reply(206, etag='"b"')) == File(4, ("etag", '"a"'))


def test_headers_are_read_in_one_pass() -> None:
    raw = [(b"ETag", b'"a"'), (b"X", b"y"), (b"LOCATION", b"/\xe9"), (b"content-range", b"a"), (b"Content-Range", b"b")]
    assert read_headers(raw) == {"etag": '"a"', "location": "/\u00e9", "content-range": "a, b"}
    assert read_headers([(b"Location", "/\u00e9".encode())]) == {"location": "/\u00e9"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 0 ", 0.0),
        ("007", 7.0),
        ("9" * 12, 1e9),
        ("9" * 40, 1e9),
        ("9" * 90_000, 1e9),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("\u0663", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wednesday, 21-Oct-15 07:28:00 GMT", 0.0),
        ("Wed Oct 21 07:28:00 2015", 0.0),
        ("Wed, 21 Oct 2095 07:28:00 GMT", 1e9),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    assert retry_after(text) == seconds


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"])
def test_retry_after_as_a_date_is_in_gmt(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(time, "tzset"):
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
    try:
        seconds = retry_after(time.strftime(form, time.gmtime(time.time() + 100)))
    finally:
        monkeypatch.undo()
        if hasattr(time, "tzset"):
            time.tzset()
    assert seconds is not None
    assert 50 < seconds <= 100


def fetch(url: Any, *spans: tuple[int, int], **options: Any) -> list[bytes]:
    """Read ranges one after the other from a new source."""

    async def read() -> list[bytes]:
        source = HttpSource(url, **{"backoff": 10, **options})
        try:
            return [await source.read(ByteRange(*span)) for span in spans]
        finally:
            await source.aclose()

    return asyncio.run(read())


def always(behaviour: Behaviour) -> Callable[[Request], Behaviour | None]:
    return lambda request: behaviour


def test_the_rest_of_a_short_reply_is_requested() -> None:
    with Server(DATA, always(badserver.at_most(300))) as server:
        assert fetch(server.url(), (0, 1000), (299_900, 300_100)) == [DATA[:1000], DATA[299_900:]]
        assert [request.range for request in server.requests] == [
            (0, 1000),
            (300, 1000),
            (600, 1000),
            (900, 1000),
            (299_900, 300_000),
        ]


def test_a_stream_from_a_server_of_short_replies() -> None:
    data = SAMPLE.read_bytes()
    with (
        Server(data, always(badserver.at_most(9000))) as server,
        alphastream_gpu.open(server.url()) as stream,
        alphastream_gpu.open(data) as same,
    ):
        assert asyncio.run(stream.frame(100)) == asyncio.run(same.frame(100))


def test_too_many_tiny_replies_are_refused() -> None:
    with Server(DATA, always(badserver.at_most(1))) as server:
        with pytest.raises(TransportError, match=r"the server sent bytes 0\.\.999 in more than 16 pieces"):
            fetch(server.url(), (0, 1000))
        assert len(server.requests) == 16
        assert fetch(server.url(), (0, 16)) == [DATA[:16]]


def test_many_pieces_of_a_usual_size_are_accepted() -> None:
    with Server(DATA, always(badserver.at_most(15_000))) as server:
        assert fetch(server.url(), (0, 300_000)) == [DATA]
        assert len(server.requests) == 20


def test_a_failure_between_pieces_is_retried() -> None:
    def script(request: Request) -> Behaviour:
        return badserver.reset_within_the_body if request.number == 1 else badserver.at_most(400)

    with Server(DATA, script) as server:
        assert fetch(server.url(), (0, 1000)) == [DATA[:1000]]
        assert [request.range[0] for request in server.requests] == [0, 400, 400, 800]


@pytest.mark.slow
@pytest.mark.parametrize("behaviour", [badserver.whole_file_until_the_end, badserver.whole_file_in_chunks])
def test_a_whole_file_of_unknown_length(behaviour: Behaviour) -> None:
    with Server(DATA, always(behaviour)) as server:
        assert fetch(server.url(), (0, 10), (100, 200), (0, 400_000)) == [DATA[:10], DATA[100:200], DATA]
        assert len(server.requests) == 1
        assert fetch(server.url(), (0, 10), whole_file_cap=300_000) == [DATA[:10]]
        for cap in (299_999, 0):
            with pytest.raises(TransportError, match=rf"unknown number of bytes; .* {cap} bytes \(whole_file_cap\)"):
                fetch(server.url(), (0, 10), whole_file_cap=cap)


def test_a_whole_file_of_another_length_than_known() -> None:
    """The reply has no length, so the difference is found at its end. The reply may also have broken off."""

    def script(request: Request) -> Behaviour | None:
        return badserver.whole_file_in_chunks if request.number else badserver.altered(content_range="bytes 0-9/300005")

    with Server(DATA, script) as server:
        with pytest.raises(TransportError, match="expected a body of 300005 bytes, found 300000"):
            fetch(server.url(), (0, 10), (10, 20), retries=1)
        assert len(server.requests) == 3
        server.requests.clear()
        assert fetch(server.url(), (0, 10), (10, 20), validate="none") == [DATA[:10], DATA[10:20]]


def test_received_bytes_of_a_whole_file_without_an_end() -> None:
    """At most the limit plus the data in transit is received."""

    async def endless(server: Server, request: Request, wire: Wire) -> None:
        await wire.head(200)
        while True:
            await wire.body(bytes(100_000))

    async def read() -> int:
        source = HttpSource(server.url(), whole_file_cap=1_000_000)
        with pytest.raises(TransportError, match="unknown number of bytes"):
            await source.read(ByteRange(0, 10))
        await source.aclose()
        return source.bytes_received

    with Server(DATA, always(endless)) as server:
        assert asyncio.run(read()) < 1_200_000


def test_the_second_of_two_replies_to_one_request_is_not_used() -> None:
    with Server(DATA, always(badserver.twice)) as server:
        spans = [(k, k + 10) for k in range(0, 50, 10)]
        assert fetch(server.url(), *spans) == [DATA[a:b] for a, b in spans]
        with pytest.raises(TransportError, match="may be the reply to an earlier request on this connection"):
            fetch(server.url(), (0, 10), (10, 20), retries=0)


def test_replicas_that_differ() -> None:
    async def replica(server: Server, request: Request, wire: Wire) -> None:
        await badserver.altered(etag=f'"replica {request.number}"')(server, request, wire)

    with Server(DATA, always(replica)) as server:
        for validate in ("size", "none"):
            assert fetch(server.url(), (0, 10), (10, 20), validate=validate) == [DATA[:10], DATA[10:20]]
        with pytest.raises(TransportError, match="changed while open: expected etag .* or see validate$"):
            fetch(server.url(), (0, 10), (10, 20))
    with Server(asvp_of([block_of(SQUARE)] * 5000), always(replica)) as server:
        with alphastream_gpu.open(server.url(), config=Config(http_validate="size")) as stream:
            assert asyncio.run(stream.frame(4999)).points.size
        assert len(server.requests) > 1


def test_a_file_that_grows() -> None:
    async def longer(server: Server, request: Request, wire: Wire) -> None:
        first, stop = request.range
        await badserver.altered(content_range=f"bytes {first}-{stop - 1}/{300_000 + request.number}")(
            server, request, wire
        )

    with Server(DATA, always(longer)) as server:
        assert fetch(server.url(), (0, 10), (10, 20), validate="none") == [DATA[:10], DATA[10:20]]
        with pytest.raises(TransportError, match="expected 30000[0-9] bytes, found 30000"):
            fetch(server.url(), (0, 10), (10, 20), validate="size")


@pytest.mark.parametrize("value", ["ETag", "strong", None, True])
def test_an_invalid_validate(value: Any) -> None:
    with pytest.raises(ValueError, match="validate: expected 'etag' or 'size' or 'none', found"):
        HttpSource("http://host/x", validate=value)
    with pytest.raises(ValueError, match="http_validate: expected 'etag' or 'size' or 'none', found"):
        Config(http_validate=value)


def test_the_first_read_may_be_past_the_end() -> None:
    async def read() -> None:
        source = HttpSource(server.url())
        assert await source.read(ByteRange(400_000, 400_010)) == b""
        assert source.length == 300_000
        assert await source.read(ByteRange(299_999, 400_010)) == DATA[-1:]
        await source.aclose()

    with Server(DATA) as server:
        asyncio.run(read())


def test_two_first_reads_of_two_files() -> None:
    """Both reads may begin before anything is known about the file, but only one of them can succeed."""

    async def read() -> None:
        source = HttpSource(server.url())
        found = await asyncio.gather(*(source.read(ByteRange(k, k + 10)) for k in (0, 10)), return_exceptions=True)
        assert sum(isinstance(one, TransportError) and "changed while open" in str(one) for one in found) == 1
        await source.aclose()

    async def other(server: Server, request: Request, wire: Wire) -> None:
        await asyncio.sleep(0.2)
        await badserver.altered(etag=f'"{request.number}"')(server, request, wire)

    with Server(DATA, always(other)) as server:
        asyncio.run(read())
