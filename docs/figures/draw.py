"""
Draw the documentation's figures from the sample and from the rules themselves: ``python docs/figures/draw.py``.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import alphastream_gpu
from alphastream_gpu import FrameGeometry, rasterize

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


FIGURES = {
    "mask": mask,
    "show": show,
    "circles": circles,
    "passthrough": passthrough,
    "pixel_classes": pixel_classes,
    "flipping": flipping,
    "orientation": orientation,
}


def main() -> None:
    for name, draw in FIGURES.items():
        draw().save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
