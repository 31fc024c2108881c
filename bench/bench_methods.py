"""
The renderer's methods beside one another, and beside what a program without this package would do.

Three tables: a frame by itself, 64 frames at once, and reading masks back. Two yardsticks stand in the first two:
``F``, OpenCV's fillPoly of the same polygons at native size, written to a texture; and ``twin``, the CPU twin's mask of
the output's size, likewise. docs/benchmarks.md says what the columns mean.

What is compared takes turns in one run, with the context idle before each frame. How many frames and rounds there are
depends on what a frame takes: a software driver's compute shaders take a thousand times a GPU's.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any, Final

import cv2
import moderngl
import numpy as np
import pytest
from conftest import NATIVE, SIZES, driver, facts, measured, printed, report, tables

from alphastream_gpu import FrameGeometry, GLUnavailableError, MaskRenderer, rasterize

THUMBNAIL: Final = (256, 128)
BATCH: Final = 64
NAMES: Final = ("upload", "triangles", "compute")

_PEERS: Final = 4
"""What takes up to so many times the yardstick has as many frames and rounds as it."""
_LEAST_ROUNDS: Final = 5
"""Of what is compared; of the others one will do."""
_MOST_ROUNDS: Final = 25
_LEAST_FRAMES: Final = 4
_NO_TIME: Final = 1e-6
"""A query's time below this is none: drivers that cannot tell say 0 or 1 nanoseconds."""
_GPU_FRAMES: Final = 40

Size = tuple[int, int]


@dataclass
class Work:
    """Something that is measured."""

    do: Callable[[Any], object]
    """With an item: a frame, or a list of frames."""
    around: AbstractContextManager[Any] = field(default_factory=nullcontext)
    """Around each pass, beside the clock."""
    n_frames: int = 1
    """Of an item."""
    returned: list[float] = field(default_factory=list)
    """Seconds a frame until it returned, of each item in each round."""
    finished: list[float] = field(default_factory=list)
    """Seconds a frame until the GPU had done it."""

    def run(self, items: Sequence[Any], finish: Callable[[], object]) -> None:
        """A pass over all items."""
        with self.around:
            for item in items:
                start = time.perf_counter()
                self.do(item)
                returned = time.perf_counter()
                finish()
                finished = time.perf_counter()
                self.returned.append((returned - start) / self.n_frames)
                self.finished.append((finished - start) / self.n_frames)

    def cost(self, item: Any, finish: Callable[[], object], enough: float) -> float:
        """About what an item takes; warms up, and leaves nothing behind."""
        for _ in range(3):
            self.run([item], finish)
            if self.finished[-1] * self.n_frames > enough:
                break
        cost = min(self.finished) * self.n_frames
        self.returned.clear()
        self.finished.clear()
        return cost


