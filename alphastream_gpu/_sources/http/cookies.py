"""
Cookies: none are kept, but those that a chain of redirects sets for itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx

__all__ = ["ChainCookies", "NoCookies"]

_MOST_COOKIES: Final = 50
_MOST_BYTES: Final = 16 * 1024
"""Of all ``Set-Cookie`` texts of a chain. Browsers take 50 cookies of 4096 bytes for a site, and servers send less."""
_COOKIE: Final = re.compile(rb"[\t -~]+")


class NoCookies(CookieJar):
    """
    A jar that stays empty, without looking at a reply: to read thousands of ``Set-Cookie`` takes a second.
    """

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Take nothing."""


class ChainCookies:
    """
    The cookies of one request: what a hop of its redirects sets goes to those later hops to which it belongs, by the
    rules of domains, paths and ``Secure``. A login that answers with signed cookies and a redirect needs that.
    """

    def __init__(self) -> None:
        self._cookies: httpx.Cookies | None = None
        self._n_cookies = 0
        self._n_bytes = 0

    def keep(self, url: str, raw: Iterable[tuple[bytes, bytes]]) -> None:
        """
        Keep what a redirecting reply sets, within the limits.

        Args:
            url: whose reply it is.
            raw: the reply's headers.
        """
        lines: list[tuple[str, str]] = []
        for name, value in raw:
            if name.lower() != b"set-cookie" or not _COOKIE.fullmatch(value):
                continue
            self._n_cookies += 1
            self._n_bytes += len(value)
            if self._n_cookies > _MOST_COOKIES or self._n_bytes > _MOST_BYTES:
                break
            lines.append(("Set-Cookie", value.decode("ascii")))
        if lines:
            if self._cookies is None:
                self._cookies = httpx.Cookies(CookieJar(DefaultCookiePolicy(strict_domain=True)))
            self._cookies.extract_cookies(httpx.Response(302, headers=lines, request=httpx.Request("GET", url)))

    def header(self, url: str) -> str:
        """
        The ``Cookie`` header for a hop; empty if no cookie belongs there.

        Args:
            url: of the hop.
        """
        if self._cookies is None:
            return ""
        request = httpx.Request("GET", url)
        self._cookies.set_cookie_header(request)
        return str(request.headers.get("cookie", ""))
