"""
Metadata: the facts from a stream's header and sizes table, and the native size and frame rate that the caller gave.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from .._config import Config
from .._format.container import HEADER_BYTES, ContainerName
from .reader import StreamReader

__all__ = ["Metadata", "describe"]


@dataclass(frozen=True, slots=True)
class Metadata:
    """
    What is known of a stream once it is open.

    The file stores neither native size nor frame rate: those two are the caller's (:class:`~alphastream_gpu.Config`).
    """

    container: ContainerName
    """``"ASVP"`` (plain) or ``"ASVR"`` (encrypted)."""
    version: str
    """Of the container, ``"PLN1"`` for ASVP, the header's first word for ASVR (``"4"``)."""
    frame_count: int
    """Frames in the stream; 0 is valid."""
    native_size: tuple[int, int]
    """Width and height of the polygons' grid, pixels. From the configuration."""
    fps: Fraction
    """Frames per second. From the configuration, or from :meth:`AlphaStream.set_rate`."""
    table_bytes: int
    """Length of the compressed sizes table, bytes."""
    block_bytes: int
    """Bytes of all blocks as stored."""
    source_bytes: int | None
    """Length of the source, bytes; None when it does not know."""

    @property
    def duration(self) -> float:
        """How long the stream plays, in seconds."""
        return float(self.frame_count / self.fps)

    @property
    def trailing_bytes(self) -> int | None:
        """Bytes after the last block, which readers ignore; None when the source's length is not known."""
        return (
            None
            if self.source_bytes is None
            else self.source_bytes - HEADER_BYTES - self.table_bytes - self.block_bytes
        )


def describe(reader: StreamReader, config: Config) -> Metadata:
    """The metadata of an opened stream."""
    header = reader.header
    return Metadata(
        container=header.container,
        version=header.version,
        frame_count=len(reader.index),
        native_size=config.native_size,
        fps=config.fps,
        table_bytes=header.table_bytes,
        block_bytes=reader.index.end - header.blocks_offset,
        source_bytes=reader.source.length,
    )
