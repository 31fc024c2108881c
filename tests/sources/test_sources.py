"""
Sources: all kinds of sources by one conformance test, files and memory in detail, and sources of callers.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import ClassVar

import pytest
from badserver import Server
from support import NO_FILE, SAMPLE, SQUARE, asvp_of, block_of, wait_until

import alphastream_gpu
from alphastream_gpu import (
    ByteRange,
    ClosedError,
    Config,
    FileSource,
    FrameTimeoutError,
    HttpSource,
    MemorySource,
    Source,
    TransportError,
)
from alphastream_gpu._sources import as_source, open_source
from alphastream_gpu._sources import file as _file
from alphastream_gpu._sources import select as _select
from alphastream_gpu._sources.base import resource_name_of
from alphastream_gpu._sources.guest import GuestSource
from alphastream_gpu.testing import SourceConformance

DATA = bytes(range(256)) * 4


def _read(source: Source, start: int, stop: int) -> bytes:
    return bytes(asyncio.run(source.read(ByteRange(start, stop))))


class TestMemory(SourceConformance):
    def make(self, data: bytes, folder: Path) -> Source:
        return MemorySource(bytearray(data), name="x")

    def test_slices_are_not_copies(self) -> None:
        data = bytearray(DATA)
        view = asyncio.run(MemorySource(data).read(ByteRange(2, 4)))
        data[2] = 99
        assert view[0] == 99
        assert view.readonly


class TestGuest(SourceConformance):
    def make(self, data: bytes, folder: Path) -> Source:
        return GuestSource(MemorySource(data, name="x"))


class TestHttp(SourceConformance):
    @pytest.fixture(autouse=True)
    def _servers(self) -> Iterator[None]:
        with ExitStack() as self.servers:
            yield

    def make(self, data: bytes, folder: Path) -> Source:
        return HttpSource(self.servers.enter_context(Server(data)).url())


class TestMappedFile(SourceConformance):
    def make(self, data: bytes, folder: Path) -> Source:
        path = folder / "data.bin"
        path.write_bytes(data)
        source = FileSource(path)
        assert source.is_mapped == bool(data)
        return source


class TestBufferedFile(SourceConformance):
    @pytest.fixture(autouse=True)
    def _no_mmap(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: object, **kwargs: object) -> None:
            raise OSError("no mmap on this file system")

        monkeypatch.setattr(_file.mmap, "mmap", refuse)

    def make(self, data: bytes, folder: Path) -> Source:
        path = folder / "data.bin"
        path.write_bytes(data)
        source = FileSource(path)
        assert not source.is_mapped
        return source

    def test_a_stream_reads_from_it(self) -> None:
        async def read() -> int:
            async with await alphastream_gpu.open_async(SAMPLE) as stream:
                return len([geometry async for geometry in stream.frames()])

        assert asyncio.run(read()) == 120


@pytest.mark.parametrize(
    "is_mapped",
    [
        pytest.param(
            True, marks=pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps mapped files from shrinking")
        ),
        False,
    ],
)
def test_a_file_truncated_while_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_mapped: bool) -> None:
    """The read raises. Reading the lost pages of a mapping would crash the process."""
    if not is_mapped:
        monkeypatch.setattr(_file, "_map", lambda file, length: None)
    path = tmp_path / "cut.asvp"
    path.write_bytes(asvp_of([block_of(SQUARE)] * 1000))

    async def read() -> None:
        async with await alphastream_gpu.open_async(path) as stream:
            await stream.frame(999)
            os.truncate(path, 100)
            with pytest.raises(TransportError, match=r"shrank from \d+ to 100 bytes"):
                await stream.frame(998)

    asyncio.run(read())


def test_a_closed_file(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    source = FileSource(path)

    async def close_and_read() -> None:
        await source.aclose()
        await source.aclose()
        await source.read(ByteRange(0, 1))

    with pytest.raises(ClosedError, match="closed before bytes 0..0"):
        asyncio.run(close_and_read())


def test_a_missing_file() -> None:
    with pytest.raises(TransportError, match=rf"opening 'no/such\.asvp': ({NO_FILE})") as caught:
        alphastream_gpu.open("no/such.asvp")
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


@pytest.mark.parametrize("buffer", [0, 1, 4095, 64 * 1024 * 1024 + 1])
def test_a_buffer_out_of_its_range(buffer: int) -> None:
    with pytest.raises(ValueError, match=rf"^buffer: expected 4096\.\.67108864 bytes, found {buffer}$"):
        FileSource(SAMPLE, buffer=buffer)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("no/such.asvp", "'no/such.asvp'"),
        ("no/such.asvp?a=b", "'no/such.asvp...' (taken as a path; a URL begins with http:// or https://)"),
        ("no/such.asvp#a", "'no/such.asvp...' (taken as a path; a URL begins with http:// or https://)"),
        ("user:pw@host/x", "'...@host/x' (taken as a path; a URL begins with http:// or https://)"),
        ("//user:p@w@host/x", "'//...@host/x' (taken as a path; a URL begins with http:// or https://)"),
    ],
)
def test_a_missing_file_that_may_be_a_url(path: str, shown: str) -> None:
    with pytest.raises(TransportError) as caught:
        FileSource(path)
    assert str(caught.value).startswith(f"opening {shown}: ")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert str(caught.value.__cause__.filename) == (path if "..." not in shown else shown.partition("' (")[0][1:])


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="found a directory"):
        FileSource(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in the file system")
def test_pipes_and_sockets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # macOS's temporary folders are too long for the path of a socket
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TransportError, match="found a pipe; frames are read by position"):
        FileSource(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        with pytest.raises(TransportError, match="device or socket"):
            FileSource(tmp_path / "socket")


def test_the_source_for_each_kind_of_argument(tmp_path: Path) -> None:
    config = Config()
    path = tmp_path / "a b.asvp"
    path.write_bytes(DATA)
    own = MemorySource(DATA)
    assert as_source(own, config) is own
    makers: list[Callable[[], object]] = [
        lambda: DATA,
        lambda: bytearray(DATA),
        lambda: memoryview(DATA),
        lambda: array("B", DATA),
    ]
    for make in makers:
        assert isinstance(as_source(make(), config), MemorySource)  # type: ignore[arg-type]
    for given in (path, str(path), path.as_uri(), f"file:{path.as_posix().replace(' ', '%20')}"):
        source = as_source(given, config)
        assert source.name == "a b.asvp"
        assert source.length == len(DATA)
        asyncio.run(source.aclose())
    with pytest.raises(
        TypeError, match="a callable that returns a URL, a contiguous bytes-like object or a Source, found int"
    ):
        as_source(5, config)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scheme 'ftp'"):
        as_source("ftp://host/x.asvp", config)
    with pytest.raises(ValueError, match="no host or localhost, found 'elsewhere'"):
        as_source("file://user:pw@elsewhere/x.asvp", config)
    with pytest.raises(ValueError, match=r"found '\(malformed\)'"):
        as_source("file://[::1/x.asvp", config)
    for url in ("http://host/x", "HTTPS://host/x", lambda: "http://host/x"):
        assert isinstance(as_source(url, config), HttpSource)
    with pytest.raises(TypeError, match="found type"):
        as_source(str, config)  # type: ignore[arg-type]


def test_a_file_that_opens_after_the_timeout_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "slow.asvp"
    path.write_bytes(asvp_of([block_of(SQUARE)]))
    waits = threading.Event()
    opened: list[FileSource] = []

    class Slow(FileSource):
        def __init__(self, path: str, *, buffer: int) -> None:
            waits.wait()
            super().__init__(path, buffer=buffer)
            opened.append(self)

    monkeypatch.setattr(_select, "FileSource", Slow)
    with pytest.raises(FrameTimeoutError, match="header and table not read"):
        alphastream_gpu.open(path, config=Config(init_timeout=0.1))
    assert not opened
    waits.set()
    wait_until(lambda: bool(opened) and "closed" in repr(opened[0]))


def test_a_file_that_is_open_when_the_caller_is_cancelled_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "late.asvp"
    path.write_bytes(DATA)
    opened: list[Source] = []

    async def cancelled(function: Callable[..., Source], *args: object) -> None:
        opened.append(function(*args))
        raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "to_thread", cancelled)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(open_source(path, Config()))
    assert "closed" in repr(opened[0])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("pov_mask.asvr", "pov_mask.asvr"),
        ("/a/b/pov_mask.asvr", "pov_mask.asvr"),
        (r"C:\films\pov_mask.asvr", "pov_mask.asvr"),
        (r"C://films\pov_mask.asvr", "pov_mask.asvr"),
        ("a/", ""),
        ("a#b%20c.asvr", "a#b%20c.asvr"),  # a path is not decoded; only the part from "?" on is cut
        ("a?b.asvr", "a"),
        ("cdn.test/a.asvr?back=https://x/y", "a.asvr"),
        ("https://h/a/pov_mask.asvr?token=a/b.c", "pov_mask.asvr"),
        ("https://h/a/pov_mask.asvr#token=a/b.c", "pov_mask.asvr"),
        ("https://h/a/pov%5Fmask%2easvr#t?u", "pov_mask.asvr"),
        ("HTTPS://h/a/pov_mask.asvr?", "pov_mask.asvr"),
        ("https://h/dir%2Fpov_mask.asvr", "pov_mask.asvr"),
        ("https://h/a%23b%20c+d.asvr", "a#b c+d.asvr"),
        ("https://h/a%3Fb.asvr", "a"),
        ("https://h/gr%C3%BCn.asvr", "gr\u00fcn.asvr"),
        ("https://h/gr%FCn.asvr", "gr\ufffdn.asvr"),
        ("https://user:pw@h", ""),
        ("https://user:pw@h?a=b/c", ""),
        ("https://user:pw@h#b/c", ""),
        ("https://h/", ""),
        ("file:///a/b%23c.asvr", "b#c.asvr"),
        ("file:/a/b%23c.asvr?x#y", "b#c.asvr"),
        ("s3://user:pw@h/x.asvr", "x.asvr"),
    ],
)
def test_resource_names(path: str, name: str) -> None:
    assert resource_name_of(path) == name


class Blocking(MemorySource):
    """A caller's source whose reads block their thread until `may_go_on` is set."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    async def read(self, span: ByteRange) -> memoryview:
        assert self.may_go_on.wait(60)
        return await super().read(span)


