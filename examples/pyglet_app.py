"""
Masks in a pyglet window, under a label that pyglet draws.

pyglet makes the window, the texture, the program and the vertex list; the texture is handed over by its ``id``.

    python examples/pyglet_app.py [FILE] [--frame N] [--size WxH]          q quits
    python examples/pyglet_app.py --frame 60 --output picture.png          no window is seen

Without a monitor: PYGLET_HEADLESS=1, for OpenGL through EGL without any window.
Exit codes: 0 done, 2 wrong usage, 3 the input is bad or unreachable, or there is no window with OpenGL 3.3.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hosting import CORNERS, FRAGMENT_SHADER, VERTEX_SHADER, Player, Size, cannot_import, run

from alphastream_gpu import GLUnavailableError, MaskRenderer

try:
    import pyglet

    pyglet.options.shadow_window = False  # else the imports open one already
    from pyglet import gl
    from pyglet.graphics.shader import Shader, ShaderProgram
    from pyglet.image import Framebuffer, Texture
    from pyglet.window import Window, key
except ImportError as exc:
    cannot_import(exc, "'pyglet>=2.1,<3'")


class MaskWindow(Window):
    """Shows what a player says; releases its renderer when it is closed."""

    def __init__(self, player: Player, size: Size, *, is_visible: bool) -> None:
        config = gl.Config(double_buffer=True, major_version=3, minor_version=3, forward_compatible=True)
        try:
            super().__init__(*size, "pyglet_app", resizable=True, visible=is_visible, config=config)
        except Exception as exc:  # what pyglet raises has no base class in common
            raise GLUnavailableError(f"no window with OpenGL 3.3: {exc}") from exc
        self._player = player
        self._program = ShaderProgram(Shader(VERTEX_SHADER, "vertex"), Shader(FRAGMENT_SHADER, "fragment"))
        self._triangle = self._program.vertex_list(3, gl.GL_TRIANGLES, corner=("f", CORNERS))
        self._label = pyglet.text.Label(font_size=13, x=8, anchor_y="center")
        self._mask: Texture | None = None
        self._renderer = MaskRenderer(native_size=player.native_size)  # attaches to the current context

    def save(self, path: Path) -> None:
        """Save its picture, by way of a framebuffer object: what a hidden window has in its own is undefined."""
        picture = Texture.create(*self.get_framebuffer_size())
        framebuffer = Framebuffer()
        framebuffer.attach_texture(picture)
        framebuffer.bind()
        self.on_draw()
        with path.open("wb") as file:
            picture.get_image_data().save(path.name, file)

    def close(self) -> None:
        self.switch_to()
        self._renderer.release()  # before its context goes
        super().close()

    def on_draw(self) -> None:
        mask = self._fitting_texture()
        self._renderer.render(self._player.next_geometry(), into=mask.id)
        self._program.use()
        self._program["frame"] = self._player.index
        gl.glActiveTexture(gl.GL_TEXTURE0)
        gl.glBindTexture(mask.target, mask.id)
        self._triangle.draw(gl.GL_TRIANGLES)
        self._label.text = f"frame {self._player.index}"
        self._label.y = self.height - 16
        self._label.draw()

    def on_refresh(self, dt: float) -> None:
        self.set_caption(f"pyglet_app: frame {self._player.index}")
        if self._player.is_over:
            pyglet.app.exit()

    def on_key_press(self, symbol: int, modifiers: int) -> None:
        if symbol in (key.Q, key.ESCAPE):
            pyglet.app.exit()

    def _fitting_texture(self) -> Texture:
        """Masks are made at the size in which they are shown, in pixels."""
        size = self.get_framebuffer_size()
        if self._mask is None or (self._mask.width, self._mask.height) != size:
            self._mask = Texture.create(*size, internalformat=gl.GL_R8, fmt=gl.GL_RED, min_filter=gl.GL_NEAREST)
        return self._mask


def show(player: Player, size: Size, output: Path | None) -> None:
    """Play in a window, or save one picture."""
    window = MaskWindow(player, size, is_visible=output is None)
    try:
        if output is None:
            player.play()
            pyglet.app.run(interval=1 / 60)
        else:
            window.save(output)
    finally:
        window.close()


if __name__ == "__main__":
    sys.exit(run("Masks in a pyglet window.", show, sys.argv[1:]))