def take_turns(
    works: Mapping[str, Work], items: Sequence[Any], finish: Callable[[], object], *, peer: str, seconds: float
) -> None:
    """
    Measure kinds of work in turns.

    Args:
        works: by name.
        items: what to do it with.
        finish: waits for the GPU.
        peer: the name of the work whose number of frames and rounds the others have, unless they take far longer.
        seconds: about how long each may be measured.
    """
    costs = {name: work.cost(items[len(items) // 2], finish, seconds / 2) for name, work in works.items()}
    common = max(cost for cost in costs.values() if cost <= _PEERS * costs[peer])
    amounts = {}
    for name, cost in costs.items():
        stride, rounds = _amount(len(items), max(cost, common), seconds)
        amounts[name] = stride, max(rounds, _LEAST_ROUNDS if cost <= common else 1)
    for turn in range(max(rounds for _, rounds in amounts.values())):
        for name, work in works.items():
            stride, rounds = amounts[name]
            if turn < rounds:
                work.run(items[::stride], finish)


def _amount(n_items: int, cost: float, seconds: float) -> tuple[int, int]:
    """Every how manieth item to take, and how often."""
    stride = 1
    while n_items / stride * cost * _LEAST_ROUNDS > seconds and n_items // (2 * stride) >= _LEAST_FRAMES:
        stride *= 2
    rounds = int(seconds / (-(-n_items // stride) * cost))
    return stride, min(rounds, _MOST_ROUNDS)


class GpuClock:
    """
    How long the GPU is at a piece of work, by timer queries; None from drivers that do not tell.

    A frame's commands take a GPU less time than it takes to hand them over, and what it waits for them would count. So
    it gets copies to do first, and is handed the commands meanwhile: a query's time begins when what came before is
    done.
    """

    _COPIES = 8
    _EDGE = 4096

    def __init__(self, ctx: moderngl.Context) -> None:
        self._ctx = ctx
        self._query = ctx.query(time=True)
        self._textures: list[moderngl.Texture] = []
        self._framebuffers: list[moderngl.Framebuffer] = []
        if not driver["is_software"]:  # it hands over and works in the same place
            self._textures = [ctx.texture((self._EDGE, self._EDGE), 4) for _ in range(2)]
            self._framebuffers = [ctx.framebuffer([texture]) for texture in self._textures]

    def seconds(self, work: Work, items: Sequence[Any]) -> list[float] | None:
        """Seconds a frame, of up to 40 items; few if the first one takes long, none if the driver does not tell it."""
        items = items[:: -(-len(items) // _GPU_FRAMES)]
        self._one(work, items[0])
        first = self._one(work, items[0])
        if first < _NO_TIME:
            return None
        few = items if first < 0.01 else items[:_LEAST_FRAMES]
        times = [self._one(work, item) / work.n_frames for item in few]
        return times if median(times) >= _NO_TIME / work.n_frames else None

    def _one(self, work: Work, item: Any) -> float:
        self._ctx.finish()
        with work.around:
            for _ in range(self._COPIES if self._framebuffers else 0):
                self._ctx.copy_framebuffer(*self._framebuffers)
            with self._query:
                work.do(item)
            self._ctx.finish()
        return self._query.elapsed * 1e-9

    def release(self) -> None:
        for thing in (*self._framebuffers, *self._textures):
            thing.release()


class Methods:
    """
    The methods that the machine has, each twice: with the state kept, and not.

    What the second kind leaves undefined is put back after each pass, so that the first finds what a host would leave.
    """

    def __init__(self, ctx: moderngl.Context) -> None:
        self.kept: dict[str, MaskRenderer] = {}
        self.bare: dict[str, MaskRenderer] = {}
        for name in NAMES:
            try:
                kept, bare = (MaskRenderer(ctx, method=name, preserve_state=preserve) for preserve in (True, False))
            except GLUnavailableError as exc:
                facts[f"no {name}"] = str(exc)
                continue
            if kept.method != name:
                facts[f"no {name}"] = f"it failed the self-check: {kept.method} is used instead"
                for renderer in (kept, bare):
                    renderer.release()
                continue
            self.kept[name], self.bare[name] = kept, bare
        with MaskRenderer(ctx) as automatic:
            self.auto = automatic.method
        facts["method auto"] = self.auto

    def works(self, do: Callable[[MaskRenderer, Any], object], n_frames: int = 1) -> dict[str, Work]:
        """A piece of work for each method and kind, by names such as "upload kept"."""
        works = {}
        for name, kept in self.kept.items():
            works[f"{name} kept"] = Work(partial(do, kept), n_frames=n_frames)
            works[f"{name} bare"] = Work(partial(do, self.bare[name]), kept._method.guard, n_frames)
        return works

    def release(self) -> None:
        for renderer in (*self.kept.values(), *self.bare.values()):
            renderer.release()


@pytest.fixture(scope="module")
def methods(ctx: moderngl.Context) -> Iterator[Methods]:
    made = Methods(ctx)
    yield made
    made.release()


@pytest.fixture(scope="module")
def clock(ctx: moderngl.Context) -> Iterator[GpuClock]:
    made = GpuClock(ctx)
    yield made
    made.release()


def _seconds() -> float:
    """About how long each kind of work is measured."""
    return 0.5 if driver["is_software"] else 0.8


def _fill(geometry: FrameGeometry, mask: np.ndarray) -> np.ndarray:
    """The polygons of a frame, by OpenCV, into one mask for all: fresh memory would cost more than the filling."""
    mask[:] = 0
    cv2.fillPoly(mask, [geometry.points[a:b] for a, b in itertools.pairwise(geometry.channel_offsets)], 255)
    return mask


def _spread(values: Sequence[float]) -> dict[str, float]:
    """As the JSON file has it, in seconds a frame."""
    low, q1, middle, q3, high = np.quantile(values, (0, 0.25, 0.5, 0.75, 1)).tolist()
    return {"min": low, "q1": q1, "median": middle, "q3": q3, "max": high, "samples": len(values)}


def _name(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _us(spread: Mapping[str, float] | None) -> str:
    if spread is None:
        return "-"
    value = spread["median"] * 1e6
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _table(name: str, title: str, columns: Sequence[tuple[str, int]], rows: Sequence[Sequence[str]]) -> None:
    """Leave a table for the end: the first two columns are left-aligned."""

    def line(cells: Sequence[str]) -> str:
        widths = [width for _, width in columns]
        return "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()

    lines = printed[name] = ["", f"{title} ({driver['renderer']})", line([column for column, _ in columns])]
    for number, row in enumerate(rows):
        if number and row[0]:
            lines.append("")
        lines.append(line(row))


def _once(benchmark: Any) -> None:
    """Be counted as a benchmark, which is what selects these tests; the timing is done in turns."""
    benchmark.pedantic(lambda: None, rounds=1)


# One frame.


def test_one_frame(
    benchmark: Any, ctx: moderngl.Context, geometries: list[FrameGeometry], methods: Methods, clock: GpuClock
) -> None:
    _once(benchmark)
    rows = [row for size in SIZES for row in _one_frame(ctx, geometries, methods, clock, size)]
    tables["one frame"] = rows
    _print_frames("one frame", "One frame, microseconds", rows)


def _one_frame(
    ctx: moderngl.Context, geometries: list[FrameGeometry], methods: Methods, clock: GpuClock, size: Size
) -> list[dict[str, Any]]:
    """The table's rows for a size."""
    native, texture = ctx.texture(NATIVE, 1), ctx.texture(size, 1)
    filled = np.empty(NATIVE[::-1], np.uint8)
    renders = methods.works(lambda renderer, geometry: renderer.render(geometry, into=texture))
    yardsticks = {
        "F": Work(lambda geometry: native.write(_fill(geometry, filled))),
        "twin": Work(lambda geometry: texture.write(rasterize(geometry, size))),
    }
    for renderer in methods.kept.values():
        renderer.render(geometries[60], into=texture)
        assert np.array_equal(renderer.read(texture), rasterize(geometries[60], size)), "what is measured is exact"
    before = {name: renderer.stats for name, renderer in methods.kept.items()}
    take_turns({**yardsticks, **renders}, geometries, ctx.finish, peer="twin", seconds=_seconds())
    rows = _rows(size, yardsticks, renders, methods, before)
    for row in rows:
        if row["method"] in methods.kept:
            _add_gpu_time(row, clock.seconds(renders[f"{row['method']} bare"], geometries))
    native.release()
    texture.release()
    _note(_name(size), rows)
    return rows


def _rows(
    size: Size, yardsticks: Mapping[str, Work], works: Mapping[str, Work], methods: Methods, before: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """A row for each yardstick and method; what was sent to GL is that of the renderer with the state kept."""
    rows: list[dict[str, Any]] = []
    for name, work in yardsticks.items():
        row = {"size": [*size], "method": name}
        rows.append({**row, "returns_kept": _spread(work.returned), "done_kept": _spread(work.finished)})
    for name, renderer in methods.kept.items():
        row = {"size": [*size], "method": name, "is_auto": name == methods.auto}
        for kind in ("kept", "bare"):
            work = works[f"{name} {kind}"]
            row[f"returns_{kind}"], row[f"done_{kind}"] = _spread(work.returned), _spread(work.finished)
        then, now = before[name], renderer.stats
        n_frames = now.frames - then.frames
        row["uploaded_bytes"] = (now.uploaded_bytes - then.uploaded_bytes) / n_frames
        for what in ("draws", "dispatches"):
            row[what] = (getattr(now, what) - getattr(then, what)) / n_frames
        assert now.cpu_fallbacks == then.cpu_fallbacks, "each frame was rendered by the method that is measured"
        rows.append(row)
    return rows


def _add_gpu_time(row: dict[str, Any], times: list[float] | None) -> None:
    row["gpu"] = None if times is None else _spread(times)


def _note(what: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Leave medians for the bars."""
    for row in rows:
        is_yardstick = row["method"] in ("F", "twin")
        for name in (row["method"], *(["auto"] if row.get("is_auto") else [])):
            for column in ("returns_kept", "returns_bare", "done_kept", "done_bare"):
                if column in row:
                    words = column.removesuffix("_kept") if is_yardstick else column.replace("_", " ")
                    measured[f"{name} {what} {words}"] = row[column]["median"]
            if row.get("gpu"):
                measured[f"{name} {what} GPU"] = row["gpu"]["median"]


_FRAME_COLUMNS: Final = (
    ("size", 11),
    ("method", 11),
    ("returns: kept", 13),
    ("bare", 9),
    ("done: kept", 10),
    ("bare", 9),
    ("GPU", 9),
    ("bytes", 10),
    ("calls", 14),
)


def _print_frames(name: str, title: str, rows: Sequence[Mapping[str, Any]], calls_of: int = 1) -> None:
    texts = []
    last_size = None
    for row in rows:
        size = _name(row["size"])
        cells = ["" if size == last_size else size, row["method"] + (" (auto)" if row.get("is_auto") else "")]
        last_size = size
        cells += [_us(row.get(column)) for column in ("returns_kept", "returns_bare", "done_kept", "done_bare", "gpu")]
        cells.append(_count(row["uploaded_bytes"]) if "uploaded_bytes" in row else "-")
        what = "dispatches" if row.get("dispatches") else "draws"
        calls = row.get(what, 0) * calls_of
        cells.append(f"{calls:.3g} {what}" if calls else "-")
        texts.append(cells)
    _table(name, title, _FRAME_COLUMNS, texts)


def test_what_is_sent(benchmark: Any, geometries: list[FrameGeometry], methods: Methods) -> None:
    """What a shader method uploads, the same for both; and for how many frames triangles take the least draws."""
    _once(benchmark)
    renderer = methods.kept.get("triangles") or methods.kept.get("compute")
    if renderer is None:
        pytest.skip("no shader method works here")
    sizes, draws = [], []
    for geometry in geometries:
        before = renderer.stats
        renderer.render(geometry)
        sizes.append(renderer.stats.uploaded_bytes - before.uploaded_bytes)
        draws.append(renderer.stats.draws - before.draws)
    report("uploaded a frame, at most", max(sizes), 6144, "bytes")
    if renderer.method == "triangles":
        facts["GL draws a frame"] = f"2 in {draws.count(2)} of {len(draws)} frames (one plane), at most {max(draws)}"


# A batch.


def test_batches(
    benchmark: Any, ctx: moderngl.Context, geometries: list[FrameGeometry], methods: Methods, clock: GpuClock
) -> None:
    _once(benchmark)
    rows = [row for size in (THUMBNAIL, NATIVE) for row in _batches(ctx, geometries[:BATCH], methods, clock, size)]
    tables["batch"] = rows
    _print_frames("batch", f"{BATCH} frames at once, microseconds a frame; calls are the batch's", rows, BATCH)


def _batches(
    ctx: moderngl.Context, batch: list[FrameGeometry], methods: Methods, clock: GpuClock, size: Size
) -> list[dict[str, Any]]:
    array, texture = ctx.texture_array((*size, BATCH), 1), ctx.texture(size, 1)
    natives = array if size == NATIVE else ctx.texture_array((*NATIVE, BATCH), 1)
    filled = np.empty(NATIVE[::-1], np.uint8)
    together = methods.works(lambda renderer, frames: renderer.render_many(frames, into=array), BATCH)
    yardsticks = {
        "F": Work(lambda frames: _write_all((_fill(one, filled) for one in frames), natives), n_frames=BATCH),
        "twin": Work(lambda frames: _write_all((rasterize(one, size) for one in frames), array), n_frames=BATCH),
    }
    for renderer in methods.kept.values():
        renderer.render_many(batch, into=array)
        assert np.array_equal(renderer.read(array, layer=60), rasterize(batch[60], size)), "what is measured is exact"
    before = {name: renderer.stats for name, renderer in methods.kept.items()}
    take_turns({**yardsticks, **together}, [batch], ctx.finish, peer="twin", seconds=_seconds())
    rows = _rows(size, yardsticks, together, methods, before)
    for row in rows:
        if row["method"] in methods.kept:
            _add_gpu_time(row, clock.seconds(together[f"{row['method']} bare"], [batch]))
    for thing in {array, natives, texture}:
        thing.release()
    _note(f"batch {_name(size)}", rows)
    return rows


def _write_all(masks: Iterator[np.ndarray], array: moderngl.TextureArray) -> None:
    for layer, mask in enumerate(masks):
        array.write(mask, viewport=(0, 0, layer, *mask.shape[::-1], 1))


# Reading.


def test_reading(benchmark: Any, ctx: moderngl.Context, geometries: list[FrameGeometry], methods: Methods) -> None:
    _once(benchmark)
    frames = geometries[:: 10 if driver["is_software"] else 2]
    rows = [row for size in (THUMBNAIL, NATIVE) for row in _reading(ctx, frames, methods, size)]
    tables["reading"] = rows
    texts = []
    for number, row in enumerate(rows):
        is_first = not number or rows[number - 1]["size"] != row["size"]
        columns = ("render_read", "render_read_out", "read_frames", "read_frames_out")
        cells = [_name(row["size"]) if is_first else "", row["method"], *(_us(row.get(column)) for column in columns)]
        ratio = row["read_frames"]["median"] / row["render_read"]["median"] if "render_read" in row else None
        texts.append([*cells, "-" if ratio is None else f"{ratio:.2f} x"])
    columns = [("size", 11), ("method", 11)]
    columns += [("render+read", 12), ("with out", 9), ("read_frames", 12), ("with out", 9), ("ratio", 8)]
    _table("reading", "Reading back, microseconds a frame", columns, texts)


def _reading(
    ctx: moderngl.Context, frames: Sequence[FrameGeometry], methods: Methods, size: Size
) -> list[dict[str, Any]]:
    texture = ctx.texture(size, 1)
    out = np.empty(size[::-1], np.uint8)
    n_frames = len(frames)

    def one_by_one(renderer: MaskRenderer, into: np.ndarray | None) -> Callable[[Any], None]:
        def work(items: Any) -> None:
            for geometry in items:
                renderer.read(renderer.render(geometry, into=texture), out=into)

        return work

    def in_flight(renderer: MaskRenderer, into: np.ndarray | None) -> Callable[[Any], None]:
        def work(items: Any) -> None:
            for _ in renderer.read_frames(items, size=size, out=into):
                pass

        return work

    def twin(items: Any) -> None:
        for geometry in items:
            rasterize(geometry, size)

    works = {"twin": Work(twin, n_frames=n_frames)}
    for name, renderer in methods.kept.items():
        for column, make in (("render_read", one_by_one), ("read_frames", in_flight)):
            works[f"{name} {column}"] = Work(make(renderer, None), n_frames=n_frames)
            works[f"{name} {column}_out"] = Work(make(renderer, out), n_frames=n_frames)
    take_turns(works, [frames], lambda: None, peer="twin", seconds=_seconds())
    texture.release()
    rows: list[dict[str, Any]] = [
        {"size": [*size], "method": "twin", "read_frames": _spread(works["twin"].finished)},
    ]
    for name in methods.kept:
        row: dict[str, Any] = {"size": [*size], "method": name, "is_auto": name == methods.auto}
        for column in ("render_read", "render_read_out", "read_frames", "read_frames_out"):
            row[column] = _spread(works[f"{name} {column}"].finished)
            words = column.replace("render_read", "render + read").replace("_out", " out")
            measured[f"{name} {_name(size)} {words}"] = row[column]["median"]
        rows.append(row)
    return rows