def test_a_source_that_blocks_does_not_delay_other_streams() -> None:
    config = Config(prefetch_frames=0, get_frame_timebox=1000)
    blocking, others = Blocking(SAMPLE.read_bytes()), MemorySource(SAMPLE.read_bytes())
    with (
        alphastream_gpu.open(blocking, config=Config(prefetch_frames=0)) as stream,
        alphastream_gpu.open(others, config=config) as other,
    ):
        blocking.may_go_on.clear()
        try:
            assert stream.get_geometry(110) is None
            assert other.get_geometry(110) is not None
            with alphastream_gpu.open(SAMPLE, config=config) as third:
                assert third.get_geometry(110) is not None
        finally:
            blocking.may_go_on.set()
        wait_until(lambda: stream.get_geometry(110) is not None)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("alphastream-source")]


def test_a_source_of_two_streams_has_one_loop() -> None:
    class Locked(MemorySource):
        lock = asyncio.Lock()
        loops: ClassVar[set[asyncio.AbstractEventLoop]] = set()

        async def read(self, span: ByteRange) -> memoryview:
            async with self.lock:
                self.loops.add(asyncio.get_running_loop())
                await asyncio.sleep(0.001)
            return await super().read(span)

    source = Locked(SAMPLE.read_bytes())
    with alphastream_gpu.open(source) as first, alphastream_gpu.open(source) as second:
        assert [first.read_frame(n) for n in range(20)] == [second.read_frame(n) for n in range(20)]
    assert len(Locked.loops) == 1


