"""
Pages that a server sends with status 200 in place of a stream. They are named as pages, and real files are not.
"""

from __future__ import annotations

import random
from pathlib import Path

import badserver
import pytest
from badserver import Behaviour, Request, Server, Wire
from support import SAMPLE

import alphastream_gpu
from alphastream_gpu import AsvrKey, AsvrWriter, DecodeError, FrameGeometry
from alphastream_gpu._sources.pages import page_in_place_of_a_file

HTML = "text/html"
PAGE = "<div class=login>Bitte melden Sie sich an, um fortzufahren: M\u00fcller</div>"

DECLARED: dict[str, tuple[bytes, str]] = {
    "div": (b"<div>Sign in</div>", "an XML or HTML document"),
    "short": (b"<p>no", "an XML or HTML document"),
    "closing tag": (b"</head><body>Sign in", "an XML or HTML document"),
    "white space": (b" \r\n\t" * 1000 + b"<html>Sign in</html>", "an HTML page"),
    "byte order mark": (b"\xef\xbb\xbf\n<section>Sign in</section>", "an XML or HTML document"),
    "comment": ("<!-- \u00e4\u00f6\u00fc --><html>".encode(), "an XML or HTML document"),
    "utf-16": (PAGE.encode("utf-16"), "an XML or HTML document"),
    "utf-16-le": (f"\n{PAGE}".encode("utf-16-le"), "an XML or HTML document"),
    "utf-16-be": (PAGE.encode("utf-16-be"), "an XML or HTML document"),
    "latin-1": (PAGE.encode("latin-1"), "an XML or HTML document"),
    "cut character": (b"<p>" + "\u20ac".encode() * 500, "an XML or HTML document"),
    "text": (b"Your session has expired. Sign in again.", "a text"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DECLARED)
@pytest.mark.parametrize("content_type", [HTML, "Text/HTML; charset=x", "application/xhtml+xml"])
def test_a_declared_page(name: str, content_type: str, passphrase: bytes) -> None:
    text, kind = DECLARED[name]
    with Server(b"", lambda request: badserver.page(200, text, content_type)) as server:
        for key in (None, AsvrKey(passphrase, scene_id=1)):
            with pytest.raises(DecodeError) as caught:
                alphastream_gpu.open(server.url("/mask.asvr"), key=key)
            assert type(caught.value) is DecodeError
            assert f"found {kind} (status 200, content type " in str(caught.value)


@pytest.mark.parametrize("name", DECLARED)
def test_a_page_of_another_type(name: str) -> None:
    text, kind = DECLARED[name]
    found = page_in_place_of_a_file(text, "status 200, content type 'application/octet-stream'")
    assert (found or "").startswith(f"found {kind} (" if name not in ("short", "text") else "")
    assert (found is None) == (name in ("short", "text"))


def as_html(data: bytes) -> Behaviour:
    async def behave(server: Server, request: Request, wire: Wire) -> None:
        first, stop = request.range
        part = data[first:stop]
        content_range = f"bytes {first}-{first + len(part) - 1}/{len(data)}"
        await wire.head(206, Content_Type=HTML, Content_Range=content_range, Content_Length=len(part))
        await wire.body(part)

    return behave


def test_a_real_file_that_is_declared_as_a_page(passphrase: bytes, tmp_path: Path) -> None:
    """Some servers give a file with an unknown ending this type."""
    key = AsvrKey(passphrase, scene_id=7)
    with AsvrWriter(tmp_path / "mask.asvr", key=key) as writer:
        writer.add_frame(FrameGeometry([[1, 1], [9, 1], [9, 9]]))
    for data, name, given, n_frames in (
        ((tmp_path / "mask.asvr").read_bytes(), "mask.asvr", key, 1),
        (SAMPLE.read_bytes(), "mask.asvp", None, 120),
    ):
        with (
            Server(data, lambda request, data=data: as_html(data)) as server,
            alphastream_gpu.open(server.url(f"/{name}"), key=given) as stream,
        ):
            assert stream.metadata.frame_count == n_frames


@pytest.mark.slow
def test_random_bytes_are_never_a_page() -> None:
    """The first bytes of an ASVR are as random as these. A seed, because `<d` before them makes some of a million a
    page."""
    chance = random.Random(0)
    for _ in range(20_000):
        data = chance.randbytes(64)
        for start in (b"", b"\xff\xfe", b"\xef\xbb\xbf", b" \n"):
            assert page_in_place_of_a_file(start + data, f"status 200, content type '{HTML}'") is None
        for start in (b"<", b"<d"):
            assert page_in_place_of_a_file(start + data, "status 200, content type 'video/x'") is None
