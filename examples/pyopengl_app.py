"""
Masks in a plain PyOpenGL program with a GLFW window.

The program makes its own context, texture, shaders and vertex array, and binds them once. It hands the texture over by
its GL name; each frame, the mask is drawn into it, and the program's shader samples it.

    python examples/pyopengl_app.py [FILE] [--frame N] [--size WxH]          q quits
    python examples/pyopengl_app.py --frame 60 --output picture.png          no window is seen

Exit codes: 0 done, 2 wrong usage, 3 the input is bad or unreachable, or there is no window with OpenGL 3.3.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hosting import CORNERS, FRAGMENT_SHADER, VERTEX_SHADER, Player, Size, cannot_import, run

from alphastream_gpu import GLUnavailableError, MaskRenderer

try:
    import glfw
    from OpenGL import GL
    from OpenGL.GL import shaders
    from PIL import Image
except ImportError as exc:
    cannot_import(exc, "glfw PyOpenGL Pillow")


@contextmanager
def open_window(size: Size, *, is_visible: bool) -> Iterator[Any]:
    """A GLFW window whose OpenGL 3.3 core context is current."""
    glfw.ERROR_REPORTING = "ignore"  # they are looked at here
    if not glfw.init():
        raise GLUnavailableError(f"no window: {glfw.get_error()[1].decode()}")
    glfw.window_hint(glfw.VISIBLE, is_visible)
    glfw.window_hint(glfw.CONTEXT_VERSION_MAJOR, 3)
    glfw.window_hint(glfw.CONTEXT_VERSION_MINOR, 3)
    glfw.window_hint(glfw.OPENGL_PROFILE, glfw.OPENGL_CORE_PROFILE)
    glfw.window_hint(glfw.OPENGL_FORWARD_COMPAT, True)  # macOS insists
    try:
        window = glfw.create_window(*size, "pyopengl_app", None, None)
        if not window:
            raise GLUnavailableError(f"no window with OpenGL 3.3: {glfw.get_error()[1].decode()}")
        glfw.make_context_current(window)
        glfw.swap_interval(1)
        glfw.set_char_callback(window, _on_character)
        yield window
    finally:
        glfw.terminate()


def _on_character(window: Any, code: int) -> None:
    if chr(code) in "qQ":
        glfw.set_window_should_close(window, True)


class Scene:
    """The program's own GL objects. They are bound here, and stay bound."""

    def __init__(self) -> None:
        GL.glBindVertexArray(GL.glGenVertexArrays(1))
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, GL.glGenBuffers(1))
        corners = (GL.GLfloat * len(CORNERS))(*CORNERS)
        GL.glBufferData(GL.GL_ARRAY_BUFFER, corners, GL.GL_STATIC_DRAW)
        program = shaders.compileProgram(
            shaders.compileShader(VERTEX_SHADER, GL.GL_VERTEX_SHADER),
            shaders.compileShader(FRAGMENT_SHADER, GL.GL_FRAGMENT_SHADER),
        )
        corner = GL.glGetAttribLocation(program, "corner")
        GL.glEnableVertexAttribArray(corner)
        GL.glVertexAttribPointer(corner, 2, GL.GL_FLOAT, False, 0, None)
        GL.glUseProgram(program)
        self._frame = GL.glGetUniformLocation(program, "frame")
        self._size: Size | None = None
        self.mask = int(GL.glGenTextures(1))
        """Name of an R8 texture; on unit 0, where samplers look unless told otherwise."""
        GL.glBindTexture(GL.GL_TEXTURE_2D, self.mask)
        GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_MIN_FILTER, GL.GL_NEAREST)  # it has no mipmaps

    def resize(self, size: Size) -> None:
        """Give the texture the window's size: masks are made at the size in which they are shown."""
        if size != self._size and all(size):  # a window that is minimized has none
            self._size = size
            GL.glTexImage2D(GL.GL_TEXTURE_2D, 0, GL.GL_R8, *size, 0, GL.GL_RED, GL.GL_UNSIGNED_BYTE, None)
            GL.glViewport(0, 0, *size)

    def draw(self, index: int) -> None:
        """Over the whole window."""
        GL.glUniform1i(self._frame, index)
        GL.glDrawArrays(GL.GL_TRIANGLES, 0, 3)


def bind_framebuffer(size: Size) -> None:
    """Draw into a framebuffer object from now on: what a hidden window has in its own is undefined."""
    picture = GL.glGenRenderbuffers(1)
    GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, picture)
    GL.glRenderbufferStorage(GL.GL_RENDERBUFFER, GL.GL_RGBA8, *size)
    GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, GL.glGenFramebuffers(1))
    GL.glFramebufferRenderbuffer(GL.GL_FRAMEBUFFER, GL.GL_COLOR_ATTACHMENT0, GL.GL_RENDERBUFFER, picture)


def save_picture(path: Path, size: Size) -> None:
    """Save the bound framebuffer."""
    GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
    pixels = GL.glReadPixels(0, 0, *size, GL.GL_RGB, GL.GL_UNSIGNED_BYTE)
    Image.frombytes("RGB", size, pixels).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(path, "PNG")


def show(player: Player, size: Size, output: Path | None) -> None:
    """Play in a window, or save one picture."""
    with (
        open_window(size, is_visible=output is None) as window,
        MaskRenderer(native_size=player.native_size) as renderer,  # attaches to the current context
    ):
        scene = Scene()
        if output is not None:
            bind_framebuffer(size)
            scene.resize(size)
            renderer.render(player.next_geometry(), into=scene.mask)
            scene.draw(player.index)
            save_picture(output, size)
            return
        player.play()
        while not (player.is_over or glfw.window_should_close(window)):
            scene.resize(glfw.get_framebuffer_size(window))
            renderer.render(player.next_geometry(), into=scene.mask)
            scene.draw(player.index)
            glfw.swap_buffers(window)
            glfw.set_window_title(window, f"pyopengl_app: frame {player.index}")
            glfw.poll_events()


if __name__ == "__main__":
    sys.exit(run("Masks in a PyOpenGL program.", show, sys.argv[1:]))
