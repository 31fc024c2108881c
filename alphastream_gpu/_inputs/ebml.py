"""
Ebml: reads the elements of which Matroska and WebM files are made. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import IO

__all__ = ["element", "elements"]


def element(file: IO[bytes]) -> tuple[int, int | None]:
    """The number and the size of the next element of EBML; None for an unknown size."""
    first = file.read(1)[0]
    length = 9 - first.bit_length()
    if length > 4:
        raise ValueError("no element")
    number = int.from_bytes(bytes([first]) + file.read(length - 1), "big")
    first = file.read(1)[0]
    length = 9 - first.bit_length()
    if length > 8:
        raise ValueError("no size")
    size = int.from_bytes(bytes([first]) + file.read(length - 1), "big") - (1 << 7 * length)
    return number, None if size == (1 << 7 * length) - 1 else size


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements within an element."""
    file = BytesIO(data)
    while file.tell() < len(data):
        number, size = element(file)
        yield number, file.read(size)
