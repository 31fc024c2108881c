"""
Timed work: one side of `regression.py`. Does a piece of work as often as it is told, and says how long that took.

A process of its own for each of the two trees that are compared; which tree's package it imports, PYTHONPATH decides.
It uses public names only, so that it runs with older packages too. It says first which package it found. Then it reads
``NAME REPEATS`` lines from standard input, and answers each with the seconds of one repetition, or with ``missing:
REASON`` if that tree cannot do it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Final

import alphastream_gpu
from alphastream_gpu import Config, FrameGeometry, MaskRenderer, rasterize

__all__ = ["WORK", "main"]

os.environ["ALPHASTREAM_RASTERIZER"] = "numpy"  # the compiled twin would begin in the middle of the work

SAMPLE: Final = Path(__file__).resolve().parents[1] / "examples" / "person_sbs.asvp"
THUMBNAIL: Final = (256, 128)
_held: Final = ExitStack()


@cache
def _payloads() -> list[bytes]:
    """The sample's, taken apart by hand (docs/format.md): threads would spoil the count of instructions."""
    data = SAMPLE.read_bytes()
    at = 16 + int.from_bytes(data[12:16], "little")
    sizes = zlib.decompress(data[16:at])
    payloads = []
    for k in range(0, len(sizes), 8):
        size = int.from_bytes(sizes[k : k + 8], "little")
        payloads.append(zlib.decompress(data[at + 4 : at + size]))
        at += size
    return payloads


@cache
def _geometries() -> list[FrameGeometry]:
    return [FrameGeometry.from_payload(payload) for payload in _payloads()]


@cache
def _prepared() -> list[FrameGeometry]:
    """The same, with what a renderer needs of them: where the package has that, a stream computes it in its threads."""
    for geometry in _geometries():
        getattr(geometry, "planes", None)
    return _geometries()


@cache
def _long_stream() -> bytes:
    """The sample's frames ten times over, as an ASVP (docs/format.md)."""
    blocks = []
    for payload in _payloads() * 10:
        blocks.append(len(payload).to_bytes(4, "little") + zlib.compress(payload))
    sample = SAMPLE.read_bytes()
    table = zlib.compress(b"".join(len(block).to_bytes(8, "little") for block in blocks))
    return sample[:8] + len(blocks).to_bytes(4, "little") + len(table).to_bytes(4, "little") + table + b"".join(blocks)


@cache
def _targets() -> tuple[Any, Any, Any]:
    """A context, a texture and an array texture."""
    ctx = alphastream_gpu.create_headless_context()
    return ctx, ctx.texture(THUMBNAIL, 1), ctx.texture_array((*THUMBNAIL, 64), 1)


@cache
def _renderer(**options: Any) -> MaskRenderer:
    """Raises TypeError where an older package does not know an option, so that this work is left out for it."""
    return _held.enter_context(MaskRenderer(_targets()[0], **options))


def decode() -> None:
    """120 payloads to geometry."""
    for payload in _payloads():
        FrameGeometry.from_payload(payload)


def rasterize_native() -> None:
    """60 masks of 2048 x 1024 by the CPU twin."""
    for geometry in _geometries()[::2]:
        rasterize(geometry)


def rasterize_small() -> None:
    """120 masks of 512 x 256 by the CPU twin."""
    for geometry in _geometries():
        rasterize(geometry, (512, 256))


def _render(renderer: MaskRenderer, geometries: list[FrameGeometry], into: Any = None) -> None:
    """Masks one by one, each finished before the next."""
    ctx, _, _ = _targets()
    for geometry in geometries:
        renderer.render(geometry, into=into)
        ctx.finish()


def render_native() -> None:
    """30 masks of 2048 x 1024 into a texture, each finished, as a renderer does by default."""
    _render(_renderer(), _prepared()[::4])


def render_triangles() -> None:
    """15 masks of 2048 x 1024 into a texture, each finished, by triangles."""
    _render(_renderer(method="triangles"), _prepared()[::8])


def render_compute() -> None:
    """4 masks of 2048 x 1024 into a texture, each finished, by compute shaders."""
    _render(_renderer(method="compute"), _prepared()[::30])


def render_thumbnails() -> None:
    """60 masks of 256 x 128 into a texture, each finished, as a renderer does by default."""
    _render(_renderer(), _prepared()[::2], _targets()[1])


def render_batch() -> None:
    """64 masks of 256 x 128 into an array texture at once, finished, as a renderer does by default."""
    ctx, _, array = _targets()
    _renderer().render_many(_prepared()[:64], into=array)
    ctx.finish()


def read_masks() -> None:
    """30 masks of 2048 x 1024 rendered and read back, three in flight, as a renderer does by default."""
    for _ in _renderer().read_frames(_prepared()[::4]):
        pass


def cover_strips() -> None:
    """20 cover strips."""
    for geometry in _geometries()[::6]:
        geometry.triangle_strip()


def read_frames() -> None:
    """1,200 frames opened, read and decoded, offline."""

    async def read() -> None:
        async with await alphastream_gpu.open_async(_long_stream()) as stream:
            async for _ in stream.frames():
                pass

    asyncio.run(read())


@cache
def _player() -> alphastream_gpu.AlphaStream:
    stream = _held.enter_context(alphastream_gpu.open(_long_stream(), config=Config(ready_frames=0, cache_frames=1300)))
    for index in range(1200):
        while stream.get_geometry(index) is None:
            pass
    return stream


def get_geometry() -> None:
    """1,200 calls of get_geometry for frames in the cache."""
    stream = _player()
    for index in range(1200):
        stream.get_geometry(index)


def get_frame() -> None:
    """120 calls of get_frame at 512 x 256 for masks that must be made."""
    stream = _player()
    for index in range(0, 1200, 10):
        stream.get_frame(index, 512, 256)


WORK: Final[dict[str, Callable[[], None]]] = {
    work.__name__: work
    for work in (
        decode,
        rasterize_native,
        rasterize_small,
        render_native,
        render_triangles,
        render_compute,
        render_thumbnails,
        render_batch,
        read_masks,
        cover_strips,
        read_frames,
        get_geometry,
        get_frame,
    )
}


def _answers(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        name, repeats = line.split()
        try:
            start = time.perf_counter()
            for _ in range(int(repeats)):
                WORK[name]()
            yield str((time.perf_counter() - start) / int(repeats))
        except Exception as exc:  # an older tree may lack anything
            yield f"missing: {type(exc).__name__}: {' '.join(str(exc).split())}"


def main() -> None:
    """Answer until the input ends."""
    if sys.argv[1:] == ["--list"]:
        print(json.dumps({name: work.__doc__ for name, work in WORK.items()}))
        return
    if sys.argv[1:]:  # the same work without a driver beside it, for counting instructions
        for name in sys.argv[1:]:
            WORK[name]()
        return
    print(alphastream_gpu.__file__, flush=True)
    with _held:
        for answer in _answers(iter(sys.stdin.readline, "")):
            print(answer, flush=True)


if __name__ == "__main__":
    main()