def test_a_source_is_closed_after_its_last_read_ended() -> None:
    events = []

    class Careful(MemorySource):
        async def read(self, span: ByteRange) -> memoryview:
            if span.start < 1000:
                return await super().read(span)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(0.05)
                events.append("the read ended")
                raise
            raise AssertionError("the read was not cancelled")

        async def aclose(self) -> None:
            events.append("closed")

    with alphastream_gpu.open(Careful(SAMPLE.read_bytes()), config=Config(prefetch_frames=0)) as stream:
        assert stream.get_geometry(110) is None
    assert events == ["the read ended", "closed"]


@pytest.mark.parametrize("error", [GeneratorExit, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_an_exception_of_a_source_fails_only_its_read(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    class Raising(MemorySource):
        is_broken = False

        async def read(self, span: ByteRange) -> memoryview:
            if self.is_broken:
                raise error
            return await super().read(span)

    source = Raising(SAMPLE.read_bytes())
    with alphastream_gpu.open(source, config=Config(prefetch_frames=0)) as stream:
        source.is_broken = True
        with pytest.raises(TransportError, match=error.__name__):
            stream.read_frame(110)
        source.is_broken = False
        assert stream.read_frame(110).channel_count
    assert not caplog.records


def test_two_streams_on_one_source_when_one_closes() -> None:
    """The other stream goes on reading, by many reads at a time."""

    class Slow(MemorySource):
        async def read(self, span: ByteRange) -> memoryview:
            await asyncio.sleep(0.0005)
            return await super().read(span)

    source = Slow(SAMPLE.read_bytes())
    with alphastream_gpu.open(source, config=Config(prefetch_frames=0)) as first:
        with alphastream_gpu.open(source, config=Config(prefetch_frames=0)) as second:
            second.read_frame(3)
        with ThreadPoolExecutor(4) as pool:
            frames = list(pool.map(lambda k: first.read_frame(k % 120), range(200)))
        assert frames[:120] == list(first.read_frames())
    wait_until(lambda: not any(thread.name.startswith("alphastream-source") for thread in threading.enumerate()))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["blocks", "swallows"])
def test_a_source_that_hangs_is_given_up(how: str) -> None:
    """When it is opened, when another is loaded in its place, and when it is closed."""
    end = threading.Event()

    class Hanging(MemorySource):
        is_hanging = True

        async def read(self, span: ByteRange) -> memoryview:
            while self.is_hanging and not end.is_set():
                if how == "blocks":
                    end.wait(60)
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.01)
            return await super().read(span)

    started = time.monotonic()
    try:
        with pytest.raises(FrameTimeoutError):
            alphastream_gpu.open(Hanging(SAMPLE.read_bytes()), config=Config(init_timeout=0.2))
        source = Hanging(SAMPLE.read_bytes())
        source.is_hanging = False
        with alphastream_gpu.open(source, config=Config(prefetch_frames=0)) as stream:
            source.is_hanging = True
            assert stream.get_geometry(100) is None
            stream.load_source(SAMPLE)
            assert stream.read_frame(100).channel_count
    finally:
        end.set()
    assert time.monotonic() - started < 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_the_same_source_in_a_forked_child() -> None:
    """A loop of the parent's does not run there."""
    script = f"""
import os
import alphastream_gpu
class Mine(alphastream_gpu.MemorySource):
    async def read(self, span):
        return await super().read(span)
source = Mine(open({str(SAMPLE)!r}, "rb").read())
with alphastream_gpu.open(source) as stream:
    child = os.fork()
    if child == 0:
        with alphastream_gpu.open(source, config=alphastream_gpu.Config(init_timeout=5)) as again:
            os._exit(0 if again.metadata.frame_count == 120 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert stream.read_frame(100).channel_count
print("ok")
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "ok\n", done.stderr
