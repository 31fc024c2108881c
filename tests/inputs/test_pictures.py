"""
Pictures: folders, patterns and lists of real files, written by Pillow and OpenEXR.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from inputfiles import all_of, gray_of, masks_of, moving_masks, rgba_of
from PIL import Image

from alphastream_gpu import DecodeError, TransportError
from alphastream_gpu._inputs import InputOptions, open_frames

MASKS = moving_masks(12)


def write_pictures(folder: Path, pictures: Any, name: str = "f{}.png", start: int = 1, **options: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for i, picture in enumerate(pictures):
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        image.save(folder / name.format(i + start), **options)
    return folder


def palette_of(mask: np.ndarray, colours: list[int]) -> Image.Image:
    image = Image.fromarray(mask.astype(np.uint8), "L")
    image.putpalette(colours)
    return image


FORMS = {
    "1 bit PNG": ("f{}.png", Image.fromarray),
    "8 bit PNG": ("f{}.png", lambda mask: Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))),
    "16 bit PNG": ("f{}.png", lambda mask: Image.fromarray(np.where(mask, 40000, 20000).astype(np.uint16))),
    "RGB PNG": ("f{}.png", lambda mask: Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).convert("RGB")),
    "RGBA PNG": ("f{}.png", lambda mask: Image.fromarray(rgba_of(mask[np.newaxis])[0])),
    "LA PNG": ("f{}.png", lambda mask: Image.fromarray(rgba_of(mask[np.newaxis])[0]).convert("LA")),
    "palette PNG": ("f{}.png", lambda mask: palette_of(mask, [10, 10, 10, 250, 250, 250])),
    "object colours (DAVIS)": ("f{}.png", lambda mask: palette_of(mask, [0, 0, 0, 128, 0, 0])),
    "palette with alpha": ("f{}.png", lambda mask: Image.fromarray(rgba_of(mask[np.newaxis])[0]).quantize(4)),
    "JPEG": ("f{}.jpg", lambda mask: Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))),
    "TIFF": ("f{}.tif", lambda mask: Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))),
    "16 bit TIFF": ("f{}.tif", lambda mask: Image.fromarray(np.where(mask, 65535, 0).astype(np.uint16))),
    "float TIFF": ("f{}.tif", lambda mask: Image.fromarray(np.where(mask, 0.9, 0.2).astype(np.float32))),
    "WebP with alpha": ("f{}.webp", lambda mask: Image.fromarray(rgba_of(mask[np.newaxis])[0])),
    "BMP": ("f{}.bmp", lambda mask: Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))),
    "PGM": ("f{}.pgm", lambda mask: Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_pictures(tmp_path: Path, form: str) -> None:
    """Names without leading zeros: f10 comes after f9."""
    name, make = FORMS[form]
    write_pictures(tmp_path / "p", map(make, MASKS), name)
    with open_frames(tmp_path / "p") as frames:
        assert frames.count == 12
        assert frames.fps is None
        assert "numbered 1..12" in frames.about
        found = all_of(frames)
        again = np.array(list(frames.read_from(9)))
    assert (found[9:] == again).all()
    if form == "JPEG":
        assert (found != MASKS).mean() < 0.005
    else:
        assert (found == MASKS).all()


def write_exr(path: Path, channels: dict[str, np.ndarray], **header: Any) -> None:
    with OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}, channels) as f:
        f.write(str(path))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_exr_alpha(tmp_path: Path, dtype: Any) -> None:
    for i, mask in enumerate(MASKS):
        gray = np.full(mask.shape, 0.5, dtype)
        write_exr(tmp_path / f"r.{i:04}.exr", {"R": gray, "G": gray, "B": gray, "A": mask.astype(dtype)})
    with open_frames(tmp_path) as frames:
        assert "EXR" in frames.about
        assert "channel alpha, range 0..1; set above 0.5" in frames.about
        assert (all_of(frames) == MASKS).all()


def test_exr_with_a_cropped_data_window(tmp_path: Path) -> None:
    """Compositors store only what is not empty, and may store more than is shown."""
    mask = MASKS[0].copy()
    mask[0, 0] = True
    wide = np.pad(mask, ((0, 0), (5, 0))).astype(np.float32)
    part = wide[:40, 2:60]
    header = {
        "dataWindow": (np.array([2 - 5, 0], np.int32), np.array([59 - 5, 39], np.int32)),
        "displayWindow": (np.array([0, 0], np.int32), np.array([63, 47], np.int32)),
    }
    write_exr(tmp_path / "a.exr", {"A": np.ascontiguousarray(part)}, **header)
    expected = np.zeros_like(mask)
    expected[:40, :55] = mask[:40, :55]
    assert (masks_of(tmp_path / "a.exr")[0] == expected).all()


def test_exr_without_a_matte(tmp_path: Path) -> None:
    write_exr(tmp_path / "a.exr", {"Z": np.zeros((4, 4), np.float32)})
    with pytest.raises(DecodeError, match="expected the channels A, Y or R, G, B, found none"):
        open_frames(tmp_path / "a.exr")


def test_patterns_lists_and_single_pictures(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "p", gray_of(MASKS))
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".hidden.png").write_bytes(b"")
    assert (masks_of(folder) == MASKS).all()
    assert (masks_of(str(folder)) == MASKS).all()
    assert (masks_of(folder / "f*.png") == MASKS).all()
    assert (masks_of(str(folder / "f%d.png")) == MASKS).all()
    assert (masks_of(folder / "f1?.png") == MASKS[9:]).all()
    paths = [folder / f"f{i}.png" for i in range(1, 13)]
    assert (masks_of(sorted(paths, key=str)) == MASKS).all()  # as a shell expands it
    assert (masks_of(paths[::-1]) == MASKS[::-1]).all()  # as given
    assert (masks_of(paths[3]) == MASKS[3:4]).all()
    assert (masks_of([str(paths[3])]) == MASKS[3:4]).all()
    assert (masks_of(folder, start=2, frames=3) == MASKS[2:5]).all()


def test_missing_files(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TransportError, match="no such file"):
        open_frames(tmp_path / "none")
    with pytest.raises(TransportError, match="no file matches"):
        open_frames(tmp_path / "*.png")
    with pytest.raises(TransportError, match="expected pictures"):
        open_frames(tmp_path / "empty")
    with pytest.raises(TransportError):
        open_frames([tmp_path / "a.png", tmp_path / "b.png"])
    with pytest.raises(TransportError):
        open_frames("bad\0name")


def test_gaps(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "p", gray_of(MASKS))
    for number in (3, 4, 11):
        (folder / f"f{number}.png").unlink()
    with pytest.raises(ValueError, match=r"p: 3 numbers are missing between 1 and 12: 3-4, 11\. Pass gaps="):
        open_frames(folder)
    with open_frames(folder, InputOptions(gaps="repeat")) as frames:
        assert frames.notes == ["p: 3 numbers are missing; the frame before was repeated"]
        assert (all_of(frames) == MASKS[[0, 1, 1, 1, 4, 5, 6, 7, 8, 9, 9, 11]]).all()
    expected = MASKS.copy()
    expected[[2, 3, 10]] = False
    assert (masks_of(folder, gaps="empty") == expected).all()
    assert (masks_of(folder, gaps="close") == np.delete(MASKS, [2, 3, 10], axis=0)).all()


def test_zeros_and_ones(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "p", [np.zeros_like(MASKS[0], np.uint8), *MASKS.astype(np.uint8)])
    with open_frames(folder) as frames:
        assert frames.notes == ["p: the values are 0 and 1; 1 is taken for set"]
        assert (all_of(frames)[1:] == MASKS).all()


def test_object_numbers(tmp_path: Path) -> None:
    labels = MASKS.astype(np.uint8) * 2
    labels[:, :4] = 5
    folder = write_pictures(tmp_path / "p", labels)
    with open_frames(folder) as frames:
        assert "the highest is 5" in frames.notes[0]
    assert (masks_of(folder, objects=(2,)) == MASKS).all()
    assert (masks_of(folder, objects=(2, 5)) == (labels > 0)).all()
    assert (masks_of(folder, threshold=0) == (labels > 0)).all()
    with pytest.raises(ValueError, match="objects: expected numbers"):
        masks_of(folder, objects=("person",))
    davis = tmp_path / "d"
    write_pictures(davis, [palette_of(one, [0, 0, 0, *[128, 0, 0] * 9]) for one in labels])
    assert (masks_of(davis) == (labels > 0)).all()
    assert (masks_of(davis, objects=(5,)) == (labels == 5)).all()


def test_pictures_of_one_folder_may_have_different_forms(tmp_path: Path) -> None:
    """Some tools store black and white pictures with 1 bit, opaque ones without alpha."""
    folder = tmp_path / "p"
    write_pictures(folder, gray_of(MASKS))
    Image.fromarray(MASKS[5]).save(folder / "f6.png")
    assert (masks_of(folder) == MASKS).all()
    write_pictures(folder, rgba_of(MASKS))
    Image.new("RGB", (64, 48)).save(folder / "f6.png")
    found = masks_of(folder)
    assert found[5].all()
    assert (np.delete(found, 5, axis=0) == np.delete(MASKS, 5, axis=0)).all()


def test_opaque_alpha_is_not_taken(tmp_path: Path) -> None:
    pictures = [np.where(mask[..., np.newaxis], 255, [0, 0, 0, 255]).astype(np.uint8) for mask in MASKS]
    folder = write_pictures(tmp_path / "p", pictures)
    assert (masks_of(folder) == MASKS).all()
    assert masks_of(folder, channel="alpha").all()
    assert (masks_of(folder, channel="green") == MASKS).all()


def test_a_missing_channel(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "p", gray_of(MASKS))
    with pytest.raises(ValueError, match="channel: expected one of luma in p, found 'alpha'"):
        open_frames(folder, InputOptions(channel="alpha"))
    assert (masks_of(folder, channel="red") == MASKS).all()


def test_a_stack_of_pages(tmp_path: Path) -> None:
    first, *rest = [Image.fromarray(picture) for picture in gray_of(MASKS)]
    first.save(tmp_path / "s.tif", save_all=True, append_images=rest)
    with open_frames(tmp_path / "s.tif") as frames:
        assert frames.count == 12
        assert (all_of(frames) == MASKS).all()
        assert (np.array(list(frames.read_from(7))) == MASKS[7:]).all()


def test_a_turned_photo(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gray_of(MASKS)[0]).save(tmp_path / "t.png", exif=exif)
    assert (masks_of(tmp_path / "t.png")[0] == np.rot90(MASKS[0], -1)).all()


def test_npy_files_as_pictures(tmp_path: Path) -> None:
    for i, mask in enumerate(MASKS):
        np.save(tmp_path / f"m{i}.npy", mask[np.newaxis] if i % 2 else mask)
    assert (masks_of(tmp_path) == MASKS).all()


def test_a_picture_of_another_size(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "p", [np.zeros((2, 2), np.uint8)] * 20)
    Image.new("L", (3, 2)).save(folder / "f10.png")
    with open_frames(folder) as frames:
        masks = iter(frames)
        for _ in range(9):
            next(masks)
        with pytest.raises(DecodeError, match="f10.png, frame 9: expected 2 x 2 pixels .* found 3 x 2") as caught:
            next(masks)
    assert caught.value.frame_index == 9


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "text"])
@pytest.mark.parametrize("ending", ["png", "tif", "jpg", "exr", "npy", "webp", "gif"])
def test_a_damaged_picture(tmp_path: Path, damage: str, ending: str) -> None:
    for i, mask in enumerate(moving_masks(40)):
        path = tmp_path / f"f{i:02}.{ending}"
        if ending == "exr":
            write_exr(path, {"A": mask.astype(np.float32)})
        elif ending == "npy":
            np.save(path, mask)
        else:
            Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(path)
    path = tmp_path / f"f20.{ending}"
    data = path.read_bytes()
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, len(data) - 8, np.uint8).tobytes()
    path.write_bytes(
        {"cut": data[: len(data) // 2], "empty": b"", "noise": data[:8] + noise, "text": b"x" * 99}[damage]
    )
    done = []
    with open_frames(tmp_path) as frames, pytest.raises(DecodeError, match=f"f20.{ending}") as caught:
        for mask in frames:
            done.append(mask)
    assert len(done) == caught.value.frame_index == 20


def png_that_says(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\0\0\0\0"
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(16385, 1), (1, 16385), (2**31 - 1, 2**31 - 1), (0, 5), (60000, 60000)])
def test_a_picture_that_is_too_large(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "bomb.png").write_bytes(png_that_says(*size))
    with pytest.raises(DecodeError, match="bomb.png"):
        open_frames(tmp_path / "bomb.png")


def test_exr_colours(tmp_path: Path) -> None:
    soft = np.where(MASKS[0], 0.9, 0.1).astype(np.float32)
    write_exr(tmp_path / "a.exr", {"R": soft, "G": soft, "B": soft})
    assert (masks_of(tmp_path / "a.exr")[0] == MASKS[0]).all()
    with pytest.raises(DecodeError, match="expected object numbers"):
        masks_of(tmp_path / "a.exr", objects=(1,))


def test_32_bit_integers_do_not_say_what_white_is(tmp_path: Path) -> None:
    for name, high in (("a.tif", 255), ("b.tif", 1), ("c.tif", 70000)):
        Image.fromarray(np.where(MASKS[0], high, 0).astype(np.int32)).save(tmp_path / name)
        if high == 70000:
            with pytest.raises(ValueError, match="threshold: c.tif does not say what white is"):
                open_frames(tmp_path / name)
        found = masks_of(tmp_path / name, threshold=high / 2) if high == 70000 else masks_of(tmp_path / name)
        assert (found[0] == MASKS[0]).all()


def test_a_late_first_pixel_decides_about_zeros_and_ones(tmp_path: Path) -> None:
    """None of the pictures that are looked at, evenly spread, has a set pixel."""
    pictures = [np.zeros((4, 4), np.uint8) for _ in range(40)]
    pictures[4][1, 2] = 1
    folder = write_pictures(tmp_path / "p", pictures)
    assert masks_of(folder)[4].sum() == 1


@pytest.mark.parametrize("layout", ["alpha-right", "fisheye-a"])
def test_layouts_of_pictures(tmp_path: Path, layout: str) -> None:
    picture = np.zeros((20, 40), np.uint8)
    picture[:4, -4:] = 255
    Image.fromarray(picture).convert("RGB").save(tmp_path / "a.png")
    mask = masks_of(tmp_path / "a.png", layout=layout)[0]
    assert mask.shape == ((20, 20) if layout == "alpha-right" else (8, 16))
    assert mask.sum() == 16
    with pytest.raises(ValueError, match="layout fisheye-b: 4 x 4 pixels are too few"):
        open_frames(np.zeros((4, 4), np.bool_), InputOptions(layout="fisheye-b"))
