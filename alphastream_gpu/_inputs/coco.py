"""
COCO: a reader of the annotations in a JSON file. The run lengths and polygons of each image are united.

Four shapes of file are read: a data set with images and annotations, a list of results, a data set of videos
(YouTube-VIS), and one image with its annotations (SA-1B).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .._exceptions import DecodeError
from .faults import reading
from .frames import Matte, Reader
from .names import frame_numbers, numbered_plan, ranges_of
from .options import InputOptions
from .picture import check_picture_size
from .polygons import draw_polygons
from .rle import counts_of_text, mask_of_counts
from .selection import Selection

__all__ = ["CocoReader"]

_MAX_BYTES: Final = 1 << 29
"""Of the JSON file; it takes some ten times as much memory."""


@dataclass
class _Image:
    name: str
    size: tuple[int, int]
    segments: list[Any] = field(default_factory=list)


class CocoReader(Reader):
    """
    Annotations as frames, a frame for each image.

    Args:
        path: the JSON file.
        options: objects, gaps.

    Raises:
        DecodeError: the file is damaged, or is not COCO.
        TransportError: the file cannot be read.
        ValueError: an object is not in the file, or numbers are missing.
    """

    def __init__(self, path: Path, options: InputOptions) -> None:
        super().__init__()
        self.name = path.name
        self.threshold = None
        if options.threshold is not None:
            raise ValueError("threshold: COCO annotations are masks; leave it out")
        with reading(self.name, advice="it is not JSON; export it again"):
            size = path.stat().st_size
            if size > _MAX_BYTES:
                raise DecodeError(f"{self.name}: expected at most {_MAX_BYTES} bytes, found {size}; split the file")
            content = json.loads(path.read_bytes())
        with reading(self.name, advice="it is not COCO; expected images and annotations"):
            images, order = self._read_content(content, Selection(options.objects), options)
        if not images:
            raise DecodeError(f"{self.name}: expected images, found none")
        self._images = images
        self._plan = self._planned(options)
        self.count = len(self._plan)
        self.size = images[0].size
        check_picture_size(self.name, *self.size)
        objects = "all" if options.objects is None else ", ".join(map(str, options.objects))
        self.found = (
            f"{self.name}, COCO, {len(images)} images in the order of {self._order or order}; objects: {objects}"
        )

    def _planned(self, options: InputOptions) -> list[int | None]:
        self._order = ""
        numbers = frame_numbers([image.name for image in self._images])
        if numbers is None:
            return list(range(len(self._images)))
        self._order = f"their numbers, {min(numbers)}..{max(numbers)}"
        order = sorted(range(len(numbers)), key=lambda i: numbers[i])
        self._images = [self._images[i] for i in order]
        numbers.sort()
        try:
            plan = numbered_plan(numbers, options.gaps)
        except ValueError as exc:
            raise ValueError(f"{self.name}: {exc}") from None
        if ranges_of(numbers):
            missing = sum(last - first + 1 for first, last in ranges_of(numbers))
            self.notes.append(
                f"{self.name}: {missing} numbers are missing between the file names (gaps={options.gaps})"
            )
        return plan

    def _read_content(self, content: Any, wanted: Selection, options: InputOptions) -> tuple[list[_Image], str]:
        if isinstance(content, list):
            content = {"annotations": content}
        if "videos" in content:
            return _video(self.name, content, wanted), "the video"
        if "image" in content:  # SA-1B
            content = {**content, "images": [{"id": 0, **content["image"]}]}
            content["annotations"] = [{**one, "image_id": content["images"][0]["id"]} for one in content["annotations"]]
        images = {one["id"]: _image(one) for one in content["images"]} if "images" in content else None
        found: dict[Any, _Image] = {} if images is None else images
        annotations = content["annotations"]
        wanted.begin(annotations, content.get("categories"))
        for one in annotations:
            segment = one.get("segmentation")
            if images is None:
                if not isinstance(segment, dict):
                    raise DecodeError(f"{self.name}: a list of results needs run lengths with a size; found polygons")
                height, width = segment["size"]
                found.setdefault(one["image_id"], _Image(str(one["image_id"]), (int(width), int(height))))
            elif one["image_id"] not in found:
                raise DecodeError(f"{self.name}: an annotation is for image {one['image_id']!r}, which is not there")
            if segment and wanted.has(one):
                found[one["image_id"]].segments.append(segment)
        wanted.check(self.name)
        return list(found.values()), "the file"

    def read(self, first: int) -> Iterator[Matte]:
        for frame in range(first, len(self._plan)):
            place = self._plan[frame]
            yield self._empty() if place is None else self._drawn(self._images[place], frame)

    def _empty(self) -> npt.NDArray[np.bool_]:
        return np.zeros((self.size[1], self.size[0]), np.bool_)

    def _drawn(self, image: _Image, frame: int) -> npt.NDArray[np.bool_]:
        where = f"{self.name}, frame {frame} ({image.name})"
        if image.size != self.size:
            raise DecodeError(
                f"{where}: expected {self.size[0]} x {self.size[1]} pixels as in the first image, found "
                f"{image.size[0]} x {image.size[1]}; all images must have one size",
                frame_index=frame,
            )
        mask = self._empty()
        for segment in image.segments:
            with reading(where, frame=frame, advice="export the annotations again"):
                mask |= _segment(segment, self.size)
        return mask


def _segment(segment: Any, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """One annotation: run lengths as a list or a text, or polygons."""
    width, height = size
    if isinstance(segment, list):
        return draw_polygons(segment, width, height)
    if list(segment["size"]) != [height, width]:
        raise ValueError(f"expected run lengths for {[height, width]} (height, width), found {segment['size']}")
    counts = segment["counts"]
    return mask_of_counts(counts_of_text(counts) if isinstance(counts, str) else counts, width, height)


def _image(one: Any) -> _Image:
    return _Image(str(one.get("file_name", one["id"])), (int(one["width"]), int(one["height"])))


def _video(name: str, content: Any, wanted: Selection) -> list[_Image]:
    """YouTube-VIS: an annotation is an object with a segmentation, or null, for each frame."""
    if len(content["videos"]) != 1:
        raise DecodeError(f"{name}: expected one video, found {len(content['videos'])}; export one")
    video = content["videos"][0]
    size = (int(video["width"]), int(video["height"]))
    images = [_Image(str(file), size) for file in video["file_names"]]
    wanted.begin(content["annotations"], content.get("categories"))
    for one in content["annotations"]:
        if len(one["segmentations"]) != len(images):
            raise DecodeError(f"{name}: expected {len(images)} segmentations, found {len(one['segmentations'])}")
        if wanted.has(one):
            for image, segment in zip(images, one["segmentations"], strict=True):
                if segment:
                    image.segments.append(segment)
    wanted.check(name)
    return images
