"""
Wire: sends one range request, follows its redirects, and receives the body in bounded memory.

Strategy
--------
* The query of a signed URL is a string of bytes and is sent unchanged, by a URL object whose ``raw_path`` is those
  bytes. Rejected: the request extension ``target`` of httpcore. It replaces the absolute form that a forward proxy
  needs, and the host and port of ``CONNECT``, so a proxy would see the query.
* Redirects are followed here and not by httpx. So the final address can be remembered, and the caller's headers and
  credentials are never sent to another origin, neither during the redirect nor later.
* Exceptions of httpx and of the caller's client are neither raised nor attached to a result, because they quote
  headers and addresses (``callers.py``).
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import httpx

from ... import __version__
from ..._runtime.loop import outcome
from ..._wording import SENT_HEADERS
from ..ranges import ByteRange
from .address import Address, shown, target_of
from .callers import at_end, harmless, is_ending, raised, system_reason
from .cookies import ChainCookies
from .pool import Connections, SharedClient
from .progress import Traffic
from .quiet import quiet_logs
from .reply import read_headers, too_long
from .verdict import Again, Moved, Part, Refused, Reply, Verdict, Whole

__all__ = ["USER_AGENT", "Answer", "BadAddress", "Wire"]

USER_AGENT: Final = f"alphastream_gpu/{__version__}"
_MOST_REDIRECTS: Final = 10
_MOST_CAUSES: Final = 100
_STATUS: Final = re.compile(r"[1-5][0-9]{2}(?![^ ])")
_logger = logging.getLogger("alphastream_gpu")

Judge = Callable[[Reply, Address], Verdict]


@dataclass(frozen=True, slots=True)
class BadAddress:
    """httpx cannot make a request for the URL."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    The result of a request.
    """

    verdict: Verdict | BadAddress
    address: Address
    """The address of the last hop."""
    reply: Reply | None = None
    body: bytes = b""
    """The complete body if the verdict is :class:`Part` or :class:`Whole`."""


class Wire:
    """
    Sends requests with one client.

    Args:
        client: the client of the library or of the caller.
        shared: the use of a client of the library; None if the client is the caller's. Such a client has a cookie jar,
            and the texts of its exceptions are not shown.
        headers: headers for the URL's own origin.
        timeout: seconds for connecting, for each read and for each write, of requests to other origins.
        traffic: the counters of the source.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        shared: SharedClient | None,
        headers: Mapping[str, str],
        timeout: float,
        traffic: Traffic,
    ) -> None:
        self.client = client
        self._is_callers = shared is None
        self._shared = shared
        self._headers = headers
        self._timeout = httpx.Timeout(timeout)
        self._traffic = traffic
        self._connections = Connections() if shared is None else shared.connections

    async def aclose(self) -> None:
        """Close the client, unless other sources use it. Exceptions are those of the client."""
        if self._shared is None:
            await self.client.aclose()
        else:
            await self._shared.release(self._traffic)

    async def fetch(self, span: ByteRange | None, address: Address, judge: Judge) -> Answer:
        """
        Request a range and follow redirects.

        Args:
            span: the range of bytes; not empty. None sends a HEAD request, for the length of the file.
            address: the first address.
            judge: the function that interprets a reply.

        Raises:
            ClosedError: the interpreter is ending.
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
                _logger.debug("redirected from %s to %s", shown(address.url), shown(target.url))
                address = target
        return Answer(Refused(f"more than {_MOST_REDIRECTS} redirects; they may form a loop"), address)

    async def _hop(self, span: ByteRange | None, address: Address, judge: Judge, cookies: ChainCookies) -> Answer:
        """Send one request and receive its reply."""
        try:
            request = self._build(span, address, cookies)
            _check_host(request.url)
        except (ValueError, httpx.InvalidURL):  # an invalid host name
            return Answer(BadAddress(), address)
        except Exception as exc:  # the caller's client may have its own build_request()
            return Answer(self._failure(exc), address)
        answer, error = await outcome(partial(self._exchange, request, address, judge, cookies))
        if error is None:
            assert answer is not None
            return answer
        # The frames of the exception hold the received data in reference cycles; without clearing, each attempt would
        # add more until the garbage collector runs.
        _forget_locals(error)
        if isinstance(error, RuntimeError) and is_ending():
            raise at_end()
        return Answer(self._failure(error), address)

    async def _exchange(self, request: httpx.Request, address: Address, judge: Judge, cookies: ChainCookies) -> Answer:
        self._traffic.requests += 1
        response = await self.client.send(
            request, stream=True, follow_redirects=False, **({} if address.is_own_origin else {"auth": None})
        )
        try:
            self._traffic.replies += 1
            headers = read_headers(response.headers.raw)
            what = [headers.get(name) for name in ("content-range", "etag", "last-modified", "content-length")]
            is_reused, is_second = self._connections.note(response, address.url, what)
            if is_second:
                text = "the reply to another URL came again, which may be a second reply to an earlier request"
                return Answer(Again(text), address)
            reply = Reply(response.status_code, headers, is_reused)
            verdict = judge(reply, address)
            if isinstance(verdict, Moved):
                cookies.keep(address.url, response.headers.raw)
            if not isinstance(verdict, Part | Whole):
                return Answer(verdict, address, reply)
            body = await self._body(response, verdict)
            if not isinstance(body, bytes):
                return Answer(body, address, reply)
            # Judged again, because the reply to another request may have shown meanwhile that the file changed.
            return Answer(judge(reply, address), address, reply, body)
        finally:
            await response.aclose()

    def _failure(self, error: BaseException) -> Again | Refused:
        """The verdict for an exception of the client, or of code that the client calls."""
        if isinstance(error, httpx.TransportError):
            # Failures in connecting, reading and writing, timeouts and protocol violations may be temporary.
            return Again(self._reason(error))
        if isinstance(error, (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)):
            return Refused(self._reason(error))
        if isinstance(error, UnicodeError) and not self._is_callers:  # httpx itself parses the target of a redirect
            return Refused("redirects to something that is not an HTTP URL")
        if isinstance(error, RuntimeError) and self.client.is_closed:
            return Refused("the httpx client is closed")
        return Refused(f"{'the given client' if self._is_callers else 'the request'} failed: {raised(error)}")

    def _reason(self, exc: httpx.HTTPError | httpx.InvalidURL | httpx.StreamError) -> str:
        """The message for an error of httpx. Its errors about protocols and URLs quote the data, such as signed
        addresses."""
        if isinstance(exc, httpx.LocalProtocolError):
            return f"the request cannot be sent; {SENT_HEADERS}"
        if isinstance(exc, httpx.ProtocolError | httpx.InvalidURL):
            return "the server broke the HTTP protocol"
        text = str(exc)
        if isinstance(exc, httpx.ProxyError):
            status = _STATUS.match(text)
            reason = (status[0] if status else "") if self._is_callers else harmless(text)
            return f"the proxy answered {reason}" if reason else raised(exc)
        if isinstance(exc, httpx.HTTPStatusError):  # of a hook of the caller's client; its text has the whole URL
            return f"the client's hook refused the reply {exc.response.status_code}"
        if not self._is_callers:
            return harmless(text) or type(exc).__name__
        reason = system_reason(exc)
        return f"{type(exc).__name__}: {reason}" if reason else raised(exc)

    def _build(self, span: ByteRange | None, address: Address, cookies: ChainCookies) -> httpx.Request:
        method = "HEAD" if span is None else "GET"
        headers = {"Accept-Encoding": "identity"}
        if span is not None:
            headers["Range"] = f"bytes={span.start}-{span.stop - 1}"
        if address.is_own_origin:
            request = self.client.build_request(method, address.url, headers={**self._headers, **headers})
        else:
            # Built without the client, so that its default headers and cookies are not sent to another origin.
            request = httpx.Request(method, address.url, headers={**headers, "Accept": "*/*", "User-Agent": USER_AGENT})
            request.extensions = {"timeout": self._timeout.as_dict()}
        if not (self._is_callers and address.is_own_origin):  # otherwise they are in the jar
            _add_cookies(request, cookies.header(address.url))
        target = target_of(address.url)
        if target is not None:
            request.url = _ExactURL(request.url, target)
        return request

    async def _body(self, response: httpx.Response, verdict: Part | Whole) -> bytes | Again | Refused:
        """Receive exactly the announced bytes in bounded memory."""
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


class _ExactURL(httpx.URL):
    """A URL whose path and query are sent as the given bytes."""

    def __init__(self, url: httpx.URL, target: bytes) -> None:
        super().__init__(url)
        self._target = target

    @property
    def raw_path(self) -> bytes:
        return self._target

    def __repr__(self) -> str:
        return f"URL({shown(str(self))!r})"


def _check_host(url: httpx.URL) -> None:
    """Raise UnicodeError if connecting would. Later, such an error could also be about the target of a redirect."""
    _ = url.host
    url.raw_host.decode("ascii").encode("idna")


def _add_cookies(request: httpx.Request, text: str) -> None:
    if text:
        present = request.headers.get("cookie")
        request.headers["Cookie"] = f"{present}; {text}" if present else text


def _forget_locals(exc: BaseException) -> None:
    """
    Clear the local variables in the tracebacks of an exception and of its causes. The tracebacks of its context are
    kept: the context may be an exception that the caller is handling.
    """
    cause: BaseException | None = exc
    for _ in range(_MOST_CAUSES):  # the caller's code may have made a cycle
        if cause is None:
            break
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__
