"""
Cookies: a cookie jar that stays empty, and one that keeps the cookies of one chain of redirects.
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
"""Of all ``Set-Cookie`` values of a chain. Browsers accept 50 cookies of 4096 bytes for a site; servers send less."""
_COOKIE: Final = re.compile(rb"[\t -~]+")


class NoCookies(CookieJar):
    """
    A jar that stays empty. It does not parse replies, because parsing thousands of ``Set-Cookie`` headers takes a
    second.
    """

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Do nothing."""


class ChainCookies:
    """
    The cookies of one request. A cookie that a hop of its redirects sets is sent to later hops, by the rules for
    domains, paths and ``Secure``. A login that replies with signed cookies and a redirect needs them.
    """

    def __init__(self) -> None:
        self._cookies: httpx.Cookies | None = None
        self._n_cookies = 0
        self._n_bytes = 0

    def keep(self, url: str, raw: Iterable[tuple[bytes, bytes]]) -> None:
        """
        Keep the cookies that a redirect sets, within the limits.

        Args:
            url: the URL that replied with the redirect.
            raw: the headers of the reply.
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
        The ``Cookie`` header for a hop; empty if no cookie matches.

        Args:
            url: the URL of the hop.
        """
        if self._cookies is None:
            return ""
        request = httpx.Request("GET", url)
        self._cookies.set_cookie_header(request)
        return str(request.headers.get("cookie", ""))
