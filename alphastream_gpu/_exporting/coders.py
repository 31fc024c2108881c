"""
Coders: the settings of FFmpeg's encoders, and the containers that their packets go to.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from .choice import Layout

__all__ = ["BT709", "FORMATS", "FULL_RANGE", "LIMITED_RANGE", "Coder", "colour_coder", "mask_coder", "new_encoder"]

FORMATS: Final = {".mkv": "matroska", ".webm": "webm", ".mp4": "mp4", ".mov": "mov"}
"""FFmpeg's name of the container for each ending."""

_FFV1: Final = {"level": "3", "slices": "4", "slicecrc": "1", "g": "1"}
LIMITED_RANGE: Final = 1
FULL_RANGE: Final = 2
"""FFmpeg's numbers for luma of 16..235 and of 0..255."""
BT709: Final = 1
"""FFmpeg's number for the colour space of HDTV."""


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
    color_range: int | None = None
    """FFmpeg's number of the range of luma, if the codec has only one; ProRes does not say which."""


def mask_coder(codec: str) -> Coder:
    """
    The lossless encoder of masks alone, in gray.

    Every frame of FFV1 is a key frame. Its four slices let readers decode a frame in four threads. H.264 has no
    B-frames here: frames would then be stored in another order than they are shown, and the number of a packet would
    not be its time.
    """
    if codec == "ffv1":
        return Coder("ffv1", "gray", _FFV1, 64)
    assert codec == "h264"
    return Coder("libx264", "gray", {"qp": "0", "preset": "medium", "bf": "0"}, 240)


def colour_coder(codec: str, layout: Layout, quality: int | None) -> Coder:
    """
    The encoder of colours with a mask. As of :func:`mask_coder`, a packet is a frame, in the order of showing.

    Args:
        codec: ffv1, h264, vp9 or prores.
        layout: where the mask is.
        quality: the constant rate factor of h264 and vp9.
    """
    if codec == "vp9":
        # Without alternate reference frames, which libvpx refuses beside an alpha channel. Without these, looking ahead
        # only takes memory, 650 MB at 4096 x 2048, and the packets are the same.
        form = "yuva420p" if layout == "alpha" else "yuv420p"
        options = {
            "crf": str(quality),
            "b": "0",
            "auto-alt-ref": "0",
            "lag-in-frames": "0",
            "tile-columns": "2",
            "cpu-used": "4",
        }
        return Coder("libvpx-vp9", form, options, 120)
    if codec == "prores":
        options = {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}
        return Coder("prores_ks", "yuva444p10le", options, 30, LIMITED_RANGE)
    if codec == "ffv1":  # RGB stores red for each pixel
        return Coder("ffv1", "bgr0" if layout.startswith("fisheye") else "yuv420p", _FFV1, 30)
    assert codec == "h264"
    return Coder("libx264", "yuv420p", {"crf": str(quality), "preset": "medium", "bf": "0"}, 240)


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
