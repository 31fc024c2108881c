"""
A source over HTTP range requests, on httpx.

Strategy
--------
* No HEAD request. The first read asks for a range like any other; the reply's Content-Range tells the length, and its
  ETag (or Last-Modified) is pinned: a later reply that differs belongs to another file, and mixing two would be a wrong
  frame.
* A reply counts only if it is 206, starts where it was asked to, is not compressed and has exactly the bytes. Anything
  less is retried or refused, never guessed at.
* The query string of a signed URL is a secret and a byte string. It goes out as given (httpcore's ``target``), and the
  URL object that httpx logs does not print it.
* Redirects are followed here, not by httpx: the final address is remembered, and to another origin none of the caller's
  headers, credentials or cookies go, neither at the hop nor later.
* Retrying is tenacity's: which errors, how often and how long to wait is said declaratively, the loop is theirs.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from .._exceptions import ClosedError, FrameTimeoutError, TransportError
from .._ranges import ByteRange
from ._base import SilentServerError, Source, check_range, resource_name_of

if TYPE_CHECKING:
    import httpx

__all__ = ["HttpSource", "UrlLike"]

UrlLike = str | Callable[[], str | Awaitable[str]]
"""A URL, or a callable that returns one, such as a signer; called again once after 401 or 403."""

_MAX_REDIRECTS: Final = 10
_RETRIED_STATUS: Final = frozenset({408, 429})
_CONTENT_RANGE: Final = re.compile(r"bytes (?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19}|\*)")
_SAFE_TARGET: Final = re.compile(r"[!-~]*")
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_EXPIRED: Final = frozenset({401, 403, 404, 410})
"""Replies of a remembered redirect target that send us back to the original address once."""


def _forget_locals(exc: BaseException) -> None:
    """
    Clear the variables of the frames that an exception, and those that it was raised from, went through. Not those of
    its context, which may be an exception that the caller is dealing with.
    """
    import traceback

    cause: BaseException | None = exc
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__


class _Retry(Exception):  # noqa: N818 - control flow towards tenacity, never seen outside
    """This attempt failed in a way that another may not."""

    def __init__(self, error: TransportError, retry_after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry_after = retry_after


class _Elsewhere(Exception):  # noqa: N818 - likewise
    """The address in use no longer serves; ask again from the start, at once."""

    def __init__(self, error: TransportError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class _Address:
    """Where requests go: a URL, and the one that the caller named, from which it came by redirects."""

    url: str
    own: str

    @property
    def is_own_origin(self) -> bool:
        """Whether credentials may go there."""
        return _origin(self.url) == _origin(self.own)


class HttpSource(Source):
    """
    A file behind HTTP(S) range requests.

    Args:
        url: ``http:`` or ``https:``, or a callable that returns one, also asynchronously.
        client: an ``httpx.AsyncClient`` of the caller's, which stays open; its headers, authentication and proxies
            are used for the URL's own origin. It must not belong to a running event loop: requests run on the
            library's. When omitted, a client of the source's own.
        headers: sent to the URL's own origin, never to another one that it redirects to.
        timeout: seconds for one request, from connecting to the last byte; 0.001..300.
        deadline: seconds for one read with all its retries and redirects; 0.001..3600.
        retries: how often a failed request is repeated; 0..10.
        backoff: seconds before the first repetition, doubling, with as much again at random; 0..60.
        chunk: most bytes of one request; 1..67108864.
        concurrency: most requests at a time; 1..64.
        whole_file_cap: most bytes taken from a server that ignores ranges and sends the whole file, 0..1073741824; 0
            refuses it.
        http2: whether to offer HTTP/2 (needs the ``h2`` package).

    Raises:
        ValueError: `url` is no ``http:`` or ``https:`` URL with a host, or an option is outside its range.

    Reading fails with a :class:`TransportError`, whose message names the URL without its query, or, when the deadline
    has passed, with a :class:`FrameTimeoutError`. A failure is never remembered.
    """

    def __init__(
        self,
        url: UrlLike,
        *,
        client: httpx.AsyncClient | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        deadline: float = 30.0,
        retries: int = 3,
        backoff: float = 0.25,
        chunk: int = 1024 * 1024,
        concurrency: int = 4,
        whole_file_cap: int = 64 * 1024 * 1024,
        http2: bool = False,
    ) -> None:
        self._given = url
        self._name = resource_name_of(url) if isinstance(url, str) else ""
        if isinstance(url, str):
            _check_url(url)
        self._headers = dict(headers or {})
        self._client = client
        self._owns_client = client is None
        if not isinstance(http2, bool):
            raise ValueError(f"http2: expected False or True, found {http2!r}")
        self._http2 = http2
        self._timeout = check_range("timeout", timeout, 0.001, 300.0)
        self._deadline = check_range("deadline", deadline, 0.001, 3600.0)
        self._retries = check_range("retries", retries, 0, 10)
        self._backoff = check_range("backoff", backoff, 0.0, 60.0)
        self._chunk = check_range("chunk", chunk, 1, 64 * 1024 * 1024)
        self._whole_file_cap = check_range("whole_file_cap", whole_file_cap, 0, 1024 * 1024 * 1024)
        self._slots = asyncio.Semaphore(check_range("concurrency", concurrency, 1, 64))
        self._resolving = asyncio.Lock()
        self._own: str | None = None
        self._address: _Address | None = None
        self._length: int | None = None
        self._validators: dict[str, str] = {}
        self._whole: bytes | None = None
        self._closed = False
        self._requests = 0
        self._replies = 0
        self._bytes_received = 0

    @property
    def name(self) -> str:
        return self._name

    @property
    def length(self) -> int | None:
        return self._length

    @property
    def requests(self) -> int:
        return self._requests

    @property
    def bytes_received(self) -> int:
        return self._bytes_received

    async def read(self, span: ByteRange) -> bytes:
        if self._closed:
            raise ClosedError(f"{self._name!r}: the source is closed")
        if self._length is not None:
            span = ByteRange(min(span.start, self._length), min(span.stop, self._length))
        if not span:
            return b""
        if self._whole is not None:
            return self._whole[span.start : span.stop]
        parts = [
            ByteRange(start, min(start + self._chunk, span.stop)) for start in range(span.start, span.stop, self._chunk)
        ]
        if self._length is None or len(parts) == 1:
            # The first reply tells the length, and with it which of the other parts there are.
            first = await self._part(parts[0])
            return first if len(parts) == 1 else first + await self.read(ByteRange(parts[0].stop, span.stop))
        return b"".join(await _all_or_none([self._part(part) for part in parts]))

    async def aclose(self) -> None:
        self._closed = True
        self._whole = None
        client, self._client = self._client, None
        if client is not None and self._owns_client:
            await client.aclose()

    def __repr__(self) -> str:
        url = self._own or self._given
        shown = _shown(url) if isinstance(url, str) else "callable"
        return f"<HttpSource {shown!r} {'?' if self._length is None else self._length} bytes>"

    async def _part(self, span: ByteRange) -> bytes:
        """One range, with retries, within the deadline."""
        from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

        started, replies = time.monotonic(), self._replies

        def wait(state: RetryCallState) -> float:
            assert state.outcome is not None
            failure = state.outcome.exception()
            retry_after = failure.retry_after if isinstance(failure, _Retry) else None
            pause: float = self._backoff * 2 ** (state.attempt_number - 1) * random.uniform(1, 2)
            if retry_after is None:
                return pause
            left = self._deadline - (time.monotonic() - started)
            if retry_after >= left and isinstance(failure, _Retry):
                raise TransportError(
                    f"{failure.error}; it asks to wait {retry_after:g} s, past the deadline"
                ) from failure
            return max(pause, retry_after)

        try:
            async with asyncio.timeout(self._deadline):
                async for attempt in AsyncRetrying(
                    stop=stop_after_attempt(self._retries + 1),
                    wait=wait,
                    retry=retry_if_exception_type(_Retry),
                    reraise=True,
                ):
                    with attempt:
                        return await self._attempt(span)
        except _Retry as failure:
            raise failure.error from failure.__cause__
        except TimeoutError as exc:
            if isinstance(exc, FrameTimeoutError):
                raise
            cause = f"; so far: {self._last_failure}" if self._last_failure else ""
            kind = SilentServerError if self._replies == replies else FrameTimeoutError
            raise kind(f"{self._shown()}: {span} not read within {self._deadline:g} s{cause}") from exc
        raise AssertionError("tenacity ends with a result or an exception")  # pragma: no cover

    async def _attempt(self, span: ByteRange) -> bytes:
        """One attempt; an address that has expired is asked for anew, once."""
        for is_last in (False, True):
            async with self._slots:
                address = await self._resolve()
                try:
                    async with asyncio.timeout(self._timeout):
                        data = await self._request(span, address)
                    self._last_failure = ""
                    return data
                except _Elsewhere as failure:
                    if is_last:
                        raise failure.error from failure
                    self._expire(address)
                except TimeoutError as exc:
                    error = TransportError(f"{self._shown()}: no complete reply to {span} within {self._timeout:g} s")
                    self._last_failure = str(error)
                    raise _Retry(error) from exc
                except _Retry as failure:
                    self._last_failure = str(failure)
                    raise
        raise AssertionError("the second round returns or raises")  # pragma: no cover

    def _expire(self, address: _Address) -> None:
        """An address no longer serves; unless another request found that out first, begin at the one before it."""
        if self._address == address:
            self._address = None
        if callable(self._given) and self._own == address.own:
            self._own = self._address = None

    async def _resolve(self) -> _Address:
        async with self._resolving:  # so that many requests make one call
            if self._address is None:
                if self._own is None:
                    async with asyncio.timeout(self._timeout):
                        self._own = await self._call_given()
                    self._name = self._name or resource_name_of(self._own)
                self._address = _Address(self._own, self._own)
            return self._address

    async def _call_given(self) -> str:
        if isinstance(self._given, str):
            return self._given
        try:
            url = self._given()
            if inspect.isawaitable(url):
                url = await url
        except TimeoutError:
            raise
        except Exception as exc:  # the caller's code, which may raise anything
            # Its text may quote the URL that it was signing, so only the kind of failure is shown.
            raise TransportError(f"the callable that gives the URL failed: {type(exc).__name__}") from exc
        if not isinstance(url, str):
            raise TransportError(f"the callable that gives the URL returned a {type(url).__name__}, expected a str")
        try:
            _check_url(url)
        except ValueError as exc:
            raise TransportError(f"the callable that gives the URL: {exc}") from exc
        return url

    async def _request(self, span: ByteRange, address: _Address) -> bytes:
        """Send one request, following redirects; return the bytes of the range."""
        import httpx

        client = self._open_client()
        for _ in range(_MAX_REDIRECTS + 1):
            try:
                request = self._build(client, address, span)
                self._requests += 1
                response = await client.send(
                    request,
                    stream=True,
                    follow_redirects=False,
                    **({} if address.is_own_origin else {"auth": None}),
                )
                self._replies += 1
                try:
                    location = response.headers.get("location")
                    if response.status_code in _REDIRECTS and location:
                        address = self._redirected(address, location)
                        continue
                    data = await self._accept(response, span, address)
                    if self._own == address.own:  # not signed anew meanwhile
                        self._address = address
                    return data
                finally:
                    await response.aclose()
            except httpx.TransportError as exc:
                # Connecting, reading, writing, timing out, a protocol violation: all of the moment.
                # Its frames keep what came, in cycles that wait for the garbage collector, with each attempt anew.
                _forget_locals(exc)
                raise _Retry(TransportError(f"{self._shown(address)}: {_reason(exc)}")) from exc
            except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as exc:
                raise TransportError(f"{self._shown(address)}: {_reason(exc)}") from exc
            except ValueError as exc:  # a host name that no domain name can be
                raise TransportError("the URL, or one that it redirects to, is malformed") from exc
            except RuntimeError as exc:
                if not client.is_closed:
                    raise
                raise TransportError(f"{self._shown(address)}: the httpx client is closed") from exc
        raise TransportError(f"{self._shown()}: more than {_MAX_REDIRECTS} redirects; they lead in a circle")

    def _open_client(self) -> httpx.AsyncClient:
        import httpx

        if self._closed:
            raise ClosedError(f"{self._name!r}: the source is closed")
        if self._client is None:
            try:
                self._client = httpx.AsyncClient(http2=self._http2, timeout=self._timeout)
            except ImportError as exc:  # for HTTP/2, or for a SOCKS proxy that the environment names
                raise TransportError(f"{self._shown()}: {exc}") from exc
            except (ValueError, httpx.InvalidURL) as exc:
                raise TransportError(
                    f"{self._shown()}: the environment names a proxy (ALL_PROXY, HTTP_PROXY, HTTPS_PROXY) by something"
                    " that is no URL of a proxy"
                ) from exc
            except OSError as exc:
                raise TransportError(
                    f"{self._shown()}: the certificates that SSL_CERT_FILE or SSL_CERT_DIR name cannot be read:"
                    f" {exc.strerror or type(exc).__name__}"
                ) from exc
        return self._client

    def _build(self, client: httpx.AsyncClient, address: _Address, span: ByteRange) -> httpx.Request:
        import httpx

        headers = {
            "Accept-Encoding": "identity",
            "Range": f"bytes={span.start}-{span.stop - 1}",
        }
        if address.is_own_origin:
            request = client.build_request("GET", address.url, headers={**self._headers, **headers})
        else:
            # Built beside the client, so that its default headers and cookies stay at home.
            request = httpx.Request("GET", address.url, headers={**headers, "Accept": "*/*"})
            request.extensions = {"timeout": httpx.Timeout(self._timeout).as_dict()}
        target = _target(address.url)
        if target is not None:
            request.extensions = {**request.extensions, "target": target}
        request.url = _quiet(request.url)
        return request

    def _redirected(self, address: _Address, location: str) -> _Address:
        url = urljoin(address.url, location)
        try:
            _check_url(url)
        except ValueError as exc:
            raise TransportError(f"{self._shown(address)}: redirects to something that is no http address") from exc
        if urlsplit(address.own).scheme == "https" and urlsplit(url).scheme != "https":
            raise TransportError(f"{self._shown(address)}: redirects from https to plain http; refused")
        return _Address(url, address.own)

    async def _accept(self, response: httpx.Response, span: ByteRange, address: _Address) -> bytes:
        """The bytes of a reply, after every check."""
        status = response.status_code
        shown = self._shown(address)
        if status >= 500 or status in _RETRIED_STATUS:
            error = TransportError(f"{shown}: the server answered {status} to {span}")
            raise _Retry(error, _retry_after(response.headers.get("retry-after")))
        if (status in _EXPIRED and address.url != self._own) or (status in (401, 403) and callable(self._given)):
            raise _Elsewhere(TransportError(f"{shown}: the server answered {status}"))
        if status == 416 and self._length is None and response.headers.get("content-range", "").strip() == "bytes */0":
            self._length = 0
            return b""
        if status not in (200, 206):
            hint = {401: "; it wants credentials", 403: "; access denied", 404: "; no such file"}.get(status, "")
            raise TransportError(f"{shown}: expected 206 for {span}, found {status}{hint}")
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise TransportError(
                f"{shown}: expected plain bytes, found Content-Encoding {encoding!r}, which was not asked for"
            )
        self._check_unchanged(response, shown)
        if status == 200:
            return await self._accept_whole(response, span, shown)
        expected, length = self._check_content_range(response, span, shown)
        data = await self._body(response, len(expected), shown)
        self._length = length  # and the validators, now that a whole reply is here: a failure teaches nothing
        self._pin(response)
        return data

    def _check_content_range(self, response: httpx.Response, span: ByteRange, shown: str) -> tuple[ByteRange, int]:
        """What a 206 says it holds, and the file's length."""
        text = response.headers.get("content-range", "")
        match = _CONTENT_RANGE.fullmatch(text.strip())
        if match is None or match[1] is None:
            raise TransportError(f"{shown}: expected a Content-Range for {span}, found {text!r}")
        first, last = int(match[1]), int(match[2])
        if match[3] == "*":
            raise TransportError(f"{shown}: expected a Content-Range that tells the file's length, found {text!r}")
        total = int(match[3])
        if self._length is not None and total != self._length:
            raise TransportError(f"{shown}: the file changed while open: expected {self._length} bytes, found {total}")
        stop = min(span.stop, total)
        if (first, last + 1) != (span.start, stop):
            raise TransportError(f"{shown}: expected Content-Range {span.start}-{stop - 1}, found {text!r}")
        return ByteRange(first, last + 1), total

    async def _accept_whole(self, response: httpx.Response, span: ByteRange, shown: str) -> bytes:
        """A server that ignores ranges: its one file, up to the cap, is kept."""
        announced = response.headers.get("content-length", "")
        size = int(announced) if announced.isascii() and announced.isdigit() and len(announced) < 20 else None
        if size is None or size > self._whole_file_cap:
            raise TransportError(
                f"{shown}: the server ignores ranges and answered 200 with {announced or 'an unknown number of'} bytes;"
                f" whole files are taken up to {self._whole_file_cap} bytes (whole_file_cap)"
            )
        if self._length is not None and size != self._length:
            raise TransportError(f"{shown}: the file changed while open: expected {self._length} bytes, found {size}")
        whole = await self._body(response, size, shown)
        self._pin(response)
        self._length, self._whole = size, whole
        return whole[span.start : span.stop]

    async def _body(self, response: httpx.Response, n_bytes: int, shown: str) -> bytes:
        """Exactly `n_bytes`, received in bounded memory."""
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            self._bytes_received += len(piece)
            if len(body) > n_bytes:
                raise TransportError(f"{shown}: expected a body of {n_bytes} bytes, found more")
        if len(body) < n_bytes:
            raise _Retry(TransportError(f"{shown}: expected a body of {n_bytes} bytes, found {len(body)}"))
        return bytes(body)

    def _check_unchanged(self, response: httpx.Response, shown: str) -> None:
        for header, pinned in self._validators.items():
            found = response.headers.get(header)
            if found != pinned:
                raise TransportError(
                    f"{shown}: the file changed while open: expected {header} {pinned!r}, found {found!r};"
                    " open it again"
                )

    def _pin(self, response: httpx.Response) -> None:
        """Remember what identifies this file: a strong ETag, else its date."""
        if self._validators:
            return
        etag = response.headers.get("etag", "")
        modified = response.headers.get("last-modified", "")
        if etag and not etag.startswith("W/"):
            self._validators = {"etag": etag}
        elif modified:
            self._validators = {"last-modified": modified}

    def _shown(self, address: _Address | None = None) -> str:
        """The address for messages: no query, no user, no password."""
        url = address.url if address is not None else self._own
        if url is None:
            return self._name or "the URL"
        return _shown(url)


