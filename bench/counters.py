"""
Counters: what a frame costs that does not depend on the machine's speed, compared exactly with `counters.toml`.

``python bench/counters.py`` counts and compares; it ends with 1 and a line for each difference. ``--write`` writes the
table anew, for a change that is meant; the commit's diff then shows what it costs. docs/benchmarks.md says what each
counter is for.

The work is done in one process and one thread of the caller's, on the sample and on streams made of it, so that
whatever is counted is the same in every run. What depends on a version (how many calls a line makes in Python, which
temporary arrays numpy has, what an OpenGL can tell by fewer calls) is in tables of their own for each minor one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import re
import sys
import tomllib
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
from allocations import allocated
from badserver import Server
from support import ROOT, SAMPLE, asvp_of, block_of, sample_geometries

import alphastream_gpu
from alphastream_gpu import Config, FrameGeometry, MaskRenderer, rasterize
from alphastream_gpu._geometry import frame as _geometry
from alphastream_gpu._stream import reader as _reader

__all__ = ["TABLE", "compare", "count", "main"]

Counts = dict[str, dict[str, int]]

os.environ["ALPHASTREAM_RASTERIZER"] = "numpy"  # the compiled twin would begin at some frame, on a thread of its own

TABLE: Final = ROOT / "bench" / "counters.toml"
NATIVE: Final = (2048, 1024)
THUMBNAIL: Final = (256, 128)
BATCH: Final = 64
METHODS: Final[tuple[Any, ...]] = ("upload", "triangles", "compute")
FEW: Final = 10
"""Every how manieth frame is rendered by compute shaders, which a software driver takes long for."""
PLAYED: Final = 1000
SEEKS: Final = 100
CALLS: Final = f"calls-python-{sys.version_info.major}.{sys.version_info.minor}"
ARRAYS: Final = f"arrays-numpy-{'.'.join(np.__version__.split('.')[:2])}"
ARRAY_BYTES: Final = ARRAYS.replace("arrays", "array-bytes")
_VERSIONED: Final = re.compile(r"-(python|numpy|opengl)-[\d.]+$")
_PEAK_STEP: Final = 16 * 1024
"""Peaks are rounded up to this, because the size of Python's and numpy's own objects differs between releases."""


def count() -> Counts:
    """Count everything, by section."""
    geometries = sample_geometries()
    return {**_gl(geometries), **_streaming(geometries), **_memory(geometries), **_of_python(geometries)}


def _gl(geometries: list[FrameGeometry]) -> Counts:
    """What each method sends to GL for the sample's frames, once every size has been seen."""
    found: Counts = {}
    ctx = alphastream_gpu.create_headless_context()
    gl_calls = found[f"gl-calls-opengl-{ctx.version_code // 100}.{ctx.version_code // 10 % 10}"] = {}
    texture, array = ctx.texture(THUMBNAIL, 1), ctx.texture_array((*THUMBNAIL, BATCH), 1)
    few, batch = geometries[::FEW], geometries[:BATCH]
    for method in METHODS:
        frames = few if method == "compute" else geometries
        with MaskRenderer(ctx, method=method) as renderer:
            assert renderer.method == method, "it passes the self-check"
            works: dict[str, Callable[[], object]] = {
                "native": partial(_render, renderer, frames, None),
                "thumbnail": partial(_render, renderer, frames, texture),
                "batch": partial(renderer.render_many, batch, into=array),
                "read": partial(_read, renderer, frames),
            }
            for name, work in works.items():
                work()
                found[f"gl-{method}-{name}"] = _rendered(renderer, work)
            gl_calls[f"{method}-batch"] = _gl_called(renderer, works["batch"])
        for preserve in (True, False):
            with MaskRenderer(ctx, method=method, preserve_state=preserve) as renderer:
                renderer.render(few[0], into=texture)
                name = f"{method}-{'kept' if preserve else 'bare'}"
                gl_calls[name] = _gl_called(renderer, partial(_render, renderer, few, texture))
    ctx.release()
    return found


def _render(renderer: MaskRenderer, frames: list[FrameGeometry], target: Any) -> None:
    for geometry in frames:
        renderer.render(geometry, into=target)


def _read(renderer: MaskRenderer, frames: list[FrameGeometry]) -> None:
    for _ in renderer.read_frames(frames, size=THUMBNAIL):
        pass


