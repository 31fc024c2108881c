"""
Helpers for several test modules: the sample, waiting, geometry from lists, hypothesis strategies, handmade files.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import signal
import struct
import time
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

import alphastream_gpu
from alphastream_gpu import AlphaStream, ErrorCode, FrameGeometry

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(alphastream_gpu.__file__).parent
"""The folder of the tested package: in the checkout, or where it is installed."""
SAMPLE = ROOT / "examples" / "person_sbs.asvp"
GOLDEN = ROOT / "examples" / "person_sbs_golden.json"
NATIVE = (2048, 1024)
NO_FILE = "No such file or directory|The system cannot find the"
"""A pattern for the messages of systems about a missing file or folder."""

Mask = np.ndarray
Rasterizer = Callable[..., Mask]
"""(geometry, size=None, *, native_size) -> uint8 (h, w): the CPU twin, or a renderer with reading back."""


def golden_frames() -> list[dict[str, Any]]:
    return json.loads(GOLDEN.read_text("utf-8"))["frames"]


def sample_geometries() -> list[FrameGeometry]:
    async def read() -> list[FrameGeometry]:
        async with await alphastream_gpu.open_async(SAMPLE) as stream:
            return [geometry async for geometry in stream.frames()]

    return asyncio.run(read())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "the condition is still false after 30 s"
        time.sleep(0.002)


def forked(function: Callable[[], object]) -> bool:
    """Whether a function returns without an exception in a forked child, within 20 seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python says that the process has threads, as it should
        child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(20)
            function()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def code_of(stream: AlphaStream) -> ErrorCode | None:
    """The code of the last error; None if there is none."""
    error = stream.last_error()
    return None if error is None else error.code


def sha256(mask: Mask) -> str:
    return hashlib.sha256(np.ascontiguousarray(mask)).hexdigest()


def geometry_of(channels: Sequence[Sequence[tuple[int, int]]]) -> FrameGeometry:
    offsets = np.cumsum([0, *(len(channel) for channel in channels)])
    points = [point for channel in channels for point in channel]
    return FrameGeometry(np.array(points, np.int32).reshape(-1, 2), offsets)


def channels_of(geometry: FrameGeometry) -> list[list[tuple[int, int]]]:
    points = [tuple(point) for point in geometry.points.tolist()]
    offsets = geometry.channel_offsets.tolist()
    return [points[a:b] for a, b in itertools.pairwise(offsets)]


def points_between(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def frames(draw: st.DrawFn, low: int = -12, high: int = 60, max_channels: int = 6, max_points: int = 12) -> Any:
    """Random channels: any point count, closed or open, self-intersecting, overlapping, with repeated points."""
    channels = []
    for _ in range(draw(st.integers(0, max_channels))):
        channel = draw(st.lists(points_between(low, high), max_size=max_points))
        if len(channel) >= 2 and draw(st.booleans()):
            channel.append(channel[0])  # the file closes the channel
        if channel and draw(st.booleans()):
            at = draw(st.integers(0, len(channel) - 1))
            channel.insert(at, channel[at])  # a repeated point
        channels.append(channel)
    return channels


@st.composite
def payload_frames(draw: st.DrawFn) -> bytes:
    """Random valid payloads."""
    channels = draw(
        st.lists(
            st.tuples(
                st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
                st.lists(st.tuples(st.integers(-128, 127), st.integers(-128, 127)), max_size=20),
            ),
            max_size=6,
        )
    )
    return payload_of(channels)


def payload_of(channels: Sequence[tuple[tuple[int, int], Sequence[tuple[int, int]]]]) -> bytes:
    bodies = [struct.pack("<HH", *base) + b"".join(struct.pack("<bb", *d) for d in deltas) for base, deltas in channels]
    sizes = [len(body) for body in bodies]
    return struct.pack(f"<I{len(sizes)}I", len(sizes), *sizes) + b"".join(bodies)


def block_of(payload: bytes, length: int | None = None) -> bytes:
    return struct.pack("<I", len(payload) if length is None else length) + zlib.compress(payload)


def asvp_of(blocks: Sequence[bytes], *, magic: bytes = b"ASVPPLN1", count: int | None = None) -> bytes:
    """Make an ASVP by the definition in docs/format.md, without code of the package."""
    table = zlib.compress(b"".join(struct.pack("<Q", len(block)) for block in blocks))
    header = magic + struct.pack("<II", len(blocks) if count is None else count, len(table))
    return header + table + b"".join(blocks)


SQUARE = payload_of([((10, 10), [(20, 0), (0, 20), (-20, 0)])])
"""A small valid payload."""
