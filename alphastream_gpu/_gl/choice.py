"""
Choice: picks a renderer's method for a context, and checks that the method is exact there.

Before its first use on a context, a shader method renders a small scene, and the result is compared with the CPU
twin's. A method that passes is remembered with the context's identity. A method that fails is checked again with more
of the host's state set, before the driver is blamed. The next renderer checks a failed method again, because no query
reports a conditional render, in which nothing is drawn.
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
"""Messages about drivers that were logged already. Each is logged once."""


class Chooser:
    """
    Creates methods for a renderer, and picks one.

    Args:
        ctx: the context, current on this thread.
        identity: the identity of `ctx`.
        native_size: ``(width, height)`` of the grid that points are on.
        counts: the renderer's counters.
        preserve_state: whether the methods restore the state that they change.
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
        """The upload method, which is always available."""
        return Upload(self._ctx, self._identity.gl, self._native_size, self._counts, preserve_state=self._preserve)

    def choose(self, asked: MethodName) -> tuple[Method[Any] | None, bool]:
        """
        Return the shader method to use, or None for the upload, and whether every method that was tried is exact.

        Raises:
            GLUnavailableError: the method that was asked for by name is not available.
            WrongContextError: the self-check cannot run now, for example within the host's transform feedback.
        """
        names: tuple[MethodName, ...] = (asked,)
        if asked == "upload":
            names = ()
        elif asked == "auto":  # a software driver is slower than the CPU twin and an upload
            names = () if is_software(self._identity.gl.renderer_name) else SHADER_METHODS
        are_exact = True
        for name in names:
            try:
                method = self._made_and_checked(name)
            except GLUnavailableError as exc:
                if name == asked or isinstance(exc, WrongContextError):
                    raise
                _logger.info("the method %s is not available: %s", name, exc)
                continue
            if method is not None:
                _logger.info("masks are made by the method %s (%s)", name, self._identity.gl.driver)
                return method, are_exact
            are_exact = False
        _logger.info("masks are made by the method upload (%s)", self._identity.gl.driver)
        return None, are_exact

    def _made_and_checked(self, name: str) -> Method[Any] | None:
        """Return a shader method, or None if it gets pixels wrong."""
        driver = self._identity.gl.driver
        if name in self._identity.exact_methods:
            return self._new(name, self._native_size, is_thorough=False)
        n_wrong = self._count_wrong(name, is_thorough=False)
        if not n_wrong:
            self._identity.exact_methods.add(name)
            return self._new(name, self._native_size, is_thorough=False)
        if not self._count_wrong(name, is_thorough=True):
            _report(
                f"self-check of the method {name}: {n_wrong} wrong pixels in the host's OpenGL state, none with more"
                f" states set; the method is used with more states set ({driver})"
            )
            return self._new(name, self._native_size, is_thorough=True)
        _report(
            f"self-check of the method {name}: {n_wrong} wrong pixels with the OpenGL driver {driver}; another method"
            " is used (a conditional render in progress also has this effect; the next renderer checks again)"
        )
        return None

    def _new(self, name: str, native_size: tuple[int, int], *, is_thorough: bool) -> Method[Any]:
        gl, counts = self._identity.gl, self._counts
        if name == "triangles":
            return Triangles(self._ctx, gl, native_size, counts, preserve_state=self._preserve, is_thorough=is_thorough)
        return Compute(self._ctx, gl, native_size, counts, preserve_state=self._preserve)

    def _count_wrong(self, name: str, *, is_thorough: bool) -> int:
        """Return how many pixels of the scene a method gets wrong. The renderer's counters are left unchanged."""
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
        """Return a method's masks of frames: one frame in a texture, several in the last layers of an array."""
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
    """Log a warning, once per message."""
    if message not in _reported:
        _reported.add(message)
        _logger.warning("%s", message)