async def _all_or_none(reads: list[Coroutine[Any, Any, bytes]]) -> list[bytes]:
    """All results; the first failure cancels the other reads. A TaskGroup would wrap it in a group."""
    tasks = [asyncio.ensure_future(read) for read in reads]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _check_url(url: str) -> None:
    """Raise ValueError unless `url` is an http address. The message never quotes it: the query may be secret."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("URL: malformed host or port") from None
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise ValueError(f"URL: expected http://host/... or https://host/..., found the scheme {parts.scheme!r}")


def _shown(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    # Escaped, so that a message with it can be printed anywhere, and cannot move a terminal's cursor.
    return f"{parts.scheme}://{host}{port}{parts.path}".encode("ascii", "backslashreplace").decode("ascii")


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or (443 if scheme == "https" else 80)


def _target(url: str) -> bytes | None:
    """Path and query byte for byte as given, or None where they hold what a request line cannot."""
    rest = url.partition("://")[2].partition("#")[0]
    cut = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    target = rest[cut:]
    if not target.startswith("/"):
        target = "/" + target
    return target.encode("ascii") if _SAFE_TARGET.fullmatch(target) else None


def _quiet(url: httpx.URL) -> httpx.URL:
    """The same URL, whose text, which httpx logs, has no query and no password."""
    return _quiet_url_class()(url)


@cache
def _quiet_url_class() -> type[httpx.URL]:
    import httpx

    class QuietURL(httpx.URL):
        def __str__(self) -> str:
            return _shown(super().__str__())

        __repr__ = __str__

    return QuietURL


def _reason(exc: httpx.HTTPError | httpx.InvalidURL | httpx.StreamError) -> str:
    import httpx

    if isinstance(exc, httpx.ProtocolError | httpx.InvalidURL):
        return "the server broke the HTTP protocol"  # httpx's text may quote a Location, and with it a signature
    return str(exc) or type(exc).__name__


def _retry_after(text: str | None) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
