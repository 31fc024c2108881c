"""
Encoding masks: bytes a frame, beside other formats, and the time beside the numpy twin's.

The masks are the sample's frames, and masks that are made from them (tests/masks.py): like SAM 2's, and like those of a
matting network. A figure in bytes is the median over all frames, of blocks as the writers store them.
"""

from __future__ import annotations

import importlib.util
import io
import shutil
import subprocess
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from statistics import median
from typing import Any

import numpy as np
import pytest
from conftest import NATIVE, facts, report
from masks import matte_like, random_masks, sam_like, small_mask, unusual_masks
from PIL import Image

from alphastream_gpu import FrameGeometry, MaskEncoder, encode_mask, rasterize
from alphastream_gpu._encoding import encode_block, prepare_encoder
from alphastream_gpu._raster.compiled import twin
from alphastream_gpu._raster.coverage import _numpy_steps
from alphastream_gpu._raster.grid import grid_of

KINDS = ("sample", "SAM-like", "matte-like")
EXACT = dict(zip(KINDS, (330, 860, 1020), strict=True))
"""Bars, in bytes a frame."""
TOLERANT = dict(zip(KINDS, (300, 440, 490), strict=True))
LEAST_IOU = 0.9985
AT_MOST_TWINS = 4
TIMED = (10, 40, 60, 80, 110)
"""Frames whose encoding is timed."""
ROUNDS = 9
VIDEO_FRAMES = 24


@cache
def _persons(geometries: tuple[FrameGeometry, ...]) -> list[np.ndarray]:
    return [rasterize(geometry) for geometry in geometries]


@cache
def _masks(kind: str, geometries: tuple[FrameGeometry, ...]) -> list[np.ndarray]:
    make = {"sample": lambda mask, number: mask, "SAM-like": sam_like, "matte-like": matte_like}[kind]
    return [make(mask, number) for number, mask in enumerate(_persons(geometries))]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def masks(kind: str, geometries: list[FrameGeometry]) -> list[np.ndarray]:
    return _masks(kind, tuple(geometries))


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> Iterator[None]:
    """The encoder and, as in any program after its first masks, the compiled twin, with which it verifies."""
    start = time.perf_counter()
    prepare_encoder()
    facts["encoder: compiling, or loading what was compiled"] = f"{time.perf_counter() - start:.1f} s"
    twin.load()
    yield
    twin.choose(None)


def _bytes(geometries: Sequence[FrameGeometry]) -> float:
    return median(len(encode_block(geometry.to_payload())) for geometry in geometries)


HARD: dict[str, Callable[[], Iterable[np.ndarray]]] = {
    "masks of 4 x 4": lambda: map(small_mask, range(1 << 16)),
    "random masks": lambda: random_masks(20_000, seed=11),
    "pictures": lambda: unusual_masks(1024, 2048).values(),
}


@pytest.mark.parametrize("name", HARD)
def test_exact(name: str, benchmark: Any) -> None:
    benchmark.pedantic(lambda: None, rounds=1)
    n_masks = n_differing = 0
    for mask in HARD[name]():
        got = rasterize(encode_mask(mask), native_size=mask.shape[::-1])
        n_differing += int(((got != 0) != (mask != 0)).sum())
        n_masks += 1
    report(f"exact, {n_masks:,} {name}, pixels that differ", n_differing, 0, "pixels")


def test_exact_bytes(kind: str, masks: list[np.ndarray], benchmark: Any) -> None:
    benchmark.pedantic(lambda: None, rounds=1)
    encoded = [encode_mask(mask) for mask in masks]
    n_differing = sum(int((rasterize(one) != mask).sum()) for one, mask in zip(encoded, masks, strict=True))
    report(f"exact, {kind}, pixels that differ", n_differing, 0, "pixels")
    report(f"exact, {kind}", _bytes(encoded), EXACT[kind], "bytes")


def test_exact_bytes_of_the_highest_effort(kind: str, masks: list[np.ndarray], benchmark: Any) -> None:
    """Every eighth frame, because zopfli takes a tenth of a second."""
    benchmark.pedantic(lambda: None, rounds=1)
    encoder = MaskEncoder(NATIVE, effort=3)
    sizes = [len(encode_block(encoder.encode(mask).to_payload(), 3)) for mask in masks[::8]]
    twos = [len(encode_block(encode_mask(mask).to_payload())) for mask in masks[::8]]
    facts[f"exact, {kind}, effort 3"] = f"{sum(sizes) / sum(twos):.3f} of the bytes of effort 2"


def test_tolerant_bytes(kind: str, masks: list[np.ndarray], benchmark: Any) -> None:
    benchmark.pedantic(lambda: None, rounds=1)
    encoded = [encode_mask(mask, 1.0) for mask in masks]
    report(f"tolerance 1, {kind}", _bytes(encoded), TOLERANT[kind], "bytes")
    overlaps = [_iou(rasterize(one), mask) for one, mask in zip(encoded, masks, strict=True)]
    report(f"tolerance 1, {kind}, IoU", median(overlaps), LEAST_IOU, "", at_least=True)


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return float(((one & other) != 0).sum() / ((one | other) != 0).sum())


