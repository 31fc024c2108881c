"""
The compositor's work on the GPU: a mask rendered, and blended with a plate and a background in a fragment shader.

Sizes are (width, height); a view is what is seen of a picture, which has both eyes side by side: all of it, or a half.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import moderngl
import numpy as np
from plates import Picture, Size
from playing import Eye

from alphastream_gpu import FrameGeometry, MaskRenderer

__all__ = ["GL_DITHER", "VERTEX_SHADER", "Box", "Compositor", "fit", "frame_size", "read_picture", "view_size"]

Box: TypeAlias = tuple[int, int, int, int]
"""Left, bottom, width and height within a framebuffer."""


def frame_size(eye: Eye, size: Size) -> Size:
    """The size of both eyes' picture, of which a view of `size` shows all or a half."""
    return size if eye == "both" else (2 * size[0], size[1])


def view_size(eye: Eye, native_size: Size) -> Size:
    """The native size of what an eye sees."""
    width, height = native_size
    return (width, height) if eye == "both" else (max(1, width // 2), height)


def fit(eye: Eye, native_size: Size, window: Size) -> Box:
    """The largest box of the view's proportions within a window, in its middle; never empty, as textures are not."""
    width, height = view_size(eye, native_size)
    fitted_width = max(1, min(window[0], window[1] * width // height))
    fitted_height = max(1, min(window[1], window[0] * height // width))
    return max(0, window[0] - fitted_width) // 2, max(0, window[1] - fitted_height) // 2, fitted_width, fitted_height


VERTEX_SHADER: Final = """
#version 330 core
void main() {  // one triangle that covers everything
    gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0);
}
"""
FRAGMENT_SHADER: Final = """
#version 330 core
uniform sampler2D mask, plate, background;  // of one size: both eyes side by side
uniform ivec2 corner;                       // of the view in the framebuffer, bottom left
uniform int height;                         // of the view
uniform int first_column;                   // of the view's eye in the textures
uniform bool premultiplied;
out vec4 colour;

void main() {
    ivec2 at = ivec2(gl_FragCoord.xy) - corner;
    // Row 0 of a texture is the picture's top, row 0 of a framebuffer its bottom.
    at = ivec2(at.x + first_column, height - 1 - at.y);
    float inside = texelFetch(mask, at, 0).r;
    vec3 person = texelFetch(plate, at, 0).rgb;
    vec3 room = texelFetch(background, at, 0).rgb;
    colour = vec4((premultiplied ? person : inside * person) + (1.0 - inside) * room, 1.0);
}
"""
GL_DITHER: Final = 0x0BD0


class Compositor:
    """
    Blends mask, plate and background into a framebuffer with 8 bits a channel.

    Masks are rendered at the size they are shown in, so nothing is filtered at any size.
    """

    def __init__(self, ctx: moderngl.Context, native_size: Size, *, premultiplied: bool = False) -> None:
        self._ctx = ctx
        self._renderer = MaskRenderer(ctx, native_size=native_size)
        self._program = ctx.program(vertex_shader=VERTEX_SHADER, fragment_shader=FRAGMENT_SHADER)
        self._triangle = ctx.vertex_array(self._program, [])
        self._textures: dict[str, moderngl.Texture] = {}
        self._sent: dict[str, Picture | FrameGeometry] = {}
        """What each texture shows."""
        self._program["premultiplied"] = premultiplied
        for unit, name in enumerate(("mask", "plate", "background")):
            self._program[name] = unit

    def draw(
        self,
        target: moderngl.Framebuffer,
        box: Box,
        eye: Eye,
        geometry: FrameGeometry,
        plate: Picture,
        background: Picture,
    ) -> None:
        """Draw a view into a box; both pictures have :func:`frame_size`."""
        left, bottom, width, height = box
        size = frame_size(eye, (width, height))
        textures = [
            self._render(geometry, size),
            self._upload("plate", plate),
            self._upload("background", background),
        ]
        for unit, texture in enumerate(textures):
            texture.use(unit)
        target.use()
        target.viewport = box
        self._ctx.enable_only(moderngl.NOTHING)
        self._ctx.disable_direct(GL_DITHER)  # on by default, and allowed to alter what should be exact
        self._program["corner"] = left, bottom
        self._program["height"] = height
        self._program["first_column"] = width if eye == "right" else 0
        self._triangle.render(moderngl.TRIANGLES, vertices=3)

    def release(self) -> None:
        """Release every GL object made here."""
        self._renderer.release()
        for texture in self._textures.values():
            texture.release()
        self._triangle.release()
        self._program.release()

    def _render(self, geometry: FrameGeometry, size: Size) -> moderngl.Texture:
        """The mask; rendered again only if it is another, for the overlay may change over the same picture."""
        texture = self._texture("mask", size, 1)
        if self._sent.get("mask") is not geometry:
            self._renderer.render(geometry, into=texture)
            self._sent["mask"] = geometry
        return texture

    def _upload(self, name: str, picture: Picture) -> moderngl.Texture:
        texture = self._texture(name, (picture.shape[1], picture.shape[0]), 3)
        if self._sent.get(name) is not picture:
            texture.write(np.ascontiguousarray(picture), alignment=1)
            self._sent[name] = picture
        return texture

    def _texture(self, name: str, size: Size, components: int) -> moderngl.Texture:
        texture = self._textures.get(name)
        if texture is None or texture.size != size:
            if texture is not None:
                texture.release()
                self._sent.pop(name, None)
            texture = self._textures[name] = self._ctx.texture(size, components)
        return texture


def read_picture(framebuffer: moderngl.Framebuffer, size: Size) -> Picture:
    """Read a framebuffer back, row 0 at the top."""
    width, height = size
    data = framebuffer.read(viewport=(0, 0, width, height), components=3, alignment=1)
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)[::-1].copy()
