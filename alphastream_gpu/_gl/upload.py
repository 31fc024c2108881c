"""
Upload: uploads the CPU twin's masks to the texture. The fastest method on software drivers, and the fallback on all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from ctypes import addressof, c_char

import moderngl

from .._geometry.frame import FrameGeometry
from .._raster.coverage import rasterize
from . import enums as e
from .functions import Functions
from .guest import Writing
from .method import Method
from .target import Target

__all__ = ["Upload"]

_Start = c_char * 0
"""Gives an array's address in a third of the time that ``mask.ctypes.data`` takes."""


class Upload(Method[FrameGeometry]):
    """Rasterizes on the CPU, and uploads one byte per pixel."""

    name = "upload"

    def __init__(
        self,
        ctx: moderngl.Context,
        gl: Functions,
        native_size: tuple[int, int],
        counts: Counter[str],
        *,
        preserve_state: bool,
    ) -> None:
        super().__init__(ctx, gl, native_size, counts)
        self.guard = self._writing = Writing(gl, preserve=preserve_state)

    def plan(self, geometry: FrameGeometry, size: tuple[int, int]) -> FrameGeometry:
        """Return the frame itself. It is rasterized only when it is rendered: a batch of masks would be large."""
        return geometry

    def render(self, plans: Sequence[FrameGeometry], target: Target, first_layer: int | None) -> None:
        """Upload one mask after the other."""
        gl, size = self._gl, target.size
        if gl.glTextureSubImage2D is not None:
            texture, write, write_layer = target.name, gl.glTextureSubImage2D, gl.glTextureSubImage3D
        else:
            texture, write, write_layer = target.kind, gl.glTexSubImage2D, gl.glTexSubImage3D
            gl.glBindTexture(target.kind, target.name)
        if first_layer is not None:
            self._writing.layers()
        for number, geometry in enumerate(plans):
            mask = rasterize(geometry, size, native_size=self._native_size)
            pixels = (e.GL_RED, e.GL_UNSIGNED_BYTE, addressof(_Start.from_buffer(mask.data)))
            if first_layer is None:
                write(texture, 0, 0, 0, *size, *pixels)
            else:
                write_layer(texture, 0, 0, 0, first_layer + number, *size, 1, *pixels)
            self._counts["uploaded_bytes"] += mask.nbytes

    def release(self) -> None:
        """Do nothing: there are no GL objects."""
