"""
alphastream download: a stream from a URL to a file, resumed and verified.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

import click

from .._exceptions import DecodeError, TransportError, mapped_errors
from .._sources import Source, Spool, spooled
from .._sources.ranges import ByteRange
from .._stream.plan import FrameSpan
from .._stream.reader import FIRST_READ_BYTES, StreamReader
from .._writing.whole_file import whole_file
from .options import StreamOptions, stream_options
from .pipes import Input, Output, OutputParameter
from .running import cli, command, progress_bar

__all__ = ["download"]

_STEP_BYTES: Final = 256 * 1024
"""What one read fetches. A process that is killed loses the reads under way."""
_STEP_FRAMES: Final = 16_384
_READS_AHEAD: Final = 3
"""Reads under way beside the one that is awaited, so that the line is never idle."""

Part = tuple[ByteRange, FrameSpan | None]
"""A part of the file, and its frames, if it has whole ones."""


@cli.command()
@click.argument("file", metavar="URL")
@click.option("-o", "--output", "target", type=OutputParameter(), required=True, help="File to write.")
@click.option("--no-verify", is_flag=True, help="Do not look into the stream; an ASVR then needs no key.")
@stream_options
@command
async def download(
    file: Input,
    target: Output,
    no_verify: bool,
    options: StreamOptions,
) -> int:
    """Download a stream, and resume an interrupted download.

    Every frame is decoded, so an ASVR needs its key as with the other commands. The file appears when it is complete.
    Until then, what was received is in a hidden file beside it, which the next run goes on from if the server
    identifies the file by a strong ETag or by Last-Modified, and still has the same one. After a malformed frame, the
    next run begins anew.
    """
    if target.is_direct:
        raise click.UsageError("-o: expected a file, because an interrupted download is resumed from a file beside it")
    path = Path(target.path)
    with mapped_errors(f"writing {target.path!r}"):
        os.stat(path.parent)
    spool = Spool(path.with_name(f".{path.name}.alphastream-part"))
    source = spooled(file.source, options.config, spool)
    is_damaged = False
    try:
        if no_verify:
            await source.read(ByteRange(0, FIRST_READ_BYTES))
            reader = None
        else:
            reader = await StreamReader.open(source, key=options.key(file), config=options.config)
        n_bytes = source.length
        assert n_bytes is not None
        with mapped_errors(f"writing {target.path!r}"), whole_file(path) as out, progress_bar() as progress:
            task = progress.add_task("download", total=n_bytes)
            try:
                async for data in _contents(source, reader, n_bytes):
                    out.write(data)
                    progress.update(task, completed=out.tell())
            except DecodeError:
                is_damaged = True
                raise
            if out.tell() != n_bytes:
                raise TransportError(f"{source.name!r}: expected {n_bytes} bytes, found {out.tell()}")
        n_known = max(0, n_bytes - source.bytes_received)
    finally:
        await source.aclose()
        if is_damaged:  # the next run would find the same bytes in it, also if they were damaged on their way
            spool.remove()
    spool.remove()
    frames = "" if reader is None else f"{len(reader.index)} frames, "
    resumed = f"; {n_known:,} bytes were there" if n_known else ""
    click.echo(f"{target.shown}: {frames}{n_bytes:,} bytes{resumed}")
    return 0


async def _contents(source: Source, reader: StreamReader | None, n_bytes: int) -> AsyncIterator[bytes | memoryview]:
    """The bytes of the file in order. Frames are decoded first."""
    reads: deque[tuple[Part, asyncio.Task[bytes | memoryview]]] = deque()
    parts = _parts(reader, n_bytes)
    try:
        while True:
            while len(reads) <= _READS_AHEAD and (part := next(parts, None)) is not None:
                reads.append((part, asyncio.create_task(_read(source, reader, part))))
            if not reads:
                return
            (_, frames), read = reads[0]
            data = await read
            if reader is not None and frames is not None:
                await asyncio.to_thread(_verify, reader, frames, data)
            reads.popleft()
            yield data
    finally:
        for _, read in reads:
            read.cancel()
        await asyncio.gather(*(read for _, read in reads), return_exceptions=True)


def _parts(reader: StreamReader | None, n_bytes: int) -> Iterator[Part]:
    at = 0
    if reader is not None:
        at = reader.header.blocks_offset
        yield ByteRange(0, at), None
        frame, n_frames = 0, len(reader.index)
        while frame < n_frames:
            span = reader.batch(frame, n_frames, max_bytes=_STEP_BYTES, max_frames=_STEP_FRAMES)
            yield span.bytes, span
            frame, at = span.stop, span.bytes.stop
    for start in range(at, n_bytes, _STEP_BYTES):  # everything, or what comes after the last frame
        yield ByteRange(start, min(start + _STEP_BYTES, n_bytes)), None


def _read(source: Source, reader: StreamReader | None, part: Part) -> Coroutine[Any, Any, bytes | memoryview]:
    span, frames = part
    return source.read(span) if reader is None or frames is None else _read_frames(reader, frames)


async def _read_frames(reader: StreamReader, frames: FrameSpan) -> bytes:
    """The bytes of frames. Errors name the frame."""
    return b"".join(await reader.read_blocks(frames))


def _verify(reader: StreamReader, frames: FrameSpan, data: bytes | memoryview) -> None:
    """Decode frames; raises DecodeError for a malformed one."""
    view, offsets = memoryview(data), reader.index.offsets
    for index in range(frames.first, frames.stop):
        start, stop = int(offsets[index]) - frames.bytes.start, int(offsets[index + 1]) - frames.bytes.start
        reader.decode(index, view[start:stop])
