"""
A user's program that calls everything public, for type checkers: mypy and basedpyright check it, in ``make lint``.

It is never run. A wrong call that must be refused has a comment that ignores its error. A comment that ignores no error
is an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from fractions import Fraction
from pathlib import Path
from typing import Literal, assert_type

import httpx
import moderngl
import numpy as np
import numpy.typing as npt

import alphastream_gpu
from alphastream_gpu import (
    AlphaStream,
    AlphaStreamBuilder,
    AlphaStreamError,
    AsvpWriter,
    AsvrKey,
    AsvrWriter,
    BufferGoal,
    ByteRange,
    ComparedFrame,
    CompareReport,
    Config,
    EncodeProgress,
    EncodeReport,
    ErrorCode,
    ExportProgress,
    ExportReport,
    FileSource,
    FrameGeometry,
    HttpSource,
    InputOptions,
    KeyFromEnvironment,
    LastError,
    MaskArray,
    MaskEncoder,
    MaskRenderer,
    MemorySource,
    Metadata,
    PlaybackClock,
    PlayHead,
    RenderStats,
    RequestTiming,
    Source,
    Stats,
    StreamEvent,
    bulk,
)

Mask = npt.NDArray[np.uint8]


class Storage(Source):
    """A source of a user's own."""

    @property
    def name(self) -> str:
        return "person.asvp"

    @property
    def length(self) -> int | None:
        return None

    async def read(self, span: ByteRange) -> bytes:
        return bytes(len(span))


