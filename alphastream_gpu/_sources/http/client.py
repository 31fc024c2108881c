"""
Making the library's own httpx client. Takes some 20 ms, and 150 with the imports: in a thread.
"""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import httpx

from ..._exceptions import TransportError
from . import quiet
from .cookies import NoCookies
from .environment import certificates_at_fault, environment_proxies, is_exempt, variable_of
from .progress import Traffic
from .wire import USER_AGENT, Wire

__all__ = ["make_client", "open_wire"]


def open_wire(
    given: Any, *, makes_client: bool, http2: bool, headers: Mapping[str, str], timeout: float, traffic: Traffic
) -> Wire:
    """
    What a source sends requests with.

    Args:
        given: a client, a callable that makes one, or None for one of the library's own.
        makes_client: whether `given` is such a callable.
        http2: whether that one offers HTTP/2.
        headers: for the URL's own origin.
        timeout: seconds for connecting, for each read and for each write.
        traffic: where to count.

    Raises:
        TransportError: as of :func:`make_client`, or what was given is no client.
    """
    _load()
    if given is None:
        own = make_client(http2=http2, timeout=timeout)
        return Wire(own, keeps_cookies=False, headers=headers, timeout=timeout, traffic=traffic)
    client = given() if makes_client else given
    if not isinstance(client, httpx.AsyncClient):
        raise TransportError(
            f"client: expected an httpx.AsyncClient, found a {type(client).__name__}, which the callable returned"
        )
    return Wire(client, keeps_cookies=True, headers=headers, timeout=timeout, traffic=traffic)


def _load() -> None:
    """Import what the first request would import on the event loop, and keep secrets out of its logs."""
    quiet.install()
    for module in ("tenacity", "anyio._backends._asyncio", "httpcore._backends.anyio"):
        with suppress(ImportError):  # where they are is these packages' own business
            importlib.import_module(module)


def make_client(*, http2: bool, timeout: float) -> httpx.AsyncClient:
    """
    A client that names this package, keeps no cookies and uses the proxies that the environment names.

    Args:
        http2: whether to offer HTTP/2.
        timeout: seconds for connecting, for each read and for each write.

    Raises:
        TransportError: a package is missing, or the environment names something that cannot be used. The message has no
            address, and names the variable.
    """
    verify = _ssl_context()
    problem = ""
    try:
        direct = httpx.AsyncHTTPTransport(verify=verify, http2=http2)
        return httpx.AsyncClient(
            transport=direct,
            mounts=_proxies(direct, verify, http2),
            http2=http2,
            timeout=timeout,
            headers={"User-Agent": USER_AGENT},
            cookies=NoCookies(),
        )
    except ImportError as exc:  # for HTTP/2, or for a SOCKS proxy
        problem = str(exc)
    raise TransportError(problem)


class _UnlessExempt(httpx.AsyncBaseTransport):
    """Sends through a proxy, except to the hosts of ``NO_PROXY``."""

    def __init__(self, proxy: httpx.AsyncBaseTransport, direct: httpx.AsyncBaseTransport, no_proxy: str) -> None:
        self._proxy = proxy
        self._direct = direct
        self._no_proxy = no_proxy

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        chosen = self._direct if is_exempt(self._no_proxy, url.host.lower(), url.port, url.scheme) else self._proxy
        return await chosen.handle_async_request(request)

    async def aclose(self) -> None:
        await self._proxy.aclose()  # the client closes the other one


def _proxies(
    direct: httpx.AsyncBaseTransport, verify: ssl.SSLContext, http2: bool
) -> dict[str, httpx.AsyncBaseTransport | None]:
    """What a client sends through proxies, by scheme."""
    proxies, no_proxy = environment_proxies()
    mounts: dict[str, httpx.AsyncBaseTransport | None] = {}
    for scheme, url in proxies.items():
        proxy = _proxy(scheme, url)
        transport = httpx.AsyncHTTPTransport(verify=verify, http2=http2, proxy=proxy)
        mounts[f"{scheme}://"] = _UnlessExempt(transport, direct, no_proxy)
    return mounts


def _proxy(scheme: str, url: str) -> httpx.Proxy:
    with suppress(ValueError, httpx.InvalidURL):  # whose texts quote the URL, with the proxy's password
        return httpx.Proxy(url)
    raise TransportError(
        f"{variable_of(scheme)} names a proxy by something that is no URL of a proxy; expected http://host:port,"
        " https://host:port or socks5://host:port"
    )


def _ssl_context() -> ssl.SSLContext:
    """As httpx makes it: one for the direct way and all proxies."""
    try:
        return httpx.create_ssl_context()
    except OSError as exc:
        reason = exc.strerror or type(exc).__name__
    raise TransportError(f"{certificates_at_fault()}: {reason}")
