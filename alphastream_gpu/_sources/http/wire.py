"""
One range request on the network: sent, its redirects followed, its body received in bounded memory.

Strategy
--------
* The query string of a signed URL is a byte string. It goes out as given, by a URL object whose ``raw_path`` is those
  bytes. httpcore has the request extension ``target`` for that. It was turned down: it replaces the absolute form that
  a forward proxy needs, and the host and port of ``CONNECT``, so that a proxy is told the query.
* Redirects are followed here, not by httpx: the final address is remembered, and to another origin none of the caller's
  headers and credentials go, neither at the hop nor later.
* Nothing of httpx is raised, or attached to what is returned: its errors quote headers and addresses.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakSet

import httpx

from ... import __version__
from ..ranges import ByteRange
from .address import Address, shown, target_of
from .cookies import ChainCookies
from .progress import Traffic
from .quiet import quiet_logs
from .reply import read_headers, too_long
from .verdict import Again, Moved, Part, Refused, Reply, Verdict, Whole

__all__ = ["USER_AGENT", "Answer", "BadAddress", "Wire"]

USER_AGENT: Final = f"alphastream_gpu/{__version__}"
_MOST_REDIRECTS: Final = 10

Judge = Callable[[Reply, Address], Verdict]


@dataclass(frozen=True, slots=True)
class BadAddress:
    """No request can be made of the URL."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What came of a request.
    """

    verdict: Verdict | BadAddress
    address: Address
    """The hop at which it ended."""
    reply: Reply | None = None
    body: bytes = b""
    """All of it, where the verdict is :class:`Part` or :class:`Whole`."""


class Wire:
    """
    Sends requests with one client.

    Args:
        client: the library's own or the caller's.
        keeps_cookies: whether it has a jar of its own, as a caller's client has.
        headers: for the URL's own origin.
        timeout: seconds for connecting, each read and each write, of requests to other origins.
        traffic: where to count.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        keeps_cookies: bool,
        headers: Mapping[str, str],
        timeout: float,
        traffic: Traffic,
    ) -> None:
        self.client = client
        self._keeps_cookies = keeps_cookies
        self._headers = headers
        self._timeout = httpx.Timeout(timeout)
        self._traffic = traffic
        self._used: WeakSet[Any] = WeakSet()
        """Network streams of connections that carried a reply."""

    async def fetch(self, span: ByteRange, address: Address, judge: Judge) -> Answer:
        """
        Ask for a range; follow redirects.

        Args:
            span: which bytes; not empty.
            address: where to begin.
            judge: what a reply means.
        """
        cookies = ChainCookies()
        with quiet_logs():
            for _ in range(_MOST_REDIRECTS + 1):
                answer = await self._hop(span, address, judge, cookies)
                if not isinstance(answer.verdict, Moved):
                    return answer
                target = address.redirected(answer.verdict.location)
                if isinstance(target, str):
                    return Answer(Refused(target), address)
                address = target
        return Answer(Refused(f"more than {_MOST_REDIRECTS} redirects; they lead in a circle"), address)

    async def _hop(self, span: ByteRange, address: Address, judge: Judge, cookies: ChainCookies) -> Answer:
        """One request and its reply."""
        try:
            request = self._build(span, address, cookies)
            _check_host(request.url)
        except (ValueError, httpx.InvalidURL):  # a host name that no domain name can be
            return Answer(BadAddress(), address)
        try:
            self._traffic.requests += 1
            response = await self.client.send(
                request, stream=True, follow_redirects=False, **({} if address.is_own_origin else {"auth": None})
            )
            try:
                self._traffic.replies += 1
                reply = Reply(response.status_code, read_headers(response.headers.raw), self._is_reused(response))
                verdict = judge(reply, address)
                if isinstance(verdict, Moved):
                    cookies.keep(address.url, response.headers.raw)
                if not isinstance(verdict, Part | Whole):
                    return Answer(verdict, address, reply)
                body = await self._body(response, verdict)
                if not isinstance(body, bytes):
                    return Answer(body, address, reply)
                # Judged again: another request may have told meanwhile that the file is another.
                return Answer(judge(reply, address), address, reply, body)
            finally:
                await response.aclose()
        except httpx.TransportError as exc:
            # Connecting, reading, writing, timing out, a protocol violation: all of the moment.
            # Its frames keep what came, in cycles that wait for the garbage collector, with each attempt anew.
            _forget_locals(exc)
            return Answer(Again(_reason(exc)), address)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as exc:
            return Answer(Refused(_reason(exc)), address)
        except UnicodeError:  # httpx has looked where the reply leads
            return Answer(Refused("redirects to something that is no http address"), address)
        except RuntimeError:
            if not self.client.is_closed:
                raise
            return Answer(Refused("the httpx client is closed"), address)

    def _build(self, span: ByteRange, address: Address, cookies: ChainCookies) -> httpx.Request:
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={span.start}-{span.stop - 1}"}
        if address.is_own_origin:
            request = self.client.build_request("GET", address.url, headers={**self._headers, **headers})
        else:
            # Built beside the client, so that its default headers and cookies stay at home.
            request = httpx.Request("GET", address.url, headers={**headers, "Accept": "*/*", "User-Agent": USER_AGENT})
            request.extensions = {"timeout": self._timeout.as_dict()}
        if not (self._keeps_cookies and address.is_own_origin):  # else they are in the jar
            _add_cookies(request, cookies.header(address.url))
        target = target_of(address.url)
        if target is not None:
            request.url = _ExactURL(request.url, target)
        return request

    async def _body(self, response: httpx.Response, verdict: Part | Whole) -> bytes | Again | Refused:
        """Exactly the bytes that were promised, received in bounded memory."""
        expected = len(verdict.span) if isinstance(verdict, Part) else verdict.length
        most = verdict.most if expected is None and isinstance(verdict, Whole) else expected
        assert most is not None
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            self._traffic.bytes_received += len(piece)
            if len(body) > most:
                text = f"expected a body of {expected} bytes, found more"
                return Refused(too_long(None, most) if expected is None else text)
        if expected is not None and len(body) < expected:
            return Again(f"expected a body of {expected} bytes, found {len(body)}")
        return bytes(body)

    def _is_reused(self, response: httpx.Response) -> bool:
        """Whether this reply's connection had carried another; it is noted that it has now."""
        stream = response.extensions.get("network_stream")
        if stream is None:
            return False
        try:
            is_reused = stream in self._used
            self._used.add(stream)
        except TypeError:  # a transport of the caller's, with streams that cannot be referred to weakly
            return False
        return is_reused


