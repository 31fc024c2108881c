"""
Cookies: the library does not keep cookies, but sends the cookies of a redirect to the later hops of its chain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http.cookiejar import CookieJar
from typing import Any

import badserver
import httpx
import pytest
from badserver import Behaviour, Request, Server, Wire

from alphastream_gpu import ByteRange, HttpSource
from alphastream_gpu._sources.http.cookies import ChainCookies, NoCookies

DATA = bytes((k * 37 + k // 251) % 256 for k in range(2000))


def sets(*cookies: str, location: str | None = None) -> Behaviour:
    """A correct reply or a redirect that sets cookies."""

    async def behave(server: Server, request: Request, wire: Wire) -> None:
        first, stop = request.range
        part = b"" if location else server.data[first:stop]
        lines = [f"HTTP/1.1 {302 if location else 206} X", f"Content-Length: {len(part)}"]
        lines += (
            [f"Location: {location}"] if location else [f"Content-Range: bytes {first}-{stop - 1}/{len(server.data)}"]
        )
        lines += [f"Set-Cookie: {cookie}" for cookie in cookies]
        await wire.body("\r\n".join([*lines, "", ""]).encode() + part)

    return behave


def fetch(url: Any, n_reads: int = 2, **options: Any) -> HttpSource:
    """Read some ranges one after the other; return the closed source."""

    async def read() -> HttpSource:
        source = HttpSource(url, backoff=10, **options)
        try:
            for k in range(n_reads):
                assert await source.read(ByteRange(10 * k, 10 * k + 10)) == DATA[10 * k : 10 * k + 10]
        finally:
            await source.aclose()
        return source

    return asyncio.run(read())


def sent(server: Server) -> list[str | None]:
    return [request.headers.get("cookie") for request in server.requests]


def test_cookies_are_not_kept() -> None:
    with Server(DATA, lambda request: sets(f"c{request.number}=v; Path=/")) as server:
        fetch(server.url(), 3)
        assert sent(server) == [None, None, None]


def login(cookie: str) -> Callable[[Request], Behaviour | None]:
    """/x redirects to /login, which sets a cookie and redirects to /there, which requires the cookie."""

    def script(request: Request) -> Behaviour | None:
        if request.target == "/x":
            return badserver.status(302, Location="/login")
        if request.target == "/login":
            return sets(cookie, location="/there")
        return None if "signed=" in request.headers.get("cookie", "") else badserver.status(403)

    return script


@pytest.mark.parametrize(
    "cookie", ["signed=1", "signed=1; Path=/; HttpOnly; SameSite=Lax", "signed=1; Domain=127.0.0.1"]
)
def test_a_login_that_signs_by_a_cookie(cookie: str) -> None:
    """The address is remembered, but not the cookie, so each read logs in again."""
    with Server(DATA, login(cookie)) as server:
        fetch(server.url("/x"))
        first, second = server.requests[:3], server.requests[3:]
        assert [(one.target, one.headers.get("cookie")) for one in first] == [
            ("/x", None),
            ("/login", None),
            ("/there", "signed=1"),
        ]
        assert [(one.target, one.headers.get("cookie")) for one in second] == [
            ("/there", None),
            ("/x", None),
            ("/login", None),
            ("/there", "signed=1"),
        ]


def test_cookies_are_added_after_those_of_the_caller() -> None:
    with Server(DATA, login("signed=1; Path=/")) as server:
        fetch(server.url("/x"), 1, headers={"Cookie": "mine=2"})
        assert sent(server) == ["mine=2", "mine=2", "mine=2; signed=1"]


@pytest.mark.parametrize(
    "cookie",
    [
        "signed=1; Path=/elsewhere",
        "signed=1; Domain=example.org",
        "signed=1; Secure",
        "signed=1; Max-Age=0",
        "signed=1; Expires=Wed, 21 Oct 2015 07:28:00 GMT",
        "signed=\u00e9",
    ],
)
def test_a_cookie_that_does_not_match_the_hop(cookie: str) -> None:
    with Server(DATA) as server:
        server.script = lambda request: sets(cookie, location="/there") if request.target == "/x" else None
        fetch(server.url("/x"), 1)
        assert sent(server) == [None, None]


def test_a_host_does_not_get_the_cookies_of_another_host() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.host, request.headers.get("cookie")))
        if request.url.host == "a.example.org":
            cookies = [("Set-Cookie", "own=1"), ("Set-Cookie", "site=2; Domain=example.org")]
            return httpx.Response(302, headers=[("Location", "http://b.example.org/x"), *cookies])
        if request.url.host == "b.example.org":
            return httpx.Response(302, headers=[("Location", "http://other.test/x"), ("Set-Cookie", "b=3")])
        content_range = {"Content-Range": f"bytes 0-9/{len(DATA)}"}
        return httpx.Response(206, headers=content_range, stream=httpx.ByteStream(DATA[:10]))

    seen: list[tuple[str, str | None]] = []
    fetch("http://a.example.org/x", 1, client=lambda: httpx.AsyncClient(transport=httpx.MockTransport(handler)))
    assert seen == [("a.example.org", None), ("b.example.org", "site=2"), ("other.test", None)]


def test_a_cookie_for_a_public_suffix_is_not_sent_to_other_hosts() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "evil.co.uk":
            cookie = ("Set-Cookie", "session=evil; Domain=.co.uk")
            return httpx.Response(302, headers=[("Location", "http://bank.co.uk/x"), cookie])
        assert "cookie" not in request.headers
        return httpx.Response(416, headers={"Content-Range": "bytes */0"})

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            source = HttpSource("http://evil.co.uk/x", client=client)
            assert await source.read(ByteRange(0, 9)) == b""

    asyncio.run(run())


def test_a_callers_client_keeps_its_jar() -> None:
    with Server(DATA, lambda request: sets(f"c{request.number}=v; Path=/")) as server:
        fetch(server.url(), 3, client=lambda: httpx.AsyncClient(cookies={"given": "1"}))
        assert [set((cookies or "").split("; ")) for cookies in sent(server)] == [
            {"given=1"},
            {"given=1", "c0=v"},
            {"given=1", "c0=v", "c1=v"},
        ]


def test_a_callers_jar_and_a_chain_send_a_cookie_once() -> None:
    with Server(DATA, login("signed=1; Path=/")) as server:
        fetch(server.url("/x"), 1, client=httpx.AsyncClient)
        assert sent(server) == [None, None, "signed=1"]


def test_a_flood_of_cookies_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some 90 KB of cookies fit into a reply. Parsing them takes a second on the event loop that all streams share."""
    read: list[str] = []
    make = CookieJar.make_cookies

    def counted(jar: CookieJar, response: Any, request: Any) -> Any:
        read.extend(response.info().get_all("Set-Cookie", []))
        return make(jar, response, request)

    monkeypatch.setattr(CookieJar, "make_cookies", counted)
    flood = sets(*(f"c{k}=v" for k in range(4000)))
    with Server(DATA, lambda request: flood) as server:
        fetch(server.url(), 5)
        assert sent(server) == [None] * 5
    assert not read
    flooded = sets(*(f"c{k}=v; Path=/" for k in range(3000)), location="/there")
    with Server(DATA, lambda request: flooded if request.target == "/x" else None) as server:
        fetch(server.url("/x"), 1)
        assert [len((cookies or "").split("; ")) for cookies in sent(server)] == [1, 50]
    assert len(read) == 50


def test_the_cookies_of_a_chain_are_bounded() -> None:
    chain = ChainCookies()
    for _ in range(3):
        chain.keep("http://h.test/", ((b"Set-Cookie", b"c%d=v" % k) for k in range(24_000)))
    assert chain.header("http://h.test/").count("=") == 50
    chain = ChainCookies()
    chain.keep("http://h.test/", [(b"set-cookie", b"a=" + b"x" * 10_000), (b"set-cookie", b"b=" + b"x" * 10_000)])
    assert len(chain.header("http://h.test/")) == 10_002
    assert ChainCookies().header("http://h.test/") == ""


def test_the_librarys_own_jar_stays_empty() -> None:
    async def run() -> None:
        async with httpx.AsyncClient(
            cookies=NoCookies(),
            transport=httpx.MockTransport(lambda request: httpx.Response(200, headers={"Set-Cookie": "a=1"})),
        ) as client:
            await client.get("http://h.test/")
            assert len(client.cookies.jar) == 0

    asyncio.run(run())
