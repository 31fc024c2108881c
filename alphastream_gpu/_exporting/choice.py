"""
Choice: decides from the name of the target and from the options what is written, and refuses what does not fit. Pure.

A target is one of the kinds below. A video is made by a codec in a container, which its ending names. With a colour
video, the layout says where the mask goes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

__all__ = ["Choice", "Codec", "Kind", "Layout", "choose"]

Kind: TypeAlias = Literal["raw", "npy", "npz", "png", "zarr", "coco", "video"]
Codec: TypeAlias = Literal["auto", "ffv1", "h264", "vp9", "prores"]
Layout: TypeAlias = Literal[
    "auto", "alpha", "alpha-right", "alpha-left", "alpha-bottom", "alpha-top", "fisheye-a", "fisheye-b"
]

_KINDS: Final[Mapping[str, Kind]] = {
    ".raw": "raw",
    ".gray": "raw",
    ".npy": "npy",
    ".npz": "npz",
    ".png": "png",
    ".zarr": "zarr",
    ".json": "coco",
    ".mkv": "video",
    ".mp4": "video",
    ".mov": "video",
    ".webm": "video",
}
_ALLOWED: Final = "out.mkv, out.mp4, out.mov, out.webm, out/%06d.png, out.npy, out.npz, out.zarr, out.json or out.raw"

_MASKS: Final = {".mkv": ("ffv1", "h264"), ".mp4": ("h264",), ".mov": ("h264",), ".webm": ()}
"""The codecs of masks alone for each container, the default first. All are lossless. FFV1 goes into Matroska only,
because few programs read it from MP4, and FFmpeg does not write it to QuickTime. WebM has no codec that FFmpeg writes
losslessly in gray."""
_ALPHA: Final = {".webm": ("vp9",), ".mkv": ("vp9", "prores"), ".mov": ("prores",), ".mp4": ()}
"""Likewise, of colours with an alpha channel. No codec that FFmpeg writes to MP4 has one."""
_JOINED: Final = {".mp4": ("h264",), ".mov": ("h264",), ".mkv": ("h264", "ffv1"), ".webm": ("vp9",)}
"""Likewise, of colours and mask in one picture."""
_LAYOUTS: Final[Mapping[str, Layout]] = {
    ".webm": "alpha",
    ".mkv": "alpha",
    ".mov": "alpha",
    ".mp4": "alpha-right",
}
"""The default layout of each container."""
_QUALITIES: Final[Mapping[str, tuple[int, int, int]]] = {"h264": (0, 51, 18), "vp9": (0, 63, 24)}
"""The range and the default of the constant rate factor of lossy codecs; less is better."""
_FISHEYE_NAME: Final = re.compile(r".+_(FISHEYE|FISHEYE190|MKX200|MKX220|RF52|VRCA220)_alpha", re.IGNORECASE)
"""The names by which DeoVR and HereSphere know the lens and the packed matte."""
_NUMBER: Final = re.compile(r"%0?\d*d")


@dataclass(frozen=True, slots=True)
class Choice:
    """What is written."""

    kind: Kind
    codec: str | None = None
    """Of a video."""
    layout: Layout | None = None
    """Of a video with colours."""
    quality: int | None = None
    """The constant rate factor, for a lossy codec."""
    bits: int = 8
    """Of a pixel in a PNG."""
    is_packed: bool = False
    """Whether an array has eight pixels in a byte."""

    @property
    def is_lossless(self) -> bool:
        """Whether the masks can be read back exactly. ProRes stores alpha losslessly."""
        return self.kind != "video" or self.layout is None or self.codec in ("ffv1", "prores")


def choose(
    name: str,
    *,
    codec: Codec = "auto",
    layout: Layout = "auto",
    has_colours: bool = False,
    quality: int | None = None,
    bits: int = 8,
    is_packed: bool = False,
) -> Choice:
    """
    Choose what is written.

    Args:
        name: the last part of the target's path.
        codec: of a video.
        layout: of a video with colours.
        has_colours: whether there is a colour video.
        quality: the constant rate factor of a lossy codec.
        bits: of a pixel in a PNG, 1 or 8.
        is_packed: for npy and npz, eight pixels in a byte.

    Raises:
        ValueError: the name says nothing known, or an option does not fit it; the message names what is allowed.
    """
    for option, value, words in (("codec", codec, get_args(Codec)), ("layout", layout, get_args(Layout))):
        if value not in words:
            raise ValueError(f"{option}: expected one of {', '.join(words)}, found {value!r}")
    ending = "." + name.rpartition(".")[2].lower() if "." in name else ""
    kind = _KINDS.get(ending)
    if kind is None:
        raise ValueError(f"target: expected a name such as {_ALLOWED}, found {name!r}")
    _check_scope(kind, codec, layout, has_colours, quality, bits, is_packed)
    if kind == "png" and len(_NUMBER.findall(name)) != 1:
        raise ValueError(f"target: expected the place of the frame's number once, as in %06d.png, found {name!r}")
    if kind != "video":
        return Choice(kind, bits=bits, is_packed=is_packed)
    return _video(name, ending, codec, layout, has_colours, quality)


def _check_scope(
    kind: Kind, codec: Codec, layout: Layout, has_colours: bool, quality: int | None, bits: int, is_packed: bool
) -> None:
    """Refuse options of other kinds, which would have no effect."""
    if kind != "video":
        for option, given in (("codec", codec != "auto"), ("quality", quality is not None), ("video", has_colours)):
            if given:
                raise ValueError(f"{option}: is for videos (.mkv, .mp4, .mov, .webm); the target is of kind {kind}")
    if layout != "auto" and not has_colours:
        raise ValueError(
            f"layout: {layout!r} joins the mask with a colour video; give that too, or leave the layout out"
        )
    if bits not in (1, 8):
        raise ValueError(f"bits: expected 1 or 8, found {bits!r}")
    if bits != 8 and kind != "png":
        raise ValueError(f"bits: is for PNG; the target is of kind {kind}")
    if is_packed and kind not in ("npy", "npz"):
        raise ValueError(f"packed: is for npy and npz; the target is of kind {kind}")


def _video(name: str, ending: str, codec: Codec, layout: Layout, has_colours: bool, quality: int | None) -> Choice:
    place: Layout | None = None
    if has_colours:
        place = _LAYOUTS[ending] if layout == "auto" else layout
    table = _MASKS if place is None else _ALPHA if place == "alpha" else _JOINED
    what = "masks alone" if place is None else "an alpha channel" if place == "alpha" else f"the layout {place}"
    if not table[ending]:
        others = ", ".join(f"{one} ({' or '.join(codecs)})" for one, codecs in table.items() if codecs)
        raise ValueError(f"target: {ending} cannot hold {what}; expected {others}")
    found = table[ending][0] if codec == "auto" else codec
    if found not in table[ending]:
        raise ValueError(f"codec: expected {' or '.join(table[ending])} for {what} in {ending}, found {found}")
    if place is not None and place.startswith("fisheye") and not _FISHEYE_NAME.fullmatch(name[: -len(ending)]):
        raise ValueError(
            f"target: expected a name by which players know the lens and the matte, such as clip_FISHEYE190_alpha"
            f"{ending}, clip_MKX200_alpha{ending} or clip_VRCA220_alpha{ending}, found {name!r}"
        )
    return Choice("video", codec=found, layout=place, quality=_quality(found, place, quality))


def _quality(codec: str, place: Layout | None, quality: int | None) -> int | None:
    if place is None or codec not in _QUALITIES:
        if quality is not None:
            raise ValueError(f"quality: is for lossy videos; {codec} is lossless here or has none")
        return None
    low, high, usual = _QUALITIES[codec]
    found = usual if quality is None else quality
    if not low <= found <= high:
        raise ValueError(f"quality: expected {low}..{high} for {codec}, found {found}")
    return found
