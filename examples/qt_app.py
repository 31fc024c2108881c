"""
Masks in a Qt widget, under text that QPainter draws.

Qt makes the context, the texture, the program and the vertex array; the texture is handed over by its ``textureId()``.
The mask is drawn in the middle of QPainter's work, without ``beginNativePainting``: QPainter does not notice.

    python examples/qt_app.py [FILE] [--frame N] [--size WxH]          q quits
    python examples/qt_app.py --frame 60 --output picture.png          no window is seen

Without a monitor: --output with QT_QPA_PLATFORM=offscreen. Qt takes OpenGL from an X server there, too; Xvfb will do.
Exit codes: 0 done, 2 wrong usage, 3 the input is bad or unreachable, or there is no OpenGL 3.3.
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

from hosting import CORNERS, FRAGMENT_SHADER, VERTEX_SHADER, Player, Size, cannot_import, run

from alphastream_gpu import GLUnavailableError, MaskRenderer

try:
    from PySide6.QtCore import QRect, Qt
    from PySide6.QtGui import QFont, QKeyEvent, QOpenGLContext, QPainter, QSurfaceFormat
    from PySide6.QtOpenGL import QOpenGLBuffer, QOpenGLShader, QOpenGLShaderProgram, QOpenGLTexture
    from PySide6.QtOpenGL import QOpenGLVertexArrayObject as QVertexArray
    from PySide6.QtOpenGLWidgets import QOpenGLWidget
    from PySide6.QtWidgets import QApplication
except ImportError as exc:
    cannot_import(exc, "PySide6-Essentials")

GL_FLOAT, GL_TRIANGLES = 0x1406, 0x0004  # Qt names neither


class MaskWidget(QOpenGLWidget):
    """Shows what a player says. To be released at the end, when Python's part of it may go before Qt's."""

    def __init__(self, player: Player, size: Size) -> None:
        super().__init__()
        self.resize(*size)
        self.frameSwapped.connect(self._go_on)
        self._player = player
        self._renderer: MaskRenderer | None = None

    def release(self) -> None:
        """Release what is in the context."""
        if self._renderer is not None:
            self.makeCurrent()
            self._renderer.release()
            self._renderer = None
            for owned in (self._mask, self._corners, self._vertices):
                owned.destroy()
            self.doneCurrent()

    def initializeGL(self) -> None:  # noqa: N802 - Qt's name
        """Called for every context that the widget gets; it gets another one when it moves to another window."""
        self.context().aboutToBeDestroyed.connect(self.release)
        self._program = QOpenGLShaderProgram()
        self._program.addShaderFromSourceCode(QOpenGLShader.ShaderTypeBit.Vertex, VERTEX_SHADER)
        self._program.addShaderFromSourceCode(QOpenGLShader.ShaderTypeBit.Fragment, FRAGMENT_SHADER)
        self._program.link()
        self._vertices = QVertexArray()
        self._vertices.create()
        self._vertices.bind()
        self._corners = QOpenGLBuffer()
        self._corners.create()
        self._corners.bind()
        corners = struct.pack(f"{len(CORNERS)}f", *CORNERS)
        self._corners.allocate(corners, len(corners))
        corner = self._program.attributeLocation("corner")
        self._program.enableAttributeArray(corner)
        self._program.setAttributeBuffer(corner, GL_FLOAT, 0, 2)
        self._vertices.release()
        self._mask = QOpenGLTexture(QOpenGLTexture.Target.Target2D)
        self._renderer = MaskRenderer(native_size=self._player.native_size)  # attaches to the current context

    def paintGL(self) -> None:  # noqa: N802 - Qt's name
        assert self._renderer is not None
        self._fit_texture()
        painter = QPainter(self)
        painter.setPen(Qt.GlobalColor.white)
        painter.setFont(QFont("sans-serif", 13))
        # It leaves the state as QPainter set it; our own drawing does not.
        self._renderer.render(self._player.next_geometry(), into=self._mask.textureId())
        painter.beginNativePainting()
        self._draw()
        painter.endNativePainting()
        painter.drawText(QRect(8, 0, 120, 32), Qt.AlignmentFlag.AlignVCenter, f"frame {self._player.index}")
        painter.end()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        if event.text() in ("q", "Q"):
            self.close()

    def _draw(self) -> None:
        self._vertices.bind()
        self._program.bind()
        self._program.setUniformValue1i("frame", self._player.index)
        self._mask.bind(0)
        self.context().functions().glDrawArrays(GL_TRIANGLES, 0, 3)
        self._mask.release(0)
        self._program.release()
        self._vertices.release()

    def _fit_texture(self) -> None:
        """Masks are made at the size in which they are shown, in pixels."""
        width, height = (round(side * self.devicePixelRatio()) for side in (self.width(), self.height()))
        if (self._mask.width(), self._mask.height()) != (width, height) or not self._mask.isStorageAllocated():
            self._mask.destroy()  # Qt gives a texture its storage once
            self._mask.setFormat(QOpenGLTexture.TextureFormat.R8_UNorm)
            self._mask.setSize(width, height)
            self._mask.setMinificationFilter(QOpenGLTexture.Filter.Nearest)
            self._mask.allocateStorage()

    def _go_on(self) -> None:
        self.setWindowTitle(f"qt_app: frame {self._player.index}")
        if self._player.is_over:
            self.close()
        self.update()


def show(player: Player, size: Size, output: Path | None) -> None:
    """Play in a window, or save one picture."""
    if sys.platform == "linux" and not os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"}:
        raise GLUnavailableError("no window: neither DISPLAY nor WAYLAND_DISPLAY is set")  # Qt would abort
    wanted = QSurfaceFormat()
    wanted.setVersion(3, 3)
    wanted.setProfile(QSurfaceFormat.OpenGLContextProfile.CoreProfile)
    QSurfaceFormat.setDefaultFormat(wanted)
    app = QApplication(sys.argv[:1])
    if not QOpenGLContext().create():  # the widget would be black
        raise GLUnavailableError(f"Qt's platform {app.platformName()!r} has no OpenGL here")
    widget = MaskWidget(player, size)
    try:
        if output is not None:
            if not widget.grabFramebuffer().save(str(output), "PNG"):
                raise OSError(f"{output}: it cannot be written")
        elif app.platformName() == "offscreen":
            raise GLUnavailableError("Qt's platform 'offscreen' shows no OpenGL widgets; use --output")
        else:
            player.play()
            widget.show()
            app.exec()
    finally:
        widget.release()


if __name__ == "__main__":
    sys.exit(run("Masks in a Qt widget.", show, sys.argv[1:]))