class _ExactURL(httpx.URL):
    """A URL whose path and query go out as these bytes."""

    def __init__(self, url: httpx.URL, target: bytes) -> None:
        super().__init__(url)
        self._target = target

    @property
    def raw_path(self) -> bytes:
        return self._target

    def __repr__(self) -> str:
        return f"URL({shown(str(self))!r})"


def _check_host(url: httpx.URL) -> None:
    """Raise UnicodeError where connecting would: later it could not be told from one of httpx about a redirect."""
    _ = url.host
    url.raw_host.decode("ascii").encode("idna")


def _add_cookies(request: httpx.Request, text: str) -> None:
    if text:
        present = request.headers.get("cookie")
        request.headers["Cookie"] = f"{present}; {text}" if present else text


def _reason(exc: httpx.HTTPError | httpx.InvalidURL | httpx.StreamError) -> str:
    """What to say of an error of httpx. Those of protocols and URLs quote what came, such as a signed address."""
    if isinstance(exc, httpx.LocalProtocolError):
        return "the request cannot be sent; does the client that was given add headers which HTTP cannot carry?"
    if isinstance(exc, httpx.ProtocolError | httpx.InvalidURL):
        return "the server broke the HTTP protocol"
    if isinstance(exc, httpx.ProxyError):
        return f"the proxy answered {exc}"
    return str(exc) or type(exc).__name__


def _forget_locals(exc: BaseException) -> None:
    """
    Clear the variables of the frames that an exception, and those that it was raised from, went through. Not those of
    its context, which may be an exception that the caller is dealing with.
    """
    cause: BaseException | None = exc
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__
