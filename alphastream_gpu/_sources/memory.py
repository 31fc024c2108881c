"""
MemorySource: bytes in memory as a source.
"""

from __future__ import annotations

from .base import Source
from .ranges import ByteRange

__all__ = ["MemorySource"]


class MemorySource(Source):
    """
    A bytes-like object as a source. Reads are slices of it, without a copy.

    Args:
        data: any C-contiguous object with the buffer protocol. It is not copied, so it must not change while in use.
        name: the resource name, which the key of an ASVR depends on.
    """

    def __init__(self, data: bytes | bytearray | memoryview, *, name: str = "") -> None:
        self._view = memoryview(data).toreadonly().cast("B")
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def length(self) -> int:
        return len(self._view)

    async def read(self, span: ByteRange) -> memoryview:
        return self._view[span.start : span.stop]

    def _read_here(self, span: ByteRange) -> memoryview:
        """:meth:`read` on the calling thread."""
        return self._view[span.start : span.stop]

    def __repr__(self) -> str:
        return f"<MemorySource {self._name or 'unnamed'!r} {self.length} bytes>"
