"""
Masks: the CPU twin and the decoder beside their yardsticks. The renderer is in bench_methods.py.
"""

from __future__ import annotations

import itertools
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
import skia
from conftest import NATIVE, facts, report
from PIL import Image, ImageDraw

from alphastream_gpu import FrameGeometry, rasterize

T = TypeVar("T")
LARGE = (6720, 3360)
SMALL = (512, 256)


def measure(benchmark: Any, work: Callable[[T], Any], items: Sequence[T], rounds: int = 15) -> None:
    """One round is a pass over all items; the first one is for warming up."""

    def one_pass() -> None:
        for item in items:
            work(item)

    benchmark.extra_info["frames"] = len(items)
    benchmark.pedantic(one_pass, rounds=rounds, warmup_rounds=1)


def polygons(geometry: FrameGeometry) -> list[np.ndarray]:
    offsets = geometry.channel_offsets
    return [geometry.points[a:b] for a, b in itertools.pairwise(offsets)]


def fill_poly(polys: list[np.ndarray]) -> np.ndarray:
    mask = np.zeros((NATIVE[1], NATIVE[0]), np.uint8)
    cv2.fillPoly(mask, polys, 255)
    return mask


def test_fillpoly(benchmark: Any, geometries: list[FrameGeometry]) -> None:
    measure(benchmark, fill_poly, [polygons(geometry) for geometry in geometries])


def test_cpu_native(benchmark: Any, geometries: list[FrameGeometry]) -> None:
    measure(benchmark, rasterize, geometries)


def test_cpu_small(benchmark: Any, geometries: list[FrameGeometry]) -> None:
    measure(benchmark, lambda geometry: rasterize(geometry, SMALL), geometries)


def test_cpu_large(benchmark: Any, geometries: list[FrameGeometry]) -> None:
    measure(benchmark, lambda geometry: rasterize(geometry, LARGE), geometries[::6])


def test_cv2_resize_large(benchmark: Any, geometries: list[FrameGeometry]) -> None:
    masks = [rasterize(geometry) for geometry in geometries[::6]]
    measure(benchmark, lambda mask: cv2.resize(mask, LARGE, interpolation=cv2.INTER_NEAREST), masks)


def test_inflate(benchmark: Any, geometries: list[FrameGeometry]) -> None:
    stored = [zlib.compress(geometry.to_payload()) for geometry in geometries]
    measure(benchmark, zlib.decompress, stored, rounds=200)


def test_from_payload(benchmark: Any, geometries: list[FrameGeometry]) -> None:
    measure(benchmark, FrameGeometry.from_payload, [geometry.to_payload() for geometry in geometries], rounds=200)


def test_cover_strip(benchmark: Any, geometries: list[FrameGeometry]) -> None:
    times = []
    for geometry in geometries:
        start = time.perf_counter()
        geometry.triangle_strip()
        times.append(time.perf_counter() - start)
    measure(benchmark, FrameGeometry.triangle_strip, geometries, rounds=3)
    report("FrameGeometry.triangle_strip, median frame", float(np.median(times)) * 1e3, 2, "ms")


def _pixels_different(masks: list[np.ndarray], geometries: list[FrameGeometry]) -> str:
    wrong = [int((mask != rasterize(geometry)).sum()) for mask, geometry in zip(masks, geometries, strict=True)]
    return f"median {int(np.median(wrong))}, at most {max(wrong)} pixels a frame differ from the exact mask"


def test_pillow(benchmark: Any, geometries: list[FrameGeometry]) -> None:
    def draw(polys: list[list[tuple[int, int]]]) -> np.ndarray:
        picture = Image.new("L", NATIVE)
        pen = ImageDraw.Draw(picture)
        for points in polys:
            if len(points) > 1:
                pen.polygon(points, fill=255, outline=255)
        return np.asarray(picture)

    items = [[[tuple(p) for p in poly.tolist()] for poly in polygons(geometry)] for geometry in geometries]
    measure(benchmark, draw, items, rounds=5)
    facts["Pillow"] = _pixels_different([draw(item) for item in items], geometries)


def test_skia(benchmark: Any, geometries: list[FrameGeometry]) -> None:
    fill = skia.Paint(AntiAlias=False, Color=skia.ColorWHITE, Style=skia.Paint.kStrokeAndFill_Style, StrokeWidth=0)

    def draw(polys: list[list[tuple[float, float]]]) -> np.ndarray:
        mask = np.zeros((NATIVE[1], NATIVE[0]), np.uint8)
        surface = skia.Surface.MakeRasterDirect(skia.ImageInfo.MakeA8(*NATIVE), mask, NATIVE[0])
        canvas = surface.getCanvas()
        for points in polys:
            builder = skia.PathBuilder()
            builder.setFillType(skia.PathFillType.kEvenOdd)
            builder.addPolygon(points, True)
            canvas.drawPath(builder.detach(), fill)
        return mask

    items = [
        [[(x + 0.5, y + 0.5) for x, y in poly.tolist()] for poly in polygons(geometry) if len(poly) > 1]
        for geometry in geometries
    ]
    measure(benchmark, draw, items, rounds=5)
    facts["skia"] = _pixels_different([draw(item) for item in items], geometries)


def test_cv2_is_close_but_not_exact(benchmark: Any, geometries: list[FrameGeometry]) -> None:
    items = [polygons(geometry) for geometry in geometries]
    benchmark.pedantic(fill_poly, args=(items[0],), rounds=1)
    facts["cv2.fillPoly"] = _pixels_different([fill_poly(item) for item in items], geometries)
