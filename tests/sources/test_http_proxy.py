"""
HTTP sources behind real proxies on loopback. The file opens, and only its server gets the signed query.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import os
import re
import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import badserver
import httpx
import pytest
from badserver import Server
from support import SAMPLE

import alphastream_gpu
from alphastream_gpu import ByteRange, Config, HttpSource, TransportError
from alphastream_gpu._sources.http.environment import is_exempt

HOST = "files.test"
"""A host name that only the proxies resolve, to the server of the test."""
QUERY = "?sig=S3CRET%2fa%2Fb+c&e=%7e~&x=[1]&y={2}"


class Proxy(socketserver.ThreadingTCPServer):
    """A proxy of one server. Forwards requests in absolute form and makes tunnels for CONNECT."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, server: Server, refuses: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Client)
        self.server_port_behind = server.port
        self.refuses = refuses
        self.lines: list[str] = []
        """The first line of each request."""
        self.seen = b""
        """All bytes that the proxy received from clients."""
        self.is_tunnelling = False

    def __enter__(self) -> Proxy:
        threading.Thread(target=self.serve_forever, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Client(socketserver.BaseRequestHandler):
    """A connection of a client."""

    server: Proxy

    def handle(self) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self.request.recv(65536)
            if not piece:
                return
            received += piece
        proxy = self.server
        proxy.seen += received
        head, _, rest = received.partition(b"\r\n\r\n")
        line, *headers = head.decode("latin-1").split("\r\n")
        proxy.lines.append(line)
        method, target, version = line.split(" ")
        if proxy.refuses:
            return self._answer(proxy.refuses)
        if method == "CONNECT":
            if not re.fullmatch(rf"{HOST}:\d+", target):
                return self._answer("400 Bad Request")
            self._answer("200 Connection established", end="")
            return self._relay(rest)
        if urlsplit(target).hostname != HOST:
            return self._answer("400 Bad Request")
        path = target.partition("://")[2].partition("/")[2]
        kept = [one for one in headers if not one.lower().startswith(("proxy-", "connection"))]
        request = "\r\n".join([f"{method} /{path} {version}", *kept, "Connection: close", "", ""])
        return self._relay(request.encode("latin-1"))

    def _answer(self, status: str, end: str = "Content-Length: 0\r\nConnection: close\r\n") -> None:
        self.request.sendall(f"HTTP/1.1 {status}\r\n{end}\r\n".encode())

    def _relay(self, first: bytes) -> None:
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection(("127.0.0.1", self.server.server_port_behind)) as behind,
        ):
            behind.sendall(first)
            others = {self.request: behind, behind: self.request}
            while True:
                for one in select.select(list(others), [], [], 30)[0]:
                    piece = one.recv(65536)
                    if one is self.request:
                        self.server.seen += piece
                    if not piece:
                        return
                    others[one].sendall(piece)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@dataclass
