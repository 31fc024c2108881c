"""
Environment: reads the environment variables for proxies and certificates, and finds the invalid one after an error.

``trust_env`` of httpx reads the same variables, but was rejected. An entry of ``NO_PROXY`` that it cannot parse, such
as ``[::1]`` or ``fd00::/8``, makes its client raise an error that does not name the variable.
"""

from __future__ import annotations

import os
import ssl
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.request import getproxies

__all__ = ["certificates_at_fault", "environment_proxies", "is_exempt", "variable_of"]

_SCHEMES: Final = ("http", "https", "all")


def environment_proxies() -> tuple[dict[str, str], str]:
    """
    The proxies of ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``ALL_PROXY`` by scheme (``http``, ``https``, ``all``), and the
    text of ``NO_PROXY``. On Windows and macOS, the system's settings are used if the variables are not set.
    """
    found = getproxies()
    proxies = {scheme: found[scheme] for scheme in _SCHEMES if found.get(scheme)}
    return {scheme: url if "://" in url else f"http://{url}" for scheme, url in proxies.items()}, found.get("no", "")


def variable_of(scheme: str) -> str:
    """The name of the variable that sets the proxy for a scheme, in upper or lower case as it is set."""
    name = f"{scheme}_proxy"
    return next((one for one in os.environ if one.lower() == name), name.upper())


def is_exempt(no_proxy: str, host: str, port: int | None, scheme: str) -> bool:
    """
    Whether ``NO_PROXY`` exempts a host from proxies. Pure.

    The entries are separated by commas: ``*`` for every host, ``example.org`` (with its subdomains), ``.example.org``
    (subdomains only), addresses and networks of IPv4 and IPv6 (an IPv6 address may be in brackets). Each entry may have
    a port, or ``http://`` or ``https://`` in front. Any other entry matches no host.

    Args:
        no_proxy: the value of the variable.
        host: the host in lower case, without brackets.
        port: 0..65535, or None for the default port of the scheme.
        scheme: ``http`` or ``https``.
    """
    port = port if port is not None else 443 if scheme == "https" else 80
    return any(_matches(entry.strip().lower(), host, port, scheme) for entry in no_proxy.split(","))


def certificates_at_fault() -> str:
    """Find the certificate file that makes an SSL context fail. Returns the start of an error message."""
    for variable, argument in (("SSL_CERT_FILE", "cafile"), ("SSL_CERT_DIR", "capath")):
        path = os.environ.get(variable)
        if path:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(**{argument: path})
            except OSError:
                return f"the certificates that {variable} names cannot be read"
            break  # httpx uses only the first variable that is set
    path = os.environ.get("SSLKEYLOGFILE")
    if path:
        try:
            open(path, "ab").close()
        except OSError:
            return "the file that SSLKEYLOGFILE names cannot be written"
    return "the certificates of the package certifi cannot be read"


def _matches(entry: str, host: str, port: int, scheme: str) -> bool:
    if entry == "*":
        return True
    wanted, separator, rest = entry.partition("://")
    if separator:
        if wanted not in (scheme, "all"):
            return False
        entry = rest
    name, its_port = _split_port(entry)
    if not name or (its_port is not None and its_port != port):
        return False
    try:
        return ip_address(host.partition("%")[0]) in ip_network(name, strict=False)
    except ValueError:
        pass  # the host or the entry is a name
    name = name.removeprefix("*")
    if name.startswith("."):
        return host.endswith(name)
    return host == name or (name != "localhost" and host.endswith(f".{name}"))


def _split_port(entry: str) -> tuple[str, int | None]:
    """Split an entry into its name without brackets and its port, or None."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        if rest.startswith("/"):  # [fd00::]/8
            return name + rest, None
        port = rest.removeprefix(":")
    elif entry.count(":") == 1:
        name, _, port = entry.partition(":")
    else:
        return entry, None
    return name, int(port) if port.isascii() and port.isdigit() and len(port) < 6 else None
