"""
Tests for people who write a :class:`~alphastream_gpu.Source` of their own. Needs pytest.

Derive a class whose name begins with ``Test``, and say how a source is made::

    from alphastream_gpu.testing import SourceConformance

    class TestMySource(SourceConformance):
        def make(self, data, folder):
            path = folder / "data.bin"
            path.write_bytes(data)
            return MySource(path)

pytest then runs every test of :class:`SourceConformance` on that source. The library's own sources pass them. With
``pytest.register_assert_rewrite("alphastream_gpu.testing")`` in a conftest.py, a failure shows the values compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from . import AsvpWriter, ByteRange, ClosedError, FrameGeometry, Source, open_async

__all__ = ["SourceConformance"]

_DATA: Final = bytes((k * 37 + k // 251) % 256 for k in range(2000))
_FRAMES: Final = [FrameGeometry([(k, 0), (k + 9, 0), (k + 9, 9), (k, 9)]) for k in range(40)]


class SourceConformance:
    """What every source must do. A subclass implements :meth:`make`."""

    def make(self, data: bytes, folder: Path) -> Source:
        """
        Make a source of some bytes.

        Args:
            data: what the source's storage holds. Put it there without the source's help.
            folder: an empty folder, for storage that is on disk.

        Returns:
            A source that no method was called on yet. Each test closes it.
        """
        raise NotImplementedError("SourceConformance: implement make(data, folder)")

    def test_its_name_is_text(self, tmp_path: Path) -> None:
        """The name is part of an ASVR's key."""
        source = self.make(_DATA, tmp_path)
        assert isinstance(source.name, str)
        _run(source, lambda: source.read(ByteRange(0, 1)))

    def test_its_length_is_right_or_not_known_yet(self, tmp_path: Path) -> None:
        """A length may be unknown before the first read, but not afterwards."""
        source = self.make(_DATA, tmp_path)
        assert source.length in (None, len(_DATA))
        _run(source, lambda: source.read(ByteRange(0, 1)))
        assert source.length == len(_DATA)

    @pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 2000), (5, 9), (1999, 2000), (7, 7), (2000, 2000)])
    def test_ranges_inside(self, tmp_path: Path, start: int, stop: int) -> None:
        """A read returns the bytes of its range, also of one that is empty."""
        source = self.make(_DATA, tmp_path)
        assert bytes(_run(source, lambda: source.read(ByteRange(start, stop)))) == _DATA[start:stop]

    @pytest.mark.parametrize(("start", "stop"), [(0, 65536), (1990, 3000), (2000, 2010), (5000, 6000)])
    def test_ranges_past_the_end_are_short(self, tmp_path: Path, start: int, stop: int) -> None:
        """A read returns those bytes of its range that exist."""
        source = self.make(_DATA, tmp_path)
        assert bytes(_run(source, lambda: source.read(ByteRange(start, stop)))) == _DATA[start:stop]

    def test_an_empty_file(self, tmp_path: Path) -> None:
        """There is nothing to read, which is no error."""
        source = self.make(b"", tmp_path)
        assert bytes(_run(source, lambda: source.read(ByteRange(0, 10)))) == b""
        assert source.length == 0

    def test_many_reads_at_once(self, tmp_path: Path) -> None:
        """Each read returns its own range."""
        spans = [ByteRange(k, k + 50) for k in range(0, 1900, 19)]
        source = self.make(_DATA, tmp_path)

        async def read() -> list[bytes]:
            return [bytes(part) for part in await asyncio.gather(*map(source.read, spans))]

        assert _run(source, read) == [_DATA[span.start : span.stop] for span in spans]

    def test_bytes_stay_unchanged(self, tmp_path: Path) -> None:
        """What a read returned stays valid after later reads, and after the source is closed."""
        source = self.make(_DATA, tmp_path)
        stops = range(0, 2001, 100)

        async def read() -> list[bytes | memoryview]:
            return [await source.read(ByteRange(start, stop)) for start, stop in pairwise(stops)]

        assert b"".join(map(bytes, _run(source, read))) == _DATA

    def test_a_cancelled_read_leaves_it_usable(self, tmp_path: Path) -> None:
        """The library cancels reads when play jumps elsewhere."""
        source = self.make(_DATA, tmp_path)

        async def read() -> bytes:
            for n_steps in range(5):
                reading = asyncio.ensure_future(source.read(ByteRange(0, 2000)))
                for _ in range(n_steps):
                    await asyncio.sleep(0)
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            return bytes(await source.read(ByteRange(100, 200)))

        assert _run(source, read) == _DATA[100:200]

    def test_a_read_after_closing(self, tmp_path: Path) -> None:
        """A closed source raises ClosedError, unless it holds nothing that could be closed."""
        source = self.make(_DATA, tmp_path)
        _run(source, lambda: source.read(ByteRange(0, 1)))
        with suppress(ClosedError):
            assert bytes(asyncio.run(_read(source, 5, 9))) == _DATA[5:9]

    def test_a_stream_plays_from_it(self, tmp_path: Path) -> None:
        """Every frame of a stream on this source is right, in order and by jumps."""
        written = tmp_path / "written.asvp"
        with AsvpWriter(written) as writer:
            for geometry in _FRAMES:
                writer.add_frame(geometry)
        folder = tmp_path / "source"
        folder.mkdir()
        source = self.make(written.read_bytes(), folder)

        async def play() -> None:
            async with await open_async(source) as stream:
                assert [geometry async for geometry in stream.frames()] == _FRAMES
                for index in (39, 0, 20, 3):
                    assert await stream.frame(index) == _FRAMES[index]

        asyncio.run(play())


async def _read(source: Source, start: int, stop: int) -> bytes | memoryview:
    return await source.read(ByteRange(start, stop))


def _run(source: Source, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Use a source and close it, all on one event loop."""

    async def run() -> Any:
        try:
            return await work()
        finally:
            await source.aclose()

    return asyncio.run(run())
