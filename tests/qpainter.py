"""
Draws into a widget with QPainter, once with masks of each method between the calls and once without. Both pictures must
be the same.

QPainter's ``beginNativePainting`` is not called. Fails with an assertion.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alphastream_gpu import MaskRenderer, rasterize
from alphastream_gpu._gl.selfcheck import NATIVE_SIZE, scene

try:
    from PySide6.QtCore import QPointF, QRectF, Qt
    from PySide6.QtGui import QColor, QFont, QImage, QLinearGradient, QPainter, QPainterPath, QPen, QSurfaceFormat
    from PySide6.QtOpenGLWidgets import QOpenGLWidget
    from PySide6.QtWidgets import QApplication
except ImportError as exc:
    raise SystemExit(f"{exc}; run: pip install PySide6-Essentials") from exc


METHODS = ["compute", "triangles", "upload"]


class Widget(QOpenGLWidget):
    """A widget that runs the painting steps and calls `between` after each one."""

    def __init__(self, *, with_masks: bool) -> None:
        super().__init__()
        self.resize(160, 120)
        self.with_masks = with_masks
        self.n_masks = 0

    def initializeGL(self) -> None:  # noqa: N802 - Qt's name
        if self.with_masks:
            self.renderers = [MaskRenderer(native_size=NATIVE_SIZE, method=method) for method in METHODS]
            assert [renderer.method for renderer in self.renderers] == METHODS

    def paintGL(self) -> None:  # noqa: N802 - Qt's name
        painter = QPainter(self)
        for step in steps(painter):
            step()
            self.between()
        painter.end()
        self.between()

    def between(self) -> None:
        if self.with_masks:
            for renderer in self.renderers:
                mask = renderer.read(renderer.render(scene()))
                self.n_masks += int((mask == rasterize(scene(), native_size=NATIVE_SIZE)).all())


def steps(painter: QPainter) -> list[Callable[[], object]]:
    path = QPainterPath()
    path.addEllipse(QPointF(80, 60), 50, 30)
    path.addRect(60, 20, 40, 90)
    shade = QLinearGradient(0, 0, 160, 120)
    shade.setColorAt(0, Qt.GlobalColor.yellow)
    shade.setColorAt(1, Qt.GlobalColor.blue)
    image = QImage(16, 16, QImage.Format.Format_ARGB32)
    image.fill(QColor(255, 0, 0, 100))
    return [
        lambda: painter.fillRect(0, 0, 160, 120, QColor(20, 90, 40)),
        lambda: painter.setRenderHint(QPainter.RenderHint.Antialiasing),
        lambda: painter.setClipPath(path),  # a stencil
        lambda: painter.fillRect(0, 0, 160, 120, shade),
        lambda: painter.setOpacity(0.5),
        lambda: painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_Plus),
        lambda: painter.drawImage(QRectF(30, 30, 60, 60), image),
        lambda: painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_SourceOver),
        lambda: painter.setPen(QPen(Qt.GlobalColor.white, 3, Qt.PenStyle.DashLine)),
        lambda: painter.drawPath(path),
        lambda: painter.setClipping(False),
        lambda: painter.setFont(QFont("sans-serif", 20)),
        lambda: painter.rotate(10),
        lambda: painter.drawText(20, 50, "between"),
        lambda: painter.drawPolyline([QPointF(0, 0), QPointF(150, 20), QPointF(3, 100)]),
    ]


def picture(widget: Widget) -> np.ndarray:
    image = widget.grabFramebuffer().convertToFormat(QImage.Format.Format_RGBA8888)
    return np.array(image.constBits()).reshape(image.height(), image.width(), 4)


wanted = QSurfaceFormat()
wanted.setVersion(3, 3)
wanted.setProfile(QSurfaceFormat.OpenGLContextProfile.CoreProfile)
wanted.setStencilBufferSize(8)
QSurfaceFormat.setDefaultFormat(wanted)
app = QApplication([])
without, among = Widget(with_masks=False), Widget(with_masks=True)
plain, mixed = picture(without), picture(among)
assert len(np.unique(plain.reshape(-1, 4), axis=0)) > 500, "QPainter drew nothing much"
assert among.n_masks == 16 * len(METHODS), "masks, all exact"
assert (plain == mixed).all()
among.makeCurrent()
for one in among.renderers:
    one.release()
