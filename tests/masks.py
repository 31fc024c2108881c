"""
Masks for tests and benchmarks of the encoder: like those that networks make, unusual ones, and random ones.

The masks of networks are made from the sample's frames, so they need no files. They are simulated: see each function.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["matte_like", "random_masks", "sam_like", "small_mask", "unusual_masks"]

Mask = npt.NDArray[np.uint8]


def sam_like(mask: Mask, seed: int) -> Mask:
    """Like SAM 2: noisy logits on a grid 256 pixels wide, scaled up bilinearly, and compared with 0."""
    height, width = mask.shape
    grid = (256, 256 * height // width)
    logits = (cv2.resize(mask.astype(np.float32) / 255, grid, interpolation=cv2.INTER_AREA) - 0.5) * 20
    logits += np.random.default_rng(seed).normal(0, 0.6, logits.shape).astype(np.float32)
    return (cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR) > 0).astype(np.uint8) * 255


def matte_like(mask: Mask, seed: int) -> Mask:
    """Like a matting network: a soft edge with noise that is correlated over four pixels, compared with 1/2."""
    height, width = mask.shape
    matte = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 3)
    noise = np.random.default_rng(1000 + seed).normal(0, 1, (height // 4, width // 4)).astype(np.float32)
    noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return (matte + 0.06 * noise > 0.5).astype(np.uint8) * 255


def small_mask(number: int) -> Mask:
    """One of the 65,536 masks of 4 x 4 pixels."""
    return ((number >> np.arange(16)) & 1).astype(np.uint8).reshape(4, 4) * 255


def random_masks(count: int, seed: int) -> Iterator[Mask]:
    """Noise of several densities, the same with larger pixels, and blobs with smooth outlines and holes."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        height, width = rng.integers(1, 40, 2).tolist()
        mask = (rng.random((height, width)) < rng.choice([0.05, 0.3, 0.5, 0.7, 0.95])).astype(np.uint8) * 255
        if number % 3 == 1:
            mask = np.kron(mask, np.ones(rng.integers(2, 6, 2), np.uint8))
        elif number % 3 == 2:
            field = rng.normal(0, 1, (4 * height, 4 * width)).astype(np.float32)
            field = cv2.GaussianBlur(field, (0, 0), float(rng.uniform(0.6, 4)))
            mask = (field > 0).astype(np.uint8) * 255
        yield mask


def unusual_masks(height: int = 256, width: int = 512) -> dict[str, Mask]:
    """Masks that are hard for tracers and encoders, by their names."""
    empty = np.zeros((height, width), np.uint8)
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(5)
    masks = {
        "empty": empty,
        "full": empty + 255,
        "one pixel": np.where((x == width // 3) & (y == height // 2), 255, 0),
        "one pixel unset": np.where((x == width // 3) & (y == height // 2), 0, 255),
        "single pixels": np.where((x % 8 == 0) & (y % 8 == 0), 255, 0),
        "holes of one pixel": np.where((x % 8 == 3) & (y % 8 == 3), 0, 255),
        "checkerboard of 1": ((x + y) & 1) * 255,
        "checkerboard of 8": ((x // 8 + y // 8) & 1) * 255,
        "stripes": (y & 1) * 255,
        "upright stripes": (x & 1) * 255,
        "frame of one pixel": np.where((x == 0) | (y == 0) | (x == width - 1) | (y == height - 1), 255, 0),
        "noise, half": (rng.random(empty.shape) < 0.5) * 255,
        "noise, dense": (rng.random(empty.shape) < 0.9) * 255,
    }
    drawn = {name: empty.copy() for name in ("rings", "thin spiral", "thick spiral", "text", "lines")}
    for radius in range(5, height // 2, 6):
        cv2.circle(drawn["rings"], (width // 2, height // 2), radius, 255, 2)
    turns = np.arange(0, 60, 0.01)
    spiral = np.stack((width / 2 + 2 * turns * np.cos(turns), height / 2 + 2 * turns * np.sin(turns)), axis=1)
    for name, thickness in (("thin spiral", 1), ("thick spiral", 5)):
        cv2.polylines(drawn[name], [np.rint(spiral).astype(np.int32)], isClosed=False, color=255, thickness=thickness)
    for row, text in enumerate(("The quick brown fox", "jumps over 0123456789", "@#%&$ {}[] alphastream")):
        cv2.putText(drawn["text"], text, (10, 60 + 70 * row), cv2.FONT_HERSHEY_COMPLEX, 1.2, 255, 2)
    for end in range(0, width, 37):
        cv2.line(drawn["lines"], (width // 2, height // 2), (end, end % height), 255, 1)
    return {name: (mask > 127).astype(np.uint8) * 255 for name, mask in (masks | drawn).items()}  # text is smooth
