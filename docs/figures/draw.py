"""
Draw the documentation's figures from the sample and from the rules themselves: ``python docs/figures/draw.py``.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import get_args

import mattes
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import alphastream_gpu
from alphastream_gpu import FrameGeometry, encode_mask, rasterize
from alphastream_gpu._comparing import difference_tile
from alphastream_gpu._inputs.fisheye import FisheyeLayout, matte_size, pieces_of
from alphastream_gpu._inputs.shape import taken

HERE = Path(__file__).resolve().parent
SAMPLE = HERE.parents[1] / "examples" / "person_sbs.asvp"

PAPER, INK, GRID = (255, 255, 255), (34, 40, 49), (224, 228, 232)
INTERIOR, OUTLINE, HALFWAY, LINE = (190, 214, 238), (74, 124, 178), (222, 110, 60), (34, 40, 49)


def sample_frame(index: int) -> FrameGeometry:
    with alphastream_gpu.open(SAMPLE) as stream:
        return stream.read_frame(index)


def passthrough() -> Image.Image:
    """What it is for: a frame's polygons, its mask, and the person cut out over a room; one eye of the two."""
    geometry = sample_frame(60)
    size = (760, 380)
    mask = Image.fromarray(rasterize(geometry, size))
    polygons = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(polygons)
    points = (geometry.points * np.array(size) / (2048, 1024)).tolist()
    offsets = geometry.channel_offsets.tolist()
    for first, stop in itertools.pairwise(offsets):
        ring = [tuple(point) for point in points[first:stop]]
        pen.line([*ring, ring[0]], fill=OUTLINE, width=2)
        for x, y in ring:
            pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=HALFWAY)
    room = Image.new("RGB", size, (236, 233, 226))
    pen = ImageDraw.Draw(room)
    for left in (0, 380):
        pen.rectangle((left, 250, left + 380, 380), fill=(196, 182, 160))
        pen.rectangle((left + 40, 50, left + 150, 170), fill=(168, 203, 224), outline=(120, 110, 100), width=4)
    shade = np.linspace(0.75, 1.05, size[1])[:, None, None] * np.array((88, 112, 150))
    person = Image.fromarray(np.broadcast_to(shade, (size[1], size[0], 3)).astype(np.uint8))
    room.paste(person, mask=mask)
    return side_by_side([picture.crop((0, 0, 380, 380)) for picture in (polygons, mask.convert("RGB"), room)])


def side_by_side(pictures: list[Image.Image], gap: int = 12) -> Image.Image:
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, pictures[0].height), PAPER)
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + gap
    return sheet


def pixel_classes() -> Image.Image:
    """The three kinds of pixels of one polygon, and the lattice its points are on."""
    channel = [(3, 2), (25, 4), (20, 9), (22, 17), (12, 13), (7, 18), (5, 10)]
    native, cell = (29, 21), 28
    mask = rasterize(FrameGeometry(channel), native_size=native)
    lines = np.zeros_like(mask)
    for a, b in zip(channel, channel[1:] + channel[:1], strict=True):
        lines |= rasterize(FrameGeometry([a, b]), native_size=native)
    sheet = Image.new("RGB", (native[0] * cell + 1, native[1] * cell + 1), PAPER)
    pen = ImageDraw.Draw(sheet)
    interior = strict_interior(channel, native)
    for y in range(native[1]):
        for x in range(native[0]):
            fill = PAPER
            if lines[y, x]:
                fill = OUTLINE
            elif interior[y, x]:
                fill = INTERIOR
            elif mask[y, x]:
                fill = HALFWAY
            pen.rectangle((x * cell, y * cell, (x + 1) * cell, (y + 1) * cell), fill=fill, outline=GRID)
    centre = [((x + 0.5) * cell, (y + 0.5) * cell) for x, y in channel]
    pen.line([*centre, centre[0]], fill=LINE, width=2)
    for x, y in centre:
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=LINE)
    return sheet


def strict_interior(channel: list[tuple[int, int]], native: tuple[int, int]) -> np.ndarray:
    """Lattice points inside by the even-odd rule, in integers."""
    y, x = np.mgrid[: native[1], : native[0]]
    inside = np.zeros(y.shape, bool)
    for (ax, ay), (bx, by) in zip(channel, channel[1:] + channel[:1], strict=True):
        cross = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        inside ^= ((ay > y) != (by > y)) & ((cross > 0) == (by > ay)) & (cross != 0)
    return inside