def test_time(kind: str, masks: list[np.ndarray], geometries: list[FrameGeometry], benchmark: Any) -> None:
    """The shortest of several times of each frame, by turns, so that other programs of the machine count little."""
    benchmark.pedantic(lambda: None, rounds=1)
    encoding, drawing = [], []
    for number in TIMED:
        mask = masks[number]
        geometry = encode_mask(mask)
        turns = [(_time(encode_mask, mask), _time(_numpy_twin, geometry)) for _ in range(ROUNDS)]
        encoding.append(min(turn[0] for turn in turns))
        drawing.append(min(turn[1] for turn in turns))
    facts[f"encode_mask, {kind}"] = f"{median(encoding) * 1e3:.2f} ms; the numpy twin {median(drawing) * 1e3:.2f} ms"
    report(f"encode_mask / the numpy twin, {kind}", median(encoding) / median(drawing), AT_MOST_TWINS, "x")


def _numpy_twin(geometry: FrameGeometry) -> None:
    for _ in _numpy_steps(geometry, grid_of(NATIVE, NATIVE), None, 255):
        pass


def _time(work: Callable[[Any], Any], item: Any) -> float:
    start = time.perf_counter()
    work(item)
    return time.perf_counter() - start


def _png(mask: np.ndarray) -> int:
    file = io.BytesIO()
    Image.fromarray(mask).convert("1").save(file, "PNG", optimize=True)
    return file.tell()


def _webp(mask: np.ndarray) -> int:
    file = io.BytesIO()
    Image.fromarray(mask).convert("RGB").save(file, "WEBP", lossless=True, quality=100, method=6)
    return file.tell()


def _coco(mask: np.ndarray) -> int:
    from pycocotools.mask import encode

    return len(zlib.compress(encode(np.asfortranarray(mask))["counts"], 9))


FORMATS: dict[str, tuple[Callable[[np.ndarray], int], str]] = {
    "PNG, 1 bit": (_png, "PIL"),
    "WebP lossless": (_webp, "PIL"),
    "COCO RLE + zlib": (_coco, "pycocotools"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_beside_pictures(name: str, kind: str, masks: list[np.ndarray], benchmark: Any) -> None:
    benchmark.pedantic(lambda: None, rounds=1)
    size, package = FORMATS[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    some = masks[::12]
    _compare(name, kind, median(size(mask) for mask in some), _bytes([encode_mask(mask) for mask in some]))


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "options"),
    [
        ("x264 lossless, veryslow", "libx264", "gray", {"qp": "0", "preset": "veryslow"}),
        ("FFV1", "ffv1", "gray", {"level": "3"}),
    ],
)
def test_beside_videos(
    name: str, codec: str, pixels: str, options: dict[str, str], kind: str, masks: list[np.ndarray], benchmark: Any
) -> None:
    benchmark.pedantic(lambda: None, rounds=1)
    av = pytest.importorskip("av")
    some = masks[:VIDEO_FRAMES]
    n_bytes = 0
    with av.open(io.BytesIO(), "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=60, options=options)
        stream.width, stream.height, stream.pix_fmt = *NATIVE, pixels
        for mask in some:
            n_bytes += sum(packet.size for packet in stream.encode(av.VideoFrame.from_ndarray(mask, format="gray")))
        n_bytes += sum(packet.size for packet in stream.encode(None))
    mean = sum(len(encode_block(encode_mask(mask).to_payload())) for mask in some) / len(some)
    _compare(name, kind, n_bytes / len(some), mean)


@pytest.mark.skipif(shutil.which("pbmtojbg") is None, reason="the program pbmtojbg is not installed (jbigkit-bin)")
def test_beside_jbig(kind: str, masks: list[np.ndarray], benchmark: Any) -> None:
    """JBIG1 alone may be smaller: an arithmetic coder that knows the pixels around each pixel. It has no bar."""
    benchmark.pedantic(lambda: None, rounds=1)
    some = masks[::12]
    other = median(_jbig(mask) for mask in some)
    facts[f"JBIG1, {kind}, bytes"] = f"{other:.0f}"
    facts[f"exact / JBIG1, {kind}"] = f"{_bytes([encode_mask(mask) for mask in some]) / other:.3f} x"


def _jbig(mask: np.ndarray) -> int:
    """The bytes that the program writes for a portable bitmap: as few as it can, without layers of lower resolution."""
    bitmap = b"P4 %d %d\n" % mask.shape[::-1] + np.packbits(mask != 0, axis=1).tobytes()
    done = subprocess.run(["pbmtojbg", "-q"], input=bitmap, capture_output=True, check=True)
    return len(done.stdout)


def _compare(name: str, kind: str, other: float, mine: float) -> None:
    facts[f"{name}, {kind}, bytes"] = f"{other:.0f}"
    report(f"exact / {name}, {kind}", mine / other, 1, "x")