def _rendered(renderer: MaskRenderer, work: Callable[[], object]) -> dict[str, int]:
    before = renderer.stats
    work()
    after = renderer.stats
    names = ("frames", "draws", "dispatches", "uploaded_bytes", "cpu_fallbacks", "gl_objects")
    return {name: getattr(after, name) - getattr(before, name) for name in names}


def _gl_called(renderer: MaskRenderer, work: Callable[[], object]) -> int:
    """How many GL functions are called without moderngl, which draws, sets uniforms and makes textures."""
    gl: Any = renderer._gl
    functions = {name: value for name, value in vars(gl).items() if re.match("gl[A-Z]", name) and value is not None}
    calls = 0

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            return function(*arguments)

        return call

    for name, function in functions.items():
        setattr(gl, name, counting(function))
    try:
        work()
    finally:
        for name, function in functions.items():
            setattr(gl, name, function)
    return calls


def _streaming(geometries: list[FrameGeometry]) -> Counts:
    """Requests, bytes and decodes of a stream ten times the sample's length, over HTTP and from memory."""
    data = asvp_of([block_of(geometry.to_payload()) for geometry in geometries] * 10)
    n_frames = len(geometries) * 10
    found: Counts = {}
    with Server(data) as server:
        found["http-open"] = _requested(server, lambda: _opened(server.url()))
        found["http-1000-frames"] = _requested(server, lambda: asyncio.run(_read_through(server.url(), PLAYED)))
        found["http-100-seeks"] = _requested(server, lambda: asyncio.run(_seek(server.url(), n_frames)))
    # Every frame, so that it makes no difference how far prefetching came behind the last one asked for.
    config = Config(cache_frames=n_frames, ready_frames=0)
    with _decodes() as decodes, alphastream_gpu.open(data, config=config) as stream:
        for index in range(n_frames):
            while stream.get_geometry(index) is None:
                pass
        for index in range(n_frames):
            assert stream.get_geometry(index) is not None
        stats = stream.stats()
    found["play-twice"] = {"frames_served": 2 * n_frames, **decodes, "evicted": stats.evicted, "failed": stats.failed}
    return found


def _requested(server: Server, work: Callable[[], object]) -> dict[str, int]:
    requests, body = len(server.requests), server.body_bytes
    with _decodes() as decodes:
        work()
    return {"requests": len(server.requests) - requests, "bytes_fetched": server.body_bytes - body, **decodes}


@contextmanager
def _decodes() -> Iterator[dict[str, int]]:
    """
    Count blocks inflated and payloads decoded, in whatever thread; complete when the block ends. At the functions that
    do it, since what a stream says of itself would not tell of a frame that is decoded twice behind its back.
    """
    found: dict[str, int] = {}
    done: list[str] = []  # appending is atomic
    inflate, decode = _reader.inflate_block, _geometry.decode_payload

    def counting(name: str, function: Callable[..., Any]) -> Any:
        return lambda *arguments, **options: (done.append(name), function(*arguments, **options))[1]

    _reader.inflate_block, _geometry.decode_payload = counting("inflated", inflate), counting("decoded", decode)
    try:
        yield found
    finally:
        _reader.inflate_block, _geometry.decode_payload = inflate, decode
        found |= {name: done.count(name) for name in ("inflated", "decoded")}


def _opened(url: str) -> None:
    alphastream_gpu.open(url, config=Config(prefetch_frames=0)).close()


async def _read_through(url: str, n_frames: int) -> None:
    async with await alphastream_gpu.open_async(url) as stream:
        async for _ in stream.frames(0, n_frames):
            pass


async def _seek(url: str, n_frames: int) -> None:
    async with await alphastream_gpu.open_async(url, config=Config(prefetch_frames=0)) as stream:
        for k in range(SEEKS):
            await stream.frame(k * 617 % n_frames)


def _memory(geometries: list[FrameGeometry]) -> Counts:
    """The most memory that one frame's work takes beside what it gives back, its own result included."""
    geometry = geometries[60]
    payload = geometry.to_payload()
    renderer_free = {
        "from_payload": lambda: FrameGeometry.from_payload(payload),
        "rasterize-native": lambda: rasterize(geometry),
        "rasterize-512x256": lambda: rasterize(geometry, (512, 256)),
        "triangle_strip": geometry.triangle_strip,
    }
    return {"peak-bytes": {name: _peak(work) for name, work in renderer_free.items()}}


