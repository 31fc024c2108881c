"""
Coco: writes masks as COCO annotations, one image for each frame, with compressed run lengths.

The annotations of finished frames are kept in the journal itself, which has about as many bytes as the target.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from .._exceptions import mapped_errors
from .._inputs.rle import counts_of_mask, text_of_counts
from .._writing.whole_file import whole_file
from .drawing import Drawing, Mask
from .pieces import Target

__all__ = ["CocoTarget"]

_CATEGORY: Final = {"id": 1, "name": "foreground"}


class CocoTarget(Target):
    """
    A JSON file of images, annotations and one category. An empty mask is an image without annotation.

    Args:
        path: the target.
        size: width and height of the masks.
        rate: frames a second.
    """

    piece_frames = 16

    def __init__(self, path: Path, size: tuple[int, int], rate: Fraction) -> None:
        self._path = path
        self._size = size
        self._rate = rate

    def begin(self, *, is_resumed: bool) -> None:
        with mapped_errors(f"reading {str(self._path)!r}"):
            self._path.exists()

    def has(self, piece: range, record: Any) -> bool:
        return len(record) == len(piece)

    def write(self, piece: range, drawing: Drawing) -> Any:
        return list(map(_annotation, drawing.into(piece)))

    def abandon(self) -> None:
        """There is nothing beside the journal."""

    def finish(self, records: dict[int, Any], tell: Callable[[int], None]) -> None:
        with mapped_errors(f"writing {str(self._path)!r}"), whole_file(self._path) as file:
            for text in self._texts(records):
                file.write(text.encode())

    def _texts(self, records: dict[int, Any]) -> Iterator[str]:
        """The file in parts: as one object of Python, an hour would take gigabytes."""
        width, height = self._size
        yield '{"info": ' + json.dumps({"description": "masks of an alpha stream", "fps": str(self._rate)})
        yield ',\n"categories": ' + json.dumps([_CATEGORY])
        before = ',\n"images": [\n'
        for frame, _ in _frames(records):
            image = {"id": frame + 1, "file_name": f"{frame:06d}.png", "width": width, "height": height}
            yield before + json.dumps(image)
            before = ",\n"
        yield '],\n"annotations": ['
        before = "\n"
        for frame, found in _frames(records):
            if found is None:
                continue
            counts, area, bbox = found
            annotation = {
                "id": frame + 1,
                "image_id": frame + 1,
                "category_id": _CATEGORY["id"],
                "iscrowd": 0,
                "area": area,
                "bbox": bbox,
                "segmentation": {"size": [height, width], "counts": counts},
            }
            yield before + json.dumps(annotation)
            before = ",\n"
        yield "]}\n"


def _frames(records: dict[int, Any]) -> Iterator[tuple[int, Any]]:
    for first, found in records.items():
        yield from enumerate(found, first)


def _annotation(mask: Mask) -> list[Any] | None:
    """The run lengths, the set pixels and the box (x, y, width, height); None for an empty mask."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return None
    columns = np.flatnonzero(mask.any(axis=0))
    counts = counts_of_mask(mask)
    box = [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1]
    return [text_of_counts(counts), int(counts[1::2].sum()), box]
