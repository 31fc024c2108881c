"""
Mattes: makes what the guides encode, from the sample: soft mattes, results of SAM 2, COCO annotations, a DeoVR video.

The figures (draw.py) and the tests of the guides' code use the same mattes. All numbers are made by numpy alone, so
they are the same everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import alphastream_gpu
from alphastream_gpu import rasterize

__all__ = [
    "FRAMES",
    "SIZE",
    "colours",
    "hoop",
    "logits",
    "packed",
    "sam2_results",
    "soft",
    "soft_mattes",
    "write_coco",
    "write_video",
]

Matte = npt.NDArray[np.uint8]

SAMPLE = Path(__file__).resolve().parents[2] / "examples" / "person_sbs.asvp"
SIZE = (512, 256)
"""Width and height of the mattes, with both eyes side by side."""
FRAMES = 48


@cache
def soft_mattes() -> list[Matte]:
    """Gray pictures with soft edges, uint8 (256, 512): how much of each block of 4 x 4 pixels the sample's mask covers,
    averaged over 3 x 3 blocks."""
    width, height = SIZE
    mattes = []
    with alphastream_gpu.open(SAMPLE) as stream:
        for geometry in stream.read_frames(30, 30 + FRAMES):
            covered = rasterize(geometry).reshape(height, 4, width, 4).astype(np.int64).sum(axis=(1, 3))
            padded = np.pad(covered, 1, mode="edge")
            total = sum(padded[y : y + height, x : x + width] for y in range(3) for x in range(3))
            mattes.append((total // (9 * 16)).astype(np.uint8))
    return mattes


def soft(index: int) -> Matte:
    """One of them."""
    return soft_mattes()[index]


def logits(index: int) -> npt.NDArray[np.float32]:
    """What SAM 2 returns for the person, float32 (256, 512): above 0 inside, with a rough edge and some specks."""
    rng = np.random.default_rng(index)
    rough = np.repeat(np.repeat(rng.normal(0, 2.5, (SIZE[1] // 2, SIZE[0] // 2)), 2, axis=0), 2, axis=1)
    specks = np.where(rng.random((SIZE[1], SIZE[0])) < 0.0004, 30.0, 0.0)
    return ((soft(index).astype(np.float64) - 127.5) / 16 + rough + specks).astype(np.float32)


def hoop(index: int) -> npt.NDArray[np.bool_]:
    """A ring that moves down between both eyes' persons, bool (256, 512)."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    away = (x - 256) ** 2 + (y - 60 - 2 * index) ** 2
    found: npt.NDArray[np.bool_] = (away <= 40**2) & (away > 24**2)
    return found


def sam2_results() -> dict[int, dict[int, npt.NDArray[np.float32]]]:
    """For each frame the logits, float32 (1, 256, 512), of object 1, the person, and of object 2, the hoop."""
    return {
        index: {1: logits(index)[None], 2: np.where(hoop(index), 8, -8).astype(np.float32)[None]}
        for index in range(FRAMES)
    }


class Predictor:
    """Stands in for SAM 2's video predictor."""

    def propagate_in_video(self, state: object) -> Iterator[tuple[int, list[int], Any]]:
        """Yield frame, object ids, and logits of shape (objects, 1, height, width)."""
        for index, objects in sam2_results().items():
            yield index, list(objects), np.stack(list(objects.values()))


