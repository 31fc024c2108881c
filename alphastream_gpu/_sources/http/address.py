"""
Address: checks HTTP URLs and headers, resolves redirects, and makes the form of a URL for messages. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import urljoin, urlsplit

from ..._format.names import scheme_of
from ..._wording import ABOUT_HEADERS

__all__ = [
    "NO_HOST",
    "Address",
    "check_header",
    "check_url",
    "has_secrets",
    "header_problem",
    "proxy_problem",
    "shown",
    "split_header",
    "target_of",
]

NO_HOST: Final = "malformed host or port"
"""The problem of most URLs that no request can be made for."""

_MOST_CHARACTERS: Final = 65_536
"""The most characters of a URL; httpx accepts no more."""
_SHOWN_CHARACTERS: Final = 500
_SCHEMES: Final = ("http", "https")
_UNSENDABLE: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_NOT_IN_HOSTS: Final = re.compile(r"[\x00-\x20\"#%/:<>?@\[\\\]^`{|}]")
_PRINTABLE: Final = re.compile(r"[!-~]*")
_NOT_SHOWN: Final = re.compile(r"[^ -~]")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t -~]*")
_OWN_HEADERS: Final = frozenset({"accept-encoding", "content-length", "range", "transfer-encoding"})
_BREAK: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_IN_PROXIES: Final = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")
_PROXY_SCHEMES: Final = ("http", "https", "socks5", "socks5h")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """
    The target of requests: a URL, and the caller's URL, from which redirects led to it.
    """

    url: str
    own: str

    @property
    def is_own_origin(self) -> bool:
        """Whether the URL has the origin of the caller's URL. Credentials are sent only to that origin."""
        return _origin(self.url) == _origin(self.own)

    def redirected(self, location: str) -> Address | str:
        """
        The address that a reply redirects to.

        Args:
            location: the ``Location`` header of the reply. An absolute URL is used byte for byte.

        Returns:
            The address, or the reason why it is refused, which does not quote the address.
        """
        try:
            url = location if scheme_of(location) in _SCHEMES else urljoin(self.url, location)
        except ValueError:
            return "redirects to something that is not an HTTP URL"
        if _problem(url):
            return "redirects to something that is not an HTTP URL"
        if scheme_of(self.own) == "https" and scheme_of(url) != "https":
            return "redirects from https to plain http, which is refused"
        return Address(url, self.own)


def check_url(url: str) -> None:
    """
    Check that a text is an HTTP URL.

    Args:
        url: the text.

    Raises:
        ValueError: it is not an HTTP URL. The message does not quote the user information, the query or the fragment.
    """
    problem = _problem(url)
    if problem:
        raise ValueError(f"URL: {problem}")


def check_header(name: str, value: str) -> None:
    """
    Check a header that the caller gave.

    Args:
        name: the name of the header.
        value: the value, which is secret.

    Raises:
        TypeError: the name or the value is not a str.
        ValueError: HTTP does not allow the header, or the source sets it itself. The message does not quote the value.
    """
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(
            f"{ABOUT_HEADERS} expected str names and str values, found {type(name).__name__}: {type(value).__name__}"
        )
    problem = header_problem(name, value)
    if problem:
        raise ValueError(f"{ABOUT_HEADERS} {problem}")


def header_problem(name: str, value: str) -> str:
    """
    Why a header cannot be sent; empty if it can. Python, C and the command line share these rules.

    Args:
        name: the name of the header.
        value: the value, which is secret and not quoted.
    """
    if not _TOKEN.fullmatch(name):
        return f"expected a valid header name, found another text of {len(name)} characters"
    if name.lower() in _OWN_HEADERS:
        return f"{name} cannot be set; the source sets it itself"
    if not _HEADER_VALUE.fullmatch(value) or value != value.strip():
        return (
            f"the value of {name} has characters that HTTP does not allow, such as a line break, or"
            " spaces at an end (the value is not shown)"
        )
    return ""


