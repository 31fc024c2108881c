"""
The Vulkan example, run as a user runs it, and its functions on every sample frame and on random ones.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import oracle
import pytest
from hosts import skip_or_fail
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from PIL import Image
from support import NATIVE, ROOT, SAMPLE, channels_of, frames, geometry_of

from alphastream_gpu import FrameGeometry, rasterize

EXAMPLE = ROOT / "examples" / "vulkan_upload.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("vulkan_upload", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SystemExit as exc:  # its word on a missing wgpu
        skip_or_fail(str(exc))
    return module


class Vulkan:
    """One device for the module, and the example's functions on it; pipelines are kept per native size."""

    def __init__(self, example: ModuleType) -> None:
        self.example = example
        self.device = example.vulkan_device()
        self.pipelines: dict[tuple[int, int], Any] = {}

    def there_and_back(self, mask: np.ndarray) -> np.ndarray:
        texture = self.example.upload_mask(self.device, mask)
        assert texture.format == "r8unorm"
        return self._read(texture)

    def draw(self, strip: np.ndarray, native_size: tuple[int, int], size: tuple[int, int] | None = None) -> np.ndarray:
        if native_size not in self.pipelines:
            self.pipelines[native_size] = self.example.strip_pipeline(self.device, native_size)
        texture = self.example.draw_strip(self.device, self.pipelines[native_size], strip, size or native_size)
        assert texture.format == "r8unorm"
        return self._read(texture)

    def _read(self, texture: Any) -> np.ndarray:
        pixels = self.example.read_back(self.device, texture)
        texture.destroy()
        return pixels

    def off_outline(self, geometry: FrameGeometry, strip: np.ndarray, native_size: tuple[int, int]) -> int:
        """In how many pixels, other than outline pixels, a drawn strip differs from the exact mask."""
        mask = rasterize(geometry, native_size=native_size)
        drawn = self.draw(strip, native_size)
        assert set(np.unique(drawn)) <= {0, 255}
        return int(((drawn != mask) & ~self.example.outline_pixels(geometry, native_size)).sum())


@pytest.fixture(scope="module")
def vulkan(example: ModuleType) -> Iterator[Vulkan]:
    try:
        made = Vulkan(example)
    except example.VulkanUnavailableError as exc:
        skip_or_fail(str(exc))
    yield made
    made.device.destroy()


def run_example(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.usefixtures("vulkan")
def test_the_example_runs_and_draws_what_it_says(tmp_path: Path, geometries: list[FrameGeometry]) -> None:
    output = tmp_path / "new" / "vulkan.png"
    done = run_example("--frame", "7", "--output", output)
    assert done.returncode == 0, done.stderr
    assert "2,097,152 bytes into VK_FORMAT_R8_UNORM and back, equal" in done.stdout
    assert "outline pixels and in 0 others" in done.stdout

    kept = ROOT / "build" / "examples" / "vulkan.png"  # for people to look at
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(output, kept)
    sheet = np.asarray(Image.open(output).convert("RGB"))
    width, height = NATIVE
    assert sheet.shape == (2 * height + 96, 2 * width + 96, 3)
    top, bottom = slice(32, 32 + height), slice(64 + height, 64 + 2 * height)
    left, right = slice(32, 32 + width), slice(64 + width, 64 + 2 * width)
    mask, drawn, differences, detail = sheet[top, left], sheet[top, right], sheet[bottom, left], sheet[bottom, right]
    exact = rasterize(geometries[7])
    assert (mask == exact[..., None]).all()
    differs = (drawn != mask).any(axis=2)
    assert (differences[differs] == (255, 40, 40)).all()
    assert (differences[~differs] == np.where(exact, 130, 40)[~differs][:, None]).all()
    assert f"differ in {differs.sum():,} outline pixels" in done.stdout
    assert not (differs & ~outline_by_rules(geometries[7], NATIVE)).any()
    part = detail[::8, ::8]
    assert (part.repeat(8, axis=0).repeat(8, axis=1) == detail).all()
    places = np.lib.stride_tricks.sliding_window_view(differences[..., 0], part.shape[:2])[::32, ::64]
    assert (places == part[..., 0]).all(axis=(2, 3)).any()


@pytest.mark.slow
@pytest.mark.usefixtures("example")
def test_without_a_driver_the_cure_is_named(tmp_path: Path) -> None:
    none = str(tmp_path / "none.json")
    done = run_example("--output", tmp_path / "no.png", VK_DRIVER_FILES=none, VK_ICD_FILENAMES=none)
    assert done.returncode == 3
    line = done.stderr.splitlines()[-1]  # the Vulkan loader and wgpu may have said something before
    assert line.startswith("No Vulkan driver found.")
    assert "apt-get install mesa-vulkan-drivers libvulkan1" in line
    assert "mesa-vulkan-drivers vulkan-loader" in line
    assert not (tmp_path / "no.png").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("example")
def test_a_frame_that_is_not_there(tmp_path: Path) -> None:
    done = run_example(SAMPLE, "--frame", "120", "--output", tmp_path / "no.png")
    assert done.returncode == 3
    assert done.stderr == "frame 120: expected 0..119, the stream has 120 frames\n"


@pytest.mark.slow
def test_it_is_vulkan(vulkan: Vulkan) -> None:
    assert vulkan.device.adapter.info["backend_type"] == "Vulkan"


@pytest.mark.slow
@pytest.mark.parametrize("width", [1, 3, 255, 256, 257, 2048])
@pytest.mark.parametrize("height", [1, 5, 64])
def test_bytes_come_back_as_they_went(vulkan: Vulkan, width: int, height: int) -> None:
    """All byte values, though a mask has but two: no conversion, no padding, no row out of place."""
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width), np.uint8)
    assert (vulkan.there_and_back(pixels) == pixels).all()