def write_coco(path: Path, *, as_polygons: bool = False) -> None:
    """
    Write annotations of a person and a hoop in each frame.

    Args:
        path: the file.
        as_polygons: the hoop's outline as a polygon, which loses its hole; else as run lengths.
    """
    from pycocotools.mask import encode

    def run_lengths(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
        found = encode(np.asfortranarray(mask.astype(np.uint8)))
        return {"size": found["size"], "counts": found["counts"].decode()}

    turns = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    images, annotations = [], []
    for index in range(FRAMES):
        images.append({"id": index + 1, "file_name": f"frame_{index:04}.jpg", "width": SIZE[0], "height": SIZE[1]})
        ring = np.stack((256 + 40 * np.cos(turns), 60 + 2 * index + 40 * np.sin(turns)), axis=1)
        shapes = {
            1: run_lengths(soft(index) > 127),
            2: [ring.round(2).ravel().tolist()] if as_polygons else run_lengths(hoop(index)),
        }
        for category, shape in shapes.items():
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": category,
                    "segmentation": shape,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "hoop"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def packed(matte: Matte, layout: str) -> Matte:
    """
    A fisheye picture with a matte in its corners, uint8 (640, 1280, 3): both eyes in color, the matte in red.

    Args:
        matte: uint8 (256, 512), both eyes side by side, 40 % of the picture's size.
        layout: fisheye-a or fisheye-b.
    """
    edge, quarter = 640, 128
    y, x = np.mgrid[:edge, :edge]
    is_seen = (x - 319.5) ** 2 + (y - 319.5) ** 2 < 316**2
    room = np.stack((120 - y // 12, 140 - y // 12, 150 - y // 12), axis=2)
    person = np.stack((150 + y // 20, 110 + y // 20, 90 + y // 20), axis=2)
    eyes = []
    for half in (matte[:, :256], matte[:, 256:]):
        is_person = half[y * 256 // edge, x * 256 // edge] > 127
        eyes.append(np.where(is_seen[..., None], np.where(is_person[..., None], person, room), 0))
    picture = np.concatenate(eyes, axis=1).astype(np.uint8)
    left, right = matte[:, :256], matte[:, 256:]

    def put(piece: Matte, row: int, column: int) -> None:
        height, width = piece.shape
        picture[row : row + height, column : column + width] = 0
        picture[row : row + height, column : column + width, 0] = piece

    if layout == "fisheye-a":
        for start, one in ((0, left), (edge, right)):
            for row in (0, 1):
                for column in (0, 1):
                    piece = one[row * quarter : (row + 1) * quarter, column * quarter : (column + 1) * quarter]
                    put(piece, row * (edge - quarter), start + column * (edge - quarter))
    else:
        put(left[quarter:], 0, edge - quarter)
        put(left[:quarter], edge - quarter, edge - quarter)
        put(right[quarter:, quarter:], 0, 0)
        put(right[quarter:, :quarter], 0, 2 * edge - quarter)
        put(right[:quarter, quarter:], edge - quarter, 0)
        put(right[:quarter, :quarter], edge - quarter, 2 * edge - quarter)
    return picture


def colours(mask: npt.NDArray[Any]) -> Matte:
    """
    A picture of a person in a room, uint8 (height, width, 3), both eyes side by side.

    Args:
        mask: (height, width), not 0 where the person is.
    """
    height, width = mask.shape
    y, x = np.mgrid[:height, :width]
    room = np.stack((150 - 60 * y // height, 170 - 60 * y // height, 190 - 60 * y // height), axis=2)
    room[y > height * 3 // 4] = (150, 120, 90)
    window = (abs(y - height // 4) < height // 8) & (abs(x % (width // 2) - width // 10) < width // 20)
    room[window] = (225, 235, 245)
    person = np.stack((190 - 40 * y // height, 120 + 30 * y // height, 90 + 60 * y // height), axis=2)
    return np.where(np.asarray(mask != 0)[..., None], person, room).astype(np.uint8)


def write_video(
    path: Path, pictures: Iterable[npt.NDArray[np.uint8]], *, codec: str = "libx264", rate: int = 30
) -> None:
    """
    Write a video.

    Args:
        path: the file.
        pictures: uint8 (height, width), gray, or (height, width, 3), RGB, or (height, width, 4) with alpha.
        codec: libx264, limited range; or prores_ks, for alpha.
        rate: frames a second.
    """
    import av

    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream(codec, rate=rate, options={"crf": "12"} if codec == "libx264" else {})
        stream.pix_fmt = "yuv420p" if codec == "libx264" else "yuva444p10le"
        for number, picture in enumerate(pictures):
            given = {2: "gray", 3: "rgb24", 4: "rgba"}[picture.shape[2] if picture.ndim == 3 else 2]
            if not number:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=given)
            file.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        file.mux(stream.encode(None))