def halving_triangles(n_points: int) -> np.ndarray:
    """The triangles that shaders/fill.vert.glsl makes of a polygon, as numbers of its points; int (n, 3)."""
    middle = np.arange(1, n_points - 1)
    reach = middle & -middle
    return np.stack((middle - reach, middle, np.minimum(middle + reach, n_points - 1)), axis=1)


def flipping() -> Image.Image:
    """The triangles that flip a polygon's interior, from the large to the small."""
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    radius = 1 + 0.38 * np.sin(3 * turn) + 0.1 * np.cos(5 * turn)
    ring = (np.stack((np.cos(turn), np.sin(turn)), 1) * radius[:, None] * 115 + 190).tolist()
    corners = halving_triangles(len(ring))
    reach = corners[:, 1] - corners[:, 0]
    panels = []
    flipped = np.zeros((380, 380), bool)
    for level in (16, 8, 4, 2, 1):
        for corner in corners[reach == level].tolist():
            cover = Image.new("1", (380, 380))
            ImageDraw.Draw(cover).polygon([tuple(ring[k]) for k in corner], fill=1)
            flipped ^= np.asarray(cover)
        panel = Image.fromarray(np.where(flipped[..., None], INTERIOR, PAPER).astype(np.uint8))
        pen = ImageDraw.Draw(panel)
        for corner in corners[reach == level].tolist():
            pen.polygon([tuple(ring[k]) for k in corner], outline=HALFWAY)
        outline = [tuple(point) for point in ring]
        pen.line([*outline, outline[0]], fill=INK, width=2)
        panels.append(panel.resize((190, 190), Image.Resampling.LANCZOS))
    return side_by_side(panels, gap=0)


def orientation() -> Image.Image:
    """One mask in memory, and what a window shows of it, sampled at v and at 1 - v."""
    mask = rasterize(sample_frame(60), (600, 300))[:, :300]
    font = ImageFont.load_default(15)

    def panel(pixels: np.ndarray, title: str, marks: list[tuple[str, int]]) -> Image.Image:
        sheet = Image.new("RGB", (400, 372), PAPER)
        sheet.paste(Image.fromarray(np.where(pixels[..., None], OUTLINE, GRID).astype(np.uint8)), (90, 40))
        pen = ImageDraw.Draw(sheet)
        pen.text((240, 20), title, INK, font, anchor="mm")
        for text, y in marks:
            pen.text((82, y), text, INK, font, anchor="rm")
            pen.line((84, y, 96, y), fill=HALFWAY, width=3)
        return sheet

    return side_by_side(
        [
            panel(mask, "array, and texture memory", [("row 0", 42), ("row h - 1", 338)]),
            panel(mask[::-1], "window, sampled at (u, v)", [("v = 1", 42), ("v = 0", 338)]),
            panel(mask, "window, sampled at (u, 1 - v)", [("v = 0", 42), ("v = 1", 338)]),
        ]
    )


def mask() -> Image.Image:
    """What docs/start.md renders first."""
    return Image.fromarray(rasterize(sample_frame(60), (640, 320)))


def show() -> Image.Image:
    """The window of docs/start.md."""
    inside = rasterize(sample_frame(60), (640, 320))[..., None] > 0
    return Image.fromarray(np.where(inside, (255, 204, 153), (51, 102, 153)).astype(np.uint8))


def circles() -> Image.Image:
    """Frame 15 of the stream that docs/making.md writes."""
    turns = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = np.stack((np.cos(turns), np.sin(turns)), axis=1)
    points = np.concatenate([np.rint(ring * 300 + (400 + 10 * 15, 512)), np.rint(ring * 80 + (1600, 512))])
    return Image.fromarray(rasterize(FrameGeometry(points.astype(np.int32), [0, 60, 120]), (640, 320)))


def guide_video() -> Image.Image:
    """A soft matte, its mask, and what a tolerance of 2 pixels changes; near the head."""
    soft = mattes.soft(20)
    mask = soft > 127
    return panels(
        [np.repeat(soft[..., None], 3, axis=2), gray(mask), encoded(mask, tolerance=2)],
        window=(slice(20, 120), slice(60, 180)),
        zoom=3,
    )


