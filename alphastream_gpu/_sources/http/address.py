"""
HTTP addresses: which texts are one, what of them is shown and sent, and where a redirect leads. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import urljoin, urlsplit

from ..._format.names import scheme_of

__all__ = ["NO_HOST", "Address", "check_header", "check_url", "shown", "target_of"]

NO_HOST: Final = "malformed host or port"
"""What is wrong with most URLs of which no request can be made."""

_MOST_CHARACTERS: Final = 65_536
"""Of a URL; httpx takes no more."""
_SHOWN_CHARACTERS: Final = 500
_SCHEMES: Final = ("http", "https")
_UNSENDABLE: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_NOT_IN_HOSTS: Final = re.compile(r"[\x00-\x20\"#%/:<>?@\[\\\]^`{|}]")
_PRINTABLE: Final = re.compile(r"[!-~]*")
_NOT_SHOWN: Final = re.compile(r"[^ -~]")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t -~]*")
_OWN_HEADERS: Final = frozenset({"accept-encoding", "content-length", "range", "transfer-encoding"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """
    Where requests go: a URL, and the one that the caller named, from which it came by redirects.
    """

    url: str
    own: str

    @property
    def is_own_origin(self) -> bool:
        """Whether credentials may go there."""
        return _origin(self.url) == _origin(self.own)

    def redirected(self, location: str) -> Address | str:
        """
        The address that a reply leads to.

        Args:
            location: the reply's ``Location``. An absolute one is taken byte for byte.

        Returns:
            The address, or why it is refused: a text that quotes nothing of it.
        """
        try:
            url = location if scheme_of(location) in _SCHEMES else urljoin(self.url, location)
        except ValueError:
            return "redirects to something that is no http address"
        if _problem(url):
            return "redirects to something that is no http address"
        if scheme_of(self.own) == "https" and scheme_of(url) != "https":
            return "redirects from https to plain http; refused"
        return Address(url, self.own)


def check_url(url: str) -> None:
    """
    Check that a text is an HTTP address.

    Args:
        url: the text.

    Raises:
        ValueError: it is none. The message quotes neither user information, nor query, nor fragment.
    """
    problem = _problem(url)
    if problem:
        raise ValueError(f"URL: {problem}")


def check_header(name: str, value: str) -> None:
    """
    Check a header that the caller wants sent.

    Args:
        name: of the header.
        value: which is secret.

    Raises:
        TypeError: not two texts.
        ValueError: HTTP cannot carry it, or the source sends its own. The message does not quote the value.
    """
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"headers: expected texts, found {type(name).__name__}: {type(value).__name__}")
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"headers: expected the name of a header, found {_escaped(name)!r}")
    if name.lower() in _OWN_HEADERS:
        raise ValueError(f"headers: {name} cannot be given; the source sends its own")
    if not _HEADER_VALUE.fullmatch(value) or value != value.strip():
        raise ValueError(
            f"headers: the value of {name} has characters that HTTP cannot carry, such as a line break, or spaces"
            " around it (the value is not shown)"
        )


def shown(url: str) -> str:
    """
    An address for messages: scheme, host, port and path, without user information, query and fragment.

    Printable ASCII, whatever the path has, so that a message with it can be printed anywhere and cannot move a
    terminal's cursor.

    Args:
        url: an address that :func:`check_url` accepts.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port is None else f":{parts.port}"
    text = _escaped(f"{parts.scheme}://{host}{port}{parts.path}")
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def target_of(url: str) -> bytes | None:
    """
    Path and query of an address byte for byte as given, or None where they hold what a request line cannot.

    Args:
        url: an address that :func:`check_url` accepts.
    """
    rest = url.partition("://")[2].partition("#")[0]
    cut = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    target = rest[cut:]
    if not target.startswith("/"):
        target = "/" + target
    return target.encode("ascii") if _PRINTABLE.fullmatch(target) else None


def _problem(url: str) -> str:
    """Why a text is no HTTP address; empty if it is one."""
    if len(url) > _MOST_CHARACTERS:
        return f"expected at most {_MOST_CHARACTERS} characters, found {len(url)}"
    unsendable = _UNSENDABLE.search(url)
    if unsendable is not None:
        return f"expected no control characters, found U+{ord(unsendable[0]):04X} at character {unsendable.start()}"
    scheme = scheme_of(url)
    if scheme not in _SCHEMES:
        found = "none" if scheme is None else f"the scheme {scheme[:20]!r}"
        return f"expected http://host/... or https://host/..., found {found}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return NO_HOST
    if not host:
        return "expected http://host/... or https://host/..., found no host"
    # A backslash would be a slash for some readers of URLs, which then see another host.
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
