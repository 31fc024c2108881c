"""
Planes: takes one channel of a decoded video frame as an array, without conversion where possible.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .values import luma

__all__ = ["channel_of", "depth_of", "has_alpha", "is_rgb", "orientation", "turned"]

_UPRIGHT: Final = (1, 0, 0, 1)


def is_rgb(layout: Any) -> bool:
    """Whether a pixel format (av.VideoFormat) has red, green and blue, maybe in a palette; then it is full range."""
    return bool(layout.is_rgb or layout.has_palette)


def has_alpha(layout: Any) -> bool:
    """Whether a pixel format has an alpha channel; palettes may have one."""
    return layout.name == "pal8" or any(one.is_alpha for one in layout.components)


def depth_of(layout: Any) -> int:
    """Bits of a value as :func:`channel_of` returns it: 8..16."""
    if layout.is_bit_stream or layout.has_palette:
        return 8
    bits = max(one.bits for one in layout.components)
    if _is_float(layout):
        return 16
    if is_rgb(layout):
        return 8 if bits <= 8 else int(bits) if _is_planar_rgb(layout) else 16
    return max(8, int(bits))


def channel_of(frame: Any, channel: str, *, is_full: bool) -> npt.NDArray[Any] | None:
    """
    Take a channel out of a frame.

    Args:
        frame: an av.VideoFrame.
        channel: luma, alpha, red, green or blue.
        is_full: whether the luma is full range, for colours of YUV.

    Returns:
        uint8 or uint16 (height, width), which may share the frame's memory; None if there is no such channel.
    """
    layout = frame.format
    if layout.is_bit_stream:  # 1 bit
        frame = frame.reformat(format="gray")
    elif _is_float(layout) and layout.is_rgb and not _is_planar_rgb(layout):
        frame = frame.reformat(format="gbrapf32le")
    elif layout.has_palette or (layout.is_rgb and not _is_planar_rgb(layout)):
        kind = ("gbrap" if has_alpha(layout) else "gbrp") + ("" if depth_of(layout) == 8 else "16le")
        frame = frame.reformat(format=kind)
    elif channel in ("red", "green", "blue") and not layout.is_rgb and not _is_gray(layout):
        frame = frame.reformat(
            format="gbrp" if depth_of(layout) == 8 else "gbrp16le", src_color_range=2 if is_full else 1
        )
    elif layout.name in _PLANAR:
        frame = frame.reformat(format=_PLANAR[layout.name])
    return _channel(frame, channel)


_PLANAR: Final = {
    **dict.fromkeys(("yuyv422", "uyvy422", "yvyu422"), "yuv422p"),
    "uyyvyy411": "yuv411p",
    **dict.fromkeys(("ayuv64le", "ayuv64be"), "yuva444p16le"),
    **dict.fromkeys(("vuya", "ayuv", "uyva"), "yuva444p"),
    **dict.fromkeys(("vuyx", "vyu444"), "yuv444p"),
    **dict.fromkeys(("y210le", "y210be"), "yuv422p10le"),
    **dict.fromkeys(("y212le", "y212be"), "yuv422p12le"),
    **dict.fromkeys(("xv30le", "xv30be", "v30xle", "v30xbe"), "yuv444p10le"),
    **dict.fromkeys(("xv36le", "xv36be"), "yuv444p12le"),
}
"""Packed YUV, and the planar format that holds the same values."""


def _channel(frame: Any, channel: str) -> npt.NDArray[Any] | None:
    layout = frame.format
    if channel == "alpha":
        found = [one for one in layout.components if one.is_alpha]
        return _component(frame, found[0]) if found else None
    if layout.is_rgb:
        red, green, blue = (_component(frame, one) for one in layout.components[:3])
        return luma(red, green, blue) if channel == "luma" else {"red": red, "green": green, "blue": blue}[channel]
    return _component(frame, layout.components[0])  # luma; a gray picture's colours are its luma


def _component(frame: Any, component: Any) -> npt.NDArray[Any]:
    plane, layout = frame.planes[component.plane], frame.format
    size = 1 if component.bits <= 8 else 2 if component.bits <= 16 else 4
    dtype = np.dtype(f"{'>' if layout.is_big_endian else '<'}{'f' if _is_float(layout) else 'u'}{size}")
    rows = np.frombuffer(plane, np.uint8)[: plane.line_size * plane.height].reshape(plane.height, plane.line_size)
    pixels: npt.NDArray[Any] = rows[:, : plane.line_size // dtype.itemsize * dtype.itemsize].view(dtype)
    if layout.name.startswith("ya"):  # gray and alpha alternate
        pixels = pixels[:, component.index :: 2]
    pixels = pixels[: frame.height, : frame.width]
    if layout.name[:3] in ("p01", "p21", "p41"):  # the value is in the high bits
        pixels = pixels >> (16 - component.bits)
    if dtype.kind == "f":  # swscale would apply a gamma
        pixels = np.rint(np.clip(np.nan_to_num(pixels), 0, 1) * np.float32(65535)).astype(np.uint16)
        return pixels
    native: npt.NDArray[Any] = pixels if dtype.isnative else pixels.astype(np.uint16)
    return native


def _is_float(layout: Any) -> bool:
    return "f16" in layout.name or "f32" in layout.name


def _is_gray(layout: Any) -> bool:
    return bool(layout.name.startswith(("gray", "ya8", "ya16", "mono")))


def _is_planar_rgb(layout: Any) -> bool:
    return bool(layout.is_planar and layout.name.startswith("gbr"))


def orientation(matrix: bytes | None) -> tuple[int, int, int, int] | None:
    """
    Reduce a display matrix to quarter turns and flips.

    Args:
        matrix: nine native int32, as FFmpeg has them; None if there is none.

    Returns:
        (a, b, c, d), each -1, 0 or 1: the pixel at (x, y) is shown at (ax + cy, bx + dy). None for other angles.
    """
    if matrix is None or len(matrix) < 36:
        return _UPRIGHT
    a, b, _, c, d, *_ = struct.unpack("9i", matrix[:36])
    signs = tuple((value > 0) - (value < 0) for value in (a, b, c, d))
    if (a or d) and not (b or c):
        return (signs[0], 0, 0, signs[3]) if a and d else None
    if (b or c) and not (a or d):
        return (0, signs[1], signs[2], 0) if b and c else None
    return None


def turned(matte: npt.NDArray[Any], way: tuple[int, int, int, int]) -> npt.NDArray[Any]:
    """
    Turn and flip a picture.

    Args:
        matte: any dtype (height, width).
        way: of :func:`orientation`.

    Returns:
        A view; (width, height) for a quarter turn.
    """
    a, b, c, d = way
    if b:
        matte, a, d = matte.T, c, b
    return matte[:: d or 1, :: a or 1]
