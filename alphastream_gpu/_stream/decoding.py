"""
Decoding: decodes the blocks of one read to geometry, frame by frame, until the results reach a limit of memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .._exceptions import AlphaStreamError
from .._geometry.frame import FrameGeometry
from .reader import StreamReader

__all__ = ["Result", "decode_each", "decode_some"]

Result = FrameGeometry | AlphaStreamError
"""The geometry of a frame, or its error."""

_MAX_BYTES: Final = 16 * 1024 * 1024
"""The most that is decoded at a time. A megabyte of hostile blocks could inflate a thousandfold."""


def decode_each(reader: StreamReader, first: int, blocks: list[memoryview]) -> list[Result]:
    """
    Decode every frame, until the results take more than 16 MiB.

    Args:
        reader: of the blocks.
        first: the frame of the first block.
        blocks: of neighbouring frames.

    Returns:
        A geometry or an error for each of the first frames, at least one.
    """
    return list(_decoded(reader, first, blocks))


def decode_some(
    reader: StreamReader, first: int, blocks: list[memoryview]
) -> tuple[list[FrameGeometry], AlphaStreamError | None]:
    """As :func:`decode_each`, up to the first bad frame. Returns the geometries before it, and its error."""
    geometries: list[FrameGeometry] = []
    for result in _decoded(reader, first, blocks):
        if not isinstance(result, FrameGeometry):
            return geometries, result
        geometries.append(result)
    return geometries, None


def _decoded(reader: StreamReader, first: int, blocks: list[memoryview]) -> Iterator[Result]:
    n_bytes = 0
    for index, block in enumerate(blocks, first):
        try:
            geometry = reader.decode(index, block)
        except AlphaStreamError as exc:
            yield exc
            continue
        yield geometry
        n_bytes += geometry.nbytes
        if n_bytes > _MAX_BYTES:
            return
