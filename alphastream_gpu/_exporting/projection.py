"""
Projection: copies what a colour video says about its projection and its stereo mode to another video.

PyAV cannot set them. But FFmpeg copies them with the packets of a stream, and Matroska keeps them in two elements at
the beginning of a file. So the colour video is copied to Matroska in memory, for as long as its header, and the two
elements are put into the header of the first segment. A stream of that header has them in every container.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from .._exceptions import AlphaStreamError
from .._inputs.ebml import element

__all__ = ["projection_of", "with_projection"]

_EBML, _SEGMENT, _INFO, _TRACKS, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
_ENTRY, _VIDEO = 0xAE, 0xE0
_STEREO_MODE, _PROJECTION = 0x53B8, 0x7670
_MOST_BYTES: Final = 1 << 26
"""Of a header with one cluster; a segment of uncompressible pictures is longer, and cut."""
_UNKNOWN_SIZE: Final = b"\x01" + 7 * b"\xff"


def projection_of(container: Any, stream: Any) -> bytes:
    """
    The elements of Matroska for the projection and the stereo mode of a video.

    Args:
        container: the av.InputContainer, at its beginning.
        stream: its video stream.

    Returns:
        The elements; empty if the video says nothing, or has a codec that Matroska cannot hold.
    """
    import av

    file = io.BytesIO()
    try:
        with av.open(file, "w", format="matroska") as copy:
            target: Any = copy.add_stream_from_template(stream)
            for packet in container.demux(stream):
                if packet.size:
                    packet.stream = target
                    copy.mux(packet)
                    break
        return b"".join(
            raw for number, raw, _ in _video_elements(file.getvalue()) if number in (_STEREO_MODE, _PROJECTION)
        )
    except AlphaStreamError:
        raise
    except Exception:
        return b""


def with_projection(segment: Path, elements: bytes) -> io.BytesIO:
    """
    The beginning of a segment, with elements of :func:`projection_of`.

    Args:
        segment: a Matroska file.
        elements: for its video.
    """
    with open(segment, "rb") as file:
        data = file.read(_MOST_BYTES)
    found = io.BytesIO()
    for number, raw, body in _children(data):
        if number == _EBML:
            found.write(raw)
        elif number == _SEGMENT:
            found.write(_name(_SEGMENT) + _UNKNOWN_SIZE)
            for part, part_raw, part_body in _children(body):
                if part == _TRACKS:
                    found.write(_made(_TRACKS, _tracks_with(part_body, elements)))
                elif part in (_INFO, _CLUSTER):
                    found.write(part_raw)
    found.seek(0)
    return found


def _tracks_with(tracks: bytes, elements: bytes) -> bytes:
    entries = []
    for number, raw, body in _children(tracks):
        parts = (_made(_VIDEO, inner + elements) if one == _VIDEO else part for one, part, inner in _children(body))
        entries.append(_made(_ENTRY, b"".join(parts)) if number == _ENTRY else raw)
    return b"".join(entries)


def _video_elements(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The elements that describe the first video of a file."""
    found = [data]
    for wanted in (_SEGMENT, _TRACKS, _ENTRY, _VIDEO):
        found = [body for outer in found for number, _, body in _children(outer) if number == wanted]
    return _children(found[0]) if found else iter(())


def _children(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The number, all bytes and the content of each element; the last one may be cut."""
    file = io.BytesIO(data)
    while (start := file.tell()) < len(data):
        number, size = element(file)
        body = file.read(len(data) if size is None else size)
        yield number, data[start : file.tell()], body


def _made(number: int, body: bytes) -> bytes:
    return _name(number) + struct.pack(">Q", len(body) | 1 << 56) + body


def _name(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
