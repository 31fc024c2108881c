"""
Coders: the settings of FFmpeg's encoders, and the containers that their packets go to.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

__all__ = ["FORMATS", "Coder", "mask_coder", "new_encoder"]

FORMATS: Final = {".mkv": "matroska", ".webm": "webm", ".mp4": "mp4", ".mov": "mov"}
"""FFmpeg's name of the container for each ending."""

FULL_RANGE: Final = 2
"""FFmpeg's number for luma of 0..255."""


@dataclass(frozen=True, slots=True)
class Coder:
    """An encoder and its settings."""

    name: str
    """FFmpeg's name of the encoder."""
    form: str
    """Its pixel format."""
    options: dict[str, str]
    segment_frames: int
    """Frames of a segment, which begins with a key frame."""


def mask_coder(codec: str) -> Coder:
    """
    The lossless encoder of masks alone, in gray.

    Every frame of FFV1 is a key frame. Its four slices let readers decode a frame in four threads. H.264 has no
    B-frames here: frames would then be stored in another order than they are shown, and the number of a packet would
    not be its time.
    """
    if codec == "ffv1":
        return Coder("ffv1", "gray", {"level": "3", "slices": "4", "slicecrc": "1", "g": "1"}, 64)
    assert codec == "h264"
    return Coder("libx264", "gray", {"qp": "0", "preset": "medium", "bf": "0"}, 240)


def new_encoder(file: Any, coder: Coder, size: tuple[int, int], rate: Fraction, *, threads: int = 1) -> Any:
    """
    Add a stream with an encoder to a container.

    Args:
        file: an av.OutputContainer.
        coder: the encoder.
        size: width and height of the pictures.
        rate: frames a second; a frame is one tick long.
        threads: of the encoder.

    Returns:
        The av.VideoStream.
    """
    stream = file.add_stream(coder.name, rate=rate, options=dict(coder.options))
    stream.width, stream.height = size
    stream.pix_fmt = coder.form
    context = stream.codec_context
    context.time_base = 1 / rate
    context.thread_count = threads
    return stream