def guide_sam2() -> Image.Image:
    """What SAM 2 returns, compared with 0; without small spots and holes; and what a tolerance of 1 pixel changes."""
    mask = (mattes.logits(20) > 0) | mattes.hoop(20)
    return panels(
        [gray(mask), encoded(mask, min_area=30), encoded(mask, min_area=30, tolerance=1)],
        window=(slice(10, 150), slice(60, 300)),
        zoom=2,
    )


def guide_coco() -> Image.Image:
    """A hoop from run lengths, and from a polygon."""
    y, x = np.mgrid[: mattes.SIZE[1], : mattes.SIZE[0]]
    filled = (x - 256) ** 2 + (y - 100) ** 2 <= 40**2
    person = mattes.soft(20) > 127
    return panels(
        [gray(person | mattes.hoop(20)), gray(person | filled)], window=(slice(30, 180), slice(90, 330)), zoom=2
    )


def guide_deovr() -> Image.Image:
    """A picture with layout b; the mask that it gives; and the mask that layout a would give."""
    picture = mattes.packed(mattes.soft(20), "fisheye-b")
    masks = [taken(picture[..., 0], layout) > 127 for layout in ("fisheye-b", "fisheye-a")]
    right, wrong = (np.pad(gray(mask[::2, ::2]), ((16, 16), (0, 0), (0, 0)), constant_values=255) for mask in masks)
    return panels([picture[::4, ::4], right, wrong], window=(slice(None), slice(None)), zoom=1)


def guide_formats() -> Image.Image:
    """A picture with its mask as alpha channel, over squares; beside each other; and in both fisheye layouts."""
    geometry, size = sample_frame(50), (240, 120)
    mask = rasterize(geometry, size)
    colours = mattes.colours(mask)
    y, x = np.mgrid[: size[1], : size[0]]
    squares = np.where((x // 8 + y // 8) % 2, 255, 215)[..., None].repeat(3, axis=2)
    pictures = [np.where(mask[..., None] > 0, colours, squares), np.concatenate((colours, gray(mask)), axis=1)]
    small = rasterize(geometry, matte_size(*size))
    for layout in get_args(FisheyeLayout):
        picture = colours.copy()
        for one in pieces_of(layout, *size):
            part = small[one.matte_rows.start : one.matte_rows.stop, one.matte_columns.start : one.matte_columns.stop]
            place = picture[one.picture_rows.start : one.picture_rows.stop]
            place[:, one.picture_columns.start : one.picture_columns.stop] = np.dstack((part, 0 * part, 0 * part))
        pictures.append(picture)
    return side_by_side([Image.fromarray(picture.astype(np.uint8)) for picture in pictures])


def gray(mask: np.ndarray) -> np.ndarray:
    """A mask as a picture."""
    return np.repeat(np.where(mask, 255, 0).astype(np.uint8)[..., None], 3, axis=2)


def encoded(mask: np.ndarray, *, tolerance: float = 0.0, min_area: int = 0) -> np.ndarray:
    """What encoding makes of a mask: red where only the given mask is set, blue where only the new one is."""
    made = rasterize(encode_mask(mask, tolerance, min_area), native_size=(mask.shape[1], mask.shape[0])) != 0
    tile = gray(mask & made)
    tile[mask & ~made] = difference_tile(np.ones((1, 1), bool), np.zeros((1, 1), bool))[0, 0]
    tile[made & ~mask] = difference_tile(np.zeros((1, 1), bool), np.ones((1, 1), bool))[0, 0]
    return tile


def panels(pictures: list[np.ndarray], *, window: tuple[slice, slice], zoom: int) -> Image.Image:
    """The same window of some pictures side by side, each pixel as a square."""
    return side_by_side(
        [Image.fromarray(np.repeat(np.repeat(one[window], zoom, axis=0), zoom, axis=1)) for one in pictures]
    )


FIGURES = {
    "mask": mask,
    "show": show,
    "circles": circles,
    "passthrough": passthrough,
    "pixel_classes": pixel_classes,
    "flipping": flipping,
    "orientation": orientation,
    "guide_video": guide_video,
    "guide_sam2": guide_sam2,
    "guide_coco": guide_coco,
    "guide_deovr": guide_deovr,
    "guide_formats": guide_formats,
}


def main() -> None:
    for name, draw in FIGURES.items():
        draw().save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
