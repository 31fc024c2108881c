"""
Polygons: draws COCO's polygons as masks with pycocotools. Its pixels are the definition of COCO's masks.

A segmentation is a list of polygons, and its mask is their union. There are no holes. For a ring, tools write only the
outer border, or one polygon with a seam between the two borders, or run lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .._geometry.size import MAX_NATIVE_EDGE
from .rle import counts_of_text, mask_of_counts

__all__ = ["draw_polygons"]

_FAR: Final = 4 * MAX_NATIVE_EDGE
"""Pixels. pycocotools computes in C integers, five to a pixel, along each whole edge."""
_LONGEST: Final = 1 << 22
"""The longest border of a polygon, in pixels: some 200 bytes are allocated for each."""


def draw_polygons(polygons: Sequence[Any], width: int, height: int) -> npt.NDArray[np.bool_]:
    """
    Draw the union of polygons.

    Args:
        polygons: each a flat list x0, y0, x1, y1, ... of at least three points, in pixels.
        width: of the mask in pixels.
        height: likewise.

    Returns:
        bool (height, width).

    Raises:
        ValueError: a polygon is malformed, or too far outside or too long to be drawn.
    """
    from pycocotools import mask

    coco: Any = mask

    checked = [_checked(polygon) for polygon in polygons]
    if not checked:
        return np.zeros((height, width), np.bool_)
    drawn = coco.merge(coco.frPyObjects(checked, height, width))
    # not coco.decode(), which warns of its own use of numpy
    return mask_of_counts(counts_of_text(drawn["counts"]), width, height)


def _checked(polygon: Any) -> list[float]:
    points = np.asarray(polygon, dtype=np.float64)
    if points.ndim != 1 or len(points) % 2 or len(points) < 6:
        raise ValueError(f"expected a polygon x0, y0, x1, y1, ... of 3 or more points, found the shape {points.shape}")
    if not np.isfinite(points).all() or np.abs(points).max() > _FAR:
        raise ValueError(f"expected coordinates of -{_FAR}..{_FAR} pixels, found {points[np.abs(points).argmax()]}")
    corners = points.reshape(-1, 2)
    length = float(np.abs(corners - np.roll(corners, -1, axis=0)).max(axis=1).sum())
    if length > _LONGEST:
        raise ValueError(f"expected a border of at most {_LONGEST} pixels, found {length:.0f}")
    return points.tolist()  # type: ignore[no-any-return]