def _peak(work: Callable[[], object]) -> int:
    work()
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return -(-tracemalloc.get_traced_memory()[1] // _PEAK_STEP) * _PEAK_STEP
    finally:
        tracemalloc.stop()


def _of_python(geometries: list[FrameGeometry]) -> Counts:
    """
    What the sample's frames take, on one thread: calls that the interpreter makes, of Python functions and, from these,
    of C ones; arrays that numpy allocates, temporary ones too, and their bytes. 120 frames, by compute shaders 12; in a
    batch 64.
    """
    payloads = [geometry.to_payload() for geometry in geometries]
    ctx = alphastream_gpu.create_headless_context()
    found: Counts = {CALLS: {}, ARRAYS: {}, ARRAY_BYTES: {}}
    with ExitStack() as stack:
        stream = stack.enter_context(alphastream_gpu.open(SAMPLE, config=Config(ready_frames=0)))
        target, array = ctx.texture(THUMBNAIL, 1), ctx.texture_array((*THUMBNAIL, BATCH), 1)
        works: dict[str, Callable[[], object]] = {
            "from_payload": lambda: [FrameGeometry.from_payload(payload) for payload in payloads],
            "planes": lambda: [FrameGeometry.from_payload(payload).planes for payload in payloads],
            "rasterize-native": lambda: [rasterize(geometry) for geometry in geometries],
            "rasterize-512x256": lambda: [rasterize(geometry, (512, 256)) for geometry in geometries],
            "get_geometry-cached": lambda: [stream.get_geometry(10) for _ in geometries],
        }
        for method in METHODS:
            renderer = stack.enter_context(MaskRenderer(ctx, method=method))
            frames = geometries[::FEW] if method == "compute" else geometries
            works[f"render-thumbnail-{method}"] = partial(_render, renderer, frames, target)
            works[f"render_many-thumbnail-{method}"] = partial(renderer.render_many, geometries[:BATCH], into=array)
        while stream.get_geometry(10) is None:
            pass
        for name, work in works.items():
            work()
            found[CALLS][name] = _called(work)
            found[ARRAYS][name], found[ARRAY_BYTES][name] = allocated(work)
    ctx.release()
    return found


def _called(work: Callable[[], object]) -> int:
    calls = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    gc.disable()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls


def compare(found: Counts, expected: Counts) -> list[str]:
    """A line for each counter that differs; sections of other versions are left alone."""
    lines = []
    for section in sorted({*found, *expected}):
        if section not in {*found} & {*expected} and _VERSIONED.search(section):
            continue
        counters, table = found.get(section, {}), expected.get(section, {})
        for name in sorted({*counters, *table}):
            now, then = counters.get(name), table.get(name)
            if now != then:
                change = f" ({now / then - 1:+.1%})" if now and then else ""
                lines.append(f"{section}.{name}: expected {then}, found {now}{change}")
    return lines


def _of_other_versions(expected: Counts, found: Counts) -> Counts:
    """The table's sections that could not be counted here, without those that count other things than today's."""
    kinds = {_VERSIONED.sub("", section): counters.keys() for section, counters in found.items()}
    return {
        section: counters
        for section, counters in expected.items()
        if _VERSIONED.search(section) and kinds.get(_VERSIONED.sub("", section), counters.keys()) == counters.keys()
    }


def _text(counts: Counts) -> str:
    sections = (
        f'["{section}"]\n' + "".join(f'"{name}" = {value}\n' for name, value in counters.items())
        for section, counters in sorted(counts.items())
    )
    head = "# What bench/counters.py counted; `make gates` compares, `make counters-write` writes it anew.\n\n"
    return head + "\n".join(sections)


def main(arguments: list[str] | None = None) -> int:
    """Count, and compare or write; the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the table anew")
    options = parser.parse_args(arguments)
    found = count()
    expected = tomllib.loads(TABLE.read_text("utf-8")) if TABLE.exists() else {}
    if options.write:
        TABLE.write_text(_text({**_of_other_versions(expected, found), **found}), "utf-8")
        return 0
    lines = compare(found, expected)
    for line in lines:
        print(line)
    if lines:
        print("A change that is meant: run `make counters-write`, and say in the commit why.")
    else:
        n_compared = sum(len(counters) for section, counters in found.items() if section in expected)
        print(f"{n_compared} counters, all as in bench/{TABLE.name}")
    for section in sorted(found.keys() - expected.keys()):
        if _VERSIONED.search(section):
            print(f"not compared, since the table has no {section}; `make counters-write` adds it")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