class Certificate:
    """A certificate for HOST, signed by itself."""

    file: Path
    key_file: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key_file)
        return context

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.file))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    names = [x509.DNSName(HOST), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    made.file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    made.key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


@pytest.fixture
def origin() -> Iterator[Server]:
    with Server(SAMPLE.read_bytes()) as server:
        yield server


@pytest.fixture
def tls_origin(certificate: Certificate) -> Iterator[Server]:
    with Server(SAMPLE.read_bytes(), tls=certificate.server()) as server:
        yield server


def read(url: str, **options: Any) -> int:
    """Open a stream, read a frame, and return the number of frames."""
    with alphastream_gpu.open(url, config=Config(http_retries=0), **options) as stream:
        asyncio.run(stream.frame(100))
        return stream.metadata.frame_count


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_forward_proxy_gets_the_absolute_form(origin: Server, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if variable == "HTTP_PROXY" and os.name != "nt":
        monkeypatch.delenv("REQUEST_METHOD", raising=False)
    with Proxy(origin) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        assert read(f"http://{HOST}/dir/a%2fb.asvp{QUERY}") == 120
        assert {request.target for request in origin.requests} == {f"/dir/a%2fb.asvp{QUERY}"}
        assert set(proxy.lines) == {f"GET http://{HOST}/dir/a%2fb.asvp{QUERY} HTTP/1.1"}


@pytest.mark.slow
def test_a_proxy_without_a_scheme(origin: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy(origin) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removeprefix("http://"))
        assert read(f"http://{HOST}:8080/a.asvp") == 120
        assert proxy.lines[0] == f"GET http://{HOST}:8080/a.asvp HTTP/1.1"


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_tunnel_request_has_only_host_and_port(
    tls_origin: Server, certificate: Certificate, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(tls_origin) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
        assert read(f"https://{HOST}/dir/a%2fb.asvp{QUERY}", headers={"X-Token": "T0KEN"}) == 120
        assert {request.target for request in tls_origin.requests} == {f"/dir/a%2fb.asvp{QUERY}"}
        assert tls_origin.requests[0].headers["x-token"] == "T0KEN"
        assert set(proxy.lines) == {f"CONNECT {HOST}:443 HTTP/1.1"}
        assert not re.search(rb"S3CRET|T0KEN|a%2fb", proxy.seen)


@pytest.mark.slow
def test_a_callers_client_with_a_proxy(origin: Server, tls_origin: Server, certificate: Certificate) -> None:
    with Proxy(origin) as proxy:
        client = partial(httpx.AsyncClient, proxy=proxy.url)
        assert read(f"http://{HOST}/a.asvp{QUERY}", client=client) == 120
        assert proxy.lines[0] == f"GET http://{HOST}/a.asvp{QUERY} HTTP/1.1"
    with Proxy(tls_origin) as proxy:
        client = partial(httpx.AsyncClient, proxy=proxy.url, verify=certificate.client())
        assert read(f"https://{HOST}/a.asvp{QUERY}", client=client) == 120
        assert proxy.lines[0] == f"CONNECT {HOST}:443 HTTP/1.1"
    assert {request.target for request in [*origin.requests, *tls_origin.requests]} == {f"/a.asvp{QUERY}"}


@pytest.mark.slow
def test_a_callers_client_with_mounts(origin: Server) -> None:
    with Proxy(origin) as proxy:

        def client() -> httpx.AsyncClient:
            return httpx.AsyncClient(mounts={f"all://{HOST}": httpx.AsyncHTTPTransport(proxy=proxy.url)})

        assert read(f"http://{HOST}/a.asvp{QUERY}", client=client) == 120
        assert read(origin.url("/a.asvp"), client=client) == 120
        assert {line.split()[1] for line in proxy.lines} == {f"http://{HOST}/a.asvp{QUERY}"}


@pytest.mark.slow
def test_a_redirect_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(request: badserver.Request) -> badserver.Behaviour | None:
        if request.target.startswith("/there"):
            return None
        return badserver.status(302, Location=f"http://{HOST}/there%2f{QUERY}")

    with Server(SAMPLE.read_bytes(), script) as origin, Proxy(origin) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert read(f"http://{HOST}/a.asvp") == 120
        assert {request.target for request in origin.requests} == {"/a.asvp", f"/there%2f{QUERY}"}


@pytest.mark.slow
@pytest.mark.parametrize("no_proxy", ["*", "127.0.0.1", "[::1],127.0.0.0/8", "fd00::/8, 127.0.0.1", "[fd00::]/8,*"])
def test_hosts_in_no_proxy_are_exempt(origin: Server, no_proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy(origin) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", no_proxy)
        assert read(origin.url()) == 120
        assert not proxy.lines
        if no_proxy[-1] != "*":
            assert read(f"http://{HOST}/a.asvp") == 120
            assert proxy.lines


@pytest.mark.parametrize(
    ("entries", "url", "expected"),
    [
        ("", "http://a.test", False),
        ("b.test", "http://a.test", False),
        ("b.test, a.test", "http://a.test", True),
        ("a.test", "http://x.a.test", True),
        ("a.test", "http://xa.test", False),
        (".a.test", "http://x.a.test", True),
        (".a.test", "http://a.test", False),
        ("*.a.test", "http://x.a.test", True),
        ("A.Test", "http://a.test", True),
        ("localhost", "http://localhost", True),
        ("localhost", "http://x.localhost", False),
        ("a.test:80", "http://a.test", True),
        ("a.test:443", "http://a.test", False),
        ("a.test:443", "https://a.test", True),
        ("a.test:8080", "http://a.test:8080", True),
        ("https://a.test", "http://a.test", False),
        ("https://a.test", "https://a.test", True),
        ("all://a.test", "https://a.test", True),
        ("10.0.0.0/8", "http://10.1.2.3", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("10.0.0.0/8", "http://a.test", False),
        ("10.1.2.3:80", "http://10.1.2.3", True),
        ("::1", "http://[::1]:9", True),
        ("[::1]", "http://[::1]", True),
        ("[::1]:80", "http://[::1]", True),
        ("[::1]:81", "http://[::1]", False),
        ("fd00::/8", "http://[fd12::1]", True),
        ("[fd00::]/8", "http://[fd12::1]", True),
        ("fd00::/8", "http://[fe80::1]", False),
        ("fe80::/10", "http://[fe80::1%25eth0]", True),
        ("[::1", "http://[::1]", True),
        ("[]", "http://[::1]", False),
        (":", "http://a.test", False),
        ("a.test:http", "http://a.test", True),
    ],
)
def test_the_entries_of_no_proxy(entries: str, url: str, expected: bool) -> None:
    parts = httpx.URL(url)
    assert is_exempt(entries, parts.host, parts.port, parts.scheme) is expected


@pytest.mark.slow
def test_a_proxy_that_refuses(origin: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy(origin, "407 Proxy Authentication Required") as proxy:
        monkeypatch.setenv("all_proxy", proxy.url)
        with pytest.raises(TransportError, match=r"https://files\.test/a\.asvp: the proxy answered 407 Proxy"):
            read(f"https://{HOST}/a.asvp?sig=S3CRET")
        with pytest.raises(TransportError, match="found 407; the proxy requires credentials"):
            read(f"http://{HOST}/a.asvp?sig=S3CRET")
        assert proxy.lines[0] == f"CONNECT {HOST}:443 HTTP/1.1"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"HTTP_PROXY": "nonsense://user:hush@proxy.test"}, "HTTP_PROXY: expected the URL of a proxy"),
        ({"https_proxy": "http://[user:hush"}, "https_proxy: expected the URL of a proxy"),
        ({"ALL_PROXY": "http://user:hush@h:port/"}, "ALL_PROXY: expected the URL of a proxy"),
        ({"HTTPS_PROXY": "http://user:hush@h:99999"}, "HTTPS_PROXY: .*; found a malformed host, or a port that is not"),
        ({"ALL_PROXY": "http://user:hush@h:0"}, "ALL_PROXY: .*; found port 0 "),
        ({"ALL_PROXY": "http://user:hush@a..b:80"}, "ALL_PROXY: .*; found a malformed host"),
        ({"ALL_PROXY": "http://user:hush@h\\x:80"}, "ALL_PROXY: .*; found a malformed host"),
        ({"ALL_PROXY": "http://user:hush@:80"}, "ALL_PROXY: .*; found no host"),
        ({"ALL_PROXY": "http://user:hush@h:80\n"}, r"ALL_PROXY: .*; found U\+000A at character 21"),
        ({"ALL_PROXY": "user:hu sh@h:80"}, r"ALL_PROXY: .*; found U\+0020 at character 14"),
        ({"ALL_PROXY": "http://user:1#hush@h:80"}, "ALL_PROXY: .*; found a query or a fragment; in a user name"),
        ({"ALL_PROXY": "http://user:1/hush@h:80"}, "ALL_PROXY: .*; found a query or a fragment; in a user name"),
        ({"ALL_PROXY": "http:/user:hush@h"}, "ALL_PROXY: .*; found a query or a fragment; in a user name"),
        ({"ALL_PROXY": "http:/hush:80"}, "ALL_PROXY: .*; found an empty port; two slashes follow the scheme"),
        ({"ALL_PROXY": "socks4://user:hush@h:80"}, "ALL_PROXY: .*; found another scheme"),
        ({"ALL_PROXY": "://user:hush@h:80"}, "ALL_PROXY: .*; found another scheme"),
        ({"ALL_PROXY": "socks5://127.0.0.1:9"}, "'socksio' package is not installed"),
    ],
)
def test_the_invalid_variable_is_named(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TransportError, match=message) as caught:
        read("https://example.test/person.asvp?sign=hush")
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"SSL_CERT_FILE": "/nowhere/c.pem"}, "the certificates that SSL_CERT_FILE names cannot be read: No such file"),
        ({"SSL_CERT_FILE": "README.md"}, "the certificates that SSL_CERT_FILE names cannot be read"),
        ({"SSLKEYLOGFILE": "/nowhere/keys"}, "the file that SSLKEYLOGFILE names cannot be written: No such file"),
    ],
)
def test_invalid_certificate_files(variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(SAMPLE.parents[1] / value) if value == "README.md" else value)
    with pytest.raises(TransportError, match=message):
        read("https://example.test/person.asvp")


def test_all_transports_share_one_ssl_context(origin: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making an SSL context takes 20 ms."""
    made = []
    create = ssl.create_default_context

    def counted(**options: Any) -> ssl.SSLContext:
        made.append(options)
        return create(**options)

    monkeypatch.setattr(ssl, "create_default_context", counted)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    async def first() -> None:
        source = HttpSource(origin.url())
        await source.read(ByteRange(0, 9))
        await source.aclose()

    asyncio.run(first())
    assert len(made) == 1
