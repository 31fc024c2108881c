"""
Picture: draws masks and their differences as tiles of one PNG.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from .._extras import pip_command

__all__ = ["difference_tile", "mask_tile", "png_of_tiles"]

Mask = npt.NDArray[np.bool_]
Tile = npt.NDArray[np.uint8]
"""RGB (height, width, 3)."""

_TILE_WIDTH: Final = 480
_LABEL_HEIGHT: Final = 16
_GAP: Final = 8
_BACKGROUND: Final = (28, 28, 32)
_TEXT: Final = (230, 230, 230)
_SET: Final = 190
_ONLY_FIRST: Final = (235, 75, 50)
_ONLY_SECOND: Final = (70, 140, 245)


def mask_tile(mask: Mask) -> Tile:
    """A mask in gray, reduced to the width of a tile: each pixel is the share of set pixels in its block."""
    gray = np.rint(_reduced(mask) * _SET).astype(np.uint8)
    return np.repeat(gray[:, :, None], 3, axis=2)


def difference_tile(first: Mask, second: Mask) -> Tile:
    """
    Two masks in one tile: gray where both are set, red where only the first is, blue where only the second is.

    A single pixel that differs colours the whole pixel of the tile: it would not be seen otherwise.
    """
    tile = mask_tile(first & second)
    tile[_reduced(first & ~second) > 0] = _ONLY_FIRST
    tile[_reduced(second & ~first) > 0] = _ONLY_SECOND
    return tile


def png_of_tiles(tiles: Sequence[tuple[str, Tile]], *, columns: int) -> bytes:
    """
    A PNG of labelled tiles in rows.

    Args:
        tiles: one or more, each with its label, all of one size.
        columns: tiles in a row.

    Raises:
        ImportError: Pillow is missing; the message has the command that installs it.
    """
    try:
        from PIL import Image, ImageDraw
    except ImportError as exc:
        raise ImportError(f"a picture needs Pillow: {pip_command('encode')}") from exc
    columns = min(columns, len(tiles))
    n_rows = -(-len(tiles) // columns)
    height, width = tiles[0][1].shape[:2]
    step_x, step_y = width + _GAP, height + _LABEL_HEIGHT + _GAP
    picture = Image.new("RGB", (columns * step_x + _GAP, n_rows * step_y + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for place, (label, tile) in enumerate(tiles):
        x, y = _GAP + place % columns * step_x, _GAP + place // columns * step_y
        draw.text((x, y), label, _TEXT)
        picture.paste(Image.fromarray(tile), (x, y + _LABEL_HEIGHT))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _reduced(mask: Mask) -> npt.NDArray[np.float32]:
    """The share of set pixels in each block of a mask, at most a tile wide; of blocks of one pixel, the mask itself."""
    height, width = mask.shape
    block = -(-width // _TILE_WIDTH)
    padded = np.pad(mask, ((0, -height % block), (0, -width % block)))
    rows, columns = padded.shape[0] // block, padded.shape[1] // block
    share: npt.NDArray[np.float32] = padded.reshape(rows, block, columns, block).mean(axis=(1, 3), dtype=np.float32)
    return share
