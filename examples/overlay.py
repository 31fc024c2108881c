"""
What the compositor draws over its picture: rectangles in one colour, and a panel with a table of texts.

Everything is opaque, so that a rectangle is a scissored clear, and needs no shader and no blending. The panel is drawn
in Pillow, into a texture that is renewed when the texts change, not with each picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import moderngl
import numpy as np
from blending import GL_DITHER, VERTEX_SHADER
from PIL import Image, ImageDraw, ImageFont
from plates import Picture, Size
from seekbar import MARGIN, Fill, Rect

__all__ = ["Looks", "Overlay", "draw_panel"]

PANEL: Final = 20, 20, 24
NAME: Final = 160, 168, 180
VALUE: Final = 240, 240, 240
TEXT_HEIGHT, LINE_HEIGHT, VALUE_LEFT, PANEL_WIDTH, PADDING = 13, 19, 76, 256, 10
"""In pixels of a display of scale 1."""

FRAGMENT_SHADER: Final = """
#version 330 core
uniform sampler2D panel;
uniform ivec2 corner;  // of the panel in the framebuffer, bottom left
out vec4 colour;

void main() {
    ivec2 at = ivec2(gl_FragCoord.xy) - corner;
    // Row 0 of the texture is the panel's top, row 0 of a framebuffer its bottom.
    colour = vec4(texelFetch(panel, ivec2(at.x, textureSize(panel, 0).y - 1 - at.y), 0).rgb, 1.0);
}
"""


@dataclass(frozen=True, slots=True)
class Looks:
    """
    All that is drawn over a picture. A value: as long as it is equal, nothing needs to be drawn again.
    """

    fills: tuple[Fill, ...] = ()
    rows: tuple[tuple[str, str], ...] = ()
    """The table on the panel: names and values. Without any, there is no panel."""
    scale: int = 1
    """Of the display."""


class Overlay:
    """
    Draws rectangles and the panel over the picture in a framebuffer.

    Args:
        ctx: the context of the framebuffer.
    """

    def __init__(self, ctx: moderngl.Context) -> None:
        self._ctx = ctx
        self._program = ctx.program(vertex_shader=VERTEX_SHADER, fragment_shader=FRAGMENT_SHADER)
        self._triangle = ctx.vertex_array(self._program, [])
        self._panel: moderngl.Texture | None = None
        self._drawn = Looks()
        """What the panel's texture shows."""

    def draw(self, target: moderngl.Framebuffer, size: Size, looks: Looks) -> None:
        """
        Draw over the picture.

        Args:
            target: the framebuffer.
            size: of the framebuffer.
            looks: what to draw. The panel lies in the top left corner.
        """
        self._ctx.enable_only(moderngl.NOTHING)
        self._ctx.disable_direct(GL_DITHER)
        for rect, (red, green, blue) in looks.fills:
            target.clear(color=(red / 255, green / 255, blue / 255, 1.0), viewport=_from_below(rect, size))
        if looks.rows:
            self._draw_panel(target, size, looks)

    def release(self) -> None:
        """Release every GL object made here."""
        if self._panel is not None:
            self._panel.release()
        self._triangle.release()
        self._program.release()

    def _draw_panel(self, target: moderngl.Framebuffer, size: Size, looks: Looks) -> None:
        texture = self._texture_of(looks)
        margin = MARGIN * looks.scale
        box = _from_below(Rect(margin, margin, *texture.size), size)
        texture.use(0)
        target.use()
        target.viewport = box
        self._program["corner"] = box[:2]
        self._program["panel"] = 0
        self._triangle.render(moderngl.TRIANGLES, vertices=3)

    def _texture_of(self, looks: Looks) -> moderngl.Texture:
        """The panel with the texts, drawn if they are others than before."""
        if self._panel is None or (looks.rows, looks.scale) != (self._drawn.rows, self._drawn.scale):
            picture = draw_panel(looks.rows, looks.scale)
            size = picture.shape[1], picture.shape[0]
            if self._panel is None or self._panel.size != size:
                if self._panel is not None:
                    self._panel.release()
                self._panel = self._ctx.texture(size, 3)
            self._panel.write(picture, alignment=1)
            self._drawn = looks
        return self._panel


def draw_panel(rows: tuple[tuple[str, str], ...], scale: int = 1) -> Picture:
    """A table of names and values. A text that is too long is cut at the panel's edge."""
    width, height = PANEL_WIDTH * scale, (2 * PADDING + LINE_HEIGHT * len(rows)) * scale
    canvas = Image.new("RGB", (width, height), PANEL)
    pen, font = ImageDraw.Draw(canvas), _font(TEXT_HEIGHT * scale)
    for row, (name, value) in enumerate(rows):
        baseline = (PADDING + LINE_HEIGHT * row + TEXT_HEIGHT) * scale
        for x, text, colour in ((PADDING, name, NAME), (PADDING + VALUE_LEFT, value, VALUE)):
            pen.text((x * scale, baseline), text, colour, font, anchor="ls")
    canvas.paste(PANEL, (width - PADDING * scale, 0, width, height))
    return np.asarray(canvas)


@cache
def _font(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own, which every machine has."""
    return ImageFont.load_default(height)


def _from_below(rect: Rect, size: Size) -> tuple[int, int, int, int]:
    """A rectangle as GL counts: from the framebuffer's bottom."""
    return rect.left, size[1] - rect.top - rect.height, rect.width, rect.height
