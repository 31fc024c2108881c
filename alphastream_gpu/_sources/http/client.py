"""
Client: makes the library's own httpx client. This takes some 20 ms, or 150 ms with the imports, so it runs in a thread.
"""

from __future__ import annotations

import asyncio
import importlib
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

import httpx

from ..._exceptions import TransportError
from . import quiet
from .address import proxy_problem
from .callers import raised
from .cookies import NoCookies
from .environment import certificates_at_fault, environment_proxies, is_exempt, variable_of
from .pool import SharedClient
from .progress import Traffic
from .wire import USER_AGENT, Wire

__all__ = ["make_client", "open_wire"]

_NO_LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=5.0)
"""The sources that share a client have limits of their own."""


def open_wire(
    given: Any,
    *,
    loop: asyncio.AbstractEventLoop,
    makes_client: bool,
    http2: bool,
    headers: Mapping[str, str],
    timeout: float,
    traffic: Traffic,
) -> Wire:
    """
    Make the object that sends the requests of a source.

    Args:
        given: a client, a callable that makes one, or None for a client of the library.
        loop: the event loop of the requests.
        makes_client: whether `given` is a callable.
        http2: whether a client of the library offers HTTP/2.
        headers: headers for the URL's own origin.
        timeout: seconds for connecting, for each read and for each write.
        traffic: the counters of the source.

    Raises:
        TransportError: as of :func:`make_client`, or the callable failed or did not return a client.
    """
    _load()
    if given is None:
        make = partial(make_client, http2=http2, timeout=timeout)
        shared = SharedClient.of(loop, traffic, http2=http2, timeout=timeout, make=make)
        return Wire(shared.client, shared=shared, headers=headers, timeout=timeout, traffic=traffic)
    client = _made_by(given) if makes_client else given
    if not isinstance(client, httpx.AsyncClient):
        raise TransportError(
            f"client: expected the callable to return an httpx.AsyncClient, found a {type(client).__name__}"
        )
    return Wire(client, shared=None, headers=headers, timeout=timeout, traffic=traffic)


def _made_by(given: Callable[[], object]) -> object:
    """Call the caller's callable. Its exception may quote the address of a proxy or a token, also if it is an error of
    this package, so the message has only the exception's type and place."""
    try:
        return given()
    except BaseException as exc:
        problem = f"client: the callable failed: {raised(exc)}"
    raise TransportError(problem)


def _load() -> None:
    """Import the modules that the first request would import on the event loop, and filter their log records."""
    quiet.install()
    for module in ("anyio._backends._asyncio", "httpcore._backends.anyio"):
        with suppress(ImportError):  # these packages may move their modules
            importlib.import_module(module)


def make_client(*, http2: bool, timeout: float) -> httpx.AsyncClient:
    """
    Make a client with this package's User-Agent, without cookies, and with the proxies of the environment.

    Args:
        http2: whether to offer HTTP/2.
        timeout: seconds for connecting, for each read and for each write.

    Raises:
        TransportError: a package is missing, or an environment variable has an invalid value. The message names the
            variable and contains no URL.
    """
    verify = _ssl_context()
    problem = ""
    try:
        direct = httpx.AsyncHTTPTransport(verify=verify, http2=http2, limits=_NO_LIMITS)
        return httpx.AsyncClient(
            transport=direct,
            mounts=_proxies(direct, verify, http2),
            http2=http2,
            timeout=timeout,
            headers={"User-Agent": USER_AGENT},
            cookies=NoCookies(),
        )
    except ImportError as exc:  # of a package for HTTP/2 or for SOCKS proxies
        # The text of httpx for HTTP/2 names an argument of Python, which C hosts do not have.
        lacks_h2 = http2 and find_spec("h2") is None
        problem = "HTTP/2 needs the package h2; run: python -m pip install h2" if lacks_h2 else str(exc)
    raise TransportError(problem)


class _UnlessExempt(httpx.AsyncBaseTransport):
    """A transport that uses a proxy, except for the hosts in ``NO_PROXY``."""

    def __init__(self, proxy: httpx.AsyncBaseTransport, direct: httpx.AsyncBaseTransport, no_proxy: str) -> None:
        self._proxy = proxy
        self._direct = direct
        self._no_proxy = no_proxy

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        chosen = self._direct if is_exempt(self._no_proxy, url.host.lower(), url.port, url.scheme) else self._proxy
        return await chosen.handle_async_request(request)

    async def aclose(self) -> None:
        await self._proxy.aclose()  # the client closes the direct transport


def _proxies(
    direct: httpx.AsyncBaseTransport, verify: ssl.SSLContext, http2: bool
) -> dict[str, httpx.AsyncBaseTransport | None]:
    """The transports for the proxies of the environment, by scheme."""
    proxies, no_proxy = environment_proxies()
    mounts: dict[str, httpx.AsyncBaseTransport | None] = {}
    for scheme, url in proxies.items():
        proxy = _proxy(scheme, url)
        transport = httpx.AsyncHTTPTransport(verify=verify, http2=http2, limits=_NO_LIMITS, proxy=proxy)
        mounts[f"{scheme}://"] = _UnlessExempt(transport, direct, no_proxy)
    return mounts


def _proxy(scheme: str, url: str) -> httpx.Proxy:
    # Checked here, because httpx accepts ports over 65535, and connecting to them then fails with another error. The
    # errors of httpx quote the URL, with the password of the proxy.
    problem = proxy_problem(url)
    if not problem:
        with suppress(ValueError, httpx.InvalidURL):
            return httpx.Proxy(url)
    raise TransportError(
        f"{variable_of(scheme)}: expected the URL of a proxy: http://host:port, https://host:port or"
        f" socks5://host:port; found {problem or 'another text'} (the value is not shown); correct or unset the"
        " variable"
    )


def _ssl_context() -> ssl.SSLContext:
    """Make the context as httpx does. One is used for direct connections and all proxies."""
    try:
        return httpx.create_ssl_context()
    except OSError as exc:
        reason = exc.strerror or type(exc).__name__
    raise TransportError(f"{certificates_at_fault()}: {reason}")
