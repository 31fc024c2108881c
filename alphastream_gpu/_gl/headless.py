"""
A GL context without a window, for machines without a screen.
"""

from __future__ import annotations

import moderngl

from .._exceptions import GLUnavailableError
from .attach import without_default

__all__ = ["create_headless_context"]

CURE = (
    "on Debian or Ubuntu: apt-get install libegl1 libgl1 libgl1-mesa-dri (Mesa's driver); with an NVIDIA GPU in a"
    " container: NVIDIA_DRIVER_CAPABILITIES=all"
)


def create_headless_context() -> moderngl.Context:
    """
    Create an OpenGL 3.3 core context without a window, through EGL.

    Returns:
        A new context, current on this thread; the caller's to release.

    Raises:
        GLUnavailableError: no driver gives one; the message names the cause and the cure.
    """
    try:
        with without_default():
            return moderngl.create_context(standalone=True, require=330, backend="egl")  # type: ignore[arg-type]
    except Exception as exc:  # glcontext raises bare Exception and ImportError; ValueError is an old version
        raise GLUnavailableError(f"no headless OpenGL 3.3 context: {exc}; {CURE}") from exc