def test_masks_come_back_as_they_went(vulkan: Vulkan, geometries: list[FrameGeometry]) -> None:
    for geometry in geometries[::10]:
        for size in (NATIVE, (257, 131), (1, 3)):
            mask = rasterize(geometry, size)
            assert (vulkan.there_and_back(mask) == mask).all()


@pytest.mark.slow
def test_cover_strips_of_every_sample_frame(vulkan: Vulkan, geometries: list[FrameGeometry]) -> None:
    assert len(geometries) == 120
    assert [vulkan.off_outline(geometry, geometry.triangle_strip(), NATIVE) for geometry in geometries] == [0] * 120


@pytest.mark.slow
@hypothesis_settings(max_examples=150)
@given(channels=frames())
def test_cover_strips_of_random_frames(vulkan: Vulkan, channels: Any) -> None:
    geometry = geometry_of(channels)
    assert vulkan.off_outline(geometry, geometry.triangle_strip(), (48, 40)) == 0


def self_intersecting(seed: int, native_size: tuple[int, int]) -> FrameGeometry:
    """A tangle and a star, each crossing itself many times, both beyond the window's edges, and a line."""
    rng = np.random.default_rng(seed)
    width, height = native_size
    tangle = rng.integers((-width // 4, -height // 4), (width * 5 // 4, height * 5 // 4), (40, 2))
    turns = np.arange(31) * (2 * np.pi * 14 / 31)
    star = np.stack((np.cos(turns), np.sin(turns)), 1) * (width * 0.55, height * 0.45) + rng.integers(0, height, 2)
    line = rng.integers(0, height, (2, 2))
    return geometry_of([[tuple(point) for point in channel.astype(int).tolist()] for channel in (tangle, star, line)])


@pytest.mark.slow
@pytest.mark.parametrize("native_size", [(640, 361), (1000, 1000), NATIVE])
def test_cover_strips_of_large_self_intersecting_frames(vulkan: Vulkan, native_size: tuple[int, int]) -> None:
    """Also sizes that are no powers of two, where the shader's division is rounded."""
    for seed in range(8):
        geometry = self_intersecting(seed, native_size)
        assert vulkan.off_outline(geometry, geometry.triangle_strip(), native_size) == 0


@pytest.mark.slow
def test_a_strip_at_another_scale(vulkan: Vulkan, geometries: list[FrameGeometry]) -> None:
    """Drawn at three times the size, the middle pixels of all blocks of 3 x 3 have the native pixels' centres."""
    geometry = geometries[60]
    drawn = vulkan.draw(geometry.triangle_strip(), NATIVE, (3 * 2048, 3 * 1024))
    assert drawn.shape == (3072, 6144)
    differs = drawn[1::3, 1::3] != rasterize(geometry)
    assert not (differs & ~vulkan.example.outline_pixels(geometry, NATIVE)).any()


def test_the_comparison_can_fail(vulkan: Vulkan, geometries: list[FrameGeometry]) -> None:
    """A fan, a strip without half of its vertices, one a row too low and one upside down are found out."""
    geometry = geometries[60]
    strip = geometry.triangle_strip()
    fans = []
    for channel in channels_of(geometry):
        for second, third in pairwise(channel[1:]):
            fans += [channel[0], channel[0], second, third, third]
    wrong = {
        "fan": np.array(fans, np.float32),
        "half": strip[: len(strip) // 2],
        "low": strip + np.float32((0, 2)),
        "upside down": np.float32((0, 1023)) + strip * np.float32((1, -1)),
        "nothing": strip[:0],
    }
    assert {name for name, drawn in wrong.items() if vulkan.off_outline(geometry, drawn, NATIVE)} == set(wrong)


def outline_by_rules(geometry: FrameGeometry, native_size: tuple[int, int]) -> np.ndarray:
    """Every pixel of a line and every crossing pixel, from the oracle. (A crossing is on the line or half-way.)"""
    width, height = native_size
    marked = np.zeros((height, width), bool)
    for channel in channels_of(geometry):
        pixels = [pixel for a, b in oracle.segments(channel) for pixel in oracle.line(a, b)]
        if len(channel) >= 3:
            pixels += [(x, y) for y in range(height) for x in oracle.crossings(channel, y)]
        for x, y in pixels:
            if 0 <= x < width and 0 <= y < height:
                marked[y, x] = True
    return marked


@given(channels=frames())
def test_the_outline_is_lines_and_crossings(example: ModuleType, channels: Any) -> None:
    geometry = geometry_of(channels)
    outline = example.outline_pixels(geometry, (48, 40))
    assert (outline == outline_by_rules(geometry, (48, 40))).all()
    assert not (outline & (rasterize(geometry, native_size=(48, 40)) == 0)).any()


def test_the_outline_of_a_sample_frame(example: ModuleType, geometries: list[FrameGeometry]) -> None:
    assert (example.outline_pixels(geometries[60], NATIVE) == outline_by_rules(geometries[60], NATIVE)).all()
