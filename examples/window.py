"""
The compositor's window: GLFW, OpenGL 3.3 core, what its keys mean, and where the pointer is.
"""

from __future__ import annotations

from typing import Literal

from plates import Size
from playing import Input, Key, Pointer

__all__ = ["Window", "WindowError"]


class WindowError(Exception):
    """No window, or no OpenGL in it."""


class Window:
    """
    A GLFW window with OpenGL 3.3, current on this thread.

    Raises:
        WindowError: there is no display, or no such OpenGL.
    """

    def __init__(self, size: Size, title: str) -> None:
        import glfw

        self._glfw = glfw
        self._moves = {
            glfw.KEY_RIGHT: Key.STEP,
            glfw.KEY_LEFT: Key.STEP_BACK,
            glfw.KEY_UP: Key.JUMP,
            glfw.KEY_DOWN: Key.JUMP_BACK,
        }
        self._named = {glfw.KEY_SPACE: Key.PAUSE, glfw.KEY_HOME: Key.HOME, glfw.KEY_ESCAPE: Key.QUIT}
        self._letters = {"b": Key.BAR, "e": Key.EYE, "q": Key.QUIT, "s": Key.STATISTICS}
        self._inputs: list[Input] = []
        self._is_down = False
        """The pointer's left button."""
        self._at = 0.0, 0.0
        """The pointer, where the last move led. GLFW can be asked, but answers with where it is meanwhile."""
        self.is_exposed = True
        """Something asked for the picture to be drawn again."""
        glfw.ERROR_REPORTING = "ignore"  # errors are looked at where they matter, and nothing else prints them
        if not glfw.init():
            raise WindowError(f"no window: {self._reason()}")
        for hint, value in (
            (glfw.CONTEXT_VERSION_MAJOR, 3),
            (glfw.CONTEXT_VERSION_MINOR, 3),
            (glfw.OPENGL_PROFILE, glfw.OPENGL_CORE_PROFILE),
            (glfw.OPENGL_FORWARD_COMPAT, True),  # which macOS insists on
        ):
            glfw.window_hint(hint, value)
        self._window = glfw.create_window(*size, title, None, None)
        if not self._window:
            reason = self._reason()
            glfw.terminate()
            raise WindowError(f"no window with OpenGL 3.3: {reason}")
        glfw.make_context_current(self._window)
        glfw.swap_interval(1)
        glfw.set_key_callback(self._window, self._on_key)
        glfw.set_mouse_button_callback(self._window, self._on_button)
        glfw.set_cursor_pos_callback(self._window, self._on_move)
        glfw.set_window_refresh_callback(self._window, self._on_refresh)

    @property
    def size(self) -> Size:
        """Of the framebuffer, in pixels; 0 x 0 while minimized."""
        width, height = self._glfw.get_framebuffer_size(self._window)
        return width, height

    @property
    def scale(self) -> int:
        """Of the display: 2 where pixels are half as large as usual."""
        return max(1, round(self._glfw.get_window_content_scale(self._window)[0]))

    def inputs(self, timeout: float) -> list[Input]:
        """What the user did; waits for something to happen, `timeout` seconds at most."""
        self._glfw.wait_events_timeout(timeout)
        inputs, self._inputs = self._inputs, []
        if self._glfw.window_should_close(self._window):
            inputs.append(Key.QUIT)
        return inputs

    def swap(self) -> None:
        """Show what was drawn."""
        self._glfw.swap_buffers(self._window)
        self.is_exposed = False

    def set_title(self, title: str) -> None:
        """Name the window."""
        self._glfw.set_window_title(self._window, title)

    def close(self) -> None:
        """Close the window; its context is gone."""
        self._glfw.terminate()

    def _on_key(self, window: object, code: int, scancode: int, action: int, modifiers: int) -> None:
        key = self._moves.get(code)
        if action == self._glfw.PRESS:
            # Letters by what is printed on the key, which GLFW's codes are not: they name places on a US keyboard.
            key = key or self._named.get(code) or self._letters.get(self._glfw.get_key_name(code, scancode) or "")
        elif action == self._glfw.RELEASE:
            key = None
        if key is not None:
            self._inputs.append(key)

    def _on_button(self, window: object, button: int, action: int, modifiers: int) -> None:
        if button == self._glfw.MOUSE_BUTTON_LEFT:
            self._is_down = action == self._glfw.PRESS
            self._point("press" if self._is_down else "release")

    def _on_move(self, window: object, x: float, y: float) -> None:
        self._at = x, y
        if self._is_down:
            self._point("move")

    def _point(self, action: Literal["press", "move", "release"]) -> None:
        """GLFW counts in units of the screen, of which one may have several pixels."""
        x, y = self._at
        width, height = self._glfw.get_window_size(self._window)
        pixels_across, pixels_down = self.size
        self._inputs.append(Pointer(action, x * pixels_across / max(1, width), y * pixels_down / max(1, height)))

    def _on_refresh(self, window: object) -> None:
        self.is_exposed = True

    def _reason(self) -> str:
        code, text = self._glfw.get_error()
        return text.decode(errors="replace") if text else f"GLFW error {code}"
