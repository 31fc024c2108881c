"""
Damaged files of every kind: each read ends with masks, or with an error of this package.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from inputfiles import gray_of, moving_masks, rgba_of, write_video
from PIL import Image
from test_coco import compressed, data_set
from test_pictures import write_exr

from alphastream_gpu import AlphaStreamError, DecodeError, TransportError
from alphastream_gpu._inputs import InputOptions, open_frames

MASKS = moving_masks(8)


def save_picture(path: Path, **options: Any) -> None:
    Image.fromarray(rgba_of(MASKS)[0]).convert(options.pop("mode", "RGBA")).save(path, **options)


def save_pages(path: Path) -> None:
    first, *rest = [Image.fromarray(picture) for picture in gray_of(MASKS)]
    first.save(path, save_all=True, append_images=rest, compression="tiff_lzw")


KINDS: dict[str, Callable[[Path], Any]] = {
    "a.png": save_picture,
    "a.tif": save_pages,
    "a.jpg": lambda path: save_picture(path, mode="RGB"),
    "a.webp": save_picture,
    "a.bmp": save_picture,
    "a.tga": save_picture,
    "a.exr": lambda path: write_exr(path, {"A": MASKS[0].astype(np.float32)}),
    "a.npy": lambda path: np.save(path, MASKS),
    "a.npz": lambda path: np.savez_compressed(path, MASKS),
    "a.json": lambda path: path.write_text(json.dumps(data_set(compressed))),
    "a.mov": lambda path: write_video(path, rgba_of(MASKS), codec="qtrle", form="argb", given="rgba"),
    "prores.mov": lambda path: write_video(path, rgba_of(MASKS), codec="prores_ks", form="yuva444p10le", given="rgba"),
    "a.mp4": lambda path: write_video(path, gray_of(MASKS), codec="libx264", form="yuv420p"),
    "a.webm": lambda path: write_video(
        path, rgba_of(MASKS), codec="libvpx", form="yuva420p", given="rgba", options={"auto-alt-ref": "0"}
    ),
    "vp9.webm": lambda path: write_video(path, rgba_of(MASKS), codec="libvpx-vp9", form="yuva420p", given="rgba"),
    "a.mkv": lambda path: write_video(path, gray_of(MASKS), codec="ffv1", form="gray"),
    "a.avi": lambda path: write_video(path, gray_of(MASKS), codec="mjpeg", form="yuvj420p"),
    "png.mov": lambda path: write_video(path, rgba_of(MASKS), codec="png", form="rgba", given="rgba"),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Pillow warns of many kinds of damage
@pytest.mark.parametrize("name", KINDS)
def test_random_damage(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    KINDS[name](path)
    whole = path.read_bytes()
    rng = np.random.default_rng(len(whole))
    for number in range(25):
        data = bytearray(whole)
        for _ in range(int(rng.integers(1, 8))):
            data[rng.integers(len(data))] = rng.integers(256)
        # half of the damage is to the first bytes, where sizes and counts are
        for _ in range(number % 2 * 3):
            data[rng.integers(min(len(data), 200))] = rng.integers(256)
        path.write_bytes(data[: rng.integers(len(data)) if number % 5 == 0 else None])
        check(path)


def check(path: Path) -> None:
    error = error_of(path)
    if error is None:
        return
    if isinstance(error, AlphaStreamError):
        assert isinstance(error, DecodeError | TransportError)
        assert path.name.split(".")[0] in str(error)
    else:  # an option is needed, or does not fit what the file says now
        assert type(error) is ValueError, error
        raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
        assert "_inputs" in raised_in or "_geometry" in raised_in


def error_of(path: Path) -> Exception | None:
    try:
        with open_frames(path, InputOptions(gaps="close", frames=50)) as frames:
            for mask in frames:
                assert mask.shape == (frames.size[1], frames.size[0])
    except Exception as exc:
        return exc
    return None


@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a.txt", "a.ffconcat", "a.sdp"])
@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{}'\n",
        "<MPD><Period><AdaptationSet><Representation><BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    ],
)
def test_playlists_open_no_other_files(tmp_path: Path, name: str, content: str) -> None:
    other = write_video(tmp_path / "other.mkv", gray_of(MASKS), codec="ffv1", form="gray")
    (tmp_path / name).write_text(content.format(other))
    with pytest.raises(DecodeError, match="it is no video that FFmpeg reads"):
        open_frames(tmp_path / name)


def test_a_random_folder_of_zarr(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "a.zarr"
    zarr.save_array(str(folder), MASKS, zarr_format=3)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for _ in range(15):
            data = bytearray(whole)
            for _ in range(int(rng.integers(1, 6))):
                data[rng.integers(len(data))] = rng.integers(256)
            path.write_bytes(data)
            check(folder)
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("module", "name"),
    [("av", "a.mkv"), ("pycocotools", "a.json"), ("zarr", "a.zarr"), ("OpenEXR", "a.exr"), ("PIL", "a.png")],
)
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str) -> None:
    path = tmp_path / name
    if name == "a.zarr":
        zarr.save_array(str(path), MASKS)
    elif name == "a.json":
        path.write_text(json.dumps(data_set(lambda mask: [[1, 1, 9, 1, 9, 9]])))
    else:
        KINDS[name](path)
    for loaded in [one for one in sys.modules if one == module or one.startswith(module + ".")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(TransportError, match=f"this input needs {module}.*; run: .*pip install"):
        list(open_frames(path))


@pytest.mark.parametrize("dtype", ["complex64", "<U5", "datetime64[s]"])
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_arrays_of_no_numbers_in_files(tmp_path: Path, dtype: str, ending: str) -> None:
    path = tmp_path / f"masks.{ending}"
    (np.save if ending == "npy" else np.savez)(path, np.zeros((2, 3, 4), dtype))
    with pytest.raises(DecodeError, match=f"masks.{ending}: expected bool, integers or floats, found"):
        open_frames(path, InputOptions())


def test_an_object_that_is_not_in_the_file_is_a_wrong_option(tmp_path: Path) -> None:
    """Not a fault of the file."""
    image = {"id": 1, "file_name": "a.png", "width": 4, "height": 3}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": {"size": [3, 4], "counts": [12]}}
    categories = [{"id": 1, "name": "person"}]
    path = tmp_path / "coco.json"
    path.write_text(json.dumps({"images": [image], "annotations": [annotation], "categories": categories}))
    with pytest.raises(ValueError, match="objects: 'dog' is not in coco.json; its categories are person") as caught:
        open_frames(path, InputOptions(objects=("dog",)))
    assert not isinstance(caught.value, DecodeError)
