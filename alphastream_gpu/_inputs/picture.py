"""
Picture: reads one picture file as arrays. Supports the formats that Pillow reads, OpenEXR, and npy with one frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .._exceptions import DecodeError
from .._geometry.size import MAX_NATIVE_EDGE
from .faults import reading
from .values import luma

__all__ = ["PICTURE_ENDINGS", "Picture", "check_picture_size", "page_count", "read_picture"]

PICTURE_ENDINGS: Final = frozenset(
    (
        *(".png", ".apng", ".tif", ".tiff", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tga", ".exr", ".npy"),
        *(".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".avif", ".sgi"),
    )
)
"""The endings of files that are looked for in a folder."""

_NAMES: Final = {
    "L": ("luma",),
    "LA": ("luma", "alpha"),
    "RGB": ("red", "green", "blue"),
    "RGBA": ("red", "green", "blue", "alpha"),
}


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """A picture's channels."""

    planes: dict[str, npt.NDArray[Any]]
    """By name (luma, or red, green and blue; alpha; labels), arrays (height, width) of one dtype."""
    high: float | None
    """The value of white and of opaque; None if the file does not say, as for 32 bit integers."""
    form: str
    """The form, such as "8 bit RGBA"."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width = next(iter(self.planes.values())).shape
        return width, height

    def plane(self, channel: str) -> npt.NDArray[Any] | None:
        """
        A channel, (height, width); luma of colour and colours of gray are computed.

        Returns:
            None if there is no such channel.
        """
        if channel in self.planes:
            return self.planes[channel]
        if channel == "luma" and "red" in self.planes:
            return luma(self.planes["red"], self.planes["green"], self.planes["blue"])
        if channel in ("red", "green", "blue"):
            return self.planes.get("luma")
        return None


def check_picture_size(name: str, width: int, height: int) -> None:
    """Check a size that a file names, before memory is allocated for it. Raises DecodeError."""
    if not (1 <= width <= MAX_NATIVE_EDGE and 1 <= height <= MAX_NATIVE_EDGE):
        raise DecodeError(
            f"{name}: expected width and height of 1..{MAX_NATIVE_EDGE} pixels, found {width} x {height}; make the "
            "picture smaller first"
        )


def page_count(path: Path) -> int:
    """How many pictures a file holds; more than one in a TIFF stack or an animation."""
    if path.suffix.lower() in (".exr", ".npy"):
        return 1
    with reading(path.name):
        from PIL import Image

        with Image.open(path) as file:
            return int(getattr(file, "n_frames", 1))


def read_picture(path: Path, *, page: int = 0, frame: int | None = None) -> Picture:
    """
    Read a picture.

    Args:
        path: the file.
        page: which picture of a file with several, from 0.
        frame: the frame that errors name.

    Raises:
        DecodeError: the file is damaged, too large, or in a form that is not supported.
        TransportError: the file cannot be read.
    """
    ending = path.suffix.lower()
    if ending == ".exr":
        from .exr import read_exr

        planes = read_exr(path, frame=frame)
        return Picture(planes, 1.0, f"EXR with {', '.join(planes)}")
    if ending == ".npy":
        return _npy(path, frame)
    with reading(path.name, frame=frame, advice="the file is damaged or no picture; write it again or leave it out"):
        from PIL import Image, ImageOps

        with Image.open(path) as file:
            check_picture_size(path.name, *file.size)
            if page:
                file.seek(page)
                check_picture_size(path.name, *file.size)
            file.load()
            # as viewers show it: cameras store a turned picture and a note
            picture = ImageOps.exif_transpose(file) if _is_turned(file) else file
            return _planes(picture, path.name)


def _is_turned(file: Any) -> bool:
    return file.format in ("JPEG", "TIFF", "WEBP", "PNG") and file.getexif().get(0x0112, 1) not in (0, 1)


def _planes(picture: Any, name: str) -> Picture:
    mode, has_key = picture.mode, "transparency" in picture.info
    if mode == "P" and not has_key:
        colours = _palette(picture)
        if _is_for_labels(colours):
            rgb = _planes(picture.convert("RGB"), name)
            return Picture({**rgb.planes, "labels": np.array(picture)}, 255.0, "palette of object colours")
        return Picture(_planes(picture.convert("RGB"), name).planes, 255.0, "palette")
    if mode == "1":
        return Picture({"luma": np.array(picture).astype(np.uint8)}, 1.0, "1 bit")
    if mode.startswith("I;16"):
        return Picture({"luma": np.array(picture).astype(np.uint16)}, 65535.0, "16 bit gray")
    if mode == "I":
        high = 65535.0 if picture.format in ("PNG", "PPM") else None
        return Picture({"luma": np.array(picture)}, high, "32 bit integers")
    if mode == "F":
        return Picture({"luma": np.array(picture)}, 1.0, "floats")
    if mode not in _NAMES or has_key:
        has_alpha = has_key or mode in ("PA", "La", "RGBa", "P")
        mode = ("LA" if mode in ("L", "LA", "La") else "RGBA") if has_alpha else "RGB"
        picture = picture.convert(mode)
    pixels = np.array(picture)
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    planes = {channel: np.ascontiguousarray(pixels[..., i]) for i, channel in enumerate(_NAMES[mode])}
    return Picture(planes, 255.0, f"8 bit {'gray' if mode == 'L' else mode}")


def _palette(picture: Any) -> npt.NDArray[np.uint8]:
    """uint8 (n, 3)."""
    colours = np.array(picture.getpalette("RGB") or [0, 0, 0], np.uint8)
    return colours[: len(colours) // 3 * 3].reshape(-1, 3)


def _is_for_labels(colours: npt.NDArray[np.uint8]) -> bool:
    """Whether a palette colours the numbers of objects, as in DAVIS: 0 is black, and others are no grays."""
    return not colours[0].any() and bool((colours != colours[:, :1]).any())


def _npy(path: Path, frame: int | None) -> Picture:
    from .npy import open_npy

    array = open_npy(path, frame=frame)
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim != 2:
        raise DecodeError(f"{path.name}: expected one frame of (height, width), found {array.shape}", frame_index=frame)
    check_picture_size(path.name, array.shape[1], array.shape[0])
    pixels = np.array(array)
    high = {"b": 1.0}.get(pixels.dtype.kind)
    return Picture({"luma": pixels.astype(np.uint8) if high else pixels}, high, f"npy of {array.dtype}")
