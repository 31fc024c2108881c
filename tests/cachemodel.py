"""
A server in memory for tests of the disk cache, and a second process that reads through the same cache.

As a program (``python cachemodel.py``), it is that process: a line of JSON in is a command, a line of JSON out is its
result.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import alphastream_gpu
from alphastream_gpu import AlphaStreamError, ByteRange, Source
from alphastream_gpu._sources.base import ChangedFileError, Facts, UnreachableError
from alphastream_gpu._sources.cache import CachedSource, Folder, Remote

URL = "https://example.org/films/a.asvp?token=secret"


def content(version: int, length: int) -> bytes:
    """Bytes that differ between versions at almost all places."""
    one = bytes((version * 89 + k * (version + 3)) % 251 for k in range(4096))
    return b"".join(version.to_bytes(4, "big") + at.to_bytes(4, "big") + one[8:] for at in range(-(-length // 4096)))[
        :length
    ]


@dataclass
class FakeServer:
    """One file in versions."""

    version: int = 0
    length: int = 200_000
    is_up: bool = True
    validator: str = ""
    """The name of a header for all versions, or empty for an ETag of each version."""
    reads: list[ByteRange] = field(default_factory=list)

    def facts(self) -> Facts:
        return Facts(URL, self.length, ("etag", f'"v{self.version}"'))

    @property
    def data(self) -> bytes:
        return content(self.version, self.length)


class FakeSource(Source):
    """What HttpSource does with a file: the first reply says which version is read, and no other is accepted."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.pinned: Facts | None = None

    @property
    def name(self) -> str:
        return "a.asvp"

    @property
    def length(self) -> int | None:
        return None if self.pinned is None else self.pinned.length

    async def read(self, span: ByteRange) -> bytes:
        await asyncio.sleep(0)
        if not self.server.is_up:
            raise UnreachableError("no connection")
        facts = self.server.facts()
        if self.pinned is None:
            self.pinned = facts
        if (self.pinned.length, self.pinned.validator) != (facts.length, facts.validator):
            raise ChangedFileError("the file changed while open")
        self.server.reads.append(span)
        return self.server.data[span.start : span.stop]

    def facts(self) -> Facts:
        return self.pinned or Facts(URL, None, None)

    def expect(self, facts: Facts, first: bytes) -> None:
        self.pinned = facts

    async def locate(self) -> None:
        pass


def cached(server: FakeServer, folder: Path, *, limit: int = 1 << 30, **options: Any) -> CachedSource:
    """A source with a cache, of a fake server."""
    inner = FakeSource(server)
    return CachedSource(
        Remote(inner, inner.facts, inner.expect, inner.locate), Folder(str(folder), limit), ask_seconds=60, **options
    )


async def read_once(server: FakeServer, folder: Path, spans: list[ByteRange], **options: Any) -> list[bytes | str]:
    """What a source reads from its opening to its end: bytes, or the name of an error."""
    source = cached(server, folder, **options)
    found: list[bytes | str] = []
    try:
        for span in spans:
            try:
                found.append(bytes(await source.read(span)))
            except AlphaStreamError as exc:
                found.append(type(exc).__name__)
    finally:
        await source.aclose()
    return found


class Peer:
    """Another process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(self, server: FakeServer, folder: Path, spans: list[ByteRange], limit: int) -> list[bytes | str]:
        self.begin(server, folder, spans, limit)
        return self.result()

    def begin(self, server: FakeServer, folder: Path, spans: list[ByteRange], limit: int) -> None:
        """Send a command, and do not wait for its result."""
        assert self._process.stdin is not None
        command = {
            "server": [server.version, server.length, server.is_up],
            "folder": str(folder),
            "spans": [[span.start, span.stop] for span in spans],
            "limit": limit,
        }
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def result(self) -> list[bytes | str]:
        assert self._process.stdout is not None
        return [
            base64.b64decode(one[1:]) if one[0] == "=" else one for one in json.loads(self._process.stdout.readline())
        ]

    def kill(self) -> None:
        self._process.kill()
        self.close()

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()


@contextlib.contextmanager
def peer() -> Iterator[Peer]:
    process = Peer()
    try:
        yield process
    finally:
        process.close()


def _serve() -> None:
    assert alphastream_gpu.__version__
    for line in sys.stdin:
        command = json.loads(line)
        version, length, is_up = command["server"]
        server = FakeServer(version, length, is_up)
        spans = [ByteRange(*span) for span in command["spans"]]
        found = asyncio.run(read_once(server, Path(command["folder"]), spans, limit=command["limit"]))
        texts = ["=" + base64.b64encode(one).decode() if isinstance(one, bytes) else one for one in found]
        sys.stdout.write(json.dumps(texts) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
