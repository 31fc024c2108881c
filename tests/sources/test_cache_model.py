"""
The disk cache, played with at random: faults of the server and of the disk, seeks, closes, forks and other processes.

The model is a list of versions of one file, and which of them some process last heard of. Whatever happens, a source
returns bytes of the version that it was opened with. That is the version that the server had then, or, if the server
could not be asked, the last one that anybody heard of.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from cachemodel import FakeServer, Peer, cached, content, peer, read_once
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule
from support import forked

from alphastream_gpu import AlphaStreamError, ByteRange
from alphastream_gpu._sources.base import ChangedFileError
from alphastream_gpu._sources.cache import CachedSource

LENGTHS = (5, 8192, 70_000, 200_000)
LIMIT = 1 << 19
"""So that two or three versions fit."""
_peers: list[Peer] = []


@pytest.fixture(scope="module", autouse=True)
def _two_processes() -> Any:
    """They start once; each command names its folder."""
    with peer() as one, peer() as two:
        _peers[:] = [one, two]
        yield
        _peers.clear()


def spans(at: int, n_bytes: int) -> ByteRange:
    return ByteRange(at, at + n_bytes)


SPANS = st.builds(spans, st.integers(0, 200_100), st.one_of(st.integers(0, 100), st.integers(0, 200_000)))


class Opened:
    """An open source, and the version that it reads."""

    def __init__(self, source: CachedSource) -> None:
        self.source = source
        self.version: tuple[int, int] | None = None
        """The number and the length; None before the first read."""


class Cache(RuleBasedStateMachine):
    sources = Bundle("sources")

    @initialize(length=st.sampled_from(LENGTHS))
    def begin(self, length: int) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.server = FakeServer(length=length)
        self.runner = asyncio.Runner()
        self.heard: set[tuple[int, int]] = set()
        """The version that was heard of last; several if it depends on when a call was cancelled."""
        self.opened: list[Opened] = []

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            for one in self.opened:
                self.runner.run(one.source.aclose())
            self.runner.close()
            shutil.rmtree(self.folder)

    @property
    def now(self) -> tuple[int, int]:
        return self.server.version, self.server.length

    # The server.

    @rule(length=st.sampled_from(LENGTHS))
    def another_version(self, length: int) -> None:
        self.server.version += 1
        self.server.length = length

    @precondition(lambda self: self.server.version)
    @rule()
    def back_to_a_version_before(self) -> None:
        self.server.version -= 1

    @rule()
    def the_server_fails_or_comes_back(self) -> None:
        self.server.is_up = not self.server.is_up

    # Sources of this process.

    @rule(target=sources, fills=st.booleans())
    def open(self, fills: bool) -> Opened:
        opened = Opened(cached(self.server, self.folder, limit=LIMIT, fills=fills))
        self.opened.append(opened)
        return opened

    @rule(opened=sources, wanted=st.lists(SPANS, min_size=1, max_size=4))
    def read(self, opened: Opened, wanted: list[ByteRange]) -> None:
        """Several reads at the same time."""

        async def read() -> list[Any]:
            return await asyncio.gather(*map(opened.source.read, wanted), return_exceptions=True)

        self.check(opened, wanted, self.runner.run(read()))

    @rule(opened=sources, wanted=SPANS, n_steps=st.integers(0, 12))
    def cancel(self, opened: Opened, wanted: ByteRange, n_steps: int) -> None:
        async def read() -> None:
            reading = asyncio.ensure_future(opened.source.read(wanted))
            for _ in range(n_steps):
                await asyncio.sleep(0.0002)
            reading.cancel()
            result = (await asyncio.gather(reading, return_exceptions=True))[0]
            if not isinstance(result, BaseException):
                self.check(opened, [wanted], [result])

        inner: Any = opened.source.inner
        is_new = opened.version is None
        self.runner.run(read())
        if is_new and inner.pinned is not None:  # whether that is on the disk yet, nobody knows
            self.heard.add(self._of(inner))
            opened.version = self._of(inner)

    @precondition(lambda self: self.server.is_up)
    @rule(length=st.sampled_from(LENGTHS), k=st.integers(0, 1))
    def change_while_open(self, length: int, k: int) -> None:
        """A source meets another version when it needs what is not on the disk. Then nobody can ask the server."""
        self.another_version(LENGTHS[-1])
        opened = self.open(fills=False)
        self.read(opened, [ByteRange(0, 10)])
        self.another_version(length)
        self.read(opened, [ByteRange(0, LENGTHS[-1])])
        self.server.is_up = False
        self.read_in_another_process([ByteRange(0, 100)], k)
        self.server.is_up = True
        self.close(opened)

    @rule(seconds=st.sampled_from([0.0, 0.005]))
    def wait(self, seconds: float) -> None:
        """For what is fetched while nobody reads."""
        self.runner.run(asyncio.sleep(seconds))

    @rule(opened=consumes(sources))
    def close(self, opened: Opened) -> None:
        self.opened.remove(opened)
        self.runner.run(opened.source.aclose())

    # Other processes.

    @rule(wanted=st.lists(SPANS, min_size=1, max_size=3), k=st.integers(0, 1))
    def read_in_another_process(self, wanted: list[ByteRange], k: int) -> None:
        results = _peers[k].read(self.server, self.folder, wanted, LIMIT)
        self.check(Opened(None), wanted, results)  # type: ignore[arg-type]

    @rule(wanted=st.lists(SPANS, min_size=1, max_size=3))
    def read_in_three_processes(self, wanted: list[ByteRange]) -> None:
        """At the same time."""
        for process in _peers:
            process.begin(self.server, self.folder, wanted, LIMIT)
        mine = self.runner.run(read_once(self.server, self.folder, wanted, limit=LIMIT))
        for results in (mine, *(process.result() for process in _peers)):
            self.check(Opened(None), wanted, results)  # type: ignore[arg-type]

    @precondition(lambda self: hasattr(os, "fork"))
    @rule(opened=sources, wanted=SPANS)
    def fork(self, opened: Opened, wanted: ByteRange) -> None:
        """A child that tries its parent's source: it gets the right bytes only if nobody had read that source."""
        if opened.source._process is None:
            return

        def read() -> None:
            asyncio.set_event_loop(None)
            with pytest.raises(AlphaStreamError):
                opened.source.read(wanted).send(None)

        assert forked(read)

    # The disk.

    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        """What a power cut or a bad disk does to a file."""
        found = sorted(self.folder.rglob("*.pages"))
        if not found:
            return
        path = data.draw(st.sampled_from(found))
        content = bytearray(path.read_bytes())
        match data.draw(st.sampled_from(["cut", "zeros", "noise", "swap"])):
            case "cut":
                del content[data.draw(st.integers(0, len(content))) :]
            case "zeros":
                at = data.draw(st.integers(0, len(content)))
                content[at : at + 4096] = bytes(len(content[at : at + 4096]))
            case "noise":
                at = data.draw(st.integers(0, len(content)))
                content[at : at + 64] = bytes(data.draw(st.binary(min_size=64, max_size=64)))[: len(content) - at]
            case _:  # blocks of another file
                other = data.draw(st.sampled_from(found)).read_bytes()
                content[4096 : 4096 + 16_416] = other[4096 : 4096 + 16_416]
        path.write_bytes(content)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        found = sorted(self.folder.rglob("*.pages"))
        if found:
            data.draw(st.sampled_from(found)).unlink()

    # What must hold.

    def check(self, opened: Opened, wanted: list[ByteRange], results: list[Any]) -> None:
        for span, result in zip(wanted, results, strict=True):
            if isinstance(result, BaseException):
                assert isinstance(result, AlphaStreamError), repr(result)
                if isinstance(result, ChangedFileError) and opened.version is not None:
                    self.heard.discard(opened.version)  # nobody plays it any more without asking
                continue
            if isinstance(result, str):
                continue
            if opened.version is None:
                if self.server.is_up:
                    self.heard = {self.now}
                if opened.source is not None:
                    opened.version = self._of(opened.source.inner)
                    assert opened.version in self.heard
            possible = self.heard if opened.version is None else {opened.version}
            assert bytes(result) in {content(*one)[span.start : span.stop] for one in possible}, (span, possible)

    @staticmethod
    def _of(inner: Any) -> tuple[int, int]:
        return int(inner.pinned.validator[1].strip('"v')), inner.pinned.length

    @invariant()
    def there_is_room(self) -> None:
        """The limit holds, but for what one process writes until it makes room again."""
        if hasattr(self, "folder"):
            n_bytes = sum(path.stat().st_blocks * 512 for path in self.folder.rglob("*.pages"))
            assert n_bytes <= LIMIT + 3 * (256 * 1024) + 4 * 65536 + sum(220_000 for _ in self.opened)


TestCache = Cache.TestCase
TestCache.settings = settings(
    max_examples=settings.default.max_examples // 2,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