def options(passphrase: bytes) -> None:
    config = Config(native_size=(1024, 512), fps=Fraction(60000, 1001), processing="both", http_validate="size")
    assert_type(config.cache_frames, int)
    assert_type(config.fps, Fraction)
    assert_type(config.native_size, tuple[int, int])
    builder = AlphaStreamBuilder().source("person.asvp").cache_frames(64).http_retries(1).native_size(1024, 512)
    assert_type(builder.processing("mask").config(), Config)
    assert_type(builder.key(AsvrKey(passphrase, scene_id=1, version="1.5.0")).open(), AlphaStream)
    builder.cache_frames("many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    builder.processing("all")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    builder.opne()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    Config(cash_frames=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def sources(path: Path, client: httpx.AsyncClient) -> None:
    for source in (
        "person.asvp",
        path,
        b"bytes",
        memoryview(b"bytes"),
        MemorySource(b"bytes", name="person.asvp"),
        FileSource(path, buffer=65536),
        HttpSource(
            "https://host/person.asvp", client=client, headers={"X": "y"}, timeout=5, backoff=100, validate="none"
        ),
        Storage(),
        lambda: "https://host/person.asvp?signature=...",
    ):
        assert_type(alphastream_gpu.open(source), AlphaStream)
    alphastream_gpu.open("https://host/x", headers={"X": "y"}, client=lambda: client, strict=False)
    alphastream_gpu.open(["https://host/x", Path("x.asvp"), lambda: "https://x/x"], config=Config(cache_dir=Path("x")))
    alphastream_gpu.open(("https://host/x", "x.asvp"), config=Config(cache_dir=None, prefetch="all"))
    alphastream_gpu.open([5])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    alphastream_gpu.open(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def stream(ctx: moderngl.Context) -> None:  # noqa: PLR0915 - one line for each type
    with alphastream_gpu.open("person.asvp", config=Config()) as stream:
        assert_type(stream.metadata, Metadata)
        assert_type(stream.get_frame(60, 1024, 512), Mask | None)
        geometry = stream.get_geometry(60)
        assert_type(geometry, FrameGeometry | None)
        assert_type(stream.get_triangle_strip_vertices(60), npt.NDArray[np.float32])
        assert_type(stream.last_error(), LastError | None)
        stream.clear_error()
        assert_type(stream.time_of(60), float)
        assert_type(stream.frame_at(1.0), int)
        assert_type(stream.stats(), Stats)
        assert_type(stream.stats().since(Stats()).to_json(), str)
        assert_type(stream.stats().recent_requests, tuple[RequestTiming, ...])
        assert_type(stream.read_frame(60), FrameGeometry)
        assert_type(stream.read_frames(0, 120), Iterator[FrameGeometry])
        assert_type(stream.read_batch([60, 0, 60]), list[FrameGeometry])
        assert_type(stream.read_batch(np.arange(5)), list[FrameGeometry])
        assert_type(stream.fingerprint, str)
        stream.set_rate(30)
        future = stream.request(60)
        assert_type(future, Future[FrameGeometry])
        future.add_done_callback(lambda done: print(done.result().points))
        stream.seek(60)
        stream.seek(60, reverse=True)
        assert_type(stream.prefetch(600, 720), Future[int])
        assert_type(stream.buffered(), tuple[tuple[int, int], ...])
        assert_type(stream.buffered_seconds, float)
        assert_type(stream.is_stalled, bool)
        assert_type(stream.buffer_goal, BufferGoal)
        stream.set_buffer_goal(BufferGoal(seconds=5, bytes=1 << 20))
        stream.set_buffer_goal(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        stream.pause()
        stream.resume()
        assert_type(stream.is_paused, bool)
        attempt = stream.last_attempt(60)
        if attempt is not None and attempt.outcome == "failed":
            assert_type(attempt.error, LastError | None)
        if stream.state == "stalled":
            stream.pause()
        end = stream.on_event(lambda event: print(event.state, event.lost))
        end()
        with stream.play_head() as head:
            assert_type(head, PlayHead)
            assert_type(head.get_frame(60, 256, 128), Mask | None)
            assert_type(head.get_geometry(60), FrameGeometry | None)
            head.seek(120)
        stream.load_source(b"bytes")
        renderer = MaskRenderer.for_stream(stream, ctx)
        if geometry is not None:
            draw(renderer, geometry, ctx)
    error = stream.last_error()
    if error is not None:
        assert_type(error.code, ErrorCode)


def draw(renderer: MaskRenderer, geometry: FrameGeometry, ctx: moderngl.Context) -> None:
    texture = renderer.render(geometry)
    assert_type(texture, moderngl.Texture)
    assert_type(renderer.render(geometry, into=texture), moderngl.Texture)
    assert_type(renderer.render(geometry, into=7), int)
    array = ctx.texture_array((8, 8, 2), 1)
    assert_type(renderer.render(geometry, into=array, layer=1), moderngl.TextureArray)
    renderer.render_many([geometry], into=array)
    assert_type(renderer.read(texture), Mask)
    assert_type(renderer.read_frames([geometry], size=(8, 8)), Iterator[Mask])
    assert_type(renderer.stats, RenderStats)
    assert_type(renderer.method, str)
    renderer.release()
    MaskRenderer(ctx, method="gpu")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(alphastream_gpu.create_headless_context(), moderngl.Context)


def arrays(path: Path) -> None:
    key = KeyFromEnvironment(scene_id=1)
    with alphastream_gpu.open_array(path, (512, 256), dtype="bool", key=key, chunk_frames=16) as masks:
        assert_type(masks, MaskArray)
        assert_type(masks.shape, tuple[int, int, int])
        assert_type(masks.fps, Fraction)
        assert_type(masks.fingerprint, str)
        masks[3, ..., ::2].sum()
        masks.oindex[[1, 2], :, [3, 4]].sum()
        masks.to_dask(chunk_frames=8)
        for mask in masks:
            mask.any()
    alphastream_gpu.open_array(path, dtype="float32")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def shapes(geometry: FrameGeometry) -> None:
    assert_type(geometry.points, npt.NDArray[np.int32])
    assert_type(geometry.to_payload(), bytes)
    assert_type(alphastream_gpu.rasterize(geometry, (1024, 512), native_size=(2048, 1024)), Mask)
    assert_type(alphastream_gpu.rasterize(geometry, out=np.empty((1024, 2048), np.uint8)), Mask)
    assert_type(alphastream_gpu.rasterize(geometry, rows=slice(64, 128), columns=[3, 5], dtype="uint8"), Mask)
    assert_type(alphastream_gpu.rasterize(geometry, rows=np.arange(9), dtype=bool), npt.NDArray[np.bool_])
    assert_type(alphastream_gpu.rasterize.backend, Literal["numba", "numpy"])
    assert_type(alphastream_gpu.rasterize_packed(geometry), Mask)
    assert_type(alphastream_gpu.rasterize_packed(geometry, (512, 256), native_size=(2048, 1024)), Mask)
    assert_type(alphastream_gpu.rasterize_packed.backend, Literal["numba", "numpy"])
    geometry.triangle_strip("cover")
    alphastream_gpu.rasterize([(0, 0)])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


def writing(key: AsvrKey, geometry: FrameGeometry) -> None:
    with AsvpWriter("out.asvp") as writer:
        writer.add_frame(geometry)
        writer.add_frame(geometry.to_payload())
    with AsvrWriter("out.asvr", key=key) as encrypted:
        encrypted.add_frame(geometry)


def encoding(key: AsvrKey, masks: Iterator[Mask], soft: npt.NDArray[np.float32]) -> None:
    def tell(progress: EncodeProgress) -> None:
        assert_type(progress.stage, Literal["compiling", "encoding", "writing", "verifying"])
        assert_type((progress.done, progress.total), tuple[int, int | None])

    options = InputOptions(
        threshold=0.5, layout="fisheye-b", native_size=(64, 48), fps=Fraction(30), objects=(1, "cat")
    )
    report = alphastream_gpu.encode("matte.mp4", Path("a.asvp"), tolerance=1, options=options, jobs=2, progress=tell)
    assert_type(report, EncodeReport)
    assert_type(report.source_times, tuple[float, ...] | None)
    assert_type((report.frames, report.fps, report.misfits), tuple[int, Fraction | None, tuple[int, ...]])
    assert_type((report.bytes_per_frame, report.native_size), tuple[float, tuple[int, int]])
    for source in (masks, [Path("a.png"), Path("b.png")], {0: {1: soft}}, soft):
        alphastream_gpu.encode(source, "a.asvr", key=key, min_iou=0.99, verify="sample", resume=False)
    smaller = alphastream_gpu.optimize("a.asvr", "b.asvp", key=key, config=Config(native_size=(64, 48)), verify=False)
    assert_type(smaller.bytes_before, int | None)
    assert_type(alphastream_gpu.encode_mask(soft, 1.0, 9, threshold=0.5), FrameGeometry)
    encoder = MaskEncoder((64, 48), tolerance=1, effort=3, stable=False)
    assert_type(encoder.encode(next(masks)), FrameGeometry)
    assert_type(encoder.encode_packed(alphastream_gpu.rasterize_packed(encoder.encode(next(masks)))), FrameGeometry)
    assert_type(encoder.native_size, tuple[int, int] | None)
    encoder.reset()


def exports(key: AsvrKey) -> None:
    def tell(progress: ExportProgress) -> None:
        assert_type((progress.done, progress.total), tuple[int, int])

    report = alphastream_gpu.export("a.asvr", Path("out") / "%06d.png", key=key, bits=1, jobs=2, progress=tell)
    assert_type(report, ExportReport)
    assert_type((report.frames, report.fps, report.drift), tuple[int, Fraction, float | None])
    with open("masks.gray", "wb") as file:
        alphastream_gpu.export("a.asvp", file, size=(64, 48), start=3, frames=9)
    alphastream_gpu.export("a.asvp", "b.mp4", video=Path("c.mp4"), layout="alpha-left", codec="h264", quality=12)
    alphastream_gpu.export("a.asvp", "b.mp4", layout="left")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    alphastream_gpu.export("a.asvp")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def wrong_encoding() -> None:
    InputOptions(eye="upper")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    InputOptions(treshold=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    alphastream_gpu.encode("a.mp4", "a.asvp", verify="all")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    alphastream_gpu.encode("a.mp4")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def comparing(key: AsvrKey, stream: AlphaStream, masks: Iterator[Mask]) -> None:
    report = alphastream_gpu.compare(stream, masks, key=key, options=InputOptions(range="full"))
    assert_type(report, CompareReport)
    assert_type(report.worst(3), list[ComparedFrame])
    assert_type((report.is_equal, report.min_iou, report.frame_counts), tuple[bool, float, tuple[int, int]])
    for frame in report.frames:
        assert_type((frame.iou, frame.max_distance, frame.area), tuple[float, float, tuple[int, int]])


def bulk_jobs(key: KeyFromEnvironment, array: MaskArray) -> None:
    table = bulk.statistics(["a.asvp", Path("b.asvp")], fields=("area",), frames=(0, 9), key=key, resume="parts")
    assert_type(table, bulk.Table)
    assert_type((table.kind, len(table), table.missing), tuple[str, int, tuple[str, ...]])
    bulk.iou([("a.asvp", "b.asvp")], size=(64, 48), scheduler="local", progress=lambda done, total: None)
    bulk.verify("a.asvp", method="numpy", against="compiled", span_frames=64)
    bulk.encode(["a.mp4"], "out", key=key, effort=1)
    bulk.export(["a.asvp"], Path("out"), ".mkv", config=Config(native_size=(64, 48)))
    bulk.merge([bulk.read_table("a.json"), table]).write("all.parquet")
    for start, stop in bulk.spans_of(0, len(array)):
        bulk.statistics_of(array, start, stop)["area"].sum()
    bulk.statistics("a.asvp", field="area")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def clock() -> None:
    clock = PlaybackClock()
    clock.play()
    assert_type(clock.sync(1.0), bool)
    assert_type(clock.time(), float)


async def awaited() -> None:
    async with await alphastream_gpu.open_async("person.asvp") as stream:
        assert_type(await stream.frame(60), FrameGeometry)
        assert_type(stream.frames(0, 10), AsyncIterator[FrameGeometry])
        await stream.aload_source(b"bytes")
        async for event in stream.events():
            assert_type(event, StreamEvent)
    try:
        await stream.aclose()
    except AlphaStreamError as error:
        assert_type(error.frame_index, int | None)