def split_header(line: str) -> tuple[str, str] | None:
    """
    Split a line ``Name: value``, as C callers and the command line give a header. Only :func:`header_problem` shows
    whether the header can be sent.

    Args:
        line: the line, which is secret.

    Returns:
        The name and the value without spaces around them; None if the text is not one such line.
    """
    name, colon, value = line.partition(":")
    if not colon or not _TOKEN.fullmatch(name) or _BREAK.search(value):
        return None
    return name, value.strip(" \t")


def proxy_problem(url: str) -> str:
    """
    Why a text is not the URL of a proxy; empty if it is one. Does not quote the text, which may have a password.

    Args:
        url: a text with ``://``.
    """
    unsendable = _NOT_IN_PROXIES.search(url)
    if unsendable is not None:
        return f"U+{ord(unsendable[0]):04X} at character {unsendable.start()}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "a malformed host, or a port that is not a number from 1 to 65535"
    if parts.scheme not in _PROXY_SCHEMES:
        return "another scheme"
    if not host:
        return "no host"
    if port == 0:
        return "port 0"
    if parts.query or parts.fragment or "@" in parts.path:
        return "a query or a fragment; in a user name or password, write # ? and / as %23 %3F and %2F"
    if parts.netloc.endswith(":") and parts.path not in ("", "/"):  # http:/host, after "http://" was put in front
        return "an empty port; two slashes follow the scheme"
    try:
        is_host = _is_host(host) and "\\" not in parts.netloc and host.encode("idna")
    except UnicodeError:
        is_host = False
    return "" if is_host else "a malformed host"


def shown(url: str) -> str:
    """
    The form of a URL for messages: scheme, host, port and path, without user information, query and fragment.

    The result is printable ASCII for any path. So a message with it can be printed anywhere and cannot move the cursor
    of a terminal.

    Args:
        url: a URL that :func:`check_url` accepts.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port is None else f":{parts.port}"
    text = _escaped(f"{parts.scheme}://{host}{port}{parts.path}")
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def target_of(url: str) -> bytes | None:
    """
    The path and the query of a URL, byte for byte; None if they have characters that a request line must not contain.

    Args:
        url: a URL that :func:`check_url` accepts.
    """
    rest = url.partition("://")[2].partition("#")[0]
    cut = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    target = rest[cut:]
    if not target.startswith("/"):
        target = "/" + target
    return target.encode("ascii") if _PRINTABLE.fullmatch(target) else None


def _problem(url: str) -> str:
    """Why a text is not an HTTP URL; empty if it is one."""
    if len(url) > _MOST_CHARACTERS:
        return f"expected at most {_MOST_CHARACTERS} characters, found {len(url)}"
    unsendable = _UNSENDABLE.search(url)
    if unsendable is not None:
        return f"expected no control characters, found U+{ord(unsendable[0]):04X} at character {unsendable.start()}"
    scheme = scheme_of(url)
    if scheme not in _SCHEMES:
        found = "no scheme" if scheme is None else f"the scheme {scheme[:20]!r}"
        return f"expected http://host/... or https://host/..., found {found}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return NO_HOST
    if not host:
        return "expected http://host/... or https://host/..., found no host"
    # Some parsers take a backslash for a slash and would find another host.
    return "" if _is_host(host) and "\\" not in parts.netloc else NO_HOST


def _is_host(host: str) -> bool:
    if ":" not in host:
        return not _NOT_IN_HOSTS.search(host)
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), _DEFAULT_PORTS[scheme] if parts.port is None else parts.port


def _escaped(text: str) -> str:
    return _NOT_SHOWN.sub(lambda match: ascii(match[0])[1:-1], text)


def has_secrets(url: str) -> bool:
    """Whether a URL has a part that may be a secret: a query, a user or a password."""
    parts = urlsplit(url)
    return bool(parts.query) or parts.username is not None or parts.password is not None
