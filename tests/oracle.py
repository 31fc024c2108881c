"""
The oracle: makes masks one pixel at a time, by the definition in docs/coverage.md. Slow, scalar, obvious.

It shares no code with the package. The CPU path and the GL path are both compared with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

Point = tuple[int, int]
Channel = Sequence[Point]


def line(a: Point, b: Point) -> Iterator[Point]:
    """Bresenham's line from a to b, ties toward a."""
    dx, dy = abs(b[0] - a[0]), abs(b[1] - a[1])
    sx = (b[0] > a[0]) - (b[0] < a[0])
    sy = (b[1] > a[1]) - (b[1] < a[1])
    if dx >= dy:
        for i in range(dx + 1):
            q = (2 * i * dy + dx - 1) // (2 * dx) if dx else 0
            yield a[0] + sx * i, a[1] + sy * q
    else:
        for j in range(dy + 1):
            q = (2 * j * dx + dy - 1) // (2 * dy)
            yield a[0] + sx * q, a[1] + sy * j


def segments(channel: Channel) -> list[tuple[Point, Point]]:
    """The segments of a channel."""
    n = len(channel)
    if n < 2:
        return []
    drawn = list(itertools.pairwise(channel))
    if n >= 3 and channel[-1] != channel[0]:
        drawn.append((channel[-1], channel[0]))
    return drawn


def crossings(channel: Channel, y: int) -> list[int]:
    """The sorted columns where the outline of a channel crosses row y; halves are rounded to the even pixel."""
    found = []
    for a, b in segments(channel):
        (x0, y0), (x1, y1) = (a, b) if a[1] < b[1] else (b, a)
        if y0 <= y < y1:
            found.append(round(x0 + Fraction((y - y0) * (x1 - x0), y1 - y0)))  # round() is half-to-even
    return sorted(found)


def mask(channels: Sequence[Channel], native_size: tuple[int, int], size: tuple[int, int] | None = None) -> np.ndarray:
    """uint8 (h, w): the union of all channels, cropped to the window, scaled by nearest neighbour."""
    width, height = native_size
    covered = np.zeros((height, width), np.uint8)
    for channel in channels:
        for a, b in segments(channel):
            for x, y in line(a, b):
                if 0 <= x < width and 0 <= y < height:
                    covered[y, x] = 255
        if len(channel) >= 3:
            for y in range(height):
                across = crossings(channel, y)
                for left, right in zip(across[0::2], across[1::2], strict=True):
                    if right >= 0 and left < width:
                        covered[y, max(left, 0) : right + 1] = 255
    if size is None:
        return covered
    scaled = np.zeros((size[1], size[0]), np.uint8)
    for y in range(size[1]):
        for x in range(size[0]):
            scaled[y, x] = covered[y * height // size[1], x * width // size[0]]
    return scaled


def decode(payload: bytes) -> list[list[Point]]:
    """Decode the channels of a payload byte by byte, by the definition in docs/format.md."""
    count = int.from_bytes(payload[:4], "little")
    sizes = [int.from_bytes(payload[4 + 4 * c : 8 + 4 * c], "little") for c in range(count)]
    at = 4 + 4 * count
    channels = []
    for size in sizes:
        body = payload[at : at + size]
        x, y = int.from_bytes(body[0:2], "little"), int.from_bytes(body[2:4], "little")
        points = [(x, y)]
        for k in range(4, size, 2):
            x += int.from_bytes(body[k : k + 1], "little", signed=True)
            y += int.from_bytes(body[k + 1 : k + 2], "little", signed=True)
            points.append((x, y))
        channels.append(points)
        at += size
    assert at == len(payload)
    return channels
