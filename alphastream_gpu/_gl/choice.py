"""
Choice: which method a renderer uses on a context, after it was seen to be exact there.

A shader method is tried on a small scene before it is used on a context, and compared with the CPU twin. What passed is
remembered with the context's identity. What failed is tried again, with more of the host's state set, before a driver
is blamed for it; and it is tried anew by the next renderer, because no query tells of a conditional render, in which
nothing is drawn.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Literal

import moderngl
import numpy as np
import numpy.typing as npt

from .._exceptions import GLUnavailableError, WrongContextError
from .._geometry.frame import FrameGeometry
from . import enums as e
from .compute import Compute
from .drivers import is_software
from .guest import Making, Reading
from .identity import Identity
from .method import Method, release
from .selfcheck import NATIVE_SIZE, count_wrong_pixels
from .target import Attachment, Target
from .triangles import Triangles
from .upload import Upload

__all__ = ["SHADER_METHODS", "Chooser", "MethodName"]

MethodName = Literal["auto", "compute", "triangles", "upload"]
SHADER_METHODS: Final[tuple[MethodName, ...]] = ("compute", "triangles")
"""The methods that make masks on the GPU, the faster one first."""

_logger = logging.getLogger("alphastream_gpu")
_reported: set[str] = set()
"""What was said of drivers, which is not said again."""


class Chooser:
    """
    Makes methods for a renderer, and picks one.

    Args:
        ctx: the context, current on this thread.
        identity: of it.
        native_size: ``(width, height)`` of the grid that points are on.
        counts: the renderer's counters.
        preserve_state: whether the methods put back what they change.
    """

    def __init__(
        self,
        ctx: moderngl.Context,
        identity: Identity,
        native_size: tuple[int, int],
        counts: Counter[str],
        *,
        preserve_state: bool,
    ) -> None:
        self._ctx = ctx
        self._identity = identity
        self._native_size = native_size
        self._counts = counts
        self._preserve = preserve_state

    def upload(self) -> Upload:
        """The method that is always there."""
        return Upload(self._ctx, self._identity.gl, self._native_size, self._counts, preserve_state=self._preserve)

    def choose(self, asked: MethodName) -> tuple[Method[Any] | None, bool]:
        """
        The shader method to use, or None for the upload; and whether every one that was tried was exact.

        Raises:
            GLUnavailableError: the method that was asked for by name is not there.
            WrongContextError: the host is in the middle of what keeps the check from being made.
        """
        names: tuple[MethodName, ...] = (asked,)
        if asked == "upload":
            names = ()
        elif asked == "auto":  # a software driver takes longer than the CPU twin and an upload
            names = () if is_software(self._identity.gl.renderer_name) else SHADER_METHODS
        are_exact = True
        for name in names:
            try:
                method = self._made_and_checked(name)
            except GLUnavailableError as exc:
                if name == asked or isinstance(exc, WrongContextError):
                    raise
                _logger.info("the method %s is not there: %s", name, exc)
                continue
            if method is not None:
                return method, are_exact
            are_exact = False
        return None, are_exact

    def _made_and_checked(self, name: str) -> Method[Any] | None:
        """A shader method; None if it gets pixels wrong."""
        driver = self._identity.gl.driver
        if name in self._identity.exact_methods:
            return self._new(name, self._native_size, is_thorough=False)
        n_wrong = self._count_wrong(name, is_thorough=False)
        if not n_wrong:
            self._identity.exact_methods.add(name)
            return self._new(name, self._native_size, is_thorough=False)
        if not self._count_wrong(name, is_thorough=True):
            _report(
                f"the method {name} gets {n_wrong} pixels of the self-check wrong in the state that the program left"
                f" OpenGL in, and none with more of it set; it is used so ({driver})"
            )
            return self._new(name, self._native_size, is_thorough=True)
        _report(
            f"the OpenGL driver {driver} gets {n_wrong} pixels of the self-check wrong by the method {name};"
            " another one is used (if a conditional render was going on, that is why; the next renderer tries again)"
        )
        return None

    def _new(self, name: str, native_size: tuple[int, int], *, is_thorough: bool) -> Method[Any]:
        gl, counts = self._identity.gl, self._counts
        if name == "triangles":
            return Triangles(self._ctx, gl, native_size, counts, preserve_state=self._preserve, is_thorough=is_thorough)
        return Compute(self._ctx, gl, native_size, counts, preserve_state=self._preserve)

    def _count_wrong(self, name: str, *, is_thorough: bool) -> int:
        """How many pixels of the scene a method gets wrong; what that costs is not counted."""
        before = Counter(self._counts)
        method = self._new(name, NATIVE_SIZE, is_thorough=is_thorough)
        try:
            return count_wrong_pixels(lambda geometries, size: self._masks(method, geometries, size))
        finally:
            method.release()
            self._counts.clear()
            self._counts.update(before)

    def _masks(
        self, method: Method[Any], geometries: Sequence[FrameGeometry], size: tuple[int, int]
    ) -> list[npt.NDArray[np.uint8]]:
        """Frames as a method makes them: one into a texture, more of them into the last layers of an array."""
        gl = self._identity.gl
        n_layers = len(geometries) + 1
        is_array = n_layers > 2
        layers: Sequence[int | None] = range(1, n_layers) if is_array else [None]
        with Making(gl, self._ctx, preserve=self._preserve):
            made: Any = self._ctx.texture_array((*size, n_layers), 1) if is_array else self._ctx.texture(size, 1)
        attachment = Attachment(gl)
        try:
            kind = e.GL_TEXTURE_2D_ARRAY if is_array else e.GL_TEXTURE_2D
            target = Target(made.glo, kind, *size, n_layers if is_array else 1)
            with method.guard:
                method.render([method.plan(one, size) for one in geometries], target, layers[0])
            masks = []
            with Reading(gl, preserve=self._preserve):
                for layer in layers:
                    masks.append(attachment.read(target, layer, np.empty(size[::-1], np.uint8)))
            return masks
        finally:
            attachment.release()
            release(made)


def _report(message: str) -> None:
    """Once for each driver and what it gets wrong."""
    if message not in _reported:
        _reported.add(message)
        _logger.warning("%s", message)
