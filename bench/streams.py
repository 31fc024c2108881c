"""
Generated streams of real-shaped frames: the sample's silhouettes with every point moved by up to a pixel.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from support import asvp_of, block_of, sample_geometries

from alphastream_gpu import FrameGeometry

N_FRAMES = 16_375
"""Frames of a real scene: four and a half minutes."""


@cache
def geometries() -> list[FrameGeometry]:
    rng = np.random.default_rng(2)
    sample = sample_geometries()
    frames = []
    for index in range(N_FRAMES):
        frame = sample[index % len(sample)]
        points = np.clip(frame.points + rng.integers(-1, 2, frame.points.shape), 0, 65535)
        steps = np.abs(np.diff(points, axis=0)).max(axis=1, initial=0)
        steps[frame.channel_offsets[1:-1] - 1] = 0
        frames.append(FrameGeometry(points if steps.max(initial=0) <= 127 else frame.points, frame.channel_offsets))
    return frames


@cache
def asvp() -> bytes:
    """The whole file, some 540 stored bytes a frame."""
    return asvp_of([block_of(geometry.to_payload()) for geometry in geometries()])
